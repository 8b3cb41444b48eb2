"""Tables come back as they were written, from CSV and from Parquet."""

import hashlib
import io
import json
import os
import uuid

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import DataError, DataWarning, OptionError
from clvpredict.rfm import provenance_of
from clvpredict.store import read_table


@pytest.fixture(scope="module")
def predictions(cdnow_rfm):
    return clv.CLVModel(clv.MBGNBD()).fit(cdnow_rfm).predict(cdnow_rfm, horizon="39W", add_new=True)


def text_of(frame, tmp_path, **options):
    path = tmp_path / "t.csv"
    clv.write_table(frame, path, **options)
    return path.read_bytes().decode("utf-8")


@pytest.mark.parametrize("name", ["p.csv", "p.parquet", "P.CSV"])
def test_predictions_come_back_exactly(predictions, tmp_path, name):
    clv.write_table(predictions, tmp_path / name)
    back = read_table(tmp_path / name)
    assert list(back.columns) == list(predictions.columns)
    numbers = [c for c in predictions.columns if c != "customer_id"]
    pd.testing.assert_frame_equal(
        back[numbers], predictions[numbers], check_exact=True, check_dtype=False
    )
    known = predictions["customer_id"].notna()
    assert back["customer_id"].isna().tolist() == (~known).tolist()
    assert back["customer_id"][known].astype(int).tolist() == list(
        predictions["customer_id"][known]
    )
    assert back.attrs == json.loads(json.dumps(predictions.attrs))


@pytest.mark.parametrize("name", ["r.csv", "r.parquet"])
def test_a_summary_keeps_its_unit(cdnow_rfm, tmp_path, name):
    clv.write_table(cdnow_rfm, tmp_path / name)
    back = read_table(tmp_path / name)
    pd.testing.assert_frame_equal(back, pd.DataFrame(cdnow_rfm), check_exact=True)
    assert provenance_of(back) == cdnow_rfm.provenance
    assert clv.MBGNBD().fit(back).time_unit_.code == "W"


def test_pandas_alone_finds_the_metadata_in_parquet(cdnow_rfm, tmp_path):
    clv.write_table(cdnow_rfm, tmp_path / "r.parquet")
    assert pd.read_parquet(tmp_path / "r.parquet").attrs == cdnow_rfm.attrs


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_equal_frames_give_equal_bytes(predictions, tmp_path, suffix):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        clv.write_table(predictions.copy(), tmp_path / name / f"t.{suffix}")
    one, other = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in "ab")
    assert one == other


def test_the_csv_is_the_one_pandas_would_write(tmp_path):
    frame = pd.DataFrame(
        {
            "customer_id": ["a,b", 'c"d', "e\nf", None, " g", "naïve ünï 🎵"],
            "whole": [1, 2, 3, 4, 5, 6],
            "missing": pd.array([1, None, 3, 4, 5, 6], "Int64"),
            "float": [np.inf, -np.inf, -0.0, 12.0, 0.1, np.nan],
            "flag": [True, False, True, True, False, False],
            "category": pd.Categorical(["x", "y", "x", "x", None, "y"]),
        }
    )
    assert text_of(frame, tmp_path) == frame.to_csv(index=False, lineterminator="\n")


def test_every_float_comes_back_exactly(tmp_path):
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [
            rng.standard_normal(20_000) * 10.0 ** rng.integers(-300, 300, 20_000),
            rng.integers(-(10**6), 10**6, 1_000),
            [0.0, 5e-324, 1.7976931348623157e308, 1e15, 1e16, 1e22, 2.0**53],
        ]
    )
    clv.write_table(pd.DataFrame({"v": values, "w": 1}), tmp_path / "v.csv")
    assert (read_table(tmp_path / "v.csv")["v"].to_numpy() == values).all()


def test_long_tables_are_written_in_pieces_that_fit_together(tmp_path):
    frame = pd.DataFrame({"customer_id": np.arange(120_001), "v": np.arange(120_001) / 7})
    clv.write_table(frame, tmp_path / "t.csv")
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv"), frame, check_exact=True)


