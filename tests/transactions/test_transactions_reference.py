"""The CDNOW sample of the papers."""

from __future__ import annotations

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


def test_a_split_is_the_summary_as_of_its_date(cdnow_split, cdnow_rfm):
    for column in cdnow_rfm.columns:
        assert (cdnow_rfm[column] == cdnow_split[column]).all()


def test_holdout_purchases_and_repeats_add_up(cdnow, cdnow_split):
    whole = clv.rfm_summary(cdnow)
    assert (whole["frequency"] == cdnow_split["frequency"] + cdnow_split["frequency_holdout"]).all()
