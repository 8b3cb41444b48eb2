"""Units, horizons and rates convert exactly."""

from __future__ import annotations

from datetime import timedelta

import pytest

from clvpredict.errors import OptionError, UnitError
from clvpredict.options import TimeUnit, continuous_rate, horizon_periods


@pytest.mark.parametrize(
    ("unit", "days"),
    [
        ("h", 1 / 24),
        ("D", 1),
        ("W", 7),
        ("M", 365.25 / 12),
        ("Y", 365.25),
        ("10D", 10),
        ("2W", 14),
        (timedelta(hours=6), 0.25),
        (timedelta(weeks=1), 7),
    ],
)
def test_units(unit: str | timedelta, days: float) -> None:
    parsed = TimeUnit.parse(unit)
    assert parsed.days == days
    assert TimeUnit.parse(parsed.code).days == days
    assert TimeUnit.parse(parsed) is parsed


def test_a_week_as_timedelta_is_the_week() -> None:
    assert TimeUnit.parse(timedelta(weeks=1)) == TimeUnit.parse("W")
    assert TimeUnit.parse("W").label == "weeks"
    assert TimeUnit.parse("10D").label == "units of 10D"


@pytest.mark.parametrize("unit", ["w", "week", "", "0D", "-1D", timedelta(0), "DD", "1e400D"])
def test_bad_units(unit: str | timedelta) -> None:
    with pytest.raises(OptionError, match="time_unit="):
        TimeUnit.parse(unit)


def test_horizons_convert_exactly() -> None:
    week, day, year = (TimeUnit.parse(u) for u in ("W", "D", "Y"))
    assert week.periods("39W") == day.periods("39W") / 7 == 39
    assert day.periods("1Y") == day.periods("12M") == 365.25
    assert year.periods(timedelta(days=365.25)) == 1
    assert week.periods(2.5) == week.periods("2.5") == 2.5
    assert day.periods("0D") == 0


def test_a_unit_is_needed_only_for_horizons_that_name_one() -> None:
    assert horizon_periods(3, None) == horizon_periods("3", None) == 3
    for horizon in ("3W", timedelta(days=1)):
        with pytest.raises(UnitError, match="time_unit='W'"):
            horizon_periods(horizon, None)


def test_discounting_a_year_is_the_annual_rate_in_every_unit() -> None:
    import math

    for code in ("h", "D", "W", "M", "Y"):
        unit = TimeUnit.parse(code)
        periods = 365.25 / unit.days
        assert math.exp(-continuous_rate(0.1, unit) * periods) == pytest.approx(1 / 1.1, rel=1e-14)
