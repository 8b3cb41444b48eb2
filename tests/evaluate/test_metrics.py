"""Metrics against definitions in loops: ties, constants, nobody, one customer."""

import numpy as np
import pytest
from scipy import stats

from clvpredict.evaluate import metrics


@pytest.fixture(params=range(4))
def data(request):
    """Scores with and without ties, and counts."""
    rng = np.random.default_rng(request.param)
    n = 40
    score = rng.gamma(1.0, 1.0, n)
    if request.param % 2:
        score = np.round(score)
    return score, rng.poisson(score).astype(float)


def captured(score, observed, customers):
    """Expected total of so many customers, the best first, equal ones in random order."""
    total, left = 0.0, customers
    for value in sorted(set(score), reverse=True):
        group = [o for s, o in zip(score, observed, strict=True) if s == value]
        share = min(1.0, left / len(group))
        total += share * sum(group)
        left -= share * len(group)
    return total


def test_gain(data):
    score, observed = data
    shares = np.array([0.0, 0.1, 0.25, 0.5, 1.0])
    want = [captured(score, observed, s * 40) / observed.sum() for s in shares]
    np.testing.assert_allclose(metrics.gain(score, observed, shares), want, atol=1e-12)


def test_gini(data):
    """Twice the area over the diagonal, by trapezia between customers, over that of the best."""
    score, observed = data

    def area(by):
        y = [captured(by, observed, k) / observed.sum() for k in range(41)]
        return sum((y[k] + y[k + 1]) / 2 for k in range(40)) / 40 - 0.5

    assert metrics.gini(score, observed) == pytest.approx(area(score) / area(observed))
    assert metrics.gini(observed, observed) == pytest.approx(1.0)
    assert metrics.gini(-observed, observed) == pytest.approx(-1.0)
    assert metrics.gini(np.ones(40), observed) == pytest.approx(0.0, abs=1e-12)


def test_auc_counts_pairs(data):
    score, observed = data
    event = observed > 0
    pairs = [(p > q) + (p == q) / 2 for p in score[event] for q in score[~event]]
    assert metrics.auc(score, event) == pytest.approx(np.mean(pairs))


def test_spearman(data):
    score, observed = data
    assert metrics.spearman(score, observed) == pytest.approx(
        stats.spearmanr(score, observed).statistic
    )


@pytest.mark.parametrize("share", [0.1, 0.33, 1.0])
def test_precision_is_the_mean_over_ways_to_break_ties(data, share):
    score, observed = data
    bought = observed > 0
    k = max(1, round(share * 40))
    rng = np.random.default_rng(9)
    found = []
    for _ in range(4_000):
        order = np.lexsort((rng.random(40), -score))
        found.append(bought[order[:k]].mean())
    error = np.std(found) / np.sqrt(4_000)
    value = metrics.precision_at(score, bought, share)
    assert value == pytest.approx(np.mean(found), abs=4 * error + 1e-12)


def test_the_order_of_customers_makes_no_difference(data):
    score, observed = data
    order = np.random.default_rng(1).permutation(40)
    event = observed > 0
    p = score / score.max()
    for f in (
        lambda o: metrics.gini(score[o], observed[o]),
        lambda o: metrics.precision_at(score[o], event[o], 0.1),
        lambda o: metrics.expected_calibration_error(p[o], event[o]),
        lambda o: metrics.reliability(p[o], event[o]).miscalibration,
    ):
        assert f(order) == pytest.approx(f(np.arange(40)), abs=1e-12)


def test_groups_are_equal_and_keep_ties_together():
    groups = metrics.quantile_groups(np.arange(100.0)[::-1], 10)
    np.testing.assert_array_equal(np.bincount(groups), np.full(10, 10))
    assert groups[0] == 9
    assert groups[-1] == 0
    tied = metrics.quantile_groups(np.array([1.0] * 70 + [2.0] * 30), 10)
    assert len(set(tied[:70])) == len(set(tied[70:])) == 1
    assert tied[0] < tied[-1]
    assert metrics.quantile_groups(np.array([3.0]), 10).tolist() == [5]


def test_calibration_error():
    p = np.repeat([0.1, 0.5, 0.9, 0.95], 25)
    event = np.zeros(100, bool)
    event[25:40] = event[50:95] = True
    # Four groups of 25: |.1 − 0|, |.5 − .6|, |.9 − 1|, |.95 − .8|.
    assert metrics.expected_calibration_error(p, event, 4) == pytest.approx(
        (0.1 + 0.1 + 0.1 + 0.15) / 4
    )


