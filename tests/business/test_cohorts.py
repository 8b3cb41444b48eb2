"""Cohorts: by hand, by plain pandas, from any source, and completed by a model."""

import copy
import json
import re

import numpy as np
import pandas as pd
import pytest
from logs import SOURCES, from_everywhere, log, messy

import clvpredict as clv
from clvpredict.business import cohort_table, payback_table
from clvpredict.errors import DataError, DataWarning, OptionError, UnitError

# Together they take long; `make slow` runs them.
pytestmark = pytest.mark.slow

NAN = np.nan
FEW = log(
    ("a", "2023-01-01", 10.0),
    ("a", "2023-02-10", 20.0),
    ("a", "2023-02-20", 30.0),
    ("a", "2023-04-05", 40.0),
    ("b", "2023-01-31", 5.0),
    ("b", "2023-04-30", 15.0),
    ("c", "2023-02-28", 60.0),
    ("d", "2023-04-20", 8.0),
).assign(channel=["web", "ads", "ads", "ads", "ads", "web", "web", "web"])
CUT = "1997-09-15"
BY_CHANNEL = {"channel": "channel", "cac": 3.0, "observation_end": "2024-01-20"}


@pytest.fixture(scope="module")
def model(cdnow):
    rfm = clv.rfm_summary(cdnow, observation_end=CUT, time_unit="W")
    return clv.CLVModel(clv.MBGNBD(), clv.GammaGamma()).fit(rfm)


def wide(table, metric):
    return table.pivot(index="cohort", columns="age", values=metric).to_numpy()


# --- what was observed -----------------------------------------------------------------------


def test_by_hand():
    table = cohort_table(FEW, "M", margin=0.5, cac=4)
    assert table["cohort"].drop_duplicates().dt.month.tolist() == [1, 2, 3, 4]
    assert table.groupby("cohort")["customers"].first().tolist() == [2, 1, 0, 1]
    np.testing.assert_array_equal(
        wide(table, "orders"),
        [[2, 2, 0, 2], [1, 0, 0, NAN], [0, 0, NAN, NAN], [1, NAN, NAN, NAN]],
    )
    np.testing.assert_allclose(
        wide(table, "retention"),
        [[1, 0.5, 0, 1], [1, 0, 0, NAN], [NAN] * 4, [1, NAN, NAN, NAN]],
    )
    np.testing.assert_allclose(
        wide(table, "cumulative_margin"),
        [[3.75, 16.25, 16.25, 30], [30, 30, 30, NAN], [NAN] * 4, [4, NAN, NAN, NAN]],
    )
    np.testing.assert_allclose(wide(table, "net_of_cac"), wide(table, "cumulative_margin") - 4)
    assert table["complete"].tolist() == wide(table, "orders").ravel().__ge__(0).tolist()
    assert not table["forecast"].any()
    assert (
        (table["period"].dt.month == table["cohort"].dt.month + table["age"])
        .loc[table["complete"]]
        .all()
    )
    assert json.loads(json.dumps(table.attrs)) == table.attrs


def test_a_wide_table_is_a_column_of_the_long_one():
    long, pivoted = cohort_table(FEW, "M"), cohort_table(FEW, "M", "cumulative_revenue")
    assert pivoted.index.tolist() == ["2023-01", "2023-02", "2023-03", "2023-04"]
    np.testing.assert_array_equal(pivoted, wide(long, "cumulative_revenue"))
    two = cohort_table(FEW, "Q", "orders", channel="channel")
    names = [(channel, f"2023-Q{i}") for channel in ("ads", "web") for i in (1, 2)]
    assert two.index.tolist() == names


@pytest.mark.parametrize("by", ["W", "M", "Q"])
def test_cdnow_by_plain_pandas(cdnow, by):
    table = cohort_table(cdnow, by)
    daily = cdnow.groupby(["customer_id", "date"], as_index=False)["amount"].sum()
    daily["period"] = daily["date"].dt.to_period({"W": "W-SUN"}.get(by, by))
    first = daily.groupby("customer_id")["period"].transform("min")
    daily["cohort"] = first.dt.start_time
    daily["age"] = [(p - f).n for p, f in zip(daily["period"], first, strict=True)]
    grouped = daily.groupby(["cohort", "age"])
    want = pd.DataFrame(
        {
            "active": grouped["customer_id"].nunique(),
            "orders": grouped.size(),
            "revenue": grouped["amount"].sum(),
        }
    )
    own = table.set_index(["cohort", "age"])
    want = want.reindex(own.index, fill_value=0).where(own["period"] <= "1998-06-30")
    for name in want:
        np.testing.assert_allclose(own[name], want[name], rtol=1e-12)
    sizes = daily.groupby("cohort")["customer_id"].nunique()
    np.testing.assert_array_equal(own.groupby("cohort")["customers"].first(), sizes)
    share = own["active"] / own["customers"]
    np.testing.assert_allclose(own["retention"], share, rtol=1e-12)


