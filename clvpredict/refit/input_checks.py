"""Whether a delivery can be right: its volume and amounts against those of the last runs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy import special as sc

from clvpredict.errors import DataError, Problem
from clvpredict.refit.stability import RARE, chance_index, stability_index
from clvpredict.refit.volume import BINS_PER_DECADE

if TYPE_CHECKING:
    from clvpredict.refit.config import ChecksConfig

#: Runs whose transactions had passed; a try-out or a rebuilt day has no say in later ones.
ACCEPTED = ("published", "unchanged", "held back")
# Amounts are compared in so many bins of about equal size.
_GROUPS = 10
# Medians differ by chance; this many standard errors they do not.
_ERRORS = 4.0
_UNKNOWN = ("no_id", "unknown_id")
# A shop east of here may be in tomorrow already.
_DAYS_AHEAD = 1

Row = dict[str, Any]
# A value, whether it is allowed, and what is to be said.
Found = tuple[float | None, bool, str]


class Earlier(Protocol):
    """What is looked at of a run, such as :class:`clvpredict.refit.records.RunRecord`."""

    @property
    def status(self) -> str:
        """How it ended."""

    @property
    def input(self) -> dict[str, Any] | None:
        """What it read, with the ``profile``."""


def last_day(earlier: Iterable[Earlier]) -> dt.date | None:
    """The last day that an accepted run knew; None without one."""
    known = _profiles(earlier)
    return dt.date.fromisoformat(known[0]["last"]) if known else None


def _profiles(earlier: Iterable[Earlier]) -> list[dict[str, Any]]:
    """Of the accepted runs, the one with the latest data first."""
    found = [(run.input or {}).get("profile") for run in earlier if run.status in ACCEPTED]
    return sorted((p for p in found if p and p["last"]), key=_last, reverse=True)


def _last(profile: Mapping[str, Any]) -> str:
    return str(profile["last"])


def check_input(
    now: Mapping[str, Any],
    earlier: Iterable[Earlier],
    checks: ChecksConfig,
    *,
    today: dt.date,
    left_out: Mapping[str, int] | None = None,
    customers: tuple[int, int] | None = None,
) -> list[Row]:
    """Hold a delivery against what is allowed and what the last runs had.

    Parameters
    ----------
    now : mapping
        From :func:`clvpredict.refit.volume.profile`, with ``until=last_day(earlier)``.
    earlier : iterable of RunRecord
        Runs before this one, newest first. Those count that were published, or held back by the
        gate (their transactions had passed); not what was rejected or failed, nor try-outs.
    checks : ChecksConfig
        ``[checks]`` of the configuration; what is None is not checked.
    today : date
        Today, or the day that is rebuilt.
    left_out : mapping, optional
        Rows that were left out when the source was read, by reason.
    customers : tuple of int, optional
        Of those that were predicted last, how many are there, and how many there were.

    Returns
    -------
    list of dict
        A row per check: `check` (its key under ``[checks]``), `value`, `allowed`, `ok`, `says`.
        What cannot be compared yet is ok, and says so.

    Notes
    -----
    - `min_rows_kept`: rows of the months that the last run knew, now over then. Every month
      counts up to what it had, so that late rows of one do not hide what another has lost.
    - `new_rows`: rows per day since the last run's last day, over their median in the last
      runs. Few rows vary by chance: what a Poisson number of that mean does once in 10,000
      times is never an alarm. No row at all is none either: `max_age_days` is for that.
    - `max_amount_shift`: the population stability index of the amounts, in ten bins of equal
      size; of new rows against earlier ones, and of earlier rows against what the last run
      knew of them, whichever is more. Of few rows more is allowed, as chance alone has it.
    - `max_median_ratio`: the same of the median of positive amounts, either way, and only if it
      differs by four standard errors.
    - `max_largest_ratio`: the same of the largest amount, of whatever sign: a single typing error
      moves totals, and neither median nor distribution. Known to a tenth of a power of ten.
    - `min_customers_kept`: ids are compared as text. Another shop's rows may be as many, and of
      the same size.
    - `max_duplicates`: copies among the rows that arrived since the last run, whatever their
      date, less the share of copies that the last run had. A few that chance could have made
      are no alarm.
    - `newest_row`, always checked: days that the newest row lies after today, at most one. Such a
      row would be the end of observation, and everybody long gone.
    """
    rows: list[Row] = []
    limits, before = dict(checks), _profiles(earlier)

    def add(check: str, value: float | None, allowed: Any, ok: bool, says: str) -> None:
        rows.append({"check": check, "value": value, "allowed": allowed, "ok": ok, "says": says})

    def least(check: str, value: int, what: str) -> None:
        limit = limits[check]
        if limit is not None:
            add(check, value, limit, value >= limit, f"{value:,} {what}, at least {limit:,} needed")

    least("min_rows", now["rows"], "rows")
    least("min_customers", now["customers"], "customers")
    unknown = sum(n for reason, n in (left_out or {}).items() if reason in _UNKNOWN)
    if checks.max_unknown_ids is not None:
        share = unknown / max(now["rows"] + unknown, 1)
        says = f"{unknown:,} rows ({share:.1%}) have no or an unknown id"
        ok = share <= checks.max_unknown_ids
        add("max_unknown_ids", share, checks.max_unknown_ids, ok, says)
    if checks.min_customers_kept is not None:
        there, known = customers or (0, 0)
        share = there / known if known else None
        says = f"{there:,} of the {known:,} customers that were predicted last are still there"
        ok = share is None or share >= checks.min_customers_kept
        add("min_customers_kept", share, checks.min_customers_kept, ok, says)
    if now["last"] is not None:
        _ages(add, now, checks, today)
    compared: dict[str, Callable[..., Found]] = {
        "min_rows_kept": _kept,
        "new_rows": _new_rows,
        "max_amount_shift": _amount_shift,
        "max_median_ratio": _median_ratio,
        "max_largest_ratio": _largest_ratio,
        "max_duplicates": _duplicates,
    }
    for check, compare in compared.items():
        limit = limits[check]
        if limit is None:
            continue
        if not before:
            add(check, None, limit, True, "no earlier run to compare with")
            continue
        value, ok, says = compare(now, before[: checks.compare_runs], limit)
        add(check, value, limit, ok, says)
    return rows


def refuse(rows: Iterable[Row]) -> None:
    """Raise an error that lists the checks that failed, if any did.

    Raises
    ------
    DataError
        With what to type if the delivery is right nevertheless.
    """
    problems = []
    for row in rows:
        if row["ok"]:
            continue
        fix = "if it is meant, run once with --force"
        if row["check"] != "newest_row":
            fix = f"if it is meant, change {row['check']} under [checks] (false switches it off)"
            fix += ", or run once with --force"
        else:
            fix += ", or leave such rows out with --as-of DATE"
        problems.append(Problem(f"{row['check']}: {row['says']}", fix))
    if problems:
        raise DataError("transactions", problems)


def _ages(add: Any, now: Mapping[str, Any], checks: ChecksConfig, today: dt.date) -> None:
    age = (today - dt.date.fromisoformat(now["last"])).days
    says = f"the newest row is of {now['last']}, today is {today}"
    add("newest_row", -age, _DAYS_AHEAD, -age <= _DAYS_AHEAD, f"{says} (value: days after today)")
    if checks.max_age_days is not None:
        says += f": {age:,} days, at most {checks.max_age_days:g} allowed"
        add("max_age_days", age, checks.max_age_days, age <= checks.max_age_days, says)


def _kept(now: Mapping[str, Any], before: Sequence[Mapping[str, Any]], limit: float) -> Found:
    then = before[0]["all"]["months"]
    have = now["earlier"]["months"]
    known = sum(then.values())
    kept = sum(min(n, have.get(month, 0)) for month, n in then.items())
    share = kept / max(known, 1)
    lost = {m: n - have.get(m, 0) for m, n in then.items() if have.get(m, 0) < n}
    says = f"{kept:,} of the {known:,} rows up to {before[0]['last']} are still there"
    if lost:
        most = sorted(lost, key=lambda m: -lost[m])[:3]
        says += "; most are missing in " + ", ".join(f"{m} ({lost[m]:,})" for m in most)
    return share, share >= limit, says


def _new_rows(
    now: Mapping[str, Any], before: Sequence[Mapping[str, Any]], limit: tuple[float, float]
) -> Found:
    new = now["new"]
    usual = [p["new"]["per_day"] for p in before if p["new"]["days"] and p["new"]["rows"]]
    if not usual:
        return None, True, "no earlier run had new rows to compare with"
    if not new["days"]:
        return None, True, f"no row after {now['until']}"
    median = float(np.median(usual))
    expected = median * new["days"]
    ratio = new["rows"] / expected
    low, high = limit
    chance = sc.pdtr(new["rows"], expected) if ratio < 1 else sc.pdtrc(new["rows"] - 1, expected)
    ok = bool(low <= ratio <= high or chance > RARE)
    says = (
        f"{new['rows']:,} rows in {new['days']:,} days after {now['until']}, {ratio:.3g} times "
        f"what is usual ({median:,.4g} a day); {low:g} to {high:g} times is allowed"
    )
    return ratio, ok, says


def _pairs(
    now: Mapping[str, Any], before: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Which amounts are compared with which: the reference first."""
    found = {
        "new rows against earlier ones": (now["earlier"]["amounts"], now["new"]["amounts"]),
        "earlier rows against what they were": (
            before[0]["all"]["amounts"],
            now["earlier"]["amounts"],
        ),
    }
    return {k: (a, b) for k, (a, b) in found.items() if a and b and a["bins"] and b["bins"]}


