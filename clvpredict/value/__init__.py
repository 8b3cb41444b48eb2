"""Purchases and spend into money: expected (``money``), and under draws (``draws``)."""

from clvpredict.value.draws import DrawnValue
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
    "spend_or_fallback",
    "worthless_from",
]
