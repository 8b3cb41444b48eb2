"""Files in and out, and the standard streams."""

from __future__ import annotations

import contextlib
import glob
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from clvpredict.atomic import new_file
from clvpredict.cli.session import Session
from clvpredict.errors import DataError, OptionError, Problem
from clvpredict.store.tables import check_target, meta_path, read_table, write_table

# Of outputs that are no tables, by the last word of their option.
_SUFFIX_OF = {"markdown": ".md", "html": ".html", "picture": ".png"}
_MAGIC = {b"PAR1": ".parquet", b"\x1f\x8b": ".csv.gz"}


@contextlib.contextmanager
def source_file(source: str) -> Iterator[str]:
    """Give the path of the input; standard input (``-``) is kept in a file meanwhile."""
    if source != "-":
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="clvpredict-") as folder:
        stream = sys.stdin.buffer
        head = stream.read(4)
        if not head:
            raise DataError(
                "standard input",
                [Problem("nothing came", "pipe a table in, or give a file: clvpredict ... FILE")],
            )
        suffix = next((s for magic, s in _MAGIC.items() if head.startswith(magic)), ".csv")
        path = Path(folder) / f"stdin{suffix}"
        with path.open("wb") as file:
            file.write(head)
            shutil.copyfileobj(stream, file)
        yield str(path)


def read_summary(session: Session, source: str) -> pd.DataFrame:
    """Read an RFM summary."""
    with session.step(f"Reading {_named(source)}") as done, source_file(source) as path:
        rfm = read_table(path)
        done(f"{len(rfm):,} customers")
    return rfm


def check_out(out: str, as_json: bool, *sources: str | None) -> None:
    """Refuse an output that cannot be written before any work is done.

    Parameters
    ----------
    out : str
        The main output.
    as_json : bool
        Whether a JSON object goes to standard output.
    *sources
        The inputs, which are not to be replaced.

    Raises
    ------
    OptionError
        For a name without a format, a folder that is not there, two outputs at one place, or an
        output in the place of an input.
    """
    if out != "-":
        check_target(Path(out))
        _keep("--out", out, sources)
    elif as_json:
        raise OptionError(
            "--json and --out - both write to standard output; name a file: --out predictions.csv"
        )


def check_beside(out: str, sources: Sequence[str | None], **others: str | None) -> None:
    """Refuse further outputs that cannot be written, before any work is done.

    Parameters
    ----------
    out : str
        The main one.
    sources : sequence of str
        The inputs, which are not to be replaced.
    **others
        Files by the name of their option.

    Raises
    ------
    OptionError
        For a name without the format, a folder that is not there, two outputs at one place, or an
        output in the place of an input.
    """
    taken = {Path(out).absolute(): "--out"}
    for name, given in others.items():
        if given is None:
            continue
        option, path = f"--{name.replace('_', '-')}", Path(given)
        suffix = _SUFFIX_OF.get(name.rsplit("_", 1)[-1])
        if given == "-":
            raise OptionError(
                f"{option} - is standard output, which only --out takes; name a file."
            )
        if suffix is None:
            check_target(path)
        elif path.suffix.lower() != suffix:
            raise OptionError(f"{option} {given}: the name must end in {suffix}.")
        elif path.is_dir() or not path.absolute().parent.is_dir():
            raise OptionError(f"{option} {given}: no file can be there; is the folder made?")
        if (other := taken.setdefault(path.absolute(), option)) != option:
            raise OptionError(f"{other} and {option} name the same file, {given}.")
        _keep(option, given, sources)


def _keep(option: str, given: str, sources: Sequence[str | None]) -> None:
    """Refuse to write over what is read."""
    target = Path(given)
    read = [path for source in sources if source for path in (source, *glob.glob(source))]
    if target.exists() and any(Path(p).exists() and target.samefile(p) for p in read):
        raise OptionError(
            f"{option} {given}: that is an input, which would be replaced; name another file."
        )


def write_beside(
    session: Session, name: str, content: pd.DataFrame | str, path: str, excel_safe: bool = False
) -> None:
    """Write a further output, and say where it is."""
    if isinstance(content, str):
        with new_file(Path(path)) as temporary:
            temporary.write_text(content, encoding="utf-8")
    else:
        write_table(content, path, excel_safe=excel_safe)
    say_beside(session, name, path)


def say_beside(session: Session, name: str, path: str) -> None:
    """Say where a further output is."""
    session.facts.setdefault("files", {})[name] = path
    session.say(f"Wrote the {name.replace('_', ' ')} to {path}")


def write(session: Session, table: pd.DataFrame, out: str, excel_safe: bool) -> None:
    """Write a table and say where it is."""
    write_table(table, out, excel_safe=excel_safe)
    session.facts["out"] = None if out == "-" else out
    if out == "-":
        return
    meta = meta_path(Path(out))
    beside = f", and how it was made to {meta}" if out.lower().endswith(".csv") else ""
    session.say(f"Wrote {len(table):,} rows to {out}{beside}", style="bold")


def _named(source: str) -> str:
    return "standard input" if source == "-" else source
