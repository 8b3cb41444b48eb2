"""Maximum likelihood for any model: several starts, then Newton steps on exact gradients.

Parameters are optimised as logarithms and data in units of their own mean, so that days, weeks
and currencies make no difference.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from clvpredict.errors import ConvergenceError
from clvpredict.inference.result import Convergence, FitResult, Start
from clvpredict.models.base import Model
from clvpredict.rfm import Array, Compressed

# ln(parameter) may go this far from its natural unit; no data support more.
_BOUND = 14.0
# Starts are compared on at most so many customers; the best goes on with all of them.
_SCREEN = 20_000
# A direction in ln(parameters) with a larger standard error spans a factor of 50 either way at
# 95 %: the data do not identify it.
_MAX_LOG_SE = 2.0
# Rows at a time: few enough that the arrays stay in cache and are not mapped anew each time.
_BLOCK = 8192
# Log-likelihood that a further Newton step may still promise at convergence.
_DECREMENT = 1e-8
# The same, where descending ends and Newton steps begin.
_NEARLY = 1e-7
# A shorter Newton step leaves the Hessian as it was.
_SHORT = 2e-6


@dataclass
class _Objective:
    """Mean negative log-likelihood per customer in ln(parameters), units scaled."""

    model: Model
    data: Compressed
    evaluations: int = field(default=0)

    def __post_init__(self) -> None:
        self.total = float(self.data.weight.sum())
        rows = np.arange(len(self.data))
        parts = np.array_split(rows, max(1, len(rows) // _BLOCK))
        self.blocks = [self.data.take(part) for part in parts]

    def __call__(self, log_theta: Array) -> tuple[float, Array]:
        self.evaluations += 1
        theta = np.exp(log_theta)
        value, gradient = 0.0, np.zeros(len(theta))
        for block in self.blocks:
            rows, slopes = self.model.log_likelihood_and_gradient(tuple(theta), block)
            value -= float(block.weight @ rows)
            gradient -= slopes @ block.weight
        return value / self.total, gradient * theta / self.total

    def hessian(self, log_theta: Array) -> Array:
        """Differentiate the exact gradient: central differences, error about 1e-8."""
        step = 1e-4
        rows = []
        for i in range(len(log_theta)):
            shift = np.zeros_like(log_theta)
            shift[i] = step
            rows.append((self(log_theta + shift)[1] - self(log_theta - shift)[1]) / (2 * step))
        h = np.array(rows)
        return 0.5 * (h + h.T)


def fit_mle(model: Model, data: Compressed, start: Array | None = None) -> FitResult:
    """Fit a model by maximum likelihood.

    Parameters
    ----------
    model : Model
        Any model of the registry.
    data : Compressed
        Its rows, weighted.
    start : ndarray, shape (k,), optional
        A start of the user's, in the data's units, tried before the model's own.

    Returns
    -------
    FitResult

    Raises
    ------
    ConvergenceError
        If no start reaches an optimum.
    """
    # Threads of BLAS on matrices of 4 x 4 cost ten times what they compute.
    with threadpool_limits(1, user_api="blas"):
        return _fit(model, data, start)


def _fit(model: Model, data: Compressed, start: Array | None) -> FitResult:
    units = _units(model, data)
    scale = np.array([units[p.unit] if p.unit else 1.0 for p in model.parameters])
    factors = {c: 1.0 / units[u] for c, u in model.columns_with_unit.items()}
    scaled = data.scaled(factors)
    starts = [np.log(s) for s in model.starts(scaled)]
    if start is not None:
        starts.insert(0, np.log(np.asarray(start, float) / scale))

    screen = _Objective(model, _subset(scaled))
    ends = [_descend(screen, s) for s in starts]
    best = min(ends, key=lambda e: e[1])
    objective = screen
    iterations = sum(e[2] for e in ends)
    point = best[0]
    if screen.data is not scaled:
        objective = _Objective(model, scaled)
        # The sample knows the curvature well enough to go on from.
        point, _, more = _descend(objective, point, _inverse(screen.hessian(point)))
        iterations += more
    point, hessian, decrement = _newton(objective, point)
    evaluations = screen.evaluations + (objective is not screen) * objective.evaluations

    value, gradient = objective(point)
    # Change of variables: densities of scaled columns to those of the data's own.
    full = model.log_likelihood(tuple(np.exp(point) * scale), data)
    screened = _subset(data)
    record_starts = tuple(_record(model, screened, np.exp(p) * scale) for p, _, _ in ends)
    unidentified, log_covariance = _identify(model, point, hessian * objective.total)
    gradient_norm = float(np.max(np.abs(gradient)))
    if not unidentified and not decrement * objective.total < _DECREMENT:
        raise ConvergenceError(
            f"{model.title}: the optimiser stopped without an optimum after {iterations} "
            f"iterations from {len(starts)} starts (gradient {gradient_norm:.2g} per customer, "
            f"mean log-likelihood {-value:.6g}). Try start=..., check the summary for outliers "
            "(rfm.describe()), or fit fewer, more alike customers."
        )
    return FitResult(
        model=model.name,
        method="mle",
        names=model.parameter_names,
        estimate=np.exp(point) * scale,
        log_covariance=log_covariance,
        log_likelihood=float(data.weight @ full),
        n_customers=round(objective.total),
        n_rows=len(data),
        convergence=Convergence(
            status="unidentified" if unidentified else "converged",
            message=_message(model, unidentified),
            gradient_norm=gradient_norm,
            newton_decrement=float(decrement * objective.total),
            iterations=iterations,
            evaluations=evaluations,
            starts=record_starts,
            unidentified=unidentified,
        ),
    )


def _record(model: Model, data: Compressed, theta: Array) -> Start:
    log_likelihood = float(data.weight @ model.log_likelihood(tuple(theta), data))
    return Start(dict(zip(model.parameter_names, map(float, theta), strict=True)), log_likelihood)


def _units(model: Model, data: Compressed) -> dict[str, float]:
    """The mean of the data in each unit."""
    means: dict[str, float] = {}
    for column, unit in model.columns_with_unit.items():
        mean = float(np.average(data.columns[column], weights=data.weight))
        means[unit] = max(means.get(unit, 0.0), mean) or 1.0
    return means


def _subset(data: Compressed) -> Compressed:
    if len(data) <= _SCREEN:
        return data
    drawn = np.random.default_rng(0).multinomial(_SCREEN, data.weight / data.weight.sum())
    rows = np.flatnonzero(drawn)
    return data.take(rows, drawn[rows].astype(np.float64))


def _descend(
    objective: _Objective, start: Array, inverse: Array | None = None
) -> tuple[Array, float, int]:
    """Run BFGS within the bounds; returns the end, its value and the iterations.

    SciPy's would do, but takes longer to import than most fits take.
    """
    identity = np.eye(len(start))
    point = np.clip(start, -_BOUND, _BOUND)
    value, gradient = objective(point)
    inverse = identity if inverse is None else inverse
    for iteration in range(500):  # returned below
        # Parameters that are held by a bound do not move.
        free = ~((np.abs(point) >= _BOUND) & (gradient * point < 0))
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
    objective: _Objective, point: Array, value: float, step: Array, slope: float
) -> tuple[Array, float, Array] | None:
    """Shorten the step until the objective falls; None if it does not."""
    for shrink in 0.4 ** np.arange(12):
        trial = np.clip(point + shrink * step, -_BOUND, _BOUND)
        lower, gradient = objective(trial)
        if lower <= value + 1e-4 * shrink * slope and lower < value:
            return trial, lower, gradient
    return None


def _inverse(hessian: Array) -> Array | None:
    """The inverse of a Hessian to step by; None if it is not positive definite."""
    curvature, axes = np.linalg.eigh(hessian)
    return (axes / curvature) @ axes.T if curvature[0] > 1e-8 * curvature[-1] else None


def _newton(objective: _Objective, point: Array) -> tuple[Array, Array, float]:
    """Polish by Newton steps; returns the point, the Hessian there and the decrement left."""
    value, gradient = objective(point)
    hessian = objective.hessian(point)
    decrement = np.inf
    for _ in range(20):
        curvature, axes = np.linalg.eigh(hessian)
        # Along flat or upward directions go down the gradient, no further than one unit.
        slopes = axes.T @ gradient
        step = -axes @ (slopes / np.maximum(np.abs(curvature), 1e-10))
        step *= min(1.0, 1.0 / max(float(np.max(np.abs(step))), 1e-300))
        decrement = float(-0.5 * (gradient @ step))
        if decrement * objective.total < _DECREMENT * 1e-4:
            break
        for shrink in (1.0, 0.5, 0.25, 0.05, 0.01):
            trial = np.clip(point + shrink * step, -_BOUND, _BOUND)
            trial_value, trial_gradient = objective(trial)
            if trial_value <= value:
                break
        else:
            break
        if trial_value == value and np.array_equal(trial, point):
            break
        far = np.max(np.abs(trial - point)) > _SHORT
        point, value, gradient = trial, trial_value, trial_gradient
        if far:
            hessian = objective.hessian(point)
    return point, hessian, decrement


def _identify(model: Model, point: Array, information: Array) -> tuple[tuple[str, ...], Array]:
    """Name the parameters that the data leave open; give the covariance of the logarithms."""
    curvature, axes = np.linalg.eigh(information)
    weak = curvature < _MAX_LOG_SE**-2
    loose = np.abs(point) > _BOUND - 1e-6
    loose |= (np.abs(axes[:, weak]) > 0.3).any(axis=1)
    names = tuple(n for n, bad in zip(model.parameter_names, loose, strict=True) if bad)
    if (curvature <= 0).any():
        return names, np.full_like(information, np.nan)
    covariance = (axes / curvature) @ axes.T
    return names, 0.5 * (covariance + covariance.T)


def _message(model: Model, unidentified: tuple[str, ...]) -> str:
    if not unidentified:
        return "converged"
    return (
        f"{model.title}: the data do not identify {', '.join(unidentified)} (the likelihood is "
        f"flat there or rises to a boundary). {model.identification_hint}"
    )
