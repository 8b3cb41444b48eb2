"""PostgreSQL for real: a source, an output, and a server that goes away (make test-postgres)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from postgres import INSTALL, Server, binaries, new_folder

import clvpredict as clv
from clvpredict.errors import DataError
from clvpredict.refit import connect, landing
from clvpredict.refit.config import Config, SourceConfig
from clvpredict.refit.database_output import publish_table
from clvpredict.refit.errors import PublishError, SourceError
from clvpredict.refit.landing import land

pytestmark = pytest.mark.postgres

FACTS = {
    "run_id": "20261122T093703Z-1a2b3c",
    "version": "00ff00ff00ff00ff",
    "as_of": "2026-11-22",
    "published_at": "2026-11-22T09:37:05Z",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    bin = binaries()
    if bin is None:
        says = f"PostgreSQL's server is not installed. As root: {INSTALL}"
        if os.environ.get("CI") or os.environ.get("CLVPREDICT_REQUIRE_POSTGRES") == "1":
            pytest.fail(says)
        pytest.skip(says)
    folder = new_folder()
    try:
        running = Server(folder, bin)
        running.start()
        try:
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def url(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address as a configuration has it: the password is a name."""
    monkeypatch.setenv("SHOP_PASSWORD", server.password)
    return server.url("${SHOP_PASSWORD}")


@contextlib.contextmanager
def connected(server: Server) -> Iterator[Any]:
    import psycopg

    with contextlib.closing(psycopg.connect(server.url(), autocommit=True)) as connection:
        yield connection


@pytest.fixture
def orders(server: Server, cdnow: pd.DataFrame) -> Iterator[None]:
    with connected(server) as connection:
        connection.execute(
            """CREATE SCHEMA sales; CREATE TABLE sales.orders (
            customer_id bigint, date date, amount numeric(12, 2), at timestamptz, free numeric,
            code uuid DEFAULT gen_random_uuid())"""
        )
        with connection.cursor().copy(
            "COPY sales.orders (customer_id, date, amount, at, free) FROM STDIN"
        ) as rows:
            for row in cdnow.itertuples():
                day = row.date.date()
                rows.write_row((row.customer_id, day, row.amount, f"{day} 23:30+00", row.amount))
    yield
    with connected(server) as connection:  # the server may have been away
        connection.execute("DROP SCHEMA sales CASCADE")


def config(url: str, **source: Any) -> Config:
    return Config(source=SourceConfig(database=url, **{"first_wait": 0.1} | source))


@pytest.mark.parametrize(
    "what", [{"table": "sales.orders"}, {"query": "select * from sales.orders -- all;"}]
)
def test_a_table_and_a_query(
    url: str, orders: None, cdnow: pd.DataFrame, what: dict[str, str], tmp_path: Path
) -> None:
    job = config(url, incremental=True, **what)
    for how, rows in (("full", 6919), ("incremental", 67)):
        landed = land(job, tmp_path / "landed.parquet", ledger=tmp_path / "ledger")
        assert (landed.read["how"], landed.read["rows"]) == (how, rows)
        rfm = clv.rfm_summary(landed.path, time_unit="W")
        pd.testing.assert_frame_equal(rfm, clv.rfm_summary(cdnow, time_unit="W"))
        landed.commit()


def test_types_of_its_own(url: str, orders: None, tmp_path: Path) -> None:
    job = config(url, table="sales.orders", customer_id="code", date="at", amount="free")
    landed = land(job, tmp_path / "landed.parquet")
    found = pd.read_parquet(landed.path)
    assert [str(t) for t in found.dtypes] == ["str", "datetime64[us, UTC]", "float64"]
    assert landed.customers == 6919


def test_rows_are_streamed(
    url: str, orders: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "_BATCH", 500)
    batches: list[int] = []
    array = connect._array

    def counting(values: Any, field: Any) -> Any:
        batches.append(len(values))
        return array(values, field)

    monkeypatch.setattr(connect, "_array", counting)
    landed = land(config(url, table="sales.orders"), tmp_path / "landed.parquet")
    assert landed.rows == 6919
    assert max(batches) == 500


