"""Cohorts by age in arrays: what was observed of them, and draws of what is to come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.business.asked import has_money
from clvpredict.business.campaign import check_shares
from clvpredict.errors import DataError, DataWarning, OptionError, Problem, notify
from clvpredict.predict import interval_of
from clvpredict.rfm import Array, Provenance
from clvpredict.transactions.calendar import Calendar, LogOptions, Window, read_options
from clvpredict.value import known_unit

if TYPE_CHECKING:
    from clvpredict.rfm import RFMSummary

#: Of draws × cells, for each of three quantities.
_MOST_NUMBERS = 10_000_000
_GROUP = "cohort and label"
#: Columns of the tables, which a channel may not be called.
_TAKEN = {"cohort", "age", "period", "customers", "complete", "forecast", "active", "orders"}
_TAKEN |= {"revenue", "margin", "cac"}
#: Customers who have bought in the last period already cannot become active in it.
_KINDS = 2


@dataclass(frozen=True)
class Grid:
    """Cohorts by age; the axes of arrays are label, cohort, age.

    Parameters
    ----------
    name : str or None
        Of the labels; None where customers have none.
    labels : list
        One, if there are no labels; a missing one last.
    first : int
        Number of the first cohort's period.
    window : Window
        What of the calendar was observed.
    customers : ndarray, shape (labels, cohorts)
        Acquired.
    observed : dict of str to ndarray, shape (labels, cohorts, ages)
        ``active, orders`` and, with amounts, ``revenue``; 0 where nothing was observed.
    drawn : dict of str to ndarray, shape (draws, labels, cohorts, ages)
        What a model adds to it, under each draw; empty without a model.
    """

    name: str | None
    labels: list[Any]
    first: int
    window: Window
    customers: Array
    observed: dict[str, Array]
    drawn: dict[str, Array]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Labels, cohorts and ages."""
        labels, cohorts, ages = self.observed["orders"].shape
        return labels, cohorts, ages

    @property
    def number(self) -> npt.NDArray[np.int64]:
        """Period of each cohort and age, shape (cohorts, ages)."""
        _, cohorts, ages = self.shape
        return np.asarray(self.first + np.arange(cohorts)[:, None] + np.arange(ages))

    @property
    def whole(self) -> npt.NDArray[np.bool_]:
        """Whether all of a cell was observed, shape (cohorts, ages)."""
        return self.window.whole(self.number)

    @property
    def forecast(self) -> npt.NDArray[np.bool_]:
        """Whether a model completes a cell, shape (cohorts, ages)."""
        n, last = self.number, self.window.last
        ahead = (n > last) | ((n == last) & (not self.window.last_is_whole))
        return ahead if self.drawn else np.zeros_like(ahead)

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Whether there is something to say of a cell, shape (cohorts, ages)."""
        return np.asarray((self.number <= self.window.last) | self.forecast)

    def answer(
        self, quantity: str, change: Callable[[Array], Array], level: float
    ) -> tuple[Array, Array, Array]:
        """Give the expectation of a linear function of a quantity, and its predictive interval.

        Parameters
        ----------
        quantity : str
            ``"active"``, ``"orders"`` or ``"revenue"``.
        change : callable
            The function, of arrays whose last three axes are label, cohort and age.
        level : float
            Of the interval.

        Returns
        -------
        ndarray, ndarray, ndarray
            Expectation, lower and upper end (missing where nothing is forecast); the first
            is missing where nothing is known.
        """
        value = change(self.observed[quantity])
        low = np.full(value.shape, np.nan)
        high = low.copy()
        if quantity in self.drawn and self.forecast.any():
            drawn = change(self.drawn[quantity])
            cells = np.broadcast_to(self.forecast, value.shape)
            below, above = interval_of(np.moveaxis(drawn, 0, -1)[cells], level)
            low[cells], high[cells] = value[cells] + below, value[cells] + above
            value = value + drawn.mean(axis=0)
        elif self.drawn and quantity not in self.drawn:  # the model knows no money
            value = np.where(self.forecast, np.nan, value)
        return np.where(self.known, value, np.nan), low, high


@dataclass(frozen=True)
class Wanted:
    """What a grid is to be made of.

    Parameters
    ----------
    by : str
        Calendar periods.
    channel : str, Series, DataFrame or None
        Labels of customers.
    model : fitted model or None
        That completes what has not been observed.
    max_age : int or None
        The last age; that of the oldest cohort by default.
    interval : float
        Level of intervals.
    draws, seed : int
        Futures to simulate.
    """

    by: str
    channel: Any
    model: Any
    max_age: int | None
    interval: float
    draws: int
    seed: int


def read_grid(transactions: object, wanted: Wanted, log: LogOptions) -> tuple[Grid, dict[Any, Any]]:
    """Add transactions up by cohort and age, and complete them.

    Returns
    -------
    Grid, dict
        And what the transactions say of themselves.

    Raises
    ------
    DataError
        Listing every problem of the transactions.
    OptionError
        If an option has a value that is not allowed, or the model is not of these transactions.
    """
    calendar = Calendar.read("by", wanted.by)
    settings = read_options(log)
    _check_whole("max_age", wanted.max_age, 0)
    _check_whole("draws", wanted.draws, 2)
    _check_whole("seed", wanted.seed, 0)
    check_shares(interval=wanted.interval)
    name, attributes = _labels(wanted.channel)
    if name in _TAKEN:
        raise OptionError(
            f"channel={name!r} would be a column of the table that is there already; rename it, "
            f"e.g. to '{name}_of_customer'."
        )
    if name is not None and attributes is None:
        settings = replace(settings, names={**settings.names, "label": name})
    from clvpredict.transactions.activity import (
        cohort_cells,
        facts,
        labels_of,
        members,
        opened_log,
    )

    with opened_log(transactions, settings, calendar) as read:
        attrs: dict[Any, Any] = facts(read)
        labels = None if name is None else labels_of(read, attributes)
        cells = cohort_cells(read, labels)
        people = None
        if wanted.model is not None:
            unit = _check_model(wanted.model, attrs, settings.has_amounts)
            people = members(read, labels, read_options(log, unit))
            # Ages are counted in the model's unit.
            ages = replace(settings, unit=unit)
        else:
            ages = settings
        window = replace(read.window, settings=ages)
    grid = _observed(cells, window, name, wanted.max_age)
    if people is not None:
        grid = _completed(grid, wanted, people)
    return grid, attrs


def _labels(channel: Any) -> tuple[str | None, pd.Series | None]:
    """Name of the labels, and labels by customer id where they are not in the transactions."""
    if channel is None or isinstance(channel, str):
        return channel, None
    if isinstance(channel, pd.DataFrame):
        columns = [c for c in channel.columns if c != "customer_id"]
        if "customer_id" not in channel.columns or len(columns) != 1:
            raise OptionError(
                "channel= as a frame has two columns, customer_id and the label; this one has "
                f"{', '.join(map(str, channel.columns))}. Give frame[['customer_id', '...']]."
            )
        channel = channel.set_index("customer_id")[columns[0]]
    if not isinstance(channel, pd.Series):
        raise OptionError(
            f"channel={channel!r} must be the name of a column of the transactions, or labels by "
            "customer: frame[['customer_id', 'channel']], or a Series whose index is the id."
        )
    return "channel" if channel.name is None else str(channel.name), channel


def _check_whole(name: str, value: Any, least: int) -> None:
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least
    ):
        raise OptionError(f"{name}={value!r} must be a whole number, {least} or more.")


def _check_model(model: Any, attrs: Mapping[Any, Any], has_amounts: bool) -> Any:
    """Return the model's unit, if the model is of these transactions."""
    if not hasattr(model, "predict_periods"):
        raise OptionError(f"model={model!r} must be a fitted model, such as clvpredict.CLVModel().")
    if has_money(model) and not has_amounts:
        raise OptionError(
            "this model predicts value, and amount=None leaves the amounts out. Give model="
            "model.purchases for orders and retention alone, or name the amounts' column."
        )
    buying = getattr(model, "purchases", model)
    unit = known_unit(buying.time_unit_, "the completion of cohorts")
    if buying.data_ is None:
        notify(
            "the model does not say which data it was fitted on, so it cannot be checked that "
            "they end where these transactions do.",
            DataWarning,
        )
        return unit
    fitted = Provenance(**buying.data_)
    said = {
        "observation_end": fitted.calibration_end or fitted.observation_end,
        "collapse": None if fitted.collapse == "none" else fitted.collapse,
        "returns": fitted.returns,
    }
    wrong = [name for name, own in said.items() if own is not None and own != attrs[name]]
    if wrong:
        listed = "; ".join(f"{n}: model {said[n]!r}, transactions {attrs[n]!r}" for n in wrong)
        options = ", ".join(f"{name}={said[name]!r}" for name in wrong)
        raise OptionError(
            f"the model was fitted on other data than these ({listed}). Either say {options}, or "
            "fit it on rfm_summary(transactions, ...) with the options that you give here."
        )
    return unit


