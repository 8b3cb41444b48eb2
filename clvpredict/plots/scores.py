"""Whether predicted probabilities, distributions and intervals are what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clvpredict.errors import OptionError
from clvpredict.plots.style import (
    FAINT,
    MOST_BANDS,
    band,
    check_table,
    each,
    finish,
    holdout,
    ink,
    new_axes,
    one_kind,
    percent,
    series,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RELIABILITY = (
    "model",
    "predicted_low",
    "predicted_high",
    "predicted",
    "observed",
    "customers",
    "band_lower",
    "band_upper",
)
_PIT = ("model", "low", "high", "density")
_HEIGHT_OF_BARS = 0.12
#: More points than this are a line.
_MOST_MARKERS = 40


def plot_reliability(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw, for each predicted probability of a purchase, the share that bought.

    Parameters
    ----------
    table : DataFrame
        ``evaluate_holdout(models, split).reliability()``.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        Calibrated predictions lie on the diagonal, and within the band (drawn for up to three
        models) as far as chance allows. Bars along the bottom have the numbers of customers, each
        at its block's mean prediction. The legend has the Brier score (lower is better), which is
        uncertainty - discrimination + miscalibration.

    Raises
    ------
    OptionError
        If it is another table.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.plots import plot_reliability
    >>> split = clv.calibration_holdout(
    ...     clv.load_cdnow(), calibration_end="1997-09-30", time_unit="W"
    ... )
    >>> evaluation = clv.evaluate_holdout(clv.MBGNBD().fit(split), split)
    >>> ax = plot_reliability(evaluation.reliability())
    """
    made_by = "clvpredict.evaluate_holdout(model, split).reliability()"
    table = check_table(table, _RELIABILITY, "plot_reliability", made_by)
    models = each(table)
    ax = new_axes((7, 6), entries=len(models) + 2) if ax is None else ax
    reached = np.nanmax([0.05, *table["predicted_high"], *table["observed"]])
    # Rare buyers would all be in one corner.
    limit = 1.0 if reached > 0.6 else 1.1 * float(reached)

    ax.plot([0, limit], [0, limit], "--", lw=1.3, color=ink(ax), label="Calibrated")
    for i, (model, rows) in enumerate(models):
        colour, marker = series(i)
        rows = rows.sort_values("predicted")
        # Flat within a block, straight between blocks.
        where = rows[["predicted_low", "predicted_high"]].to_numpy(np.float64).ravel()
        if len(models) <= MOST_BANDS:
            lower, upper = (np.repeat(rows[f"band_{end}"], 2) for end in ("lower", "upper"))
            label = "95 % of calibrated predictions" if i == 0 else None
            band(ax, where, lower, upper, colour=colour, label=label)
        ax.plot(where, np.repeat(rows["observed"], 2), color=colour, lw=1.8)
        points = marker if len(rows) <= _MOST_MARKERS else ""
        label = f"{model}{_scores(table, model, len(models) == 1)}"
        look: dict[str, Any] = {"marker": points, "ms": 5, "color": colour, "label": label}
        ax.plot(rows["predicted"], rows["observed"], ls="" if points else "-", **look)
        most = max(float(rows["customers"].max()), 1.0)
        ax.vlines(
            rows["predicted"],
            0.0,
            _HEIGHT_OF_BARS * rows["customers"] / most,
            transform=ax.get_xaxis_transform(),
            color=colour,
            alpha=0.6,
            lw=4,
        )
    more = f"; bands are drawn for up to {MOST_BANDS} models" if len(models) > MOST_BANDS else ""
    ax.set_title(f"Out of sample: who buys in {holdout(table)}")
    ax.set_xlabel(
        f"Predicted probability of at least one purchase\n(bars: number of customers{more})"
    )
    ax.set_ylabel("Share of customers that bought")
    ax.set_xlim(0, limit)
    ax.set_ylim(0, 1.02 * limit)
    percent(ax.xaxis)
    percent(ax.yaxis)
    finish(ax, legend="upper left", grid="both")
    return ax


def _scores(table: pd.DataFrame, model: str, in_full: bool) -> str:
    found = (table.attrs.get("scores") or {}).get(model)
    if not found:
        return ""
    text = f": Brier score {found['brier']:.4f}"
    if in_full:
        text += (
            f"\n= {found['uncertainty']:.4f} uncertainty"
            f" \N{MINUS SIGN} {found['discrimination']:.4f} discrimination"
            f"\n+ {found['miscalibration']:.4f} miscalibration"
        )
    return text


