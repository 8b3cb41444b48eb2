"""Tables on disk: CSV and Parquet, with what the frame knows about itself."""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clvpredict.atomic import new_file
from clvpredict.errors import ClvError, DataError, DataWarning, OptionError, Problem, notify

# Spreadsheets take a cell that starts with one of these for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_SUFFIXES = (".csv", ".parquet")
# Identifiers keep their text: "007" is not 7, and "NA" is a customer like any other.
_ID = "customer_id"
_MISSING = ["", "NaN", "nan", "NA", "N/A", "NULL", "null", "None", "<NA>"]
_PLAIN_INTEGER = r"0|-?[1-9]\d{0,17}"
_CSV_ROWS = 50_000
_NEEDS_QUOTES = re.compile(r'[,"\r\n]')


def write_table(frame: pd.DataFrame, path: str | Path, *, excel_safe: bool = False) -> None:
    """Write a table, whole or not at all.

    Parameters
    ----------
    frame : DataFrame
        Written in its column order; the index is not written.
    path : str or Path
        The suffix says the format: ``.csv`` or ``.parquet``; ``"-"`` is CSV to standard output.
        Numbers are written so that they read back exactly. ``frame.attrs`` goes into the
        Parquet file (``pandas.read_parquet`` finds it), and beside a CSV into
        ``<name>.meta.json`` if there is any. Equal frames give equal bytes.
    excel_safe : bool
        Put an apostrophe before text that a spreadsheet would take for a formula: text (ids and
        column names too) that starts with ``= + - @``, a tab or a line break. Numbers stay
        numbers.

    Raises
    ------
    OptionError
        For another suffix, or a folder that does not exist.
    DataError
        If a column cannot be written as Parquet, such as one that mixes numbers and text.

    Examples
    --------
    >>> import clvpredict as clv
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> clv.write_table(rfm.head(2), "-")
    customer_id,frequency,recency,T,monetary_value
    4,3,49.285714285714285,77.85714285714286,23.723333333333333
    18,0,0.0,77.42857142857143,0.0
    """
    if excel_safe:
        frame = _excel_safe(frame)
    if str(path) == "-":
        _to_stdout(frame)
        return
    path = Path(path)
    suffix = check_target(path)
    attrs: dict[Hashable | None, Any] = plain(frame.attrs)
    if suffix == ".parquet":
        _write_parquet(frame, attrs, path)
        return
    digest = hashlib.sha256()
    with new_file(path) as temporary, temporary.open("wb") as file:
        for piece in _csv(frame):
            file.write(piece)
            digest.update(piece)
    _write_meta(attrs, digest.hexdigest(), path)


def check_target(path: Path) -> str:
    """Return the suffix of a file that a table can be written to.

    Raises
    ------
    OptionError
        If the suffix is not known or the folder is not there.
    """
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise OptionError(
            f"'{path}' does not say its format: the name must end in .csv or .parquet "
            "('-' is CSV to standard output)."
        )
    if path.is_dir():
        raise OptionError(f"'{path}' is a folder; give the name of a file.")
    if not path.absolute().parent.is_dir():
        raise OptionError(
            f"the folder '{path.parent}' does not exist. Make it: mkdir -p {path.parent}"
        )
    return suffix


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table written by :func:`write_table`, or any other CSV or Parquet file.

    Parameters
    ----------
    path : str or Path
        ``.parquet`` or CSV. The frame's ``attrs`` come back too, for a CSV from the
        ``<name>.meta.json`` beside it, unless the CSV has been changed since.

    Returns
    -------
    DataFrame
        `customer_id` of a CSV is whole numbers if all of them are written as such, else text.

    Raises
    ------
    DataError
        If the file is not there or cannot be read.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.store import read_table
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> clv.write_table(rfm, "rfm.parquet")
    >>> read_table("rfm.parquet").equals(rfm)
    True
    """
    path = Path(path)
    if not path.is_file():
        raise _unreadable(path, "no such file", "check the path")
    try:
        if path.suffix.lower() == ".parquet":
            return _with_uuids(pd.read_parquet(path), path)
        frame = _read_csv(path)
    except (OSError, ValueError, UnicodeError) as error:
        fix = "it must be a CSV file with a header, in UTF-8, or a Parquet file named .parquet"
        what = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _unreadable(path, what, fix) from error
    frame.attrs = _read_meta(path)
    return frame


def plain(value: Any) -> Any:
    """Turn metadata into what JSON knows: NumPy numbers into numbers, nan and inf into None."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return None if value is pd.NA or value is pd.NaT else str(value)


def meta_path(path: Path) -> Path:
    """Where the metadata of a CSV lie."""
    return path.with_suffix(".meta.json")


