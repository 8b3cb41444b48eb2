"""What has changed since earlier runs, and whether an alarm is due."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.refit.config import DriftConfig
from clvpredict.refit.drift import drift_report, parameter_history
from clvpredict.refit.realised import alarms, realised
from clvpredict.refit.stability import chance_index, distribution, stability, stability_index

END = "2024-11-30"
OPTIONS = {"time_unit": "W"}
# Four weeks each, and the last one ends when observation does.
VINTAGES = ("2024-09-07", "2024-10-05", "2024-11-02")


def truth(*, rate: float = 1.0, spend: float = 1.0, loss: float = 1.0) -> clv.CLVModel:
    terms = {"r": 1.0, "alpha": 6.0 / rate, "a": 0.9 * loss, "b": 4.1}
    purchases = clv.MBGNBD.from_params(**terms, time_unit="W")
    return clv.CLVModel(purchases, clv.GammaGamma.from_params(p=3.0, q=6.0, v=60.0 * spend))


def base(n: int = 400, seed: int = 1, weeks: float = 104, **changed: float) -> pd.DataFrame:
    """Transactions of customers acquired evenly over time."""
    T = np.random.default_rng(1000 + seed).uniform(0, weeks, n)
    simulated = truth(**changed).simulate(n, T, seed, observation_end=END)
    return simulated.transactions


def until(log: pd.DataFrame, day: str) -> pd.DataFrame:
    return log[log["date"] < pd.Timestamp(day) + pd.Timedelta(days=1)]


def summary(log: pd.DataFrame, end: str = END, **options: Any) -> pd.DataFrame:
    return clv.rfm_summary(log, observation_end=end, strict=False, **(OPTIONS | options))


# --- stability --------------------------------------------------------------------------------


def test_the_index_is_what_it_says() -> None:
    # (0.3 - 0.5) ln(0.3 / 0.5) + (0.7 - 0.5) ln(0.7 / 0.5), but for the half rows.
    assert stability_index([5e5, 5e5], [3e5, 7e5]) == pytest.approx(0.169460, abs=1e-5)
    assert stability_index([10, 20, 30], [20, 40, 60]) < 0.001
    assert np.isfinite(stability_index([100, 0], [0, 100]))


def test_chance_seldom_passes_what_it_may() -> None:
    rng = np.random.default_rng(0)
    share = np.full(8, 1 / 8)
    one, other = rng.multinomial(200, share, 4000), rng.multinomial(300, share, 4000)
    drawn = [stability_index(a, b) for a, b in zip(one, other, strict=True)]
    allowed = chance_index(200, 300, 8)
    assert np.mean(np.array(drawn) > allowed) <= 0.001
    assert np.quantile(drawn, 0.999) > 0.7 * allowed  # and it is not out of reach


@pytest.fixture(scope="module")
def log() -> pd.DataFrame:
    return base(1500)


def test_a_base_that_grows_older_is_stable(log: pd.DataFrame) -> None:
    """Nobody acts otherwise, but all are older; over all ages it looks like a change."""
    old = log.groupby("customer_id")["date"].transform("min") < "2024-03-01"
    then, now = summary(until(log, "2024-03-01"), "2024-03-01"), summary(log[old])
    before = distribution(then)
    table = stability(before, now)
    assert table["ok"].all()
    compared = table[table["customers"] == "all"]
    assert (compared["before"] > 100).all()
    newest = table[table["customers"] == "newest"]
    assert newest["says"].str.startswith("not compared").all()  # there are none
    known = before["quantities"]["frequency per unit of T"]
    naive = stability_index(
        np.sum(known["counts"], axis=0),
        np.sum(_counts(distribution(now), now, known["edges"]), axis=0),
    )
    of_ages = compared.set_index("quantity").loc["frequency per unit of T", "index"]
    assert naive > 2 * of_ages


def _counts(found: dict[str, Any], rfm: pd.DataFrame, edges: list[float]) -> Any:
    rate = rfm["frequency"] / rfm["T"].where(rfm["T"] > 0, 1.0)
    return [np.bincount(np.searchsorted(edges, rate), minlength=len(edges) + 1)]


@pytest.mark.parametrize(
    ("changed", "quantities"),
    [
        ({"rate": 2.5, "loss": 0.2}, {"frequency", "frequency per unit of T", "recency / T"}),
        ({"spend": 2.5}, {"monetary_value"}),
    ],
)
def test_customers_who_act_otherwise_are_found(
    log: pd.DataFrame, changed: dict[str, float], quantities: set[str]
) -> None:
    now = summary(base(1500, 2, **changed))
    table = stability(distribution(summary(log)), now)
    of_all = table[table["customers"] == "all"]
    assert set(of_all.loc[~of_all["ok"], "quantity"]) == quantities
    bad = of_all[~of_all["ok"]]
    assert (bad["mean_now"] > 1.2 * bad["mean_before"]).all()
    assert bad["says"].str.contains("at equal ages").all()


def test_classes_whose_age_has_moved_are_not_compared() -> None:
    """Customers of a few weeks grow older within their class of age, and their rates fall."""
    young, same, older = (
        truth().simulate(300, T, seed).rfm
        for T, seed in (
            (np.linspace(13.1, 16, 300), 1),
            (np.linspace(13.1, 16, 300), 2),
            (np.linspace(16, 19.4, 300), 3),
        )
    )
    before = distribution(young)
    assert stability(before, same)["index"].notna().any()
    assert stability(before, older)["index"].isna().all()


def test_new_customers_who_act_otherwise_are_found_first(log: pd.DataFrame) -> None:
    young = base(600, 3, weeks=13, rate=4.0).assign(customer_id=lambda t: t["customer_id"] + 10_000)
    now = summary(pd.concat([log, young]))
    table = stability(distribution(summary(log)), now).set_index(["customers", "quantity"])
    assert table.loc["newest", "frequency"]["ok"].item() is False
    assert bool(table.loc["all", "monetary_value"]["ok"])


def test_few_customers_differ_by_chance() -> None:
    one, other = (summary(base(150, seed, weeks=26)) for seed in (1, 2))
    of_all = stability(distribution(one), other).query("customers == 'all'")
    assert of_all["ok"].all()
    assert (of_all["allowed"] > 0.25).any()


def test_what_cannot_be_compared_says_so(log: pd.DataFrame) -> None:
    before = distribution(summary(log, time_unit="D"))
    table = stability(before, summary(log))
    assert table["ok"].all()
    assert table["index"].isna().all()
    assert set(table["says"]) == {"not compared: time_unit was D, and is W"}
    bare = distribution(summary(log, amount=None))
    table = stability(bare, summary(log)).set_index(["customers", "quantity"])
    said = table.loc[("all", "monetary_value"), "says"]
    assert said == "not compared: the earlier run did not have it"
    assert table.loc[("all", "frequency"), "index"] == pytest.approx(0.0, abs=1e-9)


def test_a_distribution_is_plain_and_counts_everybody(log: pd.DataFrame) -> None:
    rfm = summary(log)
    found = distribution(rfm)
    assert json.loads(json.dumps(found)) == found
    quantities = found["quantities"]
    assert np.sum(quantities["frequency"]["counts"]) == len(rfm)
    assert np.sum(quantities["frequency"]["sums"]) == rfm["frequency"].sum()
    back = rfm["frequency"] > 0
    assert np.sum(quantities["monetary_value"]["counts"]) == back.sum()
    assert np.sum(quantities["monetary_value"]["sums"]) == pytest.approx(
        rfm.loc[back, "monetary_value"].sum()
    )
    sizes = np.sum(quantities["recency / T"]["counts"], axis=0)
    assert sizes.max() < 2 * sizes.min()


# --- parameters -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted(log: pd.DataFrame) -> clv.MBGNBD:
    return clv.MBGNBD().fit(summary(log))


def report(table: pd.DataFrame, **changed: float) -> dict[str, Any]:
    """An earlier report whose estimates and intervals were so many times larger."""
    rows = table.copy()
    for quantity, factor in changed.items():
        own = rows["quantity"] == quantity
        rows.loc[own, ["estimate", "lower", "upper"]] *= factor
    return {"parameters": rows.to_dict("records")}


def test_parameters_without_history(fitted: clv.MBGNBD) -> None:
    table = parameter_history(fitted, []).set_index("quantity")
    assert table["ok"].all()
    assert set(table["says"]) == {"no earlier run to compare with"}
    assert ((table["lower"] < table["estimate"]) & (table["estimate"] < table["upper"])).all()
    rate = fitted.params_["r"] / fitted.params_["alpha"]
    assert table.loc["mean purchase rate", "estimate"] == pytest.approx(rate)


def test_parameters_that_moved_are_flagged(fitted: clv.MBGNBD) -> None:
    table = parameter_history(fitted, [])
    same = parameter_history(fitted, [report(table)])
    assert same["ok"].all()
    assert (same["z"] == 0).all()
    moved = parameter_history(fitted, [report(table, alpha=2.0)]).set_index("quantity")
    assert moved.index[~moved["ok"]].tolist() == ["alpha"]
    assert moved.loc["alpha", "last"] == pytest.approx(2 * fitted.params_["alpha"])
    assert "in the last run" in moved.loc["alpha", "says"]


def test_the_range_of_all_earlier_runs_counts_and_the_last_one_too(fitted: clv.MBGNBD) -> None:
    table = parameter_history(fitted, [])
    # In the range, but far from the last run.
    jumped = parameter_history(fitted, [report(table, alpha=2.0), report(table)])
    row = jumped.set_index("quantity").loc["alpha"]
    assert not row["ok"]
    assert row["earlier_lower"] < row["estimate"] < row["earlier_upper"]
    assert row["z"] < -3
    # 1.2 is no jump, and no range that is left.
    near = parameter_history(fitted, [report(table, alpha=1.2), report(table, alpha=1.2)])
    assert near["ok"].all()


def test_other_models_are_no_history(fitted: clv.MBGNBD) -> None:
    table = parameter_history(fitted, []).assign(model="BG/NBD")
    again = parameter_history(fitted, [report(table, alpha=5.0)])
    assert (again["runs"] == 0).all()
    assert again["ok"].all()


# --- what was realised ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop() -> pd.DataFrame:
    return base(400, 5)


@pytest.fixture(scope="module")
def versions(shop: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What a shop that knows the truth published every four weeks, four weeks ahead."""
    return [published(shop, day, tmp_path_factory.mktemp("versions")) for day in VINTAGES]


