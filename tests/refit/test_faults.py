"""What goes wrong around a run: sources that vanish, targets that refuse, signals, damaged stores.

What was published stays, the error says what to do, and the next run goes well. What a run
computes is of no interest here, so neither gate nor drift report is made, unless said.
"""

import contextlib
import ctypes
import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import warnings
from datetime import datetime, timedelta
from pathlib import Path

import crash_driver as shops
import duckdb
import pandas as pd
import pytest

from clvpredict import atomic
from clvpredict.cli.show_runs import ended_by_signal
from clvpredict.errors import ArtefactError, DataError, DataWarning
from clvpredict.refit import Store, drift, load_config, lock, refit, rollback
from clvpredict.refit import records as records_module
from clvpredict.refit.errors import LockedError, PublishError, SourceError

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's capabilities")
OLD, NEW = shops.MONTHS
DRIFT_REPORT = drift.drift_report


@pytest.fixture(autouse=True)
def nothing_is_judged():
    with pytest.MonkeyPatch.context() as patch:
        shops.judge_nothing(patch.setattr)
        yield


class Shop:
    """A job that has published a month, and what it is to publish next."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.config_file = folder / "shop.toml"

    def change(self, before, after):
        text = self.config_file.read_text()
        assert before in text
        self.config_file.write_text(text.replace(before, after))

    def run(self, **options):
        return refit(load_config(self.config_file), **options)

    @property
    def store(self):
        return Store.at(self.folder / "store")

    @property
    def csv(self):
        return shops.csv_of(self.folder)

    @property
    def version(self):
        return self.store.version(self.store.latest().version)

    def copy(self, to):
        shutil.copytree(self.folder, to)
        return Shop(to)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        shops.judge_nothing(patch.setattr)
        shop = Shop(tmp_path_factory.mktemp("shop") / "template")
        shop.folder.mkdir()
        shops.opened(shop.folder, "csv")
        shops.deliver(shop.folder, shops.ORDERS, OLD)
        shop.run()
        shop.old = shop.csv
        shops.deliver(shop.folder, shops.ORDERS, NEW)
        whole = shop.copy(shop.folder.with_name("whole"))
        whole.run()
        shop.new, shop.new_version = whole.csv, whole.version.id
    return shop


@pytest.fixture
def shop(template, tmp_path):
    found = template.copy(tmp_path / "shop")
    found.old, found.new, found.new_version = template.old, template.new, template.new_version
    return found


def is_as_before(shop, status, step=None):
    """A run has failed, is recorded, and has changed nothing that readers see."""
    record = shop.store.record("latest")
    assert record.status == status
    if step is not None:
        assert record.error["step"] == step
    assert shop.csv == shop.old
    assert shop.version.id != shop.new_version
    assert lock.read_owner(shop.store.folder) is None
    assert list((shop.store.folder / "work").iterdir()) == []
    return record


def goes_well(shop, status="published", **options):
    """The next run publishes what it would have."""
    record = shop.run(**options)
    assert (record.status, record.exit_code) == (status, 0)
    assert shop.csv == shop.new
    assert shop.version.id == shop.new_version
    assert list(shop.folder.rglob("*.tmp")) == []
    return record


# --- the source -----------------------------------------------------------------------------


def while_it_is_read(monkeypatch, *changes):
    """Have something happen after each of the first reads of the source."""
    from clvpredict.refit import connect

    left, write = list(changes), connect.write_parquet

    def read(*arguments):
        write(*arguments)
        if left:
            left.pop(0)()

    monkeypatch.setattr(connect, "write_parquet", read)


@pytest.mark.slow
def test_a_source_that_is_replaced_while_it_is_read_is_read_again(shop, monkeypatch):
    path = shop.folder / "orders" / "1998-04.csv"
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    while_it_is_read(monkeypatch, lambda: path.write_bytes(whole))
    goes_well(shop)


@pytest.mark.slow
def test_a_source_that_vanishes_while_it_is_read(shop, monkeypatch):
    orders, aside = shop.folder / "orders", shop.folder / "aside"
    while_it_is_read(monkeypatch, lambda: orders.rename(aside))
    with pytest.raises(DataError, match=r"orders/\*\.csv") as caught:
        shop.run()
    assert caught.value.exit_code == 3
    is_as_before(shop, "rejected", "read")
    aside.rename(orders)
    goes_well(shop)


@pytest.mark.slow
def test_a_source_that_changes_all_the_time(shop, monkeypatch):
    path = shop.folder / "orders" / "1998-04.csv"
    whole = path.read_bytes()
    while_it_is_read(
        monkeypatch, *[lambda n=n: path.write_bytes(whole + b"\n" * n) for n in (1, 2, 3)]
    )
    with pytest.raises(SourceError, match=r"in 3 attempts.*1998-04\.csv' changed") as caught:
        shop.run()
    assert caught.value.exit_code == 7
    is_as_before(shop, "failed", "read")
    path.write_bytes(whole)
    goes_well(shop)


@pytest.mark.slow
def test_one_file_of_many_that_vanishes_is_missed(shop, monkeypatch):
    path = shop.folder / "orders" / "1997-02.csv"
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(DataError, match="rows"):
        shop.run()
    is_as_before(shop, "rejected", "check")
    path.write_bytes(whole)
    goes_well(shop)


@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 100, 0.5], ids=["empty", "beginning", "half"])
def test_half_a_parquet_file(shop, left):
    table = pd.concat(pd.read_csv(p) for p in sorted((shop.folder / "orders").iterdir()))
    path = shop.folder / "orders.parquet"
    table.to_parquet(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(left * len(whole)) if left < 1 else left])
    shop.change("orders/*.csv", "orders.parquet")
    with pytest.raises(DataError, match=r"orders\.parquet"):
        shop.run()
    is_as_before(shop, "rejected", "read")
    path.write_bytes(whole)
    assert shop.run().status == "published"


@pytest.mark.slow
def test_a_csv_that_is_empty_or_a_folder(shop):
    odd = shop.folder / "orders" / "1998-05.csv"
    odd.touch()
    with pytest.raises(DataError, match=r"1998-05\.csv"):
        shop.run()
    is_as_before(shop, "rejected", "read")
    odd.unlink()
    odd.mkdir()
    with pytest.raises(DataError, match=r"1998-05\.csv"):
        shop.run()
    is_as_before(shop, "rejected", "read")
    odd.rmdir()
    goes_well(shop)


@contextlib.contextmanager
def as_a_user():
    """Let permissions count, also for root; of this thread and those that it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    before, without = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, before) == 0
    without[:] = before[:]
    without[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, without) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0


