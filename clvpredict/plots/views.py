"""What a fitted model says: by frequency and recency, of customers, ahead, and of its priors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvpredict.errors import DataError, OptionError, Problem, unknown_option
from clvpredict.plots.style import (
    BAND_ALPHA,
    FAINT,
    SERIES,
    band,
    check_table,
    dates,
    finish,
    heat,
    ink,
    new_axes,
    note,
    number,
    percent,
    plain,
    thousands,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_QUANTITIES = {
    "purchase_rate": ("Purchase rate while active", "ln(rate)"),
    "dropout_probability": ("Probability to drop out after a purchase", "its log odds"),
    "mean_spend": ("Mean value of a customer's purchases", "ln(value)"),
}
_PROBABILITIES = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
# Shares of customers beyond the axis that are worth saying.
_WORTH_SAYING = 0.01


def plot_frequency_recency(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a prediction by frequency and recency as a heat map.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.evaluate.frequency_recency_grid`.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        Frequency to the right, recency upwards; histories that cannot be are left empty.

    Raises
    ------
    OptionError
        If it is another table.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import frequency_recency_grid
    >>> from clvpredict.plots import plot_frequency_recency
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> model = clv.MBGNBD().fit(rfm)
    >>> ax = plot_frequency_recency(frequency_recency_grid(model, horizon="39W"))
    """
    made_by = "clvpredict.evaluate.frequency_recency_grid(model, horizon=...)"
    if (
        not isinstance(table, pd.DataFrame)
        or table.index.name != "recency"
        or table.columns.name != "frequency"
    ):
        raise OptionError(
            f"plot_frequency_recency draws the table that {made_by} returns; "
            f"{type(table).__name__} with other rows or columns came."
        )
    if table.empty:
        raise DataError("table of plot_frequency_recency", [Problem("no rows", made_by)])
    from matplotlib.ticker import MaxNLocator

    said = table.attrs
    unit = said.get("time_unit") or "periods"
    ax = new_axes() if ax is None else ax
    recency = table.index.to_numpy(np.float64)
    frequency = table.columns.to_numpy(np.float64)
    what = {
        "expected_purchases": "Expected purchases",
        "p_purchase": "P(at least one purchase)",
        "p_alive": "P(alive)",
    }.get(said.get("of", ""), "Prediction")
    within = "" if said.get("horizon") is None else f" in the next {said['horizon']:.4g} {unit}"
    heat(
        ax,
        table.to_numpy()[::-1],
        rows=[f"{r:.4g}" for r in recency[::-1]],
        columns=[f"{f:.0f}" for f in frequency],
        write=lambda value: f"{value:.2f}",
        label=f"{what}{within}",
    )
    # The heat map counts cells; the axes say what they stand for, at round numbers.
    for axis, values, whole in ((ax.xaxis, frequency, True), (ax.yaxis, recency, False)):
        place = np.arange(len(values), dtype=np.float64)
        ticks = MaxNLocator(8, integer=whole).tick_values(values[0], values[-1])
        at = [float(a) for a in ticks if values[0] <= a <= values[-1]]
        if axis is ax.yaxis:
            place = place[::-1]
        axis.set_ticks(np.interp(at, values, place).tolist(), labels=[number(a) for a in at])
    ax.tick_params(length=3)
    ax.set_xlabel("Frequency: repeat purchases so far")
    ax.set_ylabel(f"Recency: age at the last purchase, in {unit}")
    age = f"first purchase {said['T']:.4g} {unit} ago" if "T" in said else "one age"
    ax.set_title(f"{said.get('model', 'Model')}: {what.replace('E', 'e', 1)}{within}\n({age})")
    return ax


