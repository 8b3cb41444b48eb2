"""What every measured process does, in our environment and the peers' alike: one task, timed.

Standard library only. A task loads its inputs, imports what it needs, then times stages; the
process prints one line of JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

Facts = dict[str, Any]


class Stopwatch:
    """Wall and CPU seconds by stage, and the process's peak memory when the last one ended."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}
        self.peak_mib = 0.0

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start, start_cpu = time.perf_counter(), time.process_time()
        yield
        self.wall[stage] = time.perf_counter() - start
        self.cpu[stage] = time.process_time() - start_cpu
        # Checks of the results, later, do not count.
        self.peak_mib = peak_mib()

    def repeat(self, stage: str, call: Callable[[], object], times: int) -> None:
        """Time many calls after a warm-up; their medians count."""
        call()
        taken = []
        for _ in range(times):
            with self(stage):
                call()
            taken.append((self.wall[stage], self.cpu[stage]))
        self.wall[stage], self.cpu[stage] = map(median, zip(*taken, strict=True))


Task = Callable[..., Facts]


def peak_mib() -> float:
    """Peak resident memory of this process so far; Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def versions(*packages: str) -> dict[str, str]:
    """Versions of the packages that an environment has."""
    return {package: version(package) for package in packages}


def run(tasks: Mapping[str, Task]) -> None:
    """Run the task that the command line names: TASK DATA OUT [OPTION=VALUE ...].

    A task is called with a stopwatch, where its input lies, where its result goes, and options.
    """
    name, data, out, *rest = sys.argv[1:]
    pairs = (option.split("=", 1) for option in rest)
    options = {key: int(value) if value.isdigit() else value for key, value in pairs}
    watch = Stopwatch()
    facts = tasks[name](watch, Path(data), Path(out), **options)
    print(json.dumps({**vars(watch), "facts": facts}))
