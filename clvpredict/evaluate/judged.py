"""Models and baselines, each with its forecasts of one holdout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clvpredict.errors import DataError, InfiniteValueError, OptionError, Problem
from clvpredict.evaluate.subject import is_estimator, naive, refuse_in_sample, title
from clvpredict.inference.fit import check_options, fit_model
from clvpredict.models.registry import PURCHASE_MODELS
from clvpredict.predict import (
    Customers,
    Recalibration,
    Scores,
    if_alive,
    interval_of,
    purchase_processes,
)
from clvpredict.predict.distribution import score_counts
from clvpredict.rfm import Array, check_rfm, compress_histories, provenance_of

LEVELS = (0.5, 0.8, 0.9, 0.95)
#: Level of the intervals of totals.
TOTALS_LEVEL = 0.9
NAIVE, LAST, NBD = "naive", "last period", "NBD"
# Customers × draws, of value and totals; but so many draws at least.
_MOST_VALUES, _LEAST_DRAWS = 50_000_000, 100
_COLUMNS = ("frequency", "recency", "T", "frequency_holdout", "duration_holdout")
_MONEY = ("monetary_value", "monetary_value_holdout")


@dataclass(frozen=True)
class Holdout:
    """What customers did, as arrays of shape (n,).

    Parameters
    ----------
    split : DataFrame
        As it was given.
    columns : dict of str to ndarray
        Those that are numbers.
    horizon : float
        Length, in the time unit.
    purchases : ndarray
    value : ndarray or None
        Sum of their purchases; None without amounts.
    """

    split: pd.DataFrame
    columns: dict[str, Array]
    horizon: float
    purchases: Array
    value: Array | None

    @classmethod
    def of(cls, split: Any) -> Holdout:
        """Check a split.

        Raises
        ------
        DataError
            If it has no holdout, or several of different lengths.
        """
        if not isinstance(split, pd.DataFrame):
            fix = "split = clvpredict.calibration_holdout(transactions, calibration_end=...)"
            raise DataError("split", [Problem(f"a {type(split).__name__}, not a DataFrame", fix)])
        money = all(c in split.columns for c in _MONEY)
        last = [c for c in ("frequency_last", "monetary_value_last") if c in split.columns]
        columns = check_rfm(split, (*_COLUMNS, *(_MONEY if money else ()), *last))
        lengths = np.unique(columns["duration_holdout"])
        if len(lengths) != 1 or not lengths[0] > 0:
            fix = "split = clvpredict.calibration_holdout(transactions, calibration_end=...)"
            what = "no holdout: duration_holdout is 0"
            if len(lengths) > 1:
                what = f"holdouts of {len(lengths)} different lengths (duration_holdout)"
            raise DataError("split", [Problem(what, fix)])
        bought = columns["frequency_holdout"]
        value = bought * columns["monetary_value_holdout"] if money else None
        return cls(split, columns, float(lengths[0]), bought, value)

    @property
    def history(self) -> dict[str, Array]:
        """`x`, `T`, `t_x`."""
        return {
            "x": self.columns["frequency"],
            "T": self.columns["T"],
            "t_x": self.columns["recency"],
        }


@dataclass(frozen=True)
class Judged:
    """The forecasts of one model or baseline; arrays of shape (n,).

    Parameters
    ----------
    name : str
    baseline : bool
    expected : ndarray
        Expected purchases.
    p_purchase : ndarray or None
        P(at least one purchase); None where it gives none.
    purchases : Scores or None
        How purchases lie in their distribution; None where it gives none.
    expected_value : ndarray or None
        None without amounts.
    value : Scores or None
    totals : dict
        Interval of total purchases and value (`purchases_lower`, ...), where it gives one.
    note : str or None
        What is missing, and why.
    """

    name: str
    baseline: bool
    expected: Array
    p_purchase: Array | None = None
    purchases: Scores | None = None
    expected_value: Array | None = None
    value: Scores | None = None
    totals: Mapping[str, float] | None = None
    note: str | None = None


def named(models: Any) -> dict[str, Any]:
    """Models by name: of one, of several in a list, or as they were named.

    Raises
    ------
    OptionError
        If two have one name, or there are none.
    """
    if isinstance(models, Mapping):
        found = {str(k): v for k, v in models.items()}
    else:
        is_list = isinstance(models, Sequence) and not isinstance(models, str)
        several = list(models) if is_list else [models]
        titles = [title(m) for m in several]
        twice = sorted({t for t in titles if titles.count(t) > 1})
        if twice:
            raise OptionError(
                f"several models are called {', '.join(twice)}; name them: "
                "{'mle': one, 'laplace': other}."
            )
        found = dict(zip(titles, several, strict=True))
    for name, model in found.items():
        buying = getattr(model, "purchases", model)
        if isinstance(model, type) or not hasattr(type(buying), "expected_purchases"):
            raise OptionError(
                f"{name} is no model: give a fitted one, such as MBGNBD().fit(split), a list of "
                f"them, or a mapping from name to model; got {model!r}."
            )
    if not found:
        raise OptionError("models is empty; give a fitted model, e.g. MBGNBD().fit(split).")
    taken = [n for n in found if n in (NAIVE, LAST, NBD, "oracle", "random")]
    if taken and not all(title(found[n]) == n for n in taken):
        raise OptionError(f"the name {taken[0]!r} is taken by a baseline; choose another.")
    return found


def judge(
    name: str,
    model: Any,
    holdout: Holdout,
    *,
    draws: int = 500,
    seed: int = 0,
    recalibration: Recalibration | None = None,
    in_sample: bool = False,
) -> Judged:
    """Let a fitted model forecast the holdout, and hold what happened to it.

    Raises
    ------
    OptionError
        If it was fitted on data that reach into the holdout, unless ``in_sample`` allows that.
    """
    split, t = holdout.split, holdout.horizon
    provenance = provenance_of(split)
    if not in_sample:
        refuse_in_sample(model, provenance)
    cut = None if provenance is None else provenance.calibration_end
    if recalibration is not None and cut is not None and recalibration.last_seen > cut[:10]:
        raise OptionError(
            f"the recalibration has seen purchases up to {recalibration.last_seen}, which reach "
            f"into the holdout (it begins after {cut}): that would not be a test. Learn it from "
            f"earlier vintages: recalibrate(results, before={cut[:10]!r})."
        )
    buying = getattr(model, "purchases", model)
    if not is_estimator(model):  # somebody's own rule, with expectations only
        return Judged(name, False, _by_own_rule(name, buying, split, t))
    # Of so many customers, fewer draws say as much.
    enough = max(_LEAST_DRAWS, _MOST_VALUES // max(len(split), 1))
    how = {"draws": min(draws, enough), "seed": seed, "recalibration": recalibration}
    money = buying is not model and holdout.value is not None
    terms = {**how, "discounting": "none"} if money else how
    subject = model if money else buying
    # As predict(), without its word on P(alive), which is not judged here.
    table = subject._points(split, t, terms)
    scores = buying.score(split, holdout.purchases, horizon=t, levels=LEVELS, **how)
    expected, p = (table[c].to_numpy(np.float64) for c in ("expected_purchases", "p_purchase"))
    worth = table["clv"].to_numpy(np.float64) if money else None
    try:
        totals = _totals(
            subject, split, t, ("purchases", "value") if money else ("purchases",), terms
        )
        value = None
        if money:
            value = model.score(split, holdout.value, horizon=t, of="value", levels=LEVELS, **terms)
    except InfiniteValueError as error:  # parameters that the data leave open have no draws
        note = f"no distribution of totals and value: {error}"
        return Judged(name, False, expected, p, scores, worth, note=note)
    return Judged(name, False, expected, p, scores, worth, value, totals)


def _by_own_rule(name: str, rule: Any, split: pd.DataFrame, t: float) -> Array:
    """Expected purchases by somebody's own rule, which sees nothing of the holdout."""
    known = split.loc[:, [c for c in split.columns if not str(c).endswith("_holdout")]].copy()
    found = rule.expected_purchases(known, t)
    if isinstance(found, pd.Series) and not found.index.equals(split.index):
        found = found.reindex(split.index)
    values = np.asarray(found, np.float64)
    if values.shape != (len(split),) or not (np.isfinite(values) & (values >= 0)).all():
        raise OptionError(
            f"{name}: expected_purchases(rfm, horizon) must give one number >= 0 per customer "
            f"({len(split):,}), none missing; got shape {values.shape}."
        )
    return values


