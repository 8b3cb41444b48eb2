"""``make demo`` leaves what it promises and tells the truth about the models."""

import pandas as pd
import pytest

import clvpredict as clv
from clvpredict import demo
from clvpredict.store import read_table


@pytest.fixture(scope="module")
def shown(tmp_path_factory, request):
    """Run it once; what it printed, and where."""
    out = tmp_path_factory.mktemp("demo") / "new" / "out"
    capture = request.getfixturevalue("module_capture")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["demo", "--out", str(out)])
        demo.main()
    return capture(), out


@pytest.fixture(scope="module")
def module_capture():
    import contextlib
    import io

    heard = io.StringIO()
    with contextlib.redirect_stdout(heard):
        yield heard.getvalue


def test_what_it_leaves(shown):
    _, out = shown
    assert {p.name for p in out.iterdir()} == {
        "calibration.png",
        "predictions.csv",
        "predictions.meta.json",
    }
    assert (out / "calibration.png").read_bytes().startswith(b"\x89PNG")
    rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W", currency="USD")
    table = clv.CLVModel(clv.MBGNBD()).fit(rfm).predict(rfm, horizon="52W")
    pd.testing.assert_frame_equal(read_table(out / "predictions.csv"), table, check_exact=True)


def test_what_it_says(shown):
    text, _ = shown
    for words in (
        "Splitting the data at 1997-09-30",
        "holdout of 39 weeks",
        "1,653.409",  # BG/NBD
        "1,576.728",  # MBG/NBD
        "2,930.101",  # the naive rule
        "1,882.000",
        "Estimates",
        "Top 10 customers",
        "predictions.csv",
        "calibration.png",
    ):
        assert words in text
