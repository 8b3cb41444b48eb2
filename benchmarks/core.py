"""The main job beside its peers: `python -m benchmarks.core PEERS_PYTHON [--small]`."""

from __future__ import annotations

import sys

from benchmarks.contest import PYTHON, Contest, Contestant, Run
from benchmarks.report import Account, Page, Target
from benchmarks.ring import LIFETIMES, OURS, PYMC, Ring, hold, peak, size_asked, wall

GROUPED = "lifetimes, rows grouped by hand"
AS_LIFETIMES = "clvpredict, discounting as lifetimes"


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
        ratio = contest.ratios(peer, wall)[0]
        alone = contest.middle(peer, _task_alone) / contest.middle(OURS, wall)
        account.note(
            f"RFM: {peer} read the file in "
            f"{contest.middle(peer, lambda run: run.stages['read']):.1f} s, which counts, as ours "
            f"reads it too; against its summary alone the ratio is {alone:.1f}."
        )
        account.target(Target(f"RFM summary: times faster than {peer}", ratio, at_least=5))
        share = 1 / contest.ratios(peer, peak)[0]
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
        ratio = contest.ratios(LIFETIMES, wall)[0]
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
        ratio = contest.ratios(LIFETIMES, wall, ours)[0]
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
        account.target(Target(f"{what}: seconds", contest.middle(OURS, wall), at_most=limit))


PAGE = Page(
    "bench-core",
    """# Benchmarks

Written by `make bench-core` on {date}; do not edit. Machine: {machine}. Load average while it ran:
{loads}; above {cores}, other work had part of the machine, which costs two threads more than one.

- Ours: {ours}.
- Peers, in an environment of their own (`benchmarks/peers.txt`): {peers}.
  pandas 2, because lifetimes, archived, partly breaks on pandas 3.

## Targets

{targets}

## Measurements

Medians, with the range over rounds. Contestants take turns, each in a process of its own; ratios
of a round compare neighbours in time, so noise of the machine hits both. Seconds are of the task
alone, on inputs that were made before: imports are left out and, except in the RFM task, so is
reading the input. Peak memory is that of the whole process. CPU seconds add up over threads: ours
may use two, lifetimes uses one.

{runs}

## Do the results agree?

{agreements}

## Notes

{notes}

## Run them yourself

`make bench-core` (a quarter of an hour; the first time it also makes `.venv-peers`), or
`bash benchmarks/run.sh core --small` for a tenth of the data. Inputs are simulated with fixed seeds
into `benchmarks/data/`; what is measured is in `benchmarks/ours.py` and `benchmarks/peers.py`.
""",
)


def main() -> int:
    """Run every contest; returns the number of results that do not agree."""
    ring = Ring(size_asked(), sys.argv[1])
    inputs = [f"{name}.parquet" for name in ("transactions", "base", "cdnow")]
    plays = (play_start, play_rfm, play_fit, play_value)
    return hold(ring, inputs, plays, PAGE)


if __name__ == "__main__":
    sys.exit(main())
