"""Where contests take place, and what all benchmarks begin and end with."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contest import PYTHON, Contestant, Run, ask, module
from benchmarks.report import Account, Page, publish
from benchmarks.scenario import SIZES, Size

HERE = Path(__file__).parent
OURS = "clvpredict"
LIFETIMES = "lifetimes"
PYMC = "pymc-marketing"


@dataclass(frozen=True)
class Ring:
    """Where contests take place.

    Parameters
    ----------
    size : Size
        Of the inputs.
    peers_python : str
        Python of the peers' environment.
    suffix : str
        Of the modules that have the tasks, after ``ours`` and ``peers``.
    """

    size: Size
    peers_python: str
    suffix: str = ""

    @property
    def data(self) -> Path:
        """The folder of the inputs."""
        return HERE / "data" / self.size.name

    @property
    def out(self) -> Path:
        """The folder of the results."""
        return HERE / "out"

    def ours(
        self,
        task: str,
        name: str = OURS,
        file: str = "",
        *,
        whole: bool = False,
        **options: object,
    ) -> Contestant:
        """Ourselves at a task, on the inputs or one file of them."""
        command = self._command(PYTHON, "ours", task, name, file, options)
        return Contestant(name, command, whole=whole)

    def peer(
        self,
        task: str,
        name: str = LIFETIMES,
        file: str = "",
        *,
        whole: bool = False,
        **options: object,
    ) -> Contestant:
        """Another package at a task, on the inputs or one file of them."""
        command = self._command(self.peers_python, "peers", task, name, file, options)
        return Contestant(name, command, whole=whole)

    def _command(
        self, python: str, who: str, task: str, name: str, file: str, options: dict[str, object]
    ) -> tuple[str, ...]:
        rest = (f"{key}={value}" for key, value in options.items())
        return module(python, who + self.suffix, task, self.data / file, self.result(name), *rest)

    def result(self, name: str) -> Path:
        """Where a contestant leaves its table."""
        return self.out / f"{name.replace(', ', '-').replace(' ', '-')}.parquet"

    def differences(self, ours: str, peer: str) -> dict[str, float]:
        """Largest relative differences of two contestants' tables, by column."""
        answer: dict[str, float] = ask(
            *module(PYTHON, "agree", self.result(ours), self.result(peer))
        )
        return answer


def wall(run: Run) -> float:
    """Seconds of a run."""
    return run.wall


def peak(run: Run) -> float:
    """Peak memory of a run."""
    return run.peak_mib


def prepare(ring: Ring, inputs: Iterable[str]) -> None:
    """Make the inputs that are not there yet."""
    ring.out.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = str(HERE.parent)
    making = module(PYTHON, "inputs", ring.size.name, ring.data, *inputs)
    Contestant("inputs", making, reports=False).run()


def hold(
    ring: Ring,
    inputs: Iterable[str],
    plays: Iterable[Callable[[Ring, Account], None]],
    page: Page,
) -> int:
    """Make the inputs, play, publish; returns the number of results that do not agree.

    Parameters
    ----------
    inputs : iterable of str
        The files that are needed.
    plays : iterable of callable
        The contests.
    page : Page
        What is written around them.
    """
    account = Account()
    account.say(f"Making the inputs ({ring.size.name}) where they are not there yet ...")
    prepare(ring, inputs)
    for play in plays:
        play(ring, account)
    about = [contestant.run().facts for contestant in (ring.ours("about"), ring.peer("about"))]
    small = ring.out / "benchmarks-small.md"
    file = small if "--small" in sys.argv else HERE.parent / "docs/benchmarks.md"
    return publish(account, about[0], about[1], page, file)


def size_asked() -> Size:
    """The size that the command line asks for."""
    return SIZES["small" if "--small" in sys.argv else "full"]
