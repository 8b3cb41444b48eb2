"""What a delivery is like: counted in one look, so that the next run can compare."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pathlib import Path

# Where no earlier run says what is new, the last four weeks are.
_RECENT_DAYS = 28
_QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
# Amounts are rounded to four digits, and counted in ten bins per power of ten from 0.0001 on.
_DIGITS, _BINS_PER_DECADE, _SMALLEST, _LAST_BIN = 4, 10, -4, 191
# Copies are looked for among so many rows: of more, among all rows of some keys.
_LOOKED_THROUGH = 1_000_000


def profile(
    path: Path,
    *,
    customer_id: str = "customer_id",
    date: str = "date",
    amount: str | None = "amount",
    timezone: str = "UTC",
    until: dt.date | None = None,
) -> dict[str, Any]:
    """Count what the checks of this run and of later ones compare.

    Everything is counted in the engine, without holding the rows; dates are read as the summary
    reads them. Rows are refused by nobody here: the summary does that, with examples.

    Parameters
    ----------
    path : Path
        The run's transactions, as one Parquet file.
    customer_id, date, amount, timezone
        As in :func:`clvpredict.rfm_summary`.
    until : date, optional
        The last day that the last accepted run knew; rows after it are new. By default the last
        four weeks of the data are.

    Returns
    -------
    dict
        Plain JSON: `rows`, `customers`, `first`, `last`, `until`, `undated` (rows whose date
        cannot be read); and `all`, `earlier` and `new`, of all rows with a date, of those up to
        `until` and of those after it: `rows`, `copies` (rows that repeat another one exactly;
        of more than a million rows an estimate), `months` (rows of each) and `amounts`. `new`
        has also the `days` since then and rows `per_day`. `amounts` has `positive`, `negative`,
        `zero` (rows), `quantiles` of positive amounts (to four digits), and `bins`, the rows by
        sign and size in fixed bins; it is None without amounts.

    Raises
    ------
    DataError
        If a column is missing or of a type that cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> import clvpredict as clv
    >>> from clvpredict.refit.volume import profile
    >>> clv.write_table(clv.load_cdnow(), "cdnow.parquet")
    >>> found = profile(Path("cdnow.parquet"))
    >>> found["rows"], found["new"]["days"]
    (6919, 28)
    """
    import ibis

    from clvpredict.errors import DataError
    from clvpredict.transactions.columns import cut, type_columns
    from clvpredict.transactions.settings import Settings
    from clvpredict.transactions.sources import opened
    from clvpredict.transactions.summary import parsed

    settings = Settings.read(
        customer_id=customer_id,
        date=date,
        amount=amount,
        observation_end=None,
        observation_start=None,
        collapse="D",
        returns="net",
        timezone=timezone,
        strict=False,
    )
    with opened(str(path), settings.names) as source:
        problems = list(source.problems)
        if source.table is not None:
            typed = type_columns(source, source.table, settings)
            problems += typed.problems
        if problems:
            raise DataError("transactions", problems)
        rows: Any = parsed(source, typed)
        rows = rows.mutate(day=cut(rows.at, settings).cast("date"))
        days = {row["day"]: int(row["n"]) for row in _fetched(_by(rows, "day"))}
        undated = days.pop(None, 0)
        last = max(days, default=None)
        if until is None and last is not None:
            until = last - dt.timedelta(days=_RECENT_DAYS)
        customers = _fetched(rows.aggregate(n=rows.id.nunique()))[0]["n"]
        known = rows.filter(rows.day.notnull())
        known = known.mutate(later=known.day > ibis.date(until or dt.date.max))
        copies = _copies(known, sum(days.values()), money=amount is not None)
        sizes = None if amount is None else _sizes(known)
    parts: dict[str, dict[str, Any]] = {}
    for name, later in (("all", None), ("earlier", False), ("new", True)):
        own = {d: n for d, n in days.items() if later is None or (d > (until or d)) is later}
        parts[name] = {
            "rows": sum(own.values()),
            "copies": sum(n for new, n in copies.items() if later in (None, new)),
            "months": _months(own),
            "amounts": None if sizes is None else _amounts(sizes, later),
        }
    new = parts["new"]
    new["days"] = max((last - until).days, 0) if last is not None and until is not None else 0
    new["per_day"] = new["rows"] / new["days"] if new["days"] else 0.0
    return {
        "rows": sum(days.values()) + undated,
        "customers": int(customers),
        "first": min(days).isoformat() if days else None,
        "last": last.isoformat() if last else None,
        "until": until.isoformat() if until else None,
        "undated": undated,
        **parts,
    }


def _copies(rows: Any, n: int, *, money: bool) -> dict[bool, int]:
    """Rows that repeat another one exactly, by whether they are new."""
    import ibis

    keys = {name: rows[name] for name in ("id", "at", *(("amount",) if money else ()))}
    hashed = rows.select("later", key=ibis.struct(keys).hash())
    # All rows of a key are looked at or none, so the share of copies is that of all.
    every = -(-n // _LOOKED_THROUGH)
    if every > 1:
        hashed = hashed.filter(hashed["key"] % every == 0)
    found = hashed.group_by("later").aggregate(
        rows=hashed.count(), copies=hashed.count() - hashed["key"].nunique()
    )
    of_all = {row["later"]: int(row["n"]) for row in _fetched(_by(rows, "later"))}
    return {
        row["later"]: round(int(row["copies"]) * of_all[row["later"]] / int(row["rows"]))
        for row in _fetched(found)
    }


def _sizes(rows: Any) -> pd.DataFrame:
    """Amounts rounded to some digits, and how many rows have them: small, whatever the rows."""
    import ibis

    priced = rows.filter(rows.amount.notnull() & ~rows.amount.isnan() & ~rows.amount.isinf())
    power = ibis.cases((priced.amount != 0, priced.amount.abs().log10().floor()), else_=0.0)
    priced = priced.mutate(power=power - (_DIGITS - 1))
    digits = (priced.amount / ibis.literal(10.0).pow(priced.power)).round(0)
    table = priced.group_by("later", "power", digits=digits).aggregate(n=priced.count())
    found = pd.DataFrame(_fetched(table), columns=["later", "power", "digits", "n"])
    # 29.33 and not 29.330000000000002.
    exact = [
        float(f"{d:.0f}e{p:.0f}") for d, p in zip(found["digits"], found["power"], strict=True)
    ]
    return found.assign(amount=np.array(exact, np.float64))


def _amounts(sizes: pd.DataFrame, later: bool | None) -> dict[str, Any]:
    own = sizes if later is None else sizes[sizes["later"] == later]
    amount, n = own["amount"].to_numpy(), own["n"].to_numpy(np.int64)
    sold = amount > 0
    with np.errstate(divide="ignore"):
        size = (np.log10(np.abs(amount)) - _SMALLEST) * _BINS_PER_DECADE + 1e-9
    size = np.where(amount == 0, 0.0, np.clip(np.floor(size) + 1, 1, _LAST_BIN))
    code, place = np.unique((np.sign(amount) * size).astype(np.int64), return_inverse=True)
    count = np.bincount(place, n, minlength=len(code)).astype(np.int64)
    return {
        "positive": int(n[sold].sum()),
        "negative": int(n[amount < 0].sum()),
        "zero": int(n[amount == 0].sum()),
        "quantiles": _quantiles(amount[sold], n[sold]),
        "bins": {str(c): int(k) for c, k in zip(code, count, strict=True)},
    }


def _quantiles(value: np.ndarray, n: np.ndarray) -> dict[str, float | None]:
    """Quantiles of values that come n times each; None if there is none."""
    if not len(value):
        return {f"{q:g}": None for q in _QUANTILES}
    order = np.argsort(value)
    upto = np.cumsum(n[order])
    at = np.searchsorted(upto, np.array(_QUANTILES) * upto[-1])
    return {f"{q:g}": float(value[order][i]) for q, i in zip(_QUANTILES, at, strict=True)}


def _months(days: dict[dt.date, int]) -> dict[str, int]:
    out: dict[str, int] = {}
    for day in sorted(days):
        month = f"{day:%Y-%m}"
        out[month] = out.get(month, 0) + days[day]
    return out


def _by(rows: Any, column: str) -> Any:
    return rows.group_by(column).aggregate(n=rows.count())


def _fetched(table: Any) -> list[dict[str, Any]]:
    from clvpredict.transactions.engine import fetch

    rows: list[dict[str, Any]] = fetch(table).to_pylist()
    return rows
