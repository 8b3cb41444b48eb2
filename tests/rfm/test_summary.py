"""The summary's provenance, units and compression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import UnitError
from clvpredict.rfm import (
    Histories,
    Provenance,
    compress_histories,
    compress_spend,
    group_rows,
    provenance_of,
    with_provenance,
)

FRAME = pd.DataFrame(
    {
        "customer_id": [1, 2, 3],
        "frequency": [0, 2, 1],
        "recency": [0.0, 14.0, 7.0],
        "T": [21.0, 28.0, 7.0],
        "monetary_value": [0.0, 12.5, 3.0],
    }
)
PROVENANCE = Provenance(
    time_unit="D",
    observation_end="2024-06-30",
    currency="EUR",
    counts={"rows read": 9, "customers": 3},
    excluded={"return rows <dropped>": 2},
)


def test_provenance_follows_the_frame(tmp_path: Path) -> None:
    rfm = with_provenance(FRAME, PROVENANCE)
    assert rfm.provenance == PROVENANCE
    for derived in (rfm.copy(), rfm[rfm["frequency"] > 0], rfm.head(2), rfm.assign(a=1)):
        assert provenance_of(derived) == PROVENANCE
    rfm.to_parquet(tmp_path / "rfm.parquet")
    assert provenance_of(pd.read_parquet(tmp_path / "rfm.parquet")) == PROVENANCE
    assert provenance_of(FRAME) is None
    assert FRAME.attrs == {}


def test_repr_says_what_was_left_out() -> None:
    rfm = with_provenance(FRAME, PROVENANCE)
    text = repr(rfm)
    for part in ("time unit days", "2024-06-30", "EUR", "left out: 2 return rows <dropped>"):
        assert part in text
    page = rfm._repr_html_()
    assert page is not None
    assert "2 return rows &lt;dropped&gt;" in page
    assert "RFM summary" not in repr(rfm[["customer_id"]])


def test_units_convert_exactly_and_back() -> None:
    rfm = with_provenance(FRAME.assign(duration_holdout=70.0), PROVENANCE)
    weeks = clv.convert_unit(rfm, "W")
    assert weeks["T"].tolist() == [3.0, 4.0, 1.0]
    assert weeks["recency"].tolist() == [0.0, 2.0, 1.0]
    assert weeks["duration_holdout"].tolist() == [10.0] * 3
    assert weeks["frequency"].tolist() == [0, 2, 1]
    assert weeks.provenance is not None
    assert weeks.provenance.time_unit == "W"
    pd.testing.assert_frame_equal(clv.convert_unit(weeks, "D"), rfm)
    with pytest.raises(UnitError, match="does not say its time unit"):
        clv.convert_unit(FRAME, "W")


def test_group_rows_is_exact() -> None:
    rng = np.random.default_rng(1)
    columns = [rng.integers(0, 4, 5000) / 7.0 for _ in range(3)]
    first, inverse = group_rows(*columns)
    for column in columns:
        np.testing.assert_array_equal(column[first][inverse], column)
    assert len(first) == len({*zip(*columns, strict=True)})
    assert (np.diff(first) > 0).all()
    empty_first, empty_inverse = group_rows(np.empty(0), np.empty(0))
    assert len(empty_first) == len(empty_inverse) == 0


def test_nearly_equal_rows_are_not_merged() -> None:
    x = np.array([1.0, 1.0, 1.0])
    T = np.array([10.0, 10.0, np.nextafter(10.0, 11.0)])
    h, inverse = compress_histories(x, x, T)
    assert h.weight.tolist() == [2.0, 1.0]
    assert inverse.tolist() == [0, 0, 1]
    spend = compress_spend(x, T)
    assert spend.weight.sum() == 3


def test_tabulation_computes_once_per_value() -> None:
    h = Histories.of([1, 2, 1, 2, 1], 0.5, [9, 9, 9, 8, 8])
    sizes = []

    def f(x: np.ndarray, r: np.ndarray) -> np.ndarray:
        sizes.append(len(x))
        return x * r

    np.testing.assert_array_equal(h.tabulate("x", f, np.asarray(2.0)), 2 * h.x)
    np.testing.assert_array_equal(h.tabulate("x", f, np.arange(5.0)), h.x * np.arange(5.0))
    assert sizes == [2, 5]
    halved = h.scaled({"T": 0.5})
    np.testing.assert_array_equal(halved.T, h.T / 2)
    np.testing.assert_array_equal(halved.x, h.x)