@pytest.mark.slow
@on_linux
def test_a_source_that_may_not_be_read(shop):
    path = shop.folder / "orders" / "1998-04.csv"
    path.chmod(0)
    with as_a_user(), pytest.raises(DataError, match=r"1998-04\.csv"):
        shop.run()
    is_as_before(shop, "rejected", "read")
    path.chmod(0o644)
    goes_well(shop)


def from_database(shop, address):
    shop.change('path = "orders/*.csv"', f'database = "{address}"\ntable = "orders"')
    rows = pd.concat(pd.read_csv(p) for p in sorted((shop.folder / "orders").iterdir()))
    return rows.drop(columns="amount")


@pytest.mark.slow
def test_a_database_that_is_locked_is_tried_again(shop, monkeypatch):
    monkeypatch.setattr("clvpredict.refit.connect.PATIENCE", 0.1)
    rows = from_database(shop, "sqlite:///orders.sqlite")
    with contextlib.closing(sqlite3.connect(shop.folder / "orders.sqlite")) as database:
        rows.to_sql("orders", database, index=False)
        database.commit()
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SourceError, match=r"in 3 attempts: .*locked"):
            shop.run()
        is_as_before(shop, "failed", "read")
    assert shop.run().status == "published"


@pytest.mark.slow
def test_a_database_that_is_gone(shop):
    rows = from_database(shop, "duckdb:///orders.duckdb")
    path = shop.folder / "orders.duckdb"
    with contextlib.closing(duckdb.connect(path)) as database:
        database.register("rows", rows)
        database.execute("CREATE TABLE orders AS SELECT * FROM rows")
    path.rename(shop.folder / "aside")
    with pytest.raises(DataError, match=r"orders\.duckdb"):
        shop.run()
    is_as_before(shop, "rejected", "read")
    assert not path.exists()
    half = (shop.folder / "aside").read_bytes()[:20_000]
    path.write_bytes(half)
    with pytest.raises(DataError, match="the database says"):
        shop.run()
    is_as_before(shop, "rejected", "read")
    (shop.folder / "aside").rename(path)
    assert shop.run().status == "published"


