"""How models fare over many cut dates."""

from __future__ import annotations

import re
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

    from clvpredict.evaluate import Backtest

_KEYS = ("cut_date", "horizon", "horizon_periods", "model", "status")
_MADE_BY = "clvpredict.backtest(transactions, models, horizons=..., every=...).table"
_LOWER, _HIGHER = "lower is better", "higher is better"
#: Words of a metric (``{}`` is purchases or value), and which way is better.
_WORDS = {
    "bias_percent": ("Bias, % of observed {}", "0 is best"),
    "mae": ("Mean absolute error, {} per customer", _LOWER),
    "nmae": ("Mean absolute error over mean {}", _LOWER),
    "rmse": ("Root mean squared error, {} per customer", _LOWER),
    "decile_mape": ("Error of the mean {} of deciles, %", _LOWER),
    "crps": ("CRPS, {} per customer", _LOWER),
    "log_score": ("Logarithmic score, nats per customer", _LOWER),
    "brier": ("Brier score of buying at all", _LOWER),
    "ece": ("Expected calibration error of buying at all", _LOWER),
    "auc": ("AUC of buying at all", _HIGHER),
    "pit_ks": ("Distance of the PIT of {} from uniform", _LOWER),
    "gini": ("Gini coefficient of the gain curve of {}", _HIGHER),
    "spearman": ("Rank correlation of {} (Spearman)", _HIGHER),
    "top_decile_capture": ("Share of {} that the best predicted 10 % have", _HIGHER),
    "precision_top_decile": ("Share of buyers among the best predicted 10 %", _HIGHER),
    "predicted_total": ("Predicted {}, all customers", ""),
    "observed_total": ("Observed {}, all customers", ""),
}
_COVERAGE = re.compile(r"coverage_(\d+)")