def _totals(
    subject: Any,
    split: pd.DataFrame,
    t: float,
    realised: tuple[str, ...],
    terms: Mapping[str, Any],
) -> dict[str, float]:
    """Predictive intervals of totals."""
    drawn = subject.predict_draws(split, horizon=t, quantities=realised, sum_by=True, **terms)
    totals: dict[str, float] = {}
    for of in realised:
        low, high = interval_of(np.asarray(drawn[of], np.float64)[None, :], TOTALS_LEVEL)
        totals |= {f"{of}_lower": float(low[0]), f"{of}_upper": float(high[0])}
    return totals


def baselines(holdout: Holdout) -> list[Judged]:
    """What rules of thumb and a model without dropout say.

    ``"naive"``: everybody goes on as before, frequency / T × horizon purchases of the mean value
    so far. ``"last period"``: the last period of the holdout's length repeats itself. ``"NBD"``:
    Poisson purchases at Gamma rates, nobody ever leaves; mean value so far, or that of all.
    """
    columns = holdout.columns
    rate = naive(columns)
    spend = columns.get("monetary_value") if holdout.value is not None else None
    out = [Judged(NAIVE, True, rate, expected_value=None if spend is None else rate * spend)]
    if "frequency_last" in columns:
        last = columns["frequency_last"]
        worth = columns.get("monetary_value_last") if spend is not None else None
        out.append(Judged(LAST, True, last, expected_value=None if worth is None else last * worth))
    history = holdout.history
    if history["x"].sum() == 0:
        return out  # nobody has come back: there is no rate to fit
    model = PURCHASE_MODELS["nbd"]
    data, _ = compress_histories(history["x"], history["t_x"], history["T"])
    theta = fit_model(model, data, "mle", check_options("mle", {})).theta
    who = Customers.of(history["x"], history["t_x"], history["T"])
    found = {
        name: if_alive(model, theta, who, process)
        for name, process in purchase_processes(model, holdout.horizon).items()
    }
    point = np.array([[float(v) for v in theta]])
    scores = score_counts(model, point, history, holdout.horizon, holdout.purchases, LEVELS)
    worth = None
    if spend is not None:
        repeat = history["x"] > 0
        mean = np.average(spend[repeat], weights=history["x"][repeat])
        worth = found["expected_purchases"] * np.where(repeat, spend, mean)
    out.append(Judged(NBD, True, found["expected_purchases"], found["p_purchase"], scores, worth))
    return out
