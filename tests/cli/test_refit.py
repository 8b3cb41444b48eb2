"""A scheduled job as its operator meets it: init, check, refit, runs, show, diff, rollback."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from cli_sample import ROOT, SAMPLE
from typer.testing import CliRunner

from clvpredict.cli import app
from clvpredict.refit import Store
from clvpredict.refit.lock import lock

PASSWORD = "hunter@2/three"
FILLED_IN = (
    ('horizons = ["52W"]', 'horizons = ["13W"]'),
    ('#method = "laplace"', 'method = "mle"'),
    ("#draws = 500", "draws = 50"),
    ('#horizon = "13W"', 'horizon = "8W"'),
    ("#vintages = 3", "vintages = 1"),
)
STEPS = ("read", "check", "summarise", "fit", "gate", "drift", "predict", "publish", "record")
SHUT = ("#max_bias = 25.0", "max_bias = 0.0001")  # no model is that good


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        return json.loads(self.out)


@dataclass
class Job:
    """The folder of a job, and the program called on it."""

    folder: Path

    def call(self, command: str, *args: object) -> Outcome:
        config = self.folder / "job.toml"
        given = [config] if command in ("init", "check", "refit") else ["-c", config]
        words = [command, *map(str, args), *map(str, given)]
        result = CliRunner(env={"COLUMNS": "80"}).invoke(app, words)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    def change(self, *changes: tuple[str, str]) -> None:
        path = self.folder / "job.toml"
        text = path.read_text()
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        path.write_text(text)

    def deliver(self, until: str) -> None:
        """Put the months up to one in place: every tenth customer."""
        log = pd.read_csv(SAMPLE)
        log = log[log["customer_id"].isin(log["customer_id"].unique()[::10])]
        folder = self.folder / "orders"
        folder.mkdir(exist_ok=True)
        for month, rows in log.groupby(log["date"].str[:7]):
            if str(month) <= until:
                rows.to_csv(folder / f"{month}.csv", index=False)

    @property
    def store(self) -> Store:
        return Store.at(self.folder / "clvpredict-store")

    @property
    def csv(self) -> Path:
        return self.folder / "out" / "predictions.csv"

    def everything(self) -> bytes:
        """All that the job has written, in one."""
        files = (p for p in self.folder.rglob("*") if p.is_file())
        return b"\n".join(p.read_bytes() for p in files)


@pytest.fixture(scope="module")
def calls(tmp_path_factory) -> tuple[Job, dict[str, Outcome]]:
    """A job that was published in March; in April its gate was shut."""
    job = Job(tmp_path_factory.mktemp("job"))
    said = {"init": job.call("init", "--name", "cdnow")}
    job.change(*FILLED_IN)
    job.deliver("1998-03")
    said["check"] = job.call("check")
    said["first"] = job.call("refit")
    job.deliver("1998-04")
    job.change(SHUT)
    said["second"] = job.call("refit", "--json")
    return job, said


@pytest.fixture
def job(calls, tmp_path) -> Job:
    """A copy of it, to go on with."""
    shutil.copytree(calls[0].folder, tmp_path / "job")
    return Job(tmp_path / "job")


# --- the way of a user -------------------------------------------------------------------------


def test_init_and_check(calls):
    said = calls[1]
    assert said["init"].code == 0
    assert "Fill it in, then: clvpredict check" in said["init"].out
    assert said["check"].code == 0
    for words in ("can be used", "cdnow, seed 0", "orders/*.csv (15 files now)", "--dry-run"):
        assert words in said["check"].out


def test_a_run_says_its_steps_and_how_it_ended(calls):
    job, said = calls
    assert said["first"].code == 0
    steps = re.findall(r"^(\w+) \.\.\.$", said["first"].out, re.MULTILINE)
    assert steps == [
        "read",
        "check",
        "summarise",
        "fit",
        "gate",
        "drift",
        "predict",
        "publish",
        "record",
    ]
    record = job.store.records()[-1]
    assert f"Published version {record.version}." in said["first"].out
    assert f"all of it: clvpredict show {record.run_id}" in said["first"].out
    assert re.search(r"^ mbg/nbd, as fitted( +-?\d+\.\d{3}){5} $", said["first"].out, re.MULTILINE)


def test_json_is_one_object(calls):
    job, said = calls
    assert said["second"].code == 5
    assert said["second"].err == ""
    found = said["second"].json
    assert found["command"] == "refit"
    assert found["run"] == job.store.record("latest").model_dump(mode="json")
    assert (found["run"]["status"], found["run"]["exit_code"]) == ("held back", 5)


def test_runs(calls):
    job, _ = calls
    second, first = job.store.records()
    lines = job.call("runs").out.splitlines()
    assert [line.split() for line in lines if re.match(r" \d{8}T", line)] == [
        [second.run_id, second.as_of, "held", "back", second.version, "*"],
        [first.run_id, first.as_of, "published", first.version],
    ]
    assert max(map(len, lines)) <= 80
    found = job.call("runs", "--json", "--last", 1).json
    assert [run["run_id"] for run in found["runs"]] == [second.run_id]
    assert found["latest"]["version"] == second.version
    assert "1 older ones: --last 2" in job.call("runs", "--last", 1).out


def test_show(calls):
    job, _ = calls
    second, first = job.store.records()
    text = job.call("show").out
    assert f"Run {second.run_id} of cdnow" in text
    assert "held back" in text
    assert "Gate: held back, the champion stays." in text
    assert "allowed: 0.0001 % either way, [gate] max_bias" in text
    assert re.search(rf"^ published before +{first.version} +$", text, re.MULTILINE)
    assert "rows in" in text
    assert job.call("show", first.run_id[:-2], "--json").json["run"]["run_id"] == first.run_id


def test_diff(calls):
    job, _ = calls
    second, first = job.store.records()
    text = job.call("diff", first.version[:6], second.version, "--top", 2).out
    assert f"a: version {first.version} of {first.as_of}, run {first.run_id}" in text
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    estimate = r"[\d.,]+ \([\d.,]+ to [\d.,]+\)"
    assert re.search(rf"^ MBG/NBD alpha +{estimate} +{estimate} +[+-]0\.0% $", text, re.MULTILINE)
    assert re.search(r"^ gate\.max_bias +None +0\.0001? ", text, re.MULTILINE)
    found = job.call("diff", first.version, "--json").json["difference"]
    assert found["counts"] == {"both": 236, "new": 0, "gone": 0}
    assert found["b"]["version"] == second.version


def test_rollback(job):
    _, first = job.store.records()
    found = job.call("rollback")
    assert found.code == 0
    assert f"Went back to version {first.version}." in found.out
    assert job.store.latest().version == first.version
    assert job.store.records()[0].status == "rolled back"
    again = job.call("rollback")
    assert again.code == 2
    assert "Error: " in again.err


# --- exit codes ----------------------------------------------------------------------------------


def test_0_nothing_has_changed(job):
    # What the published model predicted is judged again; what a new one did is not.
    job.call("rollback")
    before = job.csv.read_bytes()
    (job.folder / "orders/1998-04.csv").unlink()
    job.change(SHUT[::-1])
    found = job.call("refit")
    assert found.code == 0
    assert "Nothing has changed" in found.out
    assert job.csv.read_bytes() == before


def test_2_a_configuration_with_problems(job):
    job.change(('method = "mle"', 'method = "guess"'), ("draws = 50", "draws = 1"))
    for command in ("check", "refit"):
        found = job.call(command)
        assert found.code == 2
        assert found.err.count("line ") == 2
        assert "guess" in found.err
    assert job.call("check", "--json").json["error"]["code"] == 2


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["refit", "--as-of", "yesterday"], "ISO date"),
        (["refit", "--wait", "-1"], "--wait"),
        (["show", "1999"], "no run"),
        (["diff", "1999"], "1999"),
        (["init"], "is there already"),
    ],
)
def test_2_options(calls, args, says):
    found = calls[0].call(*args)
    assert found.code == 2
    assert says in found.err


def test_3_a_corrupted_delivery(job):
    before = job.csv.read_bytes()
    path = job.folder / "orders/1998-04.csv"
    rows = pd.read_csv(path)
    rows.assign(amount=rows["amount"] * 1000).to_csv(path, index=False)
    # Those of April count as new only if no accepted run has seen them.
    job.store.save(job.store.records()[0].model_copy(update={"status": "failed"}))
    found = job.call("refit", "--quiet")
    assert (found.code, found.out) == (3, "")
    assert "max_median_ratio" in found.err
    assert "--force" in found.err
    assert job.csv.read_bytes() == before
    shown = job.call("show").out
    assert "rejected" in shown
    assert "ended in 'check'" in shown
    assert "checks passed" in shown


def test_3_errors_name_the_keys_of_the_configuration(job):
    """The functions below know arguments only."""
    job.change(('#returns = "net"', 'returns = "error"'))
    path = job.folder / "orders/1998-04.csv"
    rows = pd.read_csv(path)
    rows.loc[0, "amount"] = -5.0
    rows.to_csv(path, index=False)
    found = job.call("refit")
    assert found.code == 3
    assert "returns=" in found.err
    assert "In the configuration returns=... is returns under [summary]." in found.err
    assert "On the command line" not in found.err


def test_6_another_run_holds_the_store(job):
    with lock(job.store.folder, "another"):
        found = job.call("refit", "--wait", "0.1")
    assert found.code == 6
    assert "run another" in found.err
    assert "--wait" in found.err
    with lock(job.store.folder, "another"):
        assert job.call("rollback", "--json").json["error"]["code"] == 6


def test_wait_until_another_run_has_ended(job):
    held = lock(job.store.folder, "another")
    held.__enter__()
    timer = threading.Timer(0.5, held.__exit__, (None, None, None))
    timer.start()
    began = time.monotonic()
    found = job.call("rollback", "--wait", "60")
    timer.join()
    assert found.code == 0
    assert time.monotonic() - began > 0.4


DATABASE = """
[source]
database = "postgresql://ann:${SHOP_PASSWORD}@127.0.0.1:1/shop"
table = "orders"
attempts = 2
first_wait = 0.01
[[outputs]]
path = "out/predictions.csv"
[hooks]
on_failed = ["echo", "{message}", "${SHOP_PASSWORD}"]
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_7_a_source_that_is_not_reached_and_its_password(tmp_path, monkeypatch, form):
    pytest.importorskip("psycopg")
    monkeypatch.setenv("SHOP_PASSWORD", PASSWORD)
    job = Job(tmp_path)
    (tmp_path / "job.toml").write_text(f'{DATABASE}[log]\nformat = "{form}"\n')
    found = job.call("refit")
    assert found.code == 7
    assert "127.0.0.1" in found.err
    told = [
        found,
        job.call("show"),
        job.call("show", "--json"),
        job.call("runs"),
        job.call("check"),
    ]
    record = job.store.record("latest")
    assert record.facts["hook"]["output"].strip().endswith("***")
    for text in (*(t.out + t.err for t in told), job.everything().decode()):
        assert PASSWORD not in text
        assert "hunter" not in text


