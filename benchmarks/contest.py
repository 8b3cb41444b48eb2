"""Contests: the same task by several contestants, in turn, a process each time.

This process stays small: Linux lets a child begin with its parent's peak memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Run:
    """One process.

    Parameters
    ----------
    stages : dict of str to float
        Wall seconds by stage of the task; of the whole process where that is the task.
    cpu : float
        CPU seconds of these stages, over all threads.
    peak_mib : float
        Peak resident memory of the process.
    process : float
        Wall seconds of the process from start to end.
    facts : dict
        What it found.
    """

    stages: dict[str, float]
    cpu: float
    peak_mib: float
    process: float
    facts: dict[str, Any]

    @property
    def wall(self) -> float:
        """Seconds of all stages."""
        return sum(self.stages.values())


@dataclass(frozen=True)
class Contestant:
    """Who does the task, and how it is called.

    Parameters
    ----------
    name : str
        As shown.
    command : sequence of str
        The process.
    reports : bool
        Whether it prints JSON as :mod:`benchmarks.measure` does.
    whole : bool
        Whether the whole process is what counts, as it is where nothing is reported.
    empty_caches : bool
        Whether it finds nothing that was compiled before.
    """

    name: str
    command: Sequence[str]
    reports: bool = True
    whole: bool = False
    empty_caches: bool = False

    def run(self) -> Run:
        """Run the process once.

        Raises
        ------
        RuntimeError
            With what it wrote, if it fails.
        """
        with (
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
            tempfile.TemporaryDirectory() as nothing,
        ):
            env = os.environ | (_caches_in(nothing) if self.empty_caches else {})
            start = time.perf_counter()
            child = subprocess.Popen(self.command, stdout=out, stderr=err, env=env)
            _, status, usage = os.wait4(child.pid, 0)
            process = time.perf_counter() - start
            child.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            if child.returncode:
                raise RuntimeError(f"{self.name}: {' '.join(self.command)} failed:\n{err.read()}")
            told = json.loads(out.read()) if self.reports else {"facts": {}}
        if self.whole or not self.reports:
            cpu = usage.ru_utime + usage.ru_stime
            peak = usage.ru_maxrss / 1024
            return Run({"process": process}, cpu, peak, process, told["facts"])
        cpu = sum(told["cpu"].values())
        return Run(told["wall"], cpu, told["peak_mib"], process, told["facts"])


@dataclass
class Contest:
    """The same task by several contestants; the first is the one compared with the others.

    Parameters
    ----------
    title : str
        The task.
    contestants : sequence of Contestant
        In the order of their turns.
    rounds : int
        How often each has its turn.
    warm_up : bool
        Whether a first round does not count: files come from disk then.
    """

    title: str
    contestants: Sequence[Contestant]
    rounds: int
    warm_up: bool = False
    runs: dict[str, list[Run]] = field(default_factory=dict)

    def play(self, say: Callable[[str], object]) -> None:
        """Run all rounds."""
        for turn in range(-self.warm_up, self.rounds):
            for contestant in self.contestants:
                run = contestant.run()
                if turn >= 0:
                    self.runs.setdefault(contestant.name, []).append(run)
                    say(f"{self.title}: {contestant.name}, {run.wall:.3g} s")

    def middle(self, name: str, value: Callable[[Run], float]) -> float:
        """Median of a value over a contestant's runs."""
        return median(map(value, self.runs[name]))

    def ratios(
        self, name: str, value: Callable[[Run], float], ours: str | None = None
    ) -> tuple[float, float, float]:
        """How many times ours another's value is: of the medians; least and most by round."""
        ours = ours or self.contestants[0].name
        by_round = [
            value(b) / value(a) for a, b in zip(self.runs[ours], self.runs[name], strict=True)
        ]
        return self.middle(name, value) / self.middle(ours, value), min(by_round), max(by_round)

    def facts(self, name: str) -> dict[str, Any]:
        """What a contestant found in its last run."""
        return self.runs[name][-1].facts


def _caches_in(folder: str) -> dict[str, str]:
    """Where numba and PyTensor keep what they compiled."""
    return {
        "NUMBA_CACHE_DIR": f"{folder}/numba",
        "PYTENSOR_FLAGS": f"base_compiledir={folder}/pytensor",
    }


def module(python: str, name: str, *arguments: str | Path) -> tuple[str, ...]:
    """Command that runs a module of the benchmarks."""
    return (python, "-W", "ignore", "-m", f"benchmarks.{name}", *map(str, arguments))


def ask(*command: str) -> Any:
    """What a process prints, as JSON."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


PYTHON = sys.executable
