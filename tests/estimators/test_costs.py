"""Net values: what customers cost, expected and realised."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import DataWarning, InfiniteValueError, OptionError, UnitError

COSTS = clv.Costs(
    service_cost=2.5, cost_to_serve=0.4, marketing_cost=0.2, retention_cost=1.0, return_rate=0.1
)
MONTHS = 52 * 7 / (365.25 / 12)


@pytest.fixture(scope="module")
def model(cdnow_rfm: pd.DataFrame) -> clv.CLVModel:
    return clv.CLVModel(clv.MBGNBD()).fit(cdnow_rfm)


def test_by_hand_without_discounting(model, cdnow_rfm):
    """Every term of the formula from other methods of the model."""
    table = model.predict(cdnow_rfm, horizon="52W", margin=0.3, discounting="none", costs=COSTS)
    # Time alive: P(alive at u) integrated over the 52 weeks by Simpson's rule.
    u = np.linspace(0.0, 52.0, 105)
    alive = np.array([model.purchases.p_alive(cdnow_rfm, at=float(t)) for t in u])
    weights = np.ones(105)
    weights[1:-1:2], weights[2:-1:2] = 4.0, 2.0
    months_alive = (alive * weights[:, None]).sum(axis=0) * (u[1] / 3) / (365.25 / 12 / 7)
    expected = (
        table["expected_purchases"] * (table["expected_spend"] * 0.3 * 0.9 - 2.5)
        - 0.4 * months_alive
        - 0.2 * MONTHS
        - 1.0
    )
    np.testing.assert_allclose(table["net_clv"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "discounting", ["continuous", pytest.param("monthly", marks=pytest.mark.slow), "none"]
)
def test_what_is_realised_agrees_with_what_is_expected(model, cdnow_rfm, discounting):
    draws = model.predict_draws(
        cdnow_rfm,
        horizon="52W",
        margin=0.3,
        discounting=discounting,
        costs=COSTS,
        sum_by=True,
        quantities=["net_clv", "net_value"],
        draws=400,
    )
    gap = draws["net_value"].to_numpy() - draws["net_clv"].to_numpy()
    assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(len(gap))
    assert gap.std() > 0


def test_no_costs_is_no_difference(model, cdnow_rfm):
    some = cdnow_rfm.head(400)
    table = model.predict(some, horizon="52W", margin=0.3, costs=clv.Costs(), interval=0.9)
    np.testing.assert_array_equal(table["net_clv"], table["clv"])
    np.testing.assert_array_equal(table["net_value_pi_upper"], table["value_pi_upper"])
    plain = model.predict(some, horizon="52W", margin=0.3, interval=0.9)
    pd.testing.assert_frame_equal(table[plain.columns], plain)


def test_monthly_discounting_is_near_the_continuous_one(model, cdnow_rfm):
    totals = {
        how: model.predict(cdnow_rfm, horizon="52W", costs=COSTS, discounting=how)["net_clv"].sum()
        for how in ("continuous", "monthly")
    }
    assert totals["monthly"] == pytest.approx(totals["continuous"], rel=0.01)


def test_for_ever(model, cdnow_rfm):
    """A long horizon comes near the infinite one; without discounting there is none."""
    for_ever = model.predict(cdnow_rfm, horizon=None, margin=0.3, costs=COSTS)
    long = model.predict(cdnow_rfm, horizon="200Y", margin=0.3, costs=COSTS)
    np.testing.assert_allclose(for_ever["net_clv"], long["net_clv"], rtol=1e-4)
    stable = clv.CLVModel(clv.MBGNBD())
    with pytest.raises(InfiniteValueError, match="infinite"):
        model.predict(cdnow_rfm, horizon=None, discount_rate=0, costs=COSTS)
    assert not hasattr(stable, "result_")


def test_costs_differ_between_customers(model, cdnow_rfm):
    rfm = cdnow_rfm.head(400).copy()
    rfm["channel"] = np.where(rfm["customer_id"] % 2, "email", "search")
    rfm["postage"] = np.where(rfm["channel"] == "email", 1.0, 3.0)
    by_column = model.predict(
        rfm, horizon="52W", margin=0.3, costs=clv.Costs(service_cost="postage"), interval=0.8
    )
    by_segment = model.predict(
        rfm,
        horizon="52W",
        margin=0.3,
        costs=clv.Costs(service_cost={"email": 1.0, "search": 3.0}),
        segment="channel",
        interval=0.8,
    )
    for name in ("net_clv", "net_clv_lower", "net_value_pi_upper"):
        np.testing.assert_array_equal(by_column[name], by_segment[name])
    assert "postage" in by_column
    assert "channel" in by_segment
    # The same costs, for all customers of a channel alone: a customer's do not hang on others'.
    email = rfm[rfm["channel"] == "email"]
    alone = model.predict(email, horizon="52W", margin=0.3, costs=clv.Costs(service_cost=1.0))
    kept = by_column.loc[(rfm["channel"] == "email").to_numpy(), "net_clv"]
    np.testing.assert_allclose(alone["net_clv"], kept, rtol=1e-12)


def test_totals_and_thresholds(model, cdnow_rfm):
    some = cdnow_rfm.head(400)
    table = model.predict(some, horizon="52W", margin=0.3, costs=COSTS)
    total = model.predict_totals(some, horizon="52W", margin=0.3, costs=COSTS)
    assert total.loc["all", "net_clv"] == pytest.approx(table["net_clv"].sum(), rel=1e-12)
    assert total.loc["all", "net_clv_lower"] < total.loc["all", "net_clv"]
    above = model.p_above(some, 0.0, of="net_value", horizon="52W", margin=0.3, costs=COSTS)
    assert 0 < above.mean() < 1
    with pytest.raises(OptionError, match="net_value"):
        model.p_above(some, 0.0, of="net_value", horizon="52W")


def test_predictions_say_their_costs_and_can_be_asked_again(model, cdnow_rfm, tmp_path):
    table = model.predict(cdnow_rfm, horizon="52W", margin=0.3, costs=COSTS)
    for suffix in ("csv", "parquet"):
        path = tmp_path / f"p.{suffix}"
        clv.write_table(table, path)
        said = clv.store.read_table(path).attrs["clvpredict"]
        assert clv.Costs(**said["costs"]) == COSTS
        assert said["margin"] == 0.3


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        ({"service_cost": -1.0}, "service_cost must be a finite number >= 0"),
        ({"return_rate": 1.2}, "return_rate must be between 0 and 1"),
        ({"cost_to_serve": float("nan")}, "cost_to_serve"),
        ({"service_cost": {"a": -2.0}}, "service_cost"),
        ({"period": "fortnight"}, "fortnight"),
    ],
)
def test_costs_that_are_none(costs, message):
    with pytest.raises(OptionError, match=message):
        clv.Costs(**costs)


def test_what_does_not_go_together(model, cdnow_rfm):
    with pytest.raises(OptionError, match="names the column 'postage'"):
        model.predict(cdnow_rfm, horizon="52W", costs=clv.Costs(service_cost="postage"))
    with pytest.raises(OptionError, match="must be clvpredict"):
        model.predict(cdnow_rfm, horizon="52W", costs=2.5)
    with pytest.raises(OptionError, match="as numbers"):
        model.predict(
            cdnow_rfm.assign(postage=1.0),
            horizon="52W",
            costs=clv.Costs(service_cost="postage"),
            add_new=True,
        )
    plain = pd.DataFrame(cdnow_rfm).copy()
    plain.attrs = {}
    unknown = clv.CLVModel(clv.MBGNBD()).fit(plain)
    with pytest.raises(UnitError, match="cost_to_serve per period"):
        unknown.predict(plain, horizon=52.0, discounting="none", costs=COSTS)
    assert (
        unknown.predict(plain, horizon=52.0, discounting="none", costs=clv.Costs(service_cost=1.0))[
            "net_clv"
        ]
        .notna()
        .all()
    )


def test_a_posterior_averages_its_draws(cdnow_rfm):
    bayesian = clv.CLVModel(clv.MBGNBD()).fit(cdnow_rfm, method="laplace", seed=3)
    some = cdnow_rfm.head(200)
    table = bayesian.predict(some, horizon="26W", margin=0.3, costs=COSTS)
    draws = bayesian.predict_draws(
        some, horizon="26W", margin=0.3, costs=COSTS, quantities=["net_clv"]
    )
    np.testing.assert_allclose(table["net_clv"], draws["net_clv"].mean("draw"), rtol=1e-9)


def test_a_margin_in_percent_is_noticed(model, cdnow_rfm):
    with pytest.warns(DataWarning, match=r"30 % is margin=0\.3"):
        model.predict(cdnow_rfm.head(20), horizon="26W", margin=30)
    with pytest.warns(DataWarning, match="45 is more than all"):
        model.predict(cdnow_rfm.head(20).assign(share=45), horizon="26W", margin="share")


def test_amounts_in_another_currency_are_noticed(cdnow):
    first, second = (
        clv.rfm_summary(cdnow, observation_end="1997-09-30", time_unit="W", currency=currency)
        for currency in ("USD", "EUR")
    )
    dollars = clv.CLVModel(clv.MBGNBD()).fit(first)
    with pytest.warns(DataWarning, match="fitted on amounts in USD"):
        dollars.predict(second.head(20), horizon="26W")
