"""What a new customer is worth, what may be paid for one, and when that comes back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from clvpredict.business.asked import need_money
from clvpredict.business.newcomers import NEW, first_margin, realised_by_new, resolved
from clvpredict.errors import OptionError
from clvpredict.options import TimeUnit
from clvpredict.predict import interval_of
from clvpredict.rfm import Array
from clvpredict.value import Costs

ONE = "new customer"
# Customers of each draw of the parameters, of whom single ones are predicted.
_ALIKE = 20
# Points in time of a curve, and at most.
_TIMES, _MOST_TIMES = 48, 240


def acquisition_table(
    models: Any,
    *,
    horizon: float | str | timedelta,
    cac: float | Mapping[Any, float] | None = None,
    margin: float | Mapping[Any, float] = 1.0,
    costs: Costs | Mapping[Any, Costs] | None = None,
    first_purchase: float | Mapping[Any, float] | None = None,
    target_ratio: float = 3.0,
    target_payback: float | str | timedelta | None = None,
    interval: float = 0.9,
    **terms: Any,
) -> pd.DataFrame:
    """Say what a new customer is worth, and the most that may be paid for one.

    The value at acquisition is the margin of the first purchase and of those expected within the
    horizon after it, discounted, after costs.

    Parameters
    ----------
    models : CLVModel or mapping
        A fitted model; or one per channel, by name, each fitted on that channel's customers.
    horizon : float, str or timedelta
        How long after the first purchase.
    cac : float or mapping, optional
        What it costs to acquire a customer; one number, or one per channel.
    margin : float or mapping
        Share of a purchase that is earned.
    costs : Costs or mapping, optional
        What customers cost, as numbers.
    first_purchase : float or mapping, optional
        Value of the first purchase; by default what the spend model expects of any purchase.
        0: leave it out.
    target_ratio : float
        Of value to CAC, that is wanted: 3 is the usual rule of thumb.
    target_payback : float, str or timedelta, optional
        Time within which the CAC is wanted back; by default 12 months, or the horizon if that
        is shorter.
    interval : float
        Level.
    **terms
        ``discount_rate``, ``discounting``, ``draws``, ``seed``, ``fallback_spend``, as in
        ``predict``.

    Returns
    -------
    DataFrame
        Index `channel`. `first_purchase` (its margin after costs); `value_at_acquisition` with
        `_lower`, `_upper` (credible), `realised_pi_lower`, `realised_pi_upper` (predictive, of
        a single customer); with ``cac`` also `cac`, `value_to_cac`, `p_value_above_cac` (that a
        customer brings in more than the CAC), and `payback` with `payback_lower`,
        `payback_upper`: when the expected discounted margin has paid the CAC, in the model's
        unit, counting that customers leave; inf if not within the horizon. `max_cac_for_ratio`
        and `max_cac_for_payback` are the largest CAC that meet the targets, with `_lower` and
        `_upper`.

    Raises
    ------
    OptionError
        For a model without money, mappings without an entry for a channel, and targets that
        are not within the horizon.

    Examples
    --------
    >>> import clvpredict as clv
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
    >>> found = clv.business.acquisition_table(
    ...     model, horizon="104W", cac=12.0, margin=0.3, draws=100
    ... )
    >>> found[["value_at_acquisition", "value_to_cac"]].round(1).values.tolist()
    [[34.6, 2.9]]
    """
    if not target_ratio > 0:
        raise OptionError(f"target_ratio={target_ratio!r} must be above 0, e.g. 3.")
    rows = {}
    for name, one in _channels(models, cac, margin, costs, first_purchase).items():
        new = _New(one, horizon, terms)
        within = new.periods("12M" if target_payback is None else target_payback)
        within = min(within, new.horizon) if target_payback is None else within
        if within > new.horizon:
            raise OptionError(
                f"target_payback={target_payback!r} is after the horizon {horizon!r}; give a "
                "longer horizon, or an earlier target."
            )
        value, realised = new.value(new.horizon), new.realised()
        row: dict[str, float] = {"first_purchase": new.first}
        row |= _stated("value_at_acquisition", value, interval)
        ends = interval_of(realised[None], interval)
        row["realised_pi_lower"], row["realised_pi_upper"] = (float(e[0]) for e in ends)
        if one["cac"] is not None:
            paid = float(one["cac"])
            times, curve = new.curve()
            row["cac"] = paid
            row["value_to_cac"] = row["value_at_acquisition"] / paid if paid else np.inf
            row["p_value_above_cac"] = float((realised > paid).mean())
            row["payback"] = float(_crossing(times, curve[0][None], paid)[0])
            back = interval_of(_crossing(times, curve[1].T, paid)[None], interval)
            row["payback_lower"], row["payback_upper"] = (float(e[0]) for e in back)
        ratio = (value[0] / target_ratio, value[1] / target_ratio)
        row |= _stated("max_cac_for_ratio", ratio, interval)
        row |= _stated("max_cac_for_payback", new.value(within), interval)
        rows[name] = row
    out = pd.DataFrame.from_dict(rows, orient="index").rename_axis("channel")
    out.attrs = {
        "horizon": str(horizon),
        "target_ratio": target_ratio,
        "target_payback": "12M" if target_payback is None else str(target_payback),
        "interval": interval,
        "time_unit": _unit_of(models),
    }
    return out


def payback_curve(
    models: Any,
    *,
    horizon: float | str | timedelta,
    cac: float | Mapping[Any, float] | None = None,
    margin: float | Mapping[Any, float] = 1.0,
    costs: Costs | Mapping[Any, Costs] | None = None,
    first_purchase: float | Mapping[Any, float] | None = None,
    every: float | str | timedelta = "M",
    interval: float = 0.9,
    **terms: Any,
) -> pd.DataFrame:
    """Cumulate the expected margin of a new customer over time, to hold it to the CAC.

    Parameters
    ----------
    models, horizon, cac, margin, costs, first_purchase, interval, **terms
        As in :func:`acquisition_table`.
    every : float, str or timedelta
        Distance of the points in time.

    Returns
    -------
    DataFrame
        Columns `channel`, `time` (after the first purchase, in the model's unit, from 0),
        `margin` (discounted, cumulative, after costs) with `margin_lower`, `margin_upper`
        (credible), `cac` and `net` (margin minus CAC; missing without ``cac``).
    """
    parts = []
    for name, one in _channels(models, cac, margin, costs, first_purchase).items():
        new = _New(one, horizon, terms)
        times, (point, draws) = new.curve(every)
        lower, upper = interval_of(draws, interval)
        paid = np.nan if one["cac"] is None else float(one["cac"])
        columns = {"channel": name, "time": times, "margin": point, "margin_lower": lower}
        parts.append(pd.DataFrame({**columns, "margin_upper": upper, "cac": paid}))
    out = pd.concat(parts, ignore_index=True)
    out["net"] = out["margin"] - out["cac"]
    out.attrs = {"interval": interval, "time_unit": _unit_of(models)}
    return out


class _New:
    """What a customer acquired today brings in, at a point and under draws.

    Parameters
    ----------
    one : dict
        `model`, `margin`, `costs`, `first_purchase` of a channel.
    """

    def __init__(self, one: Mapping[str, Any], horizon: Any, terms: Mapping[str, Any]) -> None:
        self.model, self.costs, self.margin = one["model"], one["costs"], one["margin"]
        self.terms = {**terms, "margin": self.margin}
        if self.costs is not None:
            self.terms["costs"] = self.costs
        self.of = "clv" if self.costs is None else "net_clv"
        self.horizon = self.periods(horizon)
        if not np.isfinite(self.horizon) or self.horizon <= 0:
            raise OptionError(f"horizon={horizon!r} must be a finite time above 0, e.g. '104W'.")
        self._given = one["first_purchase"]
        self._costs = resolved(self.costs, self.model)
        self._once = float(self._costs["once"][0]) if self._costs else 0.0
        self.first, self._first = first_margin(self.model, self.terms, self._given, self._costs)

    def periods(self, time: Any) -> float:
        return float(self.model.purchases._periods(time))

    def value(self, time: float) -> tuple[float, Array]:
        """Expected value up to a time: at the estimates, and under draws."""
        if time == 0:
            return self.first - self._once, self._first - self._once
        point = float(self.model.predict(NEW, horizon=time, **self.terms)[self.of].iloc[0])
        found = self.model.predict_draws(NEW, horizon=time, quantities=[self.of], **self.terms)
        return self.first + point, self._first + found[self.of].to_numpy()[:, 0]

    def realised(self) -> Array:
        """What such customers bring in, several of each draw of the parameters, shape (n,)."""
        one = self.model, self.horizon, self.terms, self._given, self._costs
        return realised_by_new(*one, alike=_ALIKE).ravel()

    def curve(self, every: Any = None) -> tuple[Array, tuple[Array, Array]]:
        """Times, and the expected value up to them: shape (times,) and (times, draws)."""
        step = self.horizon / _TIMES if every is None else self.periods(_length(every))
        if not 0 < step <= self.horizon or self.horizon / step > _MOST_TIMES:
            raise OptionError(
                f"every={every!r} must be above 0, and give at most {_MOST_TIMES} points within "
                "the horizon; e.g. every='M'."
            )
        whole = np.arange(0.0, self.horizon, step)
        times = np.append(whole[whole < self.horizon * (1 - 1e-9)], self.horizon)
        values = [self.value(float(t)) for t in times]
        return times, (np.array([v[0] for v in values]), np.array([v[1] for v in values]))


def _length(every: Any) -> Any:
    """A unit alone is one of it."""
    return f"1{every}" if isinstance(every, str) and every.isalpha() else every


def _crossing(times: Array, curves: Array, paid: float) -> Array:
    """When each curve first reaches what was paid, between points linearly; inf if it never does.

    Parameters
    ----------
    curves : ndarray, shape (n, times)
    """
    reached = curves >= paid
    first = reached.argmax(axis=1)
    out = np.full(len(curves), np.inf)
    rows = np.flatnonzero(reached.any(axis=1))
    k = first[rows]
    before = np.maximum(k - 1, 0)
    low, high = curves[rows, before], curves[rows, k]
    share = np.divide(paid - low, high - low, out=np.zeros(len(rows)), where=high > low)
    out[rows] = np.where(k == 0, times[0], times[before] + share * (times[k] - times[before]))
    return out


def _stated(name: str, value: tuple[float, Array], level: float) -> dict[str, float]:
    lower, upper = interval_of(value[1][None], level)
    return {name: value[0], f"{name}_lower": float(lower[0]), f"{name}_upper": float(upper[0])}


def _channels(
    models: Any, cac: Any, margin: Any, costs: Any, first_purchase: Any
) -> dict[Any, dict[str, Any]]:
    """Model and terms of each channel."""
    named = dict(models) if isinstance(models, Mapping) else {ONE: models}
    if not named:
        raise OptionError("models is empty; give a fitted CLVModel, or {'email': model, ...}.")
    given = {"cac": cac, "margin": margin, "costs": costs, "first_purchase": first_purchase}
    out = {}
    for name, model in named.items():
        need_money(model)
        out[name] = {"model": model}
        for what, value in given.items():
            if isinstance(value, Mapping):
                if name not in value:
                    raise OptionError(
                        f"{what} has no entry for {name!r}; it has {', '.join(map(repr, value))}."
                    )
                value = value[name]
            number = what != "costs" and value is not None
            if number and (
                not isinstance(value, float | int | np.number)
                or not np.isfinite(value)
                or value < 0
            ):
                raise OptionError(
                    f"{what}={value!r} must be a finite number >= 0: a new customer has no columns."
                )
            out[name][what] = value
    return out


def _is_amount(value: Any) -> bool:
    number = isinstance(value, float | int | np.number)
    return number and bool(np.isfinite(value)) and value >= 0


def _unit_of(models: Any) -> str | None:
    first = next(iter(models.values())) if isinstance(models, Mapping) else models
    unit: TimeUnit | None = first.purchases.time_unit_
    return None if unit is None else unit.code
