"""What customers cost: per purchase, while they are customers, and whether they are or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from clvpredict.errors import InfiniteValueError, OptionError
from clvpredict.options import TimeUnit
from clvpredict.rfm import Array
from clvpredict.value.money import Margin, known_unit, per_customer

#: What :meth:`Costs.resolve` gives.
COST_COLUMNS = ("service", "serve", "marketing", "once", "returned")
#: A number, the name of a column, or a mapping from segment to number.
Cost = Margin


@dataclass(frozen=True)
class Costs:
    """What it costs to have customers, in the currency of the amounts.

    Each is a number, the name of a column of the customers' table, or a mapping from the values
    of the column ``segment=`` to numbers. Net CLV is

        Σ d(u) · [margin · (1 − return_rate) · amount − service_cost]   over purchases at u
        − cost_to_serve · ∫ d(u) 1{alive at u} du − marketing_cost · ∫ d(u) du − retention_cost

    within the horizon, d(u) being the discount factor.

    Parameters
    ----------
    service_cost : float, str or mapping
        Per purchase: picking, postage, payment fees.
    cost_to_serve : float, str or mapping
        Per ``period`` while the customer is alive: account, support, storage.
    marketing_cost : float, str or mapping
        Per ``period`` up to the horizon, alive or not: nobody sees who has left, and catalogues
        go on being sent.
    retention_cost : float, str or mapping
        Once, now: an offer, a call.
    return_rate : float, str or mapping
        Share of a purchase's value that comes back, 0 to 1. Only for returns that are not in the
        transactions: with ``returns="net"`` those have been subtracted already.
    period : str
        What `cost_to_serve` and `marketing_cost` are per: ``"D"``, ``"W"``, ``"M"``, ``"Y"``.

    Raises
    ------
    OptionError
        For negative or infinite numbers, a return rate above 1, and unknown periods.

    Examples
    --------
    >>> import clvpredict as clv
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
    >>> costs = clv.Costs(service_cost=2.5, cost_to_serve=0.1, period="M")
    >>> table = model.predict(rfm, horizon="52W", margin=0.3, costs=costs)
    >>> bool((table["net_clv"] < table["clv"]).all())
    True
    """

    service_cost: Cost = 0.0
    cost_to_serve: Cost = 0.0
    marketing_cost: Cost = 0.0
    retention_cost: Cost = 0.0
    return_rate: Cost = 0.0
    period: str = "M"

    def __post_init__(self) -> None:
        TimeUnit.parse(self.period)
        for name, value in self.given.items():
            numbers = list(value.values()) if isinstance(value, Mapping) else [value]
            for number in numbers:
                if not isinstance(number, str):
                    _check(name, np.asarray(number))

    @property
    def given(self) -> dict[str, Cost]:
        """The costs by name, as they were given."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "period"}

    @property
    def columns(self) -> list[str]:
        """The columns that it names."""
        return [value for value in self.given.values() if isinstance(value, str)]

    def record(self) -> dict[str, Any]:
        """Plain values, for JSON; ``Costs(**record)`` reads them."""
        plain = {n: dict(v) if isinstance(v, Mapping) else v for n, v in self.given.items()}
        return {**plain, "period": self.period}

    def resolve(
        self, rfm: pd.DataFrame, segment: str | None, unit: TimeUnit | None
    ) -> dict[str, Array]:
        """Give the costs of each customer, per time unit of the model; shape (n,).

        Returns
        -------
        dict of str to ndarray
            `service`, `serve`, `marketing`, `once`, `returned`.

        Raises
        ------
        OptionError
            If a column or segment is missing, or a number is not allowed.
        UnitError
            If costs per period are asked for and the unit of the data is not known.
        """
        out: dict[str, Array] = {}
        for column, (name, value) in zip(COST_COLUMNS, self.given.items(), strict=True):
            resolved = per_customer(name, value, rfm, segment)
            found = np.broadcast_to(np.asarray(resolved, np.float64), (len(rfm),))
            _check(name, found)
            if name in ("cost_to_serve", "marketing_cost") and found.any():
                days = known_unit(unit, f"{name} per period").days
                found = found * (days / TimeUnit.parse(self.period).days)
            out[column] = found
        return out


def _check(name: str, value: Array) -> None:
    most = 1.0 if name == "return_rate" else np.inf
    with np.errstate(invalid="ignore"):
        bad = ~(np.isfinite(value) & (value >= 0) & (value <= most))
    if bad.any():
        allowed = "between 0 and 1, e.g. 0.08" if most == 1.0 else "a finite number >= 0, e.g. 2.5"
        some = np.atleast_1d(value)[np.atleast_1d(bad)]
        raise OptionError(
            f"{name} must be {allowed}; got {', '.join(f'{v:g}' for v in some[:3])}"
            + (f" and {len(some) - 3:,} more like it." if len(some) > 3 else ".")
        )


def net_value(
    costs: Mapping[str, Array],
    margin: Array,
    gross: Array,
    purchases: Array,
    served: Array,
    spent: float,
) -> Array:
    """Value after costs, of shape (n,) or (n, draws); see :class:`Costs`.

    Parameters
    ----------
    costs : mapping
        What :meth:`Costs.resolve` gave; with ``margin`` in the shape of (n,), or (n, 1).
    gross, purchases, served : ndarray
        Amounts bought, number of purchases, time alive: each discounted, expected or realised.
    spent : float
        Discounted time that marketing is paid for.
    """
    earned = margin * (1.0 - costs["returned"])
    fixed = (
        costs["marketing"] * spent + costs["once"] if costs["marketing"].any() else costs["once"]
    )
    # A customer who is served for nothing may be so for ever.
    serving = costs["serve"] * served if costs["serve"].any() else 0.0
    return np.asarray(gross * earned - purchases * costs["service"] - serving - fixed)


def refuse_endless(costs: Costs) -> InfiniteValueError:
    """Make the error for costs that never end and are not discounted."""
    return InfiniteValueError(
        f"costs per period ({costs.period}) for ever are infinite without discounting. Give a "
        "discount_rate > 0 or a finite horizon."
    )
