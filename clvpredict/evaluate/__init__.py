"""How predictions fare on purchases that the model has not seen. Every function gives a table."""

from clvpredict.evaluate.backtests import backtest
from clvpredict.evaluate.checks import frequency_check, recency_check, timing_check
from clvpredict.evaluate.comparison import compare
from clvpredict.evaluate.densities import heterogeneity, prior_posterior
from clvpredict.evaluate.drift import drift_check
from clvpredict.evaluate.fan import forecast_fan
from clvpredict.evaluate.holdout import HoldoutEvaluation, evaluate_holdout
from clvpredict.evaluate.identification import identification_check
from clvpredict.evaluate.learning import recalibrate
from clvpredict.evaluate.level import calibration_table, holdout_totals
from clvpredict.evaluate.results import Backtest
from clvpredict.evaluate.spending import dependence_check, spend_check
from clvpredict.evaluate.tracking import tracking_table
from clvpredict.evaluate.views import alive_history, frequency_recency_grid

__all__ = [
    "Backtest",
    "HoldoutEvaluation",
    "alive_history",
    "backtest",
    "calibration_table",
    "compare",
    "dependence_check",
    "drift_check",
    "evaluate_holdout",
    "forecast_fan",
    "frequency_check",
    "frequency_recency_grid",
    "heterogeneity",
    "holdout_totals",
    "identification_check",
    "prior_posterior",
    "recalibrate",
    "recency_check",
    "spend_check",
    "timing_check",
    "tracking_table",
]
