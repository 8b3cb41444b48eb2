"""What customers will do, under given parameters (``point``) or under draws of them (``draws``)."""

from clvpredict.predict.distribution import Scores, Transform, score_counts
from clvpredict.predict.draws import DrawnPurchases, Realised, mean_over_draws
from clvpredict.predict.ensemble import pit_distances, score_draws
from clvpredict.predict.point import (
    Customers,
    Process,
    diverges,
    if_alive,
    p_alive,
    purchase_processes,
)
from clvpredict.predict.recalibration import Correction, Recalibration
from clvpredict.predict.reduce import (
    DistinctRows,
    Interval,
    Work,
    blocks,
    collect,
    interval_of,
    intervals,
    progress_bar,
    share_above,
    sums,
    tails,
)

__all__ = [
    "Correction",
    "Customers",
    "DistinctRows",
    "DrawnPurchases",
    "Interval",
    "Process",
    "Realised",
    "Recalibration",
    "Scores",
    "Transform",
    "Work",
    "blocks",
    "collect",
    "diverges",
    "if_alive",
    "interval_of",
    "intervals",
    "mean_over_draws",
    "p_alive",
    "pit_distances",
    "progress_bar",
    "purchase_processes",
    "score_counts",
    "score_draws",
    "share_above",
    "sums",
    "tails",
]
