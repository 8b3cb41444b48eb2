"""What a model is: its paper's formulas, and nothing else.

A purchase model gives the likelihood of a history, P(alive), and how an alive customer goes on;
everything else (expected purchases, new customers, probabilities, DERT, simulation) follows
here, once, for all models. A model knows nothing of optimisers, priors, money or data frames.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from clvpredict.rfm import Array, Compressed, Histories, SpendHistories
from clvpredict.special import accuracy, gauss_legendre

Theta = tuple[Array, ...]
"""Parameters in the order of ``Model.parameters``; each a scalar or one value per row."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a model; all are positive.

    Parameters
    ----------
    name : str
        The paper's letter.
    meaning : str
        What it says, in words.
    ordinary : float
        A value that is usual for it, in units of the data's mean time or money.
    unit : {"time", "money"} or None
        The unit it scales with.
    """

    name: str
    meaning: str
    ordinary: float
    unit: Literal["time", "money"] | None = None


@dataclass(frozen=True)
class Fused:
    """The weighted log-likelihood of some data as one compiled function.

    Parameters
    ----------
    kernel : callable
        Of :mod:`clvpredict.models.kernels`; it releases the interpreter lock.
    tables, codes, weight : ndarray
        The data as the kernel takes them.
    """

    kernel: Callable[..., float]
    tables: Array
    codes: npt.NDArray[np.int32]
    weight: Array

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Compute the log-likelihood and its gradient, shape (k,)."""
        gradient = np.empty(len(theta))
        value = self.kernel(theta, self.tables, self.codes, self.weight, gradient)
        return value, gradient


class Model(ABC):
    """What inference needs of any model."""

    name: ClassVar[str]
    title: ClassVar[str]
    citation: ClassVar[str]
    identification_hint: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]]
    columns_with_unit: ClassVar[dict[str, Literal["time", "money"]]]

    @abstractmethod
    def log_likelihood_and_gradient(self, theta: Theta, data: Compressed) -> tuple[Array, Array]:
        """Compute the log-likelihood of each row and its gradient.

        Parameters
        ----------
        theta : tuple of ndarray
            The parameters, scalars or one value per row.
        data : Compressed
            Rows (their weights are not applied here).

        Returns
        -------
        log_likelihood : ndarray, shape (n,)
        gradient : ndarray, shape (k, n)
            Derivatives with respect to the k parameters, in their order.
        """

    @abstractmethod
    def fused(self, data: Compressed) -> Fused:
        """Compile the log-likelihood of all rows, weighted; numba is loaded for it."""

    @abstractmethod
    def starts(self, data: Compressed) -> Sequence[tuple[float, ...]]:
        """Give starting values for data whose time and money units are about 1."""

    def log_likelihood(self, theta: Theta, data: Compressed) -> Array:
        """Compute the log-likelihood of each row, shape (n,)."""
        return self.log_likelihood_and_gradient(theta, data)[0]

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """The letters of the parameters, in order."""
        return tuple(p.name for p in self.parameters)


