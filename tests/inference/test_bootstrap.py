"""Bootstrap intervals: near the asymptotic ones where those hold, honest about failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import ConvergenceError, SamplingWarning
from clvpredict.estimators import Estimator
from clvpredict.inference import bootstrap
from clvpredict.inference.mle import Optimum

REPLICATES = 60


def failing(every: int) -> Callable[..., Optimum]:
    """The optimiser, but every so-manyth call fails."""
    calls = 0
    real = bootstrap.maximise

    def maximise(*args: Any, **options: Any) -> Optimum:
        nonlocal calls
        calls += 1
        if calls % every == 0:
            raise ConvergenceError("no optimum")
        return real(*args, **options)

    return maximise


@pytest.mark.parametrize(
    "estimator",
    [*(pytest.param(e, marks=pytest.mark.slow) for e in (clv.BGNBD, clv.MBGNBD)), clv.GammaGamma],
)
def test_standard_errors_are_the_robust_asymptotic_ones(
    estimator: type[Estimator], cdnow_rfm: pd.DataFrame
) -> None:
    """Of Huber (1967) and White (1982): resampled customers need not follow the model.

    In logarithms; of 60 draws a standard deviation has an error of 1/√118, or 9 %.
    """
    plain = estimator().fit(cdnow_rfm)
    model = estimator().fit(cdnow_rfm, bootstrap=REPLICATES, seed=1)
    at = plain.result_.estimate
    np.testing.assert_array_equal(model.result_.estimate, at)
    assert model.sampling_.failed == 0
    data = model._data(cdnow_rfm)
    scores = model._model.log_likelihood_and_gradient(tuple(at), data)[1] * at[:, None]
    bread = plain.result_.log_covariance
    robust = np.sqrt(np.diag(bread @ (scores * data.weight) @ scores.T @ bread))
    logs = np.log(model.result_.draws(REPLICATES, 0))
    ratio = logs.std(axis=0, ddof=1) / robust
    assert (np.abs(np.log(ratio)) < 3 / np.sqrt(2 * (REPLICATES - 1))).all(), ratio
    centre = np.abs(logs.mean(axis=0) - np.log(at))
    assert (centre < 4 * robust / np.sqrt(REPLICATES)).all()


def test_equal_seeds_give_equal_draws(cdnow_rfm: pd.DataFrame) -> None:
    def draws(seed: int) -> np.ndarray:
        return clv.GammaGamma().fit(cdnow_rfm, bootstrap=5, seed=seed).result_.draws(5, 0)

    np.testing.assert_array_equal(draws(3), draws(3))
    assert not np.isin(draws(3), draws(4)).any()


def test_what_a_bootstrap_fit_is(cdnow_rfm: pd.DataFrame) -> None:
    model = clv.GammaGamma().fit(cdnow_rfm, bootstrap=20)
    assert model.result_.method == "mle"
    assert not model.result_.is_posterior
    assert model.sampling_.sampler == "bootstrap"
    assert model.idata["posterior"].sizes == {"chain": 1, "draw": 20}
    draws = model.result_.draws(20, 0)
    table = model.summary(0.8)
    np.testing.assert_allclose(table["lower"], np.quantile(draws, 0.1, axis=0))
    np.testing.assert_allclose(table["upper"], np.quantile(draws, 0.9, axis=0))
    np.testing.assert_allclose(table["standard_error"], draws.std(axis=0, ddof=1))


def test_replicates_resample_customers_not_rows(
    cdnow_rfm: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each replicate has as many customers; rows are drawn as often as they have customers."""
    totals = []
    real = bootstrap.maximise

    def spy(model: Any, data: Any, *args: Any, **options: Any) -> Optimum:
        totals.append((data.weight.sum(), data.weight @ data.columns["x"]))
        return real(model, data, *args, **options)

    monkeypatch.setattr(bootstrap, "maximise", spy)
    clv.BGNBD().fit(cdnow_rfm, bootstrap=30)
    customers, purchases = np.array(totals).T
    assert (customers == 2357).all()
    x = cdnow_rfm["frequency"]
    assert purchases.mean() == pytest.approx(x.sum(), abs=4 * x.std() * np.sqrt(2357) / np.sqrt(30))
    assert purchases.std() > 0


def test_failed_replicates_are_counted(
    cdnow_rfm: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "maximise", failing(4))
    with pytest.warns(
        SamplingWarning, match=r"5 of 20 bootstrap replicates found no optimum.*too narrow.*'nuts'"
    ):
        model = clv.GammaGamma().fit(cdnow_rfm, bootstrap=20)
    assert model.sampling_.failed == 5
    assert model.sampling_.draws == 15
    with pytest.raises(ConvergenceError, match="5 of 20"):
        clv.GammaGamma().fit(cdnow_rfm, bootstrap=20, strict=True)


def test_a_rare_failure_is_counted_without_a_warning(
    cdnow_rfm: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "maximise", failing(25))
    model = clv.GammaGamma().fit(cdnow_rfm, bootstrap=30)
    assert model.sampling_.failed == 1
    assert model.sampling_.problems == ()


def test_all_failing_is_an_error(cdnow_rfm: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "maximise", failing(1))
    model = clv.GammaGamma().fit(cdnow_rfm)
    before = model.result_
    with pytest.raises(ConvergenceError, match=r"8 of 8 bootstrap.*method='nuts'"):
        model.fit(cdnow_rfm, bootstrap=8)
    assert model.result_ is before
