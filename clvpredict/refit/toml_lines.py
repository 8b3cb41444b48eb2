"""On which line of a TOML file a key is.

The standard library's reader does not tell. This scanner only follows text that has been read
without an error, so it is simple: it knows strings, comments and brackets, and nothing of values.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

#: Names of tables and keys; the number of a table that is one of several.
KeyPath = tuple[str | int, ...]

_TOKEN = re.compile(
    r'''"""(?:[^\\]|\\.)*?"{3,5} | \'\'\'.*?'{3,5} | "(?:[^"\\]|\\.)*" | '[^']*' | \#[^\n]* | .''',
    re.DOTALL | re.VERBOSE,
)


def key_lines(text: str) -> dict[KeyPath, int]:
    """Find the line of every table and key.

    Parameters
    ----------
    text : str
        A whole TOML file, without errors.

    Returns
    -------
    dict of tuple to int
        The path of a key, such as ``("outputs", 0, "path")``, and its line, the first being 1.
        What is inside a value, such as an inline table, is not listed.
    """
    lines: dict[KeyPath, int] = {}
    counts: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for line, tokens in _statements(text):
        if tokens[0] == "[":
            table = _header("".join(tokens), counts)
            lines[table] = line
            path = table
        else:
            path = (*table, *_names("".join(tokens[: tokens.index("=")])))
        for length in range(1, len(path) + 1):
            lines.setdefault(path[:length], line)
    return lines


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int | None:
    """The line of a key, or of the nearest thing around it; None if there is none."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Headers and assignments as their tokens, each with the line that it starts on."""
    line, depth = 1, 0
    start = 1
    tokens: list[str] = []
    for match in _TOKEN.finditer(text + "\n"):
        token = match[0]
        if token == "\n" and depth == 0:
            if tokens:
                yield start, tokens
            tokens = []
        elif not token.startswith("#") and (tokens or not token.isspace()):
            start = start if tokens else line
            tokens.append(token)
            depth += (token in "[{") - (token in "]}")
        line += token.count("\n")


def _header(header: str, counts: dict[KeyPath, int]) -> KeyPath:
    """The table that a header begins; of those in double brackets, one more."""
    path: KeyPath = ()
    *outer, name = _names(header.strip("[] \t\r"))
    for part in outer:
        path = _last((*path, part), counts)
    path = (*path, name)
    if header.startswith("[["):
        counts[path] = counts.get(path, 0) + 1
    return _last(path, counts)


def _last(path: KeyPath, counts: dict[KeyPath, int]) -> KeyPath:
    """The newest table of that name, where there are several."""
    return (*path, counts[path] - 1) if path in counts else path


def _names(key: str) -> list[str]:
    """The parts of a dotted key, its quotes taken off."""
    names: list[str] = []
    inner: object = tomllib.loads(f"{key} = 0")
    while isinstance(inner, dict):
        ((name, inner),) = inner.items()
        names.append(name)
    return names
