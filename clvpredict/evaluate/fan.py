"""What is still to come: purchases of all customers together, over time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.errors import OptionError
from clvpredict.evaluate.fitted import Part, check_level, check_whole, purchase_part
from clvpredict.evaluate.subject import title
from clvpredict.evaluate.views import DRAWS
from clvpredict.models.base import PurchaseModel
from clvpredict.options import horizon_periods
from clvpredict.predict import (
    Customers,
    DistinctRows,
    DrawnPurchases,
    Process,
    collect,
    interval_of,
)
from clvpredict.rfm import (
    Array,
    check_repeat_frequency,
    check_rfm,
    check_unit,
    customer_ids,
    provenance_of,
)

# Customers × draws to simulate at a time and core: few enough that the arrays stay in cache.
_AT_ONCE = 50_000
# Equal customers in one row: with many in one, blocks of rows would hold too many.
_MOST_ALIKE = 200
# Expected purchases of a posterior are computed at so many moments, and are smooth between.
_MOMENTS = 5
_FUTURES = "futures"


def forecast_fan(
    model: Any,
    rfm: pd.DataFrame,
    *,
    horizon: float | str | timedelta,
    customers: Sequence[Any] | None = None,
    steps: int = 26,
    levels: Sequence[float] = (0.5, 0.9),
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Tabulate how many purchases customers will make from now on, all together.

    Every draw of the parameters has one future of every customer, from which purchases are
    counted up to each moment. So the bands hold what the parameters leave open and what
    customers do by chance. They are bands of a total: those of single customers do not add up
    to them.

    Parameters
    ----------
    model : PurchaseEstimator or CLVModel
        Fitted.
    rfm : DataFrame
        Customers, in the model's unit; they need not have been in the fit.
    horizon : float, str or timedelta
        How far, in the model's unit or such as ``"52W"``.
    customers : sequence, optional
        Their ids; all by default.
    steps : int
        Moments, evenly spaced, after the beginning.
    levels : sequence of float
        Of the bands.
    draws : int
        Futures to simulate, with parameters of their own; a posterior may have fewer.
    seed : int
        Equal seeds give equal tables, whatever the order of the customers.

    Returns
    -------
    DataFrame, shape (steps + 1, ...)
        `time` after the end of observation, from 0 on, in the model's unit; `date`, if the
        summary knows when observation ended; `expected`, the purchases to expect up to then;
        `lower_50`, `upper_50` and so on, a pair for each level. ``attrs`` has `model`,
        `time_unit`, `customers` (how many), `levels`, `draws`, `seed` and `observation_end`.

    Raises
    ------
    DataError
        If the summary cannot be used.
    OptionError
        For options that cannot be used, and customers who are not there.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import forecast_fan
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> fan = forecast_fan(clv.MBGNBD().fit(rfm), rfm, horizon="52W", steps=4, draws=200)
    >>> fan["time"].tolist(), str(fan["date"].iloc[-1])[:10]
    ([0.0, 13.0, 26.0, 39.0, 52.0], '1999-06-29')
    """
    buying = purchase_part(model)
    check_whole("steps", steps, 1)
    check_whole("draws", draws, 2)
    check_whole("seed", seed, 0)
    for level in levels:
        check_level("levels", level)
    if horizon is None:
        raise OptionError("a picture ends somewhere: give a horizon, e.g. horizon='52W'.")
    t = horizon_periods(horizon, buying.unit)
    if t <= 0:
        raise OptionError(f"horizon={horizon!r} must be more than 0, e.g. horizon='52W'.")
    provenance = provenance_of(rfm)
    check_unit(rfm, buying.unit)
    check_repeat_frequency(rfm)
    rfm = _chosen(rfm, customers)
    times, expected, total = paths(buying, rfm, t, steps, draws, seed)
    out = pd.DataFrame({"time": times, "expected": expected})
    for level in sorted(set(levels)):
        out[f"lower_{100 * level:.6g}"], out[f"upper_{100 * level:.6g}"] = interval_of(total, level)
    end = None
    if provenance is not None:
        end = provenance.calibration_end or provenance.observation_end
        if end is not None:
            later = pd.to_timedelta(times * provenance.unit.days, unit="D").round("s")
            out.insert(1, "date", (pd.Timestamp(end) + later).as_unit("us"))
    out.attrs = {
        "model": title(model),
        "time_unit": buying.unit_label,
        "customers": len(rfm),
        "levels": sorted(set(levels)),
        "draws": total.shape[1],
        "seed": seed,
        "observation_end": end,
    }
    return out


