"""Predictions beside what came: by group of customers, and by week."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clvpredict.errors import DataError, Problem
from clvpredict.plots.style import (
    FAINT,
    MOST_BANDS,
    band,
    check_table,
    dates,
    each,
    finish,
    holdout,
    ink,
    length,
    looks,
    new_axes,
    one_kind,
    short,
    thousands,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GROUPED = ("model", "customers", "predicted", "observed", "observed_se", "naive")
_TRACKED = ("model", "start", "end", "phase", "observed", "expected", "lower", "upper")
_TWO_SIDED_95 = 1.96
_PERIODS = {"D": "day", "W": "week", "M": "month", "Q": "quarter", "Y": "year"}
_EVERY = re.compile(r"(\d*)([DWMQY])")


def plot_calibration(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw predicted and observed holdout purchases (or value) by group of customers.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.evaluate.calibration_table` (groups by earlier frequency; for
        several models, their tables under one another), or ``calibration()`` or ``deciles()``
        (groups by what was predicted) of :func:`clvpredict.evaluate_holdout`.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        Round points are the observed means with 95 % intervals, lines the predictions; the faint
        line is the rule "everybody goes on as before". Where models have groups of their own, as
        deciles do, each model's observed means are in its colour, and the naive rule, which then
        is another line for each, is left out.

    Raises
    ------
    OptionError
        If it is another table, or one of purchases and of value.
    DataError
        If the table has no customers.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import calibration_table
    >>> from clvpredict.plots import plot_calibration
    >>> split = clv.calibration_holdout(
    ...     clv.load_cdnow(), calibration_end="1997-09-30", time_unit="W"
    ... )
    >>> ax = plot_calibration(calibration_table(clv.MBGNBD().fit(split), split))
    >>> ax.figure.savefig("calibration.png", dpi=150)
    """
    by = "decile" if "decile" in getattr(table, "columns", ()) else "frequency"
    made_by = "clvpredict.evaluate.calibration_table(model, split)"
    if by == "decile":
        made_by = "clvpredict.evaluate_holdout(model, split).deciles()"
    table = check_table(table, (*_GROUPED, by), "plot_calibration", made_by)
    of = one_kind(table, "plot_calibration")
    table = table[table["customers"] > 0]
    if table.empty:
        raise DataError("calibration table", [Problem("no customers", "give a larger split")])
    models = each(table)
    ax = new_axes(entries=len(models) + 2) if ax is None else ax
    # A model may lack a group: those of another stand in the order of their numbers all the same.
    rank = pd.to_numeric(table[by].astype(str).str.rstrip("+"), errors="coerce")
    groups = table.assign(_rank=rank).drop_duplicates(by).sort_values("_rank", kind="stable")
    place = {group: i for i, group in enumerate(groups[by])}
    own = not _same_observed(models, by)

    if not own:
        rows = models[0][1]
        # In the colour of the text, so that it stands out on any background.
        label = "Observed mean, 95 % interval"
        _observed(ax, rows[by].map(place).to_numpy(), rows, ink(ax), label)
    # Side by side, for good predictions would hide behind the points.
    shift = np.arange(len(models)) - (len(models) - 1) / 2 + (not own) * (len(models) % 2)
    shift = shift * min(0.11, 0.8 / len(models))
    styles = looks(model for model, _ in models)
    for i, ((model, rows), aside, look) in enumerate(zip(models, shift, styles, strict=True)):
        where = rows[by].map(place).to_numpy() + aside
        if own:
            theirs = "Observed mean of the same customers, 95 % interval"
            _observed(ax, where, rows, look["color"], theirs if i == 0 else None)
        ax.plot(
            where,
            rows["predicted"],
            ms=5.5,
            lw=1.6,
            label=f"Predicted by {model}",
            **look,
        )
    if not own:
        rows = models[0][1]
        ax.plot(
            rows[by].map(place).to_numpy(),
            rows["naive"],
            "--",
            lw=1.3,
            color=FAINT,
            label="Naive: everybody goes on as before",
            zorder=1,
        )
    counted = table.groupby(by)["customers"].nunique().max() == 1
    _label_groups(ax, groups, by, of, "" if counted else f" of {models[0][0]}")
    return ax


def _same_observed(models: list[tuple[str, pd.DataFrame]], by: str) -> bool:
    """Whether the groups of all models are the same customers, as far as the table shows."""
    first = models[0][1].set_index(by)[["customers", "observed"]]
    return all(
        first.equals(rows.set_index(by)[["customers", "observed"]]) for _, rows in models[1:]
    )


def _observed(ax: Axes, where: Any, rows: pd.DataFrame, colour: Any, label: str | None) -> None:
    ax.errorbar(
        where,
        rows["observed"],
        yerr=_TWO_SIDED_95 * rows["observed_se"].fillna(0.0),
        fmt="o",
        ms=6,
        capsize=3,
        lw=1.3,
        color=colour,
        label=label,
    )


def _label_groups(ax: Axes, groups: pd.DataFrame, by: str, of: str, whose: str) -> None:
    end = groups.attrs.get("calibration_end")
    ax.set_title(f"Out of sample: {of} in {holdout(groups)}")
    if by == "frequency":
        what = f"Repeat purchases {f'until {str(end)[:10]}' if end else 'in calibration'}"
    else:
        what = f"Customers by predicted {of}: 1 = least, {groups[by].max()} = most"
    ax.set_xlabel(f"{what}\n(number of customers{whose})")
    money = groups.attrs.get("currency") if of == "value" else None
    ax.set_ylabel(f"Mean {of} per customer{f', {money}' if money else ''} ({length(groups)})")
    ax.set_xticks(
        np.arange(len(groups)),
        [
            f"{group}\n({short(customers)})"
            for group, customers in zip(groups[by], groups["customers"], strict=True)
        ],
    )
    ax.set_ylim(bottom=0)
    thousands(ax.yaxis)
    finish(ax, legend="upper left")


