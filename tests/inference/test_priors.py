"""Priors: in the data's units, of the stated density, and refused where they cannot be meant."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from scipy import stats

import clvpredict as clv
from clvpredict.errors import NotFittedError, OptionError
from clvpredict.estimators import Estimator
from clvpredict.inference import priors as priors_module
from clvpredict.inference.priors import PriorKey, Priors, resolve
from clvpredict.rfm import Array

ESTIMATORS = [clv.BGNBD, clv.MBGNBD, clv.NBD, clv.GammaGamma]


def priors_of(
    rfm: pd.DataFrame, given: dict[str, Any] | None, estimator: type[Estimator] = clv.BGNBD
) -> Priors:
    model = estimator()
    return resolve(model._model, model._data(rfm), given)


class Drawn:
    """As pymc_extras.prior.Prior: makes its variable itself."""

    def __init__(self, mu: float, sigma: float) -> None:
        self.mu, self.sigma = mu, sigma

    def create_variable(self, name: str) -> Any:
        return pm.LogNormal(name, self.mu, self.sigma)


class Hierarchical:
    def create_variable(self, name: str) -> Any:
        return pm.HalfNormal(name, pm.HalfNormal(f"{name}_scale", 1))


# --- defaults ---------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [clv.BGNBD, clv.MBGNBD, clv.NBD])
def test_time_units_do_not_matter(estimator: type[Estimator], cdnow_rfm: pd.DataFrame) -> None:
    """The same draws, up to the unit: the mode is found to about 1e-7."""
    weeks = estimator().fit(cdnow_rfm, method="laplace", draws=500, seed=3)
    days = estimator().fit(clv.convert_unit(cdnow_rfm, "D"), method="laplace", draws=500, seed=3)
    assert days.params_["alpha"] == pytest.approx(7 * weeks.params_["alpha"], rel=1e-6)
    for name in weeks.params_.keys() - {"alpha"}:
        assert days.params_[name] == pytest.approx(weeks.params_[name], rel=1e-6)
    assert days.sampling_.k_hat == pytest.approx(weeks.sampling_.k_hat, abs=1e-4)


def test_money_units_do_not_matter(cdnow_rfm: pd.DataFrame) -> None:
    cents = cdnow_rfm.assign(monetary_value=100 * cdnow_rfm["monetary_value"])
    one = clv.GammaGamma().fit(cdnow_rfm, method="laplace", draws=500, seed=3)
    other = clv.GammaGamma().fit(cents, method="laplace", draws=500, seed=3)
    assert other.params_["v"] == pytest.approx(100 * one.params_["v"], rel=1e-6)
    for name in ("p", "q"):
        assert other.params_[name] == pytest.approx(one.params_[name], rel=1e-6)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_default_density(estimator: type[Estimator], cdnow_rfm: pd.DataFrame) -> None:
    """LogNormal around the ordinary value, in units of mean age and mean spend; sigma 1.5."""
    buyers = cdnow_rfm[(cdnow_rfm["frequency"] > 0) & (cdnow_rfm["monetary_value"] > 0)]
    unit = {"time": cdnow_rfm["T"].mean(), "money": buyers["monetary_value"].mean(), None: 1.0}
    found = priors_of(cdnow_rfm, None, estimator)
    model = estimator._model
    theta = np.linspace(0.3, 4.0, len(model.parameters))
    expected = sum(
        stats.lognorm(1.5, scale=p.ordinary * unit[p.unit]).logpdf(value) + np.log(value)
        for p, value in zip(model.parameters, theta, strict=True)
    )
    assert found.log_density(np.log(theta))[0] == pytest.approx(expected, rel=1e-12)
    draws = np.log(found.draw(20_000, 0))
    centres = np.log([p.ordinary * unit[p.unit] for p in model.parameters])
    np.testing.assert_allclose(draws.mean(axis=0), centres, atol=4 * 1.5 / np.sqrt(20_000))
    np.testing.assert_allclose(draws.std(axis=0), 1.5, rtol=4 / np.sqrt(2 * 20_000))


# --- given -----------------------------------------------------------------------------------

GIVEN: dict[str, tuple[Callable[[], Any], Any]] = {
    "lognormal": (lambda: pm.LogNormal.dist(0.3, 0.7), stats.lognorm(0.7, scale=np.exp(0.3))),
    "half-normal": (lambda: pm.HalfNormal.dist(2.0), stats.halfnorm(scale=2.0)),
    "gamma": (lambda: pm.Gamma.dist(2.0, 0.5), stats.gamma(2.0, scale=2.0)),
    "moments": (lambda: pm.Gamma.dist(mu=3.0, sigma=1.5), stats.gamma(4.0, scale=0.75)),
    "exponential": (lambda: pm.Exponential.dist(0.5), stats.expon(scale=2.0)),
    "weibull": (lambda: pm.Weibull.dist(1.5, 3.0), stats.weibull_min(1.5, scale=3.0)),
    "uniform": (lambda: pm.Uniform.dist(0.0, 6.0), stats.uniform(0.0, 6.0)),
    "truncated": (
        lambda: pm.Truncated.dist(pm.Normal.dist(1.0, 2.0), lower=0.0),
        stats.truncnorm(-0.5, np.inf, 1.0, 2.0),
    ),
    "object": (lambda: Drawn(0.3, 0.7), stats.lognorm(0.7, scale=np.exp(0.3))),
}


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [tuple(GIVEN)[:4], tuple(GIVEN)[5:]], ids=" ".join)
def test_given_density_and_gradient(kinds: tuple[str, ...], cdnow_rfm: pd.DataFrame) -> None:
    """Of all parameters, given in another order than the model's; one prior is the default."""
    names = ("b", "r", "a", "alpha")
    given = {n: GIVEN[kind][0]() for n, kind in zip(names, kinds, strict=True)}
    theirs = {n: GIVEN[kind][1] for n, kind in zip(names, kinds, strict=True)}
    found = priors_of(cdnow_rfm, given)

    def expected(point: Array) -> float:
        values = dict(zip(found.names, np.exp(point), strict=True))
        return float(sum(theirs[n].logpdf(v) + np.log(v) for n, v in values.items()))

    for point in (np.array([-0.5, 1.1, -0.3, 0.9]), np.array([0.4, 0.1, 1.0, -1.2])):
        value, gradient = found.log_density(point)
        # PyTensor keeps constants such as 0.5 in single precision, and their logarithms.
        assert value == pytest.approx(expected(point), rel=1e-7)
        step = 1e-5 * np.eye(4)
        numeric = [(expected(point + h) - expected(point - h)) / 2e-5 for h in step]
        np.testing.assert_allclose(gradient, numeric, rtol=1e-7, atol=1e-7)