def paths(
    buying: Part[PurchaseModel], rfm: pd.DataFrame, t: float, steps: int, draws: int, seed: int
) -> tuple[Array, Array, Array]:
    """Simulate the purchases of all customers together, over time.

    Returns
    -------
    times : ndarray, shape (steps + 1,)
        Evenly spaced from 0 to ``t``.
    expected : ndarray, shape (steps + 1,)
        Purchases up to them.
    futures : ndarray, shape (steps + 1, draws)
    """
    columns = check_rfm(rfm, ("frequency", "recency", "T"))
    history = {"x": columns["frequency"], "T": columns["T"], "t_x": columns["recency"]}
    rows = _alike(history)
    times = t * np.arange(steps + 1) / steps
    theta = buying.result.draws(draws, seed)
    means: dict[str, Process] = {}
    if buying.result.is_posterior:
        curve = _Curve(t, _scale(buying, history))
        means = {str(i): _mean(buying.formulas, moment) for i, moment in enumerate(curve.moments)}
    drawn = DrawnPurchases(buying.formulas, theta, rows, t, means)
    total, found = _futures(drawn, rows, steps, seed)
    if buying.result.is_posterior:
        expected = curve.through(np.array([found[name].mean() for name in means]), times)
    else:
        expected = _at_estimate(buying, history, times)
    return times, expected, total


def _mean(model: PurchaseModel, t: float) -> Process:
    return lambda alive: model.process_mean(alive, np.asarray(t))


def _chosen(rfm: pd.DataFrame, customers: Sequence[Any] | None) -> pd.DataFrame:
    if customers is None:
        return rfm
    ids, wanted = customer_ids(rfm), pd.Index(customers)
    missing = wanted.difference(pd.Index(ids))
    if len(missing) or not len(wanted):
        raise OptionError(
            f"{len(missing):,} of the {len(wanted):,} customers are not in the summary"
            + (f", e.g. {', '.join(map(repr, missing[:5]))}." if len(missing) else "; give some.")
        )
    return rfm[ids.isin(wanted).to_numpy()]


