"""JSON files that say what they are and of which version, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import clvpredict
from clvpredict.atomic import new_file
from clvpredict.errors import ArtefactError
from clvpredict.store.tables import plain

#: Version n -> what turns a file of version n into one of version n + 1.
Migrations = Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]


def now() -> str:
    """The time in UTC, to the second, as ISO writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all.

    Parameters
    ----------
    path : Path
    content : dict
        NumPy numbers become numbers; nan and infinity become null.
    """
    text = json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False)
    with new_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, kind: str, newest: int, migrations: Migrations) -> dict[str, Any]:
    """Read a JSON file of this package, brought up to its newest version.

    Parameters
    ----------
    path : Path
    kind : str
        What its ``format`` must say, such as ``"clvpredict run"``.
    newest : int
        The ``schema_version`` of files that are written now.
    migrations : dict
        One of each older version.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ArtefactError
        If it cannot be read, is something else, or was written by a newer clvpredict.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, str(error)) from error
    if not isinstance(raw, dict) or raw.get("format") != kind:
        raise ArtefactError(f"'{path}' is not a file of a {kind}: it does not say so.")
    version = raw.get("schema_version")
    if not isinstance(version, int) or version < 1:
        raise damaged(path, f"schema_version is {version!r}")
    if version > newest:
        raise ArtefactError(
            f"'{path}' was written by a newer clvpredict (schema {version}; this one, "
            f"{clvpredict.__version__}, reads up to {newest}). Update: pip install -U clvpredict"
        )
    for step in range(version, newest):
        raw = {**migrations[step](raw), "schema_version": step + 1}
    return raw


def damaged(path: Path, why: str) -> ArtefactError:
    """Make the error for a file that should be fine and is not."""
    return ArtefactError(
        f"'{path}' cannot be read: {why}. Restore it from a backup, or remove it if it is not "
        "needed."
    )


def digest_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of plain data, whatever the order of their keys."""
    text = json.dumps(plain(content), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
