"""Recalibrations as files: they come back whole, or it is said why not."""

import json

import pytest

import clvpredict as clv
from clvpredict.errors import ArtefactError
from clvpredict.predict import Correction, Recalibration


@pytest.fixture
def learnt():
    part = Correction((0.0, 0.31, 0.7, 1.0), 0.8, 1.0 / 0.93, 0.7, 0.123456789012345)
    return Recalibration("mbg/nbd", 26.0, "W", ("1997-01-01", "1997-04-01"), "1997-10-01", part)


@pytest.fixture
def path(learnt, tmp_path):
    clv.save_recalibration(learnt, tmp_path / "r.json")
    return tmp_path / "r.json"


def test_it_comes_back(learnt, path):
    assert clv.load_recalibration(path) == learnt
    assert clv.load_recalibration(str(path)) == learnt
    assert [p.name for p in path.parent.iterdir()] == ["r.json"]


def test_with_value(learnt, tmp_path):
    both = Recalibration(**{**vars(learnt), "value": learnt.purchases})
    clv.save_recalibration(both, tmp_path / "v.json")
    assert clv.load_recalibration(tmp_path / "v.json") == both


def test_an_existing_one_is_replaced(learnt, path):
    other = Recalibration(**{**vars(learnt), "horizon": 13.0})
    clv.save_recalibration(other, path)
    assert clv.load_recalibration(path) == other


@pytest.mark.parametrize(
    "content",
    [b"", b'{"kind": "clvpre', b"\xff\xfe\x00", b"[]", b"3", b'{"kind": "something"}', b"null"],
)
def test_what_is_none_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=r"r\.json"):
        clv.load_recalibration(path)


def test_what_is_not_there_or_a_folder(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(ArtefactError, match="cannot be read as a recalibration"):
            clv.load_recalibration(path)


@pytest.mark.parametrize("version", [2, None, "1"])
def test_another_version(path, version):
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": version}))
    with pytest.raises(ArtefactError, match="schema version"):
        clv.load_recalibration(path)


@pytest.mark.parametrize(
    "change",
    [
        {"purchases": None},
        {"purchases": {"curve": [0, 1]}},
        {"horizon": None},
        {"horizon": "26W"},
        {"time_unit": "?"},
        {"vintages": 3},
        {"extra": 1},
    ],
)
def test_a_file_that_was_changed(path, change):
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ArtefactError, match=r"r\.json: "):
        clv.load_recalibration(path)


def test_every_piece_that_is_missing_is_noticed(path):
    whole = json.loads(path.read_text())
    for name in set(whole) - {"value"}:
        path.write_text(json.dumps({k: v for k, v in whole.items() if k != name}))
        with pytest.raises(ArtefactError):
            clv.load_recalibration(path)
