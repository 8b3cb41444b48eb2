"""What is evaluated: fitted models, held to what came after their data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.errors import DataError, OptionError, Problem
from clvpredict.models.base import PurchaseModel
from clvpredict.rfm import Array, Provenance, check_rfm, provenance_of

_PURCHASES = ("frequency", "recency", "T", "frequency_holdout", "duration_holdout")


class Predictor(Protocol):
    """Anything that predicts purchases, or has it under ``purchases`` as ``CLVModel`` does."""

    def expected_purchases(self, rfm: pd.DataFrame, horizon: float) -> pd.Series:
        """E[purchases within ``horizon`` after T], one value per row."""


def naive(columns: Mapping[str, Array]) -> Array:
    """Purchases of a customer who goes on as before; none where no time was observed."""
    age = columns["T"]
    rate = np.divide(columns["frequency"], age, out=np.zeros_like(age), where=age > 0)
    return rate * columns["duration_holdout"]


def predicted(model: Any, split: pd.DataFrame) -> tuple[dict[str, Array], Array]:
    """Check the split; return its columns and the expected holdout purchases, shape (n,)."""
    columns = check_rfm(split, _PURCHASES)
    duration = columns["duration_holdout"]
    if not (duration > 0).all():
        fix = "split = clvpredict.calibration_holdout(transactions, calibration_end=...)"
        raise DataError("split", [Problem("no holdout: duration_holdout is 0", fix)])
    refuse_in_sample(model, provenance_of(split))
    buying: Predictor = getattr(model, "purchases", model)
    found = np.empty(len(split))
    for length in np.unique(duration):
        rows = duration == length
        found[rows] = buying.expected_purchases(split.loc[rows], float(length)).to_numpy()
    return columns, found


def refuse_in_sample(model: Any, split: Provenance | None) -> None:
    """Refuse a model that was fitted on what it is to be held to.

    Raises
    ------
    OptionError
        If its data reach into the holdout.
    """
    last = last_seen(model)
    if split is None or split.calibration_end is None or last is None:
        return
    if pd.Timestamp(last) > pd.Timestamp(split.calibration_end):
        raise OptionError(
            f"the model was fitted on data up to {last}, which reach into the holdout (it begins "
            f"after {split.calibration_end}): that would not be a test. Fit it on the split: "
            "model.fit(split)"
        )


def last_seen(model: Any) -> str | None:
    """The last day of a model's data; None if it knows of none, as with given parameters."""
    parts = [getattr(model, part) for part in ("purchases", "spend") if hasattr(model, part)]
    known = [d for part in parts or [model] if (d := getattr(part, "data_", None))]
    ends = [d.get("calibration_end") or d.get("observation_end") for d in known]
    return max((end for end in ends if end is not None), key=pd.Timestamp, default=None)


def seen_days(model: Any, cut: pd.Timestamp, until: pd.Timestamp) -> float:
    """How many days of a holdout a model was fitted on; nan if it does not know its data.

    Parameters
    ----------
    cut, until : Timestamp
        The last day before the holdout, and its own last day.
    """
    last = last_seen(model)
    if last is None:
        return float("nan")
    return float(max((min(pd.Timestamp(last).normalize(), until) - cut).days, 0))


def title(model: Any) -> str:
    """What tables call a model."""
    buying = getattr(model, "purchases", model)
    known = getattr(buying, "_model", None)
    return type(buying).__name__ if known is None else str(known.title)


def is_estimator(model: Any) -> bool:
    """Whether it predicts distributions of purchases, as estimators do and own rules do not."""
    known = getattr(getattr(model, "purchases", model), "_model", None)
    return isinstance(known, PurchaseModel) and not isinstance(model, type)


def acquired(rfm: pd.DataFrame) -> pd.Series | None:
    """When each customer first bought; None if the summary does not know its dates."""
    provenance = provenance_of(rfm)
    end = (provenance.calibration_end or provenance.observation_end) if provenance else None
    if provenance is None or end is None:
        return None
    age = pd.to_timedelta(rfm["T"].to_numpy(np.float64) * provenance.unit.days, unit="D")
    return pd.Series(pd.Timestamp(end) - age.round("s"))


def periods(split: pd.DataFrame, duration: npt.NDArray[np.float64]) -> dict[Any, Any]:
    """What a picture says on its axes."""
    provenance = provenance_of(split)
    return {
        "duration_holdout": float(duration.max()),
        "time_unit": provenance.unit.label if provenance else None,
        "currency": provenance.currency if provenance else None,
        "calibration_end": provenance.calibration_end if provenance else None,
        "observation_end": provenance.observation_end if provenance else None,
    }
