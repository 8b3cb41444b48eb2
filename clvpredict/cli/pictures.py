"""Which pictures go with which tables of an evaluation or a backtest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from clvpredict.atomic import new_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Draw = Callable[..., Axes]


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


def save(pictures: Mapping[str, Callable[[Axes], Any]], folder: Path) -> list[str]:
    """Write them as PNG, each whole or not at all; returns their names."""
    from matplotlib.figure import Figure

    for name, draw in pictures.items():
        # Not through pyplot: a job has no display, and nobody to close its figures.
        figure = Figure(figsize=(9, 5.5), layout="constrained", facecolor="white")
        draw(figure.add_subplot())
        with new_file(folder / f"{name}.png") as path:
            figure.savefig(path, format="png", dpi=120, metadata={"Software": None})
    return [f"{name}.png" for name in pictures]


def _later(
    draw: Draw, table: pd.DataFrame, *arguments: Any, **options: Any
) -> Callable[[Axes], Any]:
    return lambda ax: draw(table, *arguments, ax=ax, **options)
