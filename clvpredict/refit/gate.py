"""The gate: whether a new model may replace the one in use."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from clvpredict.errors import DataWarning, OptionError
from clvpredict.options import TimeUnit
from clvpredict.refit.criteria import (
    Finding,
    Kind,
    findings_of_cells,
    findings_of_fit,
    findings_of_forecasts,
    findings_of_score,
    mean_of,
)

if TYPE_CHECKING:
    from clvpredict.refit.config import GateConfig

#: Of the metrics of a backtest, those that records keep.
_KEPT = (
    "customers",
    "predicted_total",
    "observed_total",
    "bias_percent",
    "crps",
    "log_score",
    "brier",
    "mae",
    "rmse",
    "pit_ks",
    "coverage_90",
    "value_predicted_total",
    "value_observed_total",
    "value_bias_percent",
    "value_crps",
    "value_mae",
    "value_pit_ks",
)
_TOLD = ("crps", "bias_percent", "pit_ks", "value_crps", "value_bias_percent", "value_pit_ks")
_REFITTED: Kind = "refitted"
_AS_FITTED: Kind = "as fitted"
_CHAMPION: Kind = "champion"
_BASELINE: Kind = "baseline"


@dataclass(frozen=True)
class Verdict:
    """What the gate decided, and why.

    Parameters
    ----------
    publish : bool
        Whether a challenger passed.
    chosen : str or None
        The best of those that passed, by mean score.
    best : str
        The best of all by mean score, whether or not it passed: what ``--force`` publishes.
    decision : str
        In a sentence.
    findings : tuple of Finding
        Every criterion of every challenger.
    table : DataFrame
        A row per vintage and forecast: `cut_date`, `horizon`, `model`, `kind` (``"refitted"``,
        ``"as fitted"``, ``"champion"``, ``"baseline"``), `status`, `seen_days` (of the holdout,
        by the fit), and the metrics of :func:`clvpredict.backtest`.
    metric, horizon : str
        What decided, and how far ahead.
    cuts : tuple of date
        The vintages.
    """

    publish: bool
    chosen: str | None
    best: str
    decision: str
    findings: tuple[Finding, ...]
    table: pd.DataFrame
    metric: str
    horizon: str
    cuts: tuple[date, ...]

    def reasons(self, name: str) -> list[Finding]:
        """What a challenger failed in; empty if it passed."""
        return [f for f in self.findings if f.subject == name and not f.ok]

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data, for the record of a run; of the metrics, the main ones."""
        from clvpredict.store.tables import plain

        keys = ["cut_date", "model", "kind", "status", "seen_days"]
        kept = self.table[[*keys, *(c for c in _KEPT if c in self.table)]]
        record = {
            "publish": self.publish,
            "chosen": self.chosen,
            "best": self.best,
            "decision": self.decision,
            "metric": self.metric,
            "horizon": self.horizon,
            "cuts": [cut.isoformat() for cut in self.cuts],
            "findings": [asdict(f) for f in self.findings],
            "scoreboard": scoreboard(self.table).to_dict(orient="records"),
            "table": kept.assign(cut_date=kept["cut_date"].dt.date.astype(str)).to_dict("records"),
        }
        found: dict[str, Any] = plain(record)
        return found


@dataclass(frozen=True)
class _Backtest:
    """One call of :func:`clvpredict.backtest`: models by their name and kind."""

    models: dict[tuple[str, Kind], Any]
    time_unit: str
    fit: Mapping[str, Any] | None


