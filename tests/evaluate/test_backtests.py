"""Backtests: every cell is an honest split, nothing leaks, and a run goes on where it was."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import (
    ConvergenceError,
    DataWarning,
    NotFittedError,
    OptionError,
    UnitError,
)
from clvpredict.evaluate import backtests as module
from clvpredict.evaluate import cells as of_cells
from clvpredict.evaluate import evaluate_holdout

CUTS = ["1997-08-15", "1997-10-01"]


@pytest.fixture(scope="module")
def some(cdnow):
    """590 customers, with hours that a day forgets."""
    ids = cdnow["customer_id"].drop_duplicates()[::4]
    rows = cdnow[cdnow["customer_id"].isin(ids)].reset_index(drop=True)
    hours = np.random.default_rng(0).integers(0, 24, len(rows))
    return rows.assign(date=rows["date"] + pd.to_timedelta(hours, unit="h"))


def run(data, models=None, **change):
    ask = {"cut_dates": CUTS, "horizons": ["13W", "26W"], "draws": 20} | change
    return clv.backtest(data, models or [clv.MBGNBD()], **ask)


@pytest.fixture(scope="module")
def found(some):
    return run(some, [clv.CLVModel(clv.MBGNBD()), clv.BGNBD()])


def same(one, other):
    pd.testing.assert_frame_equal(one.table, other.table, rtol=1e-9)


def test_every_cell_is_a_split_a_fit_and_an_evaluation(some, found):
    table = found.table.set_index(["cut_date", "horizon", "model"])
    assert len(table) == 2 * 2 * 5
    assert (table["status"] == "ok").all()
    for cut in CUTS:
        for horizon, days in (("13W", 91), ("26W", 182)):
            split = clv.calibration_holdout(
                some,
                calibration_end=cut,
                observation_end=pd.Timestamp(cut) + pd.Timedelta(days=days),
                time_unit="W",
            )
            models = [clv.CLVModel(clv.MBGNBD()).fit(split), clv.BGNBD().fit(split)]
            want = evaluate_holdout(models, split, draws=20).summary()
            for name in want.columns:
                row = table.loc[(pd.Timestamp(cut), horizon, name)]
                assert row["horizon_periods"] == days / 7
                for metric, value in want[name].items():
                    assert row[metric] == pytest.approx(value, rel=1e-9, nan_ok=True), metric


def test_the_curves_are_of_the_pit(some, found):
    split = clv.calibration_holdout(
        some, calibration_end=CUTS[0], observation_end="1997-11-14", time_unit="W"
    )
    pit = evaluate_holdout(clv.BGNBD().fit(split), split).pit(bins=40)
    kept = found.curves
    row = kept[(kept["model"] == "BG/NBD") & (kept["horizon"] == "13W")].iloc[0]
    np.testing.assert_allclose(row["curve"][1:], pit.loc[pit["model"] == "BG/NBD", "ecdf"])
    values = kept.loc[kept["of"] == "value", "model"]
    assert set(values) == {"MBG/NBD"}


def test_what_comes_after_the_holdout_changes_nothing(some, found):
    later = some[some["date"] >= "1998-04-02"].assign(amount=999.0)
    more = pd.concat([some, later, later.assign(customer_id=later["customer_id"] + 10**6)])
    same(run(more, [clv.CLVModel(clv.MBGNBD()), clv.BGNBD()]), found)


@pytest.mark.parametrize("change", ["fewer", "more", "returns"])
def test_what_comes_after_the_cut_changes_no_fit(some, change):
    """Forecasts stay, outcomes change; returns of what was bought before change nothing."""
    cut = pd.Timestamp("1997-10-02")
    after = some["date"] >= cut
    later = {"date": cut + pd.Timedelta(days=9)}
    changed = {
        "fewer": some[~after | (some["customer_id"] % 2 == 0)],
        "more": pd.concat([some, some[~after].assign(**later)]),
        "returns": pd.concat([some, some[~after].assign(amount=-some["amount"], **later)]),
    }[change]
    # The data end when they did.
    ask = {"cut_dates": ["1997-10-01"], "observation_end": "1998-06-30"}
    a, b = (run(d, **ask).table.set_index(["horizon", "model"]) for d in (some, changed))
    for column in ("predicted_total", "total_lower", "total_upper"):
        pd.testing.assert_series_equal(a[column], b[column])
    more = b["observed_total"] - a["observed_total"]
    assert {"fewer": more < 0, "more": more > 0, "returns": more <= 0}[change].all()


def test_rows_in_another_order_and_another_number_of_cores(some, found, monkeypatch):
    models = [clv.CLVModel(clv.MBGNBD()), clv.BGNBD()]
    want = found.table[: 2 * 5].reset_index(drop=True)  # at the first cut
    shuffled = run(some.sample(frac=1.0, random_state=3), models, cut_dates=CUTS[:1]).table
    pd.testing.assert_frame_equal(shuffled, want, rtol=1e-9)
    monkeypatch.setattr(module, "usable_cores", lambda: 1)
    one = run(some, models, cut_dates=CUTS[:1]).table
    pd.testing.assert_frame_equal(one, want, check_exact=True)


def test_models_are_left_as_they_were(some, cdnow_rfm):
    fresh, fitted = clv.MBGNBD(), clv.BGNBD().fit(cdnow_rfm)
    before = fitted.params_
    run(some, {"a": fresh, "b": fitted}, horizons=["13W"])
    assert fresh._result is None
    assert fitted.params_ == before


@pytest.mark.parametrize(
    "names",
    [{"customer_id": "who", "date": "when", "amount": "eur"}, {"date": "when", "amount": None}],
)
def test_columns_of_other_names(some, names):
    plain = {"customer_id": "customer_id", "date": "date"} | names
    usual = dict(zip(plain.values(), plain, strict=True))
    other = some.rename(columns={v: k for k, v in usual.items() if k is not None})
    ask = {"horizons": ["13W"]}
    want = run(some, amount=names["amount"] and "amount", **ask)
    same(run(other, **names, **ask), want)
    assert ("value_mae" in want.table) == (names["amount"] is not None)


@pytest.mark.slow
def test_zoned_times(some):
    zoned = some.assign(date=some["date"].dt.tz_localize("UTC"))
    local = some.assign(date=zoned["date"].dt.tz_convert("America/New_York").dt.tz_localize(None))
    ask = {"horizons": ["13W"]}
    same(run(zoned, timezone="America/New_York", **ask), run(local, **ask))


@pytest.mark.parametrize(("collapse", "cut"), [("W", "1997-10-01"), ("h", "1997-10-01")])
def test_other_collapse_periods(some, collapse, cut):
    """A week that the cut divides counts on both sides; with hours the cut is a whole day."""
    ask = {"collapse": collapse, "time_unit": "W"}
    row = run(some, cut_dates=[cut], horizons=["13W"], **ask).table.iloc[0]
    split = clv.calibration_holdout(some, calibration_end=cut, observation_end="1997-12-31", **ask)
    want = evaluate_holdout(clv.MBGNBD().fit(split), split).summary()["MBG/NBD"]
    for name in ("customers", "observed_total", "predicted_total", "crps"):
        assert row[name] == pytest.approx(want[name], rel=1e-9)


@pytest.mark.slow
def test_the_grid(some):
    """Counted back from the longest horizon before the end, down to a third of the data."""
    begin, end = some["date"].min().normalize(), some["date"].max().normalize()
    ask = {"models": [clv.NBD()], "cut_dates": None, "every": "12W"}
    table = run(some, horizons=["13W", "8W"], **ask).table
    cuts = table["cut_date"].drop_duplicates().tolist()
    assert cuts[-1] == end - pd.Timedelta(weeks=13)
    assert {b - a for a, b in pairwise(cuts)} == {pd.Timedelta(weeks=12)}
    least = begin + (end - begin) / 3
    assert cuts[0] >= least > cuts[0] - pd.Timedelta(weeks=12)
    assert table["horizon"].drop_duplicates().tolist() == ["8W", "13W"]
    short = run(some, horizons=["13W"], min_history="45W", **ask).table
    assert short["cut_date"].min() >= begin + pd.Timedelta(weeks=45)


def test_a_horizon_that_is_not_over_has_no_row(some):
    table = run(some, cut_dates=["1998-03-01", "1997-10-01"]).table
    assert set(table.loc[table["cut_date"] == "1998-03-01", "horizon"]) == {"13W"}
    assert set(table.loc[table["cut_date"] == "1997-10-01", "horizon"]) == {"13W", "26W"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cut_dates": ["1996-05-01"]}, "1996-05-01"),
        ({"cut_dates": ["1998-06-15"]}, r"shortest horizon \(91 days\).*1998-06-15"),
        ({"cut_dates": ["soon"]}, "'soon' is not a date"),
        ({"cut_dates": [None]}, "is not a date"),
        ({"cut_dates": []}, "got none"),
        ({"cut_dates": None}, "give either cut_dates"),
        ({"every": "4W"}, "give either cut_dates"),
        ({"cut_dates": None, "every": "0W"}, "at least a day"),
        ({"cut_dates": None, "every": "4W", "min_history": "80W"}, "no cut date leaves 560 days"),
        ({"horizons": "13W"}, "must be a list"),
        ({"horizons": []}, "must be a list"),
        ({"horizons": [0.0]}, "a day or longer"),
        ({"horizons": ["1h"]}, "a day or longer"),
        ({"horizons": ["13W", "91D"]}, "one horizon twice"),
        ({"fit": {"method": "xx"}}, "method"),
        ({"fit": {"nonsense": 1}}, "nonsense"),
        ({"fit": "laplace"}, "must be a mapping"),
        ({"draws": 1}, "draws=1"),
        ({"seed": -1}, "seed=-1"),
        ({"observaton_end": "1998-06-30"}, "observation_end"),
        ({"include_first_transaction": True}, "no repeat purchases"),
        ({"models": [clv.CLVModel()], "amount": None}, "needs amounts"),
        ({"models": [clv.MBGNBD]}, "MBGNBD"),
        ({"models": "mbg/nbd"}, "no model"),
        ({"folder": "/proc/none"}, "cannot be used"),
        ({"models": {"naive": clv.MBGNBD()}}, "taken by a baseline"),
    ],
)
def test_what_cannot_be_done_is_refused(some, change, said):
    with pytest.raises(OptionError, match=said):
        run(some, **change)


def test_cells_that_fail_say_why_and_the_rest_goes_on(some):
    """At the first cut nobody has come back yet."""
    first = some.groupby("customer_id").head(1)
    data = pd.concat([first, some[some["date"] > "1997-06-01"]]).drop_duplicates()
    ask = {"models": [clv.NBD()], "cut_dates": ["1997-02-01", "1997-10-01"], "horizons": ["13W"]}
    with pytest.warns(DataWarning, match=r"1 of 6 cells of the backtest have no result"):
        table = run(data, **ask).table
    status = table.set_index(["cut_date", "model"])["status"]
    assert "no customer has a repeat purchase" in status[pd.Timestamp("1997-02-01"), "NBD"]
    assert (status.drop((pd.Timestamp("1997-02-01"), "NBD")) == "ok").all()


def test_all_models_may_fail(some):
    first = some.groupby("customer_id").head(1)
    ask = {"cut_dates": ["1997-02-15"], "observation_end": "1998-06-30", "horizons": ["13W"]}
    with pytest.warns(DataWarning, match="no result"):
        results = run(first, **ask)
    assert results.table["model"].tolist() == ["MBG/NBD", "naive", "last period"]
    assert "no customer has a repeat purchase" in results.table["status"][0]
    assert results.table["crps"].isna().tolist() == [True, False, False]
    assert "MBG/NBD" in results._repr_html_()


# --- models as they are -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def in_use(some):
    """A model whose data end half way between the two cut dates, on a day without a purchase."""
    rfm = clv.rfm_summary(some, observation_end="1997-09-07", time_unit="W")
    return clv.MBGNBD().fit(rfm)


def test_models_as_they_are_are_scored_and_not_fitted(some, in_use, monkeypatch):
    def fitted(self, *arguments, **options):
        raise AssertionError("fitted")

    monkeypatch.setattr(clv.MBGNBD, "fit", fitted)
    ask = {"horizons": ["13W"], "refit": False}
    with pytest.warns(DataWarning, match="1 of 8 cells .* up to 23 days of the holdout"):
        table = run(some, {"in use": in_use}, **ask).table.set_index(["model", "cut_date"])
    assert table["seen_days"].to_dict() == {
        key: 23.0 if key == ("in use", pd.Timestamp(CUTS[0])) else 0.0 for key in table.index
    }
    # Where it has seen nothing, it is the same question as of any model that is given.
    split = clv.calibration_holdout(
        some, calibration_end=CUTS[1], observation_end="1997-12-31", time_unit="W"
    )
    want = evaluate_holdout({"in use": in_use}, split, draws=20).summary()["in use"]
    for metric, value in want.items():
        found = table.loc[("in use", pd.Timestamp(CUTS[1])), metric]
        assert found == pytest.approx(value, rel=1e-9, nan_ok=True), metric


def test_a_fit_that_has_seen_it_all_and_one_that_does_not_know(some):
    fitted = clv.NBD().fit(clv.rfm_summary(some, time_unit="W"))
    models = {"seen": fitted, "given": clv.NBD.from_params(**fitted.params_, time_unit="W")}
    with pytest.warns(DataWarning, match="1 of 5 cells"):
        table = run(some, models, refit=False, cut_dates=CUTS[:1], horizons=["13W"]).table
    rows = table.set_index("model")
    assert rows.loc["seen", "seen_days"] == 91
    assert np.isnan(rows.loc["given", "seen_days"])
    assert rows.loc["seen", "crps"] == pytest.approx(rows.loc["given", "crps"], rel=1e-9)


def test_some_refitted_and_some_as_they_are(some, in_use, found):
    """Both sorts in one table, each as it would be alone."""
    models = {"again": clv.BGNBD(), "in use": in_use}
    ask = {"cut_dates": CUTS[1:], "horizons": ["13W"]}
    table = run(some, models, refit=["again"], fit={"method": "mle"}, **ask).table
    rows = table.set_index("model")
    alone = run(some, {"in use": in_use}, refit=False, **ask).table.set_index("model")
    pd.testing.assert_series_equal(rows.loc["in use"], alone.loc["in use"])
    want = found.table[(found.table["cut_date"] == CUTS[1]) & (found.table["horizon"] == "13W")]
    want = want.set_index("model").loc["BG/NBD"]
    assert rows.loc["again", "crps"] == pytest.approx(want["crps"], rel=1e-9)
    assert (found.table["seen_days"] == 0).all()


def test_the_spend_model_may_have_seen_more(some, in_use):
    later = clv.rfm_summary(some, observation_end="1997-11-05", time_unit="W")
    model = clv.CLVModel(in_use, clv.GammaGamma().fit(later))
    with pytest.warns(DataWarning, match="up to 35 days"):
        run(some, {"in use": model}, refit=False, cut_dates=CUTS[1:], horizons=["13W"])


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"models": [clv.MBGNBD()]}, NotFittedError, "not fitted yet"),
        ({"time_unit": "D"}, UnitError, r"in use was fitted in weeks.*time_unit='W'"),
        ({"fit": {"method": "mle"}}, OptionError, "Leave out fit"),
        ({"recalibrate": True}, OptionError, "Leave out recalibrate"),
        ({"folder": "cells"}, OptionError, "Leave out folder"),
        ({"refit": ["in usee"]}, OptionError, "Did you mean 'in use'"),
        ({"refit": "in use"}, OptionError, "True, False or a list"),
    ],
)
def test_what_models_as_they_are_cannot_be_asked(some, in_use, change, error, said):
    ask = {"models": {"in use": in_use}, "refit": False} | change
    with pytest.raises(error, match=said):
        run(some, **ask)


# --- resuming ---------------------------------------------------------------------------------


def quick(data, models=None, **change):
    """A model that is fitted in no time."""
    return run(
        data, models or [clv.NBD()], **({"horizons": ["13W"], "cut_dates": CUTS[1:]} | change)
    )


@pytest.fixture
def computed(monkeypatch):
    """The cells that are computed rather than read."""
    cells = []
    own = of_cells.records_of

    def records(plan, cell, end):
        cells.append((cell.cut, cell.model))
        return own(plan, cell, end)

    monkeypatch.setattr(of_cells, "records_of", records)
    return cells


def test_finished_cells_are_taken(some, tmp_path, computed):
    whole = quick(some)
    computed.clear()
    first = quick(some, folder=tmp_path / "new" / "cells")
    assert len(computed) == 2
    second = quick(some.sample(frac=1.0, random_state=1), folder=tmp_path / "new" / "cells")
    assert len(computed) == 2
    for other in (first, second):
        pd.testing.assert_frame_equal(other.table, whole.table, check_exact=True)
        pd.testing.assert_frame_equal(other.curves, whole.curves)


def test_a_killed_run_goes_on(some, tmp_path, computed, monkeypatch):
    own = of_cells.judge

    def killed(*arguments, **options):
        if len(computed) >= 3:
            raise KeyboardInterrupt
        return own(*arguments, **options)

    monkeypatch.setattr(module, "usable_cores", lambda: 1)
    monkeypatch.setattr(of_cells, "judge", killed)
    with pytest.raises(KeyboardInterrupt):
        quick(some, folder=tmp_path, cut_dates=CUTS)
    kept = len(list(tmp_path.iterdir()))
    assert 2 <= kept < 4  # whole ones alone
    monkeypatch.setattr(of_cells, "judge", own)
    computed.clear()
    again = quick(some, folder=tmp_path, cut_dates=CUTS)
    assert len(computed) == 4 - kept
    same(again, quick(some, cut_dates=CUTS))


@pytest.mark.parametrize(
    "spoilt",
    [
        b"",
        b'[{"cut_date": "19',
        *(
            pytest.param(other, marks=pytest.mark.slow)
            for other in (b"\xff\xfe", b"{}", b"[1]", b'[{"cut_date": 1}]')
        ),
    ],
)
def test_a_spoilt_cell_is_computed_again(some, tmp_path, computed, spoilt):
    whole = quick(some, folder=tmp_path)
    paths = sorted(tmp_path.iterdir())
    paths[0].write_bytes(spoilt)
    computed.clear()
    same(quick(some, folder=tmp_path), whole)
    assert len(computed) == 1
    json.loads(paths[0].read_text())
    computed.clear()
    quick(some, folder=tmp_path)
    assert not computed


def test_a_temporary_file_is_no_cell(some, tmp_path, computed):
    quick(some, folder=tmp_path)
    path = min(tmp_path.iterdir())
    path.rename(path.with_name(f".{path.name}.abcd.tmp"))
    computed.clear()
    quick(some, folder=tmp_path)
    assert len(computed) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"draws": 21},
        {"horizons": ["12W"]},
        {"fit": {"method": "map"}},
        {"collapse": "W"},
        {"observation_end": "1998-06-20"},
        {"observation_end": "1998-07-20"},
        {"models": [clv.BGNBD()]},
        {"models": [clv.CLVModel(clv.NBD())]},
    ],
)
def test_other_options_are_other_cells(some, tmp_path, computed, change):
    quick(some, folder=tmp_path)
    computed.clear()
    quick(some, folder=tmp_path, **change)
    models = {model for _, model in computed}
    # Baselines do not depend on the models beside them; all else is new.
    assert len(models - {"baselines"}) == 1
    assert "models" in change or "baselines" in models


def test_other_data_are_other_cells(some, tmp_path, computed):
    quick(some, folder=tmp_path)
    computed.clear()
    quick(some.assign(amount=some["amount"] + 1.0), folder=tmp_path)
    assert len(computed) == 2


def test_a_horizon_that_has_come_to_its_end_is_computed(some, tmp_path):
    """The same purchases, but a later day until which nobody bought."""
    ask = {"cut_dates": ["1998-03-31"], "horizons": ["12W", "16W"], "folder": tmp_path}
    assert set(quick(some, **ask).table["horizon"]) == {"12W"}
    later = quick(some, observation_end="1998-07-31", **ask)
    assert set(later.table["horizon"]) == {"12W", "16W"}


def test_two_models_of_one_class_are_not_confused(some, tmp_path, computed):
    quick(some, {"one": clv.NBD()}, folder=tmp_path)
    computed.clear()
    quick(some, {"two": clv.NBD()}, folder=tmp_path)
    assert "two" in {model for _, model in computed}


def test_priors_cannot_be_told_apart_so_they_are_not_kept(some, tmp_path):
    import pymc as pm

    fit = {"method": "map", "priors": {"r": pm.HalfNormal.dist(0.5)}}
    with pytest.raises(OptionError, match="cannot be told from others"):
        run(some, fit=fit, folder=tmp_path)


def test_by_weeks_a_day_makes_another_cell(some, tmp_path, computed):
    """The history by weeks is the same, the split of the week that the cut divides is not."""
    ask = {"collapse": "W", "observation_end": "1998-06-30", "folder": tmp_path}
    quick(some, **ask)
    week = some["date"].dt.normalize().between("1997-09-29", "1997-10-05")
    assert week.any()
    moved = some.assign(date=some["date"].where(~week, pd.Timestamp("1997-09-29")))
    computed.clear()
    quick(moved, **ask)
    assert len(computed) == 2  # the model and the baselines, at one cut


def test_what_failed_is_tried_again(some, tmp_path, computed, monkeypatch):
    own = clv.NBD.fit

    def fail(self, *arguments, **options):
        raise ConvergenceError("for once")

    monkeypatch.setattr(clv.NBD, "fit", fail)
    with pytest.warns(DataWarning, match="for once"):
        quick(some, folder=tmp_path)
    monkeypatch.setattr(clv.NBD, "fit", own)
    computed.clear()
    same(quick(some, folder=tmp_path), quick(some))
    assert {model for _, model in computed[:2]} == {"NBD"}


def test_strict_checks_the_whole_and_not_each_holdout(some):
    same(quick(some, strict=True), quick(some))
