"""Whatever fails, what was there before stays readable and nothing temporary is left."""

import os
import shutil
import stat
import threading

import pytest

from clvpredict import atomic
from clvpredict.atomic import new_file, new_folder


def fail(*args, **kwargs):
    raise OSError(28, "No space left on device")


def write_folder(target, text):
    with new_folder(target) as folder:
        (folder / "a.txt").write_text(text)
        (folder / "b").mkdir()
        (folder / "b" / "c.txt").write_text(text)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture(params=["exchange", "two renames"])
def way(request, monkeypatch):
    """Both ways of replacing a folder, whatever this system can do."""
    if request.param == "two renames":
        monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    return request.param


def test_a_file_is_new_then_replaced(tmp_path):
    target = tmp_path / "x.csv"
    for text in ("one", "two"):
        with new_file(target) as temporary:
            temporary.write_text(text)
            assert temporary.parent == tmp_path
        assert target.read_text() == text
    assert names(tmp_path) == ["x.csv"]


@pytest.mark.parametrize("broken", ["replace", "fsync"])
def test_a_file_survives_a_failure(tmp_path, monkeypatch, broken):
    target = tmp_path / "x.csv"
    target.write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(os, broken, fail)
        with pytest.raises(OSError, match="No space"), new_file(target) as temporary:
            temporary.write_text("new")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["x.csv"]


def test_a_file_survives_an_interruption_while_writing(tmp_path):
    target = tmp_path / "x.csv"
    target.write_text("old")

    def interrupted():
        with new_file(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["x.csv"]


def test_a_replaced_file_keeps_its_permissions(tmp_path):
    target = tmp_path / "x.csv"
    target.write_text("old")
    target.chmod(0o640)
    with new_file(target) as temporary:
        temporary.write_text("new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path):
    real, link = tmp_path / "real.csv", tmp_path / "link.csv"
    real.write_text("old")
    link.symlink_to(real)
    with new_file(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_what_is_not_a_regular_file_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    heard = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()))
    reader.start()
    with new_file(pipe) as temporary:
        temporary.write_text("through the pipe")
    reader.join(timeout=10)
    assert heard == ["through the pipe"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_folder_is_new_then_replaced(tmp_path, way):
    target = tmp_path / "model"
    for text in ("one", "two"):
        write_folder(target, text)
        assert (target / "a.txt").read_text() == text
        assert (target / "b" / "c.txt").read_text() == text
    assert names(tmp_path) == ["model"]


def test_a_replaced_folder_loses_files_that_are_no_more(tmp_path, way):
    target = tmp_path / "model"
    write_folder(target, "one")
    with new_folder(target) as folder:
        (folder / "other.txt").write_text("two")
    assert names(target) == ["other.txt"]


def test_a_folder_behind_a_link(tmp_path, way):
    write_folder(tmp_path / "v1", "one")
    link = tmp_path / "current"
    link.symlink_to("v1")
    write_folder(link, "two")
    assert link.is_symlink()
    assert (tmp_path / "v1" / "a.txt").read_text() == "two"


def test_a_folder_survives_a_failing_flush(tmp_path, monkeypatch, way):
    target = tmp_path / "model"
    write_folder(target, "old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space"):
            write_folder(target, "new")
    assert (target / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("failing_call", [1, 2])
def test_a_folder_survives_a_failing_rename(tmp_path, monkeypatch, failing_call):
    target = tmp_path / "model"
    write_folder(target, "old")
    calls = []
    rename = os.replace

    def sometimes(*paths):
        calls.append(paths)
        if len(calls) == failing_call:
            fail()
        rename(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_exchange", lambda one, other: False)
        patch.setattr(os, "replace", sometimes)
        with pytest.raises(OSError, match="No space"):
            write_folder(target, "new")
    assert (target / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["model"]


def test_a_first_folder_that_fails_leaves_nothing(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="No space"):
            write_folder(tmp_path / "model", "new")
    assert names(tmp_path) == []


@pytest.mark.skipif(atomic._renameat2() is None, reason="only Linux lets folders change places")
def test_a_reader_never_finds_the_folder_missing_on_linux(tmp_path):
    target = tmp_path / "model"
    write_folder(target, "0")
    missing, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            if not target.exists():
                missing.append(True)

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(200):
        with new_folder(target) as folder:
            (folder / "a.txt").write_text(str(i))
    stop.set()
    reader.join()
    assert not missing
    shutil.rmtree(target)
