"""The compiled kernels compute what the formulas of the model files do, summed over rows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clvpredict import special
from clvpredict.models.base import Model, SpendModel
from clvpredict.models.registry import PURCHASE_MODELS, SPEND_MODELS
from clvpredict.rfm import Array, Compressed, Histories, SpendHistories

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from test_contract import ALL_CASES, as_theta, data_for, name

# So large that differences of log-gammas need Stirling's series.
BIG = {
    "bg/nbd": [(3e3, 2e4, 200.0, 5e3), (0.5, 6.0, 1e-3, 1e5)],
    "mbg/nbd": [(3e3, 2e4, 200.0, 5e3), (0.5, 6.0, 1e-3, 1e5)],
    "nbd": [(3e3, 2e4), (0.5, 1e5)],
    "gamma-gamma": [(400.0, 3e3, 200.0), (6.0, 2e4, 5e4), (5e3, 4.0, 1e-3)],
}
MODELS: list[Model] = [*PURCHASE_MODELS.values(), *SPEND_MODELS.values()]
BIG_CASES = [(m, point) for m in MODELS for point in BIG[m.name]]


def weighted(data: Compressed) -> Compressed:
    """Each row for one to nine customers, and rows in another order."""
    rng = np.random.default_rng(4)
    weight = rng.integers(1, 10, len(data)).astype(float)
    return data.take(rng.permutation(len(data)), weight)


def many(model: Model) -> Compressed:
    """A few hundred rows that share columns but not all of them, as real ones do."""
    rng = np.random.default_rng(6)
    x = rng.poisson(1.5, 400).astype(float)
    T = rng.integers(20, 40, 400).astype(float)
    t_x = np.where(x > 0, np.ceil(rng.random(400) * T), 0.0)
    weight = rng.integers(1, 5, 400).astype(float)
    if isinstance(model, SpendModel):
        return SpendHistories(weight, x=x + 1, m=np.round(rng.gamma(2, 20, 400) + 1))
    return Histories(weight, x=x, t_x=t_x, T=T)


def assert_equal(
    one: tuple[float, Array], other: tuple[float, Array], theta: tuple[float, ...], data: Compressed
) -> None:
    """Up to rounding: a dozen terms such as p·x·ln(p·x), whose logarithm is up to 15, cancel."""
    per_customer = max(1.0, *theta) * (1.0 + data.columns["x"])
    rounding = 12 * 15 * np.finfo(float).eps * (data.weight @ per_customer)
    assert one[0] == pytest.approx(other[0], rel=1e-12, abs=rounding)
    # In ln(parameters), slopes are of the size of the terms.
    np.testing.assert_allclose(one[1] * theta, other[1] * theta, rtol=1e-10, atol=rounding)


def assert_is_the_sum_of_rows(model: Model, theta: tuple[float, ...], data: Compressed) -> None:
    rows, slopes = model.log_likelihood_and_gradient(as_theta(theta), data)
    summed = float(data.weight @ rows), slopes @ data.weight
    assert_equal(model.fused(data)(np.array(theta)), summed, theta, data)


def test_big_points_reach_the_stirling_branch() -> None:
    assert set(BIG) == {m.name for m in MODELS}
    for points in BIG.values():
        assert all(max(point) > special.STIRLING_FROM for point in points)


@pytest.mark.parametrize(("model", "point"), ALL_CASES, ids=name)
@pytest.mark.parametrize("source", [data_for, many])
def test_kernel_is_the_weighted_sum_of_rows(
    model: Model, point: tuple[float, ...], source: Callable[[Model], Compressed]
) -> None:
    assert_is_the_sum_of_rows(model, point, weighted(source(model)))


@pytest.mark.parametrize(("model", "point"), BIG_CASES, ids=name)
@pytest.mark.parametrize("source", [data_for, many])
def test_kernel_of_big_parameters(
    model: Model, point: tuple[float, ...], source: Callable[[Model], Compressed]
) -> None:
    assert_is_the_sum_of_rows(model, point, weighted(source(model)))


@pytest.mark.parametrize(("model", "point"), ALL_CASES + BIG_CASES, ids=name)
def test_weights_equal_repeated_rows(model: Model, point: tuple[float, ...]) -> None:
    data = weighted(data_for(model))
    index = np.repeat(np.arange(len(data)), data.weight.astype(int))
    repeated = data.take(index, np.ones(len(index)))
    one, other = model.fused(data)(np.array(point)), model.fused(repeated)(np.array(point))
    assert_equal(other, one, point, data)


@pytest.mark.parametrize("model", MODELS, ids=name)
def test_kernel_releases_no_state_between_calls(model: Model) -> None:
    """The gradient is filled in, not added to, whatever was in the array before."""
    fused = model.fused(many(model))
    theta = np.array(BIG[model.name][0])
    clean = np.zeros(len(theta))
    dirty = np.full(len(theta), 1e9)
    for gradient in (clean, dirty):
        fused.kernel(theta, fused.tables, fused.codes, fused.weight, gradient)
    np.testing.assert_array_equal(clean, dirty)
