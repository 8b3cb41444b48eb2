"""Ctrl-C while a posterior is sampled, in a process of its own; run by test_nuts.py."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import warnings

import numpy as np
import numpy.typing as npt

import clvpredict as clv
from clvpredict.inference import nuts

warnings.simplefilter("ignore")
# Evaluations of the density: past tuning, far from the end.
AFTER = 4000
_log_density = nuts._Whitened.log_density
calls = 0


def interrupting(
    self: nuts._Whitened, z: npt.NDArray[np.float64]
) -> tuple[float, npt.NDArray[np.float64]]:
    global calls
    calls += 1
    if calls == AFTER:
        os.kill(os.getpid(), signal.SIGINT)
    return _log_density(self, z)


def interrupt_soon() -> None:
    global calls
    calls = 0
    nuts._Whitened.log_density = interrupting  # type: ignore[method-assign]


def unchanged(model: clv.BGNBD, before: dict[str, object]) -> bool:
    return all(vars(model)[name] is value for name, value in before.items())


def main(customers: int) -> dict[str, object]:
    truth = clv.BGNBD.from_params(r=0.5, alpha=6.0, a=0.8, b=2.5, time_unit="W")
    weeks = np.random.default_rng(0).uniform(20, 60, customers)
    rfm = truth.simulate(customers, weeks, 1).rfm
    model = clv.BGNBD().fit(rfm)
    before = dict(vars(model))
    out: dict[str, object] = {}
    # So many that they take minutes.
    long = {"method": "nuts", "draws": 300_000, "tune": 100, "chains": 2}
    began = time.perf_counter()
    interrupt_soon()
    try:
        model.fit(rfm, **long)
    except KeyboardInterrupt:
        out["dropped"] = unchanged(model, before)
    both = clv.CLVModel(model, clv.GammaGamma())
    interrupt_soon()
    try:
        both.fit(rfm.assign(monetary_value=np.where(rfm["frequency"] > 0, rfm["T"], 0)), **long)
    except KeyboardInterrupt:
        out["both_dropped"] = unchanged(model, before) and both.spend._result is None
    interrupt_soon()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(rfm, keep_partial=True, **long)
    out["kept"] = list(model.result_.sample.draws.shape)
    out["finite"] = bool(np.isfinite(model.result_.sample.draws).all())
    out["stats"] = sorted({v.shape for v in model.result_.sample.stats.values()})
    out["said"] = [f"{w.category.__name__}: {w.message}" for w in caught]
    out["seconds"] = time.perf_counter() - began
    nuts._Whitened.log_density = _log_density  # type: ignore[method-assign]
    again = model.fit(rfm, method="nuts", draws=100, tune=100, chains=2)
    out["again"] = again.result_.sample.draws.shape[1]
    return out


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
