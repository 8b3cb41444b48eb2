"""Budgets: against closed forms, brute force and the conditions of optimality."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import clvpredict as clv
from clvpredict.business import (
    ElasticResponse,
    PowerResponse,
    SaturatingResponse,
    allocate_budget,
    budget_frontier,
    segment_customers,
    segment_table,
)
from clvpredict.errors import DataError, DataWarning, OptionError

THREE = pd.DataFrame({"segment": ["a", "b", "c"], "customers": [400, 900, 2500]})
MIXED = {
    "a": SaturatingResponse(ceiling=9_000.0, half=700.0),
    "b": SaturatingResponse(ceiling=7_000.0, half=900.0, form="exponential"),
    "c": PowerResponse(scale=150.0, exponent=0.5),
}
UNSURE = {
    "a": SaturatingResponse(ceiling=(9_000.0, 6_000.0), half=(700.0, 200.0)),
    "b": SaturatingResponse(ceiling=(5_000.0, 500.0), half=900.0, form="exponential"),
    "c": PowerResponse(scale=150.0, exponent=(0.4, 0.05)),
}


def splits(budget, step):
    """All splits of the budget over three segments, in whole steps."""
    n = round(budget / step)
    return np.array([(i, j, n - i - j) for i in range(n + 1) for j in range(n + 1 - i)]) * step


def gains_by_hand(name, s):
    if name == "a":
        return 9_000.0 * s / (700.0 + s)
    if name == "b":
        return 7_000.0 * (1.0 - 2.0 ** (-s / 900.0))
    return 150.0 * np.sqrt(s)


# --- the expected gain ---------------------------------------------------------------------------


def test_square_roots_are_split_by_their_squared_scales():
    # max Σ kᵢ √sᵢ: sᵢ = B kᵢ² / Σ k², gain √(B Σ k²), and its derivative in B.
    scale = np.array([60.0, 20.0, 5.0])
    segments = pd.DataFrame({"scale": scale}, index=["x", "y", "z"])
    plan = allocate_budget(segments, 1_000.0, response=PowerResponse("scale", 0.5))
    assert plan.table["segment"].tolist() == ["x", "y", "z"]
    np.testing.assert_allclose(plan.table["spend"], 1_000 * scale**2 / (scale**2).sum(), rtol=1e-8)
    best = np.sqrt(1_000 * (scale**2).sum())
    assert plan.total["gain"] == pytest.approx(best, rel=1e-12)
    assert plan.total["marginal_return"] == pytest.approx(best / 2_000, rel=1e-6)
    assert plan.table["gain_lower"].isna().all()  # nothing is said to be uncertain


def test_no_split_on_a_grid_is_better():
    budget = 3_000.0
    plan = allocate_budget(THREE, budget, response=MIXED)
    grid = splits(budget, 25.0)
    total = sum(gains_by_hand(name, grid[:, i]) for i, name in enumerate("abc"))
    spend = plan.table.set_index("segment")["spend"]
    own = sum(gains_by_hand(name, spend[name]) for name in "abc")
    assert plan.total["gain"] == pytest.approx(own, rel=1e-12)
    assert total.max() <= own
    assert total.max() == pytest.approx(own, rel=1e-4)
    assert np.abs(grid[total.argmax()] - spend.to_numpy()).max() < 50.0
    assert spend.sum() == pytest.approx(budget, rel=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_marginal_returns_are_equal_between_the_bounds(seed):
    rng = np.random.default_rng(seed)
    n = 8
    segments = pd.DataFrame(
        {
            "segment": [f"s{i}" for i in range(n)],
            "minimum": rng.uniform(0, 300, n),
            "maximum": rng.uniform(400, 3_000, n),
        }
    )
    responses = {
        f"s{i}": rng.permutation(
            [
                SaturatingResponse((rng.uniform(1e3, 9e4), 500.0), rng.uniform(100, 5_000)),
                PowerResponse((rng.uniform(20, 400), 10.0), (rng.uniform(0.2, 0.9), 0.02)),
            ]
        )[0]
        for i in range(n)
    }
    plan = allocate_budget(segments, 6_000.0, response=responses, spend_all=bool(seed % 2))
    table, price = plan.table, plan.total["marginal_return"]
    free = table[table["bound"] == ""]
    np.testing.assert_allclose(free["marginal_return"], price, rtol=1e-5)
    assert (table.loc[table["bound"] == "minimum", "marginal_return"] <= price * (1 + 1e-5)).all()
    assert (table.loc[table["bound"] == "maximum", "marginal_return"] >= price * (1 - 1e-5)).all()
    assert (table["spend"] >= table["minimum"] - 1e-9).all()
    assert (table["spend"] <= table["maximum"] + 1e-9).all()
    assert len(free) > 0


def test_contacts_in_all_are_kept_to_and_no_split_on_a_grid_is_better():
    segments = THREE.assign(cost_per_contact=[5.0, 2.0, 0.5])
    budget, most = 3_000.0, 1_500.0
    plan = allocate_budget(segments, budget, response=MIXED, max_contacts=most)
    spend = plan.table["spend"].to_numpy()
    cost = segments["cost_per_contact"].to_numpy()
    np.testing.assert_allclose(plan.table["contacts"], spend / cost)
    assert plan.total["contacts"] <= most * (1 + 1e-9)
    assert (plan.table["contacts"] <= segments["customers"] * (1 + 1e-9)).all()
    # Whatever is left of the budget or the contacts, on a grid of spends up to their bounds.
    steps = [np.arange(0, top + 1, 25.0) for top in (2_000, 1_800, 1_250)]
    grid = np.array(list(itertools.product(*steps)))
    grid = grid[(grid.sum(axis=1) <= budget) & ((grid / cost).sum(axis=1) <= most)]
    total = sum(gains_by_hand(name, grid[:, i]) for i, name in enumerate("abc"))
    assert total.max() <= plan.total["gain"] * (1 + 1e-9)
    assert total.max() == pytest.approx(plan.total["gain"], rel=2e-3)


def test_all_customers_contacted_is_a_bound():
    segments = THREE.assign(cost_per_contact=0.25)
    plan = allocate_budget(segments, 3_000.0, response=MIXED)
    assert plan.table["bound"].tolist() == ["all customers"] * 3
    assert plan.total["unspent"] == pytest.approx(3_000 - 0.25 * 3_800)
    twice = allocate_budget(segments, 3_000.0, response=MIXED, contacts_per_customer=2.0)
    assert twice.total["contacts"] == pytest.approx(2 * 3_800)


def test_curves_with_straight_parts_share_what_is_equally_good():
    # Both bring 3 per unit up to 100; the budget reaches in between.
    def bent(s):
        return 3.0 * np.minimum(s, 100.0) + 0.5 * np.maximum(s - 100.0, 0.0)

    two = pd.DataFrame({"segment": ["a", "b"]})
    plan = allocate_budget(two, 150.0, response=bent)
    assert plan.total["gain"] == pytest.approx(450.0, rel=1e-6)
    assert plan.total["spend"] == pytest.approx(150.0, rel=1e-9)


def test_money_that_does_not_pay_can_be_left():
    # g' = scale / (2 √s) is 1 at s = (scale / 2)².
    one = pd.DataFrame({"segment": ["only"]})
    response = PowerResponse(40.0, 0.5)
    with pytest.warns(DataWarning, match="brings 0.63, less than it costs: spend_all=False"):
        spent = allocate_budget(one, 1_000.0, response=response)
    left = allocate_budget(one, 1_000.0, response=response, spend_all=False)
    assert spent.total["spend"] == pytest.approx(1_000.0)
    assert left.total["spend"] == pytest.approx(400.0, rel=1e-6)
    assert left.total["unspent"] == pytest.approx(600.0, rel=1e-6)
    assert left.total["net_gain"] > spent.total["net_gain"]
    assert left.total["marginal_return"] == pytest.approx(1.0, rel=1e-6)


def test_the_budget_is_not_spent_where_more_does_harm():
    one = pd.DataFrame({"segment": ["only"]})
    with pytest.warns(DataWarning, match="less than it costs"):
        plan = allocate_budget(one, 100.0, response=lambda s: 9.0 * s - 0.1 * s**2)
    assert plan.total["spend"] == pytest.approx(45.0, rel=1e-3)


def test_the_order_of_segments_makes_no_difference_to_known_curves():
    there = allocate_budget(THREE, 2_000.0, response=MIXED).table.set_index("segment")
    back = allocate_budget(THREE[::-1], 2_000.0, response=MIXED).table.set_index("segment")
    pd.testing.assert_series_equal(there["spend"], back["spend"].reindex(there.index), rtol=1e-8)


# --- when things go badly ------------------------------------------------------------------------


def test_no_split_on_a_grid_has_better_worst_draws():
    budget, step, q = 2_000.0, 100.0, 0.1
    terms = {"draws": 500, "seed": 3}
    plan = allocate_budget(
        THREE, budget, response=UNSURE, objective="lower_quantile", quantile=q, **terms
    )
    mean = allocate_budget(THREE, budget, response=UNSURE, **terms)
    # Draws of several segments come from one stream, so they are taken from joint plans.
    spends = np.arange(0.0, budget + 1, step)
    known = {}
    for s in spends:
        fixed = THREE.assign(minimum=s, maximum=s)
        known[s] = allocate_budget(fixed, 3 * s, response=UNSURE, spend_all=False, **terms).draws
    grid = splits(budget, step)
    total = np.array([sum(known[s][:, i] for i, s in enumerate(row)) for row in grid])
    worst = np.sort(total, axis=1)[:, : round(q * 500)].mean(axis=1)
    assert worst.max() <= plan.total["gain_worst"] * (1 + 1e-6)
    assert worst.max() == pytest.approx(plan.total["gain_worst"], rel=2e-3)
    assert plan.total["gap"] < 1e-3 * plan.total["gain_worst"]
    assert plan.total["gain_worst"] > 1.02 * mean.total["gain_worst"]
    assert plan.total["gain"] < mean.total["gain"]
    # The quantile itself is not concave; the best one of the grid is hardly better here.
    quantiles = np.quantile(total, q, axis=1, method="inverted_cdf")
    assert plan.total["gain_quantile"] > 0.98 * quantiles.max()
    assert plan.total["gain_worst"] <= plan.total["gain_quantile"]


def test_worst_draws_by_hand():
    drawn = np.array([np.linspace(0.5, 1.5, 100)]).T * 1_000.0
    plan = allocate_budget(
        pd.DataFrame({"segment": ["only"]}),
        100.0,
        response=lambda s: drawn * s / (s + 100.0),
        objective="lower_quantile",
        quantile=0.105,
    )
    ordered = drawn[:, 0] / 2
    assert plan.total["gain_quantile"] == pytest.approx(ordered[10])
    assert plan.total["gain_worst"] == pytest.approx((ordered[:10].sum() + ordered[10] / 2) / 10.5)
    assert plan.total["gain_lower"] == pytest.approx(np.sort(ordered)[4])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_the_certified_gap_is_small_in_random_tasks(seed):
    rng = np.random.default_rng(seed)
    n = (3, 6, 12, 25)[seed % 4]
    segments = pd.DataFrame(
        {
            "segment": [f"s{i}" for i in range(n)],
            "value": rng.uniform(1e4, 1e6, n),
            "cost_per_contact": rng.uniform(0.5, 5.0, n),
            "maximum": rng.uniform(500, 9_000, n),
        }
    )
    kinds = [
        lambda: SaturatingResponse((rng.uniform(1e3, 1e5), 2e4), (rng.uniform(1e2, 1e4), 50.0)),
        lambda: SaturatingResponse((0.1, 0.05), 3e3, form="exponential", of="value"),
        lambda: PowerResponse((rng.uniform(50, 500), 40.0), (rng.uniform(0.2, 0.8), 0.05)),
        lambda: ElasticResponse((0.1, 0.05), rng.uniform(1e3, 1e4)),
    ]
    response = {name: kinds[rng.integers(4)]() for name in segments["segment"]}
    plan = allocate_budget(
        segments,
        1_000.0 * n,
        response=response,
        objective="lower_quantile",
        spend_all=bool(seed % 2),
        max_contacts=None if seed % 3 else 500.0 * n,
    )
    assert plan.total["gap"] < 1e-4 * plan.total["gain_worst"]
    free = plan.table[plan.table["bound"] == ""]["marginal_return"]
    if seed % 3:
        assert free.max() == pytest.approx(free.min(), rel=0.02)


# --- responses -----------------------------------------------------------------------------------


def at_spend(response, spend, **columns):
    one = pd.DataFrame({"segment": ["only"], "minimum": [spend], **columns})
    return allocate_budget(one, spend, response=response, spend_all=False)


@pytest.mark.parametrize(
    ("response", "gain"),
    [
        (SaturatingResponse(100.0, 50.0), 100 * 150 / 200),
        (SaturatingResponse(100.0, 50.0, form="exponential"), 100 * 7 / 8),
        (SaturatingResponse(0.1, 50.0, of="clv"), 3_000 * 0.1 * 150 / 200),
        (SaturatingResponse(2.0, 1.0, per_customer=True), 30 * 2.0 * 5 / 6),
        (SaturatingResponse(0.1, 1.0, of="clv", per_customer=True), 300 * 5 / 6),
        (PowerResponse(4.0, 0.5), 4 * np.sqrt(150)),
        (PowerResponse(4.0, 0.5, per_customer=True), 30 * 4 * np.sqrt(5)),
        (ElasticResponse(0.2, spend=50.0, of="clv"), 3_000 * (4**0.2 - 1)),
        (lambda s: np.log1p(s), np.log(151)),
    ],
)
def test_gains_are_those_of_the_formula_and_marginals_their_slope(response, gain):
    columns = {"clv": [3_000.0], "customers": [30]}
    plan = at_spend(response, 150.0, **columns)
    assert plan.total["gain"] == pytest.approx(gain, rel=1e-12)
    more, less = (at_spend(response, s, **columns).total["gain"] for s in (150.01, 149.99))
    assert plan.table["marginal_return"].item() == pytest.approx((more - less) / 0.02, rel=1e-5)


def test_a_segment_without_value_or_customers_gains_nothing():
    segments = THREE.assign(clv_total=[0.0, 9e4, 5e4], customers=[0, 900, 2500])
    shares = SaturatingResponse((0.1, 0.05), half=2.0, of="clv_total", per_customer=True)
    each = PowerResponse(2.0, 0.5, per_customer=True)
    for response in (shares, each, ElasticResponse(0.1, spend=500.0, of="clv_total")):
        plan = allocate_budget(segments, 900.0, response=response)
        assert plan.table.loc[0, ["spend", "gain"]].tolist() == [0.0, 0.0]
        assert plan.total["gain"] > 0


def test_means_and_standard_errors_are_those_of_the_draws():
    response = SaturatingResponse((800.0, 300.0), half=1e-9)  # the gain is the ceiling
    plan = at_spend(response, 150.0)
    drawn = plan.draws[:, 0]
    assert drawn.mean() == pytest.approx(800.0, rel=2e-3)
    assert drawn.std() == pytest.approx(300.0, rel=0.02)
    shape = np.sqrt(np.log1p((300 / 800) ** 2))
    law = stats.lognorm(shape, scale=800.0 * np.exp(-(shape**2) / 2))
    np.testing.assert_allclose(
        plan.table[["gain_lower", "gain_upper"]].iloc[0], law.ppf([0.05, 0.95]), rtol=5e-3
    )
    elastic = at_spend(PowerResponse(1.0, (0.3, 0.1)), np.e)
    exponents = np.log(elastic.draws[:, 0])
    assert exponents.mean() == pytest.approx(0.3, rel=2e-3)
    assert exponents.std() == pytest.approx(0.1, rel=0.02)


def test_draws_that_are_given_are_used_as_they_come():
    ceilings = np.linspace(50.0, 150.0, 40)
    plan = at_spend(SaturatingResponse(ceilings, pd.Series(ceilings)), 150.0)
    np.testing.assert_allclose(plan.draws[:, 0], ceilings * 150 / (ceilings + 150))


def test_the_seed_decides_the_draws():
    first, again, other = (
        allocate_budget(THREE, 900.0, response=UNSURE, seed=seed).draws for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (SaturatingResponse(-1.0, 5.0), r"ceiling=-1.0 of segment 'a' must be > 0"),
        (PowerResponse(1.0, 1.2), "at most 1; 1.2 came"),
        (PowerResponse(1.0, (0.5, 0.6)), "give draws of it"),
        (SaturatingResponse([1.0, 2.0], 5.0), "2 draws came, and at least 20"),
        (SaturatingResponse("clw", 5.0), "no column 'clw'"),
        (SaturatingResponse(np.ones(30), np.ones(40)), "different numbers of draws"),
        (lambda s: s**2, "not concave near a spend"),
        (lambda s: 1.0, "must return a finite gain for each spend"),
        (7, "is no curve"),
        ({"a": PowerResponse(1.0, 0.5)}, r"it has none for \['b', 'c'\]"),
        ({**MIXED, "d": PowerResponse(1.0, 0.5)}, r"it names \['d'\]"),
        (
            {
                "a": SaturatingResponse(np.ones(30), 1.0),
                "b": SaturatingResponse(np.ones(40), 1.0),
                "c": MIXED["c"],
            },
            "30 and 40 draws",
        ),
    ],
)
def test_responses_that_are_none_are_refused(response, message):
    with pytest.raises(OptionError, match=message):
        allocate_budget(THREE, 900.0, response=response)


def test_an_unknown_form_is_refused():
    with pytest.raises(OptionError, match="Allowed: 'hyperbolic', 'exponential'"):
        SaturatingResponse(1.0, 1.0, form="hill")


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "terms", "message"),
    [
        ({"minimum": 400.0}, {}, "minimums sum to 1,200, more than the budget of 900: raise the"),
        ({"minimum": 500.0, "maximum": 300.0}, {}, "minimum of 500 exceeds 300"),
        (
            {"minimum": 250.0, "cost_per_contact": 1.0},
            {"max_contacts": 500},
            "take 750 contacts, more than max_contacts=500",
        ),
        ({}, {"objective": "lower_quantile"}, "needs to know how uncertain"),
        ({}, {"quantile": 2, "interval": 0, "draws": 3}, "(?s)quantile=2.*interval=0.*draws=3"),
        ({}, {"objective": "best"}, "Allowed: 'mean', 'lower_quantile'"),
    ],
)
def test_what_cannot_be_kept_is_refused(columns, terms, message):
    with pytest.raises(OptionError, match=message):
        allocate_budget(THREE.assign(**columns), 900.0, response=MIXED, **terms)


def test_problems_with_segments_are_listed_together():
    bad = pd.DataFrame(
        {
            "segment": ["a", "a", None, "Total"],
            "customers": [1, -2, 3, 4],
            "cost_per_contact": [1.0, 0.0, np.nan, 2.0],
            "maximum": [np.nan, np.inf, 3.0, -1.0],
        }
    )
    with pytest.raises(DataError) as error:
        allocate_budget(bad, 10.0, response=PowerResponse(1.0, 0.5))
    said = [problem.what for problem in error.value.problems]
    assert said[:2] == ["missing names", "names that occur twice"]
    assert said[2].startswith("a total beside the segments")
    assert said[3:] == ["customers", "cost_per_contact", "maximum"]
    assert [problem.count for problem in error.value.problems] == [1, 1, 1, 1, 2, 1]


def test_a_segment_table_is_taken_as_it_is(cdnow_rfm):
    model = clv.CLVModel(clv.MBGNBD()).fit(cdnow_rfm)
    predictions = segment_customers(model.predict(cdnow_rfm, horizon="52W", margin=0.3))
    segments = segment_table(model, predictions, interval=None)
    response = SaturatingResponse((0.05, 0.02), half=2.0, of="clv_total", per_customer=True)
    plan = allocate_budget(segments, 500.0, response=response, spend_all=False)
    assert plan.table["segment"].tolist() == segments["segment"].tolist()[:-1]
    assert plan.table["customers"].sum() == len(cdnow_rfm)
    spend, half = plan.table["spend"].to_numpy(), 2.0 * plan.table["customers"].to_numpy()
    by_hand = 0.05 * segments["clv_total"].to_numpy()[:-1] * spend / (half + spend)
    np.testing.assert_allclose(plan.table["gain"], by_hand, rtol=2e-3)


@pytest.mark.parametrize("segments", [pd.DataFrame(), "segments"])
def test_no_segments_are_refused(segments):
    with pytest.raises(OptionError, match="a row per segment"):
        allocate_budget(segments, 10.0, response=PowerResponse(1.0, 0.5))


# --- the frontier --------------------------------------------------------------------------------


def test_the_frontier_is_that_of_each_budget_rises_and_bends():
    budgets = np.linspace(200.0, 5_000.0, 9)
    table = budget_frontier(THREE, budgets, response=UNSURE, draws=400)
    one = allocate_budget(THREE, budgets[4], response=UNSURE, draws=400)
    for column in ("gain", "gain_lower", "gain_upper", "marginal_return", "p_worth"):
        assert table.loc[4, column] == pytest.approx(one.total[column])
    slope = np.diff(table["gain"]) / np.diff(table["budget"])
    assert (np.diff(slope) < 0).all()
    between = table["marginal_return"].to_numpy()
    assert (slope < between[:-1]).all()
    assert (slope > between[1:]).all()


def test_caution_costs_some_of_the_mean_and_gains_in_the_worst():
    table = budget_frontier(
        THREE,
        [500.0, 2_000.0],
        response=UNSURE,
        objective=["mean", "lower_quantile"],
        draws=400,
    ).set_index(["objective", "budget"])
    mean, careful = table.loc["mean"], table.loc["lower_quantile"]
    assert (careful["gain"] <= mean["gain"]).all()
    assert (careful["gain_worst"] >= mean["gain_worst"]).all()


def test_the_frontier_says_from_where_money_does_not_pay():
    one = pd.DataFrame({"segment": ["only"]})
    budgets = [100.0, 300.0, 500.0, 900.0]
    response = PowerResponse(40.0, 0.5)  # pays up to 400
    assert budget_frontier(one, budgets, response=response).attrs["worth"] == {"mean": 500.0}
    kept = budget_frontier(one, budgets, response=response, spend_all=False)
    assert kept.attrs["worth"] == {"mean": None}
    np.testing.assert_allclose(kept["spend"], [100, 300, 400, 400], rtol=1e-6)


@pytest.mark.parametrize("objective", ["mean", "lower_quantile"])
def test_a_frontier_may_start_at_nothing(objective):
    table = budget_frontier(THREE, [0.0, 100.0], response=UNSURE, objective=objective, draws=200)
    assert table.loc[0, ["spend", "gain", "gain_worst"]].tolist() == [0.0, 0.0, 0.0]
    assert table["marginal_return"].tolist() == sorted(table["marginal_return"], reverse=True)
    none = allocate_budget(THREE, 0.0, response=UNSURE, objective=objective, draws=200)
    assert none.table["share"].isna().all()


def test_a_frontier_of_nothing_is_refused():
    with pytest.raises(OptionError, match="has none"):
        budget_frontier(THREE, [], response=MIXED)
    with pytest.raises(OptionError, match="Did you mean 'interval'"):
        budget_frontier(THREE, [1.0], response=MIXED, intervall=0.9)


def test_a_plan_shows_itself():
    plan = allocate_budget(THREE, 900.0, response=UNSURE)
    assert repr(plan).startswith("<Allocation: 900 of 900 over 3 segments, gain ")
    assert "&lt;Allocation" in plan._repr_html_()
    assert plan.table["share"].sum() == pytest.approx(1.0)
    assert plan.table["gain"].sum() == pytest.approx(plan.total["gain"])
    assert plan.table["customers"].tolist() == [400, 900, 2500]
