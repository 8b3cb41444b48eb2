"""Random transactions, and a slow, plain implementation of the definitions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

HOUR = timedelta(hours=1)
Brute = Callable[..., pd.DataFrame]


@pytest.fixture(scope="session")
def messy() -> pd.DataFrame:
    """Transactions with returns, free orders, several in one hour, day and week."""
    rng = np.random.default_rng(20)
    n = 3_000
    hours = rng.integers(0, 24 * 60, n)
    hours = np.where(rng.random(n) < 0.3, hours // 24 * 24 + 10, hours)
    amount = np.round(rng.gamma(2, 10, n), 2) * rng.choice([1, 1, 1, -1, 0], n)
    return pd.DataFrame(
        {
            "customer_id": rng.integers(0, 500, n),
            "date": pd.Timestamp("2023-01-04") + pd.to_timedelta(hours * 60 + 7, unit="min"),
            "amount": amount,
        }
    )


@pytest.fixture(scope="session")
def brute() -> Brute:
    """The definitions, customer by customer, in exact decimals."""
    return brute_force


def brute_force(
    transactions: pd.DataFrame,
    *,
    collapse: str = "D",
    returns: str = "net",
    unit_hours: float = 24.0,
    calibration_end: str | None = None,
    observation_end: str | None = None,
    include_first_transaction: bool = False,
) -> pd.DataFrame:
    moments = [moment.to_pydatetime(warn=False) for moment in transactions["date"]]
    # A date is the whole day; the last hour of the data, where no date is given.
    end = _last_hour(observation_end) if observation_end else max(moments)
    cut = _last_hour(calibration_end) if calibration_end else end
    customers: dict[int, list[dict[datetime, list[Decimal]]]] = {}
    for customer, moment, amount in zip(
        transactions["customer_id"].tolist(), moments, transactions["amount"].tolist(), strict=True
    ):
        value = Decimal(repr(float(amount)))
        if _start(moment, "h" if collapse == "h" else "D") > end:
            continue
        if returns == "drop" and value < 0:
            continue
        parts = customers.setdefault(customer, [{}, {}])
        later = moment.date() > cut.date()
        parts[later].setdefault(_start(moment, collapse), []).append(value)
    out = []
    for customer in sorted(customers):
        early, holdout = (_purchases(periods) for periods in customers[customer])
        if not early:
            continue
        first, final = min(early), max(early)
        counted = [v for p, v in early.items() if include_first_transaction or p > first]
        row = {
            "customer_id": customer,
            "frequency": len(counted),
            "recency": (final - first) / HOUR / unit_hours,
            "T": (_start(cut, collapse) - first) / HOUR / unit_hours,
            "monetary_value": _mean(counted),
        }
        if calibration_end:
            length = _start(end, collapse) - _start(cut, collapse)
            recent = [
                value
                for period, value in early.items()
                if _start(cut, collapse) - length < period
                and (include_first_transaction or period > first)
            ]
            row["frequency_last"] = len(recent)
            row["monetary_value_last"] = _mean(recent)
            row["frequency_holdout"] = len(holdout)
            row["monetary_value_holdout"] = _mean(list(holdout.values()))
            row["duration_holdout"] = length / HOUR / unit_hours
        out.append(row)
    return pd.DataFrame(out)


def _last_hour(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(hour=23)


def _start(moment: datetime, collapse: str) -> datetime:
    if collapse == "h":
        return moment.replace(minute=0, second=0, microsecond=0)
    day = datetime(moment.year, moment.month, moment.day)
    return day - timedelta(days=day.weekday()) if collapse == "W" else day


def _mean(values: list[Decimal]) -> float:
    return float(sum(values) / len(values)) if values else 0.0


def _purchases(periods: dict[datetime, list[Decimal]]) -> dict[datetime, Decimal]:
    return {
        period: sum(amounts, Decimal(0))
        for period, amounts in periods.items()
        if sum(amounts) > 0 or (sum(amounts) == 0 and min(amounts) >= 0)
    }
