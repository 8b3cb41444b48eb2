"""A source read once: what is kept, what is left out, what is tried again."""

from __future__ import annotations

import datetime as dt
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import DataError
from clvpredict.refit import landing, retries
from clvpredict.refit.config import Config, SourceConfig, SummaryConfig
from clvpredict.refit.errors import SourceError
from clvpredict.refit.landing import land

DAY = dt.date(1998, 1, 1)


def config(timezone: str = "UTC", **source: Any) -> Config:
    return Config(
        source=SourceConfig(**{"first_wait": 0.0} | source),
        summary=SummaryConfig(timezone=timezone),
    )


@pytest.fixture
def orders() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "customer_id": ["7", "8", None, "7", "guest", "9"],
            "date": [
                *("2026-01-01", "2026-01-02T23:30:00Z", "2026-01-02", "20260103"),
                *("2026-01-04", "2026-01-05"),
            ],
            "amount": ["1.50", "2", "3", "4", "5", "6"],
            "loaded": ["2026-01-01", "2026-01-03", "2026-01-02", "2026-01-09", None, None],
        }
    )


def write_csv(frame: pd.DataFrame, path: Path) -> str:
    frame.to_csv(path, index=False)
    return str(path)


def write_parquet(frame: pd.DataFrame, path: Path) -> str:
    frame.to_parquet(path)
    return str(path)


def in_sqlite(frame: pd.DataFrame, path: Path) -> str:
    with sqlite3.connect(path) as connection:
        frame.assign(date=frame["date"].astype(str)).to_sql("orders", connection, index=False)
    connection.close()
    return f"sqlite:///{path}"


def in_duckdb(frame: pd.DataFrame, path: Path) -> str:
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE SCHEMA sales; CREATE TABLE sales.orders AS FROM frame")
    return f"duckdb:///{path}"


SOURCES: dict[str, Callable[[pd.DataFrame, Path], dict[str, Any]]] = {
    "csv": lambda f, d: {"path": write_csv(f, d / "orders.csv")},
    "parquet": lambda f, d: {"path": write_parquet(f, d / "orders.parquet")},
    "pattern": lambda f, d: {
        "path": (
            write_csv(f.iloc[:3000], d / "orders-1.csv"),
            write_csv(f.iloc[3000:], d / "orders-2.csv"),
        )
    },
    "sqlite table": lambda f, d: {"database": in_sqlite(f, d / "a.db"), "table": "orders"},
    "sqlite query": lambda f, d: {
        "database": in_sqlite(f, d / "a.db"),
        "query": "select * from orders -- all;",
    },
    "duckdb table": lambda f, d: {"database": in_duckdb(f, d / "a.db"), "table": "sales.orders"},
    "duckdb query": lambda f, d: {
        "database": in_duckdb(f, d / "a.db"),
        "query": "select * from sales.orders;",
    },
}


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(name, marks=[] if name in ("pattern", "sqlite query") else pytest.mark.slow)
        for name in SOURCES
    ],
)
def test_every_source_gives_the_same_summary(
    source: str, cdnow: pd.DataFrame, tmp_path: Path
) -> None:
    landed = land(config(**SOURCES[source](cdnow, tmp_path)), tmp_path / "landed.parquet")
    assert (landed.rows, landed.customers) == (6919, 2357)
    assert (landed.first, landed.last) == (dt.date(1997, 1, 1), dt.date(1998, 6, 30))
    assert landed.read["how"] == "full"
    assert landed.read["rows"] == 6919
    rfm = clv.rfm_summary(landed.path, time_unit="W")
    pd.testing.assert_frame_equal(rfm, clv.rfm_summary(cdnow, time_unit="W"))
    left = [p.name for p in tmp_path.iterdir() if p.name.startswith(("part-", "."))]
    assert left == []


