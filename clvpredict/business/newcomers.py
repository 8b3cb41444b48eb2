"""What single new customers bring in, their first purchase included: simulated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from clvpredict.models.base import NEW_CUSTOMER, Theta
from clvpredict.predict import Realised
from clvpredict.rfm import Array, SpendHistories
from clvpredict.value import (
    Costs,
    Discount,
    discount_factor,
    net_value,
    present_time,
    worthless_from,
)

#: The summary of a customer acquired today.
NEW = pd.DataFrame(
    {"customer_id": ["new"], "frequency": 0, "recency": 0.0, "T": 0.0, "monetary_value": 0.0}
)
# Customers simulated at a time.
_MOST_CUSTOMERS = 500_000


def realised_by_new(
    model: Any,
    t: float,
    terms: Mapping[str, Any],
    first: float | None,
    costs: dict[str, Array],
    alike: int,
    luck: int = 0,
) -> Array:
    """Simulate the discounted value of customers acquired now, shape (draws, alike).

    Parameters
    ----------
    model : CLVModel
    t : float
        Horizon; may be inf.
    terms : mapping
        As in ``predict``, with ``margin`` as a number.
    first : float or None
        Value of the first purchase; None: drawn, as all others of the same customer.
    costs : dict
        What :meth:`clvpredict.Costs.resolve` gave for one customer; empty for none.
    alike : int
        Customers of each draw of the parameters.
    luck : int
        Other numbers give other customers.
    """
    buying, spending = model.purchases, model.spend
    size, seed = int(terms.get("draws", 500)), int(terms.get("seed", 0))
    # The streams of `predict`: the same draws of the parameters.
    streams = np.random.SeedSequence([seed, 1]).spawn(2)
    of_buying = buying.result_.draws(size, np.random.default_rng(streams[0]))
    of_spend = spending.result_.draws(len(of_buying), np.random.default_rng(streams[1]))
    rng = np.random.default_rng([seed, 2, luck])
    step = max(1, _MOST_CUSTOMERS // alike)
    parts = []
    for begin in range(0, len(of_spend), step):
        some = slice(begin, min(begin + step, len(of_spend)))
        theta, spend_theta = (
            tuple(np.repeat(column, alike) for column in draws[some].T)
            for draws in (of_buying, of_spend)
        )
        n = (some.stop - some.start) * alike
        bought = _purchases(buying._model, theta, n, t, rng)
        value = _value(model, t, terms, first, costs, bought, spend_theta, rng)
        parts.append(value.reshape(-1, alike))
    return np.concatenate(parts)


def _value(
    model: Any,
    t: float,
    terms: Mapping[str, Any],
    first: float | None,
    costs: dict[str, Array],
    bought: Realised,
    spend_theta: Theta,
    rng: np.random.Generator,
) -> Array:
    """What customers bring in who make these purchases after their first, shape (n,)."""
    n = len(bought.count)
    discount = Discount(terms.get("discount_rate", 0.1), terms.get("discounting", "continuous"))
    unit = model.purchases.time_unit_
    factor = discount_factor(t, unit, discount) or np.ones_like
    owner, when = bought.moments(slice(None), worthless_from(t, unit, discount), rng)
    # The first purchase of each is of the same customer's spend, now.
    customer = np.concatenate([np.arange(n), bought.row[owner]])
    worth = np.concatenate([np.ones(n), factor(when)])
    nobody = SpendHistories(np.ones(n), x=np.zeros(n), m=np.zeros(n))
    amount, _ = model.spend._model.draw_spend(spend_theta, nobody, customer, rng)
    amount = amount * model._order_value
    if first is not None:
        amount[:n] = first
        worth[:n] = float(first > 0)
    gross = np.bincount(customer, amount * worth, minlength=n)
    margin = float(terms.get("margin", 1.0))
    if not costs:
        return np.asarray(margin * gross)
    counted = np.bincount(customer, worth, minlength=n)
    present = present_time(t, unit, discount)
    spent = float(present(np.asarray(t)))
    served = bought.lifetime(present)[:, 0]
    return net_value(costs, np.asarray(margin), gross, counted, served, spent)


def _purchases(model: Any, theta: Theta, n: int, t: float, rng: np.random.Generator) -> Realised:
    """Repeat purchases of n customers, each with parameters of its own."""
    start = np.broadcast_to(model.p_alive(theta, NEW_CUSTOMER), (n,))
    alive = np.flatnonzero(rng.random(n) < start)
    zeros = np.zeros(len(alive))
    process = model.given_alive(tuple(v[alive] for v in theta), zeros, zeros)
    count, span, ended = model.process_counts(process, t, rng)
    some = count > 0
    every = np.zeros((n, 1))
    every[alive, 0] = count
    only = np.zeros(len(alive), np.intp)
    return Realised(
        every, alive[some], only[some], count[some], span[some], ended[some], (alive, only, span)
    )


def first_margin(
    model: Any, terms: Mapping[str, Any], first: float | None, costs: Mapping[str, Array]
) -> tuple[float, Array]:
    """What the first purchase leaves after costs: at the estimates, and under draws.

    Parameters
    ----------
    terms, first, costs
        As in :func:`realised_by_new`.
    """
    returned, service = (float(costs[n][0]) if costs else 0.0 for n in ("returned", "service"))
    kept = float(terms.get("margin", 1.0)) * (1.0 - returned)
    known = {n: terms[n] for n in ("draws", "seed", "fallback_spend") if n in terms}
    asked = {"horizon": 1.0, "discounting": "none", **known}
    name = "expected_spend"
    point = float(model.predict(NEW, **asked)[name].iloc[0])
    draws = model.predict_draws(NEW, quantities=[name], **asked)[name].to_numpy()[:, 0]
    if first is not None:
        point, draws = float(first), np.full(len(draws), float(first))
    return point * kept - service * (point > 0), draws * kept - service * (draws > 0)


def resolved(costs: Costs | None, model: Any) -> dict[str, Array]:
    """Costs of a new customer as numbers; empty for none."""
    return {} if costs is None else costs.resolve(NEW, None, model.purchases.time_unit_)
