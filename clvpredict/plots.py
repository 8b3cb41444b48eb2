"""Pictures of tables. Every function takes ``ax=`` and returns the Axes it drew on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clvpredict.errors import DataError, Problem
from clvpredict.rfm import require_column

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# From the palette of Okabe & Ito, which people with any colour vision can tell apart; each of
# these is legible on white and on black, and each series has a marker of its own besides.
_SERIES = (("#0072B2", "s"), ("#D55E00", "D"), ("#009E73", "^"), ("#CC79A7", "v"))
_FAINT = "#8A8A8A"
_COLUMNS = ("model", "frequency", "customers", "predicted", "observed", "observed_se", "naive")
_TWO_SIDED_95 = 1.96


def plot_calibration(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw predicted and observed holdout purchases by earlier frequency.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.evaluate.calibration_table`; for several models, their tables
        under one another.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        Points are the observed means with 95 % intervals, lines the predictions; the faint line
        is the rule "everybody goes on as before".

    Raises
    ------
    DataError
        If the table has no customers.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import calibration_table
    >>> from clvpredict.plots import plot_calibration
    >>> split = clv.calibration_holdout(
    ...     clv.load_cdnow(), calibration_end="1997-09-30", time_unit="W"
    ... )
    >>> ax = plot_calibration(calibration_table(clv.MBGNBD().fit(split), split))
    >>> ax.figure.savefig("calibration.png", dpi=150)
    """
    for column in _COLUMNS:
        require_column(table, column, "plot_calibration")
    table = table[table["customers"] > 0]
    if table.empty:
        raise DataError("calibration table", [Problem("no customers", "give a larger split")])
    ax = _new_axes() if ax is None else ax
    models = table["model"].drop_duplicates().tolist()
    # What was observed, and the naive rule, are the same for all models.
    first = table[table["model"] == models[0]]
    place = np.arange(len(first))

    # In the colour of the text, so that it stands out on any background.
    ax.errorbar(
        place,
        first["observed"],
        yerr=_TWO_SIDED_95 * first["observed_se"].fillna(0.0),
        fmt="o",
        ms=6,
        capsize=3,
        lw=1.3,
        color=ax.xaxis.label.get_color(),
        label="Observed mean, 95 % interval",
    )
    # Side by side, for good predictions would hide behind the points.
    shift = 0.11 * (np.arange(len(models)) - (len(models) - 1) / 2 + (len(models) % 2))
    for (colour, marker), model, aside in zip(_SERIES * len(models), models, shift, strict=False):
        rows = table[table["model"] == model]
        ax.plot(
            place + aside,
            rows["predicted"],
            marker=marker,
            ms=5.5,
            lw=1.6,
            color=colour,
            label=f"Predicted by {model}",
        )
    ax.plot(
        place,
        first["naive"],
        "--",
        lw=1.3,
        color=_FAINT,
        label="Naive: everybody goes on as before",
        zorder=1,
    )
    _label(ax, first, place)
    return ax


