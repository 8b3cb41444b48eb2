"""The bootstrap: refits on customers drawn with replacement, as new weights of the same rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clvpredict.errors import ConvergenceError
from clvpredict.inference.mle import fit_mle, maximise
from clvpredict.inference.result import FitResult, Sample, Sampling
from clvpredict.models.base import Model
from clvpredict.rfm import Array, Compressed

# A larger share of failed replicates is worth a warning.
_MANY_FAILED = 0.05


def fit_bootstrap(
    model: Model, data: Compressed, start: Array | None, replicates: int, seed: int
) -> FitResult:
    """Fit by maximum likelihood, and again on each replicate.

    Parameters
    ----------
    replicates : int
        How many; those that find no optimum, or leave parameters open, are counted and left
        out.

    Raises
    ------
    ConvergenceError
        If the fit itself fails, or every replicate does.
    """
    result = fit_mle(model, data, start)
    rng = np.random.default_rng(seed)
    share = data.weight / data.weight.sum()
    estimates = []
    for _ in range(replicates):
        weight = rng.multinomial(result.n_customers, share)
        rows = np.flatnonzero(weight)
        replicate = data.take(rows, weight[rows].astype(np.float64))
        try:
            optimum = maximise(model, replicate, result.estimate, only_start=True)
        except ConvergenceError:
            continue
        if not optimum.convergence.unidentified:
            estimates.append(np.exp(optimum.log_theta))
    failed = replicates - len(estimates)
    if len(estimates) < 2:
        raise ConvergenceError(
            f"{model.title}: {failed} of {replicates} bootstrap replicates failed: the data are "
            "too few to resample. A prior can help: fit(rfm, method='nuts')."
        )
    problem = (
        f"{failed} of {replicates} bootstrap replicates found no optimum and are left out, so "
        "intervals are too narrow; use method='nuts'"
    )
    problems = (problem,) if failed > _MANY_FAILED * replicates else ()
    how = Sampling("bootstrap", 1, len(estimates), 0, seed, failed=failed, problems=problems)
    return replace(result, sample=Sample(np.array(estimates)[None], {}, how))
