"""How NUTS samples; apart from :mod:`clvpredict.inference.nuts`, which loads PyMC."""

from __future__ import annotations

from dataclasses import dataclass

from clvpredict.options import Sampler


@dataclass(frozen=True)
class NutsOptions:
    """How to sample.

    Parameters
    ----------
    draws, tune, chains : int
        Of each chain: draws kept, and spent on tuning before; number of chains.
    cores : int or None
        Chains at a time; by default as many as there are cores.
    seed : int
        Equal seeds give equal draws.
    progress : bool
        Show a progress bar.
    sampler : {"nutpie", "pymc"}
        PyMC's own is slower; it is there to check by.
    target_accept : float
        Between 0 and 1: larger means smaller steps, against divergences.
    keep_partial : bool
        After a keyboard interrupt, go on with the draws there are.
    """

    draws: int = 1000
    tune: int = 1000
    chains: int = 4
    cores: int | None = None
    seed: int = 0
    progress: bool = False
    sampler: Sampler = "nutpie"
    target_accept: float = 0.9
    keep_partial: bool = False
