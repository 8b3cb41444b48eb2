"""Raw columns to ids, wall times and amounts, as table expressions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ibis
import ibis.expr.datatypes as dt

from clvpredict.errors import Problem
from clvpredict.transactions.problems import (
    no_text_in_place,
    no_zone_in_place,
    unsupported_type,
)

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from clvpredict.transactions.settings import Settings
    from clvpredict.transactions.sources import Source

# Amounts beyond this have no cents in a float, and are no amounts of money.
LARGEST_AMOUNT = 1e15


@dataclass
class Typed:
    """Transactions with typed columns.

    Parameters
    ----------
    table : Table
        ``id``; ``at``, wall time (a date or a timestamp without a zone; null if unreadable);
        ``amount``, float64; ``date_missing`` and ``amount_missing``, whether they were null
        when they came; ``zoned``, whether a text date named its zone; and the columns as they
        came, in ``raw_id``, ``raw_date`` and ``raw_amount``. Columns with problems are absent.
    problems : list of Problem
        Types that are not supported.
    zoned : bool
        Whether the dates are instants, converted to wall time.
    """

    table: ir.Table
    problems: list[Problem] = field(default_factory=list)
    zoned: bool = False

    def has(self, *columns: str) -> bool:
        """Whether the table has all of these columns."""
        return set(columns) <= set(self.table.columns)


def type_columns(source: Source, table: ir.Table, settings: Settings) -> Typed:
    """Type the raw columns of a source."""
    columns: dict[str, ir.Value] = {}
    typed = Typed(table)
    names = settings.names
    if "id" in table.columns:
        _add_id(columns, table["id"], names["id"], typed)
    if "date" in table.columns:
        _add_date(columns, table["date"], names["date"], typed, source.backend, settings.timezone)
    if "amount" in table.columns:
        _add_amount(columns, table["amount"], names["amount"], typed, source.backend)
    for role in table.columns:
        columns[f"raw_{role}"] = table[role]
        if role != "id":
            columns[f"{role}_missing"] = table[role].isnull()
    typed.table = table.select(**columns)
    return typed


def whole_number(text: ir.StringValue) -> ir.BooleanValue:
    """Whether text is an integer as a computer writes it, so that it may be one ("007" is not)."""
    return (text.try_cast("int64").cast("string") == text).fill_null(False)


def _add_id(columns: dict[str, Any], raw: ir.Value, name: str, typed: Typed) -> None:
    kind = raw.type()
    if kind.is_integer() or kind.is_string() or kind.is_uuid() or kind.is_binary():
        columns["id"] = raw
    else:
        typed.problems.append(unsupported_type("id", name, str(kind)))


def _add_date(
    columns: dict[str, Any], raw: Any, name: str, typed: Typed, backend: str, zone: str
) -> None:
    kind = raw.type()
    if kind.is_date() or (kind.is_timestamp() and kind.timezone is None):
        columns["at"] = _within_calendar(raw)
    elif kind.is_timestamp() and backend != "duckdb":
        typed.problems.append(no_zone_in_place(name, backend))
    elif kind.is_timestamp():
        columns["at"] = _within_calendar(_wall_time(ibis.literal(zone), raw))
        typed.zoned = True
    elif kind.is_string() and backend != "duckdb":
        typed.problems.append(no_text_in_place("date", name, backend))
    elif kind.is_string():
        columns["at"], columns["zoned"] = _read_text(raw, zone)
    else:
        typed.problems.append(unsupported_type("date", name, str(kind)))


def _add_amount(
    columns: dict[str, Any], raw: ir.Value, name: str, typed: Typed, backend: str
) -> None:
    kind = raw.type()
    if kind.is_string() and backend != "duckdb":
        typed.problems.append(no_text_in_place("amount", name, backend))
    elif kind.is_string():
        columns["amount"] = raw.try_cast("float64")
    elif kind.is_floating() or kind.is_integer() or kind.is_decimal():
        columns["amount"] = raw.cast("float64")
    else:
        typed.problems.append(unsupported_type("amount", name, str(kind)))


def _within_calendar(at: Any) -> Any:
    """Null for what Python and pandas have no date for: infinity, BC, the year 10000."""
    first, last = ibis.date("0001-01-01"), ibis.date("9999-12-31")
    if at.type().is_timestamp():
        last = ibis.timestamp("9999-12-31 23:59:59")
        first = ibis.timestamp("0001-01-01 00:00:00")
    return ibis.cases((at.between(first, last), at))


def _read_text(raw: Any, zone: str) -> tuple[Any, Any]:
    """Read ISO 8601 dates and times, with or without an offset, and yyyymmdd.

    The engine's cast to a timestamp ignores offsets and whatever else follows the time, so
    text with a letter or a sign there goes through the cast that does not. It also reads
    'epoch', 'infinity' and years that Python has no date for, which the shape rules out.
    """
    text = raw.strip()
    named = text.substr(11).re_search("[A-Za-z(+-]") | text.substr(10, 1).isin(["Z", "+", "-"])
    zoned = (text.length() > 10) & named
    instant = _wall_time(ibis.literal(zone), text.try_cast(dt.Timestamp(timezone="UTC")))
    has_year = (text >= "0001") & (text < ":")  # a colon follows 9
    separated = has_year & text.substr(4, 1).isin(["-", "/"])
    at = ibis.cases(
        (separated & zoned, instant),
        (separated, text.try_cast(dt.timestamp)),
        (has_year & (text.length() == 8), _strptime(text, ibis.literal("%Y%m%d"))),
    )
    return at, (separated & zoned).fill_null(False)


_wall_time: Any = ibis.udf.scalar.builtin(
    lambda zone, instant: None,
    name="timezone",
    signature=((dt.string, dt.Timestamp(timezone="UTC")), dt.timestamp),
)
_strptime: Any = ibis.udf.scalar.builtin(
    lambda text, pattern: None,
    name="try_strptime",
    signature=((dt.string, dt.string), dt.timestamp),
)


def cut(at: Any, settings: Settings) -> Any:
    """The day (the hour when ``collapse="h"``) of a wall time: what start and end compare with."""
    if settings.collapse == "h":
        return at.cast("timestamp").truncate("h")
    return at if at.type().is_date() else at.date()


def period(day: Any, settings: Settings) -> Any:
    """The start of the collapse period that holds a day or an hour; weeks start on Monday."""
    return day.truncate("W") if settings.collapse == "W" else day


def moment(value: Any, settings: Settings) -> Any:
    """A day or an hour as a literal."""
    return ibis.timestamp(value) if settings.collapse == "h" else ibis.date(value)
