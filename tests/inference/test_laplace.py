"""Modes, importance resampling around them, and when NUTS takes over."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytest

import clvpredict as clv
from clvpredict.errors import ClvWarning, DataWarning, MethodNotice, SamplingWarning
from clvpredict.estimators import Estimator
from clvpredict.inference.laplace import fit_laplace
from clvpredict.inference.priors import resolve
from clvpredict.rfm import Array

Fitted = Callable[[type[Estimator]], Estimator]


ESTIMATORS = [clv.BGNBD, clv.MBGNBD, clv.GammaGamma]


def few_customers(n: int, seed: int) -> pd.DataFrame:
    truth = clv.BGNBD.from_params(r=0.5, alpha=6.0, a=0.8, b=2.5, time_unit="W")
    return truth.simulate(n, 40.0, seed).rfm


# --- the draws ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_laplace_agrees_with_nuts(
    estimator: type[Estimator], by_laplace: Fitted, by_nuts: Fitted
) -> None:
    """Two ways to one posterior. Their Monte Carlo error is 0.03 of its standard deviation."""
    one, other = by_laplace(estimator).summary(0.9), by_nuts(estimator).summary(0.9)
    sd = other["standard_error"]
    assert (np.abs(one["estimate"] - other["estimate"]) < 0.1 * sd).all()
    np.testing.assert_allclose(one["standard_error"], sd, rtol=0.1)
    # In logarithms, where both are near normal; there these quantiles have twice the error.
    log_sd = np.log(by_nuts(estimator).result_.draws(2000, 0)).std(axis=0)
    for end in ("lower", "upper"):
        assert (np.abs(np.log(one[end] / other[end])) < 0.2 * log_sd).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_what_a_laplace_fit_says_of_itself(
    estimator: type[Estimator], by_laplace: Fitted, cdnow_rfm: pd.DataFrame
) -> None:
    model = by_laplace(estimator)
    how = model.sampling_
    assert (how.sampler, how.chains, how.draws) == ("importance resampling", 1, 4000)
    assert how.k_hat is not None
    assert how.k_hat < 0.7
    assert how.importance_ess is not None
    assert 4000 < how.importance_ess < 8000
    assert model.result_.method == "laplace"
    assert model.result_.is_posterior
    flat = model.result_.draws(10_000, 0)
    assert flat.shape == (4000, len(model.params_))
    np.testing.assert_allclose(list(model.params_.values()), flat.mean(axis=0))
    np.testing.assert_allclose(model.covariance_, np.cov(flat.T))


def test_seeds(cdnow_rfm: pd.DataFrame) -> None:
    def draws(seed: int) -> Array:
        model = clv.GammaGamma().fit(cdnow_rfm, method="laplace", draws=200, seed=seed)
        return model.result_.draws(200, 0)

    np.testing.assert_array_equal(draws(5), draws(5))
    assert not np.isin(draws(5), draws(6)).any()


def test_compiled_and_plain_likelihoods_give_equal_draws(
    cdnow_rfm: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From many rows times draws on, threads and compiled kernels take over."""
    from clvpredict.inference import laplace

    plain = clv.BGNBD().fit(cdnow_rfm, method="laplace", draws=300, seed=2)
    monkeypatch.setattr(laplace, "_COMPILED_FROM", 0)
    compiled = clv.BGNBD().fit(cdnow_rfm, method="laplace", draws=300, seed=2)
    np.testing.assert_array_equal(plain.result_.draws(300, 0), compiled.result_.draws(300, 0))
    assert compiled.sampling_.k_hat == pytest.approx(plain.sampling_.k_hat, abs=1e-6)


