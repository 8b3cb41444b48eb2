"""The folder of a job: its runs, its versions, and which of these is published."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clvpredict.atomic import new_folder
from clvpredict.errors import ArtefactError, DataWarning, OptionError, did_you_mean, notify
from clvpredict.refit.files import Migrations, now, read_json, write_json
from clvpredict.refit.published import VERSIONS, Published, names_in
from clvpredict.refit.records import RunRecord, read_record, write_record
from clvpredict.refit.versions import Version, add_version, read_version

SCHEMA_VERSION = 1
_FILE, _KIND = "store.json", "clvpredict store"
_RUNS, _WORK = "runs", "work"
# What else there may be: a store whose store.json was lost is known by it.
_PARTS = {
    *(_RUNS, _WORK, VERSIONS, "ledger"),
    *("lock.json", "latest.json", "publishing.json", "withdrawn.json"),
}
_MINUTE = 60.0
# Kept while a run runs, so that a full disk, which ends it, has room for the record of that.
_ROOM, _ROOM_BYTES = "room", 2**17
#: None yet: this is the first version.
MIGRATIONS: Migrations = {}
# What atomic writing leaves where its process is killed.
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


class Store(Published):
    """The runs and versions of a job; get one by :meth:`Store.at`.

    What changes files needs the lock of the store (``refit/lock.py``), and every file is there
    whole or not at all, so reading needs none.

    Parameters
    ----------
    folder : Path
    """

    @classmethod
    def at(cls, folder: str | Path, create: bool = False) -> Store:
        """Open the store in a folder.

        Parameters
        ----------
        folder : str or Path
        create : bool
            Make it where there is none.

        Raises
        ------
        OptionError
            If there is no store, or something else is in the folder.
        ArtefactError
            If it was written by a newer clvpredict.
        """
        folder = Path(folder).absolute()
        path = folder / _FILE
        if folder.is_file():
            raise OptionError(f"'{folder}' is a file; give a folder for the store.")
        try:
            read_json(path, _KIND, SCHEMA_VERSION, MIGRATIONS)
            return cls(folder)
        except FileNotFoundError:
            pass
        if not create:
            raise OptionError(
                f"there is no store in '{folder}': it has no {_FILE}. The first run makes it: "
                "clvpredict refit CONFIG"
            )
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted(p.name for p in folder.iterdir() if not _LEFTOVER.fullmatch(p.name))
        if _RUNS in others and all(n in _PARTS or n.startswith("history") for n in others):
            notify(f"'{path}' was not there and is written anew.", DataWarning)
        # Another process may have made the store since we looked.
        elif others and not path.exists():
            raise OptionError(
                f"'{folder}' has other things in it ({', '.join(others[:5])}) and is not made a "
                "store. Give a folder of its own, such as store = 'clvpredict-store'."
            )
        write_json(path, {"format": _KIND, "schema_version": SCHEMA_VERSION})
        return cls(folder)

    # --- runs -----------------------------------------------------------------------------

    def begin(self, record: RunRecord) -> Path:
        """Make the folder of a run, with its record in it.

        Raises
        ------
        OptionError
            If there is a run of this id.
        """
        folder = self.run_folder(record.run_id)
        if folder.exists():
            raise OptionError(f"there is a run {record.run_id} already; every run has its own id.")
        folder.parent.mkdir(exist_ok=True)
        # Whole or not at all, for a folder of a run without a record would be a riddle.
        with new_folder(folder) as temporary:
            write_record(record, temporary)
            if record.status == "running":
                # Not of one byte again and again, which some file systems do not store.
                (temporary / _ROOM).write_bytes(os.urandom(_ROOM_BYTES))
        return folder

    def save(self, record: RunRecord) -> None:
        """Write a record anew; whoever reads finds the old one or the new one."""
        folder = self.run_folder(record.run_id)
        if record.status != "running":
            (folder / _ROOM).unlink(missing_ok=True)
        write_record(record, folder)

    def run_folder(self, run_id: str) -> Path:
        """Where a run's record lies."""
        return self.folder / _RUNS / run_id

    def run_ids(self) -> list[str]:
        """All runs, newest first."""
        return sorted(names_in(self.folder / _RUNS), reverse=True)

    def record(self, run: str) -> RunRecord:
        """Find the record of a run.

        Parameters
        ----------
        run : str
            Its id, the beginning of it, or ``"latest"``: the one that was started last.

        Raises
        ------
        OptionError
            If there is none, or several begin so.
        ArtefactError
            If it cannot be read.
        """
        known = self.run_ids()
        found = known[:1] if run == "latest" else [r for r in known if r == run]
        found = found or _beginning(known, run, "runs")
        if found:
            return read_record(self.run_folder(found[0]))
        there = f"the last ones are {', '.join(known[:5])}" if known else "it has none yet"
        raise OptionError(
            f"the store has no run '{run}'; {there}.{did_you_mean(run, known)} "
            "See them all: clvpredict runs"
        )

    def records(self) -> list[RunRecord]:
        """All records, newest first; those that cannot be read are named in a warning."""
        found, broken = [], []
        for run_id in self.run_ids():
            try:
                found.append(read_record(self.run_folder(run_id)))
            except ArtefactError as error:
                broken.append(str(error))
        if broken:
            notify(f"records that are left out: {' '.join(broken)}", DataWarning)
        return found

    def close_crashed(self, by: str) -> list[RunRecord]:
        """Mark the runs that ended without a word; needs the lock.

        Parameters
        ----------
        by : str
            The run that does this; it and the processes that certainly run are left alone.

        Returns
        -------
        list of RunRecord
            Those marked.
        """
        crashed = []
        for record in self.records():
            if record.status != "running" or record.run_id == by or record.process().runs():
                continue
            record.status = "crashed"
            record.error = {
                "type": "Crashed",
                "message": f"the process ended without a word; run {by} found that at {now()}",
                "step": None,
            }
            self.save(record)
            crashed.append(record)
        return crashed

    # --- temporary things -----------------------------------------------------------------

    def work_folder(self, run_id: str) -> Path:
        """Make the folder for what a run needs only while it runs."""
        folder = self.folder / _WORK / run_id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give an empty folder on the disk of the store, which is removed in the end."""
        folder = self.work_folder(f"scratch-{secrets.token_hex(4)}")
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def clean_work(self, keep: str | None = None) -> list[str]:
        """Remove what runs have left that were killed; needs the lock.

        Parameters
        ----------
        keep : str, optional
            The run whose folder is in use.

        Returns
        -------
        list of str
            What was removed.
        """
        work = self.folder / _WORK
        removed = [self._remove(work / name) for name in names_in(work) if name != keep]
        # A run notes itself down before it has the lock; so what is new may be at work.
        new = time.time() - _MINUTE
        for path in sorted(self.folder.rglob(".*.tmp")):
            in_runs = (self.folder / _RUNS) in path.parents
            with contextlib.suppress(FileNotFoundError):
                if _LEFTOVER.fullmatch(path.name) and not (in_runs and path.stat().st_mtime > new):
                    removed.append(self._remove(path))
        return removed

    # --- versions -------------------------------------------------------------------------

    def add_version(self, build: Callable[[Path], dict[str, Any]]) -> Version:
        """Keep what a run has made.

        Parameters
        ----------
        build : callable
            Fills the empty folder that it is given, and returns facts as plain data. Time and run
            must not be in either, for the id is made of the contents: equal contents are one
            version.

        Returns
        -------
        Version
            The new one, or the one that was there.
        """
        with self.scratch() as staged:
            return add_version(self.folder / VERSIONS, staged, build(staged))

    def version(self, version: str) -> Version:
        """Find a version by its id, or the beginning of it.

        Raises
        ------
        OptionError
            If there is none, or several begin so.
        ArtefactError
            If it cannot be read.
        """
        known = sorted(names_in(self.folder / VERSIONS))
        found = _beginning(known, version, "versions")
        if found:
            return read_version(self.folder / VERSIONS / found[0])
        there = f"it has {', '.join(known[:5])}" if known else "it has none yet"
        raise OptionError(
            f"the store has no version '{version}'; {there}.{did_you_mean(version, known)} Older "
            "ones may have been removed ([retention] versions)."
        )

    def version_ids(self) -> list[str]:
        """All versions, those that runs named last first."""
        named: dict[str, str] = {}
        for record in self.records():
            if record.version is not None:
                named.setdefault(record.version, record.run_id)
        folder = self.folder / VERSIONS
        return sorted(
            names_in(folder),
            key=lambda v: (named.get(v) or _made(folder / v), v),
            reverse=True,
        )

    def versions(self) -> list[Version]:
        """All versions that can be read, newest first; others are named in a warning."""
        found, broken = [], []
        for name in self.version_ids():
            try:
                found.append(read_version(self.folder / VERSIONS / name))
            except ArtefactError as error:
                broken.append(str(error))
        if broken:
            notify(f"versions that are left out: {' '.join(broken)}", DataWarning)
        return found

    # --- retention ------------------------------------------------------------------------

    def prune(self, keep_runs: int, keep_versions: int) -> list[str]:
        """Remove old runs and versions; needs the lock.

        What is published, what was before, what is about to be, and all that belongs to runs that
        have not ended stay, however old.

        Returns
        -------
        list of str
            What was removed, such as ``"runs/20261122T093703Z-1a2b3c"``.
        """
        latest, intention = self.latest(), self.intention()
        running = [r for r in self.records() if r.status == "running"]
        runs = {r.run_id for r in running}
        versions = {v for r in running for v in (r.version, r.champion) if v}
        versions |= {v for v in (self.previous(),) if v}
        for said in (latest, intention):
            if said is not None:
                runs.add(said.run_id)
                versions.add(said.version)
        # Versions first: their order is that of the runs that named them.
        old = [self.folder / VERSIONS / v for v in self.version_ids()[keep_versions:]]
        old += [self.folder / _RUNS / r for r in self.run_ids()[keep_runs:]]
        return [self._remove(path) for path in old if path.name not in runs | versions]

    # --- files ----------------------------------------------------------------------------

    def _remove(self, path: Path) -> str:
        """Remove a file or folder in one step as readers see it; returns its name in the store."""
        name = path.relative_to(self.folder).as_posix()
        if path.is_dir() and not _LEFTOVER.fullmatch(path.name):
            aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
            os.replace(path, aside)
            path = aside
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        return name


def _made(folder: Path) -> str:
    """When a folder was made, in the form in which a run's id begins."""
    return f"{datetime.fromtimestamp(folder.stat().st_mtime, UTC):%Y%m%dT%H%M%SZ}"


def _beginning(known: list[str], begin: str, what: str) -> list[str]:
    """The one id that begins so; none if there is none.

    Raises
    ------
    OptionError
        If there are several.
    """
    found = [name for name in known if begin and name.startswith(begin)]
    if len(found) > 1:
        raise OptionError(
            f"several {what} begin with '{begin}': {', '.join(found[:5])}. Type more of the id."
        )
    return found
