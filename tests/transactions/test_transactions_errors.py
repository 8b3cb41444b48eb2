"""One error says everything that is wrong, with examples and what to type."""

from __future__ import annotations

import datetime as dt
import uuid
import warnings

import duckdb
import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import clvpredict as clv
from clvpredict.errors import DataError


@pytest.fixture
def good():
    dates = pd.to_datetime(["2024-01-01", "2024-01-05", "2024-01-02"])
    return pd.DataFrame({"customer_id": [1, 1, 2], "date": dates, "amount": [1.5, 2.5, 3.0]})


def problems_of(source, **options):
    summarise = clv.calibration_holdout if "calibration_end" in options else clv.rfm_summary
    with pytest.raises(DataError) as caught:
        summarise(source, **options)
    assert "Traceback" not in str(caught.value)
    return caught.value.problems


def objects(*values):
    return pd.Series(values, dtype=object)


BAD_COLUMNS = {
    "null int ids": ("customer_id", pd.array([1, None, 2], "Int64"), "is missing", 1),
    "null text ids": ("customer_id", objects("a", None, np.nan), "is missing", 2),
    "null uuids": ("customer_id", objects(uuid.UUID(int=1), None, None), "is missing", 2),
    "null categories": ("customer_id", pd.Categorical(["a", None, "b"]), "is missing", 1),
    "no ids at all": ("customer_id", objects(None, None, None), "is missing", 3),
    "float ids": ("customer_id", [1.0, np.nan, 2.0], "turn into floats", None),
    "bool ids": ("customer_id", [True, False, True], "of type boolean", None),
    "dates as ids": ("customer_id", pd.to_datetime(["2024"] * 3), "of type timestamp", None),
    "mixed ids": ("customer_id", objects(1, "a", 2), r"mixes types \(int, str\)", 3),
    "bytes and text": ("customer_id", objects(b"a", "a", "b"), "mixes types", 3),
    "ints and floats": ("customer_id", objects(1, 2.0, 3), "mixes types", 3),
    "huge ids": ("customer_id", objects(2**70, 1, 2), "beyond 64 bits", 3),
    "list ids": ("customer_id", objects([1], [2], [3]), "of type", None),
    "null dates": ("date", pd.to_datetime(["2024-01-01", None, None]), "is missing", 2),
    "no dates at all": ("date", objects(None, None, None), "is missing", 3),
    "unreadable dates": ("date", ["31/12/2024", "2024-02-30", "2024-01-01"], "cannot be read", 2),
    "special dates": ("date", ["infinity", "epoch", "today"], "cannot be read", 3),
    "early dates": ("date", ["0000-01-01", "2024-01-01 (BC)", "10000-01-01"], "cannot be read", 3),
    "odd times": ("date", ["2024-01-01 10:00 PM", "2024-01-01 x", "20240230"], "cannot be read", 3),
    "integer dates": ("date", [20240101, 20240102, 20240103], "of type int64", None),
    "float dates": ("date", [1.0, 2.0, 3.0], "of type float64", None),
    "periods": ("date", pd.period_range("2024", periods=3, freq="M"), "period", None),
    "mixed zones": (
        "date",
        objects(*(dt.datetime(2024, 1, 1, tzinfo=z) for z in (None, dt.UTC, None))),
        "with and without a time zone",
        3,
    ),
    "text and dates": ("date", objects("2024-01-01", dt.date(2024, 1, 1), None), "mixes types", 2),
    "null amounts": ("amount", [1.0, None, 2.0], "missing or not finite", 1),
    "infinite amounts": ("amount", [np.inf, -np.inf, 1.0], "missing or not finite", 2),
    "NaN beside decimals": ("amount", objects(None, pd.NA, 1), "missing or not finite", 2),
    "text amounts": ("amount", ["1,000", "$5", "3"], "cannot be read as a number", 2),
    "infinite text": ("amount", ["inf", "nan", "1e400"], "missing or not finite", 3),
    "bool amounts": ("amount", [True, False, True], "of type boolean", None),
    "huge amounts": ("amount", [1e300, 1e15, -1e16], "beyond 1e\\+15", 2),
    "dates as amounts": ("amount", pd.to_datetime(["2024"] * 3), "not numbers", None),
    "mixed amounts": ("amount", objects(1, "2", 3), "mixes types", 3),
}


@pytest.mark.parametrize("case", BAD_COLUMNS)
def test_bad_columns(good, case):
    column, values, what, count = BAD_COLUMNS[case]
    (problem,) = problems_of(good.assign(**{column: values}))
    assert pd.Series([problem.what]).str.contains(what).all(), problem.what
    assert f"'{column}'" in problem.what
    assert problem.count == count
    assert problem.fix
    if count:
        assert 1 <= len(problem.examples) <= 5


