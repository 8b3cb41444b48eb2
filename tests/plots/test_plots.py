"""A picture shows the numbers of its table; pixels are not looked at."""

import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import clvpredict as clv
from clvpredict.errors import DataError, OptionError
from clvpredict.plots import plot_calibration, plot_customer, plot_prior_predictive


@pytest.fixture
def table():
    frame = pd.DataFrame(
        {
            "model": "BG/NBD",
            "frequency": ["0", "1", "2", "3+"],
            "customers": [1411, 439, 0, 3],
            "predicted": [0.2, 0.5, np.nan, 3.0],
            "observed": [0.25, 0.7, np.nan, 3.5],
            "observed_se": [0.02, 0.06, np.nan, 1.0],
            "naive": [0.0, 1.2, np.nan, 8.0],
        }
    )
    frame.attrs = {
        "duration_holdout": 39.0,
        "time_unit": "weeks",
        "calibration_end": "1997-09-30",
        "observation_end": "1998-06-30",
    }
    return frame


@pytest.fixture
def two(table):
    other = table.assign(model="MBG/NBD", predicted=table["predicted"] + 0.1)
    return pd.concat([table, other])


def line(ax, label):
    (found,) = [drawn for drawn in ax.get_lines() if drawn.get_label() == label]
    return found


def test_it_draws_the_numbers(table):
    ax = plot_calibration(table)
    assert isinstance(ax, Axes)
    assert line(ax, "Predicted by BG/NBD").get_ydata().tolist() == [0.2, 0.5, 3.0]
    naive = line(ax, "Naive: everybody goes on as before")
    assert naive.get_ydata().tolist() == [0.0, 1.2, 8.0]
    points, _, (bars,) = ax.containers[0].lines
    assert points.get_ydata().tolist() == [0.25, 0.7, 3.5]
    heights = [[float(y) for _, y in segment] for segment in bars.get_segments()]
    np.testing.assert_allclose(heights[1], [0.7 - 1.96 * 0.06, 0.7 + 1.96 * 0.06])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0\n(1,411)", "1\n(439)", "3+\n(3)"]


def test_it_says_what_it_shows(table):
    ax = plot_calibration(table)
    assert ax.get_title() == "Out of sample: purchases in the 39 weeks after 1997-09-30"
    assert "until 1997-09-30" in ax.get_xlabel()
    assert "39 weeks" in ax.get_ylabel()
    assert ax.get_ylim()[0] == 0
    legend = {t.get_text() for t in ax.get_legend().get_texts()}
    assert legend == {
        "Observed mean, 95 % interval",
        "Predicted by BG/NBD",
        "Naive: everybody goes on as before",
    }


def test_two_models_side_by_side(two):
    ax = plot_calibration(two)
    one, other = line(ax, "Predicted by BG/NBD"), line(ax, "Predicted by MBG/NBD")
    np.testing.assert_allclose(other.get_ydata(), [0.3, 0.6, 3.1])
    assert (one.get_xdata() < other.get_xdata()).all()
    assert one.get_color() != other.get_color()
    assert one.get_marker() != other.get_marker()
    assert len(ax.containers) == 1  # what was observed is drawn once


def test_more_models_than_colours(table):
    many = pd.concat([table.assign(model=f"model {i}") for i in range(6)])
    assert len(plot_calibration(many).get_lines()) > 6


def test_without_metadata(table):
    table.attrs = {}
    ax = plot_calibration(table)
    assert "holdout" in ax.get_title()
    assert ax.get_xlabel()


def test_unknown_unit(table):
    table.attrs["time_unit"] = None
    assert "39 periods" in plot_calibration(table).get_title()


def test_it_draws_where_it_is_told(table):
    mine = Figure().add_subplot()
    assert plot_calibration(table, ax=mine) is mine


def test_its_own_figure_can_be_saved(table, tmp_path):
    plot_calibration(table).figure.savefig(tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_text_and_points_follow_the_style(table):
    with matplotlib.rc_context({"text.color": "white", "axes.labelcolor": "white"}):
        ax = plot_calibration(table)
        points = ax.containers[0].lines[0]
    assert points.get_color() == "white"


@pytest.mark.slow
def test_it_leaves_no_traces(table):
    """No pyplot where an ax is given, no changed settings, and a light import."""
    code = """
import sys
import clvpredict.plots
assert "matplotlib" not in sys.modules, "matplotlib is loaded too early"
import matplotlib
before = matplotlib.rcParams.copy()
import pandas as pd
row = {"model": "m", "frequency": "0", "customers": 1, "predicted": 1.0, "observed": 1.0,
       "observed_se": 0.1, "naive": 1.0}
from matplotlib.figure import Figure
clvpredict.plots.plot_calibration(pd.DataFrame([row]), ax=Figure().add_subplot())
assert matplotlib.rcParams.copy() == before
assert "matplotlib.pyplot" not in sys.modules
import matplotlib.pyplot as plt
ax = clvpredict.plots.plot_calibration(pd.DataFrame([row]))
assert ax.figure.number in plt.get_fignums(), "a notebook would not show it"
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_tables_that_cannot_be_drawn(table):
    with pytest.raises(OptionError, match="'naive'"):
        plot_calibration(table.drop(columns="naive"))
    with pytest.raises(DataError, match="no customers"):
        plot_calibration(table.assign(customers=0))


def test_a_customer_is_named_with_the_currency_and_no_share_beyond_all(cdnow):
    split = clv.calibration_holdout(
        cdnow, calibration_end="1997-09-30", time_unit="W", currency="USD"
    )
    model = clv.CLVModel(clv.MBGNBD()).fit(split)
    # Long gone: nearly all draws are of nothing, and fill one bar.
    drawn = model.predict_draws(split, horizon="39W", customers=[1544], draws=200)
    ax = plot_customer(drawn)
    assert ax.get_title().startswith("Customer 1544: ")
    assert ax.get_xlabel() == "Value of the purchases within the horizon (USD)"
    assert max(ax.get_yticks()) == pytest.approx(1.0)
    counted = model.predict_draws(
        split, horizon="39W", customers=[1544], draws=50, quantities=["clv", "purchases"]
    )
    assert "USD" not in plot_customer(counted, realised="purchases").get_xlabel()


def test_what_priors_imply_is_said_in_words(cdnow_rfm):
    implied = clv.MBGNBD().prior_predictive(cdnow_rfm, draws=100)
    ax = plot_prior_predictive(implied)
    assert ax.get_xlabel() == "Mean repeat purchases per customer"
    assert [t.get_text() for t in ax.get_xticklabels() if t.get_text() == "0.1"]
    assert plot_prior_predictive(implied, "alpha").get_xlabel() == "alpha"
