"""The Bayesian tasks as clvpredict does them: `python -m benchmarks.ours_bayes TASK DATA OUT ...`.

DATA is a file of customers.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import clvpredict as clv
from benchmarks.measure import Facts, Stopwatch, peak_mib, run, versions
from benchmarks.posterior import write_draws
from benchmarks.scenario import FITTED_ON, HORIZON_DAYS, INTERVAL_DRAWS


def nuts(
    watch: Stopwatch, data: Path, out: Path, *, model: str, draws: int, tune: int, chains: int
) -> Facts:
    """Sample a posterior under the default priors."""
    summary = pd.read_parquet(data)
    fitted = getattr(clv, model)()
    with watch("task"):
        fitted.fit(summary, method="nuts", draws=draws, tune=tune, chains=chains, seed=1)
    return _kept(fitted, out)


def laplace(watch: Stopwatch, data: Path, out: Path, *, draws: int) -> Facts:
    """Draw from the posterior of BG/NBD by importance resampling."""
    summary = pd.read_parquet(data)
    fitted = clv.BGNBD()
    with watch("task"):
        fitted.fit(summary, method="laplace", draws=draws, seed=1)
    how = fitted.sampling_
    return _kept(fitted, out) | {"k_hat": how.k_hat, "importance_ess": how.importance_ess}


def predict(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """CLV of every customer with credible and predictive intervals, and all else of the table."""
    summary = pd.read_parquet(data)
    model = clv.CLVModel().fit(
        summary.head(FITTED_ON["clvpredict"]), method="laplace", time_unit="D", seed=1
    )
    before = peak_mib()
    with watch("task"):
        table = model.predict(
            summary, horizon=f"{HORIZON_DAYS}D", interval=0.9, draws=INTERVAL_DRAWS
        )
    return {
        "before_mib": before,
        "tables_mib": sum(f.memory_usage(deep=True).sum() / 2**20 for f in (summary, table)),
        "columns": list(table.columns),
    }


def about(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """Which versions."""
    return {"clvpredict": clv.__version__} | versions(
        "pymc", "pytensor", "nutpie", "numba", "numpy"
    )


def _kept(fitted: clv.BGNBD, out: Path) -> Facts:
    """Write the draws; say what they are of."""
    sample = fitted.result_.sample
    assert sample is not None
    write_draws(dict(zip(fitted.result_.names, sample.draws.transpose(2, 0, 1), strict=True)), out)
    return {"priors": fitted.sampling_.priors, "histories": fitted.result_.n_rows}


if __name__ == "__main__":
    run({"nuts": nuts, "laplace": laplace, "predict": predict, "about": about})
