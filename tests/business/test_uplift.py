"""Effects of campaigns: against SciPy and statsmodels' formulas, and coverage by simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clvpredict.business import (
    SampleSize,
    detectable_effect,
    evaluate_uplift,
    uplift_sample_size,
)
from clvpredict.errors import DataError, DataWarning, OptionError


def campaign(n=400, effect=3.0, seed=0, share=0.5):
    """Customers whose value goes with what was predicted of them."""
    rng = np.random.default_rng(seed)
    predicted = rng.gamma(2.0, 20.0, n)
    treated = rng.random(n) < share
    segment = np.where(rng.random(n) < 0.4, "loyal", "at risk")
    value = predicted * rng.gamma(4.0, 0.25, n) + effect * treated
    return pd.DataFrame(
        {
            "customer_id": np.arange(n),
            "treatment": treated,
            "value": value,
            "predicted": predicted,
            "segment": segment,
        }
    )


def row(table, segment="total", method="difference in means"):
    return table[(table["segment"] == segment) & (table["method"] == method)].iloc[0]


# --- against others' formulas --------------------------------------------------------------------


@pytest.mark.reference
def test_the_difference_is_welchs():
    data = campaign()
    found = row(evaluate_uplift(data))
    arms = [data.loc[data["treatment"] == t, "value"] for t in (True, False)]
    welch = stats.ttest_ind(*arms, equal_var=False)  # scipy
    between = welch.confidence_interval(0.95)
    assert found["p_value"] == pytest.approx(welch.pvalue)
    assert found["effect_lower"] == pytest.approx(between.low)
    assert found["effect_upper"] == pytest.approx(between.high)
    assert found["effect"] == pytest.approx(arms[0].mean() - arms[1].mean())
    assert (found["treated"], found["control"]) == (len(arms[0]), len(arms[1]))
    assert found["total_lower"] == pytest.approx(between.low * len(arms[0]))


@pytest.mark.reference
def test_cuped_is_the_regression_on_arm_and_covariate():
    # With arms of one size and one slope, θ and the effect are those of least squares, whose
    # standard error is written out here; Welch's allows for arms of different variance.
    rng = np.random.default_rng(1)
    n = 2_000
    x = rng.normal(size=n)
    t = rng.permutation(np.repeat([0, 1], n // 2))
    y = 2.0 * x + 0.1 * t + rng.normal(size=n)
    design = np.column_stack([np.ones(n), t, x])
    beta, rest, *_ = np.linalg.lstsq(design, y)
    error = np.sqrt(rest[0] / (n - 3) * np.linalg.inv(design.T @ design)[1, 1])
    table = evaluate_uplift(pd.DataFrame({"treatment": t, "value": y, "x": x}), covariate="x")
    found = row(table, method="CUPED")
    assert found["effect"] == pytest.approx(beta[1], abs=1e-3 * error)
    assert found["standard_error"] == pytest.approx(error, rel=2e-3)
    # The variance falls by the squared correlation, 0.8 here.
    assert found["variance_reduction"] == pytest.approx(0.8, abs=0.02)


def test_cuped_subtracts_a_constant_effect_of_a_perfect_covariate():
    data = campaign()
    data["value"] = 5.0 + 2.0 * data["predicted"] + 3.0 * data["treatment"]
    found = row(evaluate_uplift(data, covariate="predicted"), method="CUPED")
    assert found["effect"] == pytest.approx(3.0)
    assert found["standard_error"] == pytest.approx(0.0, abs=1e-6)
    assert found["variance_reduction"] == pytest.approx(1.0)


def test_a_constant_covariate_changes_nothing():
    table = evaluate_uplift(campaign().assign(predicted=7.0), covariate="predicted")
    raw, cuped = row(table), row(table, method="CUPED")
    assert cuped[["effect", "effect_lower", "p_value"]].tolist() == pytest.approx(
        raw[["effect", "effect_lower", "p_value"]].tolist()
    )
    assert (cuped["variance_reduction"], cuped["balance"], cuped["balance_p"]) == (0.0, 0.0, 1.0)


# --- segments and their total --------------------------------------------------------------------


@pytest.mark.parametrize("covariate", [None, "predicted"])
def test_total_effects_add_up(covariate):
    table = evaluate_uplift(campaign(), segment="segment", covariate=covariate)
    for _, rows in table.groupby("method"):
        total, parts = rows[rows["segment"] == "total"].iloc[0], rows[rows["segment"] != "total"]
        for column in ("treated", "control", "total_effect"):
            assert total[column] == pytest.approx(parts[column].sum())
        assert total["effect"] == pytest.approx(total["total_effect"] / total["treated"])
        squares = (parts["standard_error"] * parts["treated"]) ** 2
        assert total["standard_error"] * total["treated"] == pytest.approx(np.sqrt(squares.sum()))
        assert total["effect"] == pytest.approx(total["mean_treated"] - total["mean_control"])


def test_shares_that_differ_between_segments_do_not_mislead_the_total():
    # No effect, but the segment that buys more was treated more often.
    rng = np.random.default_rng(0)
    rich = rng.random(20_000) < 0.5
    treated = rng.random(20_000) < np.where(rich, 0.8, 0.2)
    value = np.where(rich, 100.0, 10.0) + rng.normal(size=20_000)
    data = pd.DataFrame({"treatment": treated, "value": value, "rich": rich})
    assert row(evaluate_uplift(data))["effect"] > 40
    within = row(evaluate_uplift(data, segment="rich"))
    assert within["effect_lower"] < 0 < within["effect_upper"]
    assert within["standard_error"] < 0.05


def test_segments_keep_their_order():
    data = campaign()
    kinds = pd.CategoricalDtype(["loyal", "at risk", "never seen"], ordered=True)
    table = evaluate_uplift(data.assign(segment=data["segment"].astype(kinds)), segment="segment")
    assert table["segment"].tolist() == ["loyal", "at risk", "total"]


def test_segments_without_an_arm_have_no_effect_and_are_not_in_the_total():
    data = campaign().drop(columns="customer_id")
    few = pd.DataFrame(
        {
            "treatment": [True, False, True],
            "value": 1.0,
            "segment": "new",
        }
    )
    with pytest.warns(DataWarning, match="in one of the arms of new: no effect there"):
        table = evaluate_uplift(pd.concat([data, few]), segment="segment")
    assert np.isnan(row(table, "new")["effect"])
    assert row(table, "new")["treated"] == 2
    without = evaluate_uplift(data, segment="segment")
    assert row(table)["total_effect"] == row(without)["total_effect"]


# --- arms ----------------------------------------------------------------------------------------


def test_arms_may_have_labels():
    data = campaign()
    named = data.assign(treatment=np.where(data["treatment"], "mail", "none"))
    there = row(evaluate_uplift(named, control="none"))["effect"]
    assert there == row(evaluate_uplift(data))["effect"]
    assert row(evaluate_uplift(named, control="mail"))["effect"] == pytest.approx(-there)
    as_int = data.assign(treatment=data["treatment"].astype(int))
    assert row(evaluate_uplift(as_int))["effect"] == there


def test_arms_that_differed_before_are_told_of():
    data = campaign(4_000)
    data["treatment"] = data["predicted"] > data["predicted"].median()
    with pytest.warns(DataWarning, match="'predicted' differed between the arms before") as told:
        evaluate_uplift(data, covariate="predicted")
    assert "no lot decided" in str(told[0].message)


def test_a_share_of_treated_that_was_not_meant_is_told_of():
    data = campaign(4_000, share=0.45)
    with pytest.warns(DataWarning, match="of the customers were treated, not 50.0%"):
        evaluate_uplift(data, allocation=0.5)
    evaluate_uplift(data, allocation=0.45)


# --- what is refused -----------------------------------------------------------------------------


def test_problems_are_listed_together():
    data = campaign(10)
    data.loc[1, "value"] = np.nan
    data.loc[[2, 3], "predicted"] = np.inf
    data.loc[4, "segment"] = None
    data["customer_id"] = 1
    data["treatment"] = np.where(data["treatment"], "mail", "none")
    with pytest.raises(DataError) as error:
        evaluate_uplift(data, segment="segment", covariate="predicted")
    counts = {problem.what: problem.count for problem in error.value.problems}
    assert list(counts.values()) == [1, 2, 1, 9, None]
    assert "control='" in error.value.problems[-1].fix


@pytest.mark.parametrize(
    ("treatment", "control", "message"),
    [
        ([True] * 10, None, "has 1 labels, not two"),
        (list("abcabcabca"), "a", "has 3 labels, not two"),
        (list("ababababab"), "c", "control= one of 'a', 'b'"),
        ([None] + [True, False] * 4 + [True], None, "missing 'treatment'"),
    ],
)
def test_arms_that_are_no_two_are_refused(treatment, control, message):
    with pytest.raises(DataError, match=message):
        evaluate_uplift(campaign(10).assign(treatment=treatment), control=control)


def test_columns_that_lack_and_options_out_of_range_are_refused():
    with pytest.raises(DataError, match=r"Did you mean 'value'\?"):
        evaluate_uplift(campaign(10), value="values")
    with pytest.raises(OptionError, match=r"interval=1.*allocation=2"):
        evaluate_uplift(campaign(10), interval=1, allocation=2)
    with pytest.raises(DataError, match="a segment named 'total'"):
        evaluate_uplift(campaign(10).assign(segment="total"), segment="segment")
    with pytest.raises(OptionError, match="no segment has enough customers"):
        evaluate_uplift(campaign(3).assign(treatment=[True, True, False]))


# --- coverage ------------------------------------------------------------------------------------


def covered(repetitions, n, seed, **shape):
    """How often intervals of the total hold the effect: raw and CUPED, within segments."""
    hits = dict.fromkeys(("difference in means", "CUPED"), 0)
    for i in range(repetitions):
        data = campaign(n, seed=(seed, i), **shape)
        table = evaluate_uplift(data, segment="segment", covariate="predicted")
        for method in hits:
            found = row(table, method=method)
            hits[method] += found["effect_lower"] <= 3.0 <= found["effect_upper"]
    return hits


@pytest.mark.filterwarnings("ignore:'predicted' differed between:clvpredict.errors.DataWarning")
def test_intervals_cover_as_often_as_they_say():
    hits = covered(100, 400, seed=1)
    for count in hits.values():
        assert stats.binomtest(count, 100, 0.95).pvalue > 0.001, hits


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'predicted' differed between:clvpredict.errors.DataWarning")
@pytest.mark.parametrize(("n", "share"), [(200, 0.5), (1_000, 0.5), (1_000, 0.3)])
def test_intervals_cover_as_often_as_they_say_at_length(n, share):
    hits = covered(600, n, seed=n, share=share)
    for count in hits.values():
        assert stats.binomtest(count, 600, 0.95).pvalue > 0.001, hits


# --- sample sizes --------------------------------------------------------------------------------


@pytest.mark.reference
def test_sample_sizes_of_cohens_tables():
    # Cohen (1988), Statistical Power Analysis, table 2.4.1, two-sided α = 0.05: customers per
    # arm for d = 0.2, 0.5, 0.8 at powers 0.80 and 0.95. Remake: G*Power 3.1, t test, two means.
    table = {(0.2, 0.8): 394, (0.5, 0.8): 64, (0.8, 0.8): 26, (0.5, 0.95): 105}
    for (d, power), each in table.items():
        found = uplift_sample_size(effect=10 * d, sd=10.0, power=power)
        assert found.treated == pytest.approx(each, abs=1)
        assert found.customers in (2 * each, 2 * each - 1)


def test_sample_sizes_are_about_those_of_the_formula():
    z = stats.norm.isf(0.005) + stats.norm.ppf(0.9)
    n = z**2 * 50.0**2 * (1 - 0.6**2) / (4.0**2 * 0.2 * 0.8)
    found = uplift_sample_size(
        4.0, 50.0, power=0.9, alpha=0.01, allocation=0.2, covariate_correlation=-0.6
    )
    assert found.customers == pytest.approx(n, rel=2e-3)
    assert found.customers > n
    assert found.treated == round(0.2 * found.customers)
    assert found == SampleSize(found.customers, found.treated, found.customers - found.treated)


@pytest.mark.filterwarnings("ignore:'x' differed between:clvpredict.errors.DataWarning")
@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_a_test_of_that_size_finds_the_effect_as_often_as_asked(correlation):
    size = uplift_sample_size(0.5, 1.0, power=0.8, covariate_correlation=correlation)
    method = "CUPED" if correlation else "difference in means"
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(150):
        treated = np.arange(size.customers) < size.treated
        x = rng.normal(size=size.customers)
        noise = np.sqrt(1 - correlation**2) * rng.normal(size=size.customers)
        data = pd.DataFrame(
            {"treatment": treated, "value": correlation * x + noise + 0.5 * treated, "x": x}
        )
        found += row(evaluate_uplift(data, covariate="x"), method=method)["p_value"] < 0.05
    assert stats.binomtest(found, 150, 0.8).pvalue > 0.001, found


def test_the_effect_found_by_so_many_needs_so_many():
    for effect in (0.3, 5.0, 40.0):
        size = uplift_sample_size(effect, 50.0, allocation=0.3)
        assert detectable_effect(size.customers, 50.0, allocation=0.3) <= effect * (1 + 1e-9)
        one_less = detectable_effect(size.customers - 1, 50.0, allocation=0.3)
        assert one_less > effect * (1 - 1e-9)


def test_values_may_stand_for_their_standard_deviation():
    values = np.array([0.0, 0.0, 30.0, 90.0])
    assert uplift_sample_size(5.0, values) == uplift_sample_size(5.0, float(values.std(ddof=1)))
    assert uplift_sample_size(5.0, pd.Series(values)) == uplift_sample_size(-5.0, values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"effect": 0.0}, "other than 0"),
        ({"effect": 1e-9}, "too small to be found"),
        ({"power": 1.0, "alpha": 0.0}, r"power=1.0.*alpha=0.0"),
        ({"power": 0.04}, "must exceed alpha"),
        ({"covariate_correlation": 1.0}, "within"),
        ({"sd": -1.0}, "not negative"),
        ({"sd": [1.0, np.nan]}, "without missing ones"),
    ],
)
def test_sizes_of_nothing_are_refused(arguments, message):
    with pytest.raises(OptionError, match=message):
        uplift_sample_size(**{"effect": 5.0, "sd": 50.0} | arguments)
    with pytest.raises(OptionError, match="whole number of at least 4"):
        detectable_effect(3, 50.0)