def test_what_is_nobody_is_left_out_and_counted(orders: pd.DataFrame, tmp_path: Path) -> None:
    path = write_csv(orders, tmp_path / "orders.csv")
    landed = land(config(path=path, unknown_ids=("guest",)), tmp_path / "landed.parquet")
    assert landed.left_out == {
        "after_as_of": 0,
        "arrived_after_as_of": 0,
        "no_id": 1,
        "unknown_id": 1,
    }
    found = pd.read_parquet(landed.path)
    assert list(found) == ["customer_id", "date", "amount"]
    # Those that stay are all written as whole numbers.
    assert found["customer_id"].tolist() == [7, 8, 7, 9]
    assert found["amount"].tolist() == ["1.50", "2", "4", "6"]


def test_ids_of_a_csv_are_text_if_one_is(orders: pd.DataFrame, tmp_path: Path) -> None:
    path = write_csv(orders, tmp_path / "orders.csv")
    landed = land(config(path=path), tmp_path / "landed.parquet")
    assert pd.read_parquet(landed.path)["customer_id"].tolist() == ["7", "8", "7", "guest", "9"]


def test_as_of_leaves_out_later_days_and_later_arrivals(
    orders: pd.DataFrame, tmp_path: Path
) -> None:
    path = write_csv(orders, tmp_path / "orders.csv")
    day = dt.date(2026, 1, 4)
    by_date = land(config(path=path), tmp_path / "landed.parquet", as_of=day)
    assert by_date.left_out["after_as_of"] == 1
    assert by_date.last == day
    by_arrival = land(config(path=path, loaded_at="loaded"), tmp_path / "landed.parquet", as_of=day)
    assert by_arrival.left_out["arrived_after_as_of"] == 1
    # A row that does not say when it arrived is one of its own day.
    assert pd.read_parquet(by_arrival.path)["customer_id"].tolist() == ["7", "8", "guest"]


@pytest.mark.slow
def test_days_are_those_of_the_time_zone(orders: pd.DataFrame, tmp_path: Path) -> None:
    path = write_csv(orders.iloc[:2], tmp_path / "orders.csv")
    days = {
        zone: land(config(zone, path=path), tmp_path / "landed.parquet").last
        for zone in ("UTC", "Asia/Tokyo")
    }
    assert days == {"UTC": dt.date(2026, 1, 2), "Asia/Tokyo": dt.date(2026, 1, 3)}


def test_an_arrival_that_cannot_be_read_is_refused(orders: pd.DataFrame, tmp_path: Path) -> None:
    path = write_csv(orders.assign(loaded="yesterday"), tmp_path / "orders.csv")
    with pytest.raises(DataError, match=r"'loaded' .loaded_at. cannot be read.*6 rows"):
        land(config(path=path, loaded_at="loaded"), tmp_path / "landed.parquet", as_of=DAY)


def test_a_date_that_cannot_be_read_is_kept_for_the_summary_to_refuse(
    orders: pd.DataFrame, tmp_path: Path
) -> None:
    orders.loc[0, "date"] = "31.12.2025"
    path = write_csv(orders, tmp_path / "orders.csv")
    landed = land(config(path=path), tmp_path / "landed.parquet", as_of=dt.date(2026, 1, 3))
    with pytest.raises(DataError, match=r"'31\.12\.2025'"):
        clv.rfm_summary(landed.path)


