"""Rules put customers where they say, whatever the order of rows, and can be kept."""

import json

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.business import segment_customers
from clvpredict.errors import DataError, DataWarning, OptionError, UnitError
from clvpredict.store import read_table

KEY = "clvpredict_segments"


@pytest.fixture(scope="module")
def model():
    return clv.CLVModel(
        clv.MBGNBD.from_params(r=0.52, alpha=6.2, a=0.89, b=1.61, time_unit="W"),
        clv.GammaGamma.from_params(p=6.25, q=3.74, v=15.4),
    )


@pytest.fixture(scope="module")
def predictions(model, cdnow_rfm):
    return model.predict(cdnow_rfm, horizon="52W")


def customers(**columns):
    """A table by hand, in weeks."""
    table = pd.DataFrame(columns)
    table.insert(0, "customer_id", np.arange(len(table)))
    table.attrs = {"clvpredict": {"time_unit": "W", "horizon": 52.0}}
    return table


def segments(table, **options):
    return segment_customers(table, **options)["segment"].astype(object).tolist()


# --- tiers -----------------------------------------------------------------------------------


def test_tiers_hold_the_shares_asked_for():
    table = customers(clv=np.random.default_rng(0).permutation(np.arange(10.0)))
    got = segment_customers(table, shares=[0.2, 0.3, 0.5], labels=["A", "B", "C"])
    by_value = dict(zip(got["clv"], got["segment"], strict=True))
    assert [by_value[v] for v in np.arange(9.0, -1.0, -1.0)] == [*"AABBB", *"CCCCC"]
    assert got["segment"].cat.ordered


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([5, 5, 5, 1, 1, 1, 1, 1, 1, 1], 3),  # 3 is nearer to 2 than 0
        ([5, 5, 5, 5, 5, 1, 1, 1, 1, 1], 0),  # 0 is nearer to 2 than 5
        ([5, 5, 5, 5, 1, 1, 1, 1, 1, 1], 4),  # as near: to the better one
    ],
)
@pytest.mark.filterwarnings("ignore:many customers have the same clv:clvpredict.errors.DataWarning")
def test_ties_stay_together_on_the_nearer_side(values, best):
    table = customers(clv=np.array(values, float))
    for seed in range(3):
        mixed = segment_customers(
            table.sample(frac=1, random_state=seed), shares=[0.2, 0.8], labels=["best", "rest"]
        )
        assert (mixed["segment"] == "best").sum() == best
        assert (mixed.loc[mixed["segment"] == "best", "clv"] == 5).all()


def test_ties_that_spoil_the_tiers_are_told():
    with pytest.warns(DataWarning, match=r"hold 0 % / 100 % .* 20 % / 80 %"):
        segment_customers(customers(clv=np.ones(10)), shares=[0.2, 0.8])


def test_thresholds_in_money():
    got = segment_customers(
        customers(clv=[100.0, 99.9, 20.0, 19.0]), by="value", thresholds=[100, 20]
    )
    assert got["segment"].tolist() == ["100 or more", "20 to 100", "20 to 100", "below 20"]


def test_tiers_of_any_number(predictions):
    got = segment_customers(predictions, by="value", of="p_purchase", shares=[0.5, 0.5])
    means = got.groupby("segment", observed=True)["p_purchase"].mean()
    assert means.iloc[0] > means.iloc[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shares": [0.2, 0.3]}, "add up to 1"),
        ({"shares": [np.nan, 1.0]}, "finite numbers"),
        ({"thresholds": "abc"}, "finite numbers"),
        ({"thresholds": [1, 2]}, "falling"),
        ({"shares": [0.5, 0.5], "labels": ["a"]}, "2 different names"),
        ({"of": "channel"}, "channel"),
        ({"quantiles": 3}, "no option 'quantiles'"),
        ({"cuts": [1.0]}, "no option 'cuts'"),
        ({"shares": [0.5, 0.5], "thresholds": [1]}, "not both"),
    ],
)
def test_tiers_that_cannot_be(options, said):
    with pytest.raises(OptionError, match=said):
        segment_customers(customers(clv=np.arange(4.0)), by="value", **options)


# --- lifecycle -------------------------------------------------------------------------------


