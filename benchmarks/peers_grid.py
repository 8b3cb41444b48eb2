"""The same grid by hand with lifetimes: `python -m benchmarks.peers_grid TASK DATA OUT`."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd

from benchmarks.measure import Facts, Stopwatch, run, versions
from benchmarks.scenario import CUT_HORIZON_WEEKS, CUTS

warnings.simplefilter("ignore")


def points(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """Fit and predict at every cut date; the mean absolute error, nothing else."""
    from lifetimes import BetaGeoFitter, ModifiedBetaGeoFitter
    from lifetimes.utils import calibration_and_holdout_data

    log = pd.read_parquet(data / "cdnow_master.parquet")
    rows = []
    for cut in CUTS:
        until = pd.Timestamp(cut) + pd.Timedelta(weeks=CUT_HORIZON_WEEKS)
        # In days: its weeks are calendar weeks, which cut dates divide.
        split = calibration_and_holdout_data(
            log, "customer_id", "date", cut, observation_period_end=until, freq="D"
        )
        history = [split[f"{c}_cal"] / u for c, u in (("frequency", 1), ("recency", 7), ("T", 7))]
        for name, fitter in (("BG/NBD", BetaGeoFitter), ("MBG/NBD", ModifiedBetaGeoFitter)):
            model = fitter(penalizer_coef=0.0).fit(*history)
            expected = model.conditional_expected_number_of_purchases_up_to_time(
                CUT_HORIZON_WEEKS, *history
            )
            error = (expected - split["frequency_holdout"]).abs().mean()
            rows.append({"cell": f"{cut} {name}", "mae": error})
    pd.DataFrame(rows).to_parquet(out, index=False)
    return {"cells": len(rows)}


def about(watch: Stopwatch, data: Path, out: Path) -> Facts:
    """Which versions."""
    return versions("lifetimes", "numpy", "pandas", "scipy")


if __name__ == "__main__":
    run({"points": points, "about": about})
