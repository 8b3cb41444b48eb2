"""evaluate and backtest: the API's numbers in files, pictures, and runs that go on."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from cli_sample import SAMPLE

import clvpredict as clv
from clvpredict.errors import ClvWarning
from clvpredict.evaluate import cells as of_cells
from clvpredict.evaluate import evaluate_holdout, tracking_table

pytestmark = pytest.mark.filterwarnings("ignore::clvpredict.errors.ClvWarning")
CUT = "1997-09-30"


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Every third customer: enough for models with dropout."""
    rows = pd.read_csv(SAMPLE, dtype=str)
    ids = rows["customer_id"].drop_duplicates()[::3]
    path = tmp_path_factory.mktemp("log") / "log.csv"
    rows[rows["customer_id"].isin(ids)].to_csv(path, index=False)
    return path


def strict(path):
    """JSON as all can read it: no NaN."""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def images(folder, count):
    from matplotlib.image import imread

    paths = sorted(folder.glob("*.png"))
    assert len(paths) >= count
    for path in paths:
        pixels = imread(path)
        assert pixels.shape[0] > 300
        assert pixels[..., :3].std() > 0.01  # something is drawn
    return {p.stem for p in paths}


def same(path, table):
    """A CSV holds this table, to the digit."""
    found = pd.read_csv(path, dtype={"decile": str, "frequency": str})
    assert found.columns.tolist() == table.columns.tolist()
    for name in table:
        one, other = found[name], table[name].reset_index(drop=True)
        if pd.api.types.is_numeric_dtype(other):
            np.testing.assert_array_equal(one.to_numpy(float), other.to_numpy(float))
        else:
            assert one.astype(str).str[:10].tolist() == other.astype(str).str[:10].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("money", [False, True])
def test_evaluate_writes_what_the_api_says(clvpredict, log, tmp_path, money):
    ask = ["--calibration-end", CUT, "--model", "mbg/nbd", "--draws", 30, "--out", "e"]
    ask += [] if money else ["--no-amount"]
    found = clvpredict("evaluate", log, *ask, "--json")
    assert found.code == 0, found.err
    rows = pd.read_csv(log)
    amount = "amount" if money else None
    split = clv.calibration_holdout(rows, calibration_end=CUT, time_unit="W", amount=amount)
    model = clv.CLVModel(clv.MBGNBD()).fit(split) if money else clv.MBGNBD().fit(split)
    want = evaluate_holdout([model], split, draws=30)
    folder = tmp_path / "e"
    same(folder / "summary.csv", want.summary().reset_index())
    tables = want.tables()
    tables["tracking"] = tracking_table([model], clv.purchase_history(rows), split)
    tables["customers"] = want.customers()
    assert ("deciles_value" in tables) == money
    for name in set(tables) - {"summary"}:
        same(folder / f"{name}.csv", tables[name])
    kept = strict(folder / "evaluation.json")
    assert set(kept) == set(tables) - {"customers"}
    assert len(kept["tracking"]["rows"]) == len(tables["tracking"])
    names = images(folder, 10)
    assert {"calibration", "reliability", "tracking", "pit_purchases"} <= names
    assert ("gain_value" in names) == money
    said = found.json
    assert said["summary"]["MBG/NBD"]["crps"] == want.summary().loc["crps", "MBG/NBD"]
    assert said["data"]["customers"] == len(split)
    assert {f"{n}.png" for n in names} == set(said["pictures"])


def test_evaluate_without_amounts_and_pictures(clvpredict, log, tmp_path):
    ask = ["--calibration-end", CUT, "--model", "nbd", "--no-amount", "--no-plots", "--out", "e"]
    found = clvpredict("evaluate", log, *ask, "--draws", 10)
    assert found.code == 0, found.err
    assert "Out of sample" in found.out
    names = {p.name for p in (tmp_path / "e").iterdir()}
    assert "deciles_purchases.csv" in names
    assert not any("value" in n or n.endswith(".png") for n in names)


BACKTEST = ["--horizon", "13W", "--cut-date", "1997-08-31", "--cut-date", "1997-11-30",
            "--model", "nbd", "--no-amount", "--draws", 10]  # fmt: skip


