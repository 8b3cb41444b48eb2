"""Customer lifetime value: a purchase model and a spend model together."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

import numpy.typing as npt
import pandas as pd

from clvpredict.errors import OptionError
from clvpredict.estimators.base import PREDICTIONS_KEY, Horizon
from clvpredict.estimators.purchases import (
    BGNBD,
    NEW_RFM,
    PURCHASE_COLUMNS,
    PurchaseEstimator,
    append_new,
    simulate_from,
)
from clvpredict.estimators.spend import GammaGamma
from clvpredict.options import Discounting
from clvpredict.rfm import Array, check_rfm
from clvpredict.simulate import SimulatedBase
from clvpredict.value import Discount, Margin, discounted_total, margins, spend_or_fallback


class CLVModel:
    """A purchase model and a spend model together: customer lifetime value.

    Parameters
    ----------
    purchases : PurchaseEstimator
        Such as ``MBGNBD()``; by default ``BGNBD()``.
    spend : GammaGamma
        The spend model.

    Examples
    --------
    >>> import clvpredict as clv
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> model = clv.CLVModel(clv.MBGNBD(), clv.GammaGamma()).fit(rfm)
    >>> table = model.predict(rfm, horizon="52W", discount_rate=0.1)
    >>> ranked = table.sort_values("clv", ascending=False)
    """

    def __init__(
        self, purchases: PurchaseEstimator | None = None, spend: GammaGamma | None = None
    ) -> None:
        self.purchases = BGNBD() if purchases is None else purchases
        self.spend = GammaGamma() if spend is None else spend

    def fit(
        self,
        rfm: pd.DataFrame,
        *,
        method: str = "mle",
        time_unit: str | timedelta | None = None,
    ) -> Self:
        """Fit both models; see :meth:`Estimator.fit`. Returns self."""
        check_rfm(rfm, (*PURCHASE_COLUMNS, "monetary_value"))
        self.purchases.fit(rfm, method=method, time_unit=time_unit)
        self.spend.fit(rfm, method=method, time_unit=time_unit)
        return self

    @property
    def params_(self) -> dict[str, float]:
        """The estimates of both models by name."""
        return {**self.purchases.params_, **self.spend.params_}

    @property
    def log_likelihood_(self) -> float:
        """Sum of the two log-likelihoods, which share no parameter."""
        return self.purchases.log_likelihood_ + self.spend.log_likelihood_

    def summary(self, level: float = 0.95) -> pd.DataFrame:
        """Tabulate the estimates of both models; index (model, parameter)."""
        parts = {e._model.title: e.summary(level) for e in (self.purchases, self.spend)}
        return pd.concat(parts, names=["model"])

    def predict(
        self,
        rfm: pd.DataFrame,
        *,
        horizon: Horizon,
        discount_rate: float = 0.1,
        discounting: Discounting = "continuous",
        margin: Margin = 1.0,
        segment: str | None = None,
        fallback_spend: float | None = None,
        add_new: bool = False,
    ) -> pd.DataFrame:
        """Predict customer lifetime value.

        Parameters
        ----------
        rfm : DataFrame
            Customers, in the model's time unit; they need not have been in the fit, and a
            customer's prediction does not depend on the others.
        horizon : float, str, timedelta or None
            In the model's unit, or such as ``"39W"``, ``"12M"``; None is the whole remaining
            lifetime, where that converges.
        discount_rate : float
            Annual and effective: 0.1 means 10 % a year.
        discounting : {"continuous", "monthly", "none", "lifetimes"}
            See :class:`clvpredict.value.Discount`.
        margin : float, str or mapping
            Share of a purchase's value that is earned: a number, a column, or a mapping from
            the values of the column ``segment``.
        segment : str, optional
            Column of segments for ``margin``; carried into the output.
        fallback_spend : float, optional
            Mean spend of customers for whom the model has none (only when q <= 1).
        add_new : bool
            Append a customer acquired today, with a missing `customer_id`: the value after
            (not including) the first purchase. Needs ``margin`` as a number.

        Returns
        -------
        DataFrame
            `customer_id, frequency, recency, T, monetary_value, p_alive, churn_probability,
            p_purchase, expected_purchases, expected_spend, clv, clv_undiscounted` (and the
            segment column last), in the order of ``rfm``. `p_alive` and `churn_probability`
            (1 − P(alive)) are of the end of observation; the others are of the horizon:
            at least one purchase, number of purchases, mean value of one, discounted and
            undiscounted margin. ``attrs["clvpredict"]`` states models, horizon, discounting,
            margin and data; it survives Parquet.

        Raises
        ------
        DataError, UnitError, OptionError
            For input that cannot be used.
        InfiniteValueError
            If the value asked for diverges.
        """
        discount = Discount(discount_rate, discounting)
        t = self.purchases._periods(horizon)
        check_rfm(rfm, (*PURCHASE_COLUMNS, "monetary_value"))
        share = margins(margin, rfm, segment)
        out = self._frame(rfm, t, discount, share, fallback_spend)
        if segment is not None:
            out[segment] = rfm[segment].to_numpy(copy=True)
        if add_new:
            if not isinstance(share, float):
                raise OptionError(
                    "add_new=True needs margin as one number: a customer acquired today has no "
                    "segment yet. Predict without margin and multiply by the new customer's."
                )
            out = append_new(out, self._frame(NEW_RFM, t, discount, share, fallback_spend))
        out.attrs[PREDICTIONS_KEY] = {
            **self.purchases._metadata(t),
            "spend_model": self.spend._model.name,
            "parameters": self.params_,
            "discount_rate": discount_rate,
            "discount_rate_is": "a year, effective",
            "discount_rate_per_time_unit": discount.delta(self.purchases.time_unit_),
            "discounting": discounting,
            "margin": margin if isinstance(margin, float | int | str) else dict(margin),
        }
        return out

    def _frame(
        self,
        rfm: pd.DataFrame,
        t: float,
        discount: Discount,
        share: Array | float,
        fallback_spend: float | None,
    ) -> pd.DataFrame:
        buying = self.purchases
        who = buying._customers(rfm)
        spend = spend_or_fallback(
            self.spend.expected_spend(rfm).to_numpy(), fallback_spend, self.spend._model.title
        )
        discounted = discounted_total(
            buying._model, buying.result_.theta, who, t, buying.time_unit_, discount
        )
        out = buying._frame(rfm, who, t)
        out.insert(4, "monetary_value", rfm["monetary_value"].to_numpy(copy=True))
        undiscounted = out["expected_purchases"].to_numpy()
        return out.assign(
            expected_spend=spend,
            clv=discounted * spend * share,
            clv_undiscounted=undiscounted * spend * share,
        )

    def simulate(
        self, n: int, T: npt.ArrayLike, seed: int, *, observation_end: str = "2025-01-01"
    ) -> SimulatedBase:
        """Simulate a customer base with amounts; see :meth:`PurchaseEstimator.simulate`."""
        spend = (self.spend._model, self.spend.result_.theta)
        return simulate_from(self.purchases, spend, n, T, seed, observation_end)

    def __repr__(self) -> str:
        return f"CLVModel({self.purchases!r}, {self.spend!r})"
