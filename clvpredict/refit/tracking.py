"""Runs in MLflow, where the configuration asks for it.

MLflow is told; it decides nothing, and a run does not fail because it cannot be told. What it
gets is what the store has already: the record, and the model as a folder of open formats.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import math
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clvpredict.errors import MissingExtraError
from clvpredict.refit import secrets

if TYPE_CHECKING:
    import pandas as pd

    from clvpredict.refit.config import Config
    from clvpredict.refit.records import RunRecord

_CODE = Path(__file__).with_name("pyfunc_model.py")
_LONGEST_NAME, _LONGEST_VALUE = 250, 6_000
_METRICS_AT_ONCE, _PARAMETERS_AT_ONCE = 1_000, 100
_NOT_IN_NAMES = re.compile(r"[^\w\-. /]", re.ASCII)
#: What tells entries of a list apart.
_TITLES = ("title", "name", "check", "parameter", "measure")
# What the environment says already stays. Files were asked for by their URI; telemetry was not
# asked for; and a server that is down is not to hold up a nightly job for minutes.
_SETTINGS = {
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
}
_FINISHED = (0, 5)


def track(
    config: Config,
    record: RunRecord,
    *,
    version: Path | None = None,
    sample: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """Tell MLflow of a run; nothing that goes wrong there is an error here.

    Parameters
    ----------
    config : Config
        With a table ``[tracking]``.
    record : RunRecord
        Of the run, as far as it has come.
    version : Path, optional
        The folder of the version it has published, with ``model/`` and perhaps
        ``recalibration.json``; None logs no model.
    sample : DataFrame, optional
        A few rows of the RFM summary: the example and the signature of the model.

    Returns
    -------
    dict
        ``uri`` (without secrets), ``experiment``, ``mlflow_run`` (its id) and ``model_uri``, each
        None where it did not come so far, and ``problem``: None, or what went wrong.

    Examples
    --------
    >>> from clvpredict.refit.config import Config, TrackingConfig
    >>> from clvpredict.refit.records import RunRecord
    >>> from clvpredict.refit.tracking import track
    >>> config = Config(tracking=TrackingConfig(uri="file:./mlruns"))
    >>> told = track(config, RunRecord.begun("shop"))
    >>> told["experiment"], told["problem"]
    ('clvpredict', None)
    """
    asked = config.tracking
    assert asked is not None
    told: dict[str, Any] = {
        "uri": secrets.redact(asked.uri),
        "experiment": asked.experiment,
        "mlflow_run": None,
        "model_uri": None,
        "problem": None,
    }
    try:
        with _mlflow(config) as (mlflow, client):
            experiment = _experiment(client, asked.experiment)
            told["mlflow_run"] = run_id = _begin(client, experiment, record)
            ended = "FAILED"
            try:
                _tell(client, run_id, config, record)
                if asked.model and version is not None and sample is not None:
                    # Otherwise it would belong to the process's experiment, not to the run's.
                    model = client.create_logged_model(experiment, "model", source_run_id=run_id)
                    known = {"run_id": run_id, "model_id": model.model_id}
                    told["model_uri"] = _log_model(mlflow, config, version, sample, known)
                ended = "FINISHED" if record.exit_code in _FINISHED else "FAILED"
            finally:
                client.set_terminated(run_id, status=ended, end_time=_milliseconds(record.ended))
    except Exception as error:  # MLflow's, its server's, the network's: any
        text = secrets.redact(f"{type(error).__name__}: {error}")
        told["problem"] = f"MLflow was not told everything: {text}"
    return told


def check_tracking() -> None:
    """Refuse to go on where MLflow is not installed.

    Raises
    ------
    MissingExtraError
        With the command that installs it.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise MissingExtraError("mlflow", "tracking")


@contextlib.contextmanager
def _mlflow(config: Config) -> Iterator[tuple[Any, Any]]:
    """MLflow and its client, at the configuration's store; afterwards all is as it was."""
    check_tracking()
    assert config.tracking is not None
    uri = _absolute(secrets.resolve(config.tracking.uri), config)
    logger = logging.getLogger("mlflow")
    level = logger.level
    with _environment(_SETTINGS), warnings.catch_warnings():
        # It warns of its own code and of its own habits, at import and later.
        warnings.simplefilter("ignore")
        import mlflow
        import mlflow.pyfunc

        before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
        logger.setLevel(logging.ERROR)
        try:
            # Models are logged where the process's URI says.
            mlflow.set_tracking_uri(uri)
            yield mlflow, mlflow.MlflowClient(uri)
        finally:
            mlflow.set_tracking_uri(before)
            logger.setLevel(level)


@contextlib.contextmanager
def _environment(defaults: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in (*defaults, "MLFLOW_TRACKING_URI")}
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old


def _absolute(uri: str, config: Config) -> str:
    """A ``file:`` URI with its path in full: relative ones start at the configuration's folder."""
    path = uri.removeprefix("file:")
    if path == uri or path.startswith("/"):
        return uri
    return config.resolve(path).resolve().as_uri()


# ---- the run -------------------------------------------------------------------------------------


def _experiment(client: Any, name: str) -> str:
    known = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if known is None else known.experiment_id)


