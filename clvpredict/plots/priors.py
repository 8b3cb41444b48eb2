"""What priors imply, and what draws say of one customer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clvpredict.errors import DataError, Problem
from clvpredict.plots.style import SERIES, finish, new_axes, percent, plain, thousands
from clvpredict.rfm import require_column

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What quantities are called on the axis; others by their own name.
_QUANTITIES = {
    "purchases_mean": "Mean repeat purchases per customer",
    "purchases_p99": "Repeat purchases that 99 % of customers do not exceed",
    "share_without_repeat": "Share of customers without a repeat purchase",
    "spend_median": "Median over customers of their mean spend",
    "spend_p01": "Mean spend that 1 % of customers stay below",
    "spend_p99": "Mean spend that 99 % of customers do not exceed",
    "purchases": "Purchases within the horizon",
    "value": "Value of the purchases within the horizon",
}


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
    ax = new_axes() if ax is None else ax
    if quantity.startswith("share"):
        bins = np.linspace(0, 1, 41)
    else:
        # What is far out, or 0 on a logarithmic axis, goes into the outermost bars.
        low, high = (float(q) for q in np.quantile(values[values > 0], (0.005, 0.995)))
        values = np.clip(values, low, high)
        bins = np.geomspace(low, high, 41)
        ax.set_xscale("log")
        plain(ax)
    ax.hist(
        values, bins=bins.tolist(), color=SERIES[0][0], alpha=0.75, label="Draws from the priors"
    )
    if quantity in observed:
        ax.axvline(observed[quantity], color=SERIES[1][0], lw=2, label="Data")
    ax.set_title(f"What the priors of {table.attrs.get('model', 'the model')} imply")
    ax.set_xlabel(_QUANTITIES.get(quantity, quantity.replace("_", " ")))
    ax.set_ylabel("Draws")
    thousands(ax.yaxis)
    finish(ax, legend="upper right", headroom=0.25)
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
    ax = new_axes() if ax is None else ax
    whole = realised == "purchases"
    edges = (
        np.arange(-0.5, both[0].max() + 1.5)
        if whole
        else np.linspace(0.0, max(v.max() for v in both), bins + 1)
    )
    labels = (f"{realised}: what the customer may do", f"{expected}: its expectation")
    for values, label, (colour, _) in zip(both, labels, SERIES, strict=False):
        share = np.full(len(values), 1.0 / len(values))
        ax.hist(values, bins=edges.tolist(), weights=share, color=colour, alpha=0.65, label=label)
    currency = "" if whole else draws.attrs.get("currency", "")
    unit = f" ({currency})" if currency else ""
    ax.set_xlabel(_QUANTITIES.get(realised, realised.replace("_", " ")) + unit)
    ax.set_ylabel("Share of draws")
    percent(ax.yaxis)
    who = np.ravel(draws["customer_id"])[0] if "customer_id" in draws.coords else None
    name = "One customer" if who is None else f"Customer {who}"
    ax.set_title(f"{name}: the mean is known better than the outcome")
    finish(ax, legend="upper right", headroom=0.25)
    ax.set_yticks([tick for tick in ax.get_yticks() if 0.0 <= tick <= 1.0])
    return ax
