"""The best split of a budget over concave curves: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import optimize, special

from clvpredict.business.responses import Curve
from clvpredict.rfm import Array

#: Widths of the smoothed tail, in standard deviations of the total gain.
_WIDTHS = (0.1, 0.01, 0.001)


@dataclass(frozen=True)
class Limits:
    """What a split has to keep to.

    Parameters
    ----------
    budget : float
        Most that may be spent in all.
    least, most : array, shape (segments,)
        Spend of each; the sum of the least does not exceed the budget.
    floor : float
        Return per unit below which money stays unspent: 0, or 1 where it has to pay for itself.
    cost : array, shape (segments,), or None
        Of one contact.
    contacts : float or None
        Most contacts in all; the least spends do not exceed it.
    """

    budget: float
    least: Array
    most: Array
    floor: float = 0.0
    cost: Array | None = None
    contacts: float | None = None


@dataclass(frozen=True)
class Split:
    """A split of the budget.

    Parameters
    ----------
    spend : array, shape (segments,)
        Of each.
    price, contact_price : float
        What one more unit of budget, and one more contact, would add to the objective.
    weights : array, shape (draws,)
        Of the draws in the objective's slope; they sum to 1.
    gap : float
        No other split is better by more than this, in the objective's unit.
    """

    spend: Array
    price: float
    contact_price: float
    weights: Array
    gap: float


def gains(curves: Sequence[Curve], spend: Array, draws: int) -> Array:
    """Gain of each segment under each draw, shape (draws, segments)."""
    found = np.empty((draws, len(curves)))
    for i, (curve, s) in enumerate(zip(curves, spend, strict=True)):
        found[:, i] = curve.gain(float(s))
    return found


def marginals(curves: Sequence[Curve], spend: Array, weights: Array) -> Array:
    """Weighted mean over draws of what one more unit brings, shape (segments,)."""
    pairs = zip(curves, spend, strict=True)
    return np.array([_mean(curve.marginal(float(s)), weights) for curve, s in pairs])


def worst_mean(total: Array, quantile: float) -> float:
    """Mean of the lowest share of draws (expected shortfall), with the last one in part."""
    count = quantile * len(total)
    whole = int(np.floor(count + 1e-9))
    ordered = np.partition(total, min(whole, len(total) - 1))
    rest = (count - whole) * ordered[whole] if count - whole > 1e-9 else 0.0
    return float((ordered[:whole].sum() + rest) / count)


def best_mean(curves: Sequence[Curve], limits: Limits, weights: Array) -> Split:
    """Maximise the weighted mean of the total gain.

    The problem is separable and concave, so its conditions of optimality are solved directly: a
    price of budget (and one of contacts) at which segments, each spending until its marginal
    return is that price, spend the budget together.
    """
    spends = [_Demand(c, low, high, weights) for c, low, high in _each(curves, limits)]
    cost = limits.cost

    def at(price: float, contact_price: float) -> Array:
        extra = np.zeros(len(spends)) if cost is None else contact_price / cost
        return np.array([spend(price + more) for spend, more in zip(spends, extra, strict=True)])

    def over_budget(spend: Array) -> float:
        return float(spend.sum()) - limits.budget

    def within_budget(contact_price: float) -> tuple[Array, float]:
        return _priced(lambda price: at(price, contact_price), over_budget, limits.floor)

    spend, price = within_budget(0.0)
    contact_price = 0.0
    if cost is not None and limits.contacts is not None:
        most = limits.contacts

        def over_contacts(spend: Array) -> float:
            return float((spend / cost).sum()) - most

        spend, contact_price = _priced(lambda p: within_budget(p)[0], over_contacts, 0.0)
        price = within_budget(contact_price)[1]
    return Split(spend, price, contact_price, weights, 0.0)


def best_worst(
    curves: Sequence[Curve], limits: Limits, quantile: float, draws: int, start: Array
) -> Split:
    """Maximise the mean of the worst share of draws.

    That is concave in the spends, but not smooth: it is smoothed less and less
    (SciPy's SLSQP). The draws' weights then give a bound: no split can have a mean of its worst
    draws above its mean with those weights, whose maximum :func:`best_mean` knows.
    """
    unit = float(start.sum())
    spread = float(gains(curves, start, draws).sum(axis=1).std())
    even = np.full(draws, 1.0 / draws)
    if spread == 0.0:  # nothing can be spent, or nothing is uncertain there
        return best_mean(curves, limits, even)
    # Where the first unit's return has no bound, SLSQP starts just above 0.
    edge = np.isinf(marginals(curves, limits.least, even))
    low = np.where(edge, np.minimum(limits.least + 1e-9 * unit, limits.most), limits.least)
    within = [optimize.LinearConstraint(np.ones(len(low)), ub=limits.budget / unit)]
    if limits.cost is not None and limits.contacts is not None:
        within.append(
            optimize.LinearConstraint(unit / limits.cost / max(limits.contacts, 1e-300), ub=1.0)
        )
    worth = max(abs(worst_mean(gains(curves, start, draws).sum(axis=1), quantile)), spread)
    spend = np.clip(start, low, limits.most)
    weights = even
    for width in _WIDTHS:
        smooth = partial(_minus, curves, limits, quantile, draws, unit, worth, width * spread)
        found = optimize.minimize(
            smooth,
            spend / unit,
            jac=True,
            method="SLSQP",
            bounds=optimize.Bounds(low / unit, np.maximum(low, limits.most) / unit),
            constraints=within,
            options={"ftol": 1e-12, "maxiter": 500},
        )
        spend = _feasible(np.clip(found.x * unit, limits.least, limits.most), limits)
        total = gains(curves, spend, draws).sum(axis=1)
        _, weights = _smooth_worst(total, quantile, width * spread)

    def objective(spend: Array) -> float:
        total = gains(curves, spend, draws).sum(axis=1)
        return worst_mean(total, quantile) - limits.floor * float(spend.sum())

    bound = best_mean(curves, limits, weights)
    most = float(weights @ gains(curves, bound.spend, draws).sum(axis=1))
    most -= limits.floor * float(bound.spend.sum())
    best = max((spend, bound.spend, start), key=objective)
    gap = max(most - objective(best), 0.0)
    return Split(best, bound.price, bound.contact_price, weights, gap)


def _minus(
    curves: Sequence[Curve],
    limits: Limits,
    quantile: float,
    draws: int,
    unit: float,
    worth: float,
    width: float,
    x: Array,
) -> tuple[float, Array]:
    """What SLSQP minimises and its gradient, in units near 1; ``x`` are in units of the spend."""
    total = gains(curves, x * unit, draws).sum(axis=1)
    value, weights = _smooth_worst(total, quantile, width)
    slope = marginals(curves, x * unit, weights) - limits.floor
    return -(value - limits.floor * float(x.sum()) * unit) / worth, -slope * unit / worth


class _Demand:
    """How much one segment spends at a price: until its marginal return is that."""

    def __init__(self, curve: Curve, low: float, high: float, weights: Array) -> None:
        self.low, self.high = low, high
        self._curve, self._weights = curve, weights
        self._first, self._last = self._slope(low), self._slope(high)

    def _slope(self, spend: float) -> float:
        return _mean(self._curve.marginal(spend), self._weights)

    def __call__(self, price: float) -> float:
        if self._first <= price or self.low >= self.high:
            return self.low
        if self._last >= price:
            return self.high
        low, high = self.low, self.high
        if not np.isfinite(self._first):
            # Closer to where the slope has no bound, until it is above the price.
            step = high - low
            while step > 1e-300 and self._slope(low + step) < price:
                high, step = low + step, step / 16.0
            low += step
            if self._slope(low) < price:
                return self.low
        return float(
            optimize.brentq(
                lambda s: self._slope(s) - price, low, high, xtol=1e-14 * high, rtol=1e-14
            )
        )


def _priced(
    spends: Callable[[float], Array], excess: Callable[[Array], float], floor: float
) -> tuple[Array, float]:
    """The spends at the lowest price from the floor up at which there is no excess."""
    at_floor = spends(floor)
    if excess(at_floor) <= 0:
        return at_floor, floor

    def over(price: float) -> float:
        return excess(spends(price))

    low = high = max(floor, 1.0)
    while over(high) > 0 and high < 1e250:
        low, high = high, 16.0 * high
    while over(low) <= 0 and low > max(floor, 1e-250):
        low, high = max(floor, low / 16.0), low
    if low <= floor or low <= 1e-250:
        low = floor
    price = high
    if high < 1e250 and low > 0:
        price = float(np.exp(optimize.brentq(lambda x: over(np.exp(x)), *np.log([low, high]))))
    # Spends may jump at the price (curves with straight parts): what lies between is as good.
    less, more = spends(price * (1.0 + 1e-9)), spends(max(price * (1.0 - 1e-9), floor))
    surplus, shortfall = excess(more), -excess(less)
    if surplus + shortfall <= 0 or shortfall < 0:
        return less, price
    share = float(np.clip(shortfall / (surplus + shortfall), 0.0, 1.0))
    return less + share * (more - less), price


def _smooth_worst(total: Array, quantile: float, width: float) -> tuple[float, Array]:
    """The mean of the worst draws, smoothed, and the draws' weights in its slope."""
    count = quantile * len(total)

    def surplus(level: float) -> float:
        return float(special.expit((level - total) / width).sum()) - count

    reach = 40.0 * width
    level = float(optimize.brentq(surplus, total.min() - reach, total.max() + reach))
    soft = width * np.logaddexp(0.0, (level - total) / width)
    weights = special.expit((level - total) / width)
    return level - float(soft.sum()) / count, weights / weights.sum()


def _feasible(spend: Array, limits: Limits) -> Array:
    """Take back what rounding has spent too much, evenly from what lies above the least."""
    above = spend - limits.least
    share = 1.0
    if (free := float(above.sum())) > 0:
        share = min(share, (limits.budget - float(limits.least.sum())) / free)
    if limits.cost is not None and limits.contacts is not None:
        contacts = float((above / limits.cost).sum())
        if contacts > 0:
            rest = limits.contacts - float((limits.least / limits.cost).sum())
            share = min(share, rest / contacts)
    return limits.least + max(share, 0.0) * above


def _each(curves: Sequence[Curve], limits: Limits) -> list[tuple[Curve, float, float]]:
    return [
        (curve, float(low), float(high))
        for curve, low, high in zip(curves, limits.least, limits.most, strict=True)
    ]


def _mean(values: Array, weights: Array) -> float:
    if len(values) == 1:
        return float(values[0])
    # Slopes without a bound would make NaN of a weight of 0.
    return float(weights @ values) if np.isfinite(values).all() else np.inf
