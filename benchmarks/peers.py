"""The same tasks as other packages do them, in their own environment.

`python -m benchmarks.peers TASK DATA OUT`; packages are imported by the task that needs them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import Facts, Stopwatch, run, versions
from benchmarks.scenario import (
    ANNUAL_RATE,
    CDNOW_FITS,
    END,
    MONTHS,
    PURCHASES,
    SPEND,
)

# Deprecations that old code meets in newer libraries.
warnings.simplefilter("ignore")
_MONTHLY_RATE = (1 + ANNUAL_RATE) ** (1 / 12) - 1
_COLUMNS = ("frequency", "recency", "T")


def lifetimes_rfm(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """Read Parquet with pandas, then summarise."""
    from lifetimes.utils import summary_data_from_transaction_data

    return _rfm(summary_data_from_transaction_data, watch, data, out)


def pymc_marketing_rfm(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """Read Parquet with pandas, then summarise."""
    from pymc_marketing.clv.utils import rfm_summary

    return _rfm(rfm_summary, watch, data, out)


def _rfm(summarise: Callable[..., pd.DataFrame], watch: Stopwatch, data: Path, out: Path) -> Facts:
    with watch("read"):
        log = pd.read_parquet(data / "transactions.parquet")
    with watch("task"):
        summary = summarise(log, "customer_id", "date", "amount", observation_period_end=END)
    if "customer_id" not in summary.columns:
        summary = summary.reset_index()
    summary.to_parquet(out, index=False)
    return {"customers": len(summary)}


def fit(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """Run BetaGeoFitter.fit on the summary as it is."""
    summary = pd.read_parquet(data / "base.parquet")
    model = _fitter()
    with watch("task"):
        model.fit(*(summary[c] for c in _COLUMNS))
    return _fitted(model)


def fit_grouped(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """Group equal rows by hand first, and pass the weights that fit accepts."""
    summary = pd.read_parquet(data / "base.parquet")
    model = _fitter()
    with watch("task"):
        rows = summary.groupby(list(_COLUMNS)).size().reset_index(name="weight")
        model.fit(*(rows[c] for c in _COLUMNS), weights=rows["weight"])
    return _fitted(model)


def fit_cdnow(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """BG/NBD on CDNOW, again and again."""
    summary = pd.read_parquet(data / "cdnow.parquet")
    columns = [summary[c] for c in _COLUMNS]
    watch.repeat("task", lambda: _fitter().fit(*columns), CDNOW_FITS)
    return _fitted(_fitter().fit(*columns))


def value(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """CLV of every customer."""
    summary = pd.read_parquet(data / "base.parquet").set_index("customer_id")
    purchases, spend = _known_models()
    history = [summary[c] for c in (*_COLUMNS, "monetary_value")]
    with watch("task"):
        clv = spend.customer_lifetime_value(
            purchases, *history, time=MONTHS, discount_rate=_MONTHLY_RATE, freq="D"
        )
    clv.reset_index().to_parquet(out, index=False)
    return {"total": float(clv.sum())}


def main_job(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """Do what `clvpredict run` does: from CSV to a CSV of CLV, BG/NBD and Gamma-Gamma."""
    from lifetimes import GammaGammaFitter
    from lifetimes.utils import summary_data_from_transaction_data

    log = pd.read_csv(data / "cdnow.csv", parse_dates=["date"])
    summary = summary_data_from_transaction_data(log, "customer_id", "date", "amount")
    columns = [summary[c] for c in _COLUMNS]
    purchases = _fitter().fit(*columns)
    buyers = summary[summary["monetary_value"] > 0]
    spend = GammaGammaFitter().fit(buyers["frequency"], buyers["monetary_value"])
    clv = spend.customer_lifetime_value(
        purchases, *columns, summary["monetary_value"], time=MONTHS, discount_rate=_MONTHLY_RATE
    )
    summary.assign(clv=clv).to_csv(out)
    return {}


def about(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """Which versions."""
    return versions("lifetimes", "pymc-marketing", "numpy", "pandas", "scipy")


def _fitter() -> Any:
    from lifetimes import BetaGeoFitter

    return BetaGeoFitter(penalizer_coef=0.0)


def _known_models() -> tuple[Any, Any]:
    """Models of given parameters, as lifetimes has them after a fit."""
    from lifetimes import GammaGammaFitter

    purchases, spend = _fitter(), GammaGammaFitter()
    purchases.params_ = pd.Series(PURCHASES)
    purchases.predict = purchases.conditional_expected_number_of_purchases_up_to_time
    spend.params_ = pd.Series(SPEND)
    return purchases, spend


def _fitted(model: Any) -> Facts:
    frequency, T, weights = (model.data[c] for c in ("frequency", "T", "weights"))
    # What it keeps is the mean, in scaled time.
    scale = np.log(T.max()) * float((weights * frequency).sum())
    total = -model._negative_log_likelihood_ * float(weights.sum()) - scale
    return {"parameters": dict(model.params_), "log_likelihood": float(total)}


if __name__ == "__main__":
    run(
        {
            "lifetimes_rfm": lifetimes_rfm,
            "pymc_marketing_rfm": pymc_marketing_rfm,
            "fit": fit,
            "fit_grouped": fit_grouped,
            "fit_cdnow": fit_cdnow,
            "value": value,
            "main_job": main_job,
            "about": about,
        }
    )
