"""What else is known of customers, joined to their predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from clvpredict.errors import (
    DataError,
    DataWarning,
    OptionError,
    Problem,
    notify,
    unknown_option,
)
from clvpredict.rfm import Array, customer_ids, require_column

#: Where a table keeps what is known of the signals joined to it, by column.
SIGNALS_KEY = "clvpredict_signals"
AGGREGATES = ("mean", "sum", "min", "max", "median", "first", "last", "count")
_OF_NUMBERS = ("mean", "sum", "median")


def join_signals(
    table: pd.DataFrame,
    signals: pd.DataFrame | pd.Series,
    *,
    on: str = "customer_id",
    columns: Sequence[str] | None = None,
    aggregate: str | None = None,
) -> pd.DataFrame:
    """Join numbers or labels to customers by id: satisfaction, sentiment, contacts, channel.

    Parameters
    ----------
    table : DataFrame
        Predictions or an RFM summary; one row per customer.
    signals : DataFrame or Series
        A row per customer, or several. The ids are its column ``on``, or else its index.
    on : str
        Name of the ids in ``signals``; those of ``table`` are its `customer_id`.
    columns : sequence of str, optional
        Which columns to join; by default all but the ids.
    aggregate : {"mean", "sum", "min", "max", "median", "first", "last", "count"}, optional
        How several rows of a customer become one; without it they are refused. All but
        ``"count"`` pass over missing values; ``"first"`` and ``"last"`` are by the order of the
        rows, so sort them by date first.

    Returns
    -------
    DataFrame
        The table with the columns; its rows, their order, its index and attrs stay. A customer
        without a signal has a missing value (with ``"sum"`` and ``"count"`` too).
        ``attrs["clvpredict_signals"]`` has for each column `customers`, `with_signal`,
        `without_signal`, `coverage` (a share), `ids_elsewhere` (ids of signals that are no
        customer of the table), `rows_without_id` and `aggregate`.

    Raises
    ------
    DataError
        If ids occur more than once, are of another type than the table's, or none matches.
    OptionError
        If columns are not there, or are in the table already, or cannot be aggregated so.

    Warns
    -----
    DataWarning
        If customers have no signal, or signals no customer.

    Examples
    --------
    >>> import pandas as pd
    >>> from clvpredict.business import join_signals
    >>> table = pd.DataFrame({"customer_id": [1, 2], "clv": [30.0, 20.0]})
    >>> contacts = pd.DataFrame({"customer_id": [2, 2, 1], "satisfaction": [3, 5, 2]})
    >>> join_signals(table, contacts, aggregate="mean")["satisfaction"].tolist()
    [2.0, 4.0]
    """
    frame, ids = _read(signals, on)
    names = _columns(table, frame, columns, aggregate)
    unnamed = int(ids.isna().sum())
    kept = frame.loc[ids.notna().to_numpy(), names]
    ids = ids[ids.notna()]
    own = customer_ids(table)
    _check_own(own)
    _check_types(own, ids, on)
    kept = kept.set_axis(pd.Index(ids.to_numpy(), name=on), axis="index")
    per_customer = _one_each(kept, aggregate, on)
    matched = per_customer.index.isin(pd.Index(own.dropna()))
    elsewhere = int((~matched).sum())
    if not matched.any():
        raise DataError("signals", [_nobody(own, ids, on)])
    out = table.copy()
    found = per_customer.reindex(pd.Index(own.to_numpy()))
    customers = int(own.notna().sum())
    said = dict(table.attrs.get(SIGNALS_KEY) or {})
    lacking = {}
    for name in names:
        out[name] = found[name].to_numpy() if _plain(found[name]) else found[name].array
        known = int(found[name].notna().to_numpy().sum())
        lacking[name] = customers - known
        said[name] = {
            "customers": customers,
            "with_signal": known,
            "without_signal": customers - known,
            "coverage": known / customers if customers else 0.0,
            "ids_elsewhere": elsewhere,
            "rows_without_id": unnamed,
            "aggregate": aggregate,
        }
    out.attrs = {**table.attrs, SIGNALS_KEY: said}
    _report(lacking, customers, elsewhere, unnamed)
    return out


def _read(signals: pd.DataFrame | pd.Series, on: str) -> tuple[pd.DataFrame, pd.Series]:
    """The signals, and the id of each row."""
    indexed = isinstance(signals, pd.Series)
    if isinstance(signals, pd.Series):
        signals = signals.to_frame(name="signal" if signals.name is None else signals.name)
    if not isinstance(signals, pd.DataFrame):
        raise OptionError(
            f"signals must be a DataFrame with the column '{on}', or a Series of ids; "
            f"{type(signals).__name__} came."
        )
    if on in signals.columns:
        return signals.drop(columns=on), signals[on]
    if not indexed and signals.index.name != on:
        require_column(signals, on, "on")
    return signals, pd.Series(signals.index, index=signals.index, name=on)


def _columns(
    table: pd.DataFrame, frame: pd.DataFrame, columns: Sequence[str] | None, aggregate: str | None
) -> list[str]:
    if aggregate is not None and aggregate not in AGGREGATES:
        raise unknown_option("aggregate", aggregate, AGGREGATES)
    names = list(frame.columns) if columns is None else list(columns)
    if not names:
        raise OptionError("the signals have no column besides the ids, or columns=[] names none.")
    if isinstance(columns, str):
        raise OptionError(f"columns={columns!r} must be a list: columns=[{columns!r}].")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()].tolist()
        raise OptionError(f"the signals have columns twice: {', '.join(map(repr, twice))}.")
    for name in names:
        values = require_column(frame, name, "columns")
        if aggregate in _OF_NUMBERS and not types.is_numeric_dtype(values.dtype):
            raise OptionError(
                f"aggregate={aggregate!r} is of numbers, and '{name}' is not ({values.dtype}): "
                f"give aggregate='last', or leave it out: columns={[n for n in names if n != name]}"
            )
    taken = [name for name in names if name in table.columns]
    if taken:
        raise OptionError(
            f"the table has {', '.join(map(repr, taken))} already. Drop it from the table, or "
            f"rename the signal: signals.rename(columns={{'{taken[0]}': '{taken[0]}_signal'}})."
        )
    return names


def _check_own(own: pd.Series) -> None:
    twice = own.dropna()
    twice = twice[twice.duplicated()]
    if len(twice):
        examples = [f"customer {value!r}" for value in twice.unique()[:5].tolist()]
        problem = Problem(
            "customer_id occurs more than once in the table",
            "one row per customer: give what model.predict(rfm, ...) returns",
            len(twice),
            examples,
        )
        raise DataError("table", [problem])


def _kind(ids: pd.Series) -> str:
    if types.is_numeric_dtype(ids.dtype):
        return "numbers"
    kinds = {"text" if isinstance(v, str) else "other" for v in ids.dropna().head(1000)}
    if types.is_object_dtype(ids.dtype) and kinds == {"other"}:
        whole = ids.dropna().head(1000).map(lambda v: isinstance(v, int | float | np.number))
        return "numbers" if bool(whole.all()) else "other"
    return kinds.pop() if len(kinds) == 1 else "other"


def _check_types(own: pd.Series, ids: pd.Series, on: str) -> None:
    """Refuse text "4" for the number 4, which would match nothing."""
    kinds = _kind(own), _kind(ids)
    if kinds[0] == kinds[1] or "other" in kinds:
        return
    example, given = own.dropna().iloc[0], ids.iloc[0] if len(ids) else ""
    if kinds[0] == "numbers":
        fix = f"signals['{on}'] = signals['{on}'].astype('int64')"
    elif types.is_float_dtype(ids.dtype):
        fix = f"signals['{on}'] = signals['{on}'].astype('int64').astype('str')"
    else:
        fix = f"signals['{on}'] = signals['{on}'].astype('str')"
    words = f"ids of the table are {kinds[0]} ({example!r}), those of the signals {kinds[1]}"
    raise DataError("signals", [Problem(f"{words} ({given!r})", fix)])


def _one_each(kept: pd.DataFrame, aggregate: str | None, on: str) -> pd.DataFrame:
    repeated = kept.index.duplicated(keep=False)
    if aggregate is None:
        if repeated.any():
            ids = kept.index[repeated].unique()
            raise DataError(
                "signals",
                [
                    Problem(
                        f"{len(ids):,} customers have several rows",
                        "say how they become one: join_signals(..., aggregate='mean') (or "
                        f"{', '.join(map(repr, AGGREGATES[1:]))})",
                        int(repeated.sum()),
                        [f"{on} {value!r}" for value in ids[:5].tolist()],
                    )
                ],
            )
        return kept
    grouped = kept.groupby(level=0, sort=False, observed=True)
    if aggregate == "sum":  # of nothing known it is not 0
        return grouped.sum(min_count=1)
    try:
        return pd.DataFrame(grouped.agg(aggregate))
    except TypeError as error:
        raise OptionError(
            f"aggregate={aggregate!r} cannot be made of these values: {error}. Give "
            "aggregate='last', or columns of one type."
        ) from error


def _nobody(own: pd.Series, ids: pd.Series, on: str) -> Problem:
    ours, theirs = own.dropna().iloc[:3].tolist(), ids.iloc[:3].tolist()
    return Problem(
        f"none of their ids is a customer of the table, whose ids are such as {ours!r}",
        f"which column has the ids? on='{on}' has {theirs!r}",
        len(ids),
    )


def _plain(values: pd.Series) -> bool:
    return isinstance(values.dtype, np.dtype)


def _report(lacking: dict[str, int], customers: int, elsewhere: int, unnamed: int) -> None:
    parts = []
    for number in dict.fromkeys(lacking.values()):
        if number:
            names = ", ".join(repr(n) for n, lacks in lacking.items() if lacks == number)
            share = 100 * number / customers
            parts.append(
                f"{number:,} of {customers:,} customers ({share:.4g} %) have no value of {names}"
            )
    if elsewhere:
        parts.append(f"{elsewhere:,} ids of the signals are no customer of the table")
    if unnamed:
        parts.append(f"{unnamed:,} rows of the signals have no id")
    if parts:
        notify(f"signals: {'; '.join(parts)}.", DataWarning)


def coverage_of(table: pd.DataFrame, column: str) -> tuple[Array, npt.NDArray[np.bool_]]:
    """A signal as numbers, and which customers have it; each of shape (n,).

    Raises
    ------
    OptionError
        If it is not there, or no number.
    """
    values = require_column(table, column, "signals")
    if not types.is_numeric_dtype(values.dtype):
        raise OptionError(
            f"'{column}' is not of numbers ({values.dtype}), so it has no mean: make segments of "
            f"it, segment_customers(table, by='{column}', missing='unknown')."
        )
    known = values.notna().to_numpy()
    return values.to_numpy(np.float64, na_value=np.nan), known
