"""What a fitted model says the customers at hand would have done, with its uncertainty.

The model was fitted on these customers, so a band here is a little wider than its level: such
checks find where a model cannot be right, and do not show that it predicts well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.errors import (
    DataError,
    DataWarning,
    IdentificationWarning,
    InfiniteValueError,
    Problem,
    notify,
    rows,
)
from clvpredict.inference.result import FitResult
from clvpredict.models.base import Theta
from clvpredict.rfm import Array, check_repeat_frequency, check_rfm, check_unit
from clvpredict.special import DRAWS, at_accuracy

#: Simulations take a random sample of so many customers where there are more.
SAMPLE = 10_000


def purchase_columns(model: Any, rfm: pd.DataFrame) -> dict[str, Array]:
    """Frequency, recency and T of a summary in the model's unit.

    Raises
    ------
    DataError, UnitError
        If the summary cannot be used.
    """
    columns = check_rfm(rfm, ("frequency", "recency", "T"))
    check_repeat_frequency(rfm)
    check_unit(rfm, getattr(model, "purchases", model).time_unit_)
    return columns


def spend_columns(rfm: pd.DataFrame) -> tuple[Array, Array]:
    """Number and mean value of the purchases of customers who spent something.

    Raises
    ------
    DataError
        If nobody did.
    """
    columns = check_rfm(rfm, ("frequency", "monetary_value"))
    x, m = columns["frequency"], columns["monetary_value"]
    free = int(((x > 0) & (m == 0)).sum())
    if free:
        notify(
            f"{rows(free)} of repeat buyers with monetary_value 0 left out: spend models are for "
            "positive amounts.",
            DataWarning,
        )
    used = (x > 0) & (m > 0)
    if not used.any():
        fix = "make the summary with rfm_summary(transactions, amount=...), of a longer history"
        raise DataError("RFM summary", [Problem("nobody has a repeat purchase with a value", fix)])
    return x[used], m[used]


def parameter_draws(result: FitResult, size: int, seed: int) -> Array:
    """Draws of the parameters, shape (size or fewer, k); the estimate where there are none."""
    try:
        return result.draws(size, seed)
    except InfiniteValueError as error:
        said = f"the band is without the uncertainty of the parameters: {error}"
        notify(said, IdentificationWarning)
        return np.tile(result.estimate, (size, 1))


def as_theta(row: Array) -> Theta:
    """A draw as models take it."""
    return tuple(np.asarray(v) for v in row)


def bounds(drawn: Array, level: float) -> tuple[Array, Array]:
    """Ends of the central intervals over the first axis."""
    tail = (1.0 - level) / 2.0
    lower, upper = np.quantile(drawn, (tail, 1.0 - tail), axis=0)
    return lower, upper


def ages(T: Array, most: int) -> tuple[Array, npt.NDArray[np.int64]]:
    """Distinct ages and their customers; of many ages, nodes that stand for those around them."""
    age, count = np.unique(T, return_counts=True)
    if len(age) <= most:
        return age, count.astype(np.int64)
    node = np.unique(np.quantile(T, np.linspace(0.0, 1.0, most)))
    # Between two nodes, a customer belongs to each by nearness: exact for what is linear there.
    right = np.clip(np.searchsorted(node, age), 1, len(node) - 1)
    near = (age - node[right - 1]) / (node[right] - node[right - 1])
    weight = np.bincount(right, count * near, len(node))
    weight += np.bincount(right - 1, count * (1.0 - near), len(node))
    # Whole customers, and as many as there are.
    whole = np.diff(np.round(np.cumsum(weight)), prepend=0.0)
    return node, whole.astype(np.int64)


def count_band(
    result: FitResult,
    shares: Callable[[Theta], Array],
    customers: npt.NDArray[np.int64],
    level: float,
    draws: int,
    seed: int,
) -> dict[str, Array]:
    """How many customers are expected in each class, and between which numbers they will be.

    Parameters
    ----------
    shares : callable
        From parameters to the probabilities of each class by age, shape (classes, ages).
    customers : ndarray, shape (ages,)
        Customers of each age.

    Returns
    -------
    dict of str to ndarray, shape (classes,)
        `expected`, exact at the estimates (of a posterior: the mean over its draws); `lower`
        and `upper`, over draws of the parameters and what customers then happen to do.
    """
    rng = np.random.default_rng(seed)
    mean, drawn = [], []
    theta = parameter_draws(result, draws, seed)
    for i, row in enumerate(theta):
        # Parameters that are given are the same in every draw.
        if i == 0 or (row != theta[i - 1]).any():
            with at_accuracy(DRAWS):
                probability = np.clip(shares(as_theta(row)), 0.0, 1.0)
            probability /= probability.sum(axis=0)
        mean.append(probability @ customers)
        drawn.append(rng.multinomial(customers, probability.T).sum(axis=0))
    expected = np.mean(mean, axis=0) if result.is_posterior else shares(result.theta) @ customers
    lower, upper = bounds(np.array(drawn, dtype=np.float64), level)
    return {"expected": expected, "lower": lower, "upper": upper}


def sample_of(n: int, seed: int, most: int = SAMPLE) -> npt.NDArray[np.intp]:
    """All rows, or a random sample where there are many, ascending."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False)).astype(np.intp)


def outside(table: pd.DataFrame, observed: str) -> int:
    """How many rows have what was observed outside the band."""
    return int((~table[observed].between(table["lower"], table["upper"])).sum())
