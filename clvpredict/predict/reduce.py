"""From draws to tables, without ever holding draws × customers.

Customers come in blocks; the draws of a block are reduced to what is asked for, and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from clvpredict.inference.cores import usable_cores
from clvpredict.rfm import Array, group_rows

Index = npt.NDArray[np.intp]
#: From some rows and a generator of random numbers to values of shape (rows, draws), by name.
Work = Callable[[slice, np.random.Generator], Mapping[str, Array]]

# Customers × draws at a time and core: some hundred MB with all that is computed from them.
_ELEMENTS = 800_000


@dataclass(frozen=True)
class DistinctRows:
    """Customers, equal ones once, in an order of their own.

    Parameters
    ----------
    columns : dict of str to ndarray, shape (m,)
        Sorted by the first column, then the others, so that results do not depend on the order
        of the customers.
    inverse : ndarray, shape (n,)
        Row of each customer.
    """

    columns: dict[str, Array]
    inverse: Index

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    @classmethod
    def of(cls, columns: Mapping[str, Array], *, merge: bool = True) -> DistinctRows:
        """Sort customers, and merge equal ones (unless each has to have draws of its own)."""
        arrays = {name: np.asarray(c, np.float64) for name, c in columns.items()}
        n = len(next(iter(arrays.values())))
        group: Index = np.arange(n)
        if merge:
            first, group = group_rows(*arrays.values())
            arrays = {name: c[first] for name, c in arrays.items()}
        order = np.lexsort(tuple(reversed(arrays.values())))
        rank = np.empty(len(order), np.intp)
        rank[order] = np.arange(len(order))
        return cls({name: c[order] for name, c in arrays.items()}, rank[group])


def tails(level: float) -> tuple[float, float]:
    """The probabilities below the ends of an equal-tailed interval."""
    return 0.5 - level / 2, 0.5 + level / 2


@dataclass(frozen=True)
class Interval:
    """What to keep of the draws of a quantity.

    Parameters
    ----------
    mean : ndarray, shape (n,)
    lower, upper : ndarray, shape (n,)
        Order statistics: quantiles that are draws themselves, so that counts stay whole.
    """

    mean: Array
    lower: Array
    upper: Array


def intervals(
    work: Work,
    rows: int,
    draws: int,
    ends: Mapping[str, tuple[float, float]] | None,
    seed: int,
    progress: bool = False,
) -> dict[str, Interval]:
    """Reduce to mean and interval of each row.

    Parameters
    ----------
    ends : mapping or None
        By quantity, the probabilities below the lower and the upper end; None for means only.
    """

    def reduce(block: slice, values: Mapping[str, Array]) -> dict[str, Interval]:
        return {
            name: _interval(v, None if ends is None else ends[name]) for name, v in values.items()
        }

    parts = list(blocks(work, reduce, rows, draws, seed, progress))
    return {
        name: Interval(
            *(
                np.concatenate([getattr(p[name], what) for p in parts])
                for what in ("mean", "lower", "upper")
            )
        )
        for name in parts[0]
    }


def _interval(values: Array, ends: tuple[float, float] | None) -> Interval:
    mean = values.mean(axis=1)
    if ends is None:
        return Interval(mean, mean, mean)
    return Interval(mean, *_between(values, *ends))


def interval_of(values: Array, level: float) -> tuple[Array, Array]:
    """Equal-tailed interval of each row of draws."""
    return _between(values, *tails(level))


def positions(draws: int, below: float, upto: float) -> tuple[int, int]:
    """Which of the sorted draws are the ends: the same number is cut off for the same p."""
    # Rounded: 0.05 * 500 is 25, whatever floats say.
    low, cut = (max(0, int(np.ceil(round(p * draws, 9))) - 1) for p in (below, 1.0 - upto))
    return low, draws - 1 - cut


def _between(values: Array, below: float, upto: float) -> tuple[Array, Array]:
    """Order statistics, so that counts stay whole."""
    low, high = positions(values.shape[1], below, upto)
    ordered = np.partition(values, (low, high), axis=1)
    # Copies: a view would keep the whole block.
    return ordered[:, low].copy(), ordered[:, high].copy()


def share_above(
    work: Work,
    draws: int,
    name: str,
    threshold: Array,
    seed: int,
    progress: bool = False,
) -> Array:
    """Share of draws above the threshold of each row, shape (rows,)."""

    def reduce(block: slice, values: Mapping[str, Array]) -> Array:
        return np.asarray((values[name] > threshold[block, None]).mean(axis=1))

    return np.concatenate(list(blocks(work, reduce, len(threshold), draws, seed, progress)))


def sums(
    work: Work,
    draws: int,
    group: Index,
    groups: int,
    weight: Array,
    seed: int,
    progress: bool = False,
) -> dict[str, Array]:
    """Sum rows within each draw, by group.

    Parameters
    ----------
    group : ndarray, shape (rows,)
        0 ... groups − 1.
    weight : ndarray, shape (rows,)
        How many customers a row is.

    Returns
    -------
    dict of str to ndarray, shape (groups, draws)
    """

    def reduce(block: slice, values: Mapping[str, Array]) -> dict[str, Array]:
        member = np.zeros((groups, block.stop - block.start))
        member[group[block], np.arange(block.stop - block.start)] = weight[block]
        return {name: member @ v for name, v in values.items()}

    total: dict[str, Array] = {}
    for part in blocks(work, reduce, len(group), draws, seed, progress):
        for name, value in part.items():
            total[name] = total[name] + value if name in total else value
    return total


def collect(
    work: Work, rows: int, draws: int, seed: int, progress: bool = False
) -> dict[str, Array]:
    """Keep all draws, shape (rows, draws): for few rows."""

    def reduce(block: slice, values: Mapping[str, Array]) -> dict[str, Array]:
        return {name: np.array(v) for name, v in values.items()}

    parts = list(blocks(work, reduce, rows, draws, seed, progress))
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def blocks[R](
    work: Work,
    reduce: Callable[[slice, Mapping[str, Array]], R],
    rows: int,
    draws: int,
    seed: int,
    progress: bool,
) -> Iterator[R]:
    """Work through the rows on all cores; results in order, the same on any number of cores."""
    step = max(1, _ELEMENTS // max(draws, 1))
    blocks = [slice(i, min(i + step, rows)) for i in range(0, rows, step)]
    seeds = np.random.SeedSequence(seed).spawn(len(blocks))

    def one(block: slice, seed: np.random.SeedSequence) -> R:
        return reduce(block, work(block, np.random.default_rng(seed)))

    cores = usable_cores()
    tasks = iter(zip(blocks, seeds, strict=True))
    with (
        ThreadPoolExecutor(cores) as pool,
        progress_bar("Predicting", len(blocks), progress) as advance,
    ):
        # A few ahead only, so that results do not pile up.
        waiting = [pool.submit(one, *task) for task in islice(tasks, 2 * cores)]
        while waiting:
            yield waiting.pop(0).result()
            advance()
            waiting += [pool.submit(one, *task) for task in islice(tasks, 1)]


@contextmanager
def progress_bar(doing: str, total: int, shown: bool) -> Iterator[Callable[[], object]]:
    """Show how far long work is; gives what is to be called after each step."""
    if not shown:
        yield lambda: None
        return
    from rich.progress import MofNCompleteColumn, Progress

    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), transient=True) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda: bar.advance(task)
