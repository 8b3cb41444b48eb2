"""Backtests as clvpredict does them: `python -m benchmarks.ours_grid TASK DATA OUT`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import clvpredict as clv
from benchmarks.measure import Facts, Stopwatch, run, versions
from benchmarks.scenario import CUT_HORIZON_WEEKS, CUTS

_HORIZON = f"{CUT_HORIZON_WEEKS}W"


def points(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """Purchases by maximum likelihood: every metric that needs no amounts."""
    return _grid(data, [clv.BGNBD(), clv.MBGNBD()], "mle", out)


def laplace(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """Purchases and value by Laplace: every metric there is."""
    models = [clv.CLVModel(clv.BGNBD()), clv.CLVModel(clv.MBGNBD())]
    return _grid(data, models, "laplace", out)


def _grid(data: Path, models: list[clv.BGNBD], method: str, out: Path) -> Facts:
    log = pd.read_parquet(data / "cdnow_master.parquet")
    results = clv.backtest(
        log, models, cut_dates=list(CUTS), horizons=[_HORIZON], fit={"method": method}
    )
    table = results.table[results.table["model"].isin(results.models)]
    cell = table["cut_date"].dt.strftime("%Y-%m-%d ") + table["model"]
    pd.DataFrame({"cell": cell, "mae": table["mae"]}).to_parquet(out, index=False)
    return {"cells": len(table)}


def about(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """Which versions."""
    return {"clvpredict": clv.__version__} | versions("numpy", "pandas", "scipy", "duckdb")


if __name__ == "__main__":
    run({"points": points, "laplace": laplace, "about": about})
