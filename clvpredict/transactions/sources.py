"""Where transactions come from: any source as one Ibis table of raw columns."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from clvpredict.errors import DataError, Problem
from clvpredict.transactions import arrays, files
from clvpredict.transactions.engine import Engine
from clvpredict.transactions.problems import (
    ColumnError,
    missing_column,
    not_a_source,
    not_in_place,
    repeated_column,
    unreadable,
)

if TYPE_CHECKING:
    import ibis.expr.types as ir

Names = dict[str, str]
_TO_PANDAS = "transactions = transactions.to_pandas(); "


@dataclass
class Source:
    """Transactions as an Ibis table.

    Parameters
    ----------
    table : Table
        Columns ``id``, ``date`` and ``amount`` as they came; without those that are absent or
        unreadable.
    backend : str
        Name of the Ibis backend that computes it.
    engine : Engine or None
        The embedded engine; None for an Ibis table, which is computed where it is.
    problems : list of Problem
        What is wrong with the columns.
    files : list of str
        The files it is read from.
    text : bool
        True for CSV: everything is text, and the ids' type is found out from all of them.
    access : str
        Code that makes a pandas frame of it.
    """

    table: ir.Table | None
    backend: str = "duckdb"
    engine: Engine | None = None
    problems: list[Problem] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    text: bool = False
    access: str = ""


@contextlib.contextmanager
def opened(transactions: object, names: Names) -> Iterator[Source]:
    """Open any source; what was opened is closed again.

    Raises
    ------
    DataError
        If it is not a source, or a file cannot be read.
    """
    import ibis.expr.types as ir

    if isinstance(transactions, ir.Table):
        source = _from_ibis(transactions, names)
        with _backend_errors(source.backend):
            yield source
        return
    engine = Engine()
    try:
        source = _from_files(transactions, names, engine) or _from_memory(
            transactions, names, engine
        )
        with _engine_errors(source.files):
            yield source
    finally:
        engine.close()


def _from_ibis(table: ir.Table, names: Names) -> Source:
    import ibis

    try:
        backend = table.get_backend().name
    except ibis.IbisError:
        problem = Problem(
            "the Ibis table is bound to no backend", "take it from one: con.table('transactions')"
        )
        raise DataError("transactions", [problem]) from None
    present, problems = _present(names, table.columns)
    return Source(_select(table, present), backend, problems=problems, access=_TO_PANDAS)


def _from_files(transactions: object, names: Names, engine: Engine) -> Source | None:
    if not isinstance(transactions, (str, os.PathLike, list, tuple)):
        return None
    if isinstance(transactions, (list, tuple)) and not all(
        isinstance(item, (str, os.PathLike)) for item in transactions
    ):
        raise DataError("transactions", [not_a_source(transactions)])
    paths = files.find_files(transactions)
    with _engine_errors(paths):
        if not files.is_parquet(paths[0]):
            return _from_csv(paths, names, engine)
        relation = engine.raw.read_parquet(files.engine_paths(paths), union_by_name=len(paths) > 1)
        table = engine.view(relation)
    present, problems = _present(names, table.columns)
    return Source(
        _select(table, present),
        engine=engine,
        problems=problems,
        files=paths,
        access=f"transactions = pd.read_parquet({paths[0]!r}); ",
    )


def _from_csv(paths: list[str], names: Names, engine: Engine) -> Source:
    """Read CSV as text, by position: neither ids nor names are guessed at."""
    import ibis

    headers: dict[files.CsvHeader, list[str]] = {}
    for path in paths:
        headers.setdefault(files.read_header(path, names.values()), []).append(path)
    tables, problems = [], []
    for header, group in headers.items():
        present, missing = _present(names, header.columns)
        where = f"in '{group[0]}', whose first line names the columns: "
        problems += [Problem(where + p.what, p.fix) for p in missing]
        some: Any = files.engine_paths(group)  # the stubs know one path only
        relation = engine.raw.read_csv(
            some,
            auto_detect=False,
            header=True,
            columns={f"c{i}": "VARCHAR" for i in range(max(len(header.columns), 1))},
            delimiter=header.delimiter,
            quotechar='"',
            escapechar='"',
        )
        places = {role: f"c{header.columns.index(name)}" for role, name in present.items()}
        tables.append(_select(engine.view(relation), places))
    complete = [t for t in tables if t is not None]
    table = ibis.union(*complete) if len(complete) == len(tables) and not problems else tables[0]
    return Source(
        table,
        engine=engine,
        problems=problems,
        files=paths,
        text=True,
        access=f"transactions = pd.read_csv({paths[0]!r}, dtype=str); ",
    )


def _from_memory(transactions: object, names: Names, engine: Engine) -> Source:
    """Take the columns of an in-memory table as Arrow arrays, without copying most types."""
    columns, take = _reader(transactions, list(names.values()))
    present, problems = _present(names, columns)
    found: dict[str, pa.ChunkedArray] = {}
    for role, name in present.items():
        try:
            found[role] = take(role, name)
        except ColumnError as error:
            problems.append(error.problem)
    table = engine.register(pa.table(found)) if found else None
    access = "" if isinstance(transactions, pd.DataFrame) else _TO_PANDAS
    return Source(table, engine=engine, problems=problems, access=access)


Take = Callable[[str, str], pa.ChunkedArray]


def _reader(transactions: Any, wanted: list[str]) -> tuple[Sequence[object], Take]:
    """Return a table's column names, and a function that takes a column."""
    if isinstance(transactions, pd.DataFrame):
        frame = transactions
        return list(frame.columns), lambda role, name: arrays.from_pandas(frame[name], role, name)
    polars = sys.modules.get("polars")
    if polars is not None and isinstance(transactions, (polars.DataFrame, polars.LazyFrame)):
        lazy = transactions.lazy()
        names = lazy.collect_schema().names()
        collected = lazy.select([n for n in names if n in wanted]).collect()
        return names, lambda role, name: _from_polars(collected[name], role, name)
    table, columns = _arrow(transactions, wanted)
    return columns, lambda role, name: arrays.chunked(table[name], role, name)


