"""What ends a scheduled run, besides the errors of what it calls."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from clvpredict.errors import ClvError, OptionError

#: Ends a run whose new models were held back: the last published one has predicted.
HELD_BACK = 5


class LockedError(ClvError, RuntimeError):
    """Another run works in the same store."""

    exit_code = 6


class SourceError(ClvError, OSError):
    """The transactions could not be read after all attempts, for a cause that may pass."""

    exit_code = 7


class HeldBackError(ClvError, RuntimeError):
    """No candidate is good enough to be published, and no published model could predict."""

    # As where none converged: there are no new predictions. With them it would be HELD_BACK.
    exit_code = 4


class PublishError(ClvError, OSError):
    """Predictions could not be written to a target; what was published before is still there."""

    exit_code = 8


class ConfigError(OptionError):
    """A configuration has problems; all of them are listed at once.

    Parameters
    ----------
    path : Path
        Its file.
    problems : iterable of str
        Everything found, each with its line and what is allowed.
    """

    def __init__(self, path: Path, problems: Iterable[str]) -> None:
        self.path = path
        self.problems = tuple(problems)
        n = len(self.problems)
        listing = "\n".join(f"  {i}. {p}" for i, p in enumerate(self.problems, start=1))
        super().__init__(
            f"{n} problem{'s' if n != 1 else ''} with the configuration '{path}':\n{listing}"
        )