def _observed(cells: pd.DataFrame, window: Window, name: str | None, max_age: int | None) -> Grid:
    """Put sums into arrays; cohorts between others that nobody is of are zeros."""
    first = int(cells["cohort"].min())
    cohorts = int(cells["cohort"].max()) - first + 1
    ages = window.last - first + 1 if max_age is None else max_age + 1
    known = cells["label"].dropna().unique().tolist()
    labels = sorted(known) + ([None] if cells["label"].isna().any() else [])
    place = pd.Index(labels, dtype=object).get_indexer(
        cells["label"].astype(object).where(cells["label"].notna(), None)
    )
    row = cells["cohort"].to_numpy() - first
    age = (cells["number"] - cells["cohort"]).to_numpy()
    customers = np.zeros((len(labels), cohorts))
    young = age == 0
    customers[place[young], row[young]] = cells["active"].to_numpy()[young]
    inside = age < ages
    observed = {}
    for quantity in ("active", "orders", "revenue"):
        if quantity in cells:
            sums = np.zeros((len(labels), cohorts, ages))
            at = (place[inside], row[inside], age[inside])
            sums[at] = cells[quantity].to_numpy(np.float64)[inside]
            observed[quantity] = sums
    return Grid(name, labels, first, window, customers, observed, {})


def _completed(grid: Grid, wanted: Wanted, people: RFMSummary) -> Grid:
    """Add what the model expects of these customers after the end of observation."""
    window, (n_labels, cohorts, ages) = grid.window, grid.shape
    ahead = np.arange(window.last + window.last_is_whole, window.last + ages)
    ends = np.array(window.ahead(ahead))
    # With weekly purchases a month may have no week left.
    ahead, ends = ahead[ends > 0], ends[ends > 0].tolist()
    money = has_money(wanted.model)
    quantities = {"active": "active", "orders": "purchases"}
    if money:
        quantities["revenue"] = "value"
    cells = n_labels * cohorts * ages
    if wanted.draws * cells > _MOST_NUMBERS:
        raise OptionError(
            f"{wanted.draws:,} draws of {cells:,} cells are too many to hold. Take longer periods "
            f"(by='M'), max_age=, or draws={max(2, _MOST_NUMBERS // cells)} or fewer."
        )
    drawn = {name: np.zeros((wanted.draws, n_labels, cohorts, ages)) for name in quantities}
    if not len(ahead):
        return replace(grid, drawn=drawn)
    label = pd.Index(grid.labels, dtype=object).get_indexer(
        people["label"].astype(object).where(people["label"].notna(), None)
    )
    row = people["cohort"].to_numpy() - grid.first
    people[_GROUP] = (label * cohorts + row) * _KINDS + people["current"].to_numpy()
    terms: dict[str, Any] = {"draws": wanted.draws, "seed": wanted.seed}
    if money:
        terms |= {"discounting": "none", "margin": 1.0}
    future = wanted.model.predict_periods(people, ends=ends, by=_GROUP, **terms)
    values = {
        name: future[source].transpose("draw", _GROUP, "period").to_numpy()
        for name, source in quantities.items()
    }
    for i, group in enumerate(future[_GROUP].to_numpy().tolist()):
        where, current = divmod(int(group), _KINDS)
        at, cohort = divmod(where, cohorts)
        age = ahead - (grid.first + cohort)
        inside = age < ages
        for name, future_of in values.items():
            add = inside & (ahead > window.last) if name == "active" and current else inside
            drawn[name][:, at, cohort, age[add]] += future_of[:, i, add]
    return replace(grid, drawn=drawn)


