"""Rolling-origin backtests: many cut dates, horizons and models, each out of time."""

from __future__ import annotations

import copy
import hashlib
import html
import json
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clvpredict.atomic import new_file
from clvpredict.errors import ClvError, ClvWarning, DataWarning, OptionError, notify
from clvpredict.evaluate.judged import Holdout, Judged, baselines, judge, named
from clvpredict.evaluate.learning import KNOTS, TooFewVintages, learn
from clvpredict.evaluate.measures import measures
from clvpredict.evaluate.metrics import pit_curve
from clvpredict.inference.cores import usable_cores
from clvpredict.options import TimeUnit
from clvpredict.predict import Recalibration
from clvpredict.transactions import calibration_holdout, purchase_history

# Splits are made one at a time: the engine is parallel itself, and warning filters, which it sets
# for a moment, are the process's.
_SPLITTING = threading.Lock()
RECALIBRATED = " (recalibrated)"
_BASELINES = "baselines"
# Of the cells on disk; raised when what they hold changes.
_SCHEMA = 2
_RECORD = {
    **dict.fromkeys(("cut_date", "horizon", "model", "status"), str),
    **dict.fromkeys(("metrics", "curves"), dict),
    "horizon_periods": float,
}


@dataclass(frozen=True, repr=False)
class Backtest:
    """The results of a backtest.

    Parameters
    ----------
    table : DataFrame
        One row per cut date, horizon and model or baseline: `cut_date, horizon,
        horizon_periods, model, status` (``"ok"``, or what is missing and why), then the metrics
        of :meth:`HoldoutEvaluation.summary`.
    curves : DataFrame
        `cut_date, horizon, model, of, curve`: distribution functions of the PIT, which
        :func:`recalibrate` learns from.
    time_unit : str
        Code of the unit of `horizon_periods`.
    models : dict of str to str
        Registry name of each model's purchase model.
    """

    table: pd.DataFrame
    curves: pd.DataFrame
    time_unit: str
    models: Mapping[str, str]

    def __repr__(self) -> str:
        cuts, horizons = self.table["cut_date"].nunique(), self.table["horizon"].nunique()
        models = ", ".join(self.table["model"].drop_duplicates())
        return f"<Backtest: {cuts} cut dates × {horizons} horizons of {models}>"

    def _repr_html_(self) -> str:
        columns = ["cut_date", "horizon", "model", "status", "bias_percent", "mae", "crps"]
        shown = self.table[[c for c in columns if c in self.table]]  # no metrics if all failed
        return f"<p>{html.escape(repr(self))}</p>{shown.to_html(index=False)}"


@dataclass(frozen=True)
class _Plan:
    """What every cell of the grid shares."""

    transactions: Any
    options: Mapping[str, Any]
    models: Mapping[str, Any]
    horizons: Mapping[str, float]
    unit: TimeUnit
    fit: Mapping[str, Any]
    draws: int
    seed: int
    folder: Path | None
    data: str


@dataclass(frozen=True)
class _Cell:
    """One fit and its forecasts."""

    cut: pd.Timestamp
    model: str
    recalibrations: Mapping[str, Recalibration] | None = None


