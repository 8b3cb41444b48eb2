"""When the gate cuts the data, and how far ahead it looks."""

from datetime import date, timedelta

import pytest

from clvpredict.errors import DataError, OptionError
from clvpredict.options import TimeUnit
from clvpredict.refit.config import GateConfig
from clvpredict.refit.vintages import vintages

WEEKS = TimeUnit.parse("W")
FIRST = date(2023, 1, 1)


def chosen(days, main="52W", unit=WEEKS, **gate):
    """The horizon, and the cut dates as days after the first."""
    last = FIRST + timedelta(days=days)
    horizon, cuts = vintages(FIRST, last, GateConfig(**gate), unit, main)
    return horizon, [(cut - FIRST).days for cut in cuts]


@pytest.mark.parametrize(
    ("ask", "horizon", "cuts"),
    [
        # The newest holdout ends with the data; 28 days apart; 13 weeks at most.
        ({"days": 730}, "13W", [583, 611, 639]),
        ({"days": 730, "vintages": 1}, "13W", [639]),
        ({"days": 730, "every": "30D", "vintages": 2}, "13W", [609, 639]),
        ({"days": 730, "main": "4W"}, "28D", [646, 674, 702]),
        ({"days": 730, "main": 4.0}, "28D", [646, 674, 702]),
        ({"days": 730, "horizon": "26W", "vintages": 2}, "26W", [520, 548]),
        ({"days": 730, "horizon": "1M", "vintages": 1}, "1M", [700]),
        # A plain number is in the job's unit, which the champion's may not be.
        ({"days": 730, "horizon": "4", "vintages": 1}, "28D", [702]),
        ({"days": 730, "main": 30, "unit": TimeUnit.parse("D"), "vintages": 1}, "30D", [700]),
        # Short data: a third of them ahead, and a third at least before each cut date.
        ({"days": 120}, "40D", [52, 80]),
        ({"days": 60}, "20D", [40]),
        ({"days": 3}, "1D", [2]),
    ],
)
def test_vintages(ask, horizon, cuts):
    assert chosen(**ask) == (horizon, cuts)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        ({"days": 100, "horizon": "13W"}, r"cover 100 days .* too short for a gate: 91 days"),
        ({"days": 1}, "cover 1 day "),
        ({"days": 0}, "cover 0 days "),
    ],
)
def test_data_that_are_too_short_say_so(ask, said):
    with pytest.raises(DataError, match=said):
        chosen(**ask)


@pytest.mark.parametrize("wrong", [{"horizon": "1h"}, {"every": "0W"}, {"main": "1h"}])
def test_lengths_of_less_than_a_day_are_refused(wrong):
    with pytest.raises(OptionError, match="at least a day"):
        chosen(**({"days": 730} | wrong))
