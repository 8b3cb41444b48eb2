"""What raw transactions are like, before anything is refused: one table of checks."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

import ibis
import numpy as np
import pandas as pd

from clvpredict.transactions.checks import Scan, masks, scan
from clvpredict.transactions.columns import type_columns
from clvpredict.transactions.days import Days
from clvpredict.transactions.engine import fetch, fetch_row
from clvpredict.transactions.sources import opened
from clvpredict.transactions.summary import Coding, Ready, is_bought, nets_returns, parsed, periods

if TYPE_CHECKING:
    from clvpredict.transactions.settings import Settings
    from clvpredict.transactions.sources import Source

Severity = Literal["ok", "look", "bad"]

#: When a check says "look"; the docstring of `profile_transactions` has them in words.
THRESHOLDS: dict[str, float] = {
    "gap_days": 7.0,
    "gap_times_usual": 5.0,
    "spike_z": 6.0,
    "outlier_z": 4.0,
    "smallest_log_scale": 0.25,
    "repeated_share": 0.01,
    "one_time_share": 0.9,
    "zero_share": 0.01,
    "returned_value_share": 0.2,
}
# What rfm_summary refuses: the count of the scan -> the column, and what is wrong.
_REFUSED = {
    "null_id": ("id", "missing"),
    "null_date": ("date", "missing"),
    "bad_date": ("date", "unreadable"),
    "null_amount": ("amount", "missing"),
    "bad_amount": ("amount", "unreadable"),
    "huge_amount": ("amount", "huge"),
}
_WORDS = {
    "missing": "no value",
    "unreadable": "text that cannot be read",
    "huge": "a size beyond 1e15, where floats have no cents",
}
_SHOWN = 5
_COLUMNS = {"id": "customer_id", "date": "date", "amount": "amount"}


@dataclass
class Report:
    """The table, line by line."""

    lines: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        check: str,
        value: float,
        unit: str,
        detail: str,
        *,
        share: float | None = None,
        severity: Severity = "ok",
    ) -> None:
        """Add a check; the share is of what `detail` says."""
        share = float("nan") if share is None else share
        line = {"check": check, "value": float(value), "unit": unit, "share": share}
        self.lines.append({**line, "severity": severity, "detail": detail})

    def skipped(self, what: str, reason: str) -> None:
        """Say that some checks could not be made."""
        self.add(f"not checked: {what}", float("nan"), "", reason, severity="bad")

    def table(self, attrs: dict[Hashable, Any]) -> pd.DataFrame:
        """Give it all as a frame."""
        columns = ["check", "value", "unit", "share", "severity", "detail"]
        out = pd.DataFrame(self.lines, columns=columns)
        out.attrs = dict(attrs)
        return out


@dataclass(frozen=True)
class Robust:
    """Median and scale of logarithms: 1.4826 · MAD, or a smallest scale where that is less."""

    median: float
    scale: float

    @classmethod
    def of(cls, table: Any, column: str) -> Robust | None:
        """Of a column of logarithms; None if it is empty."""
        median = fetch_row(table.aggregate(m=table[column].median()))["m"]
        if median is None:
            return None
        spread = fetch_row(table.aggregate(m=(table[column] - median).abs().median()))["m"]
        return cls(median, max(1.4826 * spread, THRESHOLDS["smallest_log_scale"]))

    def far(self, sign: int) -> float:
        """From which size on a value is an outlier."""
        return float(np.exp(self.median + sign * THRESHOLDS["outlier_z"] * self.scale))


def profile(transactions: object, settings: Settings) -> pd.DataFrame:
    """Look at transactions without refusing any."""
    report = Report()
    attrs: dict[Hashable, Any] = {"thresholds": dict(THRESHOLDS), "collapse": settings.collapse}
    with opened(transactions, settings.names) as source:
        problems = list(source.problems)
        rows, found = None, Scan({})
        if source.table is not None:
            typed = type_columns(source, source.table, settings)
            problems += typed.problems
            if typed.has("id") or typed.has("at") or typed.has("amount"):
                rows = parsed(source, typed)
                found = scan(rows, settings, text_ids=source.text)
        for problem in problems:
            report.add("column", float("nan"), "", f"{problem.what} -> {problem.fix}")
            report.lines[-1]["severity"] = "bad"
        if rows is None or not found["rows"]:
            report.add("rows", 0, "rows", "there are no rows that can be read", severity="bad")
            return report.table(attrs)
        attrs |= {"first": _iso(found.first), "last": _iso(found.last)}
        wanted = {"id", "at"} | ({"amount"} if settings.has_amounts else set())
        usable = _about_rows(report, rows, found, settings, complete=wanted <= set(rows.columns))
        absent = [{"at": "date"}.get(c, c) for c in sorted(wanted - set(rows.columns))]
        if absent:
            columns = " and ".join(f"'{settings.names[role]}'" for role in absent)
            report.skipped("everything else", f"needs {columns}; mend that and profile again")
        elif usable is not None:
            _about_clean(report, attrs, source, usable, settings)
    return report.table(attrs)


def _about_rows(
    report: Report, rows: Any, found: Scan, settings: Settings, *, complete: bool
) -> Any:
    """Rows that can be used; returns them, None if there is none."""
    n, names = found["rows"], settings.names
    report.add("rows", n, "rows", "rows read")
    wrong = masks(rows, settings, text_ids=False)
    bad: Any = ibis.literal(False)
    for name, (role, kind) in _REFUSED.items():
        if name in wrong:
            bad = bad | wrong[name]
            count = found[name]
            detail = f"rows whose '{names[role]}' has {_WORDS[kind]}"
            if count:
                detail += ": rfm_summary refuses them; the checks below are without them"
            severity: Severity = "bad" if count else "ok"
            check = f"{_COLUMNS[role]} {kind}"
            report.add(check, count, "rows", detail, share=count / n, severity=severity)
    if not complete:
        return None
    usable = rows.filter(~bad)
    left = n - int(fetch_row(rows.aggregate(n=rows.count(where=bad)))["n"])
    severity = "ok" if left == n else "bad"
    detail = "rows with an id, a date and an amount" if settings.has_amounts else "complete rows"
    report.add("usable rows", left, "rows", detail, share=left / n, severity=severity)
    return usable if left else None


def _about_clean(
    report: Report, attrs: dict[Hashable, Any], source: Source, rows: Any, settings: Settings
) -> None:
    """All that needs ids, dates and amounts."""
    if source.engine is not None:
        rows = source.engine.materialise(rows)
    found = scan(rows, settings, text_ids=source.text)
    if source.text and not found["text_id"]:
        rows = rows.mutate(id=rows.id.cast("int64"))
    end = found.last
    assert end is not None  # rows that are usable have dates
    attrs |= {"first": _iso(found.first), "last": _iso(end)}
    _about_dates(report, attrs, rows, found, settings)
    _about_repeats(report, rows, found, settings)
    if settings.has_amounts:
        _about_amounts(report, rows, found, settings)
    ready = Ready(rows, found, end, zoned=False, backend=source.backend)
    _about_customers(report, source, ready, settings)


def _about_dates(
    report: Report, attrs: dict[Hashable, Any], rows: Any, found: Scan, settings: Settings
) -> None:
    """Period, gaps, spikes, and how long ago it ends."""
    bought = rows.filter(rows.amount >= 0) if settings.has_amounts else rows
    day = bought.at if bought.at.type().is_date() else bought.at.date()
    daily = bought.group_by(day=day).aggregate(n=bought.count())
    days = Days.of(fetch(daily))
    if days is None:
        report.skipped("days", "there is no row that is not a return")
        return
    first, last = days.moment(0), days.moment(-1)
    report.add("period", days.length, "days", f"from {first} to {last}, both counted")
    now = datetime.now(ZoneInfo(settings.timezone)).replace(tzinfo=None)
    at = rows.at.cast("timestamp")
    later = int(fetch_row(rows.aggregate(n=rows.count(where=at > ibis.timestamp(now))))["n"])
    ago = (now.date() - last).days
    said = f"the last row is of {last}, {ago:,} days ago" if ago >= 0 else f"it ends on {last}"
    report.add(
        "days since the last row",
        ago,
        "days",
        f"{said}; if the data go on without a purchase, say observation_end=",
    )
    report.add(
        "rows in the future",
        later,
        "rows",
        f"dates after now, {now:%Y-%m-%d %H:%M}",
        share=later / found["rows"],
        severity="bad" if later else "ok",
    )
    empty = days.length - len(days.number)
    share = empty / days.length
    report.add("days without a purchase", empty, "days", "of the days of the period", share=share)
    length, begin, finish = days.longest_gap()
    limit = max(THRESHOLDS["gap_days"], THRESHOLDS["gap_times_usual"] * days.usual_distance())
    detail = f"longest run of days without a purchase; {limit:g} or more are worth a look"
    if length:
        detail = f"from {begin} to {finish}: {detail}"
    severity: Severity = "look" if length >= limit else "ok"
    report.add("longest gap", length, "days", detail, severity=severity)
    spikes = days.spikes(THRESHOLDS["spike_z"])
    shown = ", ".join(f"{day} ({count:,})" for day, count in list(spikes.items())[:_SHOWN])
    detail = (
        f"robust z > {THRESHOLDS['spike_z']:g} against the two weeks before and after; the share "
        "is of the rows"
        + (f": {shown}" if spikes else "")
        + (", ..." if len(spikes) > _SHOWN else "")
    )
    share = sum(spikes.values()) / days.total
    severity = "look" if spikes else "ok"
    report.add("spikes", len(spikes), "days", detail, share=share, severity=severity)
    attrs["spikes"] = {day.isoformat(): count for day, count in spikes.items()}


def _about_repeats(report: Report, rows: Any, found: Scan, settings: Settings) -> None:
    """Rows that say the same as another one."""
    keys = ["id", "at", *(["amount"] if settings.has_amounts else [])]
    groups = rows.group_by(keys).aggregate(n=rows.count())
    some = groups.filter(groups.n > 1)
    row = fetch_row(some.aggregate(groups=some.count(), rows=some.n.sum()))
    extra = int(row["rows"] or 0) - int(row["groups"])
    timed = False
    if not rows.at.type().is_date():
        at_midnight = rows.at.cast("timestamp").truncate("D") == rows.at
        timed = bool(fetch_row(rows.aggregate(n=rows.count(where=~at_midnight)))["n"])
    same = ("customer", "moment", "amount")[: len(keys)]
    detail = f"rows that repeat another one: same {', same '.join(same)}; "
    detail += (
        "with times of day these are often rows that were loaded twice"
        if timed
        else "dates have no time of day, so they can also be equal baskets of one day"
    )
    share = extra / found["rows"]
    many = extra > 0 if timed else share > THRESHOLDS["repeated_share"]
    severity: Severity = "look" if many else "ok"
    report.add("duplicated baskets", extra, "rows", detail, share=share, severity=severity)


def _about_amounts(report: Report, rows: Any, found: Scan, settings: Settings) -> None:
    """Returns, zeros, and amounts far from the others."""
    n = found["rows"]
    sold, back = rows.amount > 0, rows.amount < 0
    sums = fetch_row(
        rows.aggregate(sold=rows.amount.sum(where=sold), back=-rows.amount.sum(where=back))
    )
    gained, returned = float(sums["sold"] or 0.0), float(sums["back"] or 0.0)
    share = returned / gained if gained else float("nan")
    severity: Severity = "ok"
    if found["negative"] and settings.returns == "error":
        severity = "bad"
    elif found["negative"] and not share <= THRESHOLDS["returned_value_share"]:
        severity = "look"
    report.add(
        "returns", found["negative"], "rows", "rows with a negative amount",
        share=found["negative"] / n, severity=severity,
    )  # fmt: skip
    detail = "their value; the share is of what was sold"
    report.add("value of returns", returned, "money", detail, share=share, severity=severity)
    share = found["zero"] / n
    severity = "look" if share > THRESHOLDS["zero_share"] else "ok"
    detail = "rows with an amount of 0; a day with nothing else is a purchase of value 0"
    report.add("zero amounts", found["zero"], "rows", detail, share=share, severity=severity)
    logs = rows.filter(sold).mutate(log=rows.amount.ln())
    usual = Robust.of(logs, "log")
    if usual is None:
        report.skipped("sizes of amounts", "no amount is positive")
        return
    for name, sign in (("large", 1), ("small", -1)):
        limit = usual.far(sign)
        beyond = logs.amount > limit if sign > 0 else logs.amount < limit
        row = fetch_row(
            logs.aggregate(
                n=logs.count(where=beyond),
                value=logs.amount.sum(where=beyond),
                end=logs.amount.max() if sign > 0 else logs.amount.min(),
            )
        )
        part, most = float(row["value"] or 0.0) / gained, {1: "largest", -1: "smallest"}[sign]
        detail = (
            f"amounts {'above' if sign > 0 else 'below'} {limit:.6g} (robust z of ln(amount) "
            f"beyond {THRESHOLDS['outlier_z']:g}; the median is {np.exp(usual.median):.6g}, the "
            f"{most} is {row['end']:.6g}); {part:.1%} of the value"
        )
        severity = "look" if row["n"] else "ok"
        count = int(row["n"])
        share = count / n
        report.add(f"{name} amounts", count, "rows", detail, share=share, severity=severity)


def _about_customers(report: Report, source: Source, ready: Ready, settings: Settings) -> None:
    """Who buys once, and who buys like a firm."""
    signed = nets_returns(ready, settings)
    table: Any = periods(ready, settings, signed=signed)
    bought = is_bought(table, signed=signed)
    if bought is not None:
        table = table.filter(bought)
    value: Any = ibis.literal(1.0)
    if settings.has_amounts:
        coding = Coding.choose(ready.found)
        value = table.net.cast("float64") / (10.0**coding.digits if coding.whole else 1.0)
    table = table.mutate(value=value)
    buyers = table.group_by("id").aggregate(n=table.count(), value=table.value.sum())
    if source.engine is not None:
        buyers = source.engine.materialise(buyers)
    row = fetch_row(
        buyers.aggregate(
            n=buyers.count(),
            once=buyers.count(where=buyers.n == 1),
            purchases=buyers.n.sum(),
            value=buyers.value.sum(),
        )
    )
    n = int(row["n"])
    seen = int(fetch_row(ready.rows.aggregate(n=ready.rows.id.nunique()))["n"])
    period = {"h": "hour", "D": "day", "W": "week"}[settings.collapse]
    severity: Severity = "ok" if n else "bad"
    report.add("customers", n, "customers", "customers with a purchase", severity=severity)
    detail = "customers with rows but no purchase: all of it went back"
    lost = seen - n
    share = lost / seen
    report.add("customers without a purchase", lost, "customers", detail, share=share)
    if not n:
        return
    purchases, total = int(row["purchases"]), float(row["value"])
    detail = f"purchases: what a customer buys within one {period} is one"
    report.add("purchases", purchases, "purchases", detail)
    share = int(row["once"]) / n
    many = share > THRESHOLDS["one_time_share"]
    severity = "bad" if share == 1 else "look" if many else "ok"
    detail = "customers with one purchase; models learn from the others"
    report.add("one-time buyers", row["once"], "customers", detail, share=share, severity=severity)
    _about_big(report, buyers, total, money=settings.has_amounts)
    if settings.has_amounts:
        _about_single(report, table, buyers, total)


def _about_big(report: Report, buyers: Any, total: float, *, money: bool) -> None:
    """Customers who buy so often, or for so much, that they may be firms."""
    again = buyers.filter(buyers.n > 1)
    limits: list[str] = []
    flagged: Any = ibis.literal(False)
    often = Robust.of(again.mutate(log=again.n.cast("float64").ln()), "log")
    if often is not None:
        flagged = flagged | (buyers.n > often.far(1))
        limits.append(f"more than {often.far(1):,.0f} purchases")
    paid = buyers.filter(buyers.value > 0)
    much = Robust.of(paid.mutate(log=paid.value.ln()), "log") if money else None
    if much is not None:
        flagged = flagged | (buyers.value > much.far(1))
        limits.append(f"purchases worth more than {much.far(1):,.6g}")
    big = buyers.filter(flagged)
    row = fetch_row(big.aggregate(n=big.count(), value=big.value.sum()))
    count, part = int(row["n"]), float(row["value"] or 0.0)
    detail = f"customers with {' or '.join(limits) or 'very many purchases'}"
    detail += f" (robust z of logs above {THRESHOLDS['outlier_z']:g}), who may be firms; the "
    detail += "share is of the value" if money else "share is of the customers"
    if count:
        top = fetch(big.order_by([ibis.desc("value"), ibis.desc("n"), "id"]).limit(_SHOWN))
        detail += f". The largest: {', '.join(repr(i) for i in top['id'].to_pylist())}"
        detail += ", ..." if count > _SHOWN else ""
    share = part / total if total else float("nan")
    severity: Severity = "look" if count else "ok"
    report.add("b2b-like customers", count, "customers", detail, share=share, severity=severity)


def _about_single(report: Report, table: Any, buyers: Any, total: float) -> None:
    """One-time buyers whose only purchase is far beyond others'."""
    paid = table.filter(table.value > 0)
    usual = Robust.of(paid.mutate(log=paid.value.ln()), "log")
    limit = usual.far(1) if usual is not None else float("inf")
    single = buyers.filter((buyers.n == 1) & (buyers.value > limit))
    row = fetch_row(single.aggregate(n=single.count(), value=single.value.sum()))
    detail = f"one-time buyers whose purchase is worth more than {limit:,.6g}; the share is of "
    detail += "the value"
    part = float(row["value"] or 0.0)
    report.add(
        "single huge purchases", row["n"], "customers", detail,
        share=part / total if total else float("nan"), severity="look" if row["n"] else "ok",
    )  # fmt: skip


def _iso(value: date | None) -> str | None:
    return None if value is None else value.isoformat()
