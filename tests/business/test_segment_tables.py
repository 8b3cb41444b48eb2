"""Tables of segments add up, and agree with totals made another way."""

import re

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.business import (
    compare_segments,
    format_table,
    lorenz_table,
    segment_customers,
    segment_table,
    to_html,
    to_markdown,
)
from clvpredict.errors import DataError, OptionError
from clvpredict.store import read_table

DRAWS = 60


@pytest.fixture(scope="module")
def rfm(cdnow):
    return clv.rfm_summary(cdnow, observation_end="1997-09-30", time_unit="W", currency="USD")


@pytest.fixture(scope="module")
def model(rfm):
    return clv.CLVModel(clv.MBGNBD()).fit(rfm)


@pytest.fixture(scope="module")
def customers(model, rfm):
    table = segment_customers(model.predict(rfm, horizon="52W", margin=0.3))
    return table.assign(channel=np.where(table.index % 3 == 0, "web", "shop"))


@pytest.fixture(scope="module")
def table(model, customers):
    return segment_table(model, customers, draws=DRAWS)


# --- adding up -------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["segment", "channel"])
def test_totals_add_up_to_the_cent(model, customers, by):
    table = segment_table(model, customers, by, interval=None)
    for column in ("clv", "expected_purchases"):
        whole = customers[column].sum()
        assert table[f"{column}_total"].iloc[-1] == pytest.approx(whole, abs=0.005)
        assert table[f"{column}_total"].iloc[:-1].sum() == pytest.approx(whole, abs=0.005)
    assert table["customers"].iloc[:-1].sum() == table["customers"].iloc[-1] == len(customers)
    assert table["share_of_value"].iloc[:-1].sum() == pytest.approx(1)
    assert table["share_of_customers"].iloc[:-1].sum() == pytest.approx(1)


def test_totals_and_intervals_are_those_of_predict_totals(model, rfm, customers, table):
    terms = {"horizon": "52W", "margin": 0.3, "draws": DRAWS}
    by_segment = model.predict_totals(customers, by="segment", **terms)
    assert by_segment.index.tolist() == table["segment"].tolist()[:-1]
    for ours, theirs in {
        "clv_total": "clv",
        "clv_total_lower": "clv_lower",
        "clv_total_upper": "clv_upper",
        "expected_purchases_total": "expected_purchases",
        "value_total_pi_lower": "value_pi_lower",
        "value_total_pi_upper": "value_pi_upper",
        "purchases_total_pi_upper": "purchases_pi_upper",
    }.items():
        expected = by_segment[theirs].to_numpy()
        np.testing.assert_allclose(table[ours].to_numpy()[:-1], expected, rtol=1e-9)
    whole = model.predict_totals(rfm, **terms)
    for end in ("lower", "upper"):
        # Summed within draws; adding up the ends of the segments gives another number.
        ours = table[f"clv_total_{end}"].iloc[-1]
        assert ours == pytest.approx(whole[f"clv_{end}"].iloc[0], rel=1e-9)
    np.testing.assert_allclose(table["clv"] * table["customers"], table["clv_total"])


def test_intervals_contain_their_points_and_widen(table):
    for name in ("clv", "clv_total", "expected_purchases", "p_alive"):
        assert (table[f"{name}_lower"] < table[name]).all()
        assert (table[name] < table[f"{name}_upper"]).all()
    credible = table["clv_total_upper"] - table["clv_total_lower"]
    predictive = table["value_total_pi_upper"] - table["value_total_pi_lower"]
    assert (predictive > credible).all()


def test_net_value_where_the_predictions_have_costs(model, rfm):
    costs = clv.Costs(service_cost=1.0, cost_to_serve=0.05, period="M")
    found = segment_customers(model.predict(rfm, horizon="26W", margin=0.3, costs=costs))
    table = segment_table(model, found, cac=1.5, draws=20)
    assert table["net_clv_total"].iloc[-1] == pytest.approx(found["net_clv"].sum(), abs=0.005)
    assert (table["net_clv"] < table["clv"]).all()
    assert (table["net_value_total_pi_lower"] < table["net_clv_total"]).all()
    np.testing.assert_allclose(table["net_clv_per_cac"], table["net_clv"] / 1.5)


# --- columns ---------------------------------------------------------------------------------


