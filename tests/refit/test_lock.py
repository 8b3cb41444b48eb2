"""One run at a time; the lock of a process that is gone is taken over, by one."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clvpredict.errors import OptionError
from clvpredict.refit.errors import LockedError
from clvpredict.refit.lock import FILE, Owner, Process, lock, read_owner

FIGHT = Path(__file__).parent / "lock_fight.py"
NEXT = "20261122T100000Z-bbbbbb"
LAST = "20261121T100000Z-aaaaaa"
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def left(folder, **changes):
    """A lock that a run has left, of this process unless changed."""
    said = Process.this().model_dump() | {"run_id": LAST, "started": "2026-11-21T10:00:00Z"}
    (folder / FILE).write_text(json.dumps(said | changes))


def a_dead_pid():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_lock_says_whose_it_is_and_goes(tmp_path):
    with lock(tmp_path, NEXT) as before:
        assert before is None
        owner = read_owner(tmp_path)
        assert owner.run_id == NEXT
        assert owner.pid == os.getpid()
        assert owner.runs()
        with pytest.raises(LockedError) as caught, lock(tmp_path, LAST):
            pass
        message = str(caught.value)
        assert f"run {NEXT} (process {os.getpid()} on {owner.host}) since" in message
        assert "--wait 600" in message
        assert caught.value.exit_code == 6
        assert read_owner(tmp_path) == owner
    assert list(tmp_path.iterdir()) == []


def test_a_lock_goes_with_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), lock(tmp_path, NEXT):
        raise ZeroDivisionError
    assert read_owner(tmp_path) is None


def test_waiting_ends(tmp_path):
    left(tmp_path)
    began = time.monotonic()
    with pytest.raises(LockedError, match=r"I waited for 0\.3 s"), lock(tmp_path, NEXT, wait=0.3):
        pass
    assert 0.3 <= time.monotonic() - began < 2
    assert read_owner(tmp_path).run_id == LAST


@pytest.mark.parametrize("wait", [-1, float("nan"), float("inf")])
def test_a_wait_is_a_number_of_seconds(tmp_path, wait):
    with pytest.raises(OptionError, match="such as 600"), lock(tmp_path, NEXT, wait=wait):
        pass


@on_linux
@pytest.mark.parametrize("stale", ["no such process", "another boot", "another process"])
def test_a_stale_lock_is_taken_over(tmp_path, stale):
    changes = {
        "no such process": lambda: {"pid": a_dead_pid()},
        "another boot": lambda: {"boot_id": "00000000-0000-0000-0000-000000000000"},
        "another process": lambda: {"process_start": "1"},
    }
    left(tmp_path, **changes[stale]())
    with lock(tmp_path, NEXT) as before:
        assert before == LAST
        assert read_owner(tmp_path).run_id == NEXT


@on_linux
def test_one_that_has_ended_and_was_not_waited_for_is_gone(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=-1)
    start = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
    owner = Process(**Process.this().model_dump() | {"pid": process.pid, "process_start": start})
    assert owner.runs()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
    assert owner.is_gone()
    process.communicate()


@pytest.mark.parametrize(
    "where",
    [
        {"host": "elsewhere", "boot_id": "00000000-0000-0000-0000-000000000000"},
        {"host": "elsewhere", "boot_id": None},
    ],
    ids=["other machine", "unknown"],
)
def test_a_lock_of_elsewhere_is_never_stale(tmp_path, where):
    left(tmp_path, pid=a_dead_pid(), **where)
    with pytest.raises(LockedError, match=f"rm {tmp_path / FILE}"), lock(tmp_path, NEXT):
        pass
    assert read_owner(tmp_path).run_id == LAST


@on_linux
@pytest.mark.parametrize(
    ("name", "returned"),
    [
        ("_boot_id", "00000000-0000-0000-0000-000000000000"),  # another machine of this name
        ("_start_of", "1"),  # /proc is of another container
    ],
)
def test_a_file_that_is_held_is_no_stale_lock(tmp_path, monkeypatch, name, returned):
    with lock(tmp_path, LAST):
        monkeypatch.setattr(f"clvpredict.refit.lock.{name}", lambda *_: returned)
        assert read_owner(tmp_path).is_gone()
        with pytest.raises(LockedError), lock(tmp_path, NEXT):
            pass
        assert read_owner(tmp_path).run_id == LAST


@on_linux
def test_a_process_that_may_not_be_looked_up_is_not_gone(tmp_path, monkeypatch):
    monkeypatch.setattr("clvpredict.refit.lock._start_of", lambda pid: None)
    left(tmp_path, process_start="1")
    assert not read_owner(tmp_path).is_gone()
    with pytest.raises(LockedError), lock(tmp_path, NEXT):
        pass


@on_linux
@pytest.mark.parametrize("where", [{"host": "elsewhere"}, {"namespace": "pid:[1]"}])
def test_a_lock_of_another_container_is_held_as_long_as_its_process_lives(tmp_path, where):
    """Its pid says nothing here; whether it keeps the file locked does, however it ended."""
    holding = f"""
