"""Bayesian inference and intervals beside pymc-marketing.

`python -m benchmarks.bayes PEERS_PYTHON [--small] [--quick]`; with `--posteriors` it instead
writes the peer's posteriors that the tests compare with.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import hypot
from statistics import median
from typing import Any

from benchmarks.contest import PYTHON, Contest, Contestant, Run, ask, module
from benchmarks.report import Account, Page, Target
from benchmarks.ring import HERE, OURS, PYMC, Ring, hold, peak, prepare, size_asked, wall
from benchmarks.scenario import (
    BASE,
    FITTED_ON,
    HORIZON_DAYS,
    INTERVAL_DRAWS,
    PRIOR_MEDIANS,
    PRIOR_SPREAD,
)

CDNOW = "cdnow.parquet"
OWN_SAMPLER = "pymc-marketing, PyMC's sampler"
TITLES = {"BGNBD": "BG/NBD", "MBGNBD": "MBG/NBD", "GammaGamma": "Gamma-Gamma"}
CHAINS = 2
#: Draws and tuning draws of the peer under --quick.
QUICK = 200
#: Two Monte Carlo estimates differ by more than this many of their errors once in 16,000 times.
TOLERANCE = 4.0
POSTERIORS = HERE.parent / "tests/inference/peer_posteriors.json"
_WORTH = ("Posterior", "Who", "ESS, least", "ESS, median", "Least ESS per second", "× ours")
_GROWTH = ("Customers", f"{OURS}, s", f"{PYMC}, s", "Times our seconds", "How")
_MEMORY = (
    "Customers predicted",
    "Who",
    "Seconds",
    "Peak, MiB",
    "Before the prediction, MiB",
    "Tables or arrays in and out, MiB",
    "How",
)
_MEANS = ("Model", "Parameter", f"{OURS}: mean (sd)", f"{PYMC}: mean (sd)", "Difference, sds")

Summary = dict[str, dict[str, float]]


def quick() -> bool:
    """Whether the peer's long runs are scaled from short ones."""
    return "--quick" in sys.argv


def samplers(
    ring: Ring, file: str, model: str = "BGNBD", *, name: str = PYMC, **peers: Any
) -> list[Contestant]:
    """Ours and the peer at the same posterior, the whole process counted.

    Parameters
    ----------
    name : str
        Of the peer.
    **peers
        What the peer is to do otherwise.
    """
    ours: dict[str, Any] = {
        "file": file,
        "whole": True,
        "model": model,
        "draws": ring.size.draws,
        "tune": ring.size.draws,
        "chains": CHAINS,
    }
    return [ring.ours("nuts", **ours), ring.peer("nuts", name, **(ours | peers))]


def posterior(ring: Ring, name: str) -> Summary:
    """What a contestant's last draws say."""
    answer: Summary = ask(*module(PYTHON, "posterior", ring.result(name)))
    return answer


def tell_worth(ring: Ring, account: Account, contest: Contest) -> None:
    """Add rows with the number of independent draws that each contestant's are worth."""
    ours = 0.0
    for i, contestant in enumerate(contest.contestants):
        found = posterior(ring, contestant.name)
        sizes = [row["ess_bulk"] for row in found.values()]
        rate = min(sizes) / contest.middle(contestant.name, wall)
        ours = ours or rate
        cells = [f"{min(sizes):,.0f}", f"{median(sizes):,.0f}", f"{rate:.1f}", f"{rate / ours:.2f}"]
        account.row(_WORTH, [contest.title if i == 0 else "", contestant.name, *cells])


