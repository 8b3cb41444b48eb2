"""Segments in pictures: how many customers, how much value, and which is worth more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clvpredict.errors import OptionError
from clvpredict.plots.style import (
    FAINT,
    SERIES,
    check_table,
    each,
    finish,
    ink,
    new_axes,
    note,
    nothing,
    number,
    percent,
    series,
    thousands,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SEGMENTED = ("segment", "customers", "share_of_customers", "expected_purchases_total")
_LORENZ = ("segment", "share_of_customers", "share_of_value", "gini")
_COMPARED = ("a", "b", "difference", "difference_lower", "difference_upper", "p_greater")
_MADE_SEGMENTS = "clvpredict.business.segment_table(model, predictions)"
_MADE_LORENZ = "clvpredict.business.lorenz_table(predictions, 'segment')"
_MADE_COMPARISON = "clvpredict.business.compare_segments(model, predictions)"
# More rows than this cannot be read.
_MOST_ROWS = 25
_OF = {
    "clv": "CLV",
    "value": "value",
    "net_clv": "net CLV",
    "net_value": "net value",
    "expected_purchases": "expected purchases",
    "purchases": "purchases",
    "p_alive": "P(alive)",
    "p_purchase": "P(purchase)",
}


def plot_segments(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw each segment's share of the customers against its share of the value.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.business.segment_table`. Without money, shares are of expected
        purchases.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        A bar to the left for the customers, one to the right for what they bring, and beside it
        what that is per customer; lines and brackets are intervals. Of more than 25 segments
        those with the largest shares of the value are drawn.

    Raises
    ------
    OptionError, DataError
        If it is no such table.
    """
    table = check_table(table, _SEGMENTED, "plot_segments", _MADE_SEGMENTS)
    total = table.attrs.get("total", "Total")
    rows = table[table["segment"] != total]
    money = "clv" in table.columns
    per = "clv" if money else "expected_purchases"
    what = "CLV" if money else "purchases"
    share = (
        rows["share_of_value"]
        if money
        else rows["expected_purchases_total"] / rows["expected_purchases_total"].sum()
    )
    rows = rows.assign(_share=share)
    shown = rows[rows["customers"] > 0]
    empty = len(rows) - len(shown)
    if len(shown) > _MOST_ROWS:
        shown = shown.loc[shown["_share"].nlargest(_MOST_ROWS).index.sort_values()]
    ax = new_axes((9, 1.6 + 0.42 * max(len(shown), 3))) if ax is None else ax
    if not len(shown):
        nothing(ax, "no customers")
        return ax
    y = np.arange(len(shown))
    left, right = SERIES[0][0], SERIES[1][0]
    ax.barh(y, -shown["share_of_customers"], color=left, height=0.7, label="share of customers")
    ax.barh(y, shown["_share"], color=right, height=0.7, label=f"share of {what}")
    edge = shown["_share"].to_numpy(np.float64)
    if money and "share_of_value_lower" in shown:
        ends = shown[["share_of_value_lower", "share_of_value_upper"]].to_numpy(np.float64)
        ax.hlines(y, ends[:, 0], ends[:, 1], color=ink(ax), lw=1.5)
        edge = np.fmax(edge, ends[:, 1])
    widest = float(np.nanmax([*edge, 0.01]))
    texts = _per_customer(shown, per, table.attrs.get("currency") if money else None)
    for at, (end, text) in enumerate(zip(edge, texts, strict=True)):
        ax.text(end + 0.015, at, text, va="center", fontsize="small", color=ink(ax))
    ax.axvline(0, color=ink(ax), lw=0.8)
    # Room for the texts.
    low, high = -float(shown["share_of_customers"].max()) - 0.05, widest + 0.45
    ax.set_xlim(low, high)
    ax.set_yticks(y, labels=[str(s) for s in shown["segment"]])
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ticks = [t for t in ax.get_xticks() if max(low, -1.0) <= t <= min(1.0, widest + 0.05)]
    ax.set_xticks(ticks, labels=[f"{round(100 * abs(t), 6):g} %" for t in ticks])
    # The label says what is to the left and to the right of 0.
    ax.set_xlabel(f"← Share of customers   |   Share of {what} →", x=-low / (high - low))
    ax.set_title(_title(table, what))
    finish(ax, legend=None, grid="x")
    said = []
    if len(shown) + empty < len(rows):
        said.append(f"{len(shown)} of {len(rows)} segments, the largest by {what}")
    if empty:
        said.append(f"without customers: {', '.join(rows['segment'][rows['customers'] == 0])}")
    if said:
        note(ax, "; ".join(said))
    return ax


def _title(table: pd.DataFrame, what: str) -> str:
    horizon = table.attrs.get("horizon")
    over = "the whole lifetime"
    if horizon is not None:
        over = f"{horizon:.4g} {table.attrs.get('time_unit') or 'periods'}"
    return f"Customers and expected {what} over {over}, by segment"


