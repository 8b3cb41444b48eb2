"""The same transactions from anywhere give the same summary; ids come back unchanged."""

from __future__ import annotations

import datetime as dt
import gzip
import sqlite3
import subprocess
import sys
import uuid
import warnings
from decimal import Decimal

import duckdb
import ibis
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

import clvpredict as clv

OPTIONS = {"time_unit": "W", "collapse": "D", "observation_end": "2023-02-20"}


@pytest.fixture(scope="module", params=[pytest.param("int", marks=pytest.mark.slow), "str"])
def log(request, messy):
    """Ids of both kinds, with text that is hard on parsers."""
    if request.param == "int":
        return messy
    names = messy["customer_id"].map(lambda i: f'{i:05}" ,;\n\u2603')
    return messy.assign(customer_id=names.astype("str"))


@pytest.fixture(scope="module")
def expected(log):
    return summarise(log, log)


def summarise(source, log):
    """The plain summary for one kind of ids, the split for the other: both are tried."""
    if log["customer_id"].dtype == "int64":
        return clv.rfm_summary(source, **OPTIONS)
    return clv.calibration_holdout(source, calibration_end="2023-02-01", **OPTIONS)


def arrow(log):
    return pa.Table.from_pandas(log, preserve_index=False)


def to_csv(log, path, **options):
    log.to_csv(path, index=False, **options)
    return path


def in_ibis_duckdb(log):
    raw = duckdb.connect()
    raw.register("t", arrow(log))
    return ibis_table(ibis.duckdb.from_connection(raw))


def in_ibis_polars(log):
    backend = ibis.polars.connect()
    backend.create_table("t", arrow(log))
    return ibis_table(backend)


def in_ibis_sqlite(log, path):
    kind = "integer" if log["customer_id"].dtype == "int64" else "text"
    with sqlite3.connect(path) as raw:
        raw.execute(f"create table t (customer_id {kind}, date timestamp, amount real)")
        rows = zip(log["customer_id"].tolist(), log["date"].astype(str), log["amount"], strict=True)
        raw.executemany("insert into t values (?, ?, ?)", rows)
    raw.close()
    return ibis_table(ibis.sqlite.connect(path))


def ibis_table(backend):
    with warnings.catch_warnings():  # Ibis 12 uses what DuckDB 2 has deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        return backend.table("t")


def quarters(log, folder, write):
    parts = np.array_split(np.arange(len(log)), 4)
    return [write(log.iloc[part], folder / f"part-{i}") for i, part in enumerate(parts)]


def write_csv_part(part, stem):
    # Parts may order their columns, and separate them, differently.
    if stem.name.endswith("1"):
        return to_csv(part[["amount", "date", "customer_id"]], f"{stem}.csv", sep=";")
    return to_csv(part, f"{stem}.csv")


def write_parquet_part(part, stem):
    part.to_parquet(f"{stem}.parquet")
    return f"{stem}.parquet"


