"""Fitted models on disk: a folder with ``model.json`` and, of a posterior, its draws."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

import clvpredict
from clvpredict.atomic import new_folder
from clvpredict.errors import ArtefactError, OptionError, did_you_mean
from clvpredict.estimators import (
    ESTIMATORS,
    CLVModel,
    Estimator,
    GammaGamma,
    PurchaseEstimator,
)
from clvpredict.inference.dependence import Dependence
from clvpredict.inference.result import Convergence, FitResult, Sampling
from clvpredict.options import TimeUnit
from clvpredict.store.draws import draws_file, read_draws, write_draws

SCHEMA_VERSION = 2


def _with_sampling(raw: dict[str, Any]) -> dict[str, Any]:
    """Schema 2 knows draws; models of schema 1 have none."""
    parts = {}
    for part in ("purchases", "spend"):
        if isinstance(raw.get(part), dict) and isinstance(raw[part].get("fit"), dict):
            fit = {**raw[part]["fit"], "sampling": None, "draws_sha256": None}
            parts[part] = {**raw[part], "fit": fit}
    return {**raw, **parts}


#: Version n -> what turns a file of version n into one of version n + 1.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _with_sampling}

_FORMAT = "clvpredict model"
_FILE = "model.json"
_PARTS = ("purchases", "spend")


class _Record(BaseModel):
    # JSON has no nan, which is the covariance of parameters that were given, not fitted.
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")


class _Fit(_Record):
    method: str
    parameters: dict[str, float]
    log_covariance: list[list[float]]
    log_likelihood: float
    n_customers: int
    n_rows: int
    convergence: Convergence
    sampling: Sampling | None
    draws_sha256: str | None


class _Part(_Record):
    estimator: str
    model: str
    time_unit: TimeUnit | None
    fit: _Fit
    independence: Dependence | None
    data: dict[str, Any] | None
    data_fingerprint: str | None


class _ModelFile(_Record):
    format: Literal["clvpredict model"]
    schema_version: int
    package_version: str
    kind: Literal["purchases", "spend", "clv"]
    purchases: _Part | None = None
    spend: _Part | None = None


def save_model(model: Estimator | CLVModel, folder: str | Path) -> None:
    """Save a fitted model as a folder in open formats.

    The folder appears whole or not at all, and an older model in its place stays readable until
    then. Equal models give equal bytes.

    Parameters
    ----------
    model : BGNBD, MBGNBD, NBD, GammaGamma or CLVModel
        Fitted, or made from given parameters.
    folder : str or Path
        Where to; a model that is there already is replaced.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    OptionError
        If the folder holds anything but a clvpredict model, or its parent does not exist.

    Examples
    --------
    >>> import clvpredict as clv
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> model = clv.MBGNBD().fit(rfm)
    >>> clv.save_model(model, "my-model")
    >>> clv.load_model("my-model").params_ == model.params_
    True
    """
    parts = _estimators(model)
    for part in parts.values():
        _check_saveable(part)
    if model.changed_:
        raise OptionError(
            f"this model is changed, a question of what if ({model.changed_}), and cannot be "
            "saved; save the one it was made of."
        )
    target = check_model_target(Path(folder))
    with new_folder(target) as temporary:
        record = _ModelFile(
            format="clvpredict model",
            schema_version=SCHEMA_VERSION,
            package_version=clvpredict.__version__,
            kind="clv" if isinstance(model, CLVModel) else model._part,
            **{name: _part(part, temporary) for name, part in parts.items()},
        )
        text = record.model_dump_json(indent=2) + "\n"
        (temporary / _FILE).write_text(text, encoding="utf-8")


def load_model(folder: str | Path) -> Estimator | CLVModel:
    """Load a model saved by :func:`save_model`.

    Parameters
    ----------
    folder : str or Path
        The folder; those of earlier versions of the package load too.

    Returns
    -------
    BGNBD, MBGNBD, NBD, GammaGamma or CLVModel
        Predicting exactly as the saved one.

    Raises
    ------
    ArtefactError
        If there is no model in the folder, or one that cannot be read.
    """
    path = Path(folder) / _FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArtefactError(
            f"there is no model in '{folder}': it has no {_FILE}. Give the folder that "
            "clvpredict.save_model (or clvpredict fit) wrote."
        ) from error
    except ValueError as error:
        raise _corrupt(path, f"not JSON ({error})") from error
    try:
        record = _ModelFile.model_validate(_migrated(raw, path))
        parts = [_restored(part, path.parent) for part in (record.purchases, record.spend) if part]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise _corrupt(path, f"{where}: {first['msg']}") from error
    except _ContradictionError as error:
        raise _corrupt(path, str(error)) from error
    return _assembled(record.kind, parts, path)


def is_model(folder: Path) -> bool:
    """Whether a folder holds a model of this package, of whatever version."""
    try:
        raw = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(raw, dict) and raw.get("format") == _FORMAT


def check_model_target(folder: Path) -> Path:
    """Return the folder if a model can be written there.

    Raises
    ------
    OptionError
        If something else is there, or its parent does not exist.
    """
    if not folder.absolute().parent.is_dir():
        raise OptionError(
            f"the folder '{folder.parent}' does not exist. Make it: mkdir -p {folder.parent}"
        )
    if not folder.exists():
        return folder
    names = {p.name for p in folder.iterdir()} if folder.is_dir() else {folder.name}
    ours = {_FILE, *map(draws_file, _PARTS)}
    if names and (not names <= ours or not is_model(folder)):
        raise OptionError(
            f"'{folder}' is not a clvpredict model (it has {', '.join(sorted(names)[:5])}) and is "
            "not overwritten. Give a new folder, or remove this one first."
        )
    return folder


class _ContradictionError(Exception):
    """The file is well-formed but does not fit together."""


def _estimators(model: Estimator | CLVModel) -> dict[str, Estimator]:
    if isinstance(model, CLVModel):
        return {"purchases": model.purchases, "spend": model.spend}
    return {model._part: model}


def _check_saveable(estimator: Estimator) -> None:
    if ESTIMATORS.get(estimator.result_.model) is not type(estimator):
        raise OptionError(
            f"a model of class {type(estimator).__name__} cannot be saved; those that can: "
            f"{', '.join(c.__name__ for c in ESTIMATORS.values())}, CLVModel."
        )


def _part(estimator: Estimator, folder: Path) -> _Part:
    """The record of a part; its draws, if it has any, are written into the folder."""
    result = estimator.result_
    sample = result.sample
    digest = None
    if sample is not None:
        path = folder / draws_file(estimator._part)
        digest = write_draws(sample, result.names, path)
    return _Part(
        estimator=type(estimator).__name__,
        model=result.model,
        time_unit=estimator.time_unit_,
        fit=_Fit(
            method=result.method,
            parameters=result.parameters,
            log_covariance=result.log_covariance.tolist(),
            log_likelihood=result.log_likelihood,
            n_customers=result.n_customers,
            n_rows=result.n_rows,
            convergence=result.convergence,
            sampling=None if sample is None else sample.how,
            draws_sha256=digest,
        ),
        independence=estimator.independence_ if isinstance(estimator, GammaGamma) else None,
        data=estimator.data_,
        data_fingerprint=estimator.fingerprint_,
    )


def _migrated(content: Any, path: Path) -> dict[str, Any]:
    """Bring a file of an earlier version up to this one."""
    raw: dict[str, Any] = content
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ArtefactError(f"'{path}' is not a model of clvpredict: it does not say so.")
    version = raw.get("schema_version")
    if not isinstance(version, int) or version < 1:
        raise _corrupt(path, f"schema_version is {version!r}")
    if version > SCHEMA_VERSION:
        raise ArtefactError(
            f"'{path}' was saved by a newer clvpredict ({raw.get('package_version')}, schema "
            f"{version}; this one, {clvpredict.__version__}, reads up to {SCHEMA_VERSION}). "
            "Update: pip install -U clvpredict"
        )
    for step in range(version, SCHEMA_VERSION):
        raw = {**MIGRATIONS[step](raw), "schema_version": step + 1}
    return raw


def _restored(part: _Part, folder: Path) -> Estimator:
    if part.model not in ESTIMATORS:
        hint = did_you_mean(part.model, ESTIMATORS)
        raise _ContradictionError(
            f"the model '{part.model}' is not known to this version of clvpredict; known: "
            f"{', '.join(ESTIMATORS)}.{hint}"
        )
    cls = ESTIMATORS[part.model]
    names = tuple(part.fit.parameters)
    covariance = part.fit.log_covariance
    expected = cls._model.parameter_names
    if part.estimator != cls.__name__:
        raise _ContradictionError(f"{part.model} is not of class {part.estimator}")
    if names != expected:
        raise _ContradictionError(
            f"{part.model} has the parameters {', '.join(expected)}, the file {', '.join(names)}"
        )
    for name, value in part.fit.parameters.items():
        if not 0 < value < np.inf:
            raise _ContradictionError(f"{name} = {value!r} is not a positive number")
    if [len(row) for row in covariance] != [len(names)] * len(names):
        raise _ContradictionError("the covariance is not of one row and column per parameter")
    estimator = cls()
    sample = None
    if part.fit.sampling is not None:
        path = folder / draws_file(cls._part)
        try:
            sample = read_draws(path, names, part.fit.sampling, part.fit.draws_sha256 or "")
        except (ValueError, KeyError, OSError) as error:
            raise _ContradictionError(str(error)) from error
    estimator._result = FitResult(
        model=part.model,
        method=part.fit.method,
        names=names,
        estimate=np.array(list(part.fit.parameters.values())),
        log_covariance=np.array(covariance),
        log_likelihood=part.fit.log_likelihood,
        n_customers=part.fit.n_customers,
        n_rows=part.fit.n_rows,
        convergence=part.fit.convergence,
        sample=sample,
    )
    estimator.time_unit_ = part.time_unit
    estimator.data_ = part.data
    estimator.fingerprint_ = part.data_fingerprint
    if isinstance(estimator, GammaGamma):
        estimator.independence_ = part.independence
    return estimator


def _assembled(kind: str, parts: list[Estimator], path: Path) -> Estimator | CLVModel:
    match kind, parts:
        case "clv", [PurchaseEstimator() as purchases, GammaGamma() as spend]:
            return CLVModel(purchases, spend)
        case ("purchases", [PurchaseEstimator() as model]) | ("spend", [GammaGamma() as model]):
            return model
    raise _corrupt(path, f"a model of kind '{kind}' cannot consist of these parts")


def _corrupt(path: Path, why: str) -> ArtefactError:
    return ArtefactError(
        f"'{path}' cannot be read: {why}. Restore it from a backup, or fit and save again."
    )
