"""Purchases and spend into money: expected (``money``), and under draws (``draws``)."""

from clvpredict.value.draws import DrawnValue, mean_spend_over_draws
from clvpredict.value.money import (
    Discount,
    Margin,
    discount_factor,
    discounted_process,
    discounted_total,
    known_unit,
    margins,
    spend_or_fallback,
    worthless_from,
)

__all__ = [
    "Discount",
    "DrawnValue",
    "Margin",
    "discount_factor",
    "discounted_process",
    "discounted_total",
    "known_unit",
    "margins",
    "mean_spend_over_draws",
    "spend_or_fallback",
    "worthless_from",
]