# --- the targets ----------------------------------------------------------------------------


def refused(shop, match):
    with pytest.raises(PublishError, match=match) as caught:
        shop.run()
    assert caught.value.exit_code == 8
    record = shop.store.record("latest")
    assert (record.status, record.error["step"], record.exit_code) == ("failed", "publish", 8)
    assert shop.store.intention().version == shop.new_version
    assert lock.read_owner(shop.store.folder) is None


@pytest.mark.slow
@on_linux
def test_a_target_that_is_read_only(shop):
    (shop.folder / "out").chmod(0o555)
    with as_a_user():
        refused(shop, r"out/predictions\.csv.*[Pp]ermission")
    assert shop.csv == shop.old
    (shop.folder / "out").chmod(0o755)
    goes_well(shop, "unchanged")


@pytest.mark.slow
def test_a_file_where_the_folder_should_be(shop):
    (shop.folder / "out").rename(shop.folder / "aside")
    (shop.folder / "out").touch()
    refused(shop, "out")
    (shop.folder / "out").unlink()
    goes_well(shop, "unchanged")


@pytest.mark.slow
def test_a_folder_where_the_file_should_be(shop):
    path = shop.folder / "out" / "predictions.csv"
    path.unlink()
    path.mkdir()
    (path / "mine.txt").touch()
    refused(shop, r"predictions\.csv")
    assert (path / "mine.txt").exists()
    shutil.rmtree(path)
    goes_well(shop, "unchanged")


