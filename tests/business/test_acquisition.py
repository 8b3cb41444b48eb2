"""New customers and the whole base: what they are worth, and what may be paid."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.business import (
    acquisition_table,
    customer_equity,
    payback_curve,
    residual_value,
    value_against_cac,
)
from clvpredict.business.acquisition import _New
from clvpredict.errors import DataError, OptionError


@pytest.fixture(scope="module")
def model(cdnow_rfm: pd.DataFrame) -> clv.CLVModel:
    return clv.CLVModel(clv.MBGNBD()).fit(cdnow_rfm)


@pytest.fixture(scope="module")
def table(model: clv.CLVModel, cdnow_rfm: pd.DataFrame) -> pd.DataFrame:
    return model.predict(cdnow_rfm, horizon="52W", margin=0.3)


def test_value_at_acquisition(model):
    found = acquisition_table(model, horizon="104W", margin=0.3, cac=15.0)
    line = found.loc["new customer"]
    new = model.predict(
        pd.DataFrame({"frequency": [0], "recency": [0.0], "T": [0.0], "monetary_value": [0.0]}),
        horizon="104W",
        margin=0.3,
    ).iloc[0]
    assert line["first_purchase"] == pytest.approx(0.3 * new["expected_spend"])
    assert line["value_at_acquisition"] == pytest.approx(line["first_purchase"] + new["clv"])
    assert line["value_to_cac"] == pytest.approx(line["value_at_acquisition"] / 15.0)
    assert line["max_cac_for_ratio"] == pytest.approx(line["value_at_acquisition"] / 3.0)
    year = acquisition_table(model, horizon="12M", margin=0.3).loc["new customer"]
    assert line["max_cac_for_payback"] == pytest.approx(year["value_at_acquisition"], rel=1e-9)
    assert "cac" not in year


@pytest.mark.slow
def test_payback_is_where_the_expected_margin_is_the_cac(model):
    line = acquisition_table(model, horizon="104W", margin=0.3, cac=20.0, draws=100).iloc[0]
    by_then = acquisition_table(
        model, horizon=float(line["payback"]), margin=0.3, target_payback=0.5
    ).loc["new customer"]
    # The curve is read between 48 points, by straight lines under it.
    assert by_then["value_at_acquisition"] == pytest.approx(20.0, rel=2e-3)
    assert line["payback_lower"] < line["payback"] < line["payback_upper"]
    never = acquisition_table(model, horizon="104W", margin=0.3, cac=500.0, draws=50).iloc[0]
    assert never["payback"] == np.inf
    assert never["p_value_above_cac"] < 0.02
    at_once = acquisition_table(model, horizon="104W", margin=0.3, cac=5.0, draws=50).iloc[0]
    assert at_once["payback"] == 0.0
    assert at_once["p_value_above_cac"] < 1.0  # not everybody's first purchase pays
    sure = acquisition_table(
        model, horizon="104W", margin=0.3, cac=5.0, first_purchase=20.0, draws=50
    ).iloc[0]
    assert sure["p_value_above_cac"] == 1.0


def test_p_value_above_cac_is_what_simulated_customers_do(model):
    """20,000 customers from the estimates, followed for two years, undiscounted."""
    line = acquisition_table(model, horizon="104W", margin=0.3, cac=25.0, discounting="none").loc[
        "new customer"
    ]
    log = model.simulate(20_000, 104.0, seed=3).transactions
    brought = 0.3 * log.groupby("customer_id")["amount"].sum().to_numpy()
    # 10,000 draws (20 of each draw of the parameters) and 20,000 customers.
    assert line["p_value_above_cac"] == pytest.approx((brought > 25.0).mean(), abs=0.02)
    assert line["value_at_acquisition"] == pytest.approx(brought.mean(), rel=0.05)
    low, high = np.quantile(brought, [0.05, 0.95])
    assert line["realised_pi_lower"] == pytest.approx(low, rel=0.05)
    assert line["realised_pi_upper"] == pytest.approx(high, rel=0.05)


@pytest.mark.parametrize("options", [{}, {"first_purchase": 40.0}, {"discounting": "monthly"}])
def test_realised_net_value_has_the_expected_mean(model, options):
    costs = clv.Costs(service_cost=1.0, cost_to_serve=0.1, marketing_cost=0.05, return_rate=0.1)
    terms = {name: how for name, how in options.items() if name == "discounting"}
    first = options.get("first_purchase")
    one = {"model": model, "margin": 0.3, "costs": costs, "first_purchase": first}
    new = _New(one, "104W", terms)
    # 20 customers of each draw: held to what that draw expects.
    gap = new.realised().reshape(-1, 20).mean(axis=1) - new.value(new.horizon)[1]
    assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(len(gap))


def test_channels(model):
    models = {"search": model, "email": model.changed(order_value=1.0)}
    found = acquisition_table(
        models,
        horizon="52W",
        cac={"search": 10.0, "email": 30.0},
        margin=0.3,
        costs={"search": clv.Costs(service_cost=1.0), "email": clv.Costs()},
        draws=50,
    )
    assert found.index.tolist() == ["search", "email"]
    assert found.loc["email", "first_purchase"] > 2 * found.loc["search", "first_purchase"]
    curve = payback_curve(models, horizon="52W", cac=10.0, margin=0.3, every="13W", draws=50)
    assert curve.groupby("channel").size().tolist() == [5, 5]
    assert curve["time"].iloc[:5].tolist() == [0.0, 13.0, 26.0, 39.0, 52.0]
    for _, rows in curve.groupby("channel"):
        assert rows["margin"].is_monotonic_increasing
        assert (rows["margin_lower"] <= rows["margin_upper"]).all()
    with pytest.raises(OptionError, match="cac has no entry for 'email'"):
        acquisition_table(models, horizon="52W", cac={"search": 10.0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": "26W", "target_payback": "12M"}, "target_payback"),
        ({"horizon": 0.0}, "finite time above 0"),
        ({"horizon": "52W", "margin": "share"}, "margin"),
        ({"horizon": "52W", "cac": -1.0}, "cac"),
        ({"horizon": "52W", "target_ratio": 0}, "target_ratio"),
        ({"horizon": "52W", "costs": clv.Costs(service_cost="postage")}, "postage"),
    ],
)
def test_what_is_refused(model, options, message):
    with pytest.raises(OptionError, match=message):
        acquisition_table(model, **options)


def test_purchases_only(model, cdnow_rfm):
    table = model.purchases.predict(cdnow_rfm, horizon="52W")
    for ask in (
        lambda: acquisition_table(model.purchases, horizon="52W"),
        lambda: value_against_cac(model.purchases, table, 5.0),
        lambda: residual_value(model.purchases, table),
        lambda: customer_equity(model.purchases, table),
    ):
        with pytest.raises(OptionError, match="CLVModel"):
            ask()


def test_value_against_cac(model, table):
    found = value_against_cac(model, table, 10.0)
    np.testing.assert_allclose(found["clv"], table["clv"], rtol=1e-12)
    np.testing.assert_allclose(found["clv_to_cac"], table["clv"] / 10.0)
    above = model.p_above(table, 10.0, horizon="52W", margin=0.3)
    np.testing.assert_array_equal(found["p_value_above_cac"], above)
    channels = table.assign(channel=np.where(table["customer_id"] % 2, "a", "b"))
    by_channel = value_against_cac(model, channels, {"a": 5.0, "b": 0.0}, segment="channel")
    assert set(by_channel["cac"]) == {0.0, 5.0}
    assert (by_channel.loc[by_channel["cac"] == 0, "clv_to_cac"] == np.inf).all()


def test_residual_value(model, table):
    found = residual_value(model, table)
    np.testing.assert_allclose(found["residual"], table["clv_undiscounted"], rtol=1e-12)
    np.testing.assert_allclose(
        found["realised"], 0.3 * table["frequency"] * table["monetary_value"]
    )
    # At acquisition: exact for a few, where the function interpolates.
    spend = model.predict(
        pd.DataFrame({"frequency": [0], "recency": [0.0], "T": [0.0], "monetary_value": [0.0]}),
        horizon=1.0,
    )["expected_spend"].iloc[0]
    for i in (0, 1000, 2356):
        exact = model.purchases.expected_purchases_new(float(table["T"].iloc[i]) + 52.0)
        assert found["at_acquisition"].iloc[i] == pytest.approx(0.3 * spend * exact, rel=1e-6)


def test_customers_of_the_model_have_no_surplus_on_average(model):
    """E[realised] + E[residual] is what was to be expected at acquisition."""
    base = model.simulate(5_000, np.linspace(5.0, 100.0, 5_000), seed=7)
    surplus = residual_value(model, model.predict(base.rfm, horizon="52W", margin=0.3))["surplus"]
    assert abs(surplus.mean()) < 4 * surplus.std() / np.sqrt(len(surplus))


def test_equity_adds_up(model, table):
    plan = pd.DataFrame(
        {"after": ["0W", "13W"], "customers": [300, 200], "cac": [8.0, 9.0], "channel": ["a", "b"]}
    )
    models = {"a": model, "b": model.changed(order_value=0.5)}
    found = customer_equity(model, table, acquisitions=plan, models=models, draws=200)
    assert found.loc["existing customers", "value"] == pytest.approx(table["clv"].sum(), rel=1e-12)
    parts = found.drop("total")
    for name in ("customers", "value", "spent"):
        assert parts[name].sum() == pytest.approx(found.loc["total", name], rel=1e-12)
    one = acquisition_table(model, horizon="52W", margin=0.3).iloc[0]["value_at_acquisition"]
    assert parts["value"].iloc[1] == pytest.approx(300 * (one - 8.0), rel=1e-9)
    # Those of later have less time, and are worth less today.
    later = acquisition_table(models["b"], horizon="39W", margin=0.3, target_payback="13W")
    worth = 1.1 ** (-13 * 7 / 365.25)
    expected = worth * 200 * (later.iloc[0]["value_at_acquisition"] - 9.0)
    assert parts["value"].iloc[2] == pytest.approx(expected, rel=1e-9)
    assert (found["value_pi_lower"] < found["value_lower"]).all()
    assert (found["value_pi_upper"] > found["value_upper"]).all()
    alone = customer_equity(model, table, draws=20)
    assert alone.index.tolist() == ["existing customers", "total"]


def test_a_plan_that_is_none(model, table):
    plan = pd.DataFrame(
        {"after": ["1W", "300W", "x"], "customers": [1, 2.5, 3], "cac": [1.0, -1.0, np.nan]}
    )
    with pytest.raises(DataError) as caught:
        customer_equity(model, table, acquisitions=plan)
    for part in ("300W", "2.5", "'x'"):
        assert part in str(caught.value)
    with pytest.raises(DataError, match="customers"):
        customer_equity(model, table, acquisitions=pd.DataFrame({"after": ["1W"], "n": [1]}))
    with pytest.raises(DataError, match="no model"):
        customer_equity(
            model,
            table,
            acquisitions=pd.DataFrame({"after": ["1W"], "customers": [1], "channel": ["z"]}),
            models={"a": model},
        )
