"""A source that only appends is read where it is new, and the result is that of a full read."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clvpredict as clv
from clvpredict.refit import incremental
from clvpredict.refit.config import Config, SourceConfig
from clvpredict.refit.landing import Landed, land

START = dt.date(2025, 1, 1)
LATE = 5


class Shop:
    """A source to which rows are appended, and jobs that read it both ways."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind
        folder.mkdir(parents=True)
        self.rows = pd.DataFrame({"customer_id": [], "date": [], "amount": []}, dtype=object)

    def deliver(self, rows: list[tuple[str, int, float]]) -> None:
        """Append rows: customer, day, amount."""
        new = pd.DataFrame(
            [(c, START + dt.timedelta(days=d), a) for c, d, a in rows], columns=self.rows.columns
        )
        self.rows = pd.concat([self.rows, new.astype(object)], ignore_index=True)
        self.write()

    def write(self) -> None:
        if self.kind == "csv":
            self.rows.to_csv(self.folder / "orders.csv", index=False)
        elif self.kind == "parquet":
            typed = self.rows.assign(date=pd.to_datetime(self.rows["date"]))
            typed.astype({"amount": float}).to_parquet(self.folder / "orders.parquet")
        else:
            texts = self.rows.assign(date=self.rows["date"].astype(str))
            connection = sqlite3.connect(self.folder / "shop.db")
            texts.to_sql("orders", connection, index=False, if_exists="replace")
            connection.close()

    def land(self, *, full: bool = False, **more: Any) -> Landed:
        where: dict[str, Any] = {"path": str(self.folder / f"orders.{self.kind}")}
        if self.kind == "sqlite":
            where = {"database": f"sqlite:///{self.folder}/shop.db", "table": "orders"}
        source = SourceConfig(**where, incremental=not full, late_days=LATE)
        name = "full.parquet" if full else "landed.parquet"
        return land(
            Config(source=source), self.folder / name, ledger=self.folder / "ledger", **more
        )


def same(one: Landed, other: Landed) -> None:
    assert one.fingerprint == other.fingerprint
    facts = ("rows", "customers", "first", "last", "left_out")
    assert [getattr(one, f) for f in facts] == [getattr(other, f) for f in facts]
    summaries = [clv.rfm_summary(x.path, time_unit="D") for x in (one, other)]
    pd.testing.assert_frame_equal(*summaries)


ROW = st.tuples(
    st.sampled_from(["1", "2", "3", "x", "007"]),
    st.integers(0, LATE),
    st.integers(1, 9999).map(lambda cents: cents / 100),
)
# Days that pass, rows of that day and up to LATE days earlier, and whether the run accepts them.
DELIVERY = st.tuples(st.integers(0, 40), st.lists(ROW, min_size=1, max_size=6), st.booleans())


def play(folder: Path, kind: str, deliveries: list[Any]) -> None:
    """Deliver, read both ways and compare, again and again."""
    shop = Shop(folder / "shop", kind)
    day = 10
    shop.deliver([("1", 0, 1.0)])
    for passed, rows, accepted in deliveries:
        day += passed
        shop.deliver([(who, day - late, amount) for who, late, amount in rows])
        landed = shop.land()
        full = shop.land(full=True)
        assert landed.fingerprint == full.fingerprint
        if accepted:
            landed.commit()
    same(landed, full)


def test_late_rows_and_text_ids_give_what_a_full_read_gives(tmp_path: Path) -> None:
    accepted = (20, [("2", 0, 0.5), ("2", 0, 0.5), ("3", LATE, 1.25)], True)
    refused = (3, [("x", 1, 1e6)], False)
    text = (30, [("007", 2, 9.99), ("1", LATE, 3.0)], True)
    play(tmp_path, "csv", [accepted, refused, text])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "parquet", "sqlite"])
