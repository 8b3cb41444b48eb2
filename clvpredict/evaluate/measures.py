"""The metrics of one forecast of one holdout."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from clvpredict.evaluate import metrics
from clvpredict.evaluate.judged import LEVELS, Holdout, Judged
from clvpredict.predict import Scores
from clvpredict.rfm import Array

# Which customers are the best ones.
_TOP = 0.1


def measures(j: Judged, holdout: Holdout) -> dict[str, float]:
    """The metrics of one forecast; nan where it has none."""
    observed = holdout.purchases
    out = {"customers": float(len(observed)), **_point(j.expected, observed, "")}
    totals = j.totals or {}
    out["total_lower"] = totals.get("purchases_lower", np.nan)
    out["total_upper"] = totals.get("purchases_upper", np.nan)
    out |= _distribution(j.purchases, observed, "")
    if j.purchases is None:
        out["crps"] = out["mae"]  # that of a forecast that is a point
    event = observed > 0
    out["brier"] = out["auc"] = out["ece"] = float("nan")
    if j.p_purchase is not None:
        out["brier"] = float(((j.p_purchase - event) ** 2).mean())
        out["auc"] = metrics.auc(j.p_purchase, event)
        out["ece"] = metrics.expected_calibration_error(j.p_purchase, event)
    out["precision_top_decile"] = metrics.precision_at(j.expected, event, _TOP)
    if holdout.value is None:
        return out
    names = [*_point(observed, observed, "value_"), *_distribution(None, observed, "value_")]
    del names[names.index("value_log_score")]
    if j.expected_value is None:
        return out | dict.fromkeys([*names, "value_decile_mape"], float("nan"))
    out |= _point(j.expected_value, holdout.value, "value_")
    out["value_total_lower"] = totals.get("value_lower", np.nan)
    out["value_total_upper"] = totals.get("value_upper", np.nan)
    value = _distribution(j.value, holdout.value, "value_")
    del value["value_log_score"]
    if j.value is None:
        value["value_crps"] = out["value_mae"]
    out["value_decile_mape"] = _decile_mape(j.expected_value, holdout.value)
    return out | value


def _point(expected: Array, observed: Array, prefix: str) -> dict[str, float]:
    error = expected - observed
    mae, mean = float(np.abs(error).mean()), float(observed.mean())
    top = np.array([_TOP])
    found = {
        "predicted_total": float(expected.sum()),
        "observed_total": float(observed.sum()),
        "bias_percent": float(bias(expected.sum(), observed.sum())),
        "mae": mae,
        "rmse": float(np.sqrt((error**2).mean())),
        "nmae": mae / mean if mean > 0 else float("nan"),
        "spearman": metrics.spearman(expected, observed),
        "gini": metrics.gini(expected, observed),
        "top_decile_capture": float(metrics.gain(expected, observed, top)[0]),
        "top_decile_oracle": float(metrics.gain(observed, observed, top)[0]),
    }
    return {f"{prefix}{name}": value for name, value in found.items()}


def _distribution(scores: Scores | None, observed: Array, prefix: str) -> dict[str, float]:
    nan = float("nan")
    found = {"crps": nan, "log_score": nan, "pit_ks": nan}
    names = {level: f"coverage_{100 * level:.0f}" for level in LEVELS}
    for name in names.values():
        found |= {name: nan, f"{name}_expected": nan}
    if scores is not None:
        found["crps"] = float(scores.crps.mean())
        found["log_score"] = float(scores.log_score.mean())
        found["pit_ks"] = metrics.pit_distance(scores.below, scores.upto)
        for level, name in names.items():
            held = inside(observed, scores.lower[level], scores.upper[level])
            found[name] = float(held.mean())
            found[f"{name}_expected"] = float(scores.within[level].mean())
    return {f"{prefix}{name}": value for name, value in found.items()}


def inside(observed: Array, low: Array, high: Array) -> npt.NDArray[np.bool_]:
    """Whether outcomes lie in their intervals."""
    # Amounts are sums of floats: a cent's millionth is no miss.
    slack = 1e-9 * np.maximum(1.0, np.abs(observed))
    return (observed >= low - slack) & (observed <= high + slack)


def _decile_mape(expected: Array, observed: Array) -> float:
    """Mean |predicted − observed| / observed of the means of ten groups, in percent."""
    group = metrics.quantile_groups(expected, 10)
    predicted, found = np.bincount(group, expected), np.bincount(group, observed)
    some = found > 0
    if not some.any():
        return float("nan")
    return float(100.0 * np.mean(np.abs(predicted[some] / found[some] - 1.0)))


def bias(predicted: Any, observed: Any) -> Any:
    """Predicted over observed, minus 1, in percent; nan where nothing was observed."""
    return np.divide(
        100.0 * (predicted - observed),
        observed,
        out=np.full_like(np.asarray(predicted, np.float64), np.nan),
        where=np.asarray(observed) > 0,
    )
