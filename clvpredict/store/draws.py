"""Draws of parameters on disk: a Parquet file beside ``model.json``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clvpredict.inference.result import Sample, Sampling

_CHAIN, _DRAW = "chain", "draw"


def draws_file(part: str) -> str:
    """Name of the file of a part's draws."""
    return f"{part}-draws.parquet"


def write_draws(sample: Sample, names: tuple[str, ...], path: Path) -> str:
    """Write draws and the sampler's statistics, a row per draw; returns the file's SHA-256."""
    chains, draws, _ = sample.draws.shape
    columns = {
        _CHAIN: np.repeat(np.arange(chains, dtype=np.int32), draws),
        _DRAW: np.tile(np.arange(draws, dtype=np.int32), chains),
        **{n: sample.draws[:, :, i].ravel() for i, n in enumerate(names)},
        **{f"stat:{n}": values.ravel() for n, values in sample.stats.items()},
    }
    pq.write_table(pa.table(columns), path)
    return _hash(path)


def read_draws(path: Path, names: tuple[str, ...], how: Sampling, sha256: str) -> Sample:
    """Read what :func:`write_draws` wrote.

    Raises
    ------
    ValueError
        Saying why, if it is not there or not what the model was saved with.
    """
    if not path.is_file():
        raise ValueError(f"its draws are missing ({path.name})")
    if _hash(path) != sha256:
        raise ValueError(f"its draws ({path.name}) are not those it was saved with")
    table = pq.read_table(path)
    shape = (how.chains, how.draws)
    columns = {n: table.column(n).to_numpy() for n in table.column_names}
    draws = np.stack([columns[n].reshape(shape) for n in names], axis=-1)
    stats = {
        n.removeprefix("stat:"): v.reshape(shape)
        for n, v in columns.items()
        if n.startswith("stat:")
    }
    return Sample(draws, stats, how)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