@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(deliveries=st.lists(DELIVERY, min_size=2, max_size=8))
def test_any_deliveries_give_what_a_full_read_gives(
    tmp_path_factory: pytest.TempPathFactory, kind: str, deliveries: list[Any]
) -> None:
    play(tmp_path_factory.mktemp("deliveries"), kind, deliveries)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Known up to day 99; a row a day."""
    shop = Shop(tmp_path / "shop", "parquet")
    shop.deliver([(str(d % 7), d, 10.0 + d) for d in range(100)])
    shop.land().commit()
    return shop


def test_only_the_window_is_read(shop: Shop) -> None:
    shop.deliver([("1", d, 1.0) for d in (97, 100, 101)])
    landed = shop.land()
    assert landed.read["how"] == "incremental"
    # Days 94 to 99, a day more for time zones, the late row, and two new ones.
    assert landed.read["rows"] == 6 + 1 + 1 + 2
    assert landed.rows == 103
    same(landed, shop.land(full=True))


def test_what_the_run_does_not_accept_is_not_remembered(shop: Shop) -> None:
    before = sorted((shop.folder / "ledger").iterdir())
    good = shop.rows
    shop.deliver([("1", 100, 1e9)] * 50)
    shop.land()
    shop.rows = good
    shop.deliver([("1", 100, 5.0)])
    landed = shop.land()
    same(landed, shop.land(full=True))
    assert landed.read["how"] == "incremental"
    landed.commit()
    after = sorted((shop.folder / "ledger").iterdir())
    assert len(after) == len(before) + 1


def test_rows_that_come_too_late_are_noticed(shop: Shop) -> None:
    shop.deliver([("1", 20, 1.0), ("1", 100, 1.0)])
    landed = shop.land()
    assert landed.read["how"] == "full"
    assert "2025-01: 31 known, 32 now" in landed.read["why"]
    same(landed, shop.land(full=True))
    landed.commit()
    assert shop.land().read["how"] == "incremental"


@pytest.mark.slow
def test_rows_that_are_gone_are_noticed(shop: Shop) -> None:
    shop.rows = shop.rows.drop(index=[3])
    shop.write()
    landed = shop.land()
    assert (landed.read["how"], landed.rows) == ("full", 99)


@pytest.mark.slow
def test_another_source_is_read_in_full(shop: Shop) -> None:
    shop.rows["amount"] = shop.rows["amount"].astype(str)
    shop.rows.assign(date=pd.to_datetime(shop.rows["date"])).to_parquet(
        shop.folder / "orders.parquet"
    )
    assert "types" in shop.land().read["why"]


def test_as_of_neither_reads_nor_changes_the_ledger(shop: Shop) -> None:
    files = {p: p.read_bytes() for p in (shop.folder / "ledger").iterdir()}
    landed = shop.land(as_of=START + dt.timedelta(days=50))
    assert landed.read["how"] == "full"
    assert landed.rows == 51
    landed.commit()
    assert {p: p.read_bytes() for p in (shop.folder / "ledger").iterdir()} == files


@pytest.mark.parametrize(
    "damage",
    [
        "part",
        *(pytest.param(d, marks=pytest.mark.slow) for d in ("json", "newer", "gone", "middle")),
    ],
)
def test_a_damaged_ledger_is_replaced(shop: Shop, damage: str) -> None:
    ledger = shop.folder / "ledger"
    part, file = next(ledger.glob("part-*")), ledger / "ledger.json"
    if damage == "part":
        part.write_bytes(part.read_bytes()[:50])
    elif damage == "middle":  # where only a look at all rows would tell
        content = bytearray(part.read_bytes())
        content[len(content) // 3] ^= 0xFF
        part.write_bytes(content)
    elif damage == "gone":
        part.unlink()
    elif damage == "json":
        file.write_text(file.read_text()[:40])
    else:
        file.write_text(json.dumps(json.loads(file.read_text()) | {"schema_version": 99}))
    landed = shop.land()
    assert landed.read["why"].startswith("the ledger cannot be used")
    same(landed, shop.land(full=True))
    landed.commit()
    assert shop.land().read["how"] == "incremental"


@pytest.mark.slow
def test_a_killed_commit_leaves_the_ledger_of_before(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.deliver([("1", 100, 1.0)])

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(incremental, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            shop.land().commit()
    landed = shop.land()
    assert landed.read["how"] == "incremental"
    same(landed, shop.land(full=True))
    landed.commit()
    parts = {p.name for p in (shop.folder / "ledger").glob("part-*")}
    named = {
        p["file"] for p in json.loads((shop.folder / "ledger/ledger.json").read_text())["parts"]
    }
    assert parts == named


@pytest.mark.slow
def test_many_parts_become_one(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incremental, "_MOST_PARTS", 2)
    for day in range(100, 104):
        shop.deliver([("1", day, 1.0)])
        shop.land().commit()
        assert len(list((shop.folder / "ledger").glob("part-*"))) <= 2
    landed = shop.land()
    assert landed.read["how"] == "incremental"
    same(landed, shop.land(full=True))


@pytest.mark.slow
def test_a_day_in_the_future_does_not_hide_what_comes(shop: Shop) -> None:
    later = (dt.date.today() - START).days + 1000
    shop.deliver([("1", later, 1.0)])
    shop.land().commit()
    shop.deliver([("1", 100, 1.0)])
    same(shop.land(), shop.land(full=True))
