"""From predictions to decisions: segments, cohorts, scenarios, budgets."""

from clvpredict.business.acquisition import acquisition_table, payback_curve
from clvpredict.business.budget import Allocation, allocate_budget, budget_frontier
from clvpredict.business.changes import explain_change
from clvpredict.business.cohorts import cohort_table, payback_table
from clvpredict.business.concentration import lorenz_table
from clvpredict.business.equity import customer_equity, residual_value, value_against_cac
from clvpredict.business.feedback import score_feedback
from clvpredict.business.formulas import simple_clv
from clvpredict.business.history import business_metrics, historical_clv
from clvpredict.business.responses import ElasticResponse, PowerResponse, SaturatingResponse
from clvpredict.business.sample_size import SampleSize, detectable_effect, uplift_sample_size
from clvpredict.business.scenarios import scenario, tornado_table
from clvpredict.business.segment_comparison import compare_segments
from clvpredict.business.segment_format import format_table, to_html, to_markdown
from clvpredict.business.segment_tables import segment_table
from clvpredict.business.segments import segment_customers
from clvpredict.business.signals import join_signals
from clvpredict.business.trend import append_history, clv_trend, read_history
from clvpredict.business.uplift import evaluate_uplift

__all__ = [
    "Allocation",
    "ElasticResponse",
    "PowerResponse",
    "SampleSize",
    "SaturatingResponse",
    "acquisition_table",
    "allocate_budget",
    "append_history",
    "budget_frontier",
    "business_metrics",
    "clv_trend",
    "cohort_table",
    "compare_segments",
    "customer_equity",
    "detectable_effect",
    "evaluate_uplift",
    "explain_change",
    "format_table",
    "historical_clv",
    "join_signals",
    "lorenz_table",
    "payback_curve",
    "payback_table",
    "read_history",
    "residual_value",
    "scenario",
    "score_feedback",
    "segment_customers",
    "segment_table",
    "simple_clv",
    "to_html",
    "to_markdown",
    "tornado_table",
    "uplift_sample_size",
    "value_against_cac",
]