def _from_polars(series: Any, role: str, name: str) -> pa.ChunkedArray:
    if str(series.dtype) == "Object":
        return arrays.from_pandas(pd.Series(series.to_list(), dtype=object), role, name)
    return arrays.chunked(series.to_arrow(), role, name)


def _arrow(transactions: Any, wanted: list[str]) -> tuple[pa.Table, list[str]]:
    """Take what is wanted of a pyarrow object, or of anything that streams Arrow."""
    if isinstance(transactions, pa.Table):
        return transactions, transactions.column_names
    if isinstance(transactions, pa.RecordBatch):
        return pa.Table.from_batches([transactions]), transactions.schema.names
    if hasattr(transactions, "scanner"):  # a pyarrow.dataset.Dataset, which may be large
        names = transactions.schema.names
        return transactions.to_table(columns=[n for n in names if n in wanted]), names
    if not hasattr(transactions, "__arrow_c_stream__"):
        raise DataError("transactions", [not_a_source(transactions)])
    reader = pa.RecordBatchReader.from_stream(transactions)
    names = reader.schema.names
    keep = [i for i, n in enumerate(names) if n in wanted]
    schema = pa.schema([reader.schema.field(i) for i in keep])
    batches = [
        pa.RecordBatch.from_arrays([batch.column(i) for i in keep], schema=schema)
        for batch in reader
    ]
    return pa.Table.from_batches(batches, schema), names


def _present(names: Names, columns: Sequence[object]) -> tuple[Names, list[Problem]]:
    """Split the wanted columns into those that are there and problems."""
    columns = list(columns)
    present, problems = {}, []
    for role, name in names.items():
        times = columns.count(name)
        if times == 1:
            present[role] = name
        elif times == 0:
            problems.append(missing_column(role, name, columns))
        else:
            problems.append(repeated_column(name, times))
    return present, problems


def _select(table: ir.Table, present: Names) -> ir.Table | None:
    return (
        table.select(**{role: table[name] for role, name in present.items()}) if present else None
    )


@contextlib.contextmanager
def _backend_errors(backend: str) -> Iterator[None]:
    """Say what a user's backend cannot do, and what to do instead."""
    from ibis.common.exceptions import OperationNotDefinedError, TranslationError
    from ibis.common.exceptions import UnsupportedOperationError as Unsupported

    try:
        yield
    except (OperationNotDefinedError, TranslationError, Unsupported) as error:
        raise DataError("transactions", [not_in_place(backend, str(error))]) from error


@contextlib.contextmanager
def _engine_errors(paths: list[str]) -> Iterator[None]:
    """Say which file the engine could not read; errors of other sources are bugs of ours."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        if not paths:
            raise
        reason = " ".join(str(error).split("Possible")[0].split())
        named = next((p for p in paths if p in str(error)), paths[0])
        raise DataError("transactions", [unreadable(named, reason[:500])]) from error