def test_nothing_can_be_written_to_a_source(url: str, orders: None, tmp_path: Path) -> None:
    job = config(url, query="delete from sales.orders returning *")
    with pytest.raises(DataError, match="the database says"):
        land(job, tmp_path / "landed.parquet")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"table": "sales.order"}, "no table 'sales.order'; there are: orders"),
        ({"query": "select * from nothing"}, 'relation "nothing" does not exist'),
        ({"table": "sales.orders", "date": "day"}, "no column 'day'"),
    ],
)
def test_what_never_passes_fails_at_once(
    url: str, orders: None, wrong: dict[str, str], says: str, tmp_path: Path
) -> None:
    told: list[int] = []
    with pytest.raises(DataError, match=says):
        land(config(url, **wrong), tmp_path / "x.parquet", on_retry=lambda n, _: told.append(n))
    assert told == []


def test_a_wrong_password_fails_at_once_and_is_not_shown(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "wr@ng/secret")
    url = server.url("${SHOP_PASSWORD}")
    began = time.monotonic()
    with pytest.raises(DataError, match="password authentication failed") as caught:
        land(config(url, table="orders", first_wait=30.0), tmp_path / "landed.parquet")
    assert time.monotonic() - began < 10
    path = tmp_path / "predictions.parquet"
    predictions(3).to_parquet(path)
    with pytest.raises(PublishError, match="password authentication failed") as published:
        publish_table(url, "pred", path, FACTS)
    for error in (caught, published):
        shown = "".join(traceback.format_exception(error.value))
        assert "ng/secret" not in shown
        assert "ng%2Fsecret" not in shown


def test_a_server_that_comes_back_is_waited_for(
    server: Server, url: str, orders: None, tmp_path: Path
) -> None:
    server.stop()
    told: list[str] = []

    def on_retry(number: int, says: str) -> None:
        told.append(says)
        if number == 2:
            server.start()

    landed = land(config(url, table="sales.orders"), tmp_path / "landed.parquet", on_retry=on_retry)
    assert landed.rows == 6919
    assert len(told) == 2
    assert all("Connection refused" in says for says in told)


