"""CSV and Parquet files as engine tables."""

from __future__ import annotations

import csv
import glob
import gzip
import io
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clvpredict.errors import DataError, Problem, did_you_mean
from clvpredict.transactions.problems import unreadable

_CSV = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")
_PARQUET = (".parquet", ".pq")
_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class CsvHeader:
    """What the first line of a CSV file says.

    Parameters
    ----------
    delimiter : str
        Between columns.
    columns : tuple of str
        Their names.
    """

    delimiter: str
    columns: tuple[str, ...]


def find_files(source: str | os.PathLike[str] | Sequence[object]) -> list[str]:
    """Return the files that a path, a glob, a folder or a list of these names, sorted per item.

    Raises
    ------
    DataError
        If one names no file, or the files are of different formats.
    """
    items = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    problems: list[Problem] = []
    files: list[str] = []
    for item in items:
        if not isinstance(item, (str, os.PathLike)):
            what = f"a list of files has an item of type {type(item).__name__}"
            problems.append(Problem(what, "pass paths only, or pd.concat(...) of frames"))
            continue
        path = os.path.expanduser(os.fspath(item))
        found = _matches(path)
        files += found
        if not found:
            problems.append(_no_file(path))
    if not items:
        problems.append(Problem("the list of files is empty", "name at least one file"))
    wrong = [f for f in files if not f.lower().endswith((*_CSV, *_PARQUET))]
    for path in wrong[:5]:
        endings = ", ".join((*_CSV[:2], _CSV[2], *_PARQUET[:1]))
        problems.append(unreadable(path, f"its name does not end in one of {endings}"))
    if not wrong and len({is_parquet(f) for f in files}) > 1:
        problems.append(
            Problem("CSV and Parquet files are mixed", "summarise one format, or pass a frame")
        )
    if problems:
        raise DataError("transactions", problems)
    return files


def is_parquet(path: str) -> bool:
    """Whether a path names a Parquet file."""
    return path.lower().endswith(_PARQUET)


def engine_paths(paths: Iterable[str]) -> list[str]:
    """Escape what the engine would take for wildcards."""
    return [re.sub(r"([\[*?])", r"[\1]", path) for path in paths]


def read_header(path: str, wanted: Iterable[str]) -> CsvHeader:
    """Read a CSV file's first line; the delimiter is the one that shows most wanted columns.

    Raises
    ------
    DataError
        If the file cannot be read, is empty or is not UTF-8.
    """
    opener = gzip.open if path.lower().endswith(".gz") else open
    try:
        with opener(path, "rb") as raw:
            text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
            start = _first_record(text)
    except (OSError, EOFError) as error:
        raise DataError("transactions", [unreadable(path, str(error))]) from error
    except UnicodeDecodeError:
        raise DataError("transactions", [unreadable(path, "it is not UTF-8")]) from None
    if not start.strip():
        raise DataError("transactions", [unreadable(path, "it is empty, or its first line is")])
    wanted = set(wanted)
    headers = [CsvHeader(d, _split(start, d)) for d in _DELIMITERS]
    return max(headers, key=lambda h: (len(wanted & set(h.columns)), len(h.columns)))


def _first_record(text: Iterable[str]) -> str:
    """Read lines until quotes are balanced: a name may hold a line break."""
    record = ""
    for line in text:
        record += line
        if record.count('"') % 2 == 0 or len(record) > 1_000_000:
            break
    return record


def _split(record: str, delimiter: str) -> tuple[str, ...]:
    try:
        row = next(csv.reader(io.StringIO(record, newline=""), delimiter=delimiter), [])
    except csv.Error:
        row = []
    return tuple(name.strip() for name in row)


def _matches(path: str) -> list[str]:
    if os.path.isdir(path):
        return sorted(
            str(f)
            for f in Path(path).rglob("*")
            if f.is_file() and f.name.lower().endswith((*_CSV, *_PARQUET))
        )
    if os.path.exists(path):
        return [path]
    return sorted(glob.glob(path, recursive=True))


def _no_file(path: str) -> Problem:
    if "://" in path:
        return Problem(
            f"'{path}' is not a local file, and nothing is fetched from elsewhere",
            "download it, or pass an Ibis table that reads it",
        )
    folder = os.path.dirname(path) or "."
    what = f"no file matches '{path}'" if glob.has_magic(path) else f"no file '{path}'"
    if not glob.has_magic(path) and os.path.isdir(folder):
        what += "." + did_you_mean(os.path.basename(path), os.listdir(folder))
    return Problem(what, f"check the path; the current folder is '{os.getcwd()}'")
