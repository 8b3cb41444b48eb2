"""Metrics of periods and realised value: by hand, by plain pandas, from any source."""

import datetime as dt
import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from logs import SOURCES, from_everywhere, log, messy

import clvpredict as clv
from clvpredict.business import business_metrics, historical_clv, simple_clv
from clvpredict.errors import DataError, DataWarning, OptionError

THREE = log(
    ("a", "2023-01-01", 10.0),
    ("a", "2023-02-10", 20.0),
    ("a", "2023-02-20", 30.0),
    ("a", "2023-04-05", 40.0),
    ("b", "2023-01-31", 5.0),
    ("b", "2023-04-30", 15.0),
    ("c", "2023-02-28", 60.0),
)


# --- metrics ---------------------------------------------------------------------------------


def test_by_hand():
    table = business_metrics(THREE, "M", margin=0.5)
    assert table["period"].tolist() == ["2023-01", "2023-02", "2023-03", "2023-04", "all"]
    assert table["end"].dt.strftime("%m-%d").tolist()[:4] == ["01-31", "02-28", "03-31", "04-30"]
    assert table["complete"].all()
    assert table["customers"].tolist() == [2, 2, 0, 2, 3]
    assert table["new_customers"].tolist() == [2, 1, 0, 0, 3]
    assert table["orders"].tolist() == [2, 3, 0, 2, 7]
    assert table["revenue"].tolist() == [15.0, 110.0, 0.0, 55.0, 180.0]
    assert table["gross_margin"].tolist() == [7.5, 55.0, 0.0, 27.5, 90.0]
    nan = np.nan
    np.testing.assert_allclose(table["repeat_rate"], [0, 0.5, nan, 0, 2 / 3])
    # January to February: a of a, b. February to March: none of a, c. March to April: of none.
    np.testing.assert_allclose(table["retention"], [nan, 0.5, 0, nan, 1 / 4])
    np.testing.assert_allclose(table["lifespan"], [nan, 2, 1, nan, 4 / 3])
    whole = table.iloc[-1]
    assert whole["purchase_frequency"] == pytest.approx(7 / 6)
    days = (94 + 89 + 0) / 3
    assert whole["observed_lifespan"] == pytest.approx(days / (365.25 / 12))
    assert whole["simple_clv"] == pytest.approx(simple_clv(180 / 7, 7 / 6, churn=3 / 4, margin=0.5))


@pytest.mark.parametrize("period", ["W", "M", "Q", "Y", pytest.param("D", marks=pytest.mark.slow)])
def test_cdnow_by_plain_pandas(cdnow, period):
    table = business_metrics(cdnow, period).set_index("period")
    daily = cdnow.groupby(["customer_id", "date"], as_index=False)["amount"].sum()
    daily["period"] = daily["date"].dt.to_period({"W": "W-SUN"}.get(period, period))
    grouped = daily.groupby("period")
    want = pd.DataFrame(
        {
            "customers": grouped["customer_id"].nunique(),
            "orders": grouped.size(),
            "revenue": grouped["amount"].sum(),
        }
    )
    own = table.drop("all")
    whole = pd.period_range(want.index[0], want.index[-1] if period != "D" else "1998-06-30")
    want = want.reindex(whole, fill_value=0)
    assert own["start"].tolist() == whole.start_time.tolist()
    for name in want:
        np.testing.assert_allclose(own[name], want[name], rtol=1e-12)
    buyers = [
        set(grouped.get_group(p)["customer_id"]) if p in grouped.groups else set() for p in whole
    ]
    kept = [
        len(now & before) / len(before) if before else np.nan for before, now in pairwise(buyers)
    ]
    np.testing.assert_allclose(own["retention"].iloc[1:], kept)
    first = daily.groupby("customer_id")["period"].min().value_counts()
    assert own["new_customers"].tolist() == first.reindex(whole, fill_value=0).tolist()


def test_periods_that_are_not_whole_are_marked_and_left_out_of_rates():
    def complete(**window):
        return business_metrics(THREE, "M", **window)["complete"].tolist()

    assert complete(observation_end="2023-04-29") == [True, True, True, False, False]
    assert complete(observation_end="2023-05-01") == [True, True, True, True, False, False]
    later = THREE[THREE["date"] > "2023-01-02"]  # begins on 2023-01-31
    assert not business_metrics(later, "M")["complete"].iloc[0]
    assert business_metrics(later, "M", observation_start="2023-01-01")["complete"].iloc[0]
    # The last pair, February to March, is not whole: one of two stayed in the other one.
    cut = business_metrics(THREE, "M", observation_end="2023-03-15").iloc[-1]
    assert cut["retention"] == 0.5
    # No pair of whole years: there is nothing to say.
    year = business_metrics(THREE, "Y").iloc[-1]
    assert np.isnan(year["retention"])
    assert np.isnan(year["simple_clv"])


