"""Scenarios, and when a new customer has paid what acquiring one costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvpredict.options import UNIT_NAMES
from clvpredict.plots.style import (
    FAINT,
    MOST_BANDS,
    band,
    check_table,
    each,
    finish,
    ink,
    new_axes,
    number,
    series,
    thousands,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TORNADO = ("factor", "change", "now", "effect", "effect_lower", "effect_upper")
_MADE_TORNADO = "clvpredict.business.tornado_table(model, predictions)"
_CURVE = ("channel", "time", "margin", "margin_lower", "margin_upper", "cac")
_MADE_CURVE = "clvpredict.business.payback_curve(models, horizon=..., cac=...)"
_WORDS = {
    "clv": "CLV of all customers, expected",
    "net_clv": "Net CLV of all customers, expected",
    "value": "Value of all customers",
    "net_value": "Value of all customers after costs",
    "expected_purchases": "Purchases of all customers, expected",
    "purchases": "Purchases of all customers",
}
_FACTORS = {
    "churn": "churn",
    "frequency": "purchase rate",
    "order_value": "order value",
    "margin": "margin",
    "discount_rate": "discount rate",
}


def plot_tornado(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw what changes of one thing at a time do, the widest range on top.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.business.tornado_table`.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        A pair of bars for each factor, from the value now to that after the change, which is
        written at its end; thin lines are credible intervals.

    Raises
    ------
    OptionError
        If it is another table.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.plots import plot_tornado
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> model = clv.MBGNBD().fit(rfm)
    >>> predictions = model.predict(rfm.head(200), horizon="52W")
    >>> ax = plot_tornado(
    ...     clv.business.tornado_table(model, predictions, 0.1, of="expected_purchases")
    ... )
    """
    table = check_table(table, _TORNADO, "plot_tornado", _MADE_TORNADO)
    factors = table["factor"].drop_duplicates().tolist()
    ax = new_axes((8, 1.6 + 0.7 * len(factors))) if ax is None else ax
    place = table["factor"].map({f: i for i, f in enumerate(factors)}).to_numpy(np.float64)
    change = table["change"].to_numpy(np.float64)
    now, effect = table["now"].to_numpy(np.float64), table["effect"].to_numpy(np.float64)
    # Rows of one factor whose effects go the same way would hide one another: side by side.
    shift = np.where(change < 0, -0.2, 0.2)
    for sign, name in ((-1, "less"), (1, "more")):
        some = np.sign(change) == sign
        if not some.any():
            continue
        colour, _ = series(0 if sign < 0 else 1)
        ax.barh((place + shift)[some], effect[some], 0.36, left=now[some], color=colour, label=name)
    ends = table[["effect_lower", "effect_upper"]].to_numpy(np.float64) + now[:, None]
    ax.hlines(place + shift, ends[:, 0], ends[:, 1], color=ink(ax), lw=1.2)
    span = float(np.ptp(np.append(ends, now))) or 1.0
    for y, x, size, value in zip(place + shift, ends, change, effect, strict=True):
        right = value >= 0
        ax.text(
            x[1] + 0.01 * span if right else x[0] - 0.01 * span,
            y,
            f"{'+' if size > 0 else ''}{number(round(100 * size, 4))} %",
            ha="left" if right else "right",
            va="center",
            fontsize="small",
            color=ink(ax),
        )
    ax.axvline(now[0], color=FAINT, lw=1)
    ax.margins(x=0.12)
    ax.set_yticks(range(len(factors)), [_FACTORS.get(f, f) for f in factors])
    ax.set_ylim(len(factors) - 0.5, -0.5)
    of = table.attrs.get("of", "")
    ax.set(
        xlabel=_WORDS.get(of, of),
        title=f"What if one thing changed? Now: {number(_rounded(now[0]))}",
    )
    thousands(ax.xaxis)
    finish(ax, grid="x", legend="lower right")
    return ax


def plot_payback_curve(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the expected margin of a new customer over time against what acquiring one costs.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.business.payback_curve`.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        A line per channel, from the first purchase on, with the band of the credible interval
        (for up to three channels). Dashed horizontal lines are the CAC; a ring is where the
        margin reaches it, and the legend says when.

    Raises
    ------
    OptionError
        If it is another table.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.plots import plot_payback_curve
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
    >>> curve = clv.business.payback_curve(
    ...     model, horizon="52W", cac=12.0, margin=0.3, every="8W", draws=100
    ... )
    >>> ax = plot_payback_curve(curve)
    """
    table = check_table(table, _CURVE, "plot_payback_curve", _MADE_CURVE)
    channels = each(table, "channel")
    ax = new_axes((8, 5), entries=len(channels)) if ax is None else ax
    code = table.attrs.get("time_unit")
    unit = UNIT_NAMES.get(str(code), "periods" if code is None else f"units of {code}")
    for i, (name, rows) in enumerate(channels):
        colour, _ = series(i)
        time, margin = rows["time"].to_numpy(np.float64), rows["margin"].to_numpy(np.float64)
        paid = float(rows["cac"].iloc[0])
        label = name
        if np.isfinite(paid):
            ax.axhline(paid, color=colour, ls="--", lw=1)
            reached = np.flatnonzero(margin >= paid)
            if len(reached):
                k = int(reached[0])
                when = (
                    time[0]
                    if k == 0
                    else float(np.interp(paid, margin[k - 1 : k + 1], time[k - 1 : k + 1]))
                )
                label += f": CAC {number(round(paid, 2))} paid after {when:.3g} {unit}"
                ax.plot([when], [paid], "o", ms=10, mfc="none", mec=colour, mew=2, label="_ring")
            else:
                label += f": CAC {number(round(paid, 2))} not paid by then"
        ax.plot(time, margin, color=colour, label=label)
        if len(channels) <= MOST_BANDS:
            band(ax, time, rows["margin_lower"], rows["margin_upper"], colour=colour)
    ax.set(
        xlabel=f"{unit.capitalize()} after the first purchase",
        ylabel="Expected margin per new customer, cumulative",
        title="When does a new customer pay what acquiring one costs?",
    )
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=min(0.0, float(table["margin_lower"].min())))
    thousands(ax.yaxis)
    finish(ax, legend="upper left", headroom=0.08 * len(channels))
    return ax


def _rounded(value: float) -> float:
    return round(value) if abs(value) >= 1000 else float(f"{value:.4g}")
