"""Posteriors of simulated bases are calibrated; and the test of that sees those that are not."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from simulation_based_calibration import (
    DRAWS,
    ESTIMATORS,
    FAMILY_WISE,
    METHODS,
    REPLICATIONS,
    TESTS,
    Method,
    p_values,
    ranks,
)

LEVEL = FAMILY_WISE / TESTS


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS[::-1])
@pytest.mark.parametrize("title", ESTIMATORS)
def test_ranks_of_the_truth_are_uniform(title: str, method: Method) -> None:
    ranked = ranks(title, method)
    # Else this would not be a study of Laplace.
    assert (ranked["fitted"] == method).mean() > 0.95
    p = p_values(ranked)
    assert (p > LEVEL).all(axis=None), p


@pytest.mark.parametrize(
    ("shift", "width", "calibrated"), [(0, 1, True), (0.7, 1, False), (0, 0.6, False)]
)
def test_the_study_would_see_posteriors_that_are_wrong(
    shift: float, width: float, calibrated: bool
) -> None:
    """Normal posteriors: right; off by 0.7 of their standard deviation; 40 % too narrow."""
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(REPLICATIONS, 1))
    draws = shift + width * rng.normal(size=(REPLICATIONS, DRAWS))
    p = p_values(pd.DataFrame({"theta": (draws < truth).sum(axis=1)}))
    assert bool((p > LEVEL).all(axis=None)) == calibrated
