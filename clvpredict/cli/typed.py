"""What is typed for numbers, columns and lists of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from clvpredict.errors import OptionError, unknown_option

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
# Names may have commas and equals signs of their own: "1,000 USD or more=5, below 1,000 USD=2".
_ENTRY = re.compile(rf"\s*(?P<name>.+?)\s*=\s*(?P<value>{_NUMBER})\s*(?:,|$)")


def number(text: str) -> float | None:
    """A number, or None if it is none."""
    try:
        return float(text)
    except ValueError:
        return None


def number_or_column(text: str) -> float | str:
    """A number, or the name of a column.

    Raises
    ------
    OptionError
        For percentages, which no option takes.
    """
    found = number(text)
    if found is not None:
        return found
    percent = number(text.strip().removesuffix("%"))
    if percent is not None:
        raise OptionError(f"'{text}' must be a share, {percent / 100:g}, or a column of shares.")
    return text


def numbers(option: str, text: str) -> list[float]:
    """Numbers between commas.

    Raises
    ------
    OptionError
        If one is none.
    """
    found = [number(part) for part in text.split(",")]
    if any(value is None for value in found):
        raise OptionError(f"{option} {text!r} must be numbers between commas, such as 1000,5000.")
    return [value for value in found if value is not None]


def amounts(option: str, text: str) -> float | str | dict[str, float]:
    """A number, the name of a column, or numbers by name: ``email=12.5,search=20``.

    Raises
    ------
    OptionError
        If there is an equals sign, and yet it is not such a list.
    """
    if "=" not in text:
        return number_or_column(text)
    entries = list(_ENTRY.finditer(text))
    if not entries or "".join(e.group() for e in entries) != text:
        raise OptionError(
            f"{option} {text!r} is not understood: give a number, a column, or numbers by name, "
            f"such as {option} 'email=12.5,search=20'."
        )
    found = {entry["name"]: float(entry["value"]) for entry in entries}
    if len(found) < len(entries):
        raise OptionError(f"{option} {text!r} names the same twice.")
    return found


def labelled_amounts(option: str, text: str) -> float | dict[Any, float]:
    """A number, or numbers by label, which may be a number in the data.

    Raises
    ------
    OptionError
        If it is neither.
    """
    found = amounts(option, text)
    if isinstance(found, str):
        raise OptionError(
            f"{option} {text!r} must be a number, or numbers by name: {option} "
            "'email=12.5,search=20'."
        )
    if isinstance(found, float):
        return found
    whole = {int(name): value for name, value in found.items() if re.fullmatch(r"\d+", name)}
    return {**found, **whole}


def parameter(text: str) -> float | str | tuple[float | str, float | str]:
    """A parameter of a response: a number, a column, or ``MEAN:SE`` of either."""
    mean, colon, error = text.partition(":")
    if not colon:
        return number_or_column(text)
    return number_or_column(mean.strip()), number_or_column(error.strip())


def settings(option: str, given: Iterable[str]) -> dict[str, Any]:
    """Options of a rule, ``shares=0.1,0.9``: numbers where they are, else text.

    Raises
    ------
    OptionError
        If one is not ``NAME=VALUE``.
    """
    found: dict[str, Any] = {}
    for text in given:
        name, value = _pair(option, text, "shares=0.1,0.4,0.5")
        if name in ("shares", "thresholds"):
            found[name] = numbers(f"{option} {name}", value)
        elif name == "labels":
            found[name] = [part.strip() for part in value.split(",")]
        else:
            found[name] = number_or_column(value)
    return found


def conditions(option: str, given: Iterable[str], table: pd.DataFrame) -> dict[str, list[Any]]:
    """Values of columns, ``channel=email``, as the table has them; several of one are any of them.

    Raises
    ------
    OptionError
        If one is not ``COLUMN=VALUE``, or nobody has the value.
    """
    found: dict[str, list[Any]] = {}
    for text in given:
        column, value = _pair(option, text, "channel=email", "COLUMN")
        # Text is typed for what may be a number, or True.
        same = {str(v): v for v in table[column].dropna().unique()} if column in table else {}
        if same and value not in same:
            raise unknown_option(f"{option} {column}", value, list(same)[:20])
        found.setdefault(column, []).append(same.get(value, value))
    return found


def _pair(option: str, text: str, example: str, what: str = "NAME") -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name.strip() and equals and value.strip()):
        raise OptionError(f"{option} {text!r} must be {what}=VALUE, such as {option} {example}.")
    return name.strip(), value.strip()
