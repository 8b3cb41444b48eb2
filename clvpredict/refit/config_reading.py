"""Read a configuration, and list everything that is wrong with it by line."""

from __future__ import annotations

import copy
import datetime as dt
import json
import re
import tomllib
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from clvpredict.errors import did_you_mean
from clvpredict.refit import secrets
from clvpredict.refit.config import Config
from clvpredict.refit.config_checks import findings
from clvpredict.refit.config_finding import Finding
from clvpredict.refit.errors import ConfigError
from clvpredict.refit.toml_lines import KeyPath, key_lines, line_of

_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_SHOWN = 60


def load_config(path: str | Path) -> Config:
    """Read a configuration, and check all of it.

    Parameters
    ----------
    path : str or Path
        The TOML file; ``clvpredict init`` writes one.

    Returns
    -------
    Config
        Frozen; ``path``, ``text`` and ``digest`` say what it was read from.

    Raises
    ------
    ConfigError
        If there is no such file, it is no TOML, or anything in it is not allowed: every problem,
        with its line.

    Examples
    --------
    >>> from pathlib import Path
    >>> from clvpredict.refit import load_config
    >>> from clvpredict.refit.template import template
    >>> _ = Path("shop.toml").write_text(template("shop"))
    >>> load_config("shop.toml").predict.horizons
    ('52W',)
    """
    path = Path(path)
    config, text = examined(path)
    config._path, config._text = path.absolute(), text
    return config


def examined(path: Path) -> tuple[Config, str]:
    """Read a configuration; returns it and the text of its file.

    Raises
    ------
    ConfigError
        Listing every problem.
    """
    text = _read(path)
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(path, [_not_toml(error, text)]) from None
    config, found = _validated(raw)
    config._path = path.absolute()
    bad = [key for finding in found for key in finding.concerns]
    # What follows from a key that is wrong itself is not told as well.
    found += [
        finding
        for finding in findings(config)
        if not any(_related(key, other) for key in finding.concerns for other in bad)
    ]
    if found:
        lines = key_lines(text)
        found.sort(key=lambda finding: line_of(lines, finding.path) or 0)
        raise ConfigError(path, [_told(finding, raw, lines) for finding in found])
    return config, text


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        what = "there is no such file; clvpredict init writes one"
    except IsADirectoryError:
        what = "it is a folder; give the TOML file in it"
    except UnicodeDecodeError:
        what = "it is not UTF-8; save it as UTF-8 text"
    except OSError as error:
        what = f"it cannot be read: {error.strerror}"
    raise ConfigError(path, [what])


def _not_toml(error: tomllib.TOMLDecodeError, text: str) -> str:
    said = str(error)
    at = _AT.search(said)
    if at is None or at[1] is None:
        return f"the end of the file: {_AT.sub('', said)}; is a quote or bracket not closed?"
    line = secrets.redact(text.splitlines()[int(at[1]) - 1].strip())
    return f"line {at[1]}, column {at[2]}: {_AT.sub('', said)}: {line[:_SHOWN]}"


def _validated(raw: dict[str, Any]) -> tuple[Config, list[Finding]]:
    """The configuration without what is wrong in it, and that."""
    found: dict[KeyPath, Finding] = {}
    raw = copy.deepcopy(raw)
    while True:
        try:
            return Config.model_validate(_with_tuples(raw)), list(found.values())
        except ValidationError as error:
            for detail in error.errors():
                path, model, field = _place(detail["loc"])
                # Of a union, every member has an error of its own.
                if path not in found:
                    allowed = f"must be {field.description}" if field else ""
                    found[path] = Finding(path, allowed) if field else _unknown(path, model, raw)
                    _take_out(raw, path)


def _with_tuples(value: Any) -> Any:
    """What cannot be changed, for models that cannot be changed."""
    if isinstance(value, dict):
        return {key: _with_tuples(inner) for key, inner in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _place(loc: tuple[str | int, ...]) -> tuple[KeyPath, type[BaseModel], FieldInfo | None]:
    """The key that an error is about, the model of its table, and its field if there is one."""
    table: type[BaseModel] = Config
    inner: type[BaseModel] | None = Config
    path: KeyPath = ()
    field: FieldInfo | None = None
    rest = list(loc)
    while inner is not None and rest:
        table = inner
        path = (*path, rest.pop(0))
        field = table.model_fields.get(str(path[-1]))
        if field is None:
            break
        several, inner = _inner(field.annotation)
        if several and inner is not None and rest:
            path = (*path, rest.pop(0))
    return path, table, field


def _inner(annotation: Any) -> tuple[bool, type[BaseModel] | None]:
    """The model within a type, if there is one, and whether there are several of it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return False, annotation
    for argument in get_args(annotation):
        _, model = _inner(argument)
        if model is not None:
            return get_origin(annotation) in (tuple, dict), model
    return False, None


def _unknown(path: KeyPath, table: type[BaseModel], raw: dict[str, Any]) -> Finding:
    """A key that its table does not have: say what was meant, where it belongs, what there is."""
    *before, name = path
    given = _value(raw, tuple(before))
    hint = did_you_mean(name, table.model_fields)
    homes = [
        section
        for section, field in Config.model_fields.items()
        if (inner := _inner(field.annotation)[1]) is not None and name in inner.model_fields
    ]
    if not hint and homes:
        hint = f" It belongs in {' or '.join(_heading((home,)) for home in homes)}."
    meant = [
        (*before, key)
        for key in table.model_fields
        if hint.endswith(f"'{key}'?") and key not in given
    ]
    what = f"is not known.{hint} Known here: {', '.join(table.model_fields)}"
    return Finding(path, what, (path, *meant))


def _take_out(raw: Any, path: KeyPath) -> None:
    """Remove a value; of tables in double brackets, which are counted, only what is in it."""
    *outer, name = path
    for part in outer:
        raw = raw[part]
    if isinstance(raw, dict):
        del raw[name]
    else:
        raw[name] = {}


def _related(one: KeyPath, other: KeyPath) -> bool:
    """Whether one is the other, or within it."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _told(finding: Finding, raw: dict[str, Any], lines: dict[KeyPath, int]) -> str:
    line = line_of(lines, finding.path)
    where = _heading(finding.path) if line is None else f"line {line}, {_heading(finding.path)}"
    value = _value(raw, finding.path)
    if not _is_table(value):
        where += f" = {_shown(value)}"
    return secrets.redact(f"{where}: {finding.what}")


def _value(raw: Any, path: KeyPath) -> Any:
    """What the file has there; an empty table if nothing."""
    for part in path:
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):
            return {}
    return raw


def _heading(path: KeyPath) -> str:
    """A key as it is found in the file: ``[predict.costs] period``."""
    name, *rest = path
    if name == "outputs":
        number = f" no. {int(rest.pop(0)) + 1}" if rest else ""
        return ", ".join([f"[[outputs]]{number}", *map(str, rest)])
    if not rest:
        return f"[{name}]" if name in Config.model_fields else str(name)
    return f"[{'.'.join(map(str, path[:-1]))}] {rest[-1]}"


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], dict)
    )


def _shown(value: Any) -> str:
    """A value about as TOML writes it, cut where it is long."""
    text = (
        str(value)
        if isinstance(value, dt.date | dt.time)
        else json.dumps(value, ensure_ascii=False, default=str)
    )
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
