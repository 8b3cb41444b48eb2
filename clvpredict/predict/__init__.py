"""What customers will do, under given parameters (``point``) or under draws of them (``draws``)."""

from clvpredict.predict.draws import DrawnPurchases, Realised, purchase_processes
from clvpredict.predict.nodes import Process
from clvpredict.predict.point import (
    Customers,
    dert,
    expected_purchases,
    if_alive,
    p_alive,
    p_alive_at,
    p_purchase,
    pmf_future,
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
    "dert",
    "expected_purchases",
    "if_alive",
    "interval_of",
    "intervals",
    "p_alive",
    "p_alive_at",
    "p_purchase",
    "pmf_future",
    "purchase_processes",
    "share_above",
    "sums",
]
