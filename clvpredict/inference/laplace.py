"""Posteriors near a normal one: mode, Student-t proposal, Pareto-smoothed resampling."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from clvpredict.inference.cores import usable_cores
from clvpredict.inference.mle import Optimum, maximise, result_at
from clvpredict.inference.priors import Priors
from clvpredict.inference.psis import effective_size, resample, smooth_weights
from clvpredict.inference.result import Convergence, FitResult, Sample, Sampling
from clvpredict.models.base import Model
from clvpredict.rfm import Array, Compressed

# Heavier tails than the posterior's keep the weights bounded.
_DEGREES_OF_FREEDOM = 7.0
# Proposals per draw that is kept.
_PROPOSALS = 2
# Row-evaluations from which on loading the compiler pays.
_COMPILED_FROM = 5_000_000


@dataclass(frozen=True)
class _Proposal:
    """Multivariate t in ln(parameters)."""

    mode: Array
    root: Array

    def draw(self, size: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Points, shape (size, k), and the log-density there up to a constant, shape (size,)."""
        k = len(self.mode)
        df = _DEGREES_OF_FREEDOM
        z = rng.standard_normal((size, k)) / np.sqrt(rng.chisquare(df, size) / df)[:, None]
        log_density = -0.5 * (df + k) * np.log1p((z**2).sum(axis=1) / df)
        return self.mode + z @ self.root.T, log_density


def fit_map(model: Model, data: Compressed, priors: Priors, start: Array | None) -> FitResult:
    """Find the mode of the posterior density of the parameters.

    As of the parameters themselves, not of their logarithms: with flat priors it is the
    maximum likelihood estimate.
    """

    def density_of_theta(log_theta: Array) -> tuple[float, Array]:
        value, gradient = priors.log_density(log_theta)
        return value - float(log_theta.sum()), gradient - 1.0

    return result_at(model, data, "map", maximise(model, data, start, density_of_theta))


def fit_laplace(
    model: Model, data: Compressed, priors: Priors, start: Array | None, draws: int, seed: int
) -> FitResult:
    """Sample the posterior by importance resampling around its mode.

    Parameters
    ----------
    draws : int
        Draws to keep, resampled from twice as many.

    Returns
    -------
    FitResult
        With ``sample.how.k_hat``, above 0.7 of which it cannot be trusted; inf where the
        posterior has no normal approximation at all.
    """
    optimum = maximise(model, data, start, priors.log_density)
    proposal = _proposal(optimum)
    if proposal is None:
        return without_draws(model, data, optimum, seed)
    rng = np.random.default_rng(seed)
    points, proposed = proposal.draw(_PROPOSALS * draws, rng)
    target = _posterior_density(model, data, priors, points)
    if not np.isfinite(target).any():
        return without_draws(model, data, optimum, seed)
    weights, k_hat = smooth_weights(np.where(np.isfinite(target), target - proposed, -1e300))
    kept = points[resample(weights, draws, rng).astype(np.intp)]
    how = Sampling(
        sampler="importance resampling",
        chains=1,
        draws=draws,
        tune=0,
        seed=seed,
        priors=priors.describe(),
        k_hat=k_hat,
        importance_ess=effective_size(weights),
    )
    sample = Sample(np.exp(kept)[None], {}, how)
    return posterior_result(model, data, "laplace", sample, optimum.convergence)


def without_draws(model: Model, data: Compressed, optimum: Optimum, seed: int) -> FitResult:
    """The result where nothing can be proposed from the mode: k-hat is inf."""
    how = Sampling("importance resampling", 1, 0, 0, seed, k_hat=float("inf"))
    k = len(optimum.log_theta)
    result = result_at(model, data, "laplace", optimum)
    return replace(result, sample=Sample(np.empty((1, 0, k)), {}, how))


def posterior_result(
    model: Model, data: Compressed, method: str, sample: Sample, convergence: Convergence
) -> FitResult:
    """Make the result of a fit whose estimate is the mean of its draws."""
    flat = sample.flat
    mean = flat.mean(axis=0)
    return FitResult(
        model=model.name,
        method=method,
        names=model.parameter_names,
        estimate=mean,
        log_covariance=np.cov(np.log(flat), rowvar=False),
        log_likelihood=float(data.weight @ model.log_likelihood(tuple(mean), data)),
        n_customers=round(float(data.weight.sum())),
        n_rows=len(data),
        convergence=convergence,
        sample=sample,
    )


def _proposal(optimum: Optimum) -> _Proposal | None:
    if not np.isfinite(optimum.log_covariance).all():
        return None
    try:
        return _Proposal(optimum.log_theta, np.linalg.cholesky(optimum.log_covariance))
    except np.linalg.LinAlgError:
        return None


def _posterior_density(model: Model, data: Compressed, priors: Priors, points: Array) -> Array:
    """Log posterior density of ln(parameters) at each point, up to a constant."""
    if len(data) * len(points) < _COMPILED_FROM:
        likelihoods = [
            float(data.weight @ model.log_likelihood(tuple(theta), data))
            for theta in np.exp(points)
        ]
    else:
        # The compiled kernel runs outside the interpreter lock.
        likelihood = model.fused(data)
        with ThreadPoolExecutor(usable_cores()) as pool:
            likelihoods = list(pool.map(lambda theta: likelihood(theta)[0], np.exp(points)))
    return np.array(likelihoods) + [priors.log_density(point)[0] for point in points]
