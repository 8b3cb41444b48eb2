"""What has changed since earlier runs: parameters, customers, and how predictions came out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from scipy import special as sc

from clvpredict.refit.input_checks import ACCEPTED
from clvpredict.refit.realised import Published, alarms, realised
from clvpredict.refit.stability import stability
from clvpredict.rfm import provenance_of
from clvpredict.store.tables import plain

if TYPE_CHECKING:
    from clvpredict.refit.config import DriftConfig

#: How many standard errors the logarithms of an estimate may differ between two runs.
FAR = 3.0
_COLUMNS = (
    "model", "quantity", "estimate", "lower", "upper", "last", "earlier_lower", "earlier_upper",
    "runs", "z", "ok", "says",
)  # fmt: skip


class Earlier(Protocol):
    """What is looked at of a run, such as :class:`clvpredict.refit.records.RunRecord`."""

    @property
    def status(self) -> str:
        """How it ended."""

    @property
    def drift(self) -> dict[str, Any] | None:
        """Its report, as :meth:`Drift.as_json` gives it."""

    @property
    def facts(self) -> dict[str, Any]:
        """With the ``distribution`` of its customers."""


@dataclass(frozen=True)
class Drift:
    """What a drift report found.

    Parameters
    ----------
    parameters : DataFrame
        Of the new fit against those of earlier runs; see :func:`parameter_history`.
    stability : DataFrame
        Of the customers; see :func:`clvpredict.refit.stability.stability`. Empty where no
        earlier run kept a distribution.
    calibration : DataFrame
        Of earlier predictions; see :func:`clvpredict.refit.realised.realised`.
    alarms : list of str
        What somebody should look at, in sentences.
    facts : dict
        `time_unit`, `currency`, `level`, `end` of observation, and `compared_with`, the end of
        observation of the run whose customers were compared.
    """

    parameters: pd.DataFrame
    stability: pd.DataFrame
    calibration: pd.DataFrame
    alarms: list[str]
    facts: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Give it as plain data; the next runs compare with it."""
        tables = {
            name: getattr(self, name).to_dict("records")
            for name in ("parameters", "stability", "calibration")
        }
        found: dict[str, Any] = plain({**self.facts, **tables, "alarms": self.alarms})
        return found


def drift_report(
    transactions: Path,
    options: Mapping[str, Any],
    rfm: pd.DataFrame,
    model: Any,
    *,
    earlier: Sequence[Earlier],
    versions: Sequence[Published],
    drift: DriftConfig,
    as_of: str | None = None,
    seed: int = 0,
) -> Drift:
    """Compare a run with earlier ones, and earlier predictions with what came.

    Parameters
    ----------
    transactions : Path
        The run's transactions, cut at its last day.
    options : mapping
        Of :func:`clvpredict.rfm_summary`, such as ``time_unit``.
    rfm : DataFrame
        The run's customers.
    model : estimator or CLVModel
        Its new fit.
    earlier : sequence of RunRecord
        Runs before it, newest first.
    versions : sequence of Version
        What they published.
    drift : DriftConfig
        ``[drift]`` of the configuration.
    as_of : str, optional
        The last day observed; by default that of ``rfm``. Versions of this day or later are not
        looked at.
    seed : int
        Equal seeds give equal reports.

    Returns
    -------
    Drift

    Notes
    -----
    Customers are compared with those of the oldest of the last ``drift.runs`` accepted runs:
    from one night to the next nothing ever changes. What raises an alarm is said where it is
    computed: :func:`parameter_history`, :func:`clvpredict.refit.stability.stability` and
    :func:`clvpredict.refit.realised.alarms`.
    """
    known = provenance_of(rfm)
    end = as_of or (known.observation_end if known else None)
    facts = {
        "time_unit": known.time_unit if known else None,
        "currency": known.currency if known else None,
        "level": drift.level,
        "end": end,
        "compared_with": None,
    }
    history = [
        run.drift
        for run in earlier
        if run.status == "published"
        and run.drift
        and all(run.drift.get(k) == facts[k] for k in ("time_unit", "currency", "level"))
    ]
    parameters = parameter_history(model, history[: drift.runs], drift.level, seed)
    kept = [run.facts.get("distribution") for run in earlier if run.status in ACCEPTED]
    before = [d for d in kept if d][: drift.runs]
    compared = pd.DataFrame()
    if before:
        facts["compared_with"] = before[-1].get("end")
        compared = stability(before[-1], rfm, drift.max_stability_index)
    calibration = pd.DataFrame()
    if end is not None:
        calibration = realised(
            transactions,
            options,
            [v for v in versions if str(v.facts.get("as_of")) < end],
            end,
            customers=len(rfm),
            most=drift.runs,
            seed=seed,
        )
    said = [
        f"{row['quantity']} of {row['model']}: {row['says']}"
        for row in parameters.to_dict("records")
        if not row["ok"]
    ]
    said += [
        f"{row['quantity']} of {row['customers']} customers since {facts['compared_with']}: "
        f"{row['says']}"
        for row in compared.to_dict("records")
        if not row["ok"]
    ]
    if len(calibration):
        said += alarms(calibration)
    return Drift(parameters, compared, calibration, said, facts)


