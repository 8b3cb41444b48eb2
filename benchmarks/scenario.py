"""The scenario that every contestant is given. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

#: The last day of the two observed years.
END = "2024-12-31"
DAYS = 731
#: Parameters of the simulated base, time in days.
PURCHASES = {"r": 0.24, "alpha": 31.0, "a": 0.79, "b": 2.43}
SPEND = {"p": 6.25, "q": 3.74, "v": 15.4}
ANNUAL_RATE = 0.1
MONTHS = 12
#: CDNOW is split where the literature splits it.
CDNOW_END = "1997-09-30"
CDNOW_FITS = 50


@dataclass(frozen=True)
class Size:
    """How much of it."""

    name: str
    transactions: int
    log_customers: int
    base_customers: int


SIZES = {
    "full": Size("full", 10_000_000, 1_000_000, 1_000_000),
    "small": Size("small", 1_000_000, 100_000, 100_000),
}
