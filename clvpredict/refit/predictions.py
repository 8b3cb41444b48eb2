"""What a run predicts: all horizons in one table, and the customers' segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from clvpredict.refit.modelling import is_money
from clvpredict.rfm import PREDICTIONS_KEY

if TYPE_CHECKING:
    from clvpredict.predict import Recalibration
    from clvpredict.refit.config import Config

# The same at every horizon: the histories, and who is alive today.
_OF_TODAY = ("customer_id", "frequency", "recency", "T", "monetary_value")
_ALIVE = ("p_alive", "churn_probability")
_TOTALS = ("expected_purchases", "clv", "net_clv")


def terms(config: Config, model: Any, recalibration: Recalibration | None = None) -> dict[str, Any]:
    """The arguments of ``predict`` besides the customers and the horizon."""
    asked = config.predict
    out: dict[str, Any] = {"draws": asked.draws, "seed": config.job.seed}
    if is_money(model):
        out |= {
            "discount_rate": asked.discount_rate,
            "discounting": asked.discounting,
            "margin": asked.margin,
            "fallback_spend": asked.fallback_spend,
        }
        if asked.costs is not None:
            from clvpredict.value import Costs

            out["costs"] = Costs(**asked.costs.model_dump(exclude_none=True))
    if recalibration is not None:
        out["recalibration"] = recalibration
    return out


def predict_all(
    model: Any, rfm: pd.DataFrame, config: Config, recalibration: Recalibration | None = None
) -> pd.DataFrame:
    """Predict every customer at every horizon.

    Returns
    -------
    DataFrame
        The columns of ``predict`` at the first horizon; of each further one, those that depend
        on it, named ``clv_13W`` and so on; and the segments, where the configuration has a rule.
        ``attrs["clvpredict"]`` are of the first horizon, with the further ones under
        ``"further"``.
    """
    first, *others = config.predict.horizons
    level = config.predict.interval
    out: pd.DataFrame = model.predict(
        rfm, horizon=first, interval=level, **terms(config, model, recalibration)
    )
    further: dict[str, Any] = {}
    for horizon in others:
        # A recalibration is of one horizon, the first.
        found = model.predict(rfm, horizon=horizon, interval=level, **terms(config, model))
        further[horizon] = found.attrs[PREDICTIONS_KEY]
        for column in found.columns:
            if column not in _OF_TODAY and not column.startswith(_ALIVE):
                out[f"{column}_{horizon}"] = found[column].to_numpy()
    if further:
        out.attrs[PREDICTIONS_KEY] = {**out.attrs[PREDICTIONS_KEY], "further": further}
    if config.segments is not None:
        from clvpredict.business import segment_customers

        out = segment_customers(out, config.segments.by, **config.segments.options)
    return out


def totals(table: pd.DataFrame, horizons: Sequence[str]) -> dict[str, Any]:
    """Sums over the customers, as a record keeps them."""
    names = [*_TOTALS, *(f"{n}_{h}" for h in horizons[1:] for n in _TOTALS)]
    found = {n: float(table[n].sum()) for n in names if n in table}
    return {"customers": len(table), "alive": float(table["p_alive"].sum()), **found}
