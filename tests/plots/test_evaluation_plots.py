"""Pictures of evaluation show the numbers of their tables; pixels are not looked at."""

import re

import evaluation_tables as tables
import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from clvpredict import plots
from clvpredict.errors import DataError, OptionError
from clvpredict.plots.style import series

#: Every plot with a table of its own, what it is made by, and a column that it needs.
ALL = {
    "deciles": (plots.plot_calibration, tables.deciles, "deciles()", "naive"),
    "reliability": (plots.plot_reliability, tables.reliability, "reliability()", "band_lower"),
    "pit": (plots.plot_pit, tables.pit, "pit()", "density"),
    "pit_ecdf": (plots.plot_pit_ecdf, tables.pit, "pit()", "ecdf"),
    "coverage": (plots.plot_coverage, tables.coverage, "coverage()", "expected"),
    "tracking": (plots.plot_tracking, tables.tracking, "tracking_table(", "lower"),
    "gain": (plots.plot_gain, tables.gain, "gain()", "captured"),
    "lift": (plots.plot_lift, tables.gain, "gain()", "lift"),
    "backtest": (plots.plot_backtest, tables.backtest, "clvpredict.backtest(", "status"),
    "lines": (plots.plot_backtest_lines, tables.backtest, "clvpredict.backtest(", "horizon"),
    "comparison": (plots.plot_comparison, tables.comparison, "compare(results)", "wins"),
}
every = pytest.mark.parametrize(("plot", "make", "maker", "column"), ALL.values(), ids=ALL)
MANY = tuple(f"model {i}" for i in range(40))


@pytest.fixture
def mine():
    return Figure(figsize=(8, 5), layout="constrained").add_subplot()


def line(ax, start):
    (found,) = [drawn for drawn in ax.get_lines() if str(drawn.get_label()).startswith(start)]
    return found


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def drawn(ax):
    ax.figure.draw_without_rendering()
    return ax


def plain():
    """Axes that are drawn fast: nothing is moved to make room."""
    return Figure(figsize=(8, 5)).add_subplot()


# --- every plot ------------------------------------------------------------------------------


@every
def test_it_draws_where_it_is_told_and_labels_it(plot, make, maker, column, mine):
    assert plot(make(), ax=mine) is mine
    assert mine.get_title()
    assert mine.get_xlabel()
    assert mine.get_ylabel() or plot is plots.plot_comparison  # which has the models there
    drawn(mine)


@every
def test_a_wrong_table_is_refused_with_the_name_of_the_right_one(plot, make, maker, column):
    table = make().drop(columns=column)
    with pytest.raises(OptionError, match=re.escape(maker)) as refusal:
        plot(table)
    assert repr(column) in str(refusal.value)
    with pytest.raises(OptionError, match="Series came"):
        plot(make()["model"])
    with pytest.raises(DataError, match="no rows") as refusal:
        plot(make().iloc[:0])
    assert maker in str(refusal.value)


@every
@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_no_letter_has_the_colour_of_the_background(plot, make, maker, column, style):
    with plt.style.context(style):
        ax = plot(make(), ax=plain())
        figure = drawn(ax).figure
    ground = to_rgba(ax.get_facecolor())
    cells = bool(ax.findobj(QuadMesh))
    letters = [
        text
        for text in figure.findobj(matplotlib.text.Text)
        # Numbers in cells stand on the colour of their cell.
        if text.get_text() and not (cells and text in ax.texts)
    ]
    assert len(letters) > 5
    for text in letters:
        assert np.abs(np.subtract(to_rgba(text.get_color())[:3], ground[:3])).max() > 0.5, text
    for shown in ax.get_lines():
        assert to_rgba(shown.get_color())[:3] != ground[:3], shown


@every
def test_settings_stay_as_they_were(plot, make, maker, column, mine):
    before = matplotlib.rcParams.copy()
    plot(make(), ax=mine)
    assert matplotlib.rcParams.copy() == before
    assert not plt.get_fignums()


@pytest.mark.slow
@every
def test_forty_models(plot, make, maker, column):
    ax = drawn(plot(make(models=MANY), ax=plain()))
    if ax.get_legend() is not None:
        assert sum(any(name in text for text in legend(ax)) for name in MANY) == 40
    elif plot is plots.plot_comparison:
        assert [t.get_text() for t in ax.get_yticklabels()] == [f"13W: {m}" for m in MANY]