def test_the_fingerprint_is_of_the_contents(cdnow: pd.DataFrame, tmp_path: Path) -> None:
    def fingerprint(frame: pd.DataFrame) -> str:
        path = write_csv(frame, tmp_path / "orders.csv")
        return land(config(path=path), tmp_path / "landed.parquet").fingerprint

    one = fingerprint(cdnow)
    assert fingerprint(cdnow.sample(frac=1, random_state=1)) == one
    assert fingerprint(pd.concat([cdnow, cdnow.iloc[:1]])) != one


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"path": "no.csv"}, "no file"),
        ({"database": "sqlite:///no.db", "table": "orders"}, "there is no file '.*no.db'"),
        ({"database": "sqlite:///a.db", "table": "order"}, "Did you mean 'orders'"),
        ({"database": "sqlite:///a.db", "query": "select * from no"}, "no such table: no"),
        ({"database": "duckdb:///b.db", "query": "selec 1"}, "syntax error"),
        ({"path": "orders.csv", "date": "dat"}, "Did you mean 'date'"),
        ({"path": "orders.csv", "loaded_at": "arrived"}, "loaded_at='loaded'"),
        ({"path": "broken.parquet"}, "cannot read '.*broken.parquet'"),
    ],
)
def test_what_never_passes_fails_at_once(
    source: dict[str, str],
    says: str,
    orders: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(orders, tmp_path / "orders.csv")
    in_sqlite(orders, tmp_path / "a.db")
    in_duckdb(orders, tmp_path / "b.db")
    whole = Path(write_parquet(orders, tmp_path / "whole.parquet")).read_bytes()
    (tmp_path / "broken.parquet").write_bytes(whole[: len(whole) // 2])
    tried: list[int] = []
    with pytest.raises(DataError, match=f"(?s){says}"):
        land(config(**source), tmp_path / "landed.parquet", on_retry=lambda n, _: tried.append(n))
    assert tried == []
    assert not list(tmp_path.glob("*landed*"))
    assert not list(tmp_path.glob("part-*"))


def test_a_file_that_changes_while_it_is_read_is_read_again(
    orders: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_csv(orders.iloc[:2], tmp_path / "orders.csv")
    write = landing.connect.write_parquet

    def writing(table: Any, target: Path) -> None:
        write(table, target)
        if not told:
            write_csv(orders, Path(path))

    told: list[tuple[int, str]] = []
    monkeypatch.setattr(landing.connect, "write_parquet", writing)
    landed = land(
        config(path=path), tmp_path / "landed.parquet", on_retry=lambda *t: told.append(t)
    )
    assert [n for n, _ in told] == [1]
    assert "orders.csv' changed while it was read" in told[0][1]
    assert landed.rows == 5


def test_a_file_that_vanishes_while_it_is_read_is_missed(
    orders: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_csv(orders, tmp_path / "orders.csv")
    write = landing.connect.write_parquet

    def writing(table: Any, target: Path) -> None:
        os.unlink(path)
        write(table, target)

    monkeypatch.setattr(landing.connect, "write_parquet", writing)
    with pytest.raises(DataError, match="no file"):
        land(config(path=path), tmp_path / "landed.parquet")
    assert list(tmp_path.iterdir()) == []


def test_attempts_are_bounded_and_the_cause_is_told(
    orders: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(landing.connect, "write_parquet", failing)
    path = write_csv(orders, tmp_path / "orders.csv")
    tried: list[int] = []
    with pytest.raises(SourceError, match=r"in 3 attempts: .*Connection reset by peer"):
        land(
            config(path=path, attempts=3),
            tmp_path / "landed.parquet",
            on_retry=lambda n, _: tried.append(n),
        )
    assert tried == [1, 2]


def test_waits_double_up_to_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)

    def failing() -> None:
        raise TimeoutError("timed out")

    with pytest.raises(SourceError, match="timed out"):
        retries.retrying(failing, attempts=9, first_wait=1.0)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_locked_sqlite_database_is_waited_for(
    orders: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing.connect, "PATIENCE", 0.01)
    address = in_sqlite(orders, tmp_path / "a.db")
    writer = sqlite3.connect(tmp_path / "a.db", check_same_thread=False)
    writer.execute("BEGIN EXCLUSIVE")
    told: list[str] = []

    def on_retry(number: int, says: str) -> None:
        told.append(says)
        writer.rollback()

    landed = land(
        config(database=address, table="orders"), tmp_path / "landed.parquet", on_retry=on_retry
    )
    writer.close()
    assert told == ["database is locked"]
    assert landed.rows == 5


def test_a_full_disk_is_no_fault_of_the_source(
    orders: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Any, *_: Any) -> None:
        raise duckdb.IOException("IO Error: Could not write file: No space left on device")

    monkeypatch.setattr("ibis.backends.duckdb.Backend.to_parquet", failing)
    path = write_csv(orders, tmp_path / "orders.csv")
    with pytest.raises(OSError, match="No space left") as caught:
        land(config(path=path), tmp_path / "landed.parquet")
    assert not isinstance(caught.value, SourceError)
    assert [p.name for p in tmp_path.iterdir()] == ["orders.csv"]
