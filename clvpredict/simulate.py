"""Simulated customer bases: whole transaction logs from a model, without event loops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.errors import OptionError
from clvpredict.models.base import NEW_CUSTOMER, PurchaseModel, SpendModel, Theta
from clvpredict.options import TimeUnit
from clvpredict.rfm import (
    Array,
    Compressed,
    Provenance,
    RFMSummary,
    SpendHistories,
    with_provenance,
)


@dataclass(frozen=True)
class SimulatedBase:
    """A customer base of known truth.

    Parameters
    ----------
    transactions : DataFrame
        `customer_id`, `date` (exact moment) and, with a spend model, `amount`; first purchases
        included.
    rfm : RFMSummary
        Its summary in continuous time: nothing collapsed.
    latent : DataFrame
        Index `customer_id`; the drawn rates, and `alive` at the end of observation.
    """

    transactions: pd.DataFrame
    rfm: RFMSummary
    latent: pd.DataFrame


def simulate_base(
    purchase: tuple[PurchaseModel, Theta],
    spend: tuple[SpendModel, Theta] | None,
    n: int,
    T: npt.ArrayLike,
    seed: int | np.random.Generator,
    unit: TimeUnit,
    observation_end: str,
) -> SimulatedBase:
    """Simulate ``n`` customers observed for ``T`` (scalar or one per customer) time units.

    Raises
    ------
    OptionError
        If n < 1 or T is negative, not finite or of another length.
    """
    if n < 1:
        raise OptionError(f"n={n!r} must be at least 1 customer.")
    age = np.array(np.broadcast_to(np.asarray(T, float), np.shape(T) or (n,)))
    if age.shape != (n,) or not (np.isfinite(age) & (age >= 0)).all():
        raise OptionError(f"T must be a number >= 0 or {n:,} of them; got shape {age.shape}.")
    rng = np.random.default_rng(seed)
    model, theta = purchase
    alive_at_start = rng.random(n) < model.p_alive(theta, NEW_CUSTOMER)[0]
    zeros = np.zeros(n)
    process = model.given_alive(theta, zeros, zeros)
    # A customer lost right after the first purchase is observed for no time at all.
    buyer, time, latent = model.process_times(process, np.where(alive_at_start, age, 0.0), rng)
    latent["alive"] = latent["alive"] & alive_at_start
    repeats = np.bincount(buyer, minlength=n)

    customer = np.concatenate([np.arange(n), buyer])
    moment = np.concatenate([zeros, time])
    order = np.lexsort((moment, customer))
    customer, moment = customer[order], moment[order]
    transactions = pd.DataFrame(
        {"customer_id": customer + 1, "date": _dates(moment - age[customer], unit, observation_end)}
    )
    last = np.zeros(n)
    np.maximum.at(last, buyer, time)
    columns = {
        "customer_id": np.arange(1, n + 1),
        "frequency": repeats,
        "recency": last,
        "T": age,
    }
    if spend is not None:
        nobody = SpendHistories(np.ones(n), x=zeros, m=zeros)
        amount, rates = spend[0].draw_spend(spend[1], nobody, customer.astype(np.intp), rng)
        transactions["amount"] = amount
        is_repeat = np.concatenate([[False], customer[1:] == customer[:-1]])
        total = np.bincount(customer[is_repeat], amount[is_repeat], minlength=n)
        columns["monetary_value"] = total / np.maximum(repeats, 1)
        latent = {**latent, **rates}
    provenance = Provenance(
        time_unit=unit.code,
        collapse="none",
        observation_end=observation_end,
        counts={"customers": n, "purchases": len(transactions)},
    )
    return SimulatedBase(
        transactions,
        with_provenance(pd.DataFrame(columns), provenance),
        pd.DataFrame(latent, index=pd.RangeIndex(1, n + 1, name="customer_id")),
    )


def implied_purchases(
    model: PurchaseModel, theta: Array, age: Array, seed: int
) -> dict[str, Array]:
    """What each draw of the parameters says customers of these ages would have bought.

    Parameters
    ----------
    theta : ndarray, shape (draws, k)
        Such as draws from a prior.
    age : ndarray, shape (n,)
        T of the customers.

    Returns
    -------
    dict of str to ndarray, shape (draws,)
        See :func:`describe_purchases`.
    """
    rng = np.random.default_rng(seed)
    zero = np.zeros(len(age))
    found = []
    for row in theta:
        point = tuple(np.asarray(v) for v in row)
        alive = rng.random(len(age)) < model.p_alive(point, NEW_CUSTOMER)[0]
        process = model.given_alive(point, zero, zero)
        # Purchases fall uniformly into (0, T] of a common rate: simulate the longest, thin.
        count, span, ended = model.process_counts(process, float(age.max()), rng)
        inside = np.minimum(1.0, age / np.maximum(span, np.finfo(float).tiny))
        kept = rng.binomial(count - ended, inside) + (ended & (span <= age))
        found.append(describe_purchases(np.where(alive, kept, 0).astype(np.float64)))
    return {name: np.array([f[name] for f in found]) for name in found[0]}


def implied_spend(model: SpendModel, theta: Array, x: Array, seed: int) -> dict[str, Array]:
    """What each draw of the parameters says these customers' mean spend would have been.

    Parameters
    ----------
    x : ndarray, shape (n,)
        Purchases of each customer, > 0.
    """
    rng = np.random.default_rng(seed)
    nobody = SpendHistories(np.ones(len(x)), x=np.zeros(len(x)), m=np.zeros(len(x)))
    found = []
    for row in theta:
        point = tuple(np.asarray(v) for v in row)
        found.append(describe_spend(model.draw_total(point, nobody, x, rng) / x))
    return {name: np.array([f[name] for f in found]) for name in found[0]}


def sample_rows(data: Compressed, seed: int, most: int = 2000) -> Compressed:
    """Customers of a compressed summary, one row each: all, or a random sample of many."""
    rows = np.repeat(np.arange(len(data)), data.weight.astype(np.int64))
    if len(rows) > most:
        rows = np.random.default_rng(seed).choice(rows, most, replace=False)
    return data.take(rows, np.ones(len(rows)))


def describe_purchases(count: Array) -> dict[str, float]:
    """Mean and 99th percentile of repeat purchases, and the share of customers without any."""
    return {
        "purchases_mean": float(count.mean()),
        "purchases_p99": float(np.quantile(count, 0.99)),
        "share_without_repeat": float((count == 0).mean()),
    }


def describe_spend(mean: Array) -> dict[str, float]:
    """Median, 1st and 99th percentile of customers' mean spend."""
    low, middle, high = np.quantile(mean, (0.01, 0.5, 0.99))
    return {"spend_median": float(middle), "spend_p01": float(low), "spend_p99": float(high)}


def _dates(offset: Array, unit: TimeUnit, end: str) -> pd.Series:
    microseconds = np.round(offset * unit.days * 86_400e6).astype(np.int64)
    return pd.Series(pd.Timestamp(end).as_unit("us") + microseconds.astype("timedelta64[us]"))
