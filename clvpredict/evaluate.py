"""How predictions fare on purchases that the model has not seen. Every function gives a table."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.errors import DataError, OptionError, Problem
from clvpredict.models.registry import model_by_name
from clvpredict.rfm import Array, Provenance, check_rfm, provenance_of

_PURCHASES = ("frequency", "recency", "T", "frequency_holdout", "duration_holdout")


class Predictor(Protocol):
    """Anything that predicts purchases, or has it under ``purchases`` as ``CLVModel`` does."""

    def expected_purchases(self, rfm: pd.DataFrame, horizon: float) -> pd.Series:
        """E[purchases within ``horizon`` after T], one value per row."""


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
    if top < 1:
        raise OptionError(f"top={top!r} must be at least 1.")
    columns, predicted = _predicted(model, split)
    group = np.minimum(columns["frequency"], top).astype(int)
    frame = pd.DataFrame(
        {
            "predicted": predicted,
            "observed": columns["frequency_holdout"],
            "naive": _naive(columns),
        }
    ).groupby(group)
    mean = frame.mean()
    table = pd.DataFrame(
        {
            "customers": frame.size(),
            "predicted": mean["predicted"],
            "observed": mean["observed"],
            "observed_se": frame["observed"].sem(),
            "naive": mean["naive"],
        }
    ).reindex(range(top + 1))
    table["customers"] = table["customers"].fillna(0).astype(np.int64)
    table.insert(0, "frequency", [*map(str, range(top)), f"{top}+"])
    table.insert(0, "model", _title(model))
    table = table.reset_index(drop=True)
    table.attrs = _periods(split, columns["duration_holdout"])
    return table


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
    columns, predicted = _predicted(model, split)
    observed = columns["frequency_holdout"]
    table = pd.DataFrame(
        {_title(model): _totals(predicted, observed), "naive": _totals(_naive(columns), observed)}
    )
    table.index.name = "quantity"
    table.attrs = _periods(split, columns["duration_holdout"])
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


def _naive(columns: dict[str, Array]) -> Array:
    """Purchases of a customer who goes on as before; none where no time was observed."""
    age = columns["T"]
    rate = np.divide(columns["frequency"], age, out=np.zeros_like(age), where=age > 0)
    return rate * columns["duration_holdout"]


def _predicted(model: Any, split: pd.DataFrame) -> tuple[dict[str, Array], Array]:
    """Check the split; return its columns and the expected holdout purchases, shape (n,)."""
    columns = check_rfm(split, _PURCHASES)
    duration = columns["duration_holdout"]
    if not (duration > 0).all():
        fix = "split = clvpredict.calibration_holdout(transactions, calibration_end=...)"
        raise DataError("split", [Problem("no holdout: duration_holdout is 0", fix)])
    _refuse_in_sample(model, provenance_of(split))
    buying: Predictor = getattr(model, "purchases", model)
    predicted = np.empty(len(split))
    for length in np.unique(duration):
        rows = duration == length
        predicted[rows] = buying.expected_purchases(split.loc[rows], float(length)).to_numpy()
    return columns, predicted


def _refuse_in_sample(model: Any, split: Provenance | None) -> None:
    fitted = getattr(getattr(model, "purchases", model), "data_", None)
    if split is None or split.calibration_end is None or not fitted:
        return
    last = fitted.get("calibration_end") or fitted.get("observation_end")
    if last is not None and pd.Timestamp(last) > pd.Timestamp(split.calibration_end):
        raise OptionError(
            f"the model was fitted on data up to {last}, which reach into the holdout (it begins "
            f"after {split.calibration_end}): that would not be a test. Fit it on the split: "
            "model.fit(split)"
        )


def _title(model: Any) -> str:
    buying = getattr(model, "purchases", model)
    result = getattr(buying, "result_", None)
    return type(buying).__name__ if result is None else model_by_name(result.model).title


def _periods(split: pd.DataFrame, duration: npt.NDArray[np.float64]) -> dict[Any, Any]:
    """What a picture says on its axes."""
    provenance = provenance_of(split)
    return {
        "duration_holdout": float(duration.max()),
        "time_unit": provenance.unit.label if provenance else None,
        "calibration_end": provenance.calibration_end if provenance else None,
        "observation_end": provenance.observation_end if provenance else None,
    }
