"""The main job beside its peers: `python -m benchmarks.core PEERS_PYTHON [--small]`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contest import PYTHON, Contest, Contestant, Run, ask, module
from benchmarks.report import Account, Target, publish
from benchmarks.scenario import SIZES, Size

HERE = Path(__file__).parent
OURS = "clvpredict"
LIFETIMES = "lifetimes"
GROUPED = "lifetimes, rows grouped by hand"
PYMC = "pymc-marketing"
AS_LIFETIMES = "clvpredict, discounting as lifetimes"


@dataclass(frozen=True)
class Ring:
    """Where contests take place.

    Parameters
    ----------
    size : Size
        Of the inputs.
    peers_python : str
        Python of the peers' environment.
    """

    size: Size
    peers_python: str

    @property
    def data(self) -> Path:
        return HERE / "data" / self.size.name

    @property
    def out(self) -> Path:
        return HERE / "out"

    def ours(self, task: str, name: str = OURS) -> Contestant:
        """Ourselves at a task."""
        return Contestant(name, module(PYTHON, "ours", task, self.data, self.result(name)))

    def peer(self, task: str, name: str = LIFETIMES) -> Contestant:
        """Another package at a task."""
        command = module(self.peers_python, "peers", task, self.data, self.result(name))
        return Contestant(name, command)

    def result(self, name: str) -> Path:
        """Where a contestant leaves its table."""
        return self.out / f"{name.replace(', ', '-').replace(' ', '-')}.parquet"

    def differences(self, ours: str, peer: str) -> dict[str, float]:
        """Largest relative differences of two contestants' tables, by column."""
        answer: dict[str, float] = ask(
            *module(PYTHON, "agree", self.result(ours), self.result(peer))
        )
        return answer


def _wall(run: Run) -> float:
    return run.wall


def _peak(run: Run) -> float:
    return run.peak_mib


def _task_alone(run: Run) -> float:
    return run.stages["task"]


def play_rfm(ring: Ring, account: Account) -> None:
    """Transactions in Parquet to one row per customer."""
    size = ring.size
    contest = Contest(
        f"RFM summary of {size.transactions:,} transactions, {size.log_customers:,} customers",
        [
            ring.ours("rfm"),
            ring.peer("lifetimes_rfm"),
            ring.peer("pymc_marketing_rfm", PYMC),
        ],
        rounds=2,
    )
    account.play(contest)
    for peer in (LIFETIMES, PYMC):
        ratio = contest.ratios(peer, _wall)[0]
        alone = contest.middle(peer, _task_alone) / contest.middle(OURS, _wall)
        account.note(
            f"RFM: {peer} read the file in "
            f"{contest.middle(peer, lambda run: run.stages['read']):.1f} s, which counts, as ours "
            f"reads it too; against its summary alone the ratio is {alone:.1f}."
        )
        account.target(Target(f"RFM summary: times faster than {peer}", ratio, at_least=5))
        share = 1 / contest.ratios(peer, _peak)[0]
        account.target(
            Target(f"RFM summary: peak memory as a share of that of {peer}", share, at_most=1)
        )
        found = ring.differences(OURS, peer)
        exact = {c: found.get(c, 0.0) for c in ("customer_id", "frequency", "recency", "T")}
        account.agree(f"RFM, {peer}: ids, frequency, recency, T", max(exact.values()), 0.0)
        account.agree(f"RFM, {peer}: monetary_value", found.get("monetary_value", 0.0), 1e-12)