def _worst(found: Sequence[tuple[float, Found]]) -> Found:
    """The comparison that is nearest to what is allowed, or farthest beyond it."""
    if not found:
        return None, True, "there are no amounts to compare"
    return max(found, key=lambda f: f[0])[1]


def _amount_shift(
    now: Mapping[str, Any], before: Sequence[Mapping[str, Any]], limit: float
) -> Found:
    found = []
    for what, (reference, other) in _pairs(now, before).items():
        one, two = _grouped(reference["bins"], other["bins"])
        index = stability_index(one, two)
        allowed = max(limit, chance_index(one.sum(), two.sum(), len(one)))
        says = f"amounts of {what}: stability index {index:.3f}, {allowed:.3g} is allowed"
        found.append((index / allowed, (index, index <= allowed, says)))
    return _worst(found)


def _grouped(reference: Mapping[str, int], other: Mapping[str, int]) -> tuple[Any, Any]:
    """Rows of both in groups of neighbouring bins, about ten of equal size in the reference."""
    codes = sorted({int(c) for c in (*reference, *other)})
    one, two = (np.array([b.get(str(c), 0) for c in codes], float) for b in (reference, other))
    # The middle of a bin says which tenth of the reference it lies in.
    middle = (np.cumsum(one) - 0.5 * one) / one.sum()
    group = np.minimum((middle * _GROUPS).astype(np.intp), _GROUPS - 1)
    _, group = np.unique(group, return_inverse=True)
    return np.bincount(group, one), np.bincount(group, two)


