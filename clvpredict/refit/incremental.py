"""The ledger: rows of a source that only appends, kept so that the next run reads what is new.

The ledger is a folder of Parquet files (parts) with the rows as they came, and ``ledger.json``,
which says which rows of which part count. An incremental read takes the source's rows from
`late_days` before the newest known one on, and replaces the ledger's rows of that window by them;
older rows come from the ledger. Before that, it counts the older rows in the source by month: if
one came too late, or is gone, the counts differ, and everything is read.

A part is never changed. What a later part replaces is left out by the part's day ``upto``: its
rows before it count. So a commit writes one small file, and a run that is killed leaves the old
ledger or the new one.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis
import ibis.expr.datatypes as dt

from clvpredict.atomic import new_file
from clvpredict.errors import ArtefactError
from clvpredict.refit.connect import ENGINE, fetch_rows
from clvpredict.refit.files import digest_of_file, read_json, write_json
from clvpredict.transactions.engine import Engine
from clvpredict.transactions.files import engine_paths

if TYPE_CHECKING:
    import ibis.expr.types as ir

SCHEMA_VERSION = 1
_FORMAT = "clvpredict ledger"
_FILE = "ledger.json"
_PARTS = "part-*.parquet"
# With more parts than these, a commit writes their rows into one.
_MOST_PARTS = 20
# Wall times are up to 14 hours from UTC, in which instants are compared.
_ZONES = timedelta(days=1)


@dataclass(frozen=True)
class Part:
    """A Parquet file of rows as they came.

    Parameters
    ----------
    path : Path
    rows : int
        All that are in it.
    upto : date or None
        Only rows before this day count; None: all of them.
    sha256 : str or None
        Of the file, where it is known.
    """

    path: Path
    rows: int
    upto: date | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Ledger:
    """The rows of a source that are known.

    Parameters
    ----------
    identity : str
        Of the source, its columns and their types.
    mark : date
        The newest day in it.
    parts : tuple of Part
    """

    identity: str
    mark: date
    parts: tuple[Part, ...]

    def cut(self, late_days: int) -> date:
        """The first day of the window that is read again."""
        return self.mark - timedelta(days=late_days) - _ZONES

    def before(self, day: date) -> tuple[Part, ...]:
        """The parts with what they have before a day."""
        return tuple(
            replace(p, upto=day if p.upto is None else min(p.upto, day)) for p in self.parts
        )


@dataclass(frozen=True)
class Pending:
    """A ledger that will be, once the run has accepted its rows.

    Parameters
    ----------
    folder : Path
    ledger : Ledger
    """

    folder: Path
    ledger: Ledger

    def commit(self) -> None:
        """Make it the ledger, and remove what that does not need."""
        ledger = self.ledger
        if len(ledger.parts) > _MOST_PARTS:
            ledger = replace(ledger, parts=(_merged(self.folder, ledger.parts),))
        parts = [
            {
                "file": p.path.name,
                "rows": p.rows,
                "upto": None if p.upto is None else str(p.upto),
                "sha256": p.sha256 or digest_of_file(p.path),
            }
            for p in ledger.parts
        ]
        content = {
            "format": _FORMAT,
            "schema_version": SCHEMA_VERSION,
            "identity": ledger.identity,
            "mark": str(ledger.mark),
            "parts": parts,
        }
        write_json(self.folder / _FILE, content)
        remove_others(self.folder, ledger.parts)


@dataclass(frozen=True)
class Window:
    """What is to be read of a source.

    Parameters
    ----------
    table : Table
        Its rows that are to be read.
    known : tuple of Part
        Where the others are.
    start : date or None
        The first day that is read; None: everything is.
    why : str
        Why everything is read.
    """

    table: ir.Table
    known: tuple[Part, ...] = ()
    start: date | None = None
    why: str = ""


def new_part(folder: Path) -> Path:
    """A name for a part."""
    return folder / _PARTS.replace("*", secrets.token_hex(4))


def window(table: ir.Table, folder: Path, identity: str, late_days: int) -> Window:
    """Choose what has to be read of a source.

    Parameters
    ----------
    table : Table
        All of it; with a column ``date``.
    folder : Path
        Of the ledger.
    identity : str
    late_days : int
    """
    try:
        ledger = _load(folder)
    except (ArtefactError, OSError, ValueError, KeyError, TypeError) as error:
        ledger, why = None, f"the ledger cannot be used: {error}"
    else:
        why = "nothing is known yet"
    # Parts of runs that were killed or rejected, each of which may be all of the source.
    remove_others(folder, () if ledger is None else ledger.parts)
    if ledger is None:
        return Window(table, why=why)
    if ledger.identity != identity:
        return Window(table, why="the source, its columns or their types are others than before")
    start = ledger.cut(late_days)
    known = ledger.before(start)
    with contextlib.closing(Engine()) as engine:
        set_up(engine)
        here = _by_month(together(engine, known))
    there = _by_month(table.filter(older(table["date"], start)))
    if there != here:
        changed = sorted(m for m in here.keys() | there.keys() if here.get(m) != there.get(m))
        counts = ", ".join(
            f"{m}: {here.get(m, 0):,} known, {there.get(m, 0):,} now" for m in changed[:3]
        )
        return Window(table, why=f"rows before {start} have changed ({counts})")
    return Window(table.filter(~older(table["date"], start)), known, start)


def older(dates: Any, day: date) -> Any:
    """Whether rows are from before a day; False where the date is missing.

    The same comparison is made in every database. Text is compared as text: ISO dates are in its
    order, and others merely are read again more often, or counted as changed.
    """
    kind = dates.type()
    if kind.is_string():
        before = dates < day.isoformat()
    elif kind.is_date():
        before = dates < ibis.date(day)
    elif kind.is_timestamp() and kind.timezone is None:
        before = dates < ibis.timestamp(day.isoformat())
    else:
        instants = dates.cast(dt.Timestamp(timezone="UTC"))
        before = instants < ibis.timestamp(day.isoformat(), timezone="UTC")
    return before.fill_null(False)


def together(engine: Engine, parts: Sequence[Part]) -> ir.Table:
    """The rows that count, of all parts."""
    tables = []
    for part in parts:
        rows: Any = engine.view(engine.raw.read_parquet(engine_paths([str(part.path)])))
        tables.append(rows if part.upto is None else rows.filter(older(rows["date"], part.upto)))
    return tables[0] if len(tables) == 1 else ibis.union(*tables)


def set_up(engine: Engine) -> None:
    """Have instants written as text in UTC, and rows in any order, which takes less memory."""
    for setting in ENGINE:
        engine.raw.execute(setting)


def remove_others(folder: Path, keep: Sequence[Part]) -> None:
    """Remove parts that no ledger needs."""
    names = {part.path.name for part in keep}
    for path in folder.glob(_PARTS):
        if path.name not in names:
            path.unlink(missing_ok=True)


def _load(folder: Path) -> Ledger | None:
    try:
        raw = read_json(folder / _FILE, _FORMAT, SCHEMA_VERSION, {})
    except FileNotFoundError:
        return None
    parts = tuple(_part(folder, **p) for p in raw["parts"])
    return Ledger(raw["identity"], date.fromisoformat(raw["mark"]), parts)


def _part(folder: Path, file: str, rows: int, upto: str | None, sha256: str | None = None) -> Part:
    day = None if upto is None else date.fromisoformat(upto)
    part = Part(folder / Path(file).name, rows, day, sha256)
    if sha256 is not None and digest_of_file(part.path) != sha256:
        raise ValueError(f"'{part.path.name}' is not what was written")
    if rows_of(part.path) != rows:
        raise ValueError(f"'{part.path.name}' has not the {rows:,} rows that it should have")
    return part


def rows_of(path: Path) -> int:
    """The number of rows of a Parquet file."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return int(file.metadata.num_rows)


def _by_month(table: Any) -> dict[str, int]:
    month = table["date"].cast("string").substr(0, 7)
    counted = table.group_by(month=month).aggregate(n=table.count())
    return {row["month"]: row["n"] for row in fetch_rows(counted)}


def _merged(folder: Path, parts: Sequence[Part]) -> Part:
    path = new_part(folder)
    with contextlib.closing(Engine()) as engine, new_file(path) as temporary:
        set_up(engine)
        engine.backend.to_parquet(together(engine, parts), temporary)
    return Part(path, rows_of(path))
