"""Posteriors against pymc-marketing's, under the same priors, on CDNOW.

`peer_posteriors.json` says which versions made it, with which options, and how to remake it.
"""

from __future__ import annotations

import json
from pathlib import Path

import arviz as az
import numpy as np
import pandas as pd
import pymc as pm
import pytest

import clvpredict as clv

pytestmark = pytest.mark.reference

PEER = json.loads(Path(__file__).with_name("peer_posteriors.json").read_text(encoding="utf-8"))
# Two Monte Carlo estimates differ by more than this many of their combined standard errors once
# in 16,000 times.
ERRORS = 4.0


@pytest.mark.slow
@pytest.mark.parametrize("name", PEER["models"])
def test_posterior_of_the_peer(name: str, cdnow_rfm: pd.DataFrame) -> None:
    """Means and standard deviations, by NUTS."""
    peer = PEER["models"][name]
    priors = {n: pm.LogNormal.dist(mu, sigma) for n, (mu, sigma) in peer["priors"].items()}
    model = getattr(clv, name)()
    model.fit(cdnow_rfm, method="nuts", priors=priors, draws=1000, tune=1000, chains=4, seed=1)
    draws = model.idata["posterior"]
    ours = {what: az.mcse(draws, method=what) for what in ("mean", "sd")}
    estimates = {"mean": draws.mean(), "sd": draws.std(ddof=1)}
    for parameter, theirs in peer["posterior"].items():
        for what, found in estimates.items():
            bound = ERRORS * np.hypot(float(ours[what][parameter]), theirs[f"mcse_{what}"])
            difference = abs(float(found[parameter]) - theirs[what])
            assert difference < bound, f"{what} of {parameter}: {difference:.3g} > {bound:.3g}"


@pytest.mark.parametrize("name", PEER["models"])
def test_priors_of_the_peer_are_the_defaults(name: str, cdnow_rfm: pd.DataFrame) -> None:
    """What the benchmarks give the peer is what a fit without priors uses."""
    model = getattr(clv, name)().fit(cdnow_rfm, method="laplace", draws=100)
    assert model.sampling_.priors == {
        n: f"LogNormal(mu={mu:.4g}, sigma={sigma:.4g})"
        for n, (mu, sigma) in PEER["models"][name]["priors"].items()
    }
