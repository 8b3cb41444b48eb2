"""Commands that the user gives, run when a run has ended.

A hook is a list of words and never goes through a shell, so what is filled in is one word or a
part of one, whatever it contains.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from clvpredict.errors import ClvError, OptionError, did_you_mean
from clvpredict.refit import secrets

#: What ``{...}`` in a word may name.
HOOK_NAMES = (
    "name",
    "run_id",
    "status",
    "exit_code",
    "version",
    "as_of",
    "record",
    "predictions",
    "message",
)

_OUTPUT = 2_000
# More than is told: a secret at its beginning is whole, and can be seen.
_READ = 8_192
# A fact that makes the command too long for the system would cost the whole alarm.
_FACT = 4_000
# How long to wait for words on the way once the command has ended: a child that it left running
# may hold its output open for ever.
_LAST_WORDS = 1.0

# In this order: a secret, a doubled brace, a fact (``{name}`` or ``{name:json}``), a stray brace.
_MARK = re.compile(r"\$\{[^{}]*\}|\{\{|\}\}|\{([^{}]*)\}|[{}]")
_MARKED = re.compile("\0([^\0]*)\0")


def check_hook(template: Sequence[str]) -> None:
    """Refuse a hook that could not be filled in.

    Parameters
    ----------
    template : sequence of str
        The program and its arguments.

    Raises
    ------
    OptionError
        For unknown names and braces that do not close, with what there is.

    Examples
    --------
    >>> from clvpredict.refit.hooks import check_hook
    >>> check_hook(["mail", "-s", "{name}: {status}", "crm@example.com"])
    >>> check_hook(["mail", "-s", "{state}", "crm@example.com"])
    Traceback (most recent call last):
    ...
    clvpredict.errors.OptionError: a hook knows no '{state}'. Allowed: {name}, {run_id}, ...
    """
    _filled(template, dict.fromkeys(HOOK_NAMES, ""), _as_it_is)


def run_hook(
    template: Sequence[str], facts: Mapping[str, object], timeout: float
) -> dict[str, Any]:
    r"""Run a hook and say how it ended; nothing that it does is an error here.

    ``{status}`` and the like in a word become facts, ``{message:json}`` a fact as a JSON string
    with its quotes, ``${NAME}`` the environment's; ``{{`` and ``}}`` are braces. There is no
    shell and no standard input; the environment is this process's.

    Parameters
    ----------
    template : sequence of str
        The program and its arguments.
    facts : mapping of str to object
        What to fill in, by the names of ``HOOK_NAMES``; None and absent ones are empty. Text
        beyond 4,000 characters is cut.
    timeout : float
        Seconds until the command and all that it started are ended.

    Returns
    -------
    dict
        ``command`` (as it was given, so without secrets), ``exit_code`` (None where it did not
        start or was ended), ``seconds``, ``output`` (the last 2,000 characters of both streams,
        without secrets) and ``problem`` (None, or what went wrong).

    Examples
    --------
    >>> from clvpredict.refit.hooks import run_hook
    >>> done = run_hook(["echo", "{name} is {status}"], {"name": "shop", "status": "failed"}, 5)
    >>> done["exit_code"], done["output"], done["problem"]
    (0, 'shop is failed\n', None)
    """
    began = time.monotonic()
    exit_code, output, problem = _run(template, facts, timeout)
    return {
        "command": list(template),
        "exit_code": exit_code,
        "seconds": round(time.monotonic() - began, 3),
        "output": output[-_OUTPUT:],
        "problem": None if problem is None else secrets.redact(problem),
    }


def _run(
    template: Sequence[str], facts: Mapping[str, object], timeout: float
) -> tuple[int | None, str, str | None]:
    """The exit code, the output without secrets, and the problem as it is."""
    try:
        words = _filled(template, facts, secrets.resolve)
    except ClvError as error:
        return None, "", f"the hook was not run: {error}"
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return None, "", f"the hook's program {words[:1]} could not be started: {error}"
    assert process.stdout is not None
    tail = _Tail(process.stdout)
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        _end(process)
        return None, tail.text(), f"the hook was ended after {timeout:g} seconds"
    except BaseException:
        _end(process)
        raise
    return code, tail.text(), f"the hook ended with exit code {code}" if code else None


class _Tail:
    """The end of what a process says; reading goes on, so that it is never held up."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._last, self._cut = b"", False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream:
            while chunk := os.read(self._stream.fileno(), _READ):
                self._cut |= len(self._last) + len(chunk) > _READ
                self._last = (self._last + chunk)[-_READ:]

    def text(self) -> str:
        """What was said last, without secrets."""
        self._thread.join(_LAST_WORDS)
        return secrets.redact(self._last.decode("utf-8", errors="replace"), cut=self._cut)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and, where the system knows groups, all that it started."""
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _filled(
    template: Sequence[str], facts: Mapping[str, object], resolve: Callable[[str], str]
) -> list[str]:
    """The words to run; what facts and secrets contain is never read as a name."""
    texts = {name: _text(facts.get(name)) for name in HOOK_NAMES}
    forms = {"": texts, "json": {n: json.dumps(t, ensure_ascii=False) for n, t in texts.items()}}

    def fact(marked: re.Match[str]) -> str:
        name, _, form = marked[1].partition(":")
        return name if name in "{}" else forms[form][name]

    return [_MARKED.sub(fact, resolve(_MARK.sub(_marked, word))) for word in template]


def _marked(mark: re.Match[str]) -> str:
    """What a mark becomes until secrets are filled in: they cannot contain null characters."""
    found = mark[0]
    if found.startswith("$"):
        return found
    if found in ("{{", "}}"):
        return f"\0{found[0]}\0"
    if mark[1] is None:
        raise OptionError(
            f"a hook has a lone '{found}' in {mark.string!r}; a brace that means itself is "
            "written twice, as '{{' or '}}'."
        )
    name, _, form = mark[1].partition(":")
    if name not in HOOK_NAMES or form not in ("", "json"):
        known = ", ".join(f"{{{n}}}" for n in HOOK_NAMES)
        raise OptionError(
            f"a hook knows no '{found}'. Allowed: {known}, each also as {{message:json}} for "
            "a JSON string; a brace that means itself is written twice."
            + did_you_mean(name, HOOK_NAMES)
        )
    return f"\0{mark[1]}\0"


def _text(value: object) -> str:
    """A fact as a part of a word; no program can be given a null character."""
    text = "" if value is None else str(value).replace("\0", "\\0")
    return text if len(text) <= _FACT else f"{text[:_FACT]} ..."


def _as_it_is(text: str) -> str:
    return text
