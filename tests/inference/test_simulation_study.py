"""500 simulated customer bases: every fit ends honestly, and intervals hold their level."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from simulation_study import BASES, coverage, endings, study


@pytest.mark.slow
def test_fits_converge_or_say_not_and_intervals_cover() -> None:
    results = study(BASES)
    ends = endings(results)
    assert set(ends.columns) <= {"converged", "unidentified"}
    assert ends.sum().sum() == 2 * BASES
    assert ends["converged"].sum() / (2 * BASES) > 0.9
    converged = results[results["status"] == "converged"]
    assert 0.93 <= converged["covered"].mean() <= 0.97
    # Per parameter some 250 fits: binomial noise of 1.4 points on top.
    table = coverage(results)
    assert table["coverage"].between(0.95 - 0.05, 0.95 + 0.045).all(), table