def test_loyalty_and_purchases_are_means_over_customers(model, customers, table):
    top = customers[customers["segment"] == "Top 20 %"]
    row = table.iloc[0]
    assert row["p_alive"] == pytest.approx(top["p_alive"].mean())
    assert row["churn_probability"] == pytest.approx(top["churn_probability"].mean())
    later = model.purchases.p_alive(top, at="52W")
    assert row["retention"] == pytest.approx(later.mean())
    assert row["retention_if_alive"] == pytest.approx(later.sum() / top["p_alive"].sum())
    assert row["p_purchase"] == pytest.approx(top["p_purchase"].mean())
    assert row["expected_purchases"] == pytest.approx(top["expected_purchases"].mean())
    a_year = row["expected_purchases"] / (52 * 7 / 365.25)
    assert row["purchase_frequency"] == pytest.approx(a_year)
    weight = top["expected_purchases"]
    order = np.average(top["expected_spend"], weights=weight)
    assert row["mean_order_value"] == pytest.approx(order)


def test_a_purchase_model_gives_the_table_without_money(model, rfm):
    found = model.purchases.predict(rfm, horizon="52W")
    table = segment_table(model.purchases, segment_customers(found, by="lifecycle"), draws=20)
    assert not [c for c in table if "clv" in c or "value" in c]
    assert table["purchases_total_pi_upper"].iloc[-1] > table["expected_purchases_total"].iloc[-1]
    # Nobody was new; the row is there and says so.
    row = table.set_index("segment").loc["new"]
    assert row["customers"] == row["expected_purchases_total"] == 0
    assert np.isnan(row["p_alive"])


def test_an_endless_horizon_has_no_retention(model, rfm):
    found = segment_customers(model.predict(rfm, horizon=None, discount_rate=0.1))
    table = segment_table(model, found, interval=None)
    assert table[["retention", "retention_if_alive", "purchase_frequency"]].isna().all(axis=None)
    assert "CLV per customer (USD)" in format_table(table)
    assert "whole lifetime" in to_markdown(table)


@pytest.mark.parametrize(
    "cac",
    [
        {"Top 20 %": 5.0, "Next 30 %": 3.0, "Last 50 %": 1.0},
        "cost",
    ],
)
def test_cost_of_acquisition_by_segment_or_column(model, customers, cac):
    costs = {"Top 20 %": 5.0, "Next 30 %": 3.0, "Last 50 %": 1.0}
    found = customers.assign(cost=customers["segment"].astype(str).map(costs).astype(float))
    table = segment_table(model, found, cac=cac, marketing_cost=0.5, draws=20, predictive=False)
    assert table["cac"].tolist()[:3] == [5.0, 3.0, 1.0]
    assert table["cac_total"].iloc[-1] == pytest.approx(found["cost"].sum())
    np.testing.assert_allclose(table["clv_per_cac"], table["clv_total"] / table["cac_total"])
    assert (table["clv_per_cac_lower"] < table["clv_per_cac"]).all()
    assert table["marketing_cost_total"].iloc[-1] == 0.5 * len(customers)
    assert "value_total_pi_lower" not in table


def test_customers_who_cost_nothing_have_no_ratio(model, customers):
    table = segment_table(model, customers, cac=0, interval=None)
    assert table["clv_per_cac"].isna().all()


def test_rates_and_signals_are_of_those_who_are_known(model, customers):
    second = pd.Series(customers.index % 2 == 0, index=customers.index, dtype="boolean")
    second[customers["segment"] == "Last 50 %"] = pd.NA
    nps = np.where(customers["segment"] == "Top 20 %", 9.0, np.nan)
    found = customers.assign(second=second, nps=nps)
    table = segment_table(model, found, cross_sell="second", signals=["nps"], interval=None)
    top = found[found["segment"] == "Top 20 %"]
    assert table["cross_sell_rate"].iloc[0] == pytest.approx(top["second"].mean())
    assert table["cross_sell_rate"].iloc[-1] == pytest.approx(second.mean())
    assert table["cross_sell_coverage"].tolist()[:3] == [1.0, 1.0, 0.0]
    assert np.isnan(table["cross_sell_rate"].iloc[2])
    assert table["nps_mean"].iloc[[0, -1]].tolist() == [9.0, 9.0]
    assert table["nps_coverage"].iloc[-1] == pytest.approx(len(top) / len(found))


