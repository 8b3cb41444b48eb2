"""The tasks as clvpredict does them: `python -m benchmarks.ours TASK DATA OUT`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

import clvpredict as clv
from benchmarks.measure import Facts, Stopwatch, run, versions
from benchmarks.scenario import (
    ANNUAL_RATE,
    CDNOW_FITS,
    END,
    MONTHS,
    PURCHASES,
    SPEND,
)

_PURCHASES, _MODEL = clv.BGNBD, clv.CLVModel  # loads SciPy and the rest


def rfm(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """From a Parquet file to one row per customer."""
    # The engine is loaded on first use; imports are not what is timed.
    clv.rfm_summary(pd.DataFrame({"customer_id": [1], "date": ["2024-01-01"], "amount": [1.0]}))
    with watch("task"):
        summary = clv.rfm_summary(data / "transactions.parquet", observation_end=END)
    summary.to_parquet(out, index=False)
    return {"customers": len(summary)}


def fit(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """BG/NBD on the base: checks, compression, several starts, standard errors."""
    summary = pd.read_parquet(data / "base.parquet")
    with watch("task"):
        model = clv.BGNBD().fit(summary)
    return _fitted(model) | {"histories": model.result_.n_rows}


def fit_cdnow(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """BG/NBD on CDNOW, again and again."""
    summary = pd.read_parquet(data / "cdnow.parquet")
    watch.repeat("task", lambda: clv.BGNBD().fit(summary), CDNOW_FITS)
    return _fitted(clv.BGNBD().fit(summary))


def value(discounting: str, watch: Stopwatch, data: Path, out: Path) -> Facts:
    """CLV of every customer, with P(alive) and all else that predict returns."""
    summary = pd.read_parquet(data / "base.parquet")
    model = clv.CLVModel(
        clv.BGNBD.from_params(**PURCHASES, time_unit="D"), clv.GammaGamma.from_params(**SPEND)
    )
    options: dict[str, Any] = {"discount_rate": ANNUAL_RATE, "discounting": discounting}
    with watch("task"):
        table = model.predict(summary, horizon=f"{MONTHS}M", **options)
    table[["customer_id", "clv"]].to_parquet(out, index=False)
    return {"total": float(table["clv"].sum())}


def about(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """Which versions."""
    return {"clvpredict": clv.__version__} | versions("numpy", "pandas", "scipy", "duckdb")


def _fitted(model: clv.BGNBD) -> Facts:
    return {"parameters": model.params_, "log_likelihood": model.log_likelihood_}


if __name__ == "__main__":
    run(
        {
            "rfm": rfm,
            "fit": fit,
            "fit_cdnow": fit_cdnow,
            "value_continuous": partial(value, "continuous"),
            "value_lifetimes": partial(value, "lifetimes"),
            "about": about,
        }
    )
