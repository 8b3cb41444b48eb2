"""What the model says of the customers it was fitted on, beside what they did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clvpredict.errors import OptionError, unknown_option
from clvpredict.plots.style import (
    FAINT,
    band,
    check_table,
    each,
    finish,
    new_axes,
    note,
    series,
    thousands,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAND = ("lower", "upper")
# What quantities of a drift table are called on the axis.
_NAMES = {
    "mean purchase rate": "Mean purchase rate, r/alpha",
    "mean dropout probability": "Mean dropout probability after a purchase, a/(a+b)",
    "purchases of a new customer": "Expected purchases of a new customer",
    "mean spend": "Mean spend per purchase",
}
_MOST_LABELS = 12


def plot_frequency_check(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how many customers made 0, 1, 2, ... repeat purchases, and how many are expected.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.evaluate.frequency_check`; for several models, their tables under
        one another.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        Bars are the observed customers; points with intervals are what each model expects.

    Raises
    ------
    OptionError, DataError
        If it is no such table, or it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import frequency_check
    >>> from clvpredict.plots import plot_frequency_check
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> ax = plot_frequency_check(frequency_check(clv.BGNBD().fit(rfm), rfm))
    """
    made_by = "clvpredict.evaluate.frequency_check(model, rfm)"
    columns = ("model", "frequency", "observed", "expected", *_BAND)
    table = check_table(table, columns, "plot_frequency_check", made_by)
    ax = new_axes() if ax is None else ax
    _groups(ax, table, "observed")
    customers = table.attrs.get("customers")
    ax.set_title("In sample: repeat purchases of customers, observed and expected")
    ax.set_xlabel("Repeat purchases")
    ax.set_ylabel("Customers" + (f" (of {customers:,})" if customers else ""))
    thousands(ax.yaxis)
    ax.set_ylim(bottom=0)
    finish(ax, legend="upper right")
    return ax


