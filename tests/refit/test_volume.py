"""What a delivery is like, and when it is refused."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import DataError
from clvpredict.refit.config import ChecksConfig
from clvpredict.refit.input_checks import check_input, last_day, refuse
from clvpredict.refit.volume import customers_kept, profile

TODAY = dt.date(2024, 11, 8)


@pytest.fixture(scope="module")
def log() -> pd.DataFrame:
    shop = clv.simulate_shop(seed=4, customers=400, years=1.5, observation_end="2024-11-08")
    return shop.transactions[["customer_id", "date", "amount"]]


def until(log: pd.DataFrame, day: str) -> pd.DataFrame:
    return log[log["date"] < pd.Timestamp(day) + pd.Timedelta(days=1)]


def profiled(log: pd.DataFrame, folder: Path, **options: Any) -> dict[str, Any]:
    path = folder / "transactions.parquet"
    log.to_parquet(path)
    return profile(path, **options)


def run(profile: dict[str, Any], status: str = "published") -> SimpleNamespace:
    return SimpleNamespace(status=status, input={"profile": profile})


@pytest.fixture(scope="module")
def earlier(log: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> list[SimpleNamespace]:
    """Three monthly runs that went well, newest first."""
    folder = tmp_path_factory.mktemp("runs")
    runs: list[SimpleNamespace] = []
    for day in ("2024-08-08", "2024-09-08", "2024-10-08"):
        runs.insert(0, run(profiled(until(log, day), folder, until=last_day(runs))))
    return runs


def checked(
    log: pd.DataFrame, earlier: list[SimpleNamespace], folder: Path, **more: Any
) -> dict[str, dict[str, Any]]:
    """Rows of the checks by name, of a delivery of today."""
    checks = ChecksConfig(**more.pop("checks", {}))
    options = {"amount": None} if "amount" not in log else {}
    found = profiled(log, folder, until=last_day(earlier), **options)
    rows = check_input(found, earlier, checks, **{"today": TODAY, **more})
    return {row["check"]: row for row in rows}


def failed(rows: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, row in rows.items() if not row["ok"]}


# --- the profile ------------------------------------------------------------------------------


def test_the_profile_counts_what_is_there(log: pd.DataFrame, tmp_path: Path) -> None:
    found = profiled(log, tmp_path, until=dt.date(2024, 10, 8))
    new = log[log["date"] >= "2024-10-09"]
    assert found["rows"] == len(log)
    assert found["customers"] == log["customer_id"].nunique()
    assert found["first"] == str(log["date"].min().date())
    assert found["last"] == str(log["date"].max().date())
    assert found["new"]["rows"] == len(new)
    days = (log["date"].max().normalize() - pd.Timestamp("2024-10-08")).days
    assert found["new"]["days"] == days
    assert found["new"]["per_day"] == pytest.approx(len(new) / days)
    by_month = log["date"].dt.strftime("%Y-%m").value_counts().to_dict()
    assert found["all"]["months"] == by_month
    of_new, of_earlier = found["new"]["amounts"], found["earlier"]["amounts"]
    # Amounts are rounded to four digits.
    assert of_new["quantiles"]["0.5"] == pytest.approx(
        new["amount"].quantile(0.5, interpolation="lower"), rel=5e-4
    )
    assert of_new["positive"] + of_earlier["positive"] == len(log)
    both = {
        b: of_new["bins"].get(b, 0) + of_earlier["bins"].get(b, 0)
        for b in found["all"]["amounts"]["bins"]
    }
    assert both == found["all"]["amounts"]["bins"]
    assert json.loads(json.dumps(found)) == found


def test_dates_and_amounts_that_are_text_count_alike(log: pd.DataFrame, tmp_path: Path) -> None:
    text = log.assign(
        date=log["date"].dt.strftime("%Y-%m-%dT%H:%M:%S.%f"), amount=log["amount"].astype(str)
    )
    day = dt.date(2024, 10, 8)
    assert profiled(text, tmp_path, until=day) == profiled(log, tmp_path, until=day)


def test_zones_decide_the_day(tmp_path: Path) -> None:
    log = pd.DataFrame(
        {
            "customer_id": [1, 2],
            "date": ["2024-01-01T23:30:00+00:00", "2024-01-01T10:00:00+00:00"],
            "amount": [1.0, 1.0],
        }
    )
    assert profiled(log, tmp_path)["last"] == "2024-01-01"
    assert profiled(log, tmp_path, timezone="Europe/Berlin")["last"] == "2024-01-02"


def test_returns_zeros_and_sizes_have_bins_of_their_own(tmp_path: Path) -> None:
    amounts = [-100.0, -3.0, 0.0, 0.0, 9.99, 10.0, 12.0, 1e6]
    log = pd.DataFrame({"customer_id": 1, "date": "2024-01-01", "amount": amounts})
    found = profiled(log, tmp_path)["all"]["amounts"]
    assert (found["positive"], found["negative"], found["zero"]) == (4, 2, 2)
    # 10 bins per power of ten from 0.0001: 10 opens bin 51, and 12 is in it too.
    assert found["bins"] == {"-61": 1, "-45": 1, "0": 2, "50": 1, "51": 2, "101": 1}
    assert found["quantiles"]["0.5"] == 10.0


def test_of_many_rows_copies_are_estimated(tmp_path: Path, monkeypatch: Any) -> None:
    rng = np.random.default_rng(0)
    log = pd.DataFrame(
        {
            "customer_id": rng.integers(1, 10_000, 20_000),
            "date": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 90, 20_000), "D"),
            "amount": np.round(rng.lognormal(3, 1, 20_000), 2),
        }
    )
    log = pd.concat([log, log.iloc[:5_000]])
    exact = profiled(log, tmp_path)["all"]["copies"]
    assert exact == log.duplicated().sum()
    monkeypatch.setattr("clvpredict.refit.volume._LOOKED_THROUGH", 5_000)
    estimated = profiled(log, tmp_path)["all"]["copies"]
    assert estimated != exact  # else nothing was left out
    assert estimated == pytest.approx(exact, rel=0.1)


def test_dates_that_cannot_be_read_are_left_to_the_summary(tmp_path: Path) -> None:
    log = pd.DataFrame({"customer_id": [1, 2], "date": ["?", "yesterday"], "amount": [1.0, 2.0]})
    found = profiled(log, tmp_path)
    assert (found["rows"], found["undated"], found["last"]) == (2, 2, None)
    rows = check_input(found, [], ChecksConfig(min_customers=None), today=TODAY)
    assert all(row["ok"] for row in rows)


def test_a_column_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    log = pd.DataFrame({"customer_id": [1.5], "date": ["2024-01-01"], "amount": [1.0]})
    with pytest.raises(DataError, match="customer ids in 'customer_id' are of type float64"):
        profiled(log, tmp_path)


# --- the checks -------------------------------------------------------------------------------


def test_a_usual_delivery_passes(log: pd.DataFrame, earlier: Any, tmp_path: Path) -> None:
    rows = checked(log, earlier, tmp_path, checks={"max_age_days": 3})
    assert not failed(rows)
    assert set(rows) == {*ChecksConfig.model_fields, "newest_row"} - {"compare_runs"}
    refuse(rows.values())
    assert 0.5 < rows["new_rows"]["value"] < 2.0
    assert rows["min_rows_kept"]["value"] == 1.0


@pytest.mark.parametrize(("amount", "day"), [(1e15, "2024-10-10"), (-1e7, "2024-03-01")])
def test_one_absurd_amount(
    log: pd.DataFrame, earlier: Any, tmp_path: Path, amount: float, day: str
) -> None:
    row = log.head(1).assign(amount=amount, date=pd.Timestamp(day))
    rows = checked(pd.concat([log, row]), earlier, tmp_path)
    assert failed(rows) == {"max_largest_ratio"}
    old = log.loc[log["date"] < "2024-10-09", "amount"].max()
    # Known to a tenth of a power of ten.
    found = np.log10(rows["max_largest_ratio"]["value"])
    assert found == pytest.approx(np.log10(abs(amount) / old), abs=0.1)


def test_amounts_that_cannot_be_read_are_no_copies(
    log: pd.DataFrame, earlier: Any, tmp_path: Path
) -> None:
    """They are refused by the summary, which names them."""
    new = log["date"] >= "2024-10-09"
    text = log["amount"].astype(str)
    assert not failed(
        checked(log.assign(amount=text.where(~new, text + " EUR")), earlier, tmp_path)
    )


@pytest.mark.parametrize("ids", ["numbers", "text"])
def test_customers_that_were_predicted_are_there(
    log: pd.DataFrame, earlier: Any, tmp_path: Path, ids: str
) -> None:
    known = log["customer_id"].drop_duplicates().sample(100, random_state=1)
    if ids == "text":
        log = log.assign(customer_id=log["customer_id"].astype(str))
    others = pd.Series([f"x{n}" for n in range(20)])
    pd.DataFrame({"customer_id": pd.concat([known.astype(str), others])}).to_parquet(
        tmp_path / "p.parquet"
    )
    log.rename(columns={"customer_id": 'who "is"'}).to_parquet(tmp_path / "log.parquet")
    found = customers_kept(tmp_path / "log.parquet", 'who "is"', tmp_path / "p.parquet")
    assert found == (100, 120)
    rows = checked(log, earlier, tmp_path, customers=found)
    assert failed(rows) == {"min_customers_kept"}
    assert not failed(checked(log, earlier, tmp_path, customers=(114, 120)))


def test_late_rows_are_usual(log: pd.DataFrame, earlier: Any, tmp_path: Path) -> None:
    late = log[(log["date"] >= "2024-09-28") & (log["date"] < "2024-10-08")]
    runs = [*earlier]
    kept = until(log, "2024-10-08").drop(late.index[::3])
    runs[0] = run(profiled(kept, tmp_path, until=last_day(earlier[1:])))
    assert len(kept) < len(until(log, "2024-10-08"))
    assert not failed(checked(log, runs, tmp_path))


def test_the_first_run_compares_with_nothing(log: pd.DataFrame, tmp_path: Path) -> None:
    rows = checked(log, [], tmp_path)
    assert not failed(rows)
    assert rows["new_rows"]["says"] == "no earlier run to compare with"
    assert last_day([]) is None


def test_no_new_rows_are_no_alarm_but_old_ones_can_be(
    log: pd.DataFrame, earlier: Any, tmp_path: Path
) -> None:
    stale = until(log, "2024-10-08")
    rows = checked(stale, earlier, tmp_path)
    assert not failed(rows)
    assert rows["new_rows"]["says"] == f"no row after {last_day(earlier)}"
    assert failed(checked(stale, earlier, tmp_path, checks={"max_age_days": 7})) == {"max_age_days"}


def test_half_of_the_rows_missing(log: pd.DataFrame, earlier: Any, tmp_path: Path) -> None:
    rows = checked(log.iloc[::2], earlier, tmp_path)
    assert failed(rows) == {"min_rows_kept"}
    assert rows["min_rows_kept"]["value"] == pytest.approx(0.5, abs=0.01)


def test_late_rows_of_one_month_do_not_hide_what_another_lost(
    log: pd.DataFrame, earlier: Any, tmp_path: Path
) -> None:
    march = log["date"].dt.strftime("%Y-%m") == "2024-03"
    more = log[log["date"].dt.strftime("%Y-%m") == "2024-05"].copy()
    more["amount"] += 0.01
    rows = checked(pd.concat([log[~march], more]), earlier, tmp_path)
    assert "min_rows_kept" in failed(rows)
    assert f"2024-03 ({march.sum():,})" in rows["min_rows_kept"]["says"]


def test_most_new_rows_missing(log: pd.DataFrame, earlier: Any, tmp_path: Path) -> None:
    new = log["date"] >= "2024-10-09"
    last = log["date"] == log["date"].max()
    some = pd.concat([log[~new], log[new].iloc[::8], log[last]]).drop_duplicates()
    assert failed(checked(some, earlier, tmp_path)) == {"new_rows"}


def test_few_rows_prove_nothing(earlier: Any, tmp_path: Path) -> None:
    """8 rows a week are usual: that 1 came is below the range, and happens."""
    day = pd.Timestamp("2024-01-01")
    log = pd.DataFrame({"customer_id": range(80), "date": day, "amount": 5.0})
    log["date"] += pd.to_timedelta(np.arange(80) % 70, "D")
    runs = [run(profiled(log, tmp_path, until=dt.date(2024, 3, 3)))]
    assert runs[0].input["profile"]["new"]["per_day"] == pytest.approx(8 / 7, abs=0.3)
    one = pd.DataFrame({"customer_id": [7], "date": [pd.Timestamp("2024-03-17")], "amount": [5.0]})
    rows = checked(pd.concat([log, one]), runs, tmp_path)
    assert rows["new_rows"]["value"] < 0.2
    assert not failed(rows)


@pytest.mark.parametrize("factor", [100.0, 0.01])
def test_new_amounts_in_another_unit(
    log: pd.DataFrame, earlier: Any, tmp_path: Path, factor: float
) -> None:
    new = log["date"] >= "2024-10-09"
    other = log.assign(amount=log["amount"].where(~new, log["amount"] * factor))
    rows = checked(other, earlier, tmp_path)
    far = {"max_largest_ratio"} if factor > 1 else set()
    assert failed(rows) == {"max_amount_shift", "max_median_ratio"} | far
    assert rows["max_median_ratio"]["value"] == pytest.approx(factor, rel=0.3)
    with pytest.raises(DataError, match="max_median_ratio under \\[checks\\]") as error:
        refuse(rows.values())
    assert len(error.value.problems) == 2 + len(far)
    assert "--force" in str(error.value)


def test_all_amounts_in_another_unit(log: pd.DataFrame, earlier: Any, tmp_path: Path) -> None:
    """New and old rows agree; only what the last run knew tells."""
    rows = checked(log.assign(amount=log["amount"] * 100), earlier, tmp_path)
    assert failed(rows) == {"max_amount_shift", "max_median_ratio", "max_largest_ratio"}
    assert "earlier rows against what they were" in rows["max_median_ratio"]["says"]


def test_a_delivery_that_came_twice(log: pd.DataFrame, earlier: Any, tmp_path: Path) -> None:
    new = log[log["date"] >= "2024-10-09"]
    rows = checked(pd.concat([log, new]), earlier, tmp_path)
    assert failed(rows) == {"max_duplicates"}
    assert rows["max_duplicates"]["value"] == pytest.approx(0.5, abs=0.01)


def test_yesterdays_delivery_that_came_again(
    log: pd.DataFrame, earlier: Any, tmp_path: Path
) -> None:
    old = log[(log["date"] >= "2024-09-09") & (log["date"] < "2024-10-08")]
    assert failed(checked(pd.concat([log, old]), earlier, tmp_path)) == {"max_duplicates"}


def test_equal_baskets_of_a_day_are_usual_where_they_were(
    log: pd.DataFrame, tmp_path: Path
) -> None:
    """Half of all rows come twice, always have, and are two purchases."""
    twice = pd.concat([log, log.iloc[::2]])
    runs = [run(profiled(until(twice, "2024-10-08"), tmp_path))]
    assert not failed(checked(twice, runs, tmp_path))


def test_unknown_ids(log: pd.DataFrame, earlier: Any, tmp_path: Path) -> None:
    few = {"after_as_of": 10**6, "no_id": 3, "unknown_id": 4}
    assert not failed(checked(log, earlier, tmp_path, left_out=few))
    many = {"no_id": len(log), "unknown_id": 0}
    rows = checked(log, earlier, tmp_path, left_out=many)
    assert failed(rows) == {"max_unknown_ids"}
    assert rows["max_unknown_ids"]["value"] == 0.5


def test_a_row_of_the_future(log: pd.DataFrame, earlier: Any, tmp_path: Path) -> None:
    future = pd.DataFrame({"customer_id": [1], "date": [pd.Timestamp("2042-01-01")]})
    rows = checked(pd.concat([log, future.assign(amount=5.0)]), earlier, tmp_path)
    assert "newest_row" in failed(rows)
    with pytest.raises(DataError, match="--as-of DATE"):
        refuse([rows["newest_row"]])


def test_too_little(log: pd.DataFrame, tmp_path: Path) -> None:
    rows = checked(log.iloc[:20], [], tmp_path, checks={"min_rows": 100})
    assert failed(rows) == {"min_rows", "min_customers"}


def test_nothing_at_all(log: pd.DataFrame, earlier: Any, tmp_path: Path) -> None:
    assert {"min_rows", "min_rows_kept"} <= failed(checked(log.iloc[:0], earlier, tmp_path))


def test_checks_can_be_switched_off(log: pd.DataFrame, earlier: Any, tmp_path: Path) -> None:
    off = {name: False for name in ChecksConfig.model_fields if name != "compare_runs"}
    rows = checked(log.iloc[:5], earlier, tmp_path, checks=off)
    assert set(rows) == {"newest_row"}


def test_without_amounts(log: pd.DataFrame, tmp_path: Path) -> None:
    bare = log.drop(columns="amount")
    runs = [run(profiled(until(bare, "2024-10-08"), tmp_path, amount=None))]
    rows = checked(bare, runs, tmp_path)
    assert not failed(rows)
    assert rows["max_amount_shift"]["says"] == "there are no amounts to compare"


def test_only_accepted_runs_count(log: pd.DataFrame, earlier: Any, tmp_path: Path) -> None:
    later = profiled(log.iloc[::2], tmp_path)
    for status in ("rejected", "failed", "dry run", "rebuilt", "crashed"):
        assert last_day([run(later, status), *earlier]) == last_day(earlier)
    for status in ("published", "held back"):
        assert str(last_day([run(later, status), *earlier])) == later["last"]
    unchanged = SimpleNamespace(status="unchanged", input={"rows": 3})
    assert last_day([unchanged, *earlier]) == last_day(earlier)


def test_new_rows_are_compared_with_the_last_runs_only(
    log: pd.DataFrame, earlier: Any, tmp_path: Path
) -> None:
    """Five times the rows were usual long ago; one run is looked at."""
    busy = json.loads(json.dumps(earlier[1].input["profile"]))
    busy["new"]["per_day"] *= 20
    runs = [earlier[0], run(busy), run(busy)]
    assert failed(checked(log, runs, tmp_path)) == {"new_rows"}
    assert not failed(checked(log, runs, tmp_path, checks={"compare_runs": 1}))
