"""Purchases week by week: what models expected, and what came."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from clvpredict.errors import DataError, DataWarning, OptionError, Problem, notify
from clvpredict.evaluate.fan import paths
from clvpredict.evaluate.fitted import Part, check_level, check_whole, purchase_part
from clvpredict.evaluate.judged import NAIVE, Holdout, named
from clvpredict.evaluate.subject import naive, refuse_in_sample
from clvpredict.models.base import NEW_CUSTOMER, PurchaseModel
from clvpredict.options import TimeUnit
from clvpredict.predict import interval_of
from clvpredict.rfm import Array, customer_ids, provenance_of


def tracking_table(
    models: Any,
    history: pd.DataFrame,
    split: pd.DataFrame,
    *,
    every: str = "W",
    level: float = 0.9,
    draws: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Tabulate expected and observed repeat purchases over time, of all customers together.

    Parameters
    ----------
    models : fitted model, list of them, or mapping from name to model
        Fitted on the split's calibration period.
    history : DataFrame
        From :func:`clvpredict.purchase_history`, of the same transactions, with the same
        options.
    split : DataFrame
        From :func:`clvpredict.calibration_holdout`. Its customers are tracked.
    every : str
        Length of a period: ``"W"``, ``"2W"``, ``"D"``. Periods are counted from the end of
        calibration both ways; what is left over at either end of the data is no whole period
        and not in the table.
    level : float
        Of the predictive bands.
    draws, seed : int
        Futures to simulate for them.

    Returns
    -------
    DataFrame
        A row per model and period: `model, start, end` (days; the end is in the period),
        `phase` (``"calibration"`` or ``"holdout"``), `observed, expected, lower, upper` (of the
        period), `observed_cumulative, expected_cumulative, lower_cumulative,
        upper_cumulative`. In calibration, `expected` is what the parameters say of customers
        acquired at those dates, of whom nothing else is known; there is no band, for the model
        has seen the data. In the holdout it is the forecast given each customer's history, and
        cumulative ones go on from what was observed at the end of calibration. Below the models
        stands the baseline ``naive``, who goes on as before: holdout only, no band.

    Raises
    ------
    DataError
        If the history does not hold the split's customers.
    OptionError
        If the split has no dates, or a model has seen the holdout.

    Warns
    -----
    DataWarning
        If history and split count different purchases.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import tracking_table
    >>> cdnow = clv.load_cdnow()
    >>> split = clv.calibration_holdout(cdnow, calibration_end="1997-09-30", time_unit="W")
    >>> table = tracking_table(clv.MBGNBD().fit(split), clv.purchase_history(cdnow), split)
    >>> holdout = table[(table["phase"] == "holdout") & (table["model"] == "MBG/NBD")]
    >>> len(holdout), int(holdout["observed"].sum()), round(float(holdout["expected"].sum()))
    (39, 1882, 1577)
    """
    check_level("level", level)
    check_whole("draws", draws, 2)
    check_whole("seed", seed, 0)
    holdout = Holdout.of(split)
    provenance = provenance_of(split)
    if provenance is None or provenance.calibration_end is None:
        raise OptionError(
            "tracking needs dates, and this split has none: make it with "
            "clvpredict.calibration_holdout(transactions, calibration_end=...)."
        )
    cut = pd.Timestamp(provenance.calibration_end)
    step = TimeUnit.parse(every).days
    if step != round(step):
        raise OptionError(f"every={every!r} must be whole days, such as 'W', '4W' or 'D'.")
    first, repeats = _purchases(history, split, cut)
    age, acquired = np.unique((cut - first).dt.days.to_numpy(np.float64), return_counts=True)
    _compare_counts(int((repeats <= cut).sum()), int(holdout.columns["frequency"].sum()), cut)
    ahead = int(np.floor(holdout.horizon * provenance.unit.days / step + 1e-9))
    back = int(np.floor(age.max() / step))
    if ahead < 1:
        raise OptionError(f"every={every!r} is longer than the holdout; give a shorter period.")
    edges = cut + pd.to_timedelta(np.arange(-back, ahead + 1) * step, unit="D")
    # A day belongs to the period that it ends or lies in.
    place = np.searchsorted(edges.to_numpy(), repeats.to_numpy(), side="left") - 1
    known = (place >= 0) & (place < back + ahead)
    observed = np.bincount(place[known], minlength=back + ahead).astype(np.float64)
    before = float((place < 0).sum())
    parts = []
    for name, model in named(models).items():
        refuse_in_sample(model, provenance)
        buying = purchase_part(model)
        since = (np.arange(-back, 1) * step + age[:, None]) / provenance.unit.days
        past = acquired @ _unconditional(buying, np.maximum(since, 0.0))
        t = ahead * step / provenance.unit.days
        _, future, drawn = paths(buying, split, t, ahead, draws, seed)
        parts.append(_table(name, edges, observed, before, past, future, drawn, level))
    rate = naive(holdout.columns).sum() * step / (holdout.horizon * provenance.unit.days)
    going_on = rate * np.arange(ahead + 1)
    unknown = np.full((ahead + 1, 1), np.nan)
    past = np.full(back + 1, np.nan)
    parts.append(_table(NAIVE, edges, observed, before, past, going_on, unknown, level))
    table = pd.concat(parts, ignore_index=True)
    table.attrs = {
        "level": level,
        "every": every,
        "time_unit": provenance.unit.label,
        "calibration_end": provenance.calibration_end,
        "observation_end": provenance.observation_end,
        "customers": len(split),
    }
    return table


