"""What a fit found out, as plain data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from clvpredict.estimators.base import Estimator
from clvpredict.estimators.clv import CLVModel


def model_facts(model: Estimator | CLVModel) -> list[dict[str, Any]]:
    """Estimates, their uncertainty and how the fits ended, of each part of a model."""
    parts = [model.purchases, model.spend] if isinstance(model, CLVModel) else [model]
    return [_of_estimator(part) for part in parts]


def _of_estimator(estimator: Estimator) -> dict[str, Any]:
    result = estimator.result_
    convergence = asdict(result.convergence)
    convergence.pop("starts")
    found: dict[str, Any] = {
        "model": result.model,
        "title": estimator._model.title,
        "method": result.method,
        "time_unit": estimator.time_unit_.code if estimator.time_unit_ else None,
        "customers": result.n_customers,
        "log_likelihood": result.log_likelihood,
        "aic": result.aic if result.method == "mle" else None,
        "bic": result.bic if result.method == "mle" else None,
        "parameters": estimator.summary().to_dict("index"),
        "convergence": convergence,
        "sampling": asdict(result.sample.how) if result.sample else None,
    }
    independence = getattr(estimator, "independence_", None)
    if independence is not None:
        found["independence"] = asdict(independence)
    return found
