"""Questions that draws answer, of purchase models and of CLVModel alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.estimators.base import Horizon
from clvpredict.estimators.drawing import BOTH, check_interval
from clvpredict.estimators.forecast import Forecast
from clvpredict.estimators.tables import above, draws_of, periods_of, scores_of, totals
from clvpredict.estimators.terms import Terms
from clvpredict.predict import Scores
from clvpredict.rfm import Array, provenance_of

if TYPE_CHECKING:
    import xarray as xr


class Answers:
    """Draws, sums of draws, and shares of draws above a threshold."""

    #: What `predict_draws` gives by default: an expectation, and what is realised of it.
    _drawn: ClassVar[tuple[str, str]]

    def _forecaster(self, horizon: Horizon, terms: Terms) -> Callable[[pd.DataFrame], Forecast]:
        """Check the terms; give forecasts of customers."""
        raise NotImplementedError

    def _points(self, rfm: pd.DataFrame, horizon: Horizon, terms: Terms) -> pd.DataFrame:
        """Point predictions."""
        raise NotImplementedError

    def predict_draws(
        self,
        rfm: pd.DataFrame,
        *,
        horizon: Horizon,
        quantities: Sequence[str] | None = None,
        customers: Sequence[Any] | None = None,
        sum_by: str | bool = False,
        **terms: Unpack[Terms],
    ) -> xr.Dataset:
        """Give draws of predictions: of chosen customers, or of sums over groups.

        Parameters
        ----------
        rfm : DataFrame
            Customers.
        horizon : float, str, timedelta or None
            As in ``predict``.
        quantities : sequence of str, optional
            Expectations under each draw of the parameters: `p_alive`, `p_purchase`,
            `expected_purchases` and, of CLVModel, `expected_spend`, `clv`,
            `clv_undiscounted`. What a customer does under it: `purchases` and, of CLVModel,
            `value` (which is what `clv` expects). By default `expected_purchases` and
            `purchases`, or `clv` and `value`.
        customers : sequence, optional
            Their ids; all by default.
        sum_by : str or bool
            A column: sums over the customers of each value of it. True: over all. Sums are
            made within a draw, so that their intervals are right, as adding the ends of
            customers' intervals is not.
        **terms
            ``draws``, ``seed``, ``progress`` and, of CLVModel, ``discount_rate``,
            ``discounting``, ``margin``, ``segment``, ``fallback_spend``, as in ``predict``.

        Returns
        -------
        xarray.Dataset
            Dimensions `draw` and `customer_id`, or `draw` and the column, or `draw`.
            ``attrs["currency"]`` is that of the summary, if it has one.

        Raises
        ------
        OptionError
            For quantities, customers or columns that are not there, and for more draws than
            can be held.

        Examples
        --------
        >>> import clvpredict as clv
        >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
        >>> model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
        >>> draws = model.predict_draws(rfm, horizon="52W", customers=[4, 18], draws=200)
        >>> dict(draws.sizes)
        {'draw': 200, 'customer_id': 2}
        >>> total = model.purchases.predict_draws(rfm, horizon="52W", sum_by=True)
        >>> total["purchases"].quantile([0.05, 0.95]).round(-2).values.tolist()
        [1800.0, 2100.0]
        """
        forecast = self._forecaster(horizon, terms)
        found = draws_of(rfm, forecast, quantities or self._drawn, customers, sum_by)
        known = provenance_of(rfm)
        if known is not None and known.currency:
            found.attrs["currency"] = known.currency
        return found

    def score(
        self,
        rfm: pd.DataFrame,
        observed: npt.ArrayLike,
        *,
        horizon: Horizon,
        of: str | None = None,
        levels: Sequence[float] = (0.5, 0.8, 0.9, 0.95),
        **terms: Unpack[Terms],
    ) -> Scores:
        """Hold what customers did to the distributions that were predicted for them.

        Parameters
        ----------
        rfm : DataFrame
            Customers.
        observed : array, shape (n,)
            What each did within the horizon.
        horizon : float, str or timedelta
            As in ``predict``; finite.
        of : {"purchases", "value"}, optional
            By default `value`, or `purchases` of a purchase model. Purchases are scored by
            their exact distribution, value by draws.
        levels : sequence of float
            Of equal-tailed predictive intervals.
        **terms
            As in :meth:`predict_draws`.

        Returns
        -------
        Scores
            Per customer: CRPS, log score, the ends of the randomised PIT, intervals; see
            :class:`clvpredict.predict.Scores`. :func:`clvpredict.evaluate.evaluate_holdout`
            makes tables of it.

        Raises
        ------
        OptionError
            For quantities that are not realised, and numbers that cannot have been observed.

        Examples
        --------
        >>> import clvpredict as clv
        >>> split = clv.calibration_holdout(
        ...     clv.load_cdnow(), calibration_end="1997-09-30", time_unit="W"
        ... )
        >>> model = clv.MBGNBD().fit(split)
        >>> scores = model.score(split, split["frequency_holdout"], horizon="39W")
        >>> round(float(scores.crps.mean()), 4)
        0.51
        """
        forecast = self._forecaster(horizon, terms)(rfm)
        return scores_of(rfm, forecast, of or self._drawn[1], observed, levels)

    def pit_distances(
        self,
        rfm: pd.DataFrame,
        *,
        horizon: Horizon,
        of: str | None = None,
        **terms: Unpack[Terms],
    ) -> Array:
        """How far from uniform the PIT would be if the forecast were right, shape (draws,).

        The null distribution of the Kolmogorov-Smirnov distance: outcomes of all customers are
        drawn from the forecast, parameters first; see
        :meth:`clvpredict.evaluate.HoldoutEvaluation.pit`.
        """
        return self._forecaster(horizon, terms)(rfm).pit_distances(of or self._drawn[1])

    def p_above(
        self,
        rfm: pd.DataFrame,
        threshold: float | str | npt.ArrayLike,
        *,
        horizon: Horizon,
        of: str | None = None,
        **terms: Unpack[Terms],
    ) -> pd.Series:
        """P(quantity > threshold) of each customer; index of ``rfm``.

        Parameters
        ----------
        rfm : DataFrame
            Customers.
        threshold : float, str or array
            Such as the cost of acquiring (or keeping) a customer: a number, a column of
            ``rfm``, or a number per customer.
        horizon : float, str, timedelta or None
            As in ``predict``.
        of : str, optional
            A quantity of :meth:`predict_draws`. By default what the customer will do: `value`,
            or `purchases` of a purchase model. `clv` and `expected_purchases` ask about the
            expectation, which the parameters leave open.
        **terms
            As in :meth:`predict_draws`.

        Examples
        --------
        >>> import clvpredict as clv
        >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
        >>> model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
        >>> pays = model.p_above(rfm, 20.0, horizon="52W", margin=0.3)
        >>> float(pays.mean().round(1))
        0.1
        """
        forecast = self._forecaster(horizon, terms)(rfm)
        return above(rfm, forecast, of or self._drawn[1], threshold)

    def predict_totals(
        self,
        rfm: pd.DataFrame,
        *,
        horizon: Horizon,
        by: str | None = None,
        interval: float = 0.9,
        **terms: Unpack[Terms],
    ) -> pd.DataFrame:
        """Predict sums over customers, with intervals that are right for sums.

        Parameters
        ----------
        rfm : DataFrame
            Customers.
        horizon : float, str, timedelta or None
            As in ``predict``.
        by : str, optional
            A column: one row per value of it. By default one row, ``"all"``.
        interval : float
            Level.
        **terms
            As in :meth:`predict_draws`.

        Returns
        -------
        DataFrame
            Index: the groups. `customers`; `expected_purchases` (and `clv`) with `_lower` and
            `_upper` (credible); `purchases_pi_lower`, `purchases_pi_upper` (and
            `value_pi_lower`, `value_pi_upper`; predictive).

        Examples
        --------
        >>> import clvpredict as clv
        >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
        >>> total = clv.MBGNBD().fit(rfm).predict_totals(rfm, horizon="52W")
        >>> total["customers"].to_dict()
        {'all': 2357}
        """
        check_interval(interval, BOTH)
        forecast = self._forecaster(horizon, terms)
        return totals(rfm, self._points(rfm, horizon, terms), forecast(rfm), by, interval)

    def predict_periods(
        self,
        rfm: pd.DataFrame,
        *,
        ends: Sequence[float | str | timedelta],
        by: str | None = None,
        **terms: Unpack[Terms],
    ) -> xr.Dataset:
        """Simulate what groups of customers do, period by period.

        Parameters
        ----------
        rfm : DataFrame
            Customers.
        ends : sequence of float, str or timedelta
            Where the periods end, ascending, after the end of observation, such as
            ``["4W", "8W", "12W"]``; the first begins there.
        by : str, optional
            A column of groups. By default one group, ``"all"``.
        **terms
            As in :meth:`predict_draws`.

        Returns
        -------
        xarray.Dataset
            Dimensions `draw`, the column (or `group`) and `period`, whose coordinate is its end
            in the model's unit. `purchases`; `active`, the customers who buy in the period; of
            CLVModel also `value`, what the purchases are worth by the terms. All within a draw,
            so sums over groups and periods have the right intervals.

        Raises
        ------
        OptionError
            For ends that do not ascend, and columns that are not there.

        Examples
        --------
        >>> import clvpredict as clv
        >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
        >>> model = clv.MBGNBD().fit(rfm)
        >>> quarters = model.predict_periods(rfm, ends=["13W", "26W", "39W", "52W"], draws=200)
        >>> falling = quarters["purchases"].mean("draw").values[0]
        >>> bool(falling[0] > falling[-1])
        True
        """
        buying: Any = getattr(self, "purchases", self)
        times = np.array([buying._periods(end) for end in ends], np.float64)
        return periods_of(rfm, lambda t: self._forecaster(t, terms)(rfm), times, by)
