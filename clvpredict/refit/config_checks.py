"""What the keys of a configuration must be together, and what needs more than a type."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, available_timezones

from clvpredict.errors import DataWarning, OptionError, did_you_mean
from clvpredict.options import TimeUnit
from clvpredict.refit import secrets
from clvpredict.refit.config import Config
from clvpredict.refit.config_finding import (
    Finding,
    Findings,
    database_findings,
    secret_findings,
)
from clvpredict.refit.config_outputs import output_findings
from clvpredict.refit.toml_lines import KeyPath
from clvpredict.rfm import PREDICTIONS_KEY

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("customer_id", "date", "amount", "loaded_at")
_HOOKS = ("on_published", "on_held_back", "on_failed")
# Columns of predictions.
_LIKELY, _EXPECTED = ("p_alive", "p_purchase"), ("expected_purchases",)
_WORTH, _NET = ("expected_spend", "clv"), ("net_clv",)
# What is of money only, by table.
_OF_MONEY = {
    "predict": ("discount_rate", "discounting", "margin", "fallback_spend", "costs"),
    "checks": ("max_amount_shift", "max_median_ratio"),
    "gate": ("max_value_bias",),
}


def findings(config: Config) -> Findings:
    """Find what single values do not show."""
    yield from _source(config)
    yield from _summary(config)
    yield from _model(config)
    yield from _predict(config)
    yield from _segments(config)
    yield from _gate(config)
    yield from _hooks(config)
    yield from _money(config)
    yield from output_findings(config)
    yield from _misplaced_names(config)


def _source(config: Config) -> Findings:
    source = config.source
    either = (("source", "path"), ("source", "database"))
    if source.path is None and source.database is None:
        yield Finding(
            either[0],
            'is missing; add path = "orders/*.csv" under [source], or database = "..." and '
            'table = "..."',
            either,
        )
    if source.path is not None and source.database is not None:
        yield Finding(either[1], "is given beside path; keep one of them", either)
    asked = [key for key in ("table", "query") if getattr(source, key) is not None]
    if source.database is not None:
        if len(asked) != 1:
            says = (
                'needs a table or a query; add table = "orders"'
                if not asked
                else ("has a table and a query; keep one of them")
            )
            yield Finding(("source", "database"), says, (("source", "table"), ("source", "query")))
        yield from database_findings(either[1], source.database)
    elif source.path is not None:
        for key in asked:
            yield Finding(("source", key), "is of a database; remove it", either)
    for path in (source.path,) if isinstance(source.path, str) else source.path or ():
        if "://" in path:
            yield Finding(
                ("source", "path"), "is not a local file; nothing is fetched from elsewhere"
            )
    for one, other in itertools.combinations(_COLUMNS, 2):
        if getattr(source, one) is not None and getattr(source, one) == getattr(source, other):
            # Of the two, the one that the file has.
            key = other if other in source.model_fields_set else one
            yield Finding(
                ("source", key),
                f"is one column for {one} and {other}; each needs its own",
                (("source", one), ("source", other)),
            )


def _summary(config: Config) -> Findings:
    yield from _unit(("summary", "time_unit"), config.summary.time_unit)
    zone = config.summary.timezone
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        hint = did_you_mean(zone, available_timezones())
        yield Finding(
            ("summary", "timezone"),
            f"is no time zone; use a name such as 'UTC' or 'Europe/Berlin'.{hint}",
        )


def _model(config: Config) -> Findings:
    from clvpredict.models.registry import PURCHASE_MODELS, SPEND_MODELS

    model, path = config.model, ("model", "candidates")
    for name in model.candidates:
        if name in SPEND_MODELS:
            yield Finding(
                path,
                f"has '{name}', which is fitted by itself where there are amounts; remove it",
            )
        elif name not in PURCHASE_MODELS:
            yield Finding(
                path,
                f"has '{name}', which is not known. Allowed: {', '.join(PURCHASE_MODELS)}."
                f"{did_you_mean(name, PURCHASE_MODELS)}",
            )
    yield from _repeated(path, model.candidates)
    if model.priors and model.method == "mle":
        yield Finding(
            ("model", "priors"),
            "needs a method with priors: 'map', 'laplace', 'nuts' or 'auto'; change method, or "
            "remove the priors",
            (("model", "method"),),
        )
    fitted = [PURCHASE_MODELS[name] for name in model.candidates if name in PURCHASE_MODELS]
    spend = list(SPEND_MODELS.values()) if config.source.amount is not None else []
    known = {p: None for m in (*fitted, *spend) for p in m.parameter_names}
    for name, prior in model.priors.items():
        if fitted and name not in known:
            yield Finding(
                ("model", "priors", name),
                f"is no parameter of the candidates, which have {', '.join(known)}",
                (path, ("source", "amount")),
            )
        if len(prior.model_fields_set) != 1:
            yield Finding(
                ("model", "priors", name),
                "must be one of {lognormal = [mu, sigma]}, {halfnormal = sigma} and "
                "{gamma = [alpha, beta]}",
            )


def _predict(config: Config) -> Findings:
    predict, path = config.predict, ("predict", "horizons")
    lengths: dict[float, str] = {}
    for horizon in predict.horizons:
        length = _days(horizon)
        if length is None:
            yield Finding(path, f'has {horizon!r}, which is no length of time, such as "52W"')
        elif length in lengths:
            yield Finding(path, f"has {lengths[length]!r} and {horizon!r}, which are the same")
        else:
            lengths[length] = horizon
            yield from _discounting(config, horizon)
    if predict.costs is not None:
        yield from _unit(("predict", "costs", "period"), predict.costs.period)
        if predict.recalibrate:
            yield Finding(
                ("predict", "recalibrate"),
                "corrects purchases and their value, and knows no costs; remove one of them",
                (("predict", "costs"),),
            )


def _discounting(config: Config, horizon: str) -> Findings:
    from clvpredict.value import Discount, discount_factor

    predict, unit = config.predict, config.summary.time_unit
    if config.source.amount is None or _days(unit) is None:
        return
    try:
        terms = Discount(predict.discount_rate, predict.discounting)
        discount_factor(TimeUnit.parse(unit).periods(horizon), TimeUnit.parse(unit), terms)
    except OptionError as error:
        yield Finding(
            ("predict", "discounting"),
            f"cannot be used: {error}",
            (("summary", "time_unit"), ("predict", "discount_rate"), ("source", "amount")),
        )


def _segments(config: Config) -> Findings:
    """The rule is tried on customers of all kinds, made for it."""
    if config.segments is None:
        return
    from clvpredict.business import segment_customers

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            table = made_up_predictions(config)
            segment_customers(table, config.segments.by, **config.segments.options)
    except (OptionError, TypeError, ValueError) as error:
        yield Finding(
            ("segments", "options"),
            f"cannot be used: {error}",
            (("segments", "by"), ("source", "amount"), ("summary", "time_unit")),
        )


def made_up_predictions(config: Config, n: int = 1000) -> pd.DataFrame:
    """Predictions with the columns that the job will make, of n different customers."""
    import pandas as pd

    predict, money = config.predict, config.source.amount is not None
    net = money and predict.costs is not None
    rank = pd.Series(range(1, n + 1), dtype="float64")
    columns: dict[str, Any] = {
        "customer_id": rank.index,
        "frequency": rank % 7,
        "recency": rank,
        "T": rank + 1.0,
    }
    if money:
        columns |= {"monetary_value": rank, "clv_undiscounted": rank}
    for name in (*_LIKELY, *_EXPECTED, *(_WORTH if money else ()), *(_NET if net else ())):
        values = rank / (n + 1.0) if name in _LIKELY else rank
        columns |= dict.fromkeys((name, f"{name}_lower", f"{name}_upper"), values)
    columns["churn_probability"] = 1.0 - rank / (n + 1.0)
    realised = ("purchases", *(("value",) if money else ()), *(("net_value",) if net else ()))
    for name in realised:
        columns |= dict.fromkeys((f"{name}_pi_lower", f"{name}_pi_upper"), rank)
    table = pd.DataFrame(columns)
    table.attrs[PREDICTIONS_KEY] = {"time_unit": config.summary.time_unit}
    return table


def _gate(config: Config) -> Findings:
    for key in ("horizon", "every"):
        value = getattr(config.gate, key)
        if value is not None and _days(value) is None:
            yield Finding(("gate", key), 'must be a length of time, such as "13W"')


def _hooks(config: Config) -> Findings:
    from clvpredict.refit.hooks import check_hook

    for key in _HOOKS:
        words = getattr(config.hooks, key)
        if words and not words[0].strip():
            yield Finding(("hooks", key), "must begin with the name of a program")
        try:
            check_hook(words)
        except OptionError as error:
            yield Finding(("hooks", key), str(error))
        yield from secret_findings(("hooks", key), *words)
    if config.tracking is not None:
        yield from secret_findings(("tracking", "uri"), config.tracking.uri)


def _money(config: Config) -> Findings:
    """Options of money where there is none."""
    if config.source.amount is not None:
        return
    amount = (("source", "amount"),)
    for section, keys in _OF_MONEY.items():
        table = getattr(config, section)
        for key in keys:
            if key in table.model_fields_set and getattr(table, key) is not None:
                yield Finding(
                    (section, key),
                    "is of money, and amount = false says that there is none; remove it",
                    amount,
                )
    if config.gate.metric.startswith("value_"):
        yield Finding(
            ("gate", "metric"),
            'is of money, and amount = false says that there is none; use "crps"',
            amount,
        )


def _misplaced_names(config: Config) -> Findings:
    """Names of variables where none are read."""
    paths = config.source.path or ()
    texts: list[tuple[KeyPath, str]] = [
        (("job", "name"), config.job.name),
        (("job", "store"), config.job.store),
        *((("source", "path"), p) for p in ((paths,) if isinstance(paths, str) else paths)),
        *((("outputs", i, "path"), out.path or "") for i, out in enumerate(config.outputs)),
    ]
    for path, text in texts:
        if secrets.used(text):
            yield Finding(
                path,
                f"has ${{{secrets.used(text)[0]}}}; environment variables are read in "
                "database, hooks and tracking.uri only. Write it out",
            )


def _unit(path: KeyPath, unit: str) -> Findings:
    try:
        TimeUnit.parse(unit)
    except OptionError:
        yield Finding(path, "is no unit of time: 'h', 'D', 'W', 'M', 'Y', or such as '10D'")


def _days(length: str) -> float | None:
    """A length of time in days; None if it is none. A bare number has no unit."""
    try:
        return TimeUnit.parse(length).days
    except OptionError:
        return None


def _repeated(path: KeyPath, names: Sequence[str]) -> Findings:
    for name, same in itertools.groupby(sorted(names)):
        if len(list(same)) > 1:
            yield Finding(path, f"has '{name}' more than once")