# --- the mode ----------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_map_is_the_mode_of_the_parameters_density(
    estimator: type[Estimator], cdnow_rfm: pd.DataFrame
) -> None:
    """Of log-likelihood and prior in the parameters themselves: no Jacobian of the logarithm."""
    model = estimator().fit(cdnow_rfm, method="map")
    data = model._data(cdnow_rfm)
    priors = resolve(model._model, data, None)
    names = model._model.parameter_names
    at = model.result_.estimate

    def log_density(theta: Array) -> float:
        logs = np.log(theta)
        prior = sum(
            -0.5 * ((logs[i] - priors.own[n].mu) / priors.own[n].sigma) ** 2 - logs[i]
            for i, n in enumerate(names)
        )
        return float(data.weight @ model._model.log_likelihood(tuple(theta), data) + prior)

    peak = log_density(at)
    standard_errors = model.summary()["standard_error"].to_numpy()
    for i, step in enumerate(1e-3 * standard_errors):
        shift = step * np.eye(len(at))[i]
        slope = (log_density(at + shift) - log_density(at - shift)) / (2 * step)
        # In units of a standard error: a full one would change the density by 1/2.
        assert abs(slope * standard_errors[i]) < 1e-4
        assert log_density(at + 100 * shift) < peak > log_density(at - 100 * shift)


def test_map_is_what_pymc_finds(cdnow_rfm: pd.DataFrame) -> None:
    given = {"p": pm.Gamma.dist(2.0, 0.5), "v": pm.HalfNormal.dist(10.0)}
    model = clv.GammaGamma().fit(cdnow_rfm, method="map", priors=given)
    found = pm.find_MAP(
        model=clv.GammaGamma().pymc_model(cdnow_rfm, given),
        progressbar=False,
        jitter=False,
        return_inferencedata=True,
    )
    # Their optimiser stops where the posterior is flat: within 2 % of a standard error.
    for name, row in model.summary().iterrows():
        at = found["posterior"][name].to_numpy().item()
        assert at == pytest.approx(row["estimate"], abs=0.02 * row["standard_error"])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_map_with_flat_priors_is_maximum_likelihood(
    estimator: type[Estimator], cdnow_rfm: pd.DataFrame
) -> None:
    likely = estimator().fit(cdnow_rfm)
    flat = {n: pm.HalfNormal.dist(1e5) for n in likely.params_}
    mode = estimator().fit(cdnow_rfm, method="map", priors=flat)
    np.testing.assert_allclose(mode.result_.estimate, likely.result_.estimate, rtol=1e-6)
    np.testing.assert_allclose(mode.covariance_, likely.covariance_, rtol=1e-5)
    assert mode.log_likelihood_ == pytest.approx(likely.log_likelihood_, abs=1e-6)


# --- where it fails --------------------------------------------------------------------------

VAGUE: dict[str, Any] = {n: pm.LogNormal.dist(0, 4) for n in ("r", "alpha", "a", "b")}


@pytest.mark.parametrize(
    ("rfm", "priors", "why"),
    [
        # Six repeat buyers and hardly a prior: banana-shaped, far from a t distribution.
        (few_customers(8, 1), VAGUE, r"not near normal \(k-hat (0\.[789]|[1-9]\.)\d*"),
        # A likelihood that rises up to the prior's edge: there the mode is a corner.
        pytest.param(
            few_customers(40, 0),
            {"a": pm.Uniform.dist(0, 0.3)},
            r"not near normal \(k-hat inf",
            marks=pytest.mark.slow,
        ),
        (few_customers(15, 2), {"a": pm.Uniform.dist(0, 0.3)}, "no mode of the posterior"),
    ],
)
def test_posteriors_far_from_normal_are_sampled_by_nuts(
    rfm: pd.DataFrame, priors: dict[str, Any], why: str
) -> None:
    model = clv.BGNBD()
    with pytest.warns(ClvWarning) as caught:
        model.fit(rfm, method="laplace", priors=priors, draws=1000, tune=500, chains=2, seed=1)
    assert {w.category for w in caught} <= {DataWarning, SamplingWarning}
    said = " ".join(str(w.message) for w in caught if w.category is SamplingWarning)
    assert re.search(f"sampled by NUTS instead of Laplace, because .*{why}", said), said
    assert model.result_.method == "nuts"
    assert model.sampling_.sampler == "nutpie"
    assert model.sampling_.reason.startswith("because")
    draws = model.idata["posterior"]
    assert (draws > 0).all()
    if "a" in priors and priors is not VAGUE:
        assert float(draws["a"].max()) < 0.3
        assert float(draws["a"].mean()) > 0.15


