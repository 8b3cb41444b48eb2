"""Purchases and spend into money: expected (``money``), and under draws (``draws``)."""

from clvpredict.value.costs import COST_COLUMNS, Costs, net_value, refuse_endless
from clvpredict.value.draws import DrawnValue, Worth, mean_spend_over_draws
from clvpredict.value.money import (
    Discount,
    Margin,
    discount_factor,
    discounted_process,
    discounted_total,
    known_unit,
    margins,
    per_customer,
    present_time,
    present_worth,
    served_process,
    spend_or_fallback,
    worthless_from,
)

__all__ = [
    "COST_COLUMNS",
    "Costs",
    "Discount",
    "DrawnValue",
    "Margin",
    "Worth",
    "discount_factor",
    "discounted_process",
    "discounted_total",
    "known_unit",
    "margins",
    "mean_spend_over_draws",
    "net_value",
    "per_customer",
    "present_time",
    "present_worth",
    "refuse_endless",
    "served_process",
    "spend_or_fallback",
    "worthless_from",
]
