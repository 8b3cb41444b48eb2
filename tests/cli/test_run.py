"""The main job gives the numbers of the API, and says what a person needs to know."""

import numpy as np
import pandas as pd
import pytest
from cli_sample import END, SAMPLE

import clvpredict as clv
from clvpredict.store import read_table

pytestmark = [
    pytest.mark.filterwarnings("ignore::clvpredict.errors.DropoutWarning"),
    pytest.mark.filterwarnings("ignore::clvpredict.errors.DataWarning"),
]


@pytest.fixture(scope="module")
def expected():
    rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    model = clv.CLVModel(clv.BGNBD(), clv.GammaGamma()).fit(rfm)
    return model, model.predict(rfm, horizon="39W", discount_rate=0.15)


def test_the_csv_is_what_the_api_computes(clvpredict, expected):
    found = clvpredict("run", SAMPLE, *END, "--horizon", "39W", "--discount-rate", 0.15)
    assert found.code == 0
    table = read_table("predictions.csv")
    pd.testing.assert_frame_equal(table, expected[1], check_exact=True)
    assert table.attrs["clvpredict"]["discount_rate"] == 0.15


def test_parquet_equals_csv(clvpredict, transactions):
    for name in ("p.csv", "p.parquet"):
        assert clvpredict("run", transactions, "--out", name, "-q").code == 0
    one, other = read_table("p.csv"), read_table("p.parquet")
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert one.attrs == other.attrs


def test_json_has_the_numbers_of_the_api(clvpredict, expected):
    model, table = expected
    options = ["--horizon", "39W", "--discount-rate", 0.15, "--out", "p.parquet", "--json"]
    found = clvpredict("run", SAMPLE, *END, *options)
    assert (found.code, found.err) == (0, "")
    facts = found.json
    assert facts["data"]["customers"] == 2357
    assert facts["data"]["provenance"]["counts"]["rows read"] == 6919
    assert [m["model"] for m in facts["models"]] == ["bg/nbd", "gamma-gamma"]
    for part, fitted in zip(facts["models"], (model.purchases, model.spend), strict=True):
        assert part["log_likelihood"] == fitted.log_likelihood_
        assert part["parameters"] == fitted.summary().to_dict("index")
        assert part["convergence"]["status"] == "converged"
    independence = facts["models"][1]["independence"]
    assert independence["rho"] == model.spend.independence_.rho
    predictions = facts["predictions"]
    assert predictions["horizon"] == 39.0
    for column in ("expected_purchases", "clv", "clv_undiscounted"):
        assert predictions[column] == float(table[column].sum())
    best = table.sort_values("clv", ascending=False, kind="stable").head(10)
    assert predictions["top_customers"] == best.to_dict("records")
    assert predictions["new_customer"] is None
    assert facts["out"] == "p.parquet"
    assert [w["category"] for w in facts["warnings"]] == ["DropoutWarning"]


def test_people_are_told(clvpredict):
    found = clvpredict("run", SAMPLE, *END, "--currency", "USD", "--add-new")
    assert found.code == 0
    assert found.err == ""
    for line in (
        "Summarising the transactions",
        "Fitting BG/NBD and Gamma-Gamma",
        "Predicting 2,357 customers over 52W",
        "left out: rows after observation_end",
        "log-likelihood -9,582.429",
        "Spearman",
        "a customer acquired today",
        "Top 10 customers",
        "Wrote 2,358 rows to predictions.csv",
    ):
        assert line in found.out
    assert found.out.count("Note: BG/NBD gives P(alive) = 1") == 1
    assert "0.24259" in found.out  # the estimate of r


def test_quiet_says_nothing(clvpredict, transactions):
    found = clvpredict("run", transactions, "--quiet")
    assert (found.code, found.out, found.err) == (0, "", "")


def test_data_on_standard_output_stand_alone(clvpredict, transactions):
    found = clvpredict("run", transactions, "--out", "-")
    clvpredict("run", transactions, "--out", "p.csv", "-q")
    with open("p.csv", encoding="utf-8", newline="") as file:
        assert found.out == file.read()
    assert "Top 10 customers" in found.err


def test_transactions_on_standard_input(clvpredict, transactions):
    from_file = clvpredict("run", transactions, "--out", "-", "-q")
    from_pipe = clvpredict("run", "-", "--out", "-", "-q", stdin=transactions.read_bytes())
    assert from_pipe.out == from_file.out


