"""segments, cohorts, scenario and budget: the API's numbers in files, pictures, and refusals."""

import json
import re

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict import business
from clvpredict.store import load_model, read_table

pytestmark = [
    pytest.mark.slow,  # together they take long
    pytest.mark.filterwarnings("ignore::clvpredict.errors.DropoutWarning"),
    pytest.mark.filterwarnings("ignore::clvpredict.errors.DataWarning"),
]
COSTS = ["--service-cost", 2, "--marketing-cost", 0.3, "--cost-period", "W", "--return-rate", 0.1]


@pytest.fixture(scope="module")
def made(tmp_path_factory, rfm_file, model_folder):
    """Predictions as a user of the API makes and writes them, with costs."""
    folder = tmp_path_factory.mktemp("decide")
    model, rfm = load_model(model_folder), read_table(rfm_file)
    costs = clv.Costs(service_cost=2, marketing_cost=0.3, return_rate=0.1, period="W")
    table = model.predict(rfm, horizon="26W", margin=0.3, costs=costs)
    for name in ("p.parquet", "p.csv"):
        clv.write_table(table, folder / name)
    return model, table, folder


@pytest.fixture
def paths(made, model_folder):
    """The model and the predictions on the command line."""
    return str(model_folder), str(made[2] / "p.parquet")


def same(path, table):
    """A file holds this table, to the digit; labels as text."""
    found = read_table(path)
    assert found.columns.tolist() == [str(c) for c in table.columns]
    for name in found:
        one, other = found[name], table[name].reset_index(drop=True)
        if pd.api.types.is_numeric_dtype(other.dtype):
            np.testing.assert_array_equal(one.to_numpy(float), other.to_numpy(float))
        else:
            assert one.astype(str).str[:10].tolist() == other.astype(str).str[:10].tolist()
    return found


def is_picture(path):
    from matplotlib.image import imread

    pixels = imread(path)
    assert pixels.shape[0] > 200
    assert pixels[..., :3].std() > 0.01  # something is drawn


# --- costs ---------------------------------------------------------------------------------


def test_costs_of_predict_are_those_of_the_api(clvpredict, made, rfm_file, model_folder):
    ask = ["predict", model_folder, rfm_file, "--horizon", "26W", "--margin", 0.3, *COSTS]
    found = clvpredict(*ask, "--add-new", "--out", "p.csv", "--json")
    assert found.code == 0, found.err
    said = found.json["predictions"]
    assert said["net_clv"] == float(made[1]["net_clv"].sum())
    assert said["costs"]["period"] == "W"
    np.testing.assert_array_equal(read_table("p.csv")["net_clv"].iloc[:-1], made[1]["net_clv"])
    text = clvpredict(*ask).out
    assert "value after costs" in text
    assert f"{made[1]['net_clv'].sum():,.2f}" in text


def test_a_cost_may_be_a_column(clvpredict, rfm_file, model_folder):
    rfm = read_table(rfm_file).assign(postage=lambda t: np.where(t["T"] > 70, 1.0, 3.0))
    clv.write_table(rfm, "r.parquet")
    ask = ["predict", model_folder, "r.parquet", "--horizon", "26W", "--service-cost", "postage"]
    assert clvpredict(*ask, "--out", "p.parquet").code == 0
    model = load_model(model_folder)
    want = model.predict(rfm, horizon="26W", costs=clv.Costs(service_cost="postage"))
    np.testing.assert_array_equal(read_table("p.parquet")["net_clv"], want["net_clv"])


def test_run_takes_costs(clvpredict, transactions):
    ask = ["run", transactions, "--time-unit", "W", "--horizon", "26W"]
    found = clvpredict(*ask, "--retention-cost", 5, "--cost-to-serve", 0, "--json")
    assert found.code == 0, found.err
    table = read_table("predictions.csv")
    np.testing.assert_allclose(table["net_clv"], table["clv"] - 5.0, atol=1e-9)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--service-cost", "-1"], "service_cost"),
        (["--return-rate", "1.5"], "between 0 and 1"),
        (["--service-cost", "1", "--cost-period", "fortnight"], "fortnight"),
        (["--cost-period", "W"], "--marketing-cost"),
        (["--no-amount", "--service-cost", "1"], "need amounts"),
        (["--service-cost", "postage"], "postage"),
    ],
)
def test_costs_that_cannot_be(clvpredict, transactions, args, said):
    found = clvpredict("run", transactions, *args)
    assert found.code == 2
    assert said in found.err