def _median_ratio(
    now: Mapping[str, Any], before: Sequence[Mapping[str, Any]], limit: float
) -> Found:
    found = []
    for what, (reference, other) in _pairs(now, before).items():
        if not (reference["positive"] and other["positive"]):
            continue
        old, new = (a["quantiles"] for a in (reference, other))
        ratio = new["0.5"] / old["0.5"]
        spread = float(np.log(old["0.75"] / old["0.25"])) / 1.349
        error = 1.2533 * spread * (1 / reference["positive"] + 1 / other["positive"]) ** 0.5
        off = float(abs(np.log(ratio)))
        most = max(float(np.log(limit)), _ERRORS * error)
        says = (
            f"median amount of {what}: {new['0.5']:,.4g} against {old['0.5']:,.4g}, "
            f"{ratio:.3g} times; {1 / limit:.3g} to {limit:g} times is allowed"
        )
        found.append((off / most if most else off, (ratio, off <= most, says)))
    return _worst(found)


def _largest_ratio(
    now: Mapping[str, Any], before: Sequence[Mapping[str, Any]], limit: float
) -> Found:
    found = []
    for what, (reference, other) in _pairs(now, before).items():
        old, new = (max(abs(int(code)) for code in a["bins"]) for a in (reference, other))
        ratio = 10.0 ** ((new - old) / BINS_PER_DECADE)
        says = f"largest amount of {what}: about {ratio:,.3g} times; {limit:g} times is allowed"
        found.append((ratio, (ratio, ratio <= limit, says)))
    return _worst(found)


def _duplicates(now: Mapping[str, Any], before: Sequence[Mapping[str, Any]], limit: float) -> Found:
    if (now["all"]["amounts"] is None) != (before[0]["all"]["amounts"] is None):
        return None, True, "rows had amounts in one of the two runs, so copies cannot be compared"
    then, new, old = before[0]["all"], now["new"], now["earlier"]
    usual = then["copies"] / max(before[0]["rows"], 1)
    arrived = new["rows"] + max(old["rows"] - then["rows"], 0)
    copies = new["copies"] + max(old["copies"] - then["copies"], 0)
    share = copies / max(arrived, 1)
    says = (
        f"{copies:,} of the {arrived:,} rows that arrived repeat another row exactly ({share:.1%}; "
        f"usual are {usual:.1%})"
    )
    chance = float(sc.pdtrc(copies - 1, (usual + limit) * arrived)) if copies else 1.0
    return share - usual, bool(share - usual <= limit or chance > RARE), says