def test_given_and_default_priors_together(cdnow_rfm: pd.DataFrame) -> None:
    found = priors_of(cdnow_rfm, {"b": pm.HalfNormal.dist(9.0), "r": pm.LogNormal.dist(1.0, 2.0)})
    point = np.array([-0.5, 2.0, -0.3, 0.9])
    rest = Priors(("alpha", "a"), {n: found.own[n] for n in ("alpha", "a")}, {})
    expected = (
        rest.log_density(point[[1, 2]])[0]
        + stats.norm(1.0, 2.0).logpdf(point[0])
        + stats.halfnorm(scale=9.0).logpdf(np.exp(point[3]))
        + point[3]
    )
    assert found.log_density(point)[0] == pytest.approx(expected, rel=1e-7)


def test_draws_of_given_priors(cdnow_rfm: pd.DataFrame) -> None:
    found = priors_of(cdnow_rfm, {"a": pm.Gamma.dist(2.0, 0.5), "b": Drawn(0.3, 0.7)})
    draws = found.draw(5000, 1)
    assert stats.kstest(draws[:, 2], stats.gamma(2.0, scale=2.0).cdf).pvalue > 1e-3
    assert stats.kstest(np.log(draws[:, 3]), stats.norm(0.3, 0.7).cdf).pvalue > 1e-3
    np.testing.assert_array_equal(draws, found.draw(5000, 1))


@pytest.mark.slow
def test_priors_can_be_used_for_several_fits(cdnow_rfm: pd.DataFrame) -> None:
    """The user's distributions are left as they were, and fits of equal priors are equal."""
    kinds = {"r": "object", "a": "gamma", "b": "truncated"}
    given = {n: GIVEN[kind][0]() for n, kind in kinds.items()}
    equal = {n: GIVEN[kind][0]() for n, kind in kinds.items()}
    fits = [
        clv.BGNBD().fit(cdnow_rfm, method="laplace", draws=200, priors=p)
        for p in (given, given, equal)
    ]
    for fit in fits[1:]:
        np.testing.assert_array_equal(fit.idata["posterior"]["b"], fits[0].idata["posterior"]["b"])
    said = fits[0].sampling_.priors
    assert set(said) == {"r", "alpha", "a", "b"}
    assert "Gamma" in said["a"]
    assert "LogNormal" in said["alpha"]
    same = given["a"]  # of two parameters of one fit
    both = priors_of(cdnow_rfm, {"a": same, "b": same}).log_density(np.array([0, 0, 0.3, 0.3]))
    assert both[1][2] == both[1][3]


def test_priors_matter(cdnow_rfm: pd.DataFrame) -> None:
    """A prior that insists moves the posterior to itself."""
    model = clv.BGNBD().fit(
        cdnow_rfm, method="laplace", draws=500, priors={"a": pm.LogNormal.dist(np.log(3), 0.01)}
    )
    assert model.params_["a"] == pytest.approx(3, rel=0.02)


# --- what was compiled is found again, and only for the same prior ------------------------------