def test_what_the_table_says_of_itself(customers, table, tmp_path):
    assert table.attrs["rule"] == customers.attrs["clvpredict_segments"]["segment"]
    assert (table.attrs["horizon"], table.attrs["time_unit"]) == (52.0, "weeks")
    assert (table.attrs["currency"], table.attrs["interval"]) == ("USD", 0.9)
    clv.write_table(table, tmp_path / "segments.csv")
    back = read_table(tmp_path / "segments.csv")
    pd.testing.assert_frame_equal(back, table, check_dtype=False)
    assert back.attrs["rule"] == table.attrs["rule"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_read_from_disk_gives_the_same(model, customers, tmp_path, suffix):
    found = segment_customers(customers, by="lifecycle")
    clv.write_table(found, tmp_path / f"customers{suffix}")
    again = segment_table(model, read_table(tmp_path / f"customers{suffix}"), interval=None)
    pd.testing.assert_frame_equal(again, segment_table(model, found, interval=None))


def test_cohorts_and_costs_by_number(model, customers):
    age = pd.to_timedelta(customers["T"] * 7, unit="D")
    months = (pd.Timestamp("1997-09-30") - age).dt.to_period("M").dt.to_timestamp()
    table = segment_table(model, customers.assign(cohort=months), "cohort", interval=None)
    assert table["segment"].tolist() == ["1997-01-01", "1997-02-01", "1997-03-01", "Total"]
    found = customers.assign(region=np.where(customers.index % 2, 1.0, 2.0))
    table = segment_table(model, found, "region", cac={1: 3.0, 2.0: 4.0}, interval=None)
    assert table["cac"].tolist()[:2] == [3.0, 4.0]


@pytest.mark.slow
def test_a_posterior_adds_up_too(rfm):
    model = clv.CLVModel(clv.MBGNBD()).fit(rfm, method="laplace", seed=1)
    found = segment_customers(model.predict(rfm, horizon="52W", draws=50))
    table = segment_table(model, found, predictive=False, draws=50)
    assert table["clv_total"].iloc[-1] == pytest.approx(found["clv"].sum(), abs=0.005)
    assert table["clv_total"].iloc[:-1].sum() == pytest.approx(found["clv"].sum(), abs=0.005)
    assert (table["clv_total_lower"] < table["clv_total"]).all()
    assert (table["clv_total"] < table["clv_total_upper"]).all()


def test_the_new_customer_is_in_no_segment(model, rfm):
    found = model.predict(rfm, horizon="52W", add_new=True)
    table = segment_table(model, segment_customers(found, by="rfm"), interval=None)
    assert table["customers"].iloc[-1] == len(rfm)
    assert table["clv_total"].iloc[-1] == pytest.approx(found["clv"].iloc[:-1].sum())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"by": "rfm"}, r"segment_customers\(table, by='rfm'\)"),
        ({"by": "chanel"}, "Did you mean 'channel'"),
        ({"cac": {"Top 20 %": 5}}, "no entry for 'Next 30 %', 'Last 50 %'"),
        ({"cac": -1}, "finite number >= 0"),
        ({"cac": [1, 2]}, "finite number"),
        ({"cac": "channel"}, "cac needs numbers"),
        ({"cross_sell": "frequency"}, r"share from 0 to 1.*0 to"),
        ({"cross_sell": "channel"}, "share from 0 to 1"),
        ({"signals": ["channel"]}, "not of numbers"),
        ({"interval": 90}, "between 0 and 1"),
        ({"total": "Top 20 %"}, "All customers"),
        ({"horizon": "52W"}, "no option 'horizon'"),
    ],
)
def test_what_cannot_be_tabulated(model, customers, options, said):
    with pytest.raises(OptionError, match=said):
        segment_table(model, customers, **options)


def test_predictions_of_another_model_or_none(model, rfm, customers):
    other = clv.CLVModel(clv.BGNBD()).fit(rfm)
    with pytest.raises(OptionError, match="another model"):
        segment_table(other, customers)
    lost = customers.copy()
    lost.attrs = {}
    with pytest.raises(OptionError, match="does not say its horizon"):
        segment_table(model, lost)
    for first, second in ((customers, model), (model.spend, customers)):
        with pytest.raises(OptionError, match="in this order"):
            segment_table(first, second)
    with pytest.raises(DataError, match="without a value of 'channel'"):
        segment_table(model, customers.assign(channel=None), "channel")


# --- as text ---------------------------------------------------------------------------------


