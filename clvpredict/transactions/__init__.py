"""Transactions to RFM summaries."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from clvpredict.options import Collapse, Returns, TimeUnit
from clvpredict.transactions.settings import Moment, Settings

if TYPE_CHECKING:
    from clvpredict.rfm import RFMSummary

__all__ = ["calibration_holdout", "rfm_summary"]


def rfm_summary(
    transactions: object,
    *,
    customer_id: str = "customer_id",
    date: str = "date",
    amount: str | None = "amount",
    observation_end: Moment | None = None,
    observation_start: Moment | None = None,
    time_unit: str | timedelta | TimeUnit = "D",
    collapse: Collapse = "D",
    returns: Returns = "net",
    include_first_transaction: bool = False,
    timezone: str = "UTC",
    currency: str | None = None,
    strict: bool = False,
) -> RFMSummary:
    settings = Settings.read(
        customer_id=customer_id,
        date=date,
        amount=amount,
        observation_end=observation_end,
        observation_start=observation_start,
        calibration_end=None,
        time_unit=time_unit,
        collapse=collapse,
        returns=returns,
        include_first_transaction=include_first_transaction,
        timezone=timezone,
        currency=currency,
        strict=strict,
        split=False,
    )
    from clvpredict.transactions.summary import summarise

    return summarise(transactions, settings)


def calibration_holdout(
    transactions: object,
    *,
    calibration_end: Moment,
    customer_id: str = "customer_id",
    date: str = "date",
    amount: str | None = "amount",
    observation_end: Moment | None = None,
    observation_start: Moment | None = None,
    time_unit: str | timedelta | TimeUnit = "D",
    collapse: Collapse = "D",
    returns: Returns = "net",
    include_first_transaction: bool = False,
    timezone: str = "UTC",
    currency: str | None = None,
    strict: bool = False,
) -> RFMSummary:
    settings = Settings.read(
        customer_id=customer_id,
        date=date,
        amount=amount,
        observation_end=observation_end,
        observation_start=observation_start,
        calibration_end=calibration_end,
        time_unit=time_unit,
        collapse=collapse,
        returns=returns,
        include_first_transaction=include_first_transaction,
        timezone=timezone,
        currency=currency,
        strict=strict,
        split=True,
    )
    from clvpredict.transactions.summary import summarise

    return summarise(transactions, settings)
