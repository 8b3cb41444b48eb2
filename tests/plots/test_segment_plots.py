"""Pictures of segments show the numbers of their tables, and name them."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.business import (
    compare_segments,
    lorenz_table,
    segment_customers,
    segment_table,
)
from clvpredict.errors import DataError, OptionError
from clvpredict.plots import plot_lorenz, plot_segment_comparison, plot_segments


@pytest.fixture(scope="module")
def model(cdnow):
    rfm = clv.rfm_summary(cdnow, observation_end="1997-09-30", time_unit="W", currency="USD")
    return clv.CLVModel(clv.MBGNBD()).fit(rfm), rfm


@pytest.fixture(scope="module")
def customers(model):
    return segment_customers(model[0].predict(model[1], horizon="52W", margin=0.3))


@pytest.fixture(scope="module")
def table(model, customers):
    return segment_table(model[0], customers, predictive=False, draws=30)


@pytest.fixture(scope="module")
def pairs(model, customers):
    return compare_segments(model[0], customers, draws=30)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_bars_are_the_shares(table):
    ax = plot_segments(table)
    widths = [bar.get_width() for bar in ax.patches]
    rows = table.iloc[:-1]
    np.testing.assert_allclose(widths[:3], -rows["share_of_customers"])
    np.testing.assert_allclose(widths[3:], rows["share_of_value"])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["Top 20 %", "Next 30 %", "Last 50 %"]
    assert all("-" not in t.get_text() for t in ax.get_xticklabels())
    row = rows.iloc[0]
    each = f"{row['clv']:.1f} USD each ({row['clv_lower']:.1f} – {row['clv_upper']:.1f})"
    assert texts(ax)[0] == each
    assert "52 weeks" in ax.get_title()
    assert "Share of CLV" in ax.get_xlabel()
    # The best segment is at the top.
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


def test_without_money_shares_are_of_purchases(model):
    buying, rfm = model[0].purchases, model[1]
    found = segment_customers(buying.predict(rfm, horizon="52W"), by="lifecycle")
    table = segment_table(buying, found, interval=None)
    ax = plot_segments(table)
    rows = table.iloc[:-1]
    rows = rows[rows["customers"] > 0]
    share = rows["expected_purchases_total"] / rows["expected_purchases_total"].sum()
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches][len(rows) :], share)
    assert "Share of purchases" in ax.get_xlabel()
    assert texts(ax)[-1] == "without customers: new"


def test_of_many_segments_the_largest_are_drawn_and_that_is_said(model, customers):
    found = customers.assign(group=customers.index % 40)
    table = segment_table(model[0], found, "group", interval=None)
    ax = plot_segments(table)
    assert len(ax.patches) == 50
    assert texts(ax)[-1] == "25 of 40 segments, the largest by CLV"


@pytest.mark.parametrize("size", [10, 5000])
def test_few_artists_for_many_customers(size):
    values = np.random.default_rng(0).gamma(0.5, 10.0, size)
    found = pd.DataFrame({"customer_id": range(size), "clv": values})
    found["half"] = np.where(found.index % 2, "odd", "even")
    ax = plot_lorenz(lorenz_table(found, "half"))
    assert len(ax.get_lines()) == 4
    assert all(len(line.get_xdata()) <= 101 for line in ax.get_lines())


def test_lorenz_curves_are_the_tables(customers):
    table = lorenz_table(customers, "segment")
    ax = plot_lorenz(table)
    whole = table[table["segment"] == "Total"]
    (line,) = [drawn for drawn in ax.get_lines() if drawn.get_label().startswith("Total")]
    np.testing.assert_allclose(line.get_ydata(), whole["share_of_value"])
    assert line.get_label() == f"Total: {whole['gini'].iloc[0]:.2f}"
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend[0] == "all equal"
    assert len(legend) == 5


def test_lorenz_of_nothing_is_named():
    found = pd.DataFrame({"customer_id": range(4), "clv": [0.0, 0.0, 1.0, 2.0], "g": list("aabb")})
    ax = plot_lorenz(lorenz_table(found, "g"))
    assert "a: no CLV" in [line.get_label() for line in ax.get_lines()]


def test_differences_and_probabilities(pairs):
    ax = plot_segment_comparison(pairs)
    (points,) = [line for line in ax.get_lines() if line.get_linestyle() == "None"]
    np.testing.assert_allclose(points.get_xdata(), pairs["difference"])
    ends = np.array([segment[:, 0] for segment in ax.collections[0].get_segments()])
    np.testing.assert_allclose(ends, pairs[["difference_lower", "difference_upper"]])
    # 30 draws cannot say more than this.
    assert texts(ax) == ["> 96.67 %"] * 3
    assert ax.get_xlabel() == "Difference of CLV per customer, USD, with 90 % intervals"
    assert ax.get_yticklabels()[0].get_text() == "Top 20 % − Next 30 %"


def test_too_many_pairs_are_refused(pairs):
    many = pd.concat([pairs] * 10, ignore_index=True)
    with pytest.raises(OptionError, match=r"25 pairs, and these are 30.*against='rest'"):
        plot_segment_comparison(many)


@pytest.mark.parametrize("plot", [plot_segments, plot_lorenz, plot_segment_comparison])
def test_other_tables_are_refused(plot, customers, table, pairs):
    with pytest.raises(OptionError, match=r"clvpredict\.business\."):
        plot(customers[["customer_id"]])
    own = {plot_segments: table, plot_segment_comparison: pairs}
    own[plot_lorenz] = lorenz_table(customers)
    with pytest.raises(DataError, match="no rows"):
        plot(own[plot].head(0))


def test_an_ax_is_drawn_on_and_given_back(customers, table, pairs):
    for plot, drawn in (
        (plot_segments, table),
        (plot_lorenz, lorenz_table(customers)),
        (plot_segment_comparison, pairs),
    ):
        ax = plt.figure().subplots()
        assert plot(drawn, ax=ax) is ax
        plt.close(ax.figure)
        with plt.style.context("dark_background"):
            dark = plot(drawn)
            for text in dark.texts:
                assert text.get_color() == dark.xaxis.label.get_color()
