"""Cohorts of customers by when they came: what they bought since, and what is to come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Unpack

import numpy as np
import pandas as pd

from clvpredict.business.grid import Grid, Wanted, check_labels, costs_of_acquisition, read_grid
from clvpredict.business.history import check_amounts, check_margin, ratio
from clvpredict.errors import OptionError, unknown_option
from clvpredict.predict import interval_of
from clvpredict.rfm import Array
from clvpredict.transactions.calendar import LogOptions

_PER_CUSTOMER = {
    "retention": "active",
    "orders_per_customer": "orders",
    "revenue_per_customer": "revenue",
    "margin_per_customer": "margin",
}
_CUMULATIVE = {
    "cumulative_orders": "orders",
    "cumulative_revenue": "revenue",
    "cumulative_margin": "margin",
    "net_of_cac": "margin",
}
_TOTALS = ("active", "orders", "revenue", "margin")
#: What a cell of a cohort table can show.
METRICS = (*_PER_CUSTOMER, *_CUMULATIVE, *_TOTALS)

Cac = float | Mapping[Any, float] | pd.Series
Channel = str | pd.Series | pd.DataFrame


def cohort_table(
    transactions: object,
    by: str = "M",
    metric: str | None = None,
    *,
    margin: float | Mapping[Any, float] = 1.0,
    cac: Cac | None = None,
    channel: Channel | None = None,
    model: Any = None,
    max_age: int | None = None,
    interval: float = 0.9,
    draws: int = 500,
    seed: int = 0,
    **log: Unpack[LogOptions],
) -> pd.DataFrame:
    """Tabulate cohorts: customers by the period of their first purchase, and by age.

    Parameters
    ----------
    transactions : frame, pyarrow table, path, or Ibis table
        As in :func:`clvpredict.rfm_summary`; purchases are those that it counts. They are added
        up where they are.
    by : {"D", "W", "M", "Q", "Y"}
        Calendar periods. Age 0 is the period of the first purchase.
    metric : str, optional
        One of the columns below: then the table is wide, a row per cohort (and channel) and a
        column per age. By default it is long, a row per cohort and age, with all of them; plots
        draw the long one.
    margin : float or mapping
        Share of the amounts that is earned; by label of `channel`, if it is a mapping.
    cac : float, mapping or Series, optional
        What acquiring a customer cost: for all, by label of `channel`, or by cohort (its name
        as in ``"1997-01"``, or a date in it).
    channel : str, Series or DataFrame, optional
        Cohorts by channel (or country, ...), too. A column of the transactions: a customer has
        the label of the first transaction. Or labels of customers: a Series whose index is the
        customer id, or a frame of the id and the label.
    model : CLVModel or purchase model, optional
        A fitted one, of the same transactions up to the same day: it completes the cells that
        have not been observed, wholly or partly.
    max_age : int, optional
        The last age; that of the oldest cohort by default.
    interval : float
        Level of the model's intervals.
    draws, seed : int
        Futures that the model simulates.
    **log
        ``customer_id, date, amount, observation_end, observation_start, collapse, returns,
        timezone, currency, strict``, as in :func:`clvpredict.purchase_history`.

    Returns
    -------
    DataFrame
        `cohort` and `period` (first days), the channel's column, `age` (periods since),
        `customers` acquired; `complete`, whether all of the cell was observed; `forecast`,
        whether the model completes it. Then

        - totals of the cohort: `active` (customers who bought in the period), `orders`,
          `revenue`, `margin`;
        - per acquired customer: `retention` (share of them who bought in the period),
          `orders_per_customer, revenue_per_customer, margin_per_customer`;
        - the same since acquisition: `cumulative_orders, cumulative_revenue,
          cumulative_margin` and, with `cac`, `cac` and `net_of_cac` (cumulative margin − CAC).

        Cells that have not been observed at all are missing, not 0; those that observation cuts
        are as far as they were observed, with `complete` False. Periods without a new customer
        between others are cohorts of 0 customers, with nothing per customer. Without amounts
        there is nothing of money.

        With a model, cells are what was observed plus what it expects of the rest (the mean over
        its draws). What is per acquired customer then has predictive intervals, `_pi_lower` and
        `_pi_upper`, made within draws and missing where nothing is forecast. They are of the
        customers acquired until the end of observation: who may still come in the last period
        is not in them. A model of purchases alone completes no money.

    Raises
    ------
    DataError
        Listing every problem of the transactions at once.
    OptionError
        If another argument has a value that is not allowed, or the model was fitted on other
        data.

    Warns
    -----
    DataWarning
        If customers have no label.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.business import cohort_table
    >>> retention = cohort_table(clv.load_cdnow(), "Q", "retention")
    >>> retention.round(3).values.tolist()  # nobody was acquired later
    [[1.0, 0.222, 0.177, 0.171, 0.163, 0.127]]
    >>> months = cohort_table(clv.load_cdnow(), "M", "cumulative_margin", margin=0.3, cac=10)
    >>> months.iloc[:3, :3].round(2).values.tolist()
    [[10.98, 13.67, 15.3], [11.7, 13.95, 15.69], [13.69, 15.4, 16.84]]
    """
    if metric is not None and metric not in METRICS:
        raise unknown_option("metric", metric, METRICS)
    wanted = Wanted(by, channel, model, max_age, interval, draws, seed)
    grid, attrs = read_grid(transactions, wanted, log)
    share, paid = _margin(margin, grid), _cac(cac, grid)
    out = _cells(grid)
    for name in _TOTALS:
        if (change := _change(name, grid, share)) is not None:
            out[name] = grid.answer(_source(name), change, interval)[0].ravel()
    per_acquired = {**_PER_CUSTOMER, **_CUMULATIVE}
    for name, quantity in per_acquired.items():
        less: Array = np.array(0.0)
        if name == "net_of_cac":
            if paid is None:
                continue
            less = paid[:, :, None]
            out["cac"] = np.broadcast_to(less, grid.shape).ravel()
        change = _change(quantity, grid, share, per_customer=True, summed=name in _CUMULATIVE)
        if change is None:
            continue
        value, low, high = grid.answer(_source(quantity), change, interval)
        out[name] = (value - less).ravel()
        if grid.drawn:
            out[f"{name}_pi_lower"] = (low - less).ravel()
            out[f"{name}_pi_upper"] = (high - less).ravel()
    attrs |= _said(grid, margin, wanted)
    out.attrs = attrs
    return out if metric is None else _wide(out, metric, grid)


def payback_table(
    transactions: object,
    by: str = "M",
    *,
    cac: Cac,
    margin: float | Mapping[Any, float] = 1.0,
    channel: Channel | None = None,
    model: Any = None,
    max_age: int | None = None,
    interval: float = 0.9,
    draws: int = 500,
    seed: int = 0,
    **log: Unpack[LogOptions],
) -> pd.DataFrame:
    """Tabulate when customers have paid back what acquiring them cost.

    All cohorts are taken together by age. The margin per acquired customer of an age is that of
    the cohorts which are known at this age (observed wholly or, with a model, completed);
    cumulative margin is the sum of these over ages. So young cohorts count as far as they go,
    and do not pull the curve down by having had less time.

    Parameters
    ----------
    transactions, by, margin, channel, model, max_age, interval, draws, seed, **log
        As in :func:`cohort_table`.
    cac : float, mapping or Series
        As there. Over cohorts its mean is taken, weighted by their customers.

    Returns
    -------
    DataFrame
        A row per age (and channel): `age`; `customers`, those in cohorts known at this age;
        `forecast_share`, the share of them whose cell is a forecast; `margin_per_customer`,
        `cumulative_margin` per acquired customer, `cac`, `net_of_cac`, and `paid_back`, whether
        the cumulative margin has reached the CAC. With a model also `cumulative_margin_pi_lower`
        and `_pi_upper` (predictive) and `p_paid_back`, the share of draws in which it is paid
        back by the end of this age. Ages of which no cohort is known are missing.
        ``attrs["payback_age"]`` has the first age at which it is paid back, by channel (None: not
        within the table).

    Raises
    ------
    DataError, OptionError
        As :func:`cohort_table`.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.business import payback_table
    >>> table = payback_table(clv.load_cdnow(), "M", cac=15, margin=0.3)
    >>> table["cumulative_margin"].head(4).round(2).tolist()
    [12.07, 14.3, 15.92, 17.25]
    >>> table.attrs["payback_age"]
    {'all': 2}
    """
    wanted = Wanted(by, channel, model, max_age, interval, draws, seed)
    grid, attrs = read_grid(transactions, wanted, log)
    share, paid = _margin(margin, grid), _cac(cac, grid)
    check_amounts("revenue" in grid.observed, "payback_table")
    if grid.drawn and "revenue" not in grid.drawn:
        raise OptionError("this model predicts no money: give CLVModel, or leave model= out.")
    assert paid is not None  # it has no default
    n_labels, _, ages = grid.shape
    known = grid.whole | grid.forecast
    behind = (grid.customers[:, :, None] * known).sum(axis=1)
    ahead = (grid.customers[:, :, None] * grid.forecast).sum(axis=1)

    def pooled(cells: Array) -> Array:
        return ratio((cells * share * known).sum(axis=-2), behind)

    step = pooled(grid.observed["revenue"])
    out = pd.DataFrame({"age": np.tile(np.arange(ages), n_labels)})
    if grid.name is not None:
        out.insert(0, grid.name, _repeated(grid, ages))
    out["customers"] = behind.astype(np.int64).ravel()
    out["forecast_share"] = ratio(ahead, behind).ravel()
    cost = ratio((paid * grid.customers).sum(axis=1), grid.customers.sum(axis=1))[:, None]
    bands: dict[str, Array] = {}
    if grid.drawn:
        drawn = pooled(grid.drawn["revenue"])
        sums = np.cumsum(step + drawn, axis=-1)
        low, high = interval_of(np.moveaxis(sums, 0, -1).reshape(n_labels * ages, -1), interval)
        nothing = np.cumsum(ahead, axis=1).ravel() == 0
        bands["cumulative_margin_pi_lower"] = np.where(nothing, np.nan, low)
        bands["cumulative_margin_pi_upper"] = np.where(nothing, np.nan, high)
        bands["p_paid_back"] = (sums >= cost).mean(axis=0).ravel()
        step = step + drawn.mean(axis=0)
    total = np.cumsum(step, axis=-1)
    out["margin_per_customer"] = step.ravel()
    out["cumulative_margin"] = total.ravel()
    out["cac"] = np.broadcast_to(cost, total.shape).ravel()
    out["net_of_cac"] = (total - cost).ravel()
    out["paid_back"] = (total >= cost).ravel()
    out = out.assign(**bands)
    names = ["all"] if grid.name is None else [label_text(label) for label in grid.labels]
    reached = [np.flatnonzero(row >= price) for row, price in zip(total, cost[:, 0], strict=True)]
    attrs |= _said(grid, margin, wanted)
    attrs["payback_age"] = {
        name: int(ages_[0]) if len(ages_) else None
        for name, ages_ in zip(names, reached, strict=True)
    }
    out.attrs = attrs
    return out


def label_text(label: Any) -> str:
    """Name a label; those who have none are "(missing)"."""
    return "(missing)" if pd.isna(label) else str(label)


def _margin(margin: float | Mapping[Any, float], grid: Grid) -> Array:
    """Share of the amounts that is earned, which broadcasts to the cells."""
    if not isinstance(margin, Mapping):
        return np.array(check_margin(margin))
    if grid.name is None:
        raise OptionError("margin= as a mapping goes by channel: name its column, channel='...'.")
    return check_labels(margin, grid)


def _cac(cac: Any, grid: Grid) -> Array | None:
    if cac is None:
        return None
    check_amounts("revenue" in grid.observed, "cac=")
    return costs_of_acquisition(cac, grid)


def _source(quantity: str) -> str:
    """What is added up for it."""
    return "revenue" if quantity == "margin" else quantity


def _change(
    quantity: str,
    grid: Grid,
    share: Array,
    *,
    per_customer: bool = False,
    summed: bool = False,
) -> Callable[[Array], Array] | None:
    """Give the linear function that makes a column of what was added up; None without amounts."""
    if _source(quantity) not in grid.observed:
        return None
    factor: Any = share if quantity == "margin" else np.array(1.0)
    if per_customer:
        factor = factor * ratio(1.0, grid.customers)[:, :, None]

    def change(cells: Array) -> Array:
        return np.asarray((np.cumsum(cells, axis=-1) if summed else cells) * factor)

    return change


def _cells(grid: Grid) -> pd.DataFrame:
    """The columns that say which cell it is."""
    n_labels, cohorts, ages = grid.shape
    starts = grid.window.calendar.starts(grid.first + np.arange(cohorts))
    out = pd.DataFrame({"cohort": np.tile(np.repeat(starts, ages), n_labels)})
    if grid.name is not None:
        out.insert(0, grid.name, _repeated(grid, cohorts * ages))
    out["age"] = np.tile(np.arange(ages), n_labels * cohorts)
    out["period"] = np.tile(grid.window.calendar.starts(grid.number).ravel(), n_labels)
    out["customers"] = np.repeat(grid.customers.astype(np.int64).ravel(), ages)
    out["complete"] = np.tile(grid.whole.ravel(), n_labels)
    out["forecast"] = np.tile(grid.forecast.ravel(), n_labels)
    return out


def _repeated(grid: Grid, times: int) -> pd.Series:
    labels = pd.Series(grid.labels, dtype=object).infer_objects()
    return labels.repeat(times).reset_index(drop=True)


def _said(grid: Grid, margin: Any, wanted: Wanted) -> dict[str, Any]:
    share = {str(k): v for k, v in margin.items()} if isinstance(margin, Mapping) else margin
    said: dict[str, Any] = {"channel": grid.name, "margin": share}
    if grid.drawn:
        said |= {"level": wanted.interval, "draws": wanted.draws, "seed": wanted.seed}
    return said


def _wide(out: pd.DataFrame, metric: str, grid: Grid) -> pd.DataFrame:
    """A row per cohort, a column per age."""
    if metric not in out:
        needs = "cac=" if metric == "net_of_cac" else "amounts"
        raise OptionError(f"metric={metric!r} needs {needs}, which was not given.")
    ages = grid.shape[-1]
    rows = out.iloc[::ages]
    names = [grid.window.calendar.label(start) for start in rows["cohort"]]
    index: pd.Index[Any] = pd.Index(names, name="cohort")
    if grid.name is not None:
        index = pd.MultiIndex.from_arrays([rows[grid.name], names], names=[grid.name, "cohort"])
    values = out[metric].to_numpy().reshape(-1, ages)
    wide = pd.DataFrame(values, index=index, columns=pd.RangeIndex(ages, name="age"))
    wide.attrs = {**out.attrs, "metric": metric}
    return wide
