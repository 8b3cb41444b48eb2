"""A history of refits, and what moved between two of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.business import append_history, clv_trend, explain_change, read_history
from clvpredict.datasets import simulate_shop
from clvpredict.errors import ArtefactError, DataError, DataWarning, OptionError

DAYS = ("2024-06-30", "2024-12-31")
SHOP = simulate_shop(seed=5, customers=600)
MARGIN = SHOP.channels["margin"].to_dict()


def refit(day):
    rfm = clv.rfm_summary(
        SHOP.transactions, observation_end=day, time_unit="W", currency="EUR", collapse="h"
    )
    people = SHOP.customers.set_index("customer_id")
    rfm["channel"] = rfm["customer_id"].map(people["channel"])
    return clv.CLVModel(clv.MBGNBD()).fit(rfm), rfm


@pytest.fixture(scope="module")
def refits():
    """Two refits: model, predictions by channel margin."""
    found = []
    for day in DAYS:
        model, rfm = refit(day)
        found.append((model, model.predict(rfm, horizon="52W", margin=MARGIN, segment="channel")))
    return found


@pytest.fixture(scope="module")
def history(refits, tmp_path_factory):
    path = tmp_path_factory.mktemp("history") / "history.parquet"
    for model, table in reversed(refits):  # the order of appending is of no account
        append_history(path, model, table, by="channel", draws=50)
    return path


# --- the history -----------------------------------------------------------------------------


def test_history_adds_up_to_the_predictions(history, refits):
    table = read_history(history)
    assert table["as_of"].tolist() == [pd.Timestamp(d) for d in DAYS for _ in range(5)]
    assert table["segment"].tolist() == ["all", *sorted(MARGIN)] * 2
    for day, (_, predictions) in zip(DAYS, refits, strict=True):
        rows = table[table["as_of"] == day]
        everybody, channels = rows[rows["by"] == "all"], rows[rows["by"] == "channel"]
        for column in ("clv", "expected_purchases"):
            total = predictions[column].sum()
            assert everybody[column].item() == pytest.approx(total, abs=1e-6)
            assert channels[column].sum() == pytest.approx(total, abs=1e-6)
            assert (rows[f"{column}_lower"] < rows[column]).all()
            assert (rows[column] < rows[f"{column}_upper"]).all()
        assert channels["customers"].sum() == everybody["customers"].item() == len(predictions)
        assert (rows["value_pi_lower"] < rows["clv_lower"]).all()


def test_history_of_a_posterior_adds_up_whatever_its_draws(cdnow_rfm, tmp_path):
    rfm = cdnow_rfm.head(300)
    model = clv.CLVModel(clv.MBGNBD()).fit(cdnow_rfm, method="laplace", seed=3)
    table = model.predict(rfm, horizon="26W")
    table["half"] = np.arange(300) % 2
    rows = append_history(tmp_path / "h.parquet", model, table, by="half", draws=20)
    for column in ("clv", "expected_purchases"):
        halves = table.groupby("half")[column].sum().tolist()
        assert rows[column].tolist() == pytest.approx([table[column].sum(), *halves], rel=1e-12)
        assert (rows[f"{column}_lower"] < rows[column]).all()
        assert (rows[column] < rows[f"{column}_upper"]).all()


def test_history_says_what_was_asked_and_of_which_model(history, refits):
    table = read_history(history)
    assert table.attrs["clvpredict_history"] == {
        "schema": 1,
        "terms": {
            "horizon_days": 364.0,
            "discount_rate": 0.1,
            "discounting": "continuous",
            "margin": MARGIN,
            "costs": None,
            "fallback_spend": None,
            "currency": "EUR",
            "changed": {},
            "interval": 0.9,
        },
    }
    last = table.iloc[-1]
    assert json.loads(last["parameters"]) == pytest.approx(refits[1][0].params_)
    assert last[["purchase_model", "spend_model", "method"]].tolist() == [
        "mbg/nbd",
        "gamma-gamma",
        "mle",
    ]
    assert table["fingerprint"].nunique() == 2


def test_appending_again_replaces(history, refits, tmp_path):
    path = tmp_path / "copy.parquet"
    path.write_bytes(history.read_bytes())
    once = read_history(path)
    model, table = refits[0]
    pd.testing.assert_frame_equal(append_history(path, model, table, by="channel", draws=50), once)
    # The rows of a day are those of its last appending, whole.
    less = append_history(path, model, table, draws=50)
    assert less["segment"].tolist() == ["all", "all", *sorted(MARGIN)]
    assert [p.name for p in tmp_path.iterdir()] == ["copy.parquet"]
    other = append_history(path, model, table, as_of="2024-05-31", draws=50)
    assert other["as_of"].dt.strftime("%m-%d").tolist()[:2] == ["05-31", "06-30"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"horizon": "26W"}, "horizon_days 364.0 and now 182.0"),
        ({"margin": 0.3}, "margin .* and now 0.3"),
        ({"discount_rate": 0.05}, "discount_rate 0.1 and now 0.05"),
        ({"interval": 0.8}, "interval 0.9 and now 0.8"),
        ({"costs": clv.Costs(service_cost=1.0)}, "costs None and now"),
    ],
)
def test_other_terms_are_refused_and_leave_the_file(history, refits, asked, said):
    before = history.read_bytes()
    model, table = refits[1]
    with pytest.raises(OptionError, match=said):
        append_history(history, model, table, as_of="2025-01-31", draws=50, **asked)
    assert history.read_bytes() == before


def test_what_is_no_history_is_refused(refits, tmp_path):
    model, table = refits[0]
    with pytest.raises(OptionError, match=r"end in \.parquet"):
        append_history(tmp_path / "history.csv", model, table)
    plain = tmp_path / "plain.parquet"
    table.to_parquet(plain)
    with pytest.raises(DataError, match="no history of predictions"):
        append_history(plain, model, table)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"text")
    with pytest.raises(DataError, match="no readable Parquet"):
        append_history(broken, model, table)
    with pytest.raises(DataError, match="no such file"):
        read_history(tmp_path / "absent.parquet")
    some = table.assign(channel=table["channel"].where(table["customer_id"] > 1))
    with pytest.raises(OptionError, match="'channel' is missing for 1 customers"):
        append_history(tmp_path / "a.parquet", model, some, by="channel", segment=None, margin=0.3)
    for given in ("someday", "05/06/2024", "18.06.2024"):
        with pytest.raises(OptionError, match=f"as_of='{given}' is no day"):
            append_history(tmp_path / "a.parquet", model, table, as_of=given)
    assert not (tmp_path / "a.parquet").exists()


def test_a_later_version_is_refused(history, tmp_path):
    table = read_history(history)
    table.attrs["clvpredict_history"]["schema"] = 2
    table.to_parquet(tmp_path / "later.parquet")
    with pytest.raises(ArtefactError, match="version 2"):
        read_history(tmp_path / "later.parquet")


# --- its trend -------------------------------------------------------------------------------


def test_trend_by_segment_and_in_total(history):
    table = read_history(history)
    total, channels = clv_trend(table), clv_trend(history, by="channel")
    assert total["total"].tolist() == table.loc[table["by"] == "all", "clv"].tolist()
    assert total["change"].tolist()[1:] == [total["total"][1] - total["total"][0]]
    assert np.isnan(total["change"][0])
    percent = 100 * (total["total"][1] / total["total"][0] - 1)
    assert total["change_percent"][1] == pytest.approx(percent)
    assert channels.groupby("as_of")["change"].sum(min_count=1).iloc[1] == pytest.approx(
        total["change"][1]
    )
    assert channels["refitted"].tolist() == [False] * 4 + [True] * 4
    np.testing.assert_allclose(channels["mean"] * channels["customers"], channels["total"])
    bought = clv_trend(table, of="expected_purchases")
    assert bought.attrs["of"] == "expected_purchases"
    assert bought["total"].iloc[0] == table["expected_purchases"].iloc[0]
    with pytest.raises(OptionError, match=r"by='chanel' is not known.*'channel'"):
        clv_trend(table, by="chanel")
    with pytest.raises(OptionError, match="of='net_clv' is not known"):
        clv_trend(table, of="net_clv")
    with pytest.raises(OptionError, match="no history"):
        clv_trend(pd.DataFrame({"clv": [1.0]}))


def test_a_segment_that_comes_later_has_no_change_at_first(refits, tmp_path):
    path = tmp_path / "h.parquet"
    for day, number in (("2024-06-30", 0), ("2024-07-31", 1), ("2024-08-31", 0)):
        model, table = refits[0]
        shown = table.assign(kind=np.where(table["frequency"] > 1 + 99 * (1 - number), "b", "a"))
        append_history(path, model, shown, as_of=day, by="kind", draws=20)
    trend = clv_trend(path, by="kind")
    assert trend["segment"].tolist() == ["a", "a", "b", "a"]
    assert trend["change"].isna().tolist() == [True, False, True, False]
    assert not trend["refitted"].any()  # the same parameters each time


# --- what moved ------------------------------------------------------------------------------


def value(table, part, segment="all"):
    return table.loc[(table["part"] == part) & (table["segment"] == segment), "value"].item()


def additive(table):
    for _, rows in table.groupby("segment"):
        levels = rows[rows["kind"] == "level"].set_index("part")["value"]
        changes = rows.loc[rows["kind"] == "change", "value"].sum()
        assert levels["after"] - levels["before"] == pytest.approx(changes, abs=1e-6)
    if set(table["segment"]) == {"all"}:
        return
    each = table[table["segment"] != "all"].groupby("part")["value"].sum()
    whole = table[table["segment"] == "all"].set_index("part")["value"]
    pd.testing.assert_series_equal(each.sort_index(), whole.sort_index(), check_names=False)


def test_parts_add_up_to_the_predictions(refits):
    (model0, before), (model1, after) = refits
    table = explain_change(model0, before, model1, after, by="channel", draws=50)
    additive(table)
    assert value(table, "before") == pytest.approx(before["clv"].sum(), abs=1e-6)
    assert value(table, "after") == pytest.approx(after["clv"].sum(), abs=1e-6)
    for channel, rows in after.groupby("channel"):
        assert value(table, "after", channel) == pytest.approx(rows["clv"].sum(), abs=1e-6)
    # By the definitions, from calls of predict alone.
    known = after["customer_id"].isin(before["customer_id"])
    assert value(table, "new customers") == pytest.approx(after.loc[~known, "clv"].sum())
    by_old = model0.predict(after[known], horizon="52W", margin=MARGIN, segment="channel")
    assert value(table, "behaviour") == pytest.approx(by_old["clv"].sum() - before["clv"].sum())
    moved = after.loc[known, "clv"].sum() - by_old["clv"].sum()
    assert value(table, "parameters") == pytest.approx(moved)
    assert value(table, "customers gone") == 0
    counts = table[table["segment"] == "all"].set_index("part")["customers"]
    assert counts["new customers"] == (~known).sum()
    assert counts["behaviour"] == counts["parameters"] == known.sum() == len(before)
    assert table.attrs["before"].startswith("2024-06-30")
    assert table.attrs["after"].startswith("2024-12-31")


def test_movers_and_those_who_left(refits):
    (model0, before), (model1, after) = refits
    terms = {"horizon": "52W", "margin": 0.3}
    old = model0.predict(before, **terms).assign(kind=np.where(before["frequency"] > 1, "b", "a"))
    new = model1.predict(after, **terms).assign(kind=np.where(after["frequency"] > 1, "b", "a"))
    new = new[new["customer_id"] > 50]
    table = explain_change(model0, old, model1, new, by="kind", draws=50)
    additive(table)
    gone = old[old["customer_id"] <= 50]
    assert value(table, "customers gone") == pytest.approx(-gone["clv"].sum())
    both = old.merge(new, on="customer_id", suffixes=("", "_after"))
    into_b = both[(both["kind"] == "a") & (both["kind_after"] == "b")]
    assert value(table, "moved in", "b") == pytest.approx(into_b["clv"].sum())
    assert value(table, "moved out", "a") == pytest.approx(-into_b["clv"].sum())
    assert value(table, "moved in", "a") == value(table, "moved out", "b") == 0
    rows = table[(table["segment"] == "b") & (table["part"] == "moved in")]
    assert rows["customers"].item() == len(into_b) > 10
    inside = table["lower"] <= table["value"] + 1e-9
    assert (inside & (table["value"] <= table["upper"] + 1e-9)).all()


def test_intervals_are_of_draws_in_common(refits):
    """What both sides of a difference share cancels; levels are those of predict_totals."""
    (model0, before), (model1, after) = refits
    table = explain_change(model0, before, model1, after, draws=60).set_index("part")
    width = table["upper"] - table["lower"]
    assert width["behaviour"] < 0.5 * width["before"]
    assert width["parameters"] > width["behaviour"]  # of two fits: nothing is in common
    total = model1.predict_totals(
        after, horizon="52W", margin=MARGIN, segment="channel", draws=60, interval=0.9
    )
    ends = total.loc["all", ["clv_lower", "clv_upper"]].tolist()
    assert table.loc["after", ["lower", "upper"]].tolist() == pytest.approx(ends)
    quick = explain_change(model0, before, model1, after, interval=None).set_index("part")
    assert "lower" not in quick
    pd.testing.assert_series_equal(quick["value"], table["value"])


def test_nothing_moved_where_nothing_changed(refits):
    model, table = refits[0]
    parts = explain_change(model, table, model, table, draws=50)
    changes = parts[parts["kind"] == "change"]
    assert not changes[["value", "lower", "upper"]].round(9).any(axis=None)


def test_of_purchases_and_net_value(refits):
    (model0, before), (model1, after) = refits
    buying = [model0.purchases, model1.purchases]
    tables = [m.predict(t, horizon="13W") for m, t in zip(buying, (before, after), strict=True)]
    parts = explain_change(buying[0], tables[0], buying[1], tables[1], interval=None)
    assert parts.attrs["of"] == "expected_purchases"
    additive(parts)
    assert value(parts, "after") == pytest.approx(tables[1]["expected_purchases"].sum())
    costs = clv.Costs(service_cost=2.0)
    net = [m.predict(t, horizon="13W", margin=0.3, costs=costs) for m, t in refits]
    parts = explain_change(model0, net[0], model1, net[1], of="net_clv", draws=50)
    assert value(parts, "after") == pytest.approx(net[1]["net_clv"].sum())
    with pytest.raises(OptionError, match="of='net_clv' is not known"):
        explain_change(model0, before, model1, after, of="net_clv")
    with pytest.raises(OptionError, match="models of one kind"):
        explain_change(buying[0], tables[0], model1, after)


def test_what_cannot_be_compared_is_refused(refits):
    (model0, before), (model1, after) = refits
    shorter = model1.predict(after, horizon="26W", margin=MARGIN, segment="channel")
    with pytest.raises(OptionError, match=r"horizon_days 364\.0 and now 182.0"):
        explain_change(model0, before, model1, shorter)
    with pytest.raises(OptionError, match="of another model"):
        explain_change(model1, before, model1, after)
    twice = pd.concat([after, after.head(2)])
    twice.attrs = after.attrs
    with pytest.raises(DataError, match="twice: 2 rows"):
        explain_change(model0, before, model1, twice)
    text = after.assign(customer_id=after["customer_id"].astype(str))
    with pytest.warns(DataWarning, match="no customer is in both"):
        parts = explain_change(model0, before, model1, text, interval=None)
    assert value(parts, "customers gone") == -value(parts, "before")
    assert value(parts, "new customers") == value(parts, "after")


@pytest.mark.slow
def test_jobs_at_the_same_time_wait_for_each_other(cdnow, tmp_path):
    """Two processes append five days each to one file, and none is lost."""
    rfm = clv.rfm_summary(cdnow, observation_end="1997-09-30", time_unit="W").head(60)
    clv.save_model(clv.MBGNBD().fit(rfm), tmp_path / "model")
    clv.write_table(rfm, tmp_path / "rfm.parquet")
    job = """
import sys
import clvpredict as clv
from clvpredict.business import append_history
model = clv.load_model("model")
table = model.predict(clv.read_table("rfm.parquet"), horizon="13W")
for day in range(1, 6):
    append_history("h.parquet", model, table, as_of=f"{sys.argv[1]}-0{day}", draws=2)
"""
    root = str(Path(clv.__file__).parents[1])
    jobs = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", job, month],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": root},
        )
        for month in ("2024-01", "2024-02")
    ]
    assert [one.wait(timeout=120) for one in jobs] == [0, 0]
    assert len(clv.business.read_history(tmp_path / "h.parquet")) == 10


def test_a_folder_that_is_not_there(cdnow_rfm, tmp_path):
    model = clv.MBGNBD().fit(cdnow_rfm)
    table = model.predict(cdnow_rfm.head(20), horizon="13W")
    with pytest.raises(OptionError, match="mkdir -p"):
        append_history(tmp_path / "none" / "h.parquet", model, table)
