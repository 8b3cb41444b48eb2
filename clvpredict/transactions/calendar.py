"""Calendar periods by number: in the engine, in Python, and as labels.

A period is a whole number: years since year 0, months since January of year 0, and so on; the
one after it is one more. So "the period before" is a subtraction, on any backend.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.errors import refuse_unknown
from clvpredict.options import Collapse, Returns, TimeUnit, choose
from clvpredict.transactions.settings import Moment, Settings

Every = Literal["D", "W", "M", "Q", "Y"]

#: In words, for titles and messages.
PERIOD_NAMES = {"D": "day", "W": "week", "M": "month", "Q": "quarter", "Y": "year"}
_MONTHS = {"M": 1, "Q": 3, "Y": 12}
_YEAR_OF_EPOCH = 1970
_SECONDS_A_DAY = 86_400


class LogOptions(TypedDict, total=False):
    """How transactions are read: the options of :func:`clvpredict.purchase_history`."""

    customer_id: str
    date: str
    amount: str | None
    observation_end: Moment | None
    observation_start: Moment | None
    collapse: Collapse
    returns: Returns
    timezone: str
    currency: str | None
    strict: bool


def read_options(given: LogOptions, unit: TimeUnit | None = None) -> Settings:
    """Read the options with their defaults.

    Parameters
    ----------
    given : dict
        Those that differ from the defaults.
    unit : TimeUnit, optional
        Of ages.

    Raises
    ------
    OptionError
        If one is not known, or has a value that is not allowed.
    """
    refuse_unknown("the reading of transactions", given, tuple(LogOptions.__annotations__))
    all_of_them: Any = {
        "customer_id": "customer_id",
        "date": "date",
        "amount": "amount",
        "observation_end": None,
        "observation_start": None,
        "collapse": "D",
        "returns": "net",
        "timezone": "UTC",
        "strict": False,
        **given,
    }
    return Settings.read(**all_of_them, time_unit="D" if unit is None else unit)


@dataclass(frozen=True)
class Calendar:
    """Days, weeks (from Monday), months, quarters or years.

    Parameters
    ----------
    every : {"D", "W", "M", "Q", "Y"}
        Which.
    """

    every: Every

    @classmethod
    def read(cls, name: str, every: Any) -> Calendar:
        """Read an option.

        Raises
        ------
        OptionError
            If there are no such periods.
        """
        return cls(choose(name, every, Every))

    def number(self, day: Any) -> Any:
        """Number of the period that holds a day (or hour), as a table expression."""
        if self.every in _MONTHS:
            months = day.year().cast("int64") * 12 + day.month().cast("int64") - 1
            return (months // _MONTHS[self.every]).cast("int64")
        days = day.cast("timestamp").epoch_seconds() // _SECONDS_A_DAY
        # 1970-01-01 was a Thursday.
        return (days if self.every == "D" else (days + 3) // 7).cast("int64")

    def number_of(self, day: date) -> int:
        """Number of the period that holds a day."""
        if self.every in _MONTHS:
            return (day.year * 12 + day.month - 1) // _MONTHS[self.every]
        days = day.toordinal() - date(_YEAR_OF_EPOCH, 1, 1).toordinal()
        return days if self.every == "D" else (days + 3) // 7

    def starts(self, numbers: npt.ArrayLike) -> npt.NDArray[np.datetime64]:
        """First days of periods."""
        n = np.asarray(numbers, dtype=np.int64)
        if self.every in _MONTHS:
            months = n * _MONTHS[self.every] - 12 * _YEAR_OF_EPOCH
            return months.astype("datetime64[M]").astype("datetime64[us]")
        days = n if self.every == "D" else 7 * n - 3
        return days.astype("datetime64[D]").astype("datetime64[us]")

    def label(self, start: Any) -> str:
        """Name a period by its first day: ``"1997"``, ``"1997-Q1"``, ``"1997-01"``."""
        day = pd.Timestamp(start)
        if self.every == "Q":
            return f"{day.year}-Q{day.quarter}"
        return f"{day:{ {'Y': '%Y', 'M': '%Y-%m'}.get(self.every, '%Y-%m-%d') }}"


@dataclass(frozen=True)
class Window:
    """What of the calendar has been observed.

    Parameters
    ----------
    calendar : Calendar
        The periods.
    settings : Settings
        With the collapse periods, and the unit of ages.
    start, end : date or datetime
        The first and the last day (or hour) that were observed.
    """

    calendar: Calendar
    settings: Settings
    start: date
    end: date

    @property
    def first(self) -> int:
        """Number of the first period."""
        return self.calendar.number_of(self.settings.period(self.start))

    @property
    def last(self) -> int:
        """Number of the last period."""
        return self.calendar.number_of(self.settings.period(self.end))

    @property
    def _step(self) -> timedelta:
        return timedelta(hours=1) if self.settings.collapse == "h" else timedelta(days=1)

    @property
    def first_is_whole(self) -> bool:
        """Whether the first period was observed from its beginning."""
        before = self.settings.period(self.start - self._step)
        return self.calendar.number_of(before) < self.first

    @property
    def last_is_whole(self) -> bool:
        """Whether the last period was observed to its end."""
        after = self.settings.period(self.end + self._step)
        return self.calendar.number_of(after) > self.last

    def whole(self, numbers: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether periods were observed from beginning to end."""
        n = np.asarray(numbers)
        whole = (n >= self.first) & (n <= self.last)
        whole &= (n != self.first) | self.first_is_whole
        return np.asarray(whole & ((n != self.last) | self.last_is_whole))

    def ahead(self, numbers: npt.ArrayLike) -> list[float]:
        """Time from the end of observation to the end of periods, in the unit of ages."""
        after = self.calendar.starts(np.asarray(numbers) + 1)
        hours = isinstance(self.end, datetime)
        found = []
        for moment in pd.DatetimeIndex(after):
            last = (moment - self._step).to_pydatetime()
            found.append(self.settings.hours(self.end, last if hours else last.date()))
        return [hour / self.settings.hours_per_unit for hour in found]