# --- segments ------------------------------------------------------------------------------


def test_segments_are_those_of_the_api(clvpredict, made, paths, tmp_path):
    model, table, _ = made
    outputs = ["--compare", "c.csv", "--customers", "who.csv", "--markdown", "s.md",
               "--html", "s.html", "--picture", "s.png"]  # fmt: skip
    ask = ["--cac", "Top 20 %=9, Next 30 %=5,Last 50 %=2", "--marketing-cost", "postage"]
    clv.write_table(
        pd.DataFrame({"customer_id": table["customer_id"], "postage": 1.5}), "extra.csv"
    )
    found = clvpredict(
        "segments", *paths, *ask, "--signals", "extra.csv", "--draws", 40, *outputs, "--json"
    )
    assert found.code == 0, found.err
    sorted_ = business.segment_customers(table.assign(postage=1.5))
    cac = {"Top 20 %": 9.0, "Next 30 %": 5.0, "Last 50 %": 2.0}
    want = business.segment_table(model, sorted_, cac=cac, marketing_cost="postage", draws=40)
    got = same("segments.csv", want)
    assert got.attrs["total"] == "Total"
    assert got["clv_total"].iloc[-1] == pytest.approx(table["clv"].sum(), abs=0.005)
    same("c.csv", business.compare_segments(model, sorted_, draws=40))
    who = read_table("who.csv")
    assert who["segment"].tolist() == sorted_["segment"].astype(str).tolist()
    assert who.attrs["clvpredict_segments"] == sorted_.attrs["clvpredict_segments"]
    assert (tmp_path / "s.md").read_text() == business.to_markdown(want)
    assert (tmp_path / "s.html").read_text() == business.to_html(want)
    is_picture("s.png")
    said = found.json
    assert [row["segment"] for row in said["segments"]] == want["segment"].tolist()
    assert said["rule"]["kind"] == "value"
    assert set(said["files"]) == {"comparison", "customers", "markdown", "html", "picture"}


def test_the_table_of_segments_can_be_read(clvpredict, made, paths):
    few = clvpredict("segments", *paths, "--draws", 20).out
    for words in ("Top 20 %", "CLV in total", "over 26 weeks", "90 % intervals"):
        assert words in few
    many = clvpredict("segments", *paths, "--by", "rfm", "--no-interval").out
    assert "The table has" in many
    assert len(many.splitlines()) > 12


def test_rules_are_taken_on_and_set(clvpredict, made, paths):
    rules = ["--rule", "thresholds=100,20", "--rule", "labels=high, middle,low", "--no-interval"]
    assert clvpredict("segments", *paths, *rules, "--customers", "old.csv").code == 0
    want = business.segment_customers(
        made[1], thresholds=[100, 20], labels=["high", "middle", "low"]
    )
    assert read_table("old.csv")["segment"].tolist() == want["segment"].astype(str).tolist()
    for earlier in ("old.csv", "segments.csv"):
        ask = ["--like", earlier, "--customers", "new.csv", "--no-interval", "--out", "t.csv"]
        assert clvpredict("segments", *paths, *ask).code == 0
        assert read_table("new.csv").equals(read_table("old.csv"))
    # Segments that are there are taken as they are, in the order of their rule.
    again = clvpredict("segments", paths[0], "old.csv", "--by", "segment", "--no-interval")
    assert again.code == 0, again.err
    assert read_table("segments.csv")["segment"].tolist() == ["high", "middle", "low", "Total"]


