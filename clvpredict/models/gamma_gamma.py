"""Gamma-Gamma model of spend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import override

import numpy as np
import numpy.typing as npt
from scipy import special as sc

from clvpredict.models.base import Fused, Parameter, SpendModel, Theta
from clvpredict.rfm import Array, Compressed, SpendHistories
from clvpredict.special import digamma_rising, log_rising


class GammaGammaModel(SpendModel):
    """Purchase values are Gamma(p, rate ν), with ν ~ Gamma(q, rate v) over customers.

    The mean of x purchases then has density

        f(m | x) = Γ(px+q)/(Γ(px)Γ(q)) v^q m^(px−1) x^(px) / (v+xm)^(px+q).
    """

    name = "gamma-gamma"
    title = "Gamma-Gamma"
    citation = (
        "Fader & Hardie (2013), The Gamma-Gamma model of monetary value, note 25; "
        "Fader, Hardie & Lee (2005), RFM and CLV: using iso-value curves for customer base "
        "analysis. JMR 42(4), 415-430."
    )
    identification_hint = (
        "p, q and v need customers with several purchases and different mean values: use more "
        "repeat buyers, keep the first purchase (include_first_transaction=True), or trim "
        "outliers. Where spend hardly differs between customers, use its mean instead."
    )
    parameters = (
        Parameter("p", "shape of a customer's purchase values: the larger, the more alike", 4.0),
        Parameter(
            "q", "shape over customers: the larger, the more alike; the mean needs q > 1", 4.0
        ),
        Parameter("v", "scale, in money: the mean value of a purchase is p·v/(q−1)", 0.7, "money"),
    )

    @override
    def log_likelihood_and_gradient(self, theta: Theta, data: Compressed) -> tuple[Array, Array]:
        p, q, v = theta
        x, m = data.columns["x"], data.columns["m"]
        total = x * m
        log_share_q = np.log(v) - np.log(v + total)
        log_share_p = np.log(total) - np.log(v + total)

        def normaliser(x: Array, p: Array, q: Array) -> Array:
            return log_rising(q, p * x) - np.asarray(sc.gammaln(p * x))

        value = (
            data.tabulate("x", normaliser, p, q) + q * log_share_q + p * x * log_share_p - np.log(m)
        )
        slope_p = data.tabulate("x", lambda x, p, q: digamma_rising(p * x, q + 0.0 * x), p, q)
        slope_q = data.tabulate("x", lambda x, p, q: digamma_rising(q + 0.0 * x, p * x), p, q)
        gradient = np.empty((3, len(x)))
        gradient[0] = x * (slope_p + log_share_p)
        gradient[1] = slope_q + log_share_q
        gradient[2] = q / v - (p * x + q) / (v + total)
        return value, gradient

    @override
    def fused(self, data: Compressed) -> Fused:
        from clvpredict.models import kernels

        return Fused(kernels.gamma_gamma, *kernels.pack_spend(data))

    @override
    def starts(self, data: Compressed) -> Sequence[tuple[float, ...]]:
        mean = np.average(data.columns["m"], weights=data.weight)
        return [(p, q, (q - 1.0) * mean / p) for p, q in ((4.0, 4.0), (1.5, 3.0), (12.0, 2.0))]

    @override
    def expected_spend(self, theta: Theta, data: SpendHistories) -> Array:
        """Note 25, eq. (5): p (v + x m) / (p x + q − 1), where p x + q > 1."""
        p, q, v = theta
        shape = p * data.x + q - 1.0
        exists = shape > 0
        return np.where(exists, p * (v + data.x * data.m) / np.where(exists, shape, 1.0), np.nan)

    @override
    def draw_spend(
        self,
        theta: Theta,
        data: SpendHistories,
        purchases: npt.NDArray[np.intp],
        rng: np.random.Generator,
    ) -> tuple[Array, dict[str, Array]]:
        rate = self._rate(theta, data, rng)
        shape = np.broadcast_to(theta[0], rate.shape)[purchases]
        return rng.standard_gamma(shape) / rate[purchases], {"spend_rate": rate}

    @override
    def draw_total(
        self, theta: Theta, data: SpendHistories, count: Array, rng: np.random.Generator
    ) -> Array:
        return np.asarray(rng.standard_gamma(theta[0] * count) / self._rate(theta, data, rng))

    def _rate(self, theta: Theta, data: SpendHistories, rng: np.random.Generator) -> Array:
        """Draw ν of each customer given x purchases of mean m: Gamma(q + p x, rate v + x m)."""
        p, q, v = theta
        return np.asarray(rng.standard_gamma(q + p * data.x) / (v + data.x * data.m))
