"""What every purchase model must satisfy; a new model of the registry inherits all of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import integrate, stats

from clvpredict.errors import InfiniteValueError, OptionError
from clvpredict.models.base import NEW_CUSTOMER, Model, PurchaseModel, SpendModel, Theta
from clvpredict.models.geometric_dropout import GeometricDropout
from clvpredict.models.nbd import NBDModel
from clvpredict.models.registry import PURCHASE_MODELS, SPEND_MODELS, model_by_name
from clvpredict.rfm import Array, Compressed, Histories, SpendHistories

HISTORIES = Histories.of(
    [0, 0, 1, 1, 2, 3, 7, 26, 40, 150],
    [0, 0, 0.1, 38.0, 30.43, 5.0, 39.0, 30.0, 51.9, 40.0],
    [0, 39, 39, 38.0, 38.86, 52.0, 39.0, 31.0, 52.0, 104.0],
)
SPEND = SpendHistories(
    np.ones(6), x=np.array([1.0, 2, 3, 7, 30, 200]), m=np.array([0.01, 15, 30, 200, 42, 35.0])
)
POINTS: dict[str, list[tuple[float, ...]]] = {
    "bg/nbd": [(0.24, 4.41, 0.79, 2.43), (2.0, 30.0, 0.05, 0.4), (0.6, 0.3, 3.0, 20.0)],
    "mbg/nbd": [(0.52, 6.18, 0.89, 1.61), (2.0, 30.0, 0.05, 0.4), (0.6, 0.3, 3.0, 20.0)],
    "nbd": [(0.385, 12.07), (2.0, 30.0), (0.6, 0.3)],
    "gamma-gamma": [(6.25, 3.74, 15.44), (0.4, 0.8, 100.0), (60.0, 30.0, 2.0)],
}
WITH_DROPOUT = [m for m in PURCHASE_MODELS.values() if isinstance(m, GeometricDropout)]
CASES = [(model, point) for model in PURCHASE_MODELS.values() for point in POINTS[model.name]]
ALL_CASES = CASES + [(m, point) for m in SPEND_MODELS.values() for point in POINTS[m.name]]


def name(value: object) -> str:
    return value.name if isinstance(value, Model) else ""


def as_theta(point: tuple[float, ...]) -> Theta:
    return tuple(np.asarray(v) for v in point)


def data_for(model: Model) -> Compressed:
    return SPEND if isinstance(model, SpendModel) else HISTORIES


def test_every_model_has_points_here() -> None:
    assert set(POINTS) == {*PURCHASE_MODELS, *SPEND_MODELS}
    for model in (*PURCHASE_MODELS.values(), *SPEND_MODELS.values()):
        assert model_by_name(model.name) is model
        assert model.title
        assert model.citation
        assert all(p.meaning for p in model.parameters)


@pytest.mark.parametrize(("model", "point"), ALL_CASES, ids=name)
def test_gradient_is_the_derivative(model: Model, point: tuple[float, ...]) -> None:
    data = data_for(model)
    gradient = model.log_likelihood_and_gradient(as_theta(point), data)[1]
    assert gradient.shape == (len(point), len(data))
    for k, value in enumerate(point):
        step = 1e-5 * value
        ends = []
        for sign in (2, 1, -1, -2):
            moved = list(point)
            moved[k] = value + sign * step
            ends.append(model.log_likelihood(as_theta(tuple(moved)), data))
        numeric = (-ends[0] + 8 * ends[1] - 8 * ends[2] + ends[3]) / (12 * step)
        scale = np.abs(gradient[k]) + 1e-3 / value
        assert np.max(np.abs(gradient[k] - numeric) / scale) < 1e-6


@pytest.mark.parametrize(("model", "point"), ALL_CASES, ids=name)
def test_parameters_per_row_equal_scalars(model: Model, point: tuple[float, ...]) -> None:
    data = data_for(model)
    rows = tuple(np.full(len(data), v) for v in point)
    scalar = model.log_likelihood_and_gradient(as_theta(point), data)
    per_row = model.log_likelihood_and_gradient(rows, data)
    for one, other in zip(scalar, per_row, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("model", "point"), CASES, ids=name)
def test_predictions_take_parameters_per_row(
    model: PurchaseModel, point: tuple[float, ...]
) -> None:
    rows = tuple(np.full(len(HISTORIES), v) for v in point)
    t = np.asarray(20.0)
    for quantity in ("expected_purchases", "p_purchase", "p_alive_at"):
        f = getattr(model, quantity)
        np.testing.assert_allclose(
            f(rows, HISTORIES, t), f(as_theta(point), HISTORIES, t), rtol=1e-12
        )


@pytest.mark.parametrize(("model", "point"), CASES, ids=name)
def test_a_customer_is_computed_alone(model: PurchaseModel, point: tuple[float, ...]) -> None:
    theta, t = as_theta(point), np.asarray(17.0)
    together = model.expected_purchases(theta, HISTORIES, t)
    alone = [
        model.expected_purchases(theta, HISTORIES.take(np.array([i])), t)[0]
        for i in range(len(HISTORIES))
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-14)


@pytest.mark.parametrize(("model", "point"), CASES, ids=name)
def test_probabilities_are_probabilities(model: PurchaseModel, point: tuple[float, ...]) -> None:
    theta = as_theta(point)
    horizons = np.array([0.0, 1e-6, 1.0, 39.0, 520.0, 1e5])
    for quantity, direction in (("p_alive_at", -1), ("p_purchase", 1), ("expected_purchases", 1)):
        values = np.array(
            [getattr(model, quantity)(theta, HISTORIES, np.asarray(t)) for t in horizons]
        )
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        if quantity != "expected_purchases":
            assert (values <= 1 + 1e-12).all()
        assert (direction * np.diff(values, axis=0) >= -1e-12).all()
    zero = np.asarray(0.0)
    alive = model.p_alive(theta, HISTORIES)
    np.testing.assert_allclose(model.p_alive_at(theta, HISTORIES, zero), alive, rtol=1e-12)
    np.testing.assert_array_equal(model.expected_purchases(theta, HISTORIES, zero), 0)
    np.testing.assert_array_equal(model.p_purchase(theta, HISTORIES, zero), 0)


@pytest.mark.parametrize(("model", "point"), CASES, ids=name)
def test_pmf_sums_to_one_and_has_the_mean(model: PurchaseModel, point: tuple[float, ...]) -> None:
    theta, t, n = as_theta(point), np.asarray(6.0), np.arange(4000.0)
    for i in range(len(HISTORIES) - 1):  # the last history buys more than n holds
        one = HISTORIES.take(np.array([i]))
        pmf = model.pmf_future(theta, one, t, n)
        assert (pmf >= 0).all()
        assert pmf.sum() == pytest.approx(1.0, abs=1e-9)
        mean = model.expected_purchases(theta, one, t)[0]
        assert pmf @ n == pytest.approx(mean, rel=1e-7)
        p_purchase = model.p_purchase(theta, one, t)[0]
        assert 1 - pmf[0] == pytest.approx(p_purchase, rel=1e-9, abs=1e-14)


@pytest.mark.parametrize(("model", "point"), CASES, ids=name)
def test_likelihood_is_a_density(model: PurchaseModel, point: tuple[float, ...]) -> None:
    """x = 0 by T has the probability the PMF gives; x = 1 integrates over t_x to its own."""
    theta, T = as_theta(point), 10.0
    pmf = model.pmf_future(theta, NEW_CUSTOMER, np.asarray(T), np.array([0.0, 1.0]))
    none = model.log_likelihood(theta, Histories.of(0, 0, T))
    assert np.exp(none[0]) == pytest.approx(pmf[0], rel=1e-10)
    nodes, weights = np.polynomial.legendre.leggauss(80)
    t_x = 0.5 * T * (nodes + 1)
    density = np.exp(model.log_likelihood(theta, Histories.of(1, t_x, T)))
    assert 0.5 * T * weights @ density == pytest.approx(pmf[1], rel=1e-6)


@pytest.mark.parametrize(("model", "point"), CASES, ids=name)
def test_discounting(model: PurchaseModel, point: tuple[float, ...]) -> None:
    theta, t = as_theta(point), np.asarray(39.0)
    undiscounted = model.expected_purchases(theta, HISTORIES, t)
    nothing = model.discounted_purchases(theta, HISTORIES, t, 0.0)
    np.testing.assert_allclose(nothing, undiscounted, rtol=1e-12)
    delta = 0.05
    # Against a Riemann-Stieltjes sum of the expectation on a fine grid.
    grid = np.linspace(0, 39.0, 4001)
    mean = np.array([model.expected_purchases(theta, HISTORIES, np.asarray(u)) for u in grid[::10]])
    middle = 0.5 * (grid[::10][1:] + grid[::10][:-1])
    summed = np.exp(-delta * middle) @ np.diff(mean, axis=0)
    discounted = model.discounted_purchases(theta, HISTORIES, t, delta)
    np.testing.assert_allclose(discounted, summed, rtol=2e-5, atol=1e-12)
    dert = model.discounted_purchases(theta, HISTORIES, np.asarray(np.inf), delta)
    long = model.discounted_purchases(theta, HISTORIES, np.asarray(900.0), delta)
    np.testing.assert_allclose(dert, long, rtol=1e-9, atol=1e-14)


def test_infinite_horizon_diverges_only_where_it_must() -> None:
    for model in WITH_DROPOUT:
        for a, finite in ((0.9, False), (1.0, False), (1.1, True)):
            theta = as_theta((0.5, 5.0, a, 2.0))
            limit = model.expected_purchases(theta, HISTORIES, np.asarray(np.inf))
            assert np.isfinite(limit[HISTORIES.x > 0]).all() == finite
            if finite:
                far = model.expected_purchases(theta, HISTORIES, np.asarray(1e60))
                np.testing.assert_allclose(limit, far, rtol=2e-5)
    for_ever = NBDModel().expected_purchases(as_theta((0.5, 5.0)), HISTORIES, np.asarray(np.inf))
    assert np.isinf(for_ever).all()


def nbd_log_likelihood(r: float, alpha: float, x: Array, T: Array) -> Array:
    from scipy.special import gammaln

    return np.asarray(gammaln(r + x) - gammaln(r) + r * np.log(alpha) - (r + x) * np.log(alpha + T))


def test_without_dropout_both_collapse_into_the_nbd() -> None:
    nbd = nbd_log_likelihood(0.5, 6.0, HISTORIES.x, HISTORIES.T)
    alone, t = as_theta((0.5, 6.0)), np.asarray(20.0)
    np.testing.assert_allclose(NBDModel().log_likelihood(alone, HISTORIES), nbd, rtol=1e-12)
    for model in WITH_DROPOUT:
        theta = as_theta((0.5, 6.0, 1e-12, 5.0))
        recent = HISTORIES.x * (HISTORIES.T - HISTORIES.t_x) < 30  # elsewhere death is certain
        assert recent.sum() > 5
        np.testing.assert_allclose(
            model.log_likelihood(theta, HISTORIES)[recent], nbd[recent], rtol=1e-6, atol=1e-6
        )
        mean = model.expected_purchases(theta, NEW_CUSTOMER, t)
        np.testing.assert_allclose(mean, 0.5 / 6.0 * 20.0, rtol=1e-8)
        for quantity in ("expected_purchases", "p_purchase", "p_alive_at"):
            limit = getattr(model, quantity)(theta, HISTORIES, t)[recent]
            own = getattr(NBDModel(), quantity)(alone, HISTORIES, t)[recent]
            np.testing.assert_allclose(limit, own, rtol=1e-6)


def test_without_dropout_everybody_is_alive_and_buys_for_ever() -> None:
    model, theta = NBDModel(), as_theta((0.385, 12.07))
    assert (model.p_alive(theta, HISTORIES) == 1).all()
    moved = Histories.of(HISTORIES.x, 0.5 * HISTORIES.T, HISTORIES.T)
    np.testing.assert_array_equal(
        model.log_likelihood(theta, moved), model.log_likelihood(theta, HISTORIES)
    )
    alive = model.given_alive(theta, np.ones(3), np.ones(3))
    with pytest.raises(InfiniteValueError, match="Give a finite horizon"):
        model.process_counts(alive, np.inf, np.random.default_rng(0))


def test_mbg_of_a_new_customer_is_bg_after_surviving_the_first_purchase() -> None:
    r, alpha, a, b = as_theta((0.52, 6.18, 0.89, 1.61))
    t = np.asarray(30.0)
    mbg = PURCHASE_MODELS["mbg/nbd"].expected_purchases((r, alpha, a, b), NEW_CUSTOMER, t)
    bg = PURCHASE_MODELS["bg/nbd"].expected_purchases((r, alpha, a, b + 1), NEW_CUSTOMER, t)
    np.testing.assert_allclose(mbg, b / (a + b) * bg, rtol=1e-12)


@pytest.mark.parametrize("model", PURCHASE_MODELS.values(), ids=name)
def test_simulated_times_follow_the_formulas(model: PurchaseModel) -> None:
    """Counts, survival and times of 200,000 simulated customers against the expectations."""
    theta, n, t = as_theta(POINTS[model.name][0]), 200_000, 39.0
    zeros = np.zeros(n)
    alive = model.given_alive(theta, zeros, zeros)
    rng = np.random.default_rng(7)
    customer, time, latent = model.process_times(alive, np.full(n, t), rng)
    counts = np.bincount(customer, minlength=n)
    one = tuple(np.ravel(v)[:1] for v in alive)
    error = counts.std() / np.sqrt(n)
    assert counts.mean() == pytest.approx(model.process_mean(one, np.asarray(t))[0], abs=4 * error)
    early = (time <= t / 3).sum() / n
    assert early == pytest.approx(model.process_mean(one, np.asarray(t / 3))[0], abs=4 * error)
    survival = model.process_survival(one, np.asarray(t))[0]
    assert latent["alive"].mean() == pytest.approx(survival, abs=4 * 0.5 / np.sqrt(n))
    for k in (0, 1, 2, 5):
        p = np.exp(model.process_log_pmf(one, np.asarray(t), np.asarray(float(k))))[0]
        assert (counts == k).mean() == pytest.approx(p, abs=4 * np.sqrt(p / n))
    assert (np.diff(customer) >= 0).all()
    assert (np.diff(time)[np.diff(customer) == 0] >= 0).all()


@pytest.mark.parametrize(("model", "point"), CASES, ids=name)
def test_simulated_counts_follow_the_formulas(
    model: PurchaseModel, point: tuple[float, ...]
) -> None:
    """Counts without event loops: their distribution, and when the purchases happen."""
    theta, n, t, delta = as_theta(point), 200_000, 39.0, 0.02
    one = model.given_alive(theta, np.array([2.0]), np.array([20.0]))
    alive = tuple(np.broadcast_to(v, (n,)) for v in one)
    rng = np.random.default_rng(11)
    count, span, ended = model.process_counts(alive, t, rng)
    assert (span[count > 0] > 0).all()
    assert (span <= t).all()
    assert (count[ended] > 0).all()
    error = count.std() / np.sqrt(n)
    assert count.mean() == pytest.approx(model.process_mean(one, np.asarray(t))[0], abs=4 * error)
    for k in (0, 1, 2, 5):
        p = np.exp(model.process_log_pmf(one, np.asarray(t), np.asarray(float(k))))[0]
        assert (count == k).mean() == pytest.approx(p, abs=4 * np.sqrt(p / n))
    owner = np.repeat(np.arange(n), count)
    when = rng.random(len(owner)) * span[owner]
    last = np.cumsum(count) - 1
    when[last[ended]] = span[ended]
    worth = np.bincount(owner, np.exp(-delta * when), minlength=n)
    discounted = model.process_discounted(one, np.asarray(t), delta)[0]
    assert worth.mean() == pytest.approx(discounted, abs=4 * worth.std() / np.sqrt(n))


@pytest.mark.parametrize("model", WITH_DROPOUT, ids=name)
def test_simulated_counts_for_ever(model: PurchaseModel) -> None:
    theta, n = as_theta((0.6, 4.0, 4.0, 3.0)), 200_000
    one = model.given_alive(theta, np.array([1.0]), np.array([9.0]))
    alive = tuple(np.broadcast_to(v, (n,)) for v in one)
    count, span, ended = model.process_counts(alive, np.inf, np.random.default_rng(5))
    limit = model.process_limit(one)[0]
    assert count.mean() == pytest.approx(limit, abs=4 * count.std() / np.sqrt(n))
    assert ended.all()
    early = model.process_mean(one, np.asarray(30.0))[0]
    inside = np.where(span <= 30, count, (count - 1) * np.minimum(1.0, 30.0 / span))
    assert inside.mean() == pytest.approx(early, abs=4 * inside.std() / np.sqrt(n))


def test_simulated_spend_of_a_customer_has_the_customers_mean() -> None:
    n = 200_000
    for model in SPEND_MODELS.values():
        theta = as_theta(POINTS[model.name][0])
        data = SpendHistories(np.ones(n), x=np.full(n, 3.0), m=np.full(n, 60.0))
        rng = np.random.default_rng(2)
        mean = model.expected_spend(theta, data)[0]
        total = model.draw_total(theta, data, np.full(n, 4.0), rng)
        assert total.mean() == pytest.approx(4 * mean, abs=4 * total.std() / np.sqrt(n))
        value, _ = model.draw_spend(theta, data, np.repeat(np.arange(n), 4), rng)
        summed = np.bincount(np.repeat(np.arange(n), 4), value)
        # One distribution, drawn in two ways.
        spread = total.var() * np.sqrt(2.0 / n) * 4
        assert summed.mean() == pytest.approx(4 * mean, abs=4 * summed.std() / np.sqrt(n))
        assert summed.var() == pytest.approx(total.var(), abs=4 * spread)


def test_expected_spend_shrinks_from_the_population_to_the_customer() -> None:
    model = SPEND_MODELS["gamma-gamma"]
    p, q, v = as_theta((6.25, 3.74, 15.44))
    x = np.array([0.0, 1, 5, 50, 5000])
    data = SpendHistories(np.ones(5), x=x, m=np.full(5, 100.0))
    spend = model.expected_spend((p, q, v), data)
    assert spend[0] == pytest.approx(p * v / (q - 1))
    assert (np.diff(spend) > 0).all()
    assert spend[-1] == pytest.approx(100, rel=1e-2)
    none = model.expected_spend((p, np.asarray(0.9), v), data)
    assert np.isnan(none[0])
    assert np.isfinite(none[1:]).all()


def test_simulated_spend_has_the_likelihoods_moments() -> None:
    model = SPEND_MODELS["gamma-gamma"]
    theta = as_theta((6.25, 3.74, 15.44))
    n = 200_000
    nobody = SpendHistories(np.ones(n), x=np.zeros(n), m=np.zeros(n))
    value, latent = model.draw_spend(theta, nobody, np.arange(n), np.random.default_rng(3))
    mean = model.expected_spend(theta, nobody)
    assert value.mean() == pytest.approx(mean[0], abs=4 * value.std() / np.sqrt(n))
    assert latent["spend_rate"].mean() == pytest.approx(3.74 / 15.44, rel=0.01)


def expected_over_dropout(
    alive: Theta, row: int, factor: float, f: Callable[[float, float, float], float]
) -> float:
    """E of f(min(1, factor · p), r, alpha) over p ~ Beta(a, b), by adaptive quadrature."""
    r, alpha, a, b = (float(v[row]) for v in np.broadcast_arrays(*alive))
    cut = min(1.0, 1.0 / factor)
    found: float = integrate.quad(
        lambda p: f(factor * p, r, alpha) * stats.beta.pdf(p, a, b),
        *(0.0, cut),
        epsabs=0,
        epsrel=1e-9,
        limit=500,
    )[0]
    return found + f(1.0, r, alpha) * float(stats.beta.sf(cut, a, b))


@pytest.mark.parametrize("model", WITH_DROPOUT, ids=name)
@pytest.mark.parametrize(
    ("factor", "tolerance"),
    # 1e-8 is what the adaptive quadrature reaches at the Beta's pole. Above 1 a probability is
    # cut at 1, and the quadrature of the package meets a kink there.
    [(1.0, 1e-8), (0.95, 1e-8), (0.4, 1e-8), (1.05, 1e-7), (1.5, 1e-4)],
)
def test_a_changed_dropout_is_that_of_scaled_probabilities(
    model: GeometricDropout, factor: float, tolerance: float
) -> None:
    theta = as_theta(POINTS[model.name][0])
    changed = model.changed(rate=1.1, dropout=factor)
    x, age, t = np.array([0.0, 3.0, 20.0]), np.array([30.0, 50.0, 60.0]), 52.0
    alive = changed.given_alive(theta, x, age)
    usual = model.given_alive(theta, x, age)
    np.testing.assert_allclose(alive[1], usual[1] / 1.1)  # α / 1.1: rates 10 % higher
    mean, still = changed.process_mean(alive, np.asarray(t)), changed.process_survival(alive, t)
    for i in range(3):
        bought = expected_over_dropout(
            alive, i, factor, lambda p, r, alpha: -np.expm1(-r * np.log1p(p * t / alpha)) / p
        )
        lived = expected_over_dropout(
            alive, i, factor, lambda p, r, alpha: (1.0 + p * t / alpha) ** -r
        )
        assert mean[i] == pytest.approx(bought, rel=tolerance)
        assert still[i] == pytest.approx(lived, rel=tolerance)


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.4])
def test_the_limit_of_a_changed_dropout(factor: float) -> None:
    changed = PURCHASE_MODELS["mbg/nbd"].changed(dropout=factor)
    alive = changed.given_alive(as_theta((0.5, 6.0, 3.0, 2.0)), np.zeros(1), np.zeros(1))
    expected = expected_over_dropout(alive, 0, factor, lambda p, r, alpha: 1.0 / p)
    assert changed.process_limit(alive)[0] == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(("model", "point"), CASES, ids=name)
def test_time_alive_is_the_integral_of_survival(
    model: PurchaseModel, point: tuple[float, ...]
) -> None:
    alive = model.given_alive(as_theta(point), np.array([4.0]), np.array([39.0]))
    for t, delta in ((52.0, 0.0), (52.0, 0.002), (400.0, 0.01)):
        expected = integrate.quad(
            lambda u, d=delta: np.exp(-d * u) * float(model.process_survival(alive, u)[0]),
            *(0.0, t),
            epsrel=1e-10,
        )[0]
        found = model.process_alive_time(alive, np.asarray(t), delta)
        assert found[0] == pytest.approx(expected, rel=1e-8)
    for_ever = model.process_alive_time(alive, np.asarray(np.inf), 0.05)
    long = model.process_alive_time(alive, np.asarray(1000.0), 0.05)
    assert for_ever[0] == pytest.approx(long[0], rel=1e-8)


@pytest.mark.parametrize(("model", "point"), CASES, ids=name)
def test_changed_customers_do_what_is_expected_of_them(
    model: PurchaseModel, point: tuple[float, ...]
) -> None:
    factors = {"rate": 1.2} | ({"dropout": 0.7} if model in WITH_DROPOUT else {})
    changed = model.changed(**factors)
    size, t = 200_000, 52.0
    alive = changed.given_alive(as_theta(point), np.full(size, 2.0), np.full(size, 30.0))
    one = tuple(v[:1] for v in np.broadcast_arrays(*alive))
    expected = changed.process_mean(one, np.asarray(t))[0]
    count, span, _ = changed.process_counts(alive, t, np.random.default_rng(5))
    error = count.std() / np.sqrt(size)
    assert count.mean() == pytest.approx(expected, abs=4 * error)
    # All of them live for their span.
    lived = changed.process_alive_time(one, np.asarray(t), 0.0)[0]
    assert span.mean() == pytest.approx(lived, abs=4 * span.std() / np.sqrt(size) + 1e-9)
    buyer, _, _ = changed.process_times(alive, np.asarray(t), np.random.default_rng(6))
    assert len(buyer) / size == pytest.approx(expected, abs=4 * error)


def test_what_a_change_is_not() -> None:
    changed = PURCHASE_MODELS["mbg/nbd"].changed(dropout=0.9)
    alive = changed.given_alive(as_theta(POINTS["mbg/nbd"][0]), np.zeros(1), np.zeros(1))
    with pytest.raises(OptionError, match="changed churn"):
        changed.process_log_pmf(alive, np.asarray(5.0), np.zeros(1))
    with pytest.raises(OptionError, match="NBD has no dropout"):
        PURCHASE_MODELS["nbd"].changed(dropout=0.9)
    assert PURCHASE_MODELS["mbg/nbd"].dropout_factor == 1.0
