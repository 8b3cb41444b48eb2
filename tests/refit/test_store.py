"""The store: what it keeps, what it finds damaged, what it removes; and old ones load for ever.

``python tests/refit/test_store.py --write`` makes the store of this schema in ``saved/``; one that
is there is never replaced, for what an earlier version wrote cannot be written again.
"""

import json
import os
import shutil
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import store_samples as samples

import clvpredict as clv
from clvpredict.errors import ArtefactError, DataWarning, OptionError
from clvpredict.refit import files, published, records, store, versions
from clvpredict.refit.manage import rollback
from clvpredict.refit.records import RunRecord, new_run_id, read_record
from clvpredict.refit.store import Store
from clvpredict.refit.versions import MODEL, PREDICTIONS

SAVED = Path(__file__).parent / "saved"
IDS = [f"2026112{day}T090000Z-00000{day}" for day in range(10)]


@pytest.fixture
def shop(tmp_path):
    return Store.at(tmp_path / "store", create=True)


# --- the folder -----------------------------------------------------------------------------


def test_a_store_is_made_once_and_found_again(tmp_path):
    made = Store.at(tmp_path / "deep" / "store", create=True)
    before = samples.contents(made.folder)
    assert Store.at(str(made.folder)).folder == made.folder
    assert Store.at(made.folder, create=True).folder == made.folder
    assert samples.contents(made.folder) == before
    assert json.loads(before["store.json"]) == {"format": "clvpredict store", "schema_version": 1}


def test_no_store_is_made_unasked_or_among_other_things(tmp_path):
    with pytest.raises(OptionError, match="clvpredict refit CONFIG"):
        Store.at(tmp_path / "none")
    (tmp_path / "orders.csv").touch()
    with pytest.raises(OptionError, match=r"other things in it \(orders\.csv\)"):
        Store.at(tmp_path, create=True)
    for create in (False, True):
        with pytest.raises(OptionError, match="is a file"):
            Store.at(tmp_path / "orders.csv", create=create)


def test_what_a_killed_first_run_left_is_no_other_thing(tmp_path):
    (tmp_path / ".store.json.0123abcd.tmp").touch()
    assert Store.at(tmp_path, create=True).clean_work() == [".store.json.0123abcd.tmp"]


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"format": "clvpredict store", "schema_version": 2}, "newer clvpredict"),
        ({"format": "clvpredict store", "schema_version": "1"}, "schema_version is '1'"),
        ({"format": "a shop", "schema_version": 1}, "does not say so"),
    ],
)
def test_what_is_no_store_of_ours_is_refused(shop, said, match):
    (shop.folder / "store.json").write_text(json.dumps(said))
    with pytest.raises(ArtefactError, match=match):
        Store.at(shop.folder, create=True)


# --- runs -----------------------------------------------------------------------------------


def test_a_record_comes_back(shop):
    record = RunRecord.begun("shop", as_of="2026-11-22", config_text="[job]")
    folder = shop.begin(record)
    record.status, record.exit_code = "held back", 5
    record.input = {"rows": np.int64(7), "share": np.float64("nan"), "first": pd.Timestamp(0)}
    record.timings["read"] = 0.25
    shop.save(record)
    back = read_record(folder)
    assert back.input == {"rows": 7, "share": None, "first": "1970-01-01 00:00:00"}
    assert back.model_dump(exclude={"input"}) == record.model_dump(exclude={"input"})
    assert set(back.packages) == {"python", "clvpredict", *records._PACKAGES}
    with pytest.raises(OptionError, match="already"):
        shop.begin(record)


def test_runs_are_found_by_what_is_typed(shop):
    for run_id in reversed(IDS[:3]):
        samples.a_record(shop, run_id)
    assert [r.run_id for r in shop.records()] == [IDS[2], IDS[1], IDS[0]]
    assert shop.record("latest").run_id == IDS[2]
    assert shop.record(IDS[1]).run_id == shop.record("20261121").run_id == IDS[1]
    with pytest.raises(OptionError, match=f"several runs begin with '2026': {IDS[2]}, {IDS[1]}"):
        shop.record("2026")
    with pytest.raises(OptionError, match=f"Did you mean '{IDS[1]}'"):
        shop.record(IDS[1][:-1] + "x")
    for nonsense in ("", "..", "../store.json", "/"):
        with pytest.raises(OptionError, match="the store has no run"):
            shop.record(nonsense)


