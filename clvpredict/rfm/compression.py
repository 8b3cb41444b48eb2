"""Exact compression: customers with equal histories are one row with a weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[np.float64]


def group_rows(*columns: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Group equal rows.

    Parameters
    ----------
    *columns : ndarray, shape (n,)
        The columns that must be equal.

    Returns
    -------
    first : ndarray, shape (m,)
        Index of the first row of each group, in order of appearance.
    inverse : ndarray, shape (n,)
        Group of each row, so that ``column[first][inverse]`` is ``column``.
    """
    n = len(columns[0])
    codes, groups = np.zeros(n, np.int64), 1
    for column in columns:
        own, values = pd.factorize(column)
        if groups * len(values) >= 1 << 62:  # no room for both in one integer
            codes, groups = pd.factorize(codes)[0].astype(np.int64), n
        codes, groups = codes * len(values) + own, groups * len(values)
    codes = pd.factorize(codes)[0]
    m = int(codes.max()) + 1 if n else 0
    first = np.empty(m, np.intp)
    first[codes[::-1]] = np.arange(n)[::-1]  # the last write wins: the first row
    return first, codes.astype(np.intp)


class Compressed:
    """Equal rows once, with a weight: what every likelihood is computed on.

    Exact: likelihoods depend on a customer only through these columns.

    Parameters
    ----------
    weight : ndarray, shape (m,)
        How many customers each row stands for.
    **columns : ndarray, shape (m,)
        The columns, by name.
    """

    def __init__(self, weight: Array, **columns: Array) -> None:
        self.columns = {k: np.asarray(v, np.float64) for k, v in columns.items()}
        self.weight = weight
        self._tables: dict[str, tuple[npt.NDArray[np.intp], Array]] = {}

    def __len__(self) -> int:
        return len(self.weight)

    def tabulate(self, column: str, f: Callable[..., Array], *parameters: Array) -> Array:
        """Compute ``f(column, *parameters)`` once per distinct value of the column.

        Parameters that are arrays (one value per row) are computed row by row, as they must.

        Returns
        -------
        ndarray, shape (m,)
        """
        values = self.columns[column]
        if any(np.ndim(p) for p in parameters):
            return f(values, *parameters)
        if column not in self._tables:
            codes, distinct = pd.factorize(values)
            self._tables[column] = codes.astype(np.intp), np.asarray(distinct, np.float64)
        codes, distinct = self._tables[column]
        return f(distinct, *parameters)[codes]

    def scaled(self, factors: Mapping[str, float]) -> Self:
        """Return the same rows with columns multiplied, e.g. to change the unit."""
        columns = {k: v * factors.get(k, 1.0) for k, v in self.columns.items()}
        return type(self)(self.weight, **columns)

    def fingerprint(self) -> str:
        """Hash the rows: customers in any order give the same 16 hex digits."""
        code = np.full(len(self), len(self.columns), np.uint64)
        for column in self.columns.values():
            bits = np.ascontiguousarray(column + 0.0).view(np.uint64)  # −0.0 is 0.0
            code = _mix(code * np.uint64(31) + bits)
        return f"{int(np.sum(code * self.weight.astype(np.uint64))):016x}"

    def take(self, index: npt.NDArray[np.intp], weight: Array | None = None) -> Self:
        """Return some of the rows, with their weights or others."""
        weight = self.weight[index] if weight is None else weight
        return type(self)(weight, **{k: v[index] for k, v in self.columns.items()})


def _mix(code: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Spread every bit over all 64: the finaliser of SplitMix64."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        code = (code ^ (code >> np.uint64(shift))) * np.uint64(factor)
    return code ^ (code >> np.uint64(31))


class Histories(Compressed):
    """Purchase histories (x, t_x, T): frequency, recency and age."""

    @classmethod
    def of(
        cls, x: npt.ArrayLike, t_x: npt.ArrayLike, T: npt.ArrayLike, weight: npt.ArrayLike = 1.0
    ) -> Histories:
        """Make histories from arrays or numbers, which are broadcast."""
        columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, float)) for v in (x, t_x, T)))
        return cls(
            np.broadcast_to(np.asarray(weight, float), columns[0].shape),
            x=columns[0],
            t_x=columns[1],
            T=columns[2],
        )

    @property
    def x(self) -> Array:
        """Repeat purchases."""
        return self.columns["x"]

    @property
    def t_x(self) -> Array:
        """Age at the last purchase."""
        return self.columns["t_x"]

    @property
    def T(self) -> Array:  # noqa: N802  # the field's own letter
        """Age at the end of observation."""
        return self.columns["T"]


class SpendHistories(Compressed):
    """Spend histories (x, m): number of purchases and their mean value."""

    @property
    def x(self) -> Array:
        """Number of purchases averaged."""
        return self.columns["x"]

    @property
    def m(self) -> Array:
        """Mean value of them."""
        return self.columns["m"]


def compress_histories(x: Array, t_x: Array, T: Array) -> tuple[Histories, npt.NDArray[np.intp]]:
    """Group customers with equal (x, t_x, T).

    Returns
    -------
    Histories
        One row per distinct history, weighted.
    ndarray, shape (n,)
        The row of each customer.
    """
    first, inverse = group_rows(x, T, t_x)
    weight = np.bincount(inverse, minlength=len(first)).astype(np.float64)
    return Histories(weight, x=x[first], t_x=t_x[first], T=T[first]), inverse


def compress_spend(x: Array, m: Array) -> SpendHistories:
    """Group repeat buyers with equal (x, m)."""
    first, inverse = group_rows(x, m)
    weight = np.bincount(inverse, minlength=len(first)).astype(np.float64)
    return SpendHistories(weight, x=x[first], m=m[first])
