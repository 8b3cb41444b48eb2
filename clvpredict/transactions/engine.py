"""The embedded engine: an Ibis connection to DuckDB in this process."""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb
    import ibis.expr.types as ir
    import pyarrow as pa
    from ibis.backends.duckdb import Backend


class Engine:
    """DuckDB in memory, spilling to a temporary folder; it never fetches extensions."""

    def __init__(self) -> None:
        import duckdb
        import ibis

        self.raw: duckdb.DuckDBPyConnection = duckdb.connect(
            config={
                "threads": str(_cores()),
                "autoinstall_known_extensions": "false",
                # The default is a folder in the user's working directory. DuckDB makes it when
                # it first spills and removes it when it closes.
                "temp_directory": os.path.join(
                    tempfile.gettempdir(), f"clvpredict-{uuid.uuid4().hex}"
                ),
            }
        )
        # In a notebook without ipywidgets the bar is off already, and may not be touched.
        with contextlib.suppress(duckdb.InvalidInputException):
            self.raw.execute("SET enable_progress_bar = false")
        self.backend: Backend = ibis.duckdb.from_connection(self.raw)
        self._tables = 0

    def register(self, table: pa.Table) -> ir.Table:
        """Make an Arrow table known, without copying it."""
        name = self._name()
        self.raw.register(name, table)
        return self._table(name)

    def view(self, relation: duckdb.DuckDBPyRelation) -> ir.Table:
        """Make a relation (a file reader) known."""
        name = self._name()
        relation.create_view(name)
        return self._table(name)

    def materialise(self, expr: ir.Table) -> ir.Table:
        """Compute a table once and keep it."""
        name = self._name()
        with ibis_quiet():
            return self.backend.create_table(name, expr, temp=True)

    def close(self) -> None:
        """Free everything."""
        self.raw.close()

    def _name(self) -> str:
        self._tables += 1
        return f"clvpredict_{self._tables}"

    def _table(self, name: str) -> ir.Table:
        with ibis_quiet():
            return self.backend.table(name)


def fetch(expr: ir.Table) -> pa.Table:
    """Compute an expression on its own backend."""
    return expr.to_pyarrow()


def fetch_row(expr: ir.Table) -> dict[str, Any]:
    """Compute a table of one row."""
    row: dict[str, Any] = fetch(expr).to_pylist()[0]
    return row


@contextlib.contextmanager
def ibis_quiet() -> Iterator[None]:
    """Silence what Ibis 12 does with methods that DuckDB 2 has deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fetch_arrow_table", DeprecationWarning)
        yield


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
