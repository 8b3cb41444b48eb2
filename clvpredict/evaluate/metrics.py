"""Numbers that say how good predictions are; functions of arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.rfm import Array

Mask = npt.NDArray[np.bool_]
# Where the distance of the PIT from uniformity is measured.
_GRID = np.linspace(0.0, 1.0, 201)
_RESAMPLES = 200


def pit_curve(below: Array, upto: Array, at: Array) -> Array:
    """Distribution function of the PIT, ties spread evenly (Czado, Gneiting & Held 2009, eq. 1).

    Parameters
    ----------
    below, upto : ndarray, shape (n,)
        P(X < observed), P(X ≤ observed).
    at : ndarray, shape (m,)
        Where, in 0 ... 1.

    Returns
    -------
    ndarray, shape (m,)
        Equal to ``at`` if the forecasts are calibrated; 0 at 0, and 1 at 1.
    """
    width = np.maximum(upto - below, 1e-12)
    curve = [float(np.clip((u - below) / width, 0.0, 1.0).mean()) for u in at]
    # An outcome that the forecast held for impossible has below = upto = 1.
    return np.where(at >= 1.0, 1.0, curve)


def pit_distance(below: Array, upto: Array) -> float:
    """Kolmogorov-Smirnov distance of the PIT, ties spread evenly, from uniformity."""
    return float(np.abs(pit_curve(below, upto, _GRID) - _GRID).max())


def randomised_distance(below: Array, upto: Array, seed: int) -> float:
    """The same of the randomised PIT: ties broken by a random number per customer."""
    u = below + np.random.default_rng(seed).random(len(below)) * (upto - below)
    ecdf = np.searchsorted(np.sort(u), _GRID, side="right") / len(u)
    return float(np.abs(ecdf - _GRID).max())


def uniform_distances(n: int, draws: int, seed: int) -> Array:
    """Draw that distance of n customers whose PIT is uniform and independent."""
    bins = len(_GRID) - 1
    count = np.random.default_rng(seed).multinomial(n, np.full(bins, 1.0 / bins), size=draws)
    return np.asarray(np.abs(np.cumsum(count, axis=1) / n - _GRID[1:]).max(axis=1))


def spearman(one: Array, other: Array) -> float:
    """Rank correlation; nan where one of them is constant."""
    a, b = (pd.Series(v).rank().to_numpy() for v in (one, other))
    if a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def gain(score: Array, observed: Array, share: Array) -> Array:
    """Share of the total that the customers with the best scores bring, at shares of customers.

    Customers with equal scores count as their average.
    """
    total = observed.sum()
    if total == 0 or len(score) == 0:
        return np.full(len(share), np.nan)
    _, tie = np.unique(-score, return_inverse=True)
    customers = np.bincount(tie).astype(np.float64)
    brought = np.bincount(tie, observed)
    x = np.append(0.0, np.cumsum(customers)) / len(score)
    y = np.append(0.0, np.cumsum(brought)) / total
    return np.interp(share, x, y)


def gini(score: Array, observed: Array) -> float:
    """Gini coefficient of the gain curve over that of perfect ranking; 0 is random, 1 perfect."""
    best = _area(observed, observed)
    return _area(score, observed) / best if best > 0 else float("nan")


def _area(score: Array, observed: Array) -> float:
    """Area between the gain curve and the diagonal."""
    share = np.linspace(0.0, 1.0, min(len(score), 100_000) + 1)
    return float(np.trapezoid(gain(score, observed, share) - share, share))


def precision_at(score: Array, bought: Mask, share: float) -> float:
    """Share of buyers among the customers with the best scores; equal ones as their average."""
    k = max(1, round(share * len(score)))
    if not bought.any():
        return 0.0
    captured = gain(score, bought.astype(np.float64), np.array([k / len(score)]))
    return float(captured[0] * bought.sum() / k)


def auc(p: Array, event: Mask) -> float:
    """Probability that a buyer has a higher p than one who did not buy; ties count half."""
    n, m = int(event.sum()), int((~event).sum())
    if n == 0 or m == 0:
        return float("nan")
    rank = pd.Series(p).rank().to_numpy()
    return float((rank[event].sum() - n * (n + 1) / 2) / (n * m))


def expected_calibration_error(p: Array, event: Mask, bins: int = 10) -> float:
    """Mean |predicted − observed share| over bins of equally many customers."""
    group = quantile_groups(p, bins)
    size = np.bincount(group)
    gap = np.abs(np.bincount(group, p) - np.bincount(group, event.astype(np.float64)))
    return float(gap.sum() / size.sum())


def quantile_groups(score: Array, bins: int) -> npt.NDArray[np.intp]:
    """Group of each customer by its score, 0 (least) ... bins − 1.

    Customers with equal scores are in one group, so that the order of rows makes no difference.
    """
    place = (pd.Series(score).rank(method="average").to_numpy() - 0.5) / len(score)
    return np.minimum((place * bins).astype(np.intp), bins - 1)


@dataclass(frozen=True)
class Reliability:
    """CORP reliability of predicted probabilities (Dimitriadis, Gneiting & Jordan 2021).

    Observed shares are an isotonic fit to outcomes, which needs no choice of bins; the Brier
    score is miscalibration − discrimination + uncertainty, Murphy's decomposition with it.

    Parameters
    ----------
    low, high, predicted, observed, customers : ndarray, shape (blocks,)
        Blocks of customers with one fitted share, ascending.
    band_lower, band_upper : ndarray, shape (blocks,)
        Where the fit lies in 95 % of resampled outcomes, were the predictions calibrated.
    brier, miscalibration, discrimination, uncertainty : float
    """

    low: Array
    high: Array
    predicted: Array
    observed: Array
    customers: npt.NDArray[np.int64]
    band_lower: Array
    band_upper: Array
    brier: float
    miscalibration: float
    discrimination: float
    uncertainty: float


def reliability(p: Array, event: Mask, seed: int = 0) -> Reliability:
    """Fit the reliability curve of probabilities p of events."""
    from scipy.optimize import isotonic_regression

    value, tie = np.unique(p, return_inverse=True)
    weight = np.bincount(tie).astype(np.float64)
    share = np.bincount(tie, event.astype(np.float64)) / weight
    fit = isotonic_regression(share, weights=weight)
    begins, ends = fit.blocks[:-1], fit.blocks[1:] - 1
    size = np.add.reduceat(weight, begins)
    middle = np.add.reduceat(weight * value, begins) / size
    rng = np.random.default_rng(seed)
    resampled = np.empty((_RESAMPLES, len(begins)))
    for i in range(_RESAMPLES):
        again = rng.binomial(weight.astype(np.int64), np.clip(value, 0.0, 1.0)) / weight
        resampled[i] = np.interp(middle, value, isotonic_regression(again, weights=weight).x)
    band = np.quantile(resampled, (0.025, 0.975), axis=0)
    outcome = event.astype(np.float64)
    mean = float(outcome.mean())
    brier = float(((p - outcome) ** 2).mean())
    fitted = float(((fit.x[tie] - outcome) ** 2).mean())
    uncertainty = mean * (1.0 - mean)
    return Reliability(
        value[begins],
        value[ends],
        middle,
        np.asarray(fit.x[begins]),
        size.astype(np.int64),
        band[0],
        band[1],
        brier,
        brier - fitted,
        uncertainty - fitted,
        uncertainty,
    )