@pytest.mark.parametrize(("end", "whole"), [("2023-01-29", True), ("2023-02-04", False)])
def test_weeks_of_purchases_end_on_sundays(end, whole):
    # With collapse="W" purchases are dated on Mondays: the week of 2023-01-30 is January's.
    rows = log(("a", "2023-01-02", 1.0), ("a", "2023-01-31", 1.0))
    table = business_metrics(rows, "M", collapse="W", observation_end=end)
    assert table["period"].tolist() == ["2023-01", "all"]
    assert not table["complete"].iloc[0]  # the week of 2023-01-30 is not over
    full = business_metrics(rows, "M", collapse="W", observation_end="2023-02-05")
    assert full["complete"].iloc[0]
    assert full["orders"].iloc[0] == 2
    assert table["orders"].iloc[0] == (1 if whole else 2)


def test_one_customer_one_day():
    table = business_metrics(log(("a", "2023-03-05", 7.0)), "D")
    assert table["orders"].tolist() == [1, 1]
    assert table["average_order_value"].tolist() == [7.0, 7.0]
    assert table["repeat_rate"].tolist() == [0.0, 0.0]
    assert table[["retention", "simple_clv"]].isna().all(axis=None)


def test_without_amounts():
    table = business_metrics(THREE, "M", amount=None)
    assert table["orders"].tolist() == [2, 3, 0, 2, 7]
    assert not {"revenue", "average_order_value", "simple_clv"} & set(table)


def test_hours_and_zones():
    rows = pd.DataFrame(
        {
            "customer_id": [1, 1],
            "date": pd.to_datetime(["2023-01-31T23:30Z", "2023-02-01T12:00Z"], utc=True),
            "amount": [1.0, 2.0],
        }
    )
    assert business_metrics(rows, "M")["orders"].tolist() == [1, 1, 2]
    berlin = business_metrics(rows, "M", timezone="Europe/Berlin", collapse="h")
    assert berlin["orders"].tolist() == [2, 2]
    assert berlin.attrs["timezone"] == "Europe/Berlin"


def test_the_model_stands_beside_it(cdnow):
    rfm = clv.rfm_summary(cdnow, time_unit="W")
    model = clv.CLVModel(clv.MBGNBD(), clv.GammaGamma()).fit(rfm)
    whole = business_metrics(cdnow, "Q", margin=0.3, model=model, horizon="1Y").iloc[-1]
    table = model.predict(rfm, horizon="1Y", discounting="none", margin=0.3, add_new=True)
    new = table.iloc[-1]
    assert whole["model_current_customer"] == pytest.approx(table["clv"].iloc[:-1].mean())
    assert whole["model_new_customer"] == pytest.approx(new["clv"] + 0.3 * new["expected_spend"])
    textbook = simple_clv(
        whole["average_order_value"],
        whole["purchase_frequency"],
        margin=0.3,
        retention=whole["retention"],
        horizon=4,  # quarters
    )
    assert whole["simple_clv_within_horizon"] == pytest.approx(textbook)
    with pytest.raises(OptionError, match="CLVModel"):
        business_metrics(cdnow, "Q", model=model.purchases)


# --- realised value --------------------------------------------------------------------------


