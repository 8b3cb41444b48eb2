"""What customers will do, under given parameters (``point``) or under draws of them (``draws``)."""

from clvpredict.predict.draws import DrawnPurchases, Realised, mean_over_draws, purchase_processes
from clvpredict.predict.nodes import Process
from clvpredict.predict.point import (
    Customers,
    diverges,
    expected_purchases,
    if_alive,
    p_alive,
    p_purchase,
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
    "expected_purchases",
    "if_alive",
    "interval_of",
    "intervals",
    "mean_over_draws",
    "p_alive",
    "p_purchase",
    "purchase_processes",
    "share_above",
    "sums",
]
