"""NBD."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, override

import numpy as np
import numpy.typing as npt

from clvpredict.errors import InfiniteValueError, OptionError
from clvpredict.models.base import Fused, Parameter, PurchaseModel, Theta, uniform_times
from clvpredict.rfm import Array, Compressed, Histories
from clvpredict.special import digamma_rising, log_rising, negative_binomial_log_pmf


class NBDModel(PurchaseModel):
    """Poisson purchases for ever, with rates λ ~ Gamma(r, rate α) over customers; no dropout.

    A baseline: who was ever a customer still is one, P(alive) = 1. When the purchases happened
    does not matter:

        L = Γ(r+x)/Γ(r) α^r/(α+T)^(r+x).
    """

    name = "nbd"
    title = "NBD"
    citation = (
        "Ehrenberg (1959), The pattern of consumer purchases. Applied Statistics 8(1), 26-41; "
        "Schmittlein, Morrison & Colombo (1987), Counting your customers: who are they and what "
        "will they do next? Management Science 33(1), 1-24."
    )
    identification_hint = (
        "r and alpha need customers with different numbers of purchases: use a longer history or "
        "more customers."
    )
    parameters = (
        Parameter(
            "r", "shape of the purchase rates over customers: the smaller, the more uneven", 0.5
        ),
        Parameter("alpha", "rate of that Gamma, in time: their mean is r/alpha", 0.3, "time"),
    )

    @override
    def log_likelihood_and_gradient(self, theta: Theta, data: Compressed) -> tuple[Array, Array]:
        r, alpha = theta
        x = data.columns["x"]
        aged = data.tabulate("T", lambda T, alpha: np.log1p(T / alpha), alpha)
        slope_aged = data.tabulate("T", lambda T, alpha: -T / (alpha * (alpha + T)), alpha)
        value = data.tabulate("x", lambda n, r: log_rising(r, n), r)
        value = value - r * aged - x * (np.log(alpha) + aged)
        gradient = np.empty((2, len(x)))
        gradient[0] = data.tabulate("x", lambda n, r: digamma_rising(r, n), r) - aged
        gradient[1] = -(r + x) * slope_aged - x / alpha
        return value, gradient

    @override
    def fused(self, data: Compressed) -> Fused:
        from clvpredict.models import kernels

        return Fused(kernels.poisson_gamma, *kernels.pack_counts(data))

    @override
    def starts(self, data: Compressed) -> Sequence[tuple[float, ...]]:
        rate = np.average(data.columns["x"], weights=data.weight) + 0.05
        return [(r, r / rate) for r in (0.5, 2.0, 0.1)]

    @override
    def p_alive(self, theta: Theta, h: Histories) -> Array:
        return np.ones(np.broadcast_shapes(np.shape(theta[0]), h.x.shape))

    @override
    def given_alive(self, theta: Theta, x: Array, T: Array) -> Theta:
        r, alpha = theta
        return r + x, (alpha + T) / self.rate_factor

    @override
    def changed(self, *, rate: float = 1.0, dropout: float = 1.0) -> Self:
        if dropout != 1.0:
            raise OptionError(
                "NBD has no dropout, so there is no churn to change: fit MBGNBD() or BGNBD()."
            )
        return super().changed(rate=rate)

    @override
    def time_scale(self, alive: Theta) -> Array:
        return alive[1]

    @override
    def process_mean(self, alive: Theta, t: Array) -> Array:
        return np.asarray(alive[0] / alive[1] * t)

    @override
    def process_limit(self, alive: Theta) -> Array:
        """Infinite: purchases never end."""
        return np.full(np.broadcast_shapes(*(np.shape(v) for v in alive)), np.inf)

    @override
    def process_survival(self, alive: Theta, t: Array) -> Array:
        return np.ones(np.broadcast_shapes(*(np.shape(v) for v in alive), np.shape(t)))

    @override
    def process_log_pmf(self, alive: Theta, t: Array, n: Array) -> Array:
        r, alpha = alive
        return negative_binomial_log_pmf(n, r, alpha, t)

    @override
    def process_no_purchase(self, alive: Theta, t: Array) -> Array:
        r, alpha = alive
        return np.asarray(-r * np.log1p(t / alpha))

    @override
    def process_discounted(self, alive: Theta, t: Array, delta: float) -> Array:
        """E[λ] ∫₀ᵗ e^(−δu) du."""
        return self.process_mean(alive, -np.expm1(-delta * t) / delta if delta else t)

    @override
    def process_dert(self, alive: Theta, delta: float) -> Array:
        """E[λ] / δ."""
        return self.process_mean(alive, np.asarray(1.0 / delta))

    @override
    def process_times(
        self, alive: Theta, t: Array, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.intp], Array, dict[str, npt.NDArray[Any]]]:
        r, alpha = alive
        shape = np.broadcast_shapes(np.shape(t), *(np.shape(v) for v in alive))
        rate = rng.gamma(np.broadcast_to(r, shape)) / alpha
        customer, time = uniform_times(rng.poisson(rate * t), t, rng)
        return customer, time, {"purchase_rate": rate, "alive": np.ones(shape, bool)}

    @override
    def process_counts(
        self, alive: Theta, t: float, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], Array, npt.NDArray[np.bool_]]:
        r, alpha = np.broadcast_arrays(*alive)
        if np.isinf(t):
            raise InfiniteValueError(
                "NBD has no dropout, so customers make infinitely many purchases in an infinite "
                "time: they cannot be drawn. Give a finite horizon, e.g. '52W'; or ask for "
                "expectations only, e.g. intervals=['credible']."
            )
        count = rng.poisson(rng.standard_gamma(r) / alpha * t)
        return count, np.full(r.shape, t), np.zeros(r.shape, bool)
