"""Draws of what customers will do: against the point formulas, block by block."""

from __future__ import annotations

import numpy as np
import pytest

from clvpredict import predict as pr
from clvpredict.models.base import PurchaseModel
from clvpredict.models.registry import PURCHASE_MODELS
from clvpredict.predict import nodes, reduce
from clvpredict.rfm import Array

POINT = np.array([0.5, 6.0, 0.8, 2.0])
MODELS = pytest.mark.parametrize("model", PURCHASE_MODELS.values(), ids=lambda m: m.name)


def thetas(draws: int, seed: int = 0, model: PurchaseModel | None = None) -> Array:
    rng = np.random.default_rng(seed)
    k = len(POINT) if model is None else len(model.parameters)
    return POINT[:k] * np.exp(0.1 * rng.standard_normal((draws, k)))


def customers(n: int, seed: int = 1) -> dict[str, Array]:
    """Ages that are all different: what nodes are for."""
    rng = np.random.default_rng(seed)
    x = rng.negative_binomial(0.5, 0.2, n).astype(float)
    age = rng.uniform(1, 100, n)
    t_x = np.where(x > 0, rng.uniform(0, age), 0.0)
    return pr.DistinctRows.of({"x": x, "T": age, "t_x": t_x}).columns


def drawn(model: PurchaseModel, theta: Array, columns: dict[str, Array], t: float):
    return pr.DrawnPurchases(model, theta, columns, t, pr.purchase_processes(model, t))


@MODELS
@pytest.mark.parametrize("t", [0.5, 39.0, 500.0])
def test_expectations_under_a_draw_are_the_point_predictions(model: PurchaseModel, t: float):
    theta, columns = thetas(7, model=model), customers(3000)
    found = drawn(model, theta, columns, t)
    assert found._nodes.weight is not None, "fewer nodes than customers"
    rows = slice(500, 1900)
    expected = found.expected(rows)
    who = pr.Customers.of(*(columns[c][rows] for c in ("x", "t_x", "T")))
    for i, point in enumerate(theta):
        one = tuple(np.asarray(v) for v in point)
        for name, process in pr.purchase_processes(model, t).items():
            exact = pr.if_alive(model, one, who, process)
            np.testing.assert_allclose(expected[name][:, i], exact, rtol=1e-5)
        np.testing.assert_allclose(expected["p_alive"][:, i], pr.p_alive(model, one, who))


@MODELS
def test_few_distinct_ages_are_computed_as_they_are(model: PurchaseModel):
    columns = customers(2000)
    columns["T"] = np.full(2000, 100.0)
    found = drawn(model, thetas(3, model=model), columns, 39.0)
    assert found._nodes.weight is None
    assert len(found._nodes.x) == len(np.unique(columns["x"]))


@pytest.mark.parametrize("model", [PURCHASE_MODELS["bg/nbd"], PURCHASE_MODELS["mbg/nbd"]])
def test_for_ever_diverges_in_the_draws_that_do(model: PurchaseModel):
    theta = thetas(2)
    theta[0, 2], theta[1, 2] = 0.9, 1.5
    found = drawn(model, theta, customers(2000), np.inf)
    assert found.diverges("expected_purchases")
    value = found.expected(slice(0, 50))["expected_purchases"]
    assert np.isinf(value[:, 0]).all()
    assert np.isfinite(value[:, 1]).all()


def test_nodes_that_are_not_exact_enough_are_not_used():
    def jagged(alive):
        return np.sin(40.0 * alive[1])

    columns = customers(400)
    model = PURCHASE_MODELS["bg/nbd"]
    assert nodes.choose_nodes(model, thetas(2), columns["x"], columns["T"], [jagged]).weight is None


