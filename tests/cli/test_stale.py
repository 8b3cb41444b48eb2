"""A folder holds the files of its last run, and whatever else people keep there."""

import json

import pytest


@pytest.mark.slow  # draws all pictures
def test_a_second_run_leaves_nothing_of_the_first(clvpredict, transactions, tmp_path):
    ask = ["evaluate", str(transactions), "--model", "nbd", "--calibration-end"]
    clvpredict(*ask, "1997-09-30", "--out", "ev", "--draws", "20")
    own = tmp_path / "ev" / "notes.csv"
    own.write_text("mine")
    assert (tmp_path / "ev" / "gain_value.csv").exists()
    clvpredict(*ask, "1997-06-30", "--out", "ev", "--no-amount", "--no-plots", "--draws", "20")
    left = {p.name for p in (tmp_path / "ev").iterdir()}
    listed = set(json.loads((tmp_path / "ev" / "contents.json").read_text())["files"])
    assert left == listed | {"contents.json", "notes.csv"}
    assert not [name for name in left if "value" in name or name.endswith(".png")]


def test_a_holdout_of_days(clvpredict, transactions, tmp_path):
    done = clvpredict(
        "evaluate", str(transactions), "--calibration-end", "1998-06-27", "--out", "ev",
        "--no-plots", "--draws", "20", "--model", "nbd",
    )  # fmt: skip
    assert done.code == 0, done
    assert (tmp_path / "ev" / "tracking.csv").exists()


def test_standard_output_is_no_folder(clvpredict, transactions, tmp_path):
    done = clvpredict(
        "evaluate", str(transactions), "--calibration-end", "1997-09-30", "--out", "-"
    )
    assert done.code == 2
    assert not (tmp_path / "-").exists()