def test_several_columns_and_signals(clvpredict, made, paths):
    ids = made[1]["customer_id"].astype(str)
    extra = pd.DataFrame({"customer_id": ids, "two": np.arange(len(ids)) % 2 == 0})
    extra = extra.assign(channel=np.where(extra["two"], "web", "shop"), score=1.0)
    extra.iloc[5:].to_csv("extra.csv", index=False)
    ask = ["--by", "channel", "--by", "two", "--missing", "unknown", "--signals", "extra.csv"]
    found = clvpredict("segments", *paths, *ask, "--cross-sell", "two", "--no-interval", "--json")
    assert found.code == 0, found.err
    table = read_table("segments.csv").set_index("segment")
    assert sorted(table.index) == ["Total", "shop · False", "unknown", "web · True"]
    assert table.loc["web · True", "cross_sell_rate"] == 1.0
    assert table.loc["unknown", "customers"] == 5
    assert table.loc["Total", "score_mean"] == 1.0
    assert table.loc["Total", "score_coverage"] == 1 - 5 / len(ids)
    assert "two_mean" not in table.columns


def test_ids_that_are_text_here_and_numbers_there(clvpredict, made, paths, model_folder):
    """With a new customer, whose id is missing, ids of a CSV are text."""
    new = made[0].predict(made[1].iloc[:, :5], horizon="26W", add_new=True)
    clv.write_table(new, "new.csv")
    assert read_table("new.csv")["customer_id"].iloc[0] == str(new["customer_id"].iloc[0])
    pd.DataFrame({"customer_id": made[1]["customer_id"], "x": 2}).to_csv("x.csv", index=False)
    ask = ["--signals", "x.csv", "--no-interval", "--customers", "who.csv"]
    found = clvpredict("segments", model_folder, "new.csv", *ask)
    assert found.code == 0, found.err
    who = read_table("who.csv")
    assert who["x"].iloc[:-1].tolist() == [2.0] * (len(new) - 1)
    assert who["segment"].isna().tolist() == [False] * (len(new) - 1) + [True]


def test_predictions_that_do_not_say_how_they_were_made(clvpredict, made, model_folder, rfm_file):
    bare = read_table(made[2] / "p.csv")
    bare.attrs = {}
    clv.write_table(bare, "bare.csv")
    lost = clvpredict("segments", model_folder, "bare.csv")
    assert lost.code == 3
    assert ".meta.json" in lost.err
    assert "predictions.parquet" in lost.err
    other = clvpredict("scenario", model_folder, rfm_file, "--churn", -0.1)
    assert other.code == 3
    assert "no table of predictions" in other.err


# --- cohorts -------------------------------------------------------------------------------


def test_cohorts_are_those_of_the_api(clvpredict, transactions, tmp_path):
    log = pd.read_csv(transactions, dtype={"customer_id": str})
    log["channel"] = np.where(log["customer_id"].str[-1] < "5", "web", "shop")
    log.to_csv("log.csv", index=False)
    terms = {"margin": {"web": 0.3, "shop": 0.4}, "cac": {"web": 20.0, "shop": 5.0}}
    ask = ["--margin", "web=0.3,shop=0.4", "--cac", "web=20,shop=5", "--channel", "channel"]
    more = ["--payback", "pb.csv", "--picture", "c.png", "--payback-picture", "pb.png"]
    found = clvpredict("cohorts", "log.csv", *ask, *more, "--json")
    assert found.code == 0, found.err
    same("cohorts.csv", business.cohort_table(log, channel="channel", **terms))
    paid = business.payback_table(log, channel="channel", **terms)
    same("pb.csv", paid)
    assert found.json["payback_age"] == paid.attrs["payback_age"]
    is_picture("c.png")
    is_picture("pb.png")
    text = clvpredict(
        "cohorts", "log.csv", *ask, "--metric", "net_of_cac", "--wide", "--payback", "pb.csv"
    ).out
    assert "CAC is paid back" in text
    want = business.cohort_table(log, metric="net_of_cac", channel="channel", **terms)
    wide = read_table("cohorts.csv")
    np.testing.assert_array_equal(wide[[str(a) for a in want.columns]].to_numpy(), want.to_numpy())
    assert wide["cohort"].tolist() == want.index.get_level_values("cohort").tolist()


