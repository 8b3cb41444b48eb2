"""Forecasts as labelled tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.errors import OptionError, unknown_option
from clvpredict.estimators.drawing import BOTH, Drawing, IntervalKind, check_interval
from clvpredict.estimators.forecast import Forecast
from clvpredict.predict import Scores, interval_of
from clvpredict.rfm import Array, customer_ids, require_column

if TYPE_CHECKING:
    import xarray as xr

ALL = "all"


def with_draws(
    out: pd.DataFrame,
    forecast: Forecast,
    interval: float | None,
    kinds: Sequence[IntervalKind],
    *,
    replace: bool,
) -> pd.DataFrame:
    """Add intervals to a table of point predictions.

    Parameters
    ----------
    replace : bool
        Replace the point predictions by means over the draws: those of a posterior.
    """
    found = forecast.table(interval, kinds)
    known = set(out.columns)
    while found:  # one by one, so that a large table is not held twice
        name = next(iter(found))
        column = found.pop(name)
        if replace or name not in known:
            out[name] = column
    out["churn_probability"] = 1.0 - out["p_alive"]
    return out


def recalibrated(out: pd.DataFrame, how: Drawing) -> pd.DataFrame:
    """Correct expectations by what a backtest has taught; predictive ends are so already."""
    learnt = how.recalibration
    if learnt is None:
        return out
    for names, of in (
        (("expected_purchases",), "purchases"),
        (("clv", "clv_undiscounted"), "value"),
    ):
        for column in _with_ends(out, names):
            out[column] *= learnt.of(of).level
    for column in _with_ends(out, ("p_purchase",)):
        out[column] = 1.0 - learnt.purchases.probability(1.0 - out[column].to_numpy(np.float64))
    return out


def _with_ends(out: pd.DataFrame, names: Sequence[str]) -> list[str]:
    return [f"{n}{end}" for n in names for end in ("", "_lower", "_upper") if f"{n}{end}" in out]


def interval_metadata(
    interval: float | None, kinds: Sequence[IntervalKind], how: Drawing, *, posterior: bool
) -> dict[str, Any]:
    """What a table says of its draws and intervals, and of what corrected it."""
    said: dict[str, Any] = {}
    if interval is not None:
        said = {"interval": interval, "intervals": list(kinds)}
    if interval is not None or posterior:
        said |= {"draws": how.draws, "seed": how.seed}
    if how.recalibration is not None:
        said["recalibration"] = how.recalibration.record()
    return said


def draws_of(
    rfm: pd.DataFrame,
    forecast: Callable[[pd.DataFrame], Forecast],
    quantities: Sequence[str],
    customers: Sequence[Any] | None,
    sum_by: str | bool,
) -> xr.Dataset:
    """Draws of chosen customers, or of sums over groups of them."""
    import xarray as xr

    if isinstance(quantities, str):
        quantities = (quantities,)
    ids = customer_ids(rfm)
    if customers is not None:
        wanted = pd.Index(customers)
        missing = wanted.difference(pd.Index(ids))
        if len(missing):
            raise OptionError(
                f"{len(missing):,} of the customers are not in the summary, e.g. "
                f"{', '.join(map(repr, missing[:5]))}."
            )
        rfm = rfm[ids.isin(wanted).to_numpy()]
        ids = customer_ids(rfm)
    if sum_by is False:
        return forecast(rfm).all_draws(quantities, ids)
    group, names = _groups(rfm, None if sum_by is True else sum_by)
    found = forecast(rfm)
    total = found.sums(quantities, group, len(names))
    coords: dict[str, Any] = {"draw": np.arange(found.draws)}
    if sum_by is True:
        return xr.Dataset({n: ("draw", total[n][0]) for n in quantities}, coords=coords)
    coords[sum_by] = names.to_numpy()
    return xr.Dataset({n: (("draw", sum_by), total[n].T) for n in quantities}, coords=coords)


def periods_of(
    rfm: pd.DataFrame,
    forecast: Callable[[float], Forecast],
    ends: Array,
    by: str | None,
) -> xr.Dataset:
    """What groups of customers do, period by period, under each draw."""
    import xarray as xr

    ordered = ends.ndim == 1 and len(ends) and (np.diff(ends, prepend=0.0) > 0).all()
    if not ordered:
        raise OptionError(
            f"ends must be ascending times after now, e.g. ends=['4W', '8W']; got {ends.tolist()}."
        )
    group, names = _groups(rfm, by)
    found = forecast(float(ends[-1]))
    values = found.periods(ends, group, len(names))
    axes = ("draw", "group" if by is None else by, "period")
    coords = dict(zip(axes, (np.arange(found.draws), names.to_numpy(), ends), strict=True))
    return xr.Dataset({n: (axes, np.moveaxis(v, 2, 0)) for n, v in values.items()}, coords=coords)


def _thresholds(threshold: float | str | npt.ArrayLike, rfm: pd.DataFrame) -> Array:
    """A threshold per customer, shape (n,)."""
    given = require_column(rfm, threshold, "threshold") if isinstance(threshold, str) else threshold
    values = np.asarray(given, np.float64)
    if values.shape not in ((), (len(rfm),)) or np.isnan(values).any():
        raise OptionError(
            "threshold must be a number, a column of numbers, or one number per customer "
            f"({len(rfm):,}), none missing; got shape {values.shape}."
        )
    return np.broadcast_to(values, (len(rfm),))


def above(
    rfm: pd.DataFrame, forecast: Forecast, of: str, threshold: float | str | npt.ArrayLike
) -> pd.Series:
    """P(quantity > threshold) of each customer."""
    found = forecast.p_above(of, _thresholds(threshold, rfm))
    return pd.Series(found, index=rfm.index, name=f"p_{of}_above")


def scores_of(
    rfm: pd.DataFrame,
    forecast: Forecast,
    of: str,
    observed: npt.ArrayLike,
    levels: Sequence[float],
) -> Scores:
    """Hold what customers did to their predictive distributions."""
    if of not in ("purchases", "value"):
        raise unknown_option("of", of, ("purchases", "value"))
    for level in levels:
        check_interval(level, BOTH)
    done = np.asarray(observed, np.float64)
    fits = done.shape == (len(rfm),) and bool((np.isfinite(done) & (done >= 0)).all())
    if not fits or (of == "purchases" and (done != np.floor(done)).any()):
        raise OptionError(
            f"observed must be one number >= 0 per customer ({len(rfm):,}), of purchases a whole "
            f"one, none missing; got shape {done.shape}."
        )
    return forecast.score(of, done, levels)


def totals(
    rfm: pd.DataFrame, point: pd.DataFrame, forecast: Forecast, by: str | None, level: float
) -> pd.DataFrame:
    """Sums by group: point predictions, and intervals of sums made within each draw."""
    group, names = _groups(rfm, by)
    member = group.astype(np.intp)
    expected, realised = forecast.additive
    found = forecast.sums((*expected, *realised), group, len(names))
    out: dict[str, npt.NDArray[Any]] = {"customers": np.bincount(member, minlength=len(names))}
    for name in expected:
        values = point[name].to_numpy(np.float64)
        out[name] = np.bincount(member, values, minlength=len(names))
        out[f"{name}_lower"], out[f"{name}_upper"] = interval_of(found[name], level)
    for name in realised:
        out[f"{name}_pi_lower"], out[f"{name}_pi_upper"] = interval_of(found[name], level)
    return pd.DataFrame(out, index=names.rename(by or "group"))


def top_share(
    rfm: pd.DataFrame, point: pd.DataFrame, forecast: Forecast, share: float, level: float
) -> pd.DataFrame:
    """Share of the total that the best customers have, by the point prediction of CLV."""
    if not 0 < share < 1:
        raise OptionError(f"share={share!r} must be between 0 and 1, e.g. 0.1 for the top tenth.")
    best = max(1, round(share * len(rfm)))
    top = np.zeros(len(rfm))
    order = np.argsort(-point["clv"].to_numpy(np.float64), kind="stable")
    top[order[:best]] = 1.0
    found = forecast.sums(("clv", "value"), top, 2)
    rows = {}
    for name, (rest, chosen) in found.items():
        total = rest + chosen
        part = np.divide(chosen, total, out=np.full_like(total, np.nan), where=total > 0)
        lower, upper = interval_of(part[None], level)
        rows[name] = {"share": float(np.nanmean(part)), "lower": lower[0], "upper": upper[0]}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("quantity")


def _groups(rfm: pd.DataFrame, by: str | None) -> tuple[Array, pd.Index]:
    """The group of each customer, 0 ... n − 1, and their names."""
    if by is None:
        return np.zeros(len(rfm)), pd.Index([ALL])
    codes, names = pd.factorize(require_column(rfm, by, "by"), sort=True)
    missing = int((codes < 0).sum())
    if missing:
        raise OptionError(
            f"column '{by}' is missing for {missing:,} customers; fill it: "
            f"rfm['{by}'].fillna('none')."
        )
    return codes.astype(np.float64), pd.Index(names)