def test_parquet_on_standard_input(clvpredict, transactions, tmp_path):
    pd.read_csv(transactions, parse_dates=["date"]).to_parquet(tmp_path / "log.parquet")
    log = (tmp_path / "log.parquet").read_bytes()
    from_pipe = clvpredict("run", "-", "--out", "-", "-q", stdin=log)
    assert from_pipe.out == clvpredict("run", transactions, "--out", "-", "-q").out


def test_purchases_only(clvpredict, transactions):
    found = clvpredict("run", transactions, "--no-amount", "--json")
    assert found.code == 0
    assert [m["model"] for m in found.json["models"]] == ["bg/nbd"]
    assert "clv" not in found.json["predictions"]
    assert list(read_table("predictions.csv").columns) == [
        *("customer_id", "frequency", "recency", "T", "p_alive", "churn_probability"),
        *("p_purchase", "expected_purchases"),
    ]


def test_other_names_of_columns(clvpredict, transactions, tmp_path):
    names = {"customer_id": "Client No", "date": "day", "amount": "total"}
    pd.read_csv(transactions, dtype=str).rename(columns=names).to_csv("log2.csv", index=False)
    options = ["--customer-id", "Client No", "--date", "day", "--amount", "total"]
    found = clvpredict("run", "log2.csv", *options, "--out", "-", "-q")
    assert found.code == 0
    assert found.out == clvpredict("run", transactions, "--out", "-", "-q").out


def test_options_reach_the_api(clvpredict, transactions):
    options = {
        "--time-unit": "W",
        "--collapse": "W",
        "--returns": "drop",
        "--observation-start": "1997-01-10",
        "--observation-end": "1998-03-31",
        "--model": "mbg/nbd",
        "--horizon": "6M",
        "--discounting": "monthly",
        "--margin": "0.3",
    }
    found = clvpredict("run", transactions, "-q", *(x for pair in options.items() for x in pair))
    assert found.code == 0
    rfm = clv.rfm_summary(
        pd.read_csv(transactions),
        time_unit="W",
        collapse="W",
        returns="drop",
        observation_start="1997-01-10",
        observation_end="1998-03-31",
    )
    table = clv.CLVModel(clv.MBGNBD()).fit(rfm)
    table = table.predict(rfm, horizon="6M", discounting="monthly", margin=0.3)
    pd.testing.assert_frame_equal(read_table("predictions.csv"), table, check_exact=True)


@pytest.mark.parametrize("word", ["inf", "INF", "none"])
def test_the_whole_lifetime(clvpredict, transactions, word):
    found = clvpredict("run", transactions, "--horizon", word, "--json")
    assert found.code == 0
    assert found.json["predictions"]["horizon"] is None
    table = read_table("predictions.csv")
    assert np.isfinite(table["clv"]).all()


def test_new_customers_are_not_summed(clvpredict, transactions):
    one = clvpredict("run", transactions, "--json").json["predictions"]
    two = clvpredict("run", transactions, "--json", "--add-new").json["predictions"]
    assert two["clv"] == one["clv"]
    assert two["customers"] == one["customers"] == 400
    assert two["new_customer"]["clv"] > 0
    last = read_table("predictions.csv").iloc[-1]
    assert pd.isna(last["customer_id"])
    assert last["clv"] == two["new_customer"]["clv"]


def test_ids_that_look_like_formulas(clvpredict, transactions):
    log = pd.read_csv(transactions, dtype=str)
    log["customer_id"] = "=cmd|" + log["customer_id"]
    log.to_csv("evil.csv", index=False)
    for options, start in (([], "=cmd|"), (["--excel-safe"], "'=cmd|")):
        assert clvpredict("run", "evil.csv", "-q", *options).code == 0
        assert read_table("predictions.csv")["customer_id"].str.startswith(start).all()


def test_ids_cannot_play_tricks_on_the_terminal(clvpredict, transactions):
    log = pd.read_csv(transactions, dtype=str)
    log["customer_id"] = "\x1b[1m[b]" + log["customer_id"]
    log.to_csv("evil.csv", index=False)
    found = clvpredict("run", "evil.csv")
    assert found.code == 0
    assert "\x1b" not in found.out
    assert "\\x1b[1m[b]" in found.out


def test_a_table_is_replaced_whole(clvpredict, transactions, tmp_path):
    clvpredict("run", transactions, "-q")
    first = (tmp_path / "predictions.csv").read_bytes()
    assert clvpredict("run", transactions, "-q", "--horizon", "5X").code == 2
    assert (tmp_path / "predictions.csv").read_bytes() == first
    assert {p.name for p in tmp_path.iterdir()} == {"predictions.csv", "predictions.meta.json"}
