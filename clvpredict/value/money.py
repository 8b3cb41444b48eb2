"""Purchases and spend into money: discounting conventions, margins, CLV."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clvpredict.errors import (
    DataWarning,
    InfiniteValueError,
    OptionError,
    UnitError,
    did_you_mean,
    notify,
)
from clvpredict.models.base import PurchaseModel, Theta
from clvpredict.options import DAYS_PER_YEAR, Discounting, TimeUnit, choose, continuous_rate
from clvpredict.predict import Customers, Process, diverges, if_alive, purchase_processes
from clvpredict.rfm import Array, require_column
from clvpredict.special import gauss_legendre

Margin = float | str | Mapping[Any, float]

# Gauss-Legendre nodes a month: survival hardly bends within one.
_NODES_A_MONTH = 3

# lifetimes.utils._customer_lifetime_value: its month is 30 days, or 4.345 weeks.
_LIFETIMES_MONTH = {"h": 30.0 * 24, "D": 30.0, "W": 4.345, "M": 1.0}


@dataclass(frozen=True)
class Discount:
    """How later money is worth less.

    Parameters
    ----------
    rate : float
        Annual effective rate; 0.1 means that 1.10 a year from now is worth 1 today.
    convention : {"continuous", "monthly", "none", "lifetimes"}
        ``"continuous"``: every purchase is discounted from its own moment, e^(−δu) with
        δ = ln(1 + rate) per 365.25 days. ``"monthly"``: all purchases of a month (365.25/12
        days) at its end. ``"lifetimes"``: the same with that package's months (30 days, or
        4.345 weeks) and (1 + rate)^(1/12) per month, to reproduce its
        ``customer_lifetime_value``. ``"none"``: not at all.
    """

    rate: float
    convention: Discounting

    def __post_init__(self) -> None:
        choose("discounting", self.convention, Discounting)
        continuous_rate(self.rate, TimeUnit.parse("Y"))  # refuses what is not a rate

    def delta(self, unit: TimeUnit | None) -> float:
        """The continuous rate per time unit; 0 where nothing is discounted."""
        if self.convention == "none" or self.rate == 0:
            return 0.0
        return continuous_rate(self.rate, known_unit(unit, "discounting"))


def known_unit(unit: TimeUnit | None, purpose: str) -> TimeUnit:
    """Return the unit.

    Raises
    ------
    UnitError
        If it is not known, with what to type.
    """
    if unit is None:
        raise UnitError(
            f"{purpose} needs the time unit of the data, which plain data frames do not say. "
            "Fit with fit(rfm, time_unit='W') (or 'D', 'M', ...), or make the summary with "
            "clvpredict.rfm_summary."
        )
    return unit


def discounted_process(
    model: PurchaseModel, horizon: float, unit: TimeUnit | None, discount: Discount
) -> Process:
    """Give the discounted expected purchases of an alive customer as a function of the process.

    Parameters
    ----------
    horizon : float
        In the model's unit; inf for the residual lifetime.
    """
    if _steps(discount):
        ends, factors = _month_ends(horizon, unit, discount)
        # Summed by parts: each period's purchases are a difference of two expectations.
        weights = (factors - np.append(factors[1:], 0.0))[:, None]
        return lambda alive: model.process_mean_sum(alive, ends[:, None], weights)
    delta, at = discount.delta(unit), np.asarray(horizon)
    if delta == 0:
        return purchase_processes(model, horizon)["expected_purchases"]
    if np.isinf(horizon):
        return lambda alive: model.process_dert(alive, delta)
    return lambda alive: model.process_discounted(alive, at, delta)


def discounted_total(
    model: PurchaseModel,
    theta: Theta,
    who: Customers,
    horizon: float,
    unit: TimeUnit | None,
    discount: Discount,
) -> Array:
    """Discounted expected purchases within the horizon, shape (n,).

    Parameters
    ----------
    horizon : float
        In the model's unit; inf for the residual lifetime.

    Raises
    ------
    InfiniteValueError
        If nothing is discounted and the number of purchases diverges.
    """
    total = if_alive(model, theta, who, discounted_process(model, horizon, unit, discount))
    if np.isinf(total).any():
        raise diverges(model, theta)
    return total


def discount_factor(
    horizon: float, unit: TimeUnit | None, discount: Discount
) -> Callable[[Array], Array] | None:
    """Give what a purchase u after T is worth, as a function of u; None if always 1."""
    if _steps(discount):
        ends, factors = _month_ends(horizon, unit, discount)
        last = len(ends) - 1
        return lambda u: factors[np.searchsorted(ends, u).clip(max=last)]
    delta = discount.delta(unit)
    return (lambda u: np.exp(-delta * u)) if delta else None


def served_process(
    model: PurchaseModel, horizon: float, unit: TimeUnit | None, discount: Discount
) -> Process:
    """Give the discounted time that an alive customer goes on living, within the horizon."""
    if not _steps(discount):
        at, delta = np.asarray(horizon), discount.delta(unit)
        return lambda alive: model.process_alive_time(alive, at, delta)
    ends, factors = _month_ends(horizon, unit, discount)
    nodes, weights = gauss_legendre(_NODES_A_MONTH)
    begins = np.append(0.0, ends[:-1])
    times = begins[:, None] + nodes * (ends - begins)[:, None]
    by_time = weights * ((ends - begins) * factors)[:, None]
    return lambda alive: model.process_survival_sum(
        alive, times.reshape(-1, 1), by_time.reshape(-1, 1)
    )


def present_time(
    horizon: float, unit: TimeUnit | None, discount: Discount
) -> Callable[[Array], Array]:
    """Give ∫₀ᵗ d(u) du, what a payment of 1 per time unit up to t <= horizon is worth now."""
    if not _steps(discount):
        delta = discount.delta(unit)
        return lambda t: np.asarray(-np.expm1(-delta * t) / delta if delta else t)
    ends, factors = _month_ends(horizon, unit, discount)
    begins = np.append(0.0, ends)
    worth = np.append(0.0, np.cumsum(np.diff(begins) * factors))
    return lambda t: np.interp(t, begins, worth)


def present_worth(after: float, unit: TimeUnit | None, discount: Discount) -> float:
    """What a payment of 1 is worth now if it is made after so long."""
    if discount.convention == "none" or after == 0:
        return 1.0
    return float(np.exp(-continuous_rate(discount.rate, known_unit(unit, "discounting")) * after))


def worthless_from(horizon: float, unit: TimeUnit | None, discount: Discount) -> float:
    """When a purchase of an infinite horizon is worth less than a millionth; else inf."""
    delta = discount.delta(unit)
    return float(np.log(1e6) / delta) if np.isinf(horizon) and delta else np.inf


def _steps(discount: Discount) -> bool:
    """Whether all purchases of a period are discounted from its end."""
    return discount.convention in ("monthly", "lifetimes")


def _month_ends(horizon: float, unit: TimeUnit | None, discount: Discount) -> tuple[Array, Array]:
    if np.isinf(horizon):
        raise OptionError(
            f"discounting={discount.convention!r} needs a finite horizon; for horizon=None use "
            "discounting='continuous'."
        )
    unit = known_unit(unit, "monthly discounting")
    if discount.convention == "lifetimes":
        if unit.code not in _LIFETIMES_MONTH:
            raise OptionError(
                f"discounting='lifetimes' knows the time units {', '.join(_LIFETIMES_MONTH)}; "
                f"the model is in {unit.label}."
            )
        # Its horizon is counted in calendar months, which it then makes 30 days long.
        months = round(horizon * unit.days / (DAYS_PER_YEAR / 12))
        if months < 1:
            raise OptionError(
                "discounting='lifetimes' needs a horizon of a month or more, e.g. '12M'."
            )
        ends = np.arange(1.0, months + 1) * _LIFETIMES_MONTH[unit.code]
        return ends, np.exp(-np.log1p(discount.rate) * np.arange(1.0, months + 1) / 12.0)
    month = DAYS_PER_YEAR / 12 / unit.days
    whole = int(np.floor(horizon / month + 1e-9))
    ends = np.arange(1.0, whole + 1) * month
    if whole == 0 or horizon - ends[-1] > 1e-9 * horizon:
        ends = np.append(ends, horizon)
    return ends, np.exp(-np.log1p(discount.rate) * ends * unit.days / DAYS_PER_YEAR)


def margins(margin: Margin, rfm: pd.DataFrame, segment: str | None) -> Array | float:
    """Resolve the margin per customer; see :func:`per_customer`.

    Warns
    -----
    DataWarning
        If a margin is above 1: a percentage, most likely.
    """
    found = per_customer("margin", margin, rfm, segment)
    most = float(np.max(found, initial=0.0))
    if most > 1:
        notify(
            f"margin is a share, and {most:g} is more than all of a purchase's value: 30 % is "
            "margin=0.3.",
            DataWarning,
        )
    return found


def per_customer(name: str, given: Margin, rfm: pd.DataFrame, segment: str | None) -> Array | float:
    """Resolve what may differ between customers.

    Parameters
    ----------
    given : float, str or mapping
        A number for all, the name of a column of numbers, or a mapping from segment to number
        (then ``segment`` names the column of segments).

    Raises
    ------
    OptionError
        If a column or segment is missing, or a value is not a finite number.
    """
    if isinstance(given, str):
        values = pd.to_numeric(require_column(rfm, given, name), errors="coerce")
    elif isinstance(given, Mapping):
        if segment is None:
            raise OptionError(
                f"{name} is a mapping by segment, so segment='column' must name the column of "
                "segments in the summary."
            )
        labels = require_column(rfm, segment, "segment")
        unknown = labels[~labels.isin(list(given))]
        if len(unknown):
            names = ", ".join(map(repr, unknown.drop_duplicates().tolist()[:5]))
            hint = did_you_mean(unknown.iloc[0], map(str, given))
            raise OptionError(
                f"{name} has no entry for {len(unknown):,} customers of segment {names}; it has "
                f"{', '.join(map(repr, given))}.{hint}"
            )
        values = labels.map(given)
    else:
        if not np.isfinite(given):
            raise OptionError(f"{name}={given!r} must be a finite number, e.g. 0.3.")
        return float(given)
    array = values.to_numpy(np.float64, na_value=np.nan)
    if not np.isfinite(array).all():
        raise OptionError(
            f"{name} is missing or not a number for {int((~np.isfinite(array)).sum()):,} customers."
        )
    return array


def spend_or_fallback(spend: Array, fallback: float | None, title: str) -> Array:
    """Fill in the mean spend where it does not exist.

    Raises
    ------
    InfiniteValueError
        If there are such customers and no fallback is given.
    """
    missing = np.isnan(spend)
    if not missing.any():
        return spend
    if fallback is None:
        raise InfiniteValueError(
            f"{title}: with q <= 1 the mean spend of a customer without (enough) purchases does "
            f"not exist (it concerns {int(missing.sum()):,} customers): spend is too heavy-tailed. "
            "Trim outlying amounts and fit again, or give the value to use for them: "
            "predict(..., fallback_spend=transactions['amount'].median())."
        )
    return np.where(missing, fallback, spend)
