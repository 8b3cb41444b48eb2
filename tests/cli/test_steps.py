"""summarize, fit, predict and info: the main job in steps, through files."""

import json
from pathlib import Path

import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.store import read_table

pytestmark = pytest.mark.filterwarnings("ignore::clvpredict.errors.DropoutWarning")


def test_the_steps_give_what_the_whole_gives(clvpredict, transactions):
    clvpredict("run", transactions, "--time-unit", "W", "--out", "whole.csv", "-q")
    for suffix in ("csv", "parquet"):
        steps = [
            ["summarize", transactions, "--time-unit", "W", "--out", f"rfm.{suffix}"],
            ["fit", f"rfm.{suffix}", "--out", "model"],
            ["predict", "model", f"rfm.{suffix}", "--out", "steps.csv"],
        ]
        for step in steps:
            assert clvpredict(*step).code == 0
        with open("steps.csv", "rb") as steps, open("whole.csv", "rb") as whole:
            assert steps.read() == whole.read()


def test_summarize(clvpredict, transactions):
    found = clvpredict("summarize", transactions, "--time-unit", "W", "--json")
    assert found.code == 0
    rfm = clv.rfm_summary(pd.read_csv(transactions), time_unit="W")
    table = read_table("rfm.csv")
    pd.testing.assert_frame_equal(table, pd.DataFrame(rfm), check_exact=True)
    assert table.attrs == rfm.attrs
    assert found.json["data"]["customers"] == len(rfm)
    assert found.json["data"]["time_unit"] == "W"


def test_fit_saves_what_the_api_fits(clvpredict, rfm_file, model_folder):
    model = clv.CLVModel(clv.MBGNBD()).fit(read_table(rfm_file))
    assert clv.load_model(model_folder).params_ == model.params_


def test_fit_without_amounts(clvpredict, rfm_file, transactions):
    clvpredict("fit", rfm_file, "--out", "one", "--no-amount", "-q")
    clvpredict("summarize", transactions, "--time-unit", "W", "--no-amount", "-q")
    clvpredict("fit", "rfm.csv", "--out", "two", "-q")
    one, two = clv.load_model("one"), clv.load_model("two")
    assert type(one) is type(two) is clv.BGNBD
    assert one.params_ == two.params_
    found = clvpredict("predict", "one", rfm_file, "--json")
    assert found.code == 0
    assert "clv" not in found.json["predictions"]
    found = clvpredict("predict", "one", rfm_file, "--margin", 0.3)
    assert found.code == 2
    assert "need amounts" in found.err


def test_a_plain_summary_needs_its_unit_for_money(clvpredict, rfm_file, tmp_path):
    (tmp_path / "plain.csv").write_bytes(rfm_file.read_bytes())
    found = clvpredict("fit", "plain.csv", "--out", "m", "--json")
    assert found.code == 0
    assert "--time-unit" in found.json["warnings"][0]["message"]
    found = clvpredict("predict", "m", "plain.csv")
    assert found.code == 3
    assert "unit" in found.err
    assert clvpredict("fit", "plain.csv", "--out", "m", "--time-unit", "W", "-q").code == 0
    assert clvpredict("predict", "m", "plain.csv", "-q").code == 0


def test_a_unit_that_contradicts_the_file(clvpredict, rfm_file):
    found = clvpredict("fit", rfm_file, "--out", "m", "--time-unit", "D")
    assert found.code == 3
    assert "--time-unit" in found.err


def test_predicting_customers_in_another_unit(clvpredict, transactions, model_folder):
    clvpredict("summarize", transactions, "--time-unit", "D", "-q")
    found = clvpredict("predict", model_folder, "rfm.csv")
    assert found.code == 3
    assert "the summary is in days, the model in weeks" in found.err
    assert "summarize --time-unit" in found.err


def test_predicting_for_a_few(clvpredict, rfm_file, model_folder):
    table = read_table(rfm_file)
    clv.write_table(table.tail(3), "few.parquet")
    assert clvpredict("predict", model_folder, "few.parquet", "--out", "few.csv", "-q").code == 0
    assert clvpredict("predict", model_folder, rfm_file, "--out", "all.csv", "-q").code == 0
    few, everybody = read_table("few.csv"), read_table("all.csv")
    pd.testing.assert_frame_equal(
        few, everybody.tail(3).reset_index(drop=True), rtol=1e-12, check_like=True
    )


def test_margin_by_column(clvpredict, rfm_file, model_folder):
    table = read_table(rfm_file).assign(share=0.5)
    clv.write_table(table, "r.csv")
    clvpredict("predict", model_folder, "r.csv", "--margin", "share", "--out", "half.csv", "-q")
    clvpredict("predict", model_folder, "r.csv", "--margin", "1", "--out", "all.csv", "-q")
    half, everything = read_table("half.csv"), read_table("all.csv")
    pd.testing.assert_series_equal(half["clv"] * 2, everything["clv"])


