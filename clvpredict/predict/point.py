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
#: From the process of alive customers to a value each.
Process = Callable[[Theta], Array]


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


def if_alive(model: PurchaseModel, theta: Theta, who: Customers, f: Process) -> Array:
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


def purchase_processes(model: PurchaseModel, t: float) -> dict[str, Process]:
    """p_purchase and expected_purchases within the horizon, of alive customers."""
    at = np.asarray(t)
    if np.isinf(t):
        return {
            "p_purchase": lambda alive: np.ones(np.shape(alive[0])),
            "expected_purchases": model.process_limit,
        }
    return {
        "p_purchase": lambda alive: -np.expm1(model.process_no_purchase(alive, at)),
        "expected_purchases": lambda alive: model.process_mean(alive, at),
    }


def diverges(model: PurchaseModel, theta: Theta) -> InfiniteValueError:
    """Make the error for an infinite number of purchases that nothing discounts."""
    said = ", ".join(
        f"{n}={float(v):.4g}" for n, v in zip(model.parameter_names, theta, strict=True)
    )
    return InfiniteValueError(
        f"{model.title}: without discounting the expected number of future purchases is infinite "
        f"at these parameters ({said}): too many customers hardly ever drop out. Give a "
        "discount_rate > 0 or a finite horizon."
    )