def _alike(history: dict[str, Array]) -> dict[str, Array]:
    """Customers, equal ones in one row with a weight, but not too many of them."""
    rows = DistinctRows.of(history)
    weight = np.bincount(rows.inverse, minlength=len(rows))
    parts = -(-weight // _MOST_ALIKE)
    out = {name: np.repeat(column, parts) for name, column in rows.columns.items()}
    share, rest = np.divmod(weight, parts)
    place = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    out["weight"] = np.repeat(share, parts) + (place < np.repeat(rest, parts))
    return out


def _futures(
    drawn: DrawnPurchases, rows: dict[str, Array], steps: int, seed: int
) -> tuple[Array, dict[str, Array]]:
    """Purchases of all customers up to each moment, and what else is expected of them.

    Returns
    -------
    futures : ndarray, shape (steps + 1, draws)
    expected : dict of str to ndarray, shape (draws,)
        Sums of the quantities of ``drawn`` over the customers.
    """
    draws = len(drawn.theta)
    columns = np.ascontiguousarray(drawn.theta.T)

    def work(block: slice, rng: np.random.Generator) -> dict[str, Array]:
        found = drawn.expected(block)
        alive = found.pop("p_alive")
        some = {name: column[block] for name, column in rows.items()}
        out = {name: (some["weight"] @ values)[None] for name, values in found.items()}
        who = np.repeat(np.arange(len(alive)), some["weight"].astype(np.intp))
        counts = np.empty((steps, draws))
        step = max(1, _AT_ONCE // len(who))
        for begin in range(0, draws, step):
            chunk = slice(begin, min(begin + step, draws))
            row, draw = np.nonzero(rng.random((len(who), chunk.stop - begin)) < alive[who, chunk])
            theta = tuple(column[chunk][draw] for column in columns)
            x, age = some["x"][who[row]], some["T"][who[row]]
            process = drawn.model.given_alive(theta, x, age)
            counts[:, chunk] = _by_step(
                drawn.model.process_counts(process, drawn.t, rng),
                (draw, chunk.stop - begin),
                (drawn.t, steps),
                rng,
            )
        return {_FUTURES: counts, **out}

    found = collect(work, len(rows["x"]), draws, seed)
    by_step = found.pop(_FUTURES).reshape(-1, steps, draws).sum(axis=0)
    futures = np.vstack([np.zeros(draws), np.cumsum(by_step, axis=0)])
    return futures, {name: values.sum(axis=0) for name, values in found.items()}


def _by_step(
    simulated: tuple[npt.NDArray[np.int64], Array, npt.NDArray[np.bool_]],
    draws: tuple[npt.NDArray[np.intp], int],
    steps: tuple[float, int],
    rng: np.random.Generator,
) -> Array:
    """Purchases within each step, shape (steps, draws).

    Parameters
    ----------
    simulated : tuple
        From :meth:`PurchaseModel.process_counts`.
    draws : tuple
        Draw of each customer, and how many there are.
    steps : tuple
        Horizon, and the number of steps.
    """
    (count, span, ended), (draw, many), (t, number) = simulated, draws, steps
    within = np.repeat(np.arange(len(count)), count - ended)
    who = np.concatenate([within, np.flatnonzero(ended)])
    when = np.concatenate([span[within] * rng.random(len(within)), span[ended]])
    step = np.minimum((when * (number / t)).astype(np.intp), number - 1)
    found = np.bincount(step * many + draw[who], minlength=number * many)
    return found.reshape(number, many).astype(np.float64)


def _at_estimate(buying: Part[PurchaseModel], history: dict[str, Array], times: Array) -> Array:
    """Expected purchases of all customers up to each moment, shape (len(times),)."""
    model, theta = buying.formulas, buying.result.theta
    # How the living go on depends on (frequency, T) only: count them by that.
    who = Customers.of(history["x"], history["t_x"], history["T"])
    living = np.bincount(who.pair, who.h.weight * model.p_alive(theta, who.h))
    process = model.given_alive(theta, who.pair_x, who.pair_age)
    later = [living @ model.process_mean(process, np.asarray(t)) for t in times[1:]]
    return np.array([0.0, *later])


def _scale(buying: Part[PurchaseModel], history: dict[str, Array]) -> float:
    age = np.array([history["T"].mean()])
    process = buying.formulas.given_alive(buying.result.theta, np.zeros(1), age)
    return float(buying.formulas.time_scale(process)[0])


class _Curve:
    """Expected purchases as a smooth function of time, computed at a few moments.

    ln(purchases / time) bends least, so five moments are exact to about 1e-5 over ten years,
    and to 1e-8 over one.

    Parameters
    ----------
    t : float
        The last moment.
    scale : float
        A time over which the rate of purchases changes.
    """

    def __init__(self, t: float, scale: float) -> None:
        self._scale = scale
        self._domain = [0.0, float(np.log1p(t / scale))]
        inside = np.polynomial.Chebyshev.basis(_MOMENTS, self._domain).roots().real
        self.moments = scale * np.expm1(inside)

    def through(self, values: Array, times: Array) -> Array:
        """Interpolate from the moments to other times."""
        at, to = (np.log1p(t / self._scale) for t in (self.moments, times))
        rate = np.log(np.maximum(values / self.moments, np.finfo(float).tiny))
        return np.asarray(
            times * np.exp(np.polynomial.Chebyshev.fit(at, rate, _MOMENTS - 1, self._domain)(to))
        )
