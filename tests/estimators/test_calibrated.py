"""Predictive intervals hold on what customers of a known world really did.

Bases are simulated, models fitted on their first part, and graded on the second.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import DropoutWarning

# Together they take long; `make slow` runs them.
pytestmark = pytest.mark.slow

SEEN, AHEAD, CUSTOMERS, DRAWS = 60.0, 40.0, 4000, 800
WORLDS = {
    "bg/nbd": clv.BGNBD.from_params(r=0.6, alpha=8.0, a=0.8, b=3.0, time_unit="W"),
    "mbg/nbd": clv.MBGNBD.from_params(r=0.8, alpha=8.0, a=0.9, b=2.5, time_unit="W"),
}
SPEND = clv.GammaGamma.from_params(p=5.0, q=4.0, v=25.0)


def observe(world: clv.CLVModel, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The summary of the first weeks; purchases and value of those after, per customer."""
    log = world.simulate(CUSTOMERS, SEEN + AHEAD, seed).transactions
    begin = log.groupby("customer_id")["date"].transform("min")
    log["age"] = (log["date"] - begin) / pd.Timedelta(weeks=1)
    repeat = log[log["age"] > 0]
    seen = repeat[repeat["age"] <= SEEN].groupby("customer_id")
    later = repeat[repeat["age"] > SEEN].groupby("customer_id")
    ids = pd.Index(np.arange(1, CUSTOMERS + 1), name="customer_id")
    rfm = pd.DataFrame(
        {
            "frequency": seen.size(),
            "recency": seen["age"].max(),
            "monetary_value": seen["amount"].mean(),
        }
    )
    rfm = rfm.reindex(ids).fillna(0.0).assign(T=SEEN).reset_index()
    truth = pd.DataFrame({"purchases": later.size(), "value": later["amount"].sum()})
    return rfm, truth.reindex(ids).fillna(0.0)


@pytest.fixture(scope="module", params=WORLDS)
def graded(request) -> tuple[pd.DataFrame, dict[str, np.ndarray], pd.DataFrame, pd.DataFrame]:
    world = clv.CLVModel(WORLDS[request.param], SPEND)
    rfm, truth = observe(world, seed=20)
    model = clv.CLVModel(type(world.purchases)())
    model.fit(rfm, time_unit="W", method="laplace", seed=1)
    ask = {"horizon": AHEAD, "discounting": "none", "draws": DRAWS}
    draws = model.predict_draws(rfm, quantities=["purchases", "value"], **ask)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DropoutWarning)  # of BG/NBD, as it should
        table = model.predict(rfm, interval=0.9, **ask)
    return rfm, {n: draws[n].to_numpy().T for n in ("purchases", "value")}, table, truth


def pit(draws: np.ndarray, observed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Randomised probability integral transform: uniform if prediction and truth are alike."""
    below = (draws < observed[:, None]).sum(axis=1)
    equal = (draws == observed[:, None]).sum(axis=1)
    return (below + rng.random(len(observed)) * (equal + 1)) / (draws.shape[1] + 1)


def ks(u: np.ndarray) -> float:
    """Largest distance from the uniform distribution."""
    u = np.sort(u)
    n = len(u)
    return float(np.maximum(np.arange(1, n + 1) / n - u, u - np.arange(n) / n).max())


@pytest.mark.slow
@pytest.mark.parametrize("quantity", ["purchases", "value"])
def test_the_predictive_pit_is_uniform(graded, quantity):
    """KS distance within its bootstrap null: draws taken for the truth, one after another."""
    _, draws, _, truth = graded
    rng = np.random.default_rng(0)
    observed = ks(pit(draws[quantity], truth[quantity].to_numpy(), rng))
    null = []
    for i in range(150):
        others = np.delete(draws[quantity], i, axis=1)
        null.append(ks(pit(others, draws[quantity][:, i], rng)))
    assert observed <= np.quantile(null, 0.99)


def test_a_wrong_prediction_fails_the_pit(graded):
    """The test above can tell: 10 % more purchases than predicted are too many."""
    _, draws, _, truth = graded
    rng = np.random.default_rng(0)
    extra = truth["purchases"].to_numpy() + (rng.random(CUSTOMERS) < 0.1)
    null = [
        ks(pit(np.delete(draws["purchases"], i, axis=1), draws["purchases"][:, i], rng))
        for i in range(60)
    ]
    assert ks(pit(draws["purchases"], extra, rng)) > max(null)


@pytest.mark.parametrize("quantity", ["purchases", "value"])
def test_intervals_hold_their_level_in_every_decile(graded, quantity):
    """Counts are whole, so intervals hold more than 90 %: how much more is predicted too."""
    _, draws, table, truth = graded
    lower = table[f"{quantity}_pi_lower"].to_numpy()
    upper = table[f"{quantity}_pi_upper"].to_numpy()
    observed = truth[quantity].to_numpy()
    held = (observed >= lower) & (observed <= upper)
    inside = (draws[quantity] >= lower[:, None]) & (draws[quantity] <= upper[:, None])
    decile = pd.qcut(table["expected_purchases"].rank(method="first"), 10, labels=False)
    for k in range(10):
        rows = (decile == k).to_numpy()
        promised = inside[rows].mean()
        error = np.sqrt(promised * (1 - promised) / rows.sum())
        # Ten deciles of two quantities and worlds: 3.5 errors are passed once in 50 runs.
        assert held[rows].mean() == pytest.approx(promised, abs=3.5 * error)
        assert held[rows].mean() >= 0.9 - 3.5 * np.sqrt(0.09 / rows.sum())


def test_totals_hold(graded):
    """The predictive interval of the total holds the total."""
    _, draws, _, truth = graded
    for quantity in ("purchases", "value"):
        lower, upper = np.quantile(draws[quantity].sum(axis=0), (0.005, 0.995))
        assert lower <= truth[quantity].sum() <= upper
