"""What draws of the parameters say of each customer's value, block by block."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from clvpredict.models.base import SpendModel
from clvpredict.predict import DistinctRows, Realised, intervals
from clvpredict.rfm import Array, SpendHistories
from clvpredict.value.money import spend_or_fallback

# Purchases at a time.
_MOST_PURCHASES = 2_000_000


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


class DrawnValue:
    """Value of customers within a horizon, under draws of the spend model's parameters.

    Parameters
    ----------
    model : SpendModel
    theta : ndarray, shape (draws, k)
    columns : mapping
        `x`, `m`, `margin` of the customers.
    factor : callable or None
        What a purchase u after T is worth; None if always 1.
    worthless : float
        From when on a purchase is worth nothing (a millionth); inf for finite horizons.
    fallback : float or None
        Mean spend where the model has none.

    Raises
    ------
    InfiniteValueError
        If a mean does not exist in some draw, and there is no fallback.
    """

    def __init__(
        self,
        model: SpendModel,
        theta: Array,
        columns: Mapping[str, Array],
        factor: Callable[[Array], Array] | None,
        worthless: float,
        fallback: float | None,
    ) -> None:
        self.model, self.theta, self.columns = model, theta, columns
        self._factor, self._worthless, self._fallback = factor, worthless, fallback
        # The mean exists or not by frequency alone: say so before the work, and for all.
        frequencies, customers = np.unique(columns["x"], return_counts=True)
        mean = _expected_spend(model, theta, frequencies, np.ones(len(frequencies)))
        missing = np.repeat(np.where(np.isnan(mean).any(axis=1), np.nan, 1.0), customers)
        spend_or_fallback(missing, fallback, model.title)

    def expected(self, rows: slice, purchases: Mapping[str, Array]) -> dict[str, Array]:
        """Give expected_spend and, from discounted and undiscounted purchases, clv.

        Parameters
        ----------
        purchases : mapping
            `discounted` and `expected_purchases`, shape (rows, draws), as far as wanted.
        """
        x, m = self.columns["x"][rows], self.columns["m"][rows]
        spend = _expected_spend(self.model, self.theta, x, m)
        spend = spend_or_fallback(spend, self._fallback, self.model.title)
        earned = spend * self.columns["margin"][rows, None]
        return {
            "expected_spend": spend,
            **{
                name: purchases[source] * earned
                for name, source in (
                    ("clv", "discounted"),
                    ("clv_undiscounted", "expected_purchases"),
                )
                if source in purchases
            },
        }

    def realised(self, rows: slice, bought: Realised, rng: np.random.Generator) -> Array:
        """Simulate the discounted value of realised purchases, shape (rows, draws)."""
        total = np.empty(len(bought.row))
        for part in _pieces(bought.some):
            theta = tuple(column[bought.draw[part]] for column in self.theta.T)
            at = bought.row[part]
            data = SpendHistories(
                np.ones(len(at)), x=self.columns["x"][rows][at], m=self.columns["m"][rows][at]
            )
            if self._factor is None:
                some = bought.some[part].astype(np.float64)
                total[part] = self.model.draw_total(theta, data, some, rng)
                continue
            owner, when = _moments(bought, part, self._worthless, rng)
            value, _ = self.model.draw_spend(theta, data, owner, rng)
            total[part] = np.bincount(owner, value * self._factor(when), minlength=len(at))
        out = np.zeros(bought.count.shape)
        out[bought.row, bought.draw] = total * self.columns["margin"][rows][bought.row]
        return out


def _pieces(counts: npt.NDArray[np.int64]) -> list[slice]:
    """Cut a block where it has many purchases, so that memory stays bounded."""
    bounded = np.cumsum(np.minimum(counts, _MOST_PURCHASES)) // _MOST_PURCHASES
    cuts = np.flatnonzero(np.diff(bounded)) + 1
    ends = [0, *cuts.tolist(), len(counts)]
    return [slice(a, b) for a, b in itertools.pairwise(ends)]


def _moments(
    bought: Realised, part: slice, worthless: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.intp], Array]:
    """When the purchases of a piece happen, and whose they are.

    Purchases after ``worthless`` are left out: there may be billions of them, for ever.
    """
    count, span, ended = bought.some[part], bought.span[part], bought.ended[part]
    inside = np.minimum(span, worthless)
    ended = ended & (span <= worthless)
    late = span > worthless
    if late.any():
        between = count - bought.ended[part]
        count = count.copy()
        count[late] = rng.binomial(between[late], inside[late] / span[late])
    owner = np.repeat(np.arange(len(count)), count)
    when = rng.random(len(owner)) * inside[owner]
    last = np.cumsum(count) - 1
    when[last[ended]] = span[ended]
    return owner, when
