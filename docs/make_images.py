"""Draw the pictures of the documentation: ``python docs/make_images.py``.

The layers are drawn from the list below, which a test compares with the contract that
import-linter enforces; the calibration picture is the one of ``make demo``.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IMAGES = Path(__file__).parent / "images"

# From top to bottom: the modules of a layer, and what they do.
LAYERS = [
    ("demo", "the main job on the sample data, with a test of it"),
    ("cli", "the command line"),
    ("refit", "the scheduled job: read, check, fit, judge, publish"),
    ("plots · store · datasets", "pictures of tables; files, whole or not at all; sample data"),
    ("estimators", "what users hold: they check, delegate and label"),
    ("evaluate · business", "beside unseen purchases · predictions to decisions"),
    ("value", "purchases and spend into money: discounting, margins"),
    ("predict · simulate", "P(alive), expected purchases; bases of known truth"),
    ("inference", "maximum likelihood, standard errors: once, for every model"),
    ("models  |  transactions", "formulas of the papers  |  table expressions"),
    ("rfm", "the summary, its checks, its exact compression"),
    ("special · options · atomic", "numerics; units and named choices; files whole or not at all"),
    ("errors", "every error and warning"),
]
# The data's way: the layer that makes the thing, the thing, and how.
WAY = [
    ("models  |  transactions", "transactions", "frames, CSV, Parquet, Ibis tables"),
    ("rfm", "RFM summary", "one row per customer, with provenance"),
    ("inference", "fit", "estimates, covariance, convergence"),
    ("predict · simulate", "expected purchases", "each distinct history once"),
    ("value", "CLV", "expected spend, discounting, margin"),
    ("estimators", "predictions", "one row per customer, with metadata"),
    ("plots · store · datasets", "CSV, Parquet, model, picture", "written whole or not at all"),
]

_BAND, _BOX, _TEXT, _FAINT = "#E8EEF5", "#0072B2", "#1A1A1A", "#5A5A5A"
_STEP = 1.0
_LEFT, _RIGHT = (0.0, 7.6), (8.5, 12.9)


def draw_layers(ax: Axes) -> None:
    """Draw the layers as bands, and the data's way past them."""
    from matplotlib.patches import FancyBboxPatch

    def box(x: tuple[float, float], y: float, height: float, **style: object) -> None:
        ax.add_patch(
            FancyBboxPatch(
                (x[0], y - height / 2),
                x[1] - x[0],
                height,
                boxstyle="round,pad=0,rounding_size=0.12",
                **style,
            )
        )

    height = {name: -_STEP * i for i, (name, _) in enumerate(LAYERS)}
    for name, what in LAYERS:
        y = height[name]
        box(_LEFT, y, 0.8, facecolor=_BAND, edgecolor="none")
        ax.text(0.2, y + 0.15, name, weight="bold", color=_TEXT, va="center", fontsize=11)
        ax.text(0.2, y - 0.18, what, color=_FAINT, va="center", fontsize=9)

    middle = sum(_RIGHT) / 2
    for layer, thing, how in WAY:
        y = height[layer]
        box(_RIGHT, y, 0.8, facecolor="white", edgecolor=_BOX, linewidth=1.4)
        ax.text(middle, y + 0.15, thing, weight="bold", color=_BOX, va="center", ha="center")
        ax.text(middle, y - 0.18, how, color=_FAINT, va="center", ha="center", fontsize=9)
        ax.plot([_LEFT[1], _RIGHT[0]], [y, y], color=_BOX, lw=0.9, ls=":")
    for (start, *_), (end, *_) in itertools.pairwise(WAY):
        if (start, end) == ("rfm", "inference"):
            continue  # past the transactions: drawn below
        edge = 0.4 if height[end] > height[start] else -0.4
        tail, head = height[start] + edge, height[end] - edge
        ax.annotate("", (middle, head), (middle, tail), arrowprops=_arrow())
    # Models are fitted on the summary, and predict for the customers of a summary.
    aside, bottom = _RIGHT[1] + 0.35, height["rfm"]
    users = [height["inference"], height["predict · simulate"]]
    ax.plot([_RIGHT[1], aside, aside], [bottom, bottom, max(users)], color=_BOX, lw=1.3)
    for y in users:
        ax.annotate("", (_RIGHT[1], y), (aside, y), arrowprops=_arrow())

    ax.text(_LEFT[0], 0.85, "Layers: imports point down only", weight="bold", fontsize=12)
    ax.text(_RIGHT[0], 0.85, "The data's way", weight="bold", fontsize=12)
    ax.set(xlim=(-0.2, 13.5), ylim=(height["errors"] - 0.6, 1.3))
    ax.set_axis_off()


def _arrow() -> dict[str, object]:
    return {"arrowstyle": "-|>", "color": _BOX, "lw": 1.3, "shrinkA": 0, "shrinkB": 0}


def draw_calibration(path: Path) -> None:
    """Fit on CDNOW's first 39 weeks, and draw predictions beside the next 39."""
    import pandas as pd

    import clvpredict as clv
    from clvpredict.evaluate import calibration_table
    from clvpredict.plots import plot_calibration

    split = clv.calibration_holdout(
        clv.load_cdnow(),
        calibration_end="1997-09-30",
        observation_end="1998-06-30",
        time_unit="W",
    )
    models = [clv.BGNBD().fit(split), clv.MBGNBD().fit(split)]
    ax = plot_calibration(pd.concat([calibration_table(model, split) for model in models]))
    ax.figure.savefig(path, dpi=120, metadata={"Software": None})


def main() -> None:
    """Draw all of them."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    IMAGES.mkdir(exist_ok=True)
    # Equal drawings give equal files; text stays text.
    mpl.rcParams |= {"svg.hashsalt": "clvpredict", "svg.fonttype": "none"}
    figure = Figure(figsize=(11, 8.8), layout="constrained", facecolor="white")
    draw_layers(figure.add_subplot())
    figure.savefig(IMAGES / "architecture.svg", metadata={"Date": None, "Creator": None})
    draw_calibration(IMAGES / "calibration.png")


if __name__ == "__main__":
    main()