def judge_candidates(
    transactions: Path,
    options: Mapping[str, Any],
    challengers: Mapping[str, Any],
    champion: tuple[str, Any] | None,
    gate: GateConfig,
    fit: Mapping[str, Any],
    cuts: Sequence[date],
    horizon: str,
    *,
    draws: int = 200,
    seed: int = 0,
    progress: bool = False,
) -> Verdict:
    """Hold challengers and the champion to the same vintages, and decide.

    A challenger is judged twice. Its recipe is fitted again at every cut date, on what was known
    then: this is how well such a model forecasts. And the very fit that would be published is
    held to the same vintages: it has seen them, so this is no test of how it forecasts, but a
    fit that went wrong does badly even there. Both must keep to every bound.

    The champion is judged as it was published. It may have seen some of the vintages (column
    `seen_days` of the table), which flatters it: where the two are close, the gate errs towards
    the champion. It goes away as the champion grows older.

    A champion in another time unit is judged in its own, at the same vintages: scores of
    purchases have no unit. One whose scores cannot be had at all (no value where the metric is of
    value, no result) cannot be compared with: challengers are held to the bounds alone, and the
    decision says so.

    Parameters
    ----------
    transactions : Path
        The transactions.
    options : mapping
        How to read them, as :func:`clvpredict.backtest` takes it: ``customer_id``, ``date``,
        ``amount``, ``time_unit``, ``observation_end`` and so on.
    challengers : mapping of str to model
        Fitted.
    champion : tuple of str and model, or None
        What is published now.
    gate : GateConfig
        Which bounds there are; None is none.
    fit : mapping
        Arguments of ``fit``. A prior is used for the challengers that have its parameter.
    cuts : sequence of date
        The vintages; see :func:`clvpredict.refit.vintages.vintages`.
    horizon : str
        How far ahead.
    draws, seed : int
        Of predicted value and of totals.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Verdict

    Raises
    ------
    OptionError
        If there is no challenger, or an option cannot be used.
    DataError
        If the transactions cannot be used.
    """
    if not challengers:
        raise OptionError("there is no challenger to judge: no candidate was fitted.")
    money = options.get("amount", "amount") is not None
    backtests = _backtests(challengers, champion, fit, str(options.get("time_unit", "W")), money)
    asked = {"horizons": [horizon], "cut_dates": list(cuts), "draws": draws, "seed": seed}
    found = [_run(b, transactions, options, {**asked, "progress": progress}) for b in backtests]
    table = pd.concat(found, ignore_index=True)
    # Every backtest has the same baselines.
    table = table.drop_duplicates(["cut_date", "model", "kind"], ignore_index=True)
    theirs, unlike = _comparable(table, champion, gate.metric)
    findings = [
        finding
        for name, model in challengers.items()
        for finding in _findings(name, model, table, theirs, gate)
    ]
    failed = {f.subject for f in findings if not f.ok}
    scores = {n: mean_of(_rows(table, n, _REFITTED), gate.metric) for n in challengers}
    # Those without a score come last; nan has no order.
    ranked = sorted(challengers, key=lambda n: (not scores[n] >= 0, scores[n]))
    chosen = next((n for n in ranked if n not in failed), None)
    return Verdict(
        publish=chosen is not None,
        chosen=chosen,
        best=ranked[0],
        decision=_decision(chosen, findings, unlike, champion is not None),
        findings=tuple(findings),
        table=table,
        metric=gate.metric,
        horizon=horizon,
        cuts=tuple(cuts),
    )


def scoreboard(table: pd.DataFrame) -> pd.DataFrame:
    """Average the vintages of a verdict's table.

    Parameters
    ----------
    table : DataFrame
        ``Verdict.table``.

    Returns
    -------
    DataFrame
        One row per model and kind, in the table's order: `model, kind, vintages` (with a
        result), `seen_days` (mean), and the means of the main metrics, over the vintages that
        have a result.
    """
    # All may have failed, and then there are no metrics.
    means = ["seen_days", *(c for c in _TOLD if c in table)]
    scored = table.assign(vintages=table["status"] == "ok")
    how = {"vintages": "sum", **dict.fromkeys(means, "mean")}
    return scored.groupby(["model", "kind"], sort=False, as_index=False).agg(how)


# --- forecasts ---------------------------------------------------------------------------


def _backtests(
    challengers: Mapping[str, Any],
    champion: tuple[str, Any] | None,
    fit: Mapping[str, Any],
    time_unit: str,
    money: bool,
) -> list[_Backtest]:
    """As few as will do: a backtest has one time unit, and one set of priors."""
    out: dict[tuple[str, ...], _Backtest] = {}
    for name, model in challengers.items():
        own = _of_model(fit, model)
        key = tuple(sorted(own.get("priors", ())))
        models = out.setdefault(key, _Backtest({}, time_unit, own)).models
        models[name, _REFITTED] = models[name, _AS_FITTED] = model
    if champion is None:
        return list(out.values())
    name, model = champion
    # Without amounts there is nothing to hold its spend model to.
    model = model if money else getattr(model, "purchases", model)
    own_unit = getattr(model, "purchases", model).time_unit_
    if own_unit is None or own_unit.days == TimeUnit.parse(time_unit).days:
        next(iter(out.values())).models[name, _CHAMPION] = model
        return list(out.values())
    return [*out.values(), _Backtest({(name, _CHAMPION): model}, own_unit.code, None)]


