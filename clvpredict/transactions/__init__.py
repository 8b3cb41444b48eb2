"""Transactions to RFM summaries."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from clvpredict.options import Collapse, Returns, TimeUnit
from clvpredict.transactions.settings import Moment, Settings

if TYPE_CHECKING:
    import pandas as pd

    from clvpredict.rfm import RFMSummary

__all__ = ["calibration_holdout", "profile_transactions", "purchase_history", "rfm_summary"]


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
    """Summarise transactions: one row per customer (Fader & Hardie's definitions).

    Rows within one collapse period are one purchase, of the sum of their amounts. `frequency`
    counts repeat purchases, `recency` is the age at the last one, `T` the age at the end of
    observation, `monetary_value` the mean value of the repeat purchases (0 where there is none).

    Parameters
    ----------
    transactions : frame, pyarrow table, path, or Ibis table
        One row per transaction: a pandas frame, a polars frame (lazy too), a pyarrow table,
        record batch, reader or dataset, anything else that streams Arrow; the path of a CSV or
        Parquet file, a glob, a folder, or a list of these; or an Ibis table, which is
        computed where it is (tested with DuckDB, polars and SQLite; on others than DuckDB,
        dates with a time zone and dates or amounts that are text must be converted first).
        It is never changed.
    customer_id : str, default "customer_id"
        Column of ids: integers, strings, UUIDs or bytes, which come back unchanged. In CSV files
        ids are integers if every one is written as an integer is, else text ("007" stays).
    date : str, default "date"
        Column of dates or timestamps; text is read as ISO 8601 ("1997-09-30",
        "1997-09-30T12:00:00+02:00") or yyyymmdd. Wall time counts: those with a zone or an
        offset are converted to `timezone`, others are taken as they are.
    amount : str or None, default "amount"
        Column of amounts; None for a summary without monetary columns. Amounts are added
        exactly, whatever the order of rows.
    observation_end : str, date or datetime, optional
        The last day (hour when ``collapse="h"``) that counts; the data's last one by default.
        A date without a time means the whole day.
    observation_start : str, date or datetime, optional
        The first day that counts. Customers who had bought before it look new from then on; a
        warning says how many there are.
    time_unit : str or timedelta, default "D"
        Unit of `recency` and `T`: ``"h"``, ``"D"``, ``"W"`` (7 days), ``"M"`` (365.25/12 days),
        ``"Y"`` (365.25 days), or a multiple such as ``"10D"``. Ages are whole numbers of days
        (of hours when ``collapse="h"``), divided by the unit once.
    collapse : {"h", "D", "W"}, default "D"
        Purchases within one hour, day or week (from Monday) count once. Ages are counted between
        the starts of these periods.
    returns : {"net", "drop", "error"}, default "net"
        Negative amounts reduce the value of their period, and a period that nets to 0 or less
        is no purchase; or are left out; or are a problem. Either way a period with amounts
        of 0 only is a purchase of value 0: CDNOW has 8 such free orders that are first
        purchases, and the published 2,357 customers count them.
    include_first_transaction : bool, default False
        Whether `frequency` and `monetary_value` count the first purchase as well. Purchase
        models need False.
    timezone : str, default "UTC"
        IANA name of the zone that dates with a zone are converted to.
    currency : str, optional
        Label of the amounts, kept with the summary.
    strict : bool, default False
        Whether rows after `observation_end` are a problem, rather than left out and counted.

    Returns
    -------
    RFMSummary, shape (customers, 5)
        ``customer_id, frequency, recency, T, monetary_value``, sorted by id. Its
        ``provenance`` has the units and what was left out and why, as counts.

    Raises
    ------
    DataError
        Listing every problem of the transactions at once, with examples and what to type.
    OptionError
        If another argument has a value that is not allowed.

    Warns
    -----
    DataWarning
        If customers had bought before `observation_start`.

    See Also
    --------
    calibration_holdout : The same with a holdout period, to check predictions on.
    purchase_history : The purchases one by one.

    References
    ----------
    P. S. Fader, B. G. S. Hardie, K. L. Lee (2005), "Counting Your Customers" the Easy Way: An
    Alternative to the Pareto/NBD Model, Marketing Science 24 (2).

    Examples
    --------
    >>> import clvpredict as clv
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> rfm.loc[0, ["frequency", "recency", "T"]].round(2).tolist()
    [2.0, 30.43, 38.86]
    """
    settings = Settings.read(
        customer_id=customer_id,
        date=date,
        amount=amount,
        observation_end=observation_end,
        observation_start=observation_start,
        time_unit=time_unit,
        collapse=collapse,
        returns=returns,
        include_first_transaction=include_first_transaction,
        timezone=timezone,
        currency=currency,
        strict=strict,
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
    """Summarise transactions up to a date, and what the same customers bought after it.

    A purchase on `calibration_end` belongs to the calibration period. Customers who first
    buy after it are not in the summary, and are counted in its provenance.

    Parameters
    ----------
    transactions : frame, pyarrow table, path, or Ibis table
        As in :func:`rfm_summary`.
    calibration_end : str, date or datetime
        The last day of the calibration period.
    customer_id, date, amount : str
        Columns, as in :func:`rfm_summary`.
    observation_end : str, date or datetime, optional
        The last day of the holdout period; the data's last one by default.
    observation_start, time_unit, collapse, returns, include_first_transaction, timezone, \
currency, strict
        As in :func:`rfm_summary`. A collapse period that `calibration_end` cuts in two counts
        on both sides. With `include_first_transaction`, ``frequency_last`` counts the first
        purchase if it is in its window.

    Returns
    -------
    RFMSummary, shape (customers, 10)
        The columns of :func:`rfm_summary` as of `calibration_end`; ``frequency_last``, the
        repeat purchases in as long a time up to `calibration_end` as the holdout is after it
        (what "the last period repeats" predicts), and ``monetary_value_last``, their mean
        value; ``frequency_holdout``, the purchases after `calibration_end`;
        ``monetary_value_holdout``, their mean value (0 where there is none, as above);
        ``duration_holdout``, the length of the holdout period in the time unit. Without
        amounts, there are no monetary columns.

    Raises
    ------
    DataError
        Listing every problem of the transactions at once, such as a `calibration_end` that is
        not within the data or not before the end of observation.
    OptionError
        If another argument has a value that is not allowed.

    References
    ----------
    P. S. Fader, B. G. S. Hardie, K. L. Lee (2005), "Counting Your Customers" the Easy Way: An
    Alternative to the Pareto/NBD Model, Marketing Science 24 (2).

    Examples
    --------
    >>> import clvpredict as clv
    >>> cdnow = clv.load_cdnow()
    >>> rfm = clv.calibration_holdout(cdnow, calibration_end="1997-09-30", time_unit="W")
    >>> int(rfm["frequency_holdout"].sum())
    1882
    """
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


def purchase_history(
    transactions: object,
    *,
    customer_id: str = "customer_id",
    date: str = "date",
    amount: str | None = "amount",
    observation_end: Moment | None = None,
    observation_start: Moment | None = None,
    collapse: Collapse = "D",
    returns: Returns = "net",
    timezone: str = "UTC",
    strict: bool = False,
) -> pd.DataFrame:
    """List the purchases as the models count them: one row per customer and collapse period.

    The rules are those of :func:`rfm_summary`, which counts these rows: the transactions of a
    period are added up, returns reduce their own period, and a period that nets to 0 or less
    is no purchase (one with amounts of 0 only is a purchase of value 0).

    Parameters
    ----------
    transactions : frame, pyarrow table, path, or Ibis table
        As in :func:`rfm_summary`.
    customer_id, date, amount, observation_end, observation_start, collapse, returns, timezone, \
strict
        As in :func:`rfm_summary`.

    Returns
    -------
    DataFrame, shape (purchases, 3)
        ``customer_id``; ``date``, the start of the period; ``amount``, what the period adds up
        to (absent if ``amount=None``); sorted by customer and date. Its ``attrs`` say the
        ``collapse`` period, ``observation_start`` and ``observation_end``, ``timezone``,
        ``returns``, and in ``counts`` and ``excluded`` what was used and left out and why.

    Raises
    ------
    DataError
        Listing every problem of the transactions at once.
    OptionError
        If another argument has a value that is not allowed.

    Warns
    -----
    DataWarning
        If customers had bought before `observation_start`.

    Examples
    --------
    >>> import clvpredict as clv
    >>> history = clv.purchase_history(clv.load_cdnow())
    >>> history["date"][0], history["amount"][0].item()
    (Timestamp('1997-01-01 00:00:00'), 29.33)
    >>> history.groupby("customer_id").size().sub(1).max().item()  # the most repeat purchases
    43
    """
    settings = Settings.read(
        customer_id=customer_id,
        date=date,
        amount=amount,
        observation_end=observation_end,
        observation_start=observation_start,
        collapse=collapse,
        returns=returns,
        timezone=timezone,
        strict=strict,
    )
    from clvpredict.transactions.history import list_purchases

    return list_purchases(transactions, settings)


def profile_transactions(
    transactions: object,
    *,
    customer_id: str = "customer_id",
    date: str = "date",
    amount: str | None = "amount",
    collapse: Collapse = "D",
    returns: Returns = "net",
    timezone: str = "UTC",
) -> pd.DataFrame:
    """Say what raw transactions are like, in one table of checks: run it first.

    It refuses nothing that it can open, also where :func:`rfm_summary` would, and changes
    nothing. Rows that cannot be used are counted; what follows is of the others. Rows are
    added up where they are, as by `rfm_summary` (a backend without medians, such as SQLite, is
    refused with what to type instead).

    Parameters
    ----------
    transactions : frame, pyarrow table, path, or Ibis table
        As in :func:`rfm_summary`.
    customer_id, date, amount, collapse, returns, timezone
        As in :func:`rfm_summary`; with ``returns="error"`` negative amounts are "bad".

    Returns
    -------
    DataFrame
        A row per check: ``check``, its name; ``value`` in ``unit``; ``share`` (0 to 1, or nan),
        of the rows, days, customers or value, as ``detail`` says in words; ``severity``:
        ``"bad"`` where rfm_summary would refuse or a model could not be fitted, ``"look"``
        where a threshold is passed, else ``"ok"``. Its ``attrs`` have the ``thresholds``, the
        ``first`` and ``last`` date, and the ``spikes`` with their counts.

    Raises
    ------
    DataError
        If the transactions are not of a type that is read, or a file cannot be.
    OptionError
        If an option has a value that is not allowed.

    Notes
    -----
    What is worth a look:

    - gaps: a run of 7 days without a purchase or more, if it is also 5 times the median
      distance between days with a purchase;
    - spikes: days whose number of rows (without returns) has a robust z above 6, the days being
      compared with the 14 before and the 14 after. The robust z is (count − median) / scale,
      with a scale of 1.4826 times the median absolute deviation, and at least the square root
      of the median, and 1;
    - amounts, customers' totals, customers' numbers of purchases (of those with two or more)
      and single purchases: a robust z of the logarithm beyond 4, with a scale of at least 0.25;
      so they are at least a factor of 2.7 from the median;
    - duplicated baskets: any, if dates have times of day; else more than 1 % of the rows;
    - one-time buyers: more than 90 % of the customers ("bad" if all);
    - amounts of 0: more than 1 % of the rows; returns: more than 20 % of the value sold.

    Examples
    --------
    >>> import clvpredict as clv
    >>> profile = clv.profile_transactions(clv.load_cdnow())
    >>> profile.set_index("check").loc[["rows", "customers", "one-time buyers"], "value"].tolist()
    [6919.0, 2357.0, 1218.0]
    """
    settings = Settings.read(
        customer_id=customer_id,
        date=date,
        amount=amount,
        observation_end=None,
        observation_start=None,
        collapse=collapse,
        returns=returns,
        timezone=timezone,
        strict=False,
    )
    from clvpredict.transactions.profile import profile

    return profile(transactions, settings)