def test_keys_tell_distributions_apart_and_not_objects() -> None:
    """Names and numbers would not do: a truncated gamma and a truncated Weibull have equal ones."""
    makers: list[Callable[[], Any]] = [
        *(make for kind, (make, _) in GIVEN.items() if kind != "object"),
        lambda: pm.Gamma.dist(2.0, 0.6),
        lambda: pm.Truncated.dist(pm.Gamma.dist(2.0, 1.0), lower=0.1, upper=5.0),
        lambda: pm.Truncated.dist(pm.Weibull.dist(2.0, 1.0), lower=0.1, upper=5.0),
        lambda: Drawn(0.3, 0.8),
    ]
    keys, again = [PriorKey(make()) for make in makers], [PriorKey(make()) for make in makers]
    for i, key in enumerate(keys):
        assert [key == other for other in again] == [j == i for j in range(len(keys))], i
        assert hash(key) == hash(again[i])
    assert PriorKey(GIVEN["object"][0]()) == PriorKey(GIVEN["lognormal"][0]())


def test_equal_priors_compile_once(
    cdnow_rfm: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gamma in particular, which holds 1 / rate: it was compiled anew for every fit."""
    point = np.zeros(4)
    given = {"a": lambda: pm.Gamma.dist(2.5, 0.7), "b": lambda: pm.Gamma.dist(mu=2.0, sigma=0.7)}
    first = priors_of(cdnow_rfm, {n: make() for n, make in given.items()}).log_density(point)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("compiles again")

    monkeypatch.setattr(priors_module, "_compile_density", refuse)
    monkeypatch.setattr(pm, "draw", refuse)
    again = priors_of(cdnow_rfm, {n: make() for n, make in given.items()}).log_density(point)
    assert again[0] == first[0]
    with pytest.raises(AssertionError, match="compiles again"):
        priors_of(cdnow_rfm, {"a": pm.Gamma.dist(2.5, 0.71)})


# --- refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: {"aplha": pm.HalfNormal.dist(1)}, r"'aplha' is not a parameter.*'alpha'\?"),
        (lambda: {"a": pm.Normal.dist(1, 1)}, r"prior of a, Normal\(1, 1\), allows numbers <= 0"),
        (lambda: {"a": pm.Uniform.dist(-0.1, 3)}, r"allows numbers <= 0"),
        (lambda: {"a": pm.Poisson.dist(2)}, r"Poisson\(2\), is discrete"),
        (lambda: {"a": pm.LogNormal.dist(0, 1, shape=3)}, r"shape \(3,\); it must be a scalar"),
        (lambda: {"a": 3.0}, r"prior of a is 3.0, not a PyMC distribution"),
        (lambda: {"a": "HalfNormal"}, r"'HalfNormal', not a PyMC distribution"),
        (lambda: {"a": pm.HalfNormal}, r"not a PyMC distribution"),
        # Unnamed, it would take a random scale each time its density is computed.
        (lambda: {"a": pm.HalfNormal.dist(pm.HalfNormal.dist(1))}, "priors of their own"),
        (lambda: {"a": Hierarchical()}, "priors of their own"),
    ],
)  # fmt: skip
def test_refused(
    given: Callable[[], dict[str, Any]], message: str, cdnow_rfm: pd.DataFrame
) -> None:
    model = clv.BGNBD()
    with pytest.raises(OptionError, match=message) as caught:
        model.fit(cdnow_rfm, method="laplace", priors=given())
    assert (
        "priors={" in str(caught.value)
        or "Did you mean" in str(caught.value)
        or ("give numbers" in str(caught.value))
    )
    with pytest.raises(NotFittedError):
        _ = model.params_


def test_all_problems_in_one_message(cdnow_rfm: pd.DataFrame) -> None:
    given = {
        "rr": pm.HalfNormal.dist(1),
        "a": pm.Normal.dist(0, 1),
        "b": 4,
        "r": pm.Poisson.dist(1),
    }
    with pytest.raises(OptionError) as caught:
        clv.BGNBD().fit(cdnow_rfm, method="nuts", priors=given)
    text = str(caught.value)
    for part in ("'rr' is not", "prior of a, Normal", "prior of b is 4", "prior of r, Poisson"):
        assert part in text


def test_priors_need_a_posterior(cdnow_rfm: pd.DataFrame) -> None:
    with pytest.raises(OptionError, match="priors need method='map', 'laplace', 'nuts' or 'auto'"):
        clv.BGNBD().fit(cdnow_rfm, priors={"a": pm.HalfNormal.dist(1)})


def test_model_of_both_shares_priors_out(cdnow_rfm: pd.DataFrame) -> None:
    given = {"a": pm.HalfNormal.dist(2), "q": pm.HalfNormal.dist(9)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = clv.CLVModel().fit(cdnow_rfm, method="laplace", draws=200, priors=given)
    assert "HalfNormal" in model.purchases.sampling_.priors["a"]
    assert "HalfNormal" in model.spend.sampling_.priors["q"]
    with pytest.raises(OptionError, match="'zz'"):
        clv.CLVModel().fit(cdnow_rfm, method="laplace", priors={"zz": pm.HalfNormal.dist(2)})
