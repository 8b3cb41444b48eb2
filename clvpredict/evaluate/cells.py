"""The cells of a backtest: one fit each, scored at every horizon, kept on disk if asked."""

from __future__ import annotations

import copy
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clvpredict.atomic import new_file
from clvpredict.errors import ClvError, OptionError
from clvpredict.evaluate.grid import days
from clvpredict.evaluate.judged import LAST, NAIVE, NBD, Holdout, Judged, baselines, judge
from clvpredict.evaluate.learning import KNOTS
from clvpredict.evaluate.measures import measures
from clvpredict.evaluate.metrics import pit_curve
from clvpredict.evaluate.subject import seen_days
from clvpredict.options import TimeUnit
from clvpredict.predict import Recalibration
from clvpredict.transactions import calibration_holdout

RECALIBRATED = " (recalibrated)"
BASELINES = "baselines"
# Of the cells on disk; raised when what they hold changes.
_SCHEMA = 2
_RECORD = {
    **dict.fromkeys(("cut_date", "horizon", "model", "status"), str),
    **dict.fromkeys(("metrics", "curves"), dict),
    "horizon_periods": float,
}


class Splits:
    """Splits of the transactions; the last ones are kept, for all models of a cut date.

    They are made one at a time: the engine is parallel itself, and warning filters, which it sets
    for a moment, are the process's.

    Parameters
    ----------
    transactions : frame, path, or Ibis table
    options : mapping
        Of :func:`clvpredict.calibration_holdout`.
    most : int
        How many are kept.
    """

    def __init__(self, transactions: Any, options: Mapping[str, Any], most: int) -> None:
        self._transactions, self._options, self._most = transactions, options, most
        self._kept: dict[tuple[pd.Timestamp, pd.Timestamp], pd.DataFrame] = {}
        self._making = threading.Lock()

    def at(self, cut: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
        """The split with this last day of calibration and this last day of all."""
        with self._making:
            if (cut, until) not in self._kept:
                # Dates, not moments: with collapse="h" they are whole days.
                window = {"calibration_end": cut.date(), "observation_end": until.date()}
                made = calibration_holdout(self._transactions, **{**self._options, **window})
                self._kept[cut, until] = made
                if len(self._kept) > self._most:
                    del self._kept[next(iter(self._kept))]
                return made
            return self._kept[cut, until]


@dataclass(frozen=True)
class Plan:
    """What every cell of the grid shares."""

    splits: Splits
    options: Mapping[str, Any]
    models: Mapping[str, Any]
    horizons: Mapping[str, float]
    unit: TimeUnit
    fit: Mapping[str, Any]
    draws: int
    seed: int
    folder: Path | None
    data: str
    #: Names of the models that are scored as they are.
    frozen: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Cell:
    """One fit and its forecasts."""

    cut: pd.Timestamp
    model: str
    recalibrations: Mapping[str, Recalibration] | None = None


def run_cell(plan: Plan, cell: Cell, end: pd.Timestamp) -> list[dict[str, Any]]:
    """One fit, scored at every horizon; from the disk where it is there."""
    path = None
    if plan.folder is not None:
        path = plan.folder / f"cell-{_key(plan, cell)}.json"
        if (kept := _kept(path, plan, cell)) is not None:
            return kept
    records = list(records_of(plan, cell, end))
    # What failed is tried again: its cause may be gone.
    if path is not None and all(r["metrics"] for r in records):
        with new_file(path) as temporary:
            temporary.write_text(json.dumps(records), encoding="utf-8")
    return records


def _kept(path: Path, plan: Plan, cell: Cell) -> list[dict[str, Any]] | None:
    """What an earlier run left there; None if that is nothing, or not this cell."""
    names = {cell.model, cell.model + RECALIBRATED}
    if cell.model == BASELINES:
        names = {NAIVE, LAST, NBD}
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        sound = isinstance(records, list) and bool(records)
        for r in records:
            sound = sound and all(isinstance(r[name], kind) for name, kind in _RECORD.items())
            sound = sound and r["cut_date"] == cell.cut.date().isoformat() and r["model"] in names
            sound = sound and plan.horizons[r["horizon"]] == r["horizon_periods"]
            sound = sound and all(isinstance(v, float | int) for v in r["metrics"].values())
            curves = np.array([*r["curves"].values()], np.float64).reshape(-1, len(KNOTS))
            sound = sound and bool(np.isfinite(curves).all())
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return records if sound else None


def records_of(plan: Plan, cell: Cell, end: pd.Timestamp) -> Iterator[dict[str, Any]]:
    """Fit, and score every horizon that is over by the end of the data."""
    frozen = cell.model in plan.frozen
    fitted = plan.models[cell.model] if frozen else None
    for label, periods in plan.horizons.items():
        wanted = cell.recalibrations
        until = cell.cut + days(periods, plan.unit)
        if until > end or (wanted is not None and label not in wanted):
            continue  # not over yet, or too little to learn from
        said: dict[str, Any] = {"cut_date": cell.cut.date().isoformat(), "horizon": label}
        said["horizon_periods"] = periods
        if frozen:
            said["seen_days"] = seen_days(fitted, cell.cut, until)
        try:
            split = plan.splits.at(cell.cut, until)
            holdout = Holdout.of(split)
            if cell.model == BASELINES:
                for found in baselines(holdout):
                    if found.name not in plan.models:
                        yield _record(said, found.name, found, holdout)
                continue
            if fitted is None:
                fitted = _fresh(plan.models[cell.model]).fit(split, **plan.fit)
            learnt = None if wanted is None else wanted[label]
            found = judge(
                cell.model,
                fitted,
                holdout,
                draws=plan.draws,
                seed=plan.seed,
                recalibration=learnt,
                in_sample=frozen,
            )
            yield _record(said, cell.model + (RECALIBRATED if learnt else ""), found, holdout)
        except OptionError:
            raise  # a wrong question has no answer at any date
        except ClvError as error:
            name = cell.model + (RECALIBRATED if wanted else "")
            reason = f"{type(error).__name__}: {error}"
            yield {**said, "model": name, "status": reason, "metrics": {}, "curves": {}}


def _record(said: Mapping[str, Any], name: str, found: Judged, holdout: Holdout) -> dict[str, Any]:
    curves = {
        of: pit_curve(scores.below, scores.upto, KNOTS).tolist()
        for of, scores in (("purchases", found.purchases), ("value", found.value))
        if scores is not None
    }
    numbers = measures(found, holdout)
    status = found.note or "ok"
    return {**said, "model": name, "status": status, "metrics": numbers, "curves": curves}


def _fresh(model: Any) -> Any:
    """The model as it was given, whose fit does not change that one."""
    own = copy.copy(model)
    for part in ("purchases", "spend"):
        if hasattr(own, part):
            setattr(own, part, copy.copy(getattr(own, part)))
    return own


def fingerprint(history: pd.DataFrame) -> str:
    """What tells a history from others, as 16 hex digits."""
    hashed = pd.util.hash_pandas_object(history, index=False).to_numpy()
    return hashlib.sha256(hashed.tobytes()).hexdigest()[:16]


def _told_apart(value: Any) -> str:
    """Text that differs wherever values do."""
    if isinstance(value, date | timedelta | np.generic | Path):
        return f"{type(value).__name__} {value}"
    raise OptionError(
        f"folder keeps cells under a name of all that they depend on, and {type(value).__name__} "
        "(such as a prior) cannot be told from others. Leave folder out."
    )


def _key(plan: Plan, cell: Cell) -> str:
    """What a cell depends on, hashed: its file's name."""
    model = plan.models.get(cell.model)
    parts = [model, *(getattr(model, p, None) for p in ("purchases", "spend"))]
    learnt = None
    if cell.recalibrations is not None:
        learnt = {k: asdict(r) for k, r in cell.recalibrations.items()}
    said = {
        "schema": _SCHEMA,
        "data": plan.data,
        "options": plan.options,
        "fit": plan.fit,
        "draws": plan.draws,
        "seed": plan.seed,
        "horizons": plan.horizons,
        "cut": cell.cut.isoformat(),
        "model": cell.model,
        "classes": [type(p).__name__ for p in parts],
        "others": sorted(plan.models) if cell.model == BASELINES else None,
        "recalibrations": learnt,
    }
    text = json.dumps(said, sort_keys=True, default=_told_apart)
    return hashlib.sha256(text.encode()).hexdigest()[:20]
