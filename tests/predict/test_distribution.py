"""Exact distributions of purchases: the numbers that score them, by loops and simulation."""

import numpy as np
import pandas as pd
import pytest
from reference import PARAMS, p_alive, pmf, simulate
from scipy.integrate import dblquad

import clvpredict as clv
from clvpredict.errors import OptionError
from clvpredict.models.registry import PURCHASE_MODELS
from clvpredict.predict import distribution
from clvpredict.predict.distribution import Scores, score_counts

ESTIMATORS = {"bg/nbd": clv.BGNBD, "mbg/nbd": clv.MBGNBD, "nbd": clv.NBD}
NAMES = ("r", "alpha", "a", "b")
LEVELS = (0.5, 0.8, 0.9, 0.95)
# x, t_x, T, observed: nobody came back, usual, lapsed, just acquired, heavy buyers of short life,
# and outcomes where next to no probability is.
CUSTOMERS = [
    (0, 0.0, 39.0, 0),
    (0, 0.0, 39.0, 3),
    (2, 30.43, 38.86, 1),
    (2, 3.0, 38.86, 0),
    (0, 0.0, 0.0, 2),
    (26, 38.0, 39.0, 20),
    (40, 10.0, 39.0, 0),
    (200, 2.9, 3.0, 700),
    (200, 2.9, 3.0, 0),
    (1, 1.0, 39.0, 40),
]
T_AHEAD = 39.0


def frame(customers=CUSTOMERS):
    x, t_x, age, observed = map(np.array, zip(*customers, strict=True))
    ids = np.arange(len(x))
    rfm = pd.DataFrame({"customer_id": ids, "frequency": x, "recency": t_x, "T": age})
    return rfm, observed.astype(float)


def by_loop(p, y, levels=LEVELS):
    """Everything that is said of one customer, from the definitions."""
    up_to = np.cumsum(p)
    out = {"crps": 0.0, "mean": 0.0, "below": up_to[y - 1] if y else 0.0, "upto": up_to[y]}
    for k, f in enumerate(up_to):
        out["crps"] += (f - (y <= k)) ** 2
        out["mean"] += k * p[k]
    out["log_score"] = -np.log(p[y])
    for level in levels:
        low = next(k for k, f in enumerate(up_to) if f >= 0.5 - level / 2)
        high = next(k for k, f in enumerate(up_to) if f >= 0.5 + level / 2)
        out[level] = (low, high, up_to[high] - (up_to[low - 1] if low else 0.0))
    return out


@pytest.fixture(scope="module", params=list(ESTIMATORS))
def scored(request):
    name = request.param
    rfm, observed = frame()
    model = ESTIMATORS[name].from_params(time_unit="W", **PARAMS[name])
    return name, model, rfm, model.score(rfm, observed, horizon=T_AHEAD, levels=LEVELS)


@pytest.mark.slow
def test_the_reference_is_the_integral_over_rate_and_dropout():
    """Both are numbers of this test: the closed form of reference.py, and double quadrature."""
    r, alpha, a, b = PARAMS["mbg/nbd"].values()
    x, t_x, age, t = 2, 30.43, 38.86, 39.0
    from math import exp, factorial, gamma

    from scipy.special import gammaincc

    def prior(rate, p):
        beta = gamma(a + b) / gamma(a) / gamma(b) * p ** (a - 1) * (1 - p) ** (b - 1)
        return beta * alpha**r / gamma(r) * rate ** (r - 1) * exp(-alpha * rate)

    def alive(rate, p):
        return prior(rate, p) * rate**x * (1 - p) ** (x + 1) * exp(-rate * age)

    def gone(rate, p):
        return prior(rate, p) * rate**x * p * (1 - p) ** x * exp(-rate * t_x)

    def ahead(rate, p, n):
        stays = (1 - p) ** n * exp(-rate * t) * (rate * t) ** n / factorial(n)
        in_time = 1 - gammaincc(n, rate * t) if n else 0.0
        return stays + (p * (1 - p) ** (n - 1) * in_time if n else 0.0)

    area = {"epsabs": 1e-13, "epsrel": 1e-9}
    both = [dblquad(f, 0, 1, 0, 3, **area)[0] for f in (alive, gone)]
    share = both[0] / sum(both)
    assert share == pytest.approx(p_alive("mbg/nbd", PARAMS["mbg/nbd"], x, t_x, age), rel=1e-6)
    for n in (0, 1, 3):
        part = dblquad(lambda u, p, n=n: alive(u, p) * ahead(u, p, n), 0, 1, 0, 3, **area)[0]
        expected = part / sum(both) + (1 - share) * (n == 0)
        found = pmf("mbg/nbd", PARAMS["mbg/nbd"], x, t_x, age, t, np.array([n]))[0]
        assert found == pytest.approx(expected, rel=1e-6)