def backtest(
    transactions: object,
    models: Any,
    *,
    horizons: Sequence[str | float],
    cut_dates: Sequence[Any] | None = None,
    every: str | None = None,
    min_history: str | float | None = None,
    fit: Mapping[str, Any] | None = None,
    recalibrate: bool = False,
    draws: int = 200,
    seed: int = 0,
    folder: str | Path | None = None,
    progress: bool = False,
    time_unit: str = "W",
    **options: Any,
) -> Backtest:
    """Fit and score models at many cut dates, as if each had been today.

    At every cut date the models are fitted on the transactions up to it, and their forecasts
    are held to what the same customers did within each horizon after it. The baselines
    ``naive``, ``last period`` and ``NBD`` (see :func:`evaluate_holdout`) run along.

    Parameters
    ----------
    transactions : frame, path, or Ibis table
        As in :func:`clvpredict.rfm_summary`.
    models : model, list of models, or mapping from name to model
        Such as ``MBGNBD()`` or ``CLVModel(MBGNBD())``, fitted or not; they are left unchanged.
        Value is scored for CLVModel.
    horizons : sequence of str or float
        How far ahead: ``["13W", "26W"]``, or numbers of time units.
    cut_dates : sequence of dates, optional
        The last day of each calibration period. A horizon that is not over by the end of the
        data has no row at that date.
    every : str, optional
        Instead: cut dates so far apart, ``"4W"``; the last is the longest horizon before the
        end of the data, the first at least ``min_history`` after its beginning.
    min_history : str or float, optional
        By default a third of the time that the data cover.
    fit : mapping, optional
        Arguments of ``fit``, such as ``{"method": "laplace"}``.
    recalibrate : bool
        Add rows ``"<model> (recalibrated)"``: what :func:`recalibrate` would have made of each
        forecast, learnt from those earlier vintages whose holdout had ended by its cut date.
    draws, seed : int
        Of predicted value and of totals.
    folder : str or Path, optional
        Where to keep every cell as it is done: a backtest that is run again takes what is
        there, if data and options are the same. A file that is no cell is computed again.
    progress : bool
        Show a progress bar.
    time_unit : str
        Of the models.
    **options
        Of :func:`clvpredict.calibration_holdout`: ``customer_id``, ``date``, ``amount``,
        ``collapse``, ``returns``, ``observation_end`` and so on.

    Returns
    -------
    Backtest
        Its ``table`` is tidy: a row per cut date, horizon and model.

    Raises
    ------
    OptionError
        If there are no cut dates within the data, or both ways to choose them are used.
    DataError
        If the transactions cannot be used.

    Warns
    -----
    DataWarning
        If cells have no result; the table says why.

    Examples
    --------
    >>> import clvpredict as clv
    >>> results = clv.backtest(
    ...     clv.load_cdnow(), [clv.MBGNBD()], cut_dates=["1997-09-30", "1997-12-31"],
    ...     horizons=["13W"],
    ... )
    >>> results.table["model"].drop_duplicates().tolist()
    ['MBG/NBD', 'naive', 'last period', 'NBD']
    """
    unit = TimeUnit.parse(time_unit)
    ahead = _horizons(horizons, unit)
    options = {**options, "time_unit": unit.code}
    history, end, used, named_columns = _events(transactions, options)
    begin = pd.Timestamp(history["date"].min()).normalize()
    cuts = _cuts(cut_dates, every, min_history, ahead, unit, (begin, end))
    plan = _Plan(
        used,
        {**options, **named_columns, "observation_end": None},
        named(models),
        ahead,
        unit,
        dict(fit or {}),
        draws,
        seed,
        None if folder is None else Path(folder),
        f"{_fingerprint(history)} {end.date()}",
    )
    names = [*plan.models, _BASELINES]
    cells = [_Cell(cut, name) for cut in cuts for name in names]
    found = _run(plan, cells, end, progress)
    if recalibrate:
        results = _collect(plan, found)
        again = [
            _Cell(cut, name, learnt)
            for cut in cuts
            for name in plan.models
            if (learnt := _learnt(results, name, ahead, cut, unit))
        ]
        found += _run(plan, again, end, progress)
    results = _collect(plan, found)
    failed = results.table.loc[results.table["status"] != "ok", "status"]
    if len(failed):
        notify(
            f"{len(failed)} of {len(results.table)} cells of the backtest have no result, or not "
            f"all of it, e.g. {failed.iloc[0]} Column 'status' of the table has all.",
            DataWarning,
        )
    return results


# --- the grid ----------------------------------------------------------------------------


def _horizons(horizons: Sequence[str | float], unit: TimeUnit) -> dict[str, float]:
    if isinstance(horizons, str | float | int) or len(horizons) == 0:
        raise OptionError(f"horizons={horizons!r} must be a list, e.g. horizons=['13W', '26W'].")
    ahead = {
        (h if isinstance(h, str) else f"{h:g} {unit.label}"): unit.periods(h) for h in horizons
    }
    bad = [h for h, t in ahead.items() if not 0 < t < np.inf]
    if bad:
        raise OptionError(f"horizon {bad[0]!r} must be positive and finite, e.g. '13W'.")
    return dict(sorted(ahead.items(), key=lambda item: item[1]))


