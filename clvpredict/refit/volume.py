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
_DIGITS, BINS_PER_DECADE, _SMALLEST, _LAST_BIN = 4, 10, -4, 191
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
    from clvpredict.errors import DataError
    from clvpredict.transactions.columns import type_columns
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
        engine = source.engine
        assert engine is not None  # a file is read by the engine inside
        rows: Any = parsed(source, typed)
        columns = {"id": rows.id, "moment": rows["at"], "day": rows["at"].cast("date")}
        if amount is not None:
            columns["amount"] = rows.amount
        sql = engine.raw
        read = engine.backend.compile(rows.select(**columns))
        sql.execute(f"CREATE TEMP VIEW all_rows AS {read}")
        counted = sql.execute("SELECT day, count(*) FROM all_rows GROUP BY day").fetchall()
        days: dict[dt.date, int] = dict(counted)
        undated = days.pop(None, 0)  # type: ignore[call-overload]
        last = max(days, default=None)
        if until is None and last is not None:
            until = last - dt.timedelta(days=_RECENT_DAYS)
        customers = _one(sql.execute("SELECT count(DISTINCT id) FROM all_rows"))
        sql.execute(
            "CREATE TEMP VIEW known AS SELECT *, day > DATE "
            f"'{until or dt.date.max}' AS later FROM all_rows WHERE day IS NOT NULL"
        )
        copies = _copies(sql, sum(days.values()), money=amount is not None)
        sizes = None if amount is None else _sizes(sql)
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


def customers_kept(path: Path, customer_id: str, predictions: Path) -> tuple[int, int]:
    """Count the customers of a table of predictions that are among some transactions.

    Parameters
    ----------
    path : Path
        The transactions, as one Parquet file.
    customer_id : str
        Its column.
    predictions : Path
        A Parquet file with a column ``customer_id``.

    Returns
    -------
    there, all : int
        Ids are compared as text.
    """
    import duckdb

    from clvpredict.refit.targets import quoted
    from clvpredict.transactions.files import engine_paths

    ids = "(SELECT DISTINCT CAST({} AS VARCHAR) AS id FROM read_parquet(?))"
    counts = (
        f"SELECT count(there.id), count(*) FROM {ids.format('customer_id')} AS known "
        f"LEFT JOIN {ids.format(quoted(customer_id))} AS there USING (id)"
    )
    files = [engine_paths([str(p)]) for p in (predictions, path)]
    with duckdb.connect() as engine:
        there, known = engine.execute(counts, files).fetchall()[0]
    return int(there), int(known)


def _one(result: Any) -> int:
    return int(result.fetchone()[0])


def _copies(sql: Any, n: int, *, money: bool) -> dict[bool, int]:
    """Rows that repeat another one exactly, by whether they are new."""
    key = "hash(id, moment, amount)" if money else "hash(id, moment)"
    # Amounts that cannot be read are all alike; the summary names them.
    readable = "WHERE amount IS NOT NULL" if money else ""
    # All rows of a key are looked at or none, so the share of copies is that of all.
    every = max(-(-n // _LOOKED_THROUGH), 1)
    found = sql.execute(
        "SELECT later, count(*), count(*) FILTER (mine), "
        "count(*) FILTER (mine) - count(DISTINCT key) FILTER (mine) "
        f"FROM (SELECT later, {key} AS key, {key} % {every} = 0 AS mine FROM known {readable}) "
        "GROUP BY later"
    ).fetchall()
    return {later: round(copies * of_all / max(seen, 1)) for later, of_all, seen, copies in found}


def _sizes(sql: Any) -> pd.DataFrame:
    """Amounts rounded to some digits, and how many rows have them: small, whatever the rows."""
    power = f"CASE WHEN amount = 0 THEN 0 ELSE floor(log10(abs(amount))) END - {_DIGITS - 1}"
    found = sql.execute(
        f"SELECT later, power, round(amount / pow(10, power)) AS digits, count(*) AS n "
        f"FROM (SELECT later, amount, {power} AS power FROM known WHERE isfinite(amount)) "
        "GROUP BY ALL"
    ).fetchall()
    table = pd.DataFrame(found, columns=["later", "power", "digits", "n"])
    # 29.33 and not 29.330000000000002.
    exact = [
        float(f"{d:.0f}e{p:.0f}") for d, p in zip(table["digits"], table["power"], strict=True)
    ]
    return table.assign(amount=np.array(exact, np.float64))


def _amounts(sizes: pd.DataFrame, later: bool | None) -> dict[str, Any]:
    own = sizes if later is None else sizes[sizes["later"] == later]
    amount, n = own["amount"].to_numpy(), own["n"].to_numpy(np.int64)
    sold = amount > 0
    with np.errstate(divide="ignore"):
        size = (np.log10(np.abs(amount)) - _SMALLEST) * BINS_PER_DECADE + 1e-9
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
