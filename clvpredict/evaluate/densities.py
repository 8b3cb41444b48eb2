"""Distributions that a fitted model stands for: of customers, and of its parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special as sc

from clvpredict.errors import OptionError
from clvpredict.evaluate.fitted import check_level, check_whole, parts_of
from clvpredict.evaluate.subject import title
from clvpredict.evaluate.views import DRAWS
from clvpredict.inference.priors import Priors
from clvpredict.inference.result import FitResult
from clvpredict.models.registry import model_by_name
from clvpredict.predict import interval_of
from clvpredict.rfm import Array

# Tails beyond these are not tabulated, nor what is more decades from the middle: a Gamma or Beta
# of small shape has no end on a logarithmic axis.
_TAIL = 0.001
_DECADES = 4.0
# How the default priors name themselves; given ones do so in other ways.
_OWN_PRIOR = re.compile(r"LogNormal\(mu=(\S+), sigma=(\S+)\)")


@dataclass(frozen=True)
class _Mixture:
    """How a quantity is distributed over customers.

    Parameters
    ----------
    parameters : tuple of str
        Which of the model's it depends on.
    density : callable
        Of ln(x), or of logit(x): from x and the parameters.
    share_below : callable
        P(quantity <= x), from the same.
    at_share : callable
        Its inverse, from the share and the parameters.
    middle : callable
        About where it is: a rate, money, or odds, from the parameters.
    scale : {"log", "logit"}
        What the density is over.
    """

    parameters: tuple[str, ...]
    density: Callable[..., Array]
    share_below: Callable[..., Array]
    at_share: Callable[..., Array]
    middle: Callable[..., Array]
    scale: str

    def to(self, x: Array) -> Array:
        """From the quantity to what the density is over."""
        return np.asarray(sc.logit(x) if self.scale == "logit" else np.log(x))

    def back(self, u: Array) -> Array:
        """The inverse of it."""
        return np.asarray(sc.expit(u) if self.scale == "logit" else np.exp(u))


def _rate_density(x: Array, r: Array, alpha: Array) -> Array:
    """λ ~ Gamma(r, rate α): of ln λ."""
    return np.asarray(np.exp(sc.xlogy(r, alpha * x) - alpha * x - sc.gammaln(r)))


def _dropout_density(x: Array, a: Array, b: Array) -> Array:
    """P ~ Beta(a, b): of logit p."""
    return np.asarray(np.exp(sc.xlogy(a, x) + sc.xlog1py(b, -x) - sc.betaln(a, b)))


def _spend_density(x: Array, p: Array, q: Array, v: Array) -> Array:
    """M = p/ν, ν ~ Gamma(q, rate v), so that p v / m ~ Gamma(q, 1): of ln m."""
    return _rate_density(1.0 / x, q, p * v)


_QUANTITIES: dict[str, _Mixture] = {
    "purchase_rate": _Mixture(
        ("r", "alpha"),
        _rate_density,
        lambda x, r, alpha: np.asarray(sc.gammainc(r, alpha * x)),
        lambda share, r, alpha: np.asarray(sc.gammaincinv(r, share) / alpha),
        lambda r, alpha: np.asarray(r / alpha),
        "log",
    ),
    "dropout_probability": _Mixture(
        ("a", "b"),
        _dropout_density,
        lambda x, a, b: np.asarray(sc.betainc(a, b, x)),
        lambda share, a, b: np.asarray(sc.betaincinv(a, b, share)),
        lambda a, b: np.asarray(a / b),
        "logit",
    ),
    "mean_spend": _Mixture(
        ("p", "q", "v"),
        _spend_density,
        lambda x, p, q, v: np.asarray(sc.gammaincc(q, p * v / x)),
        lambda share, p, q, v: np.asarray(p * v / sc.gammainccinv(q, share)),
        lambda p, q, v: np.asarray(p * v / q),
        "log",
    ),
}


def heterogeneity(
    model: Any,
    *,
    level: float | None = 0.9,
    points: int = 200,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Tabulate how customers differ, by the model.

    The purchase rate of customers is Gamma(r, rate alpha), their dropout probability after a
    purchase Beta(a, b), and the mean value of their purchases, by Gamma-Gamma, p/ν with
    ν ~ Gamma(q, rate v).

    Densities of the bare quantities shoot up to infinity at an end where r, a or b are below 1.
    So rates and money are tabulated by the density of their natural logarithm, and the
    probability by that of its log odds ln(p / (1 − p)); these are smooth, with one peak.

    Parameters
    ----------
    model : CLVModel, PurchaseEstimator or GammaGamma
        Fitted.
    level : float or None
        Of the band: what draws of the parameters leave open at each point. None for no band.
    points : int
        Per quantity.
    draws : int
        Draws of the parameters.
    seed : int
        Equal seeds give equal tables.

    Returns
    -------
    DataFrame
        `quantity`: of a purchase model `purchase_rate` (purchases of an active customer per
        unit of time) and `dropout_probability`, of a spend model `mean_spend`; `x`; `density`,
        at the estimate, or of a posterior the mean over draws; `lower`, `upper`, missing where
        parameters were given and not fitted. Tails of less than a thousandth are not
        tabulated, nor what lies more than four decades from the middle. ``attrs`` has, by
        quantity, `model`, `scale` (``"log"`` or ``"logit"``: what the density is over), `units` and
        `outside`, the shares of customers below and above the table; and `level`.

    Raises
    ------
    OptionError
        If the model is not fitted, or says nothing of this kind.
    InfiniteValueError
        If the data do not identify the parameters: there is no band (``level=None`` goes).

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import heterogeneity
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> table = heterogeneity(clv.CLVModel(clv.MBGNBD()).fit(rfm))
    >>> table.groupby("quantity", sort=False).size().to_dict()
    {'purchase_rate': 200, 'dropout_probability': 200, 'mean_spend': 200}
    """
    check_whole("points", points, 2)
    check_whole("draws", draws, 2)
    if level is not None:
        check_level("level", level)
    parts = []
    attrs: dict[str, Any] = {"model": {}, "scale": {}, "units": {}, "outside": {}, "level": level}
    for part, _, result in parts_of(model):
        # A model's draws are those it has alone, whichever models stand beside it.
        wanted = level is not None and result.method != "given"
        drawn = result.draws(draws, seed) if wanted or result.is_posterior else None
        for name, mixture in _QUANTITIES.items():
            # The papers' letters: r and alpha are of purchase rates in every model that has them.
            if not set(mixture.parameters) <= set(result.names):
                continue
            table, outside = _tabulate(mixture, result, drawn, level, points)
            table.insert(0, "quantity", name)
            parts.append(table)
            attrs["model"][name] = model_by_name(result.model).title
            attrs["scale"][name] = mixture.scale
            attrs["outside"][name] = outside
            attrs["units"][name] = _unit(part, name)
    if not parts:
        known = "r and alpha, a and b, or p, q and v"
        raise OptionError(f"heterogeneity is known of {known}; {title(model)} has none of them.")
    out = pd.concat(parts, ignore_index=True)
    out.attrs.update(attrs)
    return out


