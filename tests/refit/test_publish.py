"""Predictions appear whole or not at all, and a run that was killed is ended by the next."""

import hashlib
import json
import os
import shutil
import sqlite3
import time

import pandas as pd
import pyarrow.parquet as pq
import pytest
import store_samples as samples

from clvpredict import read_table
from clvpredict.errors import ArtefactError, DataWarning
from clvpredict.refit import publish as module
from clvpredict.refit.errors import PublishError
from clvpredict.refit.lock import lock
from clvpredict.refit.publish import finish, publish
from clvpredict.refit.store import Store
from clvpredict.refit.versions import PREDICTIONS

FIRST, SECOND = "20261121T090000Z-000001", "20261122T090000Z-000002"
DAY, NEXT_DAY = "2026-11-21", "2026-11-22"
ALL = (
    'path = "out/predictions.csv"\nexcel_safe = true',
    'path = "deep/er/predictions.parquet"',
    'path = "days/predictions.parquet"\npartition = true',
    'database = "sqlite:///shop.sqlite"\ntable = "predictions"',
)


@pytest.fixture
def shop(tmp_path):
    return Store.at(tmp_path / "store", create=True)


def put(config, shop, version, run_id=FIRST, as_of=DAY):
    return publish(config, shop, version, run_id=run_id, as_of=as_of)


def outputs(folder):
    """What readers find beside the store."""
    skipped = ("store/", "shop.toml")
    return {k: v for k, v in samples.contents(folder).items() if not k.startswith(skipped)}


def test_every_output_has_the_predictions_and_says_so(tmp_path, shop):
    config, version = samples.config_at(tmp_path, *ALL), samples.add(shop)
    manifests = put(config, shop, version)
    expected = samples.predictions()
    csv = tmp_path / "out" / "predictions.csv"
    # What a spreadsheet would take for a formula has an apostrophe; the rest is as it was.
    back = read_table(csv)
    assert back["customer_id"].tolist() == ["'=1", "b", "c, d", "007"]
    assert back.drop(columns="customer_id").equals(expected.drop(columns="customer_id"))
    assert back.attrs == expected.attrs
    stored = version.file(PREDICTIONS).read_bytes()
    assert (tmp_path / "deep" / "er" / "predictions.parquet").read_bytes() == stored
    days = pd.read_parquet(tmp_path / "days")  # as readers of partitions do: the whole folder
    assert days["as_of"].astype(str).unique().tolist() == [DAY]
    assert days.drop(columns="as_of").equals(pd.DataFrame(expected))
    with sqlite3.connect(tmp_path / "shop.sqlite") as database:
        assert database.execute("select count(*) from predictions").fetchone() == (4,)
    database.close()

    said = json.loads((tmp_path / "out" / "predictions.csv.manifest.json").read_text())
    assert said == {
        "format": "clvpredict predictions",
        "schema_version": 1,
        "file": "predictions.csv",
        "rows": 4,
        "columns": expected.columns.to_list(),
        "sha256": hashlib.sha256(csv.read_bytes()).hexdigest(),
        "version": version.id,
        "as_of": DAY,
        "excel_safe": True,
        "run_id": FIRST,
        "published_at": said["published_at"],
    }
    assert manifests[0] == said | {"target": str(csv), "written": True}
    assert [m["written"] for m in manifests] == [True] * 4
    assert all(m["target"] and m["rows"] == 4 and m["run_id"] == FIRST for m in manifests)
    assert shop.latest().version == version.id
    assert shop.latest().as_of == DAY
    assert shop.intention() is None


def test_the_same_again_touches_nothing(tmp_path, shop):
    config, version = samples.config_at(tmp_path, *ALL[:3]), samples.add(shop)
    first = put(config, shop, version)
    before = outputs(tmp_path)
    times = {k: (tmp_path / k).stat().st_mtime_ns for k in before}
    again = put(config, shop, version, SECOND)
    assert outputs(tmp_path) == before
    assert {k: (tmp_path / k).stat().st_mtime_ns for k in before} == times
    assert again == [m | {"written": False} for m in first]
    # Without the metadata, only these come back.
    (tmp_path / "out" / "predictions.meta.json").unlink()
    assert [m["written"] for m in put(config, shop, version, SECOND)] == [True, False, False]
    assert outputs(tmp_path) == before


def test_an_output_that_is_asked_for_otherwise_is_written_anew(tmp_path, shop):
    version = samples.add(shop)
    put(samples.config_at(tmp_path), shop, version)
    config = samples.config_at(tmp_path, ALL[0])
    assert put(config, shop, version, SECOND)[0]["written"]
    assert read_table(tmp_path / "out" / "predictions.csv")["customer_id"][0] == "'=1"
    assert not put(config, shop, version, SECOND)[0]["written"]


