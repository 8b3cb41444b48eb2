"""What a fitted model says of histories: of all that are possible, and of one customer's."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from clvpredict.errors import OptionError, UnitError, unknown_option
from clvpredict.evaluate.fitted import Part, check_level, check_whole, purchase_part
from clvpredict.evaluate.subject import title
from clvpredict.models.base import PurchaseModel
from clvpredict.options import TimeUnit, horizon_periods
from clvpredict.predict import interval_of
from clvpredict.rfm import Array, Histories, require_column

GridQuantity = Literal["expected_purchases", "p_alive", "p_purchase"]
#: Draws of the parameters, as many as point predictions of a posterior are averaged over.
DRAWS = 500

_MOST_COLUMNS = 40
_COLUMNS_UNSEEN = 20


# --- all histories ---------------------------------------------------------------------------


def frequency_recency_grid(
    model: Any,
    *,
    of: GridQuantity = "expected_purchases",
    T: float | str | timedelta | None = None,
    horizon: float | str | timedelta | None = None,
    max_frequency: int | None = None,
    recency_steps: int = 50,
) -> pd.DataFrame:
    """Tabulate a prediction over all frequencies and recencies at one age.

    Parameters
    ----------
    model : PurchaseEstimator or CLVModel
        Fitted.
    of : {"expected_purchases", "p_alive", "p_purchase"}
        What to tabulate: purchases to expect within the horizon, the probability to be alive at
        T, or that of at least one purchase within the horizon.
    T : float, str or timedelta, optional
        Age of the customers, in the model's unit or such as ``"39W"``. By default the largest
        of the data that the model was fitted on; a model that was loaded does not know it.
    horizon : float, str or timedelta, optional
        From T on; needed except for ``"p_alive"``.
    max_frequency : int, optional
        The last column, or nearly: above 40, every second, third, ... frequency is a column, so
        that there are at most 41. By default the largest of the data fitted on, at most 40; 20
        where that is not known.
    recency_steps : int
        Rows, but for the first.

    Returns
    -------
    DataFrame, shape (recency_steps + 1, frequencies)
        Index `recency`, 0 to T in the model's unit; columns `frequency`. Missing where there is
        no such history: without a repeat purchase recency is 0, with one it is not. ``attrs``
        has `of`, `T`, `horizon`, `time_unit` and `model`.

    Raises
    ------
    OptionError
        For options that cannot be used, or are needed and missing.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import frequency_recency_grid
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> grid = frequency_recency_grid(clv.MBGNBD().fit(rfm), of="p_alive", max_frequency=10)
    >>> bool(grid[1].iloc[10] > grid[10].iloc[10])  # ten purchases, then silence: gone
    True
    """
    if of not in get_args(GridQuantity):
        raise unknown_option("of", of, get_args(GridQuantity))
    buying = purchase_part(model)
    check_whole("recency_steps", recency_steps, 1)
    t = None
    if of == "p_alive":
        if horizon is not None:
            raise OptionError(
                f"of='p_alive' is at the age T and has no horizon; got horizon={horizon!r}. Leave "
                "it out, or type of='p_purchase'."
            )
    elif horizon is None:
        raise OptionError(f"of={of!r} needs a horizon, e.g. horizon='39W'.")
    else:
        t = horizon_periods(horizon, buying.unit)
    seen = getattr(buying.model, "_observed", None)
    age = _age(T, seen, buying.unit)
    frequency = _frequencies(max_frequency, seen)
    recency = np.linspace(0.0, age, recency_steps + 1)
    rows = pd.DataFrame(
        {
            "frequency": np.tile(frequency, len(recency)),
            "recency": np.repeat(recency, len(frequency)),
            "T": age,
        }
    )
    possible = (rows["frequency"] > 0) == (rows["recency"] > 0)
    predict = getattr(buying.model, of)
    some = rows[possible]
    rows["value"] = predict(some) if t is None else predict(some, t)
    table = rows["value"].to_numpy(np.float64).reshape(len(recency), len(frequency))
    out = pd.DataFrame(
        table,
        index=pd.Index(recency, name="recency"),
        columns=pd.Index(frequency, name="frequency"),
    )
    out.attrs = {
        "of": of,
        "T": age,
        "horizon": t,
        "time_unit": buying.unit_label,
        "model": title(model),
    }
    return out


def _age(T: float | str | timedelta | None, seen: Any, unit: TimeUnit | None) -> float:
    if T is None:
        if seen is None:
            raise OptionError(
                "the model does not have the data that it was fitted on, so it does not know "
                "their ages. Give T, e.g. T='39W'."
            )
        return float(seen.columns["T"].max())
    age = horizon_periods(T, unit)
    if age <= 0:
        raise OptionError(f"T={T!r} must be more than 0, e.g. T='39W'.")
    return age


def _frequencies(most: int | None, seen: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    if most is None:
        largest = _COLUMNS_UNSEEN if seen is None else int(seen.columns["x"].max())
        most = min(max(largest, 1), _MOST_COLUMNS)
    check_whole("max_frequency", most, 1)
    return np.arange(0, most + 1, -(-most // _MOST_COLUMNS), dtype=np.int64)


# --- one history -----------------------------------------------------------------------------


def alive_history(
    model: Any,
    history: pd.DataFrame,
    customer_id: Any,
    *,
    until: str | date | None = None,
    points: int = 200,
    level: float = 0.9,
) -> pd.DataFrame:
    """Tabulate how P(alive) of one customer went, from the first purchase on.

    At every moment it is what the model says of the customer's history up to then.

    Parameters
    ----------
    model : PurchaseEstimator or CLVModel
        Fitted.
    history : DataFrame
        From :func:`clvpredict.purchase_history`: `customer_id` and `date`, a row per purchase.
    customer_id : object
        One of its customers.
    until : str or date, optional
        The last moment. By default the end of observation, or, where the history does not say
        it, the last purchase of any customer. Later ones are allowed: what would be so if
        nothing more is bought.
    points : int
        Moments between the first purchase and the last moment, besides those of purchases.
    level : float
        Of the interval.

    Returns
    -------
    DataFrame
        `date`; `age`, in the model's unit; `frequency` and `recency` then; `p_alive`;
        `purchase`, whether this is one. A repeat purchase has two rows of one date: before it,
        and with it. If the fit has draws, `lower` and `upper` are an interval over them; of a
        posterior, `p_alive` is their mean. ``attrs`` has `customer_id`, `model`, `time_unit`,
        `level` and `observation_end`.

    Raises
    ------
    OptionError
        If the customer is not there, or buys first after ``until``.
    UnitError
        If the model does not know its unit of time.

    Examples
    --------
    >>> import clvpredict as clv
    >>> import pandas as pd
    >>> from clvpredict.evaluate import alive_history
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> dates = pd.to_datetime(["1997-01-01", "1997-03-01", "1997-03-20"])
    >>> bought = pd.DataFrame({"customer_id": 7, "date": dates})
    >>> table = alive_history(clv.MBGNBD().fit(rfm), bought, 7, until="1998-06-30")
    >>> int(table["purchase"].sum()), bool(table["p_alive"].iloc[-1] < 0.5)
    (3, True)
    """
    buying = purchase_part(model)
    check_whole("points", points, 2)
    check_level("level", level)
    unit = buying.unit
    if unit is None:
        raise UnitError(
            "the history has dates, and the model does not know its unit of time. Fit with "
            "fit(rfm, time_unit='W') (or 'D', ...)."
        )
    # What the history says of itself; a frame from elsewhere need not.
    collapse, observed = history.attrs.get("collapse"), history.attrs.get("observation_end")
    bought = _purchases(history, customer_id, collapse)
    last = pd.Timestamp(until or observed or history["date"].max())
    end = _period(pd.Series([last]), collapse)[0]
    if not end >= bought[0]:
        raise OptionError(
            f"customer {customer_id!r} bought first on {bought[0]:%Y-%m-%d}, after "
            f"until={end:%Y-%m-%d}; give a later one."
        )
    length = pd.Timedelta(days=unit.days)
    moments = _moments(
        ((bought - bought[0]) / length).to_numpy(), (end - bought[0]) / length, points
    )
    on = pd.Series(bought[0] + pd.to_timedelta(moments["age"] * unit.days, unit="D")).dt.round("s")
    known = moments["purchase"].to_numpy()
    on[known] = bought[moments["frequency"][known]]
    moments.insert(0, "date", on.astype("datetime64[us]"))
    history_so_far = Histories.of(moments["frequency"], moments["recency"], moments["age"])
    for name, values in _alive(buying, history_so_far, level).items():
        moments[name] = values
    columns = [c for c in ("p_alive", "purchase", "lower", "upper") if c in moments]
    moments = moments[["date", "age", "frequency", "recency", *columns]]
    moments.attrs = {
        "customer_id": customer_id,
        "model": title(model),
        "time_unit": unit.label,
        "level": level if "lower" in moments else None,
        "observation_end": observed,
    }
    return moments


def _purchases(history: pd.DataFrame, customer_id: Any, collapse: str | None) -> pd.DatetimeIndex:
    """The dates of a customer's purchases, each once."""
    ids = require_column(history, "customer_id", "alive_history")
    when = require_column(history, "date", "alive_history")
    own = when[(ids == customer_id).to_numpy()]
    if own.empty:
        some = ", ".join(map(repr, ids.drop_duplicates().head(5).tolist()))
        raise OptionError(
            f"customer_id={customer_id!r} is not in the history, which has {ids.nunique():,} "
            f"customers, e.g. {some}."
        )
    return pd.DatetimeIndex(np.unique(_period(pd.to_datetime(own), collapse)))


