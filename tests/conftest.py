"""Data that many tests share, each made once per session."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import clvpredict as clv

# Data of other packages that may not be redistributed lie beside the checkout, not in it.
SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def no_figure_stays_open() -> Iterator[None]:
    """Close what plots opened: pyplot keeps figures, and warns when there are many."""
    yield
    if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
        pyplot.close("all")


@pytest.fixture(scope="session")
def cdnow() -> pd.DataFrame:
    """The CDNOW sample: 6,919 transactions."""
    return clv.load_cdnow()


@pytest.fixture(scope="session")
def cdnow_split(cdnow: pd.DataFrame) -> pd.DataFrame:
    """39 weeks of calibration, 39 of holdout, in weeks."""
    return clv.calibration_holdout(cdnow, calibration_end="1997-09-30", time_unit="W")


@pytest.fixture(scope="session")
def cdnow_rfm(cdnow: pd.DataFrame) -> pd.DataFrame:
    """The calibration summary, 2,357 customers, in weeks."""
    return clv.rfm_summary(cdnow, observation_end="1997-09-30", time_unit="W")


@pytest.fixture(scope="session")
def apparel() -> pd.DataFrame:
    """The apparel transactions of CLVTools' authors."""
    path = SHARED_DATA / "apparel_transactions.csv"
    if not path.exists():
        if os.environ.get("CI"):
            pytest.fail(f"CI must have the apparel data at {path}")
        pytest.skip(f"the apparel data, which may not be redistributed, are not at {path}")
    raw = pd.read_csv(path, parse_dates=["Date"])
    return raw.rename(columns={"Id": "customer_id", "Date": "date", "Price": "amount"})


@pytest.fixture(scope="session")
def apparel_rfm(apparel: pd.DataFrame) -> pd.DataFrame:
    """Calibration of 104 weeks."""
    end = pd.Timestamp("2005-01-02") + pd.Timedelta(weeks=104)
    return clv.rfm_summary(apparel, observation_end=end, time_unit="W")
