"""Whether the model describes the purchases it was fitted on: checks without a holdout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from clvpredict.errors import DataError, OptionError, Problem
from clvpredict.evaluate.fitted import check_settings, purchase_part
from clvpredict.evaluate.predictive import (
    ages,
    as_theta,
    bounds,
    count_band,
    outside,
    parameter_draws,
    purchase_columns,
    sample_of,
)
from clvpredict.evaluate.subject import title
from clvpredict.models.base import NEW_CUSTOMER, PurchaseModel, Theta
from clvpredict.options import UNIT_DAYS, TimeUnit
from clvpredict.rfm import Array, provenance_of, require_column

# More ages than this are summed up at so many nodes: what is expected is smooth in the age.
_AGES = 128
_AGES_OF_INTEGRALS = 40


def frequency_check(
    model: Any,
    rfm: pd.DataFrame,
    *,
    top: int = 7,
    level: float = 0.9,
    draws: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare how many customers made 0, 1, 2, ... repeat purchases with what the model says.

    Parameters
    ----------
    model : PurchaseEstimator or CLVModel
        Fitted, by any method.
    rfm : DataFrame
        The customers, usually those of the fit.
    top : int
        Customers with this many repeat purchases or more are one class.
    level : float
        Of the band, for each class on its own.
    draws : int
        Draws of the parameters behind the band.
    seed : int
        Equal seeds give equal bands.

    Returns
    -------
    DataFrame
        One row per class: `model`, `frequency` (text: ``"0"``, ``"1"``, ... ``"7+"``),
        `observed` (customers), `expected` (of customers of these ages; exact, nothing is
        simulated), `lower` and `upper` (over draws of the parameters, and over what customers
        then happen to do). ``attrs`` has `customers`, `level` and `outside`, the number of
        classes outside the band.

    Raises
    ------
    DataError, UnitError
        If the summary cannot be used.
    OptionError
        If the model has no purchase model, or an option is out of range.

    Notes
    -----
    What is expected depends on the age smoothly: where there are more than 128 different ages,
    it is computed at 128 of them and interpolated.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import frequency_check
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> table = frequency_check(clv.BGNBD().fit(rfm), rfm)
    >>> table["observed"].tolist()
    [1411, 439, 214, 100, 62, 38, 29, 64]
    >>> bool(1390 < table["expected"].iloc[0] < 1430)
    True
    """
    check_settings(level, top=top, draws=draws)
    _, formulas, result = purchase_part(model)
    columns = purchase_columns(model, rfm)
    age, customers = ages(columns["T"], _AGES)
    number = np.arange(float(top))[:, None]

    def shares(theta: Theta) -> Array:
        few = formulas.pmf_future(theta, NEW_CUSTOMER, age, number)
        return np.vstack([few, 1.0 - few.sum(axis=0)])

    group = np.minimum(columns["frequency"], top).astype(np.intp)
    table = pd.DataFrame(
        {
            "model": title(model),
            "frequency": [*map(str, range(top)), f"{top}+"],
            "observed": np.bincount(group, minlength=top + 1),
            **count_band(result, shares, customers, level, draws, seed),
        }
    )
    table.attrs = {
        "customers": len(rfm),
        "level": level,
        "outside": outside(table, "observed"),
    }
    return table


