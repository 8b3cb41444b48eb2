"""Pareto-smoothed importance sampling.

Vehtari, Simpson, Gelman, Yao & Gabry (2024), Pareto smoothed importance sampling. JMLR 25(72);
the fit of the generalised Pareto distribution is that of Zhang & Stephens (2009), Technometrics
51(3), with the weak prior of the former paper's appendix. ArviZ has it too, but takes three
seconds to import; a test compares the two.
"""

from __future__ import annotations

import numpy as np

from clvpredict.rfm import Array

#: Above this the weights are too uneven for importance sampling to be trusted.
MAX_K_HAT = 0.7
_FEWEST_IN_TAIL = 5


def smooth_weights(log_ratios: Array) -> tuple[Array, float]:
    """Smooth the largest importance weights.

    Parameters
    ----------
    log_ratios : ndarray, shape (n,)
        ln(target / proposal) at draws from the proposal, up to a constant.

    Returns
    -------
    weights : ndarray, shape (n,)
        Adding up to 1.
    k_hat : float
        Shape of the tail of the weights; inf where it is too short to fit.
    """
    log_weights = log_ratios - np.max(log_ratios)
    n = len(log_weights)
    tail_size = int(np.ceil(min(0.2 * n, 3.0 * np.sqrt(n))))
    order = np.argsort(log_weights, kind="stable")
    tail = order[-tail_size:]
    cutoff = log_weights[order[-tail_size - 1]]
    k_hat = np.inf
    if tail_size >= _FEWEST_IN_TAIL and log_weights[tail[0]] < 0.0:
        excess = np.exp(log_weights[tail]) - np.exp(cutoff)
        k_hat, sigma = _fit_pareto(excess)
        if np.isfinite(k_hat):
            place = (np.arange(tail_size) + 0.5) / tail_size
            smoothed = _pareto_quantile(place, k_hat, sigma) + np.exp(cutoff)
            log_weights[tail] = np.minimum(np.log(smoothed), 0.0)
    weights = np.exp(log_weights)
    return weights / weights.sum(), float(k_hat)


def effective_size(weights: Array) -> float:
    """Number of equal weights that are worth as much, 1 / Σ w²."""
    return float(1.0 / np.sum(weights**2))


def resample(weights: Array, size: int, rng: np.random.Generator) -> Array:
    """Draw indices with these probabilities, as evenly as can be, in random order."""
    marks = (np.arange(size) + rng.random()) / size
    index = np.searchsorted(np.cumsum(weights), marks).clip(max=len(weights) - 1)
    return np.asarray(rng.permutation(index))


def _fit_pareto(excess: Array) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto distribution; ``excess`` ascends."""
    n = len(excess)
    if not excess[-1] > 0:
        return np.inf, np.nan
    grid = 30 + int(np.sqrt(n))
    quartile = excess[int(n / 4 + 0.5) - 1]
    if not quartile > 0:
        return np.inf, np.nan
    b = 1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))
    b = b / (3.0 * quartile) + 1.0 / excess[-1]
    k = np.log1p(-b[:, None] * excess).mean(axis=1)
    likelihood = n * (np.log(-b / k) - k - 1.0)
    weight = 1.0 / np.exp(likelihood - likelihood[:, None]).sum(axis=1)
    mean_b = float(np.sum(b * weight) / weight.sum())
    shape = float(np.log1p(-mean_b * excess).mean())
    scale = -shape / mean_b
    # The weak prior: ten further observations of shape 0.5.
    return (n * shape + 10 * 0.5) / (n + 10), scale


def _pareto_quantile(p: Array, shape: float, scale: float) -> Array:
    if abs(shape) < 1e-12:
        return np.asarray(-scale * np.log1p(-p))
    return np.asarray(scale * np.expm1(-shape * np.log1p(-p)) / shape)
