"""What goes wrong is said once, to standard error, without a traceback, with its exit code."""

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv

OK, USAGE, BAD_DATA, NOT_CONVERGED = 0, 2, 3, 4


def test_help_and_version(clvpredict):
    for args in (["--help"], ["-h"], ["run", "--help"]):
        found = clvpredict(*args)
        assert found.code == OK
        assert "Usage" in found.out
    text = " ".join(clvpredict("--help").out.split())
    for code in ("0 fine", "2 an option", "3 the data", "4 a", "1 anything else"):
        assert code in text
    assert clvpredict("--version").out == f"clvpredict {clv.__version__}\n"


USAGES = {
    "no arguments": ([], "Usage"),
    "unknown command": (["rn"], "No such command"),
    "unknown option": (["run", "LOG", "--horizn", "3"], "--horizon"),
    "text for a number": (["run", "LOG", "--discount-rate", "high"], "discount-rate"),
    "model": (["run", "LOG", "--model", "bgnbd"], "Did you mean 'bg/nbd'?"),
    "method": (["run", "LOG", "--method", "guess"], "'nuts'"),
    "horizon": (["run", "LOG", "--horizon", "5X"], "--horizon"),
    "negative horizon": (["run", "LOG", "--horizon", "-3"], "horizon"),
    "rate": (["run", "LOG", "--discount-rate", "-1"], "discount_rate"),
    "discounting": (["run", "LOG", "--discounting", "daily"], "continuous"),
    "unit": (["run", "LOG", "--time-unit", "fortnight"], "time_unit"),
    "collapse": (["run", "LOG", "--collapse", "Y"], "collapse"),
    "returns": (["run", "LOG", "--returns", "keep"], "returns"),
    "margin": (["run", "LOG", "--margin", "shar"], "margin"),
    "percentage": (["run", "LOG", "--margin", "30%"], "must be a share, 0.3"),
    "money without amounts": (["run", "LOG", "--no-amount", "--margin", "0.3"], "need amounts"),
    "suffix": (["run", "LOG", "--out", "p.xlsx"], ".parquet"),
    "no folder": (["run", "LOG", "--out", "no/p.csv"], "mkdir -p"),
    "two outputs": (["run", "LOG", "--out", "-", "--json"], "standard output"),
    "the log itself": (["summarize", "LOG", "--out", "LOG"], "is an input"),
    "the logs of a pattern": (["run", "LOG*", "--out", "LOG"], "is an input"),
    "the summary itself": (["predict", "model", "RFM", "--out", "RFM"], "is an input"),
    "endless value": (
        ["run", "LOG", "--horizon", "inf", "--discounting", "none"],
        "infinite",
    ),
    "folder of others": (["fit", "RFM", "--out", "taken"], "is not a clvpredict model"),
}


@pytest.mark.filterwarnings("ignore::clvpredict.errors.DropoutWarning")
@pytest.mark.parametrize("case", USAGES)
def test_usage(clvpredict, transactions, rfm_file, tmp_path, case):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "theirs.txt").write_text("x")
    args, message = USAGES[case]
    files = {"LOG": transactions, "LOG*": f"{transactions}*", "RFM": rfm_file}
    found = clvpredict(*(files.get(a, a) for a in args))
    assert found.code == USAGE
    assert message in found.err + found.out
    assert "Traceback" not in found.err
    assert not (tmp_path / "predictions.csv").exists()


def test_missing_files(clvpredict, rfm_file, model_folder):
    for args in (
        ["run", "no.csv"],
        ["summarize", "no.parquet"],
        ["fit", "no.csv", "--out", "m"],
        ["predict", "no-model", rfm_file],
        ["predict", model_folder, "no.csv"],
        ["info", "no.csv"],
    ):
        found = clvpredict(*args)
        assert found.code == BAD_DATA, args
        assert found.err.startswith("Error: ")
        assert "no" in found.err


def test_all_problems_of_the_data_at_once(clvpredict):
    log = pd.DataFrame(
        {
            "customer_id": ["a", "a", None, "b"],
            "date": ["2025-01-01", "yesterday", "2025-01-02", "2025-01-03"],
            "amount": ["1", "2", "3", "much"],
        }
    )
    log.to_csv("log.csv", index=False)
    found = clvpredict("run", "log.csv")
    assert found.code == BAD_DATA
    assert "3 problems" in found.err
    for word in ("yesterday", "much", "null"):
        assert word in found.err


