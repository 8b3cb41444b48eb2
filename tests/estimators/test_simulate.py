"""Simulated customer bases: exact, seeded, and what the models recover from them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import OptionError

TRUTH = {
    clv.BGNBD: {"r": 0.6, "alpha": 7.0, "a": 0.9, "b": 2.6},
    clv.MBGNBD: {"r": 0.6, "alpha": 7.0, "a": 0.9, "b": 2.6},
    clv.NBD: {"r": 0.6, "alpha": 7.0},
}
SPEND = {"p": 6.0, "q": 4.0, "v": 15.0}


@pytest.mark.parametrize("estimator", list(TRUTH))
def test_fit_recovers_the_truth(estimator: type[clv.BGNBD]) -> None:
    truth = clv.CLVModel(
        estimator.from_params(time_unit="W", **TRUTH[estimator]),
        clv.GammaGamma.from_params(**SPEND),
    )
    T = np.random.default_rng(1).uniform(30, 104, 8000)
    base = truth.simulate(8000, T, 11)
    model = clv.CLVModel(estimator(), clv.GammaGamma()).fit(base.rfm)
    table = pd.concat([model.purchases.summary(), model.spend.summary()])
    for name, value in {**TRUTH[estimator], **SPEND}.items():
        row = table.loc[name]
        assert abs(row["estimate"] - value) < 4 * row["standard_error"], name


@pytest.mark.parametrize("estimator", list(TRUTH))
def test_p_alive_is_calibrated_on_simulated_truth(estimator: type[clv.BGNBD]) -> None:
    truth = estimator.from_params(time_unit="W", **TRUTH[estimator])
    base = truth.simulate(60_000, 52.0, 4)
    p = truth.p_alive(base.rfm).to_numpy()
    alive = base.latent["alive"].to_numpy()
    for low, high in ((0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.01)):
        within = (p >= low) & (p < high)
        if within.sum() < 200:
            continue
        error = 4 * 0.5 / np.sqrt(within.sum())
        assert alive[within].mean() == pytest.approx(p[within].mean(), abs=error)


def test_transactions_and_summary_are_the_same_base() -> None:
    truth = clv.CLVModel(
        clv.MBGNBD.from_params(time_unit="W", **TRUTH[clv.MBGNBD]),
        clv.GammaGamma.from_params(**SPEND),
    )
    base = truth.simulate(500, np.linspace(1, 60, 500), 2, observation_end="2024-06-30")
    log, rfm = base.transactions, base.rfm
    per_customer = log.groupby("customer_id")
    np.testing.assert_array_equal(per_customer.size() - 1, rfm["frequency"])
    end = pd.Timestamp("2024-06-30")
    first, last = per_customer["date"].min(), per_customer["date"].max()
    week = pd.Timedelta(weeks=1)
    np.testing.assert_allclose((end - first) / week, rfm["T"], atol=1e-8)
    np.testing.assert_allclose((last - first) / week, rfm["recency"], atol=1e-8)
    repeats = log[log.duplicated("customer_id")].groupby("customer_id")["amount"].mean()
    mean = repeats.reindex(rfm["customer_id"]).fillna(0.0)
    np.testing.assert_allclose(mean, rfm["monetary_value"], rtol=1e-12)
    assert log["date"].max() <= end
    assert rfm.provenance is not None
    assert rfm.provenance.time_unit == "W"
    # Through the front door: hourly collapse moves moments by less than an hour.
    again = clv.rfm_summary(log, observation_end=end, time_unit="W", collapse="h")
    both = again.merge(pd.DataFrame(rfm), on="customer_id", suffixes=("", "_exact"))
    np.testing.assert_allclose(both["T"], both["T_exact"], atol=2 / 168)


def test_seeds() -> None:
    model = clv.BGNBD.from_params(time_unit="D", r=0.5, alpha=30.0, a=1.0, b=3.0)
    one, same, other = (model.simulate(300, 365, seed) for seed in (5, 5, 6))
    pd.testing.assert_frame_equal(one.transactions, same.transactions)
    pd.testing.assert_frame_equal(one.latent, same.latent)
    assert not one.transactions.equals(other.transactions)


@pytest.mark.parametrize(("n", "T"), [(0, 5), (3, -1.0), (3, [1, 2]), (2, [1, np.nan])])
def test_bad_sizes(n: int, T: object) -> None:
    model = clv.BGNBD.from_params(time_unit="D", r=0.5, alpha=30.0, a=1.0, b=3.0)
    with pytest.raises(OptionError):
        model.simulate(n, T, 1)  # type: ignore[arg-type]
