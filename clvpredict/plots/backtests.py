"""How models fare over many cut dates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvpredict.errors import DataError, Problem, unknown_option
from clvpredict.plots.style import (
    FAINT,
    check_table,
    dates,
    each,
    finish,
    heat,
    ink,
    looks,
    new_axes,
    nothing,
    number,
    series,
    thousands,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KEYS = ("cut_date", "horizon", "horizon_periods", "model", "status")
_MADE_BY = "clvpredict.evaluate.backtest(...)"
_LOWER, _HIGHER = "lower is better", "higher is better"
#: Words of a metric, and which way is better.
_WORDS = {
    "bias_percent": ("Bias, % of observed purchases", "0 is best"),
    "mae": ("Mean absolute error, purchases per customer", _LOWER),
    "rmse": ("Root mean squared error, purchases per customer", _LOWER),
    "crps": ("CRPS, purchases per customer", _LOWER),
    "log_score": ("Logarithmic score, nats per customer", _LOWER),
    "brier": ("Brier score of buying at all", _LOWER),
    "auc": ("AUC of buying at all", _HIGHER),
    "pit_ks": ("Distance of the PIT from uniform (KS)", _LOWER),
    "coverage_90": ("Share of customers in their 90 % interval", "0.9 or a little more is right"),
    "gini": ("Gini coefficient of the gain curve", _HIGHER),
    "spearman": ("Rank correlation (Spearman)", _HIGHER),
}
#: Where a metric has a value that would be right, whatever the data.
_RIGHT = {"bias_percent": 0.0, "coverage_90": 0.9}


def plot_backtest(
    results: pd.DataFrame,
    metric: str = "crps",
    model: str | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw a metric of one model over cut dates and horizons.

    Parameters
    ----------
    results : DataFrame
        From :func:`clvpredict.evaluate.backtest`.
    metric : str
        A column of numbers in it.
    model : str, optional
        As in its column `model`; by default the first there, which the title names.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        A cell for each cut date and horizon, with its number. Hatched cells failed, and column
        `status` says why; empty ones were not asked for.

    Raises
    ------
    OptionError
        If it is another table, or there is no such metric or model.
    DataError
        If there are no rows, or several for one cell.
    """
    results = _checked(results, metric, "plot_backtest")
    models = results["model"].drop_duplicates().tolist()
    model = models[0] if model is None else model
    if model not in models:
        raise unknown_option("model", model, map(str, models))
    results = results[results["model"] == model]
    results = results.assign(cut_date=pd.to_datetime(results["cut_date"]))
    _refuse_repeated(results, ["cut_date", "horizon"])
    horizons = results.sort_values("horizon_periods")["horizon"].drop_duplicates().tolist()
    results = results.assign(_failed=results["status"] != "ok")
    cells = results.set_index(["cut_date", "horizon"])
    values = cells[metric].astype(np.float64).unstack("horizon")[horizons]
    failed = cells["_failed"].unstack("horizon", fill_value=False)[horizons]
    values = values.mask(failed)
    if ax is None:
        ax = new_axes((8, float(np.clip(1.8 + 0.42 * len(values), 3.5, 12))))
    words, better = _words(metric)
    heat(
        ax,
        values,
        rows=[f"{day:%Y-%m-%d}" for day in values.index],
        columns=horizons,
        write=_brief,
        centred=metric == "bias_percent",
        hatched=failed,
    )
    count = int(failed.to_numpy().sum())
    ax.set_title(f"{model}: {words}{f' ({better})' if better else ''}")
    hatched = "\n(hatched: no result; column 'status' says why)" if count else ""
    ax.set_xlabel(f"Horizon after the cut date{hatched}")
    ax.set_ylabel("Cut date: fitted on what came until then")
    return ax