def test_a_record_that_cannot_be_read_is_named(shop):
    samples.a_record(shop, IDS[0])
    samples.a_record(shop, IDS[1])
    (shop.run_folder(IDS[1]) / "run.json").write_text("{")
    with pytest.warns(DataWarning, match=IDS[1]):
        assert [r.run_id for r in shop.records()] == [IDS[0]]
    with pytest.raises(ArtefactError, match="cannot be read"):
        shop.record("latest")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"schema_version": 2}, "newer clvpredict"),
        ({"status": "splendid"}, "status: "),
        ({"colour": "red"}, "colour: "),
    ],
)
def test_a_record_is_what_it_should_be(shop, change, match):
    folder = shop.run_folder(samples.a_record(shop, IDS[0]).run_id)
    said = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(said | change))
    with pytest.raises(ArtefactError, match=match):
        read_record(folder)


def test_older_files_migrate_step_by_step(tmp_path):
    files.write_json(tmp_path / "x.json", {"format": "x", "schema_version": 1, "a": 1})
    steps = {1: lambda r: {**r, "b": r["a"] + 1}, 2: lambda r: {**r, "c": r["b"] + 1}}
    found = files.read_json(tmp_path / "x.json", "x", 3, steps)
    assert found == {"format": "x", "schema_version": 3, "a": 1, "b": 2, "c": 3}


def test_every_older_schema_has_a_migration():
    for module in (records, store, published, versions):
        assert set(module.MIGRATIONS) == set(range(1, module.SCHEMA_VERSION)), module


def test_runs_that_ended_without_a_word_are_marked(shop):
    samples.a_record(shop, IDS[0], status="running", exit_code=None)
    dead = samples.a_record(shop, IDS[1], status="running", exit_code=None)
    dead.process_start, dead.pid = "1", 1
    shop.save(dead)
    samples.a_record(shop, IDS[2])
    assert [r.run_id for r in shop.close_crashed(by=IDS[3])] == [IDS[1]]
    assert [r.status for r in shop.records()] == ["published", "crashed", "running"]
    assert IDS[3] in shop.record(IDS[1]).error["message"]
    assert shop.close_crashed(by=IDS[3]) == []


def test_ids_of_runs_sort_by_time():
    ids = [new_run_id() for _ in range(100)]
    assert len(set(ids)) == 100
    # Also within a second; what falls into one microsecond is in no order.
    assert [i[:-1] for i in ids] == sorted(i[:-1] for i in ids)
    assert max(ids) < IDS[9].replace("2026", "2999")


# --- versions -------------------------------------------------------------------------------


def test_equal_contents_are_one_version(shop):
    one = samples.add(shop)
    before = samples.contents(shop.folder)
    times = {p: p.stat().st_mtime_ns for p in one.path.rglob("*")}
    assert samples.add(shop) == one
    assert samples.contents(shop.folder) == before
    assert {p: p.stat().st_mtime_ns for p in one.path.rglob("*")} == times
    others = {samples.add(shop, 2.0).id, samples.add(shop, as_of="2026-11-23").id}
    assert len({one.id} | others) == 3
    assert set(shop.version_ids()) == {one.id} | others
    assert list((shop.folder / "work").iterdir()) == []


def test_a_version_comes_back_and_predicts(shop):
    version = shop.version(samples.add(shop, 2.0).id[:8])
    version.check()
    assert version.facts == {"as_of": "2026-11-22", "horizons": ["52W"]}
    assert set(version.files) == {f"{MODEL}/model.json", PREDICTIONS}
    table = clv.load_model(version.file(MODEL)).predict(samples.HISTORIES, horizon="52W")
    pd.testing.assert_frame_equal(table, pd.read_parquet(version.file(PREDICTIONS)))
    with pytest.raises(ArtefactError, match=r"Did you mean 'predictions\.parquet'"):
        version.file("predictions.csv")


@pytest.mark.parametrize("name", [f"{MODEL}/model.json", PREDICTIONS, "version.json"])
def test_one_bit_that_is_not_as_written_is_found(shop, name):
    version = samples.add(shop)
    path = version.path / name
    path.write_bytes(path.read_bytes().replace(b"2", b"3", 1))
    with pytest.raises(ArtefactError, match=f"{name} was changed"):
        shop.version(version.id).check()
    with pytest.warns(DataWarning, match="takes its place"):
        samples.add(shop).check()


