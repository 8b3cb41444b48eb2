"""Recalibrations on disk: one JSON file."""

from __future__ import annotations

import json
from pathlib import Path

from clvpredict.atomic import new_file
from clvpredict.errors import ArtefactError, OptionError
from clvpredict.predict import Recalibration

_KIND, _SCHEMA = "clvpredict recalibration", 1


def save_recalibration(recalibration: Recalibration, path: str | Path) -> None:
    """Write a recalibration, whole or not at all.

    Parameters
    ----------
    recalibration : Recalibration
        From :func:`clvpredict.recalibrate`.
    path : str or Path
        A JSON file; an existing one is replaced.

    Examples
    --------
    >>> import clvpredict as clv
    >>> results = clv.backtest(
    ...     clv.load_cdnow(), [clv.MBGNBD()], every="6W", horizons=["13W"]
    ... )
    >>> clv.save_recalibration(clv.recalibrate(results), "recalibration.json")
    >>> clv.load_recalibration("recalibration.json").model
    'mbg/nbd'
    """
    said = {"kind": _KIND, "schema_version": _SCHEMA, **recalibration.record()}
    with new_file(Path(path)) as temporary:
        temporary.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def load_recalibration(path: str | Path) -> Recalibration:
    """Read a recalibration that :func:`save_recalibration` wrote.

    Raises
    ------
    ArtefactError
        If there is none, or it is something else.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ArtefactError(
            f"{path} cannot be read as a recalibration ({error}). Make one: "
            "save_recalibration(recalibrate(results), path)."
        ) from None
    if not isinstance(record, dict) or record.pop("kind", None) != _KIND:
        raise ArtefactError(f"{path} is JSON, but no recalibration of clvpredict.")
    version = record.pop("schema_version", None)
    if version != _SCHEMA:
        raise ArtefactError(
            f"{path} has schema version {version!r}, and this clvpredict reads {_SCHEMA}: "
            "pip install --upgrade clvpredict."
        )
    try:
        return Recalibration.from_record(record)
    except OptionError as error:
        raise ArtefactError(f"{path}: {error}") from None
