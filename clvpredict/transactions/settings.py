"""The options of a summary, read and checked once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pandas as pd

from clvpredict.errors import OptionError, did_you_mean
from clvpredict.options import Collapse, Returns, TimeUnit, choose

Moment = str | date | datetime | np.datetime64

_ISO_DAY = re.compile(r"\d{4}-?\d{2}-?\d{2}")


@dataclass(frozen=True)
class Settings:
    """What to compute.

    Parameters
    ----------
    names : dict of str to str
        Role (``"id"``, ``"date"``, ``"amount"``) -> column of the transactions; no
        ``"amount"`` for summaries of frequency only.
    start, calibration_end, end : date or datetime or None
        The first day (hour when ``collapse="h"``) that counts, the last one of the calibration
        period and the last one of all, as wall time in `timezone`.
    unit : TimeUnit
        Unit of ages.
    collapse : {"h", "D", "W"}
        Purchases within one such period are one purchase.
    returns : {"net", "drop", "error"}
        What negative amounts do.
    include_first : bool
        Whether the first purchase counts in frequency and monetary value.
    timezone : str
        The zone that instants are converted to.
    currency : str or None
        Label of the amounts.
    strict : bool
        Whether rows after `end` are a problem.
    split : bool
        Whether a calibration and a holdout period are asked for.
    """

    names: dict[str, str]
    start: date | None
    calibration_end: date | None
    end: date | None
    unit: TimeUnit
    collapse: Collapse
    returns: Returns
    include_first: bool
    timezone: str
    currency: str | None
    strict: bool
    split: bool

    @classmethod
    def read(
        cls,
        *,
        customer_id: str,
        date: str,
        amount: str | None,
        observation_end: Moment | None,
        observation_start: Moment | None,
        calibration_end: Moment | None = None,
        time_unit: str | timedelta | TimeUnit = "D",
        collapse: Collapse,
        returns: Returns,
        include_first_transaction: bool = False,
        timezone: str,
        currency: str | None = None,
        strict: bool,
        split: bool = False,
    ) -> Settings:
        """Read the options of :func:`clvpredict.rfm_summary`.

        Raises
        ------
        OptionError
            If one of them has a value that is not allowed.
        """
        collapse = choose("collapse", collapse, Collapse)
        zone = _zone(timezone)
        names = {"id": customer_id, "date": date}
        if amount is not None:
            names["amount"] = amount
        if split and calibration_end is None:
            raise OptionError("calibration_end is needed, e.g. calibration_end='1997-09-30'.")
        return cls(
            names=names,
            start=_moment("observation_start", observation_start, collapse, zone, last=False),
            calibration_end=_moment("calibration_end", calibration_end, collapse, zone, last=True),
            end=_moment("observation_end", observation_end, collapse, zone, last=True),
            unit=TimeUnit.parse(time_unit),
            collapse=collapse,
            returns=choose("returns", returns, Returns),
            include_first=bool(include_first_transaction),
            timezone=timezone,
            currency=currency,
            strict=bool(strict),
            split=split,
        )

    @property
    def has_amounts(self) -> bool:
        """Whether the summary has monetary columns."""
        return "amount" in self.names

    @property
    def hours_per_unit(self) -> float:
        """Length of the unit in hours, without the rounding of 1/24."""
        hours = self.unit.days * 24
        return float(round(hours)) if abs(hours - round(hours)) < 1e-9 else hours

    def period(self, moment: date) -> date:
        """Return the start of the collapse period that holds a day or an hour."""
        if self.collapse == "W":
            return moment - timedelta(days=moment.weekday())
        return moment

    def hours(self, first: date, last: date) -> float:
        """Return the hours between the starts of two moments' periods."""
        return (self.period(last) - self.period(first)) / timedelta(hours=1)

    def before_last(self, end: date) -> date:
        """Return the period before the window that is as long as the holdout and ends with it.

        The window is of the calibration: its last period is the one of `calibration_end`.
        """
        assert self.calibration_end is not None  # a split is asked for
        last = self.period(self.calibration_end)
        length = self.period(end) - last
        try:
            return last - length
        except OverflowError:  # longer than the calendar: the window is all there is
            return type(last).min


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError):
        hint = did_you_mean(name, available_timezones())
        raise OptionError(
            f"timezone={name!r} is not an IANA time zone such as 'UTC' or 'Europe/Berlin'.{hint}"
        ) from None


def _moment(
    name: str, value: Moment | None, collapse: Collapse, zone: ZoneInfo, *, last: bool
) -> date | None:
    """Read an option that names a day, or an hour when ``collapse="h"``.

    A day without a time is the whole day: as an end it is the day's last hour.
    """
    if value is None:
        return None
    moment, whole_day = _wall_time(name, value, zone)
    if collapse != "h":
        return moment.date()
    hour = moment.replace(minute=0, second=0, microsecond=0)
    return hour.replace(hour=23) if whole_day and last else hour


def _wall_time(name: str, value: Moment, zone: ZoneInfo) -> tuple[datetime, bool]:
    """Return the wall time in the zone, and whether it names a whole day."""
    whole_day = False
    if isinstance(value, str):
        whole_day = _ISO_DAY.fullmatch(value.strip()) is not None
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise _not_a_moment(name, value) from None
    elif isinstance(value, np.datetime64):
        whole_day = np.datetime_data(value.dtype)[0] == "D"
        value = pd.Timestamp(value)
    if pd.isna(value) or not isinstance(value, date):
        raise _not_a_moment(name, value)
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day), True
    moment = value.to_pydatetime(warn=False) if isinstance(value, pd.Timestamp) else value
    if moment.tzinfo is not None:
        moment = moment.astimezone(zone).replace(tzinfo=None)
    return moment, whole_day


def _not_a_moment(name: str, value: object) -> OptionError:
    return OptionError(
        f"{name}={value!r} is not a date. Give an ISO date such as '1997-09-30', a "
        "datetime.date or a pandas Timestamp."
    )
