"""Small stores: versions of known parameters, which nothing has to be fitted for."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pandas as pd

import clvpredict as clv
from clvpredict.refit import load_config
from clvpredict.refit.config import Config
from clvpredict.refit.publish import publish
from clvpredict.refit.records import RunRecord
from clvpredict.refit.store import Store
from clvpredict.refit.versions import MODEL, PREDICTIONS, Version

HISTORIES = pd.DataFrame(
    {
        "customer_id": ["=1", "b", "c, d", "007"],
        "frequency": [0, 2, 5, 1],
        "recency": [0.0, 20.0, 36.0, 1.5],
        "T": [38.0, 39.0, 37.5, 12.0],
        "monetary_value": [0.0, 20.5, 33.25, 9.0],
    }
)


def model(scale: float = 1.0) -> clv.CLVModel:
    """The CDNOW model of the literature, with alpha times a factor."""
    return clv.CLVModel(
        clv.MBGNBD.from_params(r=0.525, alpha=6.183 * scale, a=0.891, b=1.614, time_unit="W"),
        clv.GammaGamma.from_params(p=6.25, q=3.74, v=15.45),
    )


@functools.cache
def predictions(scale: float = 1.0) -> pd.DataFrame:
    return model(scale).predict(HISTORIES, horizon="52W")


def add(
    store: Store, scale: float = 1.0, as_of: str = "2026-11-22", drop: tuple[str, ...] = ()
) -> Version:
    def build(folder: Path) -> dict[str, Any]:
        clv.save_model(model(scale), folder / MODEL)
        table = predictions(scale)
        clv.write_table(table[~table["customer_id"].isin(drop)], folder / PREDICTIONS)
        return {"as_of": as_of, "horizons": ["52W"]}

    return store.add_version(build)


def a_record(store: Store, run_id: str, **known: Any) -> RunRecord:
    known = {"status": "published", "exit_code": 0} | known
    record = RunRecord.begun("shop", run_id=run_id, **known)
    store.begin(record)
    return record


def published(
    config: Config, store: Store, run_id: str, scale: float, as_of: str = "2026-11-22"
) -> Version:
    version = add(store, scale, as_of)
    record = a_record(store, run_id, version=version.id, as_of=as_of, config_text=config.text)
    record.outputs = publish(config, store, version, run_id=run_id, as_of=as_of)
    store.save(record)
    return version


def config_at(folder: Path, *outputs: str) -> Config:
    """A configuration with these outputs, each the inside of a table of TOML."""
    outputs = outputs or ('path = "out/predictions.csv"',)
    text = '[job]\nname = "shop"\nstore = "store"\n[source]\npath = "orders.csv"\n'
    path = folder / "shop.toml"
    path.write_text(text + "".join(f"[[outputs]]\n{output}\n" for output in outputs))
    return load_config(path)


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by their path in it."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def fail(*args: object, **kwargs: object) -> None:
    raise OSError(28, "No space left on device")
