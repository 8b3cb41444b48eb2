"""What a configuration would do, in words."""

from __future__ import annotations

from clvpredict.errors import DataError
from clvpredict.refit import secrets
from clvpredict.refit.config import Config, OutputConfig
from clvpredict.transactions.files import find_files

_MODES = {"on_published": "published", "on_held_back": "held back", "on_failed": "failed"}


def describe(config: Config) -> list[tuple[str, str]]:
    """Say what a job would do, as ``clvpredict check`` shows it.

    Parameters
    ----------
    config : Config
        From :func:`clvpredict.refit.load_config`.

    Returns
    -------
    list of (str, str)
        What it is about, and what would be done; without secrets. Files are counted, nothing is
        read.

    Examples
    --------
    >>> from pathlib import Path
    >>> from clvpredict.refit import load_config
    >>> from clvpredict.refit.describe import describe
    >>> from clvpredict.refit.template import template
    >>> _ = Path("shop.toml").write_text(template("shop"))
    >>> dict(describe(load_config("shop.toml")))["models"]
    'mbg/nbd and gamma-gamma, by laplace'
    """
    rows = [
        ("job", f"{config.job.name}, seed {config.job.seed}"),
        ("store", str(config.resolve(config.job.store))),
        ("source", _source(config)),
        ("columns", _columns(config)),
        ("summary", _summary(config)),
        ("checks", _bounds(config.checks.model_dump(exclude={"compare_runs"}))),
        ("models", _models(config)),
        ("predictions", _predictions(config)),
        ("segments", _segments(config)),
        ("gate", _gate(config)),
        *(("output", _output(config, output)) for output in config.outputs),
        ("hooks", _hooks(config)),
        ("tracking", _tracking(config)),
        ("kept", f"{config.retention.runs} runs, {config.retention.versions} versions"),
        ("environment variables", ", ".join(variables(config))),
    ]
    return [(what, secrets.redact(says)) for what, says in rows if says]


def variables(config: Config) -> list[str]:
    """The environment variables that a job reads, each once."""
    texts = [config.source.database, *(output.database for output in config.outputs)]
    for words in (config.hooks.on_published, config.hooks.on_held_back, config.hooks.on_failed):
        texts += words
    if config.tracking is not None:
        texts.append(config.tracking.uri)
    return list(dict.fromkeys(name for text in texts if text for name in secrets.used(text)))


def count_files(config: Config) -> int | None:
    """How many files the source has now; None of a database."""
    if config.source.database is not None:
        return None
    try:
        return len(find_files([config.resolve(path) for path in _paths(config)]))
    except DataError:
        return 0


def _paths(config: Config) -> list[str]:
    path = config.source.path
    return [path] if isinstance(path, str) else list(path or ())


def _source(config: Config) -> str:
    source = config.source
    if source.database is not None:
        what = f"table {source.table}" if source.table else "a query"
        how = f"{what} of {config.resolve_database(source.database)}"
    else:
        n = count_files(config) or 0
        how = f"{', '.join(_paths(config))} ({n:,} file{'s' if n != 1 else ''} now)"
    if source.incremental:
        how += f"; only what is new, up to {source.late_days} days late"
    return how


def _columns(config: Config) -> str:
    source = config.source
    names = [source.customer_id, source.date, source.amount, source.loaded_at]
    return ", ".join(name for name in names if name) + ("" if source.amount else "; no money")


def _summary(config: Config) -> str:
    summary = config.summary
    says = f"time unit {summary.time_unit}, purchases within one {summary.collapse} are one"
    says += f", returns {summary.returns}, {summary.timezone}"
    if summary.currency:
        says += f", in {summary.currency}"
    if summary.observation_start:
        says += f", from {summary.observation_start}"
    return says


def _bounds(given: dict[str, object]) -> str:
    on = [f"{name} {_said(value)}" for name, value in given.items() if value is not None]
    off = [name for name, value in given.items() if value is None]
    return ", ".join(on) + (f"; off: {', '.join(off)}" if off else "")


def _said(value: object) -> str:
    return " to ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _models(config: Config) -> str:
    model = config.model
    names = ", ".join(model.candidates)
    says = f"{names} and gamma-gamma" if config.source.amount else names
    says += f", by {model.method}"
    return f"{says}; priors of {', '.join(model.priors)}" if model.priors else says


def _predictions(config: Config) -> str:
    predict = config.predict
    says = f"over {', '.join(predict.horizons)}, {100 * predict.interval:g} % intervals"
    if config.source.amount:
        rate = f"{100 * predict.discount_rate:g} % a year"
        says += f", discounted by {rate} ({predict.discounting}), margin {predict.margin:g}"
        says += ", after costs" if predict.costs else ""
    if not predict.recalibrate:
        return says
    return f"{says}, recalibrated" + f" ({predict.horizons[0]} only)" * (len(predict.horizons) > 1)


def _segments(config: Config) -> str:
    if config.segments is None:
        return ""
    options = [f"{name} = {value}" for name, value in config.segments.options.items()]
    return ", ".join([f"by {config.segments.by}", *options])


def _gate(config: Config) -> str:
    gate = config.gate
    bounds = {k: v for k, v in gate.model_dump().items() if k.startswith("max_")}
    times = f"{gate.vintages} vintages" + (f" of {gate.horizon}" if gate.horizon else "")
    return f"{times}, {gate.metric} at most {100 * gate.margin:g} % worse, {_bounds(bounds)}"


def _output(config: Config, output: OutputConfig) -> str:
    where = (
        str(config.resolve(output.path))
        if output.path
        else f"table {output.table} of {config.resolve_database(output.database or '')}"
    )
    return f"{where}, by date" if output.partition else where


def _hooks(config: Config) -> str:
    given = {mode: getattr(config.hooks, key) for key, mode in _MODES.items()}
    return ", ".join(f"{mode}: {words[0]}" for mode, words in given.items() if words)


def _tracking(config: Config) -> str:
    tracking = config.tracking
    return "" if tracking is None else f"MLflow at {tracking.uri}, experiment {tracking.experiment}"