def plot_backtest_lines(
    results: pd.DataFrame,
    metric: str = "crps",
    horizon: str | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw a metric over cut dates, a line for each model.

    Parameters
    ----------
    results : DataFrame
        From :func:`clvpredict.evaluate.backtest`.
    metric : str
        A column of numbers in it.
    horizon : str, optional
        As in its column `horizon`; by default the one with most results, and of several such
        the longest. The title names it.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        Lines break where a model has no result; a cross at the bottom marks the place.

    Raises
    ------
    OptionError
        If it is another table, or there is no such metric or horizon.
    DataError
        If there are no rows, or several for one model and cut date.
    """
    results = _checked(results, metric, "plot_backtest_lines")
    results = results.assign(
        cut_date=pd.to_datetime(results["cut_date"]),
        _value=results[metric].astype(np.float64).where(results["status"] == "ok"),
    )
    if horizon is None:
        found = results.groupby("horizon", sort=False).agg(
            results=("_value", "count"), periods=("horizon_periods", "first")
        )
        horizon = str(found.sort_values(["results", "periods"]).index[-1])
    elif horizon not in set(results["horizon"]):
        raise unknown_option("horizon", horizon, map(str, results["horizon"].unique()))
    results = results[results["horizon"] == horizon]
    _refuse_repeated(results, ["model", "cut_date"])
    models = each(results)
    ax = new_axes(entries=len(models)) if ax is None else ax
    words, better = _words(metric)
    if metric in _RIGHT:
        ax.axhline(_RIGHT[metric], ls="--", lw=1.3, color=ink(ax))
    failures = 0
    for (model, rows), look in zip(models, looks(name for name, _ in models), strict=True):
        rows = rows.sort_values("cut_date")
        ax.plot(rows["cut_date"], rows["_value"], lw=1.8, ms=5.5, label=model, **look)
        none = rows.loc[rows["_value"].isna(), "cut_date"]
        failures += len(none)
        ax.plot(
            none,
            np.full(len(none), 0.02),
            ls="",
            marker="x",
            color=look["color"],
            transform=ax.get_xaxis_transform(),
        )
    ax.set_title(f"Backtest over cut dates, horizon {horizon}")
    ax.set_xlabel("Cut date: fitted on what came until then" + "\n(×: no result)" * bool(failures))
    ax.set_ylabel(f"{words}\n({better})" if better else words)
    cuts = sorted(results["cut_date"].unique())
    thousands(ax.yaxis)
    if len(cuts) <= 7:
        ax.set_xticks(cuts, [f"{day:%Y-%m-%d}" for day in cuts])
    else:
        dates(ax.xaxis)
    if results["_value"].isna().all():
        nothing(ax, f"No model has a result at horizon {horizon}.")
    finish(ax)
    return ax


def plot_comparison(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how far models are from the best one, with intervals.

    Parameters
    ----------
    table : DataFrame
        From :func:`clvpredict.evaluate.compare`.
    ax : Axes, optional
        Where to draw; else a new pyplot figure, which a notebook shows.

    Returns
    -------
    Axes
        A row for each model, the best on top: the mean difference of its score to the best one's
        with the interval, its mean score, and at how many of the cut dates and horizons it won.

    Raises
    ------
    OptionError
        If it is another table.
    DataError
        If it has no rows.
    """
    columns = ("model", "score", "difference", "lower", "upper", "vintages", "wins")
    made_by = "clvpredict.evaluate.compare(results)"
    table = check_table(table, columns, "plot_comparison", made_by)
    size = table["difference"].abs()
    table = table.assign(_size=size).sort_values("_size", kind="stable")
    if ax is None:
        ax = new_axes((8, float(np.clip(1.6 + 0.45 * len(table), 3, 14))))
    metric = table.attrs.get("metric")
    words, better = _words(str(metric)) if metric else ("", "")
    place = np.arange(len(table))
    ax.axvline(0.0, ls="--", lw=1.3, color=FAINT)
    colour, marker = series(0)
    ends = table[["lower", "upper"]].to_numpy(np.float64)
    ax.hlines(place, ends[:, 0], ends[:, 1], color=colour, lw=2)
    ax.plot(table["difference"], place, ls="", marker=marker, ms=7, color=colour)
    for row, (_, line) in enumerate(table.iterrows()):
        score = _brief(line["score"]) if pd.notna(line["score"]) else "no result"
        text = f"mean {score}, best in {line['wins']:g} of {line['vintages']:g}"
        ax.text(
            1.02,
            row,
            text,
            transform=ax.get_yaxis_transform(),
            va="center",
            fontsize="small",
            color=ink(ax),
        )
    ax.set_yticks(place, table["model"].astype(str))
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.set_title("Models compared over cut dates and horizons")
    level = table.attrs.get("level")
    interval = "interval" if level is None else f"{100 * level:g} % interval"
    ax.set_xlabel(
        f"Difference to the best model, with its {interval}"
        + (f"\n{words}" if words else "")
        + (f" ({better})" if better else "")
    )
    finish(ax, legend=None, grid="x")
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return ax


def _checked(results: pd.DataFrame, metric: str, plot: str) -> pd.DataFrame:
    results = check_table(results, _KEYS, plot, _MADE_BY)
    numbers = [
        str(name)
        for name in results.select_dtypes("number").columns
        if name not in ("horizon_periods", "customers")
    ]
    # A metric that is missing everywhere may be of any type.
    if metric not in numbers and not (metric in results and results[metric].isna().all()):
        raise unknown_option("metric", metric, numbers)
    return results


def _refuse_repeated(results: pd.DataFrame, keys: list[str]) -> None:
    again = results.duplicated(keys)
    if again.any():
        what = f"several rows for one {' and '.join(keys)}"
        fix = "give the results of one backtest"
        raise DataError("backtest results", [Problem(what, fix, count=int(again.sum()))])


def _words(metric: str) -> tuple[str, str]:
    return _WORDS.get(metric, (metric.replace("_", " "), ""))


def _brief(value: float) -> str:
    """Three digits, or all before the point."""
    return number(round(value)) if abs(value) >= 100 else number(float(f"{value:.3g}"))
