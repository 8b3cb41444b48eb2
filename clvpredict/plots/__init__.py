"""Pictures of tables. Every function takes ``ax=`` and returns the Axes it drew on."""

from clvpredict.plots.evaluation import plot_calibration
from clvpredict.plots.priors import plot_customer, plot_prior_predictive

__all__ = ["plot_calibration", "plot_customer", "plot_prior_predictive"]
