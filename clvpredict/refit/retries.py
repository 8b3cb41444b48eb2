"""Trying again what may pass: a server that restarts, a file that is being replaced."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Any

from clvpredict.refit import secrets
from clvpredict.refit.errors import SourceError

#: Takes the number of the attempt that failed, and why in words.
OnRetry = Callable[[int, str], None]

_LONGEST_WAIT = 60.0
_ERRNO = {
    getattr(errno, name)
    for name in (
        *("EIO", "ESTALE", "EAGAIN", "EBUSY", "EINTR", "EPIPE", "ETIMEDOUT", "ENETDOWN"),
        *("ECONNRESET", "ECONNREFUSED", "ECONNABORTED", "EHOSTDOWN", "EHOSTUNREACH"),
        *("ENETUNREACH", "ENOTCONN"),
    )
    if hasattr(errno, name)
}
# The engines have one class for much, so the text says what happened.
_TEXTS = {
    "duckdb": (
        *("could not set lock", "conflicting lock", "resource temporarily unavailable"),
        *("input/output error", "stale file handle", "timed out"),
    ),
    "sqlite3": ("database is locked", "table is locked", "database is busy", "disk i/o error"),
}
# SQLSTATE: connection, resources, the server shuts down or starts, rollbacks, system errors.
_STATES = ("08", "53", "57P", "40", "55P03", "58")
# What libpq says where it cannot connect and never will.
_NEVER = (
    *("authentication failed", "does not exist", "no pg_hba.conf entry", "no password supplied"),
    *(
        "invalid",
        "name or service not known",
        "does not support ssl",
        "certificate",
        "not permitted",
    ),
)


class ChangedError(OSError):
    """A file was changed, or vanished, while it was read."""


def retrying[T](
    attempt: Callable[[], T],
    *,
    attempts: int,
    first_wait: float,
    on_retry: OnRetry | None = None,
) -> T:
    """Call a function again while it fails for a cause that may pass.

    Parameters
    ----------
    attempt : callable
        What to do; it starts afresh each time.
    attempts : int
        At most so many calls.
    first_wait : float
        Seconds before the second one; the wait doubles, up to a minute.
    on_retry : callable, optional
        Told of every failure that is followed by another attempt.

    Raises
    ------
    SourceError
        After the last attempt, with its cause and without secrets. What does not pass is raised
        at once and as it is.
    """
    import tenacity

    def tell(state: Any) -> None:
        if on_retry is not None:
            on_retry(state.attempt_number, _says(state.outcome.exception()))

    caller = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(attempts),
        wait=tenacity.wait_exponential(multiplier=first_wait, max=_LONGEST_WAIT),
        retry=tenacity.retry_if_exception(may_pass),
        before_sleep=tell,
    )
    try:
        return caller(attempt)
    except tenacity.RetryError as error:
        cause = _says(error.last_attempt.exception())
    # Not chained: the causes are not redacted.
    times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    raise SourceError(
        f"the transactions could not be read in {times}: {cause}. See that the source is there and "
        "run again; more attempts: [source] attempts"
    )


def may_pass(error: BaseException) -> bool:
    """Whether the cause of an error may be gone at the next attempt."""
    return any(_passes(e) for e in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        hidden = current.__suppress_context__
        current = current.__cause__ or (None if hidden else current.__context__)


def _passes(error: BaseException) -> bool:
    if isinstance(error, ChangedError | ConnectionError | TimeoutError):
        return True
    library = type(error).__module__.partition(".")[0].lstrip("_")
    if library == "psycopg":
        return _postgres_passes(error)
    text = str(error).lower()
    if library in _TEXTS:
        return any(words in text for words in _TEXTS[library])
    return isinstance(error, OSError) and error.errno in _ERRNO


def _postgres_passes(error: BaseException) -> bool:
    import psycopg

    state: str | None = getattr(error, "sqlstate", None)
    if state is not None:
        return state.startswith(_STATES)
    if not isinstance(error, psycopg.OperationalError):
        return False
    text = str(error).lower()
    return not any(words in text for words in _NEVER)


def _says(error: BaseException | None) -> str:
    return secrets.redact(" ".join(str(error).split()) or type(error).__name__)