def _of_model(fit: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """The arguments of a fit, with the priors of parameters that the model has."""
    from clvpredict.evaluate.fitted import parts_of

    known = {name for part in parts_of(model) for name in part.formulas.parameter_names}
    own = {k: v for k, v in fit.items() if k != "priors"}
    priors = {name: prior for name, prior in (fit.get("priors") or {}).items() if name in known}
    return {**own, "priors": priors} if priors else own


def _run(
    asked: _Backtest, transactions: Path, options: Mapping[str, Any], how: Mapping[str, Any]
) -> pd.DataFrame:
    """The table of one backtest, with the names and kinds of its models."""
    from clvpredict.evaluate import backtest

    labels = {f"{name} ({kind})": (name, kind) for name, kind in asked.models}
    with warnings.catch_warnings():
        # Failed cells and what models have seen are in the table, and what is odd about the
        # transactions has been said when they were summarised.
        warnings.simplefilter("ignore", DataWarning)
        table = backtest(
            str(transactions),
            dict(zip(labels, asked.models.values(), strict=True)),
            refit=[label for label, (_, kind) in labels.items() if kind == _REFITTED],
            fit=asked.fit,
            **how,
            **{**options, "time_unit": asked.time_unit},
        ).table
    known = [labels.get(label, (label, _BASELINE)) for label in table["model"]]
    names = {"model": [name for name, _ in known], "kind": [kind for _, kind in known]}
    first = ["cut_date", "horizon", "model", "kind", "status", "seen_days"]
    table = table.drop(columns="horizon_periods").assign(**names)
    return table[[*first, *table.columns.difference(first, sort=False)]]


def _rows(table: pd.DataFrame, name: str, *kinds: Kind) -> pd.DataFrame:
    return table[(table["model"] == name) & table["kind"].isin(kinds)]


# --- the decision ------------------------------------------------------------------------


def _findings(
    name: str,
    model: Any,
    table: pd.DataFrame,
    champion: pd.DataFrame | None,
    gate: GateConfig,
) -> list[Finding]:
    """Every criterion of one challenger."""
    rows = _rows(table, name, _REFITTED, _AS_FITTED)
    return [
        *findings_of_fit(name, model, gate),
        findings_of_cells(name, rows),
        *findings_of_forecasts(name, rows, gate, money=hasattr(model, "spend")),
        *findings_of_score(name, rows, champion, gate),
    ]


def _comparable(
    table: pd.DataFrame, champion: tuple[str, Any] | None, metric: str
) -> tuple[pd.DataFrame | None, str]:
    """The champion's rows, or why there is nothing to compare with."""
    if champion is None:
        return None, "there is no champion yet"
    rows = _rows(table, champion[0], _CHAMPION)
    if metric in rows and rows[metric].notna().any():
        return rows, ""
    failed = rows.loc[rows["status"] != "ok", "status"]
    why = f"it has no {metric}" if failed.empty else str(failed.iloc[0])
    return None, f"the champion, {champion[0]}, could not be compared with: {why}"


def _decision(
    chosen: str | None, findings: Sequence[Finding], unlike: str, has_champion: bool
) -> str:
    """The decision in a sentence."""
    if chosen is not None:
        scores = [f.says for f in findings if f.subject == chosen and f.criterion == "score"]
        return f"publish {chosen}: within all bounds; {unlike or scores[0]}."
    failed: dict[str, list[str]] = {}
    for finding in findings:
        if not finding.ok:
            failed.setdefault(finding.subject, []).append(finding.says.rstrip("."))
    said = ". ".join(f"{name}: {'; '.join(says)}" for name, says in failed.items())
    kept = "the champion stays" if has_champion else "there is no champion to fall back on"
    return f"held back, {kept}. {said}."