def test_what_observation_cuts_is_marked_and_what_comes_after_is_missing():
    table = cohort_table(FEW, "M", observation_end="2023-04-10", max_age=4)
    january = table[table["cohort"] == "2023-01-01"]
    assert january["complete"].tolist() == [True, True, True, False, False]
    np.testing.assert_array_equal(january["orders"], [2, 2, 0, 1, NAN])
    early = cohort_table(FEW, "M", observation_end="2023-04-10", max_age=1)
    assert early["age"].max() == 1
    np.testing.assert_array_equal(early.groupby("cohort")["orders"].sum(), [4, 1])
    # Observation begins within January: its cells are cut, too.
    with pytest.warns(DataWarning, match="already: 1"):
        late = cohort_table(FEW, "M", observation_start="2023-01-15")
    assert late.groupby("period")["complete"].first().tolist()[:2] == [False, True]


def test_one_customer_one_period():
    table = cohort_table(log(("a", "2023-03-05", 7.0)), "D", cac=9)
    assert len(table) == 1
    assert table[["age", "orders", "cumulative_revenue", "net_of_cac"]].values.tolist() == [
        [0, 1, 7.0, -2.0]
    ]


def test_returns_are_those_of_the_summary():
    rows = pd.concat([FEW, log(("b", "2023-01-31", -6.0), ("c", "2023-04-01", -5.0))])
    table = cohort_table(rows, "M", amount="amount")
    # b's first purchase was taken back on its day, so that b is acquired in April; c's return
    # has a day of its own, and is no purchase.
    assert table.groupby("cohort")["customers"].first().tolist() == [1, 1, 0, 2]
    history = clv.purchase_history(rows)
    assert table["revenue"].sum() == pytest.approx(history["amount"].sum())
    assert table.attrs["excluded"] == history.attrs["excluded"]
    assert table.attrs["value_of_excluded_periods"] == -6.0


def test_without_amounts():
    table = cohort_table(FEW, "M", amount=None)
    assert table["orders"].sum() == 8
    assert not {"revenue", "margin", "cumulative_margin"} & set(table)
    with pytest.raises(OptionError, match="cac= needs amounts"):
        cohort_table(FEW, "M", amount=None, cac=3)
    with pytest.raises(OptionError, match=r"metric='margin' needs amounts"):
        cohort_table(FEW, "M", "margin", amount=None)


@pytest.fixture(scope="module")
def in_memory():
    return cohort_table(messy(), "M", **BY_CHANNEL)


@pytest.mark.parametrize("through", SOURCES)
def test_every_source_gives_the_same(through, tmp_path, in_memory):
    source = from_everywhere(messy(), through, tmp_path)
    want, got = in_memory, cohort_table(source, "M", **BY_CHANNEL)
    pd.testing.assert_frame_equal(got, want, check_exact=True)
    assert got.attrs == want.attrs


# --- channels --------------------------------------------------------------------------------


def test_the_channel_is_that_of_the_first_purchase():
    table = cohort_table(FEW, "M", channel="channel")
    sizes = table.groupby(["channel", "cohort"])["customers"].first().unstack()
    assert sizes.loc["web"].tolist() == [1, 1, 0, 1]  # a, c and d
    assert sizes.loc["ads"].tolist() == [1, 0, 0, 0]  # b
    both, alone = table.groupby(["cohort", "age"])["revenue"].sum(min_count=2), cohort_table(FEW)
    np.testing.assert_allclose(both, alone["revenue"])


def test_on_one_day_the_first_moment_decides_and_returns_do_not():
    rows = pd.DataFrame(
        {
            "customer_id": [1, 1, 1, 2, 2],
            "date": pd.to_datetime(
                ["2023-01-01 09:00", "2023-01-01 08:00", "2023-01-01 07:00"]
                + ["2023-01-01 10:00"] * 2
            ),
            "amount": [5.0, 6.0, -1.0, 3.0, 3.0],
            "channel": ["late", "early", "return", "b", "a"],
        }
    )
    table = cohort_table(rows, "M", channel="channel")
    assert table.set_index("channel")["customers"].to_dict() == {"a": 1, "early": 1}


