"""What is still to come: purchases of all customers together, over time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from clvpredict.errors import OptionError
from clvpredict.evaluate.subject import title
from clvpredict.evaluate.views import DRAWS, Buying, buying_of, check_level, check_whole
from clvpredict.models.base import PurchaseModel
from clvpredict.options import horizon_periods
from clvpredict.predict import (
    Customers,
    DistinctRows,
    DrawnPurchases,
    Process,
    collect,
    interval_of,
    sums,
)
from clvpredict.rfm import (
    Array,
    check_repeat_frequency,
    check_rfm,
    check_unit,
    customer_ids,
    provenance_of,
)

# Customers × draws to simulate at a time and core: some hundred MB.
_AT_ONCE = 400_000
# Equal customers in one row: with many in one, blocks of rows would hold too many.
_MOST_ALIKE = 200
# Expected purchases of a posterior are computed at so many moments, and are smooth between.
_MOMENTS = 9


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
    buying = buying_of(model, "forecast_fan")
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
    columns = check_rfm(rfm, ("frequency", "recency", "T"))
    history = {"x": columns["frequency"], "T": columns["T"], "t_x": columns["recency"]}
    rows = _alike(history)
    times = t * np.arange(steps + 1) / steps
    theta = buying.result.draws(draws, seed)
    total = _futures(buying.formulas, theta, rows, t, steps, seed)
    out = pd.DataFrame({"time": times, "expected": _expected(buying, theta, history, times)})
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
        "draws": len(theta),
        "seed": seed,
        "observation_end": end,
    }
    return out


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
    model: PurchaseModel, theta: Array, rows: dict[str, Array], t: float, steps: int, seed: int
) -> Array:
    """Purchases of all customers up to each moment, in each draw; shape (steps + 1, draws)."""
    drawn = DrawnPurchases(model, theta, rows, t, {})
    draws = len(theta)

    def work(block: slice, rng: np.random.Generator) -> dict[str, Array]:
        alive = drawn.expected(block)["p_alive"]
        some = {name: column[block] for name, column in rows.items()}
        weight = some["weight"].astype(np.int64)
        found = np.empty((draws, steps))
        step = max(1, _AT_ONCE // int(weight.sum()))
        for begin in range(0, draws, step):
            chunk = slice(begin, min(begin + step, draws))
            left = rng.binomial(weight[:, None], alive[:, chunk])
            row, draw = np.divmod(np.repeat(np.arange(left.size), left.ravel()), left.shape[1])
            process = model.given_alive(
                tuple(column[chunk][draw] for column in theta.T), some["x"][row], some["T"][row]
            )
            count, span, ended = model.process_counts(process, t, rng)
            found[chunk] = _by_step(count, span, ended, draw, left.shape[1], t / steps, steps, rng)
        return {"found": found.T}

    found = collect(work, len(rows["x"]), draws, seed)["found"]
    by_step = found.reshape(-1, steps, draws).sum(axis=0)
    return np.vstack([np.zeros(draws), np.cumsum(by_step, axis=0)])


def _by_step(
    count: np.ndarray[Any, np.dtype[np.int64]],
    span: Array,
    ended: np.ndarray[Any, np.dtype[np.bool_]],
    draw: np.ndarray[Any, np.dtype[np.intp]],
    draws: int,
    length: float,
    steps: int,
    rng: np.random.Generator,
) -> Array:
    """Purchases within each step, shape (draws, steps); see PurchaseModel.process_counts."""
    within = np.repeat(np.arange(len(count)), count - ended)
    who = np.concatenate([within, np.flatnonzero(ended)])
    when = np.concatenate([span[within] * rng.random(len(within)), span[ended]])
    step = np.minimum((when / length).astype(np.intp), steps - 1)
    found = np.bincount(draw[who] * steps + step, minlength=draws * steps)
    return found.reshape(draws, steps).astype(np.float64)


def _expected(buying: Buying, theta: Array, history: dict[str, Array], times: Array) -> Array:
    """Expected purchases of all customers up to each moment, shape (len(times),)."""
    model = buying.formulas

    def mean(t: float) -> Process:
        return lambda alive: model.process_mean(alive, np.asarray(t))

    if not buying.result.is_posterior:
        # How the living go on depends on (frequency, T) only: count them by that.
        who = Customers.of(history["x"], history["t_x"], history["T"])
        point = buying.result.theta
        living = np.bincount(who.pair, who.h.weight * model.p_alive(point, who.h))
        process = model.given_alive(point, who.pair_x, who.pair_age)
        return np.array([living @ mean(t)(process) if t else 0.0 for t in times])
    rows = DistinctRows.of(history)
    weight = np.bincount(rows.inverse, minlength=len(rows)).astype(np.float64)
    scale = float(model.time_scale(model.given_alive(buying.result.theta, *np.zeros((2, 1))))[0])
    smooth = np.polynomial.Chebyshev.basis(_MOMENTS, [0.0, np.log1p(times[-1] / scale)])
    moments = scale * np.expm1(smooth.roots().real)
    drawn = DrawnPurchases(
        model, theta, rows.columns, np.inf, {str(i): mean(t) for i, t in enumerate(moments)}
    )

    def work(block: slice, _: np.random.Generator) -> dict[str, Array]:
        return drawn.expected(block)

    one_group = np.zeros(len(rows), np.intp)
    total = sums(work, len(theta), one_group, 1, weight, seed=0)
    at = [float(total[str(i)].mean()) for i in range(_MOMENTS)]
    fitted = np.polynomial.Chebyshev.fit(
        np.log1p(moments / scale), at, _MOMENTS - 1, domain=smooth.domain
    )
    return np.where(times > 0, fitted(np.log1p(times / scale)), 0.0)
