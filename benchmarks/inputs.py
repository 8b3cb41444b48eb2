"""The inputs, made once with fixed seeds: `python -m benchmarks.inputs SIZE FOLDER NAME...`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

import clvpredict as clv
from benchmarks.scenario import BASE, CDNOW_END, DAYS, END, PURCHASES, SIZES, SPEND, Size


def transaction_log(size: Size) -> pd.DataFrame:
    """Every customer once and the rest by uneven rates; whole days, cents, in order of dates."""
    rng = np.random.default_rng(1)
    first_day = rng.integers(0, DAYS, size.log_customers)
    rate = rng.gamma(0.8, size=size.log_customers)
    more = size.transactions - size.log_customers
    extra = rng.choice(size.log_customers, more, p=rate / rate.sum())
    customer = np.concatenate([np.arange(size.log_customers), extra])
    later = rng.integers(0, DAYS - first_day[extra])
    day = np.concatenate([first_day, first_day[extra] + later])
    level = rng.lognormal(3.0, 0.7, size.log_customers)
    amount = np.round(level[customer] * rng.lognormal(0.0, 0.4, size.transactions), 2)
    order = np.argsort(day, kind="stable")
    start = pd.Timestamp(END) - pd.Timedelta(days=DAYS - 1)
    date = (start.as_unit("us") + pd.to_timedelta(np.arange(DAYS), "D")).to_numpy()[day[order]]
    return pd.DataFrame(
        {
            "customer_id": customer[order] + 1,
            "date": date,
            "amount": np.maximum(amount[order], 0.01),
        }
    )


def simulated_base(customers: int) -> pd.DataFrame:
    """Summarise a simulated base by whole days; customers joined over the two years."""
    model = clv.CLVModel(
        clv.BGNBD.from_params(**PURCHASES, time_unit="D"), clv.GammaGamma.from_params(**SPEND)
    )
    age = np.random.default_rng(2).integers(0, DAYS, customers)
    base = model.simulate(customers, age, seed=3, observation_end=END)
    return clv.rfm_summary(base.transactions, observation_end=END, time_unit="D")


def part_of_base(customers: int, largest: int, folder: Path) -> pd.DataFrame:
    """The first customers of the largest base, which joined in no order."""
    if customers == largest:
        return simulated_base(customers)
    return pd.read_parquet(folder / BASE.format(largest)).head(customers)


def main(size: Size, folder: Path, names: list[str]) -> None:
    """Write what is not there yet of the files named."""
    folder.mkdir(parents=True, exist_ok=True)
    makers = {
        "transactions.parquet": lambda: transaction_log(size),
        "base.parquet": lambda: simulated_base(size.base_customers),
        "cdnow_master.parquet": lambda: clv.load_cdnow(full=True),
        "cdnow.parquet": lambda: clv.rfm_summary(
            clv.load_cdnow(), observation_end=CDNOW_END, time_unit="W"
        ),
    } | {BASE.format(n): partial(part_of_base, n, size.bases[0], folder) for n in size.bases}
    for name in names:
        file = folder / name
        if not file.exists():
            partly = file.with_suffix(".partial")
            makers[name]().to_parquet(partly, index=False)
            partly.rename(file)
    clv.load_cdnow().to_csv(folder / "cdnow.csv", index=False)


if __name__ == "__main__":
    main(SIZES[sys.argv[1]], Path(sys.argv[2]), sys.argv[3:])
