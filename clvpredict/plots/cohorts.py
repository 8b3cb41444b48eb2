"""Pictures of cohorts: heat map, curves by age, and payback of what acquisition cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.business.cohorts import METRICS, label_text
from clvpredict.errors import DataError, OptionError, Problem, unknown_option
from clvpredict.plots.style import (
    band,
    check_table,
    finish,
    heat,
    ink,
    new_axes,
    percent,
    series,
    short,
    thousands,
)
from clvpredict.transactions.calendar import PERIOD_NAMES, Calendar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COHORTS = ("cohort", "age", "customers", "complete", "forecast")
_PAYBACK = ("age", "forecast_share", "cumulative_margin", "cac")
_MADE_COHORTS = "clvpredict.business.cohort_table(transactions)"
_MADE_PAYBACK = "clvpredict.business.payback_table(transactions, cac=...)"
_WORDS = {
    "retention": "Customers who bought again",
    "orders_per_customer": "Orders per acquired customer",
    "revenue_per_customer": "Revenue per acquired customer",
    "margin_per_customer": "Margin per acquired customer",
    "cumulative_orders": "Orders so far per acquired customer",
    "cumulative_revenue": "Revenue so far per acquired customer",
    "cumulative_margin": "Margin so far per acquired customer",
    "net_of_cac": "Margin so far less CAC, per acquired customer",
    "active": "Customers who bought",
    "orders": "Orders",
    "revenue": "Revenue",
    "margin": "Margin",
}
_MONEY = ("revenue", "margin", "cac")
#: With more cells than this, a line stands between what was observed and what is forecast.
_MOST_HATCHED = 600
#: With more cohorts than this, colours run from old to young and there are no bands.
_MOST_NAMED = 6
_MOST_MARKERS = 30


def plot_cohorts(
    table: pd.DataFrame,
    metric: str = "retention",
    *,
    channel: Any = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw cohorts as a heat map: a row per cohort, a column per age.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.business.cohort_table`, the long one.
    metric : str
        One of its columns. Of retention, age 0 is left out: it is 100 % there by definition.
    channel : optional
        Which channel, where the table has several.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        Cells that are a forecast, or were observed only in part, are hatched; in large pictures
        they are to the right of a line. What is not known is empty.

    Raises
    ------
    OptionError
        If it is another table, or there is no such metric or channel.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.business import cohort_table
    >>> from clvpredict.plots import plot_cohorts
    >>> ax = plot_cohorts(cohort_table(clv.load_cdnow(), "M"))
    """
    table, calendar = _checked(table, metric, channel, "plot_cohorts")
    values = table.pivot(index="cohort", columns="age", values=metric)
    uncertain = table.assign(marked=table["forecast"] | ~table["complete"])
    marked = uncertain.pivot(index="cohort", columns="age", values="marked").to_numpy(bool)
    sizes = table.groupby("cohort")["customers"].first()
    matrix = values.to_numpy(np.float64)
    marked = marked & np.isfinite(matrix)
    if ax is None:
        size = (min(4.0 + 0.62 * matrix.shape[1], 14.0), min(2.2 + 0.32 * len(matrix), 10.0))
        ax = new_axes((max(size[0], 6.5), max(size[1], 3.4)))
    shares = metric == "retention"
    small = matrix.size <= _MOST_HATCHED
    shown = 100 * matrix if shares else matrix
    heat(
        ax,
        shown,
        rows=[f"{calendar.label(at)}  ({short(n)})" for at, n in sizes.items()],
        columns=[str(age) for age in values.columns],
        write=_writer(float(np.nanmax(np.abs(shown)))),
        centred=metric == "net_of_cac",
        label="%" if shares else _unit(metric, table),
        hatched=marked if small else None,
    )
    if not small:
        _boundary(ax, marked)
    ax.set_title(_title(metric, table))
    ax.set_xlabel(_age_label(calendar, _meaning(table, marked, small)))
    ax.set_ylabel(f"Cohort: {PERIOD_NAMES[calendar.every]} of the first purchase\n(customers)")
    return ax


