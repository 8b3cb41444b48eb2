"""The profile of raw transactions: every defect that is planted is found and said."""

from __future__ import annotations

import json
import warnings

import ibis
import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import DataError, OptionError

COLUMNS = ["check", "value", "unit", "share", "severity", "detail"]


@pytest.fixture(scope="module")
def clean() -> pd.DataFrame:
    """A year of a quiet shop: 300 customers, about 8 purchases each, with times of day."""
    rng = np.random.default_rng(5)
    n = 2400
    minutes = rng.choice(365 * 24 * 60, n, replace=False)
    return pd.DataFrame(
        {
            "customer_id": rng.integers(0, 300, n),
            "date": pd.Timestamp("2023-01-01") + pd.to_timedelta(minutes, unit="min"),
            "amount": np.round(np.exp(rng.normal(3, 0.5, n)), 2),
        }
    )


def profiled(transactions, **options) -> pd.DataFrame:
    table = clv.profile_transactions(transactions, **options)
    assert list(table.columns) == COLUMNS
    assert set(table["severity"]) <= {"ok", "look", "bad"}
    assert table["check"].is_unique or (table["check"] == "column").sum() > 1
    assert table["detail"].str.len().gt(0).all()
    assert json.loads(json.dumps(table.attrs)) == table.attrs
    return table.set_index("check")


def add(frame, **columns) -> pd.DataFrame:
    return pd.concat([frame, pd.DataFrame(columns)], ignore_index=True)


def test_nothing_to_see(clean):
    table = profiled(clean)
    assert (table["severity"] == "ok").all(), table[table["severity"] != "ok"]
    assert table.loc["rows", "value"] == table.loc["usable rows", "value"] == 2400
    assert table.loc["period", "value"] == 365


def test_cdnow(cdnow):
    """Against plain pandas."""
    table = profiled(cdnow)
    days = cdnow.groupby("date").size()
    orders = cdnow.groupby(["customer_id", "date"])["amount"].sum()
    assert table.loc["rows", "value"] == 6919
    assert table.loc["customers", "value"] == 2357
    assert table.loc["purchases", "value"] == len(orders) == 6696
    assert table.loc["days without a purchase", "value"] == 546 - len(days)
    once = (orders.groupby("customer_id").size() == 1).sum()
    assert table.loc["one-time buyers", "value"] == once
    assert table.loc["one-time buyers", "share"] == pytest.approx(once / 2357)
    assert (
        table.loc["duplicated baskets", "value"]
        == cdnow.duplicated(["customer_id", "date", "amount"]).sum()
        > 0
    )
    assert table.loc["zero amounts", "value"] == (cdnow["amount"] == 0).sum() == 8
    logs = np.log(cdnow["amount"][cdnow["amount"] > 0])
    z = (logs - logs.median()) / (1.4826 * (logs - logs.median()).abs().median())
    assert table.loc["large amounts", "value"] == (z > 4).sum()
    assert table.loc["small amounts", "value"] == (z < -4).sum()
    totals = orders.groupby("customer_id").sum()
    counts = orders.groupby("customer_id").size()
    far = set()
    for logs in (np.log(totals[totals > 0]), np.log(counts[counts > 1])):
        z = (logs - logs.median()) / (1.4826 * (logs - logs.median()).abs().median())
        far |= set(z.index[z > 4])
    big = totals[sorted(far)].sort_values(ascending=False)
    assert table.loc["b2b-like customers", "value"] == len(big)
    assert table.loc["b2b-like customers", "share"] == pytest.approx(big.sum() / totals.sum())
    assert ", ".join(map(str, big.index[:5])) in table.loc["b2b-like customers", "detail"]


@pytest.mark.parametrize("through", ["pandas", "csv", "parquet", "arrow", "polars", "ibis polars"])
def test_every_source_gives_the_same(messy, through, tmp_path):
    want = clv.profile_transactions(messy)
    source = messy
    if through == "csv":
        source = tmp_path / "log.csv"
        messy.to_csv(source, index=False)
    elif through == "parquet":
        source = tmp_path / "log.parquet"
        messy.to_parquet(source)
    elif through == "arrow":
        import pyarrow as pa

        source = pa.Table.from_pandas(messy)
    elif through == "polars":
        import polars as pl

        source = pl.from_pandas(messy)
    elif through == "ibis polars":
        import pyarrow as pa

        backend = ibis.polars.connect()
        backend.create_table("t", pa.Table.from_pandas(messy, preserve_index=False))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            source = backend.table("t")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of polars
        got = clv.profile_transactions(source)
    future = want["check"] == "rows in the future"
    columns = [c for c in COLUMNS if c != "detail"]
    pd.testing.assert_frame_equal(got.loc[~future, columns], want.loc[~future, columns], rtol=1e-9)


# --- planted defects ---------------------------------------------------------------------


