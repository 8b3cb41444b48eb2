"""What the data say of each parameter, and what only the prior says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from clvpredict.errors import IdentificationWarning, InfiniteValueError, notify
from clvpredict.evaluate.fitted import parts_of
from clvpredict.inference.priors import LogNormal, Priors
from clvpredict.inference.result import FitResult
from clvpredict.models.base import NEW_CUSTOMER, Model, PurchaseModel, Theta
from clvpredict.options import TimeUnit, horizon_periods
from clvpredict.rfm import Array

#: Below this, hardly anybody ever drops out.
SMALL_A = 0.01
#: Above this, the dropout probability is alike for all customers, or next to 0.
LARGE_B = 100.0
#: Of the prior's standard deviation; above this, the data add little to the prior.
PRIOR_RATIO = 0.5
#: Standard deviation of a logarithm (or log odds): 95 % lie within a factor of 7 either way.
WIDE = 1.0

_DRAWS = 4000
_MEAN_DROPOUT = "mean dropout probability"
# Verdicts that are nothing to warn of.
_FINE = ("identified", "given", "not computed", "no interval")
_DEFAULT = re.compile(r"LogNormal\(mu=([^,]+), sigma=([^)]+)\)")


def identification_check(
    model: Any,
    *,
    horizon: float | str | timedelta | None = None,
    priors: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Tabulate how well the data pin down each parameter, and what the dropout is.

    Parameters
    ----------
    model : estimator or CLVModel
        Fitted, by any method.
    horizon : float, str or timedelta, optional
        Over which customers are expected to drop out; a year where the model knows its unit.
    priors : mapping, optional
        The ones that were given to ``fit``, if any, to be compared with; defaults are known.
    seed : int
        Equal seeds give equal tables.

    Returns
    -------
    DataFrame
        One row for each parameter and, of a purchase model, for `mean dropout probability`
        (a/(a+b), after a purchase) and `share who drop out` (of new customers, within the
        horizon): `model`, `quantity`, `estimate`, `sd`, `prior_sd`, `ratio` (sd / prior_sd) and
        `verdict`, in words; ``"identified"`` where all is well. `sd` and `prior_sd` are those of
        the logarithm of a parameter (about its relative error), and of the log odds of a
        probability or share: of the posterior, or asymptotic. It is infinite where a maximum
        likelihood fit has no such distribution. `prior_sd` is missing where there is no prior, or
        it is not known; a fit by ``method="map"`` does not keep its priors.

    Warns
    -----
    IdentificationWarning
        Naming what is not identified: a below 0.01 (hardly anybody drops out); b above 100 (the
        dropout probability is alike for all, or next to 0: then a and b are known by their ratio
        only); a posterior more than half as wide as its prior; or, without a prior, a standard
        deviation above 1 (known within a factor of 7 only).

    Raises
    ------
    OptionError
        If it is no model, or the horizon cannot be read.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import identification_check
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> table = identification_check(clv.BGNBD().fit(rfm, method="laplace"))
    >>> bool((table["verdict"] == "identified").all())
    True
    """
    unit = getattr(getattr(model, "purchases", model), "time_unit_", None)
    given = dict(priors or {})
    parts = parts_of(model)
    table = pd.concat(
        [_of_part(p.formulas, p.result, horizon, unit, given, seed) for p in parts],
        ignore_index=True,
    )
    failed = table[~table["verdict"].str.startswith(_FINE)]
    if len(failed):
        hints = [
            p.formulas.identification_hint
            for p in parts
            if p.formulas.title in set(failed["model"])
        ]
        found = [f"{q}: {v}" for q, v in zip(failed["quantity"], failed["verdict"], strict=True)]
        said = f"the data leave open: {'; '.join(found)}. {' '.join(hints)}"
        notify(said, IdentificationWarning)
    return table


