"""Typed transactions to one row per customer: the main query, and its result as a summary."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import ibis.expr.datatypes as dt
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from clvpredict.errors import DataError, DataWarning, Problem, notify
from clvpredict.rfm import Provenance, RFMSummary, with_provenance
from clvpredict.transactions.checks import (
    DIGITS,
    Scan,
    scan,
    value_problems,
    window,
    window_problems,
    with_access,
)
from clvpredict.transactions.columns import cut, moment, period, type_columns
from clvpredict.transactions.engine import fetch, fetch_row
from clvpredict.transactions.sources import opened

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from clvpredict.transactions.columns import Typed
    from clvpredict.transactions.settings import Settings
    from clvpredict.transactions.sources import Source


# Backends whose argmin is tested. That of Ibis for SQLite is wrong beside a max.
_ARGMIN = ("duckdb", "polars")


def summarise(transactions: object, settings: Settings) -> RFMSummary:
    """Check transactions and summarise them."""
    with opened(transactions, settings.names) as source:
        ready = prepare(source, settings)
        if settings.start is not None:
            warn_of_known_customers(ready, settings)
        query = customers(ready, settings)
        result = fetch(query)
        id_type = query.schema()["id"]
    return to_summary(result, id_type, ready, settings)


@dataclass(frozen=True)
class Ready:
    """Transactions without problems.

    Parameters
    ----------
    rows : Table
        ``id``, ``at`` and ``amount``.
    found : Scan
        Counts of them.
    end : date or datetime
        The last day (or hour) observed.
    zoned : bool
        Whether dates were converted to wall time.
    backend : str
        Name of the Ibis backend that has them.
    """

    rows: ir.Table
    found: Scan
    end: date
    zoned: bool
    backend: str = "duckdb"


def prepare(source: Source, settings: Settings) -> Ready:
    """Type, check and, where they are text, keep the columns.

    Raises
    ------
    DataError
        Listing every problem.
    """
    problems = list(source.problems)
    found = Scan({})
    if source.table is not None:
        typed = type_columns(source, source.table, settings)
        problems += typed.problems
        if typed.has("id") or typed.has("at") or typed.has("amount"):
            rows = parsed(source, typed)
            found = scan(rows, settings, text_ids=source.text)
            problems += value_problems(found, source, typed, settings)
            problems += window_problems(found, settings)
    if problems:
        raise DataError("transactions", with_access(problems, source.access))
    if source.text and not found["text_id"]:
        rows = rows.mutate(id=rows.id.cast("int64"))
    end = settings.end or found.last
    assert end is not None  # there are rows, with dates
    return Ready(rows, found, end, typed.zoned or found["zoned"] > 0, source.backend)


def parsed(source: Source, typed: Typed) -> ir.Table:
    """The typed columns without the raw ones; text is parsed once, into a table of the engine."""
    rows = typed.table.select([c for c in typed.table.columns if not c.startswith("raw_")])
    if source.engine is not None and (source.text or typed.has("zoned")):
        return source.engine.materialise(rows)
    return rows


@dataclass(frozen=True)
class Coding:
    """How amounts are added up: exactly, so that neither order nor threads change a digit.

    Floats are not: 0.1 + 0.2 - 0.3 > 0, and sums depend on the order. Amounts that are
    decimals of up to 8 digits are added as whole numbers (29.33 -> 2933) of which floats have
    53 bits, others as decimals of 38 digits, as many of them behind the point as the total
    allows.

    Parameters
    ----------
    digits : int
        Digits behind the decimal point.
    whole : bool
        True for whole numbers of 10**-digits, False for decimals.
    """

    digits: int
    whole: bool

    @classmethod
    def choose(cls, found: Scan) -> Coding:
        """Choose what is exact for the amounts that were found."""
        for digits in DIGITS:
            if not found[f"beyond_{digits}"] and found.total * 10.0**digits < 2.0**53:
                return cls(digits, whole=True)
        return cls(min(24, 37 - math.ceil(math.log10(max(found.total, 1.0)))), whole=False)

    def encode(self, amount: Any) -> Any:
        """Amounts as what is added."""
        if self.whole:
            # Rounded to an integer; integers would be added as 128 bits, whole floats as 64.
            return (amount * 10.0**self.digits).round(0).cast("float64")
        return amount.cast(dt.Decimal(38, self.digits))

    def mean(self, total: Any, n: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Mean of n amounts from their total, rounded once; 0 where there is none."""
        unit = 10.0**self.digits if self.whole else 1.0
        values = total.fill_null(0.0).to_numpy()
        return np.where(n > 0, values / (unit * np.maximum(n, 1)), 0.0)


