"""Scheduled refits: read, check, fit, judge, publish, and never publish what is worse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clvpredict.refit.config import Config
    from clvpredict.refit.config_reading import load_config
    from clvpredict.refit.job import refit
    from clvpredict.refit.manage import rollback
    from clvpredict.refit.records import RunRecord
    from clvpredict.refit.store import Store

_WHERE = {
    "Config": "config",
    "RunRecord": "records",
    "Store": "store",
    "load_config": "config_reading",
    "refit": "job",
    "rollback": "manage",
}
__all__ = [
    "Config",
    "RunRecord",
    "Store",
    "load_config",
    "refit",
    "rollback",
]


def __getattr__(name: str) -> Any:
    # Who only wants the names of errors need not load models and engines.
    if name not in _WHERE:
        raise AttributeError(f"module 'clvpredict.refit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"clvpredict.refit.{_WHERE[name]}"), name)