def test_a_file_that_is_missing_is_found(shop):
    version = samples.add(shop)
    version.file(PREDICTIONS).unlink()
    with pytest.raises(ArtefactError, match=f"{PREDICTIONS} is missing.*clvpredict rollback"):
        version.check()


def test_a_version_that_cannot_be_read_is_named(shop):
    one, other = samples.add(shop), samples.add(shop, 2.0)
    (other.path / "version.json").unlink()
    with pytest.warns(DataWarning, match=other.id):
        assert [v.id for v in shop.versions()] == [one.id]
    with pytest.raises(ArtefactError, match="no such file"):
        shop.version(other.id)
    with pytest.raises(OptionError, match=f"no version 'x'; it has .*{one.id}"):
        shop.version("x")


def test_a_disk_that_is_full_leaves_no_version(shop, monkeypatch):
    samples.add(shop)
    before = samples.contents(shop.folder)
    for module, name in ((os, "fsync"), (os, "replace")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, samples.fail)
            with pytest.raises(OSError, match="No space"):
                samples.add(shop, 2.0)
            with pytest.raises(OSError, match="No space"):
                samples.a_record(shop, IDS[0])
        assert samples.contents(shop.folder) == before
        assert shop.run_ids() == []


# --- what is published ----------------------------------------------------------------------


def test_versions_that_were_published_before_are_known(shop):
    assert shop.latest() is None
    assert shop.previous() is None
    ids = [samples.add(shop, scale).id for scale in (1.0, 2.0, 3.0)]
    for version, run_id in zip(ids, IDS, strict=False):
        shop.set_latest(version, run_id, "2026-11-22")
    assert shop.latest().before == (ids[0], ids[1])
    since = shop.latest().since
    assert shop.set_latest(ids[2], IDS[4], "2026-11-22").since == since
    assert shop.latest().run_id == IDS[4]
    assert shop.previous() == ids[1]
    shop.withdraw(ids[1], "it was bad")
    assert shop.withdrawn()[ids[1]]["why"] == "it was bad"
    assert shop.previous() == ids[0]
    shop.set_latest(ids[1], IDS[5], "2026-11-22", back=True)
    assert shop.latest().before == (ids[0],)
    assert shop.withdrawn() == {}


def test_the_latest_version_is_always_one_or_the_other(shop):
    pair = {"a" * 16: IDS[0], "b" * 16: IDS[1]}
    shop.set_latest("a" * 16, IDS[0], "2026-11-22")
    stop, seen = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            seen.append(Store.at(shop.folder).latest())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(20):
            for version, run_id in pair.items():
                shop.set_latest(version, run_id, "2026-11-22")
    finally:
        stop.set()
        reader.join()
    assert len(seen) > 10
    assert all(pair[latest.version] == latest.run_id for latest in seen)
    assert len({latest.version for latest in seen}) == 2


def test_what_says_what_is_published_is_what_it_should_be(shop):
    shop.set_latest("a" * 16, IDS[0], "2026-11-22")
    path = shop.folder / "latest.json"
    path.write_text(path.read_text().replace('"as_of"', '"asof"'))
    with pytest.raises(ArtefactError, match=r"latest\.json"):
        shop.latest()


# --- retention ------------------------------------------------------------------------------


def test_old_runs_and_versions_go_but_none_in_use(shop):
    made = [samples.add(shop, 1.0 + n) for n in range(8)]
    for n, version in enumerate(made):
        samples.a_record(shop, IDS[n], version=version.id)
        made_at = datetime.strptime(IDS[n][:16], "%Y%m%dT%H%M%S%z").timestamp()
        os.utime(version.path, (made_at, made_at))
    shop.set_latest(made[0].id, IDS[0], "2026-11-22")
    shop.set_latest(made[1].id, IDS[1], "2026-11-22")
    shop.intend(made[2].id, IDS[2], "2026-11-22")
    busy = shop.record(IDS[3])
    busy.status, busy.champion = "running", made[4].id
    shop.save(busy)
    assert shop.version_ids() == [v.id for v in reversed(made)]
    removed = shop.prune(keep_runs=1, keep_versions=2)
    assert sorted(removed) == sorted(
        [f"runs/{IDS[n]}" for n in (0, 4, 5, 6)] + [f"versions/{made[5].id}"]
    )
    assert shop.run_ids() == [IDS[n] for n in (7, 3, 2, 1)]
    assert set(shop.version_ids()) == {made[n].id for n in (0, 1, 2, 3, 4, 6, 7)}
    assert shop.prune(keep_runs=1, keep_versions=2) == []
    assert not list(shop.folder.rglob(".*"))


