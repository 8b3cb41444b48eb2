"""The steps of a run as they happen: one JSON line each, and whoever else listens."""

from __future__ import annotations

import contextlib
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clvpredict.errors import ClvWarning
from clvpredict.refit import secrets
from clvpredict.store.tables import plain

#: Every event of a run is a record of this logger, and its attribute ``event`` a dict.
LOGGER = logging.getLogger("clvpredict.refit")
#: Takes the name of a step and ``"begin"`` or ``"end"``.
OnStep = Callable[[str, str], None]


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the event of a record; records of others have their message in one."""
        event = getattr(record, "event", None) or {
            "time": _now(),
            "event": record.levelname.lower(),
            "says": record.getMessage(),
        }
        return json.dumps(plain(event), ensure_ascii=False)


class Steps:
    """Tells what a run does, and keeps how long it took.

    Parameters
    ----------
    run_id, name : str
        Of the run and of the job; in every event.
    on_step : callable, optional
        Called at the beginning and the end of every step.
    """

    def __init__(self, run_id: str, name: str, on_step: OnStep | None = None) -> None:
        self._said = {"run_id": run_id, "name": name}
        self._on_step = on_step
        self.timings: dict[str, float] = {}
        self.warnings: list[dict[str, str]] = []
        self.current = ""

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """Do one step; what is put into the dict is told with it, ``says`` in words.

        Yields
        ------
        dict
        """
        self.current = name
        self._tell(logging.DEBUG, name, "begin", {})
        self._call(name, "begin")
        facts: dict[str, Any] = {}
        began = time.perf_counter()
        try:
            yield facts
        except BaseException as error:
            said = {"error": type(error).__name__, "says": secrets.redact(str(error))}
            self._tell(logging.ERROR, name, "failed", self._timed(name, began) | said)
            raise
        self._tell(logging.INFO, name, "done", self._timed(name, began) | facts)
        self._call(name, "end")

    def note(self, says: str, *, level: int = logging.INFO, **facts: Any) -> None:
        """Tell what happens within a step."""
        said = {"says": secrets.redact(says), **facts}
        self._tell(level, self.current, "note", said)

    @contextlib.contextmanager
    def gathering(self) -> Iterator[None]:
        """Take warnings of the package as notes, each once, and keep them."""
        with warnings.catch_warnings():
            default = warnings.showwarning

            def take(
                message: Warning | str, category: type[Warning], *where: Any, **more: Any
            ) -> None:
                if not issubclass(category, ClvWarning):
                    default(message, category, *where, **more)
                    return
                says = secrets.redact(str(message))
                found = {"step": self.current, "category": category.__name__, "message": says}
                if found not in self.warnings:
                    self.warnings.append(found)
                    self.note(says, level=logging.WARNING, category=category.__name__)

            warnings.showwarning = take
            warnings.filterwarnings("always", category=ClvWarning)
            yield

    def _timed(self, name: str, began: float) -> dict[str, Any]:
        seconds = round(time.perf_counter() - began, 3)
        self.timings[name] = seconds
        return {"seconds": seconds}

    def _tell(self, level: int, step: str, event: str, facts: dict[str, Any]) -> None:
        said = {"time": _now(), **self._said, "step": step, "event": event, **facts}
        LOGGER.log(level, "%s: %s", step, facts.get("says", event), extra={"event": said})

    def _call(self, name: str, when: str) -> None:
        if self._on_step is not None:
            self._on_step(name, when)


class _File(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """A full disk ends a run where it matters, not for a line of its log."""


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """Append the events to a file of JSON lines."""
    handler = _File(path, encoding="utf-8", delay=True)
    with listened(handler, logging.INFO):
        yield


@contextlib.contextmanager
def listened(handler: logging.Handler, level: int = logging.DEBUG) -> Iterator[None]:
    """Let a handler hear the events, as JSON unless it has a format of its own."""
    before = LOGGER.level
    handler.setLevel(level)
    if handler.formatter is None:
        handler.setFormatter(JsonLines())
    LOGGER.addHandler(handler)
    LOGGER.setLevel(min(level, before or level))
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(before)
        handler.close()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
