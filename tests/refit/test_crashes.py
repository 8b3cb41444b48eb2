"""Runs are killed, at every step and file operation; readers see the old or the new predictions.

The work is done by ``crash_driver.py``, in processes of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LATE = "step publish begin"
DRIVER = Path(__file__).parent / "crash_driver.py"
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a process per run")


def played(folder, *plan):
    """What came of the cases, each of which must be without problems; returns their kills."""
    alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, str(DRIVER), str(folder), json.dumps(plan)],
        env=os.environ | alone | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    outcomes = json.loads(done.stdout.splitlines()[-1])
    assert [o for o in outcomes if o["problems"]] == []
    return [kill for outcome in outcomes for kill in outcome["kills"]]


def test_twenty_kills(tmp_path):
    kills = played(
        tmp_path,
        # One run after the other dies at the next boundary of steps.
        {"kind": "boundaries", "outputs": "csv", "chain": True, "every": 3},
        # What a killed run had begun to publish is ended by one that is killed too.
        {"kind": "recovery", "outputs": "csv", "twice": True, "number": 6, "seed": 1},
        {"kind": "operations", "outputs": "csv", "since": LATE, "number": 2, "seed": 2},
    )
    assert len(kills) == 20
    assert len(set(kills)) == 20


@pytest.mark.slow
def test_kills_at_every_boundary_of_steps(tmp_path):
    kills = played(tmp_path, {"kind": "boundaries", "outputs": "all"})
    assert [k for k in kills if k.startswith("step")] == kills
    assert len(kills) == 18


@pytest.mark.slow
def test_kills_at_operations_on_files_and_databases(tmp_path):
    kills = played(
        tmp_path,
        {"kind": "operations", "outputs": "all", "since": LATE, "number": 30, "seed": 3},
        {"kind": "operations", "outputs": "all", "number": 8, "seed": 4},
        {"kind": "recovery", "outputs": "all", "number": 16, "seed": 5},
    )
    assert len(kills) == 54


@pytest.mark.slow
def test_kills_of_the_first_run(tmp_path):
    kills = played(
        tmp_path,
        {"kind": "operations", "outputs": "csv", "first": True, "number": 16, "seed": 6},
    )
    assert len(kills) == 16


@pytest.mark.slow
def test_kills_at_any_time(tmp_path):
    kills = played(tmp_path, {"kind": "moments", "outputs": "all", "number": 22, "seed": 7})
    assert len([k for k in kills if k.startswith("killed")]) >= 20


@pytest.mark.slow
def test_kills_of_rollbacks(tmp_path):
    kills = played(tmp_path, {"kind": "rollbacks", "outputs": "all", "number": 24, "seed": 8})
    assert len(kills) == 24


@pytest.mark.slow
def test_runs_at_once(tmp_path):
    played(
        tmp_path,
        {
            "kind": "together",
            "outputs": "csv",
            "number": 2,
            "codes": [0, 6],
            "statuses": {"published": 2, "failed": 1},
        },
        {
            "kind": "together",
            "outputs": "csv",
            "number": 4,
            "wait": 100,
            "codes": [0, 0, 0, 0],
            "statuses": {"published": 2, "unchanged": 3},
        },
    )
