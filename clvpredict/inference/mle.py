"""Maximum likelihood, or the mode of a posterior, for any model.

Several starts, then Newton steps on exact gradients. Parameters are optimised as logarithms and
data in units of their own mean, so that days, weeks and currencies make no difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from clvpredict.errors import ConvergenceError
from clvpredict.inference.objective import LogDensity, NegativeLog, data_units, unit_scale
from clvpredict.inference.optimise import (
    BOUND,
    DECREMENT,
    descend,
    hessian,
    inverse_or_none,
    newton,
)
from clvpredict.inference.result import Convergence, FitResult, Start
from clvpredict.models.base import Model
from clvpredict.rfm import Array, Compressed

# Starts are compared on at most so many customers; the best goes on with all of them.
_SCREEN = 20_000
# A direction in ln(parameters) with a larger standard error spans a factor of 50 either way at
# 95 %: the data do not identify it.
_MAX_LOG_SE = 2.0


@dataclass(frozen=True)
class Optimum:
    """Where a maximisation ended.

    Parameters
    ----------
    log_theta : ndarray, shape (k,)
        ln(parameters), in the data's units.
    log_covariance : ndarray, shape (k, k)
        Inverse of the negative Hessian there; nan where that is not positive definite.
    convergence : Convergence
    """

    log_theta: Array
    log_covariance: Array
    convergence: Convergence


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
    return result_at(model, data, "mle", maximise(model, data, start))


def result_at(model: Model, data: Compressed, method: str, optimum: Optimum) -> FitResult:
    """Make the result of a fit whose estimate is an optimum."""
    theta = np.exp(optimum.log_theta)
    return FitResult(
        model=model.name,
        method=method,
        names=model.parameter_names,
        estimate=theta,
        log_covariance=optimum.log_covariance,
        log_likelihood=float(data.weight @ model.log_likelihood(tuple(theta), data)),
        n_customers=round(float(data.weight.sum())),
        n_rows=len(data),
        convergence=optimum.convergence,
    )


def maximise(
    model: Model,
    data: Compressed,
    start: Array | None = None,
    prior: LogDensity | None = None,
    *,
    only_start: bool = False,
) -> Optimum:
    """Find the maximum of the likelihood, or of likelihood times prior.

    Parameters
    ----------
    prior : callable, optional
        Log-density of ln(parameters) in the data's units, and its gradient.
    only_start : bool
        Leave out the model's own starts: ``start`` is known to be near.

    Raises
    ------
    ConvergenceError
        If no start reaches an optimum.
    """
    # Threads of BLAS on matrices of 4 x 4 cost ten times what they compute.
    with threadpool_limits(1, user_api="blas"):
        return _maximise(model, data, start, prior, only_start)


def _maximise(
    model: Model,
    data: Compressed,
    start: Array | None,
    prior: LogDensity | None,
    only_start: bool,
) -> Optimum:
    units = data_units(model, data)
    log_scale = np.log(unit_scale(model, data))
    scaled = data.scaled({c: 1.0 / units[u] for c, u in model.columns_with_unit.items()})
    shifted = None if prior is None else lambda point: prior(point + log_scale)
    starts = [] if only_start else [np.log(s) for s in model.starts(scaled)]
    if start is not None:
        starts.insert(0, np.log(np.asarray(start, float)) - log_scale)

    screen = NegativeLog(model, _subset(scaled), shifted)
    ends = [descend(screen, s) for s in starts]
    best = min(ends, key=lambda e: e[1])
    objective = screen
    iterations = sum(e[2] for e in ends)
    point = best[0]
    if len(scaled) > _SCREEN:
        objective = NegativeLog(model, scaled, shifted)
        # The sample knows the curvature well enough to go on from.
        point, _, more = descend(objective, point, inverse_or_none(hessian(screen, point)))
        iterations += more
    point, curvature, decrement = newton(objective, point)
    evaluations = screen.evaluations + (objective is not screen) * objective.evaluations

    value, gradient = objective(point)
    screened = _subset(data)
    record_starts = tuple(_record(model, screened, np.exp(p + log_scale)) for p, _, _ in ends)
    unidentified, log_covariance = _identify(model, point, curvature * objective.total)
    gradient_norm = float(np.max(np.abs(gradient)))
    if not unidentified and not decrement * objective.total < DECREMENT:
        raise ConvergenceError(
            f"{model.title}: the optimiser stopped without an optimum after {iterations} "
            f"iterations from {len(starts)} starts (gradient {gradient_norm:.2g} per customer, "
            f"mean log-likelihood {-value:.6g}). Try start=..., check the summary for outliers "
            "(rfm.describe()), or fit fewer, more alike customers."
        )
    convergence = Convergence(
        status="unidentified" if unidentified else "converged",
        message=_message(model, unidentified),
        gradient_norm=gradient_norm,
        newton_decrement=float(decrement * objective.total),
        iterations=iterations,
        evaluations=evaluations,
        starts=record_starts,
        unidentified=unidentified,
    )
    return Optimum(point + log_scale, log_covariance, convergence)


def _record(model: Model, data: Compressed, theta: Array) -> Start:
    log_likelihood = float(data.weight @ model.log_likelihood(tuple(theta), data))
    return Start(dict(zip(model.parameter_names, map(float, theta), strict=True)), log_likelihood)


def _subset(data: Compressed) -> Compressed:
    if len(data) <= _SCREEN:
        return data
    drawn = np.random.default_rng(0).multinomial(_SCREEN, data.weight / data.weight.sum())
    rows = np.flatnonzero(drawn)
    return data.take(rows, drawn[rows].astype(np.float64))


def _identify(model: Model, point: Array, information: Array) -> tuple[tuple[str, ...], Array]:
    """Name the parameters that the data leave open; give the covariance of the logarithms."""
    curvature, axes = np.linalg.eigh(information)
    weak = curvature < _MAX_LOG_SE**-2
    loose = np.abs(point) > BOUND - 1e-6
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