def test_every_number_is_its_definition(scored):
    name, _, _, scores = scored
    k = np.arange(12_000)
    for i, (x, t_x, age, y) in enumerate(CUSTOMERS):
        want = by_loop(pmf(name, PARAMS[name], x, t_x, age, T_AHEAD, k), y)
        for what in ("crps", "mean", "below", "upto"):
            assert getattr(scores, what)[i] == pytest.approx(want[what], rel=1e-6, abs=1e-8)
        assert scores.log_score[i] == pytest.approx(want["log_score"], rel=1e-6)
        for level in LEVELS:
            ends = (scores.lower[level][i], scores.upper[level][i])
            assert ends == want[level][:2]
            assert scores.within[level][i] == pytest.approx(want[level][2], abs=1e-8)
            assert scores.within[level][i] >= level - 1e-12


def test_means_are_the_expected_purchases(scored):
    _, model, rfm, scores = scored
    np.testing.assert_allclose(
        scores.mean, model.expected_purchases(rfm, T_AHEAD), rtol=1e-6, atol=1e-9
    )
    p = model.p_purchase(rfm, T_AHEAD)
    zero = np.array([c[3] for c in CUSTOMERS]) == 0
    np.testing.assert_allclose(1.0 - scores.upto[zero], p[zero], rtol=1e-9, atol=1e-15)


def test_crps_and_intervals_by_simulation(scored):
    """E|X − y| − ½ E|X − X'| and quantiles of draws that are made by the model's story."""
    name, _, _, scores = scored
    rng = np.random.default_rng(4)
    for i, (x, t_x, age, y) in enumerate(CUSTOMERS):
        n = 40_000
        draws = simulate(name, PARAMS[name], x, t_x, age, T_AHEAD, rng, 2 * n)
        one, other = draws[:n], draws[n:]
        each = np.abs(one - y) - np.abs(one - other) / 2
        error = each.std() / np.sqrt(n)
        assert scores.crps[i] == pytest.approx(each.mean(), abs=4 * error + 1e-9)
        held = (draws >= scores.lower[0.9][i]) & (draws <= scores.upper[0.9][i])
        assert held.mean() == pytest.approx(scores.within[0.9][i], abs=4 * 0.5 / np.sqrt(2 * n))


def columns(rfm):
    return {"x": rfm["frequency"], "T": rfm["T"], "t_x": rfm["recency"]}


def test_over_draws_it_is_the_mixture():
    """A mean of PMFs, not of scores."""
    rng = np.random.default_rng(1)
    rfm, observed = frame()
    theta = np.array(list(PARAMS["bg/nbd"].values())) * np.exp(0.3 * rng.standard_normal((5, 4)))
    model = PURCHASE_MODELS["bg/nbd"]
    found = score_counts(model, theta, columns(rfm), T_AHEAD, observed, LEVELS)
    k = np.arange(20_000)
    for i, (x, t_x, age, y) in enumerate(CUSTOMERS):
        each = [
            pmf(
                "bg/nbd",
                dict(zip(["r", "alpha", "a", "b"], row, strict=True)),
                x,
                t_x,
                age,
                39.0,
                k,
            )
            for row in theta
        ]
        want = by_loop(np.mean(each, axis=0), y)
        assert found.crps[i] == pytest.approx(want["crps"], rel=1e-6, abs=1e-8)
        assert found.log_score[i] == pytest.approx(want["log_score"], rel=1e-6)
        assert (found.lower[0.9][i], found.upper[0.9][i]) == want[0.9][:2]


def test_a_posterior_is_scored_by_its_mixture(cdnow_rfm):
    model = clv.MBGNBD().fit(cdnow_rfm, method="laplace", draws=300, seed=1)
    rfm, observed = frame(CUSTOMERS[:4])
    found = model.score(rfm, observed, horizon=T_AHEAD)
    draws = model.result_.draws(200, 0)
    k = np.arange(400)
    for i, (x, t_x, age, y) in enumerate(CUSTOMERS[:4]):
        each = [
            pmf(
                "mbg/nbd",
                dict(zip(["r", "alpha", "a", "b"], row, strict=True)),
                x,
                t_x,
                age,
                39.0,
                k,
            )
            for row in draws
        ]
        assert found.crps[i] == pytest.approx(by_loop(np.mean(each, axis=0), y)["crps"], rel=1e-6)


