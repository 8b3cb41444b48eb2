"""One way into every method of fitting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict

import numpy as np

from clvpredict.errors import (
    ConvergenceError,
    MethodNotice,
    OptionError,
    SamplingWarning,
    notify,
    refuse_unknown,
)
from clvpredict.inference.bootstrap import fit_bootstrap
from clvpredict.inference.diagnose import report, trustworthy
from clvpredict.inference.laplace import fit_laplace, fit_map
from clvpredict.inference.mle import fit_mle
from clvpredict.inference.priors import Priors, resolve
from clvpredict.inference.result import FitResult
from clvpredict.inference.sampling import NutsOptions
from clvpredict.models.base import Model
from clvpredict.options import Method, Sampler, choose
from clvpredict.rfm import Array, Compressed

# Below so many repeat buyers posteriors are rarely near normal.
_NUTS_BELOW = 200


class FitOptions(TypedDict, total=False):
    """What ``fit`` takes besides the method; see :class:`Options`."""

    start: Mapping[str, float] | None
    priors: Mapping[str, Any] | None
    bootstrap: int
    draws: int
    tune: int
    chains: int
    cores: int | None
    seed: int
    progress: bool
    sampler: Sampler
    target_accept: float
    keep_partial: bool
    strict: bool


@dataclass(frozen=True)
class Options(NutsOptions):
    """What ``fit`` takes besides the method and the options of :class:`NutsOptions`.

    Parameters
    ----------
    start : mapping, optional
        Starting values by parameter, tried besides the model's own.
    priors : mapping, optional
        A PyMC distribution by parameter, e.g. ``{"a": pm.HalfNormal.dist(2)}``; in the data's
        units. The other parameters keep their defaults.
    bootstrap : int
        With ``method="mle"``: replicates to take intervals from, instead of the asymptotic
        normal distribution.
    strict : bool
        Raise ConvergenceError, instead of a warning, if draws cannot be trusted.
    """

    start: Mapping[str, float] | None = None
    priors: Mapping[str, Any] | None = None
    bootstrap: int = 0
    strict: bool = False


def check_options(method: str, given: Mapping[str, Any]) -> Options:
    """Check the options of a fit, all together.

    Raises
    ------
    OptionError
        For unknown names, and values out of range or of another method.
    """
    choose("method", method, Method)
    refuse_unknown("fit", given, [f.name for f in fields(Options)])
    options = Options(**given)
    choose("sampler", options.sampler, Sampler)
    least = {"bootstrap": 0, "draws": 100, "tune": 100, "chains": 1, "seed": 0}
    problems = [
        f"{name}={getattr(options, name)!r} must be a whole number >= {low}"
        for name, low in least.items()
        if not _whole(getattr(options, name), low)
    ]
    if options.cores is not None and not _whole(options.cores, 1):
        problems.append(f"cores={options.cores!r} must be a whole number >= 1, or None")
    if not 0 < options.target_accept < 1:
        problems.append(f"target_accept={options.target_accept!r} must be between 0 and 1")
    if options.priors is not None and method == "mle":
        problems.append("priors need method='map', 'laplace', 'nuts' or 'auto'")
    if options.bootstrap and method != "mle":
        problems.append("bootstrap needs method='mle'")
    if problems:
        raise OptionError("; ".join(problems) + ".")
    return options


def fit_model(model: Model, data: Compressed, method: str, options: Options) -> FitResult:
    """Fit any model by any method.

    Raises
    ------
    OptionError
        For starts or priors that cannot be used.
    ConvergenceError
        If there is no result, or under ``strict`` none that can be trusted.
    """
    start = _start(model, options.start)
    if method == "mle":
        if options.bootstrap:
            result = fit_bootstrap(model, data, start, options.bootstrap, options.seed)
        else:
            result = fit_mle(model, data, start)
    else:
        priors = resolve(model, data, options.priors)
        result = _fit_posterior(model, data, method, priors, start, options)
    report(model.title, result, strict=options.strict)
    return result


def _fit_posterior(
    model: Model,
    data: Compressed,
    method: str,
    priors: Priors,
    start: Array | None,
    options: Options,
) -> FitResult:
    if method == "map":
        return fit_map(model, data, priors, start)
    reason = ""
    if method == "auto":
        method, reason = _choose(model, data)
        notify(f"{model.title}: method='{method}', {reason}.", MethodNotice)
    if method == "laplace":
        try:
            result = fit_laplace(model, data, priors, start, options.draws, options.seed)
        except ConvergenceError:
            reason = "because no mode of the posterior was found"
        else:
            if trustworthy(result):
                return _because(result, reason)
            k_hat = result.sample.how.k_hat if result.sample else None
            reason = f"because the posterior is not near normal (k-hat {k_hat:.2f} > 0.7)"
        notify(f"{model.title}: sampled by NUTS instead of Laplace, {reason}.", SamplingWarning)
    from clvpredict.inference.nuts import fit_nuts

    return _because(fit_nuts(model, data, priors, start, options), reason)


def _choose(model: Model, data: Compressed) -> tuple[str, str]:
    buyers = int(data.weight[data.columns["x"] > 0].sum())
    if buyers < _NUTS_BELOW:
        return "nuts", f"because with {buyers} repeat buyers the posterior may be far from normal"
    return "laplace", f"because with {buyers:,} repeat buyers the posterior is close to normal"


def _because(result: FitResult, reason: str) -> FitResult:
    if result.sample is None or not reason:
        return result
    how = replace(result.sample.how, reason=reason)
    return replace(result, sample=replace(result.sample, how=how))


def _start(model: Model, start: Mapping[str, float] | None) -> Array | None:
    if start is None:
        return None
    names = model.parameter_names
    if set(start) != set(names) or not all(0 < v < np.inf for v in start.values()):
        raise OptionError(
            f"start must give a positive number for each of {', '.join(names)}; got "
            f"{dict(start)!r}."
        )
    return np.array([start[n] for n in names])


def _whole(value: object, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low
