"""Pareto smoothing against ArviZ's, and the arithmetic of weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from arviz_stats.base import array_stats

from clvpredict.inference.psis import MAX_K_HAT, effective_size, resample, smooth_weights
from clvpredict.rfm import Array

RATIOS: dict[str, Callable[[np.random.Generator, int], Array]] = {
    # Proposals wider than the target: weights are bounded.
    "bounded": lambda rng, n: -0.5 * rng.standard_t(7, n) ** 2,
    "light": lambda rng, n: 0.3 * rng.normal(size=n),
    "exponential": lambda rng, n: 0.5 * rng.exponential(size=n),
    # Weights are Pareto with shape k, exactly.
    "heavy": lambda rng, n: 0.6 * rng.exponential(size=n),
    "too heavy": lambda rng, n: 1.3 * rng.exponential(size=n),
    "far": lambda rng, n: 5.0 * rng.normal(size=n) - 1e5,
}


@pytest.mark.reference
@pytest.mark.parametrize("size", [100, 900, 10_000])
@pytest.mark.parametrize("kind", RATIOS)
def test_weights_and_k_hat_are_those_of_arviz(kind: str, size: int) -> None:
    """``psislw`` of arviz_stats 1.3 takes log-likelihoods: log-ratios with the other sign.

    It rounds the length of the tail down, we up, as R's loo does; of these sizes it is whole.
    """
    ratios = RATIOS[kind](np.random.default_rng(size), size)
    weights, k_hat = smooth_weights(ratios)
    theirs, their_k = array_stats.psislw(-ratios)
    assert k_hat == pytest.approx(float(their_k), abs=1e-9)
    np.testing.assert_allclose(weights, np.exp(theirs), rtol=1e-8, atol=1e-15)


@pytest.mark.parametrize(("k", "trusted"), [(0.3, True), (1.1, False)])
def test_k_hat_is_the_tail_of_the_weights(k: float, trusted: bool) -> None:
    """Of Pareto weights with shape k; 40,000 draws leave 600 in the tail: error about 0.06."""
    ratios = k * np.random.default_rng(0).exponential(size=40_000)
    k_hat = smooth_weights(ratios)[1]
    assert k_hat == pytest.approx(k, abs=0.15)
    assert (k_hat <= MAX_K_HAT) == trusted


def test_smoothing_changes_the_tail_only_and_shifts_change_nothing() -> None:
    ratios = 0.6 * np.random.default_rng(3).exponential(size=1000)
    weights, k_hat = smooth_weights(ratios)
    assert weights.sum() == pytest.approx(1.0)
    body = np.argsort(ratios)[: 1000 - 95]  # ceil(3 √1000) = 95 in the tail
    raw = np.exp(ratios)
    np.testing.assert_allclose(weights[body] / weights[body[0]], raw[body] / raw[body[0]])
    order = np.argsort(ratios)
    assert (np.diff(weights[order]) >= 0).all()
    shifted, same_k = smooth_weights(ratios + 1e4)
    np.testing.assert_allclose(shifted, weights, rtol=1e-9)
    assert same_k == pytest.approx(k_hat, abs=1e-9)


def test_weights_of_no_use_are_not_trusted() -> None:
    """One draw has all the weight; equal weights have no tail to fit."""
    weights, k_hat = smooth_weights(np.array([0.0] + [-1e300] * 999))
    assert k_hat > MAX_K_HAT
    assert weights[0] == 1.0
    weights, _ = smooth_weights(np.zeros(500))
    np.testing.assert_allclose(weights, 1 / 500)


def test_effective_size() -> None:
    assert effective_size(np.full(40, 1 / 40)) == pytest.approx(40)
    assert effective_size(np.array([1.0, 0, 0])) == pytest.approx(1)
    assert effective_size(np.array([0.5, 0.5, 0, 0])) == pytest.approx(2)


def test_resampling_is_unbiased_even_and_in_random_order() -> None:
    weights = np.array([0.5, 0.05, 0.213, 0.0, 0.237])
    rng = np.random.default_rng(8)
    counts = np.array([np.bincount(resample(weights, 10, rng), minlength=5) for _ in range(4000)])
    # As even as can be: no count is more than one from its expectation.
    assert (np.abs(counts - 10 * weights) < 1).all()
    # Of numbers within one of their mean the standard deviation is at most 1/2.
    np.testing.assert_allclose(counts.mean(axis=0), 10 * weights, atol=4 * 0.5 / np.sqrt(4000))
    first = np.array([resample(weights, 10, rng)[0] for _ in range(4000)])
    share = np.bincount(first, minlength=5) / 4000
    np.testing.assert_allclose(share, weights, atol=4 * 0.5 / np.sqrt(4000))
