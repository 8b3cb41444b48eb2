"""A year of a scheduled job: twelve monthly refits over CDNOW's 23,570 customers.

What happens to it:

- every month some rows of the last days come with the next delivery (late, within the window);
- in October the first delivery is corrupted, twice in different ways;
- in January the process is killed while it remembers what it has published;
- in April the purchases of two customers of three do not arrive; in May they do.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.business import read_history
from clvpredict.errors import DataError
from clvpredict.refit import Config, RunRecord, Store, load_config, refit
from clvpredict.refit.realised import SAMPLE

pytestmark = pytest.mark.slow

MONTHS = [f"{m}" for m in pd.period_range("1997-07", "1998-06", freq="M")]
LATE = ("1997-08", "1997-10", "1997-12", "1998-02", "1998-05")
CORRUPTED, CRASH, DRIFT = "1997-10", "1998-01", "1998-04"
CONFIG = """
[job]
name = "cdnow"
store = "store"
[source]
path = "orders/*.csv"
incremental = true
late_days = 14
[summary]
currency = "USD"
[model]
candidates = ["mbg/nbd"]
method = "mle"
[predict]
horizons = ["13W"]
draws = 50
[gate]
horizon = "4W"
vintages = 2
[retention]
versions = 20
[[outputs]]
path = "out/predictions.csv"
"""
KILLED = """
import os, signal
from clvpredict.refit import refit
def step(name, when):
    if (name, when) == ("record", "begin"):
        os.kill(os.getpid(), signal.SIGKILL)
