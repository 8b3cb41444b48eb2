"""Out of sample or not at all, and the numbers that others find."""

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import DataError, OptionError, UnitError
from clvpredict.evaluate import calibration_table, holdout_totals

# R 4.2.2, CLVTools 0.12.1 and BTYDplus 1.2.0 on CDNOW, 39 weeks after 1997-09-30.
REFERENCE = {
    clv.BGNBD: ("BG/NBD", 1653.4, 0.7855, 1.608),
    clv.MBGNBD: ("MBG/NBD", 1576.7, 0.7648, 1.607),
}


class Always:
    """Predicts one number for everybody."""

    def __init__(self, value):
        self.value = value
        self.horizons = []

    def expected_purchases(self, rfm, horizon):
        self.horizons.append((horizon, len(rfm)))
        return pd.Series(self.value * horizon, index=rfm.index)


@pytest.fixture(scope="module")
def split(cdnow):
    return clv.calibration_holdout(
        cdnow, calibration_end="1997-09-30", observation_end="1998-06-30", time_unit="W"
    )


@pytest.fixture(scope="module")
def small():
    return pd.DataFrame(
        {
            "frequency": [0, 0, 1, 2, 9],
            "recency": [0.0, 0.0, 3.0, 4.0, 8.0],
            "T": [10.0, 0.0, 10.0, 5.0, 9.0],
            "frequency_holdout": [0, 1, 2, 3, 10],
            "duration_holdout": 5.0,
        },
        index=list("abcde"),
    )


@pytest.mark.reference
@pytest.mark.parametrize("cls", REFERENCE)
def test_cdnow_totals(split, cls):
    title, total, mae, rmse = REFERENCE[cls]
    table = holdout_totals(cls().fit(split), split)
    assert list(table.columns) == [title, "naive"]
    found = table[title]
    assert found["predicted_total"] == pytest.approx(total, abs=0.05)
    assert found["observed_total"] == 1882
    assert found["bias_percent"] == pytest.approx(100 * (total / 1882 - 1), abs=0.01)
    assert found["mae"] == pytest.approx(mae, abs=5e-5)
    assert found["rmse"] == pytest.approx(rmse, abs=5e-4)


def test_cdnow_by_frequency(split):
    model = clv.MBGNBD().fit(split)
    table = calibration_table(model, split)
    assert table["frequency"].tolist() == ["0", "1", "2", "3", "4", "5", "6", "7+"]
    assert table["customers"].sum() == len(split)
    assert set(table["model"]) == {"MBG/NBD"}
    totals = holdout_totals(model, split)
    for column, total in (
        ("predicted", totals.loc["predicted_total", "MBG/NBD"]),
        ("observed", 1882),
        ("naive", totals.loc["predicted_total", "naive"]),
    ):
        assert (table[column] * table["customers"]).sum() == pytest.approx(total)
    group = split.loc[split["frequency"] == 3, "frequency_holdout"]
    row = table.set_index("frequency").loc["3"]
    assert row["observed"] == pytest.approx(group.mean())
    assert row["observed_se"] == pytest.approx(group.std(ddof=1) / np.sqrt(len(group)))
    assert table.attrs == {
        "duration_holdout": 39.0,
        "time_unit": "weeks",
        "currency": None,
        "calibration_end": "1997-09-30",
        "observation_end": "1998-06-30",
    }


def test_a_clv_model_is_judged_by_its_purchases(split):
    model = clv.CLVModel().fit(split)
    pd.testing.assert_frame_equal(
        calibration_table(model, split), calibration_table(model.purchases, split)
    )
    pd.testing.assert_frame_equal(
        holdout_totals(model, split), holdout_totals(model.purchases, split)
    )


def test_by_hand(small):
    table = calibration_table(Always(0.2), small, top=3).set_index("frequency")
    assert table.index.tolist() == ["0", "1", "2", "3+"]
    assert table["customers"].tolist() == [2, 1, 1, 1]
    assert table["predicted"].tolist() == [1.0, 1.0, 1.0, 1.0]
    assert table["observed"].tolist() == [0.5, 2.0, 3.0, 10.0]
    assert table["observed_se"].iloc[0] == pytest.approx(0.5)
    assert table["observed_se"].iloc[1:].isna().all()
    # frequency / T × 5; nobody buys again whose T is 0.
    assert table["naive"].tolist() == [0.0, 0.5, 2.0, 5.0]


def test_groups_without_customers_are_shown_as_such(small):
    table = calibration_table(Always(0.2), small).set_index("frequency")
    assert table.loc["5", "customers"] == 0
    assert np.isnan(table.loc["5", "predicted"])
    assert table.loc["7+", "customers"] == 1


def test_totals_by_hand(small):
    table = holdout_totals(Always(0.2), small)["Always"]
    assert table.to_dict() == {
        "predicted_total": 5.0,
        "observed_total": 16.0,
        "bias_percent": pytest.approx(-68.75),
        "mae": pytest.approx((1 + 0 + 1 + 2 + 9) / 5),
        "rmse": pytest.approx(np.sqrt((1 + 0 + 1 + 4 + 81) / 5)),
    }


def test_customers_may_have_holdouts_of_different_length(small):
    model = Always(1.0)
    lengths = [5.0, 5.0, 2.0, 2.0, 1.0]
    table = holdout_totals(model, small.assign(duration_holdout=lengths))
    assert model.horizons == [(1.0, 1), (2.0, 2), (5.0, 2)]
    assert table.loc["predicted_total", "Always"] == sum(lengths)


def test_no_purchase_at_all_in_the_holdout(small):
    table = holdout_totals(Always(0.2), small.assign(frequency_holdout=0))
    assert np.isnan(table.loc["bias_percent", "Always"])


@pytest.mark.parametrize("function", [calibration_table, holdout_totals])
def test_a_model_that_has_seen_the_holdout_is_refused(cdnow, split, function):
    seen = clv.MBGNBD().fit(clv.rfm_summary(cdnow, time_unit="W"))
    with pytest.raises(OptionError, match=r"not be a test.*model\.fit\(split\)"):
        function(seen, split)


def test_a_model_of_earlier_data_is_fine(cdnow, split):
    rfm = clv.rfm_summary(cdnow, observation_end="1997-06-30", time_unit="W")
    early = clv.MBGNBD().fit(rfm)
    assert holdout_totals(early, split).loc["observed_total", "MBG/NBD"] == 1882


def test_a_summary_without_holdout(cdnow_rfm, small):
    with pytest.raises(DataError, match="frequency_holdout"):
        calibration_table(Always(1.0), cdnow_rfm)
    with pytest.raises(DataError, match="no holdout"):
        calibration_table(Always(1.0), small.assign(duration_holdout=0.0))


def test_another_unit(split):
    model = clv.MBGNBD().fit(split)
    with pytest.raises(UnitError, match="convert_unit"):
        holdout_totals(model, clv.convert_unit(split, "D"))


def test_the_unit_does_not_matter(split):
    days = clv.convert_unit(split, "D")
    weekly = holdout_totals(clv.MBGNBD().fit(split), split)
    daily = holdout_totals(clv.MBGNBD().fit(days), days)
    pd.testing.assert_frame_equal(weekly, daily, rtol=1e-6)


def test_top_must_make_sense(small):
    with pytest.raises(OptionError, match="top=0"):
        calibration_table(Always(1.0), small, top=0)
