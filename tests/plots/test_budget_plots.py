"""Pictures of budgets and campaigns show the numbers of their tables."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from clvpredict.business import (
    PowerResponse,
    SaturatingResponse,
    allocate_budget,
    budget_frontier,
    evaluate_uplift,
)
from clvpredict.errors import DataError, OptionError
from clvpredict.plots import plot_allocation, plot_frontier, plot_uplift

SEGMENTS = pd.DataFrame(
    {
        "segment": ["loyal", "at risk", "lost"],
        "customers": [800, 1_500, 4_000],
        "cost_per_contact": [2.0, 2.0, 0.5],
        "clv": [240_000.0, 180_000.0, 60_000.0],
        "minimum": [0.0, 0.0, 900.0],
    }
)
UNSURE = SaturatingResponse((0.10, 0.04), half=2_000, of="clv")


@pytest.fixture(scope="module")
def allocation():
    return allocate_budget(SEGMENTS, 4_000, response=UNSURE)


@pytest.fixture(scope="module")
def frontier():
    both = ["mean", "lower_quantile"]
    budgets = np.linspace(1_000, 9_000, 5)
    return budget_frontier(SEGMENTS, budgets, response=UNSURE, objective=both, draws=200)


@pytest.fixture(scope="module")
def uplift():
    rng = np.random.default_rng(0)
    before = rng.gamma(2.0, 20.0, 600)
    treated = np.arange(600) % 2 == 0
    data = pd.DataFrame(
        {
            "treatment": treated,
            "value": before * rng.gamma(4.0, 0.25, 600) + 3.0 * treated,
            "predicted": before,
            "segment": np.repeat(["a", "b", "c"], [300, 200, 100]),
        }
    )
    return evaluate_uplift(data, segment="segment", covariate="predicted")


def texts(ax):
    return [text.get_text() for text in ax.texts]


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def intervals(ax):
    """Middle, lower and upper end of each interval, by the label of its series."""
    found = {}
    for drawn in ax.containers:
        if isinstance(drawn, ErrorbarContainer):
            points, _, (bars,) = drawn.lines
            ends = np.array([segment[:, 0] for segment in bars.get_segments()])
            found[drawn.get_label()] = (points.get_xdata(), ends, points.get_ydata())
    return found


def test_bars_are_spend_and_points_gains(allocation):
    ax = plot_allocation(allocation.table)
    bars = [patch.get_width() for patch in ax.patches]
    np.testing.assert_allclose(bars, allocation.table["spend"])
    ((middle, ends, _),) = intervals(ax).values()
    np.testing.assert_allclose(middle, allocation.table["gain"])
    np.testing.assert_allclose(ends, allocation.table[["gain_lower", "gain_upper"]])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["loyal", "at risk", "lost"]
    first, second, third, heading = texts(ax)
    assert first.endswith("(all customers)")
    assert third.endswith("(at minimum)")
    assert float(second) == pytest.approx(allocation.total["marginal_return"], rel=0.005)
    assert heading == "Next unit\nbrings"
    assert ax.get_title(loc="left") == "Best split of 4,000"
    assert labels(ax) == ["Spend", "Expected gain, 90 % interval"]


def test_what_stays_unspent_and_caution_are_in_the_title():
    plan = allocate_budget(
        SEGMENTS, 90_000, response=UNSURE, objective="lower_quantile", spend_all=False, draws=200
    )
    title = plot_allocation(plan.table).get_title(loc="left")
    spent = round(plan.total["spend"])
    assert title == (
        f"Best split of {spent:,}; {90_000 - spent:,} of the budget stay unspent, "
        "for when things go badly"
    )


def test_of_many_segments_the_largest_are_drawn_and_the_others_together():
    scale = np.arange(1.0, 101.0)
    many = pd.DataFrame({"segment": [f"s{i}" for i in range(100)], "scale": scale})
    plan = allocate_budget(many, 50_000, response=PowerResponse("scale", 0.5))
    ax = plot_allocation(plan.table)
    assert len(ax.patches) == 24
    assert ax.get_yticklabels()[-1].get_text() == "77 others"
    assert sum(patch.get_width() for patch in ax.patches) == pytest.approx(50_000)
    assert ax.get_yticklabels()[-2].get_text() == "s99"
    assert labels(ax) == ["Spend", "Expected gain"]


def test_lines_of_the_frontier_are_its_columns(frontier):
    ax = plot_frontier(frontier)
    lines = {line.get_label(): line for line in ax.lines}
    mean = frontier[frontier["objective"] == "mean"]
    np.testing.assert_allclose(lines["Most on average"].get_ydata(), mean["gain"])
    np.testing.assert_allclose(lines["Gain equals budget"].get_ydata(), [0, 9_000])
    worst = [line for line in ax.lines if line.get_label().startswith("Mean of its worst 10 %")]
    np.testing.assert_allclose(worst[0].get_ydata(), mean["gain_worst"])
    edges = [line.get_xdata() for line in ax.lines if line.get_linestyle() == "-."]
    assert [x[0] for x in edges if len(x)] == list(frontier.attrs["worth"].values())
    assert not ax.collections  # bands of two objectives would hide how they differ


def test_one_frontier_has_its_interval(frontier):
    one = frontier[frontier["objective"] == "mean"]
    ax = plot_frontier(one)
    (shade,) = ax.collections
    assert shade.get_datalim(ax.transData).y1 == pytest.approx(one["gain_upper"].max())
    assert labels(ax)[0] == "Expected gain, 90 % interval"


@pytest.mark.parametrize("quantity", ["net_gain", "marginal_return"])
def test_other_quantities_over_the_budget(frontier, quantity):
    ax = plot_frontier(frontier, quantity)
    mean = frontier[frontier["objective"] == "mean"]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), mean[quantity])
    assert not ax.collections


def test_a_return_without_bound_is_left_out():
    one = pd.DataFrame({"segment": ["only"]})
    table = budget_frontier(one, [0.0, 100.0, 200.0], response=PowerResponse(40.0, 0.5))
    assert np.isinf(table["marginal_return"][0])
    assert plot_frontier(table, "marginal_return").lines[0].get_xdata().tolist() == [100, 200]


def test_effects_stand_in_their_rows_the_total_last(uplift):
    ax = plot_uplift(uplift)
    drawn = intervals(ax)
    assert list(drawn) == ["Difference in means, 95 % interval", "CUPED, 95 % interval"]
    for method, (middle, ends, place) in zip(
        ("difference in means", "CUPED"), drawn.values(), strict=True
    ):
        rows = uplift[uplift["method"] == method]
        np.testing.assert_allclose(middle, rows["effect"])
        np.testing.assert_allclose(ends, rows[["effect_lower", "effect_upper"]])
        assert np.round(place).tolist() == [0, 1, 2, 3]
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert names[0] == "a\n150 treated, 150 control"
    assert names[-1].startswith("Total\n300 treated")


def test_of_many_segments_those_with_most_customers_are_drawn():
    rng = np.random.default_rng(1)
    segment = np.repeat(np.arange(40), np.arange(10, 50))
    data = pd.DataFrame(
        {"treatment": np.arange(len(segment)) % 2, "value": rng.normal(size=len(segment))}
    ).assign(segment=segment)
    ax = plot_uplift(evaluate_uplift(data, segment="segment"))
    names = [tick.get_text().split("\n")[0] for tick in ax.get_yticklabels()]
    assert names == [*map(str, range(16, 40)), "Total"]
    assert "16 smaller segments are not drawn" in texts(ax)


@pytest.mark.parametrize("plot", [plot_allocation, plot_frontier, plot_uplift])
def test_other_tables_are_refused(plot):
    with pytest.raises(OptionError, match=f"{plot.__name__} draws the table that"):
        plot(pd.DataFrame({"a": [1]}))
    with pytest.raises(OptionError, match="list came"):
        plot([1])


def test_empty_tables_are_refused(allocation, frontier, uplift):
    for plot, table in (
        (plot_allocation, allocation.table),
        (plot_frontier, frontier),
        (plot_uplift, uplift),
    ):
        with pytest.raises(DataError, match="no rows"):
            plot(table.head(0))


def test_given_axes_are_drawn_on_and_ink_is_the_backgrounds(allocation, frontier, uplift):
    drawn = ((plot_allocation, allocation.table), (plot_frontier, frontier), (plot_uplift, uplift))
    for plot, table in drawn:
        with matplotlib.style.context("dark_background"):
            ax = Figure().subplots()
            assert plot(table, ax=ax) is ax
        written = [*ax.texts, *ax.get_legend().get_texts()]
        assert {to_hex(text.get_color()) for text in written} == {"#ffffff"}
        assert ax.get_xlabel()
        ax.figure.draw_without_rendering()
