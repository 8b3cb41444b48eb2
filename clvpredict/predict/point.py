"""Predictions of purchases under given parameters, for any model.

Customers with equal histories are computed once; how an alive customer goes on depends on
(frequency, T) only, so the quadratures run once per distinct pair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clvpredict.errors import InfiniteValueError
from clvpredict.models.base import PurchaseModel, Theta
from clvpredict.rfm import Array, Histories, compress_histories, group_rows

Index = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Customers:
    """Customers to predict for, compressed.

    Parameters
    ----------
    h : Histories
        Distinct histories.
    inverse : ndarray, shape (n,)
        History of each customer.
    pair_x, pair_age : ndarray
        Distinct (frequency, T) pairs.
    pair : ndarray, shape (len(h),)
        Pair of each history.
    """

    h: Histories
    inverse: Index
    pair_x: Array
    pair_age: Array
    pair: Index

    @classmethod
    def of(cls, x: Array, t_x: Array, T: Array) -> Customers:
        """Compress arrays of shape (n,)."""
        h, inverse = compress_histories(x, t_x, T)
        first, pair = group_rows(h.x, h.T)
        return cls(h, inverse, h.x[first], h.T[first], pair)


def p_alive(model: PurchaseModel, theta: Theta, who: Customers) -> Array:
    """P(alive at T), shape (n,)."""
    return model.p_alive(theta, who.h)[who.inverse]


def if_alive(
    model: PurchaseModel, theta: Theta, who: Customers, f: Callable[[Theta], Array]
) -> Array:
    """P(alive) times a quantity of the process from T on.

    Parameters
    ----------
    f : callable
        From the parameters of the process of alive customers to a value each, such as
        ``lambda alive: model.process_mean(alive, t)``.

    Returns
    -------
    ndarray, shape (n,)
    """
    given_alive = f(model.given_alive(theta, who.pair_x, who.pair_age))
    return (model.p_alive(theta, who.h) * given_alive[who.pair])[who.inverse]


def p_alive_at(model: PurchaseModel, theta: Theta, who: Customers, t: float) -> Array:
    """P(alive at T + t), shape (n,)."""
    return if_alive(model, theta, who, lambda a: model.process_survival(a, np.asarray(t)))


def p_purchase(model: PurchaseModel, theta: Theta, who: Customers, t: float) -> Array:
    """P(at least one purchase in (T, T + t]), shape (n,); P(alive) for t = inf."""
    if np.isinf(t):
        return p_alive(model, theta, who)
    return if_alive(
        model, theta, who, lambda a: -np.expm1(model.process_no_purchase(a, np.asarray(t)))
    )


def expected_purchases(model: PurchaseModel, theta: Theta, who: Customers, t: float) -> Array:
    """E[purchases in (T, T + t]], shape (n,); for t = inf the limit, inf where it diverges."""
    if np.isinf(t):
        return if_alive(model, theta, who, model.process_limit)
    return if_alive(model, theta, who, lambda a: model.process_mean(a, np.asarray(t)))


def pmf_future(
    model: PurchaseModel, theta: Theta, who: Customers, t: float, n: npt.ArrayLike
) -> Array:
    """P(X = n purchases in (T, T + t]), shape (customers, len(n))."""
    not_alive = 1.0 - p_alive(model, theta, who)

    def column(k: float) -> Array:
        def process(alive: Theta) -> Array:
            return np.exp(model.process_log_pmf(alive, np.asarray(t), np.asarray(k)))

        return if_alive(model, theta, who, process) + (not_alive if k == 0 else 0.0)

    return np.stack([column(k) for k in np.atleast_1d(np.asarray(n, float))], axis=1)


def dert(model: PurchaseModel, theta: Theta, who: Customers, delta: float) -> Array:
    """Discounted expected residual transactions, shape (n,).

    Parameters
    ----------
    delta : float
        Continuous discount rate per time unit.

    Raises
    ------
    InfiniteValueError
        If delta = 0 and the undiscounted number of purchases diverges.
    """
    if delta == 0:
        value = expected_purchases(model, theta, who, np.inf)
        if np.isinf(value).any():
            raise InfiniteValueError(
                f"{model.title}: without discounting the expected number of future purchases is "
                f"infinite at these parameters ({_say(model, theta)}): too many customers hardly "
                "ever drop out. Give a discount_rate > 0 or a finite horizon."
            )
        return value
    return if_alive(model, theta, who, lambda a: model.process_dert(a, delta))


def _say(model: PurchaseModel, theta: Theta) -> str:
    return ", ".join(
        f"{n}={float(v):.4g}" for n, v in zip(model.parameter_names, theta, strict=True)
    )