@pytest.mark.parametrize("shape", [0.6, 1.7])
def test_a_correction_acts_on_the_probabilities(shape):
    """F → G(F): all numbers are those of the corrected distribution."""
    rfm, observed = frame()
    model = clv.BGNBD.from_params(time_unit="W", **PARAMS["bg/nbd"])
    knots = np.linspace(0, 1, 41)
    theta = np.array([list(PARAMS["bg/nbd"].values())])

    def g(p):
        return np.interp(p, knots, knots**shape)

    found = score_counts(model._model, theta, columns(rfm), T_AHEAD, observed, LEVELS, g)
    k = np.arange(12_000)
    for i, (x, t_x, age, y) in enumerate(CUSTOMERS):
        p = pmf("bg/nbd", PARAMS["bg/nbd"], x, t_x, age, T_AHEAD, k)
        corrected = np.diff(g(np.minimum(np.cumsum(p), 1.0)), prepend=0.0)
        want = by_loop(corrected, y)
        for what in ("crps", "mean", "below", "upto"):
            assert getattr(found, what)[i] == pytest.approx(want[what], rel=1e-5, abs=1e-6)
        for level in LEVELS:
            assert (found.lower[level][i], found.upper[level][i]) == want[level][:2]
            assert found.within[level][i] == pytest.approx(want[level][2], abs=1e-6)
        if corrected[y] > 1e-6:
            assert found.log_score[i] == pytest.approx(-np.log(corrected[y]), rel=1e-6)
        else:  # what subtraction loses, the slope of G at 1 knows
            slope = (1 - knots[-2] ** shape) * 40
            assert found.log_score[i] == pytest.approx(-np.log(slope * p[y]), rel=1e-4)


def test_no_correction_changes_nothing():
    rfm, observed = frame()
    theta = np.array([list(PARAMS["mbg/nbd"].values())])
    ask = (PURCHASE_MODELS["mbg/nbd"], theta, columns(rfm), T_AHEAD, observed, (0.9,))
    plain, same = score_counts(*ask), score_counts(*ask, lambda p: p)
    for name in ("crps", "log_score", "below", "upto", "mean"):
        np.testing.assert_allclose(getattr(same, name), getattr(plain, name), rtol=1e-9)


def test_what_the_forecast_held_for_all_but_impossible():
    """Far out a probability is not the difference of two that are 1 in floats."""
    rfm, observed = frame([(0, 0.0, 39.0, 200)])
    found = clv.MBGNBD.from_params(time_unit="W", **PARAMS["mbg/nbd"]).score(
        rfm, observed, horizon=39.0
    )
    p = pmf("mbg/nbd", PARAMS["mbg/nbd"], 0, 0.0, 39.0, 39.0, np.array([200]))
    assert found.log_score[0] == pytest.approx(-np.log(p[0]), rel=1e-6)
    assert found.log_score[0] > 100


def test_rows_order_and_pieces_make_no_difference(monkeypatch):
    rng = np.random.default_rng(2)
    some = [CUSTOMERS[i] for i in rng.integers(len(CUSTOMERS), size=60)]
    model = clv.MBGNBD.from_params(time_unit="W", **PARAMS["mbg/nbd"])
    rfm, observed = frame(some)
    whole = model.score(rfm, observed, horizon=39.0)
    order = rng.permutation(60)
    shuffled = model.score(rfm.iloc[order], observed[order], horizon=39.0)
    np.testing.assert_array_equal(shuffled.crps, whole.crps[order])
    monkeypatch.setattr(distribution, "_ELEMENTS", 100)
    pieces = model.score(rfm, observed, horizon=39.0)
    for name in ("crps", "log_score", "below", "mean"):
        np.testing.assert_allclose(getattr(pieces, name), getattr(whole, name), rtol=1e-12)
    np.testing.assert_array_equal(pieces.upper[0.9], whole.upper[0.9])


def test_take_and_join(scored):
    scores = scored[3]
    back = Scores.join([scores.take(np.arange(3)), scores.take(np.arange(3, len(CUSTOMERS)))])
    np.testing.assert_array_equal(back.crps, scores.crps)
    np.testing.assert_array_equal(back.lower[0.8], scores.lower[0.8])