@pytest.mark.parametrize("kind", [pa.float16(), pa.decimal256(60, 2), pa.null(), pa.int64()])
def test_rare_arrow_types(good, kind):
    table = pa.Table.from_pandas(good)
    if kind == pa.null():
        (problem,) = problems_of(table.set_column(2, "amount", pa.nulls(3)))
        assert problem.count == 3
        return
    values = pa.array([1, 2, 3], pa.int64()).cast(kind)
    got = clv.rfm_summary(table.set_column(2, "amount", values))
    assert got["monetary_value"].tolist() == [2.0, 0.0]


def test_all_problems_at_once():
    frame = pd.DataFrame(
        {
            "customer_id": ["a", None, "c"] * 10,
            "date": ["2024-01-01", "2024-01-02", "x"] * 10,
            "amount": [1.0, -1.0, np.nan] * 10,
        }
    )
    found = problems_of(frame, returns="error", observation_end="2024-01-01", strict=True)
    assert [(p.what.split(" (")[0], p.count) for p in found] == [
        ("'customer_id' is missing", 10),
        ("'date' cannot be read as a date", 10),
        ("'amount' is missing or not finite", 10),
        ("'date' is after observation_end=2024-01-01", 10),
    ]
    assert found[1].examples[0] == "row 2: customer_id='c', date='x', amount=null"
    assert all(len(p.examples) == 5 for p in found)


def test_a_missing_column_does_not_hide_the_rest(good):
    bad = good.rename(columns={"amount": "Amount"}).assign(customer_id=[None, "a", "b"])
    missing, null = problems_of(bad)
    assert "no column 'amount' among: customer_id, date, Amount. Did you mean 'Amount'?" in (
        missing.what
    )
    assert missing.fix.startswith("name it: amount='Amount', or say amount=None")
    assert null.count == 1


@pytest.mark.parametrize("name", ["CustID", "user", "client_no"])
def test_a_guess_at_the_column(good, name):
    (problem,) = problems_of(good.rename(columns={"customer_id": name}))
    assert problem.fix == f"name it: customer_id='{name}'"


def test_a_repeated_column(good):
    (problem,) = problems_of(pd.concat([good, good[["amount"]]], axis=1))
    assert problem.what == "2 columns are named 'amount'"


def test_negative_amounts_as_errors(good):
    (problem,) = problems_of(good.assign(amount=[-1, 2, -3]), returns="error")
    assert problem.count == 2
    assert "returns='net'" in problem.fix
    outside = good.assign(amount=[1, -2, 3])
    assert len(clv.rfm_summary(outside, returns="error", observation_end="2024-01-03")) == 2


def test_rows_after_the_end(good):
    got = clv.rfm_summary(good, observation_end="2024-01-02")
    assert got.provenance.excluded == {"rows after observation_end": 1}
    (problem,) = problems_of(good, observation_end="2024-01-02", strict=True)
    assert problem.count == 1
    assert problem.examples[0].startswith("row 1: customer_id='1', date='2024-01-05")


def test_no_rows_and_no_purchases(good):
    (problem,) = problems_of(good.head(0))
    assert problem.what == "there are no rows"
    (problem,) = problems_of(good.assign(amount=-good["amount"]))
    assert "no customer has a purchase (3 periods with net value <= 0" in problem.what
    (problem,) = problems_of(good.assign(amount=-good["amount"]), returns="drop")
    assert "3 return rows dropped" in problem.what
    one = clv.rfm_summary(good.head(1))
    assert one.drop(columns="customer_id").to_numpy().tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (
            {"observation_start": "2024-01-04", "observation_end": "2024-01-03"},
            "observation_start=2024-01-04 is after the end",
        ),
        ({"observation_start": "2024-01-06"}, "observation_start=2024-01-06 is after the end"),
        ({"observation_end": "2023-12-31"}, "no rows within the observation window"),
        ({"calibration_end": "2024-01-05"}, "calibration_end=2024-01-05 is not before"),
        (
            {"calibration_end": "2024-01-03", "observation_end": "2024-01-02"},
            "calibration_end=2024-01-03 is not before",
        ),
        ({"calibration_end": "2023-12-31"}, "is not within the data"),
        (
            {"calibration_end": "2024-02-01", "observation_end": "2024-03-01"},
            "is not within the data",
        ),
    ],
)
def test_windows_that_contradict(good, options, what):
    (problem,) = problems_of(good, **options)
    assert what in problem.what
    assert "the data are from 2024-01-01 to 2024-01-05" in problem.fix


# --- sources -----------------------------------------------------------------------------


@pytest.mark.parametrize("source", [None, 5, {"customer_id": [1]}, np.zeros((2, 3)), [{"a": 1}]])
def test_not_a_source(source):
    (problem,) = problems_of(source)
    assert f"cannot read transactions of type {type(source).__name__}" in problem.what


