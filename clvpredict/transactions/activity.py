"""Purchases by customer and calendar period, and by acquisition cohort: table expressions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from clvpredict.errors import DataError, DataWarning, OptionError, Problem, notify
from clvpredict.rfm import Array, RFMSummary
from clvpredict.transactions import arrays
from clvpredict.transactions.calendar import Calendar, Window
from clvpredict.transactions.columns import cut, period
from clvpredict.transactions.engine import fetch, fetch_row
from clvpredict.transactions.problems import ColumnError
from clvpredict.transactions.sources import opened
from clvpredict.transactions.summary import (
    Coding,
    Ready,
    count_rows,
    counted_rows,
    customers,
    id_column,
    is_bought,
    iso,
    nets_returns,
    no_customers,
    periods,
    prepare,
    to_summary,
    warn_of_known_customers,
)

if TYPE_CHECKING:
    from clvpredict.transactions.settings import Settings
    from clvpredict.transactions.sources import Source

#: Of the labels of customers who have none.
_ATTRIBUTE = "attribute of the customers"


@dataclass(frozen=True)
class Log:
    """Transactions as purchases by customer and period.

    Parameters
    ----------
    source, ready, settings
        Where they come from, and how they are read.
    window : Window
        What of the calendar they cover.
    table : Table
        One row per customer and period: ``id, number, orders, void`` (collapse periods that
        returns have emptied), ``first, last`` (purchase of the period) and, with amounts,
        ``value`` (encoded), ``aside`` (what void periods net to) and ``free`` purchases.
    """

    source: Source
    ready: Ready
    settings: Settings
    window: Window
    table: Any

    @property
    def active(self) -> Any:
        """The rows with a purchase."""
        return self.table.filter(self.table.orders > 0)

    def money(self, encoded: pa.ChunkedArray) -> Array:
        """Amounts from what was added up."""
        one = np.ones(len(encoded), np.int64)
        return np.asarray(Coding.choose(self.ready.found).mean(encoded.cast(pa.float64()), one))


@contextlib.contextmanager
def opened_log(transactions: object, settings: Settings, calendar: Calendar) -> Iterator[Log]:
    """Check transactions and add them up by customer and period.

    Raises
    ------
    DataError
        Listing every problem.
    OptionError
        If the calendar's periods are shorter than the collapse periods.
    """
    if settings.collapse == "W" and calendar.every == "D":
        raise OptionError(
            "with collapse='W' purchases are known by the week, not by the day: choose weeks "
            "('W') or longer periods, or collapse='D'."
        )
    with opened(transactions, settings.names) as source:
        ready = prepare(source, settings)
        table = _by_customer(ready, settings, calendar)
        if source.engine is not None:
            table = source.engine.materialise(table)
        start = settings.start or ready.found.first
        assert start is not None  # there are rows, with dates
        yield Log(source, ready, settings, Window(calendar, settings, start, ready.end), table)


def _by_customer(ready: Ready, settings: Settings, calendar: Calendar) -> Any:
    signed = nets_returns(ready, settings)
    table: Any = periods(ready, settings, signed=signed)
    kept = table.mutate(number=calendar.number(table.period))
    bought = is_bought(kept, signed=signed)
    out = {
        "orders": kept.count(where=bought),
        "first": kept.period.min(where=bought),
        "last": kept.period.max(where=bought),
    }
    constant: dict[str, Any] = {}  # which no aggregate can be
    if bought is None:
        constant["void"] = ibis.literal(0)
    else:
        out["void"] = kept.count(where=~bought)
    if settings.has_amounts:
        free = kept.net == 0
        out["free"] = kept.count(where=free if bought is None else free & bought)
        out["value"] = kept.net.sum(where=bought).cast("float64").fill_null(0.0)
        if bought is None:
            constant["aside"] = ibis.literal(0.0)
        else:
            out["aside"] = kept.net.sum(where=~bought).cast("float64").fill_null(0.0)
    grouped = kept.group_by(["id", "number"]).aggregate(**out)
    return grouped.mutate(**constant) if constant else grouped


# --- what was read ---------------------------------------------------------------------------


def facts(log: Log) -> dict[str, Any]:
    """Say what was used and what was left out, as ``purchase_history`` does.

    Raises
    ------
    DataError
        If nobody has a purchase.

    Warns
    -----
    DataWarning
        If customers had bought before the start of observation.
    """
    if log.settings.start is not None:
        # Here and not where the log is opened: a context manager hides whose call it was.
        warn_of_known_customers(log.ready, log.settings)
    table = log.table
    wanted = {
        "everybody": table.id.nunique(),
        "purchases": table.orders.sum(),
        "void": table.void.sum(),
    }
    if log.settings.has_amounts:
        wanted |= {"free": table.free.sum(), "aside": table.aside.sum()}
    row = fetch_row(table.aggregate(**wanted))
    buyers = fetch_row(log.active.aggregate(n=log.active.id.nunique()))["n"]
    counts, excluded = count_rows(log.ready, log.settings)
    counts |= {"purchases": int(row["purchases"] or 0), "customers": int(buyers)}
    if row.get("free"):
        counts["zero-value purchases"] = int(row["free"])
    excluded |= {
        "periods with net value <= 0": int(row["void"] or 0),
        "customers without a purchase": int(row["everybody"] - buyers),
    }
    excluded = {reason: count for reason, count in excluded.items() if count}
    if not buyers:
        raise DataError("transactions", [no_customers(excluded)])
    said: dict[str, Any] = {
        "every": log.window.calendar.every,
        "collapse": log.settings.collapse,
        "observation_start": iso(log.settings.start),
        "observation_end": iso(log.ready.end),
        "timezone": log.settings.timezone if log.ready.zoned else None,
        "currency": log.settings.currency,
        "returns": log.settings.returns,
        "counts": counts,
        "excluded": excluded,
    }
    if log.settings.has_amounts:
        aside = log.money(pa.chunked_array([pa.array([float(row["aside"] or 0.0)])]))
        said["value_of_excluded_periods"] = float(aside[0])
    return said


# --- labels ----------------------------------------------------------------------------------


def labels_of(log: Log, attributes: pd.Series | None = None) -> Any:
    """Label customers: a table of ``id`` and ``label``.

    Parameters
    ----------
    log : Log
        With the role "label" in its names, if there are no attributes.
    attributes : Series, optional
        Labels by customer id. Without it, the label of the first transaction of a customer's
        first purchase (the least label, where there are several at the same moment).
    """
    if attributes is not None:
        return _attributes(log, attributes)
    active = log.active
    starts = active.group_by("id").aggregate(start=active["first"].min())
    rows = counted_rows(log.ready, log.settings)
    if log.settings.has_amounts:
        rows = rows.filter(rows.amount >= 0)
    rows = rows.select(
        id=rows.id,
        at=rows.at,
        label=rows.label,
        day=period(cut(rows.at, log.settings), log.settings),
    )
    own = rows.inner_join(starts, "id")
    own = own.filter(own.day == own.start).select("id", "at", "label")
    earliest = own.group_by("id").aggregate(earliest=own.at.min())
    at_once = own.inner_join(earliest, "id")
    at_once = at_once.filter(at_once.at == at_once.earliest)
    return at_once.group_by("id").aggregate(label=at_once.label.min())


def _attributes(log: Log, attributes: pd.Series) -> Any:
    """Labels that came by customer id, checked against the customers."""
    try:
        ids = arrays.from_pandas(attributes.index.to_series(), "id", "customer_id")
        labels = arrays.from_pandas(attributes, "label", str(attributes.name))
    except ColumnError as error:
        raise DataError(_ATTRIBUTE, [error.problem]) from None
    repeated = int(attributes.index.duplicated().sum())
    kind = log.table.id.type()
    alike = kind.is_integer() == pa.types.is_integer(ids.type)
    problems = []
    if repeated:
        fix = "give one row per customer: attributes[~attributes.index.duplicated()]"
        problems.append(Problem("customer ids that occur more than once", fix, repeated))
    if not alike:
        to = '"int64"' if kind.is_integer() else "str"
        fix = f"convert them: attributes.index = attributes.index.astype({to})"
        what = f"its customer ids are {ids.type}, those of the transactions {kind}"
        problems.append(Problem(what, fix))
    if problems:
        raise DataError(_ATTRIBUTE, problems)
    frame = pa.table({"id": ids, "label": labels})
    engine = log.source.engine
    given: Any = ibis.memtable(frame) if engine is None else engine.register(frame)
    given = given.mutate(id=given.id.cast(kind))
    known = given.filter(given.label.notnull())
    buyers = log.active.select("id").distinct()
    n = fetch_row(buyers.aggregate(n=buyers.count()))["n"]
    met = buyers.semi_join(known, "id")
    labelled = fetch_row(met.aggregate(n=met.count()))["n"]
    if labelled < n:
        notify(
            f"customers without a {attributes.name!r}: {n - labelled:,} of {n:,}. They are a group "
            "of their own, whose label is missing.",
            DataWarning,
        )
    return given


# --- cohorts ---------------------------------------------------------------------------------


def cohort_cells(log: Log, labels: Any = None) -> pd.DataFrame:
    """Add up customers by acquisition period and period.

    Returns
    -------
    DataFrame
        A row per ``label``, ``cohort`` and ``number`` with a purchase: ``active`` customers,
        how many of them bought in the period before too (``kept``) and how many twice or more
        in this one (``repeaters``), ``orders`` and, with amounts, ``revenue``.
    """
    active = _with_cohort(log, labels)
    prior = log.active.select(id=log.active.id, number=log.active.number + 1)
    prior = prior.mutate(kept=ibis.literal(1))
    joined = active.left_join(prior, ["id", "number"])
    columns = {"active": joined.count(), "kept": joined.count(where=joined.kept.notnull())}
    columns["repeaters"] = joined.count(where=joined.orders > 1)
    columns["orders"] = joined.orders.sum()
    if log.settings.has_amounts:
        columns["value"] = joined.value.sum()
    keys = ["label", "cohort", "number"]
    result = fetch(joined.group_by(keys).aggregate(**columns))
    cells = pd.DataFrame({"label": result["label"].to_pandas()})
    for name in ("cohort", "number", "active", "kept", "repeaters", "orders"):
        cells[name] = result[name].cast(pa.int64()).to_numpy()
    if log.settings.has_amounts:
        cells["revenue"] = log.money(result["value"])
    return cells.sort_values(keys, ignore_index=True)


def _with_cohort(log: Log, labels: Any) -> Any:
    """Active customers by period, with the period of their acquisition and their label."""
    active = log.active
    starts = active.group_by("id").aggregate(cohort=active.number.min())
    names = ["id", "number", "orders", *(["value"] if log.settings.has_amounts else [])]
    joined = active.select(names).inner_join(starts, "id")
    if labels is None:
        return joined.mutate(label=ibis.literal(""))
    return joined.left_join(labels, "id").drop("id_right")


def members(log: Log, labels: Any, settings: Settings) -> RFMSummary:
    """Summarise customers for a model, and say which cohort they are of.

    Parameters
    ----------
    log : Log
        Of the same transactions.
    labels : Table or None
        Of the customers.
    settings : Settings
        As those of the log, in the model's unit.

    Returns
    -------
    RFMSummary
        With the columns ``label``, ``cohort`` and ``current``, whether the customer has
        bought in the last period already.
    """
    joined = _with_cohort(log, labels)
    last = log.window.last
    own = joined.group_by("id").aggregate(
        cohort=joined.cohort.min(),
        label=joined.label.min(),
        current=joined.number.max() == ibis.literal(last),
    )
    extra = fetch(own)
    query = customers(log.ready, settings)
    result = fetch(query)
    summary = to_summary(result, query.schema()["id"], log.ready, settings)
    extra = extra.take(pc.sort_indices(extra["id"]))
    assert extra.num_rows == len(summary)  # both are the customers with a purchase
    summary["cohort"] = extra["cohort"].cast(pa.int64()).to_numpy()
    summary["label"] = extra["label"].to_pandas().to_numpy()
    summary["current"] = extra["current"].to_pandas().to_numpy(bool)
    return summary


def lives(log: Log) -> dict[str, float]:
    """Count customers, those with two purchases or more, and days from first to last purchase."""
    active = log.active
    own = active.group_by("id").aggregate(
        orders=active.orders.sum(), first=active["first"].min(), last=active["last"].max()
    )
    seconds = [own[name].cast("timestamp").epoch_seconds() for name in ("first", "last")]
    row = fetch_row(
        own.aggregate(
            customers=own.count(),
            repeaters=own.count(where=own.orders > 1),
            seconds=(seconds[1] - seconds[0]).sum(),
        )
    )
    n = int(row["customers"])
    return {
        "customers": n,
        "repeaters": int(row["repeaters"]),
        "mean_days": float(row["seconds"]) / 86_400 / n,
    }


# --- customers -------------------------------------------------------------------------------


def by_customer(log: Log, *, by_period: bool) -> pd.DataFrame:
    """List what customers bought, in all or by period.

    Returns
    -------
    DataFrame
        ``customer_id``; ``number`` of the period, if by period; ``first`` and ``last``
        purchase, if not; ``orders``, ``revenue`` and ``other_returns``; sorted. Customers
        without a purchase are left out.
    """
    table = log.table
    if not by_period:
        table = table.group_by("id").aggregate(
            orders=table.orders.sum(),
            first=table["first"].min(),
            last=table["last"].max(),
            value=table.value.sum(),
            aside=table.aside.sum(),
        )
        table = table.filter(table.orders > 0)
    else:
        buyers = log.active.select("id").distinct()
        table = table.semi_join(buyers, "id")
    keys = ["id", "number"] if by_period else ["id"]
    result = fetch(table)
    result = result.sort_by([(key, "ascending") for key in keys])
    kind = log.table.id.type()
    out = pd.DataFrame({"customer_id": id_column(result["id"], kind)})
    if by_period:
        out["number"] = result["number"].cast(pa.int64()).to_numpy()
    else:
        for name in ("first", "last"):
            out[name] = result[name].cast(pa.timestamp("us")).to_pandas()
    out["orders"] = result["orders"].cast(pa.int64()).to_numpy()
    out["revenue"] = log.money(result["value"])
    out["other_returns"] = log.money(result["aside"])
    return out
