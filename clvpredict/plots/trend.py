"""Pictures of a predicted total over refits, and of what moved it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clvpredict.errors import DataError, OptionError, Problem
from clvpredict.plots.style import (
    FAINT,
    SERIES,
    band,
    check_table,
    dates,
    each,
    finish,
    ink,
    new_axes,
    nothing,
    series,
    short,
    thousands,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TREND = ("as_of", "segment", "customers", "total", "total_lower", "total_upper", "mean")
_PARTS = ("segment", "part", "kind", "customers", "value")
_MADE_TREND = "clvpredict.business.clv_trend(history)"
_MADE_CHANGE = "clvpredict.business.explain_change(model, table, model, table)"
_WORDS = {
    "clv": "Customer lifetime value",
    "net_clv": "Net customer lifetime value",
    "expected_purchases": "Expected purchases",
}
#: Bands of more segments than this hide one another.
_MOST_BANDS = 6


def plot_clv_trend(
    table: pd.DataFrame, *, per_customer: bool = False, ax: Axes | None = None
) -> Axes:
    """Draw how a predicted total changed from refit to refit.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.business.clv_trend`.
    per_customer : bool
        Means per customer, which do not grow as the customer base does; else totals.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        A line per segment with the band of its credible interval (for up to six segments). A
        hollow marker is a refit whose parameters are those of the refit before.

    Raises
    ------
    OptionError
        If it is another table.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.business import append_history, clv_trend
    >>> from clvpredict.plots import plot_clv_trend
    >>> for day in ("1997-09-30", "1997-12-31"):
    ...     rfm = clv.rfm_summary(clv.load_cdnow(), observation_end=day, time_unit="W")
    ...     model = clv.MBGNBD().fit(rfm)
    ...     table = model.predict(rfm, horizon="13W")
    ...     history = append_history("trend.parquet", model, table, draws=50)
    >>> ax = plot_clv_trend(clv_trend(history))
    """
    table = check_table(table, _TREND, "plot_clv_trend", _MADE_TREND)
    table = table.assign(as_of=pd.to_datetime(table["as_of"]))
    what = "mean" if per_customer else "total"
    segments = each(table, "segment")
    ax = new_axes((9, 5), entries=len(segments)) if ax is None else ax
    banded = len(segments) <= _MOST_BANDS
    for number, (segment, rows) in enumerate(segments):
        rows = rows.sort_values("as_of")
        colour, marker = series(number)
        at, values = rows["as_of"].to_numpy(), rows[what].to_numpy(np.float64)
        if banded:
            band(ax, at, rows[f"{what}_lower"], rows[f"{what}_upper"], colour=colour)
        label = "All customers" if segment == "all" and len(segments) == 1 else segment
        many = len(rows) > 60
        ax.plot(at, values, color=colour, lw=1.8, marker="" if many else marker, ms=6, label=label)
        same = ~rows["refitted"].to_numpy(bool) & (np.arange(len(rows)) > 0)
        if same.any() and not many:
            ax.plot(
                at[same], values[same], marker, ms=6, color=colour, mfc=ax.get_facecolor(), zorder=5
            )
    ax.set_title(_trend_title(table, per_customer, banded))
    ax.set_xlabel("Predictions as of")
    ax.set_ylabel(_axis(table, " per customer" if per_customer else ", total"))
    if table[what].min() >= 0:
        ax.set_ylim(bottom=0)
    first, last = table["as_of"].min(), table["as_of"].max()
    aside = 0.03 * (last - first) + pd.Timedelta("1D")
    ax.set_xlim(first - aside, last + aside)
    dates(ax.xaxis)
    thousands(ax.yaxis)
    finish(ax, legend="best" if len(segments) > 1 else None)
    return ax


def plot_clv_change(table: pd.DataFrame, *, segment: str = "all", ax: Axes | None = None) -> Axes:
    """Draw what moved a predicted total between two refits, as a waterfall.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.business.explain_change`.
    segment : str
        Which of its segments; by default all customers.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        Grey bars are the totals before and after; each bar between begins where the last one
        ended, blue for more and orange for less. Thin lines are credible intervals of each part
        alone. Below each part is how many customers it is about; parts about
        nobody are left out.

    Raises
    ------
    OptionError
        If it is another table, or lacks the segment.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.business import explain_change
    >>> from clvpredict.plots import plot_clv_change
    >>> asked = []
    >>> for day in ("1997-09-30", "1997-12-31"):
    ...     rfm = clv.rfm_summary(clv.load_cdnow(), observation_end=day, time_unit="W")
    ...     model = clv.MBGNBD().fit(rfm)
    ...     asked += [model, model.predict(rfm, horizon="13W")]
    >>> ax = plot_clv_change(explain_change(*asked, draws=50))
    """
    table = check_table(table, _PARTS, "plot_clv_change", _MADE_CHANGE)
    rows = table[table["segment"] == segment]
    if rows.empty:
        known = ", ".join(map(repr, table["segment"].drop_duplicates()))
        raise OptionError(f"segment={segment!r} is not in this table, which has {known}.")
    level = (rows["kind"] == "level").to_numpy()
    if not level[[0, -1]].all():
        problem = Problem("the totals before and after are missing", _MADE_CHANGE)
        raise DataError("table of plot_clv_change", [problem])
    # Parts that are about nobody say nothing.
    some = level | (rows["customers"] > 0).to_numpy()
    rows, level = rows[some], level[some]
    ax = new_axes((9, 5)) if ax is None else ax
    value = rows["value"].to_numpy(np.float64)
    change = np.where(level, 0.0, value)
    end = value[0] + np.cumsum(change)
    bottom = np.where(level, 0.0, end - change)
    end = np.where(level, value, end)
    place = np.arange(len(rows))
    more, less = SERIES[0][0], SERIES[1][0]
    colours = np.where(level, FAINT, np.where(value >= 0, more, less))
    # With an edge, so that next to nothing still shows.
    look = {"color": colours.tolist(), "edgecolor": colours.tolist(), "lw": 1.5}
    ax.bar(place, end - bottom, bottom=bottom, width=0.62, zorder=2, **look)
    for left in place[:-1]:
        at = end[left]
        ax.plot([left + 0.31, left + 0.69], [at, at], color=ink(ax), lw=0.8, alpha=0.6, zorder=1)
    if "lower" in rows:
        _whiskers(ax, rows, place, bottom)
    _write_values(ax, rows, place, end, bottom)
    names = [
        f"{part.capitalize().replace(' ', chr(10))}\n({short(n)})"
        for part, n in zip(rows["part"], rows["customers"], strict=True)
    ]
    ax.set_xticks(place, names)
    ax.set_title(_change_title(table, segment))
    ax.set_xlabel("What moved it (number of customers it is about)")
    ax.set_ylabel(_axis(table, ", total"))
    thousands(ax.yaxis)
    if not np.ptp([*end, *bottom]):
        nothing(ax, "nothing is predicted before or after")
    ax.margins(y=0.12)
    finish(ax, legend=None)
    return ax


def _whiskers(ax: Axes, rows: pd.DataFrame, place: Any, bottom: Any) -> None:
    low, high = (bottom + rows[name].to_numpy(np.float64) for name in ("lower", "upper"))
    wide = high > low
    ax.vlines(place[wide], low[wide], high[wide], color=ink(ax), lw=1.2, zorder=3)
    for ends in (low, high):
        ax.hlines(ends[wide], place[wide] - 0.06, place[wide] + 0.06, color=ink(ax), lw=1.2)


def _write_values(ax: Axes, rows: pd.DataFrame, place: Any, end: Any, bottom: Any) -> None:
    top = np.maximum(end, bottom)
    if "upper" in rows:
        top = np.maximum(top, bottom + rows["upper"].to_numpy(np.float64))
    for x, y, value, kind in zip(place, top, rows["value"], rows["kind"], strict=True):
        text = f"{value:,.0f}" if kind == "level" else f"{value:+,.0f}"
        ax.annotate(
            text.replace("-", "\N{MINUS SIGN}"),
            (x, y),
            (0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize="small",
            color=ink(ax),
        )


def _axis(table: pd.DataFrame, tail: str) -> str:
    of = str(table.attrs.get("of", ""))
    currency = table.attrs.get("currency")
    money = f" ({currency})" if currency and of != "expected_purchases" else ""
    days = table.attrs.get("horizon_days")
    over = "" if days is None else f", next {days:g} days"
    return f"{_WORDS.get(of, of)}{tail}{over}{money}"


def _trend_title(table: pd.DataFrame, per_customer: bool, banded: bool) -> str:
    of = str(table.attrs.get("of", ""))
    level, by = table.attrs.get("interval"), table.attrs.get("by")
    each_of = f" by {by}" if by else ""
    tail = f" (band: {100 * level:g} % credible interval)" if banded and level else ""
    whose = " per customer" if per_customer else ""
    return f"{_WORDS.get(of, of)}{whose}{each_of}, refit by refit{tail}"


def _change_title(table: pd.DataFrame, segment: str) -> str:
    said = table.attrs
    of = str(said.get("of", ""))
    facts = [f"{said['before'][:10]} to {said['after'][:10]}"] if said.get("before") else []
    facts += [] if segment == "all" else [f"{said.get('by') or 'segment'} {segment}"]
    if said.get("interval") and "lower" in table:
        facts.append(f"{100 * said['interval']:g} % credible intervals")
    return f"What moved {_WORDS.get(of, of).lower()}\n{', '.join(facts)}".strip()
