"""Purchase models as users hold them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Self, Unpack

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict import predict as pr
from clvpredict.errors import DropoutWarning, OptionError, notify
from clvpredict.estimators.answers import Answers
from clvpredict.estimators.base import Estimator, Horizon
from clvpredict.estimators.drawing import (
    BOTH,
    Drawing,
    DrawOptions,
    IntervalKind,
    check_drawing,
    check_interval,
)
from clvpredict.estimators.forecast import Forecast
from clvpredict.estimators.tables import interval_metadata, recalibrated, with_draws
from clvpredict.estimators.terms import Terms
from clvpredict.inference.checks import check_purchases
from clvpredict.models.base import PurchaseModel, SpendModel, Theta
from clvpredict.options import TimeUnit, horizon_periods
from clvpredict.rfm import (
    PREDICTIONS_KEY,
    Array,
    Compressed,
    Histories,
    check_repeat_frequency,
    check_rfm,
    check_unit,
    compress_histories,
    customer_ids,
    summary_metadata,
)
from clvpredict.simulate import (
    SimulatedBase,
    describe_purchases,
    implied_purchases,
    sample_rows,
    simulate_base,
)
from clvpredict.value import Discount, discounted_process

PURCHASE_COLUMNS = ("frequency", "recency", "T")
#: The summary of a customer acquired today.
NEW_RFM = pd.DataFrame([{"frequency": 0, "recency": 0.0, "T": 0.0, "monetary_value": 0.0}])
# Above this share of customers that a model calls alive for certain, say so.
_MANY_CERTAIN = 0.2


class PurchaseEstimator(Estimator, Answers):
    """A fitted purchase model answers the questions below for any customers."""

    _model: ClassVar[PurchaseModel]
    _part = "purchases"
    _drawn = ("expected_purchases", "purchases")

    def _data(self, rfm: pd.DataFrame) -> Compressed:
        columns = _purchase_arrays(rfm)
        check_purchases(columns["frequency"], columns["T"])
        return compress_histories(*(columns[c] for c in PURCHASE_COLUMNS))[0]

    def _rows(self, rfm: pd.DataFrame) -> tuple[Compressed, pd.Series]:
        columns = _purchase_arrays(rfm)
        return Histories.of(*(columns[c] for c in PURCHASE_COLUMNS)), customer_ids(rfm)

    def _customers(self, rfm: pd.DataFrame) -> pr.Customers:
        history = self._history(rfm)
        return pr.Customers.of(history["x"], history["t_x"], history["T"])

    def _periods(self, horizon: Horizon) -> float:
        return np.inf if horizon is None else horizon_periods(horizon, self.time_unit_)

    def p_alive(self, rfm: pd.DataFrame, at: float | str | timedelta = 0) -> pd.Series:
        """P(alive) at ``at`` after the end of observation.

        Parameters
        ----------
        rfm : DataFrame
            Customers, in the model's time unit; they need not have been in the fit.
        at : float, str or timedelta
            How long after T, in the model's unit or such as ``"13W"``.

        Returns
        -------
        Series
            With the index of ``rfm``.
        """
        t = np.asarray(self._periods(at))
        value = self._expect(self._history(rfm), lambda a: self._model.process_survival(a, t))
        return pd.Series(value, index=rfm.index, name="p_alive")

    def p_purchase(self, rfm: pd.DataFrame, horizon: Horizon) -> pd.Series:
        """P(at least one purchase within ``horizon`` after T); index of ``rfm``."""
        return self._within(rfm, horizon, "p_purchase")

    def expected_purchases(self, rfm: pd.DataFrame, horizon: Horizon) -> pd.Series:
        """E[purchases within ``horizon`` after T | history]; index of ``rfm``.

        ``horizon=None`` gives the limit, inf where it diverges.
        """
        return self._within(rfm, horizon, "expected_purchases")

    def _within(self, rfm: pd.DataFrame, horizon: Horizon, name: str) -> pd.Series:
        process = pr.purchase_processes(self._model, self._periods(horizon))[name]
        return pd.Series(self._expect(self._history(rfm), process), index=rfm.index, name=name)

    def _expect(self, history: Mapping[str, Array], process: pr.Process) -> Array:
        """P(alive) times a quantity of alive customers, shape (n,).

        At the estimate; or, of a posterior, averaged over as many draws as ``predict`` takes by
        default.
        """
        result = self.result_
        if result.is_posterior:
            theta = result.draws(Drawing().draws, 0)
            return pr.mean_over_draws(self._model, theta, history, process)
        who = pr.Customers.of(history["x"], history["t_x"], history["T"])
        return pr.if_alive(self._model, result.theta, who, process)

    def expected_purchases_new(self, horizon: Horizon) -> float:
        """E[repeat purchases within ``horizon`` of the first] of a customer not yet known."""
        return float(self.expected_purchases(NEW_RFM, horizon).iloc[0])

    def dert(self, rfm: pd.DataFrame, discount_rate: float) -> pd.Series:
        """Discounted expected residual transactions; index of ``rfm``.

        Parameters
        ----------
        discount_rate : float
            Annual and effective; continuous discounting.

        Raises
        ------
        InfiniteValueError
            If it diverges (only at rate 0).
        """
        history = self._history(rfm)
        discount = Discount(discount_rate, "continuous")
        process = discounted_process(self._model, np.inf, self.time_unit_, discount)
        value = self._expect(history, process)
        if np.isinf(value).any():
            raise pr.diverges(self._model, self.result_.theta)
        return pd.Series(value, index=rfm.index, name="dert")

    def pmf(self, n: npt.ArrayLike, horizon: Horizon) -> pd.Series:
        """P(a new customer makes n repeat purchases within ``horizon`` of the first); by n."""
        return self.pmf_future(NEW_RFM, n, horizon).iloc[0].rename("pmf")

    def pmf_future(self, rfm: pd.DataFrame, n: npt.ArrayLike, horizon: Horizon) -> pd.DataFrame:
        """P(n purchases within ``horizon`` after T | history).

        Returns
        -------
        DataFrame
            Index of ``rfm``, a column per n.
        """
        counts = _counts(n)
        history, t = self._history(rfm), np.asarray(_finite(self._periods(horizon)))

        def probability(n: Array) -> pr.Process:
            return lambda alive: np.exp(self._model.process_log_pmf(alive, t, n))

        columns = {k: self._expect(history, probability(np.asarray(float(k)))) for k in counts}
        if 0 in columns:
            columns[0] += 1.0 - self._expect(history, lambda a: np.ones(np.shape(a[0])))
        return pd.DataFrame(columns, index=rfm.index).rename_axis("n", axis="columns")

    def predict(
        self,
        rfm: pd.DataFrame,
        *,
        horizon: Horizon,
        add_new: bool = False,
        interval: float | None = None,
        intervals: Sequence[IntervalKind] = BOTH,
        **drawing: Unpack[DrawOptions],
    ) -> pd.DataFrame:
        """Predict purchases per customer.

        Parameters
        ----------
        rfm : DataFrame
            Customers, in the model's time unit; they need not have been in the fit.
        horizon : float, str, timedelta or None
            In the model's unit, or such as ``"39W"``, ``"12M"``; None is for ever.
        add_new : bool
            Append a customer acquired today, with a missing `customer_id`.
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
            `customer_id, frequency, recency, T, p_alive, churn_probability, p_purchase,
            expected_purchases`, in the order of ``rfm``; ``attrs["clvpredict"]`` says how.
            With ``interval`` also `p_alive_lower`, `p_alive_upper` and so on (credible), and
            `purchases_pi_lower`, `purchases_pi_upper` (predictive, whole numbers). If the fit
            is a posterior, point predictions are means over its draws; else they are those
            of the estimates.

        Examples
        --------
        >>> import clvpredict as clv
        >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
        >>> table = clv.MBGNBD().fit(rfm).predict(rfm, horizon="52W", interval=0.9)
        >>> [column for column in table if "_pi_" in column]
        ['purchases_pi_lower', 'purchases_pi_upper']
        """
        check_interval(interval, intervals)
        how = check_drawing(drawing)
        t = self._periods(horizon)
        out = self._table(rfm, t, interval, intervals, how)
        self._notice_certain(rfm, out)
        if add_new:
            out = append_new(out, self._table(NEW_RFM, t, interval, intervals, how))
        out.attrs[PREDICTIONS_KEY] = {
            **self._metadata(rfm, t),
            **interval_metadata(interval, intervals, how, posterior=self.result_.is_posterior),
        }
        return out

    def _table(
        self,
        rfm: pd.DataFrame,
        t: float,
        interval: float | None,
        intervals: Sequence[IntervalKind],
        how: Drawing,
    ) -> pd.DataFrame:
        self._check_recalibration(t, how)
        out = self._frame(rfm, self._customers(rfm), t)
        posterior = self.result_.is_posterior
        if interval is not None or posterior:
            forecast = self._forecast(rfm, t, how)
            out = with_draws(out, forecast, interval, intervals, replace=posterior)
        return recalibrated(out, how)

    def _check_recalibration(self, t: float, how: Drawing) -> None:
        if how.recalibration is not None:
            how.recalibration.check(self._model.name, t, self.time_unit_)

    def _forecast(self, rfm: pd.DataFrame, t: float, how: Drawing) -> Forecast:
        self._check_recalibration(t, how)
        return Forecast(self._model, self.result_, self._history(rfm), t, how)

    def _implied(
        self, data: Compressed, theta: Array, seed: int
    ) -> tuple[dict[str, Array], dict[str, float]]:
        customers = sample_rows(data, seed)
        implied = implied_purchases(self._model, theta, customers.columns["T"], seed)
        return implied, describe_purchases(customers.columns["x"])

    def _history(self, rfm: pd.DataFrame) -> dict[str, Array]:
        _ = self.result_  # not fitted? say that before anything about the data
        columns = _purchase_arrays(rfm)
        check_unit(rfm, self.time_unit_)
        return {"x": columns["frequency"], "T": columns["T"], "t_x": columns["recency"]}

    def _forecaster(self, horizon: Horizon, terms: Terms) -> Callable[[pd.DataFrame], Forecast]:
        how, t = check_drawing(terms), self._periods(horizon)
        return lambda rfm: self._forecast(rfm, t, how)

    def _points(self, rfm: pd.DataFrame, horizon: Horizon, terms: Terms) -> pd.DataFrame:
        return self._table(rfm, self._periods(horizon), None, BOTH, check_drawing(terms))

    def _frame(self, rfm: pd.DataFrame, who: pr.Customers, t: float) -> pd.DataFrame:
        model, theta = self._model, self.result_.theta
        alive = pr.p_alive(model, theta, who)
        history = rfm[list(PURCHASE_COLUMNS)].reset_index(drop=True)
        out = pd.DataFrame(history).assign(
            p_alive=alive,
            churn_probability=1.0 - alive,
            **{
                name: pr.if_alive(model, theta, who, process)
                for name, process in pr.purchase_processes(model, t).items()
            },
        )
        out.insert(0, "customer_id", customer_ids(rfm).reset_index(drop=True))
        out.attrs = {}
        return out

    def _notice_certain(self, rfm: pd.DataFrame, out: pd.DataFrame) -> None:
        without = rfm["frequency"].to_numpy() == 0
        certain = float(np.mean(without & (out["p_alive"].to_numpy() == 1.0)))
        if certain > _MANY_CERTAIN:
            notify(
                f"{self._model.title} gives P(alive) = 1 to every customer without a repeat "
                f"purchase: {certain:.0%} of these customers. Use p_purchase as churn score, or "
                "fit MBGNBD(), in which they can have left.",
                DropoutWarning,
            )

    def _metadata(self, rfm: pd.DataFrame, t: float) -> dict[str, Any]:
        return {
            "purchase_model": self._model.name,
            "method": self.result_.method,
            "parameters": self.params_,
            "time_unit": None if self.time_unit_ is None else self.time_unit_.code,
            "horizon": None if np.isinf(t) else t,
            # Of these customers: those of the fit may have been observed until another day.
            "data": summary_metadata(rfm),
            **({"changed": self.changed_} if self.changed_ else {}),
        }

    def changed(self, *, churn: float = 0.0, frequency: float = 0.0) -> Self:
        """Give the same fitted model for customers who change today: a question of what if.

        Parameters
        ----------
        churn : float
            Relative change of every customer's dropout probability: −0.05 is 5 % less. It is a
            probability per purchase, and does not pass 1.
        frequency : float
            Relative change of every customer's purchase rate: 0.1 is 10 % more. In models of
            dropout after purchases, who buys more often is also lost sooner.

        Returns
        -------
        PurchaseEstimator
            It predicts as this one does, but cannot be fitted or saved. The past is as it was,
            and so is P(alive) today.

        Raises
        ------
        OptionError
            For changes of −1 or less, and a change of churn in a model without dropout.

        Notes
        -----
        It is what the model implies, not what would be caused: whoever lowers churn by offers
        may change who stays, and how they buy.

        Examples
        --------
        >>> import clvpredict as clv
        >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
        >>> model = clv.MBGNBD().fit(rfm)
        >>> now = model.expected_purchases(rfm, "52W").sum()
        >>> loyal = model.changed(churn=-0.05).expected_purchases(rfm, "52W").sum()
        >>> round(float(loyal / now - 1.0), 3)
        0.005
        """
        factors = {"rate": factor_of("frequency", frequency), "dropout": factor_of("churn", churn)}
        _ = self.result_
        other = copy.copy(self)
        other._model = self._model.changed(**factors)  # type: ignore[misc]  # of this one alone
        return other

    @property
    def changed_(self) -> dict[str, float]:
        """What a question of what if changes, relatively: `churn`, `frequency`."""
        model = self._model
        factors = {"churn": model.dropout_factor, "frequency": model.rate_factor}
        return {name: factor - 1.0 for name, factor in factors.items() if factor != 1.0}

    def simulate(
        self, n: int, T: npt.ArrayLike, seed: int, *, observation_end: str = "2025-01-01"
    ) -> SimulatedBase:
        """Simulate a customer base: transactions, RFM summary and the truth behind them.

        Parameters
        ----------
        n : int
            Customers.
        T : float or array of shape (n,)
            How long each is observed after the first purchase, in the model's unit (days where
            the model does not know it).
        seed : int
            Equal seeds give equal bases. Draw ``T`` with another seed than this one, or it will
            not be independent of the customers.
        observation_end : str
            Date at which T ends.

        Returns
        -------
        SimulatedBase
            `transactions`, `rfm`, `latent`.
        """
        return simulate_from(self, None, n, T, seed, observation_end)


def simulate_from(
    purchases: PurchaseEstimator,
    spend: tuple[SpendModel, Theta] | None,
    n: int,
    T: npt.ArrayLike,
    seed: int,
    observation_end: str,
) -> SimulatedBase:
    """Simulate from fitted models; days where the unit is not known."""
    return simulate_base(
        (purchases._model, purchases.result_.theta),
        spend,
        n,
        T,
        seed,
        purchases.time_unit_ or TimeUnit.parse("D"),
        observation_end,
    )


def factor_of(name: str, change: float) -> float:
    """What a relative change multiplies with."""
    if not (np.isfinite(change) and change > -1):
        raise OptionError(
            f"{name}={change!r} must be a relative change above -1: -0.05 is 5 % less, 0.1 is "
            "10 % more."
        )
    return 1.0 + change


def append_new(out: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Append the predictions of a new customer, whose id is missing."""
    out = out.assign(customer_id=out["customer_id"].convert_dtypes())
    return pd.concat([out, new.drop(columns="customer_id")], ignore_index=True)


def _purchase_arrays(rfm: pd.DataFrame) -> dict[str, Array]:
    columns = check_rfm(rfm, PURCHASE_COLUMNS)
    check_repeat_frequency(rfm)
    return columns


def _counts(n: npt.ArrayLike) -> npt.NDArray[np.int64]:
    counts = np.atleast_1d(np.asarray(n))
    if counts.ndim != 1 or (counts != np.floor(counts)).any() or (counts < 0).any():
        raise OptionError("n must be whole numbers >= 0, e.g. n=range(10).")
    return counts.astype(np.int64)


def _finite(t: float) -> float:
    if np.isinf(t):
        raise OptionError("the distribution of purchases needs a finite horizon, e.g. '52W'.")
    return t
