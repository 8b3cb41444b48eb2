"""Recalibration: what earlier vintages teach about later forecasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.errors import OptionError, unknown_option
from clvpredict.evaluate.overlap import Overlap
from clvpredict.options import TimeUnit
from clvpredict.predict import Correction, Recalibration
from clvpredict.rfm import Array

if TYPE_CHECKING:
    from clvpredict.evaluate.results import Backtest

#: Where the distribution function of the PIT is kept.
KNOTS = np.linspace(0.0, 1.0, 41)
_LEAST, _LEAST_INDEPENDENT = 3, 1.5


class TooFewVintagesError(OptionError):
    """There is too little to learn from."""


def recalibrate(
    results: Backtest, model: str | None = None, *, horizon: str | None = None, before: Any = None
) -> Recalibration:
    """Learn from earlier forecasts what to correct in later ones.

    Two corrections, each for purchases and for value. The curve: outcomes of a calibrated
    forecast have a uniform PIT; where the PIT's distribution function G, averaged over
    vintages, is another, forecast probabilities F become G(F) (Kuleshov, Fenner & Ermon 2018;
    counts by their non-randomised PIT). The level: realised over predicted totals, a factor for
    expectations; its spread over vintages widens the intervals of totals.

    Both are shrunk towards no correction by how much vintages disagree (positive-part
    James-Stein): w = max(0, 1 − Σ s² / Σ d²), with d the mean deviation at each knot and s² the
    variance of that mean. Holdouts that overlap are correlated by the share of days in common,
    and count as so many fewer. What differs from season to season is therefore left alone, what
    every vintage shows is corrected.

    Parameters
    ----------
    results : Backtest
        From :func:`backtest`.
    model : str, optional
        Its name in the results; by default the only one.
    horizon : str, optional
        As it was named in the backtest; by default the only one.
    before : date, optional
        Use only vintages whose holdout had ended by then; by default all.

    Returns
    -------
    Recalibration
        For ``predict(..., recalibration=)``, ``predict_totals``, ``p_above``.

    Raises
    ------
    OptionError
        If there are fewer than 3 vintages, or they overlap so much that they say less than 1.5
        that do not; and if the model or the horizon is not in the results.

    Examples
    --------
    >>> import clvpredict as clv
    >>> cdnow = clv.load_cdnow()
    >>> results = clv.backtest(cdnow, [clv.MBGNBD()], every="6W", horizons=["13W"])
    >>> learnt = clv.recalibrate(results)
    >>> rfm = clv.rfm_summary(cdnow, time_unit="W")
    >>> table = clv.MBGNBD().fit(rfm).predict(
    ...     rfm, horizon="13W", interval=0.9, recalibration=learnt
    ... )
    >>> table.attrs["clvpredict"]["recalibration"]["model"]
    'mbg/nbd'
    """
    name = _only("model", model, list(results.models))
    label = _only("horizon", horizon, results.table["horizon"].drop_duplicates().tolist())
    until = None if before is None else pd.Timestamp(before)
    return learn(results, name, label, until, TimeUnit.parse(results.time_unit))


def learn(
    results: Backtest, name: str, label: str, before: pd.Timestamp | None, unit: TimeUnit
) -> Recalibration:
    """Do it for one model and horizon of the results."""
    table = results.table
    rows = table[(table["model"] == name) & (table["horizon"] == label) & (table["status"] == "ok")]
    if rows.empty:
        raise TooFewVintagesError(
            f"there are no results of {name} at horizon {label} to learn from."
        )
    periods = float(rows["horizon_periods"].iloc[0])
    length = pd.Timedelta(days=round(periods * unit.days))
    if before is not None:
        rows = rows[rows["cut_date"] + length <= before]
    cuts = rows["cut_date"]
    overlap = Overlap.of(cuts, length)
    if len(rows) < _LEAST or overlap.independent < _LEAST_INDEPENDENT:
        raise TooFewVintagesError(
            f"{len(rows)} vintages of {name} at horizon {label}"
            f"{'' if before is None else f', over by {before.date()}'}, are too few to learn "
            f"from: for their overlap they say as much as {overlap.independent:.1f} that have "
            f"none. It takes {_LEAST}, and as much as {_LEAST_INDEPENDENT}. Backtest more cut "
            "dates, or a shorter horizon."
        )
    value = None
    if "value_predicted_total" in rows and rows["value_pit_ks"].notna().all():
        value = _correction(results, rows, "value", overlap)
    return Recalibration(
        model=results.models[name],
        horizon=periods,
        time_unit=unit.code,
        vintages=tuple(c.date().isoformat() for c in cuts),
        last_seen=(cuts.max() + length).date().isoformat(),
        purchases=_correction(results, rows, "purchases", overlap),
        value=value,
    )


def _correction(results: Backtest, rows: pd.DataFrame, of: str, overlap: Overlap) -> Correction:
    prefix = "" if of == "purchases" else "value_"
    with np.errstate(divide="ignore"):
        missed: Array = np.log(
            rows[f"{prefix}observed_total"].to_numpy(np.float64)
            / rows[f"{prefix}predicted_total"].to_numpy(np.float64)
        )
    if not np.isfinite(missed).all():
        raise TooFewVintagesError(
            f"there are vintages without any {of}, observed or predicted, and nothing to learn "
            "from them. Backtest longer horizons, or later cut dates."
        )
    level, level_weight = shrunk(missed[:, None], overlap)
    kept = results.curves
    kept = kept[
        (kept["model"] == rows["model"].iloc[0])
        & (kept["horizon"] == rows["horizon"].iloc[0])
        & (kept["of"] == of)
        & kept["cut_date"].isin(rows["cut_date"])
    ]
    seen = np.array(kept["curve"].tolist())
    deviation, weight = shrunk(seen - KNOTS, overlap)
    # Shrinkage keeps it monotone: a mixture of two distribution functions.
    curve = np.maximum.accumulate(np.clip(KNOTS + deviation, 0.0, 1.0))
    curve[[0, -1]] = 0.0, 1.0
    return Correction(
        curve=tuple(map(float, curve)),
        curve_weight=weight,
        level=float(np.exp(level[0])),
        level_weight=level_weight,
        spread=float(np.sqrt(overlap.variance(missed.var(ddof=1)))),
    )


def shrunk(deviations: Array, overlap: Overlap) -> tuple[Array, float]:
    """Mean deviation over vintages, shrunk by their disagreement, and the weight it keeps.

    Parameters
    ----------
    deviations : ndarray, shape (vintages, knots)
    overlap : Overlap
        Of the vintages.
    """
    mean: npt.NDArray[np.float64] = deviations.mean(axis=0)
    noise = overlap.variance_of_mean(float(deviations.var(axis=0, ddof=1).sum()))
    size = float((mean**2).sum())
    weight = max(0.0, 1.0 - noise / size) if size > 0 else 0.0
    return mean * weight, float(weight)


def _only(what: str, given: str | None, known: list[str]) -> str:
    if given is None and len(known) == 1:
        return known[0]
    if given is None:
        raise OptionError(f"say which {what}: {', '.join(map(repr, known))}.")
    if given not in known:
        raise unknown_option(what, given, known)
    return given
