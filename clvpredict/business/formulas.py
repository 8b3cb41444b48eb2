"""The textbook's customer lifetime value: a product, or a geometric series."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from clvpredict.errors import OptionError
from clvpredict.rfm import Array

_LIVES = "lifespan=3 (periods), churn=0.25 or retention=0.75 (per period)"


def simple_clv(
    average_order_value: npt.ArrayLike,
    purchase_frequency: npt.ArrayLike,
    lifespan: npt.ArrayLike | None = None,
    margin: npt.ArrayLike = 1.0,
    *,
    churn: npt.ArrayLike | None = None,
    retention: npt.ArrayLike | None = None,
    discount_rate: npt.ArrayLike = 0.0,
    horizon: npt.ArrayLike | None = None,
    first_period_certain: bool = True,
) -> float | Array:
    """Compute the textbook value of a customer: order value × frequency × lifespan × margin.

    The margin of a period is M = average_order_value × purchase_frequency × margin. Let
    v = 1 / (1 + discount_rate), and r = retention = 1 − churn. Then the value is

    - with a lifespan of L periods, which is certain: M · (1 + v + … + v^(L−1))
      = M · (1 − v^L) / (1 − v), which is **M · L** where nothing is discounted;
    - with churn or retention: M · (1 + rv + (rv)² + …) = M / (1 − rv)
      = M · (1 + d) / (1 + d − r), which is **M / churn** where nothing is discounted: the
      expected lifespan is 1 / churn;
    - with a `horizon` of n periods besides: M · (1 − (rv)^n) / (1 − rv).

    The first period is certain and not discounted: the customer has just been acquired. With
    ``first_period_certain=False`` the customer must be kept before anything is earned, so each
    term has a factor rv more: M · r / (1 + d − r) for ever.

    Parameters
    ----------
    average_order_value : float or array-like
        Mean amount of an order.
    purchase_frequency : float or array-like
        Orders of a customer per period.
    lifespan : float or array-like, optional
        For how many periods a customer buys. Either this, or `churn`, or `retention`.
    margin : float or array-like
        Share of the amounts that is earned.
    churn, retention : float or array-like, optional
        Share of customers lost, in (0, 1], or kept, in [0, 1), per period.
    discount_rate : float or array-like
        Per period, effective: 0.1 with yearly periods is 10 % a year.
    horizon : float or array-like, optional
        With `churn` or `retention`: periods that count; all of them by default.
    first_period_certain : bool
        Whether the sum begins with the present period.

    Returns
    -------
    float, or ndarray
        In the unit of the amounts; an array if any argument is one (they are broadcast).

    Raises
    ------
    OptionError
        For contradictory, missing or impossible arguments.

    Notes
    -----
    It takes every customer for the same, and for alive: no dispersion, no P(alive), and a churn
    that somebody has measured. ``clvpredict.business.business_metrics`` takes these numbers
    from data, and shows beside them what a model says.

    Examples
    --------
    >>> from clvpredict.business import simple_clv
    >>> simple_clv(200, 10, 3)  # 200 an order, 10 orders a year, 3 years
    6000.0
    >>> simple_clv(200, 10, churn=0.25, margin=0.5)  # 4 years on average
    4000.0
    >>> round(simple_clv(200, 10, retention=0.75, discount_rate=0.1), 2)
    6285.71
    """
    if sum(given is not None for given in (lifespan, churn, retention)) != 1:
        came = {"lifespan": lifespan, "churn": churn, "retention": retention}
        given = [f"{name}={value!r}" for name, value in came.items() if value is not None]
        raise OptionError(
            f"simple_clv needs one of {_LIVES}; {' and '.join(given) or 'none of them'} came. "
            "Each says how long customers stay (lifespan = 1 / churn, churn = 1 − retention), so "
            "leave out all but one."
        )
    if lifespan is not None and horizon is not None:
        raise OptionError(
            f"horizon={horizon!r} goes with churn or retention; with lifespan={lifespan!r} the "
            "shorter of the two is the lifespan. Leave horizon out."
        )
    m = (
        _number("average_order_value", average_order_value, 0.0)
        * _number("purchase_frequency", purchase_frequency, 0.0)
        * _number("margin", margin, -np.inf)
    )
    n: Any = np.inf
    if lifespan is not None:
        n, kept = _number("lifespan", lifespan, 0.0), np.asarray(1.0)
    elif churn is not None:
        kept = 1.0 - _share("churn", churn, "(0, 1]")
    else:
        kept = _share("retention", retention, "[0, 1)")
    if horizon is not None:
        n = _number("horizon", horizon, 0.0)
    rate = _number("discount_rate", discount_rate, 0.0)
    value = m * periods_worth(kept, rate, n, first_period_certain=first_period_certain)
    return float(value) if np.ndim(value) == 0 else np.asarray(value)


def periods_worth(
    retention: Any, discount_rate: Any, n: Any, *, first_period_certain: bool = True
) -> Array:
    """Sum (r / (1 + d))^t over n periods, from t = 0 or from t = 1; n may be a fraction.

    Parameters
    ----------
    retention, discount_rate : array-like
        Per period; NaN where not known.
    n : array-like
        Number of periods; inf for all.
    """
    retention, rate, n = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (retention, discount_rate, n))
    )
    ratio = retention / (1.0 + rate)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Not 1 - ratio: the difference of near numbers would lose digits.
        lost = (1.0 + rate - retention) / (1.0 + rate)
        total = -np.expm1(np.where(n > 0, n * np.log(ratio), 0.0)) / lost
    total = np.where(ratio == 1.0, n, total)
    return np.asarray(total if first_period_certain else ratio * total)


def _number(name: str, value: Any, low: float) -> Array:
    array = _array(name, value)
    if not (np.isfinite(array) & (array >= low)).all():
        bound = "finite" if np.isinf(low) else f"finite and not below {low:g}"
        raise OptionError(f"{name}={value!r} must be {bound}, e.g. {name}=10.")
    return array


def _share(name: str, value: Any, where: str) -> Array:
    array = _array(name, value)
    inside = (array > 0) & (array <= 1) if where == "(0, 1]" else (array >= 0) & (array < 1)
    if not inside.all():
        raise OptionError(
            f"{name}={value!r} must be in {where}: a share per period, e.g. {name}=0.25 for 25 %. "
            "For customers who stay a known time, say lifespan=3 instead."
        )
    return array


def _array(name: str, value: Any) -> Array:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise OptionError(f"{name}={value!r} is not a number; give e.g. {name}=10.") from None
