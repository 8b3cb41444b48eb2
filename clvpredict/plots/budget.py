"""Where a budget goes, what more of it brings, and what a campaign has brought."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from clvpredict.options import choose
from clvpredict.plots.style import (
    FAINT,
    SERIES,
    band,
    check_table,
    each,
    finish,
    ink,
    new_axes,
    note,
    number,
    thousands,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Quantity = Literal["gain", "net_gain", "marginal_return"]
#: Rows that can be read; of more segments, the largest are drawn and the others together.
_MOST_ROWS = 24
_ALLOCATED = ("segment", "spend", "gain", "gain_lower", "gain_upper", "marginal_return", "bound")
_FRONTIER = ("objective", "budget", "spend", "gain", "gain_lower", "gain_upper", "marginal_return")
_EFFECTS = ("segment", "method", "treated", "control", "effect", "effect_lower", "effect_upper")
_OBJECTIVES = {"mean": "Most on average", "lower_quantile": "Most when things go badly"}
_QUANTITIES = {
    "gain": "Expected gain",
    "net_gain": "Expected gain less spend",
    "marginal_return": "What the next unit of budget adds to the objective",
}


def plot_allocation(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the best split of a budget: spend, gain and marginal return by segment.

    Parameters
    ----------
    table : DataFrame
        ``allocate_budget(...).table``.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        Bars are spend, points the expected gain with its interval; on the right stands what one
        more unit of money would bring, and the bound that keeps the segment from getting it. Of
        more than 24 segments, those with the largest spend are drawn and the others together.

    Raises
    ------
    OptionError
        If it is another table.

    Examples
    --------
    >>> import pandas as pd
    >>> from clvpredict.business import PowerResponse, allocate_budget
    >>> from clvpredict.plots import plot_allocation
    >>> channels = pd.DataFrame({"segment": ["search", "mail"], "scale": [60.0, 20.0]})
    >>> plan = allocate_budget(channels, 900, response=PowerResponse("scale", 0.5))
    >>> ax = plot_allocation(plan.table)
    """
    made_by = "clvpredict.business.allocate_budget(...).table"
    rows = check_table(table, _ALLOCATED, "plot_allocation", made_by)
    level = table.attrs.get("interval")
    rows = _largest(rows, "spend", ("spend", "gain"))
    ax = new_axes((9, 1.9 + 0.42 * len(rows))) if ax is None else ax
    place = np.arange(len(rows))
    ax.barh(place, rows["spend"], height=0.6, color=SERIES[0][0], alpha=0.85, label="Spend")
    known = bool(rows["gain_lower"].notna().any())
    between = f", {_percent(level)} interval" if known and level is not None else ""
    _points(ax, rows, "gain", place, SERIES[1], f"Expected gain{between}")
    _segments(ax, rows["segment"], place)
    ax.set_xlim(left=0.0)
    beside = ax.get_yaxis_transform()
    for y, marginal, bound in zip(
        place.tolist(), rows["marginal_return"], rows["bound"], strict=True
    ):
        text = "" if np.isnan(marginal) else f"{number(float(f'{marginal:.3g}'))}"
        reason = f" (at {bound})" if bound in ("minimum", "maximum") else f" ({bound})"
        text += reason if bound else ""
        ax.text(1.02, y, text, transform=beside, va="center", color=ink(ax), fontsize="small")
    heading = "Next unit\nbrings"
    ax.text(1.02, -0.6, heading, transform=beside, va="bottom", color=ink(ax), fontsize="small")
    ax.set_xlabel(f"Spend and gain ({_money(table)})")
    thousands(ax.xaxis)
    budget = table.attrs.get("budget")
    spent = float(table["spend"].sum())
    title = f"Best split of {number(round(spent))}"
    if budget is not None and budget - spent > 0.005 * max(budget, 1.0):
        title += f"; {number(round(budget - spent))} of the budget stay unspent"
    if table.attrs.get("objective") == "lower_quantile":
        title += ", for when things go badly"
    finish(ax, grid="x", legend=None)
    _headed(ax, title)
    return ax