def test_realised_by_hand():
    rows = pd.concat(
        [
            THREE,
            log(
                ("a", "2023-02-20", -12.0),  # reduces that day's purchase
                ("b", "2023-02-01", -2.5),  # a day of its own: no purchase
                ("d", "2023-02-01", -9.0),  # no customer
                ("e", "2023-03-01", 0.0),  # a free order
            ),
        ]
    )
    table = historical_clv(rows, margin=0.5).set_index("customer_id")
    assert table["orders"].to_dict() == {"a": 4, "b": 2, "c": 1, "e": 1}
    assert table["revenue"].to_dict() == {"a": 88.0, "b": 20.0, "c": 60.0, "e": 0.0}
    assert table["margin"].to_dict() == {"a": 44.0, "b": 10.0, "c": 30.0, "e": 0.0}
    assert table["other_returns"].to_dict() == {"a": 0.0, "b": -2.5, "c": 0.0, "e": 0.0}
    assert table.attrs["excluded"] == {
        "periods with net value <= 0": 2,
        "customers without a purchase": 1,
    }
    assert table.attrs["revenue"] == 168.0
    assert json.loads(json.dumps(table.attrs)) == table.attrs

    months = historical_clv(rows, "M", margin=0.5)
    b = months[months["customer_id"] == "b"]
    assert b["period"].tolist() == ["2023-01", "2023-02", "2023-04"]
    assert b["other_returns"].tolist() == [0.0, -2.5, 0.0]
    assert b["revenue_cumulative"].tolist() == [5.0, 5.0, 20.0]
    assert b["margin_cumulative"].tolist() == [2.5, 2.5, 10.0]

    together = historical_clv(rows, "M", per_customer=False)
    assert together["customers"].tolist() == [2, 2, 1, 2]
    assert together["revenue"].tolist() == [15.0, 98.0, 0.0, 55.0]
    assert together["revenue_cumulative"].tolist() == [15.0, 113.0, 113.0, 168.0]
    one = historical_clv(rows, per_customer=False)
    assert one[["customers", "orders", "revenue"]].values.tolist() == [[4, 8, 168.0]]


@pytest.mark.parametrize(
    ("collapse", "returns", "end"),
    [("D", "net", None), ("h", "net", "2023-11-11"), ("W", "drop", "2023-11-11")],
)
def test_purchases_are_those_of_the_history(collapse, returns, end):
    options = {"collapse": collapse, "returns": returns, "observation_end": end}
    rows = messy()
    history = clv.purchase_history(rows, **options)
    grouped = history.groupby("customer_id")
    table = historical_clv(rows, **options)
    assert table["customer_id"].tolist() == list(grouped.groups)
    assert table["orders"].tolist() == grouped.size().tolist()
    np.testing.assert_allclose(table["revenue"], grouped["amount"].sum(), atol=1e-9)
    assert table["first"].tolist() == grouped["date"].min().tolist()
    assert table["last"].tolist() == grouped["date"].max().tolist()
    assert table.attrs["counts"] == history.attrs["counts"]
    assert table.attrs["excluded"] == history.attrs["excluded"]

    metrics = business_metrics(rows, "M", **options)
    assert metrics["revenue"].iloc[:-1].sum() == pytest.approx(history["amount"].sum(), abs=1e-6)
    months = historical_clv(rows, "M", **options)
    np.testing.assert_allclose(
        months.groupby("customer_id")["revenue_cumulative"].last(), table["revenue"], atol=1e-9
    )
    by_month = historical_clv(rows, "M", per_customer=False, **options)
    np.testing.assert_allclose(by_month["revenue"], metrics["revenue"].iloc[:-1], atol=1e-9)
    assert by_month["customers"].tolist() == metrics["customers"].iloc[:-1].tolist()


@pytest.fixture(scope="module")
def in_memory():
    return {table: table(messy(), "Q") for table in (business_metrics, historical_clv)}


@pytest.mark.parametrize("through", SOURCES)
def test_every_source_gives_the_same(through, tmp_path, in_memory):
    source = from_everywhere(messy(), through, tmp_path)
    for table, want in in_memory.items():
        got = table(source, "Q")
        pd.testing.assert_frame_equal(got, want, check_exact=True)
        assert got.attrs == want.attrs


# --- what is refused -------------------------------------------------------------------------


def test_what_is_refused():
    with pytest.raises(OptionError, match=r"period='H' is not known. Allowed: 'D', 'W'"):
        business_metrics(THREE, "H")
    with pytest.raises(OptionError, match="give the column of margins in money as amount="):
        historical_clv(THREE, margin="rate")
    with pytest.raises(OptionError, match="finite"):
        business_metrics(THREE, margin=np.nan)
    with pytest.raises(OptionError, match=r"has no option 'costumer_id'.*Did you mean"):
        business_metrics(THREE, costumer_id="id")
    with pytest.raises(OptionError, match="name their column"):
        historical_clv(THREE, amount=None)
    with pytest.raises(DataError, match="no customer has a purchase"):
        historical_clv(THREE.assign(amount=-1.0))
    with pytest.warns(DataWarning, match="already: 2") as caught:
        table = historical_clv(THREE, observation_start=dt.date(2023, 2, 1))
    assert caught[0].filename == __file__
    assert table["revenue"].sum() == 165.0