def customers(ready: Ready, settings: Settings) -> ir.Table:
    """The main query: one row per customer with a transaction in the window.

    Rows are added up within each collapse period first; what remains of a period is a purchase
    or not, and a customer's purchases are counted.

    Returns
    -------
    Table
        ``id``; ``n, first, last, value`` of the purchases up to the end (of calibration);
        ``n_last, value_last`` of those in as long a time before it as the holdout is after
        it, with the first purchase; ``n_later, value_later`` of those after it; ``n_void``
        periods that returns have emptied, ``n_free`` purchases of value zero. Columns that are
        not needed are absent.
    """
    found = ready.found
    signed = nets_returns(ready, settings)
    table: Any = periods(ready, settings, signed=signed)
    by_argmin = ready.backend in _ARGMIN
    if settings.has_amounts and not (settings.include_first or by_argmin):
        table = _with_start(table, signed=signed)
    bought = is_bought(table, signed=signed)
    early, late, recent = bought, None, None
    if settings.split:
        early, late = _both(~table.later, bought), _both(table.later, bought)
        since = moment(settings.before_last(ready.end), settings)
        recent = _both(table.period > since, early)
    out = {
        "n": table.count(where=early),
        "first": table.period.min(where=early),
        "last": table.period.max(where=early),
    }
    if settings.split:
        out["n_last"] = table.count(where=recent)
        out["n_later"] = table.count(where=late)
    if bought is not None:
        out["n_void"] = table.count(where=~bought)
    if settings.has_amounts:
        if settings.include_first:
            value = table.net.sum(where=early)
        elif by_argmin:
            value = table.net.sum(where=early) - table.net.argmin(table.period, where=early)
        else:
            value = table.net.sum(where=_both(table.period > table.start, early))
        out["value"] = value.cast("float64")
        if settings.split:
            out["value_last"] = table.net.sum(where=recent).cast("float64")
            out["value_later"] = table.net.sum(where=late).cast("float64")
        if found["zero"]:
            out["n_free"] = table.count(where=_both(table.net == 0, early))
    grouped: ir.Table = table.group_by("id").aggregate(**out)
    return grouped


def nets_returns(ready: Ready, settings: Settings) -> bool:
    """Whether there are returns that reduce their periods."""
    return settings.returns == "net" and ready.found["negative"] > 0


def counted_rows(ready: Ready, settings: Settings) -> Any:
    """The transactions that are within the window and not dropped."""
    rows: Any = ready.rows
    found = ready.found
    day = cut(rows.at, settings)
    if found["before"] or found["after"]:
        rows = rows.filter(window(day, settings, ready.end))
    if settings.returns == "drop" and found["negative"]:
        rows = rows.filter(rows.amount >= 0)
    return rows


def periods(ready: Ready, settings: Settings, *, signed: bool) -> ir.Table:
    """One row per customer and period with a transaction: what it nets to."""
    rows = counted_rows(ready, settings)
    day = cut(rows.at, settings)
    columns = {"id": rows.id, "period": period(day, settings)}
    if settings.split:
        columns["later"] = day > moment(settings.calibration_end, settings)
    keys = list(columns)
    if not settings.has_amounts:
        table: ir.Table = rows.select(**columns).distinct()
        return table
    rows = rows.select(**columns, value=Coding.choose(ready.found).encode(rows.amount))
    sums = {"net": rows.value.sum()}
    if signed:
        sums["low"] = rows.value.min()
    table = rows.group_by(keys).aggregate(**sums)
    return table


def _with_start(table: Any, *, signed: bool) -> ir.Table:
    """Add each customer's first period with a purchase."""
    bought = is_bought(table, signed=signed)
    some = table if bought is None else table.filter(bought)
    starts = some.group_by("id").aggregate(start=some.period.min())
    joined: ir.Table = table.left_join(starts, "id").drop("id_right")
    return joined


def is_bought(table: Any, *, signed: bool) -> Any:
    """Whether a period has a purchase: its net is > 0, or all of its amounts are 0."""
    return (table.net > 0) | ((table.net == 0) & (table.low == 0)) if signed else None


def _both(one: Any, other: Any) -> Any:
    return one if other is None else one & other


def warn_of_known_customers(ready: Ready, settings: Settings) -> None:
    """Warn the user, who gave the start of observation."""
    rows: Any = ready.rows
    day = cut(rows.at, settings)
    before = day < moment(settings.start, settings)
    if settings.has_amounts:
        before = before & (rows.amount > 0)
    seen = rows.group_by("id").aggregate(
        before=before.any(), inside=window(day, settings, ready.end).any()
    )
    known = fetch_row(seen.aggregate(n=seen.count(where=seen.before & seen.inside)))["n"]
    if known:
        notify(
            f"customers who had bought before observation_start={settings.start} already: "
            f"{known:,}. Their first purchase since then is taken for their first of all, so they "
            "look newer than they are; leave observation_start out, or leave these customers out.",
            DataWarning,
        )


# --- the result --------------------------------------------------------------------------