def test_a_server_that_goes_away_in_the_middle_leaves_no_half(
    server: Server, url: str, orders: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "_BATCH", 500)
    array = connect._array
    calls: list[int] = []

    def stopping(values: Any, field: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:
            server.stop()
            server.start()
        return array(values, field)

    monkeypatch.setattr(connect, "_array", stopping)
    told: list[str] = []
    landed = land(
        config(url, table="sales.orders"),
        tmp_path / "landed.parquet",
        on_retry=lambda _, says: told.append(says),
    )
    assert landed.rows == 6919
    assert len(told) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["landed.parquet"]


def test_a_server_that_stays_away_ends_it(server: Server, url: str, tmp_path: Path) -> None:
    server.stop()
    try:
        with pytest.raises(SourceError, match=r"in 2 attempts: .*Connection refused"):
            land(config(url, table="orders", attempts=2), tmp_path / "landed.parquet")
    finally:
        server.start()


def predictions(n: int) -> pd.DataFrame:
    number = pd.Series(range(n))
    return pd.DataFrame(
        {
            "customer_id": "c," + number.astype(str),
            "clv": (number / 7).where(number != 1),
            "share_%": number * 1.5,
            "segment": pd.Series(["", None, "gold"] * n)[:n],
            "is_new": number == 0,
            "last": pd.Timestamp("2026-11-01", tz="UTC") + pd.to_timedelta(number, unit="D"),
        }
    )


@pytest.fixture
def put(server: Server, url: str, tmp_path: Path) -> Iterator[Any]:
    path = tmp_path / "predictions.parquet"

    def put(frame: pd.DataFrame, table: str = "pred", **more: Any) -> dict[str, Any]:
        frame.to_parquet(path)
        facts = FACTS | {k: more.pop(k) for k in FACTS if k in more}
        return publish_table(url, table, path, facts, **more)

    yield put
    with connected(server) as connection:
        connection.execute("DROP TABLE IF EXISTS pred, pred_manifest CASCADE")


def test_output_and_what_stays_of_the_table(server: Server, put: Any) -> None:
    assert put(predictions(3))["written"]
    assert not put(predictions(3))["written"]
    with connected(server) as connection:
        found = connection.execute("SELECT * FROM pred ORDER BY 1").fetchall()
        assert [row[:5] for row in found] == [
            ("c,0", 0.0, 0.0, "", True),
            ("c,1", None, 1.5, None, False),
            ("c,2", 2 / 7, 3.0, "gold", False),
        ]
        connection.execute(
            "CREATE ROLE reader; GRANT SELECT ON pred TO reader; "
            "CREATE INDEX by_customer ON pred (customer_id); CREATE VIEW best AS SELECT * FROM pred"
        )
        put(predictions(5))
        grant = "SELECT has_table_privilege('reader', 'pred', 'SELECT')"
        assert connection.execute(grant).fetchone() == (True,)
        assert connection.execute("SELECT count(*) FROM best").fetchone() == (5,)
        # The view needs the table, so it cannot be replaced by one of other columns.
        with pytest.raises(PublishError, match="other objects depend on it"):
            put(predictions(5).drop(columns="segment"))
        assert connection.execute("SELECT count(*) FROM best").fetchone() == (5,)
        connection.execute("DROP VIEW best")
        put(predictions(4).drop(columns="segment"))
        assert connection.execute("SELECT count(*) FROM pred").fetchone() == (4,)
        connection.execute("DROP ROLE reader")
        left = "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'clvp%'"
        assert connection.execute(left).fetchall() == []


def test_days_stay_beside_one_another(server: Server, put: Any) -> None:
    put(predictions(3), partition=True)
    put(predictions(5), partition=True, as_of="2026-11-23")
    put(predictions(4), partition=True)
    with connected(server) as connection:
        sql = "SELECT as_of::text, count(*) FROM pred GROUP BY 1 ORDER BY 1"
        assert connection.execute(sql).fetchall() == [("2026-11-22", 4), ("2026-11-23", 5)]


@pytest.mark.parametrize("other_columns", [False, True])
def test_readers_see_one_version_or_the_other(
    server: Server, put: Any, other_columns: bool
) -> None:
    frames = [predictions(2000).assign(clv=1.0), predictions(3000).assign(clv=2.0)]
    if other_columns:
        frames[1] = frames[1].drop(columns="segment")
    put(frames[0])
    seen: set[tuple[float, float, int]] = set()
    done = threading.Event()

    def look() -> None:
        with connected(server) as connection:
            while not done.is_set():
                sql = "SELECT min(clv), max(clv), count(*) FROM pred"
                seen.update(connection.execute(sql).fetchall())

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for i in range(1, 9):
            put(frames[i % 2])
    finally:
        done.set()
        reader.join()
    assert seen == {(1.0, 1.0, 2000), (2.0, 2.0, 3000)}


def test_two_that_publish_at_once_do_not_mix(
    server: Server, put: Any, url: str, tmp_path: Path
) -> None:
    put(predictions(10))
    failed: list[Exception] = []

    for i in range(4):
        predictions(1000 + i).to_parquet(tmp_path / f"{i}.parquet")

    def publish(i: int) -> None:
        try:
            publish_table(url, "pred", tmp_path / f"{i}.parquet", FACTS)
        except PublishError as error:
            failed.append(error)

    threads = [threading.Thread(target=publish, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with connected(server) as connection:
        [(rows,)] = connection.execute("SELECT count(*) FROM pred").fetchall()
        assert connection.execute("SELECT rows FROM pred_manifest").fetchall() == [(rows,)]
        assert rows in range(1000, 1004)


KILLED = """
import sys, time
from pathlib import Path
from clvpredict.refit import database_output
note = database_output._note
def waiting(*args):
    note(*args)
    print("in the transaction", flush=True)
    time.sleep(60)
database_output._note = waiting
database_output.publish_table(sys.argv[1], "pred", Path(sys.argv[2]), {facts!r})
"""


def test_a_writer_killed_in_the_transaction_leaves_the_old_table(
    server: Server, put: Any, url: str, tmp_path: Path
) -> None:
    put(predictions(3))
    path = tmp_path / "more.parquet"
    predictions(5000).to_parquet(path)
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED.replace("{facts!r}", repr(FACTS)), url, str(path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "in the transaction\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    with connected(server) as connection:
        assert connection.execute("SELECT count(*) FROM pred").fetchone() == (3,)
        tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
        assert connection.execute(tables).fetchone() == (2,)
    assert put(predictions(5000))["written"]


def test_the_landing_does_not_know_the_password(
    url: str, orders: None, server: Server, tmp_path: Path
) -> None:
    landed = land(
        config(url, table="sales.orders", incremental=True),
        tmp_path / "landed.parquet",
        ledger=tmp_path / "ledger",
    )
    landed.commit()
    assert server.password not in repr(landed)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert server.password.encode() not in path.read_bytes()
    assert tuple(landed.left_out) == landing.LEFT_OUT
