"""A scheduled run from end to end: whatever happens, it is recorded, and nothing worse is out."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from clvpredict.errors import ClvError, DataError, DataWarning, OptionError, notify
from clvpredict.refit import secrets
from clvpredict.refit.config import Config
from clvpredict.refit.config_reading import load_config
from clvpredict.refit.errors import HELD_BACK, LockedError
from clvpredict.refit.files import now
from clvpredict.refit.lock import lock
from clvpredict.refit.records import RunRecord, Status
from clvpredict.refit.run import Run
from clvpredict.refit.steps import OnStep, Steps, written
from clvpredict.refit.store import Store

#: How a run that has ended well may have ended, and what that tells whoever called it.
ENDS: dict[Status, int] = {
    "published": 0,
    "unchanged": 0,
    "dry run": 0,
    "rebuilt": 0,
    "held back": HELD_BACK,
}
_HOOKS: dict[Status, str] = {
    "published": "on_published",
    "held back": "on_held_back",
    "rejected": "on_failed",
    "failed": "on_failed",
}
_UNTRACKED = ("running", "unchanged", "dry run")


def refit(
    config: Config | str | os.PathLike[str],
    *,
    as_of: str | date | None = None,
    force: bool = False,
    dry_run: bool = False,
    wait: float = 0.0,
    on_step: OnStep | None = None,
) -> RunRecord:
    """Read, check, fit, judge, predict and publish, as a configuration says.

    Predictions are published by the new model only if it converged, its diagnostics are good and
    it is not worse than the published one; otherwise the published one predicts, and the run is
    "held back". Whatever goes wrong, what was published before stays whole and readable. The
    events of the run are records of the logger ``clvpredict.refit``.

    Parameters
    ----------
    config : Config, str or Path
        From :func:`clvpredict.refit.load_config`, or the path of the file.
    as_of : str or date, optional
        Do as if this had been the last day: nothing later is used, neither transactions nor
        earlier runs. A day before that of what is published is only rebuilt, not published.
    force : bool
        Go on although checks or the gate say no, and although nothing has changed.
    dry_run : bool
        Do everything but publish.
    wait : float
        Seconds to wait for another run in the same store.
    on_step : callable, optional
        Called with the name of each step and ``"begin"`` or ``"end"``.

    Returns
    -------
    RunRecord
        As it is in the store: ``status``, ``version``, ``exit_code`` and all the rest.

    Raises
    ------
    ConfigError, OptionError
        For a configuration that cannot be used, or a secret that is not set.
    DataError
        If the transactions cannot be used, or fail the checks.
    ConvergenceError, HeldBackError
        If no model converged, or none is good enough, and none is published that could predict.
    LockedError, SourceError, PublishError
        See there.
    """
    if not isinstance(config, Config):
        config = load_config(Path(config))
    day = _day(as_of)
    store = Store.at(config.resolve(config.job.store), create=True)
    record = RunRecord.begun(
        config.job.name,
        as_of=None if day is None else day.isoformat(),
        forced=force,
        dry_run=dry_run,
        config_text=config.text,
        config_digest=config.digest,
    )
    store.begin(record)
    steps = Steps(record.run_id, record.name, on_step)
    run = Run(config, store, record, steps, day, force, dry_run)
    with written(store.run_folder(record.run_id) / "events.jsonl"), steps.gathering():
        try:
            with _recorded(store, record, steps), lock(store.folder, record.run_id, wait) as gone:
                try:
                    record.status = _everything(run, gone)
                    record.exit_code = ENDS[record.status]
                finally:
                    shutil.rmtree(store.work_folder(record.run_id), ignore_errors=True)
        finally:
            _tell(run)
    return record


def _everything(run: Run, gone: str | None) -> Status:
    run.recover(gone)
    run.read()
    if run.is_known():
        return run.keep_published()
    run.check()
    run.summarise()
    run.fit()
    run.judge()
    run.look_for_drift()
    run.predict()
    return run.publish()


@contextlib.contextmanager
def _recorded(store: Store, record: RunRecord, steps: Steps) -> Iterator[None]:
    """Record how a run ends, however it does."""
    try:
        yield
    except BaseException as error:
        record.status = _status_of(error, steps.current)
        record.exit_code = _exit_code_of(error)
        record.error = {
            "type": type(error).__name__,
            "message": secrets.redact(str(error)) or type(error).__name__,
            "step": steps.current,
        }
        error.add_note(f"The run is recorded: clvpredict show {record.run_id}")
        raise
    finally:
        record.ended = now()
        record.timings, record.warnings = steps.timings, steps.warnings
        with _as_well_as_possible("the record of this run could not be written"):
            store.save(record)


def _exit_code_of(error: BaseException) -> int:
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return error.code
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    return error.exit_code if isinstance(error, ClvError) else ClvError.exit_code


def _status_of(error: BaseException, step: str) -> Status:
    at_checks = isinstance(error, DataError) and step in ("read", "check", "summarise")
    return "rejected" if at_checks else "failed"


def _tell(run: Run) -> None:
    """Track the run and call the user's command; neither changes how it ended."""
    config, record, steps = run.config, run.record, run.steps
    if config.tracking is not None and record.status not in _UNTRACKED:
        from clvpredict.refit.tracking import track

        with steps.step("track") as facts:
            facts |= track(config, record, version=run.made(), sample=run.sample())
            record.facts["tracking"] = dict(facts)
            if facts["problem"]:
                notify(str(facts["problem"]), DataWarning)
    # Another run is at work: that one tells how it ends.
    locked = record.exit_code == LockedError.exit_code
    name = None if locked else _HOOKS.get(record.status)
    command = getattr(config.hooks, name) if name else ()
    if command:
        from clvpredict.refit.hooks import run_hook

        with steps.step("hook") as facts:
            said = _facts_of_hook(config, run.store, record)
            facts |= run_hook(command, said, config.hooks.timeout)
            record.facts["hook"] = dict(facts)
            if facts["problem"]:
                notify(str(facts["problem"]), DataWarning)
    record.timings, record.warnings = steps.timings, steps.warnings
    with _as_well_as_possible("the record of this run could not be written"):
        run.store.save(record)


def _facts_of_hook(config: Config, store: Store, record: RunRecord) -> dict[str, Any]:
    message = record.error["message"] if record.error else record.facts.get("says", record.status)
    files = [config.resolve(out.path) for out in config.outputs if out.path]
    return {
        "name": record.name,
        "run_id": record.run_id,
        "status": record.status,
        "exit_code": record.exit_code,
        "version": record.version,
        "as_of": record.as_of,
        "record": store.run_folder(record.run_id) / "run.json",
        "predictions": files[0] if files else None,
        "message": message,
    }


@contextlib.contextmanager
def _as_well_as_possible(what: str) -> Iterator[None]:
    """Turn an error into a warning, where the run has ended by other things already."""
    try:
        yield
    except (ClvError, OSError) as error:
        notify(f"{what}: {secrets.redact(str(error))}", DataWarning)


def _day(value: str | date | None) -> date | None:
    if value is None:
        return None
    try:
        day = value if type(value) is date else date.fromisoformat(str(value).strip())
    except ValueError:
        raise OptionError(
            f"as_of={value!r} is not a day. Give an ISO date, such as '2026-11-22'."
        ) from None
    # A shop east of here may be in tomorrow already. Everybody would be long gone on a later day,
    # and what is published of it would keep all runs until then from being published.
    if day > date.today() + timedelta(days=1):
        raise OptionError(
            f"as_of={value!r} lies in the future; give today, {date.today()}, or an earlier day. "
            "For the newest transactions, whenever they are, leave it out."
        )
    return day