def play_cdnow(ring: Ring, account: Account) -> None:
    """NUTS on CDNOW: fresh processes, with what was compiled before and without."""
    draws = ring.size.draws
    title = f"BG/NBD by NUTS, CDNOW, {CHAINS} × {draws:,} draws, a fresh process"
    contestants = samplers(ring, CDNOW)
    if ring.size.thorough:
        contestants += samplers(ring, CDNOW, name=OWN_SAMPLER, sampler="pymc")[1:]
    usual = Contest(title, contestants, ring.size.rounds, warm_up=ring.size.thorough)
    without = [replace(contestant, empty_caches=True) for contestant in samplers(ring, CDNOW)]
    bare = Contest(f"{title}, nothing compiled before", without, rounds=1)
    for contest in (usual, bare):
        account.play(contest)
        tell_worth(ring, account, contest)
    for contest, what in ((usual, "NUTS on CDNOW"), (bare, "NUTS on CDNOW, nothing compiled")):
        ratio = contest.ratios(PYMC, wall)[0]
        account.target(Target(f"{what}: times faster than {PYMC}", ratio, at_least=1))
        share = 1 / contest.ratios(PYMC, peak)[0]
        account.target(Target(f"{what}: peak memory as a share of {PYMC}'s", share, at_most=1))
    compare(ring, account, "BGNBD", usual)
    sampling = usual.middle(PYMC, lambda run: run.facts["sampling_seconds"])
    account.note(
        f"NUTS on CDNOW: of {PYMC}'s {usual.middle(PYMC, wall):.1f} s, sampling itself took "
        f"{sampling:.1f} s; the rest is imports and compilation. Its default sampler is nutpie "
        "where that is installed, as here; how many chains it runs at a time is left to it."
    )


def compare(ring: Ring, account: Account, model: str, contest: Contest) -> None:
    """Compare the posteriors of a contest that has just been played."""
    same = contest.facts(OURS)["priors"] == contest.facts(PYMC)["priors"]
    account.agree(f"{TITLES[model]}: priors that differ", float(not same), 0)
    ours, theirs = (posterior(ring, name) for name in (OURS, PYMC))
    for what in ("mean", "sd"):
        off = max(
            abs(a[what] - theirs[name][what])
            / hypot(a[f"mcse_{what}"], theirs[name][f"mcse_{what}"])
            for name, a in ours.items()
        )
        account.agree(f"{TITLES[model]}: {what}s of the posterior", off, TOLERANCE)
    for name, a in ours.items():
        b = theirs[name]
        shown = [f"{s['mean']:.4g} ({s['sd']:.3g})" for s in (a, b)]
        difference = f"{(a['mean'] - b['mean']) / b['sd']:+.3f}"
        account.row(_MEANS, [TITLES[model], name, *shown, difference])


def play_agreement(ring: Ring, account: Account) -> None:
    """The posteriors of the other models on CDNOW."""
    for model in ("MBGNBD", "GammaGamma") if ring.size.thorough else ("GammaGamma",):
        title = f"{TITLES[model]} by NUTS, CDNOW, a fresh process"
        contest = Contest(title, samplers(ring, CDNOW, model), rounds=1)
        account.play(contest)
        tell_worth(ring, account, contest)
        compare(ring, account, model, contest)


def play_laplace_cdnow(ring: Ring, account: Account) -> None:
    """Laplace on CDNOW, a fresh process."""
    contest = Contest(
        "BG/NBD by Laplace, CDNOW, 1,000 draws, a fresh process",
        [ring.ours("laplace", file=CDNOW, whole=True, draws=1000)],
        rounds=5 if ring.size.thorough else 1,
        warm_up=ring.size.thorough,
    )
    account.play(contest)
    seconds = contest.middle(OURS, wall)
    account.target(Target("Laplace on CDNOW, whole process: seconds", seconds, at_most=2))
    _tell_weights(account, "CDNOW", contest)


def _tell_weights(account: Account, what: str, contest: Contest) -> None:
    facts = contest.facts(OURS)
    account.note(
        f"Laplace, {what}: k-hat {facts['k_hat']:.2f}, importance ESS "
        f"{facts['importance_ess']:,.0f}; {facts['histories']:,} distinct histories."
    )