def plot_alive_history(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how P(alive) of one customer went.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.evaluate.alive_history`.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        A line that falls while nothing is bought and jumps at purchases, which are ticks below
        it; a band where the table has one. Beyond the dotted line nothing has been observed:
        there, the customer is taken to buy nothing.

    Raises
    ------
    OptionError
        If it is another table.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import alive_history
    >>> from clvpredict.plots import plot_alive_history
    >>> model = clv.MBGNBD().fit(clv.rfm_summary(clv.load_cdnow(), time_unit="W"))
    >>> history = clv.purchase_history(clv.load_cdnow())
    >>> ax = plot_alive_history(alive_history(model, history, 4))
    """
    columns = ("date", "p_alive", "purchase")
    made_by = "clvpredict.evaluate.alive_history(model, history, customer_id)"
    check_table(table, columns, "plot_alive_history", made_by)
    said = table.attrs
    ax = new_axes() if ax is None else ax
    colour = SERIES[0][0]
    when = table["date"].to_numpy()
    if "lower" in table and said.get("level"):
        label = f"{100 * said['level']:.4g} % interval"
        band(ax, when, table["lower"], table["upper"], colour=colour, label=label)
    ax.plot(when, table["p_alive"], color=colour, lw=1.8, label="P(alive)")
    bought = table.loc[table["purchase"], "date"].to_numpy()
    ax.plot(
        bought,
        np.full(len(bought), 0.025),
        "|",
        ms=13,
        mew=1.4,
        color=ink(ax),
        transform=ax.get_xaxis_transform(),
        label="Purchases",
    )
    end = said.get("observation_end")
    if end is not None and pd.Timestamp(end) < table["date"].iloc[-1]:
        ax.axvline(
            np.datetime64(pd.Timestamp(end), "us"),  # type: ignore[arg-type]  # a date axis
            ls=":",
            color=FAINT,
            label="End of observation; then, if nothing more is bought",
        )
    # A probability ends at 1; above it is the legend.
    ax.set_ylim(0.0, 1.0)
    ax.set_yticks(np.linspace(0.0, 1.0, 6))
    dates(ax.xaxis)
    ax.set_xlabel("Date")
    ax.set_ylabel("P(alive), from the history up to then")
    who = said.get("customer_id", "?")
    ax.set_title(f"{said.get('model', 'Model')}: is customer {who} still alive?")
    finish(ax, legend="upper left", headroom=0.3)
    return ax


def plot_heterogeneity(table: pd.DataFrame, quantity: str, *, ax: Axes | None = None) -> Axes:
    """Draw how customers differ, by the model.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.evaluate.heterogeneity`.
    quantity : str
        One of it: `purchase_rate`, `dropout_probability` or `mean_spend`.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        The density of the logarithm (of a probability: of its log odds), on such an axis, so
        that areas are shares of customers; and the band that draws of the parameters make.

    Raises
    ------
    OptionError
        If it is another table, or does not have the quantity.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import heterogeneity
    >>> from clvpredict.plots import plot_heterogeneity
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> table = heterogeneity(clv.MBGNBD().fit(rfm))
    >>> ax = plot_heterogeneity(table, "purchase_rate")
    """
    columns = ("quantity", "x", "density", "lower", "upper")
    made_by = "clvpredict.evaluate.heterogeneity(model)"
    rows = _of(check_table(table, columns, "plot_heterogeneity", made_by), "quantity", quantity)
    said = table.attrs
    words, over = _QUANTITIES.get(quantity, (quantity, "it"))
    ax = new_axes() if ax is None else ax
    colour = SERIES[0][0]
    scale = said.get("scale", {}).get(quantity, "log")
    ax.set_xscale(scale)
    if rows["lower"].notna().any():
        label = f"{100 * said['level']:.4g} % interval" if said.get("level") else "Interval"
        band(ax, rows["x"], rows["lower"], rows["upper"], colour=colour, label=label)
    ax.plot(rows["x"], rows["density"], color=colour, lw=1.8, label="Density over customers")
    low, high = float(rows["x"].iloc[0]), float(rows["x"].iloc[-1])
    ax.set_xlim(low, high)
    plain(ax)
    if scale == "logit":
        ax.set_xticks([p for p in _PROBABILITIES if low <= p <= high])
        percent(ax.xaxis)
    unit = said.get("units", {}).get(quantity)
    ax.set_xlabel(words + (f" ({unit})" if unit else ""))
    ax.set_ylabel(f"Density of {over}")
    ax.set_ylim(bottom=0)
    name = said.get("model", {}).get(quantity, "Model")
    ax.set_title(f"{name}: how customers differ")
    finish(ax, legend="upper left", headroom=0.2)
    outside = zip(said.get("outside", {}).get(quantity, ()), ("left", "right"), strict=False)
    beyond = [
        f"{100 * share:.0f} % of customers lie further {side}"
        for share, side in outside
        if share >= _WORTH_SAYING
    ]
    if beyond:
        note(ax, "\n".join(beyond), y=0.97)
    return ax


def plot_forecast(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how many purchases will be made from now on, as a fan.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.evaluate.forecast_fan`.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        Purchases of all customers together, added up from the end of observation: a line of
        what to expect, and bands that hold what will be with the probability they name.

    Raises
    ------
    OptionError
        If it is another table.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import forecast_fan
    >>> from clvpredict.plots import plot_forecast
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> ax = plot_forecast(forecast_fan(clv.MBGNBD().fit(rfm), rfm, horizon="52W", draws=200))
    """
    made_by = "clvpredict.evaluate.forecast_fan(model, rfm, horizon=...)"
    check_table(table, ("time", "expected"), "plot_forecast", made_by)
    said = table.attrs
    ax = new_axes() if ax is None else ax
    colour = SERIES[0][0]
    dated = "date" in table
    x = table["date" if dated else "time"].to_numpy()
    levels = [c.removeprefix("lower_") for c in table.columns if c.startswith("lower_")]
    for level in sorted(levels, key=float, reverse=True):
        label = f"{level} % predictive interval"
        low, high = table[f"lower_{level}"], table[f"upper_{level}"]
        band(ax, x, low, high, colour=colour, label=label)
    ax.plot(x, table["expected"], color=colour, lw=1.8, label="Expected")
    unit = said.get("time_unit") or "periods"
    if dated:
        dates(ax.xaxis)
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(bottom=0)
    thousands(ax.yaxis)
    ax.set_xlabel("Date" if dated else f"{unit.capitalize()} after the end of observation")
    end = said.get("observation_end")
    since = "the end of observation" if end is None else str(end)[:10]
    ax.set_ylabel(f"Purchases since {since}")
    many = said.get("customers")
    whose = "all customers" if many is None else f"{many:,} customer{'s' if many != 1 else ''}"
    ax.set_title(f"{said.get('model', 'Model')}: purchases of {whose}, cumulated")
    finish(ax, legend="upper left")
    # As dark in the legend as in the picture, where the narrow lie upon the wide.
    if (legend := ax.get_legend()) is not None:
        for inner, patch in enumerate(legend.get_patches(), start=1):
            patch.set_alpha(1 - (1 - BAND_ALPHA) ** inner)
    return ax


def plot_prior_posterior(table: pd.DataFrame, parameter: str, *, ax: Axes | None = None) -> Axes:
    """Draw what was believed of a parameter, and what the data made of it.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.evaluate.prior_posterior`.
    parameter : str
        One of it.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        Densities of the logarithm, on a logarithmic axis, each relative to its own peak: beside
        a sharp posterior a wide prior could not be seen. A posterior as wide as its prior says
        that the data say nothing of the parameter.

    Raises
    ------
    OptionError
        If it is another table, or does not have the parameter.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import prior_posterior
    >>> from clvpredict.plots import plot_prior_posterior
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> table = prior_posterior(clv.MBGNBD().fit(rfm, method="laplace", seed=1))
    >>> ax = plot_prior_posterior(table, "alpha")
    """
    columns = ("parameter", "value", "prior", "posterior")
    made_by = "clvpredict.evaluate.prior_posterior(model)"
    checked = check_table(table, columns, "plot_prior_posterior", made_by)
    rows = _of(checked, "parameter", parameter)
    said = table.attrs
    ax = new_axes() if ax is None else ax
    prior = said.get("priors", {}).get(parameter)
    labels = {"prior": f"Prior: {prior}" if prior else "Prior", "posterior": "Posterior"}
    for (column, label), (colour, _), dash in zip(
        labels.items(), reversed(SERIES[:2]), ("--", "-"), strict=True
    ):
        height = rows[column] / rows[column].max()
        band(ax, rows["value"], np.zeros(len(rows)), height, colour=colour)
        ax.plot(rows["value"], height, dash, color=colour, lw=1.8, label=label)
    ax.set_xscale("log")
    ax.set_xlim(float(rows["value"].iloc[0]), float(rows["value"].iloc[-1]))
    plain(ax)
    unit = said.get("units", {}).get(parameter)
    ax.set_xlabel(parameter + (f" ({unit})" if unit else ""))
    ax.set_ylabel(f"Density of ln({parameter}), relative to its peak")
    # Above the peaks is the legend.
    ax.set_ylim(0.0, 1.05)
    ax.set_yticks(np.linspace(0.0, 1.0, 6))
    name = said.get("model", {}).get(parameter, "Model")
    ax.set_title(f"{name}: prior and posterior of {parameter}")
    finish(ax, legend="upper left", headroom=0.25)
    taken = said.get("shrinkage", {}).get(parameter)
    if taken is not None:
        share = f"{100 * max(taken, 0.0):.3g} %"
        note(ax, f"the data took away {share}\nof the prior's variance", y=0.97)
    return ax


def _of(table: pd.DataFrame, column: str, name: str) -> pd.DataFrame:
    """The rows of one quantity or parameter."""
    rows = table[table[column] == name]
    if rows.empty:
        raise unknown_option(column, name, map(str, table[column].drop_duplicates()))
    return rows