def test_a_single_column_with_gaps_keeps_its_rows(tmp_path):
    frame = pd.DataFrame({"v": [1.5, np.nan, 2.5]})
    clv.write_table(frame, tmp_path / "t.csv")
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv"), frame)


def test_no_rows(tmp_path):
    assert text_of(pd.DataFrame({"a": [], "b": []}), tmp_path) == "a,b\n"


IDS = {
    "integers": ([3, 1, 2], [3, 1, 2]),
    "negative": ([-3, 0, 2], [-3, 0, 2]),
    "leading zeros": (["007", "7", "07"], ["007", "7", "07"]),
    "words for missing": (["NA", "null", "nan"], ["NA", "null", "nan"]),
    "unicode": (["Łódź", "東京", "a b"], ["Łódź", "東京", "a b"]),
    "too long for a number": (["12345678901234567890", "1", "2"],) * 2,
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_come_back_from_csv(tmp_path, kind):
    ids, expected = IDS[kind]
    clv.write_table(pd.DataFrame({"customer_id": ids, "v": 1.0}), tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv")["customer_id"].tolist() == expected


def test_uuids(tmp_path):
    ids = [uuid.UUID(int=1), uuid.UUID(int=2)]
    frame = pd.DataFrame({"customer_id": ids, "v": 1.0})
    clv.write_table(frame, tmp_path / "t.parquet")
    clv.write_table(frame, tmp_path / "t.csv")
    assert read_table(tmp_path / "t.parquet")["customer_id"].tolist() == ids
    assert read_table(tmp_path / "t.csv")["customer_id"].tolist() == [str(i) for i in ids]


def test_a_column_that_parquet_cannot_hold_is_named(tmp_path):
    frame = pd.DataFrame({"customer_id": [1, "a"], "v": 1.0})
    with pytest.raises(DataError, match="customer_id"):
        clv.write_table(frame, tmp_path / "t.parquet")
    assert list(tmp_path.iterdir()) == []


# --- spreadsheets -------------------------------------------------------------------------


def test_text_that_spreadsheets_would_run_is_made_harmless(tmp_path):
    frame = pd.DataFrame(
        {
            "customer_id": ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "a=b", "", "'x"],
            "value": np.arange(9) - 4.5,
            "=cmd": "safe",
        }
    )
    clv.write_table(frame, tmp_path / "t.csv", excel_safe=True)
    back = pd.read_csv(tmp_path / "t.csv", keep_default_na=False)
    assert back["customer_id"].tolist() == [
        *("'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\rx"),
        *("a=b", "", "'x"),
    ]
    assert back["value"].tolist() == frame["value"].tolist()
    assert list(back.columns) == ["customer_id", "value", "'=cmd"]


@pytest.mark.parametrize("dtype", ["str", "object", "category", "string"])
def test_all_kinds_of_text_columns(tmp_path, dtype):
    frame = pd.DataFrame({"customer_id": pd.Series(["=a", None, "b"], dtype=dtype), "v": -1})
    text = text_of(frame, tmp_path, excel_safe=True)
    assert text == "customer_id,v\n'=a,-1\n,-1\nb,-1\n"


def test_nothing_is_changed_unless_asked_for(tmp_path):
    frame = pd.DataFrame({"customer_id": ["=1+1"], "v": -1})
    assert text_of(frame, tmp_path) == "customer_id,v\n=1+1,-1\n"


def test_the_frame_itself_is_not_changed(tmp_path):
    frame = pd.DataFrame({"customer_id": ["=1+1"], "=v": -1})
    frame.attrs = {"k": np.float64(1.0)}
    before = frame.copy()
    for name in ("t.csv", "t.parquet"):
        clv.write_table(frame, tmp_path / name, excel_safe=True)
    pd.testing.assert_frame_equal(frame, before)
    assert frame.attrs == before.attrs


# --- metadata beside a CSV ----------------------------------------------------------------


def test_the_metadata_of_a_changed_csv_are_ignored_aloud(cdnow_rfm, tmp_path):
    clv.write_table(cdnow_rfm, tmp_path / "r.csv")
    with (tmp_path / "r.csv").open("a") as file:
        file.write("999999,0,0.0,10.0,0.0\n")
    with pytest.warns(DataWarning, match="describes another version"):
        back = read_table(tmp_path / "r.csv")
    assert back.attrs == {}


def test_metadata_name_their_file(cdnow_rfm, tmp_path):
    clv.write_table(cdnow_rfm, tmp_path / "r.csv")
    meta = json.loads((tmp_path / "r.meta.json").read_text())
    assert meta["file"] == "r.csv"
    assert meta["sha256"] == hashlib.sha256((tmp_path / "r.csv").read_bytes()).hexdigest()
    assert meta["attrs"]["clvpredict_rfm"]["time_unit"] == "W"


def test_metadata_do_not_outlive_their_table(cdnow_rfm, tmp_path):
    clv.write_table(cdnow_rfm, tmp_path / "r.csv")
    clv.write_table(pd.DataFrame({"a": [1], "b": [2]}), tmp_path / "r.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["r.csv"]


def test_metadata_of_others_are_left_alone(tmp_path):
    theirs = tmp_path / "r.meta.json"
    theirs.write_text('{"ours": true}')
    clv.write_table(pd.DataFrame({"a": [1], "b": [2]}), tmp_path / "r.csv")
    assert theirs.exists()
    assert read_table(tmp_path / "r.csv").attrs == {}


def test_metadata_that_json_does_not_know(tmp_path):
    frame = pd.DataFrame({"a": [1.0], "b": [2.0]})
    frame.attrs = {
        "n": np.int64(3),
        "values": np.array([1.0, np.nan]),
        "share": {np.int64(1): np.float64(0.5)},
        "when": pd.Timestamp("2025-01-01"),
        "none": pd.NA,
    }
    for name in ("t.csv", "t.parquet"):
        clv.write_table(frame, tmp_path / name)
        assert read_table(tmp_path / name).attrs == {
            "n": 3,
            "values": [1.0, None],
            "share": {"1": 0.5},
            "when": "2025-01-01 00:00:00",
            "none": None,
        }


# --- where to, and what can go wrong -------------------------------------------------------


@pytest.mark.parametrize("name", ["t.xlsx", "t", "t.csv.gz", "csv"])
def test_unknown_suffixes(predictions, tmp_path, name):
    with pytest.raises(OptionError, match=r"must end in \.csv or \.parquet"):
        clv.write_table(predictions, tmp_path / name)


def test_a_folder_that_is_not_there(predictions, tmp_path):
    with pytest.raises(OptionError, match="mkdir -p"):
        clv.write_table(predictions, tmp_path / "a" / "t.csv")


def test_a_folder_in_place_of_the_file(predictions, tmp_path):
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(OptionError, match="is a folder"):
        clv.write_table(predictions, tmp_path / "t.csv")


def test_standard_output(cdnow_rfm, capsysbinary, tmp_path):
    clv.write_table(cdnow_rfm, "-")
    clv.write_table(cdnow_rfm, tmp_path / "r.csv")
    assert capsysbinary.readouterr().out == (tmp_path / "r.csv").read_bytes()


def test_standard_output_that_takes_text_only(cdnow_rfm, monkeypatch):
    heard = io.StringIO()
    monkeypatch.setattr("sys.stdout", heard)
    clv.write_table(cdnow_rfm.head(1), "-")
    assert heard.getvalue().splitlines()[0] == ",".join(cdnow_rfm.columns)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("broken", ["replace", "fsync"])
def test_a_failed_write_leaves_the_old_table(cdnow_rfm, tmp_path, monkeypatch, suffix, broken):
    def fail(*args):
        raise OSError(28, "No space left on device")

    path = tmp_path / f"r.{suffix}"
    clv.write_table(cdnow_rfm, path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(os, broken, fail)
        with pytest.raises(OSError, match="No space"):
            clv.write_table(cdnow_rfm.head(3), path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_reading_what_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "no.csv")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("latin.csv", "customer_id,v\nMüller,1\n".encode("latin-1")),
        ("ragged.csv", b"a,b\n1,2\n1,2,3,4\n"),
        ("not.parquet", b"PAR0 hello"),
        ("empty.parquet", b""),
    ],
)
def test_reading_what_is_no_table(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        read_table(tmp_path / name)
