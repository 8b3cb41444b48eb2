"""What fitted models say under draws of their parameters, reduced to tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.errors import OptionError, unknown_option
from clvpredict.estimators.drawing import Drawing
from clvpredict.inference.result import FitResult
from clvpredict.models.base import PurchaseModel, SpendModel
from clvpredict.predict import (
    DistinctRows,
    DrawnPurchases,
    Process,
    Scores,
    Work,
    blocks,
    collect,
    diverges,
    intervals,
    pit_distances,
    purchase_processes,
    score_counts,
    score_draws,
    share_above,
    sums,
    tails,
)
from clvpredict.rfm import Array
from clvpredict.value import DrawnValue, Worth

if TYPE_CHECKING:
    import xarray as xr

#: Quantities of which the parameters give an expectation, and their spread an interval.
_EXPECTED = ("p_alive", "p_purchase", "expected_purchases")
_EXPECTED_MONEY = ("expected_spend", "clv", "clv_undiscounted", "net_clv")
#: Quantities that customers realise.
_REALISED = ("purchases",)
_REALISED_MONEY = ("value", "net_value")
#: What there is only where there are costs.
_AFTER_COSTS = ("net_clv", "net_value")
#: Quantities that add up over customers, for totals.
_NOT_ADDITIVE = ("expected_spend",)
# What expectations are made of.
_SOURCES = {
    "clv": ("discounted",),
    "clv_undiscounted": ("expected_purchases",),
    "net_clv": ("discounted", "served"),
}
# Draws that the exact distribution of purchases is averaged over: as many as a budget of
# histories × draws allows, within these bounds.
_MIXED, _MIXED_DRAWS = 100_000, (20, 200)
# Draws × customers that predict_draws may return.
_MOST_VALUES = 50_000_000


@dataclass(frozen=True)
class Money:
    """The spend side of a forecast.

    Parameters
    ----------
    model : SpendModel
    result : FitResult
    discounted : callable
        Discounted expected purchases of an alive customer.
    worth : Worth
        What purchases are worth.
    served : callable, optional
        Discounted time that an alive customer goes on living; where there are costs.
    """

    model: SpendModel
    result: FitResult
    discounted: Process
    worth: Worth
    served: Process | None


class Forecast:
    """Draws of what customers will do within a horizon, ready to be reduced.

    Parameters
    ----------
    model : PurchaseModel
    result : FitResult
        Its fit.
    columns : mapping
        `x`, `T`, `t_x` of the customers and, with money, `m` and `margin`.
    t : float
        Horizon; may be inf.
    drawing : Drawing
    money : Money, optional
    """

    def __init__(
        self,
        model: PurchaseModel,
        result: FitResult,
        columns: Mapping[str, Array],
        t: float,
        drawing: Drawing,
        money: Money | None = None,
    ) -> None:
        self._model, self._result, self._drawing = model, result, drawing
        self._recalibration = drawing.recalibration
        self._t, self._money = t, money
        self._columns = columns

    @cached_property
    def _thetas(self) -> tuple[Array, Array | None]:
        """Draws of the parameters; made when first needed, for a fit may have none."""
        # Both models are independent, and so are the streams of their draws.
        streams = np.random.SeedSequence([self._drawing.seed, 1]).spawn(2)
        theta = self._result.draws(self._drawing.draws, np.random.default_rng(streams[0]))
        if self._money is None:
            return theta, None
        spend = self._money.result.draws(len(theta), np.random.default_rng(streams[1]))
        return theta[: len(spend)], spend

    @property
    def draws(self) -> int:
        """How many there are: the fit may have fewer than were asked for."""
        return len(self._thetas[0])

    @property
    def quantities(self) -> tuple[str, ...]:
        """All that can be asked for."""
        if self._money is None:
            return (*_EXPECTED, *_REALISED)
        every = (*_EXPECTED, *_EXPECTED_MONEY, *_REALISED, *_REALISED_MONEY)
        return every if self._money.served else tuple(q for q in every if q not in _AFTER_COSTS)

    @property
    def additive(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What totals are made of: expected and realised quantities."""
        if self._money is None:
            return ("expected_purchases",), _REALISED
        there = self.quantities
        return (
            tuple(q for q in ("expected_purchases", "clv", "net_clv") if q in there),
            tuple(q for q in (*_REALISED, *_REALISED_MONEY) if q in there),
        )

    def table(self, level: float | None, kinds: Collection[str]) -> dict[str, npt.NDArray[Any]]:
        """Means, and intervals as columns, of every customer.

        Parameters
        ----------
        level : float or None
            None for means only.
        kinds : collection of {"credible", "predictive"}
        """
        names = [n for n in self.quantities if n not in (*_REALISED, *_REALISED_MONEY)]
        credible = [n for n in names if n != "clv_undiscounted"]
        realised = [n for n in self.quantities if n not in names]
        with_intervals = level is not None
        wanted = names + (realised if with_intervals and "predictive" in kinds else [])
        rows = DistinctRows.of(self._columns)
        work = self._work(rows, wanted)
        d = self._drawing
        cuts = None if level is None else {n: self._tails(n, level) for n in wanted}
        found = intervals(work, len(rows), self.draws, cuts, d.seed, d.progress)
        out: dict[str, npt.NDArray[Any]] = {n: found[n].mean[rows.inverse] for n in names}
        if with_intervals and "credible" in kinds:
            for n in credible:
                out[f"{n}_lower"] = found[n].lower[rows.inverse]
                out[f"{n}_upper"] = found[n].upper[rows.inverse]
        if with_intervals and "predictive" in kinds:
            for n in realised:
                ends = found[n].lower[rows.inverse], found[n].upper[rows.inverse]
                whole = n in _REALISED
                for end, values in zip(("lower", "upper"), ends, strict=True):
                    out[f"{n}_pi_{end}"] = values.astype(np.int64) if whole else values
        return out

    def p_above(self, of: str, threshold: Array) -> Array:
        """P(quantity > threshold) of every customer, shape (n,)."""
        self._check([of])
        if self._recalibration is not None and of not in (*_REALISED, *_REALISED_MONEY):
            raise OptionError(
                f"a recalibration corrects what customers do, not what is expected ({of}); leave "
                "recalibration out, or ask of='purchases' or of='value'."
            )
        rows = DistinctRows.of({**self._columns, "threshold": threshold})
        d = self._drawing
        work = self._work(rows, [of])
        found = share_above(work, self.draws, of, rows.columns["threshold"], d.seed, d.progress)
        if self._recalibration is not None:
            found = 1.0 - self._recalibration.of(of).probability(1.0 - found)
        return found[rows.inverse]

    def sums(self, quantities: Sequence[str], group: Array, groups: int) -> dict[str, Array]:
        """Sums over the customers of each group, within each draw; shape (groups, draws).

        Parameters
        ----------
        group : ndarray, shape (n,)
            0 ... groups − 1.
        """
        self._check(quantities)
        bad = [q for q in quantities if q in _NOT_ADDITIVE]
        if bad:
            raise OptionError(f"{', '.join(bad)} does not add up over customers; ask for clv.")
        # Equal customers expect the same but each does as it likes: realised ones stay apart.
        apart = any(q in (*_REALISED, *_REALISED_MONEY) for q in quantities)
        rows = DistinctRows.of({**self._columns, "group": group}, merge=not apart)
        weight = np.bincount(rows.inverse, minlength=len(rows)).astype(np.float64)
        d = self._drawing
        work = self._work(rows, quantities)
        member = rows.columns["group"].astype(np.intp)
        found = sums(work, self.draws, member, groups, weight, d.seed, d.progress)
        return {n: self._levelled(n, v) for n, v in found.items()}

    def periods(self, ends: Array, group: Array, groups: int) -> dict[str, Array]:
        """What the customers of each group do in each period, shape (groups, periods, draws).

        Parameters
        ----------
        ends : ndarray, shape (periods,)
            Ascending; the last is the horizon, the first period begins at 0.
        group : ndarray, shape (n,)
            0 ... groups − 1.

        Returns
        -------
        dict of str to ndarray
            `purchases`, `active` (customers who buy) and, with money, `value`.
        """
        if self._recalibration is not None:
            raise OptionError(
                "a recalibration is learnt for one horizon and cannot correct its periods; leave "
                "recalibration out, or take predict_totals."
            )
        rows = DistinctRows.of({**self._columns, "group": group}, merge=False)
        drawn, value = self._drawn(rows, ())
        member = rows.columns["group"].astype(np.intp)
        shape = (groups, len(ends), self.draws)

        def work(block: slice, rng: np.random.Generator) -> dict[str, Array]:
            bought = drawn.realised(block, drawn.expected(block)["p_alive"], rng)
            found = {"purchases": np.zeros(shape), "active": np.zeros(shape)}
            if value is not None:
                found["value"] = np.zeros(shape)
            for part in bought.pieces():
                if value is None:
                    owner, when = bought.moments(part, np.inf, rng)
                else:
                    owner, when, worth = value.purchases(block, bought, part, rng)
                row, draw = bought.row[part][owner], bought.draw[part][owner]
                period = np.searchsorted(ends, when).clip(max=len(ends) - 1)
                cell = np.ravel_multi_index((member[block][row], period, draw), shape)
                found["purchases"] += np.bincount(cell, minlength=np.prod(shape)).reshape(shape)
                # A customer who buys twice in a period is active in it once; the rows of a
                # piece are whole, so that this holds across pieces too.
                _, once = np.unique(owner * len(ends) + period, return_index=True)
                found["active"] += np.bincount(cell[once], minlength=np.prod(shape)).reshape(shape)
                if value is not None:
                    sums = np.bincount(cell, worth, minlength=np.prod(shape))
                    found["value"] += sums.reshape(shape)
            return found

        total: dict[str, Array] = {}
        d = self._drawing
        for part in blocks(work, lambda _, v: v, len(rows), self.draws, d.seed, d.progress):
            for name, added in part.items():
                total[name] = total[name] + added if name in total else added
        return total

    def _levelled(self, name: str, total: Array) -> Array:
        """Correct totals: by the level and, of what is realised, by how much that varies."""
        learnt = self._recalibration
        if learnt is None or name in ("p_alive", "p_purchase"):
            return total
        money = name in (*_EXPECTED_MONEY, *_REALISED_MONEY)
        correction = learnt.of("value" if money else "purchases")
        if name not in (*_REALISED, *_REALISED_MONEY):
            return total * correction.level
        # Vintages miss the level all customers at once: one shock per draw.
        shock = np.random.default_rng([self._drawing.seed, 3]).standard_normal(total.shape[1])
        return np.asarray(total * correction.level * np.exp(correction.spread * shock))

    def all_draws(
        self, quantities: Sequence[str], customers: pd.Series, dimension: str = "customer_id"
    ) -> xr.Dataset:
        """Every draw of every customer.

        Raises
        ------
        OptionError
            If that is too much to hold.
        """
        import xarray as xr

        self._check(quantities)
        if self._recalibration is not None:
            raise OptionError(
                "single draws cannot be recalibrated: the correction is of their distribution. "
                "Use predict(..., interval=), predict_totals or p_above."
            )
        size = self.draws * len(customers) * len(quantities)
        if size > _MOST_VALUES:
            raise OptionError(
                f"{self.draws:,} draws of {len(customers):,} customers and {len(quantities)} "
                f"quantities are {size * 8 / 1e9:.1f} GB. Choose customers=[...], sum them "
                "(sum_by=True, or a column), or take the intervals of predict(...)."
            )
        rows = DistinctRows.of(self._columns, merge=False)
        d = self._drawing
        found = collect(self._work(rows, quantities), len(rows), self.draws, d.seed, d.progress)
        return xr.Dataset(
            {n: (("draw", dimension), found[n][rows.inverse].T) for n in quantities},
            coords={"draw": np.arange(self.draws), dimension: customers.to_numpy()},
        )

    def score(self, of: str, observed: Array, levels: Sequence[float]) -> Scores:
        """Hold what customers did to their predictive distributions.

        Parameters
        ----------
        of : {"purchases", "value"}
            Purchases by their exact distribution (of a posterior, averaged over draws), value
            by draws.
        observed : ndarray, shape (n,)
        levels : sequence of float
            Of the intervals.
        """
        if np.isinf(self._t):
            raise OptionError("what customers did is of a finite horizon, e.g. '52W'.")
        learnt = None if self._recalibration is None else self._recalibration.of(of)
        transform = None if learnt is None else learnt.probability
        if of == "purchases":
            theta = np.array([[float(v) for v in self._result.theta]])
            if self._result.is_posterior:
                distinct = len(DistinctRows.of(self._columns))
                few = int(np.clip(_MIXED // distinct, *_MIXED_DRAWS))
                theta = self._result.draws(few, 0)
            return score_counts(
                self._model, theta, self._columns, self._t, observed, levels, transform
            )
        self._check([of])
        rows = DistinctRows.of({**self._columns, "observed": observed})
        d = self._drawing
        found = score_draws(
            self._work(rows, [of]),
            self.draws,
            of,
            rows.columns["observed"],
            {level: self._tails(of, level) for level in levels},
            d.seed,
            transform,
            d.progress,
        )
        return found.take(rows.inverse)

    def pit_distances(self, of: str) -> Array:
        """Distances of the PIT from uniformity if the forecast were right, shape (draws,)."""
        self._check([of])
        rows = DistinctRows.of(self._columns, merge=False)
        d = self._drawing
        return pit_distances(self._work(rows, [of]), len(rows), self.draws, of, d.seed, d.progress)

    def _tails(self, name: str, level: float) -> tuple[float, float]:
        """Which probabilities of the draws are the ends of an interval."""
        low, high = tails(level)
        if self._recalibration is None or name not in (*_REALISED, *_REALISED_MONEY):
            return low, high
        learnt = self._recalibration.of(name)
        return learnt.uncorrected(low), learnt.uncorrected(high)

    def _check(self, quantities: Sequence[str]) -> None:
        for quantity in quantities:
            if quantity not in self.quantities:
                raise unknown_option("quantity", quantity, self.quantities)

    def _drawn(
        self, rows: DistinctRows, needed: Collection[str]
    ) -> tuple[DrawnPurchases, DrawnValue | None]:
        """Draws of purchases, with the processes that are needed, and of their value."""
        money = self._money
        theta, spend_theta = self._thetas
        processes = purchase_processes(self._model, self._t)
        if money is not None:
            processes["discounted"] = money.discounted
            if money.served is not None:
                processes["served"] = money.served
        wanted = {n: p for n, p in processes.items() if n in needed}
        drawn = DrawnPurchases(self._model, theta, rows.columns, self._t, wanted)
        if money is None or spend_theta is None:
            return drawn, None
        return drawn, DrawnValue(money.model, spend_theta, rows.columns, money.worth)

    def _work(self, rows: DistinctRows, wanted: Sequence[str]) -> Work:
        """Compute the wanted quantities of a block, and nothing else that is dear."""
        drawn, value = self._drawn(rows, {s for n in wanted for s in _SOURCES.get(n, (n,))})
        if drawn.diverges("discounted"):
            raise diverges(self._model, self._result.theta)
        expects_money = any(n in _EXPECTED_MONEY for n in wanted)

        def work(block: slice, rng: np.random.Generator) -> dict[str, Array]:
            found = drawn.expected(block)
            if value is not None and expects_money:
                found |= value.expected(block, found)
            if any(n in (*_REALISED, *_REALISED_MONEY) for n in wanted):
                bought = drawn.realised(block, found["p_alive"], rng)
                found["purchases"] = bought.count
                if value is not None and any(n in _REALISED_MONEY for n in wanted):
                    found |= value.realised(block, bought, "net_value" in wanted, rng)
            return {n: found[n] for n in wanted}

        return work