def test_what_was_changed_is_put_right(tmp_path, shop):
    config, version = samples.config_at(tmp_path), samples.add(shop)
    put(config, shop, version)
    before = outputs(tmp_path)
    csv = tmp_path / "out" / "predictions.csv"
    csv.write_bytes(csv.read_bytes().replace(b"b,2", b"b,3"))
    assert put(config, shop, version, SECOND)[0]["run_id"] == FIRST
    assert outputs(tmp_path) == before
    (tmp_path / "out" / "predictions.csv.manifest.json").write_text("[]")
    assert put(config, shop, version, SECOND)[0]["run_id"] == SECOND


def test_new_predictions_replace_old_ones_or_stand_beside_them(tmp_path, shop):
    config = samples.config_at(tmp_path, *ALL[:3])
    put(config, shop, samples.add(shop))
    manifests = put(config, shop, samples.add(shop, 2.0, NEXT_DAY), SECOND, NEXT_DAY)
    assert [m["as_of"] for m in manifests] == [NEXT_DAY] * 3
    assert sorted(outputs(tmp_path)) == [
        f"days/as_of={DAY}/_predictions.parquet.manifest.json",
        f"days/as_of={DAY}/predictions.parquet",
        f"days/as_of={NEXT_DAY}/_predictions.parquet.manifest.json",
        f"days/as_of={NEXT_DAY}/predictions.parquet",
        "deep/er/predictions.parquet",
        "deep/er/predictions.parquet.manifest.json",
        "out/predictions.csv",
        "out/predictions.csv.manifest.json",
        "out/predictions.meta.json",
    ]
    assert read_table(tmp_path / "out" / "predictions.csv")["clv"].equals(
        samples.predictions(2.0)["clv"]
    )
    parts = pd.read_parquet(tmp_path / "days")
    assert parts.groupby("as_of", observed=True)["clv"].sum().to_list() == pytest.approx(
        [samples.predictions(s)["clv"].sum() for s in (1.0, 2.0)]
    )


def test_a_partition_of_csv_has_no_other_data_beside_it(tmp_path, shop):
    put(samples.config_at(tmp_path, 'path = "p.csv"\npartition = true'), shop, samples.add(shop))
    names = {p.name for p in (tmp_path / f"as_of={DAY}").iterdir()}
    assert names == {"p.csv", "_p.csv.manifest.json"}


def test_a_target_that_cannot_be_written_keeps_no_other_from_it(tmp_path, shop, monkeypatch):
    config = samples.config_at(
        tmp_path,
        'path = "folder.csv"',
        'path = "file/predictions.csv"',
        'path = "good.csv"',
        'database = "sqlite:///no/such/folder/x.sqlite"\ntable = "t"',
    )
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    version = samples.add(shop)
    with pytest.raises(PublishError) as caught:
        put(config, shop, version)
    message = str(caught.value)
    assert caught.value.exit_code == 8
    assert "3 of 4 outputs could not be written" in message
    for cause in ("folder.csv' is a folder", "file/predictions.csv: ", "no/such/folder"):
        assert cause in message
    assert (tmp_path / "good.csv").is_file()
    assert shop.latest() is None
    assert shop.intention().version == version.id
    # The next run ends it.
    (tmp_path / "folder.csv").rmdir()
    (tmp_path / "file").unlink()
    (tmp_path / "no" / "such" / "folder").mkdir(parents=True)
    done = finish(config, shop)
    assert (done.version, done.run_id, done.as_of) == (version.id, FIRST, DAY)
    assert [m["written"] for m in done.outputs] == [True, True, False, True]
    assert shop.latest().run_id == FIRST
    assert shop.intention() is None


@pytest.mark.skipif(os.name == "nt", reason="folders have no such permissions")
def test_a_folder_that_is_read_only(tmp_path, shop, monkeypatch):
    config = samples.config_at(tmp_path)
    put(config, shop, samples.add(shop))
    before = outputs(tmp_path)
    if os.geteuid() == 0:  # who may write everywhere
        monkeypatch.setattr(module, "new_file", samples.fail)
    (tmp_path / "out").chmod(0o500)
    with pytest.raises(PublishError, match=r"out/predictions\.csv: "):
        put(config, shop, samples.add(shop, 2.0), SECOND)
    (tmp_path / "out").chmod(0o700)
    assert outputs(tmp_path) == before


def test_a_full_disk_leaves_what_was_there(tmp_path, shop, monkeypatch):
    config = samples.config_at(tmp_path, *ALL[:3])
    put(config, shop, samples.add(shop))
    before, version = outputs(tmp_path), samples.add(shop, 2.0)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", samples.fail)
        with pytest.raises(PublishError, match="No space left"):
            put(config, shop, version, SECOND)
    assert outputs(tmp_path) == before
    assert shop.latest().run_id == FIRST
    assert finish(config, shop).run_id == SECOND
    assert shop.latest().version == version.id


