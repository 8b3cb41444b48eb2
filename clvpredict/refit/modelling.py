"""Candidates of a run: summarised, fitted, and started where the last model ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clvpredict.errors import (
    ArtefactError,
    ConvergenceError,
    DataError,
    DataWarning,
    OptionError,
    Problem,
    notify,
)
from clvpredict.options import TimeUnit
from clvpredict.refit.sample import sampled
from clvpredict.refit.versions import MODEL

if TYPE_CHECKING:
    from datetime import date

    import pandas as pd

    from clvpredict.predict import Recalibration
    from clvpredict.refit.config import Config
    from clvpredict.refit.landing import Landed
    from clvpredict.refit.store import Store

Fitted = dict[str, Any]
#: Starting values by parameter, of each candidate.
Starts = dict[str, dict[str, float]]
# How many vintages a recalibration is learnt from: the newest ones, as far apart as the gate's.
_VINTAGES = 8


def log_options(config: Config) -> dict[str, Any]:
    """How the transactions are read: what summaries, histories and backtests have in common."""
    source, summary = config.source, config.summary
    return {
        "customer_id": source.customer_id,
        "date": source.date,
        "amount": source.amount or None,
        "collapse": summary.collapse,
        "returns": summary.returns,
        "timezone": summary.timezone,
        "observation_start": summary.observation_start,
    }


def summary_options(config: Config) -> dict[str, Any]:
    """The arguments of ``rfm_summary`` besides the transactions and the end of observation."""
    summary = config.summary
    return {
        **log_options(config),
        "time_unit": summary.time_unit,
        "currency": summary.currency,
    }


def summarise(
    transactions: Path, config: Config, end: date | None, unit: str | None = None
) -> pd.DataFrame:
    """Make the RFM summary of a run; in another unit of time, for a model that was fitted in it."""
    from clvpredict.transactions import rfm_summary

    options = summary_options(config)
    options["time_unit"] = unit or options["time_unit"]
    try:
        return rfm_summary(str(transactions), observation_end=end, **options)
    except DataError as error:
        problems = [_at_the_source(problem, transactions) for problem in error.problems]
        raise DataError(error.subject, problems) from None


def _at_the_source(problem: Problem, transactions: Path) -> Problem:
    """Give advice that can be followed: what was read is the run's own file, and soon gone."""
    if str(transactions) not in problem.fix:
        return problem
    return replace(problem, fix="mend such rows where they come from, and run again")


def other_unit(model: Any, config: Config) -> str | None:
    """The unit of time that a model was fitted in, if that is not the configuration's."""
    known: TimeUnit | None = parts(model)["purchases"].time_unit_
    asked = TimeUnit.parse(config.summary.time_unit)
    return None if known is None or known.days == asked.days else known.code


def fit_options(config: Config, model: Any = None) -> dict[str, Any]:
    """The arguments of ``fit`` besides the customers and the start; all priors without a model."""
    asked = config.model
    options: dict[str, Any] = {"method": asked.method, "seed": config.job.seed}
    if asked.priors:
        names = None
        if model is not None:
            names = [n for p in parts(model).values() for n in p._model.parameter_names]
        options["priors"] = asked.make_priors(names)
    return options


def new_model(name: str, config: Config) -> Any:
    """An unfitted model of the registry, with a spend model where there are amounts."""
    from clvpredict.estimators import ESTIMATORS, CLVModel, PurchaseEstimator

    purchases = ESTIMATORS[name]()
    assert isinstance(purchases, PurchaseEstimator)  # the configuration allows no others
    return CLVModel(purchases) if config.source.amount else purchases


def warm_start(model: Any, champion: Any, config: Config) -> dict[str, float]:
    """Where to start: the champion's estimates of the parameters that both have.

    A model of other purchases lends its spend model only; one in another time unit lends that
    too, for money has no time.
    """
    if champion is None:
        return {}
    ours, theirs = parts(model), parts(champion)
    unit = TimeUnit.parse(config.summary.time_unit)
    out: dict[str, float] = {}
    for kind, part in ours.items():
        known = theirs.get(kind)
        if known is None or type(known) is not type(part):
            continue
        if kind == "purchases" and known.time_unit_ != unit:
            continue
        out |= known.params_
    return out


