"""What a run leaves behind, whatever became of it: its record."""

from __future__ import annotations

import functools
import platform
import secrets
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

import clvpredict
from clvpredict.refit.files import Migrations, damaged, now, read_json, write_json
from clvpredict.refit.lock import Process

FORMAT = "clvpredict run"
SCHEMA_VERSION = 1
#: None yet: this is the first version.
MIGRATIONS: Migrations = {}
#: The file of a record in the folder of a run.
FILE = "run.json"

Status = Literal[
    "running",
    "published",
    "unchanged",
    "held back",
    "rejected",
    "failed",
    "crashed",
    "dry run",
    "rebuilt",
    "rolled back",
]
_PACKAGES = ("numpy", "pandas", "scipy", "pymc", "duckdb")


class RunRecord(BaseModel):
    """What went into a run and what came of it, as plain data.

    Parameters
    ----------
    run_id : str
        Time of the start, such as ``"20261122T093703Z-1a2b3c"``; the last digits are within the
        second.
    name : str
        Of the job.
    status : str
        ``"running"`` until it has ended.
    exit_code : int or None
        None where it is running, or was killed.
    started, ended : str
        UTC, ISO.
    as_of : str or None
        The day whose knowledge was used, where one was given or has been found.
    forced, dry_run : bool
        How it was called.
    config_text, config_digest : str
        The configuration as it was written; secrets are not in it.
    packages : dict of str to str
        Versions.
    host, pid, boot_id, process_start, namespace
        Which process it was.
    input : dict or None
        What was read.
    checks, models : list of dict
        What was checked; the fits.
    start : dict
        Where fits were started.
    gate, drift : dict or None
        What they found.
    version : str or None
        What was published or scored with.
    champion : str or None
        What had been published before.
    outputs : list of dict
        Manifests of what was published.
    timings : dict of str to float
        Seconds of each step.
    warnings : list of dict
        What was noted.
    error : dict or None
        What ended it: ``type``, ``message``, ``step``.
    facts : dict
        Anything else.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    format: Literal["clvpredict run"] = "clvpredict run"
    schema_version: int = SCHEMA_VERSION
    run_id: str
    name: str
    status: Status = "running"
    exit_code: int | None = None
    started: str
    ended: str | None = None
    as_of: str | None = None
    forced: bool = False
    dry_run: bool = False
    config_text: str = ""
    config_digest: str = ""
    packages: dict[str, str] = {}
    host: str
    pid: int
    boot_id: str | None = None
    process_start: str | None = None
    namespace: str | None = None
    input: dict[str, Any] | None = None
    checks: list[dict[str, Any]] = []
    models: list[dict[str, Any]] = []
    start: dict[str, Any] = {}
    gate: dict[str, Any] | None = None
    drift: dict[str, Any] | None = None
    version: str | None = None
    champion: str | None = None
    outputs: list[dict[str, Any]] = []
    timings: dict[str, float] = {}
    warnings: list[dict[str, Any]] = []
    error: dict[str, Any] | None = None
    facts: dict[str, Any] = {}

    @classmethod
    def begun(cls, name: str, **known: Any) -> RunRecord:
        """The record of a run that begins now, in this process.

        Parameters
        ----------
        name : str
            Of the job.
        **known
            Other fields.
        """
        began = datetime.now(UTC)
        return cls(
            run_id=known.pop("run_id", None) or new_run_id(began),
            name=name,
            started=now(),
            packages=packages(),
            **Process.this().model_dump(),
            **known,
        )

    def process(self) -> Process:
        """The process of the run."""
        return Process.model_validate(self.model_dump(include=set(Process.model_fields)))


def new_run_id(began: datetime | None = None) -> str:
    """Make the id of a run: in the order of time, and never the same twice."""
    at = began or datetime.now(UTC)
    # Within a second by microseconds; one digit is left to chance.
    return f"{at:%Y%m%dT%H%M%SZ}-{at.microsecond:05x}{secrets.randbelow(16):x}"


def packages() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version(), "clvpredict": clvpredict.__version__}
    return found | {name: _version(name) for name in _PACKAGES}


@functools.cache
def _version(package: str) -> str:
    """Looked up in files, which takes a while where there are many packages."""
    return version(package)


def write_record(record: RunRecord, folder: Path) -> None:
    """Write a record into the folder of its run, whole or not at all."""
    write_json(folder / FILE, record.model_dump())


def read_record(folder: Path) -> RunRecord:
    """Read the record of a run; those of earlier versions of the package load too.

    Raises
    ------
    ArtefactError
        If there is none, or it cannot be read.
    """
    path = folder / FILE
    try:
        return RunRecord.model_validate(read_json(path, FORMAT, SCHEMA_VERSION, MIGRATIONS))
    except FileNotFoundError as error:
        raise damaged(path, "there is no such file") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise damaged(path, f"{where}: {first['msg']}") from error