SOURCES = {
    "pandas, shuffled": lambda log, d: log.sample(frac=1, random_state=1),
    "pandas, other index and columns": lambda log, d: log.assign(x=object()).set_index("x"),
    "pandas, nullable": lambda log, d: log.convert_dtypes(),
    "pandas, arrow types": lambda log, d: log.convert_dtypes(dtype_backend="pyarrow"),
    "pandas, objects": lambda log, d: log.astype(object),
    "pandas, categories": lambda log, d: log.astype(
        {"customer_id": "category", "date": "category"}
    ),
    "pandas, text dates": lambda log, d: log.assign(date=log["date"].astype(str)),
    "pandas, text categories": lambda log, d: log.assign(
        date=log["date"].astype(str).astype("category"), amount=log["amount"].astype(str)
    ),
    "pandas, decimals": lambda log, d: log.assign(amount=[Decimal(str(a)) for a in log["amount"]]),
    "polars": lambda log, d: pl.from_pandas(log),
    "polars, lazy": lambda log, d: pl.from_pandas(log).lazy(),
    "polars, decimals": lambda log, d: pl.from_pandas(log).with_columns(
        pl.col("amount").cast(pl.Decimal(12, 2))
    ),
    "arrow table": lambda log, d: arrow(log),
    "arrow batch": lambda log, d: arrow(log).combine_chunks().to_batches()[0],
    "arrow reader": lambda log, d: arrow(log).to_reader(max_chunksize=700),
    "arrow dataset": lambda log, d: pyarrow.dataset.dataset(arrow(log)),
    "arrow, dictionaries": lambda log, d: arrow(log).set_column(
        0, "customer_id", arrow(log)["customer_id"].dictionary_encode()
    ),
    "anything that streams arrow": lambda log, d: duckdb.connect().from_arrow(arrow(log)),
    "csv": lambda log, d: to_csv(log, d / "log.csv"),
    "csv, as str": lambda log, d: str(to_csv(log, d / "log.csv")),
    "csv.gz": lambda log, d: to_csv(log, d / "log.csv.gz"),
    "csv, semicolons, BOM": lambda log, d: to_csv(
        log, d / "log.csv", sep=";", encoding="utf-8-sig"
    ),
    "csv, tabs, CRLF": lambda log, d: to_csv(log, d / "log.tsv", sep="\t", lineterminator="\r\n"),
    "csv, glob": lambda log, d: quarters(log, d, write_csv_part) and d / "part-?.csv",
    "csv, list": lambda log, d: quarters(log, d, write_csv_part),
    "csv, awkward name": lambda log, d: to_csv(log, d / "it's [1] *.csv"),
    "parquet": lambda log, d: write_parquet_part(log, d / "log"),
    "parquet, folder": lambda log, d: quarters(log, d, write_parquet_part) and d,
    "parquet, list": lambda log, d: quarters(log, d, write_parquet_part),
    "ibis duckdb": lambda log, d: in_ibis_duckdb(log),
    "ibis polars": lambda log, d: in_ibis_polars(log),
    "ibis sqlite": lambda log, d: in_ibis_sqlite(log, d / "log.db"),
    "ibis memtable": lambda log, d: ibis.memtable(arrow(log)),
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same(source, log, expected, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of polars, and see ibis_table
        made = SOURCES[source](log, tmp_path)
    # Ibis asks pandas for a deprecated option when it fetches from SQLite.
    sqlite = "sqlite" in source
    quiet = pytest.warns(DeprecationWarning, match="infer_string")
    with quiet if sqlite else warnings.catch_warnings():
        got = summarise(made, log)
    pd.testing.assert_frame_equal(got, expected, check_exact=True)
    assert got.provenance == expected.provenance


# --- ids ---------------------------------------------------------------------------------

UUIDS = [uuid.UUID(int=i) for i in (1 << 127, 3, (1 << 128) - 1)]
IDS = {
    "int64": pd.Series([2**63 - 1, -(2**63), 2**53 + 1]),
    "int32": pd.Series([7, -1, 3], dtype="int32"),
    "uint64": pd.Series([2**64 - 1, 0, 5], dtype="uint64"),
    "text": pd.Series(["00123", "", "a\0b"]),
    "text that is nearly equal": pd.Series(["a\0b", "a\0c", "a"]),
    "unicode": pd.Series(["Ä", "A\u0308", "\U0001f600"]),
    "uuid": pd.Series(UUIDS, dtype=object),
    "bytes": pd.Series([b"\0", b"", b"\xff"], dtype=object),
}


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS.keys())
@pytest.mark.parametrize(
    "through",
    [
        "pandas",
        *(pytest.param(t, marks=pytest.mark.slow) for t in ("arrow", "polars")),
        "parquet",
        "ibis",
    ],
)
def test_ids_survive(ids, through, tmp_path):
    dates = pd.to_datetime(["2024-01-01"] * 3)
    frame = pd.DataFrame({"customer_id": ids, "date": dates, "amount": [1.0, 2.0, 3.0]})
    source = frame
    if through == "polars":
        if ids.dtype == object:
            frame = frame.astype({"customer_id": object})
            source = pl.DataFrame(
                {
                    "customer_id": pl.Series(ids.tolist(), dtype=pl.Object),
                    "date": dates.to_numpy(),
                    "amount": frame["amount"].to_numpy(),
                }
            )
        else:
            source = pl.from_pandas(frame)
    elif through != "pandas":
        source = pa.Table.from_pandas(frame)
    if through == "parquet":
        pq.write_table(source, tmp_path / "t.parquet")
        source = tmp_path / "t.parquet"
    elif through == "ibis":
        raw = duckdb.connect()
        raw.register("t", source)
        source = ibis_table(ibis.duckdb.from_connection(raw))
    got = clv.rfm_summary(source)["customer_id"]
    assert got.dtype == ids.dtype
    assert got.tolist() == sorted(ids.tolist())
    assert [type(i) for i in got] == [type(i) for i in ids]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["12", "-3", "9223372036854775807"], [-3, 12, 2**63 - 1]),
        (["00123", "7", "8"], ["00123", "7", "8"]),
        (["1", "9223372036854775808", "3"], ["1", "3", "9223372036854775808"]),
        (["1.0", "2.0", "3.0"], ["1.0", "2.0", "3.0"]),
        (["1e3", "+4", "-0"], ["+4", "-0", "1e3"]),
        (["True", "2024-01-01", "NA"], ["2024-01-01", "NA", "True"]),
        (["1_000", "nan", " 4"], [" 4", "1_000", "nan"]),
        ([str(u) for u in UUIDS], sorted(str(u) for u in UUIDS)),
    ],
)
def test_csv_ids_are_not_guessed_at(written, read, tmp_path):
    path = tmp_path / "ids.csv"
    lines = [f"{i},2024-01-01,1" for i in written]
    path.write_text("\n".join(["customer_id,date,amount", *lines]))
    assert clv.rfm_summary(path)["customer_id"].tolist() == read