def test_large_amounts_keep_their_digits(clvpredict, transactions, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    log = pd.read_csv(transactions, dtype={"customer_id": str})
    log.assign(amount=log["amount"] * 12_345.67).to_csv("log.csv", index=False)
    found = clvpredict("cohorts", "log.csv", "--metric", "revenue")
    assert found.code == 0, found.err
    assert "…" not in found.out
    table = read_table("cohorts.csv").query("age == 0")
    for month, first in zip(table["cohort"].astype(str).str[:7], table["revenue"], strict=True):
        assert re.search(rf"^ {month} .* {first:,.0f} ", found.out, re.MULTILINE), found.out
    found = clvpredict("run", "log.csv", "--time-unit", "W", "--model", "mbg/nbd")
    assert found.code == 0, found.err
    best = read_table("predictions.csv").nlargest(10, "clv")
    assert "…" not in found.out
    assert all(f" {clv:,.0f} " in found.out for clv in best["clv"])


def test_a_model_completes_cohorts(clvpredict, transactions, model_folder):
    ask = ["--by", "Q", "--model", model_folder, "--draws", 20]
    found = clvpredict("cohorts", transactions, *ask)
    assert found.code == 0, found.err
    model = load_model(model_folder)
    same("cohorts.csv", business.cohort_table(str(transactions), "Q", model=model, draws=20))
    years = clvpredict("cohorts", transactions, "--by", "Y", *ask[2:], "--metric", "retention")
    assert "%*" in years.out  # forecasts are marked
    wrong = clvpredict("cohorts", transactions, *ask, "--observation-end", "1998-03-31")
    assert wrong.code == 2
    assert "--observation-end" in wrong.err


def test_cohorts_of_standard_input_without_money(clvpredict, transactions):
    log = transactions.read_bytes()
    found = clvpredict("cohorts", "-", "--no-amount", "--out", "-", "-q", stdin=log)
    assert found.code == 0, found.err
    clvpredict("cohorts", transactions, "--no-amount", "-q")
    with open("cohorts.csv", encoding="utf-8", newline="") as file:
        assert found.out == file.read()
    assert "revenue" not in found.out.splitlines()[0]


# --- scenarios -----------------------------------------------------------------------------


@pytest.mark.parametrize("churn", [["--churn=-0.05"], ["--churn", "-0.05"]])
def test_scenarios_are_those_of_the_api(clvpredict, made, paths, churn):
    ask = [*churn, "--frequency", 0.1, "--margin", -0.1, "--draws", 20, "--json"]
    found = clvpredict("scenario", *paths, *ask)
    assert found.code == 0, found.err
    want = clv.scenario(
        made[0], made[1], churn=-0.05, frequency=0.1, margin=-0.1, terms={"draws": 20}
    )
    same("scenario.csv", want.reset_index())
    assert found.json["about"]["changes"] == {"churn": -0.05, "frequency": 0.1, "margin": -0.1}
    names = [row["quantity"] for row in found.json["scenario"]]
    assert "net_value" in names


def test_expectations_alone(clvpredict, made, paths):
    ask = ["--churn", -0.1, "--no-predictive", "--draws", 20]
    assert clvpredict("scenario", *paths, *ask).code == 0
    want = clv.scenario(made[0], made[1], churn=-0.1, predictive=False, terms={"draws": 20})
    same("scenario.csv", want.reset_index())
    assert "value" not in read_table("scenario.csv")["quantity"].tolist()
    assert clvpredict("segments", *paths, "--no-predictive", "--draws", 20).code == 0
    columns = read_table("segments.csv").columns
    assert "clv_lower" in columns
    assert "value_total_pi_lower" not in columns


def test_a_scenario_of_some_customers(clvpredict, made, paths):
    table = made[1].assign(store=np.arange(len(made[1])) % 3)
    clv.write_table(table, "t.parquet")
    ask = ["--order-value", 0.2, "--by", "store", "--draws", 20, "--out", "s.parquet"]
    some = ["--segment", "store=1", "--segment", "store=2"]
    found = clvpredict("scenario", paths[0], "t.parquet", *some, *ask)
    assert found.code == 0, found.err
    want = clv.scenario(
        made[0], table, order_value=0.2, segment={"store": [1, 2]}, by="store", terms={"draws": 20}
    )
    got = read_table("s.parquet")
    np.testing.assert_array_equal(got["change"], want["change"])
    assert got.set_index(["group", "quantity"]).loc[("0", "clv"), "change"] == 0
    assert "all quantities of all groups" in found.out


def test_a_tornado(clvpredict, made, paths):
    found = clvpredict(
        "scenario", *paths, "--tornado", 0.2, "--draws", 10, "--of", "net_clv",
        "--picture", "t.png", "--json",
    )  # fmt: skip
    assert found.code == 0, found.err
    terms = {"draws": 10}
    same("scenario.csv", business.tornado_table(made[0], made[1], 0.2, of="net_clv", terms=terms))
    is_picture("t.png")
    assert found.json["tornado"][0]["factor"]


# --- budgets -------------------------------------------------------------------------------


@pytest.fixture
def segments(made, clvpredict):
    """A table of segments as the program writes it."""
    customers = business.segment_customers(made[1])
    table = business.segment_table(made[0], customers, interval=None)
    clv.write_table(table, "segments.csv")
    return table


def test_budgets_are_those_of_the_api(clvpredict, segments):
    ask = ["--ceiling", "0.2:0.08", "--of", "clv_total", "--half", 40, "--max-contacts", 200]
    bounds = ["--cost-per-contact", "Top 20 %=1,Next 30 %=0.5,Last 50 %=0.5", "--minimum", 3]
    more = ["--frontier", "f.csv", "--budgets", "300,50,100", "--picture", "a.png",
            "--frontier-picture", "f.png", "--draws", 200, "--keep-unspent", "--json"]  # fmt: skip
    ask = ["segments.csv", "--budget", 90, "--response", "saturating", *ask, *bounds, *more]
    found = clvpredict("budget", *ask, "--objective", "lower_quantile", "--quantile", 0.2)
    assert found.code == 0, found.err
    table = segments.assign(cost_per_contact=[1, 0.5, 0.5, np.nan], minimum=3.0)
    table.attrs = segments.attrs
    terms = {
        "response": business.SaturatingResponse((0.2, 0.08), 40.0, of="clv_total"),
        "objective": "lower_quantile", "quantile": 0.2, "max_contacts": 200.0,
        "spend_all": False, "draws": 200,
    }  # fmt: skip
    plan = business.allocate_budget(table, 90, **terms)
    same("allocation.csv", plan.table.assign(bound=plan.table["bound"].replace("", np.nan)))
    said = found.json["total"]
    assert said["gain"] == plan.total["gain"]
    assert said["spend"] <= 90 + 1e-6
    same("f.csv", business.budget_frontier(table, [50, 100, 300], **terms))
    is_picture("a.png")
    is_picture("f.png")


@pytest.mark.parametrize(
    ("args", "curve"),
    [
        (["power", "--scale", "w", "--exponent", "0.5"], business.PowerResponse("w", 0.5)),
        (
            ["power", "--scale", "w:se", "--exponent", "0.5:0.1", "--per-customer"],
            business.PowerResponse(("w", "se"), (0.5, 0.1), per_customer=True),
        ),
        (
            ["elastic", "--elasticity", "0.2", "--spend", "se", "--of", "w"],
            business.ElasticResponse(0.2, spend="se", of="w"),
        ),
        (
            ["saturating", "--ceiling", "w", "--half", "se", "--form", "exponential"],
            business.SaturatingResponse("w", "se", form="exponential"),
        ),
    ],
)
def test_responses(clvpredict, args, curve):
    channels = pd.DataFrame(
        {"segment": ["search", "mail"], "customers": [50, 80], "w": [60.0, 20.0], "se": [6.0, 5.0]}
    )
    channels.to_csv("channels.csv", index=False)
    found = clvpredict("budget", "channels.csv", "--budget", 40, "--response", *args)
    assert found.code == 0, found.err
    plan = business.allocate_budget(channels, 40, response=curve)
    np.testing.assert_array_equal(read_table("allocation.csv")["spend"], plan.table["spend"])
    assert "Best split of 40.00" in found.out


def test_a_table_that_was_edited_has_a_total(clvpredict, segments):
    """Without its metadata nothing but its name says that the last row is of all."""
    pd.read_csv("segments.csv").assign(w=5.0).to_csv("mine.csv", index=False)
    ask = ["--budget", 10, "--response", "power", "--scale", "w", "--exponent", 0.5, "--json"]
    found = clvpredict("budget", "mine.csv", *ask)
    assert found.code == 0, found.err
    assert [row["segment"] for row in found.json["allocation"]] == segments["segment"].tolist()[:-1]
    assert "is left out" in found.json["warnings"][0]["message"]


def test_spending_less_is_said_in_options(clvpredict):
    pd.DataFrame({"segment": ["a", "b"]}).to_csv("s.csv", index=False)
    ask = ["--budget", 1000, "--response", "power", "--scale", 10, "--exponent", 0.5]
    assert "spend_all=False is --keep-unspent" in clvpredict("budget", "s.csv", *ask).out
    kept = clvpredict("budget", "s.csv", *ask, "--keep-unspent")
    assert "--keep-unspent" not in kept.out
    assert read_table("allocation.csv")["marginal_return"].tolist() == pytest.approx([1.0, 1.0])


# --- what is refused -----------------------------------------------------------------------

REFUSED = {
    "unknown rule": (["segments", "M", "P", "--by", "valu"], "valu"),
    "option of no rule": (["segments", "M", "P", "--rule", "sharse=0.5,0.5"], "shares"),
    "no option of a rule": (["segments", "M", "P", "--rule", "name=x"], "--name"),
    "a rule and another": (["segments", "M", "P", "--by", "rfm", "--like", "P"], "--by"),
    "no setting": (["segments", "M", "P", "--rule", "shares"], "NAME=VALUE"),
    "no numbers": (["segments", "M", "P", "--rule", "shares=a,b"], "numbers between commas"),
    "cac of nobody": (["segments", "M", "P", "--cac", "x=1"], "cac"),
    "cac of a gap": (["segments", "M", "P", "--cac", "x="], "not understood"),
    "level": (["segments", "M", "P", "--interval", "90"], "--interval"),
    "in the place of predictions": (["segments", "M", "P", "--out", "P"], "is an input"),
    "in the place of transactions": (["cohorts", "LOG", "--payback", "LOG", "--cac", "1"],
                                     "is an input"),
    "in the place of segments": (["budget", "S", "--budget", "9", "--response", "power",
                                  "--frontier", "S"], "is an input"),
    "two outputs": (["segments", "M", "P", "--compare", "segments.csv"], "same file"),
    "markdown": (["segments", "M", "P", "--markdown", "s.txt"], ".md"),
    "picture": (["segments", "M", "P", "--picture", "no/s.png"], "folder"),
    "standard output": (["segments", "M", "P", "--compare", "-"], "--out"),
    "metric": (["cohorts", "LOG", "--metric", "retentoin"], "retention"),
    "period": (["cohorts", "LOG", "--by", "fortnight"], "--by"),
    "payback": (["cohorts", "LOG", "--payback", "p.csv"], "--cac"),
    "net of nothing": (["cohorts", "LOG", "--metric", "net_of_cac"], "--cac"),
    "a column of CAC": (["cohorts", "LOG", "--cac", "costs"], "number"),
    "no change": (["scenario", "M", "P"], "--tornado"),
    "more than all": (["scenario", "M", "P", "--churn", "-1.5"], "churn"),
    "nobody": (["scenario", "M", "P", "--churn", "0.1", "--segment", "T=x"], "segment"),
    "no condition": (["scenario", "M", "P", "--churn", "0.1", "--segment", "T"], "COLUMN=VALUE"),
    "tornado and change": (["scenario", "M", "P", "--tornado", "0.1", "--churn", "1"], "--churn"),
    "tornado of 2": (["scenario", "M", "P", "--tornado", "2"], "between 0 and 1"),
    "picture of none": (["scenario", "M", "P", "--churn", "1", "--picture", "p.png"], "--tornado"),
    "response": (["budget", "S", "--budget", "9", "--response", "linear"], "saturating"),
    "lacking": (["budget", "S", "--budget", "9", "--response", "power", "--scale", "1"],
                "--exponent"),
    "of another": (["budget", "S", "--budget", "9", "--response", "power", "--half", "1"],
                   "--half"),
    "no column": (["budget", "S", "--budget", "9", "--response", "power", "--scale", "w",
                   "--exponent", "0.5"], "scale"),
    "budgets alone": (["budget", "S", "--budget", "9", "--response", "power", "--scale", "1",
                       "--exponent", "0.5", "--budgets", "1,2"], "--frontier"),
    "bound of nobody": (["budget", "S", "--budget", "9", "--response", "power", "--scale", "1",
                         "--exponent", "0.5", "--minimum", "c=1"], "--minimum"),
    "negative budget": (["budget", "S", "--budget", "-9", "--response", "power", "--scale", "1",
                         "--exponent", "0.5"], "--budget"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(clvpredict, paths, transactions, tmp_path, case):
    pd.DataFrame({"segment": ["a", "b"]}).to_csv("s.csv", index=False)
    args, said = REFUSED[case]
    names = {"M": paths[0], "P": paths[1], "LOG": str(transactions), "S": "s.csv"}
    found = clvpredict(*(names.get(a, a) for a in args), "--json")
    assert found.code == 2, found.err
    assert said in found.err
    assert "Traceback" not in found.err
    if found.out:  # an unusable word is told before there is a command to say it
        assert found.json["error"]["code"] == 2
    written = {p.name for p in tmp_path.iterdir()} - {"s.csv"}
    assert not written


def test_other_tables_are_refused(clvpredict, paths, rfm_file):
    ask = ["--budget", 9, "--response", "power", "--scale", 1, "--exponent", 0.5]
    found = clvpredict("budget", rfm_file, *ask)
    assert found.code == 3
    assert "clvpredict segments" in found.err
    found = clvpredict("segments", *paths, "--like", rfm_file)
    assert found.code == 3
    assert "does not say its rule" in found.err
    json.loads(clvpredict("segments", *paths, "--like", rfm_file, "--json").out)


def test_info_of_a_table_of_segments(clvpredict, segments):
    text = clvpredict("info", "segments.csv").out
    assert "share_of_value" in text
    assert "weeks" in text
    said = clvpredict("info", "segments.csv", "--json").json
    assert said["rows"] == len(segments)
    assert said["about"]["total"] == "Total"


def test_a_model_without_money(clvpredict, rfm_file, transactions, tmp_path):
    assert clvpredict("fit", rfm_file, "--no-amount", "--out", "m", "-q").code == 0
    assert clvpredict("predict", "m", rfm_file, "--horizon", "26W", "--out", "p.csv").code == 0
    assert clvpredict("segments", "m", "p.csv", "--by", "lifecycle", "--no-interval").code == 0
    assert "clv" not in read_table("segments.csv").columns
    done = clvpredict("scenario", "m", "p.csv", "--tornado", 0.1, "--draws", 10, "--json")
    assert done.json["about"]["of"] == "expected_purchases"
    assert clvpredict("scenario", "m", "p.csv", "--margin", 0.1).code == 2
    refused = clvpredict("predict", "m", rfm_file, "--service-cost", 1)
    assert refused.code == 2
    assert "need amounts" in refused.err


@pytest.mark.parametrize("name", ["run", "predict", "segments", "cohorts", "scenario", "budget"])
def test_every_option_is_explained(name):
    from typer.main import get_command

    from clvpredict.cli import app

    for option in get_command(app).commands[name].params:
        assert option.help, option.name


def test_commands_are_listed_in_the_order_of_the_data(clvpredict):
    text = clvpredict("--help").out
    names = ["summarize ", "predict ", "backtest ", "segments ", "scenario ", "budget ", "info "]
    places = [text.index(f"│ {name}") for name in names]
    assert places == sorted(places)