def test_a_summary_on_standard_input(clvpredict, rfm_file, model_folder):
    one = clvpredict("predict", model_folder, rfm_file, "--out", "-", "-q")
    two = clvpredict("predict", model_folder, "-", "--out", "-", "-q", stdin=rfm_file.read_bytes())
    assert two.out == one.out


def test_info_on_a_model(clvpredict, model_folder):
    found = clvpredict("info", model_folder)
    assert found.code == 0
    for text in ("MBG/NBD", "Gamma-Gamma", "standard error", "weeks", "400"):
        assert text in found.out
    facts = clvpredict("info", model_folder, "--json").json
    assert facts["data"]["provenance"]["time_unit"] == "W"
    assert len(facts["data"]["fingerprint"]) == 16
    assert [m["model"] for m in facts["models"]] == ["mbg/nbd", "gamma-gamma"]


def test_info_on_given_parameters(clvpredict):
    clv.save_model(clv.BGNBD.from_params(r=0.243, alpha=4.414, a=0.793, b=2.426), "m")
    found = clvpredict("info", "m")
    assert found.code == 0
    assert "parameters were given" in found.out
    facts = clvpredict("info", "m", "--json").json
    assert facts["models"][0]["log_likelihood"] is None


def test_info_on_tables(clvpredict, rfm_file, model_folder):
    found = clvpredict("info", rfm_file)
    assert found.code == 0
    assert "weeks" in found.out
    for name in ("p.csv", "p.parquet"):
        clvpredict("predict", model_folder, rfm_file, "--out", name, "-q")
        found = clvpredict("info", name)
        assert found.code == 0
        assert "mbg/nbd" in found.out
        facts = clvpredict("info", name, "--json").json
        assert facts["predictions"]["discount_rate"] == 0.1
        assert facts["data"]["customers"] == 400


def test_info_on_any_table(clvpredict):
    pd.DataFrame({"a": [1, 2]}).to_csv("other.csv", index=False)
    facts = clvpredict("info", "other.csv", "--json").json
    assert facts["columns"] == ["a"]
    assert facts["data"] == {"customers": 2, "time_unit": None, "provenance": None}


def test_an_edited_summary_loses_its_unit_aloud(clvpredict, rfm_file, tmp_path):
    for name in ("rfm.csv", "rfm.meta.json"):
        (tmp_path / name).write_bytes(rfm_file.with_name(name).read_bytes())
    with open("rfm.csv", "a", encoding="utf-8") as file:
        file.write("999999,0,0.0,10.0,0.0\n")
    found = clvpredict("fit", "rfm.csv", "--out", "m", "--json")
    assert found.code == 0
    assert "another version" in json.dumps(found.json["warnings"])


def test_intervals_are_those_of_the_api(clvpredict, rfm_file):
    options = ["--method", "laplace", "--seed", "3", "--model", "mbg/nbd"]
    assert clvpredict("fit", rfm_file, *options, "--out", "m").code == 0
    ask = ["--horizon", "39W", "--interval", "0.8", "--draws", "100", "--seed", "5"]
    found = clvpredict("predict", "m", rfm_file, *ask, "--out", "p.parquet")
    assert found.code == 0
    rfm = read_table(rfm_file)
    model = clv.CLVModel(clv.MBGNBD()).fit(rfm, method="laplace", seed=3)
    expected = model.predict(rfm, horizon="39W", interval=0.8, draws=100, seed=5)
    pd.testing.assert_frame_equal(pd.DataFrame(read_table("p.parquet")), expected)


def test_a_posterior_says_how_it_was_made(clvpredict, rfm_file):
    assert clvpredict("fit", rfm_file, "--method", "laplace", "--out", "m").code == 0
    said = clvpredict("info", "m")
    assert "1,000 draws of the posterior by importance resampling (k-hat" in said.out
    model = clvpredict("info", "m", "--json").json["models"][0]
    assert model["method"] == "laplace"
    assert model["aic"] is None
    assert model["sampling"]["k_hat"] < 0.7
    assert model["sampling"]["priors"]["r"].startswith("LogNormal(")


@pytest.mark.slow
def test_draws_that_cannot_be_trusted(clvpredict, rfm_file, monkeypatch):
    """Exit code 4 with --strict-fit, for scheduled jobs; else a notice."""
    monkeypatch.setattr("clvpredict.inference.diagnose.MAX_R_HAT", 0.5)
    fit = ["fit", rfm_file, "--method", "nuts", "--no-amount", "--out", "m"]
    found = clvpredict(*fit, "--strict-fit")
    assert found.code == 4
    assert "chains disagree" in found.err
    assert not Path("m").exists()
    found = clvpredict(*fit)
    assert found.code == 0
    assert "chains disagree" in found.out + found.err
