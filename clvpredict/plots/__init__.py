"""Pictures of tables. Every function takes ``ax=`` and returns the Axes it drew on."""

from clvpredict.plots.backtests import plot_backtest, plot_backtest_lines, plot_comparison
from clvpredict.plots.budget import plot_allocation, plot_frontier, plot_uplift
from clvpredict.plots.checks import (
    plot_dependence,
    plot_distribution_check,
    plot_drift,
    plot_frequency_check,
    plot_spend,
)
from clvpredict.plots.cohorts import plot_cohort_curves, plot_cohorts, plot_payback
from clvpredict.plots.decisions import plot_payback_curve, plot_tornado
from clvpredict.plots.evaluation import plot_calibration, plot_tracking
from clvpredict.plots.priors import plot_customer, plot_prior_predictive
from clvpredict.plots.ranking import plot_gain, plot_lift
from clvpredict.plots.scores import plot_coverage, plot_pit, plot_pit_ecdf, plot_reliability
from clvpredict.plots.segments import plot_lorenz, plot_segment_comparison, plot_segments
from clvpredict.plots.trend import plot_clv_change, plot_clv_trend
from clvpredict.plots.views import (
    plot_alive_history,
    plot_forecast,
    plot_frequency_recency,
    plot_heterogeneity,
    plot_prior_posterior,
)

__all__ = [
    "plot_alive_history",
    "plot_allocation",
    "plot_backtest",
    "plot_backtest_lines",
    "plot_calibration",
    "plot_clv_change",
    "plot_clv_trend",
    "plot_cohort_curves",
    "plot_cohorts",
    "plot_comparison",
    "plot_coverage",
    "plot_customer",
    "plot_dependence",
    "plot_distribution_check",
    "plot_drift",
    "plot_forecast",
    "plot_frequency_check",
    "plot_frequency_recency",
    "plot_frontier",
    "plot_gain",
    "plot_heterogeneity",
    "plot_lift",
    "plot_lorenz",
    "plot_payback",
    "plot_payback_curve",
    "plot_pit",
    "plot_pit_ecdf",
    "plot_prior_posterior",
    "plot_prior_predictive",
    "plot_reliability",
    "plot_segment_comparison",
    "plot_segments",
    "plot_spend",
    "plot_tornado",
    "plot_tracking",
    "plot_uplift",
]
