"""The CDNOW sample of the papers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv

pytestmark = pytest.mark.reference


def test_cdnow_calibration(cdnow_split):
    """Fader, Hardie and Lee (2005): 2,357 customers, 39 weeks of calibration and of holdout."""
    assert len(cdnow_split) == 2357
    assert cdnow_split["T"].max() == 38.857142857142854
    assert (cdnow_split["frequency"] > 0).sum() == 946
    assert cdnow_split["frequency_holdout"].sum() == 1882
    assert (cdnow_split["frequency_holdout"] > 0).sum() == 684
    assert (cdnow_split["duration_holdout"] == 39).all()
    assert cdnow_split.provenance.counts["zero-value purchases"] == 8
    assert cdnow_split.provenance.excluded == {}


@pytest.mark.parametrize("collapse", ["D", "W"])
@pytest.mark.parametrize("cut", ["1997-04-02", "1997-09-30", "1997-12-31", "1998-05-31"])
def test_the_last_period_by_pandas(cdnow, cut, collapse):
    """Repeat purchases in (cut - holdout, cut], from the transactions by pandas alone."""
    got = clv.calibration_holdout(cdnow, calibration_end=cut, collapse=collapse)
    day = cdnow["date"] - pd.to_timedelta(
        cdnow["date"].dt.day_of_week if collapse == "W" else 0, unit="D"
    )
    start = pd.Timestamp(cut) - pd.Timedelta(
        days=pd.Timestamp(cut).weekday() if collapse == "W" else 0
    )
    bought = cdnow.assign(day=day)[cdnow["date"] <= cut]
    bought = bought.groupby(["customer_id", "day"])["amount"].sum().reset_index()
    repeat = bought[bought["day"] > bought.groupby("customer_id")["day"].transform("min")]
    recent = repeat[repeat["day"] > start - (day.max() - start)].groupby("customer_id")["amount"]
    want = recent.agg(["size", "mean"]).reindex(got["customer_id"]).fillna(0)
    assert (got["frequency_last"] == want["size"].to_numpy()).all()
    np.testing.assert_allclose(got["monetary_value_last"], want["mean"], rtol=1e-12)
    assert got["frequency_last"].sum() > 0


def test_a_split_is_the_summary_as_of_its_date(cdnow_split, cdnow_rfm):
    for column in cdnow_rfm.columns:
        assert (cdnow_rfm[column] == cdnow_split[column]).all()


def test_holdout_purchases_and_repeats_add_up(cdnow, cdnow_split):
    whole = clv.rfm_summary(cdnow)
    assert (whole["frequency"] == cdnow_split["frequency"] + cdnow_split["frequency_holdout"]).all()