def test_lifecycle_rules_in_their_order():
    table = customers(
        frequency=[0, 1, 0, 5, 5, 3, 2, 0],
        recency=[0, 8, 0, 20, 90, 90, 80, 0.0],
        T=[10, 10, 60, 100, 100, 100, 100, 60.0],
        p_purchase=[0.1, 0.9, 0.1, 0.9, 0.4, 0.9, 0.9, 0.6],
    )
    assert segments(table, by="lifecycle") == [
        "new",  # 10 weeks old, no repeat, however small P(purchase)
        "growing",  # as old, but has come again
        "lost",
        "at risk",  # likely, but silent for 80 of 100 weeks
        "at risk",  # P(purchase) below a half
        "loyal",
        "growing",  # two repeats are not three
        "growing",  # never came again, but probably will
    ]


def test_lifecycle_thresholds_are_options():
    table = customers(frequency=[2], recency=[80.0], T=[100.0], p_purchase=[0.6])
    assert segments(table, by="lifecycle", loyal_from=2) == ["loyal"]
    assert segments(table, by="lifecycle", active_from=0.7) == ["at risk"]
    assert segments(table, by="lifecycle", active_from=0.7, lost_below=0.65) == ["lost"]
    assert segments(table, by="lifecycle", silent_above=0.1) == ["at risk"]
    with pytest.raises(OptionError, match="probabilities"):
        segments(table, by="lifecycle", active_from=0.1, lost_below=0.2)


@pytest.mark.parametrize("within", ["13W", 13])
def test_a_lifecycle_rule_made_in_weeks_works_in_days(within):
    table = customers(frequency=[0, 0], recency=[0.0, 0.0], T=[12.0, 14.0], p_purchase=[0.5, 0.5])
    weekly = segment_customers(table, by="lifecycle", new_within=within)
    daily = table.assign(T=table["T"] * 7)
    daily.attrs = {"clvpredict": {"time_unit": "D", "horizon": 364.0}}
    again = segment_customers(daily, rule=weekly.attrs[KEY]["segment"])
    assert again["segment"].tolist() == weekly["segment"].tolist() == ["new", "growing"]


def test_a_length_needs_a_unit():
    table = customers(frequency=[0], recency=[0.0], T=[12.0], p_purchase=[0.5])
    table.attrs = {}
    with pytest.raises(UnitError, match="new_within"):
        segments(table, by="lifecycle")
    assert segments(table, by="lifecycle", new_within=13) == ["new"]


# --- RFM -------------------------------------------------------------------------------------


def test_rfm_scores_are_quintiles():
    n = 10
    table = customers(
        frequency=np.arange(1, n + 1),
        recency=np.arange(1.0, n + 1),
        T=np.full(n, 50.0),
        monetary_value=np.arange(n, 0.0, -1.0),
    )
    got = segment_customers(table, by="rfm")
    assert got["r_score"].tolist() == got["f_score"].tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert got["m_score"].tolist() == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1]
    # R 1 … 5, and the mean of F and M always 3.
    assert got["segment"].tolist()[::2] == [
        "At Risk",
        "At Risk",
        "Need Attention",
        "Potential Loyalist",
        "Potential Loyalist",
    ]


def test_rfm_names_of_the_corners():
    table = customers(
        frequency=[9, 9, 1, 1, 3],
        recency=[49, 1, 49, 1, 25.0],
        T=np.full(5, 50.0),
        monetary_value=[90, 90, 5, 5, 25.0],
    )
    steps = [10.0, 20.0, 30.0, 40.0]
    rule = {
        "kind": "rfm",
        "monetary": "mean",
        "cuts": {"R": steps, "F": [1.0, 2.0, 3.0, 4.0], "M": steps},
        "time_unit": "W",
    }
    got = segments(table, rule=rule)
    assert got == ["Champions", "Cannot Lose Them", "New", "Lost", "Need Attention"]


def test_rfm_is_independent_of_the_order_of_rows(predictions):
    one = segment_customers(predictions, by="rfm").set_index("customer_id")
    other = segment_customers(predictions.sample(frac=1, random_state=1), by="rfm")
    other = other.set_index("customer_id").loc[one.index]
    columns = ["segment", "r_score", "f_score", "m_score"]
    pd.testing.assert_frame_equal(one[columns], other[columns])


