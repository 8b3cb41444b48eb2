"""Spend models as users hold them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd

from clvpredict.errors import DataWarning, IndependenceWarning, notify
from clvpredict.estimators.base import Estimator
from clvpredict.estimators.drawing import Drawing
from clvpredict.inference.checks import check_spend
from clvpredict.inference.dependence import Dependence, spearman
from clvpredict.models.base import SpendModel
from clvpredict.models.registry import SPEND_MODELS
from clvpredict.rfm import (
    Array,
    Compressed,
    SpendHistories,
    check_rfm,
    compress_spend,
    customer_ids,
)
from clvpredict.simulate import describe_spend, implied_spend, sample_rows
from clvpredict.value import mean_spend_over_draws

# Rank correlation of frequency and spend from which on to warn; CDNOW, the textbook case, has
# 0.21. It is always in `independence_`.
_CORRELATED = 0.3


class GammaGamma(Estimator):
    """Gamma-Gamma: what a purchase is worth, given the customer's mean so far.

    Parameters p, q, v: a customer's purchase values are Gamma(p, rate ν), ν over customers
    Gamma(q, rate v). Spend and purchase frequency are taken to be independent; ``fit`` measures
    that (``independence_``) and warns.

    References
    ----------
    Fader & Hardie (2013), The Gamma-Gamma model of monetary value (note 25).

    Examples
    --------
    >>> import clvpredict as clv
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> clv.GammaGamma().fit(rfm)
    <GammaGamma: p=6.2496, q=3.7442, v=15.444>
    """

    _model: ClassVar[SpendModel] = SPEND_MODELS["gamma-gamma"]
    _part = "spend"

    def __init__(self) -> None:
        super().__init__()
        self.independence_: Dependence | None = None

    def _data(self, rfm: pd.DataFrame) -> Compressed:
        columns = check_rfm(rfm, ("frequency", "monetary_value"))
        x, m = columns["frequency"], columns["monetary_value"]
        free = (x > 0) & (m == 0)
        if free.any():
            notify(
                f"monetary_value is 0 for {int(free.sum()):,} of {int((x > 0).sum()):,} repeat "
                "buyers: left out of the spend model, which is for positive amounts.",
                DataWarning,
            )
        used = (x > 0) & (m > 0)
        check_spend(x[used], m[used])
        self.independence_ = spearman(x[used], m[used])
        if self.independence_.correlated(_CORRELATED):
            notify(
                f"frequency and spend are correlated ({self.independence_}); Gamma-Gamma takes "
                "them as independent, so CLV of frequent buyers will be biased "
                f"{'down' if self.independence_.rho > 0 else 'up'}. Model segments of alike "
                "customers separately.",
                IndependenceWarning,
            )
        return compress_spend(x[used], m[used])

    def _rows(self, rfm: pd.DataFrame) -> tuple[Compressed, pd.Series]:
        columns = check_rfm(rfm, ("frequency", "monetary_value"))
        x, m = columns["frequency"], columns["monetary_value"]
        used = (x > 0) & (m > 0)
        return SpendHistories(np.ones(int(used.sum())), x=x[used], m=m[used]), customer_ids(rfm)[
            used
        ]

    def _implied(
        self, data: Compressed, theta: Array, seed: int
    ) -> tuple[dict[str, Array], dict[str, float]]:
        customers = sample_rows(data, seed)
        implied = implied_spend(self._model, theta, customers.columns["x"], seed)
        return implied, describe_spend(customers.columns["m"])

    def expected_spend(self, rfm: pd.DataFrame) -> pd.Series:
        """E[mean value per purchase | history]; index of ``rfm``.

        Customers without a repeat purchase get the mean over customers. Where the mean does
        not exist (q <= 1, of a posterior in some draw) it is nan; ``CLVModel.predict`` then
        asks for a fallback.
        """
        columns = check_rfm(rfm, ("frequency", "monetary_value"))
        value = self._expect(columns["frequency"], columns["monetary_value"])
        return pd.Series(value, index=rfm.index, name="expected_spend")

    def _expect(self, x: Array, m: Array) -> Array:
        """At the estimate; of a posterior, averaged over draws as ``predict`` takes them."""
        result = self.result_
        if not result.is_posterior:
            return self._model.expected_spend(
                result.theta, SpendHistories(np.ones(len(x)), x=x, m=m)
            )
        return mean_spend_over_draws(self._model, result.draws(Drawing().draws, 0), x, m)

    def expected_spend_new(self) -> float:
        """E[mean value per purchase] over customers, p·v/(q − 1); nan for q <= 1."""
        return float(self._expect(np.zeros(1), np.zeros(1))[0])
