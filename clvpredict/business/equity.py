"""What the customer base is worth: those there are, and those a plan will acquire."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.business.asked import as_asked, need_money
from clvpredict.business.newcomers import NEW, first_margin, realised_by_new, resolved
from clvpredict.errors import DataError, OptionError, Problem
from clvpredict.predict import interval_of
from clvpredict.rfm import Array, check_rfm, customer_ids
from clvpredict.value import Discount, margins, per_customer, present_worth

# New customers simulated one by one; the luck of more follows from theirs.
_MOST_SIMULATED = 5_000
# Ages at which what new customers bring in is computed; between them, it is interpolated.
_AGES = 48


def value_against_cac(
    model: Any,
    table: pd.DataFrame,
    cac: float | str | Mapping[Any, float],
    *,
    segment: str | None = None,
    horizon: float | str | timedelta | None = "as predicted",
    **terms: Any,
) -> pd.DataFrame:
    """Hold what each customer is still worth to what it costs to acquire (or to keep) one.

    Parameters
    ----------
    model : CLVModel
        Fitted.
    table : DataFrame
        Predictions, whose horizon and terms are taken; or an RFM summary.
    cac : float, str or mapping
        A number, a column, or a number for each value of the column ``segment``.
    segment : str, optional
        Column of segments, for mappings.
    horizon, **terms
        As in ``predict``; by default as the predictions were made.

    Returns
    -------
    DataFrame
        `customer_id`; `clv` (`net_clv` if there are costs); `cac`; `clv_to_cac` (inf where the
        CAC is 0); `p_value_above_cac`: that what the customer will bring in exceeds the CAC.

    Examples
    --------
    >>> import clvpredict as clv
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
    >>> table = model.predict(rfm, horizon="52W", margin=0.3)
    >>> found = clv.business.value_against_cac(model, table, 10.0)
    >>> bool(found["p_value_above_cac"].between(0, 1).all())
    True
    """
    need_money(model)
    given = {"segment": segment} if segment is not None else {}
    asked = as_asked(model, table, horizon, **terms, **given)
    customers = asked.customers
    paid = np.broadcast_to(
        per_customer("cac", cac, customers, asked.terms.get("segment")), (len(customers),)
    )
    net = asked.terms.get("costs") is not None
    name, of = ("net_clv", "net_value") if net else ("clv", "value")
    worth = model.predict(customers, horizon=asked.horizon, **asked.terms)[name].to_numpy()
    above = model.p_above(customers, paid, horizon=asked.horizon, of=of, **asked.terms)
    ratio = np.divide(worth, paid, out=np.full(len(paid), np.inf), where=paid != 0)
    return pd.DataFrame(
        {
            "customer_id": customer_ids(customers).to_numpy(),
            name: worth,
            "cac": paid,
            "clv_to_cac": ratio,
            "p_value_above_cac": above.to_numpy(),
        }
    )


def residual_value(
    model: Any,
    table: pd.DataFrame,
    *,
    horizon: float | str | timedelta | None = "as predicted",
    **terms: Any,
) -> pd.DataFrame:
    """Compare what customers have brought in and will, with what was to be expected of them.

    At acquisition every customer of an age is expected to bring in the same: E[purchases up to
    T + horizon] · E[spend] · margin. Since then each has shown its own behaviour. Amounts of
    repeat purchases, not discounted, before costs, so that past and future add up.

    Parameters
    ----------
    model, table, horizon, **terms
        As in :func:`value_against_cac`; the horizon is finite.

    Returns
    -------
    DataFrame
        `customer_id`; `realised` (repeat purchases until now); `residual` (expected within the
        horizon: `clv_undiscounted`); `total`, their sum; `at_acquisition`; `surplus`, the total
        minus that.

    Examples
    --------
    >>> import clvpredict as clv
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
    >>> table = model.predict(rfm, horizon="52W", margin=0.3)
    >>> found = clv.business.residual_value(model, table)
    >>> bool(abs(found["surplus"].sum()) < 0.1 * found["at_acquisition"].sum())
    True
    """
    need_money(model)
    asked = as_asked(model, table, horizon, **terms)
    customers = asked.customers
    ahead = np.inf if asked.horizon is None else model.purchases._periods(asked.horizon)
    if np.isinf(ahead):
        raise OptionError("a comparison with the past needs a finite horizon, e.g. horizon='52W'.")
    share = margins(asked.terms.get("margin", 1.0), customers, asked.terms.get("segment"))
    columns = check_rfm(customers, ("frequency", "recency", "T", "monetary_value"))
    realised = columns["frequency"] * columns["monetary_value"] * share
    found = model.predict(customers, horizon=asked.horizon, **asked.terms)
    residual = found["clv_undiscounted"].to_numpy(np.float64)
    # Neither margins nor discounting matter to the mean value of a purchase.
    drawing = {n: asked.terms[n] for n in ("fallback_spend", "draws", "seed") if n in asked.terms}
    spend = model.predict(NEW, horizon=1.0, **drawing)["expected_spend"]
    expected = _of_new(model, columns["T"] + ahead) * float(spend.iloc[0]) * share
    return pd.DataFrame(
        {
            "customer_id": customer_ids(customers).to_numpy(),
            "realised": realised,
            "residual": residual,
            "total": realised + residual,
            "at_acquisition": expected,
            "surplus": realised + residual - expected,
        }
    )


def customer_equity(
    model: Any,
    table: pd.DataFrame,
    *,
    acquisitions: pd.DataFrame | None = None,
    models: Mapping[Any, Any] | None = None,
    horizon: float | str | timedelta | None = "as predicted",
    interval: float = 0.9,
    **terms: Any,
) -> pd.DataFrame:
    """Value the customer base: existing customers and, by a stated plan, new ones.

    Parameters
    ----------
    model : CLVModel
        Fitted.
    table : DataFrame
        Predictions, whose horizon and terms are taken; or an RFM summary.
    acquisitions : DataFrame, optional
        The plan, a row per group of customers: `after` (how long from now they are acquired,
        in the model's unit or such as ``"13W"``), `customers` (how many), and, if there are,
        `cac` (paid for each), `first_purchase` (its value; else what the model expects),
        `margin` (else that of the predictions), `channel`.
    models : mapping, optional
        Fitted models by channel, for new customers of a plan with a column `channel`.
    horizon : float, str, timedelta or None
        All value within it counts, from now; by default that of the predictions.
    interval : float
        Level.
    **terms
        As in ``predict``; by default as the predictions were made. New customers have costs
        only if these are numbers.

    Returns
    -------
    DataFrame
        Index `group`: `existing customers`, the rows of the plan, `total`. `customers`;
        `value`, discounted, after costs and after what is paid for acquisition (`spent`), with
        `value_lower`, `value_upper` (credible) and `value_pi_lower`, `value_pi_upper`
        (predictive). Draws of separate models go together, as if what is true of one were true
        of all, so the total's intervals are rather too wide.

    Raises
    ------
    DataError
        Listing every problem of the plan.

    Examples
    --------
    >>> import clvpredict as clv
    >>> import pandas as pd
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
    >>> table = model.predict(rfm, horizon="104W", margin=0.3)
    >>> plan = pd.DataFrame({"after": ["0W", "26W"], "customers": [500, 500], "cac": 8.0})
    >>> clv.business.customer_equity(model, table, acquisitions=plan).index.tolist()
    ['existing customers', '500 after 0W', '500 after 26W', 'total']
    """
    need_money(model)
    asked = as_asked(model, table, horizon, **terms)
    ahead = np.inf if asked.horizon is None else model.purchases._periods(asked.horizon)
    plan = [] if acquisitions is None else _checked_plan(acquisitions, models, model, ahead)
    name, of = ("net_clv", "net_value") if asked.terms.get("costs") else ("clv", "value")
    found = model.predict_draws(
        asked.customers,
        horizon=asked.horizon,
        sum_by=True,
        quantities=[name, of],
        **asked.terms,
    )
    point = float(model.predict(asked.customers, horizon=asked.horizon, **asked.terms)[name].sum())
    lines = [_Line("existing customers", len(asked.customers), 0.0, point, *_two(found, name, of))]
    lines += [_planned(row, i, asked.terms, ahead) for i, row in enumerate(plan, start=1)]
    lines.append(_Line.total(lines))
    out = pd.DataFrame([line.row(interval) for line in lines]).set_index("group")
    out.attrs = {"interval": interval, "of": name}
    return out


class _Line:
    """Value of some customers: at a point, expected and realised under draws."""

    def __init__(
        self, name: str, customers: int, spent: float, point: float, mean: Array, real: Array
    ) -> None:
        self.name, self.customers, self.spent = name, customers, spent
        self.point, self.mean, self.real = point, mean, real

    @classmethod
    def total(cls, lines: list[_Line]) -> _Line:
        # A fit may have fewer draws than another one.
        size = min(len(line.mean) for line in lines)
        return cls(
            "total",
            sum(line.customers for line in lines),
            sum(line.spent for line in lines),
            sum(line.point for line in lines),
            np.sum([line.mean[:size] for line in lines], axis=0),
            np.sum([line.real[:size] for line in lines], axis=0),
        )

    def row(self, level: float) -> dict[str, Any]:
        out: dict[str, Any] = {"group": self.name, "customers": self.customers}
        out |= {"spent": self.spent, "value": self.point}
        for prefix, draws in (("value", self.mean), ("value_pi", self.real)):
            lower, upper = interval_of(draws[None], level)
            out |= {f"{prefix}_lower": float(lower[0]), f"{prefix}_upper": float(upper[0])}
        return out


def _planned(row: Mapping[str, Any], number: int, terms: Mapping[str, Any], ahead: float) -> _Line:
    """New customers, from when they are acquired up to the horizon."""
    model, count, after = row["model"], row["customers"], row["at"]
    own = _without_columns(
        dict(terms) | ({} if row["margin"] is None else {"margin": row["margin"]})
    )
    buying = model.purchases
    discount = Discount(own.get("discount_rate", 0.1), own.get("discounting", "continuous"))
    worth = present_worth(after, buying.time_unit_, discount)
    name = "net_clv" if own.get("costs") else "clv"
    left = None if np.isinf(ahead) else ahead - after
    costs, given = resolved(own.get("costs"), model), row["first_purchase"]
    first, drawn_first = first_margin(model, own, given, costs)
    one = first + float(model.predict(NEW, horizon=left, **own)[name].iloc[0])
    drawn = model.predict_draws(NEW, horizon=left, quantities=[name], **own)
    mean = drawn_first + drawn[name].to_numpy()[:, 0]
    some = min(count, _MOST_SIMULATED)
    t = np.inf if left is None else left
    real = realised_by_new(model, t, own, given, costs, alike=some, luck=number)
    # The luck of many customers is near normal: from that of some to that of all of them.
    luck = np.sqrt(count / some) * (real.sum(axis=1) - some * mean)
    value = count * worth
    means = value * (mean - row["cac"])
    point = value * (one - row["cac"])
    return _Line(row["name"], count, value * row["cac"], point, means, means + worth * luck)


def _checked_plan(
    plan: pd.DataFrame, models: Mapping[Any, Any] | None, model: Any, ahead: float
) -> list[dict[str, Any]]:
    """The rows of a plan.

    Raises
    ------
    DataError
        Listing all that is wrong.
    """
    known = ("after", "customers", "cac", "first_purchase", "margin", "channel")
    problems = [
        Problem(f"column '{c}' is missing", f"plan['{c}'] = ...")
        for c in known[:2]
        if c not in plan.columns
    ]
    problems += [
        Problem(f"column '{c}' is not known", f"a plan has {', '.join(known)}")
        for c in plan.columns
        if c not in known
    ]
    rows = []
    for i, line in enumerate(plan.to_dict("records") if not problems else []):
        row: dict[str, Any] = {"name": f"{line['customers']} after {line['after']}", "model": model}
        if "channel" in line:
            row["name"] += f", {line['channel']}"
            if models is not None and line["channel"] not in models:
                have = ", ".join(map(repr, models))
                problems.append(Problem(f"row {i}: no model of {line['channel']!r}", f"of {have}"))
                continue
            row["model"] = model if models is None else models[line["channel"]]
        try:
            row["at"] = float(row["model"].purchases._periods(line["after"]))
        except ValueError as wrong:
            problems.append(Problem(f"row {i}: after={line['after']!r}: {wrong}", "e.g. '13W'"))
            continue
        if row["at"] >= ahead:
            problems.append(
                Problem(
                    f"row {i}: after={line['after']!r} is not before the horizon",
                    "give it an earlier one, or a longer horizon",
                )
            )
        count = line["customers"]
        if not _is_number(count) or count < 1 or count != int(count):
            problems.append(
                Problem(f"row {i}: customers={count!r} is no whole number >= 1", "e.g. 500")
            )
            continue
        row["customers"] = int(count)
        for what, default in (("cac", 0.0), ("first_purchase", None), ("margin", None)):
            value = line.get(what, default)
            if what != "cac" and pd.isna(value):
                value = default  # as the model expects, or as predicted
            if value is not None and (not _is_number(value) or not np.isfinite(value) or value < 0):
                problems.append(Problem(f"row {i}: {what}={value!r}", "a finite number >= 0"))
            row[what] = value
        rows.append(row)
    if problems:
        raise DataError("acquisition plan", problems)
    return rows


def _of_new(model: Any, age: Array) -> Array:
    """Expected repeat purchases of a customer up to each age: smooth, so computed at some."""
    nodes = np.unique(np.concatenate([age.min() + np.ptp(age) * _chebyshev(_AGES)]))
    values = np.array([model.purchases.expected_purchases_new(float(t)) for t in nodes])
    if len(nodes) == 1:
        return np.full(len(age), values[0])
    from scipy.interpolate import PchipInterpolator

    return np.asarray(PchipInterpolator(nodes, values)(age), np.float64)


def _chebyshev(n: int) -> npt.NDArray[np.float64]:
    return 0.5 - 0.5 * np.cos(np.pi * np.arange(n) / (n - 1))


def _two(found: Any, mean: str, real: str) -> tuple[Array, Array]:
    return found[mean].to_numpy(), found[real].to_numpy()


def _without_columns(terms: Mapping[str, Any]) -> dict[str, Any]:
    """The terms of a new customer, who has no columns and no segment.

    Raises
    ------
    OptionError
        If they differ between customers.
    """
    own = {n: v for n, v in terms.items() if n != "segment"}
    costs = own.get("costs")
    values = {"margin": own.get("margin", 1.0), **(costs.given if costs is not None else {})}
    differ = [name for name, value in values.items() if isinstance(value, str | Mapping)]
    if differ:
        raise OptionError(
            f"{', '.join(differ)} differ between customers, and a new one has no columns: give "
            "the plan a column margin, or predict with numbers."
        )
    return own


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
