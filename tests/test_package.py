"""The package as a whole: light to import, documented by examples that run."""

from __future__ import annotations

import doctest
import importlib
import json
import pkgutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import clvpredict as clv

MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(clv.__path__, "clvpredict.")
    if not info.name.endswith("__main__")
)


def test_public_names_exist_and_are_documented() -> None:
    for name in clv.__all__:
        assert (getattr(clv, name).__doc__ or "").strip(), name
    assert set(clv.__all__) <= set(dir(clv))
    with pytest.raises(AttributeError, match="no attribute 'BGNBDD'"):
        _ = clv.BGNBDD  # type: ignore[attr-defined]


def test_import_loads_nothing_heavy() -> None:
    code = "import sys, json, clvpredict; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    heavy = {"pandas", "scipy", "ibis", "duckdb", "matplotlib", "numba", "pymc", "arviz", "pyspark"}
    assert not loaded & heavy


def test_fitting_loads_no_sampler_and_no_plots() -> None:
    code = (
        "import sys, json, clvpredict as clv; "
        "rfm = clv.rfm_summary(clv.load_cdnow(), time_unit='W'); "
        "clv.CLVModel(clv.MBGNBD(), clv.GammaGamma()).fit(rfm).predict(rfm, horizon='1Y'); "
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"matplotlib", "numba", "pymc", "arviz", "pyspark", "pytensor", "nutpie"}


# Their examples fit and predict, each for seconds: run by `make slow`.
_LONG = tuple(
    f"clvpredict.{layer}"
    for layer in ("business", "estimators", "evaluate", "inference", "plots", "store")
)


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name.startswith(_LONG) else [])
        for name in MODULES
    ],
)
def test_examples_in_docstrings_run(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # some examples write files
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = doctest.testmod(
            importlib.import_module(module),
            optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
        )
    assert results.failed == 0
