"""Sampling inside worker processes, forked or spawned; run by test_nuts.py."""

from __future__ import annotations

import json
import multiprocessing
import sys
import warnings

import clvpredict as clv

warnings.simplefilter("ignore")


def fit(seed: int) -> dict[str, float]:
    truth = clv.BGNBD.from_params(r=0.5, alpha=6.0, a=0.8, b=2.5, time_unit="W")
    rfm = truth.simulate(300, 40.0, 1).rfm
    model = clv.BGNBD().fit(rfm, method="nuts", draws=200, tune=200, chains=2, seed=seed)
    return model.params_


def main(context: str, parent_first: bool) -> list[dict[str, float]]:
    first = [fit(1)] if parent_first else []
    with multiprocessing.get_context(context).Pool(2) as pool:
        # A worker that hangs must not hang the tests.
        return first + pool.map_async(fit, [1, 2, 1]).get(timeout=90)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2] == "parent-first")))