def plot_backtest(
    results: Backtest | pd.DataFrame,
    metric: str = "crps",
    model: str | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw a metric of one model over cut dates and horizons.

    Parameters
    ----------
    results : Backtest or DataFrame
        ``backtest(...).table`` of :func:`clvpredict.evaluate.backtest`, or some rows of it.
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

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.plots import plot_backtest
    >>> results = clv.backtest(
    ...     clv.load_cdnow(), [clv.MBGNBD()], cut_dates=["1997-09-30", "1997-12-31"],
    ...     horizons=["13W"],
    ... )
    >>> ax = plot_backtest(results, "bias_percent")
    """
    table = _checked(results, metric, "plot_backtest")
    models = table["model"].drop_duplicates().tolist()
    model = models[0] if model is None else model
    if model not in models:
        raise unknown_option("model", model, map(str, models))
    table = table[table["model"] == model]
    table = table.assign(cut_date=pd.to_datetime(table["cut_date"]))
    _refuse_repeated(table, ["cut_date", "horizon"])
    horizons = table.sort_values("horizon_periods")["horizon"].drop_duplicates().tolist()
    table = table.assign(_failed=table["status"] != "ok")
    cells = table.set_index(["cut_date", "horizon"])
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
        centred=metric.endswith("bias_percent"),
        hatched=failed,
    )
    count = int(failed.to_numpy().sum())
    ax.set_title(f"{model}: {words}{f' ({better})' if better else ''}")
    hatched = "\n(hatched: no result; column 'status' says why)" if count else ""
    ax.set_xlabel(f"Horizon after the cut date{hatched}")
    ax.set_ylabel("Cut date: fitted on what came until then")
    return ax


def plot_backtest_lines(
    results: Backtest | pd.DataFrame,
    metric: str = "crps",
    horizon: str | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw a metric over cut dates, a line for each model.

    Parameters
    ----------
    results : Backtest or DataFrame
        ``backtest(...).table`` of :func:`clvpredict.evaluate.backtest`, or some rows of it.
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
        Lines break where a model has no result; a cross at the bottom marks the place. The dashed
        line is what would be right: no bias, or the level of the interval (which intervals of
        counts exceed).

    Raises
    ------
    OptionError
        If it is another table, or there is no such metric or horizon.
    DataError
        If there are no rows, or several for one model and cut date.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.plots import plot_backtest_lines
    >>> results = clv.backtest(
    ...     clv.load_cdnow(), [clv.MBGNBD()], cut_dates=["1997-09-30", "1997-12-31"],
    ...     horizons=["13W"],
    ... )
    >>> ax = plot_backtest_lines(results, "crps")
    """
    table = _checked(results, metric, "plot_backtest_lines")
    table = table.assign(
        cut_date=pd.to_datetime(table["cut_date"]),
        _value=table[metric].astype(np.float64).where(table["status"] == "ok"),
    )
    if horizon is None:
        found = table.groupby("horizon", sort=False).agg(
            results=("_value", "count"), periods=("horizon_periods", "first")
        )
        horizon = str(found.sort_values(["results", "periods"]).index[-1])
    elif horizon not in set(table["horizon"]):
        raise unknown_option("horizon", horizon, map(str, table["horizon"].unique()))
    table = table[table["horizon"] == horizon]
    _refuse_repeated(table, ["model", "cut_date"])
    models = each(table)
    ax = new_axes(entries=len(models)) if ax is None else ax
    words, better = _words(metric)
    if (right := _right(metric)) is not None:
        ax.axhline(right, ls="--", lw=1.3, color=ink(ax))
    failures = 0
    for (model, rows), look in zip(models, looks(name for name, _ in models), strict=True):
        rows = rows.sort_values("cut_date")
        if rows["_value"].isna().all() and (rows["status"] == "ok").all():
            # A rule of thumb has no probabilities, for instance.
            ax.plot([], [], label=f"{model}: has none", **look)
            continue
        # A rule that predicts what a model does would hide behind its line.
        lw, zorder = (1.3, 3) if look["color"] == FAINT else (1.8, 2)
        ax.plot(rows["cut_date"], rows["_value"], lw=lw, ms=5.5, label=model, zorder=zorder, **look)
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
    cuts = sorted(table["cut_date"].unique())
    thousands(ax.yaxis)
    if len(cuts) <= 7:
        ax.set_xticks(cuts, [f"{day:%Y-%m-%d}" for day in cuts])
        if len(cuts) > 4:  # they would run into one another
            ax.tick_params(axis="x", rotation=20)
    else:
        dates(ax.xaxis)
    if table["_value"].isna().all():
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
        A row for each model, by horizon, the best on top: how much worse than the best its mean
        score is, with the interval where there are vintages enough for one; the mean score; and
        at how many cut dates it was the best.

    Raises
    ------
    OptionError
        If it is another table.
    DataError
        If it has no rows.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.plots import plot_comparison
    >>> results = clv.backtest(
    ...     clv.load_cdnow(), [clv.MBGNBD()], cut_dates=["1997-09-30", "1997-12-31"],
    ...     horizons=["13W"],
    ... )
    >>> ax = plot_comparison(clv.compare(results))
    """
    columns = ("model", "score", "difference", "lower", "upper", "vintages", "wins")
    made_by = "clvpredict.compare(results)"
    table = check_table(table, columns, "plot_comparison", made_by)
    if "horizon" not in table:
        table = table.assign(horizon="")
    groups = [rows.sort_values("difference", kind="stable") for _, rows in each(table, "horizon")]
    if ax is None:
        ax = new_axes((9, float(np.clip(1.6 + 0.45 * len(table), 3, 14))))
    metric = table.attrs.get("metric")
    words = _words(str(metric))[0] if metric else ""
    # A gap between horizons.
    place = np.concatenate(
        [np.arange(len(rows)) + gap for rows, gap in zip(groups, _starts(groups), strict=True)]
    )
    table = pd.concat(groups)
    ax.axvline(0.0, ls="--", lw=1.3, color=FAINT)
    colour, marker = series(0)
    ends = table[["lower", "upper"]].to_numpy(np.float64)
    ax.hlines(place, ends[:, 0], ends[:, 1], color=colour, lw=2)
    ax.plot(table["difference"], place, ls="", marker=marker, ms=7, color=colour)
    for row, (_, line) in zip(place.tolist(), table.iterrows(), strict=True):
        score = _brief(line["score"], 4) if pd.notna(line["score"]) else "no result"
        text = f"mean {score}, best at {line['wins']:g} of {line['vintages']:g} cut dates"
        ax.text(
            1.02,
            row,
            text,
            transform=ax.get_yaxis_transform(),
            va="center",
            fontsize="small",
            color=ink(ax),
        )
    table["model"] = [
        f"{horizon}: {model}" if horizon else str(model)
        for horizon, model in zip(table["horizon"], table["model"], strict=True)
    ]
    ax.set_yticks(place, table["model"])
    ax.set_ylim(place[-1] + 0.6, -0.6)
    ax.set_title("Models compared over cut dates")
    level = table.attrs.get("level")
    interval = "interval" if level is None else f"{100 * level:g} % interval"
    ax.set_xlabel(
        f"Worse than the best model by, with {interval}" + (f"\n{words}" if words else "")
    )
    finish(ax, legend=None, grid="x")
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return ax


def _starts(groups: list[pd.DataFrame]) -> list[float]:
    """Where each group of rows begins, a gap after the one before."""
    sizes = [len(rows) + 0.5 for rows in groups]
    return [0.0, *np.cumsum(sizes[:-1]).tolist()]


def _checked(results: Backtest | pd.DataFrame, metric: str, plot: str) -> pd.DataFrame:
    table = results if isinstance(results, pd.DataFrame) else getattr(results, "table", results)
    table = check_table(table, _KEYS, plot, _MADE_BY)
    numbers = [
        str(name)
        for name in table.select_dtypes("number").columns
        if name not in ("horizon_periods", "seen_days", "customers")
    ]
    # A metric that is missing everywhere may be of any type.
    if metric not in numbers and not (metric in table and table[metric].isna().all()):
        raise unknown_option("metric", metric, numbers)
    return table


def _refuse_repeated(results: pd.DataFrame, keys: list[str]) -> None:
    again = results.duplicated(keys)
    if again.any():
        what = f"several rows for one {' and '.join(keys)}"
        fix = "give the results of one backtest"
        raise DataError("backtest results", [Problem(what, fix, count=int(again.sum()))])


def _words(metric: str) -> tuple[str, str]:
    """What a metric is, with its unit, and which way is better."""
    name = metric.removeprefix("value_")
    of = "purchases" if name == metric else "value"
    if level := _COVERAGE.fullmatch(name):
        return f"Share of customers in their {level[1]} % interval of {of}", ""
    words, better = _WORDS.get(name, (metric.replace("_", " "), ""))
    return words.format(of), better


def _right(metric: str) -> float | None:
    """Return the value that is right whatever the data, if there is one."""
    name = metric.removeprefix("value_")
    if level := _COVERAGE.fullmatch(name):
        return float(level[1]) / 100
    return 0.0 if name == "bias_percent" else None


def _brief(value: float, digits: int = 3) -> str:
    """So many digits, or all before the point."""
    whole = abs(value) >= 10 ** (digits - 1)
    return number(round(value)) if whole else number(float(f"{value:.{digits}g}"))
