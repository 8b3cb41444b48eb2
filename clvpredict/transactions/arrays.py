"""Columns of in-memory tables as Arrow arrays that the engine can read, without loss."""

from __future__ import annotations

import uuid
from datetime import date
from decimal import Decimal
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from clvpredict.errors import Problem
from clvpredict.transactions.problems import ColumnError, unsupported_type

_BOOL = (bool, np.bool_)
_NUMBER = (Integral, float, np.floating, Decimal)
_FAMILIES = (_BOOL, Integral, float, str, bytes, date)
# Where a column holds nothing at all, its type is the role's.
_EMPTY = {
    "id": pa.string(),
    "date": pa.timestamp("us"),
    "amount": pa.float64(),
    "label": pa.string(),
}


def from_pandas(series: pd.Series[Any], role: str, name: str) -> pa.ChunkedArray:
    """Convert a pandas column, which is not changed.

    Raises
    ------
    ColumnError
        If it mixes types, or has one that its role cannot have.
    """
    if isinstance(series.dtype, pd.CategoricalDtype):
        # Categories are few: their types are checked once, then looked up.
        categories = pd.Series(series.cat.categories)
        values = from_pandas(categories, role, name).combine_chunks()
        codes = pa.array(series.cat.codes.to_numpy(), mask=(series.cat.codes < 0).to_numpy())
        return pa.chunked_array([values.take(codes)])
    if series.dtype == object:
        return chunked(from_objects(series, role, name), role, name)
    try:
        return chunked(_array(series), role, name)
    except (pa.ArrowException, TypeError, ValueError):  # sparse, interval, ...
        raise ColumnError(unsupported_type(role, name, str(series.dtype))) from None


def _array(series: pd.Series[Any]) -> pa.Array | pa.ChunkedArray:
    if not isinstance(series.dtype, pd.DatetimeTZDtype):
        return pa.array(series, from_pandas=True)
    # Arrow below 26 asks pandas for these in a way that pandas 3.1 warns of.
    instants = pa.array(series.dt.tz_convert(None), from_pandas=True)
    return instants.cast(pa.timestamp(instants.type.unit, "UTC"))


def from_objects(series: pd.Series[Any], role: str, name: str) -> pa.Array:
    """Convert a column of Python objects, checking that they are of one type.

    Raises
    ------
    ColumnError
        If they are not.
    """
    present = series.dropna()
    kinds = set(present.map(type).unique()) if len(present) else set()
    try:
        return _READERS[role](series, kinds)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise ColumnError(_mixed(present, kinds, role, name)) from None


def chunked(array: pa.Array | pa.ChunkedArray, role: str, name: str) -> pa.ChunkedArray:
    """Decode the Arrow types that the engine does not read.

    Raises
    ------
    ColumnError
        If there is no way to.
    """
    if isinstance(array, pa.Array):
        array = pa.chunked_array([array])
    kind = array.type
    if pa.types.is_run_end_encoded(kind):
        decoded = [pc.run_end_decode(chunk) for chunk in array.chunks]
        return chunked(pa.chunked_array(decoded, kind.value_type), role, name)
    if pa.types.is_dictionary(kind):
        return chunked(array.cast(kind.value_type), role, name)
    if pa.types.is_null(kind):
        return array.cast(_EMPTY[role])
    if pa.types.is_float16(kind) or (pa.types.is_decimal256(kind) and role == "amount"):
        return array.cast(pa.float64())
    if isinstance(kind, pa.BaseExtensionType) and kind != pa.uuid():
        raise ColumnError(unsupported_type(role, name, kind.extension_name))
    if pa.types.is_nested(kind) or pa.types.is_decimal256(kind):
        raise ColumnError(unsupported_type(role, name, str(kind)))
    return array


def _ids(series: pd.Series[Any], kinds: set[type]) -> pa.Array:
    if kinds == {uuid.UUID}:
        return pa.array([None if pd.isna(u) else u.bytes for u in series], pa.uuid())
    _refuse_mixture(kinds)
    return pa.array(series, from_pandas=True)


def _labels(series: pd.Series[Any], kinds: set[type]) -> pa.Array:
    _refuse_mixture(kinds)
    return pa.array(series, from_pandas=True)


def _dates(series: pd.Series[Any], kinds: set[type]) -> pa.Array:
    if kinds == {date}:
        return pa.array(series, pa.date32(), from_pandas=True)
    if kinds and all(issubclass(k, date) for k in kinds):
        # Arrow would take naive and aware times together, or cut times off dates, silently.
        aware = series.dropna().map(_is_aware)
        if aware.nunique() > 1:
            raise TypeError
        return _array(pd.to_datetime(series, utc=bool(aware.all())))
    _refuse_mixture(kinds)
    return pa.array(series, from_pandas=True)


def _amounts(series: pd.Series[Any], kinds: set[type]) -> pa.Array:
    if kinds and all(issubclass(k, _NUMBER) and not issubclass(k, _BOOL) for k in kinds):
        values = np.full(len(series), np.nan)
        present = series.notna().to_numpy()
        values[present] = series[present].astype("float64")
        return pa.array(values, from_pandas=True)
    _refuse_mixture(kinds)
    return pa.array(series, from_pandas=True)


_READERS = {"id": _ids, "date": _dates, "amount": _amounts, "label": _labels}


def _is_aware(moment: date) -> bool:
    return getattr(moment, "tzinfo", None) is not None


def _refuse_mixture(kinds: set[type]) -> None:
    """Arrow would convert some mixtures without a word (bytes and text, integers and floats)."""
    families = {next((f for f in _FAMILIES if issubclass(k, f)), k) for k in kinds}
    if len(families) > 1:
        raise TypeError


def _mixed(present: pd.Series[Any], kinds: set[type], role: str, name: str) -> Problem:
    found = ", ".join(sorted(k.__name__ for k in kinds))
    column = f"transactions[{name!r}]"
    fixes = {
        "id": f"make them one type, e.g. {column} = {column}.astype(str)",
        "date": f"make them one type, e.g. {column} = pd.to_datetime({column}, utc=True)",
        "amount": f"make them numbers, e.g. {column} = pd.to_numeric({column})",
        "label": f"make them text: {column} = {column}.astype(str)",
    }
    first = present[~present.map(type).duplicated()]
    if role == "date" and kinds and all(issubclass(k, date) for k in kinds):
        what = f"'{name}' mixes times with and without a time zone"
        first = present[~present.map(_is_aware).duplicated()]
    elif len(kinds) > 1:
        what = f"'{name}' mixes types ({found})"
    elif all(issubclass(k, Integral) for k in kinds):
        what = f"'{name}' has integers beyond 64 bits"
    else:
        what = f"'{name}' holds objects of type {found or 'unknown'}"
    examples = [f"row label {i!r}: {value!r}" for i, value in first.head(5).items()]
    return Problem(what, fixes[role], len(present), examples)