def test_8_predictions_that_cannot_be_written(job):
    latest = job.store.latest()
    job.change(SHUT[::-1])
    job.call("rollback")
    (job.folder / "orders/1998-04.csv").unlink()
    job.csv.unlink()
    job.csv.mkdir()
    found = job.call("refit")
    assert found.code == 8
    assert "could not be written" in found.err
    assert job.store.latest().version in latest.before


# --- how it is said ------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_line_of_json_a_step(job):
    job.call("rollback")
    job.change(('#format = "text"', 'format = "json"'), SHUT[::-1])
    (job.folder / "orders/1998-04.csv").unlink()
    found = job.call("refit")
    events = [json.loads(line) for line in found.out.splitlines()]
    run = job.store.record("latest").run_id
    assert [e["step"] for e in events if e["event"] == "done"] == ["read", "publish", "record"]
    assert {e["run_id"] for e in events} == {run}
    kept = (job.store.run_folder(run) / "events.jsonl").read_text()
    assert found.out == kept
    assert job.call("refit", "--quiet").out == ""
    assert job.call("refit", "--json").json["run"]["status"] == "unchanged"


def test_a_source_without_files_is_told(job):
    assert "no file yet" not in job.call("check").out
    job.change(('path = "orders/*.csv"', 'path = "ordres/*.csv"'))
    found = job.call("check")
    assert found.code == 0
    assert "the source has no file yet: look at path under [source]" in found.out