@pytest.mark.slow
def test_one_output_that_fails_keeps_no_other_from_it(shop, monkeypatch):
    monkeypatch.setattr("clvpredict.refit.connect.PATIENCE", 0.1)
    with shop.config_file.open("a") as file:
        file.write('[[outputs]]\ndatabase = "sqlite:///shop.sqlite"\ntable = "predictions"\n')
    with contextlib.closing(sqlite3.connect(shop.folder / "shop.sqlite")) as database:
        database.execute("CREATE TABLE theirs (a)")
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(PublishError, match=r"1 of 2 outputs.*\n.*shop\.sqlite.*locked"):
            shop.run()
        assert shop.store.latest().version != shop.store.intention().version
    record = shop.run()
    assert (record.status, record.champion) == ("unchanged", record.version)
    with contextlib.closing(sqlite3.connect(shop.folder / "shop.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM predictions").fetchone()[0] > 90


# --- full disks -----------------------------------------------------------------------------

KiB = 1024


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, of 16 MiB."""
    where = tmp_path / "disk"
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(where)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount; full disks are played by a writer that fails")
    if done.returncode:
        pytest.skip(f"full disks are played by a writer that fails; mount: {done.stderr.strip()}")
    yield where
    subprocess.run(["umount", "--lazy", where], check=True)


def on_a_full_disk(shop):
    """A run finds no room: it says so, is recorded, and leaves the old or the new predictions."""
    before = len(shop.store.records())
    with pytest.raises((OSError, PublishError), match=r"No space left.*shop") as caught:
        shop.run()
    assert shop.csv in (shop.old, shop.new)
    shop.version.check()
    assert lock.read_owner(shop.store.folder) is None
    record, *others = shop.store.records()
    assert before <= len(others) + 1
    if len(others) == before:
        assert record.status == "failed"
        assert "No space left" in record.error["message"]
    assert getattr(caught.value, "exit_code", 1) == (record.exit_code or 1)
    return record if len(others) == before else None


def then_there_is_room(shop):
    record = shop.run()
    assert record.status in ("published", "unchanged")
    assert shop.csv == shop.new
    assert shop.version.id == shop.new_version
    assert list(shop.folder.rglob("*.tmp")) == []
    assert list(shop.folder.rglob("room")) == []
    assert list((shop.store.folder / "work").iterdir()) == []


def with_room(shop, disk, room):
    """Run with so many KiB free, and then with enough; returns the step that found no room."""
    on_disk = shop.copy(disk / "shop")
    on_disk.old, on_disk.new, on_disk.new_version = shop.old, shop.new, shop.new_version
    found = os.statvfs(disk)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(found.f_bavail * found.f_bsize - room * KiB))
    record = on_a_full_disk(on_disk)
    ballast.unlink()
    then_there_is_room(on_disk)
    shutil.rmtree(on_disk.folder)
    return record and record.error["step"]


# What is free when a run begins; it keeps 128 KiB of it for its record.
def test_a_disk_that_is_full(shop, small_disk):
    with_room(shop, small_disk, 160)


@pytest.mark.slow
def test_a_disk_that_is_full_at_every_step(shop, small_disk):
    steps = [with_room(shop, small_disk, room) for room in range(0, 224, 4)]
    assert {None, "read", "predict", "publish"} <= set(steps)


@pytest.mark.parametrize(
    "writes", [13, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 33, 2) if n != 13)]
)
def test_a_writer_that_finds_no_room(shop, monkeypatch, writes):
    flush, left = atomic._flush, [writes]

    def full(path):
        left[0] -= 1
        if left[0] <= 0 and path.is_file():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(path)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_flush", full)
        with pytest.raises((OSError, PublishError), match=r"No space left.*shop"):
            shop.run()
    assert shop.csv in (shop.old, shop.new)
    shop.version.check()
    then_there_is_room(shop)


# --- signals --------------------------------------------------------------------------------

STEPS = ["read", "check", "summarise", "fit", "gate", "drift", "predict", "publish", "record"]


def interrupt(number, at):
    def on_step(name, when):
        if (name, when) == at:
            os.kill(os.getpid(), number)

    return on_step


def stopped(shop, step, when, number):
    """Stop a run by a signal; what was done before the signal may be there."""
    end = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: SystemExit}[number]
    # What a shell starts in the background, tests too, does not hear of Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with ended_by_signal(), pytest.raises(end) as caught:
            shop.run(on_step=interrupt(number, (step, when)))
    finally:
        signal.signal(signal.SIGINT, before)
    record = shop.store.record("latest")
    assert (record.status, record.error["step"]) == ("failed", step)
    assert record.error["type"] == type(caught.value).__name__
    assert record.error["message"]
    assert record.ended is not None
    assert lock.read_owner(shop.store.folder) is None
    assert list((shop.store.folder / "work").iterdir()) == []
    assert shop.csv in (shop.old, shop.new)


SOME = [("publish", "begin", signal.SIGTERM)]
OTHERS = [
    (step, when, number)
    for step in STEPS
    for when in ("begin", "end")
    for number in (signal.SIGINT, signal.SIGTERM)
    if (step, when, number) not in SOME
]


@pytest.mark.parametrize(
    ("step", "when", "number"),
    [*SOME, *(pytest.param(*other, marks=pytest.mark.slow) for other in OTHERS)],
)
def test_a_run_that_is_told_to_end(shop, step, when, number):
    stopped(shop, step, when, number)
    was_out = shop.csv == shop.new
    goes_well(shop, "unchanged" if was_out else "published")


# --- clocks ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_clock_that_was_set_back(shop, monkeypatch):
    class Past(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(days=400)

    before = shop.version.id
    monkeypatch.setattr(records_module, "datetime", Past)
    record = goes_well(shop)
    assert record.run_id < shop.store.records()[0].run_id
    assert record.champion == before
    assert goes_well(shop, "unchanged").champion == shop.new_version
    monkeypatch.undo()
    assert goes_well(shop, "unchanged").champion == shop.new_version
    assert len(shop.store.records()) == 4


# --- damaged stores -------------------------------------------------------------------------


def flip(path, at=None):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "model": lambda v: flip(v.path / "model" / "model.json"),
    "another number": lambda v: (v.path / "model" / "model.json").write_text(
        (v.path / "model" / "model.json").read_text().replace('"alpha": 1', '"alpha": 2')
    ),
    "predictions": lambda v: flip(v.path / "predictions.parquet"),
    "facts": lambda v: flip(v.path / "version.json"),
    "no facts": lambda v: (v.path / "version.json").unlink(),
    "nothing": lambda v: shutil.rmtree(v.path),
}


USUAL = [("another number", "new"), ("predictions", "same")]
RARE = [(d, m) for d in DAMAGES for m in ("new", "same") if (d, m) not in USUAL]


@pytest.mark.parametrize(
    ("damage", "delivery"),
    [*USUAL, *(pytest.param(*rare, marks=pytest.mark.slow) for rare in RARE)],
)
def test_a_published_version_that_was_damaged(shop, damage, delivery):
    if delivery == "same":
        (shop.folder / "orders" / f"{NEW}.csv").unlink()
    damaged = shop.version
    DAMAGES[damage](damaged)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        record = shop.run()
    assert record.status == "published"
    assert any(damaged.id in w["message"] for w in record.warnings)
    shop.version.check()
    assert record.champion == damaged.id
    again = shop.run()
    assert again.status == "unchanged"
    assert not any(damaged.id in w["message"] for w in again.warnings)


@pytest.mark.slow
def test_an_earlier_version_that_was_damaged_is_left_out_of_the_drift(shop, monkeypatch):
    early = shop.version
    shop.run()
    flip(early.path / "predictions.parquet", 0)
    monkeypatch.setattr(drift, "drift_report", DRIFT_REPORT)
    shops.deliver(shop.folder, shops.ORDERS, "1998-05")
    record = shop.run()
    assert record.status == "published"
    assert any(early.id in w["message"] for w in record.warnings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "told"), [("history.parquet", True), ("history.json", False), ("run.json", True)]
)
def test_a_file_of_the_store_that_was_damaged(shop, name, told):
    folder = shop.store.folder
    path = folder / name
    if name == "run.json":
        path = folder / "runs" / shop.store.latest().run_id / name
    path.write_bytes(path.read_bytes()[:-30])
    record = goes_well(shop)
    assert any(name in w["message"] for w in record.warnings) == told
    goes_well(shop, "unchanged")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["latest.json", "publishing.json", "withdrawn.json", "store.json"])
def test_what_is_published_is_not_guessed(shop, name):
    path = shop.store.folder / name
    whole = path.read_bytes() if path.exists() else None
    path.write_text("{")
    with pytest.raises(ArtefactError, match=name) as caught:
        shop.run()
    assert caught.value.exit_code == 3
    assert shop.csv == shop.old
    path.unlink() if whole is None else path.write_bytes(whole)
    goes_well(shop)


def test_a_store_without_its_marker_goes_on(shop):
    (shop.store.folder / "store.json").unlink()
    with pytest.warns(DataWarning, match="is written anew"):
        goes_well(shop)


@pytest.mark.slow
def test_a_store_that_does_not_know_what_is_published(shop):
    before = shop.store.latest().version
    (shop.store.folder / "latest.json").unlink()
    with pytest.raises(ArtefactError, match=f"clvpredict rollback {before}"):
        shop.run()
    assert shop.csv == shop.old
    rollback(load_config(shop.config_file), before)
    assert goes_well(shop).champion == before


@pytest.mark.slow
def test_a_damaged_record_of_what_is_published(shop):
    path = shop.store.run_folder(shop.store.latest().run_id) / "run.json"
    path.write_bytes(path.read_bytes()[:-30])
    record = shop.run(force=True)
    assert record.status == "published"
    goes_well(shop, record.status if shop.csv != shop.new else "unchanged")


@pytest.mark.slow
@pytest.mark.parametrize("ledger", ["none yet", "damaged"])
def test_rejected_runs_do_not_fill_the_ledger(shop, ledger):
    whole = shop.config_file.read_text().replace("incremental = false", "incremental = true")
    shop.config_file.write_text(whole)
    folder = shop.store.folder / "ledger"
    if ledger == "damaged":
        assert shop.run().status == "published"
        (folder / "ledger.json").write_text("{")
    shop.config_file.write_text(whole + "[checks]\nmin_rows = 1_000_000\n")
    for _ in range(3):
        with pytest.raises(DataError, match="rows"):
            shop.run()
        assert len(list(folder.glob("part-*"))) == 1
    shop.config_file.write_text(whole)
    assert shop.run().status == ("published" if ledger == "none yet" else "unchanged")
    assert len(list(folder.glob("part-*"))) == 1
    assert shop.csv == shop.new


@pytest.mark.slow
def test_a_lock_that_was_damaged(shop):
    path = shop.store.folder / lock.FILE
    path.write_text("{")
    with pytest.raises(LockedError, match=f"rm {path}"):
        shop.run()
    path.unlink()
    goes_well(shop)


def test_a_store_of_a_later_version(shop):
    path = shop.store.folder / "store.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"schema_version": 99}))
    with pytest.raises(ArtefactError, match="pip install -U clvpredict"):
        shop.run()
    assert shop.csv == shop.old