def published(log: pd.DataFrame, day: str, folder: Path, model: Any = None) -> Any:
    model = model or truth()
    clv.save_model(model, folder / "model")
    rfm = summary(until(log, day), day)
    table = model.predict(rfm, horizon="4W", interval=0.9, draws=100, margin=0.5)
    clv.write_table(table, folder / "predictions.parquet")
    return SimpleNamespace(id=f"of-{day}", path=folder, facts={"as_of": day})


def split_of(log: pd.DataFrame) -> pd.DataFrame:
    """What became of the customers of the last vintage."""
    last = VINTAGES[-1]
    return clv.calibration_holdout(log, calibration_end=last, observation_end=END, **OPTIONS)


def held(log: pd.DataFrame, versions: list[Any], folder: Path, **options: Any) -> pd.DataFrame:
    path = folder / "transactions.parquet"
    log.to_parquet(path)
    asked = {"customers": log["customer_id"].nunique(), "most": 12} | options
    return realised(path, OPTIONS, versions, END, **asked)


def changed_since(log: pd.DataFrame, kind: str, day: str = "2024-11-03") -> pd.DataFrame:
    """The same customers, who act otherwise from a day on."""
    new = log["date"] >= day
    if kind == "doubled":
        again = log[new].assign(date=lambda t: t["date"] - pd.Timedelta(hours=36))
        return pd.concat([log, again[again["date"] >= day]])
    if kind == "halved":
        first = log.groupby("customer_id")["date"].transform("min") == log["date"]
        gone = np.random.default_rng(0).random(len(log)) < 0.5
        return log[~new | first | ~gone]
    return log.assign(amount=log["amount"].where(~new, log["amount"] * 3))