def test_a_misnamed_column_is_said_in_options(clvpredict):
    pd.DataFrame({"cust": [1], "date": ["2025-01-01"], "amount": [1]}).to_csv("l.csv", index=False)
    found = clvpredict("run", "l.csv")
    assert found.code == BAD_DATA
    assert "On the command line customer_id=... is --customer-id" in found.err


def test_nothing_on_standard_input(clvpredict):
    for args in (["run", "-"], ["summarize", "-"], ["fit", "-", "--out", "m"]):
        found = clvpredict(*args, stdin=b"")
        assert found.code == BAD_DATA
        assert "nothing came" in found.err


def test_strict(clvpredict, transactions):
    args = ["run", transactions, "--observation-end", "1997-12-31", "-q"]
    assert clvpredict(*args, "--model", "mbg/nbd").code == OK
    assert clvpredict(*args, "--strict").code == BAD_DATA


def test_a_corrupt_model(clvpredict, rfm_file, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.json").write_text("{")
    found = clvpredict("predict", "m", rfm_file)
    assert found.code == BAD_DATA
    assert "cannot be read" in found.err


def test_a_model_of_spend_alone(clvpredict, rfm_file):
    clv.save_model(clv.GammaGamma.from_params(p=6.25, q=3.74, v=15.4), "m")
    found = clvpredict("predict", "m", rfm_file)
    assert found.code == USAGE
    assert "GammaGamma alone" in found.err


def test_a_summary_with_problems(clvpredict, model_folder):
    frame = pd.DataFrame(
        {"customer_id": [1, 1], "frequency": [0, 2], "recency": [3.0, 9.0], "T": [5.0, 5.0]}
    )
    frame.to_csv("r.csv", index=False)
    found = clvpredict("predict", model_folder, "r.csv")
    assert found.code == BAD_DATA
    assert "recency > T" in found.err
    assert "monetary_value" in found.err


def test_no_optimum(clvpredict, rfm_file, monkeypatch):
    def fail(*args):
        raise clv.errors.ConvergenceError("BG/NBD: no optimum found; try other starting values")

    monkeypatch.setattr("clvpredict.estimators.base.fit_model", fail)
    found = clvpredict("fit", rfm_file, "--out", "m")
    assert found.code == NOT_CONVERGED
    assert "no optimum" in found.err
    assert "Traceback" not in found.err


def test_errors_in_json(clvpredict):
    found = clvpredict("run", "no.csv", "--json")
    assert found.code == BAD_DATA
    assert found.json["error"]["type"] == "DataError"
    assert found.json["error"]["code"] == BAD_DATA
    assert "no.csv" in found.err


def test_quiet_still_tells_errors(clvpredict):
    found = clvpredict("run", "no.csv", "--quiet")
    assert (found.code, found.out) == (BAD_DATA, "")
    assert "no.csv" in found.err


def test_a_full_disk(clvpredict, transactions, monkeypatch):
    def fail(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        found = clvpredict("summarize", transactions)
    assert found.code == 1
    assert "No space left" in found.err


def test_a_fault_of_ours_is_not_hidden(clvpredict, transactions, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("clvpredict.transactions.rfm_summary", fail)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        clvpredict("summarize", transactions)


def test_data_that_leave_parameters_open(clvpredict):
    """Customers who never leave: the fit says so, and is no failure."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(2.0, 1.0, 300) * 2.0)
    age = 30.0
    last = np.where(counts > 0, age * rng.random(300) ** (1 / np.maximum(counts, 1)), 0.0)
    frame = pd.DataFrame(
        {"customer_id": range(300), "frequency": counts, "recency": last, "T": age}
    )
    frame.to_csv("r.csv", index=False)
    found = clvpredict("fit", "r.csv", "--out", "m", "--time-unit", "W", "--json")
    assert found.code == OK
    assert found.json["models"][0]["convergence"]["status"] == "unidentified"
    assert "IdentificationWarning" in [w["category"] for w in found.json["warnings"]]
