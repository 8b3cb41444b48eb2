"""Whole runs: what they publish, and what they keep back."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
from jobs import Job, small

import clvpredict as clv
from clvpredict.errors import DataError
from clvpredict.refit import rollback
from clvpredict.refit.errors import HeldBackError, LockedError, PublishError
from clvpredict.refit.lock import lock

HOOK = """
[hooks]
on_held_back = ["echo", "{status} {as_of}"]
"""
# No model is that good.
SHUT = ("vintages = 2", "vintages = 2\nmax_bias = 0.0001")
KEPT = ("read", "check", "summarise", "fit", "gate", "drift", "predict", "publish", "record")


@pytest.fixture(scope="module")
def orders(cdnow):
    return small(cdnow)


@pytest.fixture(scope="module")
def first(orders, tmp_path_factory):
    """A job that has run once, and its record."""
    job = Job(tmp_path_factory.mktemp("first"), orders)
    job.deliver("1998-03")
    return job, job.run()


@pytest.fixture
def job(first, tmp_path):
    """A copy of it, to go on with."""
    folder = tmp_path / "job"
    shutil.copytree(first[0].folder, folder)
    return Job(folder, first[0].orders)


def orders_until(orders, month):
    return orders[orders["date"].dt.strftime("%Y-%m") <= month]


def expected(orders, month):
    rfm = clv.rfm_summary(orders_until(orders, month), time_unit="W")
    model = clv.CLVModel(clv.MBGNBD()).fit(rfm, method="mle")
    return model.predict(rfm, horizon="13W", interval=0.9, draws=50, seed=0)


def test_a_run_publishes_what_the_api_predicts(first, orders):
    job, record = first
    assert (record.status, record.exit_code) == ("published", 0)
    table = clv.read_table(job.csv)
    pd.testing.assert_frame_equal(table, expected(orders, "1998-03"), check_exact=True)
    manifest = json.loads((job.folder / "out/predictions.csv.manifest.json").read_text())
    assert manifest["rows"] == len(table)
    assert manifest["run_id"] == record.run_id
    assert record.as_of == "1998-03-30" == str(orders_until(orders, "1998-03")["date"].max().date())


def test_every_step_is_one_line_of_json(first):
    job, record = first
    lines = (job.store.run_folder(record.run_id) / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    done = [e for e in events if e["event"] == "done"]
    assert tuple(e["step"] for e in done) == KEPT
    assert all(e["run_id"] == record.run_id and e["seconds"] >= 0 and e["says"] for e in done)
    assert set(record.timings) == set(KEPT)


def test_the_same_again_changes_nothing(job):
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in job.csv.parent.iterdir()}
    latest = job.store.latest()
    record = job.run()
    assert (record.status, record.exit_code) == ("unchanged", 0)
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in job.csv.parent.iterdir()} == before
    assert job.store.latest() == latest
    assert len(job.store.version_ids()) == 1


def test_what_is_missing_is_published_again(job):
    before = job.csv.read_bytes()
    job.csv.unlink()
    assert job.run().status == "unchanged"
    assert job.csv.read_bytes() == before


@pytest.mark.slow
def test_forced_again_gives_the_same_bytes(job):
    before = job.csv.read_bytes()
    record = job.run(force=True)
    assert record.status == "published"
    assert job.csv.read_bytes() == before
    assert len(job.store.version_ids()) == 1


def test_the_next_month_begins_where_the_last_one_ended(job, orders):
    before = job.store.latest()
    model = clv.load_model(job.store.version(before.version).file("model"))
    job.deliver("1998-04")
    record = job.run()
    assert record.status == "published"
    assert record.champion == before.version
    assert record.start["mbg/nbd"] == pytest.approx(model.params_)
    table = clv.read_table(job.csv)
    found = expected(orders, "1998-04")
    pd.testing.assert_series_equal(table["clv"], found["clv"], rtol=1e-6)
    kinds = {row["kind"] for row in record.gate["table"]}
    assert kinds == {"refitted", "as fitted", "champion", "baseline"}
    history = pd.read_parquet(job.store.folder / "history.parquet")
    assert history["as_of"].astype(str).tolist() == [before.as_of, record.as_of]


@pytest.mark.slow
def test_a_worse_model_is_held_back_and_the_published_one_predicts(job, orders):
    published = job.store.latest()
    model = clv.load_model(job.store.version(published.version).file("model"))
    job.deliver("1998-04")
    record = job.run(HOOK)
    assert record.status == "published"  # the bounds are wide
    again = job.run(HOOK, SHUT)
    assert (again.status, again.exit_code) == ("held back", 5)
    assert any(not f["ok"] and f["criterion"] == "bias" for f in again.gate["findings"])
    assert "hook" not in record.facts
    assert again.facts["hook"]["output"] == f"held back {record.as_of}\n"
    used = clv.load_model(job.store.version(again.version).file("model"))
    newest = clv.load_model(job.store.version(record.version).file("model"))
    assert used.params_ == newest.params_ != model.params_
    rfm = clv.rfm_summary(orders_until(orders, "1998-04"), time_unit="W")
    table = clv.read_table(job.csv)
    pd.testing.assert_series_equal(
        table["clv"], used.predict(rfm, horizon="13W", draws=50)["clv"], check_exact=True
    )
    forced = job.run(HOOK, SHUT, force=True)
    assert (forced.status, forced.forced) == ("published", True)


@pytest.mark.slow
def test_with_nothing_published_no_bad_model_comes_out(tmp_path, orders):
    job = Job(tmp_path, orders)
    job.deliver("1998-03")
    with pytest.raises(HeldBackError, match="no model is published that could predict"):
        job.run("", SHUT)
    record = job.store.record("latest")
    assert (record.status, record.exit_code) == ("failed", 4)
    assert not job.csv.exists()
    assert job.store.latest() is None


@pytest.mark.slow
def test_a_corrupted_delivery_is_rejected(job, orders):
    before = job.csv.read_bytes()
    april = orders[orders["date"].dt.strftime("%Y-%m") == "1998-04"]
    job.deliver("1998-04", **{"1998-04": april.assign(amount=april["amount"] * 100)})
    with pytest.raises(DataError, match="max_median_ratio"):
        job.run()
    record = job.store.record("latest")
    assert (record.status, record.exit_code) == ("rejected", 3)
    assert record.error["step"] == "check"
    assert job.csv.read_bytes() == before
    (job.folder / "orders/1998-04.csv").write_text("customer_id,date,amount\n4,1998-04-31,x\n")
    with pytest.raises(DataError, match="cannot be read as a date"):
        job.run()
    assert job.store.record("latest").status == "rejected"
    assert job.csv.read_bytes() == before
    job.deliver("1998-04")
    assert job.run().status == "published"


@pytest.mark.slow
def test_a_dry_run_publishes_nothing(job):
    before, latest = job.csv.read_bytes(), job.store.latest()
    job.deliver("1998-04")
    record = job.run(dry_run=True)
    assert (record.status, record.exit_code) == ("dry run", 0)
    assert record.gate["publish"]
    assert job.csv.read_bytes() == before
    assert job.store.latest() == latest


def test_a_locked_store_is_left_alone(job):
    with (
        lock(job.store.folder, "another"),
        pytest.raises(LockedError, match="held by run another"),
    ):
        job.run()
    assert job.store.record("latest").exit_code == 6


@pytest.mark.slow
def test_a_target_that_cannot_be_written(job):
    latest = job.store.latest()
    job.deliver("1998-04")
    job.csv.unlink()
    job.csv.mkdir()
    with pytest.raises(PublishError, match="could not be written"):
        job.run()
    assert job.store.record("latest").exit_code == 8
    assert job.store.latest() == latest
    job.csv.rmdir()
    record = job.run()
    assert (record.status, record.exit_code) == ("unchanged", 0)  # it has ended what was left
    assert clv.read_table(job.csv).shape == clv.read_table(job.published()).shape
    assert job.store.latest().as_of == record.as_of > latest.as_of


# --- slow: more runs of the same kind ------------------------------------------------------


@pytest.mark.slow
def test_nothing_later_leaks_into_a_day_that_is_rebuilt(tmp_path, orders):
    then, later = Job(tmp_path / "then", orders), Job(tmp_path / "later", orders)
    for each in (then, later):
        each.folder.mkdir()
    then.deliver("1998-02")
    a = then.run()
    then.deliver("1998-03")
    b = then.run()
    # All data are there, and later runs: the same days give the same versions.
    later.deliver("1998-02")
    assert later.run().version == a.version
    later.deliver("1998-06")
    assert later.run().status == "published"
    before = later.csv.read_bytes()
    rebuilt = later.run(as_of=b.as_of)
    assert (rebuilt.status, rebuilt.exit_code) == ("rebuilt", 0)
    assert rebuilt.version == b.version
    assert rebuilt.champion == b.champion
    assert rebuilt.gate == b.gate
    assert rebuilt.drift == b.drift
    # Only the age of the newest row is of the day that is rebuilt, and not of today.
    ageless = [[row for row in r.checks if row["check"] != "newest_row"] for r in (rebuilt, b)]
    assert ageless[0] == ageless[1]
    assert later.csv.read_bytes() == before


@pytest.mark.slow
def test_a_withdrawn_version_is_not_published_again(job):
    first = job.store.latest().version
    job.deliver("1998-04")
    second = job.run().version
    back = rollback(job.config())
    assert (back.status, back.version) == ("rolled back", first)
    record = job.run()
    assert (record.status, record.exit_code) == ("held back", 5)
    assert record.version not in (first, second)
    used = clv.load_model(job.store.version(record.version).file("model"))
    assert used.params_ == clv.load_model(job.store.version(first).file("model")).params_
    assert job.run(force=True).version == second


@pytest.mark.slow
def test_what_was_withdrawn_stays_so_from_another_start(job):
    """Back over two versions: the fit begins elsewhere, and differs in its last digits."""
    first = job.store.latest().version
    job.deliver("1998-04")
    job.run()
    job.deliver("1998-05")
    third = job.run().version
    rollback(job.config(), first)
    record = job.run()
    assert (record.status, record.exit_code) == ("held back", 5)
    assert "was withdrawn" in record.gate["decision"]
    used = clv.load_model(job.store.version(record.version).file("model"))
    assert used.params_ == clv.load_model(job.store.version(first).file("model")).params_
    assert job.run(force=True).status == "published"
    assert job.store.latest().version != first
    assert third in job.store.version_ids()


@pytest.mark.slow
def test_a_day_that_is_repeated_after_a_rollback_has_the_same_champion(job):
    first = job.store.latest().version
    job.deliver("1998-06")
    second = job.run(as_of="1998-04-30").version
    rollback(job.config())
    shut = ("vintages = 2", "vintages = 2\nmax_bias = 0.0001")
    once, again = (job.run("", shut, as_of="1998-05-31") for _ in range(2))
    assert once.champion == again.champion == first != second
    assert once.status == again.status == "held back"
    assert once.version == again.version


@pytest.mark.slow
def test_options_of_everything_before(tmp_path, orders):
    job = Job(tmp_path, orders)
    job.deliver("1998-06")
    record = job.run(
        """
        [summary]
        currency = "USD"
        [segments]
        by = "value"
        options = {shares = [0.2, 0.8]}
        [[outputs]]
        path = "out/days.parquet"
        partition = true
        """,
        ('horizons = ["13W"]', 'horizons = ["13W", "26W"]\nrecalibrate = true'),
        ('candidates = ["mbg/nbd"]', 'candidates = ["bg/nbd", "mbg/nbd"]'),
    )
    assert record.status == "published"
    table = clv.read_table(job.csv)
    assert {"clv", "clv_26W", "clv_lower", "clv_lower_26W", "p_alive", "segment"} <= set(table)
    assert "p_alive_26W" not in table
    assert (table["expected_purchases_26W"] > table["expected_purchases"]).all()
    assert table["segment"].value_counts().div(len(table)).round(1).to_dict() == {
        "Last 80 %": 0.8,
        "Top 20 %": 0.2,
    }
    said = table.attrs["clvpredict"]
    assert "recalibration" in said
    assert said["further"]["26W"]["horizon"] == 26.0
    assert {m["candidate"] for m in record.models} == {"bg/nbd", "mbg/nbd"}
    day = clv.read_table(job.folder / f"out/as_of={record.as_of}/days.parquet")
    pd.testing.assert_series_equal(day["clv"], table["clv"])
    history = pd.read_parquet(job.store.folder / "history.parquet")
    assert history["by"].value_counts().to_dict() == {"segment": 2, "all": 1}