def play_fit(ring: Ring, account: Account) -> None:
    """BG/NBD by maximum likelihood, many customers and few."""
    large = Contest(
        f"BG/NBD fit to {ring.size.base_customers:,} simulated customers",
        [ring.ours("fit"), ring.peer("fit"), ring.peer("fit_grouped", GROUPED)],
        rounds=3,
    )
    small = Contest(
        "BG/NBD fit to CDNOW, 2,357 customers (median of 50 in a process)",
        [ring.ours("fit_cdnow"), ring.peer("fit_cdnow")],
        rounds=3,
    )
    for contest, what, limit in ((large, "BG/NBD fit", 20), (small, "BG/NBD fit to CDNOW", 1)):
        account.play(contest)
        ratio = contest.ratios(LIFETIMES, _wall)[0]
        account.target(Target(f"{what}: times faster than lifetimes", ratio, limit))
        ours, theirs = (contest.facts(name) for name in (OURS, LIFETIMES))
        a, b = ours["log_likelihood"], theirs["log_likelihood"]
        account.agree(f"{what}: log-likelihood", abs(a / b - 1), 1e-9)
        off = max(abs(v / theirs["parameters"][k] - 1) for k, v in ours["parameters"].items())
        account.agree(f"{what}: parameters", off, 1e-5)
    account.note(
        f"BG/NBD: the {ring.size.base_customers:,} customers are "
        f"{large.facts(OURS)['histories']:,} distinct histories. lifetimes' target row is its fit "
        "on the summary as it comes; the row grouped by hand uses the weights that its fit accepts."
    )


def play_value(ring: Ring, account: Account) -> None:
    """CLV over twelve months, parameters given."""
    contest = Contest(
        f"CLV of {ring.size.base_customers:,} customers over 12 months",
        [
            ring.ours("value_continuous"),
            ring.peer("value"),
            ring.ours("value_lifetimes", AS_LIFETIMES),
        ],
        rounds=3,
    )
    account.play(contest)
    for ours in (OURS, AS_LIFETIMES):
        ratio = contest.ratios(LIFETIMES, _wall, ours)[0]
        account.target(Target(f"CLV, {ours}: times faster than lifetimes", ratio, at_least=8))
    off = ring.differences(AS_LIFETIMES, LIFETIMES)
    account.agree("CLV, discounting as lifetimes: every customer", max(off.values()), 1e-8)
    account.note(
        "CLV: ours also returns P(alive), P(purchase), expected purchases and spend, and "
        "undiscounted value in the same call; lifetimes returns CLV alone."
    )


def play_start(ring: Ring, account: Account) -> None:
    """Fresh processes: imports, and the main job on CDNOW."""

    def process(name: str, *command: str) -> Contestant:
        return Contestant(name, command, reports=False)

    peers_python = ring.peers_python
    imports = Contest(
        "Import, a fresh process",
        [
            process(OURS, PYTHON, "-c", "import clvpredict"),
            process(LIFETIMES, peers_python, "-W", "ignore", "-c", "import lifetimes"),
            process(PYMC, peers_python, "-W", "ignore", "-c", "import pymc_marketing.clv"),
        ],
        rounds=3,
        warm_up=True,
    )
    log, table = ring.data / "cdnow.csv", ring.out / "predictions.csv"
    command = "from clvpredict.cli import main; main()"
    job = Contest(
        "The main job on CDNOW, CSV to CSV, a fresh process",
        [
            process(OURS, PYTHON, "-c", command, "run", str(log), "--out", str(table)),
            process(LIFETIMES, *ring.peer("main_job").command),
        ],
        rounds=3,
        warm_up=True,
    )
    for contest, what, limit in ((imports, "import clvpredict", 0.3), (job, "clvpredict run", 3.0)):
        account.play(contest)
        account.target(Target(f"{what}: seconds", contest.middle(OURS, _wall), at_most=limit))


def main() -> int:
    """Run every contest; returns the number of results that do not agree."""
    small = "--small" in sys.argv
    ring = Ring(SIZES["small" if small else "full"], sys.argv[1])
    ring.out.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = str(HERE.parent)
    account = Account()
    account.say(f"Making the inputs ({ring.size.name}) where they are not there yet ...")
    Contestant("inputs", module(PYTHON, "inputs", ring.size.name, ring.data), reports=False).run()
    for play in (play_start, play_rfm, play_fit, play_value):
        play(ring, account)
    about = [contestant.run().facts for contestant in (ring.ours("about"), ring.peer("about"))]
    file = ring.out / "benchmarks-small.md" if small else HERE.parent / "docs/benchmarks.md"
    return publish(account, about[0], about[1], file)


if __name__ == "__main__":
    sys.exit(main())
