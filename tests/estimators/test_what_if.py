"""Models changed by a question of what if, and predictions period by period."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import OptionError


@pytest.fixture(scope="module")
def model(cdnow_rfm: pd.DataFrame) -> clv.CLVModel:
    return clv.CLVModel(clv.MBGNBD()).fit(cdnow_rfm)


def test_order_value_is_a_factor_of_money_alone(model, cdnow_rfm):
    some = cdnow_rfm.head(300)
    now = model.predict(some, horizon="26W", interval=0.9)
    then = model.changed(order_value=0.25).predict(some, horizon="26W", interval=0.9)
    for name in ("clv", "expected_spend", "clv_upper", "value_pi_upper"):
        np.testing.assert_allclose(then[name], 1.25 * now[name], rtol=1e-12)
    for name in ("p_alive", "expected_purchases", "purchases_pi_upper"):
        np.testing.assert_array_equal(then[name], now[name])
    assert then.attrs["clvpredict"]["changed"] == {"order_value": 0.25}


def test_the_past_is_as_it_was(model, cdnow_rfm):
    now = model.predict(cdnow_rfm, horizon="26W")
    then = model.changed(churn=-0.2, frequency=0.3).predict(cdnow_rfm, horizon="26W")
    np.testing.assert_array_equal(then["p_alive"], now["p_alive"])
    assert (then["expected_purchases"] > now["expected_purchases"]).all()
    assert (then["p_purchase"] > now["p_purchase"]).all()


@pytest.mark.slow
def test_draws_follow_the_change(model, cdnow_rfm):
    changed = model.changed(churn=-0.3, frequency=0.2, order_value=0.1)
    point = changed.predict(cdnow_rfm, horizon="52W")
    draws = changed.predict_draws(
        cdnow_rfm, horizon="52W", sum_by=True, quantities=["clv", "value", "purchases"], draws=1000
    )
    gap = draws["value"].to_numpy() - draws["clv"].to_numpy()
    assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(len(gap))
    spread = draws["clv"].to_numpy().std()
    assert abs(draws["clv"].to_numpy().mean() - point["clv"].sum()) < spread


def test_changes_add_up_and_can_be_none(model, cdnow_rfm):
    twice = model.changed(frequency=0.1).changed(frequency=0.1)
    once = model.changed(frequency=0.21)
    assert twice.changed_ == pytest.approx(once.changed_)
    assert model.changed().changed_ == {} == model.changed_
    same = model.changed().predict(cdnow_rfm, horizon="26W")
    pd.testing.assert_frame_equal(same, model.predict(cdnow_rfm, horizon="26W"))


def test_simulated_amounts_follow(model):
    now = model.simulate(2000, 52.0, seed=1).transactions["amount"]
    then = model.changed(order_value=0.5).simulate(2000, 52.0, seed=1).transactions["amount"]
    np.testing.assert_allclose(then, 1.5 * now)


def test_a_changed_model_answers_only(model, cdnow_rfm, tmp_path):
    changed = model.changed(churn=-0.1)
    assert "churn -0.1" in repr(changed)
    with pytest.raises(OptionError, match="cannot be fitted"):
        changed.purchases.fit(cdnow_rfm)
    with pytest.raises(OptionError, match="what if"):
        model.changed(order_value=0.1).fit(cdnow_rfm)
    for one in (changed, changed.purchases, model.changed(order_value=0.1)):
        with pytest.raises(OptionError, match="cannot be saved"):
            clv.save_model(one, tmp_path / "m")
    with pytest.raises(OptionError, match="above -1"):
        model.changed(churn=-1.0)
    with pytest.raises(OptionError, match="order_value"):
        model.changed(order_value=float("nan"))
    # The model that it was made of is as before.
    assert model.purchases._model.dropout_factor == 1.0


@pytest.mark.parametrize("of", ["purchases", "all"])
def test_periods_add_up_to_the_horizon(model, cdnow_rfm, of):
    asked = model.purchases if of == "purchases" else model
    rfm = cdnow_rfm.assign(kind=np.where(cdnow_rfm["frequency"] > 0, "again", "once"))
    periods = asked.predict_periods(rfm, ends=["13W", "20W", "39W"], by="kind", draws=800)
    assert periods.sizes == {"draw": 800, "kind": 2, "period": 3}
    assert periods["period"].to_numpy().tolist() == [13.0, 20.0, 39.0]
    names = ["purchases"] if of == "purchases" else ["purchases", "value"]
    whole = asked.predict_draws(rfm, horizon="39W", sum_by="kind", quantities=names, draws=800)
    for name in names:
        parts = periods[name].sum("period").transpose("kind", "draw").to_numpy()
        total = whole[name].transpose("kind", "draw").to_numpy()
        error = np.hypot(parts.std(axis=1), total.std(axis=1)) / np.sqrt(800)
        assert (abs(parts.mean(axis=1) - total.mean(axis=1)) < 4 * error).all()
        np.testing.assert_allclose(parts.std(axis=1), total.std(axis=1), rtol=0.15)


def test_who_is_active_in_a_period(model, cdnow_rfm):
    """In the first period: those who buy at all by its end."""
    periods = model.predict_periods(cdnow_rfm, ends=["13W", "39W"], draws=800)
    active = periods["active"].sel(period=13.0).to_numpy()[:, 0]
    expected = model.purchases.p_purchase(cdnow_rfm, "13W").sum()
    draws = model.purchases.predict_draws(
        cdnow_rfm, horizon="13W", sum_by=True, quantities=["p_purchase"], draws=800
    )["p_purchase"].to_numpy()
    assert active.mean() == pytest.approx(draws.mean(), abs=4 * active.std() / np.sqrt(800))
    assert abs(active.mean() - expected) < 4 * draws.std()
    assert (periods["active"] <= periods["purchases"]).all()


def test_discounted_periods(model, cdnow_rfm):
    some = cdnow_rfm.head(500)
    plain = model.predict_periods(some, ends=["26W", "52W"], discounting="none")
    later = model.predict_periods(some, ends=["26W", "52W"], discount_rate=1.0)
    ratio = (later["value"].mean("draw") / plain["value"].mean("draw")).to_numpy()[0]
    # 2^(−1/4) and 2^(−3/4), about: at the middle of the half-years.
    assert ratio == pytest.approx([2**-0.25, 2**-0.75], rel=0.05)


@pytest.mark.parametrize("ends", [[], ["8W", "4W"], ["0W", "4W"], ["4W", "4W"]])
def test_ends_that_are_none(model, cdnow_rfm, ends):
    with pytest.raises(OptionError, match="ascending"):
        model.predict_periods(cdnow_rfm, ends=ends)
