"""The No-U-Turn sampler on the posterior of any model: by nutpie, or by PyMC itself.

With priors that are given, what is sampled is the PyMC model's compiled density. With the
defaults alone, the same density needs no compiling: it is the kernel's plus normal terms.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clvpredict.errors import ConvergenceError, SamplingWarning, notify
from clvpredict.inference.cores import usable_cores
from clvpredict.inference.diagnose import check_chains
from clvpredict.inference.laplace import posterior_result
from clvpredict.inference.mle import maximise
from clvpredict.inference.optimise import descend, hessian, inverse_or_none, newton
from clvpredict.inference.priors import Priors
from clvpredict.inference.result import Convergence, FitResult, Sample, Sampling
from clvpredict.inference.sampling import NutsOptions
from clvpredict.models.base import Model
from clvpredict.rfm import Array, Compressed

# What nutpie and PyMC call the same, and what ArviZ expects.
_STATS = {
    "diverging": ("diverging",),
    "energy": ("energy",),
    "lp": ("logp", "lp"),
    "n_steps": ("n_steps",),
    "step_size": ("step_size",),
    "tree_depth": ("depth", "tree_depth"),
    "acceptance_rate": ("mean_tree_accept", "acceptance_rate"),
}
# Rows from which on chains side by side are faster than one after another: below, they would
# mostly wait for one another.
_THREADS_FROM = 10_000


@dataclass(frozen=True)
class _Space:
    """An unconstrained space, and the posterior's density there.

    Parameters
    ----------
    density : callable
        From a point to value and gradient; several threads may call it.
    forward, backward : callable
        From parameters, shape (k,), to a point; from points, shape (..., k), to parameters.
    logarithms : bool
        Whether points are ln(parameters).
    pymc_model : pymc.Model or None
    """

    density: Callable[[Array], tuple[Any, Array]]
    forward: Callable[[Array], Array]
    backward: Callable[[Array], Array]
    logarithms: bool
    pymc_model: Any = None


def _log_space(model: Model, data: Compressed, priors: Priors) -> _Space:
    """ln(parameters), where default priors are normal."""
    likelihood = model.fused(data)

    def density(point: Array) -> tuple[float, Array]:
        theta = np.exp(point)
        value, gradient = likelihood(theta)
        prior, slope = priors.log_density(point)
        return value + prior, gradient * theta + slope

    return _Space(density, np.log, np.exp, logarithms=True)


def _pymc_space(model: Model, data: Compressed, priors: Priors, threaded: bool) -> _Space:
    """The PyMC model's own, in which bounded priors are unbounded."""
    from clvpredict.inference import pymc_model as pm

    built = pm.build(model, data, priors)
    compiled = pm.compile_density(model, priors, built, threaded=threaded)
    shared = compiled.arguments(built)
    return _Space(
        lambda point: compiled.function(point, *shared),
        lambda theta: pm.forward(built, dict(zip(priors.names, theta, strict=True))),
        lambda points: pm.backward(built, points),
        pm.all_logarithms(built),
        built,
    )


@dataclass
class _Whitened:
    """A density around its mode, in units of its own spread.

    Chains then begin where the posterior is, in a space where it is round.
    """

    space: _Space
    centre: Array
    root: Array
    total: float

    def log_density(self, z: Array) -> tuple[float, Array]:
        """Value and gradient at z."""
        value, gradient = self.space.density(self.points(z))
        return float(value), gradient @ self.root

    def points(self, z: Array) -> Array:
        """From the round space to the unconstrained one."""
        return self.centre + z @ self.root.T

    def __call__(self, z: Array, /) -> tuple[float, Array]:
        """Negative and scaled, as :mod:`clvpredict.inference.optimise` wants it."""
        value, gradient = self.log_density(z)
        return -value / self.total, -gradient / self.total


def fit_nuts(
    model: Model, data: Compressed, priors: Priors, start: Array | None, options: NutsOptions
) -> FitResult:
    """Sample the posterior.

    Raises
    ------
    ConvergenceError
        If no chain can start, or chains fail.
    KeyboardInterrupt
        If interrupted, unless ``options.keep_partial``.
    """
    threaded = len(data) >= _THREADS_FROM and options.chains > 1
    sampler = _sampler(options.sampler)
    if priors.given or sampler is _by_pymc:
        space = _pymc_space(model, data, priors, threaded)
    else:
        space = _log_space(model, data, priors)
    mode, convergence = _mode(model, data, priors, start)
    # In a bounded prior's own space the mode is elsewhere, or at infinity.
    far = mode is None or not space.logarithms
    begin = np.median(priors.draw(101, 0), axis=0) if mode is None or far else mode
    target = _Whitened(space, space.forward(begin), np.eye(len(begin)), float(data.weight.sum()))
    if far:
        target.centre = target.centre + descend(target, np.zeros(len(begin)))[0]
    target = _whiten(target)
    try:
        cores = min(options.chains, usable_cores(options.cores)) if threaded else 1
        points, stats, complete = sampler(target, options, cores)
    except (RuntimeError, ValueError) as error:
        # Less nutpie's list of addresses.
        said = " ".join(str(error).partition("Stack backtrace")[0].split())
        raise ConvergenceError(
            f"{model.title}: sampling failed ({said}). Look at the priors "
            "(model.prior_predictive(rfm)), check the summary for outliers (rfm.describe()), or "
            "use method='laplace'."
        ) from error
    draws = space.backward(points)
    how = check_chains(
        Sampling(
            sampler=options.sampler,
            chains=draws.shape[0],
            draws=draws.shape[1],
            tune=options.tune,
            seed=options.seed,
            priors=priors.describe(),
        ),
        priors.names,
        draws,
        stats,
        complete=complete,
    )
    return posterior_result(model, data, "nuts", Sample(draws, stats, how), convergence)