def _tabulate(
    mixture: _Mixture, result: FitResult, drawn: Array | None, level: float | None, points: int
) -> tuple[pd.DataFrame, tuple[float, float]]:
    """Density and band, and the shares of customers below and above."""
    place = [result.names.index(name) for name in mixture.parameters]
    point = [result.estimate[i] for i in place]
    shares = np.array([_TAIL, 1.0 - _TAIL])
    with np.errstate(divide="ignore"):  # quantiles may be 0, in floating point
        ends = mixture.to(mixture.at_share(shares, *point))
    window = np.log(mixture.middle(*point)) + np.log(10.0) * np.array([-_DECADES, _DECADES])
    inside = np.clip(ends, *window)
    low, high = inside if inside[0] < inside[1] else window
    x = mixture.back(np.linspace(float(low), float(high), points))
    density = mixture.density(x, *point)
    lower = upper = np.full(points, np.nan)
    if drawn is not None:
        at_draws = mixture.density(x[:, None], *(drawn[:, i] for i in place))
        if level is not None:
            lower, upper = interval_of(at_draws, level)
        if result.is_posterior:
            density = at_draws.mean(axis=1)
    below, above = mixture.share_below(x[[0, -1]], *point)
    table = pd.DataFrame({"x": x, "density": density, "lower": lower, "upper": upper})
    return table, (float(below), float(1.0 - above))


def _names(model: Any) -> str:
    return " and ".join(part.formulas.title for part in parts_of(model))


def _unit(part: Any, quantity: str) -> str | None:
    """The unit of a quantity in words; None where there is none or it is not known."""
    if quantity == "purchase_rate":
        unit = getattr(part, "time_unit_", None)
        return None if unit is None else f"purchases per {unit.label.removesuffix('s')}"
    if quantity == "mean_spend":
        return (getattr(part, "data_", None) or {}).get("currency")
    return None


# --- priors ----------------------------------------------------------------------------------


