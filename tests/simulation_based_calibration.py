"""Simulation-based calibration: do posteriors hold what Bayes' rule says of them?

Talts, Betancourt, Simpson, Vehtari & Gelman (2018), arXiv:1804.06788: draw parameters from the
prior, simulate customers with them, fit with the same prior. The rank of the truth among draws of
the posterior is then uniform, for every parameter, whatever the model. Modrák et al. (2023),
Bayesian Analysis 20(2): the log-likelihood as one more quantity finds errors that the parameters
alone do not show, such as a posterior that ignores some of the data.

Run as a script it prints the table of p-values.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pymc as pm
from scipy import stats

import clvpredict as clv
from clvpredict.errors import ClvWarning
from clvpredict.estimators import Estimator
from clvpredict.rfm import Compressed

REPLICATIONS = 200
CUSTOMERS = 400
#: Draws of each posterior that the truth is ranked among: ranks are 0, 1, ..., DRAWS.
DRAWS = 99
_BINS = 20
#: Of a false alarm anywhere in the study, by Bonferroni over all tests of all cells.
FAMILY_WISE = 0.001

Method = Literal["laplace", "nuts"]
METHODS: tuple[Method, ...] = ("laplace", "nuts")
ESTIMATORS: dict[str, type[Estimator]] = {
    "BG/NBD": clv.BGNBD,
    "MBG/NBD": clv.MBGNBD,
    "Gamma-Gamma": clv.GammaGamma,
}
# Median and standard deviation of ln(parameter), time in weeks: most customers buy again, about
# a quarter leave at each purchase, so that some hundred customers say something of every parameter.
_PURCHASES = {"r": (0.8, 0.4), "alpha": (8.0, 0.4), "a": (0.8, 0.4), "b": (2.5, 0.4)}
_SPEND = {"p": (6.0, 0.3), "q": (4.0, 0.3), "v": (15.0, 0.3)}
PRIORS = {"BG/NBD": _PURCHASES, "MBG/NBD": _PURCHASES, "Gamma-Gamma": _SPEND}
# Who buys, where only spend is of interest.
_BUYERS = clv.BGNBD.from_params(r=0.8, alpha=8.0, a=0.8, b=2.5, time_unit="W")
TESTS = len(METHODS) * sum(2 * (len(prior) + 1) for prior in PRIORS.values())


def simulate(title: str, truth: dict[str, float], seed: int) -> pd.DataFrame:
    """Simulate customers observed for 30 to 80 weeks."""
    # From a stream of its own: the simulation begins its own stream with this seed.
    weeks = np.random.default_rng([seed, 1]).uniform(30, 80, CUSTOMERS)
    if title == "Gamma-Gamma":
        both = clv.CLVModel(_BUYERS, clv.GammaGamma.from_params(**truth))
        return both.simulate(CUSTOMERS, weeks, seed).rfm
    purchases = {"BG/NBD": clv.BGNBD, "MBG/NBD": clv.MBGNBD}[title]
    return purchases.from_params(time_unit="W", **truth).simulate(CUSTOMERS, weeks, seed).rfm


def ranks(title: str, method: Method, replications: int = REPLICATIONS) -> pd.DataFrame:
    """Rank the truth among draws of the posterior.

    Returns
    -------
    DataFrame
        One row per replication: the rank of every parameter and of the log-likelihood; and
        `fitted`, the method that the fit ended with.
    """
    prior = PRIORS[title]
    given = {name: pm.LogNormal.dist(np.log(m), sigma) for name, (m, sigma) in prior.items()}
    records = []
    for seed in range(replications):
        rng = np.random.default_rng([20180418, seed])
        truth = {n: float(np.exp(rng.normal(np.log(m), s))) for n, (m, s) in prior.items()}
        rfm = simulate(title, truth, seed)
        model = ESTIMATORS[title]()
        with warnings.catch_warnings():
            # R-hat of short chains is noisy; the ranks are what is tested here.
            warnings.simplefilter("ignore", ClvWarning)
            model.fit(rfm, method=method, priors=given, draws=300, tune=200, chains=2, seed=seed)
        # Every sixth draw of the chains, every third of the resampled: nearly independent.
        draws = model.result_.draws(DRAWS, 0)
        data = model._data(rfm)

        def log_likelihood(
            theta: npt.NDArray[np.float64], model: Estimator = model, data: Compressed = data
        ) -> float:
            return float(data.weight @ model._model.log_likelihood(tuple(theta), data))

        true = np.array([truth[n] for n in model._model.parameter_names])
        record: dict[str, object] = dict(
            zip(model._model.parameter_names, (draws < true).sum(axis=0), strict=True)
        )
        record["log_likelihood"] = sum(log_likelihood(d) < log_likelihood(true) for d in draws)
        records.append({**record, "fitted": model.result_.method})
    return pd.DataFrame(records)


def p_values(ranked: pd.DataFrame) -> pd.DataFrame:
    """Test that ranks are uniform: a chi-square test of bins, and Kolmogorov's band of the ECDF.

    The first sees tails, the second shifts. For the second, ranks are spread within their steps,
    which makes them exactly uniform on (0, 1) if they are uniform.
    """
    out = {}
    spread = np.random.default_rng(0)
    for name, rank in ranked.drop(columns="fitted", errors="ignore").items():
        width = (DRAWS + 1) // _BINS
        counts = np.bincount(rank.to_numpy(int) // width, minlength=_BINS)
        continuous = (rank.to_numpy(float) + spread.random(len(rank))) / (DRAWS + 1)
        out[name] = {
            "chi_square": float(stats.chisquare(counts).pvalue),
            "ecdf": float(stats.kstest(continuous, "uniform", method="exact").pvalue),
        }
    return pd.DataFrame(out).T


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=REPLICATIONS)
    replications = parser.parse_args().replications
    print(f"each of {TESTS} tests at level {FAMILY_WISE / TESTS:.2g}")
    for title in ESTIMATORS:
        for method in METHODS:
            ranked = ranks(title, method, replications)
            print(f"\n{title}, {method}: {ranked['fitted'].value_counts().to_dict()}")
            print(p_values(ranked).round(4).to_string())
