"""What a backtest has found."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True, repr=False)
class Backtest:
    """The results of a backtest.

    Parameters
    ----------
    table : DataFrame
        One row per cut date, horizon and model or baseline: `cut_date, horizon,
        horizon_periods, model, status` (``"ok"``, or what is missing and why), `seen_days` (of
        the holdout, that the fit had seen: 0 unless ``refit`` was False; missing where a model
        does not know its data), then the metrics of :meth:`HoldoutEvaluation.summary`.
    curves : DataFrame
        `cut_date, horizon, model, of, curve`: distribution functions of the PIT, which
        :func:`recalibrate` learns from.
    time_unit : str
        Code of the unit of `horizon_periods`.
    models : dict of str to str
        Registry name of each model's purchase model.
    """

    table: pd.DataFrame
    curves: pd.DataFrame
    time_unit: str
    models: Mapping[str, str]

    def __repr__(self) -> str:
        cuts, horizons = self.table["cut_date"].nunique(), self.table["horizon"].nunique()
        models = ", ".join(self.table["model"].drop_duplicates())
        return f"<Backtest: {cuts} cut dates × {horizons} horizons of {models}>"

    def _repr_html_(self) -> str:
        columns = ["cut_date", "horizon", "model", "status", "bias_percent", "mae", "crps"]
        shown = self.table[[c for c in columns if c in self.table]]  # no metrics if all failed
        return f"<p>{html.escape(repr(self))}</p>{shown.to_html(index=False)}"
