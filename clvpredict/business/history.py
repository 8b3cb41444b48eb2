"""What customers have bought: metrics of calendar periods, and realised value per customer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.business.asked import has_money
from clvpredict.business.formulas import periods_worth
from clvpredict.errors import OptionError
from clvpredict.options import DAYS_PER_YEAR
from clvpredict.transactions.calendar import Calendar, LogOptions, read_options
from clvpredict.value import known_unit

if TYPE_CHECKING:
    from clvpredict.rfm import RFMSummary
    from clvpredict.transactions.activity import Log
    from clvpredict.transactions.calendar import Window

#: Name of the row of all periods together.
ALL = "all"
_DAYS = {"D": 1.0, "W": 7.0, "M": DAYS_PER_YEAR / 12, "Q": DAYS_PER_YEAR / 4, "Y": DAYS_PER_YEAR}


def business_metrics(
    transactions: object,
    period: str = "Y",
    *,
    margin: float = 1.0,
    model: Any = None,
    horizon: float | str | timedelta = "1Y",
    **log: Unpack[LogOptions],
) -> pd.DataFrame:
    """Tabulate what a business reports of its customers, period by period and in all.

    Parameters
    ----------
    transactions : frame, pyarrow table, path, or Ibis table
        As in :func:`clvpredict.rfm_summary`; purchases are those that it counts.
    period : {"D", "W", "M", "Q", "Y"}
        Calendar days, weeks (from Monday), months, quarters or years.
    margin : float
        Share of the amounts that is earned. For margins that differ between rows, give the
        column of margins in money as ``amount=``, and leave this at 1.
    model : CLVModel, optional
        A fitted one: its answer stands beside the textbook's in the last row.
    horizon : float, str or timedelta
        Of the model's answer, and of the textbook's beside it.
    **log
        ``customer_id, date, amount, observation_end, observation_start, collapse, returns,
        timezone, currency, strict``, as in :func:`clvpredict.purchase_history`.

    Returns
    -------
    DataFrame
        A row per period, and one that is called "all" (leave it out of sums):

        - `period` (text), `start`, `end` (days), `complete`: whether all of it was observed. The
          first one is complete if it begins with a transaction, or with `observation_start`;
        - `customers` who bought, `new_customers` for the first time, `orders`, `revenue`,
          `gross_margin` (margin × revenue), `average_order_value` (revenue / orders),
          `purchase_frequency` (orders per customer who bought);
        - `repeat_rate`: share of these customers with two orders or more in the period;
        - `retention`: share of the customers of the period before who bought in this one;
          `churn` = 1 − retention;
        - `lifespan` = 1 / churn, in periods; `observed_lifespan`: mean time from a customer's
          first to last purchase, in periods ("all" only);
        - `simple_clv` = average_order_value × purchase_frequency × lifespan × margin, see
          :func:`simple_clv`.

        Without amounts, nothing of money. In "all", `purchase_frequency`, `retention` and what
        follows from them are of complete periods (of pairs of them), each customer and period
        counted once; `repeat_rate` is of all customers ever. What cannot be said is missing:
        without two complete periods after each other there is no retention.

        With a model, "all" also answers one question in two ways: what does a new customer
        bring within the horizon, the first order included, nothing discounted?
        `simple_clv_within_horizon` is the textbook's series, broken off there (see
        :func:`simple_clv`); `model_new_customer` is margin × expected order value plus what the
        model expects after it. `model_current_customer` is another number: the mean future
        value of the customers there are, of whom many are gone.

    Raises
    ------
    DataError
        Listing every problem of the transactions at once.
    OptionError
        If another argument has a value that is not allowed.

    Notes
    -----
    The textbook takes churn from who came back in the next period, among those who happened to
    buy in this one: regular customers are more often among these, and customers who skip a
    period count as lost and, when they return, as nobody. So its number depends on the length
    of the period. A model separates how often customers buy from whether they are alive.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.business import business_metrics
    >>> table = business_metrics(clv.load_cdnow(), "Q").set_index("period")
    >>> table.loc["1997-Q2", ["customers", "orders", "retention"]].round(3).tolist()
    [524.0, 920.0, 0.222]
    >>> table.loc["all", ["average_order_value", "simple_clv"]].round(2).tolist()
    [36.45, 81.77]
    """
    margin = check_margin(margin)
    calendar = Calendar.read("period", period)
    settings = read_options(log)
    if model is not None:
        _check_model(model, settings.has_amounts)
    from clvpredict.transactions.activity import cohort_cells, facts, lives, opened_log

    with opened_log(transactions, settings, calendar) as read:
        attrs: dict[Any, Any] = facts(read)
        cells, lived, window = cohort_cells(read), lives(read), read.window
        customers = None if model is None else _summary(read, model, log)
    table = _periods(cells, window, margin)
    whole = _whole(table, cells, window, lived, margin)
    if model is not None:
        whole |= _answers(model, customers, margin, horizon, whole, calendar)
        attrs |= {"horizon": str(horizon)}
    table = _with_row(table, whole)
    attrs |= {"margin": margin}
    table.attrs = attrs
    return table


def check_margin(margin: Any) -> float:
    """Return a margin that is one number.

    Raises
    ------
    OptionError
        If it is not.
    """
    if isinstance(margin, bool) or not isinstance(margin, int | float | np.number):
        raise OptionError(
            f"margin={margin!r} must be one number, such as 0.3. For margins that differ between "
            "rows, give the column of margins in money as amount=, and leave margin at 1."
        )
    if not np.isfinite(margin):
        raise OptionError(f"margin={margin!r} must be finite, e.g. 0.3 for 30 %.")
    return float(margin)


def check_amounts(has_amounts: bool, what: str) -> None:
    """Refuse transactions without amounts.

    Raises
    ------
    OptionError
        If they have none.
    """
    if not has_amounts:
        raise OptionError(f"{what} needs amounts: name their column, amount='...'.")


def _check_model(model: Any, has_amounts: bool) -> None:
    check_amounts(has_amounts, "model=")
    if not has_money(model):
        raise OptionError(
            f"model={model!r} predicts no money: fit CLVModel, which has a spend model too."
        )


def _summary(read: Log, model: Any, log: LogOptions) -> RFMSummary:
    from clvpredict.transactions.activity import members

    return members(read, None, read_options(log, model.purchases.time_unit_))


def _periods(cells: pd.DataFrame, window: Window, margin: float) -> pd.DataFrame:
    """The rows of the periods."""
    numbers = np.arange(cells["number"].min(), window.last + 1)
    names = [c for c in cells if c not in ("label", "cohort", "number")]
    sums = cells.groupby("number")[names].sum().reindex(numbers, fill_value=0)
    new = cells[cells["cohort"] == cells["number"]].groupby("number")["active"].sum()
    starts = window.calendar.starts(numbers)
    table = pd.DataFrame(
        {
            "period": [window.calendar.label(start) for start in starts],
            "start": starts,
            "end": window.calendar.starts(numbers + 1) - np.timedelta64(1, "D"),
            "complete": window.whole(numbers),
            "customers": sums["active"].to_numpy(),
            "new_customers": new.reindex(numbers, fill_value=0).to_numpy(),
            "orders": sums["orders"].to_numpy(),
        }
    )
    active = sums["active"].to_numpy(np.float64)
    before = np.insert(active[:-1], 0, 0.0)
    if "revenue" in sums:
        table["revenue"] = sums["revenue"].to_numpy()
        table["gross_margin"] = margin * table["revenue"]
        table["average_order_value"] = ratio(table["revenue"], table["orders"])
    table["purchase_frequency"] = ratio(table["orders"], active)
    table["repeat_rate"] = ratio(sums["repeaters"], active)
    table["retention"] = ratio(sums["kept"], before)
    return _with_lifespan(table, margin)


def _with_lifespan(table: pd.DataFrame, margin: float) -> pd.DataFrame:
    table["churn"] = 1.0 - table["retention"]
    table["lifespan"] = ratio(np.ones(len(table)), table["churn"], at_zero=np.inf)
    table["observed_lifespan"] = np.nan
    if "revenue" in table:
        earned = table["average_order_value"] * table["purchase_frequency"] * margin
        table["simple_clv"] = earned * periods_worth(table["retention"], 0.0, np.inf)
    return table


def _whole(
    table: pd.DataFrame,
    cells: pd.DataFrame,
    window: Window,
    lived: dict[str, float],
    margin: float,
) -> dict[str, Any]:
    """The row of all periods."""
    complete = table["complete"].to_numpy()
    pair = complete & np.insert(complete[:-1], 0, False)
    kept = cells.groupby("number")["kept"].sum()
    number = cells["number"].min() + np.flatnonzero(pair)
    active = table["customers"].to_numpy(np.float64)
    row: dict[str, Any] = {
        "period": ALL,
        "start": pd.Timestamp(window.start).normalize(),
        "end": pd.Timestamp(window.end).normalize(),
        "complete": bool(complete.all()),
        "customers": lived["customers"],
        "new_customers": int(table["new_customers"].sum()),
        "orders": int(table["orders"].sum()),
    }
    if "revenue" in table:
        row["revenue"] = float(table["revenue"].sum())
        row["gross_margin"] = margin * row["revenue"]
        row["average_order_value"] = row["revenue"] / row["orders"]
    in_complete = table.loc[complete, ["orders", "customers"]].sum()
    row["purchase_frequency"] = float(ratio(in_complete["orders"], in_complete["customers"]))
    row["repeat_rate"] = lived["repeaters"] / lived["customers"]
    stayed = float(kept.reindex(number, fill_value=0).sum())
    row["retention"] = float(ratio(stayed, active[:-1][pair[1:]].sum()))
    whole = _with_lifespan(pd.DataFrame([row]), margin).iloc[0].to_dict()
    whole["observed_lifespan"] = lived["mean_days"] / _DAYS[window.calendar.every]
    return {str(name): value for name, value in whole.items()}


def _with_row(table: pd.DataFrame, row: dict[str, Any]) -> pd.DataFrame:
    out = table.reindex(columns=list(row))
    last = pd.DataFrame([row]).astype({n: t for n, t in table.dtypes.items() if n in row})
    known = out.astype({name: last[name].dtype for name in out if name not in table})
    return pd.concat([known, last], ignore_index=True)


def ratio(above: Any, below: Any, *, at_zero: float = np.nan) -> npt.NDArray[np.float64]:
    """Divide; a given value where the divisor is 0."""
    above, below = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below == 0, at_zero, above / below)


def _answers(
    model: Any,
    customers: RFMSummary | None,
    margin: float,
    horizon: float | str | timedelta,
    whole: dict[str, Any],
    calendar: Calendar,
) -> dict[str, float]:
    """Ask the textbook and the model what a new customer brings."""
    unit = known_unit(model.purchases.time_unit_, "the comparison with calendar periods")
    t = unit.periods(horizon)
    n = t * unit.days / _DAYS[calendar.every]
    earned = whole["average_order_value"] * whole["purchase_frequency"] * margin
    table = model.predict(customers, horizon=t, discounting="none", margin=margin, add_new=True)
    new = table.iloc[-1]
    return {
        "simple_clv_within_horizon": float(earned * periods_worth(whole["retention"], 0.0, n)),
        "model_new_customer": float(new["clv"] + margin * new["expected_spend"]),
        "model_current_customer": float(table["clv"].iloc[:-1].mean()),
    }


def historical_clv(
    transactions: object,
    period: str | None = None,
    *,
    margin: float = 1.0,
    per_customer: bool = True,
    **log: Unpack[LogOptions],
) -> pd.DataFrame:
    """Tabulate what customers have brought so far: revenue and margin, realised.

    Parameters
    ----------
    transactions : frame, pyarrow table, path, or Ibis table
        As in :func:`clvpredict.rfm_summary`; purchases are those that it counts.
    period : {"D", "W", "M", "Q", "Y"}, optional
        Calendar periods to break it down by, with cumulative columns; none by default.
    margin : float
        Share of the amounts that is earned. For margins that differ between rows, give the
        column of margins in money as ``amount=``, and leave this at 1.
    per_customer : bool
        Whether each customer has rows; else they are of all customers together.
    **log
        ``customer_id, date, amount, observation_end, observation_start, collapse, returns,
        timezone, currency, strict``, as in :func:`clvpredict.purchase_history`.

    Returns
    -------
    DataFrame
        Per customer: `customer_id, first, last` (purchase), `orders, revenue, margin,
        other_returns`. By period: `customer_id, period` (text), `start, complete`, the same
        sums, and `revenue_cumulative, margin_cumulative`: a row per customer and period in which
        there was something. For all customers together: `customers` (who bought) in place of
        the id, and a row for every period, also for those without a purchase.

        `revenue` is what purchases add up to; `margin` = margin × revenue. `other_returns`
        (0 or less) is what returns took back on days (or whatever `collapse` says) that net to
        0 or less: they reduce no purchase and are not in `revenue`, as models do not count them.

        ``attrs`` say how it was read, the totals (`revenue`, `margin`, `other_returns`), and
        what was left out and why.

    Raises
    ------
    DataError
        Listing every problem of the transactions at once.
    OptionError
        If another argument has a value that is not allowed.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.business import historical_clv
    >>> table = historical_clv(clv.load_cdnow(), margin=0.3)
    >>> table["revenue"].sum().round(2).item(), table["margin"].sum().round(2).item()
    (244091.94, 73227.58)
    >>> by_quarter = historical_clv(clv.load_cdnow(), "Q", per_customer=False)
    >>> by_quarter[["period", "customers", "revenue"]].head(2).values.tolist()
    [['1997-Q1', 2357, 112498.61], ['1997-Q2', 524, 33629.63]]
    """
    margin = check_margin(margin)
    calendar = Calendar.read("period", "Y" if period is None else period)
    settings = read_options(log)
    check_amounts(settings.has_amounts, "historical_clv")
    from clvpredict.transactions.activity import by_customer, cohort_cells, facts, opened_log

    with opened_log(transactions, settings, calendar) as read:
        attrs: dict[Any, Any] = facts(read)
        window = read.window
        rows = by_customer(read, by_period=period is not None)
        cells = None if per_customer else cohort_cells(read)
    aside = rows["other_returns"].sum()
    attrs |= {"margin_share": margin, "revenue": float(rows["revenue"].sum())}
    attrs |= {"margin": margin * attrs["revenue"], "other_returns": float(aside)}
    attrs.pop("value_of_excluded_periods")
    if period is None:
        attrs.pop("every")
    if per_customer:
        table = rows if period is None else _named(rows, window)
    else:
        assert cells is not None
        table = _together(rows, cells, window, period is not None, attrs["counts"]["customers"])
    place = table.columns.get_loc("revenue")
    assert isinstance(place, int)
    table.insert(place + 1, "margin", margin * table["revenue"])
    if period is not None:
        grouped = table.groupby("customer_id", sort=False) if per_customer else table
        table["revenue_cumulative"] = grouped["revenue"].cumsum().round(8)
        table["margin_cumulative"] = margin * table["revenue_cumulative"]
    table.attrs = attrs
    return table


def _named(rows: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Name periods in place of their numbers."""
    number = rows.pop("number").to_numpy()
    distinct, place = np.unique(number, return_inverse=True)
    starts = window.calendar.starts(distinct)
    labels = np.array([window.calendar.label(start) for start in starts], dtype=object)
    at = 1 if "customer_id" in rows else 0
    rows.insert(at, "period", pd.Series(labels[place], dtype="str"))
    rows.insert(at + 1, "start", starts[place])
    rows.insert(at + 2, "complete", window.whole(number))
    return rows


def _together(
    rows: pd.DataFrame, cells: pd.DataFrame, window: Window, by_period: bool, customers: int
) -> pd.DataFrame:
    """Sums over customers."""
    sums = ["orders", "revenue", "other_returns"]
    if not by_period:
        one = rows[sums].sum().to_frame().T.astype({"orders": np.int64})
        one.insert(0, "customers", customers)
        one.insert(1, "first", rows["first"].min())
        one.insert(2, "last", rows["last"].max())
        return one
    numbers = np.arange(rows["number"].min(), window.last + 1)
    table = rows.groupby("number")[sums].sum().reindex(numbers, fill_value=0)
    active = cells.groupby("number")["active"].sum().reindex(numbers, fill_value=0)
    table.insert(0, "customers", active.to_numpy())
    return _named(table.reset_index(), window)