def _of_part(
    formulas: Model,
    result: FitResult,
    horizon: float | str | timedelta | None,
    unit: TimeUnit | None,
    priors: dict[str, Any],
    seed: int,
) -> pd.DataFrame:
    periods = None
    if horizon is not None or unit is not None:
        periods = horizon_periods("1Y" if horizon is None else horizon, unit)
    drawn = _draws(result, seed)
    spread = _spreads(formulas, drawn, periods)
    prior = _spreads(formulas, _prior_draws(result, priors, seed), periods)
    estimate = {**result.parameters, **_dropout(formulas, result.theta, periods)}
    if result.is_posterior and drawn is not None:
        found = _dropout(formulas, tuple(drawn.T), periods)
        estimate |= {name: float(np.mean(v)) for name, v in found.items()}
    table = pd.DataFrame(
        {
            "model": formulas.title,
            "quantity": list(estimate),
            "estimate": [float(v) for v in estimate.values()],
            "sd": [spread.get(q, np.inf) for q in estimate],
            "prior_sd": [prior.get(q, np.nan) for q in estimate],
        }
    )
    table["ratio"] = table["sd"] / table["prior_sd"]
    loose = set(result.convergence.unidentified)
    if loose & {"a", "b"}:
        loose.add(_MEAN_DROPOUT)
    table["verdict"] = [
        "given, not estimated"
        if result.method == "given"
        else _verdict(str(row.quantity), row.estimate, row.sd, row.ratio, loose)
        for row in table.itertuples()
    ]
    return table


def _verdict(quantity: str, estimate: Any, sd: Any, ratio: Any, loose: set[str]) -> str:
    if np.isnan(estimate):
        return "not computed: the model does not know its time unit; give horizon="
    if quantity == "a" and estimate < SMALL_A:
        return f"a → 0: hardly anybody ever drops out (below {SMALL_A})"
    if quantity == "b" and estimate > LARGE_B:
        return f"b → large: dropout is alike for all customers, or next to 0 (above {LARGE_B:g})"
    if np.isinf(sd):
        if quantity in loose:
            return "not identified: the likelihood is about as high for quite other values"
        return "no interval: not without those that are not identified"
    if ratio > PRIOR_RATIO:
        return f"mostly the prior: {100 * ratio:.0f} % as wide as before the data"
    if sd > WIDE:
        return f"weak: 95 % are within a factor of {np.exp(1.96 * sd):.2g} either way"
    return "identified"


def _draws(result: FitResult, seed: int) -> Array | None:
    if result.method == "given":
        return None
    try:
        return result.draws(_DRAWS, seed)
    except InfiniteValueError:
        return None


def _prior_draws(result: FitResult, given: dict[str, Any], seed: int) -> Array | None:
    """Draws of the prior, nan for parameters whose prior is not known; None without priors."""
    said = result.sample.how.priors if result.sample is not None else {}
    if not said:
        return None
    own = {}
    for name, words in said.items():
        found = _DEFAULT.fullmatch(words)
        if found and name not in given:
            own[name] = LogNormal(float(found[1]), float(found[2]))
    given = {n: p for n, p in given.items() if n in result.names}
    known = tuple(n for n in result.names if n in own or n in given)
    draws = np.full((_DRAWS, len(result.names)), np.nan)
    if known:
        place = [result.names.index(n) for n in known]
        draws[:, place] = Priors(known, own, given).draw(_DRAWS, seed)
    return draws


def _dropout(formulas: Model, theta: Theta, periods: float | None) -> dict[str, Any]:
    """Mean dropout probability, and share of new customers who are gone after ``periods``."""
    if not isinstance(formulas, PurchaseModel):
        return {}
    found: dict[str, Any] = {}
    at = dict(zip(formulas.parameter_names, theta, strict=True))
    if "a" in at and "b" in at:
        found[_MEAN_DROPOUT] = at["a"] / (at["a"] + at["b"])
    zero = np.zeros(np.shape(theta[0]) or (1,))
    gone = np.full(zero.shape, np.nan)
    if periods is not None and np.isfinite(theta).all():
        some = tuple(np.broadcast_to(v, zero.shape) for v in theta)
        process = formulas.given_alive(some, zero, zero)
        alive = formulas.p_alive(some, NEW_CUSTOMER)
        gone = 1.0 - alive * formulas.process_survival(process, np.asarray(periods))
    found["share who drop out"] = gone if np.ndim(theta[0]) else gone[0]
    return found


def _spreads(formulas: Model, theta: Array | None, periods: float | None) -> dict[str, float]:
    """Standard deviations of ln(parameters), and of log odds of what is a probability."""
    if theta is None:
        return {}
    logs = {n: np.log(v) for n, v in zip(formulas.parameter_names, theta.T, strict=True)}
    tiny = np.finfo(float).tiny
    for name, value in _dropout(formulas, tuple(theta.T), periods).items():
        share = np.clip(value, tiny, 1.0 - np.finfo(float).epsneg)
        logs[name] = np.log(share) - np.log1p(-share)
    return {name: float(np.std(v, ddof=1)) for name, v in logs.items()}
