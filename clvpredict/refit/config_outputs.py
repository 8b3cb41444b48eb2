"""Where predictions go: to targets that are one each, and that are nobody else's."""

from __future__ import annotations

import os
import re
from pathlib import Path

from clvpredict.refit.config import Config, OutputConfig
from clvpredict.refit.config_finding import Finding, Findings, database_findings
from clvpredict.refit.toml_lines import KeyPath

_SUFFIXES = (".csv", ".parquet")
_AN_EXAMPLE = '[[outputs]] with path = "predictions.csv"'
#: Places in the store that hold tables.
_IN_STORE = ("versions/0/predictions.parquet", "work/0/transactions.parquet", "history.parquet")


def output_findings(config: Config) -> Findings:
    """What is wrong with the outputs, each and together."""
    if not config.outputs:
        yield Finding(("outputs",), f"is missing; add {_AN_EXAMPLE}")
    targets: dict[tuple[str, ...], int] = {}
    for i, output in enumerate(config.outputs):
        path: KeyPath = ("outputs", i)
        yield from _one(path, output)
        target = _target(config, output)
        if target is None:
            continue
        if target in targets:
            key = "path" if target[0] == "file" else "table"
            yield Finding(
                (*path, key),
                f"is the target of no. {targets[target] + 1} too; remove one of them",
                (("outputs", targets[target], key),),
            )
        targets.setdefault(target, i)
        yield from _beside_others(config, path, output)
    yield from _store_in_source(config)


def _one(path: KeyPath, output: OutputConfig) -> Findings:
    either = ((*path, "path"), (*path, "database"))
    if output.path is None and output.database is None:
        yield Finding(
            path,
            'is without a target; add path = "predictions.csv", or database = "..." and '
            'table = "predictions"',
            either,
        )
    elif output.path is not None and output.database is not None:
        yield Finding(either[1], "is given beside path; write two [[outputs]]", either)
    if output.path is not None:
        if Path(output.path).suffix.lower() not in _SUFFIXES:
            yield Finding(either[0], "must end in .csv or .parquet")
        if output.table is not None and output.database is None:
            yield Finding((*path, "table"), "is of a database; remove it", either)
    if output.database is not None:
        yield from database_findings(either[1], output.database)
        if output.table is None:
            yield Finding(
                either[1], 'needs a table; add table = "predictions"', ((*path, "table"),)
            )
        if output.excel_safe:
            yield Finding((*path, "excel_safe"), "is of files; remove it", either)


def _target(config: Config, output: OutputConfig) -> tuple[str, ...] | None:
    """What is written; equal for equal targets."""
    if output.path is not None:
        return ("file", os.path.realpath(config.resolve(output.path)))
    if output.database is not None and output.table is not None:
        return ("table", config.resolve_database(output.database), output.table)
    return None


def _beside_others(config: Config, path: KeyPath, output: OutputConfig) -> Findings:
    """An output must not be what is read, nor lie in the store."""
    source = config.source
    if output.database is not None and output.table is not None and source.database is not None:
        same = config.resolve_database(output.database) == config.resolve_database(source.database)
        if same and output.table == source.table:
            yield Finding(
                (*path, "table"),
                "is the source, which would be overwritten; give another table",
                (("source", "database"), ("source", "table"), (*path, "database")),
            )
    if output.path is None:
        return
    target = config.resolve(output.path)
    store = config.resolve(config.job.store)
    key = (*path, "path")
    written = target.parent / "as_of=2026-01-31" / target.name if output.partition else target
    for read in _source_paths(config):
        if _reads(read, written):
            yield Finding(
                key,
                f"is read as transactions, for [source] path has '{read}'; write predictions to "
                "another folder",
                (("source", "path"),),
            )
    if target.is_relative_to(store):
        yield Finding(
            key,
            "lies in the store, which is the job's own; give another folder",
            (("job", "store"),),
        )


def _store_in_source(config: Config) -> Findings:
    store = config.resolve(config.job.store)
    for read in _source_paths(config):
        if any(_reads(read, store / inner) for inner in _IN_STORE):
            yield Finding(
                ("job", "store"),
                f"is read as transactions, for [source] path has '{read}'; move the store to "
                "another folder",
                (("source", "path"),),
            )


def _source_paths(config: Config) -> list[str]:
    given = config.source.path
    paths = [given] if isinstance(given, str) else list(given or ())
    return [str(config.resolve(path)) for path in paths]


def _reads(source: str, file: Path) -> bool:
    """Whether a file, folder or pattern has a file in it, be it there already or not."""
    folder = Path(source)
    if file.is_relative_to(folder):
        return file.suffix.lower() in _SUFFIXES
    return re.fullmatch(_as_regex(source), str(file)) is not None


def _as_regex(pattern: str) -> str:
    """What :func:`glob.glob` finds, as a regular expression; hidden names are not told apart."""
    out = ""
    for token in re.findall(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]|.", pattern, re.DOTALL):
        if token == "**/":
            out += "(?:.*/)?"
        elif token == "**":
            out += ".*"
        elif token == "*":
            out += "[^/]*"
        elif token == "?":
            out += "[^/]"
        elif token.startswith("[") and len(token) > 1:
            out += "[^" + token[2:] if token.startswith("[!") else token
        else:
            out += re.escape(token)
    return out
