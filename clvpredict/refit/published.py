"""What is published: files of a store that say so, each replaced in one step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from clvpredict.refit.files import Migrations, damaged, now, read_json, write_json

#: The folder of the versions in a store.
VERSIONS = "versions"
SCHEMA_VERSION = 1
#: None yet: this is the first version.
MIGRATIONS: Migrations = {}
_LATEST, _PUBLISHING, _WITHDRAWN = "latest.json", "publishing.json", "withdrawn.json"
_KINDS = {
    _LATEST: "clvpredict latest version",
    _PUBLISHING: "clvpredict publication",
    _WITHDRAWN: "clvpredict withdrawn versions",
}
_REMEMBERED = 100


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Latest(_Said):
    """What is published.

    Parameters
    ----------
    version : str
    run_id : str
        The run that published it.
    as_of : str
        The day of its data.
    since : str
        UTC, ISO.
    before : tuple of str
        Versions that were published before it, oldest first.
    """

    version: str
    run_id: str
    as_of: str
    since: str
    before: tuple[str, ...] = ()


class Intention(_Said):
    """What a run is about to publish, or was when it was killed.

    Parameters
    ----------
    version, run_id, as_of : str
    back_from : str or None
        The version that this one takes back: a rollback.
    """

    version: str
    run_id: str
    as_of: str
    back_from: str | None = None


class _Withdrawn(_Said):
    versions: dict[str, dict[str, str]]


class Published:
    """Which version of a store is published, about to be, or withdrawn.

    Parameters
    ----------
    folder : Path
        Of the store.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def latest(self) -> Latest | None:
        """What is published; None before the first time."""
        return self._said(_LATEST, Latest)

    def previous(self) -> str | None:
        """The version that was published before, is still there and was not withdrawn."""
        latest = self.latest()
        there, withdrawn = set(names_in(self.folder / VERSIONS)), self.withdrawn()
        before = latest.before if latest else ()
        return next((v for v in reversed(before) if v in there and v not in withdrawn), None)

    def set_latest(self, version: str, run_id: str, as_of: str, *, back: bool = False) -> Latest:
        """Say which version is published from now on; it is not withdrawn any more.

        Parameters
        ----------
        version, run_id, as_of : str
        back : bool
            Go back to it, so that what came after it is forgotten as published before.
        """
        said = self.latest()
        before: Sequence[str] = () if said is None else (*said.before, said.version)
        if version in before and back:
            before = before[: before.index(version)]
        since = said.since if said is not None and said.version == version else now()
        kept = tuple(dict.fromkeys(v for v in before if v != version))[-_REMEMBERED:]
        latest = Latest(version=version, run_id=run_id, as_of=as_of, since=since, before=kept)
        self._write(_LATEST, latest.model_dump())
        withdrawn = self.withdrawn()
        if withdrawn.pop(version, None) is not None:
            self._write_withdrawn(withdrawn)
        return latest

    def intend(
        self, version: str, run_id: str, as_of: str, *, back_from: str | None = None
    ) -> Intention:
        """Note what is about to be published, before the first target is touched."""
        intention = Intention(version=version, run_id=run_id, as_of=as_of, back_from=back_from)
        self._write(_PUBLISHING, intention.model_dump())
        return intention

    def intention(self) -> Intention | None:
        """What a run has begun to publish and not ended."""
        return self._said(_PUBLISHING, Intention)

    def fulfilled(self) -> None:
        """Forget the intention: everything is published."""
        (self.folder / _PUBLISHING).unlink(missing_ok=True)

    def withdraw(self, version: str, why: str, made_of: str = "") -> None:
        """Mark a version as one that no run publishes again by itself.

        Parameters
        ----------
        version, why : str
        made_of : str
            What it was made of (:func:`clvpredict.refit.files.digest_of`): another fit to the same
            differs in its last digits, and has another id.
        """
        said = {"why": why, "since": now(), "made_of": made_of}
        self._write_withdrawn(self.withdrawn() | {version: said})

    def withdrawn(self) -> dict[str, dict[str, str]]:
        """Versions that were withdrawn: ``why``, ``since`` when, and what they are ``made_of``."""
        found = self._said(_WITHDRAWN, _Withdrawn)
        return {} if found is None else found.versions

    def why_withdrawn(self, *, version: str = "", made_of: str = "") -> str | None:
        """Why a version, or whatever is made of the same, was withdrawn; None if it was not."""
        for known, said in self.withdrawn().items():
            if version == known or (made_of and said.get("made_of") == made_of):
                return said["why"]
        return None

    def _said[T: _Said](self, name: str, kind: type[T]) -> T | None:
        path = self.folder / name
        try:
            found = read_json(path, _KINDS[name], SCHEMA_VERSION, MIGRATIONS)
            said = {k: v for k, v in found.items() if k not in ("format", "schema_version")}
            return kind.model_validate(said)
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise damaged(path, error.errors()[0]["msg"]) from error

    def _write(self, name: str, content: dict[str, Any]) -> None:
        said = {"format": _KINDS[name], "schema_version": SCHEMA_VERSION}
        write_json(self.folder / name, said | content)

    def _write_withdrawn(self, versions: dict[str, dict[str, str]]) -> None:
        self._write(_WITHDRAWN, {"versions": versions})


def names_in(folder: Path) -> list[str]:
    """What is in a folder, without what starts with a dot."""
    return [p.name for p in folder.glob("*") if not p.name.startswith(".")]