def _boundary(ax: Axes, marked: npt.NDArray[np.bool_]) -> None:
    """One line to the left of what is forecast."""
    rows, columns = marked.shape
    first = np.where(marked.any(axis=1), marked.argmax(axis=1), columns) - 0.5
    if marked.any():
        edge = np.repeat(first, 2)
        height = np.repeat(np.arange(rows + 1) - 0.5, 2)[1:-1]
        ax.plot(edge, height, color="#D55E00", lw=1.8)


def _meaning(table: pd.DataFrame, marked: npt.NDArray[np.bool_], small: bool) -> str:
    if not marked.any():
        return ""
    where = "hatched" if small else "right of the line"
    part = (~table["complete"] & ~table["forecast"] & (table["customers"] > 0)).any()
    what = ["forecast"] * bool(table["forecast"].any()) + ["observed in part"] * bool(part)
    return f"\n({where}: {' or '.join(what)})"


def plot_cohort_curves(
    table: pd.DataFrame,
    metric: str = "cumulative_margin",
    *,
    channel: Any = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw cohorts as lines over age.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.business.cohort_table`, the long one.
    metric : str
        One of its columns. Of retention, age 0 is left out: it is 100 % there by definition.
    channel : optional
        Which channel, where the table has several.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        A line per cohort; dashed where it is a forecast, with the band of its predictive
        interval. With more than six cohorts, colours run from the oldest to the youngest, and
        there are no bands. What was observed only in part, and is not completed, is left out.

    Raises
    ------
    OptionError
        If it is another table, or there is no such metric or channel.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.business import cohort_table
    >>> from clvpredict.plots import plot_cohort_curves
    >>> ax = plot_cohort_curves(cohort_table(clv.load_cdnow(), "M"))
    """
    table, calendar = _checked(table, metric, channel, "plot_cohort_curves")
    left_out = ~table["complete"] & ~table["forecast"] & table[metric].notna()
    table = table[table["customers"] > 0].assign(
        **{metric: table[metric].where(table["complete"] | table["forecast"])}
    )
    cohorts = [(at, rows.sort_values("age")) for at, rows in table.groupby("cohort")]
    ax = new_axes((9, 5)) if ax is None else ax
    few = len(cohorts) <= _MOST_NAMED
    colours = _colours(ax, [calendar.label(at) for at, _ in cohorts], calendar)
    for i, (at, rows) in enumerate(cohorts):
        colour, marker = colours[i]
        age, values = rows["age"].to_numpy(), rows[metric].to_numpy(np.float64)
        ahead = rows["forecast"].to_numpy(bool)
        size = short(int(rows["customers"].iloc[0]))
        label = f"{calendar.label(at)} ({size} customers)" if few else ""
        low, high = (rows.get(f"{metric}_pi_{end}") for end in ("lower", "upper"))
        limits = (low, high) if few and low is not None else None
        _line(ax, age, values, ahead, limits, colour, marker, label)
    ax.set_title(_title(metric, table))
    dashed = "\n(dashed: forecast)" if table["forecast"].any() else ""
    if left_out.any() and not dashed:
        dashed = "\n(what was observed only in part is left out)"
    ax.set_xlabel(_age_label(calendar, dashed))
    ax.set_ylabel(_words(metric, table))
    _scale(ax, metric)
    finish(ax, legend="best" if few else None)
    return ax


def _colours(ax: Axes, names: list[str], calendar: Calendar) -> list[tuple[Any, str]]:
    """Colour and marker of each cohort; of many, a colour bar says which is which."""
    if len(names) <= _MOST_NAMED:
        return [series(i) for i in range(len(names))]
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    # Neither end of the map is lost on white or on black.
    shades = colormaps["viridis"](np.linspace(0.28, 0.86, len(names)))
    scale = ScalarMappable(Normalize(-0.5, len(names) - 0.5), ListedColormap(shades))
    bar = ax.figure.colorbar(
        scale, ax=ax, label=f"Cohort: {PERIOD_NAMES[calendar.every]} of the first purchase"
    )
    every = -(-len(names) // 10)
    bar.set_ticks(list(range(0, len(names), every)), labels=names[::every])
    bar.outline.set_visible(False)
    bar.ax.yaxis.label.set_color(ink(ax))
    return [(tuple(shade), "") for shade in shades]


def _line(
    ax: Axes,
    age: npt.NDArray[Any],
    values: npt.NDArray[np.float64],
    ahead: npt.NDArray[np.bool_],
    limits: tuple[Any, Any] | None,
    colour: Any,
    marker: str,
    label: str,
) -> None:
    """Solid where observed, dashed where forecast; the dashes begin where the line ends."""
    seen = ~ahead & np.isfinite(values)
    markers = marker if len(age) <= _MOST_MARKERS else ""
    lw = 1.8 if marker else 1.2
    ax.plot(age[seen], values[seen], color=colour, marker=markers, ms=4, lw=lw, label=label)
    known = ahead & np.isfinite(values)
    if not known.any():
        return
    joined = known.copy()
    before = np.flatnonzero(seen & (age < age[known].min()))
    joined[before[-1:]] = True
    ax.plot(age[joined], values[joined], color=colour, ls="--", lw=lw)
    if limits is not None:
        low, high = (
            np.where(known, np.asarray(end, dtype=np.float64), values)[joined] for end in limits
        )
        band(ax, age[joined], low, high, colour=colour)


def plot_payback(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the margin so far per acquired customer against what acquiring one cost.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.business.payback_table`.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        A line per channel, dashed from where part of it is a forecast, with the band of the
        predictive interval (for up to six channels). Horizontal lines are CAC. A ring is where
        the margin has reached it; the legend says at which age.

    Raises
    ------
    OptionError
        If it is another table.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.business import payback_table
    >>> from clvpredict.plots import plot_payback
    >>> ax = plot_payback(payback_table(clv.load_cdnow(), "M", margin=0.3, cac=18))
    """
    table = check_table(table, _PAYBACK, "plot_payback", _MADE_PAYBACK)
    calendar = Calendar.read("every", table.attrs.get("every", "M"))
    name = _channel_column(table)
    groups = (
        [(None, table)] if name is None else list(table.groupby(name, sort=False, dropna=False))
    )
    ax = new_axes((9, 5), entries=len(groups) + 1) if ax is None else ax
    one_price = table["cac"].dropna().nunique() == 1
    for i, (label, rows) in enumerate(groups):
        rows = rows.sort_values("age")
        colour, marker = series(i)
        age, values = rows["age"].to_numpy(), rows["cumulative_margin"].to_numpy(np.float64)
        ahead = rows["forecast_share"].to_numpy(np.float64) > 0
        price = float(rows["cac"].iloc[0])
        reached = np.flatnonzero(values >= price)
        after = f"paid back at age {age[reached[0]]}" if len(reached) else "not paid back by then"
        who = "All customers" if name is None else label_text(label)
        low, high = (rows.get(f"cumulative_margin_pi_{end}") for end in ("lower", "upper"))
        limits = (low, high) if low is not None and len(groups) <= _MOST_NAMED else None
        _line(ax, age, values, ahead, limits, colour, marker, f"{who}: {after}")
        if not one_price:
            ax.axhline(price, color=colour, ls=":", lw=1.4)
        if len(reached):
            at = reached[0]
            ax.plot(age[at], values[at], "o", ms=13, mfc="none", mec=colour, mew=2.0, zorder=5)
    if one_price:
        price = float(table["cac"].dropna().iloc[0])
        ax.axhline(price, color=ink(ax), ls=":", lw=1.4, label=f"CAC {_writer(price)(price)}")
    money = _currency(table)
    ax.set_title("When customers have paid back what acquiring them cost")
    said = "" if one_price else "dotted: CAC of the same colour"
    if table["forecast_share"].gt(0).any():
        said += f"{'; ' if said else ''}dashed: forecast in part or in whole"
    ax.set_xlabel(_age_label(calendar, f"\n({said})" if said else ""))
    ax.set_ylabel(f"Margin so far per acquired customer{money}")
    ax.set_ylim(bottom=min(0.0, float(np.nanmin(table["cumulative_margin"]))))
    thousands(ax.yaxis)
    _whole_ages(ax)
    finish(ax, legend="best")
    return ax


# --- what is common --------------------------------------------------------------------------


def _checked(table: Any, metric: str, channel: Any, plot: str) -> tuple[pd.DataFrame, Calendar]:
    """Return the rows to draw, and the calendar of the cohorts."""
    table = check_table(table, _COHORTS, plot, _MADE_COHORTS)
    if metric not in METRICS:
        raise unknown_option("metric", metric, METRICS)
    if metric not in table:
        has = [name for name in METRICS if name in table]
        raise OptionError(
            f"this table has no {metric!r}; it has {', '.join(has)}. Money needs amounts, and "
            "net_of_cac needs cohort_table(transactions, cac=...)."
        )
    table = _of_channel(table, channel, plot)
    if metric == "retention" and table["age"].max() > 0:
        table = table[table["age"] > 0]
    if not table[metric].notna().any():
        raise DataError(f"table of {plot}", [Problem(f"no {metric!r} is known", _MADE_COHORTS)])
    return table, Calendar.read("every", table.attrs.get("every", "M"))


def _channel_column(table: pd.DataFrame) -> str | None:
    name = table.attrs.get("channel")
    return name if name in table.columns else None


def _of_channel(table: pd.DataFrame, channel: Any, plot: str) -> pd.DataFrame:
    name = _channel_column(table)
    if name is None:
        if channel is not None:
            raise OptionError(
                f"channel={channel!r}: this table has no channels; make it with "
                "cohort_table(transactions, channel='...')."
            )
        return table
    labels = table[name].drop_duplicates().tolist()
    if channel is None and len(labels) > 1:
        raise OptionError(
            f"{plot} draws one {name}, and the table has "
            f"{', '.join(label_text(label) for label in labels)}: give channel={labels[0]!r}."
        )
    wanted = labels[0] if channel is None else channel
    rows = table[table[name].isna() if pd.isna(wanted) else table[name] == wanted]
    if rows.empty:
        raise unknown_option("channel", channel, map(label_text, labels))
    return rows


def _title(metric: str, table: pd.DataFrame) -> str:
    name = _channel_column(table)
    of = "" if name is None else f", {name} {label_text(table[name].iloc[0])}"
    return f"{_WORDS[metric]}, by cohort and age{of}"


def _words(metric: str, table: pd.DataFrame) -> str:
    money = any(word in metric for word in _MONEY)
    return f"{_WORDS[metric]}{_currency(table) if money else ''}"


def _unit(metric: str, table: pd.DataFrame) -> str:
    """What the colours count; the title says of what."""
    per = "" if metric in ("active", "orders", "revenue", "margin") else "per customer"
    return ", ".join(filter(None, [_words(metric, table).removeprefix(_WORDS[metric])[2:], per]))


def _currency(table: pd.DataFrame) -> str:
    return f", {table.attrs['currency']}" if table.attrs.get("currency") else ""


def _age_label(calendar: Calendar, more: str) -> str:
    return f"Age: {PERIOD_NAMES[calendar.every]}s after that of the first purchase{more}"


def _scale(ax: Axes, metric: str) -> None:
    if metric == "retention":
        percent(ax.yaxis)
    else:
        thousands(ax.yaxis)
    if metric != "net_of_cac":
        ax.set_ylim(bottom=0)
    else:
        ax.axhline(0, color=ink(ax), ls=":", lw=1.2)
    _whole_ages(ax)


def _whole_ages(ax: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _writer(largest: float) -> Callable[[float], str]:
    """Write numbers that are compared with as many digits each."""
    digits = 0 if largest >= 100 else 1 if largest >= 10 else 2
    return lambda value: f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")