def test_versions_no_run_names_count_by_when_they_were_made(shop):
    old, new = samples.add(shop), samples.add(shop, 2.0)
    os.utime(old.path, (10**9, 10**9))
    assert shop.prune(keep_runs=1, keep_versions=1) == [f"versions/{old.id}"]
    assert shop.version_ids() == [new.id]


def test_what_killed_runs_left_is_removed(shop):
    samples.add(shop)
    samples.a_record(shop, IDS[0])
    before = samples.contents(shop.folder)
    (shop.work_folder("dead") / "transactions.parquet").touch()
    (shop.work_folder("mine") / "transactions.parquet").touch()
    (shop.folder / "versions" / ".abc.0123abcd.tmp").mkdir()
    (shop.folder / "versions" / ".abc.0123abcd.tmp" / ".version.json.0123abcd.tmp").touch()
    (shop.folder / ".latest.json.0123abcd.tmp").touch()
    at_work, left = (shop.run_folder(IDS[0]) / f".run.json.0123abc{n}.tmp" for n in (0, 1))
    at_work.touch()
    left.touch()
    os.utime(left, (time.time() - 600,) * 2)
    (shop.folder / ".notes.tmp").touch()
    assert len(shop.clean_work(keep="mine")) == 4
    for path in (shop.folder / ".notes.tmp", at_work):
        assert path.exists()
        path.unlink()
    shutil.rmtree(shop.folder / "work" / "mine")
    assert samples.contents(shop.folder) == before


# --- old stores -----------------------------------------------------------------------------


@pytest.fixture(params=sorted(SAVED.glob("store-*")), ids=lambda path: path.name)
def old(request, tmp_path):
    """A copy of a store that some version of the package wrote, with its outputs beside it."""
    shutil.copytree(request.param, tmp_path / "old")
    return tmp_path / "old"


def test_old_stores_are_there():
    assert {p.name for p in SAVED.iterdir()} == {
        f"store-{n}" for n in range(1, store.SCHEMA_VERSION + 1)
    }


def test_an_old_store_loads_and_predicts(old):
    shop = Store.at(old / "store")
    record, latest = shop.record("latest"), shop.latest()
    assert [r.status for r in shop.records()] == ["published", "published"]
    assert latest.version == record.version
    assert latest.run_id == record.run_id
    for version in shop.versions():
        version.check()
        model = clv.load_model(version.file(MODEL))
        pd.testing.assert_frame_equal(
            model.predict(samples.HISTORIES, horizon="52W"),
            pd.read_parquet(version.file(PREDICTIONS)),
            rtol=1e-9,
        )
    table = clv.load_model(shop.version(latest.version).file(MODEL))
    assert table.params_["alpha"] == 6.183 * 2


def test_an_old_store_is_worked_with(old):
    config = samples.config_at(old)
    shop = Store.at(old / "store")
    left = shop.latest().version
    record = rollback(config)
    assert record.champion == left != record.version
    assert shop.withdrawn()[left]["why"]
    assert (old / "out" / "predictions.csv").stat().st_size > 0


def write() -> None:
    """Make the store of the present schema, if it is not there."""
    target = SAVED / f"store-{store.SCHEMA_VERSION}"
    if target.exists():
        sys.exit(f"{target} is there and stays: it shows that what was written once still loads.")
    target.mkdir(parents=True)
    config = samples.config_at(target)
    shop = Store.at(target / "store", create=True)
    samples.published(config, shop, IDS[1], 1.0)
    samples.published(config, shop, IDS[2], 2.0)
    for record in shop.records():
        record.host, record.pid, record.boot_id = "shop", 1, None
        record.process_start = record.namespace = None
        record.outputs = [out | {"target": "out/predictions.csv"} for out in record.outputs]
        shop.save(record)
    shutil.rmtree(target / "out")
    shutil.rmtree(target / "store" / "work")
    config.path.unlink()


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python tests/refit/test_store.py --write")
    write()
