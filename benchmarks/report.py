"""What the contests come to: tables in the terminal and in docs/benchmarks.md."""

from __future__ import annotations

import datetime
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.contest import Contest

Rows = list[list[str]]


@dataclass(frozen=True)
class Target:
    """A number that was promised, and what was measured.

    Parameters
    ----------
    what : str
        The quantity.
    value : float
        As measured.
    at_least, at_most : float, optional
        One of them is the promise.
    """

    what: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    def row(self) -> list[str]:
        """Quantity, promise, measured, verdict."""
        if self.at_least is not None:
            limit, sign = self.at_least, "≥"
            shortfall = 1 - self.value / limit
        else:
            limit, sign = float(self.at_most or 0), "≤"
            shortfall = self.value / limit - 1
        verdict = "met" if shortfall <= 0 else f"**missed by {shortfall:.0%}**"
        return [self.what, f"{sign} {limit:g}", f"{self.value:.3g}", verdict]


@dataclass
class Account:
    """What has been found so far."""

    console: Console = field(default_factory=Console)
    contests: list[Contest] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    agreements: Rows = field(default_factory=list)
    disagreements: int = 0
    tables: dict[tuple[str, ...], Rows] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)

    def say(self, line: str) -> None:
        """Tell what is going on."""
        self.console.print(line, highlight=False, soft_wrap=True)

    def play(self, contest: Contest) -> None:
        """Play a contest."""
        self.loads.append(os.getloadavg()[0])
        contest.play(self.say)
        self.contests.append(contest)

    def target(self, target: Target) -> None:
        """Add a target."""
        self.targets.append(target)

    def note(self, text: str) -> None:
        """Add a remark."""
        self.notes.append(text)

    def row(self, header: tuple[str, ...], row: list[str]) -> None:
        """Add a row to the table of what else was found that has this header."""
        self.tables.setdefault(header, []).append(row)

    def agree(self, what: str, difference: float, tolerance: float) -> None:
        """Add a comparison of results."""
        fine = difference <= tolerance
        self.disagreements += not fine
        verdict = "yes" if fine else "**NO**"
        self.agreements.append([what, f"{difference:.2g}", f"{tolerance:g}", verdict])


_TARGETS = ["Target", "Promise", "Measured", "Verdict"]
_RUNS = [
    "Task",
    "Who",
    "Seconds (range)",
    "CPU seconds",
    "Whole process, s",
    "Peak memory, MiB",
    "Times our seconds (by round)",
    "Times our CPU seconds",
]
# A benchmark's part of the page begins with this line.
_BEGIN = "<!-- make {} -->"
# The part with the title of the page.
_MAIN = "bench-core"


@dataclass(frozen=True)
class Page:
    """A benchmark's part of the page.

    Parameters
    ----------
    bench : str
        The verb of make that writes it.
    text : str
        Around the tables, which it names in braces.
    difference : str
        What differences of results are.
    """

    bench: str
    text: str
    difference: str = "Largest relative difference"


def publish(
    account: Account, ours: dict[str, str], peers: dict[str, str], page: Page, file: Path
) -> int:
    """Show the tables and write them; returns how many results disagree."""
    runs = [row for contest in account.contests for row in _run_rows(contest)]
    targets = [target.row() for target in account.targets]
    agreements = ["Result", page.difference, "Tolerance", "Agree"]
    shown: list[tuple[Sequence[str], Rows]] = [
        (_RUNS, runs),
        *account.tables.items(),
        (agreements, account.agreements),
        (_TARGETS, targets),
    ]
    for header, rows in shown:
        account.console.print(_rich(header, rows))
    text = page.text.format(
        date=datetime.date.today().isoformat(),
        machine=_machine(),
        cores=os.cpu_count(),
        loads=f"{min(account.loads):.1f} to {max(account.loads):.1f}",
        ours=_listed(ours),
        peers=_listed(peers),
        targets=_markdown(_TARGETS, targets),
        runs=_markdown(_RUNS, runs),
        tables="\n\n".join(_markdown(header, rows) for header, rows in account.tables.items()),
        agreements=_markdown(agreements, account.agreements),
        notes="\n".join(f"- {note}" for note in account.notes),
    )
    _write_part(file, page.bench, text)
    account.say(f"Written to {os.path.relpath(file)}.")
    return account.disagreements


def _write_part(file: Path, bench: str, text: str) -> None:
    """Put a part into the file, in the place of the same benchmark's part of before."""
    old = file.read_text(encoding="utf-8") if file.exists() else ""
    pieces = re.split(f"^{_BEGIN.format('(bench-.*)')}\n", old, flags=re.MULTILINE)
    parts = dict(zip(pieces[1::2], (piece.strip() for piece in pieces[2::2]), strict=True))
    # What stands before the first mark was written before there were parts.
    before = {_MAIN: pieces[0].strip()} if pieces[0].strip() else {}
    parts = before | parts | {bench: text.strip()}
    names = sorted(parts, key=lambda name: (name != _MAIN, name))
    marked = (f"{_BEGIN.format(name)}\n{parts[name]}\n" for name in names)
    file.write_text("\n".join(marked), encoding="utf-8")


def _run_rows(contest: Contest) -> Rows:
    rows = []
    for contestant in contest.contestants:
        name = contestant.name
        walls = [run.wall for run in contest.runs[name]]
        middle = contest.middle(name, lambda run: run.wall)
        ratio, least, most = contest.ratios(name, lambda run: run.wall)
        first = contestant is contest.contestants[0]
        rows.append(
            [
                contest.title if first else "",
                name,
                f"{_seconds(middle)} ({_seconds(min(walls))} to {_seconds(max(walls))})",
                _seconds(contest.middle(name, lambda run: run.cpu)),
                _seconds(contest.middle(name, lambda run: run.process)),
                f"{contest.middle(name, lambda run: run.peak_mib):,.0f}",
                "1" if first else f"{ratio:.1f} ({least:.1f} to {most:.1f})",
                "1" if first else f"{contest.ratios(name, lambda run: run.cpu)[0]:.1f}",
            ]
        )
    return rows


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {math.ceil(memory)} GiB"


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _rich(header: Sequence[str], rows: Rows) -> Table:
    table = Table(*header)
    for row in rows:
        table.add_row(*(cell.replace("**", "") for cell in row))
    return table


def _markdown(header: Sequence[str], rows: Rows) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