def recency_check(
    model: Any,
    rfm: pd.DataFrame,
    *,
    bins: int = 20,
    level: float = 0.9,
    draws: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare how long ago repeat buyers last bought with what the model says.

    Parameters
    ----------
    model, rfm, level, draws, seed
        As in :func:`frequency_check`.
    bins : int
        About how many intervals of equal length; they hold whole days (or the period that
        counts once in the summary).

    Returns
    -------
    DataFrame
        One row per interval: `model`, `start` and `end` (of T − recency, in the time unit),
        `observed` (repeat buyers), `expected`, `lower`, `upper`. ``attrs`` has `time_unit`,
        `customers`, `level`, `outside` and `what` is counted.

    Raises
    ------
    DataError, UnitError, OptionError
        As :func:`frequency_check`.

    Notes
    -----
    Exact for models in which customers drop out right after purchases, as of all models here;
    where there are more than 40 different ages, it is computed at 40 of them and interpolated.
    Intervals end half-way between days, as the data are rounded to days and the model's time is
    not.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import recency_check
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> table = recency_check(clv.MBGNBD().fit(rfm), rfm)
    >>> int(table["observed"].sum())
    946
    """
    check_settings(level, bins=bins, draws=draws)
    _, formulas, result = purchase_part(model)
    columns = purchase_columns(model, rfm)
    repeat = columns["frequency"] > 0
    provenance = provenance_of(rfm)
    unit = provenance.unit if provenance else getattr(model, "purchases", model).time_unit_
    period = _period(provenance.collapse if provenance else "none", unit)
    last = float(columns["T"].max())
    if last <= 0:
        raise DataError("RFM summary", [Problem("T is 0 everywhere", "observe for longer")])
    edges = _edges(last, bins, period)
    age, customers = ages(columns["T"], _AGES_OF_INTEGRALS)

    def shares(theta: Theta) -> Array:
        recent = bought_within(formulas, theta, edges[1:, None], age)
        return np.vstack([np.diff(recent, axis=0, prepend=0.0), 1.0 - recent[-1]])

    band = count_band(result, shares, customers, level, draws, seed)
    ago = (columns["T"] - columns["recency"])[repeat]
    observed = np.histogram(ago, bins=edges)[0]
    table = _binned(model, edges, observed, {name: v[:-1] for name, v in band.items()})
    table.attrs = {
        "what": "time since the last purchase",
        "counted": "repeat buyers",
        "time_unit": unit.label if unit else None,
        "customers": len(rfm),
        "level": level,
        "outside": outside(table, "observed"),
    }
    return table


def bought_within(formulas: PurchaseModel, theta: Theta, time: Array, age: Array) -> Array:
    """P(a customer of this age made a repeat purchase within the last ``time``).

    Who buys in (T − w, T] is alive at T − w and not silent from then on. Given the customer's
    rates, surviving T − w and making no purchase for w are independent and may change places:
    no purchase for w first, which leads to a known state, then survival.

    Parameters
    ----------
    time, age : ndarray
        Broadcast against each other.
    """
    silent, before = (np.ascontiguousarray(v) for v in _split(time, age))
    zero = np.zeros_like(silent)
    start = formulas.given_alive(theta, np.zeros(1), np.zeros(1))
    quiet = np.exp(formulas.process_no_purchase(start, silent))
    later = formulas.given_alive(theta, zero, silent)
    alive = formulas.process_survival(start, before)
    return np.asarray(
        formulas.p_alive(theta, NEW_CUSTOMER)[0]
        * (alive - quiet * formulas.process_survival(later, before))
    )


def _split(time: Array, age: Array) -> tuple[Array, Array]:
    time, age = np.broadcast_arrays(time, age)
    silent = np.minimum(time, age)
    return silent, age - silent


def timing_check(
    model: Any,
    history: pd.DataFrame,
    *,
    observation_end: Any = None,
    bins: int = 20,
    level: float = 0.9,
    draws: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare the times between purchases with what the model says.

    Parameters
    ----------
    model : PurchaseEstimator or CLVModel
        Fitted; it must know its time unit.
    history : DataFrame
        Purchases, `customer_id` and `date`, from :func:`clvpredict.purchase_history`: those of
        the period that the model is to describe, first purchases included.
    observation_end : str or date, optional
        When observation ended; by default what the history says of itself, else its last date.
    bins, level, draws, seed
        As in :func:`recency_check`.

    Returns
    -------
    DataFrame
        One row per interval: `model`, `start` and `end` (of the time between two purchases of a
        customer, in the time unit), `observed` (pairs of successive purchases), `expected` (mean
        over simulated bases), `lower`, `upper`. ``attrs`` has `time_unit`, `customers`,
        `sampled`, `level`, `outside` and `what` is counted.

    Raises
    ------
    DataError
        If nobody bought twice, or purchases lie after the end of observation.
    OptionError
        If a column is missing, the model does not know its unit, or an option is out of range.

    Notes
    -----
    Simulated purchases are put on whole days (or the period that counts once in the history),
    and those of one day count once, as in the data. Of more than 10,000 customers, both sides
    are of a random sample of that many.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import timing_check
    >>> data = clv.load_cdnow()
    >>> rfm = clv.rfm_summary(data, time_unit="W")
    >>> table = timing_check(clv.MBGNBD().fit(rfm), clv.purchase_history(data), draws=20)
    >>> int(table["observed"].sum()) == int(rfm["frequency"].sum())
    True
    """
    check_settings(level, bins=bins, draws=draws)
    _, formulas, result = purchase_part(model)
    unit = getattr(model, "purchases", model).time_unit_
    if unit is None:
        raise OptionError(
            "the model does not know its time unit, which dates need: fit(rfm, time_unit='W')."
        )
    code = str(history.attrs.get("collapse", "D"))
    if observation_end is None:
        observation_end = history.attrs.get("observation_end")
    customer, day, end = _days(history, UNIT_DAYS[code], observation_end)
    customers = int(customer[-1]) + 1
    rows = sample_of(customers, seed)
    inside = np.isin(customer, rows)
    gap = _gaps(customer[inside], day[inside])
    first = np.concatenate([[True], customer[1:] != customer[:-1]])
    age = (end - day[first])[rows]
    if not len(gap):
        raise DataError("history", [Problem("nobody bought twice", "give a longer history")])

    period = UNIT_DAYS[code] / unit.days
    width = _width(float(age.max()), bins)
    edges = np.arange(0.5, age.max() + 0.5 + width, width)
    rng = np.random.default_rng(seed)
    drawn = [
        np.histogram(_simulated_gaps(formulas, as_theta(row), age, period, rng), bins=edges)[0]
        for row in parameter_draws(result, draws, seed)
    ]
    lower, upper = bounds(np.array(drawn, dtype=np.float64), level)
    band = {"expected": np.mean(drawn, axis=0), "lower": lower, "upper": upper}
    table = _binned(model, edges * period, np.histogram(gap, bins=edges)[0], band)
    table.attrs = {
        "what": "time between two purchases",
        "counted": "pairs of successive purchases",
        "time_unit": unit.label,
        "customers": customers,
        "sampled": len(rows),
        "level": level,
        "outside": outside(table, "observed"),
    }
    return table


def _days(history: pd.DataFrame, length: float, end: Any) -> tuple[Array, Array, float]:
    """Customers as 0, 1, ... and whole periods of purchase, sorted, each once; and the last one."""
    owner = require_column(history, "customer_id", "timing_check")
    date = require_column(history, "date", "timing_check")
    if history.empty:
        raise DataError("history", [Problem("no rows", "give purchases")])
    origin = pd.Timestamp("1969-12-29")  # a Monday, so that weeks are calendar weeks

    def period(moment: pd.Series) -> Array:
        found = moment.dt.tz_localize(None) - origin
        return np.asarray(np.floor(found / pd.Timedelta(days=length)), np.float64)

    day = period(pd.to_datetime(date))
    last = float(day.max()) if end is None else float(period(pd.Series([pd.Timestamp(end)]))[0])
    late = day > last
    if late.any():
        fix = "history[history['date'] <= observation_end], or a later observation_end"
        raise DataError(
            "history", [Problem(f"purchases after observation_end {end}", fix, int(late.sum()))]
        )
    frame = pd.DataFrame({"customer": pd.factorize(owner)[0], "day": day})
    if (frame["customer"] < 0).any() or frame["day"].isna().any():
        raise DataError("history", [Problem("missing customer_id or date", "history.dropna()")])
    frame = frame.drop_duplicates().sort_values(["customer", "day"])
    return frame["customer"].to_numpy(), frame["day"].to_numpy(), last


def _gaps(customer: Array, day: Array) -> Array:
    return np.asarray(np.diff(day)[customer[1:] == customer[:-1]])


def _simulated_gaps(
    formulas: PurchaseModel, theta: Theta, age: Array, period: float, rng: np.random.Generator
) -> Array:
    """Whole periods between purchases of customers of these ages (in periods)."""
    n = len(age)
    start = rng.random(n) < formulas.p_alive(theta, NEW_CUSTOMER)[0]
    zero = np.zeros(n)
    process = formulas.given_alive(theta, zero, zero)
    buyer, time, _ = formulas.process_times(process, np.where(start, age * period, 0.0), rng)
    # The first purchase comes at any time of its day.
    day = np.floor(rng.random(n)[buyer] + time / period)
    customer = np.concatenate([np.arange(n), buyer])
    day = np.concatenate([zero, day])
    order = np.lexsort((day, customer))
    gap = _gaps(customer[order], day[order])
    return np.asarray(gap[gap > 0])


def _period(collapse: str, unit: TimeUnit | None) -> float:
    """Length of what counts once, in the unit; 0 in continuous time."""
    return UNIT_DAYS[collapse] / unit.days if unit and collapse in UNIT_DAYS else 0.0


def _width(periods: float, bins: int) -> float:
    return max(1.0, float(np.ceil(round(periods / bins, 9))))


def _edges(last: float, bins: int, period: float) -> Array:
    """Ends of intervals from 0 to ``last``, half-way between periods."""
    if not period:
        return np.linspace(0.0, last, bins + 1)
    width = _width(last / period + 1.0, bins)
    inner = (np.arange(1.0, np.ceil(last / period / width) + 1.0) * width - 0.5) * period
    return np.concatenate([[0.0], inner[inner < last], [last]])


def _binned(model: Any, edges: Array, observed: Any, band: dict[str, Array]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "model": title(model),
            "start": edges[:-1],
            "end": edges[1:],
            "observed": observed,
            **band,
        }
    )
