"""Predictions beside what came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clvpredict.errors import DataError, Problem
from clvpredict.plots.style import FAINT, SERIES, new_axes
from clvpredict.rfm import require_column

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = ("model", "frequency", "customers", "predicted", "observed", "observed_se", "naive")
_TWO_SIDED_95 = 1.96


def plot_calibration(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw predicted and observed holdout purchases by earlier frequency.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.evaluate.calibration_table`; for several models, their tables
        under one another.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        Points are the observed means with 95 % intervals, lines the predictions; the faint line
        is the rule "everybody goes on as before".

    Raises
    ------
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
    for column in _COLUMNS:
        require_column(table, column, "plot_calibration")
    table = table[table["customers"] > 0]
    if table.empty:
        raise DataError("calibration table", [Problem("no customers", "give a larger split")])
    ax = new_axes() if ax is None else ax
    models = table["model"].drop_duplicates().tolist()
    # What was observed, and the naive rule, are the same for all models.
    first = table[table["model"] == models[0]]
    place = np.arange(len(first))

    # In the colour of the text, so that it stands out on any background.
    ax.errorbar(
        place,
        first["observed"],
        yerr=_TWO_SIDED_95 * first["observed_se"].fillna(0.0),
        fmt="o",
        ms=6,
        capsize=3,
        lw=1.3,
        color=ax.xaxis.label.get_color(),
        label="Observed mean, 95 % interval",
    )
    # Side by side, for good predictions would hide behind the points.
    shift = 0.11 * (np.arange(len(models)) - (len(models) - 1) / 2 + (len(models) % 2))
    for (colour, marker), model, aside in zip(SERIES * len(models), models, shift, strict=False):
        rows = table[table["model"] == model]
        ax.plot(
            place + aside,
            rows["predicted"],
            marker=marker,
            ms=5.5,
            lw=1.6,
            color=colour,
            label=f"Predicted by {model}",
        )
    ax.plot(
        place,
        first["naive"],
        "--",
        lw=1.3,
        color=FAINT,
        label="Naive: everybody goes on as before",
        zorder=1,
    )
    _label(ax, first, place)
    return ax


def _label(ax: Axes, first: pd.DataFrame, place: Any) -> None:
    periods = first.attrs
    duration, end = periods.get("duration_holdout"), periods.get("calibration_end")
    length = (
        "holdout" if duration is None else f"{duration:.4g} {periods['time_unit'] or 'periods'}"
    )
    after = f"after {str(end)[:10]}" if end else "after calibration"
    before = f"until {str(end)[:10]}" if end else "in calibration"
    ax.set_title(f"Out of sample: purchases in the {length} {after}")
    ax.set_xlabel(f"Repeat purchases {before}\n(number of customers)")
    ax.set_ylabel(f"Mean purchases per customer ({length})")
    ax.set_xticks(
        place,
        [
            f"{frequency}\n({customers:,})"
            for frequency, customers in zip(first["frequency"], first["customers"], strict=True)
        ],
    )
    ax.set_ylim(bottom=0)
    ax.grid(axis="y", alpha=0.25)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="upper left")
