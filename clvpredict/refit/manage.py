"""What is done with runs and versions by hand: looked up, and gone back to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clvpredict.errors import ClvError, DataWarning, OptionError, notify
from clvpredict.refit import secrets
from clvpredict.refit.files import now
from clvpredict.refit.lock import lock
from clvpredict.refit.publish import finish, name_of, partition_of, publish
from clvpredict.refit.records import RunRecord
from clvpredict.refit.store import Store
from clvpredict.refit.versions import Version

if TYPE_CHECKING:
    from clvpredict.refit.config import Config


def find(store: Store, name: str) -> tuple[Version, RunRecord | None]:
    """Find a version by its id, by a run that made or used it, or as ``"latest"``.

    Parameters
    ----------
    store : Store
    name : str
        An id of a run or a version, the beginning of one, or ``"latest"``: what is published.

    Returns
    -------
    version : Version
    record : RunRecord or None
        The run that made it, if it is still known; else the one that was named, or used it last.

    Raises
    ------
    OptionError
        If there is none, or the run made none.
    ArtefactError
        If it cannot be read.
    """
    if name == "latest":
        latest = store.latest()
        if latest is None:
            raise OptionError("nothing is published yet. Publish: clvpredict refit CONFIG")
        name = latest.run_id if latest.run_id in store.run_ids() else latest.version
    if name and any(v.startswith(name) for v in store.version_ids()):
        version = store.version(name)
        return version, _maker(store, version)
    record = store.record(name)
    if record.version is None:
        raise OptionError(
            f"run {record.run_id} ended as '{record.status}' and made no version. See the runs "
            "that did: clvpredict runs"
        )
    version = store.version(record.version)
    # A rollback, or a run that found nothing new, has not looked at any data.
    return version, record if record.gate is not None else _maker(store, version) or record


def run_of(store: Store, name: str) -> RunRecord:
    """Find a run by its id, by a version that it made, or as ``"latest"``: the last started.

    Raises
    ------
    OptionError
        If there is none, or the one that made the version was removed.
    ArtefactError
        If it cannot be read.
    """
    if not (name and any(v.startswith(name) for v in store.version_ids())):
        return store.record(name)
    version, record = find(store, name)
    if record is None:
        raise OptionError(
            f"no run is left that made or used version {version.id}; older ones may have been "
            "removed ([retention] runs). See what there is: clvpredict runs"
        )
    return record


def _maker(store: Store, version: Version) -> RunRecord | None:
    """The run that made a version; else the last that used it, if there is one."""
    used = [r for r in store.records() if r.version == version.id]
    made = [r for r in used if r.gate is not None]
    return made[-1] if made else next(iter(used), None)


def rollback(config: Config, to: str | None = None, *, wait: float = 0.0) -> RunRecord:
    """Publish an earlier version again.

    The version that was published is withdrawn: a run that makes the same again does not publish
    it, unless forced. Going back to a version that was withdrawn makes it one like any other.

    Parameters
    ----------
    config : Config
        For its store and outputs.
    to : str, optional
        A run or a version; without it, the version that was published before.
    wait : float
        Seconds to wait for a run in the same store.

    Returns
    -------
    RunRecord
        Of this, with status ``"rolled back"``; it is in the store too.

    Raises
    ------
    OptionError
        If there is nothing to go back to, or it is what is published.
    ArtefactError
        If the version is damaged; nothing is touched.
    LockedError
        If a run works in the store.
    PublishError
        If an output could not be written. The next run, or another rollback, ends what is left.
    """
    store = Store.at(config.resolve(config.job.store))
    record = RunRecord.begun(config.job.name, config_text=config.text, config_digest=config.digest)
    with lock(store.folder, record.run_id, wait):
        store.close_crashed(record.run_id)
        finish(config, store)
        target, found = _target(store, to)
        target.check()
        left = store.latest()
        as_of = str(target.facts.get("as_of") or (found.as_of if found else None) or now()[:10])
        record.version, record.as_of = target.id, as_of
        record.champion = None if left is None else left.version
        # Who takes back a rollback does not condemn what it had gone back to.
        back_from = None if target.id in store.withdrawn() else record.champion
        record.facts = {"withdrawn": back_from}
        store.begin(record)
        try:
            record.outputs = publish(
                config, store, target, run_id=record.run_id, as_of=as_of, back_from=back_from
            )
            record.status, record.exit_code = "rolled back", 0
        except (ClvError, OSError) as error:
            record.status = "failed"
            record.exit_code = error.exit_code if isinstance(error, ClvError) else 1
            record.error = {
                "type": type(error).__name__,
                "message": secrets.redact(str(error)),
                "step": "publish",
            }
            raise
        finally:
            record.ended = now()
            store.save(record)
    if left is not None and left.as_of != as_of:
        _tell_partitions(config, left.as_of, left.version)
    return record


def _target(store: Store, to: str | None) -> tuple[Version, RunRecord | None]:
    latest = store.latest()
    if to is not None:
        target, record = find(store, to)
        if latest is not None and target.id == latest.version:
            raise OptionError(
                f"version {target.id} is what is published, since {latest.since}. Name another: "
                "see clvpredict runs"
            )
        return target, record
    previous = store.previous()
    if previous is None:
        raise OptionError(
            "there is no version to go back to: none that was published before is still there. "
            "See what there is: clvpredict runs; and name one: clvpredict rollback RUN"
        )
    return find(store, previous)


def _tell_partitions(config: Config, as_of: str, version: str) -> None:
    """Say what a rollback leaves: partitions of another day are not of the version published."""
    kept: list[str] = []
    for output in config.outputs:
        if output.partition:
            file = None if output.path is None else partition_of(Path(output.path), as_of)
            kept.append(f"as_of={as_of} of {name_of(output)}" if file is None else str(file))
    if kept:
        notify(
            f"partitions of version {version}, which was taken back, are still there: "
            f"{'; '.join(kept)}. Remove them if they mislead their readers.",
            DataWarning,
        )
