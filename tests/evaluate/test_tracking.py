"""Expected and observed purchases over time: sums, moments, and customers who come late."""

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import DataError, DataWarning, OptionError
from clvpredict.evaluate import tracking_table


def models_of(table):
    """Without the baseline."""
    return table[table["model"] != "naive"]


@pytest.fixture(scope="module")
def model(cdnow_split):
    return clv.MBGNBD().fit(cdnow_split)


@pytest.fixture(scope="module")
def history(cdnow):
    return clv.purchase_history(cdnow)


@pytest.mark.slow
@pytest.mark.parametrize("every", ["D", "W", "4W", "3W"])
def test_sums(model, history, cdnow_split, every):
    table = models_of(tracking_table(model, history, cdnow_split, every=every, draws=20))
    past, future = (table[table["phase"] == p] for p in ("calibration", "holdout"))
    days = {"D": 1, "W": 7, "4W": 28, "3W": 21}[every]
    assert len(future) == 273 // days
    assert ((table["end"] - table["start"]).dt.days == days - 1).all()
    assert past["end"].max() == pd.Timestamp("1997-09-30")
    assert (table["start"].iloc[1:].to_numpy() - table["end"].iloc[:-1].to_numpy()
            == np.timedelta64(1, "D")).all()  # fmt: skip
    # All repeat purchases up to the cut, also those before the first whole period.
    calibration = cdnow_split["frequency"].sum()
    assert past["observed_cumulative"].iloc[-1] == calibration
    ahead = len(future) * days / 7
    expected = model.expected_purchases(cdnow_split, ahead).sum()
    assert future["expected"].sum() == pytest.approx(expected)
    assert future["expected_cumulative"].iloc[-1] == pytest.approx(calibration + expected)
    if 273 % days == 0:
        assert future["observed"].sum() == cdnow_split["frequency_holdout"].sum()
    else:  # what is left over is no whole period
        assert future["observed"].sum() < cdnow_split["frequency_holdout"].sum()
    assert past[["lower", "upper"]].isna().all(axis=None)
    assert (future["lower"] <= future["upper"]).all()
    held = (future["expected"] >= future["lower"]) & (future["expected"] <= future["upper"])
    assert held.mean() > 0.8


def test_days_by_counting(model, history, cdnow, cdnow_split):
    table = models_of(tracking_table(model, history, cdnow_split, every="D", draws=5)).set_index(
        "end"
    )
    later = cdnow.drop_duplicates(["customer_id", "date"])
    later = later[later["date"] > later.groupby("customer_id")["date"].transform("min")]
    count = later.groupby("date").size().reindex(table.index, fill_value=0)
    np.testing.assert_array_equal(table["observed"], count)


def simulated(n=3_000, seed=0):
    """Customers who come over 30 of 40 weeks, with the story of the model for 60 weeks."""
    params = {"r": 0.6, "alpha": 5.0, "a": 0.8, "b": 2.5}
    rng = np.random.default_rng(seed)
    begin = np.round(rng.uniform(0, 210, n))
    rate = rng.gamma(params["r"], 7.0 / params["alpha"] / 49.0, n)
    p = rng.beta(params["a"], params["b"], n)
    rows = []
    for i in range(n):
        now = begin[i]
        rows.append((i, now))
        while rng.random() >= p[i]:
            now += rng.exponential(1 / rate[i])
            if now > 420:
                break
            rows.append((i, now))
    events = pd.DataFrame(rows, columns=["customer_id", "day"])
    days = pd.to_timedelta(np.floor(events.pop("day")), unit="D")
    return params, events.assign(date=pd.Timestamp("2020-01-01") + days, amount=1.0)


def test_the_unconditional_expectation_is_what_simulations_do():
    """Also of customers who come late: with the true parameters, weekly counts are met."""
    params, events = simulated()
    ask = {"calibration_end": "2020-10-07", "observation_end": "2021-02-23"}
    split = clv.calibration_holdout(events, time_unit="W", **ask)
    model = clv.MBGNBD.from_params(time_unit="W", **params)
    history = clv.purchase_history(events, observation_end="2021-02-23")
    table = models_of(tracking_table(model, history, split, every="4W", draws=300, level=0.99))
    past = table[table["phase"] == "calibration"]
    assert (past["expected"].diff().iloc[1:6] > 0).all()  # ever more customers
    far = past["observed"] - past["expected"]
    # Counts vary more than Poisson ones, as rates do; a day merges what is bought on it.
    assert (np.abs(far) < 4 * np.sqrt(3 * past["expected"]) + 0.06 * past["expected"]).all()
    total = past["observed_cumulative"].iloc[-1]
    assert total == pytest.approx(past["expected_cumulative"].iloc[-1], rel=0.08)
    future = table[table["phase"] == "holdout"]
    assert len(future) == 4
    last = future.iloc[-1]
    assert last["lower_cumulative"] <= last["observed_cumulative"] <= last["upper_cumulative"]


