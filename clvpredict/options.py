"""Named choices: time units, horizons, discounting, and their exact conversions.

A day has 24 hours, a week 7 days, a year 365.25 days and a month one twelfth of a year.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

from clvpredict.errors import OptionError, UnitError, unknown_option

Collapse = Literal["h", "D", "W"]
Returns = Literal["net", "drop", "error"]
Discounting = Literal["continuous", "monthly", "none", "lifetimes"]

Method = Literal["mle", "map", "laplace", "nuts", "auto"]
Sampler = Literal["nutpie", "pymc"]
#: Methods whose result is a posterior and not a point.
POSTERIOR_METHODS = ("laplace", "nuts")

DAYS_PER_YEAR = 365.25
UNIT_DAYS = {"h": 1 / 24, "D": 1.0, "W": 7.0, "M": DAYS_PER_YEAR / 12, "Y": DAYS_PER_YEAR}
UNIT_NAMES = {"h": "hours", "D": "days", "W": "weeks", "M": "months", "Y": "years"}

_LENGTH = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)?\s*([A-Za-z]+)\s*")


@dataclass(frozen=True)
class TimeUnit:
    """The unit that recency, T and horizons are counted in.

    Parameters
    ----------
    code : str
        ``"h"``, ``"D"``, ``"W"``, ``"M"``, ``"Y"``, or a multiple of one such as ``"10D"``.
    days : float
        Its length in days.
    """

    code: str
    days: float

    @classmethod
    def parse(cls, unit: str | timedelta | TimeUnit) -> TimeUnit:
        """Read a unit from its code or a timedelta.

        Raises
        ------
        OptionError
            If the code is not known or the length is not positive.

        Examples
        --------
        >>> TimeUnit.parse("W").days
        7.0
        """
        if isinstance(unit, TimeUnit):
            return unit
        if isinstance(unit, timedelta):
            days = unit / timedelta(days=1)
            code = next((c for c, d in UNIT_DAYS.items() if d == days), f"{days!r}D")
        else:
            code, days = str(unit).strip(), _length_in_days(unit, "time_unit")
        if not (days > 0 and math.isfinite(days)):
            raise OptionError(f"time_unit={unit!r} has no positive length; use e.g. 'D' or 'W'.")
        return cls(code, days)

    @property
    def label(self) -> str:
        """The unit in words, for axes and messages: ``"weeks"``, ``"units of 10D"``."""
        return UNIT_NAMES.get(self.code, f"units of {self.code}")

    def periods(self, horizon: float | str | timedelta) -> float:
        """Convert a horizon to this unit.

        Parameters
        ----------
        horizon : float, str or timedelta
            A number is taken to be in this unit already; strings are ``"39W"``, ``"365D"``,
            ``"12M"``, ``"1Y"``.

        Returns
        -------
        float
            Length of the horizon in this unit.

        Raises
        ------
        OptionError
            If the horizon cannot be read, or is negative or not finite.

        Examples
        --------
        >>> TimeUnit.parse("D").periods("39W")
        273.0
        """
        if isinstance(horizon, str):
            number = _as_number(horizon)
            value = _length_in_days(horizon, "horizon") / self.days if number is None else number
        elif isinstance(horizon, timedelta):
            value = horizon / timedelta(days=1) / self.days
        else:
            value = float(horizon)
        if not (value >= 0 and math.isfinite(value)):
            raise OptionError(
                f"horizon={horizon!r} must be finite and not negative; for an infinite horizon "
                "say horizon=None."
            )
        return value


def horizon_periods(horizon: float | str | timedelta, unit: TimeUnit | None) -> float:
    """Convert a horizon to the model's unit, which may be unknown for plain data frames.

    Raises
    ------
    UnitError
        If the horizon names a unit and the model's own unit is unknown.
    """
    if unit is not None:
        return unit.periods(horizon)
    if isinstance(horizon, timedelta) or (isinstance(horizon, str) and _as_number(horizon) is None):
        raise UnitError(
            f"horizon={horizon!r} names a unit, but the data did not say theirs. Fit with "
            "fit(rfm, time_unit='W') (or 'D', ...), or give the horizon as a number of periods."
        )
    return TimeUnit("?", 1.0).periods(horizon)


def continuous_rate(discount_rate: float, unit: TimeUnit) -> float:
    """Convert an annual effective discount rate to a continuous rate per time unit.

    ln(1 + d) per 365.25 days, so that one unit of money a year from now is worth
    1 / (1 + d) today in every unit.

    Raises
    ------
    OptionError
        If the rate is not a finite number >= 0.

    Examples
    --------
    >>> round(continuous_rate(0.1, TimeUnit.parse("W")), 8)
    0.00182662
    """
    if not (math.isfinite(discount_rate) and discount_rate >= 0):
        raise OptionError(
            f"discount_rate={discount_rate!r} must be a finite annual effective rate >= 0, "
            "e.g. 0.1 for 10 % a year."
        )
    return math.log1p(discount_rate) * unit.days / DAYS_PER_YEAR


def choose[T: str](name: str, value: T, choices: object) -> T:
    """Return ``value`` if the Literal type ``choices`` has it, else raise OptionError."""
    allowed = get_args(choices)
    if value not in allowed:
        raise unknown_option(name, value, allowed)
    return value


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _length_in_days(text: object, name: str) -> float:
    match = _LENGTH.fullmatch(str(text))
    if match is None or match[2] not in UNIT_DAYS:
        allowed = ", ".join(f"'{c}' ({n})" for c, n in UNIT_NAMES.items())
        raise OptionError(
            f"{name}={text!r} is not a length of time. Allowed: {allowed}, with a number before "
            "it where needed ('39W', '365D', '12M'), or a timedelta."
        )
    return float(match[1] or 1) * UNIT_DAYS[match[2]]