@MODELS
def test_realised_purchases_have_the_expectation(model: PurchaseModel):
    """1,000 outcomes of each of 300 customers, all under one parameter."""
    theta, columns = np.tile(POINT[: len(model.parameters)], (1000, 1)), customers(300)
    found = drawn(model, theta, columns, 39.0)
    rows = slice(0, 300)
    expected = found.expected(rows)
    bought = found.realised(rows, expected["p_alive"], np.random.default_rng(3))
    mean = expected["expected_purchases"][:, 0]
    often = mean > 0.05  # elsewhere a thousand outcomes are too few for a normal mean
    assert often.sum() > 100
    error = bought.count[often].std(axis=1) / np.sqrt(1000)
    gap = (bought.count[often].mean(axis=1) - mean[often]) / error
    assert np.abs(gap).max() < 5
    assert np.abs(gap.mean()) < 4 / np.sqrt(often.sum())
    buys = (bought.count > 0).mean(axis=1)
    p = expected["p_purchase"][:, 0]
    assert (np.abs(buys - p) < 5 * np.sqrt(p * (1 - p) / 1000) + 1e-9).all()
    assert bought.some.sum() == bought.count.sum()


ENDS = dict.fromkeys(("expected", "purchases"), pr.tails(0.9))


def work_of(model: PurchaseModel, columns: dict[str, Array], theta: Array):
    found = drawn(model, theta, columns, 39.0)

    def work(rows: slice, rng: np.random.Generator) -> dict[str, Array]:
        expected = found.expected(rows)
        bought = found.realised(rows, expected["p_alive"], rng)
        return {"expected": expected["expected_purchases"], "purchases": bought.count}

    return work


def test_results_do_not_depend_on_the_number_of_cores(monkeypatch):
    columns, theta = customers(3000), thetas(300)
    work = work_of(PURCHASE_MODELS["bg/nbd"], columns, theta)
    two = pr.intervals(work, 3000, 300, ENDS, seed=4)
    monkeypatch.setattr(reduce, "usable_cores", lambda: 1)
    one = pr.intervals(work, 3000, 300, ENDS, seed=4)
    other = pr.intervals(work, 3000, 300, ENDS, seed=5)
    np.testing.assert_array_equal(one["purchases"].mean, two["purchases"].mean)
    assert (one["purchases"].mean != other["purchases"].mean).any()
    np.testing.assert_array_equal(one["expected"].upper, other["expected"].upper)


def test_reductions_are_those_of_all_draws():
    columns, theta = customers(1500), thetas(400)
    work = work_of(PURCHASE_MODELS["mbg/nbd"], columns, theta)
    every = pr.collect(work, 1500, 400, seed=2)
    found = pr.intervals(work, 1500, 400, ENDS, seed=2)
    ordered = np.sort(every["purchases"], axis=1)
    np.testing.assert_array_equal(found["purchases"].lower, ordered[:, 19])
    np.testing.assert_array_equal(found["purchases"].upper, ordered[:, 380])
    np.testing.assert_allclose(found["expected"].mean, every["expected"].mean(axis=1))
    group = np.arange(1500) % 3
    total = pr.sums(work, 400, group, 3, np.full(1500, 2.0), seed=2)
    for i in range(3):
        np.testing.assert_allclose(total["purchases"][i], 2 * every["purchases"][group == i].sum(0))
    threshold = np.linspace(0, 3, 1500)
    above = pr.share_above(work, 400, "purchases", threshold, seed=2)
    np.testing.assert_allclose(above, (every["purchases"] > threshold[:, None]).mean(axis=1))


def test_an_interval_holds_at_least_its_level():
    draws = np.random.default_rng(0).poisson(1.3, (50, 501)).astype(float)
    for level in (0.5, 0.8, 0.9, 0.99):
        lower, upper = pr.interval_of(draws, level)
        held = ((draws >= lower[:, None]) & (draws <= upper[:, None])).mean(axis=1)
        assert (held >= level).all()
        assert (lower == np.floor(lower)).all()


def test_equal_customers_are_one_row_in_an_order_of_their_own():
    columns = {"x": np.array([2.0, 0, 2, 1, 0]), "T": np.array([5.0, 7, 5, 6, 7])}
    rows = pr.DistinctRows.of(columns)
    assert rows.columns["x"].tolist() == [0, 1, 2]
    for name, values in columns.items():
        np.testing.assert_array_equal(rows.columns[name][rows.inverse], values)
    apart = pr.DistinctRows.of(columns, merge=False)
    assert len(apart) == 5
    np.testing.assert_array_equal(apart.columns["x"][apart.inverse], columns["x"])