def costs_of_acquisition(cac: Any, grid: Grid) -> Array:
    """Read what acquiring a customer cost, shape (labels, cohorts).

    Raises
    ------
    OptionError
        If it is neither a number nor a mapping, or the mapping lacks a label or a cohort.
    """
    if isinstance(cac, pd.Series):
        cac = cac.to_dict()
    if not isinstance(cac, Mapping):
        return np.full(grid.customers.shape, _cost(cac, "cac"))
    calendar = grid.window.calendar
    shown = ["missing" if label is None else label for label in grid.labels]
    if grid.name is not None and any(label in cac for label in shown):
        keys, what, axis = shown, grid.name, 1
    else:
        starts = calendar.starts(grid.first + np.arange(grid.customers.shape[1]))
        keys, what, axis = [calendar.label(start) for start in starts], "cohort", 0
        cac = {_cohort_label(calendar, key): value for key, value in cac.items()}
    needed = grid.customers.sum(axis=axis) > 0
    lacking = [key for key, need in zip(keys, needed, strict=True) if need and key not in cac]
    if lacking:
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        raise OptionError(
            f"cac= does not say what a customer cost in the {what} "
            f"{', '.join(map(repr, lacking[:5]))}{more}. It is a number, or a mapping by channel "
            "or by cohort, e.g. cac={" + f"{lacking[0]!r}: 20.0, ..." + "}."
        )
    given = np.array([_cost(cac.get(key, 0.0), f"cac[{key!r}]") for key in keys])
    return np.broadcast_to(given[:, None] if axis else given, grid.customers.shape).copy()


def _cohort_label(calendar: Calendar, key: Any) -> Any:
    """Name of the cohort that a date, or a name, means."""
    try:
        day = pd.Period(str(key).replace("-Q", "Q")).start_time
    except ValueError:
        return key
    return calendar.label(calendar.starts([calendar.number_of(day)])[0])


def _cost(value: Any, name: str) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | np.number)
        or not (np.isfinite(value) and value >= 0)
    ):
        raise OptionError(f"{name}={value!r} must be a number, 0 or more, such as 25.0.")
    return float(value)


def check_labels(given: Mapping[Any, float], grid: Grid) -> Array:
    """Read a number for each label, shape (labels, 1, 1).

    Raises
    ------
    DataError
        If labels are missing from it.
    """
    lacking = [label for label in grid.labels if label not in given]
    if lacking:
        listed = ", ".join(map(repr, lacking[:5]))
        fix = f"give one for each: margin={{{lacking[0]!r}: 0.3, ...}}"
        raise DataError("margins", [Problem(f"there is none for {listed}", fix)])
    return np.array([float(given[label]) for label in grid.labels])[:, None, None]
