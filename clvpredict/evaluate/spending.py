"""Whether the spend model describes what customers spent: checks without a holdout."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.evaluate.fitted import check_settings, spend_part
from clvpredict.evaluate.predictive import (
    as_theta,
    bounds,
    outside,
    parameter_draws,
    sample_of,
    spend_columns,
)
from clvpredict.inference.dependence import Dependence, spearman
from clvpredict.inference.result import FitResult
from clvpredict.models.base import SpendModel
from clvpredict.rfm import Array, SpendHistories, provenance_of

# Rank correlation of frequency and spend from which on fitting warns, too.
_CORRELATED = 0.3
# Share of what the model implies that may lie beyond either end of the table.
_BEYOND = 0.001


def spend_check(
    model: Any,
    rfm: pd.DataFrame,
    *,
    bins: int = 30,
    level: float = 0.9,
    draws: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare customers' mean spend with what the model says for as many purchases of each.

    Parameters
    ----------
    model : GammaGamma or CLVModel
        Fitted, by any method.
    rfm : DataFrame
        The customers, usually those of the fit, with `frequency` and `monetary_value`.
    bins : int
        Intervals, of equal length in ln(spend).
    level : float
        Of the band, at each interval on its own.
    draws : int
        Simulated customer bases, each under a draw of the parameters.
    seed : int
        Equal seeds give equal tables.

    Returns
    -------
    DataFrame
        One row per interval: `model`, `spend` (its middle), `start`, `end`, `observed_density`,
        `expected_density` (mean over the simulated bases), `lower`, `upper`. Densities are those
        of ln(spend), as a logarithmic axis shows them: over all intervals they sum to 1 with the
        intervals' length in ln(spend). ``attrs`` has `customers`, `sampled`, `currency`,
        `level`, `outside`.

    Raises
    ------
    DataError
        If the summary cannot be used, or nobody spent anything.
    OptionError
        If the model has no spend model, or an option is out of range.

    Notes
    -----
    Customers without a repeat purchase have no mean spend and are not part of it. The intervals
    hold all that was observed; of what the model implies, up to 0.1 % may lie beyond either end.
    Of more than 10,000 customers, both sides are of a random sample of that many.

    Examples
    --------
    >>> import numpy as np
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import spend_check
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> table = spend_check(clv.GammaGamma().fit(rfm), rfm)
    >>> width = np.log(table["end"] / table["start"])
    >>> round(float((table["observed_density"] * width).sum()), 6)
    1.0
    """
    check_settings(level, bins=bins, draws=draws)
    _, formulas, result = spend_part(model)
    x, m = spend_columns(rfm)
    customers, kept = len(x), sample_of(len(x), seed)
    x, m = x[kept], m[kept]
    implied = _implied(formulas, result, x, draws, seed)
    low, high = np.quantile(implied, (_BEYOND, 1.0 - _BEYOND))
    edges = np.geomspace(min(low, m.min()), max(high, m.max()), bins + 1)
    # Rounding must not put the smallest and the largest outside.
    edges[[0, -1]] = min(low, m.min()), max(high, m.max())
    scale = 1.0 / (len(m) * np.diff(np.log(edges)))
    drawn = np.array([np.histogram(base, bins=edges)[0] * scale for base in implied])
    lower, upper = bounds(drawn, level)
    table = pd.DataFrame(
        {
            "model": formulas.title,
            "spend": np.sqrt(edges[:-1] * edges[1:]),
            "start": edges[:-1],
            "end": edges[1:],
            "observed_density": np.histogram(m, bins=edges)[0] * scale,
            "expected_density": drawn.mean(axis=0),
            "lower": lower,
            "upper": upper,
        }
    )
    table.attrs = _about(rfm, customers, len(m), level)
    table.attrs["outside"] = outside(table, "observed_density")
    return table