def test_a_spark_frame_is_sent_to_ibis():
    frame = type("DataFrame", (), {"__module__": "pyspark.sql"})()
    (problem,) = problems_of(frame)
    assert "ibis.pyspark" in problem.fix


def test_files_that_are_not_there(tmp_path):
    (tmp_path / "orders.csv").touch()
    (problem,) = problems_of(tmp_path / "order.csv")
    assert "Did you mean 'orders.csv'?" in problem.what
    (problem,) = problems_of(str(tmp_path / "*.parquet"))
    assert "no file matches" in problem.what
    (problem,) = problems_of([])
    assert "list of files is empty" in problem.what
    (problem,) = problems_of("s3://bucket/orders.csv")
    assert "nothing is fetched" in problem.what
    (tmp_path / "orders.xlsx").touch()
    (problem,) = problems_of(tmp_path / "orders.xlsx")
    assert "its name does not end in" in problem.what
    (tmp_path / "orders.parquet").touch()
    (problem,) = problems_of([tmp_path / "orders.csv", tmp_path / "orders.parquet"])
    assert "mixed" in problem.what


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "it is empty"),
        (b"customer_id,date,amount\n", "there are no rows"),
        ("customer_id,date,amount\nü,2024-01-01,1\n".encode("latin-1"), "not UTF-8"),
        (b"x" * 100_000 + b"\n", "no column 'customer_id'"),
        ("customer_id,date,amount\nx,2024-01-01,1\n".encode("utf-16"), "not UTF-8"),
        (
            b"customer_id,date,amount\nx,2024-01-01,1\ny,2024-01-01,1,2\n",
            "Expected Number of Columns: 3 Found: 4",
        ),
        (b"1,2024-01-01,3\n", "whose first line names the columns: no column 'customer_id'"),
        (b"customer_id,date,amount,amount\nx,2024-01-01,1,2\n", "2 columns are named 'amount'"),
        (b"customer_id;date;amount\nx;2024-01-01;1,50\n", "cannot be read as a number"),
        (b"customer_id,date,amount\n,2024-01-01,1\n", "'customer_id' is missing"),
        (b"customer_id,date,amount\n1,,1\n", "'date' is missing"),
        (b'customer_id,date,amount\n1,"2024-01-01\nx",1\n', "cannot be read as a date"),
    ],
)
def test_bad_csv(content, what, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    assert what in problems_of(path)[0].what


@pytest.mark.parametrize("name", ["bad.parquet", "bad.csv.gz"])
def test_bad_bytes(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"PAR1 no, not really PAR1")
    (problem,) = problems_of(path)
    assert f"cannot read '{path}'" in problem.what


def test_a_fix_for_a_file_reads_it_first(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("customer_id,date,amount\n1,31.12.2024,1\n")
    (problem,) = problems_of(path)
    assert problem.fix.startswith(f"transactions = pd.read_csv('{path}', dtype=str); ")
    assert list(problem.examples) == ["row 0: customer_id='1', date='31.12.2024', amount='1'"]


# Arrow below 26 takes pandas' instants in a way that pandas 3.1 warns of.
@pytest.mark.filterwarnings("ignore:Series.values returning an ndarray that drops timezone")
def test_ibis_tables_of_other_backends(good):
    backend = ibis.polars.connect()
    text = good.astype({"date": str, "amount": str})
    backend.create_table("text", pa.Table.from_pandas(text))
    date, amount = problems_of(backend.table("text"))
    assert "'date' is text, which is not read in place on the backend 'polars'" in date.what
    assert amount.fix == (
        "transactions = transactions.mutate({'amount': transactions['amount'].cast('float64')})"
    )
    aware = good.assign(date=good["date"].dt.tz_localize("UTC"))
    backend.create_table("aware", pa.Table.from_pandas(aware))
    (problem,) = problems_of(backend.table("aware"))
    assert "not converted in place" in problem.what
    (problem,) = problems_of(ibis.table({"customer_id": "int64"}, name="nowhere"))
    assert "bound to no backend" in problem.what


def test_dates_of_duckdb_that_python_has_not():
    raw = duckdb.connect()
    raw.execute(
        "create table t as select 1 as customer_id, 1.0 as amount, unnest(['infinity'::date, "
        "'290000-01-01'::date, '2024-01-01 (BC)'::date, '2024-01-01'::date]) as date"
    )
    with warnings.catch_warnings():  # Ibis 12 uses what DuckDB 2 has deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        table = ibis.duckdb.from_connection(raw).table("t")
    (problem,) = problems_of(table)
    assert problem.count == 3
    assert not any(example.startswith("row") for example in problem.examples)