import time
from pathlib import Path
from clvpredict.refit import lock
there = {where!r}
this = lock.Process.this().model_copy(update=there)
lock.Process.this = classmethod(lambda cls: this)
with lock.lock(Path({str(tmp_path)!r}), {LAST!r}):
    print("held", flush=True)
    time.sleep(100)
"""
    with subprocess.Popen([sys.executable, "-c", holding], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match=f"rm {tmp_path / FILE}"), lock(tmp_path, NEXT):
            pass
        assert read_owner(tmp_path).run_id == LAST
        process.kill()
    with lock(tmp_path, NEXT) as before:
        assert before == LAST
        assert read_owner(tmp_path).run_id == NEXT
    assert list(tmp_path.iterdir()) == []


def test_without_proc_a_pid_has_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("clvpredict.refit.lock._read", lambda path: None)
    monkeypatch.setattr("clvpredict.refit.lock._namespace", lambda: None)
    assert Process.this().process_start is None
    left(tmp_path)
    with pytest.raises(LockedError), lock(tmp_path, NEXT):
        pass
    left(tmp_path, pid=a_dead_pid())
    with lock(tmp_path, NEXT) as before:
        assert before == LAST


def test_a_lock_that_cannot_be_read_is_nobodys_to_take(tmp_path):
    (tmp_path / FILE).write_text("{")
    with pytest.raises(LockedError, match="rm "), lock(tmp_path, NEXT):
        pass
    assert (tmp_path / FILE).read_text() == "{"


def test_another_lock_in_our_place_stays(tmp_path):
    with lock(tmp_path, NEXT):
        (tmp_path / FILE).unlink()
        left(tmp_path)
    assert read_owner(tmp_path).run_id == LAST


def test_our_lock_goes_however_it_looks(tmp_path):
    with lock(tmp_path, NEXT):
        (tmp_path / FILE).write_text("{")
    assert list(tmp_path.iterdir()) == []


def test_an_owner_of_a_later_version_is_understood(tmp_path):
    left(tmp_path, hue="green")
    assert isinstance(read_owner(tmp_path), Owner)


def fight(folder, *options):
    command = [sys.executable, str(FIGHT), str(folder), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_of_two_processes_one_waits_and_both_get_it(tmp_path):
    left(tmp_path, pid=a_dead_pid())
    done = fight(tmp_path, 2, 2)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "count").read_text() == "4"
    assert read_owner(tmp_path) is None


@pytest.mark.slow
def test_eight_processes_and_some_that_die_with_it(tmp_path):
    for _ in range(3):
        (tmp_path / "count").unlink(missing_ok=True)
        left(tmp_path, pid=a_dead_pid())
        done = fight(tmp_path, 8, 6, "die")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "count").read_text() == "48"
