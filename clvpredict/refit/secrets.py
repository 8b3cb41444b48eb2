"""Secrets of a configuration: named in the file, read from the environment, told to nobody.

``${NAME}`` stands for an environment variable in database URLs, hooks and the address of MLflow.
It is resolved at the moment of use; whatever is logged, recorded or raised goes through
:func:`redact`.
"""

from __future__ import annotations

import json
import os
import re
import threading
from urllib.parse import quote, quote_plus

from clvpredict.errors import OptionError

HIDDEN = "***"

_NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NO_NAME = re.compile(r"\$\{(?![A-Za-z_][A-Za-z0-9_]*\})[^}\s]*\}?")
# scheme://user:password@: a password may hold an @ itself, so the last one counts. Bounded, or
# long texts of the wrong kind would take for ever.
# What follows a colon may be a port, and an @ may be in the path behind it.
_IN_URL = re.compile(
    r"(?<![\w+.-])(?P<before>[A-Za-z][\w+.-]*://[^\s:/@'\"]*:)(?!\d{1,5}[/?#])(?P<value>[^\s'\"]{1,1000})(?=@)"
)
_IN_OPTION = re.compile(
    r"(?P<before>\b\w*(?:password|passwd|pwd|secret|token|api_?key)\s*=\s*)"
    r"(?P<value>'[^']*'|\"[^\"]*\"|[^\s&;,'\"]+)",
    re.IGNORECASE,
)
# A URL with a password: what is before it and where it leads are no secrets.
_URL = re.compile(
    r"[A-Za-z][\w+.-]*://(?P<user>[^:/@]*):(?P<password>(?:[^@]|@(?=[^/]*@))*)@(?P<place>[^?]*)"
)
# Shorter values are replaced only where they are whole words: a user "ann" is not in "cannot".
_LONG = 8

# What this process has resolved. Runs in threads share it: what is secret to one is to all.
_known: set[str] = set()
_guard = threading.Lock()


def used(text: str) -> list[str]:
    """The names of the variables in a text, each once, in order.

    Examples
    --------
    >>> from clvpredict.refit.secrets import used
    >>> used("postgresql://${PGUSER}:${PGPASSWORD}@localhost/shop")
    ['PGUSER', 'PGPASSWORD']
    """
    return list(dict.fromkeys(_NAME.findall(text)))


def resolve(text: str) -> str:
    """Put the values of environment variables in the place of their names.

    The environment has a user and a password as they are: where they stand before the ``@`` of
    a URL, they are encoded as URLs want it. What was put in is a secret from then on; only the
    user, the host and the database of a URL that has a password beside them are none.

    Parameters
    ----------
    text : str
        With ``${NAME}`` in it, or without.

    Raises
    ------
    OptionError
        If variables are not set; all of them are named.

    Examples
    --------
    >>> import os
    >>> from clvpredict.refit.secrets import redact, resolve
    >>> os.environ["SHOP_PASSWORD"] = "a@b/c"
    >>> url = resolve("postgresql://ann:${SHOP_PASSWORD}@localhost/shop")
    >>> url
    'postgresql://ann:a%40b%2Fc@localhost/shop'
    >>> redact(f"no answer from {url}")
    'no answer from postgresql://ann:***@localhost/shop'
    """
    names = used(text)
    absent = missing(names)
    if absent:
        raise OptionError(not_set(absent))
    url = _URL.match(text)
    open_parts = () if url is None else (url.span("user"), url.span("place"))
    with _guard:
        _known.update(
            os.environ[m[1]]
            for m in _NAME.finditer(text)
            if not any(begin <= m.start() < end for begin, end in open_parts)
        )
    encoded = (0, 0) if url is None else (url.start("user"), url.end("password"))

    def value(match: re.Match[str]) -> str:
        found = os.environ[match[1]]
        return quote(found, safe="") if encoded[0] <= match.start() < encoded[1] else found

    return _NAME.sub(value, text)


def missing(names: list[str]) -> list[str]:
    """Those variables that are not set."""
    return [name for name in names if name not in os.environ]


def not_set(names: list[str]) -> str:
    """Say which variables are not set, and what to type."""
    many = len(names) > 1
    exports = "; ".join(f"export {name}=..." for name in names)
    return (
        f"the environment variable{'s' if many else ''} {', '.join(names)} "
        f"{'are' if many else 'is'} not set. Type: {exports} (for a systemd service, write "
        f"{names[0]}=... into its EnvironmentFile)."
    )


def redact(text: str, *, cut: bool = False) -> str:
    """Hide every resolved value, as it is and as URLs and JSON write it, and every password.

    Parameters
    ----------
    text : str
        What is to be logged, recorded or raised. Names such as ``${PGPASSWORD}`` stay.
    cut : bool
        Its beginning was cut off, in the middle of a secret perhaps.
    """
    with _guard:
        known = sorted(_known, key=len, reverse=True)
    forms = list(dict.fromkeys(form for value in known for form in _forms(value)))
    if cut:
        ends = (form[-k:] for form in forms for k in range(1, len(form)))
        if found := max((len(end) for end in ends if text.startswith(end)), default=0):
            text = HIDDEN + text[found:]
    for form in forms:
        if len(form) >= _LONG:
            text = text.replace(form, HIDDEN)
        else:
            text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", HIDDEN, text)
    return _without_passwords(text)


def has_literal(text: str) -> bool:
    """Whether a text holds a password itself, and not the name of a variable that does."""
    return _without_passwords(text) != text


def malformed(text: str) -> list[str]:
    """What looks like the name of a variable and is none, such as ``${PG-USER}``."""
    return _NO_NAME.findall(text)


def _without_passwords(text: str) -> str:
    for pattern in (_IN_URL, _IN_OPTION):
        text = pattern.sub(_hidden, text)
    return text


def _hidden(match: re.Match[str]) -> str:
    named = _NAME.fullmatch(match["value"].strip("'\""))
    return match[0] if named else match["before"] + HIDDEN


def _forms(value: str) -> list[str]:
    """How a value may be written."""
    quoted = [json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)]
    found = [value, quote(value, safe=""), quote(value), quote_plus(value), *quoted]
    return [form for form in found if form]
