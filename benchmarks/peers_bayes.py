"""The Bayesian tasks as pymc-marketing does them, in its own environment.

`python -m benchmarks.peers_bayes TASK DATA OUT ...`; DATA is a file of customers.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.measure import Facts, Stopwatch, peak_mib, run, versions
from benchmarks.posterior import write_draws
from benchmarks.scenario import (
    FITTED_ON,
    HORIZON_DAYS,
    INTERVAL_DRAWS,
    PRIOR_MEDIANS,
    PRIOR_SPREAD,
    prior_in_words,
    prior_locations,
)

# Deprecations that one library meets in the next.
warnings.simplefilter("ignore")
_CLASSES = {
    "BGNBD": "BetaGeoModel",
    "MBGNBD": "ModifiedBetaGeoModel",
    "GammaGamma": "GammaGammaModel",
}


def nuts(
    watch: Stopwatch,
    data: Path,
    out: Path,
    *,
    model: str,
    draws: int,
    tune: int,
    chains: int,
    sampler: str = "nutpie",
) -> Facts:
    """Sample a posterior under the priors that are ours by default."""
    summary = pd.read_parquet(data)
    with watch("task"):
        fitted, locations = _fitted(
            model, summary, draws=draws, tune=tune, chains=chains, nuts_sampler=sampler
        )
    posterior = fitted.idata["posterior"]
    write_draws({name: posterior[name].to_numpy() for name in PRIOR_MEDIANS[model]}, out)
    return {
        "priors": {name: prior_in_words(mu, PRIOR_SPREAD) for name, mu in locations.items()},
        "locations": locations,
        "sampling_seconds": float(posterior.attrs["sampling_time"]),
    }


def predict(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """Draws of each customer's expected purchases, P(alive) and lifetime value."""
    summary = pd.read_parquet(data)
    some = pd.read_parquet(data.parent / f"base-{FITTED_ON['pymc-marketing']}.parquet")
    chains = 2
    options = {"draws": INTERVAL_DRAWS // chains, "tune": INTERVAL_DRAWS, "chains": chains}
    purchases, _ = _fitted("BGNBD", some, **options)
    spend, _ = _fitted("GammaGamma", some, **options)
    before = peak_mib()
    with watch("purchases"):
        expected = purchases.expected_purchases(summary, future_t=HORIZON_DAYS)
    with watch("alive"):
        alive = purchases.expected_probability_alive(summary)
    with watch("value"):
        value = spend.expected_customer_lifetime_value(
            purchases, summary, future_t=12, time_unit="D"
        )
    return {
        "before_mib": before,
        "results_mib": sum(array.nbytes / 2**20 for array in (expected, alive, value)),
        "draws": value.sizes["chain"] * value.sizes["draw"],
    }


def about(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """Which versions."""
    return versions("pymc-marketing", "pymc", "pytensor", "nutpie", "numba", "numpy", "arviz")


def _fitted(model: str, summary: pd.DataFrame, **options: Any) -> tuple[Any, dict[str, float]]:
    """A model sampled, and the locations of its priors."""
    import pymc_marketing.clv as peers
    from pymc_extras.prior import Prior

    if model == "GammaGamma":
        summary = summary[summary["frequency"] > 0]
    locations = prior_locations(model, lambda column: float(summary[column].mean()))
    priors = {name: Prior("LogNormal", mu=mu, sigma=PRIOR_SPREAD) for name, mu in locations.items()}
    fitted = getattr(peers, _CLASSES[model])(model_config=priors)
    fitted.fit(summary, random_seed=1, progressbar=False, **{"nuts_sampler": "nutpie"} | options)
    return fitted, locations


if __name__ == "__main__":
    run({"nuts": nuts, "predict": predict, "about": about})