class PurchaseModel(Model):
    """When customers buy: Poisson purchases until an unobserved dropout.

    A subclass gives ``log_likelihood_and_gradient``, ``p_alive``, ``given_alive`` and the
    ``process_*`` methods: how a customer who is alive now goes on, whatever came before.
    """

    columns_with_unit = {"t_x": "time", "T": "time"}  # noqa: RUF012  # never changed
    #: What customers' purchase rates and dropout probabilities are multiplied with from T on.
    rate_factor: float = 1.0
    dropout_factor: float = 1.0

    def changed(self, *, rate: float = 1.0, dropout: float = 1.0) -> Self:
        """Give the model of customers whose latent rates change at T: a question of what if.

        The past, and so P(alive), is as it was. A dropout probability does not pass 1.
        """
        other = copy.copy(self)
        other.rate_factor = self.rate_factor * rate
        other.dropout_factor = self.dropout_factor * dropout
        return other

    # --- the paper ----------------------------------------------------------------------

    @abstractmethod
    def p_alive(self, theta: Theta, h: Histories) -> Array:
        """P(alive at T | history), shape (n,)."""

    @abstractmethod
    def given_alive(self, theta: Theta, x: Array, T: Array) -> Theta:
        """Parameters of the process from T on, for a customer alive at T; shapes (n,).

        By conjugacy they depend on (x, T) only, so predictions need them once per pair.
        """

    @abstractmethod
    def process_mean(self, alive: Theta, t: Array) -> Array:
        """E[purchases in (0, t]] of an alive customer; ``t`` is a scalar or shape (n,)."""

    @abstractmethod
    def process_limit(self, alive: Theta) -> Array:
        """E[purchases in (0, ∞)] of an alive customer; inf where it diverges."""

    @abstractmethod
    def process_survival(self, alive: Theta, t: Array) -> Array:
        """P(still alive after t) of an alive customer."""

    @abstractmethod
    def process_log_pmf(self, alive: Theta, t: Array, n: Array) -> Array:
        """Log of P(X(t) = n) of an alive customer; all arguments broadcast."""

    @abstractmethod
    def process_no_purchase(self, alive: Theta, t: Array) -> Array:
        """Log of P(X(t) = 0) of an alive customer, precise where it is near 0."""

    @abstractmethod
    def process_times(
        self, alive: Theta, t: Array, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.intp], Array, dict[str, npt.NDArray[Any]]]:
        """Simulate purchase times of alive customers, one row of ``alive`` and ``t`` each.

        Returns
        -------
        customer : ndarray of int, shape (purchases,)
            Row of the customer who buys, ascending.
        time : ndarray, shape (purchases,)
            When, in (0, t], ascending within the customer.
        latent : dict of str to ndarray, shape (n,)
            The drawn rates of each customer, and `alive`: whether still so after t.
        """

    @abstractmethod
    def process_counts(
        self, alive: Theta, t: float, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], Array, npt.NDArray[np.bool_]]:
        """Simulate the purchases of alive customers in (0, t], one row of ``alive`` each.

        Returns
        -------
        count : ndarray of int, shape (n,)
            Purchases.
        span : ndarray, shape (n,)
            They fall independently and uniformly into (0, span) ...
        ended : ndarray of bool, shape (n,)
            ... where this is true all but one, which falls on ``span`` itself.
        """

    # --- what follows from it -----------------------------------------------------------

    def process_mean_sum(self, alive: Theta, times: Array, weights: Array) -> Array:
        """Σ_k weights_k · E[purchases in (0, times_k]], shape (n,).

        Parameters
        ----------
        times, weights : ndarray, shape (k, 1) or (k, n)
            A subclass may share work between the times.
        """
        pairs = zip(times, weights, strict=True)
        return np.sum([w * self.process_mean(alive, t) for t, w in pairs], axis=0)

    def process_discounted(self, alive: Theta, t: Array, delta: float) -> Array:
        """E[∫₀ᵗ e^(−δu) dX(u)] of an alive customer: discounted expected purchases.

        By parts, e^(−δt) M(t) + δ ∫ e^(−δu) M(u) du with M the expected purchases, which is
        smooth; Gauss-Legendre in ln(1 + u / scale).
        """
        if delta == 0:
            return self.process_mean(alive, t)
        u, weight = self._nodes(alive, t, delta)
        times = np.vstack([np.broadcast_to(t, u.shape[1:]), u])
        by_parts = np.vstack([np.ones_like(u[:1]), delta * weight])
        return self.process_mean_sum(alive, times, np.exp(-delta * times) * by_parts)

    def process_dert(self, alive: Theta, delta: float) -> Array:
        """E[∫₀^∞ e^(−δu) dX(u)] of an alive customer, δ > 0: δ ∫ e^(−δu) M(u) du."""
        u, weight = self._nodes_for_ever(alive, delta)
        return self.process_mean_sum(alive, u, delta * weight * np.exp(-delta * u))

    def process_alive_time(self, alive: Theta, t: Array, delta: float) -> Array:
        """E[∫₀ᵗ e^(−δu) 1{alive at u} du]: the discounted time to serve; δ > 0 if t = inf."""
        for_ever = bool(np.all(np.isinf(t)))
        nodes = self._nodes_for_ever(alive, delta) if for_ever else self._nodes(alive, t, delta)
        u, weight = nodes
        return self.process_survival_sum(alive, u, weight * np.exp(-delta * u))

    def process_survival_sum(self, alive: Theta, times: Array, weights: Array) -> Array:
        """Σ_k weights_k · P(still alive after times_k), shape (n,)."""
        pairs = zip(times, weights, strict=True)
        return np.sum([w * self.process_survival(alive, t) for t, w in pairs], axis=0)

    def _nodes(self, alive: Theta, t: Array, delta: float) -> tuple[Array, Array]:
        """Times and weights of ∫₀ᵗ du: Gauss-Legendre in ln(1 + u / scale)."""
        scale = self.time_scale(alive)
        span = np.log1p(t / scale)
        panels = max(1, int(np.ceil(max(np.max(span) / 1.5, delta * np.max(t) / 8.0))))
        nodes, weights = gauss_legendre(accuracy().nodes)
        node = ((np.arange(panels)[:, None] + nodes) / panels).reshape(-1, 1)
        u = scale * np.expm1(span * node)
        return u, np.tile(weights, panels)[:, None] / panels * span * (scale + u)

    def _nodes_for_ever(self, alive: Theta, delta: float) -> tuple[Array, Array]:
        """Times and weights of ∫₀^∞ du of what e^(−δu) ends: trapezoids in ln u."""
        scale = np.max(self.time_scale(alive))
        tail, wide = accuracy().tail, accuracy().step
        low = np.log(min(1.0 / delta, scale)) - tail
        high = np.log((tail + 4.0) / delta)
        v = np.linspace(low, high, int((high - low) / (0.28 * wide)) + 1)
        u = np.exp(v)[:, None]
        return u, (v[1] - v[0]) * u

    @abstractmethod
    def time_scale(self, alive: Theta) -> Array:
        """A time over which the purchase rate of an alive customer changes."""

    def expected_purchases(self, theta: Theta, h: Histories, t: Array) -> Array:
        """E[X(T, T + t) | history], shape (n,); t = inf gives the limit (inf if it diverges)."""
        alive = self.given_alive(theta, h.x, h.T)
        p = self.p_alive(theta, h)
        mean = self.process_limit(alive) if np.all(np.isinf(t)) else self.process_mean(alive, t)
        return p * mean

    def discounted_purchases(self, theta: Theta, h: Histories, t: Array, delta: float) -> Array:
        """Discounted expected purchases over (T, T + t]; t = inf is DERT; shape (n,)."""
        alive = self.given_alive(theta, h.x, h.T)
        p = self.p_alive(theta, h)
        if np.all(np.isinf(t)):
            return p * (self.process_dert(alive, delta) if delta else self.process_limit(alive))
        return p * self.process_discounted(alive, t, delta)

    def p_alive_at(self, theta: Theta, h: Histories, t: Array) -> Array:
        """P(alive at T + t | history), shape (n,)."""
        alive = self.given_alive(theta, h.x, h.T)
        return self.p_alive(theta, h) * self.process_survival(alive, t)

    def p_purchase(self, theta: Theta, h: Histories, t: Array) -> Array:
        """P(at least one purchase in (T, T + t] | history), shape (n,)."""
        alive = self.given_alive(theta, h.x, h.T)
        return self.p_alive(theta, h) * -np.expm1(self.process_no_purchase(alive, t))

    def pmf_future(self, theta: Theta, h: Histories, t: Array, n: Array) -> Array:
        """P(X(T, T + t) = n | history); n broadcasts against the rows."""
        alive = self.given_alive(theta, h.x, h.T)
        p = self.p_alive(theta, h)
        return p * np.exp(self.process_log_pmf(alive, t, n)) + np.where(n == 0, 1.0 - p, 0.0)