def prior_posterior(
    model: Any, *, priors: Mapping[str, Any] | None = None, points: int = 200
) -> pd.DataFrame:
    """Tabulate the prior and the posterior of each parameter.

    Parameters
    ----------
    model : CLVModel, PurchaseEstimator or GammaGamma
        Fitted by ``method="laplace"`` or ``"nuts"``.
    priors : mapping, optional
        The priors that were given to ``fit``, once more: a fit keeps their names only. Defaults
        need not be given.
    points : int
        Per parameter.

    Returns
    -------
    DataFrame
        `parameter`, `value`, `prior`, `posterior`: densities of ln(parameter), the posterior's
        by a Gaussian kernel over the draws. The values lie closer to one another where the
        posterior is. ``attrs`` has, by parameter, `model`, `units`, `priors` (in words) and
        `shrinkage`: 1 − (standard deviation of ln(parameter), posterior over
        prior)², the share of the prior's uncertainty that the data took away.

    Raises
    ------
    OptionError
        If the fit has no draws of a posterior, or priors are missing or unknown.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import prior_posterior
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> model = clv.MBGNBD().fit(rfm, method="laplace", seed=1)
    >>> table = prior_posterior(model)
    >>> min(table.attrs["shrinkage"].values()) > 0.9  # the data say far more than the priors
    True
    """
    check_whole("points", points, 10)
    priors = dict(priors or {})
    parts = [(p.model, p.result) for p in parts_of(model)]
    known = [name for _, result in parts for name in result.names]
    unknown = [name for name in priors if name not in known]
    if unknown:
        raise OptionError(
            f"priors: {', '.join(map(repr, unknown))} is no parameter of {_names(model)}, which "
            f"has {', '.join(known)}."
        )
    tables = []
    attrs: dict[str, Any] = {"model": {}, "units": {}, "priors": {}, "shrinkage": {}}
    for part, result in parts:
        if not result.is_posterior or result.sample is None:
            raise OptionError(
                f"a fit by method={result.method!r} has no draws of a posterior. Fit with "
                "method='laplace' or 'nuts': model.fit(rfm, method='laplace')."
            )
        said = result.sample.how.priors
        for i, parameter in enumerate(model_by_name(result.model).parameters):
            name = parameter.name
            log_prior = _log_prior(name, said.get(name, ""), priors.get(name))
            values, prior, posterior, shrinkage = _compare(
                np.log(result.sample.flat[:, i]), log_prior, points
            )
            tables.append(
                pd.DataFrame(
                    {"parameter": name, "value": values, "prior": prior, "posterior": posterior}
                )
            )
            attrs["model"][name] = model_by_name(result.model).title
            attrs["priors"][name] = said.get(name)
            attrs["shrinkage"][name] = shrinkage
            attrs["units"][name] = _parameter_unit(part, parameter.unit)
    out = pd.concat(tables, ignore_index=True)
    out.attrs.update(attrs)
    return out


def _log_prior(name: str, said: str, given: Any) -> Callable[[Array], Array]:
    """The prior density of ln(parameter), as a function of ln(parameter)."""
    own = _OWN_PRIOR.fullmatch(said)
    if own is not None and given is None:
        mu, sigma = float(own[1]), float(own[2])
        return lambda u: np.asarray(
            np.exp(-0.5 * ((u - mu) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        )
    if given is None:
        raise OptionError(
            f"the prior of {name} was given to fit ({said}), which keeps its name only. Give it "
            f"here, too: prior_posterior(model, priors={{'{name}': ...}})."
        )
    if own is not None:
        raise OptionError(
            f"the fit had the default prior of {name}, {said}; leave {name!r} out of priors."
        )
    density = Priors((name,), {}, {name: given}).log_density
    return lambda u: np.array([np.exp(density(np.array([each]))[0]) for each in u])


def _compare(
    draws: Array, prior: Callable[[Array], Array], points: int
) -> tuple[Array, Array, Array, float]:
    """Values, both densities of their logarithm, and the shrinkage."""
    from scipy.stats import gaussian_kde

    middle, spread = float(draws.mean()), float(draws.std())
    # The prior is wherever its density is; a search from the posterior outwards finds it.
    wide = middle + np.linspace(-40.0, 40.0, 1601)
    mass = prior(wide)
    share = np.cumsum(mass) / mass.sum()
    mean = float(np.average(wide, weights=mass))
    deviation = float(np.sqrt(np.average((wide - mean) ** 2, weights=mass)))
    low, high = wide[np.searchsorted(share, (0.005, 0.995))]
    close = middle + spread * np.linspace(-4.5, 4.5, points - points // 3)
    u = np.sort(np.concatenate([np.linspace(low, high, points // 3), close]))
    posterior = gaussian_kde(draws)(u)
    return np.exp(u), prior(u), posterior, 1.0 - (spread / deviation) ** 2


def _parameter_unit(part: Any, unit: str | None) -> str | None:
    if unit == "time":
        known = getattr(part, "time_unit_", None)
        return None if known is None else str(known.label)
    return (getattr(part, "data_", None) or {}).get("currency") if unit == "money" else None