refit("job.toml", on_step=step)
"""


@dataclass
class Month:
    """What a month has left behind."""

    record: RunRecord
    csv: bytes
    orders: pd.DataFrame
    files: list[Path]


@dataclass
class Year:
    """The job, and its months so far."""

    folder: Path
    log: pd.DataFrame
    months: dict[str, Month] = field(default_factory=dict)
    rejected: list[RunRecord] = field(default_factory=list)
    again: Year = field(init=False)

    @property
    def config(self) -> Config:
        return load_config(self.folder / "job.toml")

    @property
    def store(self) -> Store:
        return Store.at(self.folder / "store")

    @property
    def csv(self) -> Path:
        return self.folder / "out" / "predictions.csv"

    @property
    def files(self) -> list[Path]:
        return sorted((self.folder / "orders").glob("*.csv"))

    def deliver(self, month: str) -> None:
        rows = self.log[self.log["delivered"] == month].drop(columns="delivered")
        rows.to_csv(self.folder / "orders" / f"{month}.csv", index=False)

    def delivered(self) -> pd.DataFrame:
        return pd.concat([pd.read_csv(file, parse_dates=["date"]) for file in self.files])

    def ended(self, month: str, record: RunRecord) -> None:
        self.months[month] = Month(record, self.csv.read_bytes(), self.delivered(), self.files)


def log_with_deliveries(master: pd.DataFrame) -> pd.DataFrame:
    """The transactions, and the month in which each is delivered."""
    log = master[["customer_id", "date", "amount"]].sort_values("date", kind="stable")
    period = log["date"].dt.to_period("M")
    month, following = period.astype(str), (period + 1).astype(str)
    last_days = log["date"] > period.dt.end_time - pd.Timedelta(days=9)
    late = month.isin(LATE) & last_days & (log["customer_id"] % 10 == 0)
    missing = (month == DRIFT) & (log["customer_id"] % 3 > 0)
    log["delivered"] = month.where(~(late | missing), following)
    # What is there when the job begins has come at once.
    log["delivered"] = log["delivered"].where(log["delivered"] > MONTHS[0], MONTHS[0])
    return log


def play(year: Year, month: str) -> RunRecord:
    if month == CORRUPTED:
        corrupted(year, month)
    year.deliver(month)
    if month == CRASH:
        command = [sys.executable, "-c", KILLED]
        killed = subprocess.run(command, cwd=year.folder, timeout=300, check=False)
        assert killed.returncode == -9
    return refit(year.config)


def corrupted(year: Year, month: str) -> None:
    """Deliver amounts in cents, and then a file that breaks off in the middle of a date."""
    path = year.folder / "orders" / f"{month}.csv"
    year.deliver(month)
    good = path.read_text()
    rows = pd.read_csv(path)
    rows.assign(amount=(rows["amount"] * 100).round()).to_csv(path, index=False)
    for bad in (path.read_text(), good[: len(good) // 2].rsplit("-", 1)[0] + ",1\n"):
        path.write_text(bad)
        with pytest.raises(DataError):
            refit(year.config)
        year.rejected.append(year.store.record("latest"))
        assert year.csv.read_bytes() == list(year.months.values())[-1].csv


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Year:
    """Play it; the last month is played once more by a job that reads everything."""
    folder = tmp_path_factory.mktemp("year")
    (folder / "orders").mkdir()
    (folder / "job.toml").write_text(CONFIG)
    out = Year(folder, log_with_deliveries(clv.load_cdnow(full=True)))
    for month in MONTHS[:-1]:
        out.ended(month, play(out, month))
    again = tmp_path_factory.mktemp("again") / "job"
    shutil.copytree(folder, again)
    full = CONFIG.replace("incremental = true", "incremental = false")
    (again / "job.toml").write_text(full.replace("vintages = 2", "vintages = 1"))
    out.again = Year(again, out.log)
    for job in (out, out.again):
        job.ended(MONTHS[-1], play(job, MONTHS[-1]))
    return out


def summary(month: Month) -> pd.DataFrame:
    return clv.rfm_summary(month.orders, time_unit="W", currency="USD")


def published_model(year: Year, month: Month) -> Any:
    return clv.load_model(year.store.version(month.record.version).file("model"))


def alarms_of(month: Month) -> set[str]:
    """The quantities that the drift report is alarmed about."""
    alarms = month.record.drift["alarms"] if month.record.drift else []
    return {alarm.split(" of ")[0] for alarm in alarms}


# --- how every month ends ------------------------------------------------------------------------


def test_how_every_run_has_ended(year: Year) -> None:
    found = [(r.as_of, r.status, r.exit_code) for r in reversed(year.store.records())]
    wanted: list[tuple[str | None, str, int | None]] = []
    for month in MONTHS:
        last = str(pd.Period(month).end_time.date())
        if month == CORRUPTED:
            # What breaks off in the middle does not know the month's last day.
            wanted += [(last, "rejected", 3), ("1997-10-16", "rejected", 3)]
        if month == CRASH:
            # It had published before it was killed, and counts as a run that did.
            wanted += [(last, "published", None), (last, "unchanged", 0)]
        elif month == DRIFT:
            wanted += [(last, "held back", 5)]
        else:
            wanted += [(last, "published", 0)]
    assert found == wanted


@pytest.mark.parametrize("month", MONTHS)
def test_the_csv_is_what_the_stored_model_predicts(year: Year, month: str, tmp_path: Path) -> None:
    found = year.months[month]
    (tmp_path / "p.csv").write_bytes(found.csv)
    table = clv.read_table(tmp_path / "p.csv")
    rfm = summary(found)
    assert len(table) == len(rfm) == found.record.input["customers"] == 23_570
    predicted = published_model(year, found).predict(
        rfm, horizon="13W", interval=0.9, draws=50, seed=0
    )
    pd.testing.assert_frame_equal(table, predicted, rtol=1e-9)
    (manifest,) = found.record.outputs
    assert manifest["sha256"] == hashlib.sha256(found.csv).hexdigest()
    assert manifest["version"] == found.record.version


def test_the_history_has_every_month(year: Year) -> None:
    history = read_history(year.folder / "store" / "history.parquet")
    assert history["as_of"].astype(str).tolist() == [m.record.as_of for m in year.months.values()]
    expected = [m.record.facts["totals"]["clv"] for n, m in year.months.items() if n != CRASH]
    kept = history[history["as_of"].astype(str).str[:7] != CRASH]
    assert kept["clv"].to_numpy() == pytest.approx(expected, rel=1e-6)


# --- late rows, and what is read -----------------------------------------------------------------


def test_late_rows_are_in_though_only_what_is_new_is_read(year: Year) -> None:
    seen = 0
    for name, month in year.months.items():
        read = month.record.input["read"]
        assert month.record.input["rows"] == len(month.orders)
        if name == MONTHS[0] or name == str(pd.Period(DRIFT) + 1):
            assert read["how"] == "full"
            continue
        assert read["how"] == "incremental"
        assert read["rows"] < 0.2 * len(month.orders)
        rows = pd.read_csv(month.files[-1], parse_dates=["date"])
        seen += int((rows["date"] < pd.Timestamp(f"{name}-01")).sum())
    assert seen > 300  # rows that came a month after they were due


def test_rows_that_come_too_late_are_noticed(year: Year) -> None:
    """What was missing of April is older than the window, so everything is read again."""
    read = year.months[str(pd.Period(DRIFT) + 1)].record.input["read"]
    assert "have changed" in read["why"]
    assert DRIFT in read["why"]


def test_all_that_is_read_anew_gives_the_same(year: Year) -> None:
    ours, theirs = year.months[MONTHS[-1]], year.again.months[MONTHS[-1]]
    assert ours.record.input["read"]["how"] == "incremental"
    assert theirs.record.input["read"]["how"] == "full"
    assert theirs.record.input["fingerprint"] == ours.record.input["fingerprint"]
    assert theirs.record.input["profile"] == ours.record.input["profile"]
    assert theirs.csv == ours.csv


# --- what goes wrong -----------------------------------------------------------------------------


def test_corrupted_deliveries_say_what_is_wrong_with_them(year: Year) -> None:
    cents, broken = year.rejected
    assert cents.error is not None
    assert cents.error["step"] == "check"
    assert [row["check"] for row in cents.checks if not row["ok"]] == [
        "max_amount_shift",
        "max_median_ratio",
        "max_largest_ratio",
    ]
    assert "99.8 times" in cents.error["message"]
    assert broken.error is not None
    assert "'date' cannot be read as a date" in broken.error["message"]
    assert str(year.folder) not in broken.error["message"]  # files of a run are gone after it


def test_a_killed_run_is_ended_by_the_next_one(year: Year) -> None:
    """It had published, but not remembered: neither the history nor which rows are known."""
    (killed,) = (r for r in year.store.records() if r.exit_code is None)
    assert killed.error is not None
    assert killed.error["type"] == "Crashed"
    month = year.months[CRASH]
    assert month.record.version == killed.version
    (manifest,) = month.record.outputs
    assert manifest["run_id"] == killed.run_id
    assert not manifest["written"]
    assert "recover" in month.record.timings
    following = year.months[str(pd.Period(CRASH) + 1)].record
    assert following.champion == killed.version
    assert following.input["read"]["start"] > f"{CRASH}-10"
    windows = [r for r in following.drift["calibration"] if r["kind"] == "window"]
    assert windows[0]["version"] == killed.version


# --- drift ---------------------------------------------------------------------------------------


def test_a_month_of_other_data_is_held_back_with_alarms(year: Year) -> None:
    """Two customers of three seem to have bought nothing in April.

    A third of a month's rows are within what a delivery may have (new_rows), and look like any
    others. But March's model had predicted more than twice as many purchases as came; and at the
    vintages of the gate, one of which has April for its holdout, new models are too high by far
    more than max_bias allows. So March's model predicts, from April's data.
    """
    month, before = year.months[DRIFT], year.months[str(pd.Period(DRIFT) - 1)]
    record = month.record
    assert all(row["ok"] for row in record.checks)
    assert {"purchases", "value"} <= alarms_of(month)
    failed = [f for f in record.gate["findings"] if not f["ok"]]
    assert {f["criterion"] for f in failed} == {"bias", "value_bias"}
    assert record.gate["decision"].startswith("held back, the champion stays.")
    what = "refitted at the cut dates, total purchases predicted: "
    assert what in record.gate["decision"]
    (bias,) = (f["value"] for f in failed if f["says"].startswith(what))
    assert 90 < bias < 130  # one vintage of two is three times too high
    assert published_model(year, month).params_ == published_model(year, before).params_
    assert year.store.version(record.version).facts["by_published"]


def test_no_alarm_without_a_cause(year: Year) -> None:
    """CDNOW's customers do buy more before Christmas than models without seasons expect.

    And fewer of them leave than it seemed in their first months: `a` falls all year, and most in
    March, when they buy much.
    """
    quiet = {name for name in MONTHS if name != DRIFT and not alarms_of(year.months[name])}
    assert quiet == set(MONTHS) - {DRIFT, "1997-11", "1997-12", "1998-03"}
    assert alarms_of(year.months["1997-11"]) == {"purchases", "value"}
    assert alarms_of(year.months["1997-12"]) == {"value"}
    assert alarms_of(year.months["1998-03"]) == {"a"}


def test_customers_who_grow_older_are_no_alarm(year: Year) -> None:
    """All were acquired within twelve weeks: at any two runs their ages differ."""
    tables = [m.record.drift["stability"] for m in year.months.values() if m.record.drift]
    assert all(row["ok"] for table in tables for row in table)


def test_calibration_is_what_one_finds_by_hand(year: Year) -> None:
    """October's predictions, held to November."""
    month = year.months["1997-11"]
    rows = month.record.drift["calibration"]
    row, value = (
        next(r for r in rows if (r["kind"], r["quantity"]) == ("window", quantity))
        for quantity in ("purchases", "value")
    )
    before = year.months["1997-10"]
    assert (row["version"], row["as_of"]) == (before.record.version, before.record.as_of)
    split = clv.calibration_holdout(
        month.orders,
        calibration_end=before.record.as_of,
        observation_end=month.record.as_of,
        time_unit="W",
        currency="USD",
    )
    # Of more than 20,000 customers, those are looked at whose ids have an even hash.
    assert SAMPLE < len(split) < 2 * SAMPLE
    sampled = duckdb.sql("SELECT customer_id FROM split WHERE hash(customer_id) % 2 = 0").df()
    split = split[split["customer_id"].isin(sampled["customer_id"])].reset_index(drop=True)
    assert row["customers"] == len(split)
    assert row["observed"] == split["frequency_holdout"].sum()
    spent = (split["frequency_holdout"] * split["monetary_value_holdout"]).sum()
    assert value["observed"] == pytest.approx(spent)
    days = (pd.Timestamp(month.record.as_of) - pd.Timestamp(before.record.as_of)).days
    model = published_model(year, before)
    expected = model.predict(split, horizon=days / 7)
    assert row["predicted"] == pytest.approx(expected["expected_purchases"].sum())
    assert value["predicted"] == pytest.approx(expected["clv_undiscounted"].sum())
    # The interval of the total is drawn: here by 2,000 draws, there by 200.
    drawn = model.purchases.predict_totals(split, horizon=days / 7, draws=2000, seed=5)
    ends = drawn.loc["all", ["purchases_pi_lower", "purchases_pi_upper"]].to_list()
    assert [row["lower"], row["upper"]] == pytest.approx(ends, abs=20)
