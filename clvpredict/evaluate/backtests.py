"""Rolling-origin backtests: many cut dates, horizons and models, each out of time."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clvpredict.errors import (
    ClvWarning,
    DataWarning,
    OptionError,
    UnitError,
    notify,
    refuse_unknown,
    unknown_option,
)
from clvpredict.evaluate.cells import BASELINES, Cell, Plan, Splits, fingerprint, run_cell
from clvpredict.evaluate.fitted import check_whole, parts_of
from clvpredict.evaluate.grid import cuts_asked, horizons_asked
from clvpredict.evaluate.judged import named
from clvpredict.evaluate.learning import TooFewVintagesError, learn
from clvpredict.evaluate.results import Backtest
from clvpredict.evaluate.subject import is_estimator
from clvpredict.inference.cores import usable_cores
from clvpredict.inference.fit import check_options
from clvpredict.options import TimeUnit
from clvpredict.predict import Recalibration, progress_bar
from clvpredict.transactions import calibration_holdout, purchase_history


def backtest(
    transactions: object,
    models: Any,
    *,
    horizons: Sequence[str | float],
    cut_dates: Sequence[Any] | None = None,
    every: str | None = None,
    min_history: str | float | None = None,
    fit: Mapping[str, Any] | None = None,
    refit: bool | Sequence[str] = True,
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
        Value is scored for CLVModel. With ``refit=False`` they must be fitted.
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
    refit : bool or sequence of str
        False: nothing is fitted, and models are scored as they are at every cut date. One that
        was fitted on data beyond a cut date has seen some of the holdout, which flatters it: the
        column `seen_days` says how much. Such scores are no test of a model; they tell what
        goes wrong with the very one that is in use. A list of names: these models are fitted
        at every cut date, the others scored as they are. Without refits there is no ``fit``,
        and with models that are scored as they are, no ``recalibrate`` and no ``folder``.
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
    NotFittedError, UnitError
        If a model that is to be scored as it is was never fitted, or in another unit.

    Warns
    -----
    DataWarning
        If cells have no result; the table says why. If models had seen some of their holdouts.

    Examples
    --------
    >>> import clvpredict as clv
    >>> results = clv.backtest(
    ...     clv.load_cdnow(), [clv.MBGNBD()], cut_dates=["1997-09-30", "1997-12-31"],
    ...     horizons=["13W"],
    ... )
    >>> results.table["model"].drop_duplicates().tolist()
    ['MBG/NBD', 'naive', 'last period', 'NBD']

    A model of last summer, as it is, held to what happened since:

    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> results = clv.backtest(
    ...     clv.load_cdnow(), {"in use": clv.MBGNBD().fit(rfm)}, refit=False,
    ...     cut_dates=["1997-09-30", "1997-12-31"], horizons=["13W"],
    ... )
    >>> float(results.table["seen_days"].max())
    0.0
    """
    unit = TimeUnit.parse(time_unit)
    ahead = horizons_asked(horizons, unit)
    wanted = _models(models)
    how = _fit_options(fit)
    frozen = _frozen(wanted, refit, unit)
    _refuse_of_frozen(frozen, len(wanted), fit=fit, recalibrate=recalibrate, folder=folder)
    check_whole("draws", draws, 2)
    check_whole("seed", seed, 0)
    kept_in = _folder(folder)
    options = {**options, "time_unit": unit.code}
    history, end, used, named_columns = _events(transactions, options)
    if "amount" not in history and any(hasattr(m, "spend") for m in wanted.values()):
        raise OptionError(
            "a CLVModel needs amounts, and amount=None leaves them out; backtest its purchase "
            "model, such as MBGNBD()."
        )
    begin = pd.Timestamp(history["date"].min()).normalize()
    cuts = cuts_asked(cut_dates, every, min_history, ahead, unit, (begin, end))
    # What comes after a holdout is no problem of it, however strict the whole was checked.
    options_of_splits = {**options, **named_columns, "observation_end": None, "strict": False}
    plan = Plan(
        # Models of one cut date go through its horizons side by side.
        Splits(used, options_of_splits, len(ahead) + 1),
        options_of_splits,
        wanted,
        ahead,
        unit,
        how,
        draws,
        seed,
        kept_in,
        f"{_all_of(history, transactions, options)} {end.date()}",
        frozen,
    )
    names = [*plan.models, BASELINES]
    cells = [Cell(cut, name) for cut in cuts for name in names]
    found = _run(plan, cells, end, progress)
    if recalibrate:
        results = _collect(plan, found)
        again = [
            Cell(cut, name, learnt)
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
    seen = results.table.loc[results.table["seen_days"] > 0, "seen_days"]
    if len(seen):
        notify(
            f"{len(seen)} of {len(results.table)} cells of the backtest score a model that was "
            f"fitted on up to {seen.max():.0f} days of the holdout, which flatters it. Column "
            "'seen_days' of the table has all.",
            DataWarning,
        )
    return results


# --- the grid ----------------------------------------------------------------------------


def _models(models: Any) -> dict[str, Any]:
    """Models by name.

    Raises
    ------
    OptionError
        If something is none that can be fitted.
    """
    found = named(models)
    for name, model in found.items():
        if not is_estimator(model):
            raise OptionError(
                f"{name}: a backtest fits purchase models or CLVModel, such as MBGNBD() or "
                f"CLVModel(MBGNBD()); got {model!r}."
            )
    return found


def _frozen(
    models: Mapping[str, Any], refit: bool | Sequence[str], unit: TimeUnit
) -> frozenset[str]:
    """Names of the models that are scored as they are; these must be fitted, in this unit.

    Raises
    ------
    OptionError
        If ``refit`` names none of the models.
    NotFittedError, UnitError
    """
    if isinstance(refit, str) or not isinstance(refit, bool | Sequence):
        raise OptionError(f"refit={refit!r} must be True, False or a list of names of models.")
    again = (list(models) if refit else []) if isinstance(refit, bool) else list(refit)
    for name in again:
        if name not in models:
            raise unknown_option("refit", name, models)
    frozen = frozenset(models) - set(again)
    for name in sorted(frozen):
        own = [part.unit for part in parts_of(models[name]) if part.unit is not None]
        other = [u for u in own if u.days != unit.days]
        if other:
            raise UnitError(
                f"{name} was fitted in {other[0].label}, and this backtest is in {unit.label}. "
                f"Give backtest(..., time_unit='{other[0].code}'); horizons such as '13W' stay."
            )
    return frozen


def _refuse_of_frozen(frozen: frozenset[str], models: int, **given: Any) -> None:
    """Refuse options that say nothing of models that are scored as they are.

    Raises
    ------
    OptionError
        Naming them.
    """
    if not frozen:
        return
    useless = ["recalibrate", "folder", *(["fit"] if len(frozen) == models else [])]
    if asked := [name for name in useless if given[name]]:
        raise OptionError(
            f"{', '.join(sorted(frozen))}: scored as it is (refit), which goes without "
            f"{', '.join(asked)}: there is nothing to fit, to learn before a cut date, or to keep "
            f"for another run. Leave out {', '.join(asked)}."
        )


def _fit_options(fit: Mapping[str, Any] | None) -> dict[str, Any]:
    """The arguments of ``fit``, checked before any work is done."""
    if fit is not None and not isinstance(fit, Mapping):
        raise OptionError(f"fit={fit!r} must be a mapping, e.g. fit={{'method': 'laplace'}}.")
    given = dict(fit or {})
    check_options(
        given.get("method", "mle"),
        {k: v for k, v in given.items() if k not in ("method", "time_unit")},
    )
    return given


def _folder(folder: str | Path | None) -> Path | None:
    """Make the folder of the cells.

    Raises
    ------
    OptionError
        If that cannot be done.
    """
    if folder is None:
        return None
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"folder={str(folder)!r} cannot be used: {error}.") from None
    return Path(folder)