def test_nul_characters_in_csv(tmp_path):
    path = tmp_path / "nul.csv.gz"
    with gzip.open(path, "wt") as file:
        file.write("customer_id,date,amount\na\0b,2024-01-01,1\na\0c,2024-01-01,1\n")
    assert clv.rfm_summary(path)["customer_id"].tolist() == ["a\0b", "a\0c"]


# --- dates -------------------------------------------------------------------------------

BERLIN = dt.timezone(dt.timedelta(hours=1))


@pytest.mark.parametrize(
    ("dates", "hours"),
    [
        (["2024-01-02", "2024-01-03"], 24),
        (["20240102", "20240103"], 24),
        (["2024/01/02", " 2024-1-3 "], 24),
        (["2024-01-02 23:30", "2024-01-03T00:10:59.999"], 1),
        (["2024-01-02T23:30:00Z", "2024-01-03T00:10:00Z"], 1),
        (["2024-01-02T23:30:00+00:00", "2024-01-02T23:30:00-02:00"], 2),
        (["2024-01-02 23:30:00+0000", "2024-01-03 02:30:00.5+02"], 1),
        (["2024-01-02 23:30:00 UTC", "2024-01-03 03:30:00 Asia/Tokyo"], -5),
        (["2024-01-02T23:30:00Z", "2024-01-03 02:30"], 2),  # 00:30 in Berlin; wall time
        ([dt.date(2024, 1, 2), dt.date(2024, 1, 3)], 24),
        ([dt.date(2024, 1, 2), dt.datetime(2024, 1, 3, 5)], 29),
        ([dt.datetime(2024, 1, 2, 23, 30), dt.datetime(2024, 1, 3, 0, 30)], 1),
        (
            [
                dt.datetime(2024, 1, 2, 23, 30, tzinfo=BERLIN),
                dt.datetime(2024, 1, 2, 23, 30, tzinfo=dt.UTC),
            ],
            1,
        ),
        (pd.to_datetime(["2024-01-02", "2024-01-03"]).as_unit("s"), 24),
        (pd.to_datetime(["2024-01-02 00:30", "2024-01-02 23:30"]).as_unit("ns"), 23),
        (pd.to_datetime(["1970-01-01 00:30", "1970-01-01 02:30"], utc=True).as_unit("ns"), 2),
        (pd.to_datetime(["2024-01-02", "2024-01-03"]).tz_localize("US/Hawaii"), 24),
    ],
)
@pytest.mark.parametrize(
    "through", ["pandas", "csv", pytest.param("parquet", marks=pytest.mark.slow)]
)
# Arrow below 26 writes pandas' instants in a way that pandas 3.1 warns of.
@pytest.mark.filterwarnings("ignore:Series.values returning an ndarray that drops timezone")
def test_dates_are_read(dates, hours, through, tmp_path):
    frame = pd.DataFrame({"customer_id": 1, "date": dates, "amount": 1.0})
    source = frame
    if through == "csv":
        source = tmp_path / "dates.csv"
        frame.to_csv(source, index=False)
    elif through == "parquet" and frame["date"].dtype.kind == "M":
        source = tmp_path / "dates.parquet"
        frame.to_parquet(source)
    got = clv.rfm_summary(source, collapse="h", time_unit="h", timezone="Europe/Berlin")
    assert got["recency"].tolist() == [abs(hours)]