def uniform_times(
    count: npt.NDArray[np.int64], t: Array, rng: np.random.Generator
) -> tuple[npt.NDArray[np.intp], Array]:
    """Draw when each customer's ``count`` purchases happen: Poisson, so uniform in (0, t].

    Returns
    -------
    customer : ndarray of int, shape (purchases,)
        Row of the customer who buys, ascending.
    time : ndarray, shape (purchases,)
        Ascending within the customer.
    """
    customer = np.repeat(np.arange(len(count)), count)
    time = rng.random(len(customer)) * np.broadcast_to(t, count.shape)[customer]
    order = np.lexsort((time, customer))
    return customer[order], time[order]


#: A customer who has just made the first purchase: the history of everybody at age 0.
NEW_CUSTOMER = Histories.of(0.0, 0.0, 0.0)


class SpendModel(Model):
    """What a purchase is worth, given its customer's earlier purchases."""

    columns_with_unit = {"m": "money"}  # noqa: RUF012  # never changed

    @abstractmethod
    def expected_spend(self, theta: Theta, data: SpendHistories) -> Array:
        """E[mean value per purchase | x purchases of mean m]; nan where it does not exist.

        x = 0 is a customer of whom no spend is known.
        """

    @abstractmethod
    def draw_spend(
        self,
        theta: Theta,
        data: SpendHistories,
        purchases: npt.NDArray[np.intp],
        rng: np.random.Generator,
    ) -> tuple[Array, dict[str, Array]]:
        """Simulate the value of purchases, whose customers are rows of ``data``.

        Returns
        -------
        value : ndarray, shape (len(purchases),)
        latent : dict of str to ndarray, shape (len(data),)
        """

    @abstractmethod
    def draw_total(
        self, theta: Theta, data: SpendHistories, count: Array, rng: np.random.Generator
    ) -> Array:
        """Simulate the total value of ``count`` > 0 purchases of each row, shape (n,)."""
