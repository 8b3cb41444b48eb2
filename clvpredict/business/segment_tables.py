"""What each segment is worth, and what its customers will do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from clvpredict.business.asked import has_money
from clvpredict.business.facts import currency_of, unit_of
from clvpredict.business.grouped import Grouped, check_level
from clvpredict.business.segments import SEGMENTS_KEY
from clvpredict.business.signals import coverage_of
from clvpredict.errors import OptionError
from clvpredict.options import DAYS_PER_YEAR
from clvpredict.predict import interval_of
from clvpredict.rfm import PREDICTIONS_KEY, Array, require_column

#: A number for all, a column, or a mapping from segment to number.
PerCustomer = float | str | Mapping[Any, float]
_Columns = dict[str, Any]
_REALISED = {"clv": "value", "net_clv": "net_value"}


def segment_table(
    model: Any,
    predictions: pd.DataFrame,
    by: str = "segment",
    *,
    interval: float | None = 0.9,
    predictive: bool = True,
    cac: PerCustomer | None = None,
    marketing_cost: PerCustomer | None = None,
    cross_sell: str | None = None,
    up_sell: str | None = None,
    signals: Sequence[str] = (),
    total: str = "Total",
    **drawing: Any,
) -> pd.DataFrame:
    """Tabulate what segments are worth, how loyal they are and how often they buy.

    Everything is of the horizon, discounting, margin and costs that the predictions were made
    with. For others, predict again.

    Parameters
    ----------
    model : CLVModel or purchase model
        The fitted model that made the predictions. A purchase model gives the table without
        money.
    predictions : DataFrame
        From :func:`segment_customers`, or any predictions with a column ``by``.
    by : str
        The column of segments.
    interval : float or None
        Level. None: no intervals, which spares the draws.
    predictive : bool
        Also intervals of what customers will do, for which each one's future is simulated; most
        of the time goes there.
    cac : float, str or mapping, optional
        Cost of acquiring a customer: a number, a column, or a mapping from segment to number.
    marketing_cost : float, str or mapping, optional
        Spent per customer, likewise. It is shown, and subtracted from nothing; what should lower
        the value goes into ``predict(..., costs=Costs(...))``.
    cross_sell, up_sell : str, optional
        Columns that say which customers bought from a second category, or a dearer version:
        True or False, or a share from 0 to 1. Missing ones are left out of the rate, and
        counted.
    signals : sequence of str
        Columns of numbers to give the means of, such as :func:`join_signals` adds.
    total : str
        Name of the last row, which is of all customers.
    **drawing
        ``draws`` (500), ``seed`` (0), ``progress``, as in ``predict``.

    Returns
    -------
    DataFrame
        A row per segment, in their order (those without customers too: sums 0, means missing),
        and one of all. Of a quantity, `_lower` and `_upper` are the credible interval (of the
        expectation, which the parameters leave open) and `_pi_lower`, `_pi_upper` the predictive
        one (of what customers will do); sums are made within each draw. Columns:

        - `segment, customers, share_of_customers`;
        - `clv` (mean per customer), `clv_total`, `share_of_value` (of all CLV), each with
          `_lower, _upper`; `value_total_pi_lower, value_total_pi_upper`. If the predictions have
          costs, also `net_clv, net_clv_total` and `net_value_total_pi_…`;
        - `p_alive` (mean; with `_lower, _upper`) and `churn_probability` (1 − P(alive)), both of
          now; `retention`, the expected share of all its customers who are alive at the end of
          the horizon, and `retention_if_alive`, of those alive now (missing where the horizon is
          infinite); `p_purchase` (mean);
        - `expected_purchases` (mean) and `expected_purchases_total` with `_lower, _upper`,
          `purchases_total_pi_lower, purchases_total_pi_upper`; `purchase_frequency`, expected
          purchases per customer and year (missing where the horizon is infinite or the time unit
          unknown); `mean_order_value`, expected value of a purchase (Σ purchases × spend /
          Σ purchases);
        - where given: `cac, cac_total`, `clv_per_cac` with `_lower, _upper` (with costs
          `net_clv_per_cac`), `marketing_cost, marketing_cost_total`, `cross_sell_rate,
          cross_sell_coverage`, `up_sell_rate, up_sell_coverage`, and `_mean, _coverage` of
          signals (share of customers with a value).

        `clv_total` adds up to ``predictions["clv"].sum()``. ``attrs`` says horizon, currency,
        level, rule, and how the predictions were made.

    Raises
    ------
    OptionError
        If the predictions are of another model, or lost how they were made, and for options
        that do not fit the table.
    DataError
        If customers have no segment.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.business import segment_customers, segment_table
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
    >>> customers = segment_customers(model.predict(rfm, horizon="52W", margin=0.3))
    >>> table = segment_table(model, customers, cac=2.0, draws=50)
    >>> table["segment"].tolist()
    ['Top 20 %', 'Next 30 %', 'Last 50 %', 'Total']
    >>> bool(round(table["clv_total"].iloc[-1] - customers["clv"].sum(), 2) == 0)
    True
    """
    if interval is not None:
        check_level(interval)
    group = Grouped.of(model, predictions, by, drawing)
    if total in group.labels:
        raise OptionError(f"total={total!r} is a segment; give total='All customers'.")
    money = ["clv", "net_clv"] if "net_clv" in predictions.columns else ["clv"]
    money = money if has_money(model) else []
    signals = [signals] if isinstance(signals, str) else signals
    # What may be refused comes before what takes time.
    given = {"cac": cac, "marketing_cost": marketing_cost}
    costs = {n: group.per_customer(n, v) for n, v in given.items() if v is not None}
    known = {f"{c}_mean": coverage_of(group.asked.customers, c) for c in signals}
    for name, column in (("cross_sell", cross_sell), ("up_sell", up_sell)):
        if column is not None:
            known[f"{name}_rate"] = _yes_or_no(group.asked.customers, name, column)
    drawn: dict[str, Array] = {}
    if interval is not None:
        realised = ["purchases", *(_REALISED[name] for name in money)] if predictive else []
        found = group.drawn(["p_alive", "expected_purchases", *money, *realised])
        drawn = {name: _and_all(values) for name, values in found.items()}
    build = _Build(group, drawn, interval)
    n = build.customers
    out: _Columns = {
        "segment": [*group.labels, total],
        "customers": n,
        "share_of_customers": n / n[-1],
    }
    for name in money:
        out |= build.value(name)
    if money:
        out |= build.share("clv")
    out |= build.loyalty() | build.purchases(bool(money))
    for name, values in costs.items():
        out |= build.cost(name, values, money if name == "cac" else [])
    for name in sorted(known, key=lambda c: c.endswith("_mean")):
        out |= build.known(name, *known[name])
    table = pd.DataFrame(out)
    table.attrs.update(_said(predictions, by, interval, total))
    return table


def _and_all[D: np.generic](values: npt.NDArray[D]) -> npt.NDArray[D]:
    """Segments, and below them all; shape (segments + 1, …)."""
    return np.concatenate([values, values.sum(axis=0)[None]])


def _ratio(top: Array, bottom: npt.NDArray[Any]) -> Array:
    """Missing where there is nothing to divide by."""
    bottom = np.broadcast_to(bottom, np.broadcast_shapes(top.shape, bottom.shape))
    out = np.full(bottom.shape, np.nan)
    with np.errstate(invalid="ignore"):  # purchases of a whole lifetime may be infinite
        np.divide(top, bottom, out=out, where=bottom > 0)
    return out


class _Build:
    """The columns of the table, each of shape (segments + 1,)."""

    def __init__(self, group: Grouped, drawn: dict[str, Array], level: float | None) -> None:
        self._group, self._drawn, self._level = group, drawn, level
        self.customers = _and_all(group.customers)

    def _sum(self, name: str) -> Array:
        return _and_all(self._group.total(self._group.column(name)))

    def _ends(self, column: str, values: Array | None, kind: str = "") -> _Columns:
        if values is None or self._level is None:
            return {}
        low, high = interval_of(values, self._level)
        return {f"{column}{kind}_lower": low, f"{column}{kind}_upper": high}

    def _mean(self, name: str) -> _Columns:
        drawn = self._drawn.get(name)
        per = None if drawn is None else _ratio(drawn, self.customers[:, None])
        return {name: _ratio(self._sum(name), self.customers), **self._ends(name, per)}

    def _total(self, name: str, realised: str) -> _Columns:
        return {
            f"{name}_total": self._sum(name),
            **self._ends(f"{name}_total", self._drawn.get(name)),
            **self._ends(f"{realised}_total", self._drawn.get(realised), "_pi"),
        }

    def value(self, name: str) -> _Columns:
        return self._mean(name) | self._total(name, _REALISED[name])

    def share(self, name: str) -> _Columns:
        of_all = self._sum(name)
        drawn = self._drawn.get(name)
        parts = None if drawn is None else _ratio(drawn, drawn[-1:])
        column = "share_of_value"
        return {column: _ratio(of_all, of_all[-1:]), **self._ends(column, parts)}

    def loyalty(self) -> _Columns:
        out = self._mean("p_alive")
        out["churn_probability"] = 1.0 - out["p_alive"]
        asked = self._group.asked
        kept = np.full(len(self.customers), np.nan)
        if asked.horizon is not None:
            buying = getattr(self._group.model, "purchases", self._group.model)
            later = buying.p_alive(asked.customers, at=asked.horizon).to_numpy()
            kept = _and_all(self._group.total(later))
        out["retention"] = _ratio(kept, self.customers)
        out["retention_if_alive"] = _ratio(kept, self._sum("p_alive"))
        out["p_purchase"] = _ratio(self._sum("p_purchase"), self.customers)
        return out

    def purchases(self, money: bool) -> _Columns:
        name = "expected_purchases"
        out = self._mean(name)
        out |= {f"{name}_total": self._sum(name)}
        out |= self._ends(f"{name}_total", self._drawn.get(name))
        out |= self._ends("purchases_total", self._drawn.get("purchases"), "_pi")
        out["purchase_frequency"] = out[name] / self._years()
        if money:
            bought = self._group.column(name) * self._group.column("expected_spend")
            worth = _and_all(self._group.total(bought))
            out["mean_order_value"] = _ratio(worth, self._sum(name))
        return out

    def _years(self) -> float:
        unit, horizon = unit_of(self._group.asked.customers), self._group.asked.horizon
        if unit is None or horizon is None:
            return float("nan")
        years = unit.periods(horizon) * unit.days / DAYS_PER_YEAR
        return years or float("nan")

    def cost(self, name: str, values: Array, money: list[str]) -> _Columns:
        spent = _and_all(self._group.total(values))
        out: _Columns = {name: _ratio(spent, self.customers), f"{name}_total": spent}
        for value in money:
            column, drawn = f"{value}_per_{name}", self._drawn.get(value)
            per = None if drawn is None else _ratio(drawn, spent[:, None])
            out |= {column: _ratio(self._sum(value), spent), **self._ends(column, per)}
        return out

    def known(self, name: str, values: Array, known: npt.NDArray[np.bool_]) -> _Columns:
        having = _and_all(self._group.total(known.astype(np.float64)))
        total = _and_all(self._group.total(np.where(known, values, 0.0)))
        coverage = name.removesuffix("_mean").removesuffix("_rate")
        return {
            name: _ratio(total, having),
            f"{coverage}_coverage": _ratio(having, self.customers),
        }


def _yes_or_no(
    customers: pd.DataFrame, name: str, column: str
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """A column of shares, and who has one."""
    values = require_column(customers, column, name)
    came = str(values.dtype)
    if types.is_numeric_dtype(values.dtype):
        found, known = coverage_of(customers, column)
        if not known.any() or (found[known].min() >= 0 and found[known].max() <= 1):
            return found, known
        came = f"{found[known].min():g} to {found[known].max():g}"
    raise OptionError(
        f"{name} must be True or False, or a share from 0 to 1, of each customer, and '{column}' "
        f"is {came}. Make it one, such as table['{name}'] = table['categories'] > 1."
    )


def _said(predictions: pd.DataFrame, by: str, interval: float | None, total: str) -> dict[str, Any]:
    unit, said = unit_of(predictions), dict(predictions.attrs.get(PREDICTIONS_KEY) or {})
    rules = predictions.attrs.get(SEGMENTS_KEY) or {}
    return {
        "by": by,
        "rule": rules.get(by),
        "total": total,
        "interval": interval,
        "horizon": said.get("horizon"),
        "time_unit": None if unit is None else unit.label,
        "currency": currency_of(predictions),
        "purchase_frequency_is": "expected purchases per customer and year",
        "predictions": said,
    }
