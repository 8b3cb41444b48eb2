"""What each customer is worth, and how sure we are.

Transactions -> RFM summary -> purchase and spend models -> P(alive), expected purchases, CLV.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clvpredict.business import (
        allocate_budget,
        business_metrics,
        cohort_table,
        compare_segments,
        evaluate_uplift,
        historical_clv,
        join_signals,
        scenario,
        segment_customers,
        segment_table,
        simple_clv,
    )
    from clvpredict.datasets import load_cdnow, simulate_shop
    from clvpredict.estimators import BGNBD, MBGNBD, NBD, CLVModel, GammaGamma
    from clvpredict.evaluate import backtest, compare, evaluate_holdout, recalibrate
    from clvpredict.rfm import convert_unit
    from clvpredict.store import (
        load_model,
        load_recalibration,
        read_table,
        save_model,
        save_recalibration,
        write_table,
    )
    from clvpredict.transactions import (
        calibration_holdout,
        profile_transactions,
        purchase_history,
        rfm_summary,
    )
    from clvpredict.value import Costs

__version__ = "0.1.0"

# Names load their module when first used, so that `import clvpredict` is light.
_HOMES = {
    "BGNBD": "estimators",
    "MBGNBD": "estimators",
    "NBD": "estimators",
    "GammaGamma": "estimators",
    "Costs": "value",
    "CLVModel": "estimators",
    "calibration_holdout": "transactions",
    "backtest": "evaluate",
    "compare": "evaluate",
    "recalibrate": "evaluate",
    "convert_unit": "rfm",
    "evaluate_holdout": "evaluate",
    "load_cdnow": "datasets",
    "simulate_shop": "datasets",
    "allocate_budget": "business",
    "business_metrics": "business",
    "cohort_table": "business",
    "compare_segments": "business",
    "evaluate_uplift": "business",
    "historical_clv": "business",
    "join_signals": "business",
    "scenario": "business",
    "segment_customers": "business",
    "segment_table": "business",
    "simple_clv": "business",
    "load_model": "store",
    "profile_transactions": "transactions",
    "purchase_history": "transactions",
    "rfm_summary": "transactions",
    "save_model": "store",
    "read_table": "store",
    "load_recalibration": "store",
    "save_recalibration": "store",
    "write_table": "store",
}

__all__ = [
    "BGNBD",
    "MBGNBD",
    "NBD",
    "CLVModel",
    "Costs",
    "GammaGamma",
    "allocate_budget",
    "backtest",
    "business_metrics",
    "calibration_holdout",
    "cohort_table",
    "compare",
    "compare_segments",
    "convert_unit",
    "evaluate_holdout",
    "evaluate_uplift",
    "historical_clv",
    "join_signals",
    "load_cdnow",
    "load_model",
    "load_recalibration",
    "profile_transactions",
    "purchase_history",
    "read_table",
    "recalibrate",
    "rfm_summary",
    "save_model",
    "save_recalibration",
    "scenario",
    "segment_customers",
    "segment_table",
    "simple_clv",
    "simulate_shop",
    "write_table",
]


# Modules that users reach through the package, as in `clvpredict.plots.plot_calibration`.
_MODULES = ("business", "errors", "evaluate", "plots", "value")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"clvpredict.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"clvpredict.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'clvpredict' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})
