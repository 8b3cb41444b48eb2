"""How pictures look."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: From the palette of Okabe & Ito, which people with any colour vision can tell apart; each of
#: these is legible on white and on black, and each series has a marker of its own besides.
SERIES = (("#0072B2", "s"), ("#D55E00", "D"), ("#009E73", "^"), ("#CC79A7", "v"))
FAINT = "#8A8A8A"


def finish(ax: Axes) -> None:
    """No box, and room for the legend above the bars."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_ylim(top=1.25 * ax.get_ylim()[1])
    ax.legend(frameon=False, loc="upper right")


def new_axes() -> Axes:
    """Axes of a figure of their own."""
    # Through pyplot, so that a notebook shows it; jobs that draw much pass an ax of their own.
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(8, 5), layout="constrained")[1]
