"""The optimiser and what it says of itself."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import (
    ConvergenceError,
    DataError,
    IdentificationWarning,
    IndependenceWarning,
    OptionError,
    UnitError,
)
from clvpredict.estimators import Estimator
from clvpredict.inference.mle import fit_mle
from clvpredict.inference.optimise import DECREMENT, newton
from clvpredict.models.registry import PURCHASE_MODELS
from clvpredict.rfm import Histories, compress_histories

ESTIMATORS = [clv.BGNBD, clv.MBGNBD, clv.NBD, clv.GammaGamma]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradient_vanishes_and_all_starts_agree(
    estimator: type[Estimator], cdnow_rfm: pd.DataFrame
) -> None:
    record = estimator().fit(cdnow_rfm).convergence_
    assert record.gradient_norm < 1e-7
    assert len(record.starts) == 3
    ends = [s.log_likelihood for s in record.starts]
    assert np.ptp(ends) < 1e-6


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_covariance_is_the_inverse_information(
    estimator: type[Estimator], cdnow_rfm: pd.DataFrame
) -> None:
    """Against second differences of the log-likelihood itself, in the parameters themselves."""
    model = estimator().fit(cdnow_rfm)
    covariance = model.covariance_.to_numpy()
    np.testing.assert_array_equal(covariance, covariance.T)
    assert (np.linalg.eigvalsh(covariance) > 0).all()
    data = model._data(cdnow_rfm)
    at = model.result_.estimate
    step = 3e-4 * at

    def total(shift: np.ndarray) -> float:
        theta = tuple(at + shift)
        return float(data.weight @ model._model.log_likelihood(theta, data))

    k = len(at)
    hessian = np.empty((k, k))
    for i, j in np.ndindex(k, k):
        e_i, e_j = np.eye(k)[i] * step, np.eye(k)[j] * step
        corners = total(e_i + e_j) - total(e_i - e_j) - total(e_j - e_i) + total(-e_i - e_j)
        hessian[i, j] = corners / (4 * step[i] * step[j])
    np.testing.assert_allclose(np.linalg.inv(-hessian), covariance, rtol=2e-3)


@pytest.mark.parametrize("estimator", [clv.BGNBD, clv.MBGNBD])
def test_units_do_not_matter(estimator: type[Estimator], cdnow_rfm: pd.DataFrame) -> None:
    weeks = estimator().fit(cdnow_rfm)
    for unit, factor in (("D", 7.0), ("Y", 7 / 365.25), ("h", 168.0)):
        other = estimator().fit(clv.convert_unit(cdnow_rfm, unit))
        assert other.params_["alpha"] == pytest.approx(weeks.params_["alpha"] * factor, rel=1e-7)
        for name in ("r", "a", "b"):
            assert other.params_[name] == pytest.approx(weeks.params_[name], rel=1e-7)
        repeats = cdnow_rfm["frequency"].sum()  # densities of times change with their unit
        shift = repeats * np.log(factor)
        assert other.log_likelihood_ == pytest.approx(weeks.log_likelihood_ - shift, abs=1e-6)


def test_currency_does_not_matter(cdnow_rfm: pd.DataFrame) -> None:
    cents = cdnow_rfm.assign(monetary_value=cdnow_rfm["monetary_value"] * 1e6)
    one, other = clv.GammaGamma().fit(cdnow_rfm), clv.GammaGamma().fit(cents)
    assert other.params_["v"] == pytest.approx(one.params_["v"] * 1e6, rel=1e-6)
    assert other.params_["p"] == pytest.approx(one.params_["p"], rel=1e-6)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_row_order_and_repetition_do_not_matter(
    estimator: type[Estimator], cdnow_rfm: pd.DataFrame
) -> None:
    one = estimator().fit(cdnow_rfm)
    shuffled = estimator().fit(cdnow_rfm.sample(frac=1, random_state=1))
    np.testing.assert_allclose(shuffled.result_.estimate, one.result_.estimate, rtol=1e-8)
    twice = pd.concat([cdnow_rfm, cdnow_rfm.assign(customer_id=-cdnow_rfm["customer_id"])])
    double = estimator().fit(twice)
    np.testing.assert_allclose(double.result_.estimate, one.result_.estimate, rtol=1e-7)
    assert double.log_likelihood_ == pytest.approx(2 * one.log_likelihood_, rel=1e-12)
    np.testing.assert_allclose(2 * double.covariance_, one.covariance_, rtol=1e-5)


def test_weights_equal_repeated_rows() -> None:
    model = PURCHASE_MODELS["mbg/nbd"]
    rng = np.random.default_rng(0)
    x = rng.poisson(1.2, 400).astype(float)
    T = rng.integers(20, 52, 400).astype(float)
    t_x = np.where(x > 0, np.ceil(rng.random(400) * T), 0)
    compressed, inverse = compress_histories(x, t_x, T)
    assert compressed.weight.sum() == 400
    np.testing.assert_array_equal(compressed.x[inverse], x)
    np.testing.assert_array_equal(compressed.t_x[inverse], t_x)
    one = fit_mle(model, compressed)
    plain = fit_mle(model, Histories(np.ones(400), x=x, t_x=t_x, T=T))
    np.testing.assert_allclose(one.estimate, plain.estimate, rtol=1e-6)


def test_multistart_on_a_subset_ends_at_the_optimum_of_all_rows() -> None:
    truth = clv.BGNBD.from_params(r=0.5, alpha=9.0, a=0.8, b=2.5, time_unit="W")
    rfm = truth.simulate(40_000, np.random.default_rng(5).uniform(20, 90, 40_000), 5).rfm
    model = clv.BGNBD().fit(rfm)
    assert model.result_.n_rows > 20_000
    assert model.convergence_.gradient_norm < 1e-8
    restarted = clv.BGNBD().fit(rfm, start=model.params_)
    np.testing.assert_allclose(restarted.result_.estimate, model.result_.estimate, rtol=1e-7)


class RoundedValue:
    """A valley whose value has an error of 1e-11, as means over a million customers have."""

    total = 1e6
    curvature = np.diag([0.007, 0.3, 10.0])

    def __call__(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        slope = self.curvature @ point
        return 0.7 + float(0.5 * point @ slope + 1e-11 * np.sin(1e9 * point.sum())), slope


@pytest.mark.parametrize("seed", range(10))
def test_newton_steps_are_not_stopped_by_rounding(seed: int) -> None:
    objective = RoundedValue()
    axis = np.random.default_rng(seed).normal(size=3)
    promised = 0.5 * axis @ objective.curvature @ axis * objective.total
    start = axis * np.sqrt(3e-8 / promised)
    end, curvature, decrement = newton(objective, start)
    assert abs(decrement) * objective.total < DECREMENT
    assert np.max(np.abs(objective(end)[1])) < 1e-11
    np.testing.assert_allclose(curvature, objective.curvature, atol=1e-9)


@pytest.mark.parametrize("estimator", [clv.BGNBD, clv.MBGNBD])
def test_no_dropout_is_reported_unidentified(estimator: type[Estimator]) -> None:
    rng = np.random.default_rng(2)
    rate = rng.gamma(2.0, 1 / 20, 1500)
    x = rng.poisson(rate * 52)
    last = np.where(x > 0, 52 * rng.random(1500) ** (1 / np.maximum(x, 1)), 0)
    rfm = pd.DataFrame({"customer_id": range(1500), "frequency": x, "recency": last, "T": 52.0})
    with pytest.warns(IdentificationWarning, match=r"do not identify .*(a|b).*longer history"):
        model = estimator().fit(rfm)
    assert model.convergence_.status == "unidentified"
    assert {"a", "b"} & set(model.convergence_.unidentified)
    assert np.isfinite(model.expected_purchases(rfm, 52)).all()


def test_homogeneous_customers_are_reported_unidentified() -> None:
    rng = np.random.default_rng(3)
    x = rng.binomial(6, 0.5, 3000)  # less uneven than one Poisson rate for all
    p_last = rng.random(3000) ** (1 / np.maximum(x, 1))
    rfm = pd.DataFrame({"frequency": x, "recency": np.where(x > 0, 52 * p_last, 0), "T": 52.0})
    with pytest.warns(IdentificationWarning) as caught:
        model = clv.BGNBD().fit(rfm)
    assert {"r", "alpha"} <= set(model.convergence_.unidentified)
    assert "BG/NBD" in str(caught[0].message)


def test_failing_optimiser_raises_and_says_why(
    cdnow_rfm: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clvpredict.inference import mle

    monkeypatch.setattr(mle, "newton", lambda objective, point: (point, np.eye(4), 1.0))
    with pytest.raises(ConvergenceError, match=r"without an optimum.*start="):
        clv.BGNBD().fit(cdnow_rfm)


@pytest.mark.parametrize("method", ["MLE", "nuts!", ""])
def test_unknown_method(method: str, cdnow_rfm: pd.DataFrame) -> None:
    with pytest.raises(OptionError, match="Allowed: 'mle'"):
        clv.BGNBD().fit(cdnow_rfm, method=method)


def test_bad_start(cdnow_rfm: pd.DataFrame) -> None:
    with pytest.raises(OptionError, match="r, alpha, a, b"):
        clv.BGNBD().fit(cdnow_rfm, start={"r": 1.0})
    with pytest.raises(OptionError, match="positive"):
        clv.BGNBD().fit(cdnow_rfm, start={"r": 1.0, "alpha": -1.0, "a": 1.0, "b": 1.0})


def test_contradicting_unit(cdnow_rfm: pd.DataFrame) -> None:
    with pytest.raises(UnitError, match="convert_unit"):
        clv.BGNBD().fit(cdnow_rfm, time_unit="D")


def test_data_that_no_model_can_be_fitted_on() -> None:
    one = pd.DataFrame({"frequency": [0], "recency": [0.0], "T": [0.0], "monetary_value": [0.0]})
    with pytest.raises(DataError) as caught:
        clv.BGNBD().fit(one)
    text = str(caught.value)
    assert "3 problems" in text
    for part in ("one customer only", "no customer has a repeat purchase", "T is 0 everywhere"):
        assert part in text
    equal = pd.DataFrame({"frequency": [1, 2, 1], "recency": 1.0, "T": 2.0, "monetary_value": 25.0})
    with pytest.raises(DataError, match="all amounts are equal"):
        clv.GammaGamma().fit(equal)
    with pytest.raises(DataError, match="at least 2 are needed"):
        clv.GammaGamma().fit(one)


def test_correlated_spend_is_measured_and_warned_about(cdnow_rfm: pd.DataFrame) -> None:
    model = clv.GammaGamma().fit(cdnow_rfm)
    assert model.independence_ is not None
    repeat = cdnow_rfm[cdnow_rfm["frequency"] > 0]
    rho = repeat["frequency"].rank().corr(repeat["monetary_value"].rank())
    assert model.independence_.rho == pytest.approx(rho, abs=1e-12)
    assert model.independence_.n == 946
    scipy_stats = pytest.importorskip("scipy.stats")
    theirs = scipy_stats.spearmanr(repeat["frequency"], repeat["monetary_value"])
    assert model.independence_.p_value == pytest.approx(theirs.pvalue, rel=1e-9)

    strong = cdnow_rfm.assign(
        monetary_value=cdnow_rfm["monetary_value"] * (1 + cdnow_rfm["frequency"])
    )
    with pytest.warns(IndependenceWarning, match=r"Spearman 0\.\d\d, p = .*biased down"):
        clv.GammaGamma().fit(strong)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_intervals_and_draws(estimator: type[Estimator], cdnow_rfm: pd.DataFrame) -> None:
    model = estimator().fit(cdnow_rfm)
    table = model.summary(0.9)
    assert (table["lower"] < table["estimate"]).all()
    assert (table["estimate"] < table["upper"]).all()
    wide = model.summary(0.99)
    assert (wide["lower"] < table["lower"]).all()
    draws = model.result_.draws(20_000, 1)
    assert (draws > 0).all()
    np.testing.assert_array_equal(draws, model.result_.draws(20_000, 1))
    log_covariance = model.result_.log_covariance
    scale = np.sqrt(np.outer(np.diag(log_covariance), np.diag(log_covariance)))
    np.testing.assert_allclose(np.cov(np.log(draws).T) / scale, log_covariance / scale, atol=0.03)
    inside = (draws > table["lower"].to_numpy()) & (draws < table["upper"].to_numpy())
    np.testing.assert_allclose(inside.mean(axis=0), 0.9, atol=0.01)
    with pytest.raises(OptionError, match="between 0 and 1"):
        model.summary(95)
    assert model.aic_ == pytest.approx(2 * len(model.params_) - 2 * model.log_likelihood_)
    assert model.bic_ > model.aic_


def test_fit_is_quiet_on_good_data(cdnow_rfm: pd.DataFrame) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clv.CLVModel(clv.BGNBD(), clv.GammaGamma()).fit(cdnow_rfm)


@pytest.mark.parametrize(
    "seed", [pytest.param(s, marks=[pytest.mark.slow] if s >= 10 else []) for s in range(40)]
)
def test_any_data_end_honestly(seed: int) -> None:
    """Odd bases: few customers, equal ones, outliers. Fitted, unidentified or refused; finite."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([2, 3, 5, 10, 30, 100]))
    T = rng.uniform(0.1, 1, n) * 10 ** rng.uniform(-2, 4)
    x = [
        rng.poisson(rng.uniform(0.05, 5), n),
        np.full(n, rng.integers(1, 5)),
        (rng.random(n) < 0.1) * rng.integers(1, 300, n),
        np.floor(np.exp(rng.normal(0, 2, n))),
    ][seed % 4]
    late = rng.random(n) ** rng.choice([0.2, 1, 5])
    spend = np.exp(rng.normal(3, rng.choice([0.01, 1, 3]), n))
    rfm = pd.DataFrame(
        {
            "frequency": x,
            "recency": np.where(x > 0, T * np.maximum(late, 1e-3), 0),
            "T": T,
            "monetary_value": np.where(x > 0, spend, 0),
        }
    )
    for estimator in ESTIMATORS:
        model = estimator()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IdentificationWarning)
            warnings.simplefilter("ignore", IndependenceWarning)
            try:
                model.fit(rfm)
            except DataError:
                continue
        assert model.convergence_.status in ("converged", "unidentified")
        table = model.summary()
        assert np.isfinite(table["estimate"]).all()
        if model.convergence_.status == "converged":
            assert model.convergence_.gradient_norm < 1e-5
            assert (np.linalg.eigvalsh(model.result_.log_covariance) > 0).all()
        if not isinstance(model, clv.GammaGamma):
            assert np.isfinite(model.expected_purchases(rfm, float(T.mean()))).all()