def test_labels_of_customers_may_come_apart():
    given = pd.Series({"a": "x", "b": "y", "d": "x", "nobody": "y"}, name="country")
    with pytest.warns(DataWarning, match="without a 'country': 1 of 4"):
        table = cohort_table(FEW, "M", channel=given)
    sizes = table[table["age"] == 0].groupby("country", dropna=False)["customers"].sum()
    assert sizes.tolist() == [2, 1, 1]  # x, y and the missing one
    frame = given.rename_axis("customer_id").reset_index()
    with pytest.warns(DataWarning, match="country"):
        pd.testing.assert_frame_equal(cohort_table(FEW, "M", channel=frame), table)
    with pytest.raises(DataError, match="occur more than once"):
        cohort_table(FEW, channel=pd.Series(["x", "y"], index=["a", "a"]))
    with pytest.raises(DataError, match=re.escape("attributes.index.astype(str)")):
        cohort_table(FEW, channel=pd.Series(["x", "y"], index=[1, 2]))
    with pytest.raises(OptionError, match="two columns"):
        cohort_table(FEW, channel=frame.assign(more=1))


def test_margins_and_costs_by_channel_and_by_cohort():
    options = {"by": "M", "channel": "channel"}
    table = cohort_table(
        FEW, **options, margin={"ads": 0.5, "web": 0.1}, cac={"ads": 2.0, "web": 1.0}
    )
    ads = table[table["channel"] == "ads"].iloc[0]
    assert ads[["margin", "cac", "net_of_cac"]].tolist() == [2.5, 2.0, 0.5]
    by_cohort = cohort_table(FEW, "M", cac={"2023-01": 1.0, "2023-02-15": 2.0, "2023-04": 3.0})
    assert by_cohort.groupby("cohort")["cac"].first().tolist() == [1.0, 2.0, 0.0, 3.0]
    quarters = cohort_table(FEW, "Q", cac=pd.Series({"2023-Q1": 1.5, "2023-Q2": 2.5}))
    assert quarters.groupby("cohort")["cac"].first().tolist() == [1.5, 2.5]
    with pytest.raises(OptionError, match="in the cohort '2023-02', '2023-04'"):
        cohort_table(FEW, "M", cac={"2023-01": 1.0})
    with pytest.raises(OptionError, match="in the channel 'web'"):
        cohort_table(FEW, **options, cac={"ads": 1.0})
    with pytest.raises(DataError, match="none for 'web'"):
        cohort_table(FEW, **options, margin={"ads": 1.0})
    with pytest.raises(OptionError, match=r"channel='\.\.\.'"):
        cohort_table(FEW, margin={"ads": 1.0})
    with pytest.raises(OptionError, match="0 or more"):
        cohort_table(FEW, cac=-1)


def test_what_is_refused():
    with pytest.raises(OptionError, match="Did you mean 'retention'"):
        cohort_table(FEW, "M", "retentoin")
    with pytest.raises(OptionError, match="metric='net_of_cac' needs cac="):
        cohort_table(FEW, "M", "net_of_cac")
    with pytest.raises(OptionError, match="by='month' is not known"):
        cohort_table(FEW, "month")
    with pytest.raises(OptionError, match="max_age=-1"):
        cohort_table(FEW, max_age=-1)
    with pytest.raises(DataError, match=r"no column 'chanel' among.*Did you mean 'channel'"):
        cohort_table(FEW, channel="chanel")
    with pytest.raises(OptionError, match="'cohort_of_customer'"):
        cohort_table(FEW.rename(columns={"channel": "cohort"}), channel="cohort")
    with pytest.raises(OptionError, match="known by the week"):
        cohort_table(FEW, "D", collapse="W")
    with pytest.raises(DataError, match="tells no groups"):
        cohort_table(FEW, channel="amount")


# --- completed by a model --------------------------------------------------------------------


