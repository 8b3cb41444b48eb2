"""Predictions in a table of a database: whole or not at all, and no trace of what failed."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from clvpredict.refit import database_output, targets
from clvpredict.refit.database_output import MANIFEST, publish_table
from clvpredict.refit.errors import PublishError

FACTS = {
    "run_id": "20261122T093703Z-1a2b3c",
    "version": "00ff00ff00ff00ff",
    "as_of": "2026-11-22",
    "published_at": "2026-11-22T09:37:05Z",
}


def predictions(n: int = 3, ids: str = "text") -> pd.DataFrame:
    number = pd.Series(range(n))
    return pd.DataFrame(
        {
            "customer_id": number if ids == "whole" else "c," + number.astype(str) + '"',
            "clv": (number / 7).where(number != 1),
            'share of "90 %"': number * 1.5,
            "segment": pd.Series(["", None, "gold"] * n)[:n].astype("category"),
            "is_new": number == 0,
            "last": pd.Timestamp("2026-11-01") + pd.to_timedelta(number, unit="D"),
        }
    )


class Database:
    """Where tests publish to, and look."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.file, self.folder = kind, folder / "shop.db", folder
        self.url = f"{kind}:///{self.file}"

    def put(self, frame: pd.DataFrame, table: str = "pred", **more: Any) -> dict[str, Any]:
        path = self.folder / "predictions.parquet"
        frame.to_parquet(path)
        facts = FACTS | {k: more.pop(k) for k in FACTS if k in more}
        return publish_table(self.url, table, path, facts, **more)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        connect = sqlite3.connect if self.kind == "sqlite" else duckdb.connect
        with contextlib.closing(connect(str(self.file))) as connection:
            yield connection
            connection.commit()

    def run(self, sql: str) -> list[Any]:
        with self.opened() as connection:
            return connection.execute(sql).fetchall()

    def tables(self) -> list[str]:
        where = "sqlite_master WHERE type = 'table'"
        if self.kind == "duckdb":
            where = "(SELECT table_name AS name FROM information_schema.tables)"
        return sorted(name for (name,) in self.run(f"SELECT name FROM {where}"))


