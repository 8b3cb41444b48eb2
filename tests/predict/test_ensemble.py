"""Scores of draws by loops over them, and what the PIT does when forecasts are right or wrong."""

import numpy as np
import pandas as pd
import pytest
from reference import PARAMS

import clvpredict as clv
from clvpredict.evaluate import evaluate_holdout
from clvpredict.evaluate.metrics import pit_distance
from clvpredict.predict import interval_of, reduce, tails
from clvpredict.predict.ensemble import pit_distances, score_draws

DRAWS = 25


@pytest.fixture(scope="module")
def drawn():
    """Draws with an atom at 0 and ties, as value has, and outcomes in and outside of them."""
    rng = np.random.default_rng(3)
    given = np.round(rng.gamma(0.5, 20.0, (12, DRAWS)), 0)
    given[0] = 0.0
    observed = np.round(rng.gamma(0.5, 20.0, 12), 0)
    observed[:5] = 0.0, 0.0, 500.0, given[3].max(), given[4].min()
    given[1] += 5.0  # what happened lies below all draws
    return given, observed


def score(drawn, transform=None, level=0.8):
    given, observed = drawn

    def work(block, rng):
        return {"value": given[block]}

    ends = {level: tails(level)}
    return score_draws(work, DRAWS, "value", observed, ends, 0, transform)


def test_crps_is_the_fair_one_by_brute_force(drawn):
    found = score(drawn)
    for given, y, crps, mean in zip(*drawn, found.crps, found.mean, strict=True):
        pairs = sum(abs(u - v) for u in given for v in given)
        far = sum(abs(u - y) for u in given) / DRAWS
        assert crps == pytest.approx(far - pairs / (2 * DRAWS * (DRAWS - 1)), abs=1e-10)
        assert mean == pytest.approx(sum(given) / DRAWS)
    assert np.isnan(found.log_score).all()


def test_the_fair_crps_does_not_depend_on_how_many_draws():
    """Averaged over ensembles it is that of the distribution: Exp(1), y = 1: 2/e − 1/2."""
    rng = np.random.default_rng(5)
    for draws in (2, 10):
        given = rng.exponential(1.0, (40_000, draws))
        work = lambda block, _, g=given: {"v": g[block]}  # noqa: E731
        found = score_draws(work, draws, "v", np.ones(40_000), {}, 0).crps
        error = found.std() / 200
        assert found.mean() == pytest.approx(2 / np.e - 0.5, abs=4 * error)


def test_a_correction_weighs_the_draws(drawn):
    """G = p² on sorted draws: the i-th has weight (i² − (i − 1)²) / m²."""
    found = score(drawn, np.square)
    weight = np.array([(i**2 - (i - 1) ** 2) / DRAWS**2 for i in range(1, DRAWS + 1)])
    for given, y, crps, mean in zip(*drawn, found.crps, found.mean, strict=True):
        ordered = np.sort(given)
        assert mean == pytest.approx(sum(w * v for w, v in zip(weight, ordered, strict=True)))
        far = sum(w * abs(v - y) for w, v in zip(weight, ordered, strict=True))
        pairs = sum(
            w * u * abs(a - b)
            for w, a in zip(weight, ordered, strict=True)
            for u, b in zip(weight, ordered, strict=True)
        )
        # As without a correction: what few draws lack of the second term is added.
        fair = pairs * DRAWS / (DRAWS - 1)
        assert crps == pytest.approx(far - fair / 2, abs=1e-9)


def test_intervals_are_those_of_predictions(drawn):
    given, _ = drawn
    found = score(drawn)
    low, high = interval_of(given, 0.8)
    np.testing.assert_array_equal(found.lower[0.8], low)
    np.testing.assert_array_equal(found.upper[0.8], high)
    held = [((g >= a) & (g <= b)).mean() for g, a, b in zip(given, low, high, strict=True)]
    np.testing.assert_allclose(found.within[0.8], held, atol=1e-12)


def test_ranks_among_draws_with_ties(drawn):
    found = score(drawn)
    for given, y, below, upto in zip(*drawn, found.below, found.upto, strict=True):
        assert below == pytest.approx(sum(v < y for v in given) / (DRAWS + 1))
        assert upto == pytest.approx((sum(v <= y for v in given) + 1) / (DRAWS + 1))
    assert (found.below[0], found.upto[0]) == (0, 1)  # all the same
    assert found.upto[1] == pytest.approx(1 / (DRAWS + 1))  # below all draws
    assert found.below[2] == pytest.approx(DRAWS / (DRAWS + 1))  # above all
    assert found.upto[2] == 1