def test_variables_that_are_not_set_are_told(tmp_path, monkeypatch):
    monkeypatch.delenv("SHOP_PASSWORD", raising=False)
    job = Job(tmp_path)
    (tmp_path / "job.toml").write_text(DATABASE)
    found = job.call("check")
    assert found.code == 0
    assert "the environment variable SHOP_PASSWORD is not set" in found.out
    assert "SHOP_PASSWORD" in job.call("check", "--json").json["warnings"][0]["message"]
    assert job.call("refit").code == 2
    monkeypatch.setenv("SHOP_PASSWORD", PASSWORD)
    assert job.call("check", "--json").json["warnings"] == []


def test_a_password_in_the_file_is_refused_and_not_repeated(tmp_path):
    job = Job(tmp_path)
    (tmp_path / "job.toml").write_text(DATABASE.replace("${SHOP_PASSWORD}", "hunter2three"))
    for command in ("check", "refit"):
        found = job.call(command)
        assert found.code == 2
        assert "${" in found.err
        assert "hunter" not in found.out + found.err
    assert not (tmp_path / "clvpredict-store").exists()


def test_before_the_first_run(tmp_path):
    job = Job(tmp_path)
    job.call("init")
    (tmp_path / "orders").mkdir()
    nothing = job.call("runs")
    assert nothing.code == 2
    assert "The first run makes it: clvpredict refit" in nothing.err
    found = job.call("refit")
    assert found.code == 3
    assert "no file matches" in found.err
    assert "Nothing is published yet" in job.call("runs").out