def plot_prior_predictive(
    table: pd.DataFrame, quantity: str | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw what priors imply, beside what the data show.

    Parameters
    ----------
    table : DataFrame
        From ``model.prior_predictive(rfm)``.
    quantity : str, optional
        A column of it; by default the mean number of purchases, or the median spend.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        A histogram over the draws from the priors, on a logarithmic axis (linear for shares;
        the outermost bars also hold what lies beyond them), and a line where the data are. Good
        priors have the data well within.

    Raises
    ------
    OptionError
        If the table has no such quantity.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.plots import plot_prior_predictive
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> ax = plot_prior_predictive(clv.BGNBD().prior_predictive(rfm))
    """
    observed = table.attrs.get("observed", {})
    if quantity is None:
        quantity = "spend_median" if "spend_median" in table else "purchases_mean"
    values = require_column(table, quantity, "quantity").to_numpy(np.float64)
    ax = _new_axes() if ax is None else ax
    if quantity.startswith("share"):
        bins = np.linspace(0, 1, 41)
    else:
        # What is far out, or 0 on a logarithmic axis, goes into the outermost bars.
        low, high = (float(q) for q in np.quantile(values[values > 0], (0.005, 0.995)))
        values = np.clip(values, low, high)
        bins = np.geomspace(low, high, 41)
        ax.set_xscale("log")
    ax.hist(
        values, bins=bins.tolist(), color=_SERIES[0][0], alpha=0.75, label="Draws from the priors"
    )
    if quantity in observed:
        ax.axvline(observed[quantity], color=_SERIES[1][0], lw=2, label="Data")
    ax.set_title(f"What the priors of {table.attrs.get('model', 'the model')} imply")
    ax.set_xlabel(quantity.replace("_", " "))
    ax.set_ylabel("Draws")
    _finish(ax)
    return ax


def plot_customer(
    draws: Any,
    expected: str = "clv",
    realised: str = "value",
    *,
    ax: Axes | None = None,
    bins: int = 40,
) -> Axes:
    """Draw what is expected of one customer, and what may come of it.

    Parameters
    ----------
    draws : xarray.Dataset
        From ``model.predict_draws(rfm, customers=[...], quantities=[expected, realised])``, of
        one customer.
    expected, realised : str
        A quantity that the parameters give an expectation of, and its realisation: `clv` and
        `value`, or `expected_purchases` and `purchases`.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.
    bins : int
        Of the histograms.

    Returns
    -------
    Axes
        Shares of draws. The narrow distribution is of the expectation, and would shrink to a
        point with ever more data; the wide one is of what the customer does, and would not.

    Raises
    ------
    DataError
        If there are several customers.
    """
    both = [np.asarray(draws[name]).ravel() for name in (realised, expected)]
    if draws[expected].size != draws.sizes["draw"]:
        fix = "predict_draws(rfm, customers=[one_id], ...)"
        raise DataError("draws", [Problem("several customers", fix)])
    ax = _new_axes() if ax is None else ax
    whole = realised == "purchases"
    edges = (
        np.arange(-0.5, both[0].max() + 1.5)
        if whole
        else np.linspace(0.0, max(v.max() for v in both), bins + 1)
    )
    labels = (f"{realised}: what the customer will do", f"{expected}: its expectation")
    for values, label, (colour, _) in zip(both, labels, _SERIES, strict=False):
        share = np.full(len(values), 1.0 / len(values))
        ax.hist(values, bins=edges.tolist(), weights=share, color=colour, alpha=0.65, label=label)
    ax.set_xlabel(realised.replace("_", " "))
    ax.set_ylabel("Share of draws")
    ax.set_title("One customer: the mean is known better than the outcome")
    _finish(ax)
    return ax


def _finish(ax: Axes) -> None:
    """No box, and room for the legend above the bars."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_ylim(top=1.25 * ax.get_ylim()[1])
    ax.legend(frameon=False, loc="upper right")


def _label(ax: Axes, first: pd.DataFrame, place: Any) -> None:
    periods = first.attrs
    duration, end = periods.get("duration_holdout"), periods.get("calibration_end")
    length = (
        "holdout" if duration is None else f"{duration:.4g} {periods['time_unit'] or 'periods'}"
    )
    after = f"after {str(end)[:10]}" if end else "after calibration"
    before = f"until {str(end)[:10]}" if end else "in calibration"
    ax.set_title(f"Out of sample: purchases in the {length} {after}")
    ax.set_xlabel(f"Repeat purchases {before}\n(number of customers)")
    ax.set_ylabel(f"Mean purchases per customer ({length})")
    ax.set_xticks(
        place,
        [
            f"{frequency}\n({customers:,})"
            for frequency, customers in zip(first["frequency"], first["customers"], strict=True)
        ],
    )
    ax.set_ylim(bottom=0)
    ax.grid(axis="y", alpha=0.25)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="upper left")


def _new_axes() -> Axes:
    # Through pyplot, so that a notebook shows it; jobs that draw much pass an ax of their own.
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(8, 5), layout="constrained")[1]