def plot_frontier(
    table: pd.DataFrame, quantity: Quantity = "gain", *, ax: Axes | None = None
) -> Axes:
    """Draw what the best split of each budget brings.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.business.budget_frontier`.
    quantity : {"gain", "net_gain", "marginal_return"}
        What to draw over the budget.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        A line per objective. Of the gain also its interval (of one objective alone), the mean of
        the worst draws (dotted) where the responses are uncertain, and the line on which a gain
        equals its budget. A vertical line is the first budget from which another unit adds less
        to the objective than it costs.

    Raises
    ------
    OptionError
        If it is another table.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from clvpredict.business import PowerResponse, budget_frontier
    >>> from clvpredict.plots import plot_frontier
    >>> channels = pd.DataFrame({"segment": ["search", "mail"], "scale": [60.0, 20.0]})
    >>> budgets = np.linspace(100, 3_000, 15)
    >>> ax = plot_frontier(budget_frontier(channels, budgets, response=PowerResponse("scale", 0.5)))
    """
    choose("quantity", quantity, Quantity)
    made_by = "clvpredict.business.budget_frontier(...)"
    rows = check_table(table, (*_FRONTIER, quantity), "plot_frontier", made_by)
    ax = new_axes() if ax is None else ax
    worth = table.attrs.get("worth") or {}
    share = _percent(table.attrs.get("quantile", 0.1))
    level = _percent(table.attrs.get("interval", 0.9))
    parts = each(rows, "objective")
    for i, (objective, part) in enumerate(parts):
        colour, marker = SERIES[i % len(SERIES)]
        label = _OBJECTIVES.get(objective, objective)
        if len(parts) == 1:
            label = _QUANTITIES[quantity]
        known = quantity == "gain" and bool(part["gain_lower"].notna().any())
        x = part["budget"].to_numpy()
        finite = np.isfinite(part[quantity].to_numpy())
        ax.plot(
            x[finite],
            part[quantity][finite],
            color=colour,
            marker=marker if len(part) <= 30 else None,
            ms=4.5,
            label=f"{label}{f', {level} interval' if known and len(parts) == 1 else ''}",
        )
        if known:
            if len(parts) == 1:  # several would hide how the lines differ
                band(ax, x, part["gain_lower"], part["gain_upper"], colour=colour)
            worst = f"Mean of its worst {share} of draws"
            ax.plot(x, part["gain_worst"], ":", color=colour, lw=1.8, label=worst)
        if (edge := worth.get(objective)) is not None:
            ax.axvline(edge, color=colour, ls="-.", lw=1.2, zorder=1)
    if quantity == "gain":
        ends = np.array([0.0, float(rows["budget"].max())])
        ax.plot(ends, ends, "--", color=FAINT, label="Gain equals budget")
    elif quantity == "marginal_return":
        ax.axhline(1.0, ls="--", color=FAINT, label="As much as it costs")
        ax.set_ylim(bottom=0.0)
    else:
        ax.axhline(0.0, ls="--", color=FAINT)
    if any(worth.get(objective) is not None for objective, _ in parts):
        ax.plot([], [], "-.", color=FAINT, lw=1.2, label="From here more costs more than it brings")
    ax.set_xlim(0.0, float(rows["budget"].max()) * 1.02 or 1.0)
    ax.set_xlabel(f"Budget ({_money(table)})")
    unit = "" if quantity == "marginal_return" else f" ({_money(table)})"
    ax.set_ylabel(_QUANTITIES[quantity] + unit)
    thousands(ax.xaxis)
    thousands(ax.yaxis)
    ax.set_title("What the best split of each budget brings")
    corner = {"marginal_return": "upper right", "net_gain": "lower left"}
    finish(ax, grid="both", legend=corner.get(quantity, "lower right"))
    return ax