@pytest.fixture(params=["sqlite", "duckdb"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    return Database(request.param, tmp_path)


def test_rows_and_manifest(database: Database) -> None:
    manifest = database.put(predictions())
    assert manifest["written"]
    assert database.tables() == ["pred", "pred_manifest"]
    columns = 'customer_id, clv, "share of ""90 %""", segment, is_new'
    assert database.run(f"SELECT {columns} FROM pred ORDER BY 1") == [
        ('c,0"', 0.0, 0.0, "", True),
        ('c,1"', None, 1.5, None, False),
        ('c,2"', 2 / 7, 3.0, "gold", False),
    ]
    [row] = database.run("SELECT * FROM pred_manifest")
    told = dict(zip(MANIFEST, row, strict=True))
    assert told == {name: manifest[name] for name in MANIFEST}
    assert told["rows"] == 3
    assert json.loads(told["columns"]) == list(predictions().columns)


def test_the_same_is_not_written_again(database: Database) -> None:
    first = database.put(predictions())
    again = database.put(predictions(), run_id="another")
    assert not again["written"]
    assert again["run_id"] == first["run_id"]
    database.run("DELETE FROM pred WHERE clv = 0")
    assert database.put(predictions())["written"]
    assert len(database.run("SELECT * FROM pred")) == 3


def test_a_table_of_the_same_columns_stays(database: Database) -> None:
    database.put(predictions())
    database.run("CREATE VIEW best AS SELECT customer_id FROM pred WHERE clv > 0")
    database.run('CREATE INDEX by_customer ON pred ("customer_id")')
    database.put(predictions(9).iloc[::-1, ::-1])
    assert len(database.run("SELECT * FROM best")) == 7
    indexes = "SELECT name FROM sqlite_master WHERE type = 'index'"
    if database.kind == "duckdb":
        indexes = "SELECT index_name FROM duckdb_indexes()"
    assert database.run(indexes) == [("by_customer",)]


def test_a_table_of_other_columns_or_types_is_replaced(database: Database) -> None:
    database.put(predictions())
    database.put(predictions(4).drop(columns="clv"))
    assert len(database.run("SELECT * FROM pred")[0]) == 5
    database.put(predictions(2, ids="whole"))
    assert database.run("SELECT customer_id FROM pred ORDER BY 1") == [(0,), (1,)]
    assert database.tables() == ["pred", "pred_manifest"]


@pytest.mark.slow
def test_days_stay_beside_one_another(database: Database) -> None:
    database.put(predictions(3), partition=True)
    database.put(predictions(5), partition=True, as_of="2026-11-23")
    database.put(predictions(4), partition=True)
    by_day = "SELECT CAST(as_of AS TEXT), count(*) FROM pred GROUP BY 1 ORDER BY 1"
    assert database.run(by_day) == [("2026-11-22", 4), ("2026-11-23", 5)]
    days = "SELECT as_of, rows FROM pred_manifest ORDER BY 1"
    assert database.run(days) == [("2026-11-22", 4), ("2026-11-23", 5)]
    assert not database.put(predictions(4), partition=True)["written"]
    with pytest.raises(PublishError, match=r"other columns.*Rename it"):
        database.put(predictions(4).drop(columns="clv"), partition=True)
    assert database.run(by_day) == [("2026-11-22", 4), ("2026-11-23", 5)]


@pytest.mark.parametrize("step", ["load", "_note"])
def test_what_fails_leaves_the_table_and_no_trace(
    database: Database, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.put(predictions())
    before = (database.tables(), database.run("SELECT * FROM pred ORDER BY 1"))
    where = database_output if step != "load" else targets._SQLite
    if step == "load" and database.kind == "duckdb":
        where = targets._DuckDB
    work = getattr(where, step)

    def failing(*args: Any) -> None:
        work(*args)
        raise OSError("the cable was cut")

    with monkeypatch.context() as patch:
        patch.setattr(where, step, failing)
        with pytest.raises(PublishError, match=r"'pred' of .*the cable was cut.*still there"):
            database.put(predictions(9))
    assert (database.tables(), database.run("SELECT * FROM pred ORDER BY 1")) == before
    assert database.put(predictions(9))["written"]


@pytest.mark.parametrize(
    ("table", "frame", "says"),
    [
        ("p" * 60, predictions(), "up to 54 bytes"),
        ("no_such_schema.pred", predictions(), "no_such_schema"),
        ("pred", pd.DataFrame({"lists": [[1, 2]]}), "cannot hold the column 'lists'"),
        ("taken", predictions(), "a table 'taken_manifest' of something else"),
    ],
)
def test_what_cannot_be_published_is_refused(
    table: str, frame: pd.DataFrame, says: str, tmp_path: Path
) -> None:
    database = Database("sqlite", tmp_path)
    database.run("CREATE TABLE taken_manifest (x TEXT)")
    with pytest.raises(PublishError, match=says):
        database.put(frame, table)
    assert database.tables() == ["taken_manifest"]


def test_names_cannot_be_sql(database: Database) -> None:
    name = 'x"; DROP TABLE pred; --'
    database.put(predictions())
    database.put(predictions(2).rename(columns={"clv": name}), 'p"; DROP TABLE pred; --')
    assert len(database.run("SELECT * FROM pred")) == 3
    assert len(database.tables()) == 4


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    database = Database("sqlite", tmp_path)
    database.url = f"sqlite:///{tmp_path}/none/shop.db"
    with pytest.raises(PublishError, match="unable to open database file"):
        database.put(predictions())


def test_readers_see_one_version_or_the_other(tmp_path: Path) -> None:
    database = Database("sqlite", tmp_path)
    frames = [predictions(2000).assign(clv=1.0), predictions(3000).assign(clv=2.0)]
    database.put(frames[0])
    seen: set[tuple[float, float, int]] = set()
    done = threading.Event()

    def look() -> None:
        with contextlib.closing(sqlite3.connect(database.file, timeout=30)) as connection:
            while not done.is_set():
                sql = "SELECT min(clv), max(clv), count(*) FROM pred"
                seen.update(connection.execute(sql).fetchall())

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for i in range(1, 7):
            database.put(frames[i % 2])
    finally:
        done.set()
        reader.join()
    assert seen == {(1.0, 1.0, 2000), (2.0, 2.0, 3000)}
