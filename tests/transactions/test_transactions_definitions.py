"""What a purchase, a repeat, an age and a mean value are."""

from __future__ import annotations

import datetime as dt
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clvpredict as clv
from clvpredict.errors import DataWarning, OptionError

UNIT_HOURS = {"h": 1.0, "D": 24.0, "W": 168.0, "M": 730.5, "10D": 240.0}


def table(rows, columns=("customer_id", "date", "amount")):
    frame = pd.DataFrame(rows, columns=list(columns))
    return frame.assign(date=pd.to_datetime(frame["date"], format="ISO8601"))


def compare(got, want):
    got = pd.DataFrame(got)
    got.attrs = {}
    money = [c for c in got.columns if c.startswith("monetary")]
    pd.testing.assert_frame_equal(got.drop(columns=money), want.drop(columns=money))
    for column in money:
        np.testing.assert_allclose(got[column], want[column], rtol=1e-12, atol=0)


# --- against a plain implementation ------------------------------------------------------


@pytest.mark.parametrize("collapse", ["h", "D", "W"])
@pytest.mark.parametrize("returns", ["net", pytest.param("drop", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("time_unit", "window"),
    [
        ("D", {}),
        ("W", {"calibration_end": "2023-02-01"}),
        ("M", {"calibration_end": "2023-01-25", "observation_end": "2023-02-16"}),
        ("10D", {"observation_end": "2023-02-10", "include_first_transaction": True}),
        ("D", {"calibration_end": "2023-02-20", "include_first_transaction": True}),
        ("h", {"observation_end": "2024-01-01"}),
    ],
)
def test_brute_force(messy, brute, collapse, returns, time_unit, window):
    summarise = clv.calibration_holdout if "calibration_end" in window else clv.rfm_summary
    got = summarise(messy, collapse=collapse, returns=returns, time_unit=time_unit, **window)
    want = brute(
        messy, collapse=collapse, returns=returns, unit_hours=UNIT_HOURS[time_unit], **window
    )
    assert len(got) > 300
    compare(got, want)


rows = st.tuples(
    st.integers(-3, 3),
    st.datetimes(dt.datetime(2023, 12, 20), dt.datetime(2024, 1, 12)),
    st.integers(-300, 300).map(lambda cents: cents / 100),
)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    st.lists(rows, min_size=1, max_size=60), st.sampled_from("hDW"), st.sampled_from([True, False])
)
def test_any_transactions(brute, some, collapse, include_first):
    some = [*some, (0, dt.datetime(2023, 12, 21), 1.0)]
    frame = pd.DataFrame(some, columns=["customer_id", "date", "amount"])
    options = {"collapse": collapse, "include_first_transaction": include_first}
    compare(clv.rfm_summary(frame, **options), brute(frame, **options))


def test_lifetimes_agrees(messy):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lifetimes.utils import summary_data_from_transaction_data as theirs

        bought = messy[messy["amount"] > 0]
        want = theirs(bought, "customer_id", "date", monetary_value_col="amount", freq="D")
    got = clv.rfm_summary(bought)
    assert (got["customer_id"] == want.index).all()
    for column in want.columns:
        np.testing.assert_allclose(got[column], want[column], rtol=1e-12, atol=0)


def test_row_order_and_threads_change_no_bit(messy):
    rng = np.random.default_rng(1)
    many = pd.concat([messy] * 50, ignore_index=True)
    for amounts in (many["amount"], pd.Series(rng.gamma(2, 10, len(many)))):
        frame = many.assign(amount=amounts)
        first = clv.rfm_summary(frame)
        again = clv.rfm_summary(frame.sample(frac=1, random_state=2))
        pd.testing.assert_frame_equal(first, again, check_exact=True)


def test_the_input_is_not_changed(messy):
    before = messy.copy()
    summary = clv.rfm_summary(messy)
    summary["frequency"] = -1
    pd.testing.assert_frame_equal(messy, before)


# --- the shape of the result -------------------------------------------------------------


def test_columns_types_and_order(messy):
    got = clv.rfm_summary(messy.assign(customer_id=messy["customer_id"].astype(str)))
    assert list(got.columns) == ["customer_id", "frequency", "recency", "T", "monetary_value"]
    assert got.dtypes.astype(str).tolist() == ["str", "int64", "float64", "float64", "float64"]
    assert isinstance(got.index, pd.RangeIndex)
    assert got["customer_id"].is_monotonic_increasing
    split = clv.calibration_holdout(messy, calibration_end="2023-02-01", amount=None)
    assert list(split.columns) == [
        *("customer_id", "frequency", "recency", "T"),
        *("frequency_last", "frequency_holdout", "duration_holdout"),
    ]
    kinds = split.dtypes.astype(str).tolist()
    assert kinds == ["int64", "int64", "float64", "float64", "int64", "int64", "float64"]


def test_provenance(messy):
    aware = messy.assign(date=messy["date"].dt.tz_localize("UTC"))
    got = clv.calibration_holdout(
        aware,
        calibration_end="2023-02-01",
        observation_start="2023-01-04",
        time_unit="W",
        collapse="h",
        currency="EUR",
        timezone="Asia/Tokyo",
        returns="drop",
    )
    p = got.provenance
    assert (p.time_unit, p.collapse, p.currency, p.timezone) == ("W", "h", "EUR", "Asia/Tokyo")
    assert (p.observation_start, p.calibration_end) == (
        "2023-01-04T00:00:00",
        "2023-02-01T23:00:00",
    )
    assert p.observation_end.startswith("2023-03-0")
    assert p.returns == "drop"
    assert clv.rfm_summary(messy).provenance.timezone is None


def test_a_summary_survives_parquet(messy, tmp_path):
    got = clv.rfm_summary(messy, time_unit="W")
    got.to_parquet(tmp_path / "rfm.parquet")
    back = pd.read_parquet(tmp_path / "rfm.parquet")
    assert clv.convert_unit(back, "D").attrs == clv.convert_unit(got, "D").attrs


# --- periods, units and windows ----------------------------------------------------------


def test_purchases_of_one_period_are_one():
    frame = table(
        [
            (1, "2024-03-03 23:59", 1),  # a Sunday
            (1, "2024-03-04 00:00", 2),  # Monday
            (1, "2024-03-04 00:59", 4),
            (1, "2024-03-04 01:00", 8),
            (1, "2024-03-10 23:59", 16),
        ]
    )
    by = {c: clv.rfm_summary(frame, collapse=c, time_unit=c).iloc[0] for c in "hDW"}
    assert [by[c]["frequency"] for c in "hDW"] == [3, 2, 1]
    assert [by[c]["recency"] for c in "hDW"] == [7 * 24.0, 7.0, 1.0]
    assert [by[c]["monetary_value"] for c in "hDW"] == [(6 + 8 + 16) / 3, 15.0, 30.0]


@pytest.mark.parametrize("unit", ["h", "D", "W", "M", "Y", "10D", dt.timedelta(hours=36)])
def test_ages_are_whole_days_divided_once(unit):
    frame = table([(1, "1900-01-01", 1), (1, "2024-02-29", 1), (2, "2100-12-31", 1)])
    got = clv.rfm_summary(frame, time_unit=unit)
    length = {"h": 1 / 24, "D": 1, "W": 7, "M": 30.4375, "Y": 365.25, "10D": 10}.get(unit, 1.5)
    days = (dt.date(2024, 2, 29) - dt.date(1900, 1, 1)).days
    assert got["recency"][0] == (days * 24.0 if unit == "h" else days / length)


@pytest.mark.parametrize("collapse", ["h", "D", "W"])
@pytest.mark.parametrize(
    "end", ["1997-09-30", "19970930", dt.date(1997, 9, 30), np.datetime64("1997-09-30")]
)
def test_an_end_date_is_a_whole_day(collapse, end):
    frame = table([(1, "1997-09-01", 1), (1, "1997-09-30 23:30", 1), (1, "1997-10-01", 1)])
    got = clv.calibration_holdout(frame, calibration_end=end, collapse=collapse)
    assert got["frequency"].tolist() == [1]
    assert got["frequency_holdout"].tolist() == [1]
    if collapse == "W":  # a week that is cut in two counts on both sides
        assert got["duration_holdout"].tolist() == [0.0]


def test_an_end_with_a_time_is_that_hour():
    frame = table([(1, "1997-09-01", 1), (1, "1997-09-30 09:30", 1), (1, "1997-09-30 10:00", 1)])
    for end in ("1997-09-30T09:10", pd.Timestamp("1997-09-30 09:59")):
        got = clv.rfm_summary(frame, observation_end=end, collapse="h", time_unit="h")
        assert got["frequency"].tolist() == [1]
        assert got["T"].tolist() == [29 * 24 + 9.0]
    whole = clv.rfm_summary(frame, observation_end="1997-09-30T09:10")
    assert whole["frequency"].tolist() == [1]
    aware = clv.rfm_summary(
        frame, observation_end="1997-09-30T09:10+00:00", collapse="h", timezone="Asia/Tokyo"
    )
    assert aware["frequency"].tolist() == [2]  # 18:10 in Tokyo; dates without a zone stay


def test_rows_outside_the_window_are_counted():
    frame = table([(1, f"2024-01-0{d}", 1) for d in range(1, 8)] + [(2, "2024-01-01", 1)])
    with pytest.warns(DataWarning, match="before observation_start=2024-01-03 already: 1"):
        got = clv.rfm_summary(
            frame, observation_start="2024-01-03", observation_end=dt.datetime(2024, 1, 5, 12)
        )
    assert got["frequency"].tolist() == [2]
    assert got.provenance.excluded == {
        "rows before observation_start": 3,
        "rows after observation_end": 2,
    }
    assert got.provenance.counts == {
        "rows read": 8,
        "rows used": 3,
        "purchases": 3,
        "customers": 1,
    }


def test_no_warning_without_known_customers():
    frame = table([(1, "2024-01-01", -5), (1, "2024-01-03", 1), (2, "2024-01-01", 1)])
    got = clv.rfm_summary(frame, observation_start="2024-01-02")
    assert got["customer_id"].tolist() == [1]


def test_customers_of_the_holdout_only_are_left_out():
    frame = table(
        [
            *[(1, "2024-01-01", 1), (1, "2024-01-09", 3), (1, "2024-01-09", 4)],
            *[(2, "2024-01-08", 1), (3, "2024-01-01", -1), (3, "2024-01-08", 2)],
            (4, "2024-01-02", -1),
        ]
    )
    got = clv.calibration_holdout(
        frame, calibration_end="2024-01-05", observation_end="2024-01-10", time_unit="D"
    )
    assert got.drop(columns=["recency"]).to_dict("list") == {
        "customer_id": [1],
        "frequency": [0],
        "T": [4.0],
        "monetary_value": [0.0],
        "frequency_last": [0],
        "monetary_value_last": [0.0],
        "frequency_holdout": [1],
        "monetary_value_holdout": [7.0],
        "duration_holdout": [5.0],
    }
    assert got.provenance.excluded == {
        "periods with net value <= 0": 2,
        "customers without a purchase": 1,
        "customers first buying after calibration_end": 2,
    }
    assert got.provenance.counts["holdout purchases"] == 1


def test_the_last_period_is_as_long_as_the_holdout():
    frame = table(
        [
            *[(1, "2024-01-01", 8), (1, "2024-01-05", 1), (1, "2024-01-06", 2)],
            *[(1, "2024-01-10", 4), (2, "2024-01-06", 8), (2, "2024-01-07", 5)],
            *[(3, "2024-01-10", 9), (4, "2024-01-01", 1), (1, "2024-01-15", 3)],
        ]
    )
    options = {"calibration_end": "2024-01-10", "observation_end": "2024-01-15"}
    got = clv.calibration_holdout(frame, **options)
    # Five days, 6 to 10 January; first purchases are not counted.
    assert got["frequency_last"].tolist() == [2, 1, 0, 0]
    assert got["monetary_value_last"].tolist() == [3.0, 5.0, 0.0, 0.0]
    got = clv.calibration_holdout(frame, **options, include_first_transaction=True)
    assert got["frequency_last"].tolist() == [2, 2, 1, 0]
    assert got["monetary_value_last"].tolist() == [3.0, 6.5, 9.0, 0.0]


@pytest.mark.parametrize("collapse", ["h", "D", "W"])
def test_a_holdout_longer_than_the_calendar_before_it(collapse):
    frame = table([(1, "2024-01-01", 1), (1, "2024-01-09", 2), (1, "2024-01-30", 2)])
    got = clv.calibration_holdout(
        frame, calibration_end="2024-01-20", observation_end="9999-12-31", collapse=collapse
    )
    assert got["frequency_last"].tolist() == got["frequency"].tolist() == [1]


# --- amounts -----------------------------------------------------------------------------


def test_returns_net_their_own_period_only():
    frame = table(
        [
            *[(1, "2024-01-01", -5), (1, "2024-01-02", 10), (1, "2024-01-03", -4)],
            *[(1, "2024-01-04", 10), (1, "2024-01-04", -4), (1, "2024-01-05", 9)],
            *[(1, "2024-01-05", -9), (2, "2024-01-02", 1), (2, "2024-01-02", -2)],
        ]
    )
    got = clv.rfm_summary(frame)
    assert got["customer_id"].tolist() == [1]
    assert got[["frequency", "recency", "T", "monetary_value"]].to_numpy().tolist() == [
        [1, 2, 3, 6]
    ]
    assert got.provenance.excluded == {
        "periods with net value <= 0": 4,
        "customers without a purchase": 1,
    }
    dropped = clv.rfm_summary(frame, returns="drop")
    assert dropped["frequency"].tolist() == [2, 0]
    assert dropped["monetary_value"].tolist() == [9.5, 0.0]
    assert dropped.provenance.excluded == {"return rows dropped": 5}
    assert dropped.provenance.counts["rows used"] == 4


def test_free_orders_are_purchases_but_cancelled_ones_are_not():
    frame = table(
        [
            *[(1, "2024-01-01", 0), (1, "2024-01-02", 0.1), (1, "2024-01-02", 0.2)],
            *[(1, "2024-01-02", -0.3), (1, "2024-01-03", 0), (1, "2024-01-03", 0)],
        ]
    )
    got = clv.rfm_summary(frame)  # in floats, 0.1 + 0.2 - 0.3 > 0
    assert got["frequency"].tolist() == [1]
    assert got["recency"].tolist() == [2.0]
    assert got.provenance.counts["zero-value purchases"] == 2


def test_include_first_transaction():
    frame = table([(1, "2024-01-01", 10), (1, "2024-01-05", 1), (2, "2024-01-02", 4)])
    got = clv.rfm_summary(frame, include_first_transaction=True)
    assert got["frequency"].tolist() == [2, 1]
    assert got["monetary_value"].tolist() == [5.5, 4.0]
    assert got["recency"].tolist() == [4.0, 0.0]
    assert got.provenance.include_first_transaction


def test_frequency_only(messy):
    got = clv.rfm_summary(messy.drop(columns="amount"), amount=None)
    assert list(got.columns) == ["customer_id", "frequency", "recency", "T"]
    days = messy.assign(day=messy["date"].dt.date).drop_duplicates(["customer_id", "day"])
    assert (got["frequency"] + 1).sum() == len(days)


@pytest.mark.parametrize(
    ("amounts", "mean"),
    [
        ([7.0, 29.33, 29.73], 29.53),
        ([7.0, 0.1, 0.2], 0.15),
        ([7.0, 1 / 3, 2 / 3], 0.5),
        ([7.0, 1.00000001, 2.00000003], 1.50000002),
        ([7.0, 1e-9, 3e-9], 2e-9),
        ([7.0, 1e14 + 0.5, 1e14], 1e14 + 0.25),
        ([1e13, 1e12 / 7, 1e12 / 7], 1e12 / 7),
        ([7, 5, 6], 5.5),
        (
            np.array([7, 0.1, 0.2], np.float32),
            (float(np.float32(0.1)) + float(np.float32(0.2))) / 2,
        ),
    ],
)
def test_values_keep_their_precision(amounts, mean):
    dates = ["2024-01-01", "2024-01-02", "2024-01-03"]
    frame = pd.DataFrame({"customer_id": 1, "date": pd.to_datetime(dates), "amount": amounts})
    assert clv.rfm_summary(frame)["monetary_value"][0] == pytest.approx(mean, rel=1e-12)


# --- time zones --------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "Pacific/Apia"])
@pytest.mark.parametrize("collapse", ["h", "D"])
def test_instants_become_wall_time(brute, zone, collapse):
    instants = pd.date_range("2011-12-29", periods=300, freq="7h", tz="UTC").union(
        pd.date_range("2024-03-09", "2024-11-04", freq="11h", tz="UTC")
    )
    frame = pd.DataFrame(
        {"customer_id": np.arange(len(instants)) % 7, "date": instants, "amount": 1.0}
    )
    got = clv.rfm_summary(frame, timezone=zone, collapse=collapse)
    wall = frame.assign(date=frame["date"].dt.tz_convert(zone).dt.tz_localize(None))
    compare(got, brute(wall, collapse=collapse))
    assert got.provenance.timezone == zone


# --- options -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"collapse": "d"}, "collapse='d' is not known.*Did you mean 'D'"),
        ({"returns": "nett"}, "Did you mean 'net'"),
        ({"timezone": "Europe/Berln"}, "Did you mean 'Europe/Berlin'"),
        ({"timezone": "../etc"}, "not an IANA time zone"),
        ({"time_unit": "Q"}, "time_unit='Q'"),
        ({"observation_end": "30/09/1997"}, "observation_end='30/09/1997' is not a date"),
        ({"observation_end": 19970930}, "observation_end=19970930 is not a date"),
        ({"observation_start": pd.NaT}, "observation_start=NaT is not a date"),
        ({"observation_end": np.datetime64("NaT", "D")}, "is not a date"),
    ],
)
def test_bad_options(messy, options, message):
    with pytest.raises(OptionError, match=message):
        clv.rfm_summary(messy, **options)


def test_the_repr_says_what_was_left_out(messy):
    text = repr(clv.rfm_summary(messy, time_unit="W"))
    assert re.search(r"left out: \d+ periods with net value <= 0, \d+ customers without", text)
