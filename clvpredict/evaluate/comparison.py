"""Which model is best: paired differences over vintages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvpredict.errors import DataWarning, OptionError, notify, unknown_option
from clvpredict.evaluate.overlap import Overlap
from clvpredict.options import TimeUnit

if TYPE_CHECKING:
    from clvpredict.evaluate.results import Backtest

#: Metrics of which less is better, and those of which more is.
_LESS = ("crps", "log_score", "brier", "mae", "rmse", "nmae", "pit_ks", "ece")
_LESS_VALUE = ("value_crps", "value_mae", "value_rmse", "value_nmae", "value_pit_ks")
_MORE = ("gini", "spearman", "auc", "top_decile_capture", "value_gini", "value_spearman")
_CLOSEST_TO_0 = ("bias_percent", "value_bias_percent")


def compare(
    results: Backtest,
    metric: str = "crps",
    *,
    models: Sequence[str] | None = None,
    horizon: str | None = None,
    level: float = 0.9,
) -> pd.DataFrame:
    """Rank models by their mean score over vintages.

    Parameters
    ----------
    results : Backtest
        From :func:`backtest`.
    metric : str
        A column of its table: ``"crps"`` and ``"log_score"`` judge the whole distribution;
        less is better. Of ``"gini"`` and the like more is; of ``"bias_percent"`` the size counts.
    models : sequence of str, optional
        Which; by default all that have a score at half or more of the cut dates that any has.
        Recalibrated forecasts may have fewer: name them, and what to hold them to.
    horizon : str, optional
        One of the backtest's; by default each has rows of its own.
    level : float
        Of the intervals of differences.

    Returns
    -------
    DataFrame
        Best first within each horizon: `horizon, model, score` (mean), `difference` (to the
        best, worse is positive), `lower, upper`, `vintages` (cut dates at which all have a
        score), `wins` (at how many it is the best). Differences are paired by vintage;
        their interval is Student's, with vintages whose holdouts overlap counted as the fewer
        that they are worth, and missing where that is less than two.

    Raises
    ------
    OptionError
        If there is no such metric or horizon, or no vintage at which all models have a score.

    Warns
    -----
    DataWarning
        If one split alone would have chosen another model than the rest, and if models are left
        out.

    Examples
    --------
    >>> import clvpredict as clv
    >>> results = clv.backtest(
    ...     clv.load_cdnow(), [clv.BGNBD(), clv.MBGNBD()], every="6W", horizons=["26W"]
    ... )
    >>> table = clv.compare(results)
    >>> sorted(table["model"].tolist()[:2])
    ['BG/NBD', 'MBG/NBD']
    """
    known = (*_LESS, *_LESS_VALUE, *_MORE, *_CLOSEST_TO_0)
    if metric not in known:
        raise unknown_option("metric", metric, known)
    if not 0 < level < 1:
        raise OptionError(f"level={level!r} must be between 0 and 1, e.g. 0.9.")
    table = results.table
    if metric not in table:
        raise OptionError(
            f"these results have no {metric!r}; value needs amounts, and every metric a cell with "
            "a result: see the column 'status'."
        )
    labels = table["horizon"].drop_duplicates().tolist()
    if horizon is not None and horizon not in labels:
        raise unknown_option("horizon", horizon, labels)
    unit = TimeUnit.parse(results.time_unit)
    wanted = labels if horizon is None else [horizon]
    if models is not None:
        for name in models:
            if name not in set(table["model"]):
                raise unknown_option("models", name, table["model"].drop_duplicates().tolist())
        table = table[table["model"].isin(list(models))]
    parts = []
    for label in wanted:
        rows = table[table["horizon"] == label]
        if models is None:
            rows = _well_covered(rows, metric, label)
        parts.append(_ranked(rows, metric, label, level, unit))
    out = pd.concat(parts, ignore_index=True)
    out.attrs = {"metric": metric, "level": level}
    return out


def _well_covered(rows: pd.DataFrame, metric: str, label: str) -> pd.DataFrame:
    """Models with scores at many cut dates; says which have not."""
    cells = rows.groupby("model", sort=False)[metric].count()
    few = cells[(cells > 0) & (2 * cells < cells.max())].index.tolist()
    if few:
        notify(
            f"horizon {label}: {', '.join(few)} have {metric} at less than half of the cut dates, "
            "and are left out. To compare them: compare(results, models=[...]).",
            DataWarning,
        )
    return rows[~rows["model"].isin(few)]


def _ranked(
    rows: pd.DataFrame, metric: str, label: str, level: float, unit: TimeUnit
) -> pd.DataFrame:
    wide = rows.pivot_table(
        index="cut_date", columns="model", values=metric, sort=False, dropna=False
    )
    wide = wide.dropna(axis="columns", how="all")
    scores = wide.dropna()
    if scores.empty:
        raise OptionError(
            f"there is no cut date at which all models have {metric!r} at horizon {label}; see "
            "the column 'status' of the results."
        )
    sign = -1.0 if metric in _MORE else 1.0
    cost = scores.abs() if metric in _CLOSEST_TO_0 else sign * scores
    order = cost.mean().sort_values(kind="stable").index
    best = order[0]
    length = float(rows["horizon_periods"].iloc[0]) * unit.days
    overlap = Overlap.of(scores.index.to_series(), pd.Timedelta(days=length))
    gap = cost[order].sub(cost[best], axis=0)
    half = np.full(len(order), np.nan)
    if overlap.independent >= 2:
        from scipy.special import stdtrit

        wide_enough = float(stdtrit(overlap.independent - 1.0, 0.5 + level / 2))
        spread = gap.var(ddof=1).to_numpy(np.float64)
        half = wide_enough * np.sqrt([overlap.variance_of_mean(float(v)) for v in spread])
    winner = cost[order].idxmin(axis=1)
    _warn(winner, str(best), label, metric)
    difference = gap.mean().to_numpy()
    return pd.DataFrame(
        {
            "horizon": label,
            "model": order.to_numpy(),
            "score": scores[order].mean().to_numpy(),
            "difference": difference,
            "lower": difference - half,
            "upper": difference + half,
            "vintages": len(scores),
            "wins": [int((winner == m).sum()) for m in order],
        }
    )


def _warn(winner: pd.Series, best: str, label: str, metric: str) -> None:
    """Say so if one split alone would have crowned another model."""
    other = winner[winner != best]
    if len(other) == 1 and len(winner) > 2:
        notify(
            f"horizon {label}: the split at {other.index[0].date()} alone would have chosen "
            f"{other.iloc[0]} by {metric}; the other {len(winner) - 1} choose {best}. One split "
            "can crown the wrong model.",
            DataWarning,
        )
