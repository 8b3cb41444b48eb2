"""A backtest of 12 cells on CDNOW's master: `python -m benchmarks.grid PEERS_PYTHON`."""

from __future__ import annotations

import sys

from benchmarks.contest import Contest
from benchmarks.report import Account, Page, Target
from benchmarks.ring import LIFETIMES, OURS, Ring, hold, size_asked, wall

_LAPLACE = "clvpredict, Laplace, purchases and value"
_MAE_AGREES = 2e-3


def play(ring: Ring, account: Account) -> None:
    """Six cut dates, two models, 13 weeks ahead; whole processes, imports and all."""
    contest = Contest(
        "12 cells on CDNOW's master (23,570 customers), a fresh process",
        [
            ring.ours("points", whole=True),
            ring.peer("points", whole=True),
            ring.ours("laplace", _LAPLACE, whole=True),
        ],
        rounds=3,
        warm_up=True,
    )
    account.play(contest)
    seconds = contest.middle(_LAPLACE, wall)
    account.target(Target("12 cells with Laplace, value too: seconds", seconds, at_most=120))
    faster = contest.ratios(LIFETIMES, wall)[0]
    account.target(Target(f"12 cells: times faster than {LIFETIMES}", faster, at_least=1))
    difference = ring.differences(OURS, LIFETIMES)["mae"]
    account.agree("mean absolute error of every cell", difference, _MAE_AGREES)
    account.note(
        "lifetimes' cells have point predictions and their mean absolute error; ours have every "
        "metric of `summary()`, baselines included; those with Laplace also value, by draws."
    )


PAGE = Page(
    "bench-grid",
    """## Backtests

Written by `make bench-grid` on {date}; do not edit. Machine: {machine}. Load average while it ran:
{loads}.

- Ours: {ours}.
- Peer: {peers}. It has no backtest; the grid is a loop over its functions.

{targets}

{runs}

{agreements}

{notes}
""",
)


def main() -> int:
    """Run it; returns the number of results that do not agree."""
    ring = Ring(size_asked(), sys.argv[1], "_grid")
    return hold(ring, ["cdnow_master.parquet"], [play], PAGE)


if __name__ == "__main__":
    sys.exit(main())
