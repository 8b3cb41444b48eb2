"""How pictures look: colours, axes, legends, and what is said when there is nothing to draw.

Nothing here changes matplotlib's settings: a user's style (a dark background, larger letters)
stays in force, and every colour that is not a series' own is taken from the Axes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.errors import DataError, OptionError, Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

#: From the palette of Okabe & Ito, which people with any colour vision can tell apart; each of
#: these is legible on white and on black, and each series has a marker of its own besides.
SERIES = (("#0072B2", "s"), ("#D55E00", "D"), ("#009E73", "^"), ("#CC79A7", "v"))
#: The rest of that palette but its yellow, which cannot be seen on white.
_MORE = ("#E69F00", "#56B4E9")
#: The round marker is what was observed.
_MARKERS = ("s", "D", "^", "v", "P", "X", "*")
FAINT = "#8A8A8A"
BAND_ALPHA = 0.25
#: Bands of more models than this hide one another.
MOST_BANDS = 3

#: Rules of thumb are no series of their own: faint, each with a line of its own.
_RULES = {"naive": "--", "last period": "-.", "random": "-", "oracle": ":"}

#: With more entries than this, a legend stands beside the picture and not inside it.
_ENTRIES_INSIDE = 8
_ENTRIES_A_COLUMN = 24
_WIDTH_OF_COLUMN = 2.0


def series(number: int) -> tuple[str, str]:
    """Colour and marker of a series; the first 42 (6 colours × 7 markers) all differ."""
    colours = (*(colour for colour, _ in SERIES), *_MORE)
    return colours[number % len(colours)], _MARKERS[number % len(_MARKERS)]


def looks(models: Iterable[str]) -> list[dict[str, Any]]:
    """Colour, marker and line of each model, as keywords of ``Axes.plot``."""
    found: list[dict[str, Any]] = []
    fitted = 0
    for model in models:
        if model in _RULES:
            found.append({"color": FAINT, "marker": ".", "ls": _RULES[model]})
            continue
        colour, marker = series(fitted)
        found.append({"color": colour, "marker": marker, "ls": "-"})
        fitted += 1
    return found


def ink(ax: Axes) -> Any:
    """Return the colour of the text, which stands out on any background."""
    return ax.xaxis.label.get_color()


def new_axes(figsize: tuple[float, float] = (8, 5), *, entries: int = 0) -> Axes:
    """Axes of a figure of their own, wider where a legend of many entries stands beside them.

    Parameters
    ----------
    figsize : (float, float)
        Width and height in inches, without such a legend.
    entries : int
        Of the legend.

    Returns
    -------
    Axes
    """
    # Through pyplot, so that a notebook shows it; jobs that draw much pass an ax of their own.
    import matplotlib.pyplot as plt

    beside = _WIDTH_OF_COLUMN * _columns(entries) if entries > _ENTRIES_INSIDE else 0.0
    size = (figsize[0] + beside, figsize[1])
    return plt.subplots(figsize=size, layout="constrained")[1]


def _columns(entries: int) -> int:
    return -(-entries // _ENTRIES_A_COLUMN)


def finish(
    ax: Axes,
    *,
    legend: str | None = "best",
    grid: Literal["x", "y", "both"] | None = "y",
    headroom: float = 0.0,
) -> None:
    """No box, a faint grid behind the data, and a legend where there is room for it.

    Parameters
    ----------
    ax : Axes
        With everything drawn and labelled.
    legend : str or None
        Where, in matplotlib's words; beside the picture where it is long; None for none.
    grid : {"x", "y", "both"} or None
        Across which axis lines run.
    headroom : float
        Share of the height to leave free above the data, for a legend.
    """
    ax.spines[["top", "right"]].set_visible(False)
    if grid is not None:
        ax.grid(axis=grid, alpha=0.25)
    ax.set_axisbelow(True)
    if headroom:
        bottom, top = ax.get_ylim()
        ax.set_ylim(bottom, top + headroom * (top - bottom))
    entries = len(ax.get_legend_handles_labels()[1])
    if legend is None or not entries:
        return
    look: dict[str, Any] = {"loc": legend, "framealpha": 0.75}
    if entries > _ENTRIES_INSIDE:
        columns = _columns(entries)
        look = {
            "loc": "upper left",
            "bbox_to_anchor": (1.01, 1.0),
            "borderaxespad": 0.0,
            "fontsize": "small" if columns == 1 else "x-small",
            "ncols": columns,
            "labelspacing": 0.3,
            "handlelength": 1.5,
            "columnspacing": 1.0,
            "framealpha": 0.0,
        }
    ax.legend(
        facecolor=ax.get_facecolor(), edgecolor="none", labelcolor=ink(ax), numpoints=1, **look
    )


def band(
    ax: Axes,
    x: npt.ArrayLike,
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    *,
    colour: Any = FAINT,
    label: str | None = None,
    step: Literal["pre", "post", "mid"] | None = None,
) -> None:
    """Shade what lies between two lines, so that lines and bands below still show."""
    x = np.asarray(x)
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    if len(x) == 1:  # which has no area
        ax.vlines(x, low, high, color=colour, alpha=0.5, lw=6, label=label or "")
        return
    ax.fill_between(
        x,
        low,
        high,
        color=colour,
        alpha=BAND_ALPHA,
        lw=0,
        label=label,
        step=step,
        zorder=1,
    )


def note(ax: Axes, text: str, *, x: float = 0.98, y: float = 0.03) -> None:
    """Small text inside the picture, by default in the lower right corner."""
    ax.text(
        x,
        y,
        text,
        transform=ax.transAxes,
        ha="right" if x > 0.5 else "left",
        va="bottom" if y < 0.5 else "top",
        fontsize="small",
        color=ink(ax),
    )


def nothing(ax: Axes, why: str) -> None:
    """Say in the middle of an empty picture why it is empty."""
    ax.text(0.5, 0.5, why, transform=ax.transAxes, ha="center", va="center", color=ink(ax))
    ax.set_xticks([])
    ax.set_yticks([])


# --- numbers on axes -------------------------------------------------------------------------


def number(value: float) -> str:
    """``1234567.0`` as ``"1,234,567"``, ``-0.25`` as ``"−0.25"``."""
    return f"{value:,.12g}".replace("-", "\N{MINUS SIGN}")


def thousands(axis: Axis) -> None:
    """Numbers with thousands separators, and without powers of ten."""
    _formatted(axis, number)


def percent(axis: Axis) -> None:
    """Shares in 0..1 as percentages."""
    _formatted(axis, lambda value: f"{number(round(100 * value, 6))} %")


def dates(axis: Axis) -> None:
    """As many dates as fit; what they share stands once, at the end of the axis."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=9)  # type: ignore[no-untyped-call]
    axis.set_major_locator(locator)
    axis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def plain(ax: Axes) -> None:
    """Numbers on a logarithmic axis as people write them, and none between."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    def write(value: float) -> str:
        return (
            number(value)
            if value >= 1
            else np.format_float_positional(value, 3, fractional=False, trim="-")
        )

    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _formatted(axis: Axis, write: Callable[[float], str]) -> None:
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))


# --- heat maps -------------------------------------------------------------------------------


def heat(
    ax: Axes,
    values: npt.ArrayLike,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    write: Callable[[float], str] = number,
    centred: bool = False,
    label: str = "",
    hatched: npt.ArrayLike | None = None,
) -> None:
    """Draw a matrix as colours, with the numbers in the cells while they are legible.

    Parameters
    ----------
    ax : Axes
        Where to draw; gets a colour bar, unless all numbers are the same.
    values : array-like, shape (len(rows), len(columns))
        NaN where there is nothing; such cells stay empty.
    rows, columns : sequence of str
        Labels, from the top and from the left.
    write : callable
        Text of a number.
    centred : bool
        Colours diverge from 0, equally far on both sides; else they rise from low to high.
    label : str
        What the colours mean, with the unit.
    hatched : array-like of bool, shape (len(rows), len(columns)), optional
        Cells to hatch.
    """
    from matplotlib import colormaps
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    matrix = np.asarray(values, dtype=np.float64).reshape(len(rows), len(columns))
    finite = matrix[np.isfinite(matrix)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if centred:
        high = max(abs(low), abs(high)) or 1.0
        low = -high
    scale, colours = Normalize(low, high), colormaps["PuOr" if centred else "cividis"]
    shown = ax.pcolormesh(
        np.arange(len(columns) + 1) - 0.5,
        np.arange(len(rows) + 1) - 0.5,
        np.ma.masked_invalid(matrix),
        cmap=colours,
        norm=scale,
        rasterized=True,
    )
    ax.set_ylim(len(rows) - 0.5, -0.5)
    _ticks(ax.xaxis, columns)
    _ticks(ax.yaxis, rows)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(False)
    if len(rows) <= 25 and len(columns) <= 16:
        for (row, column), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                red, green, blue, _ = colours(scale(value))
                bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.55
                # Against the cell and not the background of the picture.
                on_it = "#111111" if bright else "#F5F5F5"
                ax.text(
                    column, row, write(value), ha="center", va="center", color=on_it, fontsize=9
                )
    if hatched is not None:
        marked = np.asarray(hatched, dtype=bool).reshape(matrix.shape)
        for row, column in np.argwhere(marked).tolist():
            corner = (column - 0.5, row - 0.5)
            cell = Rectangle(corner, 1, 1, fill=False, hatch="///", edgecolor=FAINT, lw=0)
            ax.add_patch(cell)
    if low == high:
        return  # one colour says nothing
    bar = ax.figure.colorbar(shown, ax=ax, label=label)
    bar.outline.set_visible(False)
    bar.ax.yaxis.label.set_color(ink(ax))
    thousands(bar.ax.yaxis)


def _ticks(axis: Axis, labels: Sequence[str]) -> None:
    # Not more than can be read.
    every = -(-len(labels) // 30)
    axis.set_ticks(range(0, len(labels), every), labels=list(labels[::every]))


# --- words -----------------------------------------------------------------------------------


def short(count: float) -> str:
    """Write a count that must be short: ``"1,411"``, ``"250 k"``, ``"1.2 M"``."""
    if count < 100_000:
        return number(count)
    return f"{count / 1e3:.0f} k" if count < 999_500 else f"{count / 1e6:,.3g} M"


def length(table: pd.DataFrame) -> str:
    """Return how long the holdout is: ``"39 weeks"``, or ``"holdout"`` where it is not known."""
    duration = table.attrs.get("duration_holdout")
    if duration is None:
        return "holdout"
    return f"{duration:.4g} {table.attrs.get('time_unit') or 'periods'}"


def holdout(table: pd.DataFrame) -> str:
    """Return ``"the 39 weeks after 1997-09-30"``, or what is known of it."""
    end = table.attrs.get("calibration_end")
    return f"the {length(table)} after {str(end)[:10] if end else 'calibration'}"


# --- what is drawn ---------------------------------------------------------------------------


def check_table(table: Any, columns: Sequence[str], plot: str, made_by: str) -> pd.DataFrame:
    """Return the table, if it is one that this plot draws.

    Parameters
    ----------
    table : DataFrame
        What was given.
    columns : sequence of str
        What it must have.
    plot, made_by : str
        The plot's name, and the call that makes its table, e.g.
        ``"clvpredict.evaluate.pit_table(model, split)"``.

    Raises
    ------
    OptionError
        If it is no table, or lacks columns.
    DataError
        If it has no rows.
    """
    if not isinstance(table, pd.DataFrame):
        raise OptionError(
            f"{plot} draws the table that {made_by} returns; {type(table).__name__} came."
        )
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise OptionError(
            f"{plot} draws the table that {made_by} returns; this one lacks "
            f"{', '.join(map(repr, missing))}. It has: {', '.join(map(str, table.columns))}."
        )
    if table.empty:
        raise DataError(f"table of {plot}", [Problem("no rows", made_by)])
    return table


def each(table: pd.DataFrame, column: str = "model") -> list[tuple[str, pd.DataFrame]]:
    """Split a table by a column (missing values too), in the order of first appearance."""
    return [(str(name), rows) for name, rows in table.groupby(column, sort=False, dropna=False)]


def one_kind(table: pd.DataFrame, plot: str) -> str:
    """Return what the table is of: ``"purchases"`` (also where it does not say) or ``"value"``.

    Raises
    ------
    OptionError
        If it is of both, which one axis cannot have.
    """
    kinds = table["of"].drop_duplicates().tolist() if "of" in table else ["purchases"]
    if len(kinds) > 1:
        listed = " and ".join(map(repr, kinds))
        raise OptionError(
            f"{plot} draws one quantity, and the table is of {listed}: give "
            f"table[table['of'] == {kinds[0]!r}]."
        )
    return str(kinds[0])
