"""Which pictures go with which tables of an evaluation or a backtest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from clvpredict.atomic import new_file
from clvpredict.errors import DataWarning, notify

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Draw = Callable[..., Axes]
    Sized = tuple[Callable[[Axes], Any], tuple[float, float]]

# More panels, or rows, than this are no picture.
_MOST_PANELS, _MOST_ROWS = 6, 25


def of_evaluation(tables: Mapping[str, pd.DataFrame]) -> dict[str, Callable[[Axes], Any]]:
    """The pictures of the tables of an evaluation, by name."""
    from clvpredict import plots

    drawn: dict[str, tuple[str, Draw]] = {
        "calibration": ("calibration", plots.plot_calibration),
        "reliability": ("reliability", plots.plot_reliability),
    }
    for of in ("purchases", "value"):
        drawn[f"deciles_{of}"] = (f"deciles_{of}", plots.plot_calibration)
        drawn[f"pit_{of}"] = (f"pit_{of}", plots.plot_pit)
        drawn[f"pit_ecdf_{of}"] = (f"pit_{of}", plots.plot_pit_ecdf)
        drawn[f"coverage_{of}"] = (f"coverage_{of}", plots.plot_coverage)
        drawn[f"gain_{of}"] = (f"gain_{of}", plots.plot_gain)
        drawn[f"lift_{of}"] = (f"gain_{of}", plots.plot_lift)
    found = {
        name: _later(draw, tables[table])
        for name, (table, draw) in drawn.items()
        if table in tables
    }
    if "tracking" in tables:
        found["tracking"] = _later(plots.plot_tracking, tables["tracking"])
        found["tracking_cumulative"] = _later(
            plots.plot_tracking, tables["tracking"], cumulative=True
        )
    return found


def of_backtest(
    results: pd.DataFrame, comparison: pd.DataFrame
) -> dict[str, Callable[[Axes], Any]]:
    """The pictures of a backtest, by name."""
    from clvpredict import plots

    found = {"comparison": _later(plots.plot_comparison, comparison)}
    for metric in ("crps", "bias_percent"):
        found[metric] = _later(plots.plot_backtest_lines, results, metric)
        scored = results.dropna(subset=metric)
        for model in scored["model"].drop_duplicates():
            plain = "".join(c if c.isalnum() else "_" for c in str(model))
            found[f"{metric}_{plain}"] = _later(
                plots.plot_backtest, results, metric=metric, model=model
            )
    return found


def of_segments(table: pd.DataFrame) -> Sized:
    """The picture of a table of segments."""
    from clvpredict.plots import plot_segments

    return _later(plot_segments, table), (9, 1.6 + 0.42 * min(max(len(table), 4), _MOST_ROWS))


def of_cohorts(
    table: pd.DataFrame, metric: str
) -> tuple[list[Callable[[Axes], Any]], tuple[float, float]]:
    """A heat map of each channel, those with the most customers where there are many."""
    from clvpredict.plots import plot_cohorts

    ages, cohorts = table["age"].nunique(), table["cohort"].nunique()
    size = max(min(4.0 + 0.62 * ages, 14.0), 6.5), max(min(2.2 + 0.32 * cohorts, 10.0), 3.4)
    channel = table.attrs.get("channel")
    if channel is None:
        return [_later(plot_cohorts, table, metric)], size
    sizes = table[table["age"] == 0].groupby(channel, dropna=False)["customers"].sum()
    largest = sizes.nlargest(_MOST_PANELS, keep="first").index
    if len(largest) < len(sizes):
        notify(
            f"the picture shows the {_MOST_PANELS} largest of {len(sizes)} values of {channel}; "
            "the table has all of them.",
            DataWarning,
        )
    draws = []
    for label in sizes.index[sizes.index.isin(largest)]:
        # A table of one channel: one that is missing cannot be asked for.
        part = table[table[channel].isna() if pd.isna(label) else table[channel] == label]
        draws.append(_later(plot_cohorts, part, metric))
    return draws, size


def of_payback(table: pd.DataFrame) -> Callable[[Axes], Any]:
    """The picture of a table of payback."""
    from clvpredict.plots import plot_payback

    return _later(plot_payback, table)


def of_tornado(table: pd.DataFrame) -> Sized:
    """The picture of a tornado."""
    from clvpredict.plots import plot_tornado

    return _later(plot_tornado, table), (8, 1.6 + 0.7 * table["factor"].nunique())


def of_allocation(table: pd.DataFrame) -> Sized:
    """The picture of the split of a budget."""
    from clvpredict.plots import plot_allocation

    return _later(plot_allocation, table), (9, 1.9 + 0.42 * min(len(table), _MOST_ROWS))


def of_frontier(table: pd.DataFrame) -> Callable[[Axes], Any]:
    """The picture of what budgets bring."""
    from clvpredict.plots import plot_frontier

    return _later(plot_frontier, table)


def save(pictures: Mapping[str, Callable[[Axes], Any]], folder: Path) -> list[str]:
    """Write them as PNG, each whole or not at all; returns their names."""
    for name, draw in pictures.items():
        save_one([draw], folder / f"{name}.png")
    return [f"{name}.png" for name in pictures]


def save_one(
    draws: Sequence[Callable[[Axes], Any]], target: Path, size: tuple[float, float] = (9, 5.5)
) -> None:
    """Write one PNG, whole or not at all: a panel per draw, one below the other.

    Parameters
    ----------
    draws : sequence of callables
        Each draws on the Axes that it is given.
    target : Path
    size : tuple
        Width and height of a panel, in inches.
    """
    from matplotlib.figure import Figure

    # Not through pyplot: a job has no display, and nobody to close its figures.
    figure = Figure((size[0], size[1] * len(draws)), layout="constrained", facecolor="white")
    axes = figure.subplots(len(draws), squeeze=False)
    for draw, ax in zip(draws, axes[:, 0], strict=True):
        draw(ax)
    with new_file(target) as path:
        figure.savefig(path, format="png", dpi=120, metadata={"Software": None})


def _later(
    draw: Draw, table: pd.DataFrame, *arguments: Any, **options: Any
) -> Callable[[Axes], Any]:
    return lambda ax: draw(table, *arguments, ax=ax, **options)
