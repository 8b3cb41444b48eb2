"""Databases to write to: what PostgreSQL, DuckDB and SQLite have in common, and what not."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clvpredict.errors import OptionError
from clvpredict.refit import connect

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

#: What follows a table's name in that of its manifest.
SUFFIX = "_manifest"
# PostgreSQL cuts longer names short without a word.
_LONGEST_NAME = 63
_BATCH = 20_000
# What a column's type is like: the names that databases have for it.
_FAMILIES = {
    "integer": ("BIGINT", "INTEGER", "SMALLINT", "INT", "INT8", "HUGEINT"),
    "number": ("DOUBLE PRECISION", "DOUBLE", "REAL", "NUMERIC", "DECIMAL", "FLOAT"),
    "text": ("TEXT", "VARCHAR", "CHARACTER VARYING", "CHARACTER"),
    "boolean": ("BOOLEAN", "BOOL"),
    "date": ("DATE",),
    "time": ("TIMESTAMP", "TIMESTAMP WITHOUT TIME ZONE"),
    "instant": ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ"),
}
TYPES = {
    "postgresql": (
        *("BIGINT", "DOUBLE PRECISION", "TEXT", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMPTZ"),
    ),
    "duckdb": ("BIGINT", "DOUBLE", "VARCHAR", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMPTZ"),
    # SQLite has no type for days, times and truth: text, and 0 or 1.
    "sqlite": ("INTEGER", "REAL", "TEXT", "INTEGER", "TEXT", "TEXT", "TEXT"),
}


@dataclass(frozen=True)
class Name:
    """A table, perhaps within a schema."""

    schema: str | None
    name: str

    @classmethod
    def of(cls, table: str) -> Name:
        """Split the name, and refuse one that leaves no room for that of the manifest."""
        schema, name = connect.split_name(table)
        if len((name + SUFFIX).encode()) > _LONGEST_NAME:
            most = _LONGEST_NAME - len(SUFFIX)
            raise OptionError(f"the table's name may have up to {most} bytes, for '{SUFFIX}'")
        return cls(schema, name)

    def beside(self, name: str) -> Name:
        """Another table of the schema."""
        return Name(self.schema, name)

    @property
    def sql(self) -> str:
        """Quoted."""
        own = quoted(self.name)
        return own if self.schema is None else f"{quoted(self.schema)}.{own}"


class Target:
    """A database within a transaction; SQL that the three have in common."""

    whole = "BIGINT"

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def mark(self, number: int = 1) -> str:
        """What stands for a value in SQL."""
        return "?"

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement; its rows, if it has any."""
        cursor = self.connection.execute(sql, *([tuple(values)] if values else []))
        return list(cursor.fetchall()) if cursor.description else []

    def create(self, table: Name, columns: Mapping[str, str]) -> None:
        """Make a table."""
        defined = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns.items())
        self.run(f"CREATE TABLE {table.sql} ({defined})")

    def alone(self, manifest: Name) -> None:
        """Wait until no other process publishes to the table; readers go on."""

    def columns(self, table: Name) -> dict[str, str]:
        """Names and types of a table's columns; empty if there is no such table."""
        where = f"table_name = {self.mark(1)} AND table_schema = "
        where += "current_schema()" if table.schema is None else self.mark(2)
        found = self.run(
            f"SELECT column_name, data_type FROM information_schema.columns WHERE {where} "
            "ORDER BY ordinal_position",
            [table.name] if table.schema is None else [table.name, table.schema],
        )
        return {name: kind.upper() for name, kind in found}

    def load(self, table: Name, path: Path, columns: Mapping[str, str]) -> None:
        """Put the rows of a Parquet file into a table."""
        raise NotImplementedError


class _Postgres(Target):
    def __init__(self, connection: Any) -> None:
        import psycopg

        # Others look for "%" in SQL, and names may have one.
        connection.cursor_factory = psycopg.RawCursor
        super().__init__(connection)

    def mark(self, number: int = 1) -> str:
        return f"${number}"

    def alone(self, manifest: Name) -> None:
        self.run(f"LOCK TABLE {manifest.sql} IN SHARE ROW EXCLUSIVE MODE")

    def load(self, table: Name, path: Path, columns: Mapping[str, str]) -> None:
        import pyarrow as pa
        import pyarrow.csv

        copy = f"COPY {table.sql} ({listed(columns)}) FROM STDIN (FORMAT csv)"
        # Text is in quotes and what is missing is not, which is how COPY tells "" from null.
        options = pa.csv.WriteOptions(include_header=False)
        with self.connection.cursor() as cursor, cursor.copy(copy) as stream:
            for batch in _batches(path):
                text = pa.BufferOutputStream()
                pa.csv.write_csv(batch, text, options)
                stream.write(text.getvalue().to_pybytes())


