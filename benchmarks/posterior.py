"""Draws of either package in one format, and what they say by the same code.

`python -m benchmarks.posterior FILE` prints mean, sd, their Monte Carlo errors and effective
sample size by parameter, as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

Draws = npt.NDArray[np.float64]


def write_draws(draws: Mapping[str, Draws], file: Path) -> None:
    """Write draws of shape (chains, draws) by parameter."""
    chains, length = next(iter(draws.values())).shape
    chain = np.repeat(np.arange(chains), length)
    columns = {name: values.ravel() for name, values in draws.items()}
    pd.DataFrame({"chain": chain} | columns).to_parquet(file, index=False)


def read_draws(file: Path) -> dict[str, Draws]:
    """Draws of shape (chains, draws) by parameter."""
    table = pd.read_parquet(file)
    chains = table.pop("chain").nunique()
    return {name: table[name].to_numpy().reshape(chains, -1) for name in table.columns}


def summarise(draws: Mapping[str, Draws]) -> dict[str, dict[str, float]]:
    """Mean, sd, their Monte Carlo errors and the bulk effective sample size, by parameter."""
    from arviz_stats.base import array_stats

    axes = {"chain_axis": 0, "draw_axis": 1}
    return {
        name: {
            "mean": float(values.mean()),
            "sd": float(values.std(ddof=1)),
            "mcse_mean": float(array_stats.mcse(values, **axes, method="mean")),
            "mcse_sd": float(array_stats.mcse(values, **axes, method="sd")),
            "ess_bulk": float(array_stats.ess(values, **axes, method="bulk")),
        }
        for name, values in draws.items()
    }


if __name__ == "__main__":
    print(json.dumps(summarise(read_draws(Path(sys.argv[1])))))