def test_numbers_are_rounded_alike_with_units_and_intervals(table):
    shown = format_table(table)
    assert shown.columns.tolist()[:5] == [
        "Segment",
        "Customers",
        "Share of customers",
        "CLV per customer (USD)",
        "CLV in total (USD)",
    ]
    assert {"Churned by now", "Retained in 52 weeks"} <= set(shown)
    assert shown["Customers"].iloc[-1] == "2,357"
    row = table.iloc[0]
    text = shown["CLV per customer (USD)"].iloc[0]
    assert text == f"{row['clv']:.1f} ({row['clv_lower']:.1f} – {row['clv_upper']:.1f})"
    assert re.fullmatch(r"\d+ % \(\d+ – \d+ %\)", shown["Share of CLV"].iloc[0])
    assert shown["Share of CLV"].iloc[-1] == "100 %"
    plain = format_table(table, intervals=False)["CLV in total (USD)"].iloc[-1]
    assert plain == f"{table['clv_total'].iloc[-1]:,.0f}"


def test_intervals_of_what_may_come(table):
    shown = format_table(table, columns=["value_total", "purchases_total"])
    low, high = table[["value_total_pi_lower", "value_total_pi_upper"]].iloc[0]
    assert shown["Value in total, what may come (USD)"].iloc[0] == f"{low:,.0f} – {high:,.0f}"
    with pytest.raises(OptionError, match="Did you mean 'clv_total'"):
        format_table(table, columns=["clv_totals"])


def test_what_is_missing_or_partly_known_shows(model, rfm):
    found = segment_customers(model.predict(rfm, horizon="52W"), by="lifecycle")
    found["nps"] = np.where(found.index < 100, 7.0, np.nan)
    shown = format_table(segment_table(model, found, interval=None, signals=["nps"]))
    assert shown.loc[shown["Segment"] == "new", "CLV per customer (USD)"].tolist() == ["n/a"]
    assert shown["nps (mean)"].iloc[-1] == "7.00"
    assert shown["nps known of"].iloc[-1] == "4 %"


@pytest.mark.parametrize("write", [to_markdown, to_html])
def test_labels_do_not_break_the_markup(model, customers, write):
    found = customers.assign(channel=np.where(customers.index % 2, "a|b <i>", "=x_*y*"))
    text = write(segment_table(model, found, "channel", interval=None), columns=["customers"])
    if write is to_markdown:
        assert r"| a\|b \<i\> |" in text
        assert "| **Total** | **2,357** |" in text
    else:
        assert "<td>a|b &lt;i&gt;</td>" in text
        assert "<tfoot><tr><td>Total</td><td>2,357</td></tr></tfoot>" in text


def test_only_segment_tables_are_written(customers):
    with pytest.raises(OptionError, match="segment_table"):
        to_markdown(customers.drop(columns="segment"))


# --- comparison ------------------------------------------------------------------------------


def test_all_pairs_with_the_tables_numbers(model, customers, table):
    pairs = compare_segments(model, customers, draws=DRAWS)
    assert [*zip(pairs["a"], pairs["b"], strict=True)] == [
        ("Top 20 %", "Next 30 %"),
        ("Top 20 %", "Last 50 %"),
        ("Next 30 %", "Last 50 %"),
    ]
    assert pairs["of_a"].iloc[0] == pytest.approx(table["clv"].iloc[0])
    assert pairs["of_b"].iloc[0] == pytest.approx(table["clv"].iloc[1])
    assert (pairs["p_greater"] == 1).all()
    assert (pairs["difference_lower"] < pairs["difference"]).all()
    assert (pairs["difference"] < pairs["difference_upper"]).all()


def test_probability_is_the_share_of_draws(model, customers):
    draws = model.predict_draws(
        customers, horizon="52W", quantities=["value"], margin=0.3, sum_by="channel", draws=DRAWS
    )["value"]
    size = customers["channel"].value_counts()
    web, shop = (draws.sel(channel=c).to_numpy() / size[c] for c in ("web", "shop"))
    pair = compare_segments(model, customers, "channel", of="value", draws=DRAWS).iloc[0]
    assert (pair["a"], pair["b"]) == ("shop", "web")
    assert pair["p_greater"] == pytest.approx((shop > web).mean())
    assert 0 < pair["p_greater"] < 1


def test_equal_segments_are_a_toss_up(model, rfm):
    twice = pd.concat([rfm, rfm.assign(customer_id=rfm["customer_id"] + 1_000_000)])
    twice.attrs = rfm.attrs
    found = model.predict(twice.reset_index(drop=True), horizon="52W")
    found["half"] = ["a"] * len(rfm) + ["b"] * len(rfm)
    pair = compare_segments(model, found, "half", of="value", draws=100, seed=1).iloc[0]
    assert abs(pair["difference"]) < 1e-9
    assert pair["difference_lower"] < 0 < pair["difference_upper"]
    # A binomial share of 100 draws: four standard errors.
    assert pair["p_greater"] == pytest.approx(0.5, abs=0.2)


