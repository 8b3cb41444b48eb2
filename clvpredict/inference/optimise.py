"""Minimise smooth functions of a few variables: BFGS within bounds, then Newton steps.

Variables are logarithms of parameters. SciPy's would do, but takes longer to import than most
fits take.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from clvpredict.rfm import Array

#: ln(parameter) may go this far from its natural unit; no data support more.
BOUND = 14.0
#: What a further Newton step may still promise at convergence, in units of log-likelihood.
DECREMENT = 1e-8
# The same, where descending ends and Newton steps begin.
_NEARLY = 1e-7
# A shorter Newton step leaves the Hessian as it was.
_SHORT = 2e-6
# A mean over a million customers is known no better than that; its gradient is.
_ROUNDING = 1e-10


class Objective(Protocol):
    """A function to minimise, scaled so that it is about 1.

    ``total`` is what it must be multiplied with to be in units of log-likelihood.
    """

    total: float

    def __call__(self, point: Array, /) -> tuple[float, Array]:
        """Compute value and gradient."""


def hessian(objective: Objective, point: Array) -> Array:
    """Differentiate the exact gradient: central differences, error about 1e-8."""
    step = 1e-4
    rows = []
    for i in range(len(point)):
        shift = np.zeros_like(point)
        shift[i] = step
        rows.append((objective(point + shift)[1] - objective(point - shift)[1]) / (2 * step))
    h = np.array(rows)
    return 0.5 * (h + h.T)


def descend(
    objective: Objective, start: Array, inverse: Array | None = None
) -> tuple[Array, float, int]:
    """Run BFGS within the bounds; returns the end, its value and the iterations.

    Parameters
    ----------
    inverse : ndarray, shape (k, k), optional
        The inverse Hessian to begin with.
    """
    identity = np.eye(len(start))
    point = np.clip(start, -BOUND, BOUND)
    value, gradient = objective(point)
    inverse = identity if inverse is None else inverse
    for iteration in range(500):  # returned below
        # Parameters that are held by a bound do not move.
        free = ~((np.abs(point) >= BOUND) & (gradient * point < 0))
        step = np.where(free, -inverse @ np.where(free, gradient, 0.0), 0.0)
        if gradient @ step >= 0:
            inverse, step = identity, np.where(free, -gradient, 0.0)
        if -(gradient @ step) * objective.total < _NEARLY and iteration:
            break  # Newton's steps do the rest
        step *= min(1.0, 2.0 / max(float(np.max(np.abs(step))), 1e-300))
        found = _search(objective, point, value, step, float(gradient @ step))
        if found is None:
            if inverse is identity:
                break
            inverse = identity
            continue
        trial, lower, slope = found
        gained = value - lower
        moved, turned = trial - point, slope - gradient
        curvature = float(moved @ turned)
        if curvature > 1e-14:
            half = identity - np.outer(moved, turned) / curvature
            inverse = half @ inverse @ half.T + np.outer(moved, moved) / curvature
        point, value, gradient = trial, lower, slope
        if gained < 1e-13 * max(1.0, abs(value)):
            break
    return point, value, iteration + 1


def _search(
    objective: Objective, point: Array, value: float, step: Array, slope: float
) -> tuple[Array, float, Array] | None:
    """Shorten the step until the objective falls; None if it does not."""
    for shrink in 0.4 ** np.arange(12):
        trial = np.clip(point + shrink * step, -BOUND, BOUND)
        lower, gradient = objective(trial)
        if lower <= value + 1e-4 * shrink * slope and lower < value:
            return trial, lower, gradient
    return None


def inverse_or_none(matrix: Array) -> Array | None:
    """The inverse of a Hessian to step by; None if it is not positive definite."""
    curvature, axes = np.linalg.eigh(matrix)
    return (axes / curvature) @ axes.T if curvature[0] > 1e-8 * curvature[-1] else None


def newton(objective: Objective, point: Array) -> tuple[Array, Array, float]:
    """Polish by Newton steps; returns the point, the Hessian there and the decrement left."""
    value, gradient = objective(point)
    curvatures = hessian(objective, point)
    decrement = np.inf
    for _ in range(20):
        curvature, axes = np.linalg.eigh(curvatures)
        # Along flat or upward directions go down the gradient, no further than one unit.
        steepness = np.maximum(np.abs(curvature), 1e-10)
        step = -axes @ (axes.T @ gradient / steepness)
        step *= min(1.0, 1.0 / max(float(np.max(np.abs(step))), 1e-300))
        decrement = float(-0.5 * (gradient @ step))
        if decrement * objective.total < DECREMENT * 1e-4:
            break
        for shrink in (1.0, 0.5, 0.25, 0.05, 0.01):
            trial = np.clip(point + shrink * step, -BOUND, BOUND)
            trial_value, trial_gradient = objective(trial)
            if trial_value <= value:
                break
            left = 0.5 * (axes.T @ trial_gradient) ** 2 @ (1.0 / steepness)
            if decrement < _ROUNDING * max(1.0, abs(value)) and left < 0.5 * decrement:
                break  # values are equal but for rounding, the gradient is not
        else:
            break
        if trial_value == value and np.array_equal(trial, point):
            break
        far = np.max(np.abs(trial - point)) > _SHORT
        point, value, gradient = trial, trial_value, trial_gradient
        if far:
            curvatures = hessian(objective, point)
    return point, curvatures, decrement
