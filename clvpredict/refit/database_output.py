"""Predictions into a table of a database: all of them in one transaction, or none."""

from __future__ import annotations

import contextlib
import json
import secrets as random
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clvpredict.errors import ClvError, OptionError
from clvpredict.refit import connect, secrets
from clvpredict.refit.errors import PublishError
from clvpredict.refit.files import digest_of_file
from clvpredict.refit.targets import (
    SUFFIX,
    TYPES,
    Name,
    Target,
    family,
    listed,
    quoted,
    transaction,
    type_of,
)

#: Columns of ``<table>_manifest``, all text but the rows.
MANIFEST = ("run_id", "version", "as_of", "published_at", "rows", "sha256", "columns")
_DAY = "as_of"


def publish_table(
    database: str,
    table: str,
    predictions: Path,
    facts: Mapping[str, Any],
    *,
    partition: bool = False,
) -> dict[str, Any]:
    """Put predictions into a table of a database, whole or not at all.

    Rows go into a new table first. Where the columns are those of the published table, its rows
    are replaced, and grants, views and indexes stay; else the new table takes its name. All of
    it, with the manifest in ``<table>_manifest``, is one transaction: readers see what was there
    before or what is there now, and a process that is killed leaves no trace.

    Parameters
    ----------
    database : str
        URL; names of secrets in it are resolved here, and relative paths have been.
    table : str
        ``"table"`` or ``"schema.table"``.
    predictions : Path
        A Parquet file.
    facts : mapping
        ``run_id``, ``version``, ``as_of``, ``published_at``: text.
    partition : bool
        Keep a row per customer and day: only the rows of this `as_of` are replaced, which is the
        last column.

    Returns
    -------
    dict
        The manifest, with ``database`` and ``table``, and ``written``: False where the same
        predictions were there already.

    Raises
    ------
    PublishError
        If it was not possible; without secrets. What was there before is still there.
    """
    says = secrets.redact(database)
    try:
        kind = connect.kind_of(database)
        content = _Content.read(predictions, facts, kind=kind, partition=partition)
        with transaction(kind, secrets.resolve(database)) as target:
            manifest, written = _publish(target, Name.of(table), content)
    except _errors() as error:
        cause = secrets.redact(" ".join(str(error).split()) or type(error).__name__)
    else:
        return {"database": says, "table": table, **manifest, "written": written}
    # Not chained: the causes are not redacted.
    raise PublishError(
        f"the table '{table}' of {says} could not be written: {cause}. What was there before is "
        "still there"
    )


@dataclass(frozen=True)
class _Content:
    """What is to be there: a Parquet file, and its manifest."""

    path: Path
    columns: dict[str, str]
    manifest: dict[str, Any]
    day: str | None

    @classmethod
    def read(cls, path: Path, facts: Mapping[str, Any], *, kind: str, partition: bool) -> _Content:
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            columns = {f.name: type_of(f, kind) for f in file.schema_arrow}
            rows = file.metadata.num_rows
        day = str(facts[_DAY]) if partition else None
        if day is not None:
            if _DAY in columns:
                raise OptionError(f"the predictions have a column '{_DAY}' already")
            columns[_DAY] = TYPES[kind][4]
        manifest = {
            name: None if facts[name] is None else str(facts[name]) for name in MANIFEST[:4]
        }
        manifest |= {
            "rows": rows,
            "sha256": digest_of_file(path),
            "columns": json.dumps(list(columns), ensure_ascii=False),
        }
        return cls(path, columns, manifest, day)