def test_one_against_the_rest_and_against_one(model, customers, table):
    totals = compare_segments(model, customers, against="rest", per_customer=False, draws=20)
    assert totals["b"].tolist() == ["the rest"] * 3
    whole = totals["of_a"] + totals["of_b"]
    np.testing.assert_allclose(whole, table["clv_total"].iloc[-1])
    one = compare_segments(model, customers, against="Last 50 %", draws=20)
    assert one["a"].tolist() == ["Top 20 %", "Next 30 %"]
    np.testing.assert_allclose(one["ratio"], one["of_a"] / one["of_b"])


def test_sums_within_draws_share_what_is_uncertain(model, customers):
    pair = compare_segments(model, customers, "channel", of="clv", draws=DRAWS).iloc[0]
    sides = segment_table(model, customers, "channel", draws=DRAWS, predictive=False)
    width = sides["clv_upper"] - sides["clv_lower"]
    # Added as if independent, the difference would be far less certain than it is.
    apart = np.hypot(width.iloc[0], width.iloc[1])
    assert pair["difference_upper"] - pair["difference_lower"] < 0.5 * apart


def test_what_cannot_be_compared(model, customers, rfm):
    with pytest.raises(OptionError, match="of='profit'"):
        compare_segments(model, customers, of="profit")
    with pytest.raises(OptionError, match="of='net_clv'"):
        compare_segments(model, customers, of="net_clv")
    with pytest.raises(OptionError, match="against='Top'"):
        compare_segments(model, customers, against="Top")
    with pytest.raises(DataError, match="one segment"):
        compare_segments(model, customers.assign(channel="web"), "channel")
    found = segment_customers(model.purchases.predict(rfm, horizon="52W"))
    assert compare_segments(model.purchases, found, draws=20).attrs["of"] == "expected_purchases"
    with pytest.raises(OptionError, match="of='clv'"):
        compare_segments(model.purchases, found, of="clv")


# --- concentration ---------------------------------------------------------------------------


def test_lorenz_by_hand():
    table = lorenz_table(pd.DataFrame({"customer_id": range(4), "clv": [5.0, 1.0, 2.0, 0.0]}))
    assert table["share_of_customers"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert table["share_of_value"].tolist() == [0, 0, 0.125, 0.375, 1]
    # Mean absolute difference over twice the mean: (5+3+4+1+2+1)·2 / 16 / (2·2) = 0.5.
    assert table["gini"].unique().tolist() == [0.5]


def test_lorenz_has_few_points_of_many_customers(customers):
    table = lorenz_table(customers, "segment", points=50)
    assert table.groupby("segment").size().tolist() == [51] * 4
    whole = table[table["segment"] == "Total"]
    ends = whole.iloc[[0, -1]][["share_of_customers", "share_of_value"]].to_numpy().tolist()
    assert ends == [[0, 0], [1, pytest.approx(1)]]
    assert (np.diff(whole["share_of_value"]) >= 0).all()
    # The last tier is more equal within than all customers are.
    gini = table.groupby("segment")["gini"].first()
    assert gini["Last 50 %"] < gini["Total"]


def test_lorenz_of_equal_customers_and_of_nothing():
    equal = lorenz_table(pd.DataFrame({"customer_id": range(50), "clv": 3.0}))
    np.testing.assert_allclose(equal["share_of_value"], equal["share_of_customers"])
    assert equal["gini"].iloc[0] == pytest.approx(0)
    nothing = lorenz_table(pd.DataFrame({"customer_id": range(3), "clv": 0.0}))
    assert nothing["share_of_value"].isna().all()
    with pytest.raises(DataError, match="missing"):
        lorenz_table(pd.DataFrame({"customer_id": [1], "clv": [np.nan]}))
    with pytest.raises(OptionError, match="points=1"):
        lorenz_table(pd.DataFrame({"customer_id": [1], "clv": [1.0]}), points=1)


@pytest.mark.slow
def test_a_million_customers(model, rfm):
    many = pd.concat([rfm] * 425, ignore_index=True).assign(customer_id=range(425 * len(rfm)))
    found = segment_customers(model.predict(many, horizon="52W", margin=0.3))
    table = segment_table(model, found, predictive=False, draws=50)
    assert table["customers"].iloc[-1] == len(many) > 1_000_000
    assert table["clv_total"].iloc[-1] == pytest.approx(found["clv"].sum(), abs=0.005)
    assert (table["clv_total_lower"] < table["clv_total"]).all()
    assert len(lorenz_table(found, "segment")) == 4 * 101
