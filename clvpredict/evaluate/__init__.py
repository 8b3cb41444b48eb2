"""How predictions fare on purchases that the model has not seen. Every function gives a table."""

from clvpredict.evaluate.densities import heterogeneity, prior_posterior
from clvpredict.evaluate.fan import forecast_fan
from clvpredict.evaluate.level import calibration_table, holdout_totals
from clvpredict.evaluate.views import alive_history, frequency_recency_grid

__all__ = [
    "alive_history",
    "calibration_table",
    "forecast_fan",
    "frequency_recency_grid",
    "heterogeneity",
    "holdout_totals",
    "prior_posterior",
]
