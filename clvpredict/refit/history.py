"""The history of what was predicted, kept up with what is published."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clvpredict.errors import ArtefactError, DataError, DataWarning, OptionError, notify
from clvpredict.refit.files import read_json, write_json

if TYPE_CHECKING:
    from clvpredict.refit.config import Config
    from clvpredict.refit.store import Store

FILE = "history.parquet"
SCHEMA_VERSION = 1
_NOTE, _KIND = "history.json", "clvpredict history"
# Of totals over all customers, whose intervals need no more; half of them where a hundred take
# more than a minute.
_DRAWS, _LEAST_DRAWS = 200, 100
_MOST_VALUES = 100_000_000


def keep_history(config: Config, store: Store) -> str:
    """Append what is published to the history of the store, unless it is there.

    Returns
    -------
    str
        What was done, in words.
    """
    latest = store.latest()
    if latest is None:
        return "nothing is published"
    path = store.folder / FILE
    version = store.version(latest.version)
    noted = store.folder / _NOTE
    told = {"version": latest.version, "as_of": latest.as_of}
    if path.exists() and _noted(noted) == told:
        return "the history knows it"
    from clvpredict.business import append_history, read_history
    from clvpredict.store import load_model, read_table

    model = load_model(version.file("model"))
    table = read_table(version.file("predictions.parquet"))
    by = "segment" if "segment" in table else None
    asked: dict[str, Any] = {
        "as_of": latest.as_of,
        "by": by,
        "interval": config.predict.interval,
    }
    enough = min(_DRAWS, max(_LEAST_DRAWS, _MOST_VALUES // max(len(table), 1)))
    asked |= {"draws": min(config.predict.draws, enough), "seed": config.job.seed}
    known = None
    try:
        known = read_history(path) if path.exists() else None
    except DataError as error:
        _put_aside(path, "damaged", str(error))
    try:
        rows = append_history(path, model, table, **asked)
    except OptionError as error:
        if known is None:
            raise
        why = f"the history is of predictions that were asked for otherwise ({error})"
        _put_aside(path, f"until-{known['as_of'].max():%Y-%m-%d}", why)
        rows = append_history(path, model, table, **asked)
    write_json(noted, {"format": _KIND, "schema_version": SCHEMA_VERSION, **told})
    days = rows["as_of"].nunique()
    return f"the history has {days} day{'s' if days != 1 else ''}"


def _noted(path: Path) -> dict[str, str] | None:
    """What was appended last."""
    try:
        found = read_json(path, _KIND, SCHEMA_VERSION, {})
    except (FileNotFoundError, ArtefactError):
        return None  # to append it again changes nothing
    return {k: v for k, v in found.items() if k in ("version", "as_of")}


def _put_aside(path: Path, mark: str, why: str) -> None:
    """Make room for a new history, and keep the one that there is."""
    for number in count(1):
        aside = path.with_name(f"{path.stem}-{mark}{f'-{number}' if number > 1 else ''}.parquet")
        if not aside.exists():
            break
    notify(f"{why}; it goes on in a new file, and what there was is in {aside.name}.", DataWarning)
    os.replace(path, aside)