@pytest.mark.parametrize("draws", [7, 60])
@pytest.mark.parametrize("ties", [False, True])
def test_distances_by_brute_force(draws, ties, monkeypatch):
    """Every draw in turn is what happened, the others and itself the forecast."""
    rows = 40
    given = np.random.default_rng(6).exponential(size=(rows, draws))
    if ties:
        given = np.floor(2 * given)
    monkeypatch.setattr(reduce, "_ELEMENTS", 10 * draws)  # several blocks
    found = pit_distances(lambda b, _: {"v": given[b]}, rows, draws, "v", 0)
    edges = np.arange(1, draws + 1) / draws
    for j in range(draws):
        ecdf = np.zeros(draws)
        for row in given:
            below, upto = (row < row[j]).mean(), (row <= row[j]).mean()
            ecdf += [min(max((u - below) / (upto - below), 0.0), 1.0) for u in edges]
        assert found[j] == pytest.approx(np.abs(ecdf / rows - edges).max(), abs=1e-12)


# --- the whole test of calibration ----------------------------------------------------------


def world(seed, customers=1_200, level=1.0):
    """A base whose holdout follows the model (times level), and the model that knows it."""
    model = clv.MBGNBD.from_params(time_unit="W", **PARAMS["mbg/nbd"])
    rng = np.random.default_rng(seed)
    r, alpha, a, b = PARAMS["mbg/nbd"].values()
    rate, p = rng.gamma(r, 1 / alpha, customers), rng.beta(a, b, customers)
    age, t = rng.uniform(20, 39, customers), 26.0
    rows = []
    for lam, drop, T in zip(rate, p, age, strict=True):
        last, x, alive = 0.0, 0, rng.random() >= drop
        now = rng.exponential(1 / lam)
        while alive and now <= T:
            last, x = now, x + 1
            alive = rng.random() >= drop
            now += rng.exponential(1 / lam)
        later, now = 0, T
        while alive and (now := now + rng.exponential(1 / (level * lam))) <= T + t:
            later += 1
            alive = rng.random() >= drop
        rows.append((x, last, T, later, t))
    names = ["frequency", "recency", "T", "frequency_holdout", "duration_holdout"]
    return model, pd.DataFrame(rows, columns=names).assign(customer_id=range(customers))


def p_value(model, split):
    table = evaluate_holdout(model, split, draws=20).pit()
    return table.attrs["ks"]["MBG/NBD"]["p_value"]


def test_p_values_of_right_forecasts_are_uniform():
    """20 bases: below 1/2 about half of the time, hardly ever very small."""
    found = np.array([p_value(*world(seed, customers=400)) for seed in range(20)])
    assert 4 <= (found < 0.5).sum() <= 16  # binomial(20, 1/2): outside once in 300
    assert (found < 0.05).sum() <= 4  # binomial(20, 0.05): more once in 400
    assert found.max() > 0.7


@pytest.mark.parametrize("seed", [1, 2])
def test_a_wrong_level_is_seen(seed):
    """Rates that rise by 30 % when the holdout begins."""
    assert p_value(*world(seed, customers=4_000, level=1.3)) < 0.05


def test_distances_are_those_that_right_forecasts_have():
    """The null distribution against outcomes drawn by the story of the model."""
    model, split = world(1, customers=800)
    null = model.pit_distances(split, horizon=26.0, draws=200)
    assert null.shape == (200,)
    real = []
    for seed in range(12):
        other, base = world(100 + seed, customers=800)
        scores = other.score(base, base["frequency_holdout"], horizon=26.0)
        real.append(pit_distance(scores.below, scores.upto))
    place = np.array([(null < d).mean() for d in real])
    assert place.mean() == pytest.approx(0.5, abs=3 / np.sqrt(12 * 12))


def test_value_too(cdnow_split):
    """Value is continuous with an atom at 0; its intervals are those of predict."""
    model = clv.CLVModel(clv.MBGNBD()).fit(cdnow_split)
    value = cdnow_split["frequency_holdout"] * cdnow_split["monetary_value_holdout"]
    ask = {"horizon": "39W", "draws": 60, "seed": 3}
    # Equal customers are drawn once: what happened must not tell them apart here.
    scores = model.score(cdnow_split, 0 * value, levels=(0.9,), discounting="none", **ask)
    table = model.predict(cdnow_split, interval=0.9, discounting="none", **ask)
    np.testing.assert_allclose(scores.lower[0.9], table["value_pi_lower"])
    np.testing.assert_allclose(scores.upper[0.9], table["value_pi_upper"])
    null = model.pit_distances(cdnow_split, **ask)
    assert null.shape == (60,)
    assert ((null > 0) & (null < 0.1)).all()
    wrong = model.score(cdnow_split, 3 * value + 50, discounting="none", **ask)
    assert pit_distance(wrong.below, wrong.upto) > null.max()