def test_rfm_without_money(model, cdnow_rfm):
    got = segment_customers(model.purchases.predict(cdnow_rfm, horizon="52W"), by="rfm")
    assert "m_score" not in got
    assert got["segment"].notna().all()


def test_rfm_of_totals():
    table = customers(
        frequency=[1, 10], recency=[5.0, 5.0], T=[9.0, 9.0], monetary_value=[20.0, 10.0]
    )
    mean = segment_customers(table, by="rfm")
    total = segment_customers(table, by="rfm", monetary="total")
    assert np.diff(mean["m_score"])[0] < 0 < np.diff(total["m_score"])[0]


# --- columns ---------------------------------------------------------------------------------


def test_columns_and_their_combinations():
    table = customers(clv=[1.0] * 4, channel=["web", "shop", "web", "web"], year=[2, 10, 10, 2.0])
    assert segments(table, by="channel") == ["web", "shop", "web", "web"]
    both = segment_customers(table, by=["channel", "year"])["segment"]
    assert both.tolist() == ["web · 2", "shop · 10", "web · 10", "web · 2"]
    # Numbers in the order of numbers, not of text.
    assert segment_customers(table, by="year")["segment"].cat.categories.tolist() == ["2", "10"]


def test_the_order_of_a_categorical_column_is_kept():
    size = pd.Categorical(["S", "L"], categories=["S", "M", "L"], ordered=True)
    got = segment_customers(customers(clv=[1.0, 2.0], size=size), by="size")["segment"]
    assert got.cat.categories.tolist() == ["S", "M", "L"]
    assert got.cat.ordered


def test_missing_values_are_refused_or_named():
    table = customers(clv=[1.0, np.nan, 3.0], channel=["web", None, "shop"])
    with pytest.raises(DataError, match=r"without 'channel': 1 row(.|\n)*missing='unknown'"):
        segment_customers(table, by="channel")
    named = segment_customers(table, by="channel", missing="unknown")
    assert named["segment"].tolist() == ["web", "unknown", "shop"]
    with pytest.raises(DataError, match="no value"):
        segment_customers(table, by="value")
    tiers = segment_customers(table, by="value", shares=[0.5, 0.5], missing="?")
    assert tiers["segment"].tolist() == ["Last 50 %", "?", "Top 50 %"]


def test_ids_are_no_segments():
    table = customers(clv=np.arange(2000.0), who=[f"c{i}" for i in range(2000)])
    with pytest.raises(OptionError, match=r"2,000 values.*by='value', of='who'"):
        segment_customers(table, by="who")


def test_labels_not_known_to_a_rule_come_last():
    first = segment_customers(customers(clv=[1.0, 2.0], channel=["web", "shop"]), by="channel")
    later = customers(clv=[1.0, 2.0], channel=["app", "web"])
    got = segment_customers(later, rule=first.attrs[KEY]["segment"])["segment"]
    assert got.tolist() == ["app", "web"]
    assert got.cat.categories.tolist() == ["shop", "web", "app"]


# --- the rule, kept --------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["value", "lifecycle", "rfm"])
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_kept_rule_sorts_the_same_customers_the_same_way(predictions, by, suffix, tmp_path):
    first = segment_customers(predictions, by=by)
    clv.write_table(first, tmp_path / f"table{suffix}")
    stored = read_table(tmp_path / f"table{suffix}").attrs[KEY]["segment"]
    assert stored == json.loads(json.dumps(first.attrs[KEY]["segment"]))
    part = segment_customers(predictions.iloc[::7], rule=stored)
    assert part["segment"].tolist() == first["segment"].iloc[::7].tolist()
    assert part["segment"].cat.categories.tolist() == first["segment"].cat.categories.tolist()


