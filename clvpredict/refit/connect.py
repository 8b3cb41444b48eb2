"""Databases: connections, tables and queries of them as Ibis tables, and their errors."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from clvpredict.errors import (
    ClvError,
    DataError,
    MissingExtraError,
    OptionError,
    Problem,
    did_you_mean,
)
from clvpredict.refit import secrets
from clvpredict.refit.retries import may_pass
from clvpredict.transactions.engine import fetch, ibis_quiet

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import psycopg
    import pyarrow as pa

Kind = Literal["postgresql", "duckdb", "sqlite"]

_SCHEMES: dict[str, Kind] = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "duckdb": "duckdb",
    "sqlite": "sqlite",
}
#: Seconds that a connection may take, and another's lock may last, before it counts as a failure.
PATIENCE = 30
#: Of DuckDB: keeping the order of rows would take memory that grows with them.
ENGINE = ("SET TimeZone = 'UTC'", "SET preserve_insertion_order = false")
_BATCH = 50_000
_VIEW = "clvpredict_query"
_LIBRARIES = ("psycopg", "duckdb", "sqlite3", "ibis", "sqlglot", "pyarrow")


def kind_of(address: str) -> Kind:
    """Which database a URL is of.

    Raises
    ------
    OptionError
        If it is of none that is known.
    """
    scheme = address.partition("://")[0].lower()
    if "://" not in address or scheme not in _SCHEMES:
        raise OptionError(
            f"database = '{secrets.redact(address)}' is not known. Allowed: 'postgresql://...', "
            "'duckdb:///shop.duckdb', 'sqlite:///shop.sqlite'."
        )
    return _SCHEMES[scheme]


def file_of(address: str) -> Path:
    """The file of a DuckDB or SQLite database."""
    return Path(address.partition("://")[2].removeprefix("/"))


def split_name(table: str) -> tuple[str | None, str]:
    """Split ``"schema.table"``; the schema may be absent."""
    schema, _, name = table.rpartition(".")
    return schema or None, name


def postgres(address: str, *, may_write: bool = False) -> psycopg.Connection[Any]:
    """Connect to PostgreSQL; a server that has died is noticed.

    Parameters
    ----------
    address : str
        URL with its secrets in it.
    may_write : bool
        Whether something may be written; it is then one transaction.

    Raises
    ------
    MissingExtraError
        If psycopg is not installed.
    """
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        raise MissingExtraError("postgres", "a PostgreSQL database") from None
    usual: dict[str, Any] = {
        "connect_timeout": PATIENCE,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 5,
        "application_name": "clvpredict",
    }
    given = conninfo_to_dict(address)
    usual = {name: value for name, value in usual.items() if name not in given}
    if not may_write:
        read_only = "-c default_transaction_read_only=on"
        usual["options"] = f"{given.get('options') or ''} {read_only}".strip()
    return psycopg.connect(address, autocommit=not may_write, **usual)


@contextlib.contextmanager
def opened(address: str, table: str | None, query: str | None) -> Iterator[ir.Table]:
    """Give a table, or what a query finds, to read from; nothing can be written.

    Parameters
    ----------
    address : str
        URL with its secrets in it.
    table, query : str or None
        One of them. The table may be ``"schema.table"``.

    Raises
    ------
    DataError
        If there is no such database or table, or it refuses; without secrets. What may pass is
        raised as it is, for :func:`clvpredict.refit.retries.retrying`.
    """
    with errors(), _backend(address) as backend:
        with ibis_quiet():
            found = _query(backend, query) if query is not None else _table(backend, table or "")
        yield found


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Turn what a database says into errors of ours, unless it may pass."""
    try:
        yield
    except ClvError:
        raise
    except Exception as error:
        library = type(error).__module__.partition(".")[0].lstrip("_")
        if may_pass(error) or library not in _LIBRARIES:
            raise
        says = secrets.redact(" ".join(str(error).split())[:500])
        fix = "correct [source] (database, table, query), or ask who runs the database"
    else:
        return
    # Not chained: the cause is not redacted.
    raise DataError("source", [Problem(f"the database says: {says}", fix)]) from None


@contextlib.contextmanager
def _backend(address: str) -> Iterator[Any]:
    import ibis

    kind = kind_of(address)
    if kind == "postgresql":
        with contextlib.closing(postgres(address)) as connection:
            yield ibis.postgres.from_connection(connection)
        return
    path = file_of(address)
    if not path.is_file():
        fix = "correct [source] database; four slashes begin a path in full: sqlite:////data/..."
        raise DataError("source", [Problem(f"there is no file '{path}'", fix)])
    if kind == "sqlite":
        uri = f"file:{quote(str(path))}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE)) as lite:
            yield ibis.sqlite.from_connection(lite)
        return
    backend = ibis.duckdb.connect(path, read_only=True, autoinstall_known_extensions="false")
    try:
        for setting in (*ENGINE, "SET enable_progress_bar = false"):
            backend.raw_sql(setting)
        yield backend
    finally:
        backend.disconnect()


