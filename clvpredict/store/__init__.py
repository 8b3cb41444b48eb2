"""Artefacts on disk, in open formats and written atomically: models and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clvpredict.store.tables import read_table, write_table

if TYPE_CHECKING:
    from clvpredict.store.models import load_model, save_model
    from clvpredict.store.recalibrations import load_recalibration, save_recalibration

__all__ = [
    "load_model",
    "load_recalibration",
    "read_table",
    "save_model",
    "save_recalibration",
    "write_table",
]


def __getattr__(name: str) -> Any:
    # Who only reads and writes tables need not load estimators and pydantic.
    if name in ("load_model", "save_model"):
        from clvpredict.store import models

        return getattr(models, name)
    if name in ("load_recalibration", "save_recalibration"):
        from clvpredict.store import recalibrations

        return getattr(recalibrations, name)
    raise AttributeError(f"module 'clvpredict.store' has no attribute {name!r}")
