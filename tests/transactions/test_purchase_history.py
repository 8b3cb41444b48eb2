"""The purchases one by one are those that the summary counts."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clvpredict as clv
from clvpredict.errors import DataError, DataWarning

HOURS = {"h": 1, "D": 24, "W": 168}


def as_summary(history, collapse):
    """The summary by pandas, from the purchases and the end alone."""
    end = pd.Timestamp(history.attrs["observation_end"])
    if collapse == "W":
        end -= pd.Timedelta(days=end.day_of_week)
    unit = pd.Timedelta(hours=HOURS[collapse])
    first = history.groupby("customer_id")["date"].transform("min")
    repeat = history[history["date"] > first].groupby("customer_id")
    grouped = history.groupby("customer_id")["date"]
    first, last = grouped.min(), grouped.max()
    out = {"frequency": repeat.size().reindex(first.index, fill_value=0)}
    out |= {"recency": (last - first) / unit, "T": (end - first) / unit}
    if "amount" in history:
        out["monetary_value"] = repeat["amount"].mean().reindex(first.index, fill_value=0.0)
    return pd.DataFrame(out).reset_index()


def compare(history, rfm, collapse):
    assert history.attrs["counts"] == rfm.provenance.counts
    assert history.attrs["excluded"] == rfm.provenance.excluded
    assert history.attrs["collapse"] == collapse
    want = pd.DataFrame(rfm)
    want.attrs = {}
    pd.testing.assert_frame_equal(as_summary(history, collapse), want, rtol=1e-12, atol=0)


@pytest.mark.parametrize("collapse", ["h", "D", "W"])
@pytest.mark.parametrize("returns", ["net", "drop"])
@pytest.mark.parametrize("window", [{}, {"observation_end": "2023-02-08"}, {"amount": None}])
def test_the_summary_counts_them(messy, collapse, returns, window):
    options = {"collapse": collapse, "returns": returns, **window}
    history = clv.purchase_history(messy, **options)
    compare(history, clv.rfm_summary(messy, time_unit=collapse, **options), collapse)


rows = st.tuples(
    st.integers(-3, 3),
    st.datetimes(dt.datetime(2023, 12, 20), dt.datetime(2024, 1, 12)),
    st.integers(-300, 300).map(lambda cents: cents / 100),
)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(st.lists(rows, min_size=1, max_size=60), st.sampled_from("hDW"))
def test_of_any_transactions(some, collapse):
    some = [*some, (0, dt.datetime(2023, 12, 21), 1.0)]
    frame = pd.DataFrame(some, columns=["customer_id", "date", "amount"])
    history = clv.purchase_history(frame, collapse=collapse)
    compare(history, clv.rfm_summary(frame, collapse=collapse, time_unit=collapse), collapse)


def test_cdnow(cdnow, cdnow_split):
    history = clv.purchase_history(cdnow)
    daily = cdnow.groupby(["customer_id", "date"], as_index=False)["amount"].sum()
    pd.testing.assert_frame_equal(
        history[["customer_id", "date"]], daily[["customer_id", "date"]], check_dtype=False
    )
    np.testing.assert_allclose(history["amount"], daily["amount"], rtol=1e-12)
    later = history[history["date"] > "1997-09-30"]
    assert len(later) == cdnow_split["frequency_holdout"].sum() == 1882


@pytest.mark.parametrize("through", ["parquet", "csv", "ibis"])
def test_every_source_gives_the_same(messy, through, tmp_path):
    want = clv.purchase_history(messy, observation_end="2023-02-20")
    if through == "ibis":
        import ibis

        source = ibis.memtable(messy.sample(frac=1, random_state=1))
    elif through == "parquet":
        source = tmp_path / "log.parquet"
        messy.sample(frac=1, random_state=1).to_parquet(source)
    else:
        source = tmp_path / "log.csv"
        messy.to_csv(source, index=False)
    got = clv.purchase_history(source, observation_end="2023-02-20")
    pd.testing.assert_frame_equal(got, want, check_exact=True)
    assert got.attrs == want.attrs


def test_what_the_table_says_of_itself(messy, tmp_path):
    aware = messy.assign(
        customer_id=messy["customer_id"].astype(str), date=messy["date"].dt.tz_localize("UTC")
    )
    got = clv.purchase_history(
        aware, observation_end="2023-02-20", timezone="Asia/Tokyo", collapse="W", returns="drop"
    )
    assert list(got.columns) == ["customer_id", "date", "amount"]
    assert got.dtypes.astype(str).tolist() == ["str", "datetime64[us]", "float64"]
    assert (got["date"].dt.day_of_week == 0).all()
    facts = {name: got.attrs[name] for name in ("collapse", "observation_end", "timezone")}
    assert facts == {"collapse": "W", "observation_end": "2023-02-20", "timezone": "Asia/Tokyo"}
    assert got.attrs["returns"] == "drop"
    assert got.attrs["excluded"]["return rows dropped"] > 0
    assert json.loads(json.dumps(got.attrs)) == got.attrs


def test_problems_and_warnings_are_those_of_the_summary():
    frame = pd.DataFrame(
        {"customer_id": [1, 1, 2], "date": ["2024-01-01", "2024-01-09", "x"], "amount": [1.0] * 3}
    )
    with pytest.raises(DataError, match="'date' cannot be read as a date"):
        clv.purchase_history(frame)
    good = frame[:2]
    with pytest.raises(DataError, match="after observation_end"):
        clv.purchase_history(good, observation_end="2024-01-05", strict=True)
    with pytest.raises(DataError, match="no customer has a purchase"):
        clv.purchase_history(good.assign(amount=-1.0))
    with pytest.warns(DataWarning, match="already: 1") as caught:
        clv.purchase_history(good, observation_start="2024-01-05")
    assert caught[0].filename == __file__