def _table(backend: Any, table: str) -> ir.Table:
    from ibis.common.exceptions import TableNotFound

    schema, name = split_name(table)
    try:
        found: ir.Table = backend.table(name, database=schema)
    except TableNotFound:
        known = list(backend.list_tables(database=schema))
    else:
        return found
    shown = ", ".join(sorted(known)[:12]) or "(none)"
    what = f"no table '{table}'; there are: {shown}.{did_you_mean(name, known)}"
    raise DataError("source", [Problem(what, "correct [source] table, or give a query")])


def _query(backend: Any, query: str) -> ir.Table:
    query = query.strip().rstrip(";")
    if backend.name != "postgres":
        # Not backend.sql, which calls a method that DuckDB 2 has no more.
        backend.con.execute(f"CREATE TEMP VIEW {_VIEW} AS {query}")
        table: ir.Table = backend.table(
            _VIEW, database="temp" if backend.name == "sqlite" else None
        )
        return table
    # A role that may only read cannot make a view.
    import ibis

    with backend.con.cursor() as cursor:
        cursor.execute(f"SELECT * FROM ({query}\n) AS q LIMIT 0")
        columns = {c.name: _postgres_type(backend, c) for c in cursor.description or ()}
    table = backend.sql(query, schema=ibis.schema(columns))
    return table


def _postgres_type(backend: Any, column: Any) -> Any:
    known = backend.con.adapters.types.get(column.type_code)
    name = "unknown" if known is None else known.name
    return backend.compiler.type_mapper.from_string(name)


def write_parquet(table: ir.Table, path: Path) -> None:
    """Stream a table into a Parquet file; memory does not grow with the rows."""
    backend: Any = table.get_backend()
    if backend.name == "duckdb":
        with _full_disk(path):
            backend.to_parquet(table, path)
        return
    import pyarrow.parquet as pq

    table, schema = _as_read(table, backend.name)
    with pq.ParquetWriter(path, schema) as writer:
        for batch in _batches(backend, backend.compile(table), schema):
            writer.write_batch(batch)


def fetch_rows(table: ir.Table) -> list[dict[str, Any]]:
    """Compute a small table."""
    backend: Any = table.get_backend()
    if backend.name == "duckdb":
        found: list[dict[str, Any]] = fetch(table).to_pylist()
        return found
    table, schema = _as_read(table, backend.name)
    return [r for b in _batches(backend, backend.compile(table), schema) for r in b.to_pylist()]


@contextlib.contextmanager
def _full_disk(path: Path) -> Iterator[None]:
    """Say that it is the disk that is full, for the engine's error reads as one of the source."""
    import duckdb

    try:
        yield
    except duckdb.IOException as error:
        if "no space left" not in str(error).lower():
            raise
    else:
        return
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _as_read(table: ir.Table, backend: str) -> tuple[ir.Table, pa.Schema]:
    """Cast what has no good type in Arrow, and say the types of what will be read.

    SQLite has no dates: they are text, and stay that. A decimal without a scale is a float.
    """
    import pyarrow as pa

    casts = {
        name: "float64" if kind.is_decimal() else "string"
        for name, kind in table.schema().items()
        if kind.is_decimal()
        or kind.is_uuid()
        or kind.is_unknown()
        or (backend == "sqlite" and kind.is_temporal())
    }
    table = table.cast(casts) if casts else table
    return table, pa.schema([(n, kind.to_pyarrow()) for n, kind in table.schema().items()])


def _batches(backend: Any, query: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    with _cursor(backend) as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(_BATCH):
            columns = zip(*rows, strict=True)
            arrays = [_array(values, field) for values, field in zip(columns, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


@contextlib.contextmanager
def _cursor(backend: Any) -> Iterator[Any]:
    if backend.name == "sqlite":
        with contextlib.closing(backend.con.cursor()) as cursor:
            yield cursor
        return
    # A named cursor stays on the server; without a name, all rows would be sent at once.
    with backend.con.transaction(), backend.con.cursor("clvpredict", binary=True) as cursor:
        yield cursor


def _array(values: Any, field: pa.Field) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_string(field.type):  # SQLite gives numbers in columns of text
        values = [v if v is None or isinstance(v, str) else str(v) for v in values]
    try:
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        what = f"column '{field.name}' is {field.type} and has other values in it: {error}"
        raise DataError("source", [Problem(what, "cast it in a query: [source] query")]) from error