def _publish(target: Target, table: Name, content: _Content) -> tuple[dict[str, Any], bool]:
    """Replace what is published, unless it is the same."""
    known = _prepare_manifest(target, table, content)
    there = target.columns(table)
    if known is not None and _is_there(target, table, there, known, content):
        return known, False
    new = table.beside(f"clvpredict_{random.token_hex(8)}")
    given = {n: t for n, t in content.columns.items() if content.day is None or n != _DAY}
    target.create(new, given)
    target.load(new, content.path, given)
    if _alike(there, content.columns):
        _refill(target, table, new, given, content)
    elif content.day is None:
        if there:
            target.run(f"DROP TABLE {table.sql}")
        target.run(f"ALTER TABLE {new.sql} RENAME TO {quoted(table.name)}")
    elif there:
        raise OptionError(
            f"the table has other columns ({', '.join(there)}) than the predictions "
            f"({', '.join(content.columns)}), so days cannot stay beside one another. Rename it, "
            "and a new one will be made"
        )
    else:
        target.create(table, content.columns)
        _refill(target, table, new, given, content)
    _note(target, table, content)
    return content.manifest, True


def _refill(
    target: Target, table: Name, new: Name, given: Mapping[str, str], content: _Content
) -> None:
    """Replace the rows of the table, or of the day; the table stays."""
    where, values = _of_day(target, content)
    target.run(f"DELETE FROM {table.sql}{where}", values)
    day = "" if content.day is None else f", CAST({target.mark()} AS {content.columns[_DAY]})"
    target.run(
        f"INSERT INTO {table.sql} ({listed(content.columns)}) "
        f"SELECT {listed(given)}{day} FROM {new.sql}",
        values,
    )
    target.run(f"DROP TABLE {new.sql}")


def _prepare_manifest(target: Target, table: Name, content: _Content) -> dict[str, Any] | None:
    """Make the manifest's table where there is none; what it says, of the day if there are days."""
    manifest = table.beside(table.name + SUFFIX)
    there = target.columns(manifest)
    if not there:
        target.create(manifest, {n: target.whole if n == "rows" else "TEXT" for n in MANIFEST})
        return None
    if set(there) != set(MANIFEST):
        raise OptionError(
            f"there is a table '{manifest.name}' of something else, and the manifest goes into one "
            "of this name. Rename it, or publish to another table"
        )
    target.alone(manifest)
    where, values = _of_day(target, content)
    found = target.run(f"SELECT {listed(MANIFEST)} FROM {manifest.sql}{where}", values)
    return dict(zip(MANIFEST, found[0], strict=True)) if len(found) == 1 else None


def _is_there(
    target: Target,
    table: Name,
    there: Mapping[str, str],
    known: Mapping[str, Any],
    content: _Content,
) -> bool:
    same = ("rows", "sha256", "columns", "version", _DAY)
    if not there or any(known[name] != content.manifest[name] for name in same):
        return False
    where, values = _of_day(target, content)
    [(rows,)] = target.run(f"SELECT count(*) FROM {table.sql}{where}", values)
    return bool(rows == content.manifest["rows"])


def _note(target: Target, table: Name, content: _Content) -> None:
    """Write the manifest."""
    manifest = table.beside(table.name + SUFFIX)
    where, values = _of_day(target, content)
    target.run(f"DELETE FROM {manifest.sql}{where}", values)
    marks = ", ".join(target.mark(i) for i in range(1, len(MANIFEST) + 1))
    target.run(
        f"INSERT INTO {manifest.sql} ({listed(MANIFEST)}) VALUES ({marks})",
        [content.manifest[name] for name in MANIFEST],
    )


def _of_day(target: Target, content: _Content) -> tuple[str, list[str]]:
    if content.day is None:
        return "", []
    return f" WHERE CAST({quoted(_DAY)} AS TEXT) = {target.mark()}", [content.day]


def _alike(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether rows of one table fit into the other without a loss."""
    return {n: family(t) for n, t in one.items()} == {n: family(t) for n, t in other.items()}


def _errors() -> tuple[type[Exception], ...]:
    """What databases raise, of the libraries that are there."""
    import duckdb
    import pyarrow as pa

    found: list[type[Exception]] = [ClvError, OSError, sqlite3.Error]
    found += [duckdb.Error, pa.ArrowException]
    with contextlib.suppress(ImportError):
        import psycopg

        found.append(psycopg.Error)
    return tuple(found)
