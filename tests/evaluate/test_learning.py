"""Recalibration: what all vintages show is corrected, what is chance or season is not."""

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import OptionError
from clvpredict.evaluate import Backtest, metrics
from clvpredict.evaluate.judged import Holdout, judge
from clvpredict.evaluate.learning import KNOTS
from clvpredict.evaluate.measures import measures

PARAMS = {"r": 0.5248436, "alpha": 6.1830928, "a": 0.8913878, "b": 1.6140483}
HORIZON = 26.0


@pytest.fixture(scope="module")
def model():
    return clv.MBGNBD.from_params(time_unit="W", **PARAMS)


@pytest.fixture(scope="module")
def histories(cdnow_split):
    plain = pd.DataFrame(cdnow_split)[["customer_id", "frequency", "recency", "T"]]
    plain.attrs = {}
    return plain.iloc[::4].reset_index(drop=True)


def vintage(histories, seed, level=1.0):
    """What these customers do, by the story of the model; ``level`` times as often."""
    rng = np.random.default_rng(seed)
    r, alpha, a, b = PARAMS.values()
    x, t_x, age = (histories[c].to_numpy(float) for c in ("frequency", "recency", "T"))
    n = len(x)
    gone = a / (b + x) * ((alpha + age) / (alpha + t_x)) ** (r + x)
    count = rng.poisson(level * HORIZON * rng.gamma(r + x, 1.0 / (alpha + age)))
    last = rng.geometric(np.maximum(rng.beta(a, b + x + 1), 1e-12))
    bought = np.where(rng.random(n) < 1 / (1 + gone), np.minimum(count, last), 0)
    return histories.assign(frequency_holdout=bought, duration_holdout=HORIZON)


def record(model, split, cut, learnt=None):
    holdout = Holdout.of(split)
    found = judge("m", model, holdout, draws=20, recalibration=learnt)
    said = {"cut_date": cut, "horizon": "26W", "model": "m"}
    row = {**said, "horizon_periods": HORIZON, "status": "ok", **measures(found, holdout)}
    curve = metrics.pit_curve(found.purchases.below, found.purchases.upto, KNOTS).tolist()
    return row, {**said, "of": "purchases", "curve": curve}


def results(model, splits, weeks=26):
    cuts = [pd.Timestamp("2020-01-01") + pd.Timedelta(weeks=weeks * i) for i in range(len(splits))]
    rows = [record(model, s, c) for s, c in zip(splits, cuts, strict=True)]
    table, curves = (pd.DataFrame(part) for part in zip(*rows, strict=True))
    return Backtest(table, curves, "W", {"m": "mbg/nbd"})


@pytest.fixture(scope="module")
def high(model, histories):
    """Six vintages, each of 1.3 times as many purchases as the model knows."""
    return results(model, [vintage(histories, seed, 1.3) for seed in range(6)])


@pytest.mark.slow
def test_right_forecasts_are_left_alone(model, histories):
    """On average: chance alone earns little weight, and what is left hardly changes anything."""
    weights, levels, moved = [], [], []
    for world in range(8):
        found = clv.recalibrate(
            results(model, [vintage(histories, 100 + 10 * world + i) for i in range(5)])
        ).purchases
        weights.append((found.curve_weight, found.level_weight))
        levels.append(found.level)
        moved.append(np.abs(np.array(found.curve) - KNOTS).max())
    assert (np.mean(weights, axis=0) < 0.5).all()
    assert np.mean(levels) == pytest.approx(1.0, abs=0.03)
    assert np.mean(moved) < 0.02


def test_what_every_vintage_shows_is_corrected_in_later_ones(model, histories, high):
    learnt = clv.recalibrate(high)
    assert learnt.purchases.level_weight > 0.8
    assert learnt.purchases.curve_weight > 0.8
    observed, predicted = high.table["observed_total"], high.table["predicted_total"]
    missed = np.log(observed / predicted)
    assert 1.0 < learnt.purchases.level <= np.exp(missed.mean()) + 1e-12
    assert learnt.purchases.spread >= missed.std(ddof=1) * (1 - 1e-9)
    gains, before, after = [], [], []
    for seed in range(200, 206):
        split = vintage(histories, seed, 1.3)
        plain, _ = record(model, split, pd.Timestamp("2024-01-01"))
        better, _ = record(model, split, pd.Timestamp("2024-01-01"), learnt)
        gains.append(plain["crps"] - better["crps"])
        before.append((abs(plain["bias_percent"]), plain["pit_ks"], plain["log_score"]))
        after.append((abs(better["bias_percent"]), better["pit_ks"], better["log_score"]))
    assert np.mean(gains) > 0
    assert (np.mean(after, axis=0) < np.mean(before, axis=0)).all()
    assert np.mean(after, axis=0)[0] < 0.6 * np.mean(before, axis=0)[0]