@pytest.fixture(scope="module")
def usual(
    shop: pd.DataFrame, versions: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> pd.DataFrame:
    return held(shop, versions, tmp_path_factory.mktemp("usual"))


def test_windows_follow_one_another(usual: pd.DataFrame) -> None:
    windows = usual[(usual["kind"] == "window") & (usual["quantity"] == "purchases")]
    assert windows["as_of"].tolist() == list(VINTAGES)[::-1]
    assert windows["until"].tolist() == [END, *VINTAGES[:0:-1]]
    so_far = usual[usual["kind"] == "so far"]
    assert set(zip(so_far["as_of"], so_far["until"], strict=True)) == {(VINTAGES[0], END)}
    assert set(usual["says"]) == {""}


def test_what_was_observed_is_what_published_customers_did(
    usual: pd.DataFrame, shop: pd.DataFrame
) -> None:
    split = split_of(shop)
    row = usual[usual["kind"] == "window"].set_index("quantity").iloc[:2]
    assert row.loc["purchases", "customers"] == len(split)
    assert row.loc["purchases", "observed"] == split["frequency_holdout"].sum()
    brought = (split["frequency_holdout"] * split["monetary_value_holdout"]).sum()
    assert row.loc["value", "observed"] == pytest.approx(brought)
    weeks = split["duration_holdout"].iloc[0]
    expected = truth().purchases.expected_purchases(split, weeks).sum()
    assert row.loc["purchases", "predicted"] == pytest.approx(expected)
    assert row.loc["purchases", "lower"] < expected < row.loc["purchases", "upper"]


def test_a_model_that_is_right_raises_no_alarm(usual: pd.DataFrame) -> None:
    assert alarms(usual) == []
    windows = usual[usual["kind"] == "window"]
    assert (windows["miss"].abs() < 2).all()
    assert (windows["pit_distance"] < 0.1).all()
    assert (windows["coverage"] - windows["coverage_expected"]).abs().max() < 0.05


def test_published_columns_are_held_to_their_own_horizon(
    usual: pd.DataFrame, shop: pd.DataFrame, versions: list[Any]
) -> None:
    over = usual[usual["kind"] == "published"]
    assert set(over["as_of"]) == set(VINTAGES[-1:] + VINTAGES[-2:-1])
    row = over[over["as_of"] == VINTAGES[-1]].set_index("quantity")
    table = pd.read_parquet(versions[-1].path / "predictions.parquet")
    split = split_of(shop)
    assert row.loc["purchases", "predicted"] == pytest.approx(table["expected_purchases"].sum())
    assert row.loc["value", "predicted"] == pytest.approx(table["clv_undiscounted"].sum())
    brought = (split["frequency_holdout"] * split["monetary_value_holdout"]).sum()
    assert row.loc["value", "observed"] == pytest.approx(0.5 * brought)  # the margin
    both = table.merge(split, on="customer_id")
    inside = both["frequency_holdout"].between(
        both["purchases_pi_lower"], both["purchases_pi_upper"]
    )
    assert row.loc["purchases", "coverage"] == pytest.approx(inside.mean())


@pytest.mark.parametrize(
    ("kind", "quantities"),
    [
        ("doubled", {"purchases", "value"}),
        pytest.param("halved", {"purchases"}, marks=pytest.mark.slow),
        pytest.param("dearer", {"value"}, marks=pytest.mark.slow),
    ],
)
def test_customers_who_change_raise_an_alarm(
    tmp_path: Path, kind: str, quantities: set[str]
) -> None:
    log = base(1000, 6)
    table = held(changed_since(log, kind), [published(log, VINTAGES[-1], tmp_path)], tmp_path)
    said = alarms(table[table["kind"] == "window"])
    assert quantities <= {text.split()[0] for text in said}
    assert all("had been predicted by version of-2024-11-02" in text for text in said)
    assert len(alarms(table)) > len(said)  # the published columns are missed as well


def test_nothing_later_is_looked_at(
    shop: pd.DataFrame, versions: list[Any], tmp_path: Path
) -> None:
    """A version of the last day observed, or after it, cannot be held to anything."""
    late = [
        SimpleNamespace(id=day, path=tmp_path, facts={"as_of": day}) for day in (END, "2025-01-01")
    ]
    young = SimpleNamespace(id="young", path=tmp_path, facts={"as_of": "2024-11-25"})
    table = held(shop, [*versions[-1:], *late, young], tmp_path)
    assert set(table["version"]) == {versions[-1].id}


def test_ids_that_became_text_are_the_same(
    shop: pd.DataFrame, versions: list[Any], usual: pd.DataFrame, tmp_path: Path
) -> None:
    text = shop.assign(customer_id=shop["customer_id"].astype(str))
    table = held(text, versions[-1:], tmp_path)
    row = table[(table["kind"] == "window") & (table["quantity"] == "purchases")].iloc[0]
    known = usual[(usual["kind"] == "window") & (usual["quantity"] == "purchases")].iloc[0]
    assert row["customers"] == known["customers"]
    assert row["observed"] == known["observed"]


def test_of_many_customers_some_are_looked_at(
    shop: pd.DataFrame, versions: list[Any], usual: pd.DataFrame, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("clvpredict.refit.realised.SAMPLE", 100)
    table = held(shop, versions[-1:], tmp_path)
    of_all = usual["customers"].iloc[0]
    assert 0.15 * of_all < table["customers"].iloc[0] < 0.35 * of_all
    ratio = table["observed"].iloc[0] / usual["observed"].iloc[0]
    assert 0.1 < ratio < 0.5
    assert list(tmp_path.iterdir()) == [tmp_path / "transactions.parquet"]


def test_a_version_that_cannot_be_read_is_said(shop: pd.DataFrame, tmp_path: Path) -> None:
    broken = SimpleNamespace(id="broken", path=tmp_path, facts={"as_of": VINTAGES[-1]})
    table = held(shop, [broken], tmp_path)
    assert len(table) == 1
    assert table["says"].iloc[0].startswith("not checked: there is no model in")
    assert alarms(table) == []


def windows(*misses: tuple[float, float], kind: str = "window") -> pd.DataFrame:
    """Purchases of windows, the newest first: (miss, observed) of 100 predicted."""
    rows = [
        {"kind": kind, "quantity": "purchases", "version": f"v{i}", "as_of": f"day {i}",
         "until": f"day {i + 1}", "predicted": 100.0, "lower": 90.0, "upper": 110.0,
         "observed": observed, "miss": miss}
        for i, (miss, observed) in enumerate(misses)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("misses", "fires"),
    [
        ([(2.1, 130.0)], True),
        ([(-2.1, 70.0)], True),
        ([(1.9, 130.0)], False),  # chance may do that
        ([(5.0, 115.0)], False),  # certain, but small
        ([(1.1, 115.0), (1.1, 115.0)], True),
        ([(-1.1, 80.0), (-1.1, 80.0)], True),
        ([(1.1, 115.0), (-1.1, 85.0)], False),  # up and down
        ([(1.1, 115.0), (0.9, 115.0)], False),
        ([(1.1, 115.0), (1.1, 110.0)], False),
        ([(0.1, 101.0), (3.0, 150.0)], False),  # over and told
    ],
)
def test_the_rule(misses: list[tuple[float, float]], fires: bool) -> None:
    assert bool(alarms(windows(*misses))) is fires


def test_what_is_usual_is_no_alarm() -> None:
    """Sales that come and go by a third have always been missed by as much."""
    waves = [(3.0, 130.0), (-3.0, 72.0)] * 3
    assert alarms(windows((3.0, 135.0), (0.0, 100.0), *waves)) == []
    assert len(alarms(windows((3.0, 135.0), (0.0, 100.0), *waves[:3]))) == 1  # too few to tell
    assert len(alarms(windows((12.0, 220.0), (0.0, 100.0), *waves))) == 1
    steady = [(0.2, 102.0), (-0.2, 98.0)] * 3
    assert len(alarms(windows((3.0, 135.0), (0.0, 100.0), *steady))) == 1


def test_a_published_horizon_that_was_missed_raises_an_alarm() -> None:
    assert len(alarms(windows((3.0, 150.0), kind="published"))) == 1
    assert alarms(windows((3.0, 150.0), kind="so far")) == []


# --- the report -------------------------------------------------------------------------------


def test_a_report_is_plain_and_compares_with_the_oldest_run(
    shop: pd.DataFrame, versions: list[Any], tmp_path: Path
) -> None:
    path = tmp_path / "transactions.parquet"
    shop.to_parquet(path)
    rfm, config = summary(shop), DriftConfig()
    first = drift_report(path, OPTIONS, rfm, truth(), earlier=[], versions=[], drift=config)
    assert first.alarms == []
    assert first.stability.empty
    assert first.calibration.empty
    told = first.as_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == told

    def run(end: str, status: str = "published", kept: Any = told) -> Any:
        rfm_then = summary(until(shop, end), end)
        facts = {"distribution": distribution(rfm_then)}
        return SimpleNamespace(status=status, drift=kept, facts=facts)

    other_unit = {**told, "time_unit": "D"}
    earlier = [
        run(VINTAGES[2], kept=other_unit),
        run(VINTAGES[1], "held back"),
        run(VINTAGES[0]),
        run("2024-05-01", "rejected"),
    ]
    second = drift_report(
        path, OPTIONS, rfm, truth(rate=3.0), earlier=earlier, versions=versions[-1:], drift=config
    )
    assert second.facts["compared_with"] == VINTAGES[0]
    assert set(second.parameters["runs"]) == {1}
    # Parameters that were given have no width, so any other value is outside.
    moved = {text.split(" of MBG/NBD: ")[0] for text in second.alarms}
    assert moved == {"alpha", "mean purchase rate", "purchases of a new customer"}
    assert not second.calibration.empty
    short = DriftConfig(runs=1)
    third = drift_report(path, OPTIONS, rfm, truth(), earlier=earlier, versions=[], drift=short)
    assert third.facts["compared_with"] == VINTAGES[2]


def test_a_rebuilt_day_knows_nothing_later(
    shop: pd.DataFrame, versions: list[Any], tmp_path: Path
) -> None:
    path, day = tmp_path / "transactions.parquet", VINTAGES[1]
    until(shop, day).to_parquet(path)
    rfm = summary(until(shop, day), day)
    found = drift_report(
        path, OPTIONS, rfm, truth(), earlier=[], versions=versions, drift=DriftConfig(), as_of=day
    )
    assert set(found.calibration["version"]) == {versions[0].id}
    assert found.calibration["until"].max() == day


# --- how often ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_without_drift_alarms_are_rare_and_with_drift_they_come(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """20 shops, refitted every four weeks: 80 windows without a change, 20 with one."""
    rare = came = 0
    for seed in range(20):
        log = base(300, 100 + seed)
        folder = tmp_path_factory.mktemp("shop")
        days = pd.date_range(end=VINTAGES[-1], periods=4, freq="28D").strftime("%Y-%m-%d")
        known = []
        for day in days:
            fitted = clv.CLVModel(clv.MBGNBD()).fit(summary(until(log, day), day))
            own = folder / day
            own.mkdir()
            known.append(published(log, day, own, fitted))
        table = held(log, known, folder)
        table = table[table["kind"] == "window"]
        for newest in days:
            rare += bool(alarms(table[table["as_of"] <= newest]))
        came += bool(alarms(held(changed_since(log, "doubled"), known, folder)))
    # By the stated rates, 1.2 % of 80 are expected for two quantities; 5 would be one in 1,000.
    assert rare <= 4
    assert came >= 19
