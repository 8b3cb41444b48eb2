"""The cut dates and horizons of a backtest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from clvpredict.errors import OptionError
from clvpredict.options import TimeUnit


def days(length: str | float, unit: TimeUnit) -> pd.Timedelta:
    """A length of time as whole days."""
    return pd.Timedelta(days=round(unit.periods(length) * unit.days))


def horizons_asked(horizons: Sequence[str | float], unit: TimeUnit) -> dict[str, float]:
    """Horizons by name, in the unit, the shortest first.

    Raises
    ------
    OptionError
        If there are none, or one that is no horizon or there twice.
    """
    if isinstance(horizons, str | float | int) or len(horizons) == 0:
        raise OptionError(f"horizons={horizons!r} must be a list, e.g. horizons=['13W', '26W'].")
    ahead = {
        (h if isinstance(h, str) else f"{h:g} {unit.label}"): unit.periods(h) for h in horizons
    }
    bad = [h for h, t in ahead.items() if not days(t, unit) >= pd.Timedelta(days=1)]
    if bad:
        raise OptionError(f"horizon {bad[0]!r} must be a day or longer, e.g. '13W'.")
    if len(set(ahead.values())) < len(horizons):
        raise OptionError(f"horizons={list(horizons)!r} names one horizon twice.")
    return dict(sorted(ahead.items(), key=lambda item: item[1]))


def cuts_asked(
    dates: Sequence[Any] | None,
    every: str | None,
    min_history: str | float | None,
    ahead: Mapping[str, float],
    unit: TimeUnit,
    span: tuple[pd.Timestamp, pd.Timestamp],
) -> list[pd.Timestamp]:
    """The cut dates, the first one first.

    Parameters
    ----------
    span : tuple of two Timestamps
        The first and the last day of the data.

    Raises
    ------
    OptionError
        If there are none within the data, or both ways to choose them are used.
    """
    begin, end = span
    if (dates is None) == (every is None):
        raise OptionError(
            "give either cut_dates=['1997-09-30', ...] or every='4W', to say when to cut."
        )
    if dates is not None:
        cuts = sorted({_day(d) for d in ([dates] if isinstance(dates, str) else dates)})
        shortest = days(min(ahead.values()), unit)
        out = [c for c in cuts if not begin < c <= end - shortest]
        if out or not cuts:
            raise OptionError(
                f"cut_dates must lie within the data, which go from {begin.date()} to "
                f"{end.date()}, with the shortest horizon ({shortest.days} days) after them; got "
                f"{', '.join(str(c.date()) for c in out[:5]) or 'none'}."
            )
        return cuts
    assert every is not None
    step = days(every, unit)
    if step <= pd.Timedelta(0):
        raise OptionError(f"every={every!r} must be at least a day, e.g. every='4W'.")
    least = (end - begin) / 3 if min_history is None else days(min_history, unit)
    cut = end - days(max(ahead.values()), unit)
    cuts = []
    while cut - begin >= least:
        cuts.append(cut)
        cut -= step
    if not cuts:
        raise OptionError(
            f"the data go from {begin.date()} to {end.date()}: no cut date leaves "
            f"{least.days} days before it and the longest horizon after it. Give a shorter "
            "min_history or shorter horizons."
        )
    return cuts[::-1]


def _day(given: Any) -> pd.Timestamp:
    wrong = OptionError(f"cut date {given!r} is not a date such as '1997-09-30'.")
    try:
        moment = pd.Timestamp(given)
    except (TypeError, ValueError):
        raise wrong from None
    if pd.isna(moment):
        raise wrong
    return moment.tz_localize(None).normalize()
