"""Every error and warning the package raises, and the texts they share."""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar


class ClvError(Exception):
    """Base of all errors raised on purpose; catch it to catch them all."""

    #: What a program that ends with it tells whoever called it.
    exit_code: ClassVar[int] = 1


class OptionError(ClvError, ValueError):
    """An argument has a value that is not allowed."""

    exit_code = 2


class UnitError(ClvError, ValueError):
    """Data, model or horizon are in different (or unknown) time units."""

    exit_code = 3


class NotFittedError(ClvError, AttributeError):
    """A quantity was asked of a model that has not been fitted."""


class ConvergenceError(ClvError, RuntimeError):
    """The optimiser stopped without an optimum; the message says why and what to try."""

    exit_code = 4


class InfiniteValueError(ClvError, ValueError):
    """The quantity asked for diverges or does not exist under these parameters."""

    exit_code = 2


class ArtefactError(ClvError, ValueError):
    """A saved model cannot be read."""

    exit_code = 3


class MissingExtraError(ClvError, ImportError):
    """An optional dependency is absent.

    Parameters
    ----------
    extra : str
        Name of the extra, e.g. ``"lifetimes"``.
    needed_for : str
        What the user asked for that needs it.
    """

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the extra '{extra}', which is not installed. "
            f"Install it with: pip install 'clvpredict[{extra}]'"
        )
        self.extra = extra


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the input.

    Parameters
    ----------
    what : str
        The problem, e.g. ``"null customer_id"``.
    fix : str
        What to type next.
    count : int or None
        How many rows have it; None where rows do not apply.
    examples : sequence of str
        Up to five example rows.
    """

    what: str
    fix: str
    count: int | None = None
    examples: Sequence[str] = ()

    def __str__(self) -> str:
        head = self.what if self.count is None else f"{self.what}: {rows(self.count)}"
        lines = [head]
        lines += [f"    e.g. {example}" for example in self.examples]
        lines.append(f"    -> {self.fix}")
        return "\n".join(lines)


class DataError(ClvError, ValueError):
    """The input has problems; all of them are listed at once.

    Parameters
    ----------
    subject : str
        What was checked, e.g. ``"transactions"``.
    problems : iterable of Problem
        Everything found.
    """

    exit_code = 3

    def __init__(self, subject: str, problems: Iterable[Problem]) -> None:
        self.subject = subject
        self.problems = tuple(problems)
        n = len(self.problems)
        listing = "\n".join(f"  {i}. {p}" for i, p in enumerate(self.problems, start=1))
        super().__init__(f"{n} problem{'s' if n != 1 else ''} with the {subject}:\n{listing}")


class ClvWarning(UserWarning):
    """Base of all warnings."""


class DataWarning(ClvWarning):
    """The input is usable, but has something a user should know."""


class IdentificationWarning(ClvWarning):
    """The data do not pin down one or more parameters."""


class IndependenceWarning(ClvWarning):
    """Purchase frequency and spend are correlated, which Gamma-Gamma assumes they are not."""


class DropoutWarning(ClvWarning):
    """P(alive) is 1 by construction for many customers."""


class SamplingWarning(ClvWarning):
    """Draws of a posterior may not be trusted, or were made another way than asked for."""


class MethodNotice(ClvWarning):
    """Which method ``method="auto"`` chose, and why."""


def notify(message: str, category: type[ClvWarning]) -> None:
    """Warn, pointing at the user's line and not at ours."""
    warnings.warn(message, category, skip_file_prefixes=(os.path.dirname(__file__),))


def rows(n: int) -> str:
    """Return ``"1 row"``, ``"12,345 rows"``."""
    return f"{n:,} row{'s' if n != 1 else ''}"


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'amount'?"`` for a near miss, else an empty string."""
    known = list(known)
    lowered = {str(k).lower(): k for k in reversed(known)}
    close = difflib.get_close_matches(str(name).lower(), lowered, n=1, cutoff=0.6)
    return f" Did you mean '{lowered[close[0]]}'?" if close else ""


def unknown_option(name: str, value: object, allowed: Iterable[str]) -> OptionError:
    """Make the error for a value outside a closed list of names."""
    allowed = list(allowed)
    choices = ", ".join(repr(a) for a in allowed)
    hint = did_you_mean(value, allowed)
    return OptionError(f"{name}={value!r} is not known. Allowed: {choices}.{hint}")


def refuse_unknown(subject: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Refuse options that are not among the known ones.

    Raises
    ------
    OptionError
        Naming them, and what there is.
    """
    unknown = [name for name in given if name not in known]
    if unknown:
        raise OptionError(
            f"{subject} has no option {', '.join(map(repr, unknown))}; it has "
            f"{', '.join(known)}.{did_you_mean(unknown[0], known)}"
        )