def plot_pit(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw where in their predicted distributions the observed purchases fell.

    Parameters
    ----------
    table : DataFrame
        ``evaluate_holdout(models, split).pit()``.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        A histogram of the probability integral transform; flat at 1 if the distributions are
        right.

    Raises
    ------
    OptionError
        If it is another table, or one of purchases and of value.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.plots import plot_pit
    >>> split = clv.calibration_holdout(
    ...     clv.load_cdnow(), calibration_end="1997-09-30", time_unit="W"
    ... )
    >>> evaluation = clv.evaluate_holdout(clv.MBGNBD().fit(split), split)
    >>> ax = plot_pit(evaluation.pit())
    """
    made_by = "clvpredict.evaluate_holdout(model, split).pit()"
    table = check_table(table, _PIT, "plot_pit", made_by)
    of = one_kind(table, "plot_pit")
    models = each(table)
    ax = new_axes(entries=len(models) + 1) if ax is None else ax
    for i, (model, rows) in enumerate(models):
        rows = rows.sort_values("low")
        colour, marker = series(i)
        density = rows["density"].to_numpy(np.float64)
        edges = np.append(rows["low"], rows["high"].iloc[-1])
        ax.stairs(density, edges, color=colour, lw=1.8, fill=False, baseline=None)
        if len(models) == 1:
            ax.stairs(density, edges, color=colour, alpha=0.35, fill=True)
        middle = (rows["low"] + rows["high"]) / 2
        label = f"{model}{_ks(table, model)}"
        ax.plot(middle, density, ls="", marker=marker, ms=5, color=colour, label=label)
    ax.axhline(1.0, ls="--", lw=1.3, color=ink(ax), label="Calibrated")
    highest = float(np.nanmax([1.5, *table["density"]]))
    ax.set_ylim(0, 1.2 * highest)
    ax.set_xlim(0, 1)
    ax.set_title(f"Out of sample: predicted distributions\n{of} in {holdout(table)}")
    ax.set_xlabel(
        f"Place of the observed {of} in the predicted distribution (0 = lowest, 1 = highest)\n"
        "Hollow in the middle: predicted too narrow. Hill: too wide. Slope: too high or too low."
    )
    ax.set_ylabel("Density of customers (1 = calibrated)")
    finish(ax, legend="upper right")
    return ax


def plot_pit_ecdf(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how far the predicted distributions are from calibrated, with what chance allows.

    Parameters
    ----------
    table : DataFrame
        ``evaluate_holdout(models, split).pit()``.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        The empirical distribution function of the probability integral transform less the
        uniform one, 0 if the distributions are right. With 95 % probability, those of a
        calibrated model lie in the band throughout.

    Raises
    ------
    OptionError
        If it is another table, or one of purchases and of value.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.plots import plot_pit_ecdf
    >>> split = clv.calibration_holdout(
    ...     clv.load_cdnow(), calibration_end="1997-09-30", time_unit="W"
    ... )
    >>> evaluation = clv.evaluate_holdout(clv.MBGNBD().fit(split), split)
    >>> ax = plot_pit_ecdf(evaluation.pit())
    """
    made_by = "clvpredict.evaluate_holdout(model, split).pit()"
    columns = (*_PIT, "ecdf", "band_lower", "band_upper")
    table = check_table(table, columns, "plot_pit_ecdf", made_by)
    of = one_kind(table, "plot_pit_ecdf")
    models = each(table)
    ax = new_axes(entries=len(models) + 2) if ax is None else ax
    ends = [rows[["high", "band_lower", "band_upper"]].to_numpy() for _, rows in models]
    common = all(np.array_equal(ends[0], other) for other in ends)
    hidden = not common and len(models) > MOST_BANDS
    for i, (model, rows) in enumerate(models):
        rows = rows.sort_values("high")
        colour, marker = series(i)
        where = np.append(0.0, rows["high"])
        gap = np.append(0.0, rows["ecdf"] - rows["high"])
        lower, upper = (
            np.append(rows[end].iloc[0], rows[end]) for end in ("band_lower", "band_upper")
        )
        if common and i == 0:
            band(ax, where, lower, upper, label="95 % of calibrated models")
        elif not common and not hidden:
            # Areas that are almost the same would make a colour that is none of theirs.
            ax.plot(where, lower, ls="--", lw=1.0, color=colour)
            ax.plot(where, upper, ls="--", lw=1.0, color=colour)
            if i == 0:  # each model has its own, so the legend's is of no model's colour
                text = "95 % of calibrated models (ends)"
                ax.plot([], [], ls="--", lw=1.0, color=FAINT, label=text)
        points = marker if len(rows) <= _MOST_MARKERS else ""
        name = f"{model}{_ks(table, model)}"
        ax.plot(where, gap, marker=points, ms=4.5, lw=1.8, color=colour, label=name)
    ax.axhline(0.0, ls="--", lw=1.3, color=ink(ax), label="Calibrated")
    ax.set_xlim(0, 1)
    ax.set_title(f"Out of sample: predicted distributions\n{of} in {holdout(table)}")
    ax.set_xlabel(
        f"Place u in the predicted distribution of {of} (0 = lowest, 1 = highest)\n"
        "Above 0: more customers than predicted are below u. Below 0: fewer."
        + (f"\n(Bands differ; they are drawn for up to {MOST_BANDS} models.)" if hidden else "")
    )
    ax.set_ylabel("Share of customers below u, less u")
    percent(ax.yaxis)
    finish(ax, legend="upper right", headroom=0.35)
    return ax


def _ks(table: pd.DataFrame, model: str) -> str:
    found = (table.attrs.get("ks") or {}).get(model)
    if not found:
        return ""
    chance = found["p_value"]
    return f" (KS {found['ks']:.3f}, p {'< 0.01' if chance < 0.01 else f'= {chance:.3f}'})"


def plot_coverage(
    table: pd.DataFrame, *, level: float | None = None, ax: Axes | None = None
) -> Axes:
    """Draw how often the predictive intervals held what came.

    Parameters
    ----------
    table : DataFrame
        ``evaluate_holdout(models, split).coverage()``.
    level : float, optional
        Of the intervals to draw by decile of customers, e.g. 0.9; by default all levels are
        drawn for all customers.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        Solid: the share of customers in their interval. Dotted and hollow: what a model that is
        right would show, which is more than the level, for counts are whole.

    Raises
    ------
    OptionError
        If it is another table, one of purchases and of value, or without this level.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.plots import plot_coverage
    >>> split = clv.calibration_holdout(
    ...     clv.load_cdnow(), calibration_end="1997-09-30", time_unit="W"
    ... )
    >>> evaluation = clv.evaluate_holdout(clv.MBGNBD().fit(split), split)
    >>> ax = plot_coverage(evaluation.coverage())
    """
    columns = ("model", "decile", "level", "coverage", "expected")
    made_by = "clvpredict.evaluate_holdout(model, split).coverage()"
    table = check_table(table, columns, "plot_coverage", made_by)
    of = one_kind(table, "plot_coverage")
    decile = table["decile"].astype(str)
    if level is None:
        rows, by = table[decile == "all"], "level"
        missing = "rows of all customers (decile 'all')"
    else:
        near = np.isclose(table["level"].to_numpy(np.float64), level)
        rows, by = table[near & (decile != "all")], "decile"
        known = ", ".join(f"{known:g}" for known in sorted(table["level"].unique()))
        missing = f"deciles at level={level!r}; it has the levels {known}"
    if rows.empty:
        raise OptionError(f"plot_coverage: the table has no {missing}.")
    models = each(rows)
    ax = new_axes(entries=len(models) + 2) if ax is None else ax
    if level is None:
        ends = [float(rows["level"].min()), float(rows["level"].max())]
        ax.plot(ends, ends, "--", lw=1.3, color=ink(ax), label="As often as they say")
        ax.set_xlabel("Level of the predictive interval")
        percent(ax.xaxis)
        ax.set_xticks(sorted(rows["level"].unique()))
        what = "intervals"
    else:
        text = f"As often as they say: {100 * level:g} %"
        ax.axhline(level, ls="--", lw=1.3, color=ink(ax), label=text)
        last = int(rows["decile"].astype(int).max())
        ax.set_xlabel(f"Customers by predicted {of}: 1 = least, {last} = most")
        ax.set_xticks(range(1, last + 1))
        what = f"{100 * level:g} % intervals"
    for i, (model, found) in enumerate(models):
        colour, marker = series(i)
        place = found[by].to_numpy(np.float64)
        order = np.argsort(place)
        look: dict[str, Any] = {"color": colour, "marker": marker, "ms": 6}
        ax.plot(place[order], found["coverage"].to_numpy()[order], lw=1.8, label=model, **look)
        if found["expected"].notna().any():
            look |= {"mfc": "none", "ls": ":", "lw": 1.2}
            ax.plot(place[order], found["expected"].to_numpy()[order], **look)
    ax.plot([], [], "o:", color=FAINT, mfc="none", label="Hollow: if the model were right")
    ax.set_title(f"Out of sample: {what} that held what came\n{of} in {holdout(table)}")
    ax.set_ylabel("Share of customers in their interval")
    ax.margins(y=0.08)
    ax.set_ylim(top=min(1.02, ax.get_ylim()[1]))
    percent(ax.yaxis)
    finish(ax, legend="best", grid="both")
    return ax