def dependence_check(
    model: Any,
    rfm: pd.DataFrame,
    *,
    top: int = 7,
    level: float = 0.9,
    draws: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare mean spend by purchase frequency with a model in which the two are independent.

    Parameters
    ----------
    model : GammaGamma or CLVModel
        Fitted, by any method.
    rfm : DataFrame
        As in :func:`spend_check`.
    top : int
        Customers with this many purchases or more are one group.
    level, draws, seed
        As in :func:`spend_check`.

    Returns
    -------
    DataFrame
        One row per group with customers in it: `model`, `frequency` (text: ``"1"``, ...
        ``"7+"``), `customers`, `observed` (mean over them of their mean spend), `expected` (the
        same in the simulated bases: without dependence it is about equal in all groups), `lower`,
        `upper`. ``attrs`` has `rho` and `p_value` (Spearman's rank correlation of frequency and
        mean spend over all repeat buyers), `verdict` in words, and what :func:`spend_check` has.

    Raises
    ------
    DataError, OptionError
        As :func:`spend_check`.

    Notes
    -----
    The correlation matters where it is beyond ±0.3 and its p-value below 0.01; below that it may
    be weak, or chance. With many customers, chance alone explains little: look at how far apart
    the groups are.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import dependence_check
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> table = dependence_check(clv.GammaGamma().fit(rfm), rfm)
    >>> round(table.attrs["rho"], 2)
    0.21
    """
    check_settings(level, top=top, draws=draws)
    _, formulas, result = spend_part(model)
    x, m = spend_columns(rfm)
    measured = spearman(x, m)
    kept = sample_of(len(x), seed)
    x, m = x[kept], m[kept]
    group = np.minimum(x, top).astype(np.intp)
    size = np.bincount(group, minlength=top + 1)
    there = np.flatnonzero(size)

    def by_group(spend: Array) -> Array:
        return np.asarray(np.bincount(group, spend, top + 1)[there] / size[there])

    drawn = np.array([by_group(base) for base in _implied(formulas, result, x, draws, seed)])
    lower, upper = bounds(drawn, level)
    table = pd.DataFrame(
        {
            "model": formulas.title,
            "frequency": [f"{top}+" if n == top else str(n) for n in there],
            "customers": size[there],
            "observed": by_group(m),
            # The mean over bases does not exist for some parameters; their median does.
            "expected": np.median(drawn, axis=0),
            "lower": lower,
            "upper": upper,
        }
    )
    table.attrs = _about(rfm, measured.n, len(m), level)
    table.attrs |= {
        "outside": outside(table, "observed"),
        "rho": measured.rho,
        "p_value": measured.p_value,
        "verdict": _verdict(measured),
    }
    return table


def _verdict(measured: Dependence) -> str:
    more = "more" if measured.rho > 0 else "less"
    if measured.correlated(_CORRELATED):
        off = "too low" if measured.rho > 0 else "too high"
        return (
            f"dependent: frequent buyers spend {more} per purchase, so the model's value of them "
            f"is {off}; model segments of alike customers separately ({measured})"
        )
    if measured.p_value < 0.01:
        return (
            f"weakly dependent: frequent buyers spend somewhat {more} per purchase; usually "
            f"harmless, look at the groups ({measured})"
        )
    return f"no sign of dependence ({measured})"


def _implied(
    formulas: SpendModel, result: FitResult, x: Array, draws: int, seed: int
) -> npt.NDArray[np.float64]:
    """Mean spend of customers with x purchases, under draws of the parameters: (draws, n)."""
    rng = np.random.default_rng(seed)
    zero = np.zeros(len(x))
    nobody = SpendHistories(np.ones(len(x)), x=zero, m=zero)
    theta = parameter_draws(result, draws, seed)
    return np.array([formulas.draw_total(as_theta(row), nobody, x, rng) / x for row in theta])


def _about(rfm: pd.DataFrame, customers: int, sampled: int, level: float) -> dict[Any, Any]:
    provenance = provenance_of(rfm)
    return {
        "customers": customers,
        "sampled": sampled,
        "currency": provenance.currency if provenance else None,
        "level": level,
    }
