"""The gate: what passes, what is held back, and that it says why."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import OptionError
from clvpredict.evaluate import evaluate_holdout
from clvpredict.inference.result import Convergence, Sample, Sampling
from clvpredict.refit import gate as module
from clvpredict.refit.config import GateConfig
from clvpredict.refit.criteria import findings_of_fit, findings_of_score
from clvpredict.refit.gate import judge_candidates, scoreboard

END = "2024-12-29"
CUTS = [pd.Timestamp(d).date() for d in ("2024-09-01", "2024-09-29")]
OPTIONS = {"amount": None, "time_unit": "W", "observation_end": END}


@pytest.fixture(scope="module")
def transactions():
    """A shop of 300 customers, who behave as models say."""
    shop = clv.simulate_shop(3, customers=300, years=2.0, growth=0.0, observation_end=END)
    return shop.transactions[["customer_id", "date", "amount"]]


@pytest.fixture(scope="module")
def path(transactions, tmp_path_factory):
    file = tmp_path_factory.mktemp("gate") / "transactions.parquet"
    transactions.to_parquet(file)
    return file


def fitted(path, end=END, model=None, **change):
    rfm = clv.rfm_summary(path, **(OPTIONS | {"observation_end": end} | change))
    return (model or clv.MBGNBD()).fit(rfm)


@pytest.fixture(scope="module")
def sound(path):
    return fitted(path)


@pytest.fixture(scope="module")
def champion(path):
    """Fitted four weeks ago."""
    return fitted(path, "2024-12-01")


def judge(path, challengers, champion=None, gate=None, cuts=CUTS, **change):
    how = {"horizon": "13W", "fit": {"method": "mle"}, "options": OPTIONS, "draws": 50} | change
    options, fit, horizon = how.pop("options"), how.pop("fit"), how.pop("horizon")
    return judge_candidates(
        path, options, challengers, champion, gate or GateConfig(), fit, cuts, horizon, **how
    )


@pytest.fixture(scope="module")
def verdict(path, sound, champion):
    """A sound refit, and a model of much rarer purchases, against a champion."""
    wrong = {**sound.params_, "alpha": 10 * sound.params_["alpha"]}
    broken = clv.MBGNBD.from_params(time_unit="W", **wrong)
    return judge(path, {"broken": broken, "sound": sound}, ("old", champion))


def criteria(findings):
    return {f.criterion for f in findings}


# --- decisions --------------------------------------------------------------------------------


def test_a_sound_refit_passes(verdict):
    assert verdict.publish
    assert verdict.chosen == "sound"
    assert verdict.reasons("sound") == []
    assert verdict.decision.startswith("publish sound: within all bounds; refitted at the cut")


def test_a_wrong_fit_is_held_back_although_it_converged(verdict):
    """Its recipe is a sound one: only the very fit shows it."""
    said = {f.criterion: f for f in verdict.findings if f.subject == "broken"}
    assert said["convergence"].ok
    failed = verdict.reasons("broken")
    assert criteria(failed) >= {"bias", "score"}
    assert all(f.says.startswith("as fitted now") for f in failed)


def test_every_forecast_is_in_the_table_and_says_what_it_has_seen(verdict):
    table = verdict.table
    kinds = table.groupby("model", sort=False)["kind"].unique().map(list).to_dict()
    assert kinds == {
        "broken": ["refitted", "as fitted"],
        "sound": ["refitted", "as fitted"],
        "old": ["champion"],
        "naive": ["baseline"],
        "last period": ["baseline"],
        "NBD": ["baseline"],
    }
    assert len(table) == 8 * len(CUTS)
    assert verdict.cuts == tuple(CUTS)
    seen = table.pivot(index=["model", "kind"], columns="cut_date", values="seen_days")
    assert seen.loc[("sound", "refitted")].tolist() == [0, 0]
    assert seen.loc[("sound", "as fitted")].tolist() == [91, 91]
    # Fitted up to 1 December, 91 and 63 days after the cut dates.
    assert seen.loc[("old", "champion")].tolist() == [91, 63]
    assert seen.loc[("broken", "as fitted")].isna().all()


def test_the_score_of_a_recipe_is_out_of_time(verdict, path):
    """What was known at the cut date, fitted then, and held to what came after."""
    cut = CUTS[0]
    until = pd.Timestamp(cut) + pd.Timedelta(weeks=13)
    window = {"calibration_end": cut, "observation_end": until.date()}
    split = clv.calibration_holdout(path, **(OPTIONS | window))
    want = evaluate_holdout(clv.MBGNBD().fit(split), split, draws=50).summary()["MBG/NBD"]
    rows = verdict.table.set_index(["model", "kind", "cut_date"])
    row = rows.loc[("sound", "refitted", pd.Timestamp(cut))]
    for metric in ("crps", "bias_percent", "pit_ks", "observed_total"):
        assert row[metric] == pytest.approx(want[metric], rel=1e-9)


def test_a_quarter_that_is_not_like_the_rest_is_held_back(path, transactions, tmp_path):
    """Every other purchase of the last quarter is gone."""
    late = transactions["date"] > pd.Timestamp(CUTS[1]) + pd.Timedelta(days=1)
    gone = late & (transactions.groupby(late).cumcount() % 2 == 0)
    drifted = tmp_path / "drifted.parquet"
    transactions[~gone].to_parquet(drifted)
    new = fitted(drifted)
    found = judge(drifted, {"new": new}, cuts=CUTS[1:])
    assert not found.publish
    assert found.chosen is None
    assert found.best == "new"
    assert "there is no champion to fall back on" in found.decision
    bias = next(f for f in found.findings if f.criterion == "bias")
    assert not bias.ok
    # Half the purchases that a sound model expects.
    assert 60 < bias.value < 140
    assert "% too many (allowed: 25 % either way, [gate] max_bias)" in bias.says
    # Whoever wants no bounds has none.
    assert criteria(module._findings("new", new, found.table, None, OFF)) == {
        "convergence",
        "cells",
        "score",
    }


OFF = GateConfig.model_validate(
    dict.fromkeys(
        ("max_bias", "max_value_bias", "max_pit_distance", "max_k_hat", "max_r_hat"), False
    )
)


@pytest.mark.slow
def test_a_champion_in_days_and_without_money(path):
    """Scores of purchases have no unit; the fit is the same in weeks."""
    daily, weekly = fitted(path, time_unit="D"), fitted(path)
    options = OPTIONS | {"amount": "amount"}
    rfm = clv.rfm_summary(path, **options)
    new = clv.CLVModel(weekly, clv.GammaGamma().fit(rfm))
    found = judge(path, {"new": new}, ("daily", daily), cuts=CUTS[1:], options=options)
    rows = found.table.set_index(["model", "kind"])
    as_fitted, in_days = rows.loc[("new", "as fitted")], rows.loc[("daily", "champion")]
    assert in_days["crps"] == pytest.approx(as_fitted["crps"], rel=1e-5)
    assert in_days["seen_days"] == as_fitted["seen_days"] == 91
    assert found.table["model"].tolist().count("naive") == 1
    assert np.isnan(in_days["value_crps"])
    assert np.isfinite(as_fitted["value_crps"])
    assert "value_bias" in criteria(found.findings)
    # By value there is nothing to compare with, and the decision says so.
    theirs, why = module._comparable(found.table, ("daily", daily), "value_crps")
    assert theirs is None
    assert "daily, could not be compared with: it has no value_crps" in why


# --- criteria ---------------------------------------------------------------------------------


def scores(table, **gate):
    """The findings on scores of the sound model against the old one, by kind."""
    rows = table[table["model"] == "sound"]
    theirs = table[table["kind"] == "champion"]
    found = list(findings_of_score("sound", rows, theirs, GateConfig(**gate)))
    return {f.says.split(",")[0]: f for f in found}


def test_the_margin_is_a_share_of_the_champions_score(verdict):
    means = verdict.table.groupby(["model", "kind"])["crps"].mean()
    own, old = means["sound", "refitted"], means["old", "champion"]
    worse = own / old - 1
    assert 0 < worse < 0.02  # the champion has seen most of the vintages
    found = scores(verdict.table)["refitted at the cut dates"]
    assert found.value == pytest.approx(worse)
    assert found.ok
    assert "% worse" in found.says
    assert not scores(verdict.table, margin=worse - 1e-6)["refitted at the cut dates"].ok
    assert scores(verdict.table, margin=worse + 1e-6)["refitted at the cut dates"].ok


def test_a_better_model_needs_no_margin(verdict):
    better = verdict.table.copy()
    better.loc[better["model"] == "sound", "crps"] *= 0.9
    for found in scores(better, margin=0.0).values():
        assert found.ok
        assert found.value < 0
        assert "% better" in found.says


def test_the_same_model_is_equal(verdict):
    same = verdict.table[verdict.table["kind"] == "champion"]
    own = same.assign(model="sound", kind="as fitted")
    (found,) = scores(pd.concat([same, own]), margin=0.0).values()
    assert found.ok
    assert found.value == 0
    assert ": equal (" in found.says


def test_other_metrics_decide(verdict):
    by_mae = scores(verdict.table, metric="mae")["refitted at the cut dates"]
    means = verdict.table.groupby(["model", "kind"])["mae"].mean()
    assert by_mae.value == pytest.approx(means["sound", "refitted"] / means["old", "champion"] - 1)


def test_a_champion_without_any_error(verdict):
    perfect = verdict.table.copy()
    perfect.loc[perfect["kind"] == "champion", "crps"] = 0.0
    assert not any(f.ok for f in scores(perfect).values())
    perfect["crps"] = 0.0
    assert all(f.ok for f in scores(perfect).values())


def held(model, how=None, gate=None, **result):
    """What fails of a fit, with these facts about it."""
    changed = clv.MBGNBD.from_params(**model.params_, time_unit="W")
    sample = None if how is None else Sample(np.ones((1, 4, 4)), {}, how)
    changed._result = replace(model.result_, sample=sample, **result)
    findings = list(findings_of_fit("new", changed, gate or GateConfig()))
    return {f.criterion: f.value for f in findings if not f.ok}


def laplace(k_hat):
    return Sampling("importance resampling", 1, 4, 0, 0, k_hat=k_hat)


def nuts(r_hat, divergences=0):
    return Sampling("nutpie", 4, 4, 4, 0, r_hat=r_hat, divergences=divergences)


def test_a_fit_that_did_not_converge(sound):
    open_ones = replace(sound.convergence_, status="unidentified", message="MBG/NBD: open a, b")
    assert held(sound) == {}
    assert held(sound, convergence=open_ones) == {"convergence": "unidentified"}
    # The draws of a posterior are held to their own bounds.
    assert held(sound, laplace(0.2), method="laplace", convergence=open_ones) == {}


@pytest.mark.parametrize(
    ("k_hat", "most", "ok"),
    [
        (0.5, 0.7, True),
        (0.71, 0.7, False),
        (0.5, 0.4, False),
        (None, 0.7, False),
        (9.0, None, True),
    ],
)
def test_k_hat(sound, k_hat, most, ok):
    found = held(sound, laplace(k_hat), GateConfig(max_k_hat=most), method="laplace")
    assert (found == {}) is ok
    assert set(found) <= {"k_hat"}


@pytest.mark.parametrize(
    ("how", "failed"),
    [
        (nuts({"r": 1.001, "a": 1.009}), set()),
        (nuts({"r": 1.001, "a": 1.02}), {"r_hat"}),
        (nuts({}), {"r_hat"}),  # of one chain there is none
        (nuts({"r": float("nan")}), {"r_hat"}),
        (nuts({"r": 1.0}, 3), {"divergences"}),
        (nuts({"r": 1.0}, None), {"divergences"}),
        (None, {"r_hat", "divergences", "convergence"}),
    ],
)
def test_chains(sound, how, failed):
    none = Convergence("no mode", "no mode was found", np.nan, np.nan, 0, 0)
    assert set(held(sound, how, method="nuts", convergence=none)) == failed
    if how is not None:
        assert held(sound, how, OFF, method="nuts", convergence=none) == {}


# --- what is missing --------------------------------------------------------------------------


@pytest.fixture
def decide(monkeypatch, sound, champion):
    """Judge by a table that is given."""

    def decided(table, gate=None, challengers=("sound",), champion=("old", champion)):
        monkeypatch.setattr(module, "_run", lambda *_: table)
        models = dict.fromkeys(challengers, sound)
        return judge("nowhere", models, champion, gate)

    return decided


@pytest.mark.parametrize(
    ("column", "criterion"), [("bias_percent", "bias"), ("pit_ks", "pit"), ("crps", "score")]
)
def test_what_is_missing_does_not_pass(verdict, decide, column, criterion):
    table = verdict.table.copy()
    table.loc[(table["model"] == "sound") & (table["cut_date"] == str(CUTS[0])), column] = np.nan
    for champion in (("old", None), None):
        found = decide(table, champion=champion and ("old", clv.MBGNBD()))
        assert criteria(found.reasons("sound")) == {criterion}
        assert "missing" in found.decision


def test_failed_cells_hold_back(verdict, decide):
    table = verdict.table.copy()
    failed = (table["model"] == "sound") & (table["kind"] == "refitted")
    metrics = table.columns[table.columns.get_loc("seen_days") + 1 :]
    table.loc[failed, metrics] = np.nan
    table.loc[failed, "status"] = "ConvergenceError: for once"
    found = decide(table)
    assert criteria(found.reasons("sound")) == {"cells", "bias", "pit", "score"}
    assert "2 of 4 forecasts of the vintages have no result" in found.decision
    assert "2024-09-01: ConvergenceError: for once" in found.decision
    # No model at all has a result: there are no metrics then.
    bare = table.drop(columns=metrics).assign(status="DataError: none")
    found = decide(bare)
    assert not found.publish
    assert "cells" in criteria(found.reasons("sound"))
    assert scoreboard(bare)["vintages"].eq(0).all()


def test_a_champion_without_a_result_cannot_be_compared_with(verdict, decide):
    table = verdict.table.copy()
    table.loc[table["kind"] == "champion", "status"] = "UnitError: other weeks"
    table.loc[table["kind"] == "champion", "crps"] = np.nan
    found = decide(table)
    assert found.publish
    assert "old, could not be compared with: UnitError: other weeks" in found.decision


def test_without_a_champion_the_bounds_decide_alone(verdict, decide):
    table = verdict.table[verdict.table["kind"] != "champion"]
    found = decide(table, champion=None)
    assert found.publish
    assert "there is no champion yet" in found.decision
    assert not decide(table, GateConfig(max_pit_distance=0.001), champion=None).publish


def test_the_best_of_those_that_pass_is_chosen(verdict, decide):
    """The one with the best score is biased, and another has no score."""
    table = verdict.table.copy()
    own = table[table["model"] == "sound"]
    sharp = own.assign(model="sharp", crps=own["crps"] * 0.5, bias_percent=-40.0)
    blank = own.assign(model="blank", crps=np.nan)
    table = pd.concat([blank, table, sharp], ignore_index=True)
    found = decide(table, challengers=("blank", "sound", "sharp"))
    assert (found.chosen, found.best) == ("sound", "sharp")
    assert "-40" not in found.decision
    bias = found.reasons("sharp")
    assert {f.says for f in bias} == {
        f"{who}, total purchases predicted: 40.0 % too few (allowed: 25 % either way, [gate] "
        "max_bias)"
        for who in ("refitted at the cut dates", "as fitted now")
    }
    none = decide(table, challengers=("blank", "sharp"))
    assert (none.chosen, none.best) == (None, "sharp")
    assert none.decision.startswith("held back, the champion stays. ")


def test_priors_go_to_the_challengers_that_have_the_parameter(sound):
    nbd = clv.NBD.from_params(r=1.0, alpha=2.0)
    fit = {"method": "map", "priors": {"a": "of a", "r": "of r"}}
    first, second = module._backtests({"m": sound, "n": nbd}, None, fit, "W", False)
    assert first.fit == fit
    assert second.fit == {"method": "map", "priors": {"r": "of r"}}
    assert list(first.models) == [("m", "refitted"), ("m", "as fitted")]
    assert list(second.models) == [("n", "refitted"), ("n", "as fitted")]


def test_no_challenger(path):
    with pytest.raises(OptionError, match="no challenger"):
        judge(path, {})


# --- records ----------------------------------------------------------------------------------


def test_a_verdict_is_plain_data(verdict):
    record = json.loads(json.dumps(verdict.as_json(), allow_nan=False))
    assert record["publish"] is True
    assert record["cuts"] == ["2024-09-01", "2024-09-29"]
    assert len(record["table"]) == len(verdict.table)
    assert record["table"][0]["cut_date"] == "2024-09-01"
    assert {f["subject"] for f in record["findings"]} == {"broken", "sound"}
    assert {type(f["ok"]) for f in record["findings"]} == {bool}


def test_the_scoreboard_has_the_means(verdict):
    board = scoreboard(verdict.table)
    assert board["vintages"].tolist() == [len(CUTS)] * 8
    row = board[(board["model"] == "old")].iloc[0]
    assert row["seen_days"] == 77
    own = verdict.table.loc[verdict.table["model"] == "old", "crps"]
    assert row["crps"] == pytest.approx(own.mean())


@pytest.mark.slow
def test_a_third_of_the_rate_shows_in_a_larger_shop(tmp_path):
    """Of 400 customers it may be within what chance does to them; of 4,000 it is not."""
    path = tmp_path / "transactions.parquet"
    shop = clv.simulate_shop(7, customers=4000, years=2.0, growth=0.0, observation_end=END)
    shop.transactions.to_parquet(path)
    sound = fitted(path)
    rarer = {**sound.params_, "alpha": 3 * sound.params_["alpha"]}
    challengers = {"sound": sound, "rarer": clv.MBGNBD.from_params(time_unit="W", **rarer)}
    found = judge(path, challengers, ("old", fitted(path, "2024-12-01")))
    assert found.chosen == "sound"
    assert {f.says.split(",")[0] for f in found.reasons("rarer")} == {"as fitted now"}


@pytest.mark.slow
def test_sound_refits_of_cdnow_pass_month_after_month(cdnow, tmp_path):
    """Customers of CDNOW buy less and less; the recipe keeps up, and the gate lets it."""
    from clvpredict.options import TimeUnit
    from clvpredict.refit.vintages import vintages

    path, gate, champion = tmp_path / "cdnow.parquet", GateConfig(), None
    for end in pd.date_range("1997-09-30", "1998-06-30", freq="ME"):
        cdnow[cdnow["date"] <= end].to_parquet(path)
        options = {"time_unit": "W", "observation_end": end.date()}
        model = clv.CLVModel(clv.MBGNBD()).fit(clv.rfm_summary(path, **options))
        begin, weeks = cdnow["date"].min().date(), TimeUnit.parse("W")
        horizon, cuts = vintages(begin, end.date(), gate, weeks, "52W")
        found = judge(path, {"new": model}, champion, cuts=cuts, horizon=horizon, options=options)
        assert found.publish, found.decision
        champion = ("old", model)
