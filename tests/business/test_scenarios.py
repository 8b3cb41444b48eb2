"""What if."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.business import tornado_table
from clvpredict.errors import DataError, OptionError


@pytest.fixture(scope="module")
def model(cdnow_rfm: pd.DataFrame) -> clv.CLVModel:
    return clv.CLVModel(clv.MBGNBD()).fit(cdnow_rfm)


@pytest.fixture(scope="module")
def table(model: clv.CLVModel, cdnow_rfm: pd.DataFrame) -> pd.DataFrame:
    some = cdnow_rfm.head(200)
    table = model.predict(some, horizon="26W", margin=0.3, discount_rate=0.12)
    table.attrs["clvpredict"]["draws"] = 200  # enough here
    table["kind"] = np.where(table["frequency"] > 0, "again", "once")
    return table


def test_the_change_is_that_of_predictions(model, table):
    found = clv.scenario(model, table, churn=-0.1, frequency=0.2, by="kind")
    then = model.changed(churn=-0.1, frequency=0.2).predict(
        table, horizon="26W", margin=0.3, discount_rate=0.12
    )
    for group, rows in (("all", slice(None)), ("again", table["kind"] == "again")):
        line = found.loc[(group, "clv")]
        assert line["now"] == pytest.approx(table.loc[rows, "clv"].sum(), rel=1e-12)
        assert line["then"] == pytest.approx(then.loc[rows, "clv"].sum(), rel=1e-12)
        assert line["change"] == pytest.approx(line["then"] - line["now"], rel=1e-9)
        assert line["change_lower"] < line["change"] < line["change_upper"]
        assert line["change_percent"] == pytest.approx(100 * line["change"] / line["now"])
    # The change is known far better than the levels are: both are of the same draws.
    line = found.loc[("all", "clv")]
    assert line["change_upper"] - line["change_lower"] < line["now_upper"] - line["now_lower"]
    # Groups add up to all.
    per_group = found.drop("all")
    for name in ("now", "then", "change"):
        sums = per_group[name].groupby("quantity").sum()
        np.testing.assert_allclose(sums, found.loc["all"].loc[sums.index, name], rtol=1e-12)


def test_realised_changes_are_uncertain_and_centred(model, table):
    found = clv.scenario(model, table, frequency=0.5, terms={"draws": 1000})
    line, expected = found.loc[("all", "value")], found.loc[("all", "clv")]
    assert line["change"] == expected["change"]
    assert line["change_lower"] < expected["change_lower"]
    assert line["change_upper"] > expected["change_upper"]
    # Two independent bases: the variances add.
    sd = {p: line[f"{p}_upper"] - line[f"{p}_lower"] for p in ("now", "then", "change")}
    assert sd["change"] == pytest.approx(np.hypot(sd["now"], sd["then"]), rel=0.15)


def test_terms_change(model, table):
    dearer = clv.scenario(model, table, margin=0.1)
    assert dearer.loc[("all", "clv"), "change_percent"] == pytest.approx(10.0)
    assert dearer.loc[("all", "expected_purchases"), "change"] == 0
    assert dearer.loc[("all", "purchases"), ["change_lower", "change_upper"]].tolist() == [0, 0]
    later = clv.scenario(model, table, discount_rate=0.5)
    then = model.predict(table, horizon="26W", margin=0.3, discount_rate=0.18)
    assert later.loc[("all", "clv"), "then"] == pytest.approx(then["clv"].sum(), rel=1e-12)


@pytest.mark.parametrize("margin", ["share", {"again": 0.3, "once": 0.2}])
def test_margins_of_columns_and_segments(model, table, margin):
    own = table.assign(share=np.where(table["kind"] == "again", 0.3, 0.2))
    asked = model.predict(own, horizon="26W", margin=margin, segment="kind")
    found = clv.scenario(model, asked, margin=-0.5)
    assert found.loc[("all", "clv"), "now"] == pytest.approx(asked["clv"].sum(), rel=1e-12)
    assert found.loc[("all", "clv"), "change_percent"] == pytest.approx(-50.0)


def test_only_a_segment_changes(model, table):
    found = clv.scenario(model, table, order_value=0.2, segment={"kind": "again"}, by="kind")
    assert found.loc[("again", "clv"), "change_percent"] == pytest.approx(20.0)
    assert found.loc[("once", "clv"), "change"] == pytest.approx(0.0, abs=1e-9)
    for name in ("change_lower", "change_upper"):
        assert found.loc[("once", "clv"), name] == pytest.approx(0.0, abs=1e-9)
        assert found.loc[("once", "value"), name] == 0.0
    both = clv.scenario(model, table, order_value=0.2, segment={"kind": ["again", "once"]})
    assert both.loc[("all", "clv"), "change_percent"] == pytest.approx(20.0)


def test_expectations_alone(model, table):
    full = clv.scenario(model, table, churn=-0.1)
    found = clv.scenario(model, table, churn=-0.1, predictive=False)
    assert found.index.get_level_values("quantity").tolist() == ["expected_purchases", "clv"]
    np.testing.assert_allclose(found, full.loc[found.index], rtol=1e-9)


def test_nothing_changes(model, table):
    found = clv.scenario(model, table, by="kind")
    assert (found[["change", "change_lower", "change_upper"]] == 0).all(axis=None)


def test_net_values(model, table):
    costs = clv.Costs(service_cost=2.0)
    net = model.predict(table, horizon="26W", margin=0.3, costs=costs)
    found = clv.scenario(model, net, frequency=0.1)
    assert found.loc[("all", "net_clv"), "now"] == pytest.approx(net["net_clv"].sum(), rel=1e-12)
    assert found.loc[("all", "net_clv"), "change"] > 0


def test_a_model_of_purchases(model, cdnow_rfm):
    buying = model.purchases
    table = buying.predict(cdnow_rfm.head(300), horizon="26W")
    found = clv.scenario(buying, table, frequency=0.1)
    assert set(found.index.get_level_values("quantity")) == {"expected_purchases", "purchases"}
    with pytest.raises(OptionError, match="purchases only"):
        clv.scenario(buying, table, order_value=0.1)


def test_an_rfm_summary_needs_a_horizon(model, cdnow_rfm):
    some = cdnow_rfm.head(100)
    with pytest.raises(OptionError, match="horizon='52W'"):
        clv.scenario(model, some, churn=-0.1)
    found = clv.scenario(model, some, churn=-0.1, horizon="26W", terms={"margin": 0.5})
    table = model.predict(some, horizon="26W", margin=0.5)
    assert found.loc[("all", "clv"), "now"] == pytest.approx(table["clv"].sum(), rel=1e-12)


def test_a_posterior(cdnow_rfm):
    model = clv.CLVModel(clv.MBGNBD()).fit(cdnow_rfm, method="laplace", seed=1)
    table = model.predict(cdnow_rfm.head(100), horizon="26W")
    found = clv.scenario(model, table, churn=-0.1)
    assert found.loc[("all", "clv"), "now"] == pytest.approx(table["clv"].sum(), rel=1e-9)


def test_predictions_of_another_model_are_refused(model, table, cdnow_rfm):
    other = clv.CLVModel(clv.BGNBD()).fit(cdnow_rfm)
    with pytest.raises(OptionError, match="another model"):
        clv.scenario(other, table, churn=-0.1)
    with pytest.raises(OptionError, match="changed by"):
        clv.scenario(model.changed(churn=-0.1), table, churn=-0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"churn": -1.5}, "above -1"),
        ({"churn": "-5%"}, "above -1"),
        ({"margin": float("inf")}, "above -1"),
        ({"churn": -0.1, "segment": {"channel": "email"}}, "channel"),
        ({"churn": -0.1, "segment": {"kind": "twice"}}, "twice"),
        ({"churn": -0.1, "by": "channel"}, "channel"),
        ({"discount_rate": 0.1, "segment": {"kind": "once"}}, "everybody"),
        ({"churn": -0.1, "terms": {"margni": 0.2}}, "margni"),
    ],
)
def test_what_is_refused(model, table, options, message):
    with pytest.raises(OptionError, match=message):
        clv.scenario(model, table, **options)


def test_no_customers(model, table):
    with pytest.raises((OptionError, DataError), match="no"):
        clv.scenario(model, table.iloc[:0], churn=-0.1)


def test_tornado(model, table):
    found = tornado_table(model, table, {"frequency": 0.1, "churn": (-0.05, 0.1), "margin": 0.2})
    assert found["factor"].tolist() == ["margin"] * 2 + ["frequency"] * 2 + ["churn"] * 2
    assert found["change"].tolist() == [-0.2, 0.2, -0.1, 0.1, -0.05, 0.1]
    np.testing.assert_allclose(found["then"] - found["now"], found["effect"], rtol=1e-9)
    one = clv.scenario(model, table, churn=0.1).loc[("all", "clv")]
    assert found.iloc[-1]["effect"] == one["change"]
    # Sums of the same draws, of equal customers together: up to rounding.
    assert found.iloc[-1]["effect_lower"] == pytest.approx(one["change_lower"], rel=1e-9)
    with pytest.raises(OptionError, match="net_clv"):
        tornado_table(model, table, 0.1, of="net_clv")
    with pytest.raises(OptionError, match="chrun"):
        tornado_table(model, table, {"chrun": 0.1})


def test_a_posterior_with_its_own_draws(cdnow_rfm):
    """Predictions of a posterior are means over draws: they say which."""
    model = clv.CLVModel(clv.MBGNBD()).fit(cdnow_rfm, method="laplace", seed=1)
    table = model.predict(cdnow_rfm.head(50), horizon="26W", draws=60, seed=9)
    found = clv.scenario(model, table, churn=-0.1, predictive=False)
    assert found.loc[("all", "clv"), "now"] == pytest.approx(table["clv"].sum(), rel=1e-12)
