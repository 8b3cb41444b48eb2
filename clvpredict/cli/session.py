"""One call of the program: what it says, where, and how it ends."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.table import Table

import clvpredict
from clvpredict.cli.program import app
from clvpredict.errors import ClvError, ClvWarning

# Errors speak of the arguments of functions, which are options here.
_ARGUMENT = re.compile(r"\b([a-z_]+)=(None\b|False\b)?")
_RENAMED = {
    ("amount", "None"): "--no-amount",
    ("interval", "None"): "--no-interval",
    ("predictive", "False"): "--no-predictive",
    ("spend_all", "False"): "--keep-unspent",
}


class Session:
    """Where one command's words go.

    Parameters
    ----------
    command : str
        Its name.
    as_json : bool
        One JSON object to standard output in the end, and nothing before it.
    quiet : bool
        Nothing but errors.
    data_to_stdout : bool
        Standard output is taken by data, so words go to standard error.
    """

    def __init__(
        self,
        command: str,
        *,
        as_json: bool = False,
        quiet: bool = False,
        data_to_stdout: bool = False,
    ) -> None:
        self.as_json = as_json
        self.facts: dict[str, Any] = {"command": command, "version": clvpredict.__version__}
        self.warnings: list[dict[str, str]] = []
        # Data may hold anything; nothing in them is to be read as markup.
        self.console = Console(
            stderr=data_to_stdout,
            quiet=quiet or as_json,
            markup=False,
            highlight=False,
        )

    def say(self, text: str, style: str = "") -> None:
        """Say one line, which is not broken to fit."""
        self.console.print(printable(text), style=style, soft_wrap=True)

    def show(self, title: str, table: Table) -> None:
        """Show a table under its title."""
        self.say(f"\n{title}", style="bold")
        self.console.print(table)

    @contextlib.contextmanager
    def step(self, doing: str) -> Iterator[Callable[[str], None]]:
        """Say what is being done, show that it goes on, and how long it took.

        Yields
        ------
        callable
            Takes what came of it, in words.
        """
        outcome: list[str] = []
        began = time.perf_counter()
        self.say(f"{doing} ...")
        with self._progress():
            yield outcome.append
        seconds = time.perf_counter() - began
        self.say(f"  {'; '.join(outcome) or 'done'} ({seconds:.1f} s)", style="dim")

    def _progress(self) -> contextlib.AbstractContextManager[object]:
        """Turn a wheel and count the seconds, where somebody can see it."""
        if self.console.quiet or not self.console.is_terminal:
            return contextlib.nullcontext()
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("working"), TimeElapsedColumn())
        progress = Progress(*columns, console=self.console, transient=True)
        progress.add_task("working", total=None)
        return progress

    def receive(self, message: Warning | str, category: type[Warning]) -> None:
        """Take a warning: each is told once, as a notice."""
        record = {"category": category.__name__, "message": str(message)}
        if record not in self.warnings:
            self.warnings.append(record)
            self.say(f"  Note: {message}", style="yellow")
            if hints := self._hints(str(message)):
                self.say(f"  {self._where} {', '.join(hints)}.", style="yellow")

    def finish(self) -> None:
        """Print the JSON object, where that was asked for."""
        if self.as_json:
            _print_json({**self.facts, "warnings": self.warnings})

    def fail(self, error: ClvError | OSError) -> int:
        """Tell an error; returns the exit code."""
        code = error.exit_code if isinstance(error, ClvError) else ClvError.exit_code
        text = printable(str(error))
        typer.secho(f"Error: {text}", err=True, fg="red")
        for note in getattr(error, "__notes__", ()):
            typer.secho(note, err=True)
        hints = self._hints(text)
        if "convert_unit" in text:
            hints.append("the unit is given to clvpredict summarize --time-unit")
        if hints:
            typer.secho(f"{self._where} {', '.join(hints)}.", err=True)
        if self.as_json:
            kind = type(error).__name__
            _print_json(
                {**self.facts, "error": {"type": kind, "message": str(error), "code": code}}
            )
        return code

    @property
    def _where(self) -> str:
        return "In the configuration" if self._is_scheduled else "On the command line"

    @property
    def _is_scheduled(self) -> bool:
        return bool(self.facts["command"] == "refit")

    def _hints(self, text: str) -> list[str]:
        """Say which options, or keys, the arguments are that an error speaks of."""
        if self._is_scheduled:
            from clvpredict.refit.config import KEYS

            named = {argument for argument, _ in _ARGUMENT.findall(text)}
            return sorted(f"{name}=... is {KEYS[name]}" for name in named & KEYS.keys())
        commands: dict[str, Any] = getattr(typer.main.get_command(app), "commands", {})
        known = commands.get(self.facts["command"])
        options = {name for p in known.params for name in p.opts} if known else set()
        found = set()
        for argument, value in _ARGUMENT.findall(text):
            option = _RENAMED.get((argument, value))
            said = f"{argument}={value}" if option else f"{argument}=..."
            option = option or f"--{argument.replace('_', '-')}"
            if option in options:
                found.add(f"{said} is {option}")
        return sorted(found)


@contextlib.contextmanager
def running(session: Session) -> Iterator[Session]:
    """Run a command: warnings become notices, errors become messages and exit codes."""
    with warnings.catch_warnings():
        default = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, ClvWarning):
                session.receive(message, category)
            else:
                default(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        warnings.filterwarnings("always", category=ClvWarning)
        try:
            yield session
            session.finish()
        except BrokenPipeError:
            raise  # the reader of our output has left; typer ends quietly
        except (ClvError, OSError) as error:
            raise SystemExit(session.fail(error)) from None


def opened(
    command: str, out: str, as_json: bool, quiet: bool
) -> contextlib.AbstractContextManager[Session]:
    """Begin a command that writes to ``out``."""
    session = Session(command, as_json=as_json, quiet=quiet, data_to_stdout=out == "-")
    return running(session)


def printable(text: str) -> str:
    """Show control characters, which data may hold to play tricks on terminals, as escapes."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def _print_json(record: dict[str, Any]) -> None:
    from clvpredict.store.tables import plain

    sys.stdout.write(json.dumps(plain(record), indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()