def _events(
    transactions: object, options: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.Timestamp, object, dict[str, str | None]]:
    """Purchases as models count them, the last day; what to make splits of, and its columns."""
    history = purchase_history(transactions, **_of_history(options))
    end = pd.Timestamp(history.attrs["observation_end"]).normalize()
    # A week that a cut date divides counts on both sides of it, which is lost in the history.
    if options.get("collapse", "D") == "W":
        return history, end, transactions, {}
    names = {n: n if n in history else None for n in ("customer_id", "date", "amount")}
    return history, end, history, names


def _of_history(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are about purchases.

    Raises
    ------
    OptionError
        For options of neither kind.
    """
    known = [n for n in signature(calibration_holdout).parameters if n != "transactions"]
    refuse_unknown("backtest", options, [n for n in known if n != "calibration_end"])
    if options.get("include_first_transaction"):
        raise OptionError(
            "include_first_transaction=True counts no repeat purchases, which models need."
        )
    return {
        k: v
        for k, v in options.items()
        if k not in ("time_unit", "currency", "include_first_transaction")
    }


def _all_of(history: pd.DataFrame, transactions: object, options: Mapping[str, Any]) -> str:
    """A fingerprint of all that cells are made of: by weeks, that is every day."""
    if options.get("collapse", "D") == "W":
        daily = {**_of_history(options), "collapse": "D"}
        return fingerprint(purchase_history(transactions, **daily))
    return fingerprint(history)


def _run(
    plan: Plan, cells: Sequence[Cell], end: pd.Timestamp, progress: bool
) -> list[dict[str, Any]]:
    """Work through cells on all cores; records in the order of the cells."""
    done: dict[int, list[dict[str, Any]]] = {}
    # NUTS takes all cores for its chains, and building priors sets warning filters, too.
    alone = plan.fit.get("method") in ("nuts", "auto") or plan.fit.get("priors")
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(1 if alone else usable_cores()) as pool,
        progress_bar("Backtesting", len(cells), progress) as advance,
    ):
        # What a fit warns of (few customers, open parameters) would come once per cell.
        warnings.simplefilter("ignore", ClvWarning)
        waiting = {pool.submit(run_cell, plan, cell, end): i for i, cell in enumerate(cells)}
        try:
            for finished in as_completed(waiting):
                done[waiting[finished]] = finished.result()
                advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [record for i in range(len(cells)) for record in done[i]]


def _learnt(
    results: Backtest, name: str, ahead: Mapping[str, float], cut: pd.Timestamp, unit: TimeUnit
) -> dict[str, Recalibration]:
    found = {}
    for label in ahead:
        try:
            found[label] = learn(results, name, label, cut, unit)
        except TooFewVintagesError:
            continue
    return found


# --- results -----------------------------------------------------------------------------


def _collect(plan: Plan, records: Sequence[Mapping[str, Any]]) -> Backtest:
    keys = ("cut_date", "horizon", "horizon_periods", "model", "status")
    # Cells on the disk are of refits, which have seen nothing.
    table = pd.DataFrame(
        [
            {k: r[k] for k in keys} | {"seen_days": r.get("seen_days", 0.0)} | r["metrics"]
            for r in records
        ]
    )
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
