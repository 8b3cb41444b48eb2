"""The CDNOW transactions."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pandas as pd

from clvpredict.errors import MissingExtraError

_COLUMNS = {"customer_id": "int64", "date": "str", "quantity": "int64", "amount": "float64"}


def load_cdnow(full: bool = False) -> pd.DataFrame:
    """
    Load the CDNOW transactions of January 1997 to June 1998.

    Parameters
    ----------
    full : bool, default False
        False gives the 1/10 sample that ships with the package (2,357 customers). True gives
        the master (23,570 customers), read from the installed extra ``lifetimes``.

    Returns
    -------
    pandas.DataFrame
        One row per transaction: ``customer_id`` (int64), ``date`` (datetime64), ``quantity``
        (int64) and ``amount`` (float64, US dollars). Customers have the same id in both.

    Raises
    ------
    MissingExtraError
        If the master is asked for and ``lifetimes`` is not installed.

    Examples
    --------
    >>> transactions = load_cdnow()
    >>> transactions["customer_id"].nunique()
    2357
    """
    if full:
        # The first line names the columns, differently.
        frame = pd.read_csv(
            _master_file(), sep=r"\s+", skiprows=1, names=list(_COLUMNS), dtype=_COLUMNS
        )
        return frame.assign(date=pd.to_datetime(frame["date"], format="%Y%m%d"))
    frame = pd.read_csv(_sample_file(), dtype=_COLUMNS)
    return frame.assign(date=pd.to_datetime(frame["date"], format="%Y-%m-%d"))


def _sample_file() -> Path:
    package = Path(__file__).parents[1]
    installed = package / "data" / "cdnow_sample.csv"
    # A source checkout has the file where it is made; only the wheel puts it inside the package.
    return installed if installed.exists() else package.parent / "data/sample/cdnow_sample.csv"


def _master_file() -> Path:
    # Only the file is wanted: importing lifetimes is slow, and fails beside recent libraries.
    spec = importlib.util.find_spec("lifetimes")
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder) / "datasets" / "CDNOW_master.txt"
        if file.exists():
            return file
    raise MissingExtraError(extra="lifetimes", needed_for="the CDNOW master")
