"""What a summary must be before anything is computed from it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.errors import DataError, OptionError, Problem, UnitError, did_you_mean
from clvpredict.options import TimeUnit
from clvpredict.rfm.compression import Array
from clvpredict.rfm.summary import RFM_COLUMNS, TIME_COLUMNS, provenance_of

# Ages that were divided by a unit in floating point may pass T by a rounding error.
_ROUNDING = 1e-9


def check_unit(frame: pd.DataFrame, unit: TimeUnit | None) -> None:
    """Refuse data in another unit than the model's.

    Raises
    ------
    UnitError
        With the call that converts.
    """
    provenance = provenance_of(frame)
    if provenance is None or unit is None or provenance.unit.days == unit.days:
        return
    raise UnitError(
        f"the summary is in {provenance.unit.label}, the model in {unit.label}. Convert it: "
        f"rfm = clvpredict.convert_unit(rfm, '{unit.code}')"
    )


def check_repeat_frequency(frame: pd.DataFrame) -> None:
    """Refuse a summary whose frequency counts the first purchase.

    Raises
    ------
    DataError
        If the provenance says so.
    """
    provenance = provenance_of(frame)
    if provenance is not None and provenance.include_first_transaction:
        raise DataError(
            "RFM summary",
            [
                Problem(
                    "frequency counts the first purchase; a purchase model counts repeats only",
                    "rfm_summary(transactions, include_first_transaction=False)",
                )
            ],
        )


def check_rfm(frame: pd.DataFrame, columns: tuple[str, ...]) -> dict[str, Array]:
    """Check a summary and return the named columns as float arrays.

    Parameters
    ----------
    frame : DataFrame
        One row per customer; `customer_id` may be a column or the index.
    columns : tuple of str
        Which of ``frequency, recency, T, monetary_value`` are needed.

    Returns
    -------
    dict of str to ndarray, shape (n,)
        Recency is cut at T where it passes it by a rounding error.

    Raises
    ------
    DataError
        Listing every problem: missing columns, not numeric, missing or infinite values,
        negative numbers, recency > T, frequency and recency that contradict each other,
        duplicated customers, an empty table.
    """
    if not isinstance(frame, pd.DataFrame):
        raise DataError(
            "RFM summary",
            [
                Problem(
                    f"expected a pandas DataFrame, got {type(frame).__name__}",
                    "rfm = clvpredict.rfm_summary(transactions, time_unit='W')",
                )
            ],
        )
    problems = _missing_columns(frame, columns)
    if frame.empty:
        problems.append(Problem("no rows", "give a summary of at least one customer"))
    twice = frame.columns[frame.columns.duplicated()].unique()
    again = [c for c in ("customer_id", *columns) if c in twice]
    if again:
        fix = "keep one: table.loc[:, ~table.columns.duplicated()]"
        problem = Problem(f"columns that are there more than once: {', '.join(again)}", fix)
        raise DataError("RFM summary", [*problems, problem])
    present = [c for c in columns if c in frame.columns]
    arrays: dict[str, Array] = {}
    for column in present:
        arrays[column] = _numeric(frame, column, problems)
    problems += _contradictions(frame, arrays) + _bad_ids(frame)
    if problems:
        raise DataError("RFM summary", problems)
    if "recency" in arrays and "T" in arrays:
        arrays["recency"] = np.minimum(arrays["recency"], arrays["T"])
    return arrays


def customer_ids(frame: pd.DataFrame) -> pd.Series:
    """Return the ids, from the column `customer_id` or else the index."""
    if "customer_id" in frame.columns:
        return frame["customer_id"]
    return pd.Series(frame.index, index=frame.index, name="customer_id")


def examples_of(frame: pd.DataFrame, mask: npt.NDArray[np.bool_]) -> list[str]:
    """Describe up to five rows, for an error message."""
    shown = [c for c in (*RFM_COLUMNS, *TIME_COLUMNS[2:]) if c in frame.columns]
    bad = frame.loc[mask, shown].head(5)
    return [
        f"row {label!r}: " + ", ".join(f"{c}={row[c]!s}" for c in shown)
        for label, row in zip(bad.index, bad.to_dict("records"), strict=True)
    ]


def _missing_columns(frame: pd.DataFrame, columns: tuple[str, ...]) -> list[Problem]:
    problems = []
    for column in columns:
        if column not in frame.columns:
            hint = did_you_mean(column, [str(c) for c in frame.columns])
            fix = f"rename the column to '{column}'" + (
                ", or make the summary with rfm_summary(transactions, amount=...)"
                if column == "monetary_value"
                else ", or make the summary with clvpredict.rfm_summary(transactions)"
            )
            found = ", ".join(map(str, frame.columns[:12]))
            problems.append(Problem(f"no column '{column}' among: {found or '(none)'}.{hint}", fix))
    return problems


def _numeric(frame: pd.DataFrame, column: str, problems: list[Problem]) -> Array:
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)

    def add(mask: npt.NDArray[np.bool_], what: str, fix: str) -> None:
        if mask.any():
            problems.append(Problem(what, fix, int(mask.sum()), examples_of(frame, mask)))

    fix_drop = f"correct them or drop these rows: rfm = rfm[np.isfinite(rfm['{column}'])]"
    add(~np.isfinite(values), f"'{column}' is missing, infinite or not a number", fix_drop)
    add(values < 0, f"'{column}' is negative", "remake the summary; none of its columns can be < 0")
    if column == "frequency":
        fractional = np.isfinite(values) & (values != np.floor(values))
        add(fractional, "'frequency' is not a whole number", "it counts repeat purchases")
    return values


def _contradictions(frame: pd.DataFrame, arrays: dict[str, Array]) -> list[Problem]:
    problems: list[Problem] = []

    def add(mask: npt.NDArray[np.bool_], what: str, fix: str) -> None:
        if mask.any():
            problems.append(Problem(what, fix, int(mask.sum()), examples_of(frame, mask)))

    x, t_x, T = (arrays.get(c) for c in ("frequency", "recency", "T"))
    if t_x is not None and T is not None:
        add(
            t_x > T + _ROUNDING * np.maximum(T, 1),
            "recency > T",
            "recency is the age at the last purchase (not the time since it): T - time since",
        )
    provenance = provenance_of(frame)
    if x is not None and t_x is not None:
        add(
            (x == 0) & (t_x > 0),
            "frequency = 0 with recency > 0",
            "a customer without a repeat purchase has recency 0",
        )
        if provenance is None or not provenance.include_first_transaction:
            add(
                (x > 0) & (t_x == 0),
                "frequency > 0 with recency = 0",
                "frequency counts repeat purchases only (purchases of one period merged); "
                "subtract the first",
            )
    return problems


def _bad_ids(frame: pd.DataFrame) -> list[Problem]:
    if "customer_id" not in frame.columns and frame.index.name is None:
        return []  # a frame without ids: rows are customers
    ids = customer_ids(frame)
    problems = []
    null = ids.isna().to_numpy()
    if null.any():
        what = "customer_id is null"
        problems.append(
            Problem(
                what,
                "drop or name them: rfm = rfm.dropna(subset='customer_id')",
                int(null.sum()),
                examples_of(frame, null),
            )
        )
    if not ids.is_unique:
        twice = ids.duplicated(keep=False).to_numpy() & ~null
        if twice.any():
            problems.append(
                Problem(
                    f"customer_id occurs more than once ({ids[twice].nunique():,} customers)",
                    "one row per customer: make the summary from all transactions at once",
                    int(twice.sum()),
                    examples_of(frame, twice),
                )
            )
    return problems


def require_column(frame: pd.DataFrame, column: str, purpose: str) -> pd.Series:
    """Return a column that an option names.

    Raises
    ------
    OptionError
        If the frame does not have it, or twice.
    """
    if column not in frame.columns:
        hint = did_you_mean(column, [str(c) for c in frame.columns])
        raise OptionError(
            f"{purpose} names the column '{column}', which the summary does not have. "
            f"It has: {', '.join(map(str, frame.columns))}.{hint}"
        )
    if (there := int((frame.columns == column).sum())) > 1:
        raise OptionError(
            f"{purpose} names the column '{column}', of which there are {there}. Keep one: "
            "table.loc[:, ~table.columns.duplicated()]."
        )
    return frame[column]