@pytest.mark.slow
def test_backtest_writes_what_the_api_says_and_goes_on(clvpredict, log, tmp_path, monkeypatch):
    found = clvpredict("backtest", log, *BACKTEST, "--out", "b", "--json")
    assert found.code == 0, found.err
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClvWarning)
        want = clv.backtest(
            pd.read_csv(log), [clv.NBD()], cut_dates=["1997-08-31", "1997-11-30"],
            horizons=["13W"], amount=None, draws=10, fit={"method": "mle", "seed": 0},
        )  # fmt: skip
    folder = tmp_path / "b"
    same(folder / "backtest.csv", want.table)
    same(folder / "comparison.csv", clv.compare(want))
    assert found.json["comparison"][0]["model"] == clv.compare(want)["model"][0]
    assert set(strict(folder / "backtest.json")) == {"backtest", "comparison"}
    assert "comparison" in images(folder, 3)
    # A kill leaves whole cells; what is missing or spoilt is computed again.
    cells = sorted((folder / "cells").iterdir())
    assert len(cells) == 4
    cells[0].unlink()
    cells[1].write_text("[{")
    before = (folder / "backtest.csv").read_bytes()
    computed = []
    own = of_cells.records_of
    monkeypatch.setattr(of_cells, "records_of", lambda *a: computed.append(a) or own(*a))
    again = clvpredict("backtest", log, *BACKTEST, "--out", "b", "--no-plots", "-q")
    assert (again.code, len(computed)) == (0, 2)
    assert (folder / "backtest.csv").read_bytes() == before
    computed.clear()
    clvpredict("backtest", log, *BACKTEST, "--out", "b", "--no-plots", "-q", "--fresh")
    assert len(computed) == 4
    assert (folder / "backtest.csv").read_bytes() == before


def test_a_recalibration_is_learnt_and_used(clvpredict, log, tmp_path):
    ask = ["--horizon", "9W", "--every", "9W", "--model", "nbd", "--no-amount", "--draws", 10]
    found = clvpredict("backtest", log, *ask, "--out", "b", "--recalibrate", "--no-plots")
    assert found.code == 0, found.err
    path = tmp_path / "b" / "recalibration_NBD_9W.json"
    learnt = clv.load_recalibration(path)
    assert (learnt.model, learnt.horizon) == ("nbd", 9.0)
    assert "(recalibrated)" in (tmp_path / "b" / "backtest.csv").read_text()
    clvpredict("summarize", log, "--time-unit", "W", "--no-amount", "-q")
    clvpredict("fit", "rfm.csv", "--model", "nbd", "--out", "m", "-q")
    predict = ["predict", "m", "rfm.csv", "--interval", 0.9, "--draws", 40, "--out", "p.csv"]
    found = clvpredict(*predict, "--horizon", "9W", "--recalibration", path)
    assert found.code == 0, found.err
    rfm = clv.store.read_table(tmp_path / "rfm.csv")
    want = clv.load_model(tmp_path / "m").predict(
        rfm, horizon="9W", interval=0.9, draws=40, recalibration=learnt
    )
    got = pd.read_csv(tmp_path / "p.csv")
    for column in ("expected_purchases", "p_purchase", "purchases_pi_upper"):
        np.testing.assert_array_equal(got[column], want[column])
    wrong = clvpredict(*predict, "--horizon", "26W", "--recalibration", path)
    assert wrong.code == 2
    assert "learnt for nbd and 9 weeks" in wrong.err
    (tmp_path / "broken.json").write_text("{")
    broken = clvpredict(*predict, "--horizon", "9W", "--recalibration", "broken.json")
    assert broken.code == 3
    assert "broken.json" in broken.err


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["evaluate", "--calibration-end", "1999-01-01", "--out", "e"], 3, "1999-01-01"),
        (["evaluate", "--calibration-end", "1995-01-01", "--out", "e"], 3, "1995-01-01"),
        (["evaluate", "--calibration-end", "soon", "--out", "e"], 2, "soon"),
        (["evaluate", "--calibration-end", CUT, "--out", "taken"], 2, "taken"),
        (["evaluate", "--calibration-end", CUT, "--out", "e", "--model", "x"], 2, "--model"),
        (["evaluate", "--calibration-end", CUT], 2, "--out"),
        (["evaluate", "--calibration-end", CUT, "--out", "e", "--draws", "1"], 2, "draws"),
        (["backtest", "--horizon", "13W", "--out", "e"], 2, "cut_dates"),
        (["backtest", "--every", "4W", "--out", "e"], 2, "--horizon"),
        (["backtest", "--horizon", "13W", "--every", "4W", "--out", "taken"], 2, "taken"),
        (["backtest", "--horizon", "13W", "--cut-date", "2001-01-01", "--out", "e"], 2, "2001"),
        (["backtest", "--horizon", "x", "--every", "4W", "--out", "e"], 2, "'x'"),
        (["backtest", "--horizon", "13W", "--every", "4W", "--model", "x", "--out", "e"], 2, "x"),
    ],
)
def test_exit_codes(clvpredict, log, tmp_path, args, code, said):
    (tmp_path / "taken").write_text("mine")
    command, *rest = args
    found = clvpredict(command, log, *rest)
    assert found.code == code, found.err
    assert said in found.err
    assert (tmp_path / "taken").read_text() == "mine"


def test_errors_are_json_too(clvpredict, log):
    found = clvpredict("evaluate", log, "--calibration-end", "1999-01-01", "--out", "e", "--json")
    assert found.code == found.json["error"]["code"] == 3
    missing = clvpredict("backtest", "no.csv", *BACKTEST, "--out", "e", "--json")
    assert missing.json["error"]["code"] == missing.code == 3