def test_what_differs_from_season_to_season_is_left_alone(model, histories):
    levels = [1.5, 0.6, 1.5, 0.6, 1.4, 0.65]
    seasons = [vintage(histories, i, level) for i, level in enumerate(levels)]
    found = clv.recalibrate(results(model, seasons)).purchases
    assert found.level_weight < 0.3
    assert found.level == pytest.approx(1.0, abs=0.1)
    # And the totals' intervals know how much that varies.
    assert found.spread > 0.2


def test_overlap_counts(model, histories):
    splits = [vintage(histories, seed, 1.15) for seed in range(5)]
    apart, close = (clv.recalibrate(results(model, splits, weeks)).purchases for weeks in (26, 9))
    assert close.level_weight < apart.level_weight
    assert close.curve_weight < apart.curve_weight


def test_it_says_what_it_was_learnt_from(high):
    learnt = clv.recalibrate(high, "m", horizon="26W")
    assert learnt.model == "mbg/nbd"
    assert (learnt.horizon, learnt.time_unit) == (26.0, "W")
    assert learnt.vintages == tuple(high.table["cut_date"].dt.date.astype(str))
    last = high.table["cut_date"].max() + pd.Timedelta(weeks=26)
    assert learnt.last_seen == str(last.date())
    assert learnt.value is None
    curve = np.array(learnt.purchases.curve)
    assert (curve[0], curve[-1]) == (0.0, 1.0)
    assert (np.diff(curve) >= 0).all()


def test_before_never_uses_what_was_not_over(high):
    cuts = high.table["cut_date"]
    end = cuts[3] + pd.Timedelta(weeks=26)
    for before, count in ((end, 4), (end - pd.Timedelta(days=1), 3)):
        learnt = clv.recalibrate(high, before=before)
        assert len(learnt.vintages) == count
        assert pd.Timestamp(learnt.last_seen) <= before
        # What came later makes no difference.
        rows = high.table["cut_date"] < cuts[count]
        past = Backtest(high.table[rows], high.curves[rows], "W", high.models)
        assert clv.recalibrate(past) == learnt


def test_too_little_to_learn_from(model, histories, high):
    with pytest.raises(OptionError, match="too few to learn"):
        clv.recalibrate(high, before="2020-09-01")
    with pytest.raises(OptionError, match="too few to learn"):
        clv.recalibrate(results(model, [vintage(histories, s) for s in range(4)], weeks=1))
    failed = Backtest(high.table.assign(status="no"), high.curves, "W", high.models)
    with pytest.raises(OptionError, match="no results of m"):
        clv.recalibrate(failed)


def test_what_is_not_there_is_refused(high):
    with pytest.raises(OptionError, match="model='n'"):
        clv.recalibrate(high, "n")
    with pytest.raises(OptionError, match="horizon='9W'"):
        clv.recalibrate(high, horizon="9W")
    two = Backtest(high.table, high.curves, "W", {"m": "mbg/nbd", "n": "bg/nbd"})
    with pytest.raises(OptionError, match="say which model: 'm', 'n'"):
        clv.recalibrate(two)


def test_vintages_without_any_purchase(model, histories):
    """Nothing was bought: no level can be learnt of that, and none is made up."""
    nothing = [vintage(histories, s).assign(frequency_holdout=0) for s in range(4)]
    with pytest.raises(OptionError, match="vintages without any purchases"):
        clv.recalibrate(results(model, nothing))


@pytest.mark.slow
def test_recalibrated_rows_of_a_backtest_learn_from_the_past_alone(cdnow):
    ids = cdnow["customer_id"].drop_duplicates()[::2]
    log = cdnow[cdnow["customer_id"].isin(ids)]
    ask = {"horizons": ["9W"], "draws": 20}
    cuts = ["1997-07-20", "1997-08-31", "1997-10-12", "1997-11-23", "1998-01-25", "1998-03-08"]
    full = clv.backtest(log, [clv.NBD()], cut_dates=cuts, recalibrate=True, **ask)
    rows = full.table[full.table["model"] == "NBD (recalibrated)"].set_index("cut_date")
    assert len(rows)
    for cut, row in rows.iterrows():
        learnt = clv.recalibrate(full, "NBD", before=cut)
        assert pd.Timestamp(learnt.last_seen) <= cut
        split = clv.calibration_holdout(
            log,
            calibration_end=cut.date(),
            observation_end=cut + pd.Timedelta(weeks=9),
            time_unit="W",
        )
        own = clv.NBD().fit(split)
        found = clv.evaluate_holdout(own, split, draws=20, recalibration=learnt).summary()["NBD"]
        for name in ("crps", "predicted_total", "brier", "pit_ks", "total_upper"):
            assert row[name] == pytest.approx(found[name], rel=1e-9), name
