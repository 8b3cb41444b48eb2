"""The RFM summary: its columns, units and provenance.

One row per customer (Fader & Hardie's definitions): `frequency` repeat purchases, `recency`
age at the last purchase, `T` age at the end of observation, `monetary_value` mean value of
the repeat purchases.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import Any

import pandas as pd

from clvpredict.errors import UnitError
from clvpredict.options import TimeUnit

RFM_COLUMNS = ("customer_id", "frequency", "recency", "T", "monetary_value")
TIME_COLUMNS = ("recency", "T", "duration_holdout")
ATTRS_KEY = "clvpredict_rfm"
#: Where a table of predictions says how it was made, and in "data" the provenance of its customers.
PREDICTIONS_KEY = "clvpredict"


@dataclass(frozen=True)
class Provenance:
    """Where a summary comes from and how it was made.

    Parameters
    ----------
    time_unit : str
        Code of the unit of `recency` and `T`, e.g. ``"W"``.
    collapse : str
        Purchases within one such period (h, D, W) count once; ``"none"`` in simulated bases.
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
        period = {"h": "hour", "D": "day", "W": "week"}.get(self.collapse)
        if period:
            parts.append(f"purchases within one {period} count once")
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
        table = super()._repr_html_()  # type: ignore[misc]  # pandas-stubs lack it
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
    """Read the provenance of a summary, or of predictions; None where a frame has none."""
    record = frame.attrs.get(ATTRS_KEY)
    if record is None and isinstance(said := frame.attrs.get(PREDICTIONS_KEY), Mapping):
        record = said.get("data")
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


def summary_metadata(frame: pd.DataFrame) -> dict[str, Any] | None:
    """Return the provenance as a plain dict for artefacts and outputs."""
    provenance = provenance_of(frame)
    return None if provenance is None else asdict(provenance)