def test_text_and_arrow_agree_on_every_hour_of_two_clock_changes():
    instants = pd.date_range("2024-03-30", "2024-04-01", freq="h", tz="UTC").append(
        pd.date_range("2024-10-26", "2024-10-28", freq="h", tz="UTC")
    )
    frame = pd.DataFrame({"customer_id": range(len(instants)), "date": instants, "amount": 1})
    options = {"collapse": "h", "time_unit": "h", "timezone": "Europe/Berlin"}
    typed = clv.rfm_summary(frame, **options)
    text = frame.assign(date=instants.tz_convert("Asia/Kolkata").map(lambda d: d.isoformat()))
    pd.testing.assert_frame_equal(typed, clv.rfm_summary(text, **options))


# --- names and sizes ---------------------------------------------------------------------


@pytest.mark.parametrize("through", ["pandas", "arrow", "csv", "parquet", "ibis"])
def test_column_names_are_data(through, tmp_path):
    names = ['a"; drop table x --', "'{0} %s", "\u2603\n[raw_date]"]
    frame = pd.DataFrame([[1, "2024-01-01", 2.0], [1, "2024-01-02", 3.0]], columns=names).astype(
        {names[1]: "datetime64[us]"}
    )
    source = frame
    if through in ("arrow", "ibis"):
        source = pa.Table.from_pandas(frame)
    if through == "ibis":
        raw = duckdb.connect()
        raw.register("t", source)
        source = ibis_table(ibis.duckdb.from_connection(raw))
    elif through == "csv":
        source = to_csv(frame, tmp_path / "t.csv")
    elif through == "parquet":
        frame.to_parquet(tmp_path / "t.parquet")
        source = tmp_path / "t.parquet"
    got = clv.rfm_summary(source, customer_id=names[0], date=names[1], amount=names[2])
    assert got["monetary_value"].tolist() == [3.0]


def test_other_columns_are_not_read():
    frame = pl.LazyFrame(
        {"customer_id": [1], "date": [dt.date(2024, 1, 1)], "amount": [1.0], "id": ["x"]}
    ).with_columns(pl.col("id").map_batches(lambda s: 1 / 0, return_dtype=pl.Int64).alias("z"))
    assert len(clv.rfm_summary(frame)) == 1


def test_importing_the_package_loads_no_engine():
    code = (
        "import sys, clvpredict, clvpredict.transactions; "
        "assert not {'ibis', 'duckdb'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_is_left_in_the_working_directory(messy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clv.rfm_summary(messy)
    assert list(tmp_path.iterdir()) == []