def _mode(
    model: Model, data: Compressed, priors: Priors, start: Array | None
) -> tuple[Array | None, Convergence]:
    """Find the posterior's mode in ln(parameters); None where it has none."""
    try:
        optimum = maximise(model, data, start, priors.log_density)
    except ConvergenceError as error:
        return None, Convergence("no mode", str(error), np.nan, np.nan, 0, 0)
    return np.exp(optimum.log_theta), optimum.convergence


def _whiten(target: _Whitened) -> _Whitened:
    """Move to the mode and make the space round, where the density has one."""
    offset, curvature, _ = newton(target, np.zeros(len(target.centre)))
    if not np.isfinite(curvature).all():
        return target
    covariance = inverse_or_none(curvature * target.total)
    if covariance is None:
        curvature = hessian(target, np.zeros(len(offset)))
        covariance = inverse_or_none(curvature * target.total)
        offset = np.zeros(len(offset))
    if covariance is None:
        return target
    target.centre = target.centre + offset
    target.root = np.linalg.cholesky(covariance)
    return target


_Sampled = tuple[Array, dict[str, npt.NDArray[Any]], bool]
_Sampler = Callable[[_Whitened, NutsOptions, int], _Sampled]


def _sampler(name: str) -> _Sampler:
    if name == "nutpie":
        try:
            import nutpie  # noqa: F401  # loads
        except ImportError as error:
            notify(f"nutpie cannot be loaded ({error}): PyMC samples instead.", SamplingWarning)
            return _by_pymc
        return _by_nutpie
    return _by_pymc


def _by_nutpie(target: _Whitened, options: NutsOptions, cores: int) -> _Sampled:
    import nutpie
    from nutpie.compiled_pyfunc import from_pyfunc

    k = len(target.centre)
    compiled = from_pyfunc(
        k,
        lambda: target.log_density,
        lambda *_: lambda z: {"z": z},
        [np.dtype("float64")],
        [(k,)],
        ["z"],
        make_initial_point_fn=lambda seed: np.random.default_rng(seed).normal(size=k),
    )
    running = nutpie.sample(
        compiled,
        draws=options.draws,
        tune=options.tune,
        chains=options.chains,
        cores=cores,
        seed=options.seed,
        progress_bar=options.progress,
        target_accept=options.target_accept,
        save_warmup=False,
        blocking=False,
    )
    complete = True
    try:
        trace = running.wait()
    except KeyboardInterrupt:
        if not options.keep_partial:
            running.cancel()
            raise
        trace, complete = running.abort(), False
    except BaseException:
        running.cancel()
        raise
    z = trace["posterior"]["z"].to_numpy()
    chains, done = _finished(z)
    if not complete and done == 0:
        raise KeyboardInterrupt
    return (
        target.points(z[chains, :done]),
        _stats(trace["sample_stats"], chains, done),
        complete,
    )


def _finished(z: Array) -> tuple[npt.NDArray[np.intp], int]:
    """Chains and draws to keep, so that they are most; interrupted chains are padded with nan.

    Of chains one after another, the last may have hardly begun.
    """
    done = np.isfinite(z).all(axis=2).sum(axis=1)
    order = np.argsort(-done, kind="stable")
    number = int(np.argmax(done[order] * np.arange(1, len(done) + 1))) + 1
    return np.sort(order[:number]), int(done[order[number - 1]])


def _stats(found: Any, chains: npt.NDArray[np.intp], draws: int) -> dict[str, npt.NDArray[Any]]:
    """The statistics that ArviZ knows by name, shape (chains, draws)."""
    out = {}
    for name, aliases in _STATS.items():
        known = next((a for a in aliases if a in found), None)
        if known is not None:
            out[name] = found[known].to_numpy()[chains, :draws]
    return out


def _by_pymc(target: _Whitened, options: NutsOptions, cores: int) -> _Sampled:
    import pymc as pm

    pymc_model = target.space.pymc_model
    begin = target.space.backward(target.centre)
    initial = {v.name: value for v, value in zip(pymc_model.free_RVs, begin, strict=True)}
    with warnings.catch_warnings(), pymc_model:
        # Our own checks say the same, and what to do.
        warnings.simplefilter("ignore")
        trace = pm.sample(
            draws=options.draws,
            tune=options.tune,
            chains=options.chains,
            # The kernel holds compiled code that cannot be sent to other processes.
            cores=1,
            random_seed=options.seed,
            progressbar=options.progress,
            initvals=initial,
            nuts_sampler="pymc",
            quiet=not options.progress,
            compute_convergence_checks=False,
            nuts={"target_accept": options.target_accept},
        )
    posterior = trace["posterior"]
    theta = np.stack([posterior[n].to_numpy() for n in initial], axis=-1)
    points = _forward_all(pymc_model, theta)
    chains, draws = np.arange(len(theta)), theta.shape[1]
    return points, _stats(trace["sample_stats"], chains, draws), draws == options.draws


def _forward_all(pymc_model: Any, theta: Array) -> Array:
    import pytensor.tensor as pt

    out = []
    for i, variable in enumerate(pymc_model.free_RVs):
        transform = pymc_model.rvs_to_transforms[variable]
        column = theta[..., i]
        if transform is not None:
            column = transform.forward(pt.constant(column), *variable.owner.inputs).eval()
        out.append(column)
    return np.stack(out, axis=-1)
