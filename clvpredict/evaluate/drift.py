"""Whether customers acquired at different times behave alike: one fit per cohort."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.errors import (
    ClvWarning,
    ConvergenceError,
    DataError,
    IdentificationWarning,
    InfiniteValueError,
    OptionError,
    unknown_option,
)
from clvpredict.evaluate.fitted import check_settings
from clvpredict.evaluate.predictive import bounds
from clvpredict.evaluate.subject import acquired
from clvpredict.inference.result import FitResult
from clvpredict.models.base import NEW_CUSTOMER, Model, PurchaseModel, SpendModel, Theta
from clvpredict.models.registry import model_by_name
from clvpredict.options import TimeUnit, horizon_periods
from clvpredict.rfm import SpendHistories, check_rfm, provenance_of
from clvpredict.special import DRAWS, at_accuracy

#: What the row of all customers is called.
POOLED = "all"
# Fewer repeat buyers than this, and estimates are noise.
_FEW_BUYERS = 30
_DRAWS = 500
_CALENDAR = ("W", "M", "Q", "Y")
_COLUMNS = ("cohort", "customers", "parameter", "estimate", "lower", "upper", "status")


def drift_check(
    model: Any,
    rfm: pd.DataFrame,
    *,
    cohorts: str | int = "Q",
    horizon: float | str | None = None,
    level: float = 0.9,
    seed: int = 0,
    **options: Any,
) -> pd.DataFrame:
    """Fit the same model to each acquisition cohort, and tabulate what is comparable.

    Parameters
    ----------
    model : estimator, CLVModel, or callable
        A model whose class is fitted anew (it need not be fitted, and stays as it is); or what
        makes an unfitted model, such as ``clvpredict.MBGNBD``.
    rfm : DataFrame
        The customers.
    cohorts : {"W", "M", "Q", "Y"} or int
        Calendar weeks, months, quarters or years of the first purchase, for summaries that know
        when observation ended; or about how many groups of equal size, from the longest known
        customers to the newest.
    horizon : float or str, optional
        Of the purchases of a new customer; a year where the time unit is known.
    level : float
        Of the intervals: of the posterior, or asymptotic.
    seed : int
        Equal seeds give equal tables.
    **options
        For ``fit``, e.g. ``method="laplace"``; maximum likelihood by default.

    Returns
    -------
    DataFrame
        Rows of all customers (cohort ``"all"``) first, then by cohort, the oldest first:
        `cohort`, `customers`, `parameter`, `estimate`, `lower`, `upper`, `status`. `parameter` is
        one of the model's, or `mean purchase rate` (r/alpha, while alive), `mean dropout
        probability` (a/(a+b)), `purchases of a new customer` (expected within the horizon),
        `mean spend`. `status` is ``"ok"``, or says what is wrong: a cohort that is too small (30
        repeat buyers are needed) or not fitted has no numbers, one whose parameters are not
        identified no intervals. ``attrs`` has `model`, `horizon`, `time_unit`, `level`.

    Raises
    ------
    DataError, UnitError
        If the summary cannot be used.
    OptionError
        If there is no model, it cannot be fitted to all customers, or the cohorts cannot be made.

    Notes
    -----
    Younger cohorts are observed for less time, so their intervals are wider, above all of the
    dropout. Compare the derived quantities first: r and alpha, or a and b, move together.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import drift_check
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> table = drift_check(clv.MBGNBD, rfm, cohorts="M")
    >>> table["cohort"].unique().tolist()
    ['all', '1997-01', '1997-02', '1997-03']
    """
    check_settings(level)
    check_rfm(rfm, ("frequency", "recency", "T"))
    groups = _cohorts(rfm, cohorts)
    provenance = provenance_of(rfm)
    unit = provenance.unit if provenance else None
    if unit is None and options.get("time_unit") is not None:
        unit = TimeUnit.parse(options["time_unit"])
    if unit is None:
        unit = getattr(getattr(model, "purchases", model), "time_unit_", None)
    periods = None
    if horizon is not None or unit is not None:
        periods = horizon_periods("1Y" if horizon is None else horizon, unit)
    rows: list[tuple[Any, ...]] = []
    titles = []
    for maker in _makers(model):
        pooled, status = _fit(maker, rfm, options)
        if pooled is None:
            raise OptionError(f"the model cannot be fitted to all customers: {status}")
        of_all = quantities(pooled, periods, level, seed)
        titles.append(model_by_name(pooled.model).title)
        rows += [(POOLED, len(rfm), *numbers, status) for numbers in of_all]
        for name, members in groups.items():
            cohort = rfm.loc[members]
            result, status = _fit(maker, cohort, options)
            found = (
                [(quantity, np.nan, np.nan, np.nan) for quantity, *_ in of_all]
                if result is None
                else quantities(result, periods, level, seed)
            )
            rows += [(name, len(cohort), *numbers, status) for numbers in found]
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    # All rows of a cohort together, also where there are two models.
    order = {name: i for i, name in enumerate((POOLED, *groups))}
    table = table.sort_values("cohort", key=lambda c: c.map(order), kind="stable")
    table = table.reset_index(drop=True)
    table.attrs = {
        "model": " and ".join(titles),
        "horizon": periods,
        "time_unit": unit.label if unit else None,
        "level": level,
    }
    return table


def _makers(model: Any) -> list[Any]:
    """Classes of the models to fit."""
    made = model() if callable(model) else model
    found = [type(getattr(made, p)) for p in ("purchases", "spend") if hasattr(made, p)]
    found = found or [type(made)]
    if not all(hasattr(cls, "fit") for cls in found):
        raise OptionError(
            f"model={model!r} is neither a model nor makes one; give e.g. clvpredict.MBGNBD."
        )
    return found


def _fit(maker: Any, rfm: pd.DataFrame, options: dict[str, Any]) -> tuple[FitResult | None, str]:
    """The fit, and what is to be said of it."""
    buyers = int((rfm["frequency"] > 0).sum())
    if buyers < _FEW_BUYERS:
        return None, f"too small: {buyers} repeat buyers, {_FEW_BUYERS} are needed"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ClvWarning)
        try:
            result: FitResult = maker().fit(rfm, **options).result_
        except (ConvergenceError, DataError) as error:
            return None, f"not fitted: {error}"
    said = [str(w.message) for w in caught if not issubclass(w.category, IdentificationWarning)]
    if result.convergence.unidentified and not result.is_posterior:
        said.insert(0, f"not identified: {', '.join(result.convergence.unidentified)}")
    return result, "; ".join(said) or "ok"


def quantities(
    result: FitResult, periods: float | None, level: float, seed: int
) -> list[tuple[str, float, float, float]]:
    """Name, estimate and interval of each parameter and of what follows from them."""
    formulas = model_by_name(result.model)
    point = _values(formulas, result.theta, periods)
    try:
        draws = result.draws(_DRAWS, seed)
    except InfiniteValueError:
        return [(name, float(value), np.nan, np.nan) for name, value in point.items()]
    with at_accuracy(DRAWS):
        drawn = _values(formulas, tuple(draws.T), periods)
    found = []
    for name, value in point.items():
        lower, upper = bounds(drawn[name], level)
        mean = result.is_posterior and name not in result.names
        estimate = float(np.mean(drawn[name])) if mean else float(value)
        found.append((name, estimate, float(lower), float(upper)))
    return found


def _values(formulas: Model, theta: Theta, periods: float | None) -> dict[str, Any]:
    """Parameters and what follows from them, a number or one per draw."""
    at: dict[str, Any] = dict(zip(formulas.parameter_names, theta, strict=True))
    found = dict(at)
    if {"r", "alpha"} <= set(at):
        found["mean purchase rate"] = at["r"] / at["alpha"]
    if {"a", "b"} <= set(at):
        found["mean dropout probability"] = at["a"] / (at["a"] + at["b"])
    one = np.zeros(np.shape(theta[0]) or (1,))
    rows = tuple(np.broadcast_to(v, one.shape) for v in theta)
    if isinstance(formulas, PurchaseModel) and periods is not None:
        found["purchases of a new customer"] = formulas.expected_purchases(
            rows, NEW_CUSTOMER, np.asarray(periods)
        )
    if isinstance(formulas, SpendModel):
        found["mean spend"] = formulas.expected_spend(
            rows, SpendHistories(np.ones(len(one)), x=one, m=one)
        )
    return {k: v if np.ndim(theta[0]) else np.ravel(v)[0] for k, v in found.items()}


def _cohorts(rfm: pd.DataFrame, cohorts: str | int) -> dict[str, npt.NDArray[np.bool_]]:
    """Members of each cohort, the oldest first."""
    age = rfm["T"].to_numpy(np.float64)
    first = acquired(rfm)
    if isinstance(cohorts, str):
        if cohorts not in _CALENDAR:
            raise unknown_option("cohorts", cohorts, _CALENDAR)
        if first is None:
            raise OptionError(
                f"cohorts={cohorts!r} needs dates, and this summary does not say when observation "
                "ended; make it with clvpredict.rfm_summary(...), or say cohorts=4 for four "
                "groups of equal size."
            )
        label = first.dt.to_period(cohorts)
        return {str(p): (label == p).to_numpy() for p in sorted(label.unique())}
    check_settings(0.5, cohorts=cohorts)
    code = pd.qcut(-age, cohorts, labels=False, duplicates="drop")
    found = {}
    for number in np.unique(code[~np.isnan(code)]):
        members = np.asarray(code == number)
        of_them = age[members] if first is None else first[members]
        low, high = of_them.min(), of_them.max()
        name = (
            f"T {low:.4g} to {high:.4g}" if first is None else f"{low:%Y-%m-%d} to {high:%Y-%m-%d}"
        )
        found[name] = members
    # Where all are of one age, there is one group.
    return found or {"one age": np.ones(len(rfm), bool)}