def naive_pav(p, event):
    """Pool adjacent violators: merge neighbours as long as a later one is smaller."""
    blocks = []
    for value in sorted(set(p)):
        found = [float(e) for q, e in zip(p, event, strict=True) if q == value]
        blocks.append([[value], found])
        while len(blocks) > 1 and np.mean(blocks[-2][1]) >= np.mean(blocks[-1][1]):
            last = blocks.pop()
            blocks[-1] = [blocks[-1][0] + last[0], blocks[-1][1] + last[1]]
    return {v: np.mean(found) for values, found in blocks for v in values}


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_reliability(seed, ties):
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 2, 120)
    if ties:
        p = np.round(p, 1)
    event = rng.random(120) < p**1.5
    found = metrics.reliability(p, event)
    fit = naive_pav(p, event)
    fitted = np.array([fit[v] for v in p])
    for low, high, observed in zip(found.low, found.high, found.observed, strict=True):
        inside = (p >= low) & (p <= high)
        np.testing.assert_allclose(fitted[inside], observed, atol=1e-12)
    assert found.customers.sum() == 120
    assert (np.diff(found.observed) > 0).all()
    brier = ((p - event) ** 2).mean()
    rate = event.mean()
    assert found.brier == pytest.approx(brier)
    assert found.miscalibration == pytest.approx(brier - ((fitted - event) ** 2).mean())
    assert found.uncertainty == pytest.approx(((rate - event) ** 2).mean())
    assert found.brier == pytest.approx(
        found.miscalibration - found.discrimination + found.uncertainty, abs=1e-14
    )
    assert found.miscalibration >= -1e-12
    assert found.discrimination >= -1e-12


def test_the_band_of_reliability_holds_right_probabilities():
    """Of calibrated forecasts nearly all blocks lie in it; of wrong ones few."""
    rng = np.random.default_rng(0)
    inside, wrong = [], []
    for seed in range(20):
        p = rng.beta(2, 3, 400)
        for keep, event in (
            (inside, rng.random(400) < p),
            (wrong, rng.random(400) < np.minimum(1.0, p + 0.25)),
        ):
            r = metrics.reliability(p, event, seed)
            held = (r.observed >= r.band_lower - 1e-9) & (r.observed <= r.band_upper + 1e-9)
            keep.append(np.average(held, weights=r.customers))
    assert np.mean(inside) > 0.88
    assert np.mean(wrong) < 0.3


def test_pit_curve_by_hand():
    """One customer whose PIT is spread over 0.2 ... 0.6, one of whom it is 0.5 exactly."""
    below, upto = np.array([0.2, 0.5]), np.array([0.6, 0.5])
    at = np.array([0.0, 0.1, 0.4, 0.7, 1.0])
    np.testing.assert_allclose(metrics.pit_curve(below, upto, at), [0, 0, 0.25, 1, 1])


def test_pit_of_outcomes_at_the_very_ends():
    """Impossible outcomes have below = upto = 1, and still count up to 1."""
    curve = metrics.pit_curve(np.array([1.0, 0.0]), np.array([1.0, 0.0]), np.array([0, 0.5, 1]))
    np.testing.assert_allclose(curve, [0, 0.5, 1])
    everyone = metrics.pit_distance(np.ones(5), np.ones(5))
    assert everyone == pytest.approx(0.995, abs=0.01)


def test_distances_are_those_of_kolmogorov():
    rng = np.random.default_rng(2)
    u = rng.random(5_000)
    exact = stats.kstest(u, "uniform").statistic
    assert metrics.randomised_distance(u, u, 0) == pytest.approx(exact, abs=0.01)
    assert metrics.pit_distance(u, u) == pytest.approx(exact, abs=0.01)
    null = metrics.uniform_distances(5_000, 4_000, 0)
    for level in (0.5, 0.95):  # a grid of 200 misses about 0.04 / √n
        want = stats.kstwobign.ppf(level) / np.sqrt(5_000)
        assert np.quantile(null, level) == pytest.approx(want, abs=0.06 / np.sqrt(5_000))


def test_randomised_ties_are_uniform():
    """All have PIT in (0.3, 0.8): the distance is 0.3 whatever the numbers are."""
    below, upto = np.full(50_000, 0.3), np.full(50_000, 0.8)
    for seed in (0, 1):
        assert metrics.randomised_distance(below, upto, seed) == pytest.approx(0.3, abs=0.01)


def test_nobody_buys_and_constants():
    score, nothing = np.arange(5.0), np.zeros(5)
    none = np.zeros(5, bool)
    assert np.isnan(metrics.gini(score, nothing))
    assert np.isnan(metrics.gain(score, nothing, np.array([0.1]))).all()
    assert np.isnan(metrics.auc(score, none))
    assert np.isnan(metrics.auc(score, ~none))
    assert np.isnan(metrics.spearman(score, nothing))
    assert np.isnan(metrics.spearman(np.ones(5), score))
    assert metrics.precision_at(score, none, 0.1) == 0.0
    assert metrics.precision_at(score, ~none, 0.1) == 1.0
    r = metrics.reliability(np.full(5, 0.2), none)
    assert (r.brier, r.miscalibration) == (pytest.approx(0.04), pytest.approx(0.04))
    assert (r.discrimination, r.uncertainty) == (0.0, 0.0)


def test_one_customer():
    one, yes = np.array([0.7]), np.array([True])
    assert metrics.precision_at(one, yes, 0.1) == 1.0
    assert metrics.gain(one, np.array([3.0]), np.array([0.5]))[0] == pytest.approx(0.5)
    assert np.isnan(metrics.gini(one, np.array([3.0])))
    assert metrics.expected_calibration_error(one, yes) == pytest.approx(0.3)
    r = metrics.reliability(one, yes)
    assert r.brier == pytest.approx(0.09)
    assert r.customers.tolist() == [1]
