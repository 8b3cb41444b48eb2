"""Pictures of checks show the numbers of their tables."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from clvpredict import plots
from clvpredict.errors import DataError, OptionError
from clvpredict.plots import (
    plot_dependence,
    plot_distribution_check,
    plot_drift,
    plot_frequency_check,
    plot_spend,
)

BAND = {"expected": [50.0, 20.0, 5.0], "lower": [40.0, 15.0, 1.0], "upper": [60.0, 26.0, 9.0]}


def frequency():
    table = pd.DataFrame(
        {"model": "BG/NBD", "frequency": ["0", "1", "2+"], "observed": [48, 30, 4], **BAND}
    )
    table.attrs = {"customers": 82, "level": 0.9, "outside": 1}
    return table


def distribution():
    table = pd.DataFrame(
        {
            "model": "BG/NBD",
            "start": [0.0, 1.5, 3.5],
            "end": [1.5, 3.5, 5.0],
            "observed": [48, 30, 4],
            **BAND,
        }
    )
    table.attrs = {
        "what": "time since the last purchase",
        "counted": "repeat buyers",
        "time_unit": "weeks",
        "customers": 20_000,
        "sampled": 10_000,
        "level": 0.9,
    }
    return table


def spend():
    ends = np.geomspace(10, 80, 4)
    table = pd.DataFrame(
        {
            "model": "Gamma-Gamma",
            "spend": np.sqrt(ends[1:] * ends[:-1]),
            "start": ends[:-1],
            "end": ends[1:],
            "observed_density": [0.2, 0.9, 0.3],
            "expected_density": [0.3, 0.8, 0.3],
            "lower": [0.2, 0.7, 0.2],
            "upper": [0.4, 0.9, 0.4],
        }
    )
    table.attrs = {"customers": 900, "sampled": 900, "currency": "USD", "level": 0.8}
    return table


def dependence():
    table = (
        frequency()
        .iloc[:2]
        .assign(model="Gamma-Gamma", frequency=["1", "2+"], customers=[1200, 34])
    )
    table.attrs = {"rho": 0.21, "p_value": 1e-9, "level": 0.9, "currency": None}
    return table


def drift():
    nothing = np.nan
    rows = [
        ("all", 300, "mean purchase rate", 0.1, 0.08, 0.12, "ok"),
        ("all", 300, "b", 2.0, 1.0, 4.0, "ok"),
        ("1997Q1", 100, "mean purchase rate", 0.09, 0.06, 0.13, "ok"),
        ("1997Q1", 100, "b", 2.5, 1.0, 5.0, "ok"),
        ("1997Q2", 150, "mean purchase rate", 0.2, nothing, nothing, "not identified: a, b"),
        ("1997Q2", 150, "b", 1e5, nothing, nothing, "not identified: a, b"),
        ("1997Q3", 50, "mean purchase rate", nothing, nothing, nothing, "too small"),
        ("1997Q3", 50, "b", nothing, nothing, nothing, "too small"),
    ]
    names = ["cohort", "customers", "parameter", "estimate", "lower", "upper", "status"]
    table = pd.DataFrame(rows, columns=names)
    table.attrs = {"model": "BG/NBD", "horizon": 52.0, "time_unit": "weeks", "level": 0.9}
    return table


ALL = [
    (plot_frequency_check, frequency),
    (plot_distribution_check, distribution),
    (plot_spend, spend),
    (plot_dependence, dependence),
    (plot_drift, drift),
]


def legend(ax):
    return {t.get_text() for t in ax.get_legend().get_texts()}


def points(ax, label):
    """Heights and intervals of points with error bars."""
    (found,) = [c for c in ax.containers if c.get_label() == label]
    line, _, (bars,) = found.lines
    ends = [[float(y) for _, y in segment] for segment in bars.get_segments()]
    return line.get_ydata().tolist(), ends


def bars(ax):
    (found,) = [c for c in ax.containers if c.get_label() == "Observed"]
    return [float(p.get_height()) for p in found.patches]


@pytest.mark.parametrize(("plot", "make"), ALL)
def test_all_plots(plot, make):
    mine = Figure().add_subplot()
    assert plot(make(), ax=mine) is mine
    assert mine.get_title()
    assert mine.get_xlabel()
    assert mine.get_ylabel()
    assert isinstance(plot(make()), Axes)
    bare = make()
    bare.attrs = {}
    assert plot(bare, ax=Figure().add_subplot()).get_title()
    assert plot.__name__ in plots.__all__
    with pytest.raises(OptionError, match=f"{plot.__name__} draws the table"):
        plot(make().drop(columns="upper"))
    with pytest.raises(DataError, match="no rows"):
        plot(make().iloc[:0])


@pytest.mark.parametrize(("plot", "make"), ALL)
def test_text_follows_the_style(plot, make):
    with matplotlib.style.context("dark_background"):
        ax = plot(make(), ax=Figure().add_subplot())
        texts = [*ax.get_legend().get_texts(), ax.title, *ax.texts]
    assert {to_hex(t.get_color()) for t in texts} == {"#ffffff"}


def test_frequencies():
    ax = plot_frequency_check(frequency())
    assert bars(ax) == [48, 30, 4]
    heights, ends = points(ax, "Expected by BG/NBD, 90 % band")
    assert heights == BAND["expected"]
    np.testing.assert_allclose(ends, np.transpose([BAND["lower"], BAND["upper"]]))
    assert ax.get_ylabel() == "Customers (of 82)"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "1", "2+"]


def test_two_models_side_by_side():
    both = pd.concat([frequency(), frequency().assign(model="MBG/NBD")])
    both.attrs = frequency().attrs
    ax = plot_frequency_check(both)
    assert bars(ax) == [48, 30, 4]
    assert legend(ax) == {
        "Observed",
        "Expected by BG/NBD, 90 % band",
        "Expected by MBG/NBD, 90 % band",
    }
    one, other = (c.lines[0] for c in ax.containers[1:])
    assert (one.get_xdata() < other.get_xdata()).all()
    assert one.get_color() != other.get_color()
    assert one.get_marker() != other.get_marker()


def test_distributions():
    ax = plot_distribution_check(distribution())
    assert bars(ax) == [48, 30, 4]
    (line,) = [p for p in ax.patches if p.get_label() == "Expected by BG/NBD, 90 % band"]
    np.testing.assert_allclose(line.get_data().values, BAND["expected"])
    np.testing.assert_allclose(line.get_data().edges, [0.0, 1.5, 3.5, 5.0])
    assert ax.get_xlabel() == "Time since the last purchase (weeks)"
    assert ax.get_ylabel() == "Repeat buyers\n(of a sample of 10,000 customers)"
    low, high = ax.collections[0].get_paths()[0].get_extents().get_points()[:, 1]
    assert (low, high) == (1.0, 60.0)


def test_spend_is_on_a_logarithmic_axis():
    ax = plot_spend(spend())
    assert ax.get_xscale() == "log"
    assert bars(ax) == [0.2, 0.9, 0.3]
    assert "(USD)" in ax.get_xlabel()
    assert "Expected by Gamma-Gamma, 80 % band" in legend(ax)
    ax.figure.canvas.draw()
    assert "20" in [t.get_text() for t in ax.get_xticklabels()]


def test_dependence_says_the_correlation():
    ax = plot_dependence(dependence())
    assert "0.21, p < 0.0001" in ax.get_title()
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1\n(1,200)", "2+\n(34)"]
    label = "Expected by Gamma-Gamma if spend does not depend on frequency, 90 % band"
    heights, _ = points(ax, label)
    assert heights == BAND["expected"][:2]


def test_drift():
    ax = plot_drift(drift())
    heights, ends = points(ax, "Cohort, 90 % interval")
    assert heights == [0.09]
    np.testing.assert_allclose(ends, [[0.06, 0.13]])
    assert "Cohort, not identified: no interval" in legend(ax)
    texts = [t.get_text() for t in ax.get_xticklabels()]
    assert texts == ["1997Q1\n(100)", "1997Q2\n(150)", "1997Q3\n(50, no fit)"]
    assert [t.get_text() for t in ax.texts] == ["1 of 3 cohorts could not be fitted"]
    assert "weeks" in ax.get_ylabel()
    assert plot_drift(drift(), "b").get_title() == "Drift: parameter b, by cohort"


def test_drift_of_what_is_not_there():
    with pytest.raises(OptionError, match=r"of='rate'.*'mean purchase rate', 'b'"):
        plot_drift(drift(), "rate")
    with pytest.raises(OptionError, match="no cohorts"):
        plot_drift(drift().iloc[:2])


def test_many_cohorts_stay_legible():
    rows = pd.concat([drift().iloc[[2]].assign(cohort=f"1997-{i:02}") for i in range(100)])
    ax = plot_drift(rows)
    assert len(ax.get_xticks()) <= 12
