"""What a command found out, as plain data: printed as JSON, or shown as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from clvpredict.rfm import summary_metadata

if TYPE_CHECKING:
    from clvpredict.estimators import CLVModel, Estimator

Facts = dict[str, Any]
TOP_CUSTOMERS = 10


def of_summary(rfm: pd.DataFrame) -> Facts:
    """Customers, and where their summary comes from."""
    found: Facts = {"customers": len(rfm)}
    if "frequency" in rfm.columns:
        found["repeat_buyers"] = int((rfm["frequency"] > 0).sum())
    provenance = summary_metadata(rfm)
    return {
        **found,
        "time_unit": provenance["time_unit"] if provenance else None,
        "provenance": provenance,
    }


def of_fit(model: Estimator | CLVModel) -> Facts:
    """The data that a model was fitted on, as far as it knows them."""
    from clvpredict.estimators import CLVModel

    part = model.purchases if isinstance(model, CLVModel) else model
    return {
        "customers": part.result_.n_customers,
        "time_unit": part.time_unit_.code if part.time_unit_ else None,
        "provenance": part.data_,
        "fingerprint": part.fingerprint_,
    }


def of_predictions(table: pd.DataFrame, *, add_new: bool) -> Facts:
    """Totals over the customers, the best of them, and the customer acquired today."""
    from clvpredict.rfm import PREDICTIONS_KEY

    said = table.attrs.get(PREDICTIONS_KEY, {})
    about = {k: said[k] for k in _SAID if k in said}
    customers = table.iloc[:-1] if add_new else table
    summed = [c for c in _SUMMED if c in table.columns]
    best = "clv" if "clv" in table.columns else "expected_purchases"
    top = customers.sort_values(best, ascending=False, kind="stable").head(TOP_CUSTOMERS)
    return {
        **about,
        "customers": len(customers),
        "expected_buyers": float(customers["p_purchase"].sum()),
        **{column: float(customers[column].sum()) for column in summed},
        "top_customers": top.to_dict("records"),
        "new_customer": table.iloc[-1].drop("customer_id").to_dict() if add_new else None,
    }


_SAID = (
    "method",
    "interval",
    "horizon",
    "time_unit",
    "discount_rate",
    "discounting",
    "margin",
    "costs",
)
_SUMMED = ("expected_purchases", "clv", "clv_undiscounted", "net_clv")
