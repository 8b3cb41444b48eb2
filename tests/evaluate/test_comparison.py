"""Comparisons by hand, and what they warn of."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import clvpredict as clv
from clvpredict.errors import DataWarning, OptionError
from clvpredict.evaluate import Backtest

WEEK = pd.Timedelta(weeks=1)


def results(scores, metric="crps", apart=13, horizon="13W", periods=13.0):
    """A backtest with these scores, a list per model."""
    rows = [
        {
            "cut_date": pd.Timestamp("2020-01-01") + i * apart * WEEK,
            "horizon": horizon,
            "horizon_periods": periods,
            "model": model,
            "status": "ok" if not np.isnan(value) else "ConvergenceError: no",
            metric: value,
        }
        for model, values in scores.items()
        for i, value in enumerate(values)
    ]
    return Backtest(pd.DataFrame(rows), pd.DataFrame(), "W", {})


A, B, C = [1.0, 1.2, 0.9, 1.1, 1.3], [1.1, 1.3, 1.2, 1.2, 1.6], [2.0, 2.0, 2.0, 2.0, 2.0]


def test_paired_differences_by_hand():
    table = clv.compare(results({"b": B, "c": C, "a": A}))
    assert table["model"].tolist() == ["a", "b", "c"]
    assert table["wins"].tolist() == [5, 0, 0]
    assert table["vintages"].tolist() == [5, 5, 5]
    gap = np.subtract(B, A)
    row = table.iloc[1]
    assert row["score"] == pytest.approx(np.mean(B))
    assert row["difference"] == pytest.approx(gap.mean())
    # Holdouts that do not overlap: the usual paired t interval.
    half = stats.t.ppf(0.95, 4) * gap.std(ddof=1) / np.sqrt(5)
    assert (row["lower"], row["upper"]) == (
        pytest.approx(gap.mean() - half),
        pytest.approx(gap.mean() + half),
    )
    assert table.iloc[0][["difference", "lower", "upper"]].tolist() == [0, 0, 0]
    assert table.attrs == {"metric": "crps", "level": 0.9}


def test_vintages_that_overlap_say_less():
    apart, near, same = (
        clv.compare(results({"a": A, "b": B}, apart=weeks)).iloc[1] for weeks in (13, 6, 1)
    )
    assert near["upper"] - near["lower"] > 1.3 * (apart["upper"] - apart["lower"])
    assert np.isnan(same["lower"])
    assert near["difference"] == apart["difference"] == same["difference"]


def test_level():
    wide, narrow = (clv.compare(results({"a": A, "b": B}), level=p).iloc[1] for p in (0.99, 0.5))
    assert wide["upper"] > narrow["upper"] > wide["difference"]


@pytest.mark.parametrize(
    ("metric", "best"), [("gini", "c"), ("bias_percent", "a"), ("value_mae", "a"), ("auc", "c")]
)
def test_what_is_better(metric, best):
    """More of a Gini; of a bias the size counts."""
    table = clv.compare(results({"b": B, "c": C, "a": A}, metric), metric)
    assert table["model"][0] == best
    assert (table["difference"] >= 0).all()


def test_a_bias_of_either_sign():
    table = clv.compare(
        results({"low": [-10.0, -12.0], "high": [3.0, 5.0]}, "bias_percent"), "bias_percent"
    )
    assert table["model"].tolist() == ["high", "low"]
    assert table["score"].tolist() == [4.0, -11.0]
    assert table["difference"].tolist() == [0.0, 7.0]


def test_one_split_that_would_choose_another():
    other = [0.9, *B[1:]]
    with pytest.warns(
        DataWarning, match=r"split at 2020-01-01 alone would have chosen b by crps; the other 4"
    ):
        table = clv.compare(results({"a": A, "b": other}))
    assert table["wins"].tolist() == [4, 1]
    assert table["model"][0] == "a"


def test_two_splits_that_do_are_no_surprise():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = clv.compare(results({"a": A, "b": [0.9, 1.1, *B[2:]]}))
    assert table["wins"].tolist() == [3, 2]


def test_models_with_fewer_scores_are_left_out_aloud():
    some = results({"a": A, "b": B, "b (recalibrated)": [np.nan, np.nan, np.nan, 1.0, 1.0]})
    with pytest.warns(DataWarning, match=r"b \(recalibrated\) "):
        table = clv.compare(some)
    assert set(table["model"]) == {"a", "b"}
    named = clv.compare(some, models=["b", "b (recalibrated)"])
    assert named["vintages"].tolist() == [2, 2]
    assert named.set_index("model").loc["b", "score"] == pytest.approx(np.mean(B[3:]))


def test_models_without_the_metric_are_not_compared():
    table = clv.compare(results({"a": A, "b": B, "naive": [np.nan] * 5}, "log_score"), "log_score")
    assert set(table["model"]) == {"a", "b"}


def test_each_horizon_by_itself():
    one, other = results({"a": A, "b": B}), results({"a": C, "b": B}, horizon="26W", periods=26.0)
    both = Backtest(pd.concat([one.table, other.table]), pd.DataFrame(), "W", {})
    table = clv.compare(both)
    assert table.groupby("horizon", sort=False)["model"].first().to_dict() == {
        "13W": "a", "26W": "b"
    }  # fmt: skip
    assert set(clv.compare(both, horizon="26W")["horizon"]) == {"26W"}


def test_one_vintage_has_no_interval():
    table = clv.compare(results({"a": A[:1], "b": B[:1]}))
    assert table[["lower", "upper"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        ({"metric": "crp"}, "metric='crp'.*Did you mean 'crps'"),
        ({"metric": "value_crps"}, "have no 'value_crps'; value needs amounts"),
        ({"horizon": "9W"}, "horizon='9W'"),
        ({"models": ["d"]}, "models='d'"),
        ({"level": 1.0}, "between 0 and 1"),
    ],
)
def test_what_cannot_be_compared_is_refused(ask, said):
    with pytest.raises(OptionError, match=said):
        clv.compare(results({"a": A, "b": B}), **ask)


def test_no_vintage_in_common():
    some = results({"a": [1.0, np.nan], "b": [np.nan, 1.0]})
    with pytest.raises(OptionError, match="no cut date at which all models have"):
        clv.compare(some)
