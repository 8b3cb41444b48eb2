"""What BG/NBD and MBG/NBD share: Poisson purchases, dropout with probability p after each.

λ ~ Gamma(r, rate α) over customers, p ~ Beta(a, b), independent. The two papers differ in
whether a customer can drop out right after the first purchase; with s = the number of times a
customer is known to have survived that chance (x, or x + 1), both have one likelihood:

    L = Γ(r+x)/Γ(r) α^r/(α+T)^(r+x) · B(a, b+s)/B(a, b) · [1 + a/(b+s−1) ((α+T)/(α+t_x))^(r+x)]

(the second term in the bracket only where s > 0).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, override

import numpy as np
import numpy.typing as npt
from scipy import special as sc

from clvpredict.errors import OptionError
from clvpredict.models.base import Fused, Parameter, PurchaseModel, Theta, uniform_times
from clvpredict.rfm import Array, Compressed, Histories
from clvpredict.special import (
    beta_blocks,
    digamma_rising,
    log_rising,
    negative_binomial_log_pmf,
    softplus,
)


class GeometricDropout(PurchaseModel):
    """Beta-geometric / negative-binomial models.

    ``dropout_at_start`` is 1 if a customer may drop out right after the first purchase, else 0.
    """

    dropout_at_start: ClassVar[int]
    identification_hint = (
        "Dropout (a, b) needs customers who visibly stopped: use a longer history (about a year "
        "or more), more customers, or the other of BG/NBD and MBG/NBD. r and alpha need "
        "customers with different numbers of purchases. Predictions for the customers at hand "
        "can still be good; standard errors and long horizons are not to be trusted."
    )
    parameters = (
        Parameter(
            "r", "shape of the purchase rates over customers: the smaller, the more uneven", 0.5
        ),
        Parameter("alpha", "rate of that Gamma, in time: their mean is r/alpha", 0.3, "time"),
        Parameter("a", "Beta of the dropout probability: its mean is a/(a+b)", 0.8),
        Parameter(
            "b", "Beta of the dropout probability: the larger a+b, the more alike it is", 2.5
        ),
    )

    @override
    def log_likelihood(self, theta: Theta, data: Compressed) -> Array:
        return self._terms(theta, data)[0]

    @override
    def log_likelihood_and_gradient(self, theta: Theta, data: Compressed) -> tuple[Array, Array]:
        r, alpha, a, b = theta
        x = data.columns["x"]
        s = x + self.dropout_at_start
        value, aged, gap, dead = self._terms(theta, data)
        slope_b = data.tabulate("x", lambda n, b: digamma_rising(b, n + self.dropout_at_start), b)
        slope_ab = data.tabulate(
            "x", lambda n, ab: digamma_rising(ab, n + self.dropout_at_start), a + b
        )
        slope_aged = data.tabulate("T", lambda T, alpha: -T / (alpha * (alpha + T)), alpha)
        slope_last = data.tabulate("t_x", lambda t, alpha: -t / (alpha * (alpha + t)), alpha)
        gradient = np.empty((4, len(x)))
        gradient[0] = data.tabulate("x", lambda n, r: digamma_rising(r, n), r) - aged + dead * gap
        gradient[1] = (r + x) * (dead * (slope_aged - slope_last) - slope_aged) - x / alpha
        gradient[2] = dead / a - slope_ab
        gradient[3] = slope_b - slope_ab - dead / np.where(s > 0, b + s - 1.0, 1.0)
        return value, gradient

    def _terms(self, theta: Theta, data: Compressed) -> tuple[Array, Array, Array, Array]:
        """The log-likelihood, ln(1 + T/α), ln((α+T)/(α+t_x)), and P(dropped out at t_x)."""
        r, alpha, a, b = theta
        x = data.columns["x"]
        aged = data.tabulate("T", lambda T, alpha: np.log1p(T / alpha), alpha)
        gap, log_odds = self._dead_odds(theta, data, aged)
        mixture, dead = softplus(log_odds)

        def of_count(n: Array, r: Array, a: Array, b: Array) -> Array:
            s = n + self.dropout_at_start
            return log_rising(r, n) + log_rising(b, s) - log_rising(a + b, s)

        value = (
            data.tabulate("x", of_count, r, a, b) - r * aged - x * (np.log(alpha) + aged) + mixture
        )
        return value, aged, gap, dead

    def _dead_odds(self, theta: Theta, data: Compressed, aged: Array) -> tuple[Array, Array]:
        """ln((α+T)/(α+t_x)), and the log odds of having dropped out at t_x (−inf if s = 0)."""
        r, alpha, a, b = theta
        x = data.columns["x"]
        s = x + self.dropout_at_start
        gap = aged - data.tabulate("t_x", lambda t, alpha: np.log1p(t / alpha), alpha)
        log_odds = np.log(a) - np.log(np.where(s > 0, b + s - 1.0, 1.0)) + (r + x) * gap
        return gap, np.where(s > 0, log_odds, -np.inf)

    @override
    def fused(self, data: Compressed) -> Fused:
        from clvpredict.models import kernels

        return Fused(
            kernels.geometric_dropout, *kernels.pack_histories(data, self.dropout_at_start)
        )

    @override
    def starts(self, data: Compressed) -> Sequence[tuple[float, ...]]:
        rate = np.average(data.columns["x"], weights=data.weight) + 0.05
        return [
            (r, r / (rate * boost), a, b)
            for r, boost, a, b in (
                (0.5, 1.5, 0.8, 2.0),
                (1.5, 3.0, 0.3, 3.0),
                (0.3, 1.0, 2.0, 20.0),
            )
        ]

    @override
    def p_alive(self, theta: Theta, h: Histories) -> Array:
        aged = np.log1p(h.T / theta[1])
        return np.asarray(sc.expit(-self._dead_odds(theta, h, aged)[1]))

    @override
    def given_alive(self, theta: Theta, x: Array, T: Array) -> Theta:
        r, alpha, a, b = theta
        return r + x, (alpha + T) / self.rate_factor, a + 0.0 * x, b + x + self.dropout_at_start

    @override
    def time_scale(self, alive: Theta) -> Array:
        return alive[1]

    @override
    def process_mean(self, alive: Theta, t: Array) -> Array:
        """E over p of (1 − (1 + p t/α)^−r) / p."""
        return self.process_mean_sum(alive, np.asarray(t)[None], np.ones((1, 1)))

    @override
    def process_mean_sum(self, alive: Theta, times: Array, weights: Array) -> Array:
        def mean(p: Array, z: Array, r: Array) -> Array:
            return np.asarray(-np.expm1(-r * np.log1p(p * z)) / p)

        return self._over_dropout(alive, mean, lambda z, r: r * z, times, weights)

    @override
    def process_survival(self, alive: Theta, t: Array) -> Array:
        """E over p of (1 + p t/α)^−r."""
        return self.process_survival_sum(alive, np.asarray(t)[None], np.ones((1, 1)))

    @override
    def process_survival_sum(self, alive: Theta, times: Array, weights: Array) -> Array:
        def survival(p: Array, z: Array, r: Array) -> Array:
            return np.asarray(np.exp(-r * np.log1p(p * z)))

        return self._over_dropout(alive, survival, lambda z, r: np.ones(()), times, weights)

    @override
    def process_limit(self, alive: Theta) -> Array:
        """E[1/p] = (a + b − 1) / (a − 1), for a > 1; of min(1, c·p) where dropout is changed."""
        _, _, a, b = alive
        finite = np.where(a > 1, a, 2.0)
        mean = (finite + b - 1.0) / (finite - 1.0)
        c = self.dropout_factor
        if c < 1:
            mean = mean / c
        elif c > 1:
            certain = sc.betaincc(finite, b, 1.0 / c)
            mean = mean / c * sc.betainc(finite - 1.0, b, 1.0 / c) + certain
        return np.where(a > 1, mean, np.inf)

    @override
    def process_no_purchase(self, alive: Theta, t: Array) -> Array:
        r, alpha, _, _ = alive
        return np.asarray(-r * np.log1p(t / alpha))

    @override
    def process_log_pmf(self, alive: Theta, t: Array, n: Array) -> Array:
        """Fader, Hardie & Lee (2005), eq. (8): alive after n purchases, or dropped at the n-th."""
        if self.dropout_factor != 1.0:
            raise OptionError(
                "the exact distribution of purchases is not known under a changed churn; take "
                "intervals and draws of predictions instead."
            )
        r, alpha, a, b = alive
        with np.errstate(divide="ignore"):
            still_alive = log_rising(b, n) - log_rising(a + b, n)
            bought = negative_binomial_log_pmf(n, r, alpha, t) + still_alive
            k = np.maximum(n, 1.0)
            dropped = (
                np.log(a / (a + b))
                + log_rising(b, k - 1.0)
                - log_rising(a + b + 1.0, k - 1.0)
                + np.log(sc.betainc(k, r, t / (alpha + t)))
            )
        return np.where(n > 0, np.logaddexp(bought, dropped), bought)

    @override
    def process_times(
        self, alive: Theta, t: Array, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.intp], Array, dict[str, npt.NDArray[Any]]]:
        r, alpha, a, b = alive
        shape = np.broadcast_shapes(np.shape(t), *(np.shape(v) for v in alive))
        rate = rng.gamma(np.broadcast_to(r, shape)) / alpha
        p = self._dropout(rng.beta(np.broadcast_to(a, shape), np.broadcast_to(b, shape)))
        # Undisturbed purchases are Poisson and uniform in time; the customer keeps those up to
        # the one that ended it, the geometric-th.
        unlimited = rng.poisson(rate * t)
        last = rng.geometric(p)
        customer, time = uniform_times(unlimited, t, rng)
        rank = np.arange(len(customer)) - np.repeat(np.cumsum(unlimited) - unlimited, unlimited)
        kept = rank < last[customer]
        latent = {"purchase_rate": rate, "dropout_probability": p, "alive": unlimited < last}
        return customer[kept], time[kept], latent

    @override
    def process_counts(
        self, alive: Theta, t: float, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], Array, npt.NDArray[np.bool_]]:
        r, alpha, a, b = np.broadcast_arrays(*alive)
        rate = rng.standard_gamma(r) / alpha
        span = np.full(r.shape, t)
        if np.isinf(t):
            last = rng.geometric(self._dropout(rng.beta(a, b)))
            # The last-th arrival of a Poisson process; the earlier ones are uniform before it.
            return last, rng.standard_gamma(last) / rate, np.ones(r.shape, bool)
        count = rng.poisson(rate * t)
        ended = np.zeros(r.shape, bool)
        some = np.flatnonzero(count)
        last = rng.geometric(self._dropout(rng.beta(a[some], b[some])))
        cut = last <= count[some]
        some, last = some[cut], last[cut]
        ended[some] = True
        # The last-th of ``count`` points, uniform in (0, t).
        span[some] = t * rng.beta(last, count[some] - last + 1.0)
        count[some] = last
        return count, span, ended

    def _dropout(self, p: Array) -> Array:
        """The dropout probability as changed; not 0, which the geometric distribution refuses."""
        return np.clip(self.dropout_factor * p, np.finfo(float).tiny, 1.0)

    def _over_dropout(
        self,
        alive: Theta,
        f: Callable[[Array, Array, Array], Array],
        at_zero: Callable[[Array, Array], Array],
        times: Array,
        weights: Array,
    ) -> Array:
        """Σ_k weights_k E over p ~ Beta(a, b) of f(p, times_k/α, r), given f(0, z, r).

        Shape (n,); p as changed.
        """
        r, alpha, a, b = (v.ravel() for v in np.broadcast_arrays(*alive, times[0])[:4])
        shape = np.broadcast_shapes(*(np.shape(v) for v in alive), times.shape[1:])
        z = np.broadcast_to(times.reshape(len(times), -1) / alpha, (len(times), len(r)))
        weights = np.broadcast_to(weights.reshape(len(times), -1), z.shape)
        out = np.zeros(len(r))
        certain = self._dropout(np.ones(1))
        for block in beta_blocks(a, b, (1.0 + r) * (1.0 + z.max(axis=0))):
            i = block.rows
            r_i = r[i][:, None]
            p = self._dropout(block.p)
            for z_k, weight in zip(z[:, i], weights[:, i], strict=True):
                values = f(p, z_k[:, None], r_i)
                ends = at_zero(z_k, r[i]), f(certain, z_k, r[i])
                out[i] += weight * block.mean(values, *ends)
        return out.reshape(shape)