def to_summary(
    result: pa.Table, id_type: dt.DataType, ready: Ready, settings: Settings
) -> RFMSummary:
    """Make the summary of what the main query returns."""
    counts, excluded = _account(result, ready, settings)
    result = result.filter(pc.greater(result["n"], 0))
    if not result.num_rows:
        raise DataError("transactions", [no_customers(excluded)])
    result = result.take(pc.sort_indices(result["id"]))
    n = _integers(result, "n")
    first, last = _hours(result["first"]), _hours(result["last"])
    end = _column(settings.period(settings.calibration_end or ready.end))
    frequency = n if settings.include_first else n - 1
    columns: dict[str, Any] = {
        "customer_id": id_column(result["id"], id_type),
        "frequency": frequency,
        "recency": (last - first) / settings.hours_per_unit,
        "T": (_hours(end) - first) / settings.hours_per_unit,
    }
    coding = Coding.choose(ready.found)
    if settings.has_amounts:
        columns["monetary_value"] = coding.mean(result["value"], frequency)
    if settings.calibration_end is not None:
        # All purchases of customers who are younger than the window are in it; the first one
        # counts as it does in the summary.
        young = first > _hours(_column(settings.before_last(ready.end)))
        n_last = np.where(young, frequency, _integers(result, "n_last"))
        columns["frequency_last"] = n_last
        if settings.has_amounts:
            value_last = pc.if_else(pa.array(young), result["value"], result["value_last"])
            columns["monetary_value_last"] = coding.mean(value_last, n_last)
        n_later = _integers(result, "n_later")
        columns["frequency_holdout"] = n_later
        if settings.has_amounts:
            columns["monetary_value_holdout"] = coding.mean(result["value_later"], n_later)
        hours = settings.hours(settings.calibration_end, ready.end)
        columns["duration_holdout"] = hours / settings.hours_per_unit
    return with_provenance(pd.DataFrame(columns), _provenance(ready, settings, counts, excluded))


def _account(
    result: pa.Table, ready: Ready, settings: Settings
) -> tuple[dict[str, int], dict[str, int]]:
    """Count what was used, and what was left out and why."""
    n, n_later = _integers(result, "n"), _integers(result, "n_later")
    counts, excluded = count_rows(ready, settings)
    counts |= {
        "purchases": int(n.sum()),
        "customers": int((n > 0).sum()),
    }
    if settings.split:
        counts["holdout purchases"] = int(n_later[n > 0].sum())
    free = int(_integers(result, "n_free").sum())
    if free:
        counts["zero-value purchases"] = free
    excluded |= {
        "periods with net value <= 0": int(_integers(result, "n_void").sum()),
        "customers without a purchase": int(((n == 0) & (n_later == 0)).sum()),
        "customers first buying after calibration_end": int(((n == 0) & (n_later > 0)).sum()),
    }
    return counts, {reason: count for reason, count in excluded.items() if count}


def count_rows(ready: Ready, settings: Settings) -> tuple[dict[str, int], dict[str, int]]:
    """Count the rows that were used, and those that were left out and why."""
    found = ready.found
    excluded = {
        "rows before observation_start": found["before"],
        "rows after observation_end": found["after"],
        "return rows dropped": found["negative"] if settings.returns == "drop" else 0,
    }
    counts = {"rows read": found["rows"], "rows used": found["rows"] - sum(excluded.values())}
    return counts, excluded


def _provenance(
    ready: Ready, settings: Settings, counts: dict[str, int], excluded: dict[str, int]
) -> Provenance:
    return Provenance(
        time_unit=settings.unit.code,
        collapse=settings.collapse,
        observation_start=iso(settings.start),
        observation_end=iso(ready.end),
        calibration_end=iso(settings.calibration_end),
        timezone=settings.timezone if ready.zoned else None,
        currency=settings.currency,
        returns=settings.returns,
        include_first_transaction=settings.include_first,
        counts=counts,
        excluded=excluded,
    )


def no_customers(excluded: dict[str, int]) -> Problem:
    """Nobody has a purchase; the reasons are what was left out."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in excluded.items())
    return Problem(
        f"no customer has a purchase ({reasons})",
        "check the sign of the amounts, and the dates that bound the observation",
    )


def _integers(result: pa.Table, column: str) -> npt.NDArray[np.int64]:
    """A column of counts; zeros where it was not needed."""
    if column not in result.column_names:
        return np.zeros(result.num_rows, np.int64)
    counts: npt.NDArray[np.int64] = result[column].cast(pa.int64()).to_numpy()
    return counts


def _column(moment: date) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array([moment])])


def _hours(moments: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Whole hours since 1970."""
    seconds: npt.NDArray[np.int64] = moments.cast(pa.timestamp("s")).cast(pa.int64()).to_numpy()
    return seconds // 3600


def id_column(ids: pa.ChunkedArray, kind: dt.DataType) -> pd.Series[Any]:
    """Ids as they came."""
    if kind.is_uuid():  # the engine's Arrow has them as text; objects are made one by one
        return pd.Series([uuid.UUID(text) for text in ids.to_pylist()], dtype=object)
    series: pd.Series[Any] = ids.to_pandas()
    return series


def iso(value: date | None) -> str | None:
    """A moment as provenance has it."""
    return None if value is None else value.isoformat()
