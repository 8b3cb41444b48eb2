"""Signals are joined by customer, and what does not match is told or refused."""

import numpy as np
import pandas as pd
import pytest

from clvpredict.business import join_signals
from clvpredict.errors import DataError, DataWarning, OptionError

KEY = "clvpredict_signals"


@pytest.fixture
def table():
    out = pd.DataFrame({"customer_id": [3, 1, 2], "clv": [30.0, 10.0, 20.0]}, index=[7, 8, 9])
    out.attrs = {"clvpredict": {"horizon": 52.0}}
    return out


def test_rows_index_and_attrs_stay(table):
    signals = pd.DataFrame({"customer_id": [1, 2, 3], "nps": [4, 5, 6], "channel": list("abc")})
    got = join_signals(table, signals)
    assert got["nps"].tolist() == [6, 4, 5]
    assert got["channel"].tolist() == ["c", "a", "b"]
    assert got["nps"].dtype == np.int64
    assert got.index.equals(table.index)
    assert got.attrs["clvpredict"] == {"horizon": 52.0}
    assert got.attrs[KEY]["nps"]["coverage"] == 1.0
    pd.testing.assert_frame_equal(got[table.columns], table)


def test_coverage_is_told_and_kept(table):
    signals = pd.DataFrame({"customer_id": [1, 9, None], "nps": [4.0, 5.0, 6.0]})
    with pytest.warns(
        DataWarning, match=r"2 of 3 customers \(66.67 %\).*'nps'; 1 ids.*; 1 rows .* no id"
    ):
        got = join_signals(table, signals)
    assert got["nps"].isna().tolist() == [True, False, True]
    assert got.attrs[KEY]["nps"] == {
        "customers": 3,
        "with_signal": 1,
        "without_signal": 2,
        "coverage": 1 / 3,
        "ids_elsewhere": 1,
        "rows_without_id": 1,
        "aggregate": None,
    }


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        ("mean", 3.0),
        ("sum", 6.0),
        ("min", 2.0),
        ("max", 4.0),
        ("median", 3.0),
        ("first", 4.0),
        ("last", 2.0),
        ("count", 2),
    ],
)
def test_several_rows_become_one_by_the_rule_that_is_given(table, aggregate, expected):
    signals = pd.DataFrame({"customer_id": [1, 1, 1, 2, 3], "nps": [4.0, 2.0, np.nan, 5.0, 6.0]})
    with pytest.raises(DataError, match=r"1 customers have several rows: 3 rows"):
        join_signals(table, signals)
    got = join_signals(table, signals, aggregate=aggregate)
    assert got["nps"].tolist()[1] == expected
    assert got.attrs[KEY]["nps"]["aggregate"] == aggregate


def test_nothing_known_does_not_sum_to_zero(table):
    signals = pd.DataFrame({"customer_id": [1, 1, 2, 3], "nps": [np.nan, np.nan, 5.0, 6.0]})
    with pytest.warns(DataWarning, match="1 of 3"):
        got = join_signals(table, signals, aggregate="sum")
    assert np.isnan(got["nps"].iloc[1])


def test_labels_have_no_mean(table):
    signals = pd.DataFrame({"customer_id": [1, 2, 3], "channel": list("abc"), "nps": [1, 2, 3]})
    with pytest.raises(OptionError, match=r"'channel' is not.*columns=\['nps'\]"):
        join_signals(table, signals, aggregate="mean")
    assert "channel" not in join_signals(table, signals, aggregate="mean", columns=["nps"])


@pytest.mark.parametrize(
    ("own", "given", "fix"),
    [
        ([3, 1, 2], ["1", "2", "3"], "astype('int64')"),
        (["3", "1", "2"], [1, 2, 3], "astype('str')"),
        (["3", "1", "2"], [1.0, 2.0, 3.0], "astype('int64').astype('str')"),
    ],
)
def test_text_is_not_a_number(own, given, fix):
    table = pd.DataFrame({"customer_id": own, "clv": 1.0})
    signals = pd.DataFrame({"customer_id": given, "nps": [4, 5, 6]})
    with pytest.raises(DataError) as error:
        join_signals(table, signals)
    assert fix in str(error.value)
    # What the message says to type works.
    exec(str(error.value).split("-> ")[1], {"signals": signals})
    assert join_signals(table, signals)["nps"].tolist() == [6, 4, 5]


def test_ids_of_whole_numbers_with_gaps_still_match(table):
    got = join_signals(table, pd.DataFrame({"customer_id": [1.0, 2.0, 3.0], "nps": [4, 5, 6]}))
    assert got["nps"].tolist() == [6, 4, 5]


def test_nobody_matches(table):
    with pytest.raises(DataError, match=r"none of their ids .*\[3, 1, 2\]"):
        join_signals(table, pd.DataFrame({"customer_id": [7, 8], "nps": [4, 5]}))


def test_a_series_and_an_index_will_do(table):
    nps = pd.Series([4, 5, 6], index=pd.Index([1, 2, 3], name="customer_id"), name="nps")
    assert join_signals(table, nps)["nps"].tolist() == [6, 4, 5]
    assert join_signals(table.set_index("customer_id"), nps)["nps"].tolist() == [6, 4, 5]
    by_client = nps.rename_axis("client").reset_index()
    assert join_signals(table, by_client, on="client")["nps"].tolist() == [6, 4, 5]


def test_the_new_customer_is_not_counted(table):
    new = pd.DataFrame({"customer_id": [pd.NA], "clv": [5.0]})
    both = pd.concat([table.assign(customer_id=table["customer_id"].astype("Int64")), new])
    got = join_signals(both, pd.DataFrame({"customer_id": [1, 2, 3], "nps": [4, 5, 6]}))
    assert got["nps"].isna().tolist() == [False, False, False, True]
    assert got.attrs[KEY]["nps"]["customers"] == 3


def test_what_cannot_be_joined(table):
    signals = pd.DataFrame({"customer_id": [1, 2, 3], "clv": [1, 2, 3]})
    with pytest.raises(OptionError, match=r"has 'clv' already.*rename"):
        join_signals(table, signals)
    with pytest.raises(OptionError, match="'client'"):
        join_signals(table, signals, on="client")
    with pytest.raises(OptionError, match="aggregate='avg'"):
        join_signals(table, signals, aggregate="avg")
    with pytest.raises(OptionError, match=r"columns=\['clv'\]"):
        join_signals(table, signals, columns="clv")
    with pytest.raises(OptionError, match="no column besides"):
        join_signals(table, signals[["customer_id"]])
    with pytest.raises(OptionError, match="twice: 'clv'"):
        join_signals(table, signals[["customer_id", "clv", "clv"]])
    mixed = pd.DataFrame({"customer_id": [1, 1, 2, 3], "label": ["a", 1, "b", "c"]})
    with pytest.raises(OptionError, match="aggregate='last'"):
        join_signals(table, mixed, aggregate="max")
    with pytest.raises(OptionError, match="nsp"):
        join_signals(table, signals, columns=["nsp"])
    with pytest.raises(OptionError, match="list came"):
        join_signals(table, [1, 2])
    with pytest.raises(DataError, match="more than once in the table"):
        join_signals(pd.concat([table, table]), signals.rename(columns={"clv": "nps"}))
