"""Whether draws can be trusted, and what to do where they cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from clvpredict.errors import ConvergenceError, SamplingWarning, notify
from clvpredict.inference.psis import MAX_K_HAT
from clvpredict.inference.result import FitResult, Sampling
from clvpredict.rfm import Array

# The usual limits: Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), Bayesian Analysis 16(2);
# Betancourt (2017) for BFMI.
MAX_R_HAT = 1.01
MIN_ESS_PER_CHAIN = 100
MIN_BFMI = 0.3


def check_chains(
    how: Sampling,
    names: tuple[str, ...],
    draws: Array,
    stats: dict[str, npt.NDArray[Any]],
    *,
    complete: bool,
) -> Sampling:
    """Fill in R-hat, effective sample sizes, divergences and BFMI, and what they mean.

    Parameters
    ----------
    draws : ndarray, shape (chains, draws, k)
    stats : dict of str to ndarray, shape (chains, draws)
    complete : bool
        False if sampling was interrupted.
    """
    from arviz_stats.base import array_stats

    problems = []
    if not complete:
        problems.append(
            f"sampling was interrupted: {how.chains} x {how.draws:,} draws are kept; fit again "
            "for all"
        )
    by_name = {n: draws[:, :, i] for i, n in enumerate(names)}
    r_hat: dict[str, float] = {}
    bulk: dict[str, float] = {}
    tail: dict[str, float] = {}
    if draws.shape[1] >= 4:
        for name, column in by_name.items():
            axes = {"chain_axis": 0, "draw_axis": 1}
            bulk[name] = float(array_stats.ess(column, **axes, method="bulk"))
            tail[name] = float(array_stats.ess(column, **axes, method="tail", prob=(0.05, 0.95)))
            if len(column) > 1:
                r_hat[name] = float(array_stats.rhat(column, **axes))
    bad = {n: v for n, v in r_hat.items() if not v <= MAX_R_HAT}
    if bad:
        problems.append(
            f"chains disagree: R-hat {_list(bad, '.4f')} (should be <= {MAX_R_HAT}); sample "
            "longer, e.g. tune=2000, draws=2000, or give tighter priors"
        )
    needed = MIN_ESS_PER_CHAIN * how.chains
    few = {n: min(bulk[n], tail[n]) for n in bulk if not min(bulk[n], tail[n]) >= needed}
    if few:
        problems.append(
            f"few effective draws: {_list(few, '.0f')} (should be >= {needed}); raise draws"
        )
    divergences = int(stats["diverging"].sum()) if "diverging" in stats else None
    if divergences:
        problems.append(
            f"{divergences} of {draws.shape[0] * draws.shape[1]} transitions diverged; raise "
            "target_accept, e.g. 0.97, or give tighter priors"
        )
    bfmi = _bfmi(stats["energy"]) if "energy" in stats and draws.shape[1] > 1 else None
    if bfmi and min(bfmi) < MIN_BFMI:
        problems.append(
            f"BFMI is {min(bfmi):.2f} (should be >= {MIN_BFMI}): tails are explored badly; give "
            "tighter priors"
        )
    return replace(
        how,
        r_hat=r_hat,
        ess_bulk=bulk,
        ess_tail=tail,
        divergences=divergences,
        bfmi=bfmi,
        problems=tuple(problems),
    )


def report(title: str, result: FitResult, *, strict: bool) -> None:
    """Warn of what the checks found.

    Raises
    ------
    ConvergenceError
        Instead of the warning, if ``strict``.
    """
    if result.sample is None or not result.sample.how.problems:
        return
    message = f"{title}: " + "; ".join(result.sample.how.problems) + "."
    if strict:
        raise ConvergenceError(message)
    notify(message, SamplingWarning)


def trustworthy(result: FitResult) -> bool:
    """Whether importance sampling worked."""
    k_hat = result.sample.how.k_hat if result.sample else None
    return k_hat is not None and k_hat <= MAX_K_HAT


def _bfmi(energy: Array) -> list[float]:
    change = np.diff(energy, axis=1)
    return [float(v) for v in np.mean(change**2, axis=1) / np.var(energy, axis=1)]


def _list(values: dict[str, float], spec: str) -> str:
    return ", ".join(f"{n} {v:{spec}}" for n, v in values.items())
