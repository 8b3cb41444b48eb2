"""Whether the best customers were found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clvpredict.plots.style import (
    check_table,
    each,
    finish,
    holdout,
    ink,
    looks,
    new_axes,
    number,
    one_kind,
    percent,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MADE_BY = "clvpredict.evaluate_holdout(model, split).gain()"
#: What the models are held to.
_REFERENCES = {
    "naive": "Naive: everybody goes on as before",
    "last period": "Last period repeats itself",
    "oracle": "Oracle: sorted by what came",
    "random": "Random order",
}
_TOP = 0.2


def plot_gain(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how much of the holdout the customers have whom a model puts first.

    Parameters
    ----------
    table : DataFrame
        ``evaluate_holdout(models, split).gain()``.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        A curve for each model, between random order and the order in hindsight. The legend says
        what the first 20 % of customers have.

    Raises
    ------
    OptionError
        If it is another table, or one of purchases and of value.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.plots import plot_gain
    >>> split = clv.calibration_holdout(
    ...     clv.load_cdnow(), calibration_end="1997-09-30", time_unit="W"
    ... )
    >>> evaluation = clv.evaluate_holdout(clv.MBGNBD().fit(split), split)
    >>> ax = plot_gain(evaluation.gain())
    """
    table = check_table(table, ("model", "share", "captured"), "plot_gain", _MADE_BY)
    of = one_kind(table, "plot_gain")
    entries = table["model"].nunique()
    ax = new_axes((7, 5.5), entries=entries) if ax is None else ax
    for label, rows, look in _curves(ax, table):
        rows = rows.dropna(subset=["share", "captured"])
        if rows.empty:
            ax.plot([], [], label=f"{label} (no {of})", **look)
            continue
        share = np.concatenate([[0.0], rows["share"].to_numpy(np.float64)])
        captured = np.concatenate([[0.0], rows["captured"].to_numpy(np.float64)])
        top = number(round(100 * float(np.interp(_TOP, share, captured)), 0))
        ax.plot(share, captured, label=f"{label} (first {100 * _TOP:g} %: {top} %)", **look)
    ax.set_title(f"Out of sample: whether the best customers were found\n{of} in {holdout(table)}")
    ax.set_xlabel("Share of customers, those predicted to be best first")
    ax.set_ylabel(f"Share of all {of} that they have")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    percent(ax.xaxis)
    percent(ax.yaxis)
    finish(ax, legend="lower right", grid="both")
    return ax


def plot_lift(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how many times their share the customers have whom a model puts first.

    Parameters
    ----------
    table : DataFrame
        ``evaluate_holdout(models, split).gain()``.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        Share captured over share of customers, a curve for each model; 1 is random order. The
        axis is as high as the models need; the order in hindsight may leave it.

    Raises
    ------
    OptionError
        If it is another table, or one of purchases and of value.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.plots import plot_lift
    >>> split = clv.calibration_holdout(
    ...     clv.load_cdnow(), calibration_end="1997-09-30", time_unit="W"
    ... )
    >>> evaluation = clv.evaluate_holdout(clv.MBGNBD().fit(split), split)
    >>> ax = plot_lift(evaluation.gain())
    """
    table = check_table(table, ("model", "share", "lift"), "plot_lift", _MADE_BY)
    of = one_kind(table, "plot_lift")
    entries = table["model"].nunique()
    ax = new_axes((7, 5.5), entries=entries) if ax is None else ax
    # The lift of nobody is 0 / 0.
    table = table[table["share"] > 0]
    for label, rows, look in _curves(ax, table):
        ax.plot(rows["share"], rows["lift"], label=label, **look)
    reached = table.loc[table["model"] != "oracle", "lift"].max()
    ax.set_title(f"Out of sample: lift over random order\n{of} in {holdout(table)}")
    ax.set_xlabel("Share of customers, those predicted to be best first")
    ax.set_ylabel(f"Lift: their share of {of} over their share of customers")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, max(1.5, 1.15 * reached) if np.isfinite(reached) else None)
    percent(ax.xaxis)
    finish(ax, legend="upper right", grid="both")
    return ax


def _curves(ax: Axes, table: pd.DataFrame) -> list[tuple[str, pd.DataFrame, dict[str, Any]]]:
    """Label, rows and look of each curve; fitted models first."""
    found: list[tuple[str, pd.DataFrame, dict[str, Any]]] = []
    references = []
    models = each(table)
    for (model, rows), look in zip(models, looks(name for name, _ in models), strict=True):
        rows = rows.sort_values("share")
        if model in _REFERENCES:
            look |= {"marker": "", "lw": 1.4, "zorder": 1}
            if model == "oracle":
                look["color"] = ink(ax)
            references.append((_REFERENCES[model], rows, look))
        else:
            look |= {"markevery": max(1, len(rows) // 10), "ms": 5, "lw": 1.8}
            found.append((model, rows, look))
    return [*found, *references]