def test_a_rule_of_another_horizon_is_told(model, cdnow_rfm, predictions):
    rule = segment_customers(predictions, by="lifecycle").attrs[KEY]["segment"]
    with pytest.warns(DataWarning, match=r"364 days.* 91 days.*horizon='364D'"):
        segment_customers(model.predict(cdnow_rfm, horizon="13W"), rule=rule)


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"margin": 0.3}, r"margin 1\.0 and now 0\.3"),
        ({"discount_rate": 0.2}, r"discount_rate 0\.1 and now 0\.2"),
    ],
)
def test_tiers_of_value_asked_for_otherwise_are_told(model, cdnow_rfm, predictions, terms, said):
    rule = segment_customers(predictions).attrs[KEY]["segment"]
    other = model.predict(cdnow_rfm, horizon="52W", **terms)
    with pytest.warns(DataWarning, match=said):
        segment_customers(other, rule=rule)
    # Terms of money say nothing about other numbers, and costs nothing about value before them.
    rule = segment_customers(predictions, of="p_purchase").attrs[KEY]["segment"]
    segment_customers(other, rule=rule)


def test_tiers_of_another_currency_are_told(model):
    tables = {}
    for currency in ("EUR", "USD"):
        rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W", currency=currency)
        tables[currency] = model.predict(rfm, horizon="52W")
    rule = segment_customers(tables["EUR"], thresholds=[100, 20]).attrs[KEY]["segment"]
    segment_customers(tables["EUR"], rule=json.loads(json.dumps(rule)))
    with pytest.warns(DataWarning, match="currency 'EUR' and now 'USD'"):
        segment_customers(tables["USD"], rule=rule)


def test_costs_matter_to_tiers_of_net_value(model, cdnow_rfm):
    cheap, dear = (
        model.predict(cdnow_rfm, horizon="52W", costs=clv.Costs(service_cost=c)) for c in (1.0, 2.0)
    )
    rule = segment_customers(cheap, of="net_clv").attrs[KEY]["segment"]
    with pytest.warns(DataWarning, match="costs"):
        segment_customers(dear, rule=rule)
    segment_customers(dear, rule=segment_customers(cheap).attrs[KEY]["segment"])


def test_attrs_rows_and_index_stay(predictions):
    table = predictions.set_index(predictions.index[::-1])
    table.attrs = predictions.attrs
    got = segment_customers(segment_customers(table), by="lifecycle", name="life")
    assert got.index.equals(table.index)
    assert got.attrs["clvpredict"] == predictions.attrs["clvpredict"]
    assert set(got.attrs[KEY]) == {"segment", "life"}
    pd.testing.assert_frame_equal(got[table.columns], table)
    assert "segment" not in table


def test_a_segment_is_made_anew_but_a_column_is_not_overwritten(predictions):
    again = segment_customers(segment_customers(predictions), by="lifecycle")
    assert again["segment"].cat.categories[0] == "new"
    with pytest.raises(OptionError, match="name='segment_2'"):
        segment_customers(predictions.assign(segment="mine"))
    with pytest.raises(OptionError, match="rename it first"):
        segment_customers(predictions.assign(r_score=1), by="rfm")


def test_a_new_customer_is_in_no_segment(model, cdnow_rfm):
    table = model.predict(cdnow_rfm.head(20), horizon="52W", add_new=True)
    for by in ("lifecycle", "rfm"):
        got = segment_customers(table, by=by, name=by)
        assert got[by].isna().tolist() == [False] * 20 + [True]
        assert len(got) == 21


def test_rules_that_are_none(predictions):
    with pytest.raises(OptionError, match="kind of rule"):
        segment_customers(predictions, rule={"kind": "magic"})
    with pytest.raises(OptionError, match="leave by= and the others out"):
        segment_customers(predictions, "rfm", rule={"kind": "value"})
    for rule in ("value", {"kind": "value"}, {"kind": "rfm"}):
        with pytest.raises(OptionError, match="what an earlier table keeps"):
            segment_customers(predictions, rule=rule)
    with pytest.raises(OptionError, match="loyal_from='3'"):
        segment_customers(predictions, by="lifecycle", loyal_from="3")
    with pytest.raises(OptionError, match="new_within=None"):
        segment_customers(predictions, by="lifecycle", new_within=None)
    with pytest.raises(OptionError, match="takes no options"):
        segment_customers(predictions, "frequency", shares=[1])
    with pytest.raises(DataError, match="no customers"):
        segment_customers(predictions.head(0))