def test_what_is_observed_stays_and_the_rest_is_the_models(cdnow, model):
    options = {"observation_end": CUT, "margin": 0.3, "max_age": 14}
    plain = cohort_table(cdnow, "M", **options)
    full = cohort_table(cdnow, "M", model=model, draws=400, **options)
    shared = plain.columns.drop("forecast").tolist()
    seen = full["complete"]
    pd.testing.assert_frame_equal(full.loc[seen, shared], plain.loc[seen, shared])
    ahead = full["forecast"]
    assert (ahead == ~seen).all()
    assert full.loc[ahead, "retention"].notna().all()
    assert full.loc[seen, "retention_pi_lower"].isna().all()
    for name in ("retention", "orders_per_customer", "cumulative_margin"):
        low, mean, high = (
            full.loc[ahead, column] for column in (f"{name}_pi_lower", name, f"{name}_pi_upper")
        )
        assert ((low <= mean) & (mean <= high)).all()
    # September is observed in part, and goes on from there.
    september = full["period"] == "1997-09-01"
    assert (full.loc[september, "orders"] > plain.loc[september, "orders"]).all()
    assert (full.loc[september, "active"] >= plain.loc[september, "active"]).all()

    # All cohorts together are what the model says of all customers.
    until = full["period"].between("1997-09-01", "1998-01-31")
    orders = full.loc[until, "orders"].sum() - plain.loc[until, "orders"].sum()
    revenue = full.loc[until, "revenue"].sum() - plain.loc[until, "revenue"].sum()
    rfm = clv.rfm_summary(cdnow, observation_end=CUT, time_unit="W")
    days = (pd.Timestamp("1998-01-31") - pd.Timestamp(CUT)).days
    exact = model.predict(rfm, horizon=f"{days}D", discounting="none")
    assert orders == pytest.approx(exact["expected_purchases"].sum(), rel=0.02)
    assert revenue == pytest.approx(exact["clv"].sum(), rel=0.02)
    assert json.loads(json.dumps(full.attrs)) == full.attrs
    assert full.attrs["level"] == 0.9


def test_forecasts_hold_the_truth_of_simulated_cohorts(model):
    ages = np.random.default_rng(1).integers(300, 700, 3_000)
    rows = model.simulate(3_000, ages / 7, 7, observation_end="2025-01-01").transactions
    truth = cohort_table(rows, "Q", max_age=6)
    end = "2024-05-20"
    rfm = clv.rfm_summary(rows, observation_end=end, time_unit="W")
    fit = clv.CLVModel(clv.MBGNBD(), clv.GammaGamma()).fit(rfm)
    table = cohort_table(rows, "Q", model=fit, observation_end=end, max_age=6, interval=0.95)
    both = table.merge(truth, on=["cohort", "age"], suffixes=("", "_true"))
    both = both[both["forecast"] & (both["period"] < "2025-01-01") & both["complete_true"]]
    both = both[both["customers"] == both["customers_true"]]
    assert len(both) >= 10
    for name in ("retention", "cumulative_orders", "cumulative_revenue"):
        inside = both[f"{name}_true"].between(both[f"{name}_pi_lower"], both[f"{name}_pi_upper"])
        assert inside.mean() >= 0.8, name


def test_customers_who_bought_this_period_are_not_active_twice(model):
    # They all bought on the last day but one, so nobody can become active for the first time.
    rows = log(*((i, f"2023-0{1 + i % 3}-10", 5.0) for i in range(300)))
    rows = pd.concat([rows, log(*((i, "2023-04-14", 5.0) for i in range(300)))])
    rfm = clv.rfm_summary(rows, observation_end="2023-04-15", time_unit="W")
    model = copy.deepcopy(model)
    model.purchases.data_ = None  # of other data: only its parameters are of use here
    with pytest.warns(DataWarning, match="does not say which data"):
        table = cohort_table(
            rows, "M", model=model, observation_end="2023-04-15", max_age=3, draws=50
        )
    april = table[table["period"] == "2023-04-01"]
    np.testing.assert_array_equal(april["retention"], 1.0)
    assert (april["orders"] > 100).all()
    assert len(rfm) == 300


@pytest.mark.parametrize("end", ["1997-09-29", "1997-10-02", "1997-10-05"])
def test_weekly_purchases_are_forecast_by_the_week(cdnow, end):
    rfm = clv.rfm_summary(cdnow, observation_end=end, collapse="W", time_unit="W")
    fit = clv.MBGNBD().fit(rfm)
    options = {"observation_end": end, "collapse": "W", "amount": None, "max_age": 10}
    plain = cohort_table(cdnow, "M", **options).set_index("period")
    table = cohort_table(cdnow, "M", model=fit, draws=200, **options).set_index("period")
    added = (table["orders"] - plain["orders"].fillna(0)).groupby("period").sum()
    # Weeks by their Mondays: September ends with that of the 29th, October has four.
    assert added["1997-09-01"] == 0
    until = fit.predict_totals(rfm, horizon="4W")["expected_purchases"].iloc[0]
    assert added["1997-10-01"] == pytest.approx(until, rel=0.05)


