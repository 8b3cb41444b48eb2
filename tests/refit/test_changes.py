"""Configurations that change between runs, and days that are not what they seem."""

from __future__ import annotations

import shutil
from datetime import date, timedelta

import pandas as pd
import pytest
from jobs import Job, small

import clvpredict as clv
from clvpredict.errors import OptionError

# No model is that good.
SHUT = ("vintages = 2", "vintages = 2\nmax_bias = 0.0001")
IN_DAYS = ("[model]", '[summary]\ntime_unit = "D"\n[model]')
NO_MONEY = ('path = "orders/*.csv"', 'path = "orders/*.csv"\namount = false')


@pytest.fixture(scope="module")
def orders(cdnow):
    return small(cdnow, 200)


@pytest.fixture(scope="module")
def first(orders, tmp_path_factory):
    """A job that has published in weeks, with money."""
    job = Job(tmp_path_factory.mktemp("first"), orders)
    job.deliver("1998-03")
    job.run()
    return job


@pytest.fixture
def job(first, tmp_path):
    """A copy of it, to go on with."""
    shutil.copytree(first.folder, tmp_path / "job")
    return Job(tmp_path / "job", first.orders)


@pytest.fixture
def champion(job):
    return clv.load_model(job.store.version(job.store.latest().version).file("model"))


def asked(model, rfm):
    return model.predict(rfm, horizon="13W", interval=0.9, draws=50, seed=0)


def of_april(orders, unit, **more):
    rows = orders[orders["date"] < "1998-05-01"]
    return clv.rfm_summary(rows, time_unit=unit, **more)


@pytest.mark.slow
def test_a_champion_in_another_unit_predicts_in_its_own(job, orders, champion):
    job.deliver("1998-04")
    record = job.run("", IN_DAYS, SHUT)
    assert record.status == "held back"
    expected = asked(champion, of_april(orders, "W"))
    pd.testing.assert_frame_equal(pd.read_parquet(job.published()), expected)


@pytest.mark.slow
def test_where_there_is_no_money_any_more_a_champion_predicts_purchases(job, orders, champion):
    job.deliver("1998-04")
    # Rows that differ in their amounts alone are copies of one another without them.
    record = job.run("[checks]\nmax_duplicates = false\n", NO_MONEY, SHUT)
    assert record.status == "held back"
    expected = asked(champion.purchases, of_april(orders, "W", amount=None))
    pd.testing.assert_frame_equal(pd.read_parquet(job.published()), expected)
    # What the history had was of money.
    there = sorted(p.name for p in (job.folder / "store").glob("history*.parquet"))
    assert there == ["history-until-1998-03-30.parquet", "history.parquet"]


@pytest.mark.slow
def test_a_champion_that_knows_no_money_says_so(orders, tmp_path):
    job = Job(tmp_path, orders)
    job.deliver("1998-03")
    assert job.run("", NO_MONEY).status == "published"
    record = job.run("", SHUT)
    assert record.status == "held back"
    assert any("knows no money" in w["message"] for w in record.warnings)
    assert "clv" not in pd.read_csv(job.csv)


@pytest.mark.slow
def test_what_is_newest_is_published_though_a_later_day_was(job):
    later = job.run(as_of="1998-04-10")
    assert (later.status, later.as_of) == ("published", "1998-04-10")
    job.deliver("1998-03")
    record = job.run()
    assert (record.status, record.as_of) == ("published", "1998-03-30")
    assert job.store.latest().as_of == "1998-03-30"


def test_a_day_in_the_future_is_refused(job):
    runs = job.store.run_ids()
    day = date.today() + timedelta(days=2)
    for given in (day, day.isoformat(), "9999-12-31"):
        with pytest.raises(OptionError, match="lies in the future"):
            job.run(as_of=given)
    assert job.store.run_ids() == runs