@pytest.mark.parametrize(
    "observed", [[1.0], [0.5] * 10, [-1.0] * 10, [np.nan] * 10, [np.inf] * 10, [[1.0] * 10]]
)
def test_what_cannot_have_been_observed_is_refused(observed):
    model = clv.MBGNBD.from_params(time_unit="W", **PARAMS["mbg/nbd"])
    with pytest.raises(OptionError, match="observed must be one number >= 0"):
        model.score(frame()[0], observed, horizon=39.0)


def test_an_endless_horizon_is_refused():
    model = clv.NBD.from_params(time_unit="W", **PARAMS["nbd"])
    with pytest.raises(OptionError, match="finite horizon"):
        model.score(*frame(), horizon=None)
    with pytest.raises(OptionError, match="of='clv'"):
        model.score(*frame(), horizon=39.0, of="clv")


# --- CDNOW --------------------------------------------------------------------------------------

# Of the predictive distribution at the parameters of PARAMS, 39 weeks after 1997-09-30, by
# reference.py: CRPS, log score, Brier score of "at least one purchase".
EXACT = {"bg/nbd": (0.51037, 0.98446, 0.16122), "mbg/nbd": (0.51003, 0.98211, 0.16141)}
# The same, printed with the estimates of R (CLVTools, BTYDplus); made of simulated outcomes.
PRINTED = {"bg/nbd": (0.5119, 0.9766, 0.1614), "mbg/nbd": (0.5098, 0.9748, 0.1614)}


def histories(split):
    rows = split[["frequency", "recency", "T"]].astype(float)
    return rows.to_numpy(), split["frequency_holdout"].to_numpy()


@pytest.mark.slow
@pytest.mark.reference
@pytest.mark.parametrize("name", EXACT)
def test_cdnow_by_another_route(cdnow_split, name):
    rows, observed = histories(cdnow_split)
    k = np.arange(400)
    cache = {}
    found = np.empty((len(rows), 3))
    for i, (row, y) in enumerate(zip(map(tuple, rows), observed, strict=True)):
        if row not in cache:
            cache[row] = pmf(name, PARAMS[name], *row, 39.0, k)
        p = cache[row]
        crps = ((np.cumsum(p) - (k >= y)) ** 2).sum()
        found[i] = crps, -np.log(p[y]), (1 - p[0] - (y > 0)) ** 2
    np.testing.assert_allclose(found.mean(axis=0), EXACT[name], atol=6e-6)
    model = ESTIMATORS[name]().fit(cdnow_split)
    scores = model.score(cdnow_split, observed, horizon="39W")
    brier = ((model.p_purchase(cdnow_split, "39W") - (observed > 0)) ** 2).mean()
    ours = scores.crps.mean(), scores.log_score.mean(), brier
    np.testing.assert_allclose(ours, EXACT[name], atol=6e-6)


@pytest.mark.slow
@pytest.mark.reference
@pytest.mark.parametrize("name", PRINTED)
def test_cdnow_as_printed(cdnow_split, name):
    """The printed scores are of simulated outcomes, and are met within their noise.

    N = 1,000 outcomes per customer: with an outcome that no draw has, the log score counts
    P = 1/N, which is why the printed log scores are better than the exact ones; with other N
    they are not met. The noise is that between two simulations: independent over customers, so
    that Σ (c − c')² / 2 over customers is the variance of their sum.
    """
    rows, observed = histories(cdnow_split)
    n = 1_000
    runs = []
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        run = np.empty((len(rows), 3))
        for i, (row, y) in enumerate(zip(rows, observed, strict=True)):
            draws = np.sort(simulate(name, PARAMS[name], *row, 39.0, rng, n))
            spread = (2 * np.arange(1, n + 1) - n - 1) @ draws / n**2
            hit = max((draws == y).mean(), 1 / n)
            run[i] = (
                np.abs(draws - y).mean() - spread,
                -np.log(hit),
                ((draws > 0).mean() - (y > 0)) ** 2,
            )
        runs.append(run)
    noise = np.sqrt(((runs[0] - runs[1]) ** 2 / 2).sum(axis=0)) / len(rows)
    found = (runs[0].mean(axis=0) + runs[1].mean(axis=0)) / 2
    # The printed one has noise of its own, ours that of two runs, and rounding.
    far = np.abs(found - PRINTED[name]) / (noise * np.sqrt(1.5) + 5e-5)
    assert (far < 3).all(), far
    # They are no values of the exact distribution: the log score is far from it.
    assert (EXACT[name][1] - PRINTED[name][1]) / noise[1] > 3