def test_a_customer_alone_by_hand(model):
    """Acquired on 1 January; periods of a week from the cut, 29 January, both ways."""
    days = ["2020-01-01", "2020-01-15", "2020-01-16", "2020-01-29", "2020-01-30", "2020-02-26"]
    log = pd.DataFrame({"customer_id": 1, "date": pd.to_datetime(days), "amount": 1.0})
    log = pd.concat([log, log.iloc[[0]].assign(customer_id=2, date=pd.Timestamp("2020-01-27"))])
    split = clv.calibration_holdout(log, calibration_end="2020-01-29", time_unit="W")
    alone = clv.MBGNBD.from_params(time_unit="W", **model.params_)
    table = models_of(tracking_table(alone, clv.purchase_history(log), split, draws=5))
    assert table["observed"].tolist() == [0, 1, 1, 1, 1, 0, 0, 1]
    assert table["observed_cumulative"].tolist() == [0, 1, 2, 3, 4, 4, 4, 5]
    new = pd.DataFrame({"customer_id": [0], "frequency": [0], "recency": [0.0], "T": [0.0]})

    def mean(weeks):
        return alone.expected_purchases(new, weeks).iloc[0] if weeks else 0.0

    want = [mean(k + 1) - mean(k) for k in range(4)]
    want[3] += mean(2 / 7)
    np.testing.assert_allclose(table["expected"][:4], want)


def test_several_models(model, history, cdnow_split):
    nbd = clv.NBD().fit(cdnow_split)
    table = tracking_table({"one": model, "two": nbd}, history, cdnow_split, every="4W", draws=5)
    one, two = (table[table["model"] == n].reset_index(drop=True) for n in ("one", "two"))
    pd.testing.assert_series_equal(one["observed"], two["observed"])
    assert two["expected"].iloc[-1] > one["expected"].iloc[-1]  # nobody ever leaves
    assert table.attrs["customers"] == 2357


def test_hours(cdnow):
    """A purchase in the afternoon of the last day of calibration is of calibration."""
    hours = np.random.default_rng(0).integers(0, 24, len(cdnow))
    log = cdnow.assign(date=cdnow["date"] + pd.to_timedelta(hours, unit="h"))
    ask = {"collapse": "h", "observation_end": "1998-06-30"}
    split = clv.calibration_holdout(log, calibration_end="1997-09-30", time_unit="W", **ask)
    history = clv.purchase_history(log, **ask)
    table = models_of(tracking_table(clv.NBD().fit(split), history, split, draws=5))
    own = table.groupby("phase")["observed"].sum()
    assert own["holdout"] == split["frequency_holdout"].sum()
    last = table.loc[table["phase"] == "calibration", "observed_cumulative"].iloc[-1]
    assert last == split["frequency"].sum()


def test_a_history_of_something_else(model, history, cdnow, cdnow_split):
    with pytest.raises(DataError, match="without a purchase in calibration"):
        tracking_table(model, history[history["customer_id"] > 100], cdnow_split)
    fewer = history.drop(history.index[history.groupby("customer_id").cumcount() == 1])
    with pytest.warns(DataWarning, match="make both of the same transactions"):
        tracking_table(model, fewer, cdnow_split, draws=5, every="13W")
    weeks = clv.calibration_holdout(
        cdnow, calibration_end="1997-10-01", time_unit="W", collapse="W"
    )
    with pytest.warns(DataWarning, match="end calibration on a Sunday"):
        tracking_table(
            clv.NBD().fit(weeks), clv.purchase_history(cdnow, collapse="W"), weeks, draws=5
        )


def test_what_cannot_be_tracked_is_refused(model, history, cdnow, cdnow_split):
    plain = pd.DataFrame(cdnow_split).copy()
    plain.attrs = {}
    with pytest.raises(OptionError, match="tracking needs dates"):
        tracking_table(model, history, plain)
    for every, said in (("h", "whole days"), ("52W", "longer than the holdout")):
        with pytest.raises(OptionError, match=said):
            tracking_table(model, history, cdnow_split, every=every)
    seen = clv.MBGNBD().fit(clv.rfm_summary(cdnow, time_unit="W"))
    with pytest.raises(OptionError, match="not be a test"):
        tracking_table(seen, history, cdnow_split)


def test_the_baseline_goes_on_as_before(model, history, cdnow_split):
    table = tracking_table(model, history, cdnow_split, draws=5)
    naive = table[table["model"] == "naive"]
    future = naive[naive["phase"] == "holdout"]
    rate = (cdnow_split["frequency"] / cdnow_split["T"]).sum()
    np.testing.assert_allclose(future["expected"], rate)
    assert future["expected_cumulative"].iloc[-1] == pytest.approx(
        cdnow_split["frequency"].sum() + 39 * rate
    )
    assert naive.loc[naive["phase"] == "calibration", "expected"].isna().all()
    assert naive[["lower", "upper"]].isna().all(axis=None)
