"""Pictures of cohorts show the numbers of their tables; pixels are not looked at."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from clvpredict.errors import DataError, OptionError
from clvpredict.plots import plot_cohort_curves, plot_cohorts, plot_payback

LAST = pd.Period("2024-06")


def cohorts(n=4, *, forecast=True, channels=None):
    """A cohort table as business.cohort_table makes it, of numbers that tell their cell."""
    rows = []
    for channel in channels or [None]:
        for i in range(n):
            start = LAST - (n - 1 - i)
            for age in range(n):
                ahead = start + age > LAST
                value = 10.0 * (i + 1) + age
                known = forecast or not ahead
                rows.append(
                    {
                        "channel": channel,
                        "cohort": start.start_time,
                        "age": age,
                        "customers": 100 * (i + 1),
                        "complete": not ahead,
                        "forecast": ahead and forecast,
                        "retention": value / 100 if known else np.nan,
                        "cumulative_margin": value if known else np.nan,
                        "cumulative_margin_pi_lower": value - 1 if ahead else np.nan,
                        "cumulative_margin_pi_upper": value + 1 if ahead else np.nan,
                        "net_of_cac": value - 20 if known else np.nan,
                    }
                )
    table = pd.DataFrame(rows)
    table.attrs = {"every": "M", "currency": "EUR", "channel": "channel" if channels else None}
    return table if channels else table.drop(columns="channel")


def payback(channels=("ads", "web")):
    rows = []
    for i, channel in enumerate(channels):
        for age in range(6):
            value = 5.0 * (age + 1 + i)
            rows.append(
                {
                    "channel": channel,
                    "age": age,
                    "forecast_share": float(age > 3),
                    "cumulative_margin": value,
                    "cac": 12.0 + 30 * i,
                    "cumulative_margin_pi_lower": value - 2 if age > 3 else np.nan,
                    "cumulative_margin_pi_upper": value + 2 if age > 3 else np.nan,
                }
            )
    table = pd.DataFrame(rows)
    table.attrs = {"every": "M", "currency": "EUR", "channel": "channel"}
    return table


@pytest.fixture
def mine():
    return Figure(figsize=(8, 5), layout="constrained").add_subplot()


EVERY = pytest.mark.parametrize(
    ("plot", "make"),
    [(plot_cohorts, cohorts), (plot_cohort_curves, cohorts), (plot_payback, payback)],
)


def mesh(ax):
    (found,) = [drawn for drawn in ax.collections if isinstance(drawn, QuadMesh)]
    return np.ma.filled(found.get_array(), np.nan)


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def bands(ax):
    return [drawn for drawn in ax.collections if isinstance(drawn, PolyCollection)]


@EVERY
def test_it_draws_where_it_is_told_and_labels_it(plot, make, mine):
    assert plot(make(), ax=mine) is mine
    assert mine.get_title()
    assert "months after that of the first purchase" in mine.get_xlabel()
    assert mine.get_ylabel()
    mine.figure.draw_without_rendering()


@EVERY
def test_text_is_legible_on_black(plot, make):
    with plt.style.context("dark_background"):
        ax = plot(make())
        for text in (ax.title, ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels()):
            assert sum(to_rgb(text.get_color())) > 1.5


@EVERY
def test_a_wrong_table_is_refused(plot, make):
    with pytest.raises(OptionError, match=r"clvpredict\.business\.\w+_table.*lacks 'age'"):
        plot(make().drop(columns="age"))
    with pytest.raises(DataError, match="no rows"):
        plot(make().iloc[:0])


def test_the_heat_map_shows_the_table_and_hatches_the_forecast(mine):
    plot_cohorts(cohorts(), "cumulative_margin", ax=mine)
    want = 10.0 * np.arange(1, 5)[:, None] + np.arange(4)
    np.testing.assert_array_equal(mesh(mine), want)
    hatched = [p for p in mine.patches if isinstance(p, Rectangle) and p.get_hatch()]
    cells = {(round(p.get_y() + 0.5), round(p.get_x() + 0.5)) for p in hatched}
    assert cells == {(i, age) for i in range(4) for age in range(4) if i + age > 3}
    assert "(hatched: forecast)" in mine.get_xlabel()
    assert next(t.get_text() for t in mine.get_yticklabels()) == "2024-03  (100)"
    assert "43.0" in [text.get_text() for text in mine.texts]


def test_what_is_not_known_is_empty(mine):
    plot_cohorts(cohorts(forecast=False), "net_of_cac", ax=mine)
    shown = mesh(mine)
    assert np.isnan(shown[3, 1:]).all()
    assert shown[3, 0] == 20.0
    assert "hatched" not in mine.get_xlabel()


def test_what_was_observed_in_part_is_hatched_and_left_out_of_lines(mine):
    table = cohorts(forecast=False)
    cut = table["cohort"] + pd.to_timedelta(31 * table["age"], unit="D") >= "2024-06-01"
    table.loc[cut, "complete"] = False
    plot_cohorts(table, "cumulative_margin", ax=mine)
    assert "(hatched: observed in part)" in mine.get_xlabel()
    ax = plot_cohort_curves(table)
    assert "left out" in ax.get_xlabel()
    assert [len(line.get_xdata()) for line in ax.get_lines()] == [3, 2, 1, 0]


def test_retention_begins_after_the_first_period(mine):
    plot_cohorts(cohorts(), ax=mine)
    np.testing.assert_allclose(mesh(mine)[0], [11, 12, 13])  # in %
    assert [t.get_text() for t in mine.get_xticklabels()] == ["1", "2", "3"]


def test_large_heat_maps_have_one_line_for_the_forecast(mine):
    plot_cohorts(cohorts(30), "cumulative_margin", ax=mine)
    assert not mine.patches
    (edge,) = mine.get_lines()
    assert edge.get_xdata().max() == 29.5
    assert edge.get_xdata().min() == 0.5
    assert "right of the line: forecast" in mine.get_xlabel()
    assert not mine.texts


def test_curves_are_solid_then_dashed_from_where_they_end(mine):
    plot_cohort_curves(cohorts(), ax=mine)
    solid = [line for line in mine.get_lines() if line.get_linestyle() == "-"]
    dashed = [line for line in mine.get_lines() if line.get_linestyle() == "--"]
    assert [len(line.get_xdata()) for line in solid] == [4, 3, 2, 1]
    assert [list(line.get_xdata()) for line in dashed] == [[2, 3], [1, 2, 3], [0, 1, 2, 3]]
    assert list(dashed[-1].get_ydata()) == [40, 41, 42, 43]
    assert len(bands(mine)) == 3
    low, high = (f(bands(mine)[-1].get_paths()[0].vertices[:, 1]) for f in (np.min, np.max))
    assert (low, high) == (40.0, 44.0)
    assert legend(mine)[0] == "2024-03 (100 customers)"
    assert mine.get_ylabel() == "Margin so far per acquired customer, EUR"


def test_sixty_cohorts_have_a_colour_bar_and_no_bands():
    ax = plot_cohort_curves(cohorts(60))
    assert not bands(ax)
    assert ax.get_legend() is None
    (bar,) = [other for other in ax.figure.axes if other is not ax]
    assert "Cohort" in bar.get_ylabel()
    colours = {line.get_color() for line in ax.get_lines() if line.get_linestyle() == "-"}
    assert len(colours) == 60


def test_one_channel_is_drawn(mine):
    table = cohorts(channels=["ads", "web"])
    with pytest.raises(OptionError, match="the table has ads, web: give channel='ads'"):
        plot_cohorts(table)
    plot_cohorts(table, channel="web", ax=mine)
    assert "channel web" in mine.get_title()
    with pytest.raises(OptionError, match="Did you mean 'web'"):
        plot_cohort_curves(table, channel="wed")
    with pytest.raises(OptionError, match="has no channels"):
        plot_cohorts(cohorts(), channel="web")
    with pytest.raises(OptionError, match=r"this table has no 'orders'"):
        plot_cohorts(cohorts(), "orders")
    with pytest.raises(OptionError, match="Did you mean 'retention'"):
        plot_cohorts(cohorts(), "retentoin")


def test_payback_is_ringed_and_said(mine):
    plot_payback(payback(), ax=mine)
    assert legend(mine) == ["ads: paid back at age 2", "web: not paid back by then"]
    (ring,) = [line for line in mine.get_lines() if line.get_marker() == "o"]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (2, 15.0)
    prices = [line.get_ydata()[0] for line in mine.get_lines() if line.get_linestyle() == ":"]
    assert prices == [12.0, 42.0]
    dashed = [line for line in mine.get_lines() if line.get_linestyle() == "--"]
    assert [list(line.get_xdata()) for line in dashed] == [[3, 4, 5]] * 2
    assert len(bands(mine)) == 2


def test_one_price_is_one_line():
    table = payback(("all",)).drop(columns="channel")
    table.attrs["channel"] = None
    ax = plot_payback(table)
    assert legend(ax) == ["All customers: paid back at age 2", "CAC 12.0"]


def test_a_single_cell(mine):
    one = cohorts(1)
    plot_cohorts(one, ax=mine)
    assert mesh(mine).tolist() == [[10.0]]
    ax = plot_cohort_curves(one, "net_of_cac")
    assert list(ax.get_lines()[0].get_ydata()) == [-10.0]


def test_both_reasons_of_hatching_are_said(mine):
    table = cohorts()
    table.loc[0, "complete"] = False  # observation began within the first period
    plot_cohorts(table, "cumulative_margin", ax=mine)
    assert "(hatched: forecast or observed in part)" in mine.get_xlabel()