def play_growth(ring: Ring, account: Account) -> None:
    """NUTS on more customers, and the peer's time for as many as Laplace is given."""
    draws = ring.size.draws
    theirs: dict[int, float] = {}
    for customers in ring.size.growing:
        ours, peer = samplers(ring, BASE.format(customers))
        if quick():
            peer = samplers(ring, BASE.format(customers), draws=QUICK, tune=QUICK)[1]
        title = f"BG/NBD by NUTS, {customers:,} simulated customers, {CHAINS} × {draws:,} draws"
        if quick():
            title += f" ({PYMC}: {QUICK})"
        contest = Contest(title, [ours, peer], rounds=1)
        account.play(contest)
        tell_worth(ring, account, contest)
        run = contest.runs[PYMC][-1]
        theirs[customers] = _scaled(run, draws / QUICK) if quick() else run.wall
        _tell_growth(
            account,
            customers,
            contest.middle(OURS, wall),
            theirs[customers],
            f"{PYMC} scaled from {QUICK} draws" if quick() else "measured",
        )
    many = ring.size.many
    contest = Contest(
        f"BG/NBD by Laplace, {many:,} simulated customers, 1,000 draws, a fresh process",
        [ring.ours("laplace", file=BASE.format(many), whole=True, draws=1000)],
        ring.size.rounds,
        warm_up=ring.size.thorough,
    )
    account.play(contest)
    _tell_weights(account, f"{many:,} customers", contest)
    expected = _on_a_line(theirs, many)
    how = f"ours by Laplace; {PYMC} by NUTS, extrapolated on the line through the rows above"
    _tell_growth(account, many, contest.middle(OURS, wall), expected, how)


def _scaled(run: Run, times: float) -> float:
    """Seconds with so many times the draws: imports and compilation stay."""
    return run.wall + (times - 1) * float(run.facts["sampling_seconds"])


def _on_a_line(values: dict[int, float], at: int) -> float:
    """Extrapolate on the line through the first and the last of the values."""
    (x0, y0), *_, (x1, y1) = sorted(values.items())
    return y1 + (at - x1) * (y1 - y0) / (x1 - x0)


def _tell_growth(account: Account, customers: int, ours: float, theirs: float, how: str) -> None:
    cells = [f"{ours:.1f}", f"{theirs:,.0f}", f"{theirs / ours:,.0f}", how]
    account.row(_GROWTH, [f"{customers:,}", *cells])


def play_predict(ring: Ring, account: Account) -> None:
    """Predictions with intervals: seconds, and memory by the number of customers."""
    title = (
        f"CLV over {HORIZON_DAYS} days of {{:,}} customers, both intervals, {INTERVAL_DRAWS} draws"
    )

    def ours(file: str) -> Contestant:
        return ring.ours("predict", file=file)

    def peer(file: str) -> Contestant:
        return ring.peer("predict", PYMC, file)

    def tables(facts: dict[str, float]) -> float:
        return facts["tables_mib"]

    def arrays(facts: dict[str, float]) -> float:
        return facts["results_mib"]

    mine = _predictions(account, title, ring.size.predicted, OURS, ours, tables)
    first, last = mine[ring.size.predicted[0]], mine[ring.size.predicted[-1]]
    more = last.peak_mib - first.peak_mib
    more_tables = tables(last.facts) - tables(first.facts)
    account.note(
        f"Intervals: from {ring.size.predicted[0]:,} to {ring.size.predicted[-1]:,} customers the "
        f"peak grew by {more:,.0f} MiB, the tables in and out by {more_tables:,.0f} MiB. The fit "
        f"to {FITTED_ON[OURS]:,} customers before it is not timed."
    )
    account.target(
        Target(
            "Intervals: growth of peak memory, times the growth of the tables in and out",
            more / more_tables,
            at_most=1,
        )
    )
    title = f"Means of CLV over 12 months of {{:,}} customers, {INTERVAL_DRAWS} draws"
    other = _predictions(account, title, ring.size.predicted_by_peer, PYMC, peer, arrays)
    many = ring.size.predicted[-1]
    values: list[Callable[[Run], float]] = [wall, peak, lambda run: arrays(run.facts)]
    extrapolated = [_on_a_line({n: f(run) for n, run in other.items()}, many) for f in values]
    cells = [f"{extrapolated[0]:,.0f}", f"{extrapolated[1]:,.0f}", "", f"{extrapolated[2]:,.0f}"]
    account.row(_MEMORY, [f"{many:,}", PYMC, *cells, "extrapolated on the line"])
    stages = ", ".join(f"{k} {v:.1f} s" for k, v in other[max(other)].stages.items())
    account.note(
        f"Intervals: {PYMC} keeps an array of customers × draws of each of expected purchases, "
        f"P(alive) and CLV ({max(other):,} customers: {stages}); these give credible intervals of "
        "means. Ours also gives predictive intervals, of what a customer really buys."
    )


