"""What draws of the parameters say of each customer's value, block by block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clvpredict.models.base import SpendModel, Theta
from clvpredict.predict import DistinctRows, Realised, intervals
from clvpredict.rfm import Array, SpendHistories
from clvpredict.value.costs import COST_COLUMNS, net_value
from clvpredict.value.money import spend_or_fallback


def mean_spend_over_draws(model: SpendModel, theta: Array, x: Array, m: Array) -> Array:
    """E[mean value per purchase], averaged over draws, shape (n,); nan where one has none."""
    rows = DistinctRows.of({"x": x, "m": m})

    def work(block: slice, _: np.random.Generator) -> dict[str, Array]:
        own = {name: column[block] for name, column in rows.columns.items()}
        return {"spend": _expected_spend(model, theta, own["x"], own["m"])}

    return intervals(work, len(rows), len(theta), None, seed=0)["spend"].mean[rows.inverse]


def _expected_spend(model: SpendModel, theta: Array, x: Array, m: Array) -> Array:
    """E[mean value per purchase] of each customer under each draw, shape (n, draws)."""
    data = SpendHistories(np.ones(len(x)), x=x[:, None], m=m[:, None])
    return model.expected_spend(tuple(column[None, :] for column in theta.T), data)


@dataclass(frozen=True)
class Worth:
    """What purchases are worth.

    Parameters
    ----------
    factor : callable or None
        Worth of what is paid u after T; None if always 1.
    worthless : float
        From when on a purchase is worth nothing (a millionth); inf for finite horizons.
    fallback : float or None
        Mean spend where the model has none.
    order_value : float
        What amounts are multiplied with.
    present : callable
        From times to what a payment of 1 per time unit up to then is worth.
    horizon : float
    """

    factor: Callable[[Array], Array] | None
    worthless: float
    fallback: float | None
    order_value: float
    present: Callable[[Array], Array]
    horizon: float

    @property
    def spent(self) -> float:
        """What a payment of 1 per time unit is worth, up to the horizon."""
        return float(self.present(np.asarray(self.horizon)))


class DrawnValue:
    """Value of customers within a horizon, under draws of the spend model's parameters.

    Parameters
    ----------
    model : SpendModel
    theta : ndarray, shape (draws, k)
    columns : mapping
        `x`, `m`, `margin` of the customers and, for net values, their costs.
    worth : Worth

    Raises
    ------
    InfiniteValueError
        If a mean does not exist in some draw, and there is no fallback.
    """

    def __init__(
        self, model: SpendModel, theta: Array, columns: Mapping[str, Array], worth: Worth
    ) -> None:
        self.model, self.theta, self.columns, self._worth = model, theta, columns, worth
        # The mean exists or not by frequency alone: say so before the work, and for all.
        frequencies, customers = np.unique(columns["x"], return_counts=True)
        mean = _expected_spend(model, theta, frequencies, np.ones(len(frequencies)))
        missing = np.repeat(np.where(np.isnan(mean).any(axis=1), np.nan, 1.0), customers)
        spend_or_fallback(missing, worth.fallback, model.title)

    def expected(self, rows: slice, purchases: Mapping[str, Array]) -> dict[str, Array]:
        """Give expected_spend and, of what is there, clv, clv_undiscounted and net_clv.

        Parameters
        ----------
        purchases : mapping
            `discounted`, `expected_purchases` and `served`, shape (rows, draws), as far as
            wanted.
        """
        x, m = self.columns["x"][rows], self.columns["m"][rows]
        spend = _expected_spend(self.model, self.theta, x, m)
        spend = spend_or_fallback(spend, self._worth.fallback, self.model.title)
        spend *= self._worth.order_value
        margin = self.columns["margin"][rows, None]
        out = {"expected_spend": spend}
        if "expected_purchases" in purchases:
            out["clv_undiscounted"] = purchases["expected_purchases"] * spend * margin
        if "discounted" in purchases:
            gross = purchases["discounted"] * spend
            out["clv"] = gross * margin
            if "served" in purchases:
                out["net_clv"] = self._net(
                    rows, gross, purchases["discounted"], purchases["served"]
                )
        return out

    def realised(
        self, rows: slice, bought: Realised, net: bool, rng: np.random.Generator
    ) -> dict[str, Array]:
        """Simulate the discounted value of realised purchases, shape (rows, draws).

        Parameters
        ----------
        net : bool
            Also give `net_value`: `value` after costs.
        """
        amounts = np.empty(len(bought.row))
        numbers = bought.some.astype(np.float64)
        for part in bought.pieces():
            theta, data = self._of(rows, bought, part)
            if self._worth.factor is None:
                amounts[part] = self.model.draw_total(theta, data, numbers[part], rng)
                continue
            owner, when = bought.moments(part, self._worth.worthless, rng)
            value, _ = self.model.draw_spend(theta, data, owner, rng)
            factor = self._worth.factor(when)
            size = len(data)
            amounts[part] = np.bincount(owner, value * factor, minlength=size)
            numbers[part] = np.bincount(owner, factor, minlength=size)
        gross = np.zeros(bought.count.shape)
        gross[bought.row, bought.draw] = amounts * self._worth.order_value
        out = {"value": gross * self.columns["margin"][rows, None]}
        if net:
            counted = np.zeros(gross.shape)
            counted[bought.row, bought.draw] = numbers
            out["net_value"] = self._net(rows, gross, counted, bought.lifetime(self._worth.present))
        return out

    def purchases(
        self, rows: slice, bought: Realised, part: slice, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.intp], Array, Array]:
        """Simulate single purchases of a piece: whose they are, when, and their worth."""
        theta, data = self._of(rows, bought, part)
        owner, when = bought.moments(part, self._worth.worthless, rng)
        amount, _ = self.model.draw_spend(theta, data, owner, rng)
        worth = amount * self.columns["margin"][rows][bought.row[part]][owner]
        if self._worth.factor is not None:
            worth *= self._worth.factor(when)
        return owner, when, worth * self._worth.order_value

    def _of(self, rows: slice, bought: Realised, part: slice) -> tuple[Theta, SpendHistories]:
        """Parameters and histories of those who buy in a piece."""
        at = bought.row[part]
        x, m = self.columns["x"][rows][at], self.columns["m"][rows][at]
        theta = tuple(column[bought.draw[part]] for column in self.theta.T)
        return theta, SpendHistories(np.ones(len(at)), x=x, m=m)

    def _net(self, rows: slice, gross: Array, purchases: Array, served: Array) -> Array:
        own = {name: self.columns[name][rows, None] for name in (*COST_COLUMNS, "margin")}
        return net_value(own, own["margin"], gross, purchases, served, self._worth.spent)