class _DuckDB(Target):
    def load(self, table: Name, path: Path, columns: Mapping[str, str]) -> None:
        for batch in _batches(path):
            self.connection.register("clvpredict_batch", batch)
            names = listed(columns)
            self.run(f"INSERT INTO {table.sql} ({names}) SELECT {names} FROM clvpredict_batch")
            self.connection.unregister("clvpredict_batch")


class _SQLite(Target):
    whole = "INTEGER"

    def columns(self, table: Name) -> dict[str, str]:
        where = "" if table.schema is None else ", ?"
        values = [table.name] if table.schema is None else [table.name, table.schema]
        found = self.run(f"SELECT name, type FROM pragma_table_info(?{where})", values)
        return {name: kind.upper() for name, kind in found}

    def load(self, table: Name, path: Path, columns: Mapping[str, str]) -> None:
        marks = ", ".join("?" for _ in columns)
        insert = f"INSERT INTO {table.sql} ({listed(columns)}) VALUES ({marks})"
        for batch in _batches(path, text_times=True):
            rows = zip(*(c.to_pylist() for c in batch.columns), strict=True)
            self.connection.executemany(insert, rows)


@contextlib.contextmanager
def transaction(kind: connect.Kind, address: str) -> Iterator[Target]:
    """Connect and begin; commit at the end, or roll back."""
    target: Target
    if kind == "postgresql":
        with contextlib.closing(connect.postgres(address, may_write=True)) as connection:
            target = _Postgres(connection)
            yield target
            connection.commit()
        return
    path = connect.file_of(address)
    if kind == "sqlite":
        lite = sqlite3.connect(path, timeout=connect.PATIENCE, isolation_level=None)
        target, begin = _SQLite(lite), "BEGIN IMMEDIATE"
    else:
        import duckdb

        target, begin = _DuckDB(duckdb.connect(path)), "BEGIN TRANSACTION"
    with contextlib.closing(target.connection):  # what is not committed is rolled back
        target.run(begin)
        yield target
        target.run("COMMIT")


def type_of(field: pa.Field, kind: str) -> str:
    """The type of a column that takes an Arrow column."""
    import pyarrow as pa

    types = pa.types
    arrow = field.type.value_type if types.is_dictionary(field.type) else field.type
    tests = (
        types.is_integer,
        lambda t: types.is_floating(t) or types.is_decimal(t),
        lambda t: types.is_string(t) or types.is_large_string(t) or t == pa.uuid(),
        types.is_boolean,
        types.is_date,
        lambda t: types.is_timestamp(t) and t.tz is None,
        lambda t: types.is_timestamp(t) and t.tz is not None,
    )
    for test, name in zip(tests, TYPES[kind], strict=True):
        if test(arrow):
            return name
    raise OptionError(f"a table of a database cannot hold the column '{field.name}' ({field.type})")


def family(kind: str) -> str:
    """What a column's type is like, whatever the database calls it."""
    plain = kind.partition("(")[0].strip()
    return next((family for family, names in _FAMILIES.items() if plain in names), plain)


def _batches(path: Path, *, text_times: bool = False) -> Iterator[pa.RecordBatch]:
    """Read a Parquet file in pieces, with plain types."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file: pq.ParquetFile
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH):
            columns = []
            for column in batch.columns:
                kind = column.type
                if pa.types.is_dictionary(kind):
                    column = column.dictionary_decode()
                elif kind == pa.uuid() or (text_times and pa.types.is_temporal(kind)):
                    texts = [None if v is None else str(v) for v in column.to_pylist()]
                    column = pa.array(texts, pa.string())
                columns.append(column)
            yield pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def quoted(name: str) -> str:
    """Quote an identifier."""
    return '"' + name.replace('"', '""') + '"'


def listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    """Quote several."""
    return ", ".join(quoted(n) for n in names)