def _purchases(
    history: pd.DataFrame, split: pd.DataFrame, cut: pd.Timestamp
) -> tuple[pd.Series, pd.Series]:
    """The day of each customer's first purchase, and the days of all later ones."""
    ids = pd.Index(customer_ids(split))
    own = history[history["customer_id"].isin(ids)]
    first = own.groupby("customer_id", sort=False)["date"].transform("min")
    starts = own.loc[own["date"] == first].set_index("customer_id")["date"].reindex(ids)
    days = starts.dt.normalize()  # with collapse="h" there are hours
    missing = int((days.isna() | (days > cut)).sum())
    if missing:
        raise DataError(
            "history",
            [
                Problem(
                    "customers of the split without a purchase in calibration",
                    "give the history of the same transactions, with the same options: "
                    "purchase_history(transactions, ...)",
                    missing,
                )
            ],
        )
    return days, own.loc[own["date"] > first, "date"].dt.normalize()


def _compare_counts(history: int, split: int, cut: pd.Timestamp) -> None:
    if history != split:
        notify(
            f"up to {cut.date()} the history has {history:,} repeat purchases of these customers, "
            f"and the split {split:,}: make both of the same transactions with the same options. "
            "With collapse='W', end calibration on a Sunday; a week that it divides counts twice.",
            DataWarning,
        )


def _unconditional(buying: Part[PurchaseModel], since: Array) -> Array:
    """Expected repeat purchases of a customer so long after the first one, shape of ``since``."""
    distinct, place = np.unique(since, return_inverse=True)
    value = np.zeros(len(distinct))
    some = distinct > 0
    value[some] = buying.formulas.expected_purchases(
        buying.result.theta, NEW_CUSTOMER, distinct[some]
    )
    return np.asarray(value[place].reshape(since.shape))


def _table(
    name: str,
    edges: pd.DatetimeIndex,
    observed: Array,
    before: float,
    past: Array,
    future: Array,
    drawn: Array,
    level: float,
) -> pd.DataFrame:
    back = len(past) - 1
    until = before + np.cumsum(observed)
    at_cut = until[back - 1] if back else before
    unknown = np.full(back, np.nan)
    lower, upper = interval_of(np.diff(drawn, axis=0), level)
    low, high = interval_of(drawn[1:], level)
    return pd.DataFrame(
        {
            "model": name,
            "start": edges[:-1] + pd.Timedelta(days=1),
            "end": edges[1:],
            "phase": np.where(np.arange(len(observed)) < back, "calibration", "holdout"),
            "observed": observed,
            "expected": np.concatenate([np.diff(past), np.diff(future)]),
            "lower": np.concatenate([unknown, lower]),
            "upper": np.concatenate([unknown, upper]),
            "observed_cumulative": until,
            "expected_cumulative": np.concatenate([past[1:], at_cut + future[1:]]),
            "lower_cumulative": np.concatenate([unknown, at_cut + low]),
            "upper_cumulative": np.concatenate([unknown, at_cut + high]),
        }
    )
