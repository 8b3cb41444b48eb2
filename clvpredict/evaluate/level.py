"""Levels: how many purchases were predicted, and how many came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from clvpredict.errors import OptionError
from clvpredict.evaluate.subject import naive, periods, predicted, title
from clvpredict.rfm import Array


def calibration_table(model: Any, split: pd.DataFrame, *, top: int = 7) -> pd.DataFrame:
    """Compare predicted with observed holdout purchases by earlier frequency.

    Parameters
    ----------
    model : PurchaseEstimator, CLVModel or any Predictor
        Fitted on the calibration period.
    split : DataFrame
        From :func:`clvpredict.calibration_holdout`.
    top : int
        Customers with this many repeat purchases or more are one group.

    Returns
    -------
    DataFrame
        One row per group: `model`, `frequency` (text: ``"0"``, ``"1"``, ... ``"7+"``),
        `customers`, `predicted` (mean expected purchases in the holdout), `observed` (mean),
        `observed_se` (standard error of it) and `naive` (mean of frequency / T × duration: who
        goes on as before). Groups without customers have missing means. ``attrs`` says which
        periods these are. Tables of several models can be put under one another.

    Raises
    ------
    DataError
        If ``split`` has no holdout or cannot be used.
    OptionError
        If the model was fitted on data that reach into the holdout.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import calibration_table
    >>> split = clv.calibration_holdout(
    ...     clv.load_cdnow(), calibration_end="1997-09-30", time_unit="W"
    ... )
    >>> table = calibration_table(clv.MBGNBD().fit(split), split)
    >>> table["customers"].tolist()
    [1411, 439, 214, 100, 62, 38, 29, 64]
    """
    columns, expected = predicted(model, split)
    table = by_frequency(title(model), expected, columns, top)
    table.attrs = periods(split, columns["duration_holdout"])
    return table


def by_frequency(
    name: str, expected: Array, columns: Mapping[str, Array], top: int
) -> pd.DataFrame:
    """Means of customers of each earlier frequency.

    Raises
    ------
    OptionError
        If ``top`` is less than 1.
    """
    if top < 1:
        raise OptionError(f"top={top!r} must be at least 1.")
    group = np.minimum(columns["frequency"], top).astype(int)
    frame = pd.DataFrame(
        {"predicted": expected, "observed": columns["frequency_holdout"], "naive": naive(columns)}
    ).groupby(group)
    table = frame.mean().assign(customers=frame.size(), observed_se=frame["observed"].sem())
    order = ["customers", "predicted", "observed", "observed_se", "naive"]
    table = table[order].reindex(range(top + 1))
    table["customers"] = table["customers"].fillna(0).astype(np.int64)
    table.insert(0, "frequency", [*map(str, range(top)), f"{top}+"])
    table.insert(0, "model", name)
    return table.reset_index(drop=True)


def holdout_totals(model: Any, split: pd.DataFrame) -> pd.DataFrame:
    """Compare predicted with observed holdout purchases over all customers.

    Parameters
    ----------
    model : PurchaseEstimator, CLVModel or any Predictor
        Fitted on the calibration period.
    split : DataFrame
        From :func:`clvpredict.calibration_holdout`.

    Returns
    -------
    DataFrame
        Index `quantity`: `predicted_total`, `observed_total`, `bias_percent` (predicted over
        observed), and per customer `mae` and `rmse`; one column named after the model, and
        `naive` for the rule "everybody goes on as before", frequency / T × duration.

    Raises
    ------
    DataError, OptionError
        As :func:`calibration_table`.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import holdout_totals
    >>> split = clv.calibration_holdout(
    ...     clv.load_cdnow(), calibration_end="1997-09-30", time_unit="W"
    ... )
    >>> totals = holdout_totals(clv.BGNBD().fit(split), split)
    >>> totals.loc["predicted_total"].round().to_dict()
    {'BG/NBD': 1653.0, 'naive': 2930.0}
    """
    columns, expected = predicted(model, split)
    observed = columns["frequency_holdout"]
    table = pd.DataFrame(
        {title(model): _totals(expected, observed), "naive": _totals(naive(columns), observed)}
    )
    table.index.name = "quantity"
    table.attrs = periods(split, columns["duration_holdout"])
    return table


def _totals(predicted: Array, observed: Array) -> dict[str, float]:
    error = predicted - observed
    total = float(observed.sum())
    return {
        "predicted_total": float(predicted.sum()),
        "observed_total": total,
        "bias_percent": 100.0 * float(error.sum()) / total if total else float("nan"),
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
    }
