"""How predictions fare on purchases that the model has not seen. Every function gives a table."""

from clvpredict.evaluate.level import calibration_table, holdout_totals

__all__ = ["calibration_table", "holdout_totals"]