def plot_distribution_check(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a binned distribution, observed and expected.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.evaluate.recency_check` or
        :func:`clvpredict.evaluate.timing_check`; for several models, their tables under one
        another.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        Bars are what was observed; the stepped line is expected, and the band around it where
        the bars would lie for the given level if the model were right.

    Raises
    ------
    OptionError, DataError
        If it is no such table, or it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import recency_check
    >>> from clvpredict.plots import plot_distribution_check
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> ax = plot_distribution_check(recency_check(clv.BGNBD().fit(rfm), rfm, draws=50))
    """
    made_by = "clvpredict.evaluate.recency_check(model, rfm)"
    columns = ("model", "start", "end", "observed", "expected", *_BAND)
    table = check_table(table, columns, "plot_distribution_check", made_by)
    ax = new_axes() if ax is None else ax
    about = table.attrs
    _steps(ax, table, "observed", "expected")
    what = str(about.get("what", "time"))
    ax.set_title(f"In sample: {what}, observed and expected")
    ax.set_xlabel(f"{what[0].upper()}{what[1:]} ({about.get('time_unit') or 'time units'})")
    counted = str(about.get("counted", "number"))
    sampled, customers = about.get("sampled"), about.get("customers")
    part = f"\n(of a sample of {sampled:,} customers)" if sampled and sampled < customers else ""
    ax.set_ylabel(f"{counted[0].upper()}{counted[1:]}{part}")
    thousands(ax.yaxis)
    ax.set_xlim(0, float(table["end"].max()))
    ax.set_ylim(bottom=0)
    finish(ax, legend="upper right", headroom=0.1)
    return ax


def plot_spend(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the density of customers' mean spend, observed and expected.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.evaluate.spend_check`.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        On a logarithmic axis, where equal areas are equal shares of customers.

    Raises
    ------
    OptionError, DataError
        If it is no such table, or it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import spend_check
    >>> from clvpredict.plots import plot_spend
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> ax = plot_spend(spend_check(clv.GammaGamma().fit(rfm), rfm))
    """
    made_by = "clvpredict.evaluate.spend_check(model, rfm)"
    columns = ("model", "start", "end", "observed_density", "expected_density", *_BAND)
    table = check_table(table, columns, "plot_spend", made_by)
    ax = new_axes() if ax is None else ax
    about = table.attrs
    _steps(ax, table, "observed_density", "expected_density")
    ax.set_xscale("log")
    _plain(ax)
    ax.set_xlim(float(table["start"].min()), float(table["end"].max()))
    ax.set_title("In sample: mean spend of repeat buyers, observed and expected")
    ax.set_xlabel(f"Customer's mean spend per purchase{_currency(about)}, logarithmic")
    sampled = about.get("sampled")
    ax.set_ylabel(
        "Density of ln(mean spend)" + (f"\n({sampled:,} repeat buyers)" if sampled else "")
    )
    ax.set_ylim(bottom=0)
    finish(ax, legend="upper right", headroom=0.1)
    return ax


def plot_dependence(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw mean spend by purchase frequency, observed and as independence would have it.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.evaluate.dependence_check`.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        Bars are observed means, points with intervals what the model expects of so many
        customers; the rank correlation stands in the picture.

    Raises
    ------
    OptionError, DataError
        If it is no such table, or it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import dependence_check
    >>> from clvpredict.plots import plot_dependence
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> ax = plot_dependence(dependence_check(clv.GammaGamma().fit(rfm), rfm))
    """
    made_by = "clvpredict.evaluate.dependence_check(model, rfm)"
    columns = ("model", "frequency", "customers", "observed", "expected", *_BAND)
    table = check_table(table, columns, "plot_dependence", made_by)
    ax = new_axes() if ax is None else ax
    first = _groups(ax, table, "observed", "if spend does not depend on frequency")
    ax.set_xticks(
        range(len(first)),
        [f"{n}\n({c:,})" for n, c in zip(first["frequency"], first["customers"], strict=True)],
    )
    about = table.attrs
    said = ""
    if "rho" in about:
        p = about["p_value"]
        chance = f"p = {p:.2g}" if p >= 1e-4 else "p < 0.0001"
        said = f"\nSpearman's rank correlation {about['rho']:.2f}, {chance}"
    ax.set_title(f"In sample: does spend depend on how often customers buy?{said}")
    ax.set_xlabel("Repeat purchases\n(number of customers)")
    ax.set_ylabel(f"Mean over customers of their mean spend{_currency(about)}")
    thousands(ax.yaxis)
    ax.set_ylim(bottom=0)
    finish(ax, legend="upper left", headroom=0.25)
    return ax


def plot_drift(
    table: pd.DataFrame, of: str = "mean purchase rate", *, ax: Axes | None = None
) -> Axes:
    """Draw one quantity by acquisition cohort, with intervals.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.evaluate.drift_check`.
    of : str
        Which `parameter` of it.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        Points are the cohorts' estimates; the line and band are the fit to all customers.
        Cohorts without a fit have no point, and are counted; those without an interval have a
        hollow one.

    Raises
    ------
    OptionError, DataError
        If it is no such table, has no rows, or has no such quantity.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.evaluate import drift_check
    >>> from clvpredict.plots import plot_drift
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> ax = plot_drift(drift_check(clv.MBGNBD, rfm, cohorts="M"), "mean dropout probability")
    """
    made_by = "clvpredict.evaluate.drift_check(model, rfm)"
    columns = ("cohort", "customers", "parameter", "estimate", *_BAND, "status")
    table = check_table(table, columns, "plot_drift", made_by)
    if of not in set(table["parameter"]):
        raise unknown_option("of", of, table["parameter"].drop_duplicates())
    ax = new_axes() if ax is None else ax
    about = table.attrs
    level = f", {100 * about['level']:g} % interval" if "level" in about else ""
    table = table[table["parameter"] == of]
    pooled, cohorts = table[table["cohort"] == "all"], table[table["cohort"] != "all"]
    if cohorts.empty:
        raise OptionError(f"the table has no cohorts; plot_drift draws that of {made_by}.")
    place = np.arange(len(cohorts))
    if len(pooled):
        across = np.array([-0.5, len(cohorts) - 0.5])
        row = pooled.iloc[0]
        ax.plot(across, [row["estimate"]] * 2, "--", color=FAINT, label=f"All customers{level}")
        band(ax, across, [row["lower"]] * 2, [row["upper"]] * 2)
    _estimates(ax, place, cohorts, level)
    failed = cohorts["estimate"].isna().to_numpy()
    every = -(-len(cohorts) // _MOST_LABELS)
    # Long names stand one above the other, and never run into each other.
    names = [str(name).replace(" to ", "\nto ") for name in cohorts["cohort"]]
    texts = [
        f"{n}\n({c:,}{', no fit' if f else ''})"
        for n, c, f in zip(names, cohorts["customers"], failed, strict=True)
    ]
    ax.set_xticks(place[::every], texts[::every], fontsize="small" if len(place) > 6 else None)
    ax.set_xlim(-0.5, len(cohorts) - 0.5)
    name = _NAMES.get(of, f"Parameter {of}")
    ax.set_title(f"Drift: {name[0].lower()}{name[1:]}, by cohort")
    ax.set_xlabel("Acquired (number of customers)")
    ax.set_ylabel(name + _unit_of(of, about))
    thousands(ax.yaxis)
    finish(ax, headroom=0.15)
    if failed.any():
        note(ax, f"{int(failed.sum()):,} of {len(cohorts):,} cohorts could not be fitted")
    return ax


def _estimates(ax: Axes, place: Any, cohorts: pd.DataFrame, level: str) -> None:
    """Points with intervals; hollow where the interval is not known."""
    colour, marker = series(0)
    known = (cohorts["lower"].notna() & cohorts["upper"].notna()).to_numpy()
    _points(ax, place[known], cohorts[known], "estimate", 0, f"Cohort{level}")
    loose = ~known & cohorts["estimate"].notna().to_numpy()
    if loose.any():
        ax.plot(
            place[loose],
            cohorts["estimate"][loose],
            marker,
            mfc="none",
            color=colour,
            label="Cohort, not identified: no interval",
        )


def _groups(ax: Axes, table: pd.DataFrame, observed: str, of: str = "") -> pd.DataFrame:
    """Observed bars, and beside one another what the models expect; returns the first's rows."""
    models = each(table)
    first = models[0][1]
    place = np.arange(len(first))
    ax.bar(place, first[observed], width=0.8, color=FAINT, alpha=0.5, label="Observed")
    ax.set_xticks(place, first["frequency"].tolist())
    level = _level(table)
    aside = 0.18 * (np.arange(len(models)) - (len(models) - 1) / 2)
    for i, (model, rows) in enumerate(models):
        label = f"Expected by {model}{f' {of}' if of else ''}{level}"
        _points(ax, place[: len(rows)] + aside[i], rows, "expected", i, label)
    return first


def _points(ax: Axes, x: Any, rows: pd.DataFrame, value: str, i: int, label: str) -> None:
    colour, marker = series(i)
    below = np.maximum(rows[value] - rows["lower"], 0.0)
    above = np.maximum(rows["upper"] - rows[value], 0.0)
    ax.errorbar(
        x,
        rows[value],
        yerr=np.vstack([below, above]),
        fmt=marker,
        ms=6,
        capsize=3,
        lw=1.6,
        color=colour,
        label=label,
    )


def _steps(ax: Axes, table: pd.DataFrame, observed: str, expected: str) -> None:
    """Observed bars, and a stepped line with a band for each model."""
    models = each(table)
    first = models[0][1]
    ax.bar(
        first["start"],
        first[observed],
        width=first["end"] - first["start"],
        align="edge",
        color=FAINT,
        alpha=0.4,
        label="Observed",
    )
    for i, (model, rows) in enumerate(models):
        colour, _ = series(i)
        edges = np.append(rows["start"].to_numpy(), rows["end"].iloc[-1])
        low, high = (np.append(rows[c].to_numpy(), rows[c].iloc[-1]) for c in _BAND)
        band(ax, edges, low, high, colour=colour, step="post")
        ax.stairs(
            rows[expected],
            edges,
            baseline=None,
            color=colour,
            lw=1.8,
            ls=("-", "--", "-.", ":")[i % 4],
            label=f"Expected by {model}{_level(table)}",
        )


def _level(table: pd.DataFrame) -> str:
    return f", {100 * table.attrs['level']:g} % band" if "level" in table.attrs else ""


def _currency(about: Any) -> str:
    return f" ({about['currency']})" if about.get("currency") else ""


def _unit_of(of: str, about: Any) -> str:
    unit = about.get("time_unit")
    if of == "mean purchase rate":
        return f"\n(while alive; time in {unit})" if unit else "\n(while alive)"
    if of == "purchases of a new customer" and about.get("horizon"):
        return f"\n(within {about['horizon']:.4g} {unit or 'units of time'})"
    return ""


def _plain(ax: Axes) -> None:
    """Amounts as they are written, also between powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    thousands(ax.xaxis)
    ax.xaxis.set_minor_formatter(NullFormatter())