def plot_tracking(table: pd.DataFrame, *, cumulative: bool = False, ax: Axes | None = None) -> Axes:
    """Draw observed and expected purchases over time, before and after the cut.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.evaluate.tracking_table`.
    cumulative : bool
        Purchases since the beginning, which show drift; else per period, which show seasons.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        What was observed is in the colour of the text, each model a line with the interval that
        the purchases should lie in (after calibration, for up to three models). The vertical line
        is where the models stopped seeing data; from there on the forecast is of these customers
        with their histories, and cumulative ones go on from what was observed.

    Raises
    ------
    OptionError
        If it is another table.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import tracking_table
    >>> from clvpredict.plots import plot_tracking
    >>> cdnow = clv.load_cdnow()
    >>> split = clv.calibration_holdout(cdnow, calibration_end="1997-09-30", time_unit="W")
    >>> table = tracking_table(clv.MBGNBD().fit(split), clv.purchase_history(cdnow), split)
    >>> ax = plot_tracking(table, cumulative=True)
    """
    tail = "_cumulative" if cumulative else ""
    needed = (*_TRACKED, *(f"{name}{tail}" for name in ("observed", "expected", "lower", "upper")))
    made_by = "clvpredict.evaluate.tracking_table(models, history, split)"
    table = check_table(table, needed, "plot_tracking", made_by)
    table = table.assign(start=pd.to_datetime(table["start"]), end=pd.to_datetime(table["end"]))
    # A sum is known at the end of its period; a rate belongs to the middle.
    middle = table["start"] + (table["end"] - table["start"]) / 2
    table["_at"] = table["end"] if cumulative else middle
    models = [(model, rows.sort_values("_at")) for model, rows in each(table)]
    ax = new_axes((9, 5), entries=len(models) + 1) if ax is None else ax
    level = table.attrs.get("level")
    interval = "" if level is None else f", {100 * level:g} % interval"

    seen = models[0][1]
    ax.plot(
        seen["_at"],
        seen[f"observed{tail}"],
        color=ink(ax),
        lw=1.4,
        marker="o" if len(seen) <= 80 else None,
        ms=3,
        label="Observed",
        zorder=3,
    )
    styles = looks(model for model, _ in models)
    known = [bool(rows[f"lower{tail}"].notna().any()) for _, rows in models]
    for (model, rows), look, has_band in zip(models, styles, known, strict=True):
        banded = has_band and sum(known) <= MOST_BANDS
        if banded:
            band(ax, rows["_at"], rows[f"lower{tail}"], rows[f"upper{tail}"], colour=look["color"])
        place, expected = rows["_at"].to_numpy(), rows[f"expected{tail}"].to_numpy(np.float64)
        before = int((rows["phase"] == "calibration").sum())
        if cumulative and 0 < before < len(rows):
            # The forecast goes on from what was observed: a line across would be a jump.
            place = np.insert(place, before, place[before])
            expected = np.insert(expected, before, np.nan)
        ax.plot(
            place,
            expected,
            markevery=max(1, len(rows) // 8),
            ms=5,
            lw=1.8,
            label=f"Expected by {model}{interval if banded else ''}",
            zorder=4,
            **look,
        )
    _label_tracking(ax, table, cumulative)
    if sum(known) > MOST_BANDS:
        ax.set_xlabel(f"Date\n(intervals are drawn for up to {MOST_BANDS} models)")
    return ax


def _period(every: str) -> str:
    """``"2W"`` as ``"2 weeks"``, ``"W"`` as ``"week"``."""
    found = _EVERY.fullmatch(every)
    if not found:
        return f"{every} period".strip()
    count, unit = int(found[1] or 1), _PERIODS[found[2]]
    return unit if count == 1 else f"{count} {unit}s"


def _label_tracking(ax: Axes, table: pd.DataFrame, cumulative: bool) -> None:
    from matplotlib.dates import date2num

    period = _period(str(table.attrs.get("every") or ""))
    cut = table.attrs.get("calibration_end")
    if cut is None and (before := table.loc[table["phase"] == "calibration", "end"]).size:
        cut = before.max()
    if cut is not None and (table["start"].min() <= pd.Timestamp(cut) <= table["end"].max()):
        day = pd.Timestamp(cut)
        where = float(date2num(day))  # type: ignore[no-untyped-call]
        ax.axvline(where, color=ink(ax), ls=":", lw=1.3)
        ax.text(
            where,
            1.01,
            f"calibration ends {day:%Y-%m-%d}",
            transform=ax.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize="small",
            color=ink(ax),
        )
    what = "Repeat purchases so far" if cumulative else f"Repeat purchases per {period}"
    ax.set_title(f"{what}: observed and expected", pad=20)
    ax.set_xlabel("Date")
    ax.set_ylabel(what)
    # One period alone would stand among empty years.
    first, last = table["start"].min(), table["end"].max()
    aside = 0.02 * (last - first) + pd.Timedelta("1D")
    ax.set_xlim(first - aside, last + aside)
    ax.set_ylim(bottom=0)
    dates(ax.xaxis)
    thousands(ax.yaxis)
    finish(ax)
