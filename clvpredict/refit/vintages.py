"""The vintages of the gate: at which days the data are cut, and how far ahead it looks."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from clvpredict.errors import DataError, OptionError, Problem
from clvpredict.options import TimeUnit

if TYPE_CHECKING:
    from clvpredict.refit.config import GateConfig

_LONGEST, _EVERY = "13W", "4W"
# A model is fitted on at least so much of the data.
_HISTORY = 1 / 3


def vintages(
    first: date, last: date, gate: GateConfig, unit: TimeUnit, main_horizon: str | float
) -> tuple[str, list[date]]:
    """Choose the vintages of the gate.

    The newest cut date is one horizon before the end of the data, the others lie before it, as
    far apart as ``gate.every`` says (4 weeks). Each has at least a third of the data before it;
    there are fewer where the data are short.

    Parameters
    ----------
    first, last : date
        The first and the last day of the data.
    gate : GateConfig
        Its ``horizon``, ``vintages`` and ``every``.
    unit : TimeUnit
        Of lengths that are plain numbers.
    main_horizon : str or float
        Of the predictions. Without ``gate.horizon`` the gate looks as far ahead as this, but at
        most 13 weeks and a third of the data.

    Returns
    -------
    horizon : str
        Such as ``"13W"``.
    cuts : list of date
        The oldest first.

    Raises
    ------
    DataError
        If the data are too short for a single vintage.
    OptionError
        If ``gate.every`` or ``gate.horizon`` is shorter than a day.

    Examples
    --------
    >>> from datetime import date
    >>> from clvpredict.options import TimeUnit
    >>> from clvpredict.refit.config import GateConfig
    >>> weeks = TimeUnit.parse("W")
    >>> horizon, cuts = vintages(date(1997, 1, 1), date(1998, 6, 30), GateConfig(), weeks, "52W")
    >>> horizon, [str(cut) for cut in cuts]
    ('13W', ['1998-02-03', '1998-03-03', '1998-03-31'])
    """
    span = (last - first).days
    label, ahead = _horizon(span, gate, unit, main_horizon)
    step = _days("every", gate.every or _EVERY, unit)
    least = max(span * _HISTORY, 1.0)
    reach = [span - ahead - i * step for i in range(gate.vintages)]
    cuts = [first + timedelta(days=days) for days in reversed(reach) if days >= least]
    if not cuts:
        needed = f"{_amount(ahead)} for the holdout and a third of all for the fit"
        what = f"the data cover {_amount(span)} ({first} to {last}), too short for a gate: {needed}"
        fix = "refit when there are more data, or give a shorter [gate] horizon"
        raise DataError("transactions", [Problem(what, fix)])
    return label, cuts


def _horizon(
    span: int, gate: GateConfig, unit: TimeUnit, main_horizon: str | float
) -> tuple[str, int]:
    """How far the gate looks ahead, in words and in days."""
    if gate.horizon is not None:
        ahead = _days("horizon", gate.horizon, unit)
        # A plain number would be one of the champion's units, which may be others.
        return (gate.horizon if gate.horizon.strip()[-1:].isalpha() else f"{ahead}D"), ahead
    main, longest = _days("horizon", main_horizon, unit), _days("horizon", _LONGEST, unit)
    ahead = min(main, longest, max(round(span * _HISTORY), 1))
    return (_LONGEST if ahead == longest else f"{ahead}D"), ahead


def _days(name: str, length: str | float, unit: TimeUnit) -> int:
    found = round(unit.periods(length) * unit.days)
    if found < 1:
        raise OptionError(f"[gate] {name} = {length!r} must be at least a day, e.g. '13W'.")
    return found


def _amount(days: int) -> str:
    return f"{days} day{'' if days == 1 else 's'}"