def _period(when: pd.Series, collapse: str | None) -> pd.DatetimeIndex:
    """The collapse periods that moments lie in, as the summary counts them."""
    moments = pd.DatetimeIndex(when)
    if collapse == "W":
        return moments.normalize() - pd.to_timedelta(moments.day_of_week, unit="D")
    return moments.floor(collapse) if collapse in ("h", "D") else moments


def _moments(bought: Array, end: float, points: int) -> pd.DataFrame:
    """Ages to look at: evenly spaced, and before and at each purchase."""
    bought = bought[bought <= end]
    between = np.setdiff1d(np.linspace(0.0, end, points), bought)
    count = np.arange(len(bought))
    state = np.concatenate([np.searchsorted(bought, between) - 1, count[1:] - 1, count])
    out = pd.DataFrame(
        {
            "age": np.concatenate([between, bought[1:], bought]),
            "frequency": state,
            "recency": bought[state],
            "purchase": np.repeat([False, True], [len(between) + len(bought) - 1, len(bought)]),
        }
    )
    return out.sort_values(["age", "frequency"], ignore_index=True)


def _alive(buying: Part[PurchaseModel], h: Histories, level: float) -> dict[str, Array]:
    """P(alive) of each row, and an interval of it where the fit has draws."""
    result = buying.result
    point = buying.formulas.p_alive(result.theta, h)
    if result.sample is None:
        return {"p_alive": point}
    theta = tuple(column[None, :] for column in result.draws(DRAWS, 0).T)
    rows = Histories(h.weight, **{name: column[:, None] for name, column in h.columns.items()})
    drawn = np.broadcast_to(buying.formulas.p_alive(theta, rows), (len(h), theta[0].size))
    lower, upper = interval_of(drawn, level)
    return {
        "p_alive": drawn.mean(axis=1) if result.is_posterior else point,
        "lower": lower,
        "upper": upper,
    }
