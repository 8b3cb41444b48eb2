"""Draws as ArviZ knows them: an xarray DataTree."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from clvpredict.inference.result import FitResult, Sample
from clvpredict.models.base import Model
from clvpredict.rfm import Array, Compressed

_SAMPLE_DIMS = ("chain", "draw")


def to_datatree(results: dict[str, FitResult], observed: dict[str, Compressed]) -> xr.DataTree:
    """Put the draws of one or several models into one tree.

    Parameters
    ----------
    results : dict of str to FitResult
        By part, such as ``"purchases"``; their parameters have different names.
    observed : dict of str to Compressed
        The rows that were fitted on, where they are at hand.

    Returns
    -------
    DataTree
        `posterior`, `sample_stats` (where a sampler has any), `observed_data`: compressed
        rows, with the number of customers of each as `weight`.
    """
    samples = {part: result.sample for part, result in results.items() if result.sample}
    draws = min(s.draws.shape[1] for s in samples.values())
    chains = min(s.draws.shape[0] for s in samples.values())
    posterior = {
        name: (_SAMPLE_DIMS, s.draws[:chains, :draws, i])
        for part, s in samples.items()
        for i, name in enumerate(results[part].names)
    }
    groups = {"posterior": xr.Dataset(posterior, coords=_coords(chains, draws))}
    groups["posterior"].attrs = {
        "inference_library": ", ".join(sorted({s.how.sampler for s in samples.values()})),
        "sample_dims": list(_SAMPLE_DIMS),
    }
    stats = _stats(samples, chains, draws)
    if stats:
        groups["sample_stats"] = xr.Dataset(stats, coords=_coords(chains, draws))
        groups["sample_stats"].attrs = {"sample_dims": list(_SAMPLE_DIMS)}
    if observed:
        prefix = len(observed) > 1
        groups["observed_data"] = xr.Dataset(
            {
                (f"{part}_{name}" if prefix else name): (f"{part}_row", values)
                for part, data in observed.items()
                for name, values in {**data.columns, "weight": data.weight}.items()
            }
        )
    return xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})


def pointwise(model: Model, data: Compressed, sample: Sample) -> Array:
    """Log-likelihood of every row under every draw, shape (chains, draws, rows)."""
    chains, draws, _ = sample.draws.shape
    out = np.empty((chains, draws, len(data)))
    for chain in range(chains):
        for draw in range(draws):
            theta = tuple(np.asarray(v) for v in sample.draws[chain, draw])
            out[chain, draw] = model.log_likelihood(theta, data)
    return out


def with_log_likelihood(tree: xr.DataTree, name: str, values: Array, customers: Any) -> xr.DataTree:
    """Add a variable to the group `log_likelihood`: one value per draw and customer."""
    chains, draws, _ = values.shape
    coords = {**_coords(chains, draws), f"{name}_customer": np.asarray(customers)}
    dims = (*_SAMPLE_DIMS, f"{name}_customer")
    group = xr.Dataset({name: (dims, values)}, coords=coords)
    group.attrs = {"sample_dims": list(_SAMPLE_DIMS)}
    out = tree.copy()
    out["log_likelihood"] = xr.DataTree(group)
    return out


def _coords(chains: int, draws: int) -> dict[str, Any]:
    return {"chain": np.arange(chains), "draw": np.arange(draws)}


def _stats(samples: dict[str, Sample], chains: int, draws: int) -> dict[str, Any]:
    """Statistics of the sampler; of several models, by part, and divergences of any."""
    if len(samples) == 1:
        (only,) = samples.values()
        return {n: (_SAMPLE_DIMS, v) for n, v in only.stats.items()}
    out = {
        f"{name}_{part}": (_SAMPLE_DIMS, values[:chains, :draws])
        for part, s in samples.items()
        for name, values in s.stats.items()
    }
    parts = [
        s.stats["diverging"][:chains, :draws] for s in samples.values() if "diverging" in s.stats
    ]
    if parts:
        out["diverging"] = (_SAMPLE_DIMS, np.logical_or.reduce(parts))
    return out
