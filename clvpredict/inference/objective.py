"""What fits maximise: the weighted log-likelihood of any model, with or without a prior."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from clvpredict.models.base import Model
from clvpredict.rfm import Array, Compressed

LogDensity = Callable[[Array], tuple[float, Array]]

# Rows at a time: few enough that the arrays stay in cache and are not mapped anew each time.
_BLOCK = 8192
# From so many rows on, loading the compiler pays.
_COMPILED_FROM = 50_000


def total_log_likelihood(model: Model, data: Compressed) -> Callable[[Array], tuple[float, Array]]:
    """Give the weighted log-likelihood of all rows and its gradient, as a function of theta.

    Where there are many rows, it is the model's fused kernel.
    """
    if len(data) >= _COMPILED_FROM:
        return model.fused(data)
    parts = np.array_split(np.arange(len(data)), max(1, len(data) // _BLOCK))
    blocks = [data.take(part) for part in parts]

    def total(theta: Array) -> tuple[float, Array]:
        value, gradient = 0.0, np.zeros(len(theta))
        for block in blocks:
            rows, slopes = model.log_likelihood_and_gradient(tuple(theta), block)
            value += float(block.weight @ rows)
            gradient += slopes @ block.weight
        return value, gradient

    return total


class NegativeLog:
    """Mean negative log-likelihood (or posterior density) per customer, in ln(parameters).

    Parameters
    ----------
    model : Model
    data : Compressed
        In units of about 1.
    prior : callable, optional
        Log-density of the same point, and its gradient.
    """

    def __init__(self, model: Model, data: Compressed, prior: LogDensity | None = None) -> None:
        self.total = float(data.weight.sum())
        self.evaluations = 0
        self._likelihood = total_log_likelihood(model, data)
        self._prior = prior

    def __call__(self, log_theta: Array) -> tuple[float, Array]:
        """Compute value and gradient."""
        self.evaluations += 1
        theta = np.exp(log_theta)
        value, gradient = self._likelihood(theta)
        gradient = gradient * theta
        if self._prior is not None:
            prior, slope = self._prior(log_theta)
            value, gradient = value + prior, gradient + slope
        return -value / self.total, -gradient / self.total


def data_units(model: Model, data: Compressed) -> dict[str, float]:
    """The mean of the data in each unit."""
    means: dict[str, float] = {}
    for column, unit in model.columns_with_unit.items():
        mean = float(np.average(data.columns[column], weights=data.weight))
        means[unit] = max(means.get(unit, 0.0), mean) or 1.0
    return means


def unit_scale(model: Model, data: Compressed) -> Array:
    """What each parameter scales with, shape (k,): the data's mean time or money, or 1."""
    units = data_units(model, data)
    return np.array([units[p.unit] if p.unit else 1.0 for p in model.parameters])