def test_a_model_of_purchases_completes_no_money(cdnow):
    rfm = clv.rfm_summary(cdnow, observation_end=CUT, time_unit="W")
    buying = clv.MBGNBD().fit(rfm)
    table = cohort_table(cdnow, "Q", model=buying, observation_end=CUT, draws=50)
    ahead = table["forecast"]
    assert table.loc[ahead, ["orders", "retention_pi_lower"]].notna().all(axis=None)
    assert table.loc[ahead, ["revenue", "cumulative_revenue"]].isna().all(axis=None)
    with pytest.raises(OptionError, match="predicts no money"):
        payback_table(cdnow, cac=3, model=buying, observation_end=CUT)


def test_the_model_must_be_of_these_transactions(cdnow, cdnow_rfm):
    with pytest.raises(OptionError, match="must be a fitted model"):
        cohort_table(cdnow, model="mbg_nbd")
    fit = clv.CLVModel().fit(cdnow_rfm)
    with pytest.raises(OptionError, match="Either say observation_end='1997-09-30'"):
        cohort_table(cdnow, model=fit)
    with pytest.raises(OptionError, match="collapse='D'"):
        cohort_table(cdnow, model=fit, observation_end="1997-09-30", collapse="W")
    bare = pd.DataFrame(cdnow_rfm).reset_index(drop=True)
    bare.attrs = {}
    with pytest.raises(UnitError, match="time_unit='W'"):
        cohort_table(cdnow, model=clv.CLVModel().fit(bare), observation_end="1997-09-30")
    with pytest.raises(OptionError, match=r"model\.purchases"):
        cohort_table(cdnow, model=fit, observation_end="1997-09-30", amount=None)
    with pytest.raises(OptionError, match="too many to hold"):
        cohort_table(cdnow, "D", model=fit, observation_end="1997-09-30", max_age=900)


# --- payback ---------------------------------------------------------------------------------


def test_payback_by_hand():
    table = payback_table(FEW, "M", cac=20, margin=0.5)
    # Age 0: a, b, c, d brought 15 + 60 + 8; age 1: a, b, c brought 50 (January's) + 0; age 2:
    # the same three brought nothing; age 3: a and b brought 55.
    np.testing.assert_allclose(table["margin_per_customer"], [41.5 / 4, 25 / 3, 0, 27.5 / 2])
    assert table["customers"].tolist() == [4, 3, 3, 2]
    assert table["paid_back"].tolist() == [False, False, False, True]
    assert table.attrs["payback_age"] == {"all": 3}
    cut = payback_table(FEW, "M", cac=25, margin=0.5, observation_end="2023-04-25")
    assert cut["customers"].tolist() == [3, 3, 2, 0]  # April is not whole
    assert np.isnan(cut["cumulative_margin"].iloc[-1])
    assert cut.attrs["payback_age"] == {"all": None}
    by_channel = payback_table(FEW, "M", cac={"ads": 2, "web": 30}, channel="channel")
    assert by_channel.attrs["payback_age"] == {"ads": 0, "web": 1}
    mean = payback_table(FEW, "M", cac={"2023-01": 1, "2023-02": 2, "2023-04": 4})
    assert mean["cac"].unique().tolist() == [2.0]


def test_payback_with_a_model(cdnow):
    rfm = clv.rfm_summary(cdnow, observation_end=CUT, time_unit="W")
    fit = clv.CLVModel(clv.MBGNBD(), clv.GammaGamma()).fit(rfm)
    options = {"cac": 22.5, "margin": 0.3, "max_age": 9}
    table = payback_table(cdnow, "M", model=fit, observation_end=CUT, draws=300, **options)
    truth = payback_table(cdnow, "M", **options)
    seen = table["forecast_share"] == 0
    np.testing.assert_allclose(
        table.loc[seen, "cumulative_margin"], truth.loc[seen, "cumulative_margin"]
    )
    assert table.loc[seen, "cumulative_margin_pi_lower"].isna().all()
    ahead = table[~seen]
    assert (ahead["cumulative_margin_pi_lower"] < ahead["cumulative_margin_pi_upper"]).all()
    assert table["p_paid_back"].is_monotonic_increasing
    assert table["p_paid_back"].iloc[0] == 0
    # What a cohort table adds up to, with the same draws.
    cohorts = cohort_table(
        cdnow, "M", model=fit, observation_end=CUT, draws=300, margin=0.3, max_age=9
    )
    total = cohorts.groupby("age")["margin"].sum().cumsum() / 2357
    np.testing.assert_allclose(table["cumulative_margin"], total)
