"""Pictures of what a model says show the numbers of their tables, and name them."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import DataError, OptionError
from clvpredict.evaluate import (
    alive_history,
    forecast_fan,
    frequency_recency_grid,
    heterogeneity,
    prior_posterior,
)
from clvpredict.plots import (
    plot_alive_history,
    plot_forecast,
    plot_frequency_recency,
    plot_heterogeneity,
    plot_prior_posterior,
)


@pytest.fixture(scope="module")
def model():
    return clv.CLVModel(
        clv.MBGNBD.from_params(r=0.4, alpha=5.0, a=0.6, b=0.8, time_unit="W"),
        clv.GammaGamma.from_params(p=5.0, q=3.5, v=15.0),
    )


@pytest.fixture(scope="module")
def grid(model):
    return frequency_recency_grid(model, horizon="13W", T="39W", max_frequency=12, recency_steps=39)


@pytest.fixture(scope="module")
def alive(model):
    history = pd.DataFrame(
        {"customer_id": "A", "date": pd.to_datetime(["2024-01-01", "2024-02-01", "2024-03-15"])}
    )
    history.attrs = {"collapse": "D", "observation_end": "2024-06-30"}
    return alive_history(model, history, "A", until="2024-12-31")


@pytest.fixture(scope="module")
def fan(model, cdnow_rfm):
    return forecast_fan(model, cdnow_rfm, horizon="26W", steps=4, draws=50)


@pytest.fixture(scope="module")
def learned(cdnow_rfm):
    return prior_posterior(clv.MBGNBD().fit(cdnow_rfm, method="laplace", seed=1))


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def line(ax, label):
    (found,) = [drawn for drawn in ax.get_lines() if drawn.get_label() == label]
    return found


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def notes(ax):
    return [text.get_text() for text in ax.texts]


def test_a_heat_map_of_the_grid(grid):
    ax = plot_frequency_recency(grid)
    (mesh,) = ax.collections
    shown = np.ma.filled(mesh.get_array(), np.nan).reshape(grid.shape)
    # Recency grows upwards; the heat map's rows are from the top.
    np.testing.assert_array_equal(shown, grid.to_numpy()[::-1])
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    at = dict(zip([t.get_text() for t in ax.get_yticklabels()], ax.get_yticks(), strict=True))
    assert at["0"] == 39
    assert at["20"] == pytest.approx(19)
    across = dict(zip([t.get_text() for t in ax.get_xticklabels()], ax.get_xticks(), strict=True))
    assert across["12"] == 12


def test_the_heat_map_says_what_it_shows(grid, model):
    ax = plot_frequency_recency(grid)
    assert ax.get_title() == (
        "MBG/NBD: expected purchases in the next 13 weeks\n(first purchase 39 weeks ago)"
    )
    assert "weeks" in ax.get_ylabel()
    assert "repeat purchases" in ax.get_xlabel()
    bar = ax.figure.axes[1]
    assert bar.get_ylabel() == "Expected purchases in the next 13 weeks"
    alive = plot_frequency_recency(frequency_recency_grid(model, of="p_alive", T=39))
    assert alive.figure.axes[1].get_ylabel() == "P(alive)"


def test_thinned_frequencies_are_named(model):
    grid = frequency_recency_grid(model, of="p_alive", T=39, max_frequency=400)
    ax = plot_frequency_recency(grid)
    at = dict(zip([t.get_text() for t in ax.get_xticklabels()], ax.get_xticks(), strict=True))
    assert grid.columns[int(at["400"])] == 400


def test_a_history_jumps_at_purchases(alive):
    ax = plot_alive_history(alive)
    drawn = line(ax, "P(alive)")
    np.testing.assert_array_equal(drawn.get_ydata(), alive["p_alive"])
    assert line(ax, "Purchases").get_xdata().tolist() == (
        alive.loc[alive["purchase"], "date"].to_numpy().tolist()
    )
    assert "customer A" in ax.get_title()
    assert "End of observation; then, if nothing more is bought" in legend(ax)
    assert not any("interval" in text for text in legend(ax))


def test_a_history_has_a_band_where_there_is_one(alive):
    with_band = alive.assign(lower=alive["p_alive"] * 0.9, upper=alive["p_alive"])
    with_band.attrs = {**alive.attrs, "level": 0.9, "observation_end": None}
    ax = plot_alive_history(with_band)
    assert legend(ax) == ["90 % interval", "P(alive)", "Purchases"]


def test_densities_on_their_axes(model):
    table = heterogeneity(model)
    for quantity, scale, words in (
        ("purchase_rate", "log", "Purchase rate while active (purchases per week)"),
        ("dropout_probability", "logit", "Probability to drop out after a purchase"),
        ("mean_spend", "log", "Mean value of a customer's purchases"),
    ):
        ax = plot_heterogeneity(table, quantity)
        rows = table[table["quantity"] == quantity]
        drawn = line(ax, "Density over customers")
        np.testing.assert_array_equal(drawn.get_ydata(), rows["density"])
        assert ax.get_xscale() == scale
        assert ax.get_xlabel() == words
        assert ax.get_ylim()[0] == 0
        assert legend(ax) == ["Density over customers"]  # given parameters have no band


def test_densities_say_who_is_outside(model, cdnow_rfm):
    table = heterogeneity(clv.BGNBD().fit(cdnow_rfm))
    below = table.attrs["outside"]["purchase_rate"][0]
    ax = plot_heterogeneity(table, "purchase_rate")
    assert notes(ax) == [f"{100 * below:.0f} % of customers lie further left"]
    assert "90 % interval" in legend(ax)
    assert notes(plot_heterogeneity(heterogeneity(model), "mean_spend")) == []


def test_rates_are_written_out(model):
    ax = plot_heterogeneity(heterogeneity(model), "purchase_rate")
    ax.figure.canvas.draw()
    written = [t.get_text() for t in ax.get_xticklabels()]
    assert "0.001" in written
    assert not any("e" in text for text in written)


def test_a_fan(fan):
    ax = plot_forecast(fan)
    np.testing.assert_array_equal(line(ax, "Expected").get_ydata(), fan["expected"])
    assert legend(ax) == ["90 % predictive interval", "50 % predictive interval", "Expected"]
    wide, narrow = (c.get_paths()[0].vertices[:, 1] for c in ax.collections)
    assert (wide.max(), narrow.max()) == (fan["upper_90"].max(), fan["upper_50"].max())
    outer, inner = (patch.get_alpha() for patch in ax.get_legend().get_patches())
    assert inner > outer == ax.collections[0].get_alpha()
    assert ax.get_ylabel() == "Purchases since 1997-09-30"
    assert ax.get_title() == "MBG/NBD: purchases of 2,357 customers, cumulated"


def test_a_fan_without_dates(fan):
    table = fan.drop(columns="date")
    table.attrs = {**fan.attrs, "observation_end": None, "customers": 1}
    ax = plot_forecast(table)
    assert ax.get_xlabel() == "Weeks after the end of observation"
    assert line(ax, "Expected").get_xdata().tolist() == fan["time"].tolist()
    assert ax.get_title() == "MBG/NBD: purchases of 1 customer, cumulated"


def test_prior_and_posterior_to_one_height(learned):
    ax = plot_prior_posterior(learned, "alpha")
    prior, posterior = ax.get_lines()
    assert prior.get_label().startswith("Prior: LogNormal(")
    rows = learned[learned["parameter"] == "alpha"]
    wanted = rows["posterior"] / rows["posterior"].max()
    np.testing.assert_allclose(posterior.get_ydata(), wanted)
    assert prior.get_ydata().max() == 1.0
    assert ax.get_xlabel() == "alpha (weeks)"
    assert "relative to its peak" in ax.get_ylabel()
    (said,) = notes(ax)
    assert said.startswith("the data took away 99")


def test_they_draw_where_they_are_told(grid, alive, fan, learned, model):
    figure, axes = plt.subplots(1, 5)
    different = heterogeneity(model)
    drawn = [
        plot_frequency_recency(grid, ax=axes[0]),
        plot_alive_history(alive, ax=axes[1]),
        plot_forecast(fan, ax=axes[2]),
        plot_heterogeneity(different, "mean_spend", ax=axes[3]),
        plot_prior_posterior(learned, "r", ax=axes[4]),
    ]
    assert drawn == list(axes)
    assert plt.get_fignums() == [figure.number]


def test_other_tables_are_refused(grid, learned, model):
    other = pd.DataFrame({"x": [1.0]})
    for draw in (
        plot_frequency_recency,
        plot_alive_history,
        plot_forecast,
        lambda table: plot_heterogeneity(table, "mean_spend"),
        lambda table: plot_prior_posterior(table, "r"),
    ):
        with pytest.raises(OptionError, match=r"draws the table that clvpredict\.evaluate\."):
            draw(other)
    with pytest.raises(DataError, match="no rows"):
        plot_frequency_recency(grid.iloc[:0])
    with pytest.raises(OptionError, match="Did you mean 'alpha'"):
        plot_prior_posterior(learned, "alfa")
    with pytest.raises(OptionError, match="'mean_spend'"):
        plot_heterogeneity(heterogeneity(model), "spend")
