"""The RFM summary: its columns, units, provenance, checks and exact compression.

One row per customer (Fader & Hardie's definitions): `frequency` repeat purchases, `recency`
age at the last purchase, `T` age at the end of observation, `monetary_value` mean value of
the repeat purchases.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.errors import DataError, OptionError, Problem, UnitError, did_you_mean
from clvpredict.options import TimeUnit

Array = npt.NDArray[np.float64]

RFM_COLUMNS = ("customer_id", "frequency", "recency", "T", "monetary_value")
TIME_COLUMNS = ("recency", "T", "duration_holdout")
ATTRS_KEY = "clvpredict_rfm"
# Ages that were divided by a unit in floating point may pass T by a rounding error.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Provenance:
    """Where a summary comes from and how it was made.

    Parameters
    ----------
    time_unit : str
        Code of the unit of `recency` and `T`, e.g. ``"W"``.
    collapse : str
        Purchases within one such period count once.
    observation_start, observation_end, calibration_end : str or None
        ISO dates; `observation_end` is when the customers' age T is taken (in a
        calibration/holdout split that is `calibration_end`).
    timezone : str or None
        The zone that dates with a zone were converted to.
    currency : str or None
        Label of the amounts.
    returns : str
        How negative amounts were treated.
    include_first_transaction : bool
        True if `frequency` and `monetary_value` count the first purchase too.
    counts : dict
        Rows read and used, purchases, customers, ...
    excluded : dict
        What was left out: reason -> count.
    """

    time_unit: str
    collapse: str = "D"
    observation_start: str | None = None
    observation_end: str | None = None
    calibration_end: str | None = None
    timezone: str | None = None
    currency: str | None = None
    returns: str = "net"
    include_first_transaction: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    excluded: dict[str, int] = field(default_factory=dict)

    @property
    def unit(self) -> TimeUnit:
        """The time unit, parsed."""
        return TimeUnit.parse(self.time_unit)

    def lines(self) -> list[str]:
        """Say it in a few lines of text."""
        end = self.calibration_end or self.observation_end
        parts = [f"time unit {self.unit.label}", f"customers' age taken at {end}"]
        if self.calibration_end:
            parts.append(f"holdout to {self.observation_end}")
        parts.append(f"purchases within one {self.collapse} count once")
        if self.include_first_transaction:
            parts.append("first purchase counted in frequency")
        if self.currency:
            parts.append(f"amounts in {self.currency}")
        lines = ["RFM summary: " + "; ".join(parts)]
        if self.counts:
            lines.append(", ".join(f"{k} {v:,}" for k, v in self.counts.items()))
        if self.excluded:
            lines.append("left out: " + ", ".join(f"{v:,} {k}" for k, v in self.excluded.items()))
        return lines


class RFMSummary(pd.DataFrame):
    """A DataFrame of one row per customer that knows its provenance.

    It is a pandas DataFrame in every way; the provenance rides in ``attrs``, so it survives
    filters, copies and Parquet.
    """

    @property
    def _constructor(self) -> type[RFMSummary]:
        return RFMSummary

    @property
    def provenance(self) -> Provenance | None:
        """How the summary was made; None if pandas lost it on the way."""
        return provenance_of(self)

    def __repr__(self) -> str:
        return "\n".join([super().__repr__(), *self._footer()])

    def _repr_html_(self) -> str | None:
        table = super()._repr_html_()  # type: ignore[operator]  # absent from pandas-stubs
        footer = "<br>".join(html.escape(line) for line in self._footer())
        return f"{table}<p><small>{footer}</small></p>" if footer else str(table)

    def _footer(self) -> list[str]:
        provenance = self.provenance
        return provenance.lines() if provenance and "frequency" in self.columns else []


def with_provenance(frame: pd.DataFrame, provenance: Provenance) -> RFMSummary:
    """Return the frame as an RFMSummary that carries ``provenance``."""
    out = RFMSummary(frame)
    out.attrs[ATTRS_KEY] = asdict(provenance)
    return out


def provenance_of(frame: pd.DataFrame) -> Provenance | None:
    """Read the provenance of any data frame; None where it has none."""
    record = frame.attrs.get(ATTRS_KEY)
    if not isinstance(record, Mapping):
        return None
    known = Provenance.__dataclass_fields__
    return Provenance(**{k: v for k, v in record.items() if k in known})


def convert_unit(rfm: pd.DataFrame, time_unit: str | timedelta) -> RFMSummary:
    """Convert a summary to another time unit, exactly.

    Parameters
    ----------
    rfm : DataFrame
        A summary made by :func:`clvpredict.rfm_summary` (it must know its unit).
    time_unit : str or timedelta
        The new unit, e.g. ``"W"``.

    Returns
    -------
    RFMSummary
        A copy with `recency`, `T` and `duration_holdout` in the new unit.

    Raises
    ------
    UnitError
        If the frame does not know its unit.

    Examples
    --------
    >>> import clvpredict as clv
    >>> daily = clv.rfm_summary(clv.load_cdnow(), time_unit="D")
    >>> weekly = clv.convert_unit(daily, "W")
    """
    provenance = provenance_of(rfm)
    if provenance is None:
        raise UnitError(
            "this frame does not say its time unit, so it cannot be converted. Make it with "
            "clvpredict.rfm_summary(transactions, time_unit=...), or divide recency and T yourself."
        )
    new = TimeUnit.parse(time_unit)
    factor = provenance.unit.days / new.days
    out = rfm.copy()
    for column in out.columns.intersection(list(TIME_COLUMNS)):
        out[column] = out[column] * factor
    return with_provenance(out, replace(provenance, time_unit=new.code))


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


# --- checks ------------------------------------------------------------------------------


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
    if "customer_id" not in frame.columns and not frame.index.name:
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


# --- compression -------------------------------------------------------------------------


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
    codes = np.zeros(n, np.int64)
    for column in columns:
        own, values = pd.factorize(column)
        codes = pd.factorize(codes * max(len(values), 1) + own)[0].astype(np.int64)
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

    def scaled(self, factors: Mapping[str, float]) -> Compressed:
        """Return the same rows with columns multiplied, e.g. to change the unit."""
        columns = {k: v * factors.get(k, 1.0) for k, v in self.columns.items()}
        return type(self)(self.weight, **columns)

    def take(self, index: npt.NDArray[np.intp]) -> Compressed:
        """Return some of the rows."""
        return type(self)(self.weight[index], **{k: v[index] for k, v in self.columns.items()})


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
    def T(self) -> Array:
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


def require_column(frame: pd.DataFrame, column: str, purpose: str) -> pd.Series:
    """Return a column that an option names.

    Raises
    ------
    OptionError
        If the frame does not have it.
    """
    if column not in frame.columns:
        hint = did_you_mean(column, [str(c) for c in frame.columns])
        raise OptionError(
            f"{purpose} names the column '{column}', which the summary does not have. "
            f"It has: {', '.join(map(str, frame.columns))}.{hint}"
        )
    return frame[column]


def summary_metadata(frame: pd.DataFrame) -> dict[str, Any] | None:
    """Return the provenance as a plain dict for artefacts and outputs."""
    provenance = provenance_of(frame)
    return None if provenance is None else asdict(provenance)