def plot_uplift(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw what a campaign has changed, by segment.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.business.evaluate_uplift`.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        A row per segment and the total below a line: the effect per treated customer with its
        interval, as plain difference in means and, where there is a covariate, by CUPED. An
        interval that crosses the dashed line cannot tell the effect from none. Of more than 24
        segments those with the most customers are drawn.

    Raises
    ------
    OptionError
        If it is another table.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from clvpredict.business import evaluate_uplift
    >>> from clvpredict.plots import plot_uplift
    >>> rng = np.random.default_rng(0)
    >>> data = pd.DataFrame({"treatment": np.arange(500) % 2, "value": rng.gamma(2, 20, 500)})
    >>> ax = plot_uplift(evaluate_uplift(data))
    """
    made_by = "clvpredict.business.evaluate_uplift(data, ...)"
    rows = check_table(table, _EFFECTS, "plot_uplift", made_by)
    rows = rows.assign(segment=rows["segment"].astype(str))
    counted = rows.drop_duplicates("segment")
    counted = counted.assign(customers=counted["treated"] + counted["control"])
    names = counted.loc[counted["segment"] != "total"].nlargest(_MOST_ROWS, "customers").index
    total = counted.index[counted["segment"] == "total"]
    shown = counted.loc[[*sorted(names), *total]]
    left_out = len(counted) - len(shown)
    ax = new_axes((8.5, 2.0 + 0.5 * len(shown))) if ax is None else ax
    place = {segment: i for i, segment in enumerate(shown["segment"])}
    methods = each(rows[rows["segment"].isin(place)], "method")
    level = table.attrs.get("interval")
    between = "" if level is None else f", {_percent(level)} interval"
    for i, (method, part) in enumerate(methods):
        aside = 0.22 * (i - (len(methods) - 1) / 2)
        where = part["segment"].map(place).to_numpy() + aside
        _points(ax, part, "effect", where, SERIES[i % len(SERIES)], f"{_sentence(method)}{between}")
    ax.axvline(0.0, ls="--", lw=1.2, color=FAINT, zorder=1)
    if len(shown) > 1 and "total" in place:
        ax.axhline(place["total"] - 0.5, lw=0.8, color=FAINT)
    labels = [
        f"{_sentence(s) if s == 'total' else s}\n{t:,} treated, {c:,} control"
        for s, t, c in zip(shown["segment"], shown["treated"], shown["control"], strict=True)
    ]
    _segments(ax, pd.Series(labels), np.arange(len(shown)))
    ax.set_xlabel(f"Effect on value per treated customer ({_money(table)})")
    thousands(ax.xaxis)
    if left_out:
        note(ax, f"{left_out:,} smaller segments are not drawn")
    finish(ax, grid="x", legend=None)
    _headed(ax, "What the campaign has changed")
    return ax


def _points(
    ax: Axes,
    rows: pd.DataFrame,
    what: str,
    place: Any,
    look: tuple[str, str],
    label: str,
) -> None:
    """Points with horizontal intervals."""
    middle = rows[what].to_numpy(np.float64)
    ends = rows[[f"{what}_lower", f"{what}_upper"]].to_numpy(np.float64).T
    colour, marker = look
    # A mean of skew draws may lie beyond a narrow interval of them.
    reach = np.nan_to_num(np.maximum((ends - middle) * [[-1], [1]], 0.0))
    ax.errorbar(
        middle, place, xerr=reach, fmt=marker, color=colour, ms=6, capsize=3, lw=1.6, label=label
    )


def _largest(rows: pd.DataFrame, by: str, added: tuple[str, ...]) -> pd.DataFrame:
    """The largest rows in their order, and one of the others together."""
    if len(rows) <= _MOST_ROWS:
        return rows.reset_index(drop=True)
    largest = rows.loc[sorted(rows.reset_index(drop=True).nlargest(_MOST_ROWS - 1, by).index)]
    others = rows.drop(largest.index)
    together: dict[str, Any] = dict.fromkeys(rows.columns, np.nan)
    together |= {column: others[column].sum() for column in added}
    together |= {"segment": f"{len(others):,} others", "bound": ""}
    return pd.concat([largest, pd.DataFrame([together])], ignore_index=True)


def _segments(ax: Axes, names: pd.Series, place: Any) -> None:
    """Names down the left side, the first on top."""
    ax.set_yticks(place, labels=[str(name) for name in names])
    ax.set_ylim(len(place) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)


def _headed(ax: Axes, title: str) -> None:
    """A title, and below it the legend, outside of where the rows are."""
    ax.set_title(title, loc="left", pad=28)
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        borderaxespad=0.3,
        borderpad=0.0,
        ncols=2,
        frameon=False,
        labelcolor=ink(ax),
    )


def _money(table: pd.DataFrame) -> str:
    return str(table.attrs.get("currency") or "money")


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
