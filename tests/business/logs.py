"""Transactions for tests of business functions, and the sources that they can come from."""

from __future__ import annotations

import sqlite3
import warnings

import duckdb
import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

CHANNELS = np.array(["ads", "mail", "web"])


def messy() -> pd.DataFrame:
    """Transactions with returns, free orders, and several on one day."""
    rng = np.random.default_rng(20)
    n = 2_000
    day = rng.integers(0, 400, n)
    amount = np.round(rng.gamma(2, 10, n), 2) * rng.choice([1, 1, 1, 1, -1, 0], n)
    customer = rng.integers(0, 400, n)
    return pd.DataFrame(
        {
            "customer_id": customer,
            "date": pd.Timestamp("2023-01-04") + pd.to_timedelta(day * 24 * 60 + 367, unit="min"),
            "amount": amount,
            "channel": CHANNELS[rng.integers(0, 3, n)],
        }
    )


def log(*rows: tuple[object, str, float]) -> pd.DataFrame:
    """A small log: customer, day, amount."""
    frame = pd.DataFrame(rows, columns=["customer_id", "date", "amount"])
    return frame.assign(date=pd.to_datetime(frame["date"]))


def from_everywhere(frame: pd.DataFrame, through: str, folder):
    """The same transactions from another source."""
    shuffled = frame.sample(frac=1, random_state=1)
    arrow = pa.Table.from_pandas(shuffled, preserve_index=False)
    if through == "csv":
        frame.to_csv(folder / "log.csv", index=False)
        return folder / "log.csv"
    if through == "parquet":
        shuffled.to_parquet(folder / "log.parquet")
        return folder / "log.parquet"
    if through == "ibis duckdb":
        raw = duckdb.connect()
        raw.register("t", arrow)
        return _table(ibis.duckdb.from_connection(raw))
    if through == "ibis polars":
        backend = ibis.polars.connect()
        backend.create_table("t", arrow)
        return _table(backend)
    if through == "ibis sqlite":
        with sqlite3.connect(folder / "log.db") as raw:
            raw.execute(
                "create table t (customer_id integer, date timestamp, amount real, channel text)"
            )
            columns = frame.assign(date=frame["date"].astype(str))
            rows = columns[["customer_id", "date", "amount", "channel"]].itertuples(index=False)
            raw.executemany("insert into t values (?, ?, ?, ?)", [tuple(row) for row in rows])
        raw.close()
        return _table(ibis.sqlite.connect(folder / "log.db"))
    assert through == "pandas, shuffled"
    return shuffled


#: The slow ones go the way that files and frames share with what is tested elsewhere.
SOURCES = (
    "parquet",
    "ibis polars",
    "ibis sqlite",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("pandas, shuffled", "csv")),
    pytest.param("ibis duckdb", marks=pytest.mark.slow),
)


def _table(backend):
    with warnings.catch_warnings():  # Ibis 12 uses what DuckDB 2 has deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        return backend.table("t")