def test_secrets_are_not_told(tmp_path, shop, monkeypatch):
    monkeypatch.setenv("SHOP_PASSWORD", "hunter2-and-more")
    config = samples.config_at(
        tmp_path,
        'database = "postgresql://me:${SHOP_PASSWORD}@127.0.0.1:1/shop"\ntable = "t"',
    )
    pytest.importorskip("psycopg")
    with pytest.raises(PublishError, match="table t of postgresql") as caught:
        put(config, shop, samples.add(shop))
    assert "hunter2" not in str(caught.value)


class KilledError(BaseException):
    """Ends a publication as a kill would: nobody expects it."""


# The note of it, a CSV with metadata and manifest, a Parquet file with its manifest, the latest.
REPLACED = 7


@pytest.mark.parametrize("steps", range(REPLACED + 1))
def test_a_run_that_was_killed_anywhere_is_ended_by_the_next(tmp_path, shop, monkeypatch, steps):
    """Every replacement of a file is a point of interruption, and so is the end."""
    config = samples.config_at(tmp_path, *ALL[:2])
    put(config, shop, samples.add(shop))
    old, version = outputs(tmp_path), samples.add(shop, 2.0, NEXT_DAY)
    replace, done = os.replace, []

    def count(*args):
        if len(done) == steps:
            raise KilledError
        done.append(replace(*args))

    def killed():
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", count)
        patch.setattr(shop, "fulfilled", killed)
        with pytest.raises(KilledError):
            put(config, shop, version, SECOND, NEXT_DAY)
    assert len(done) == steps
    csv = (tmp_path / "out" / "predictions.csv").read_bytes()
    finished = finish(config, shop)
    new = outputs(tmp_path)
    if steps == 0:  # the intention was not noted: nothing had begun
        assert finished is None
        assert new == old
        return
    assert csv in (old["out/predictions.csv"], new["out/predictions.csv"])
    assert old["out/predictions.csv"] != new["out/predictions.csv"]
    assert shop.latest().version == version.id
    assert shop.latest().before == (samples.add(shop).id,)
    assert finish(config, shop) is None
    for name in ("out/predictions.csv", "deep/er/predictions.parquet"):
        said = json.loads(new[f"{name}.manifest.json"])
        assert said["sha256"] == hashlib.sha256(new[name]).hexdigest()
        assert (said["run_id"], said["as_of"]) == (SECOND, NEXT_DAY)
    assert not list(tmp_path.rglob(".*.tmp"))


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_version_that_was_damaged_meanwhile_gives_way(tmp_path, shop, damage):
    config = samples.config_at(tmp_path)
    put(config, shop, samples.add(shop))
    before, version = outputs(tmp_path), samples.add(shop, 2.0)
    shop.intend(version.id, SECOND, NEXT_DAY)
    (tmp_path / "out" / "predictions.csv").write_text("half of the new ones")
    if damage == "gone":
        shutil.rmtree(version.path)
    else:
        version.file(PREDICTIONS).write_bytes(b"")
    with pytest.warns(DataWarning, match="takes its place again"):
        assert finish(config, shop).run_id == FIRST
    assert outputs(tmp_path) == before
    assert shop.intention() is None


def test_a_first_version_that_was_damaged_is_forgotten(tmp_path, shop):
    config = samples.config_at(tmp_path)
    shop.intend("0" * 16, FIRST, DAY)
    with pytest.warns(DataWarning, match="no version"):
        assert finish(config, shop) is None
    assert shop.intention() is None
    assert shop.latest() is None


def test_a_damaged_version_is_not_published(tmp_path, shop):
    config, version = samples.config_at(tmp_path), samples.add(shop)
    version.file(PREDICTIONS).write_bytes(b"")
    with pytest.raises(ArtefactError, match="damaged"):
        put(config, shop, version)
    assert outputs(tmp_path) == {}
    assert shop.intention() is None


def test_what_killed_runs_left_beside_the_targets_goes(tmp_path, shop):
    config = samples.config_at(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    ours = [f".predictions.{end}.0123abcd.tmp" for end in ("csv", "meta.json", "csv.manifest.json")]
    others = [".predictions.csv.tmp", ".orders.csv.0123abcd.tmp", ".predictions.csv.at-work1.tmp"]
    for name in (*ours, *others):
        (out / name).touch()
        os.utime(out / name, (time.time() - 60,) * 2)
    with lock(shop.folder, FIRST):
        (out / ".predictions.csv.ffffffff.tmp").touch()  # newer than this run
        os.utime(out / ".predictions.csv.ffffffff.tmp", (time.time() + 60,) * 2)
        put(config, shop, samples.add(shop))
    left = {p.name for p in out.glob(".*")}
    assert left == {*others, ".predictions.csv.ffffffff.tmp"}


def test_columns_and_rows_are_those_of_the_file(tmp_path, shop):
    config = samples.config_at(tmp_path, 'path = "p.parquet"')
    manifest = put(config, shop, samples.add(shop, drop=("b",)))[0]
    file = pq.read_table(tmp_path / "p.parquet")
    assert (manifest["rows"], manifest["columns"]) == (3, file.column_names)