def _begin(client: Any, experiment: str, record: RunRecord) -> str:
    tags = {
        "clvpredict.run_id": record.run_id,
        "clvpredict.job": record.name,
        "clvpredict.status": record.status,
        "clvpredict.version": record.version,
        "clvpredict.as_of": record.as_of,
        "clvpredict.package": record.packages.get("clvpredict"),
    }
    run = client.create_run(
        experiment,
        start_time=_milliseconds(record.started),
        tags={name: value for name, value in tags.items() if value},
        run_name=record.run_id,
    )
    return str(run.info.run_id)


def _tell(client: Any, run_id: str, config: Config, record: RunRecord) -> None:
    """Options, numbers and documents of a run."""
    from mlflow.entities import Metric, Param

    options = config.model_dump(mode="json", exclude={"hooks", "log", "tracking"})
    when = _milliseconds(record.ended or record.started)
    numbers = dict(_numbers("", _measured(record)))
    metrics = [Metric(_name(n), v, when, 0) for n, v in numbers.items()]
    estimates = {n: f"{v:.6g}" for n, v in numbers.items() if ".parameters." in n}
    texts = dict(_texts("", options)) | estimates
    parameters = [
        Param(_name(n), secrets.redact(text)[:_LONGEST_VALUE]) for n, text in texts.items()
    ]
    for start in range(0, len(metrics), _METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=metrics[start : start + _METRICS_AT_ONCE])
    for start in range(0, len(parameters), _PARAMETERS_AT_ONCE):
        client.log_batch(run_id, params=parameters[start : start + _PARAMETERS_AT_ONCE])
    documents = {"run": record.model_dump(), "gate": record.gate, "drift": record.drift}
    for name, found in documents.items():
        if found is not None:
            text = json.dumps(found, indent=2, ensure_ascii=False)
            client.log_text(run_id, secrets.redact(text), f"{name}.json")
    client.log_text(run_id, secrets.redact(config.text), "config.toml")


def _measured(record: RunRecord) -> dict[str, Any]:
    """What a run has measured, as far as it has come."""
    return {
        "model": record.models,
        "gate": record.gate,
        "drift": record.drift,
        "seconds": record.timings,
        "input": record.input,
        "totals": record.facts.get("totals"),
    }


def _numbers(prefix: str, value: Any) -> Iterator[tuple[str, float]]:
    """Every finite number of a nested record, under the path to it."""
    if isinstance(value, int | float):
        if math.isfinite(value):
            yield prefix, float(value)
        return
    for name, entry in _entries(value):
        yield from _numbers(f"{prefix}.{name}" if prefix else name, entry)


def _texts(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every option of a nested configuration, under the path to it."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from _texts(f"{prefix}.{name}" if prefix else name, entry)
    elif value is not None:
        yield prefix, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Entries of a dict, and of a list whose own have titles; tables are in the documents."""
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        for entry in value:
            titled = [entry[t] for t in _TITLES if t in entry] if isinstance(entry, dict) else []
            if titled:
                yield str(titled[0]), entry


def _name(text: str) -> str:
    return _NOT_IN_NAMES.sub("_", text)[:_LONGEST_NAME]


def _milliseconds(moment: str | None) -> int | None:
    return None if moment is None else round(datetime.fromisoformat(moment).timestamp() * 1000)


# ---- the model -----------------------------------------------------------------------------------


def _log_model(
    mlflow: Any, config: Config, version: Path, sample: pd.DataFrame, known: dict[str, str]
) -> str:
    """Log the model as code and files; the other way, of objects, would pickle it."""
    from mlflow.models import Model

    import clvpredict

    predict = config.predict.model_dump(mode="json", exclude_none=True)
    parameters = {
        "horizon": predict["horizons"][0],
        "interval": predict["interval"],
        "draws": predict["draws"],
        "seed": config.job.seed,
    }
    with tempfile.TemporaryDirectory(prefix="clvpredict-mlflow-") as folder:
        options = Path(folder) / "options.json"
        options.write_text(json.dumps({"predict": predict, "job": {"seed": config.job.seed}}))
        files = {
            "model": version / "model",
            "recalibration": version / "recalibration.json",
            "options": options,
        }
        logged = Model.log(
            None,
            flavor=mlflow.pyfunc,
            **known,
            python_model=str(_CODE),
            artifacts={name: str(path) for name, path in files.items() if path.exists()},
            # The signature is what MLflow finds by predicting this.
            input_example=(_example(sample), parameters),
            pip_requirements=[f"clvpredict[mlflow]=={clvpredict.__version__}"],
        )
    if logged.signature is None:
        raise RuntimeError("it could not predict the example with the model that it was given")
    return str(logged.model_uri)


def _example(sample: pd.DataFrame) -> pd.DataFrame:
    """A few histories as an example, of nobody: customers' ids stay in the store."""
    import pandas as pd

    example = sample.reset_index(drop=True)
    example.attrs = {}
    numbers = range(1, len(example) + 1)
    if pd.api.types.is_integer_dtype(example["customer_id"].dtype):
        example["customer_id"] = list(numbers)
    else:
        example["customer_id"] = [f"customer {n}" for n in numbers]
    return example