def fit_candidates(
    rfm: pd.DataFrame, config: Config, champion: Any, given: Starts | None = None
) -> tuple[Fitted, Starts, dict[str, str]]:
    """Fit every candidate.

    Parameters
    ----------
    rfm : DataFrame
    config : Config
    champion : model or None
        What is published: fits begin where it ended.
    given : dict of str to dict, optional
        Where fits begin instead.

    Returns
    -------
    fitted : dict of str to model
        Those that converged, by name.
    starts : dict of str to dict
        Where each was started.
    failures : dict of str to str
        Why others did not.
    """
    fitted, starts, failures = {}, {}, {}
    for name in config.model.candidates:
        model = new_model(name, config)
        known = (given or {}).get(name)
        starts[name] = warm_start(model, champion, config) if known is None else known
        try:
            fitted[name] = model.fit(rfm, start=starts[name] or None, **fit_options(config, model))
        except ConvergenceError as error:
            failures[name] = str(error)
    return fitted, starts, failures


def published_model(store: Store, version_id: str) -> Any:
    """The model of a version; None, with a warning, where the version is damaged."""
    from clvpredict.store import load_model

    try:
        version = store.version(version_id)
        version.check()
        return load_model(version.file(MODEL))
    except (ArtefactError, OptionError) as error:
        # A job must not fail every night from now on because a disk once did.
        notify(
            f"what is published cannot be used: {error} This run goes on without it: candidates "
            "are judged by themselves, and the outputs stay as they are if none is good enough.",
            DataWarning,
        )
        return None


def as_asked(model: Any, config: Config) -> Any:
    """What a published model can predict of the customers that the configuration asks for."""
    if not config.source.amount:
        return model.purchases if is_money(model) else model
    if not is_money(model):
        notify(
            "the published model knows no money, so its predictions have no column of it; they "
            "will when a new one is published",
            DataWarning,
        )
    return model


def learn_recalibration(landed: Landed, config: Config, model: Any) -> Recalibration | None:
    """Learn from vintages what to correct in forecasts of the main horizon.

    Parameters
    ----------
    landed : Landed
        The transactions; of many customers a part is looked at, as by the gate.
    config : Config
    model : model
        What predicts; its recipe is fitted anew at each vintage.

    Returns
    -------
    Recalibration or None
        None, with a warning, where the data are too short to learn from.
    """
    from clvpredict.evaluate import backtest, recalibrate
    from clvpredict.refit.vintages import vintages

    options = {k: v for k, v in summary_options(config).items() if k != "currency"}
    options["time_unit"] = other_unit(model, config) or options["time_unit"]
    main = config.predict.horizons[0]
    asked = config.gate.model_copy(update={"horizon": main, "vintages": _VINTAGES})
    most = config.gate.sample or landed.customers
    assert landed.first is not None  # else the summary had refused
    assert landed.last is not None
    try:
        unit = TimeUnit.parse(options["time_unit"])
        horizon, cuts = vintages(landed.first, landed.last, asked, unit, main)
        with sampled(landed.path, config.source.customer_id, landed.customers, most) as path:
            results = backtest(
                str(path),
                model,
                horizons=[horizon],
                cut_dates=cuts,
                fit=fit_options(config, model),
                seed=config.job.seed,
                **options,
            )
        return recalibrate(results)
    except (OptionError, DataError) as error:
        notify(f"there is no recalibration: {error}", DataWarning)
        return None


def parts(model: Any) -> dict[str, Any]:
    """The purchase model and, if there is one, the spend model."""
    if is_money(model):
        return {"purchases": model.purchases, "spend": model.spend}
    return {"purchases": model}


def is_money(model: Any) -> bool:
    """Whether the model predicts money."""
    return hasattr(model, "spend")
