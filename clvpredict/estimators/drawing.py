"""How predictions draw, and which intervals they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypedDict, get_args

from clvpredict.errors import OptionError, refuse_unknown, unknown_option
from clvpredict.predict import Recalibration

IntervalKind = Literal["credible", "predictive"]
BOTH: tuple[IntervalKind, ...] = ("credible", "predictive")


class DrawOptions(TypedDict, total=False):
    """How predictions draw; see :class:`Drawing`."""

    draws: int
    seed: int
    progress: bool
    recalibration: Recalibration | None


@dataclass(frozen=True)
class Drawing:
    """How predictions draw.

    Parameters
    ----------
    draws : int
        Draws of the parameters, spread evenly over those of the fit; each also has one outcome
        of every customer.
    seed : int
        Equal seeds give equal results, whatever the order of the customers and the number of
        cores.
    progress : bool
        Show a progress bar.
    recalibration : Recalibration, optional
        What a backtest has taught (:func:`clvpredict.evaluate.recalibrate`); corrects
        expectations by its level, and predictive intervals by its curve.
    """

    draws: int = 500
    seed: int = 0
    progress: bool = False
    recalibration: Recalibration | None = None


def check_drawing(given: Mapping[str, Any]) -> Drawing:
    """Check the options.

    Raises
    ------
    OptionError
        For unknown names and values out of range.
    """
    refuse_unknown("drawing", given, [f.name for f in fields(Drawing)])
    drawing = Drawing(**given)
    for name, least in (("draws", 2), ("seed", 0)):
        value = getattr(drawing, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise OptionError(f"{name}={value!r} must be a whole number >= {least}.")
    given_recalibration = drawing.recalibration
    if not isinstance(given_recalibration, Recalibration | None):
        raise OptionError(
            f"recalibration={type(given_recalibration).__name__} must be what "
            "clvpredict.evaluate.recalibrate(backtest, ...) gives."
        )
    return drawing


def check_interval(interval: float | None, kinds: Sequence[str]) -> None:
    """Refuse what is no interval.

    Raises
    ------
    OptionError
        If the level is not between 0 and 1, or a kind is not known.
    """
    if interval is not None and not 0 < interval < 1:
        raise OptionError(f"interval={interval!r} must be between 0 and 1, e.g. 0.9.")
    if isinstance(kinds, str) or not kinds:
        raise OptionError(
            f"intervals={kinds!r} must be one or both of 'credible' and 'predictive', in a "
            "tuple, e.g. intervals=('predictive',)."
        )
    for kind in kinds:
        if kind not in get_args(IntervalKind):
            raise unknown_option("intervals", kind, get_args(IntervalKind))
