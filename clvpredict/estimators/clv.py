"""Customer lifetime value: a purchase model and a spend model together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Self, Unpack

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.errors import OptionError
from clvpredict.estimators.answers import Answers
from clvpredict.estimators.base import Horizon
from clvpredict.estimators.drawing import (
    BOTH,
    Drawing,
    DrawOptions,
    IntervalKind,
    check_drawing,
    check_interval,
)
from clvpredict.estimators.family import BGNBD
from clvpredict.estimators.forecast import Forecast, Money
from clvpredict.estimators.purchases import (
    NEW_RFM,
    PURCHASE_COLUMNS,
    PurchaseEstimator,
    append_new,
    factor_of,
    simulate_from,
)
from clvpredict.estimators.spend import GammaGamma
from clvpredict.estimators.tables import (
    interval_metadata,
    recalibrated,
    top_share,
    with_draws,
)
from clvpredict.estimators.terms import (
    MoneyTerms,
    Terms,
    notice_currency,
    share_out,
    split_terms,
)
from clvpredict.inference.fit import FitOptions, check_options
from clvpredict.options import Discounting, Method
from clvpredict.predict import if_alive
from clvpredict.rfm import PREDICTIONS_KEY, SpendHistories, check_rfm
from clvpredict.simulate import SimulatedBase
from clvpredict.value import (
    Costs,
    Discount,
    Margin,
    Worth,
    discount_factor,
    discounted_process,
    discounted_total,
    margins,
    net_value,
    present_time,
    spend_or_fallback,
    worthless_from,
)

if TYPE_CHECKING:
    import xarray as xr


class CLVModel(Answers):
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

    _drawn = ("clv", "value")

    def __init__(
        self, purchases: PurchaseEstimator | None = None, spend: GammaGamma | None = None
    ) -> None:
        self.purchases = BGNBD() if purchases is None else purchases
        self.spend = GammaGamma() if spend is None else spend
        self._order_value = 1.0

    def fit(
        self,
        rfm: pd.DataFrame,
        *,
        method: Method = "mle",
        time_unit: str | timedelta | None = None,
        **options: Unpack[FitOptions],
    ) -> Self:
        """Fit both models; see :meth:`Estimator.fit`. Returns self.

        ``priors`` and ``start`` may name parameters of either model.
        """
        if self._order_value != 1.0:
            raise OptionError("this model is changed, a question of what if; fit a new CLVModel.")
        check_rfm(rfm, (*PURCHASE_COLUMNS, "monetary_value"))
        check_options(method, options)
        parts = (self.purchases, self.spend)
        shares = share_out(options, [p._model.parameter_names for p in parts])
        # A model that fails leaves the other as it was, too.
        before = [dict(vars(p)) for p in parts]
        try:
            for part, share in zip(parts, shares, strict=True):
                part.fit(rfm, method=method, time_unit=time_unit, **share)
        except BaseException:
            for part, state in zip(parts, before, strict=True):
                vars(part).update(state)
            raise
        return self

    @property
    def idata(self) -> xr.DataTree:
        """The draws of both models in one tree; see :attr:`Estimator.idata`."""
        from clvpredict.inference.idata import to_datatree

        for part in (self.purchases, self.spend):
            part._draws_or_say()
        return to_datatree(
            {p._part: p.result_ for p in (self.purchases, self.spend)},
            {p._part: p._observed for p in (self.purchases, self.spend) if p._observed is not None},
        )

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
        costs: Costs | None = None,
        add_new: bool = False,
        interval: float | None = None,
        intervals: Sequence[IntervalKind] = BOTH,
        **drawing: Unpack[DrawOptions],
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
        costs : Costs, optional
            What customers cost; adds `net_clv`, the margin after costs.
        add_new : bool
            Append a customer acquired today, with a missing `customer_id`: the value after
            (not including) the first purchase. Needs ``margin`` and costs as numbers.
        interval : float, optional
            Level of the intervals to add, e.g. 0.9.
        intervals : sequence of {"credible", "predictive"}
            Credible: of the expectation, which the parameters leave open. Predictive: of what
            the customer will do.
        **drawing
            ``draws`` (500), ``seed`` (0), ``progress``, ``recalibration``: see
            :class:`clvpredict.estimators.drawing.Drawing`.

        Returns
        -------
        DataFrame
            `customer_id, frequency, recency, T, monetary_value, p_alive, churn_probability,
            p_purchase, expected_purchases, expected_spend, clv, clv_undiscounted` (with costs
            `net_clv`; last the columns that ``segment``, ``margin`` and ``costs`` name), in the
            order of ``rfm``. `p_alive` and `churn_probability`
            (1 − P(alive)) are of the end of observation; the others are of the horizon:
            at least one purchase, number of purchases, mean value of one, discounted and
            undiscounted margin. ``attrs["clvpredict"]`` states models, horizon, discounting,
            margin and data; it survives Parquet. With ``interval`` also columns `_lower` and
            `_upper` of `p_alive`, `p_purchase`, `expected_purchases`, `expected_spend` and
            `clv` (credible), and `purchases_pi_lower`, `purchases_pi_upper` (whole numbers),
            `value_pi_lower`, `value_pi_upper` (predictive; value is what `clv` expects:
            margin, discounted), with costs also `net_clv_lower`, `net_clv_upper`,
            `net_value_pi_lower` and `net_value_pi_upper`. If the fit is a posterior, point
            predictions are means over its draws; else they are those of the estimates.

        Raises
        ------
        DataError, UnitError, OptionError
            For input that cannot be used.
        InfiniteValueError
            If the value asked for diverges.
        """
        check_interval(interval, intervals)
        how = check_drawing(drawing)
        t = self.purchases._periods(horizon)
        discount = Discount(discount_rate, discounting)
        terms = MoneyTerms(discount, margin, segment, fallback_spend, costs)
        terms.check(how)
        check_rfm(rfm, (*PURCHASE_COLUMNS, "monetary_value"))
        out = self._table(rfm, t, terms, interval, intervals, how)
        self.purchases._notice_certain(rfm, out)
        notice_currency(rfm, self.spend.data_)
        for column in terms.columns:
            if column not in out:
                out[column] = rfm[column].to_numpy(copy=True)
        if add_new:
            if not terms.alike:
                raise OptionError(
                    "add_new=True needs margin and costs as numbers: a customer acquired today "
                    "has no segment yet. Predict the new customer alone, with its own."
                )
            out = append_new(out, self._table(NEW_RFM, t, terms, interval, intervals, how))
        out.attrs[PREDICTIONS_KEY] = {
            **self.purchases._metadata(rfm, t),
            **({"changed": self.changed_} if self.changed_ else {}),
            "spend_model": self.spend._model.name,
            "parameters": self.params_,
            "discount_rate": discount_rate,
            "discount_rate_is": "a year, effective",
            "discount_rate_per_time_unit": terms.discount.delta(self.purchases.time_unit_),
            "discounting": discounting,
            **terms.record(),
            **interval_metadata(interval, intervals, how, posterior=self._is_posterior),
        }
        return out

    def _table(
        self,
        rfm: pd.DataFrame,
        t: float,
        terms: MoneyTerms,
        interval: float | None,
        intervals: Sequence[IntervalKind],
        how: Drawing,
    ) -> pd.DataFrame:
        self.purchases._check_recalibration(t, how)
        posterior = self._is_posterior
        if interval is None and not posterior:
            return recalibrated(self._frame(rfm, t, terms), how)
        forecast = self._forecast(rfm, t, terms, how)
        out = self._frame(rfm, t, terms)
        out = with_draws(out, forecast, interval, intervals, replace=posterior)
        return recalibrated(out, how)

    @property
    def _is_posterior(self) -> bool:
        return self.purchases.result_.is_posterior or self.spend.result_.is_posterior

    def _forecast(self, rfm: pd.DataFrame, t: float, terms: MoneyTerms, how: Drawing) -> Forecast:
        buying = self.purchases
        buying._check_recalibration(t, how)
        columns = check_rfm(rfm, ("frequency", "monetary_value"))
        share = margins(terms.margin, rfm, terms.segment)
        unit, discount = buying.time_unit_, terms.discount
        costs, served = terms.served(rfm, buying._model, t, buying.time_unit_)
        worth = Worth(
            discount_factor(t, unit, discount),
            worthless_from(t, unit, discount),
            terms.fallback_spend,
            self._order_value,
            present_time(t, unit, discount),
            t,
        )
        discounted = discounted_process(buying._model, t, unit, discount)
        money = Money(self.spend._model, self.spend.result_, discounted, worth, served)
        history = {
            **buying._history(rfm),
            "m": columns["monetary_value"],
            "margin": np.broadcast_to(share, (len(rfm),)),
            **costs,
        }
        return Forecast(buying._model, buying.result_, history, t, how, money)

    def _forecaster(self, horizon: Horizon, terms: Terms) -> Callable[[pd.DataFrame], Forecast]:
        money, how = split_terms(terms)
        t = self.purchases._periods(horizon)
        return lambda rfm: self._forecast(rfm, t, money, how)

    def _points(self, rfm: pd.DataFrame, horizon: Horizon, terms: Terms) -> pd.DataFrame:
        money, how = split_terms(terms)
        return self._table(rfm, self.purchases._periods(horizon), money, None, BOTH, how)

    def top_share(
        self,
        rfm: pd.DataFrame,
        *,
        horizon: Horizon,
        share: float = 0.1,
        interval: float = 0.9,
        **terms: Unpack[Terms],
    ) -> pd.DataFrame:
        """Predict which share of all value the best customers will bring.

        Parameters
        ----------
        rfm : DataFrame
            Customers.
        horizon : float, str, timedelta or None
            As in :meth:`predict`.
        share : float
            Which are the best: this share of the customers, by predicted `clv`. Who they are
            is decided now, as for a campaign, and not by how the draws turn out.
        interval : float
            Level.
        **terms
            As in :meth:`predict_draws`.

        Returns
        -------
        DataFrame
            Index `quantity`: `clv` (expected; credible interval), `value` (realised;
            predictive interval). Columns `share`, `lower`, `upper`.
        """
        check_interval(interval, BOTH)
        forecast = self._forecaster(horizon, terms)
        return top_share(rfm, self._points(rfm, horizon, terms), forecast(rfm), share, interval)

    def _frame(self, rfm: pd.DataFrame, t: float, terms: MoneyTerms) -> pd.DataFrame:
        buying = self.purchases
        share = margins(terms.margin, rfm, terms.segment)
        who = buying._customers(rfm)
        columns = check_rfm(rfm, ("frequency", "monetary_value"))
        history = SpendHistories(
            np.ones(len(rfm)), x=columns["frequency"], m=columns["monetary_value"]
        )
        spend = self._order_value * spend_or_fallback(
            self.spend._model.expected_spend(self.spend.result_.theta, history),
            terms.fallback_spend,
            self.spend._model.title,
        )
        discounted = discounted_total(
            buying._model, buying.result_.theta, who, t, buying.time_unit_, terms.discount
        )
        out = buying._frame(rfm, who, t)
        out.insert(4, "monetary_value", rfm["monetary_value"].to_numpy(copy=True))
        undiscounted = out["expected_purchases"].to_numpy()
        out = out.assign(
            expected_spend=spend,
            clv=discounted * spend * share,
            clv_undiscounted=undiscounted * spend * share,
        )
        costs, served = terms.served(rfm, buying._model, t, buying.time_unit_)
        if served is not None:
            model, theta, unit = buying._model, buying.result_.theta, buying.time_unit_
            spent = float(present_time(t, unit, terms.discount)(np.asarray(t)))
            time = if_alive(model, theta, who, served)
            out["net_clv"] = net_value(
                costs, np.asarray(share), discounted * spend, discounted, time, spent
            )
        return out

    def changed(
        self, *, churn: float = 0.0, frequency: float = 0.0, order_value: float = 0.0
    ) -> CLVModel:
        """Give the same fitted model for customers who change today: a question of what if.

        Parameters
        ----------
        churn, frequency : float
            See :meth:`PurchaseEstimator.changed`.
        order_value : float
            Relative change of every purchase's value: 0.05 is 5 % more.

        Returns
        -------
        CLVModel
            It predicts as this one does, but cannot be fitted or saved.

        Examples
        --------
        >>> import clvpredict as clv
        >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
        >>> model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
        >>> now = model.predict(rfm, horizon="52W")["clv"].sum()
        >>> dearer = model.changed(order_value=0.05).predict(rfm, horizon="52W")["clv"].sum()
        >>> round(float(dearer / now - 1.0), 3)
        0.05
        """
        other = CLVModel(self.purchases.changed(churn=churn, frequency=frequency), self.spend)
        other._order_value = self._order_value * factor_of("order_value", order_value)
        return other

    @property
    def changed_(self) -> dict[str, float]:
        """What a question of what if changes, relatively; empty as fitted."""
        dearer = self._order_value - 1.0
        return {**self.purchases.changed_, **({"order_value": dearer} if dearer else {})}

    def simulate(
        self, n: int, T: npt.ArrayLike, seed: int, *, observation_end: str = "2025-01-01"
    ) -> SimulatedBase:
        """Simulate a customer base with amounts; see :meth:`PurchaseEstimator.simulate`."""
        model, theta = self.spend._model, self.spend.result_.theta
        # What parameters in money are multiplied with, amounts are.
        dearer = tuple(
            v * self._order_value if p.unit == "money" else v
            for p, v in zip(model.parameters, theta, strict=True)
        )
        spend = (model, dearer)
        return simulate_from(self.purchases, spend, n, T, seed, observation_end)

    def __repr__(self) -> str:
        return f"CLVModel({self.purchases!r}, {self.spend!r})"
