"""A source, read once into one Parquet file, which everything later in the run reads."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis

from clvpredict.atomic import new_file
from clvpredict.errors import DataError, Problem
from clvpredict.refit import connect, incremental, secrets
from clvpredict.refit.incremental import Ledger, Part, Pending, Window
from clvpredict.refit.retries import ChangedError, OnRetry, retrying
from clvpredict.transactions import sources
from clvpredict.transactions.columns import cut, type_columns, whole_number
from clvpredict.transactions.engine import Engine, fetch
from clvpredict.transactions.files import engine_paths, find_files
from clvpredict.transactions.settings import Settings
from clvpredict.transactions.sources import Source

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from clvpredict.refit.config import Config

_KEPT = "kept"
#: Why rows are left out.
LEFT_OUT = ("after_as_of", "arrived_after_as_of", "no_id", "unknown_id")


@dataclass(frozen=True)
class Landed:
    """The transactions of a run.

    Parameters
    ----------
    path : Path
        A Parquet file with the columns of the customer, the date and the amount, named and typed
        as in the source; a CSV's are text, but for ids that are all written as whole numbers.
    rows, customers : int
    first, last : date or None
        Days (wall time) of the oldest and newest row; None if no date can be read.
    fingerprint : str
        Of the contents, whatever their order; equal ones are equal under one DuckDB.
    left_out : dict of str to int
        Rows: ``after_as_of``, ``arrived_after_as_of``, ``no_id``, ``unknown_id``.
    read : dict
        ``how`` (``"full"`` or ``"incremental"``), ``rows`` (that were read from the source),
        ``files`` (their number), ``start`` (the first day, of an incremental read), ``why`` (an
        incremental source was read in full).
    """

    path: Path
    rows: int
    customers: int
    first: date | None
    last: date | None
    fingerprint: str
    left_out: dict[str, int]
    read: dict[str, Any]
    _pending: Pending | None = field(default=None, repr=False)

    def commit(self) -> None:
        """Let the ledger know these rows; to be called once the run has accepted them."""
        if self._pending is not None:
            self._pending.commit()


@dataclass(frozen=True)
class _Taken:
    """What was read: the new part, and the known ones."""

    new: Part
    window: Window
    identity: str
    text: bool
    files: int


def land(
    config: Config,
    target: Path,
    *,
    as_of: date | None = None,
    ledger: Path | None = None,
    on_retry: OnRetry | None = None,
) -> Landed:
    """Read the source of a job into one Parquet file.

    Rows are streamed, so memory does not grow with their number. What may pass (a server that
    restarts, a file that changes while it is read) is tried again.

    Parameters
    ----------
    config : Config
        Of the job: ``[source]``, and the time zone of ``[summary]``.
    target : Path
        The file to make; it is there whole or not at all. Its folder has to be there.
    as_of : date, optional
        Leave out what was not known at the end of that day: rows of later days, and those that
        arrived later. A row whose arrival is missing is one of its own day.
    ledger : Path, optional
        Folder that remembers a source with ``incremental = true``. With `as_of` it is neither
        read nor changed.
    on_retry : callable, optional
        Called with the number of an attempt that failed and the reason, if another follows.

    Returns
    -------
    Landed
        Call its ``commit`` once the rows are accepted.

    Raises
    ------
    DataError
        If the source is not there, lacks a column, or refuses.
    SourceError
        If it could not be read in all attempts.
    """
    source = config.source
    remembers = source.incremental and ledger is not None and as_of is None
    folder = ledger if remembers and ledger is not None else target.parent
    folder.mkdir(parents=True, exist_ok=True)
    taken = retrying(
        partial(_take, config, folder, remembers),
        attempts=source.attempts,
        first_wait=source.first_wait,
        on_retry=on_retry,
    )
    try:
        landed = _make(config, taken, target, as_of)
        if remembers and landed.last is not None:
            # A day in the future would put every row that arrives outside of the window.
            mark = min(landed.last, date.today())
            known = Ledger(taken.identity, mark, (*taken.window.known, taken.new))
            return _with_pending(landed, Pending(folder, known))
    finally:
        if not remembers:
            taken.new.path.unlink(missing_ok=True)
    return landed


def _with_pending(landed: Landed, pending: Pending) -> Landed:
    from dataclasses import replace

    return replace(landed, _pending=pending)


def _take(config: Config, folder: Path, remembers: bool) -> _Taken:
    """Read the source, as it came, into a part."""
    path = incremental.new_part(folder)
    with _opened(config) as (found, files):
        if found.problems or found.table is None:
            raise DataError("source", found.problems)
        table = found.table
        identity = _identity(config, table)
        chosen = Window(table)
        if remembers:
            chosen = incremental.window(table, folder, identity, config.source.late_days)
        with new_file(path) as temporary:
            connect.write_parquet(chosen.table, temporary)
    new = Part(path, incremental.rows_of(path))
    return _Taken(new, chosen, identity, found.text, files)


@contextlib.contextmanager
def _opened(config: Config) -> Iterator[tuple[Source, int]]:
    """Open the source, with the columns that are wanted of it by their roles."""
    source = config.source
    names = _names(config)
    if source.loaded_at is not None:
        names["loaded"] = source.loaded_at
    if source.database is None:
        paths = [source.path] if isinstance(source.path, str) else list(source.path or ())
        where = [str(config.resolve(p)) for p in paths]
        with _unchanged(where) as files, sources.opened(where, names) as found:
            if found.engine is not None:
                incremental.set_up(found.engine)
            yield found, len(files)
        return
    address = secrets.resolve(config.resolve_database(source.database))
    with (
        connect.opened(address, source.table, source.query) as table,
        sources.opened(table, names) as found,
    ):
        yield found, 0


@contextlib.contextmanager
def _unchanged(where: list[str]) -> Iterator[list[tuple[str, int, int]]]:
    """See to it that files are the same after as before; what was read of others is worth nothing.

    Raises
    ------
    ChangedError
        If they are not, in place of an error that this may have led to.
    """
    before = _stamps(where)
    error: Exception | None = None
    try:
        yield before
    except Exception as e:
        error = e
    try:
        after = _stamps(where)
    except (DataError, OSError):
        after = []
    if after != before:
        changed = sorted({path for path, *_ in set(before) ^ set(after)})
        raise ChangedError(f"'{changed[0]}' changed while it was read") from error
    if error is not None:
        raise error


def _stamps(where: list[str]) -> list[tuple[str, int, int]]:
    stamps = []
    for path in find_files(where):
        found = os.stat(path)
        stamps.append((path, found.st_size, found.st_mtime_ns))
    return stamps


def _names(config: Config) -> dict[str, str]:
    source = config.source
    names = {"id": source.customer_id, "date": source.date}
    return names if source.amount is None else names | {"amount": source.amount}


def _identity(config: Config, table: ir.Table) -> str:
    """What makes two reads ones of the same source; secrets are names in it."""
    source = config.source
    wanted = {"path", "database", "table", "query", "customer_id", "date", "amount", "loaded_at"}
    facts = source.model_dump(mode="json", include=wanted)
    facts["types"] = {name: str(kind) for name, kind in table.schema().items()}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _make(config: Config, taken: _Taken, target: Path, as_of: date | None) -> Landed:
    """Make the file of the run from the parts."""
    with contextlib.closing(Engine()) as engine:
        incremental.set_up(engine)
        raw = incremental.together(engine, (*taken.window.known, taken.new))
        rows = _judged(raw, config, as_of)
        counts, whole, first, last = _counted(rows, text=taken.text)
        names = _names(config)
        kept: Any = rows.filter(rows["status"] == _KEPT)
        columns = {name: kept[role] for role, name in names.items()}
        if taken.text and whole:
            columns[names["id"]] = kept["id"].cast("int64")
        with new_file(target) as temporary:
            connect.write_parquet(kept.select(**columns), temporary)
            customers, fingerprint = _identified(engine, temporary, names["id"])
    window = taken.window
    read: dict[str, Any] = {
        "how": "full" if window.start is None else "incremental",
        "rows": taken.new.rows,
        "files": taken.files,
    }
    read |= {"why": window.why} if window.why else {}
    read |= {"start": str(window.start)} if window.start is not None else {}
    left_out = {reason: counts.get(reason, 0) for reason in LEFT_OUT}
    return Landed(target, counts.get(_KEPT, 0), customers, first, last, fingerprint, left_out, read)


def _judged(raw: Any, config: Config, as_of: date | None) -> Any:
    """Add when a row was, as wall time, and whether it is kept."""
    source = config.source
    rows = _timed(raw, "date", source.date, "at", config)
    judged = []
    if as_of is not None:
        end = ibis.date(as_of)
        judged.append((rows["at"] > end, LEFT_OUT[0]))
        if source.loaded_at is not None:
            rows = _timed(rows, "loaded", source.loaded_at, "arrived", config)
            _refuse_unreadable(rows, source.loaded_at)
            judged = [
                (rows["at"] > end, LEFT_OUT[0]),
                (rows["arrived"] > end, LEFT_OUT[1]),
            ]
    ids = rows["id"]
    judged.append((ids.isnull(), LEFT_OUT[2]))
    if source.unknown_ids:
        judged.append((ids.cast("string").isin([str(i) for i in source.unknown_ids]), LEFT_OUT[3]))
    return rows.mutate(status=ibis.cases(*judged, else_=_KEPT))


def _timed(rows: Any, column: str, name: str, new: str, config: Config) -> Any:
    """Add a column of days (wall time), read as the summary reads dates."""
    settings = Settings.read(
        customer_id=config.source.customer_id,
        date=name,
        amount=None,
        observation_end=None,
        observation_start=None,
        collapse="D",
        returns="net",
        timezone=config.summary.timezone,
        strict=False,
    )
    kept = {f"kept_{c}": rows[c] for c in rows.columns}
    table = rows.select(date=rows[column], **kept)
    typed = type_columns(Source(table), table, settings)
    if typed.problems:
        raise DataError("transactions", typed.problems)
    out = typed.table
    return out.select(
        **{c: out[f"raw_kept_{c}"] for c in rows.columns}, **{new: cut(out["at"], settings)}
    )


def _refuse_unreadable(rows: Any, name: str) -> None:
    wrong = rows.filter(rows["loaded"].notnull() & rows["arrived"].isnull())
    count = fetch(wrong.aggregate(n=wrong.count())).to_pylist()[0]["n"]
    if count:
        some = fetch(wrong.select(text=wrong["loaded"].cast("string")).limit(5)).to_pylist()
        what = f"'{name}' (loaded_at) cannot be read as a time, so what was known is not either"
        fix = "correct these rows, or leave out [source] loaded_at"
        raise DataError("source", [Problem(what, fix, count, [repr(r["text"]) for r in some])])


def _counted(rows: Any, *, text: bool) -> tuple[dict[str, int], bool, date | None, date | None]:
    """Look at every row once: counts by status, whether all ids are whole, first and last day."""
    day = rows["at"]
    wanted = {"n": rows.count(), "first": day.min(), "last": day.max()}
    if text:
        wanted["text_ids"] = rows.count(where=~whole_number(rows["id"]))
    found = {r["status"]: r for r in fetch(rows.group_by("status").aggregate(**wanted)).to_pylist()}
    kept = found.get(_KEPT, {})
    counts = {status: row["n"] for status, row in found.items()}
    return counts, not kept.get("text_ids"), kept.get("first"), kept.get("last")


def _identified(engine: Engine, path: Path, customer_id: str) -> tuple[int, str]:
    """Count the customers, and make the fingerprint."""
    rows = engine.raw.read_parquet(engine_paths([str(path)]))
    quoted = [f'"{name.replace(chr(34), chr(34) * 2)}"' for name in [customer_id, *rows.columns]]
    [(customers, *rest)] = rows.aggregate(
        f"count(DISTINCT {quoted[0]}), count(*), sum(hash({', '.join(quoted[1:])}))"
    ).fetchall()
    facts = json.dumps([[str(t) for t in rows.types], *map(str, rest)])
    return int(customers), hashlib.sha256(facts.encode()).hexdigest()[:32]
