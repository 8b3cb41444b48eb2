"""How predictions fare on purchases that the model has not seen. Every function gives a table."""

from clvpredict.evaluate.checks import frequency_check, recency_check, timing_check
from clvpredict.evaluate.densities import heterogeneity, prior_posterior
from clvpredict.evaluate.drift import drift_check
from clvpredict.evaluate.fan import forecast_fan
from clvpredict.evaluate.holdout import HoldoutEvaluation, evaluate_holdout
from clvpredict.evaluate.identification import identification_check
from clvpredict.evaluate.level import calibration_table, holdout_totals
from clvpredict.evaluate.spending import dependence_check, spend_check
from clvpredict.evaluate.views import alive_history, frequency_recency_grid

__all__ = [
    "HoldoutEvaluation",
    "alive_history",
    "calibration_table",
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
    "recency_check",
    "spend_check",
    "timing_check",
]
