import importlib.util
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from clvpredict.datasets import load_cdnow
from clvpredict.errors import MissingExtraError

REPO = Path(__file__).resolve().parents[1]
COLUMNS = ["customer_id", "date", "quantity", "amount"]


@pytest.fixture(scope="module")
def sample():
    return load_cdnow()


@pytest.fixture(scope="module")
def master():
    return load_cdnow(full=True)


@pytest.mark.parametrize("which", ["sample", "master"])
def test_columns_and_types(which, request):
    frame = request.getfixturevalue(which)
    assert list(frame.columns) == COLUMNS
    assert frame["customer_id"].dtype == "int64"
    assert pd.api.types.is_datetime64_dtype(frame["date"])
    assert frame["quantity"].dtype == "int64"
    assert frame["amount"].dtype == "float64"
    assert not frame.isna().any(axis=None)
    assert frame["date"].min() == pd.Timestamp("1997-01-01")
    assert frame["date"].max() == pd.Timestamp("1998-06-30")


def test_sample_is_the_published_one(sample):
    assert len(sample) == 6_919
    assert sample["customer_id"].nunique() == 2_357
    assert (sample["amount"] == 0).sum() == 8
    first = sample.groupby("customer_id")["date"].min()
    assert first.between("1997-01-01", "1997-03-31").all()
    # First line of the raw file: 00004 0001 19970101 2 29.33
    assert sample.iloc[0].tolist() == [4, pd.Timestamp("1997-01-01"), 2, 29.33]


def test_master_leaves_out_the_header_line(master):
    assert len(master) == 69_659
    assert master["customer_id"].nunique() == 23_570
    assert master["customer_id"].min() == 1
    assert master["customer_id"].max() == 23_570


def test_sample_is_a_subset_of_the_master(sample, master):
    chosen = master[master["customer_id"].isin(sample["customer_id"])]
    pd.testing.assert_frame_equal(
        sample.sort_values(COLUMNS, ignore_index=True),
        chosen.sort_values(COLUMNS, ignore_index=True),
    )


def test_sample_is_what_its_script_makes():
    script = REPO / "scripts" / "make_sample.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_master_without_the_extra_names_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"CDNOW master.*pip install.*\[lifetimes\]"):
        load_cdnow(full=True)
