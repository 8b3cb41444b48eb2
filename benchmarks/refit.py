"""A scheduled refit of a large shop, as a process of its own: `python -m benchmarks.refit [N]`.

There is no peer: no other package has such a job. Prints a table for docs/benchmarks.md.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

import clvpredict as clv

FOLDER = Path("benchmarks/data/refit")
END = "2025-12-31"
DAYS = 730
# More than ten transactions a customer, without the last month too.
PURCHASES = {"r": 1.3, "alpha": 5.0, "a": 0.3, "b": 6.0}
SPEND = {"p": 6.25, "q": 3.74, "v": 15.44}
CONFIG = """
[job]
name = "large shop"
[source]
path = "orders/*.parquet"
[model]
candidates = ["bg/nbd"]
method = "laplace"
[predict]
horizons = ["52W"]
[[outputs]]
path = "out/predictions.csv"
"""
MAIN = "from clvpredict.cli import main; main()"


def make(customers: int, folder: Path) -> int:
    """A file of transactions a month; returns how many rows there are."""
    model = clv.CLVModel(
        clv.BGNBD.from_params(**PURCHASES, time_unit="W"), clv.GammaGamma.from_params(**SPEND)
    )
    age = np.random.default_rng(1).integers(7, DAYS, customers) / 7.0
    rows = model.simulate(customers, age, seed=2, observation_end=END).transactions
    folder.mkdir(parents=True)
    for month, own in rows.groupby(rows["date"].dt.strftime("%Y-%m")):
        own.to_parquet(folder / f"{month}.parquet", index=False)
    return len(rows)


def refit(folder: Path) -> tuple[float, float, dict[str, float], str]:
    """Run the job; seconds, peak MiB, seconds of the steps, status."""
    began = time.perf_counter()
    where = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "refit", "job.toml", "--json"],
        cwd=folder,
        env=where,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    if done.returncode not in (0, 5):
        raise SystemExit(done.stderr)
    run = json.loads(done.stdout)["run"]
    # Of the largest child so far; runs grow, so it is this one's.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return seconds, peak, run["timings"], run["status"]


def main() -> None:
    customers = int(sys.argv[1]) if len(sys.argv) > 1 else 1_040_000
    shutil.rmtree(FOLDER, ignore_errors=True)
    rows = make(customers, FOLDER / "orders")
    (FOLDER / "job.toml").write_text(CONFIG)
    last = max((FOLDER / "orders").iterdir())
    aside = FOLDER / last.name
    last.rename(aside)
    found = [("first run", *refit(FOLDER))]
    aside.rename(last)
    found.append(("a month later", *refit(FOLDER)))
    found.append(("the same again", *refit(FOLDER)))
    print(f"{customers:,} customers, {rows:,} transactions; load {os.getloadavg()[0]:.1f}")
    table = pd.DataFrame([timings for *_, timings, _ in found]).fillna(0).round(1)
    table.insert(0, "run", [name for name, *_ in found])
    table["all, s"] = [round(seconds, 1) for _, seconds, *_ in found]
    table["peak, MiB"] = [round(peak) for _, _, peak, *_ in found]
    table["ended"] = [status for *_, status in found]
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