@pytest.mark.parametrize("case", ["reliability", "gain"])
def test_a_long_legend_stands_beside_the_picture(case):
    plot, make, *_ = ALL[case]
    ax = drawn(plot(make(models=MANY)))
    figure, shown = ax.figure.bbox, ax.get_legend().get_window_extent()
    assert shown.x0 >= ax.bbox.x1
    assert shown.x1 <= figure.x1 + 1
    assert shown.y0 >= figure.y0 - 1
    assert ax.bbox.width > 0.4 * figure.width


@every
def test_one_row_and_missing_numbers(plot, make, maker, column):
    table = make(models=("BG/NBD",))
    assert drawn(plot(table.iloc[:1], ax=plain())).get_title()
    keys = {"cut_date", "customers", "level", "share", "start", "end", "low", "high"}
    numbers = table.select_dtypes("number").columns.difference([*keys, "horizon_periods", "decile"])
    assert drawn(plot(table.assign(**dict.fromkeys(numbers, np.nan)), ax=plain())).get_title()
    table.loc[table.index[len(table) // 2], numbers] = np.nan
    assert drawn(plot(table, ax=plain())).get_title()


@pytest.mark.slow
@every
def test_without_metadata(plot, make, maker, column):
    table = make()
    table.attrs = {}
    assert drawn(plot(table, ax=plain())).get_title()
    table.attrs = dict.fromkeys((*tables.PERIODS, "level", "every", "scores", "ks"))
    assert "None" not in " ".join(
        text.get_text()
        for text in drawn(plot(table, ax=plain())).figure.findobj(matplotlib.text.Text)
    )


@pytest.mark.parametrize(
    ("plot", "make"),
    [
        (plots.plot_calibration, tables.deciles),
        (plots.plot_pit, tables.pit),
        (plots.plot_pit_ecdf, tables.pit),
        (plots.plot_coverage, tables.coverage),
        (plots.plot_gain, tables.gain),
        (plots.plot_lift, tables.gain),
    ],
)
def test_purchases_and_value_are_not_mixed(plot, make):
    both = pd.concat([make(), make().assign(of="value")])
    with pytest.raises(OptionError, match=r"table\[table\['of'\] == 'purchases'\]"):
        plot(both)
    ax = plot(both[both["of"] == "value"])
    assert "value" in f"{ax.get_title()} {ax.get_ylabel()}"


def test_forty_series_can_be_told_apart():
    assert len({series(i) for i in range(42)}) == 42
    # The round marker is what was observed.
    assert "o" not in {series(i)[1] for i in range(42)}


# --- each plot -------------------------------------------------------------------------------


def test_deciles_of_two_models_have_observed_means_of_their_own():
    table = tables.deciles()
    ax = plots.plot_calibration(table)
    for model, bars in zip(tables.MODELS, ax.containers, strict=True):
        rows = table[table["model"] == model]
        points = bars.lines[0]
        np.testing.assert_array_equal(points.get_ydata(), rows["observed"])
        assert points.get_color() == line(ax, f"Predicted by {model}").get_color()
    assert not [text for text in legend(ax) if text.startswith("Naive")]
    assert "1 = least, 10 = most" in ax.get_xlabel()


def test_deciles_of_one_model_have_the_naive_rule():
    table = tables.deciles(models=("BG/NBD",), customers=1_000_000)
    ax = plots.plot_calibration(table)
    np.testing.assert_array_equal(line(ax, "Naive").get_ydata(), table["naive"])
    assert ax.get_xticklabels()[0].get_text() == "1\n(1 M)"


def test_groups_stand_in_order_though_the_first_model_lacks_one():
    table = tables.deciles()
    table = table[(table["model"] != "BG/NBD") | (table["decile"] != 3)]
    ax = plots.plot_calibration(table)
    assert [t.get_text().split("\n")[0] for t in ax.get_xticklabels()] == [
        str(i) for i in range(1, 11)
    ]
    assert (np.diff(line(ax, "Predicted by BG/NBD").get_xdata()) > 0).all()


def test_reliability_shows_blocks_band_and_scores():
    table = tables.reliability(models=("BG/NBD",))
    ax = plots.plot_reliability(table)
    points = line(ax, "BG/NBD")
    np.testing.assert_array_equal(points.get_xdata(), table["predicted"])
    np.testing.assert_array_equal(points.get_ydata(), table["observed"])
    (entry,) = [text for text in legend(ax) if text.startswith("BG/NBD")]
    assert "0.1567" in entry
    assert "0.2150 uncertainty − 0.0604 discrimination" in entry
    assert "95 % of calibrated predictions" in legend(ax)
    assert ax.get_xlim() == (0, 1)
    heights = [path.vertices[1, 1] for path in ax.collections[-1].get_paths()]
    np.testing.assert_allclose(
        np.divide(heights, heights[0]), table["customers"] / table["customers"].iloc[0]
    )


def test_reliability_of_rare_buyers_fills_the_picture():
    table = tables.reliability()
    names = ["predicted_low", "predicted_high", "predicted", "observed", "band_lower", "band_upper"]
    table[names] *= 0.1
    assert plots.plot_reliability(table).get_xlim()[1] < 0.2


def test_pit_is_a_histogram_about_one():
    table = tables.pit(models=("BG/NBD",))
    ax = plots.plot_pit(table)
    np.testing.assert_array_equal(line(ax, "BG/NBD").get_ydata(), table["density"])
    assert line(ax, "Calibrated").get_ydata() == [1.0, 1.0]
    assert "BG/NBD (KS 0.031, p = 0.020)" in legend(ax)
    assert "MBG/NBD (KS 0.062, p < 0.01)" in legend(plots.plot_pit(tables.pit()))


def test_pit_ecdf_shows_the_distance_to_uniform():
    table = tables.pit()
    ax = plots.plot_pit_ecdf(table)
    rows = table[table["model"] == "MBG/NBD"]
    shown = line(ax, "MBG/NBD")
    np.testing.assert_array_equal(shown.get_ydata()[1:], rows["ecdf"] - rows["high"])
    assert (shown.get_xdata()[0], shown.get_ydata()[0]) == (0, 0)
    assert "95 % of calibrated models" in legend(ax)
    assert len(ax.collections) == 1  # one band for both


def test_pit_ecdf_with_bands_of_their_own():
    table = tables.pit()
    table.loc[table["model"] == "MBG/NBD", "band_upper"] *= 2
    ax = plots.plot_pit_ecdf(table)
    ends = [shown for shown in ax.get_lines() if shown.get_ls() == "--"]
    assert {shown.get_color() for shown in ends} >= {series(0)[0], series(1)[0]}


def test_coverage_over_levels_and_deciles():
    table = tables.coverage()
    ax = plots.plot_coverage(table)
    rows = table[(table["model"] == "BG/NBD") & (table["decile"] == "all")]
    np.testing.assert_array_equal(line(ax, "BG/NBD").get_xdata(), [0.5, 0.8, 0.9, 0.95])
    np.testing.assert_array_equal(line(ax, "BG/NBD").get_ydata(), rows["coverage"])
    hollow = [shown.get_ydata() for shown in ax.get_lines() if shown.get_mfc() == "none"]
    np.testing.assert_array_equal(hollow[0], rows["expected"])

    ax = plots.plot_coverage(table, level=0.9)
    rows = table[(table["model"] == "BG/NBD") & (table["decile"] != "all")]
    np.testing.assert_array_equal(line(ax, "BG/NBD").get_xdata(), range(1, 11))
    np.testing.assert_array_equal(
        line(ax, "BG/NBD").get_ydata(), rows.loc[rows["level"] == 0.9, "coverage"]
    )
    with pytest.raises(OptionError, match=r"0\.5, 0\.8, 0\.9, 0\.95"):
        plots.plot_coverage(table, level=0.7)


def test_tracking_marks_the_cut():
    table = tables.tracking()
    ax = plots.plot_tracking(table)
    first = table[table["model"] == "BG/NBD"]
    np.testing.assert_array_equal(line(ax, "Observed").get_ydata(), first["observed"])
    np.testing.assert_array_equal(line(ax, "Expected by BG/NBD").get_ydata(), first["expected"])
    assert first["observed"].eq(0).any()  # a week without purchases is drawn as such
    assert [text.get_text() for text in ax.texts] == ["calibration ends 1997-09-30"]
    assert "Expected by BG/NBD, 90 % interval" in legend(ax)
    assert ax.get_ylabel() == "Repeat purchases per week"
    assert len(ax.collections) == 2


def test_tracking_takes_the_cut_from_the_phases():
    table = tables.tracking()
    table.attrs = {}
    (text,) = plots.plot_tracking(table).texts
    assert text.get_text() == "calibration ends 1997-09-30"


def test_tracking_cumulative():
    table = tables.tracking(size=1e6)
    ax = plots.plot_tracking(table, cumulative=True)
    first = table[table["model"] == "BG/NBD"]
    shown = line(ax, "Expected by BG/NBD")
    known = ~np.isnan(shown.get_ydata())
    np.testing.assert_array_equal(shown.get_ydata()[known], first["expected_cumulative"])
    np.testing.assert_array_equal(pd.DatetimeIndex(shown.get_xdata())[known], first["end"])
    # The line breaks between calibration and holdout.
    assert np.flatnonzero(~known).tolist() == [(first["phase"] == "calibration").sum()]
    ax.figure.draw_without_rendering()
    assert "20,000,000" in [text.get_text() for text in ax.get_yticklabels()]


@pytest.mark.parametrize(
    ("every", "said"),
    [("D", "per day"), ("2W", "per 2 weeks"), ("business", "per business period")],
)
def test_tracking_names_its_periods(every, said):
    table = tables.tracking()
    table.attrs["every"] = every
    assert plots.plot_tracking(table, ax=plain()).get_ylabel() == f"Repeat purchases {said}"


def test_tracking_says_that_bands_are_left_out():
    ax = plots.plot_tracking(tables.tracking(models=MANY[:4]))
    assert not ax.collections
    assert "up to 3 models" in ax.get_xlabel()


def test_gain_begins_with_nobody_and_says_what_the_first_fifth_has():
    table = tables.gain()
    ax = plots.plot_gain(table)
    shown = line(ax, "BG/NBD")
    assert (shown.get_xdata()[0], shown.get_ydata()[0]) == (0, 0)
    rows = table[table["model"] == "BG/NBD"]
    np.testing.assert_array_equal(shown.get_ydata()[1:], rows["captured"])
    fifth = rows.loc[np.isclose(rows["share"], 0.2), "captured"].item()
    assert f"BG/NBD (first 20 %: {100 * fifth:.0f} %)" in legend(ax)
    assert "Random order (first 20 %: 20 %)" in legend(ax)
    assert {line(ax, "Naive").get_ls(), line(ax, "Oracle").get_ls()} == {"--", ":"}


def test_lift_is_as_high_as_the_models():
    table = tables.gain()
    ax = plots.plot_lift(table)
    rows = table[table["model"] == "MBG/NBD"]
    np.testing.assert_array_equal(line(ax, "MBG/NBD").get_ydata(), rows["lift"])
    highest = table.loc[table["model"] != "oracle", "lift"].max()
    assert highest < ax.get_ylim()[1] < table["lift"].max()


def test_backtest_cells():
    table = tables.backtest()
    ax = plots.plot_backtest(table, "bias_percent", "MBG/NBD")
    rows = table[table["model"] == "MBG/NBD"].set_index(["cut_date", "horizon"])
    (mesh,) = ax.findobj(QuadMesh)
    shown = mesh.get_array()
    assert shown.shape == (5, 4)
    horizons = ["4W", "13W", "26W", "39W"]
    assert [t.get_text() for t in ax.get_xticklabels()] == horizons
    np.testing.assert_array_equal(
        shown.filled(np.nan), rows["bias_percent"].unstack("horizon")[horizons]
    )
    assert mesh.norm.vmin == -mesh.norm.vmax  # colours diverge from 0
    assert len(ax.texts) == 18  # the number of every cell that has one
    hatched = [p for p in ax.patches if isinstance(p, Rectangle) and p.get_hatch()]
    assert len(hatched) == 2
    assert "'status'" in ax.get_xlabel()
    assert "MBG/NBD" in ax.get_title()


def test_backtest_of_a_model_that_failed_throughout():
    table = tables.backtest().assign(status="ConvergenceError")
    ax = drawn(plots.plot_backtest(table))
    assert len([p for p in ax.patches if p.get_hatch()]) == 20
    assert not ax.texts  # numbers of what failed are not shown, though the table has some
    ax = drawn(plots.plot_backtest_lines(table))
    assert "No model has a result" in ax.texts[0].get_text()
    with plt.style.context("dark_background"):
        dark = plots.plot_backtest_lines(table, ax=plain())
    assert dark.texts[0].get_color() == "white"


def test_backtest_of_many_cut_dates_has_no_numbers_that_cannot_be_read():
    ax = plots.plot_backtest(tables.backtest(cuts=60))
    assert not ax.texts
    assert len(ax.get_yticks()) <= 30


def test_backtest_refuses_what_is_not_there():
    table = tables.backtest()
    with pytest.raises(OptionError, match=r"metric='crsp'.*Did you mean 'crps'"):
        plots.plot_backtest(table, "crsp")
    with pytest.raises(OptionError, match="metric='status'"):
        plots.plot_backtest_lines(table, "status")
    with pytest.raises(OptionError, match=r"model='BGNBD'.*'BG/NBD'"):
        plots.plot_backtest(table, "crps", "BGNBD")
    with pytest.raises(OptionError, match=r"horizon='12W'.*'13W'"):
        plots.plot_backtest_lines(table, "crps", "12W")
    twice = pd.concat([table, table])
    with pytest.raises(DataError, match="several rows"):
        plots.plot_backtest(twice)
    with pytest.raises(DataError, match="several rows"):
        plots.plot_backtest_lines(twice)


def test_backtest_lines_break_where_there_is_no_result():
    table = tables.backtest()
    ax = plots.plot_backtest_lines(table, "crps", "39W")
    rows = table[(table["model"] == "BG/NBD") & (table["horizon"] == "39W")]
    np.testing.assert_array_equal(line(ax, "BG/NBD").get_ydata(), rows["crps"])
    crosses = [shown for shown in ax.get_lines() if shown.get_marker() == "x"]
    assert [len(shown.get_xdata()) for shown in crosses] == [2, 2, 2]
    assert "no result" in ax.get_xlabel()
    assert "39W" in ax.get_title()
    # A rule may predict what a model does: it lies upon that, and is thinner.
    rule, model = line(ax, "naive"), line(ax, "BG/NBD")
    assert rule.get_zorder() > model.get_zorder()
    assert rule.get_linewidth() < model.get_linewidth()
    # By default the longest of the horizons with most results.
    assert "26W" in plots.plot_backtest_lines(table).get_title()


def test_a_rule_without_the_metric_is_named_and_has_no_crosses():
    table = tables.backtest()
    table.loc[table["model"] == "naive", "crps"] = np.nan
    ax = plots.plot_backtest_lines(table, "crps", "4W", ax=plain())
    assert "naive: has none" in legend(ax)
    assert "no result" not in ax.get_xlabel()


def test_comparison_has_the_best_on_top():
    table = tables.comparison().iloc[::-1]
    table.attrs = {"metric": "crps", "level": 0.9}
    ax = plots.plot_comparison(table)
    shown = [t.get_text() for t in ax.get_yticklabels()]
    assert shown == ["13W: BG/NBD", "13W: MBG/NBD", "13W: naive"]
    top, bottom = ax.get_ylim()
    assert top > bottom  # the first row, 0, is on top
    np.testing.assert_allclose(ax.get_lines()[-1].get_xdata(), [0.0, 0.02, 0.04])
    (ends,) = ax.collections
    np.testing.assert_allclose(
        [segment[:, 0] for segment in ends.get_segments()],
        [[0, 0], [0.012, 0.028], [0.032, 0.048]],
    )
    assert ax.texts[0].get_text() == "mean 0.41, best at 12 of 17 cut dates"
    assert "90 % interval" in ax.get_xlabel()
    assert "CRPS" in ax.get_xlabel()


def test_comparison_keeps_horizons_apart():
    ax = plots.plot_comparison(tables.comparison(horizons=("13W", "26W")))
    place = np.asarray(ax.get_yticks())
    np.testing.assert_array_equal(np.diff(place), [1, 1, 1.5, 1, 1])
    assert ax.get_yticklabels()[3].get_text() == "26W: BG/NBD"
    without = tables.comparison().drop(columns="horizon")
    assert plots.plot_comparison(without).get_yticklabels()[0].get_text() == "BG/NBD"


def test_words_of_metrics():
    table = tables.backtest().assign(value_crps=1.0, mine_own=2.0)
    words = {
        metric: plots.plot_backtest_lines(table, metric, ax=plain()).get_ylabel()
        for metric in ("crps", "value_crps", "mine_own", "coverage_90")
    }
    assert words == {
        "crps": "CRPS, purchases per customer\n(lower is better)",
        "value_crps": "CRPS, value per customer\n(lower is better)",
        "mine_own": "mine own",
        "coverage_90": "Share of customers in their 90 % interval of purchases",
    }


def test_coverage_of_a_backtest_has_the_level_as_reference():
    ax = plots.plot_backtest_lines(tables.backtest(), "coverage_90", ax=plain())
    (reference,) = [shown for shown in ax.get_lines() if list(shown.get_ydata()) == [0.9, 0.9]]
    assert reference.get_ls() == "--"