def _events(
    transactions: object, options: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.Timestamp, object, dict[str, str | None]]:
    """Purchases as models count them, the last day; what to make splits of, and its columns."""
    known = {k: v for k, v in options.items() if k not in ("time_unit", "currency", "strict")}
    known.pop("include_first_transaction", None)
    history = purchase_history(transactions, **known)
    end = pd.Timestamp(history.attrs["observation_end"]).normalize()
    # A week that a cut date divides counts on both sides of it, which is lost in the history.
    if options.get("collapse", "D") == "W":
        return history, end, transactions, {}
    names = {n: n if n in history else None for n in ("customer_id", "date", "amount")}
    return history, end, history, names


def _cuts(
    dates: Sequence[Any] | None,
    every: str | None,
    min_history: str | float | None,
    ahead: Mapping[str, float],
    unit: TimeUnit,
    span: tuple[pd.Timestamp, pd.Timestamp],
) -> list[pd.Timestamp]:
    begin, end = span
    if (dates is None) == (every is None):
        raise OptionError(
            "give either cut_dates=['1997-09-30', ...] or every='4W', to say when to cut."
        )
    if dates is not None:
        cuts = sorted({_day(d) for d in ([dates] if isinstance(dates, str) else dates)})
        shortest = _days(min(ahead.values()), unit)
        out = [c for c in cuts if not begin < c <= end - shortest]
        if out or not cuts:
            raise OptionError(
                f"cut_dates must lie within the data, which go from {begin.date()} to "
                f"{end.date()}, with the shortest horizon ({shortest.days} days) after them; got "
                f"{', '.join(str(c.date()) for c in out[:5]) or 'none'}."
            )
        return cuts
    assert every is not None
    step = _days(every, unit)
    if step <= pd.Timedelta(0):
        raise OptionError(f"every={every!r} must be at least a day, e.g. every='4W'.")
    least = (end - begin) / 3 if min_history is None else _days(min_history, unit)
    cut = end - _days(max(ahead.values()), unit)
    cuts = []
    while cut - begin >= least:
        cuts.append(cut)
        cut -= step
    if not cuts:
        raise OptionError(
            f"the data go from {begin.date()} to {end.date()}: no cut date leaves "
            f"{least.days} days before it and the longest horizon after it. Give a shorter "
            "min_history or shorter horizons."
        )
    return cuts[::-1]


def _day(given: Any) -> pd.Timestamp:
    wrong = OptionError(f"cut date {given!r} is not a date such as '1997-09-30'.")
    try:
        moment = pd.Timestamp(given)
    except (TypeError, ValueError):
        raise wrong from None
    if pd.isna(moment):
        raise wrong
    return moment.tz_localize(None).normalize()


def _days(length: str | float, unit: TimeUnit) -> pd.Timedelta:
    return pd.Timedelta(days=round(unit.periods(length) * unit.days))


def _run(
    plan: _Plan, cells: Sequence[_Cell], end: pd.Timestamp, progress: bool
) -> list[dict[str, Any]]:
    """Work through cells on all cores; records in the order of the cells."""
    done: dict[int, list[dict[str, Any]]] = {}
    # NUTS takes all cores for its chains, and building priors sets warning filters, too.
    alone = plan.fit.get("method") in ("nuts", "auto") or plan.fit.get("priors")
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(1 if alone else usable_cores()) as pool,
        _bar(len(cells), progress) as advance,
    ):
        # What a fit warns of (few customers, open parameters) would come once per cell.
        warnings.simplefilter("ignore", ClvWarning)
        waiting = {pool.submit(_cell, plan, cell, end): i for i, cell in enumerate(cells)}
        try:
            for finished in as_completed(waiting):
                done[waiting[finished]] = finished.result()
                advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [record for i in range(len(cells)) for record in done[i]]


def _cell(plan: _Plan, cell: _Cell, end: pd.Timestamp) -> list[dict[str, Any]]:
    """One fit, scored at every horizon; from the disk where it is there."""
    path = None
    if plan.folder is not None:
        path = plan.folder / f"cell-{_key(plan, cell)}.json"
        if (kept := _kept(path)) is not None:
            return kept
    records = list(_records(plan, cell, end))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as temporary:
            temporary.write_text(json.dumps(records), encoding="utf-8")
    return records