@pytest.mark.parametrize("through", ["pandas", "csv"])
def test_what_the_summary_would_refuse(clean, through, tmp_path):
    text = clean.astype({"customer_id": "str", "date": "str", "amount": "str"})
    text.loc[:2, "customer_id"] = None
    text.loc[3:4, "date"] = None
    text.loc[5:8, "date"] = "31.12.2023"
    text.loc[9, "amount"] = None
    text.loc[10:11, "amount"] = "12,50 EUR"
    text.loc[12, "amount"] = "1e20"
    source = text
    if through == "csv":
        source = tmp_path / "bad.csv"
        text.to_csv(source, index=False)
    with pytest.raises(DataError):
        clv.rfm_summary(source)
    table = profiled(source)
    found = {
        "customer_id missing": 3,
        "date missing": 2,
        "date unreadable": 4,
        "amount missing": 1,
        "amount unreadable": 2,
        "amount huge": 1,
    }
    for check, count in found.items():
        assert table.loc[check, "value"] == count, check
        assert table.loc[check, "share"] == pytest.approx(count / 2400)
        assert table.loc[check, "severity"] == "bad"
        assert "rfm_summary refuses" in table.loc[check, "detail"]
    assert table.loc["usable rows", "value"] == 2400 - 13
    rest = profiled(clean.iloc[13:])
    for check in ("customers", "purchases", "one-time buyers", "days without a purchase"):
        assert table.loc[check, "value"] == rest.loc[check, "value"], check


def test_columns_that_are_not_there(clean):
    table = profiled(clean.rename(columns={"customer_id": "client"}))
    assert "no column 'customer_id'" in table.loc["column", "detail"]
    assert "Did you mean 'client'?" in table.loc["column", "detail"]
    assert table.loc["column", "severity"] == "bad"
    assert table.loc["date missing", "value"] == 0
    assert "'customer_id'" in table.loc["not checked: everything else", "detail"]
    nothing = profiled(clean[["amount"]].rename(columns={"amount": "x"}))
    assert nothing.loc["rows", "value"] == 0
    assert len(nothing.loc[["column"]]) == 3
    mixed = clean.astype({"amount": object})
    mixed.loc[0, "amount"] = "free"
    assert "amount" in profiled(mixed).loc["column", "detail"]


def test_no_rows_and_no_usable_rows(clean):
    assert profiled(clean.head(0)).loc["rows", "severity"] == "bad"
    table = profiled(clean.assign(amount=np.nan))
    assert table.loc["usable rows", "value"] == 0
    assert table.loc["amount missing", "share"] == 1
    assert "customers" not in table.index


@pytest.mark.slow
def test_gaps(clean):
    day = clean["date"].dt.floor("D")
    holes = clean[~day.between("2023-03-06", "2023-03-19") & (day != "2023-07-01")]
    table = profiled(holes)
    assert table.loc["days without a purchase", "value"] >= 15
    assert table.loc["longest gap", "value"] == 14
    assert table.loc["longest gap", "severity"] == "look"
    assert "from 2023-03-06 to 2023-03-19" in table.loc["longest gap", "detail"]
    # Where weeks pass between purchases, weeks are no gap.
    rare = clean[(day - pd.Timestamp("2023-01-01")).dt.days % 14 == 0]
    assert profiled(rare).loc["longest gap"][["value", "severity"]].tolist() == [13, "ok"]


@pytest.mark.slow
def test_spikes_are_named(clean):
    moments = pd.date_range("2023-05-05", periods=200, freq="3min")
    spiked = add(clean, customer_id=range(200), date=moments, amount=20.0)
    table = clv.profile_transactions(spiked)
    row = table.set_index("check").loc["spikes"]
    expected = (spiked["date"].dt.floor("D") == "2023-05-05").sum()
    assert row["value"] == 1
    assert row["severity"] == "look"
    assert f"2023-05-05 ({expected})" in row["detail"]
    assert row["share"] == pytest.approx(expected / len(spiked))
    assert table.attrs["spikes"] == {"2023-05-05": expected}
    # A level that rises for good is none.
    later = clean[clean["date"] >= "2023-07-01"]
    risen = pd.concat([clean, *[later.assign(customer_id=k) for k in range(9)]])
    assert profiled(risen).loc["spikes", "value"] == 0


@pytest.mark.slow
def test_duplicated_baskets(clean):
    table = profiled(pd.concat([clean, clean.head(30), clean.head(10)]))
    row = table.loc["duplicated baskets"]
    assert row[["value", "severity"]].tolist() == [40, "look"]
    assert row["share"] == pytest.approx(40 / 2440)
    assert "loaded twice" in row["detail"]
    days = clean.assign(date=clean["date"].dt.floor("D"))
    row = profiled(pd.concat([days, days.head(5)])).loc["duplicated baskets"]
    assert row["severity"] == "ok"
    assert "no time of day" in row["detail"]
    without = profiled(clean.iloc[[0, 0, 1]].assign(amount=[1.0, 2.0, 3.0]), amount=None)
    assert without.loc["duplicated baskets", "value"] == 1