# --- slow: whole runs ----------------------------------------------------------------------------


@pytest.mark.slow
def test_dry_run_force_and_as_of(job):
    _, first = job.store.records()
    before, latest = job.csv.read_bytes(), job.store.latest()
    dry = job.call("refit", "--dry-run", "--force")
    assert dry.code == 0
    assert "A dry run: version" in dry.out
    assert job.csv.read_bytes() == before
    assert job.store.latest() == latest
    forced = job.call("refit", "--force")
    assert forced.code == 0
    assert "Published version" in forced.out
    shown = job.call("show").out
    assert "published (forced)" in shown
    assert "Gate: forced, though it should be held back" in shown
    assert job.csv.read_bytes() != before
    text = job.call("diff", first.run_id).out
    # Another model by now, whose intervals meet those of the first: no star.
    changes = re.findall(r"^ MBG/NBD \w+ .* ([+-]\d+\.\d)% $", text, re.MULTILINE)
    assert len(changes) == 4
    assert any(float(change) for change in changes)
    past = job.call("refit", "--as-of", first.as_of)
    assert past.code == 4  # that day, nothing was published that could predict
    job.change(SHUT[::-1])
    past = job.call("refit", "--as-of", first.as_of)
    assert past.code == 0
    assert f"{first.as_of} is before what is published; only rebuilt" in past.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "says"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "KeyboardInterrupt")]
)
def test_a_run_that_is_told_to_end_is_recorded(job, number, says):
    before = job.csv.read_bytes()
    # What a shell starts in the background, tests too, does not hear of Ctrl-C.
    code = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {str(ROOT)!r})
from clvpredict.cli import main
main()
"""
    program = subprocess.Popen(
        [sys.executable, "-c", code, "refit", "job.toml"],
        cwd=job.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    while "fit ..." not in program.stdout.readline():
        assert program.poll() is None
    program.send_signal(number)
    _, complaints = program.communicate(timeout=120)
    assert program.returncode == 128 + number
    assert "Traceback" not in complaints
    record = job.store.record("latest")
    assert (record.status, record.exit_code) == ("failed", 128 + number)
    assert says in record.error["message"]
    assert job.csv.read_bytes() == before
    assert job.call("refit", "--force").code == 0