def _per_customer(rows: pd.DataFrame, column: str, currency: str | None) -> list[str]:
    unit = f" {currency}" if currency else ""
    largest = float(np.nanmax(np.abs(rows[column])))
    decimals = 0 if largest >= 1000 else 1 if largest >= 10 else 2

    def write(value: float) -> str:
        return f"{value:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")

    texts = []
    for row in rows.to_dict("records"):
        text = f"{write(row[column])}{unit} each"
        if f"{column}_lower" in row:
            text += f" ({write(row[f'{column}_lower'])} – {write(row[f'{column}_upper'])})"
        texts.append(text)
    return texts


def plot_lorenz(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw which share of the value the least valuable customers hold, by segment.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.business.lorenz_table`.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        A curve per segment and one of all customers; the further below the diagonal, the more
        the best few hold. The Gini coefficient is in the legend.

    Raises
    ------
    OptionError, DataError
        If it is no such table.
    """
    table = check_table(table, _LORENZ, "plot_lorenz", _MADE_LORENZ)
    total = table.attrs.get("total", "Total")
    curves = each(table, "segment")
    ax = new_axes((6.5, 5.5), entries=len(curves) + 1) if ax is None else ax
    what = _OF.get(table.attrs.get("of", "clv"), str(table.attrs.get("of")).replace("_", " "))
    ax.plot([0, 1], [0, 1], color=FAINT, ls="--", lw=1, label="all equal")
    segment = 0
    for name, rows in curves:
        gini = float(rows["gini"].iloc[0])
        label = f"{name}: {gini:.2f}" if np.isfinite(gini) else f"{name}: no {what}"
        look: dict[str, Any] = {"color": ink(ax), "lw": 2.5}
        if name != total:
            colour, marker = series(segment)
            look = {"color": colour, "marker": marker, "markevery": 0.2, "ms": 5}
            segment += 1
        ax.plot(rows["share_of_customers"], rows["share_of_value"], label=label, **look)
    ax.set_xlim(0, 1)
    ax.set_ylim(min(0.0, float(table["share_of_value"].min()) - 0.02), 1.02)
    percent(ax.xaxis)
    percent(ax.yaxis)
    ax.set_xlabel("Share of customers, the least valuable first")
    ax.set_ylabel(f"Share of predicted {what} that they hold")
    ax.set_title("Concentration of value, with Gini coefficients")
    finish(ax, legend="upper left", grid="both")
    return ax


def plot_segment_comparison(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw differences between segments, and how probably each is positive.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.business.compare_segments`.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        A row per pair: the difference, its interval, and P(the first is worth more).

    Raises
    ------
    OptionError
        If it is no such table, or has more than 25 pairs.
    DataError
        If it is empty.
    """
    table = check_table(table, _COMPARED, "plot_segment_comparison", _MADE_COMPARISON)
    if len(table) > _MOST_ROWS:
        raise OptionError(
            f"plot_segment_comparison draws up to {_MOST_ROWS} pairs, and these are "
            f"{len(table):,}. Compare with one segment: compare_segments(..., against="
            f"{table['b'].iloc[0]!r}), or with the rest: against='rest'."
        )
    ax = new_axes((8, 1.6 + 0.45 * max(len(table), 2))) if ax is None else ax
    y = np.arange(len(table))
    colour, marker = SERIES[0]
    low, high = table["difference_lower"], table["difference_upper"]
    ax.hlines(y, low, high, color=colour, lw=2.5)
    ax.plot(table["difference"], y, ls="none", marker=marker, color=colour)
    ax.axvline(0, color=ink(ax), lw=0.8, ls="--")
    ax.set_yticks(y, labels=[f"{a} − {b}" for a, b in zip(table["a"], table["b"], strict=True)])
    ax.set_ylim(len(table) - 0.4, -0.6)
    for at, p in enumerate(table["p_greater"]):
        ax.text(
            1.01,
            at,
            _probability(p, int(table.attrs.get("draws", 0))),
            transform=ax.get_yaxis_transform(),
            va="center",
            color=ink(ax),
        )
    what = _OF.get(table.attrs.get("of", "clv"), "value")
    currency = table.attrs.get("currency")
    each_one = "per customer" if table.attrs.get("per_customer", True) else "in total"
    unit = f", {currency}" if currency else ""
    level = table.attrs.get("interval")
    spread = f", with {100 * level:.3g} % intervals" if level else ""
    ax.set_xlabel(f"Difference of {what} {each_one}{unit}{spread}")
    ax.set_title("Which segment is worth more?  P(first > second) at the right")
    thousands(ax.xaxis)
    finish(ax, legend=None, grid="x")
    return ax


def _probability(p: float, draws: int) -> str:
    """Write P, which so many draws cannot tell from 0 or 1 any nearer."""
    least = 1 / draws if draws else 0.001
    if p < least:
        return f"< {number(round(100 * least, 2))} %"
    if p > 1 - least:
        return f"> {number(round(100 * (1 - least), 2))} %"
    return f"{100 * p:.0f} %"
