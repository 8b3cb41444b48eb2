"""The values of transactions, checked in one pass; examples are fetched only if there is need."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import ibis
import numpy as np

from clvpredict.errors import Problem
from clvpredict.transactions.columns import LARGEST_AMOUNT, cut, moment, whole_number
from clvpredict.transactions.engine import fetch, fetch_row

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from clvpredict.transactions.columns import Typed
    from clvpredict.transactions.settings import Settings
    from clvpredict.transactions.sources import Source

_LARGEST_FLOAT = float(np.finfo(np.float64).max)
_N_EXAMPLES = 5
# Amounts that are decimals of so many digits are summed as whole numbers.
DIGITS = (2, 4, 8)


@dataclass(frozen=True)
class Scan:
    """What one pass over the transactions found.

    Parameters
    ----------
    counts : dict of str to int
        Rows that are so and so; 0 for what was not looked for.
    first, last : date or datetime or None
        The first and last day (hour when ``collapse="h"``) of the data.
    total : float
        Sum of absolute amounts.
    """

    counts: dict[str, int]
    first: date | None = None
    last: date | None = None
    total: float = 0.0

    def __getitem__(self, name: str) -> int:
        return self.counts.get(name, 0)


def masks(table: Any, settings: Settings, *, text_ids: bool) -> dict[str, ir.BooleanValue]:
    """Rows with something wrong in them.

    Parameters
    ----------
    table : Table
        Some of ``id, at, amount, date_missing, amount_missing``.
    text_ids : bool
        Whether the ids' type is yet to be found out.
    """
    out: dict[str, Any] = {}
    if "id" in table.columns:
        out["null_id"] = table.id.isnull()
        if text_ids:
            out["text_id"] = table.id.notnull() & ~whole_number(table.id)
    if "at" in table.columns:
        day = cut(table.at, settings)
        out["null_date"] = table.date_missing
        out["bad_date"] = table.at.isnull() & ~table.date_missing
        if settings.start is not None:
            out["before"] = day < moment(settings.start, settings)
        if settings.end is not None:
            out["after"] = day > moment(settings.end, settings)
    if "amount" in table.columns:
        amount = table.amount
        size = amount.abs()
        out["null_amount"] = table.amount_missing | (size > _LARGEST_FLOAT)  # NaN is larger too
        out["bad_amount"] = amount.isnull() & ~table.amount_missing
        out["huge_amount"] = (size > LARGEST_AMOUNT) & (size <= _LARGEST_FLOAT)
        inside = window(day, settings) if "at" in table.columns else ibis.literal(True)
        out["negative"] = inside & (amount < 0)
        out["zero"] = inside & (amount == 0)
        out |= _beyond(amount, DIGITS[:1])
    if "zoned" in table.columns:
        out["zoned"] = table.zoned
    return out


def _beyond(amount: Any, some: tuple[int, ...]) -> dict[str, Any]:
    """Amounts with more digits behind the point."""
    return {f"beyond_{digits}": amount.round(digits) != amount for digits in some}


def window(day: Any, settings: Settings, end: date | None = None) -> Any:
    """Rows between the start and the end of observation; both count."""
    end = settings.end if end is None else end
    inside: Any = ibis.literal(True)
    if settings.start is not None:
        inside = inside & (day >= moment(settings.start, settings))
    if end is not None:
        inside = inside & (day <= moment(end, settings))
    return inside


def scan(table: Any, settings: Settings, *, text_ids: bool) -> Scan:
    """Look at every row once; the parameters are those of :func:`masks`."""
    wrong = masks(table, settings, text_ids=text_ids)
    wanted = {"rows": table.count()} | {k: table.count(where=v) for k, v in wrong.items()}
    if "at" in table.columns:
        day = cut(table.at, settings)
        wanted |= {"first": day.min(), "last": day.max()}
    if "amount" in table.columns:
        wanted["total"] = table.amount.abs().sum()
    row = fetch_row(table.aggregate(**wanted))
    if row.get(f"beyond_{DIGITS[0]}"):  # not cents, so look further
        more = {k: table.count(where=v) for k, v in _beyond(table.amount, DIGITS[1:]).items()}
        row |= fetch_row(table.aggregate(**more))
    first, last, total = (row.pop(k, None) for k in ("first", "last", "total"))
    return Scan({k: int(v) for k, v in row.items()}, first, last, total or 0.0)


def value_problems(found: Scan, source: Source, typed: Typed, settings: Settings) -> list[Problem]:
    """Turn what was found into problems, with examples."""
    if found["rows"] == 0:
        return [Problem("there are no rows", "give at least one transaction")]
    names = settings.names
    column = {role: f"transactions[{name!r}]" for role, name in names.items()}
    texts = {
        "null_id": ("'{id}' is missing", "transactions = transactions[{c_id}.notna()]"),
        "null_date": ("'{date}' is missing", "transactions = transactions[{c_date}.notna()]"),
        "bad_date": (
            "'{date}' cannot be read as a date (ISO 8601 or yyyymmdd, years 1 to 9999)",
            '{c_date} = pd.to_datetime({c_date}, format="...")   # e.g. "%d/%m/%Y"',
        ),
        "null_amount": (
            "'{amount}' is missing or not finite",
            "transactions = transactions[np.isfinite({c_amount})], or say amount=None",
        ),
        "bad_amount": (
            "'{amount}' cannot be read as a number",
            "{c_amount} = pd.to_numeric({c_amount}.str.replace(...))   # currency, thousands, ...",
        ),
        "huge_amount": (
            f"'{{amount}}' is beyond {LARGEST_AMOUNT:g}, where floats have no cents",
            "correct these rows, or change the unit: {c_amount} = {c_amount} / 1e6",
        ),
        "negative": (
            "'{amount}' is negative (returns='error')",
            "say returns='net' (reduce that period's value) or returns='drop'",
        ),
        "after": (
            f"'{{date}}' is after observation_end={settings.end} (strict=True)",
            "set a later observation_end, or strict=False to leave these rows out",
        ),
    }
    words = {**names, **{f"c_{role}": text for role, text in column.items()}}
    ignored = set() if settings.strict else {"after"}
    ignored |= set() if settings.returns == "error" else {"negative"}
    wrong = masks(typed.table, settings, text_ids=False)
    return [
        Problem(
            what.format(**words),
            fix.format(**words),
            found[name],
            examples(source, typed, wrong[name], settings),
        )
        for name, (what, fix) in texts.items()
        if found[name] and name not in ignored
    ]


def window_problems(found: Scan, settings: Settings) -> list[Problem]:
    """Dates given as options that contradict each other or the data."""
    first, last, start = found.first, found.last, settings.start
    end = last if settings.end is None else settings.end
    if first is None or last is None or end is None:
        return []
    problems = []
    data = f"the data are from {first} to {last}"
    if start is not None and start > end:
        problems.append(
            Problem(
                f"observation_start={start} is after the end of observation, {end}",
                f"choose an earlier one; {data}",
            )
        )
    elif found["before"] + found["after"] == found["rows"]:
        problems.append(Problem("no rows within the observation window", f"widen it; {data}"))
    cal = settings.calibration_end
    if cal is None:
        return problems
    if cal >= end:
        problems.append(
            Problem(
                f"calibration_end={cal} is not before the end of observation, {end}",
                f"choose an earlier calibration_end or a later observation_end; {data}",
            )
        )
    if not max(first, start or first) <= cal <= last:
        problems.append(
            Problem(f"calibration_end={cal} is not within the data", f"choose a date; {data}")
        )
    return problems


def examples(source: Source, typed: Typed, mask: Any, settings: Settings) -> list[str]:
    """Describe up to five rows, as they came."""
    raw = {f"raw_{role}": name for role, name in settings.names.items()}
    shown = {column: name for column, name in raw.items() if typed.has(column)}
    columns = {c: typed.table[c].cast("string") for c in shown} | {"wrong": mask}
    if source.engine is not None:  # elsewhere, rows have no order
        columns["row"] = ibis.row_number()
    table: Any = typed.table.select(**columns)
    picked = fetch(table.filter(table.wrong).limit(_N_EXAMPLES)).to_pylist()
    return [
        (f"row {row['row']}: " if "row" in row else "")
        + ", ".join(f"{name}={_shown(row[c])}" for c, name in shown.items())
        for row in picked
    ]


def with_access(problems: list[Problem], access: str) -> list[Problem]:
    """Say first how to get a pandas frame, where a fix needs one."""
    return [
        replace(p, fix=access + p.fix)
        if "transactions[" in p.fix and ".mutate(" not in p.fix
        else p
        for p in problems
    ]


def _shown(value: str | None) -> str:
    return "null" if value is None else repr(value)
