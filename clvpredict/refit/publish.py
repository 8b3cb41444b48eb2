"""Predictions of a version, put to where their readers look: whole or not at all."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clvpredict.atomic import new_file
from clvpredict.errors import ArtefactError, ClvError, DataWarning, OptionError, notify
from clvpredict.refit import lock, secrets
from clvpredict.refit.errors import PublishError
from clvpredict.refit.files import digest_of, digest_of_file, now, write_json
from clvpredict.refit.store import Store
from clvpredict.refit.versions import PREDICTIONS, Version
from clvpredict.store.tables import check_target, meta_path, read_table, write_table

if TYPE_CHECKING:
    from clvpredict.refit.config import Config, OutputConfig

FORMAT = "clvpredict predictions"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Finished:
    """A publication that a run had begun and another ended.

    Parameters
    ----------
    version, run_id, as_of : str
        What is published now, and the run that had begun it.
    outputs : list of dict
        The manifests.
    """

    version: str
    run_id: str
    as_of: str
    outputs: list[dict[str, Any]]


def publish(
    config: Config,
    store: Store,
    version: Version,
    *,
    run_id: str,
    as_of: str,
    back_from: str | None = None,
) -> list[dict[str, Any]]:
    """Put the predictions of a version to all outputs, then call it the latest; needs the lock.

    What is there already with the same content is left alone. A process that is killed on the
    way has left a note of what it was doing, and :func:`finish` does the rest.

    Parameters
    ----------
    config : Config
        For its outputs.
    store : Store
    version : Version
        Of that store.
    run_id : str
        The run that publishes.
    as_of : str
        The day of the data, ISO; also that of a partition.
    back_from : str, optional
        The version that this one takes back; it is withdrawn.

    Returns
    -------
    list of dict
        A manifest of each output: rows, columns, checksum, run; ``target`` says where it is, and
        ``written`` whether anything was.

    Raises
    ------
    ArtefactError
        If the version is damaged; nothing is touched.
    PublishError
        If an output could not be written. The others are there, and the version is not yet the
        latest; the next run ends what is left.
    """
    version.check()
    store.intend(version.id, run_id, as_of, back_from=back_from)
    manifests = _to_all(config, store, version, run_id, as_of)
    store.set_latest(version.id, run_id, as_of, back=back_from is not None)
    if back_from is not None:
        why = f"run {run_id} went back to version {version.id}"
        store.withdraw(back_from, why, _made_of(store, back_from))
    store.fulfilled()
    return manifests


def _made_of(store: Store, version: str) -> str:
    """What a version was fitted to, as a digest; "" of one that an older model predicted."""
    try:
        facts = store.version(version).facts
    except (OptionError, ArtefactError):  # removed, or damaged
        return ""
    return "" if facts.get("by_published") else digest_of(facts.get("made_of", {}))


def finish(config: Config, store: Store) -> Finished | None:
    """End what a run had begun to publish when it was killed, or an output failed; needs the lock.

    A version that is damaged cannot be published; then what was published before takes its place
    again everywhere, with a warning.

    Returns
    -------
    Finished or None
        None where nothing was left to do.

    Raises
    ------
    PublishError
        If an output still cannot be written. Whoever publishes something else may go on.
    """
    begun = store.intention()
    if begun is None:
        return None
    try:
        version = store.version(begun.version)
        outputs = publish(
            config,
            store,
            version,
            run_id=begun.run_id,
            as_of=begun.as_of,
            back_from=begun.back_from,
        )
        return Finished(version.id, begun.run_id, begun.as_of, outputs)
    except (ArtefactError, OptionError) as error:
        notify(
            f"run {begun.run_id} was to publish version {begun.version} and cannot: {error} What "
            "was published before stays, or takes its place again.",
            DataWarning,
        )
    latest = store.latest()
    if latest is None:
        store.fulfilled()
        return None
    version = store.version(latest.version)
    outputs = publish(config, store, version, run_id=latest.run_id, as_of=latest.as_of)
    return Finished(version.id, latest.run_id, latest.as_of, outputs)


def partition_of(path: Path, as_of: str) -> Path:
    """Where the file of a day is, of an output that keeps one of each."""
    return path.parent / f"as_of={as_of}" / path.name


def name_of(output: OutputConfig) -> str:
    """An output in words, without its secrets."""
    if output.path is not None:
        return str(output.path)
    return f"table {output.table} of {secrets.redact(str(output.database))}"


def _to_all(
    config: Config, store: Store, version: Version, run_id: str, as_of: str
) -> list[dict[str, Any]]:
    """Try every output, whatever becomes of the others."""
    facts = {"version": version.id, "as_of": as_of, "run_id": run_id}
    manifests, problems = [], []
    for output in config.outputs:
        put: Callable[..., dict[str, Any]] = _put_file if output.path else _put_table
        try:
            manifests.append(put(config, store, version, output, facts))
        except (ClvError, OSError) as error:
            problems.append(f"{name_of(output)}: {secrets.redact(str(error))}")
    if problems:
        raise PublishError(
            f"{len(problems)} of {len(config.outputs)} outputs could not be written; what they "
            "held before is still there. Put the cause right; the next run ends it:\n"
            + "\n".join(f"  {i}. {p}" for i, p in enumerate(problems, start=1))
        )
    return manifests


def _put_table(
    config: Config, store: Store, version: Version, output: OutputConfig, facts: dict[str, Any]
) -> dict[str, Any]:
    from clvpredict.refit.database_output import publish_table

    database = config.resolve_database(str(output.database))
    manifest = publish_table(
        database,
        str(output.table),
        version.file(PREDICTIONS),
        facts | {"published_at": now()},
        partition=output.partition,
    )
    return manifest | {"target": name_of(output)}


def _put_file(
    config: Config, store: Store, version: Version, output: OutputConfig, facts: dict[str, Any]
) -> dict[str, Any]:
    """Put predictions into a file, with their metadata and a manifest beside it."""
    target = config.resolve(str(output.path))
    if output.partition:
        target = partition_of(target, facts["as_of"])
    target.parent.mkdir(parents=True, exist_ok=True)
    suffix = check_target(target)
    # Readers of partitions read all files of a folder, except those with such a name.
    manifest = target.with_name(f"{'_' * output.partition}{target.name}.manifest.json")
    meta = meta_path(target)
    _clear(store, target.parent, (target.name, meta.name, manifest.name))
    has_meta = suffix == ".csv" and not output.partition
    said = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "file": target.name,
        "version": facts["version"],
        "as_of": facts["as_of"],
        "excel_safe": output.excel_safe,
    }
    there = _manifest(manifest, said)
    # To make a large CSV anew only to see that it is there takes longer than all else.
    complete = target.is_file() and (meta.is_file() or not has_meta)
    if there is not None and complete and digest_of_file(target) == there.get("sha256"):
        return there | {"target": str(target), "written": False}
    stored = version.file(PREDICTIONS)
    with store.scratch() as folder:
        staged = stored
        if suffix == ".csv" or output.excel_safe:
            staged = folder / target.name
            write_table(read_table(stored), staged, excel_safe=output.excel_safe)
        written = _replace(staged, target)
        if has_meta and meta_path(staged).is_file():
            written |= _replace(meta_path(staged), meta)
        said |= {**_shape(stored), "sha256": digest_of_file(staged)}
    there = _manifest(manifest, said)
    if there is None:
        there = said | {"run_id": facts["run_id"], "published_at": now()}
        write_json(manifest, there)
    return there | {"target": str(target), "written": written}


def _shape(stored: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    about = pq.read_metadata(stored)
    return {"rows": about.num_rows, "columns": about.schema.to_arrow_schema().names}


def _manifest(path: Path, said: Mapping[str, Any]) -> dict[str, Any] | None:
    """The manifest that is there, if it says the same."""
    try:
        there: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        same = all(there[name] == value for name, value in said.items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return there if same else None


def _replace(staged: Path, target: Path) -> bool:
    """Put the bytes of a file into another in one step; False where they are there already."""
    same_size = target.is_file() and target.stat().st_size == staged.stat().st_size
    if same_size and digest_of_file(target) == digest_of_file(staged):
        return False
    with new_file(target) as temporary:
        shutil.copyfile(staged, temporary)
    return True


def _clear(store: Store, folder: Path, names: Sequence[str]) -> None:
    """Remove what killed runs have left beside their targets."""
    try:
        since = (store.folder / lock.FILE).stat().st_mtime
    except FileNotFoundError:
        since = time.time()
    ours = re.compile(rf"\.({'|'.join(map(re.escape, names))})\.[0-9a-f]{{8}}\.tmp")
    for path in folder.glob(".*.tmp"):
        if ours.fullmatch(path.name):
            with suppress(OSError):
                if path.stat().st_mtime < since:
                    path.unlink()
