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
    roles = table.columns
    if "date" in roles:
        _add_date(columns, names["date"], typed, source.backend, settings.timezone)
    if "id" in roles:
        _add_id(columns, names["id"], typed)
    if "amount" in roles:
        _add_amount(columns, names["amount"], typed, source.backend)
    if "label" in roles:
        _add_label(columns, names["label"], typed)
    for role in roles:
        columns[f"raw_{role}"] = typed.table[role]
        if role != "id":
            columns[f"{role}_missing"] = typed.table[role].isnull()
    typed.table = typed.table.select(**columns)
    return typed


def whole_number(text: ir.StringValue) -> ir.BooleanValue:
    """Whether text is an integer as a computer writes it, so that it may be one ("007" is not)."""
    return (text.try_cast("int64").cast("string") == text).fill_null(False)


def _add_id(columns: dict[str, Any], name: str, typed: Typed) -> None:
    raw = typed.table["id"]
    kind = raw.type()
    if kind.is_integer() or kind.is_string() or kind.is_uuid() or kind.is_binary():
        columns["id"] = raw
    else:
        typed.problems.append(unsupported_type("id", name, str(kind)))


def _add_date(columns: dict[str, Any], name: str, typed: Typed, backend: str, zone: str) -> None:
    raw: Any = typed.table["date"]
    if "TIMESTAMPTZ_NS" in str(raw.type()):  # a type of DuckDB 2 that Ibis 12 does not know
        raw = raw.cast(dt.Timestamp(timezone="UTC"))
    kind = raw.type()
    if kind.is_date() or (kind.is_timestamp() and kind.timezone is None):
        if kind.is_timestamp() and kind.scale not in (None, 6):
            raw = raw.cast("timestamp(6)")  # nanoseconds do not reach the bounds below
        columns["at"] = _within_calendar(raw) if backend == "duckdb" else raw
    elif kind.is_timestamp() and backend != "duckdb":
        typed.problems.append(no_zone_in_place(name, backend))
    elif kind.is_timestamp():
        columns["at"] = _within_calendar(_wall_time(ibis.literal(zone), raw))
        typed.zoned = True
    elif kind.is_string() and backend != "duckdb":
        typed.problems.append(no_text_in_place("date", name, backend))
    elif kind.is_string():
        typed.table, columns["at"], zoned = _read_text(typed.table, raw, zone)
        columns["zoned"] = zoned.fill_null(False)
    else:
        typed.problems.append(unsupported_type("date", name, str(kind)))


def _add_amount(columns: dict[str, Any], name: str, typed: Typed, backend: str) -> None:
    raw: Any = typed.table["amount"]
    kind = raw.type()
    if kind.is_string() and backend != "duckdb":
        typed.problems.append(no_text_in_place("amount", name, backend))
    elif kind.is_string():
        columns["amount"] = raw.try_cast("float64")
    elif kind.is_floating() or kind.is_integer() or kind.is_decimal():
        columns["amount"] = raw.cast("float64")
    else:
        typed.problems.append(unsupported_type("amount", name, str(kind)))


def _add_label(columns: dict[str, Any], name: str, typed: Typed) -> None:
    raw = typed.table["label"]
    kind = raw.type()
    if kind.is_integer() or kind.is_string():
        columns["label"] = raw
    else:
        typed.problems.append(unsupported_type("label", name, str(kind)))


def _within_calendar(at: Any) -> Any:
    """Null for what Python has no date for: DuckDB has infinity, BC and the year 10000."""
    first, last = ibis.date("0001-01-01"), ibis.date("9999-12-31")
    if at.type().is_timestamp():
        last = ibis.timestamp("9999-12-31 23:59:59")
        first = ibis.timestamp("0001-01-01 00:00:00")
    return ibis.cases((at.between(first, last), at))


def _read_text(table: Any, raw: Any, zone: str) -> tuple[Any, Any, Any]:
    """Read ISO 8601 dates and times, with or without an offset, and yyyymmdd.

    The engine's cast to a timestamp ignores offsets and whatever else follows the time, and
    reads 'epoch', 'infinity' and years that Python has no date for; so the shape decides.

    Returns
    -------
    Table, Value, Value
        The table with the shape as a column (computed once, by being in a table of its own),
        the wall time, and whether it was converted.
    """
    text = raw.strip()
    shape = ibis.cases(
        (text.re_search(_NAIVE), 1), (text.re_search(_ZONED), 2), (text.re_search(_COMPACT), 3)
    )
    table = table.mutate(shape=shape, text=text)
    instant = _wall_time(ibis.literal(zone), table.text.try_cast(dt.Timestamp(timezone="UTC")))
    at = ibis.cases(
        (table["shape"] == 1, table.text.try_cast(dt.timestamp)),
        (table["shape"] == 2, instant),
        (table["shape"] == 3, _strptime(table.text, ibis.literal("%Y%m%d"))),
    )
    return table, ibis.cases((table.text >= "0001", at)), table["shape"] == 2


_DAY = r"^\d{4}[-/]\d{1,2}[-/]\d{1,2}"
_TIME = r"[Tt ]\d{1,2}:\d{2}(:\d{2}([.]\d*)?)?"
_NAIVE = f"{_DAY}({_TIME})?$"
_ZONED = f"{_DAY}{_TIME} ?[A-Za-z+-][^(]*$"
_COMPACT = r"^\d{8}$"

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