def _csv(frame: pd.DataFrame) -> Iterator[bytes]:
    """Yield the CSV in pieces.

    Arrow turns a number into its shortest exact text several times faster than Python does, and
    most of the time that it takes to write a million customers goes there.
    """
    import pyarrow.compute as pc

    yield (",".join(_quoted(str(c)) for c in frame.columns) + "\n").encode("utf-8")
    width = len(frame.columns)
    missing = "" if width > 1 else '""'  # a blank line would not be read back as a row
    for start in range(0, len(frame), _CSV_ROWS):
        piece = frame.iloc[start : start + _CSV_ROWS]
        cells = [_cells(piece.iloc[:, position]) for position in range(width)]
        lines = pc.binary_join_element_wise(
            *cells, ",", null_handling="replace", null_replacement=missing
        )
        yield ("\n".join(lines.to_pylist()) + "\n").encode("utf-8")


def _cells(column: pd.Series) -> Any:
    """Give the text of each cell as an Arrow array, null where it is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.dtype != np.float64:
        known = column.notna()
        texts = [
            _quoted(str(v)) if k else None
            for v, k in zip(column.astype(object), known, strict=True)
        ]
        return pa.array(texts, pa.string())
    values = column.to_numpy()
    text = pa.array(values, from_pandas=True).cast(pa.string())
    # "3" becomes "3.0", so that a column reads back as what it is.
    whole = np.isfinite(values) & (values == np.floor(values))
    digits_only = pc.and_(whole, pc.invert(pc.match_substring(text, "e")))
    return pc.if_else(digits_only, pc.binary_join_element_wise(text, ".0", ""), text)


def _quoted(text: str) -> str:
    if not _NEEDS_QUOTES.search(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def _to_stdout(frame: pd.DataFrame) -> None:
    sys.stdout.flush()
    binary = getattr(sys.stdout, "buffer", None)
    for piece in _csv(frame):
        if binary is None:  # a notebook, or a test that listens
            sys.stdout.write(piece.decode("utf-8"))
        else:  # UTF-8 and "\n" whatever the platform likes
            binary.write(piece)
    sys.stdout.flush()


def _with_uuids(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Give UUIDs back as such: Arrow below 26 reads them as bytes."""
    import uuid

    import pyarrow as pa
    import pyarrow.parquet as pq

    for field in pq.read_schema(path):
        if field.type == pa.uuid():
            ids = [uuid.UUID(bytes=v) if isinstance(v, bytes) else v for v in frame[field.name]]
            frame[field.name] = pd.Series(ids, index=frame.index, dtype=object)
    return frame


def _write_parquet(frame: pd.DataFrame, attrs: dict[Hashable | None, Any], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pd.DataFrame(frame, copy=False)
    table.attrs = attrs
    try:
        arrow = pa.Table.from_pandas(table, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            "table to write",
            [
                Problem(
                    f"not possible as Parquet: {error.args[-1]} ({error.args[0]})",
                    "make it text: frame[column] = frame[column].astype(str), or write a CSV",
                )
            ],
        ) from error
    with new_file(path) as temporary:
        pq.write_table(arrow, temporary)


def _write_meta(attrs: dict[Hashable | None, Any], digest: str, path: Path) -> None:
    """Write the metadata of a CSV, or remove those of the file that it replaced."""
    meta = meta_path(path)
    if not attrs:
        if _is_ours(meta):
            meta.unlink()
        return
    record = {"file": path.name, "sha256": digest, "attrs": attrs}
    with new_file(meta) as temporary:
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def _is_ours(meta: Path) -> bool:
    try:
        return set(json.loads(meta.read_text(encoding="utf-8"))) == {"file", "sha256", "attrs"}
    except (OSError, ValueError, TypeError):
        return False


def _read_meta(path: Path) -> dict[Hashable | None, Any]:
    meta = meta_path(path)
    if not _is_ours(meta):
        return {}
    record = json.loads(meta.read_text(encoding="utf-8"))
    # The two files cannot be replaced in one step, and people edit CSV files.
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if record["sha256"] != digest:
        notify(
            f"{meta.name} describes another version of {path.name} and is ignored; so the time "
            "unit is not known.",
            DataWarning,
        )
        return {}
    attrs: dict[Hashable | None, Any] = record["attrs"]
    return attrs


def _read_csv(path: Path) -> pd.DataFrame:
    columns = pd.read_csv(path, nrows=0).columns
    frame = pd.read_csv(
        path,
        dtype={_ID: str},
        keep_default_na=False,
        na_values={c: [""] if c == _ID else _MISSING for c in columns},
    )
    if _ID in frame.columns and frame[_ID].notna().all():
        ids = frame[_ID].astype(str)
        if ids.str.fullmatch(_PLAIN_INTEGER).all():
            frame[_ID] = ids.astype(np.int64)
    return frame


def _excel_safe(frame: pd.DataFrame) -> pd.DataFrame:
    def escape(value: object) -> object:
        return (
            f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value
        )

    out = frame.rename(columns=escape)
    for position, dtype in enumerate(frame.dtypes):
        if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_string_dtype(dtype):
            cells = [escape(v) for v in frame.iloc[:, position].astype(object)]
            out.isetitem(position, np.array([*cells, None], object)[:-1])
    out.attrs = frame.attrs
    return out


def _unreadable(path: Path, what: str, fix: str) -> ClvError:
    return DataError(f"file '{path}'", [Problem(what, fix)])