@pytest.mark.slow
def test_returns_and_zeros(clean):
    back = clean.head(400).assign(amount=-clean["amount"].head(400) * 2)
    table = profiled(pd.concat([clean, back, clean.tail(50).assign(amount=0.0)]))
    assert table.loc["returns", "value"] == 400
    assert table.loc["value of returns", "value"] == pytest.approx(-back["amount"].sum())
    share = -back["amount"].sum() / clean["amount"].sum()
    assert table.loc["value of returns", "share"] == pytest.approx(share)
    assert table.loc["returns", "severity"] == "look"
    assert table.loc["zero amounts"][["value", "severity"]].tolist() == [50, "look"]
    few = pd.concat([clean, back.head(3)])
    assert profiled(few).loc["returns", "severity"] == "ok"
    assert profiled(few, returns="error").loc["returns", "severity"] == "bad"
    lost = profiled(add(clean, customer_id=[999], date=clean["date"][:1], amount=[-3.0]))
    assert lost.loc["customers without a purchase", "value"] == 1
    none = profiled(clean.assign(amount=-1.0))
    assert none.loc["customers", "value"] == 0
    assert none.loc["customers", "severity"] == "bad"


@pytest.mark.slow
def test_large_and_small_amounts(clean):
    planted = add(
        clean, customer_id=[1, 2, 3], date=clean["date"][:3], amount=[9_000.0, 8_000.0, 0.01]
    )
    table = profiled(planted)
    assert table.loc["large amounts"][["value", "severity"]].tolist() == [2, "look"]
    assert "the largest is 9000" in table.loc["large amounts", "detail"]
    share = 17_000 / planted["amount"].sum()
    assert f"{share:.1%} of the value" in table.loc["large amounts", "detail"]
    assert table.loc["small amounts"][["value", "severity"]].tolist() == [1, "look"]
    # All equal but one of double the size: not an outlier, whatever the MAD of 0 says.
    flat = clean.assign(amount=10.0)
    flat.loc[0, "amount"] = 20.0
    assert profiled(flat).loc["large amounts", "value"] == 0


@pytest.mark.slow
def test_customers_like_firms(clean):
    often = pd.date_range("2023-01-01", "2023-12-31", freq="D")
    firms = add(clean, customer_id=7001, date=often, amount=15.0)
    moments = pd.date_range("2023-02-01", periods=8, freq="30D")
    firms = add(firms, customer_id=7002, date=moments, amount=9_000.0)
    row = profiled(firms).loc["b2b-like customers"]
    assert row[["value", "severity"]].tolist() == [2, "look"]
    assert "7002, 7001" in row["detail"]
    assert row["share"] == pytest.approx((365 * 15 + 72_000) / firms["amount"].sum())
    counts = profiled(firms, amount=None).loc["b2b-like customers"]
    assert counts["value"] == 1
    assert "7001" in counts["detail"]


@pytest.mark.slow
def test_single_huge_purchases_and_one_time_buyers(clean):
    huge = add(clean, customer_id=[8001], date=["2023-06-01 10:00"], amount=[7_777.0])
    row = profiled(huge.astype({"date": "datetime64[us]"})).loc["single huge purchases"]
    assert row[["value", "severity"]].tolist() == [1, "look"]
    assert row["share"] == pytest.approx(7_777 / huge["amount"].sum())
    once = clean.assign(customer_id=np.arange(2400))
    assert profiled(once).loc["one-time buyers"][["share", "severity"]].tolist() == [1, "bad"]
    nearly = clean.assign(customer_id=np.maximum(np.arange(2400), 100))
    assert profiled(nearly).loc["one-time buyers", "severity"] == "look"


@pytest.mark.slow
def test_dates_in_the_future_and_the_last_row(clean):
    later = pd.Timestamp.now() + pd.Timedelta(days=400)
    table = profiled(add(clean, customer_id=[1], date=[later], amount=[20.0]))
    assert table.loc["rows in the future"][["value", "severity"]].tolist() == [1, "bad"]
    assert table.loc["days since the last row", "value"] < 0
    ago = (pd.Timestamp.now(tz="UTC").tz_localize(None) - clean["date"].max().floor("D")).days
    assert profiled(clean).loc["days since the last row", "value"] == ago


def test_options(clean):
    weekly = profiled(clean, collapse="W")
    starts = clean["date"].dt.to_period("W").dt.start_time
    pairs = clean.assign(week=starts).drop_duplicates(["customer_id", "week"])
    assert weekly.loc["purchases", "value"] == len(pairs)
    renamed = clean.rename(columns={"date": "when", "amount": "eur"})
    table = profiled(renamed, date="when", amount="eur")
    assert table.loc["amount missing", "detail"].startswith("rows whose 'eur' has no value")
    with pytest.raises(OptionError, match="collapse='X'"):
        clv.profile_transactions(clean, collapse="X")
    with pytest.raises(DataError, match="cannot read transactions of type int"):
        clv.profile_transactions(3)