def parameter_history(
    model: Any, history: Iterable[Mapping[str, Any]], level: float = 0.9, seed: int = 0
) -> pd.DataFrame:
    """Compare the parameters of a fit, and what follows from them, with those of earlier runs.

    An estimate is not ok

    - if its interval lies wholly outside the range that the intervals of the earlier runs cover;
    - or if its logarithm differs from that of the last run by more than three standard errors,
      those of both added in squares.

    Fits of one run and the next share most of their customers, so both happen by chance far more
    seldom than of two independent samples.

    Parameters
    ----------
    model : estimator or CLVModel
        Fitted.
    history : iterable of mapping
        Reports of earlier runs (:meth:`Drift.as_json`), newest first; those of other models are
        passed over.
    level : float
        Of the intervals.
    seed : int
        Of the draws that intervals of derived quantities come from.

    Returns
    -------
    DataFrame
        `model`; `quantity`: a parameter, or `mean purchase rate` (r/alpha, while alive), `mean
        dropout probability` (a/(a+b)), `purchases of a new customer` (within a year), `mean
        spend`; `estimate`, `lower`, `upper`; `last`, the estimate of the last run;
        `earlier_lower`, `earlier_upper` over `runs` earlier runs; `z`; `ok`, `says`.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.refit.drift import parameter_history
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> table = parameter_history(clv.MBGNBD().fit(rfm), [])
    >>> table["quantity"].tolist()[4:]
    ['mean purchase rate', 'mean dropout probability', 'purchases of a new customer']
    """
    known: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for report in history:
        for row in report["parameters"]:
            known.setdefault((row["model"], row["quantity"]), []).append(row)
    rows = []
    for name, found in _estimates(model, level, seed):
        for quantity, *numbers in found:
            past = [r for r in known.get((name, quantity), []) if r["lower"] is not None]
            rows.append((name, quantity, *numbers, *_held(numbers, past, level)))
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _estimates(
    model: Any, level: float, seed: int
) -> Iterable[tuple[str, list[tuple[str, float, float, float]]]]:
    """Of each part of a model: estimate and interval of its parameters and what follows."""
    from clvpredict.evaluate.drift import quantities
    from clvpredict.options import horizon_periods

    parts = [getattr(model, p) for p in ("purchases", "spend") if hasattr(model, p)] or [model]
    for part in parts:
        unit = part.time_unit_
        year = None if unit is None else horizon_periods("1Y", unit)
        yield part._model.title, quantities(part.result_, year, level, seed)


def _held(
    numbers: Sequence[float], past: Sequence[Mapping[str, Any]], level: float
) -> tuple[float, float, float, int, float, bool, str]:
    """Hold an estimate to earlier ones."""
    estimate, lower, upper = numbers
    if not past:
        nothing = float("nan")
        return nothing, nothing, nothing, 0, nothing, True, "no earlier run to compare with"
    low, high = min(r["lower"] for r in past), max(r["upper"] for r in past)
    last = past[0]
    if not (np.isfinite(lower) and np.isfinite(upper)):
        return last["estimate"], low, high, len(past), float("nan"), True, "it has no interval"
    # Parameters and what follows are positive: their logarithms are nearer to normal.
    width = 2.0 * float(sc.ndtri(0.5 + level / 2.0))
    errors = [np.log(b / a) / width for a, b in ((lower, upper), (last["lower"], last["upper"]))]
    off = float(np.log(estimate / last["estimate"]))
    error = float(np.hypot(*errors))
    z = off / error if error > 0 else 0.0
    ok = bool(lower <= high and upper >= low and abs(z) <= FAR)
    says = (
        f"{estimate:.4g} ({lower:.4g} to {upper:.4g}), {last['estimate']:.4g} in the last run; "
        f"{len(past)} earlier runs had {low:.4g} to {high:.4g}"
    )
    return last["estimate"], low, high, len(past), z, ok, says
