"""What tables say of customers: numbers, labels, units, currency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.errors import OptionError, UnitError
from clvpredict.options import TimeUnit
from clvpredict.rfm import PREDICTIONS_KEY, Array, provenance_of, require_column

Codes = npt.NDArray[np.intp]
#: Of a customer whose value is missing.
NO_CODE = -1
_MOST_SEGMENTS = 1_000


def labelled(column: pd.Series, known: Sequence[str] = ()) -> tuple[Codes, list[str], bool]:
    """Codes and names of a column's values, and whether their order means something.

    Parameters
    ----------
    column : Series
        A categorical keeps its order; other values are sorted.
    known : sequence of str
        Names that come first, and exist although nobody has them, unless the column is a
        categorical (a CSV does not know that it was one).

    Raises
    ------
    OptionError
        If there are more values than a table of segments can have.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        if len(column.cat.categories) > _MOST_SEGMENTS:
            column = column.cat.remove_unused_categories()
        values, codes = column.cat.categories, column.cat.codes.to_numpy().astype(np.intp)
        ordered, names = bool(column.cat.ordered), [text_of(v) for v in values]
        known = names
    else:
        codes, values = pd.factorize(column)
        ordered, names = False, [text_of(v) for v in values]
    if len(values) > _MOST_SEGMENTS:
        raise OptionError(
            f"column '{column.name}' has {len(values):,} values, too many for segments. Make "
            f"tiers of a number: segment_customers(table, by='value', of='{column.name}'); or "
            "group the values first."
        )
    rising = sorted(range(len(values)), key=lambda k: _sortable(values[k]))
    labels = list(dict.fromkeys([*known, *(names[k] for k in rising)]))
    # The last place is for those without a value, whose code is −1.
    place = np.array([*(labels.index(name) for name in names), NO_CODE], dtype=np.intp)
    return place[codes], labels, ordered


def _sortable(value: Any) -> tuple[bool, Any, str]:
    number = isinstance(value, int | float | np.number)
    return not number, value if number else 0, str(value)


def text_of(value: Any) -> str:
    """The name of a segment: of 2.0 it is ``"2"``, and of a day it has no midnight."""
    if isinstance(value, pd.Timestamp) and value == value.normalize():
        return str(value.date())
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


def floats(name: str, given: Any) -> tuple[float, ...]:
    """Several numbers of an option.

    Raises
    ------
    OptionError
        If they are none, or not finite.
    """
    try:
        found = tuple(float(value) for value in given)
    except (TypeError, ValueError):
        found = (np.nan,)
    if isinstance(given, str) or not found or not np.isfinite(found).all():
        raise OptionError(f"{name}={given!r} must be a list of finite numbers.")
    return found


def finite(name: str, given: Any, example: str) -> float:
    """A number of an option.

    Raises
    ------
    OptionError
        If it is none, or not finite.
    """
    number = isinstance(given, int | float | np.number) and not isinstance(given, bool)
    if not number or not np.isfinite(given):
        raise OptionError(f"{name}={given!r} must be a finite number, e.g. {example}.")
    return float(given)


def numbers(table: pd.DataFrame, column: str, purpose: str, *, infinite: bool = False) -> Array:
    """A column as numbers, NaN where missing.

    Raises
    ------
    OptionError
        If it is not there, is no number, or not finite (unless it may be ``infinite``).
    """
    values = require_column(table, column, purpose)
    try:
        out = values.to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"{purpose} needs numbers, and the column '{column}' is not of numbers "
            f"({values.dtype})."
        ) from error
    if not infinite and np.isinf(out).any():
        raise OptionError(f"column '{column}' is infinite for {int(np.isinf(out).sum()):,} rows.")
    return np.asarray(out)


def unit_of(table: pd.DataFrame) -> TimeUnit | None:
    """The time unit of predictions or of a summary, if they say it."""
    said = table.attrs.get(PREDICTIONS_KEY) or {}
    if said.get("time_unit"):
        return TimeUnit.parse(said["time_unit"])
    known = provenance_of(table)
    return None if known is None else known.unit


def currency_of(table: pd.DataFrame) -> str | None:
    """Label of the amounts, if the table knows it."""
    known = provenance_of(table)
    return None if known is None else known.currency


def between_units(stored: str | None, unit: TimeUnit | None) -> float:
    """What a length in a rule's unit is multiplied by for a table's."""
    if stored is None or unit is None:
        return 1.0
    return TimeUnit.parse(stored).days / unit.days


def known_unit_of(unit: TimeUnit | None, what: str) -> TimeUnit:
    """Return the unit.

    Raises
    ------
    UnitError
        If the table does not say it.
    """
    if unit is None:
        raise UnitError(
            f"{what} names a unit of time, but the table does not say its own. Give a number in "
            "the unit of T, or a table that model.predict(rfm, ...) returned, of a model fitted "
            "with time_unit='W' (or 'D', ...)."
        )
    return unit
