"""A small shop and its job, for tests of whole runs."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from clvpredict.refit import Config, RunRecord, Store, load_config, refit

BASE = """
[job]
name = "shop"
store = "store"
[source]
path = "orders/*.csv"
[model]
candidates = ["mbg/nbd"]
method = "mle"
[predict]
horizons = ["13W"]
draws = 50
[gate]
horizon = "8W"
vintages = 2
[[outputs]]
path = "out/predictions.csv"
"""


@dataclass
class Job:
    """The folder of a job, whose deliveries are one CSV a month."""

    folder: Path
    orders: pd.DataFrame

    def deliver(self, until: str, **changed: pd.DataFrame) -> None:
        """Put the files of all months up to one in place; some of them changed."""
        folder = self.folder / "orders"
        folder.mkdir(exist_ok=True)
        for month, rows in self.orders.groupby(self.orders["date"].dt.strftime("%Y-%m")):
            if str(month) <= until:
                changed.get(str(month), rows).to_csv(folder / f"{month}.csv", index=False)

    def config(self, more: str = "", *changes: tuple[str, str]) -> Config:
        """The configuration, with more tables at its end and some of its lines changed."""
        text = BASE + textwrap.dedent(more)
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        path = self.folder / "shop.toml"
        path.write_text(text, encoding="utf-8")
        return load_config(path)

    def run(self, more: str = "", *changes: tuple[str, str], **options: Any) -> RunRecord:
        return refit(self.config(more, *changes), **options)

    @property
    def store(self) -> Store:
        return Store.at(self.folder / "store")

    @property
    def csv(self) -> Path:
        return self.folder / "out" / "predictions.csv"

    def published(self) -> Path:
        """The predictions of what is published, as the store has them."""
        latest = self.store.latest()
        assert latest is not None
        return self.store.version(latest.version).file("predictions.parquet")


def small(cdnow: pd.DataFrame, customers: int = 300) -> pd.DataFrame:
    """Every seventh or so of the customers."""
    ids = cdnow["customer_id"].unique()
    kept = ids[:: max(len(ids) // customers, 1)]
    rows = cdnow[cdnow["customer_id"].isin(kept)]
    return rows.assign(date=pd.to_datetime(rows["date"]))[["customer_id", "date", "amount"]]
