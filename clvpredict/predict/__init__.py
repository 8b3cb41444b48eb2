"""What customers will do, under given parameters (``point``) or under draws of them (``draws``)."""

from clvpredict.predict.draws import DrawnPurchases, Realised, mean_over_draws
from clvpredict.predict.point import (
    Customers,
    Process,
    diverges,
    if_alive,
    p_alive,
    purchase_processes,
)
from clvpredict.predict.reduce import (
    DistinctRows,
    Interval,
    Work,
    collect,
    interval_of,
    intervals,
    share_above,
    sums,
)

__all__ = [
    "Customers",
    "DistinctRows",
    "DrawnPurchases",
    "Interval",
    "Process",
    "Realised",
    "Work",
    "collect",
    "diverges",
    "if_alive",
    "interval_of",
    "intervals",
    "mean_over_draws",
    "p_alive",
    "purchase_processes",
    "share_above",
    "sums",
]
