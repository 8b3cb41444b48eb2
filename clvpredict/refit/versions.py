"""Versions: models and predictions under an id that is made of their contents."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clvpredict.atomic import new_folder
from clvpredict.errors import ArtefactError, DataWarning, did_you_mean, notify
from clvpredict.refit.files import (
    Migrations,
    damaged,
    digest_of,
    digest_of_file,
    read_json,
    write_json,
)
from clvpredict.store.tables import plain

FORMAT = "clvpredict version"
SCHEMA_VERSION = 1
#: None yet: this is the first version.
MIGRATIONS: Migrations = {}
#: What every version has: its model, and the predictions of it.
MODEL, PREDICTIONS = "model", "predictions.parquet"
_FILE = "version.json"


@dataclass(frozen=True)
class Version:
    """What a run has made.

    Parameters
    ----------
    id : str
        16 hexadecimal digits, of the contents.
    path : Path
        Its folder.
    facts : dict
        What is known of it, as plain data.
    files : dict of str to str
        Name in the folder, and SHA-256.
    """

    id: str
    path: Path
    facts: Mapping[str, Any]
    files: Mapping[str, str]

    def file(self, name: str) -> Path:
        """Where a file or a folder of the version lies.

        Raises
        ------
        ArtefactError
            If the version has none of this name.
        """
        if not any(known == name or known.startswith(f"{name}/") for known in self.files):
            raise ArtefactError(
                f"version {self.id} has no '{name}'; it has {', '.join(self.files)}."
                f"{did_you_mean(name, self.files)}"
            )
        return self.path / name

    def check(self) -> None:
        """Hold all files to their checksums.

        Raises
        ------
        ArtefactError
            If a file is missing or is not what was written.
        """
        problems = [
            f"{name} {'was changed' if (self.path / name).is_file() else 'is missing'}"
            for name, expected in self.files.items()
            if not (self.path / name).is_file() or digest_of_file(self.path / name) != expected
        ]
        if _id_of(self.facts, self.files) != self.id:
            problems.append(f"{_FILE} was changed")
        if problems:
            raise ArtefactError(
                f"version {self.id} in '{self.path}' is damaged: {'; '.join(problems)}. Restore "
                "it from a backup, or publish another: clvpredict rollback"
            )


def read_version(folder: Path) -> Version:
    """Read what a version says of itself; :meth:`Version.check` holds it to that.

    Raises
    ------
    ArtefactError
        If it cannot be read.
    """
    path = folder / _FILE
    try:
        said = read_json(path, FORMAT, SCHEMA_VERSION, MIGRATIONS)
        return Version(folder.name, folder, said["facts"], said["files"])
    except FileNotFoundError as error:
        raise damaged(path, "there is no such file") from error
    except KeyError as error:
        raise damaged(path, f"it has no {error}") from error


def add_version(folder: Path, staged: Path, facts: dict[str, Any]) -> Version:
    """Move a filled folder to its place among the versions.

    Parameters
    ----------
    folder : Path
        Of all versions.
    staged : Path
        On the same disk; left empty, or as it was if the version is there already.
    facts : dict
        Plain data.

    Returns
    -------
    Version
    """
    files = {
        path.relative_to(staged).as_posix(): digest_of_file(path)
        for path in sorted(staged.rglob("*"))
        if path.is_file()
    }
    facts = plain(facts)
    found = folder / _id_of(facts, files)
    if found.exists():
        try:
            version = read_version(found)
            version.check()
            return version
        except ArtefactError as error:
            notify(f"{error} This run has made the same, which takes its place.", DataWarning)
    folder.mkdir(exist_ok=True)
    with new_folder(found) as target:
        for path in list(staged.iterdir()):
            os.replace(path, target / path.name)
        said = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "facts": facts, "files": files}
        write_json(target / _FILE, said)
    return read_version(found)


def _id_of(facts: Mapping[str, Any], files: Mapping[str, str]) -> str:
    return digest_of({"facts": facts, "files": files})[:16]