def _kept(path: Path) -> list[dict[str, Any]] | None:
    """What an earlier run left there; None if that is nothing, or no cell."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        sound = isinstance(records, list) and all(
            isinstance(r[name], kind) for r in records for name, kind in _RECORD.items()
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return records if sound else None


def _records(plan: _Plan, cell: _Cell, end: pd.Timestamp) -> Iterator[dict[str, Any]]:
    fitted = None
    for label, periods in plan.horizons.items():
        wanted = cell.recalibrations
        until = cell.cut + _days(periods, plan.unit)
        if until > end or (wanted is not None and label not in wanted):
            continue  # not over yet, or too little to learn from
        said: dict[str, Any] = {"cut_date": cell.cut.date().isoformat(), "horizon": label}
        said["horizon_periods"] = periods
        try:
            # Dates, not moments: with collapse="h" they are whole days.
            window = {"calibration_end": cell.cut.date(), "observation_end": until.date()}
            options = {**plan.options, **window}
            with _SPLITTING:
                split = calibration_holdout(plan.transactions, **options)
            holdout = Holdout.of(split)
            if cell.model == _BASELINES:
                for found in baselines(holdout):
                    if found.name not in plan.models:
                        yield _record(said, found.name, found, holdout)
                continue
            if fitted is None:
                fitted = _fresh(plan.models[cell.model]).fit(split, **plan.fit)
            learnt = None if wanted is None else wanted[label]
            found = judge(
                cell.model, fitted, holdout, draws=plan.draws, seed=plan.seed, recalibration=learnt
            )
            yield _record(said, cell.model + (RECALIBRATED if learnt else ""), found, holdout)
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


def _learnt(
    results: Backtest, name: str, ahead: Mapping[str, float], cut: pd.Timestamp, unit: TimeUnit
) -> dict[str, Recalibration]:
    found = {}
    for label in ahead:
        try:
            found[label] = learn(results, name, label, cut, unit)
        except TooFewVintages:
            continue
    return found


# --- results -----------------------------------------------------------------------------


def _collect(plan: _Plan, records: Sequence[Mapping[str, Any]]) -> Backtest:
    keys = ("cut_date", "horizon", "horizon_periods", "model", "status")
    table = pd.DataFrame([{k: r[k] for k in keys} | r["metrics"] for r in records])
    table["cut_date"] = pd.to_datetime(table["cut_date"])
    order = {name: i for i, name in enumerate(dict.fromkeys(table["model"]))}
    place = [table["cut_date"], table["horizon_periods"], table["model"].map(order)]
    table = table.iloc[np.lexsort(place[::-1])].reset_index(drop=True)
    curves = pd.DataFrame(
        [
            {**{k: r[k] for k in ("cut_date", "horizon", "model")}, "of": of, "curve": curve}
            for r in records
            for of, curve in r["curves"].items()
        ],
        columns=["cut_date", "horizon", "model", "of", "curve"],
    )
    curves["cut_date"] = pd.to_datetime(curves["cut_date"])
    table.attrs = {"time_unit": plan.unit.label}
    models = {name: getattr(m, "purchases", m)._model.name for name, m in plan.models.items()}
    return Backtest(table, curves, plan.unit.code, models)


def _fingerprint(history: pd.DataFrame) -> str:
    hashed = pd.util.hash_pandas_object(history, index=False).to_numpy()
    return hashlib.sha256(hashed.tobytes()).hexdigest()[:16]


def _key(plan: _Plan, cell: _Cell) -> str:
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
        "others": sorted(plan.models) if cell.model == _BASELINES else None,
        "recalibrations": learnt,
    }
    text = json.dumps(said, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@contextmanager
def _bar(total: int, shown: bool) -> Iterator[Callable[[], object]]:
    if not shown:
        yield lambda: None
        return
    from rich.progress import MofNCompleteColumn, Progress

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("Backtesting", total=total)
        yield lambda: bar.advance(task)
