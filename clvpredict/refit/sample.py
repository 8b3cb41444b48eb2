"""A part of the customers, where all would take too long: the same ones in every run."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def sampled(transactions: Path, customer_id: str, customers: int, most: int) -> Iterator[Path]:
    """Give the transactions; of many customers, those of some, chosen by their ids.

    Parameters
    ----------
    transactions : Path
        A Parquet file.
    customer_id : str
        Its column of ids.
    customers : int
        How many there are.
    most : int
        About so many are wanted; of fewer, all are given.

    Yields
    ------
    Path
        The file itself, or one that is removed in the end.
    """
    every = -(-customers // most)
    if every <= 1:
        yield transactions
        return
    from clvpredict.transactions.engine import Engine

    name = '"' + customer_id.replace('"', '""') + '"'
    engine = Engine()
    try:
        with tempfile.TemporaryDirectory(dir=transactions.parent) as folder:
            path = Path(folder) / "sample.parquet"
            rows = engine.raw.read_parquet(str(transactions))
            rows.filter(f"hash({name}) % {every} = 0").write_parquet(str(path))
            yield path
    finally:
        engine.close()