def _predictions(
    account: Account,
    title: str,
    sizes: Sequence[int],
    name: str,
    contestant: Callable[[str], Contestant],
    held: Callable[[dict[str, Any]], float],
) -> dict[int, Run]:
    """Predict for numbers of customers; the runs by number."""
    runs = {}
    for customers in sizes:
        contest = Contest(title.format(customers), [contestant(BASE.format(customers))], rounds=1)
        account.play(contest)
        run = runs[customers] = contest.runs[name][-1]
        before, arrays = run.facts["before_mib"], held(run.facts)
        cells = [f"{run.wall:.1f}", f"{run.peak_mib:,.0f}", f"{before:,.0f}", f"{arrays:,.0f}"]
        account.row(_MEMORY, [f"{customers:,}", name, *cells, "measured"])
    return runs


def write_posteriors(ring: Ring) -> None:
    """Write the peer's posteriors on CDNOW, of length, for the tests."""
    options: dict[str, Any] = {"draws": 2000, "tune": 1000, "chains": 4}
    models = {}
    for model in TITLES:
        facts = samplers(ring, CDNOW, model, **options)[1].run().facts
        models[model] = {
            "priors": {n: [mu, PRIOR_SPREAD] for n, mu in facts["locations"].items()},
            "posterior": posterior(ring, PYMC),
        }
        print(model, models[model]["posterior"])
    source = {
        "data": "CDNOW sample, calibration to 1997-09-30, in weeks",
        "packages": ring.peer("about", PYMC).run().facts,
        "sampling": options | {"sampler": "nutpie", "seed": 1},
        "priors": "log-normal: location and spread of the logarithm",
        "remake": "make bench-bayes ARGS=--posteriors",
    }
    text = json.dumps({"source": source, "models": models}, indent=2)
    POSTERIORS.write_text(text + "\n", encoding="utf-8")


PAGE = Page(
    "bench-bayes",
    """## Bayesian inference and intervals

Written by `make bench-bayes` on {date}; do not edit. Machine: {machine}. Load average while it
ran: {loads}.

- Ours: {ours}.
- Peers, in an environment of their own (`benchmarks/peers.txt`): {peers}.
- Both are given the priors that are our defaults: ln(parameter) is normal with spread 1.5 around
  an ordinary value ({priors}).

### Targets of inference

{targets}

### Measurements of inference

Medians, with the range over rounds; a fresh process each time. By NUTS and Laplace, the seconds
are of the whole process, imports, compilation and reading included, from a Parquet file of
customers to draws in another; what earlier processes compiled is found on disk, except where it
says so. Predictions: the seconds are of the prediction alone.

{runs}

### Posteriors, and what the draws are worth, predictions and memory

ESS is the bulk effective sample size of the parameters' draws, by the same code for all; per
second of the whole process.

{tables}

### Do the posteriors agree?

In standard errors of the difference that the samplers' Monte Carlo errors account for, the largest
over the parameters.

{agreements}

### Notes on these

{notes}

### Run these yourself

`make bench-bayes`, most of it spent on the peer's NUTS (`ARGS=--quick` scales that from fewer
draws), or `ARGS=--small`, five minutes in all. What is measured is in
`benchmarks/ours_bayes.py` and `benchmarks/peers_bayes.py`.
""".replace(
        "{priors}",
        ", ".join(
            f"{name} {value:g}{' · mean ' + column if column else ''}"
            for model in ("BGNBD", "GammaGamma")
            for name, (value, column) in PRIOR_MEDIANS[model].items()
        ),
    ),
    difference="Largest difference, in Monte Carlo errors",
)


def main() -> int:
    """Run every contest; returns the number of results that do not agree."""
    ring = Ring(size_asked(), sys.argv[1], "_bayes")
    inputs = [CDNOW, *map(BASE.format, ring.size.bases)]
    if "--posteriors" in sys.argv:
        prepare(ring, [CDNOW])
        write_posteriors(ring)
        return 0
    plays = (play_cdnow, play_agreement, play_laplace_cdnow, play_growth, play_predict)
    return hold(ring, inputs, plays, PAGE)


if __name__ == "__main__":
    sys.exit(main())