@pytest.mark.slow
def test_bounded_priors_sample_what_they_are(cdnow_rfm: pd.DataFrame, by_nuts: Fitted) -> None:
    """Within hard bounds, against draws under the default prior that are weighted and cut."""
    bound = 0.7  # the posterior mean of a is 0.8
    bounded = clv.BGNBD().fit(
        cdnow_rfm,
        method="nuts",
        priors={"a": pm.Uniform.dist(0.0, bound)},
        draws=1000,
        tune=500,
        chains=2,
    )
    draws = by_nuts(clv.BGNBD).result_.draws(2000, 0)
    kept = draws[draws[:, 2] < bound]
    default = resolve(clv.BGNBD._model, clv.BGNBD()._data(cdnow_rfm), None).own["a"]
    log_a = np.log(kept[:, 2])
    # Uniform over LogNormal density, up to constants.
    weight = np.exp(0.5 * ((log_a - default.mu) / default.sigma) ** 2 + log_a)
    expected = np.average(kept, weights=weight, axis=0)
    found = bounded.result_.draws(2000, 0)
    assert found[:, 2].max() < bound
    # Effective draws are some 400 of either: NUTS has a third to all of its own.
    error = kept.std(axis=0) * np.sqrt(2 / 400)
    assert (np.abs(found.mean(axis=0) - expected) < 3 * error).all()


def test_few_buyers_are_warned_about() -> None:
    rfm = few_customers(40, 3)
    buyers = int((rfm["frequency"] > 0).sum())
    assert buyers < 30
    with pytest.warns(DataWarning, match=rf"{buyers} repeat buyers only.*the prior.*priors="):
        clv.BGNBD().fit(rfm, method="laplace", draws=200, tune=200, chains=2)
    clv.BGNBD().fit(few_customers(200, 3), method="laplace", draws=200)  # enough: quiet


# --- auto ------------------------------------------------------------------------------------


def test_auto_takes_laplace_where_there_are_many_buyers(cdnow_rfm: pd.DataFrame) -> None:
    with pytest.warns(MethodNotice, match=r"BG/NBD: method='laplace', because with 946 repeat"):
        model = clv.BGNBD().fit(cdnow_rfm, method="auto", draws=200)
    assert model.result_.method == "laplace"
    assert "946 repeat buyers the posterior is close to normal" in model.sampling_.reason


def test_auto_takes_nuts_where_there_are_few() -> None:
    rfm = few_customers(200, 1)
    buyers = int((rfm["frequency"] > 0).sum())
    assert buyers < 200
    with pytest.warns(MethodNotice, match=rf"method='nuts', because with {buyers} repeat buyers"):
        model = clv.BGNBD().fit(rfm, method="auto", draws=1000, tune=500, chains=2)
    assert model.result_.method == "nuts"
    assert f"{buyers} repeat buyers" in model.sampling_.reason


def test_without_a_proposal_there_are_no_draws(cdnow_rfm: pd.DataFrame) -> None:
    """What `fit` then does not trust: k-hat is infinite, and no draw pretends to be one."""
    rfm = few_customers(40, 0)
    model = clv.BGNBD()
    data = model._data(rfm)
    priors = resolve(model._model, data, {"a": pm.Uniform.dist(0, 0.3)})
    result = fit_laplace(model._model, data, priors, None, 500, 1)
    assert result.sample is not None
    assert result.sample.how.k_hat == np.inf
