"""What is found wrong with a configuration, and what its parts have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from clvpredict.errors import OptionError
from clvpredict.refit import secrets
from clvpredict.refit.connect import kind_of
from clvpredict.refit.toml_lines import KeyPath


@dataclass(frozen=True)
class Finding:
    """Something wrong with a configuration.

    Parameters
    ----------
    path : tuple
        The key to name.
    what : str
        What is wrong with it and what to type.
    involved : tuple of paths
        Other keys without which it might not be wrong.
    """

    path: KeyPath
    what: str
    involved: tuple[KeyPath, ...] = ()

    @property
    def concerns(self) -> tuple[KeyPath, ...]:
        """All keys that it depends on."""
        return (self.path, *self.involved)


Findings = Iterator[Finding]


def secret_findings(path: KeyPath, *texts: str) -> Findings:
    """Passwords that are written out, and names of variables that are none."""
    for text in texts:
        if secrets.has_literal(text):
            yield Finding(
                path,
                "has a password in it; write ${NAME} in its place, and set NAME in the "
                "environment of the job",
            )
        for wrong in secrets.malformed(text):
            yield Finding(
                path, f"has {wrong}, which names no environment variable; write ${{NAME}}"
            )


def database_findings(path: KeyPath, url: str) -> Findings:
    """What is wrong with the URL of a database."""
    yield from secret_findings(path, url)
    if url.startswith("${"):
        return  # the scheme may be in the environment
    try:
        kind = kind_of(url)
    except OptionError:
        yield Finding(
            path,
            "is no database that is known; use 'postgresql://...', 'duckdb:///shop.duckdb' or "
            "'sqlite:///shop.sqlite'",
        )
        return
    if kind != "postgresql" and not url.partition(":///")[2]:
        yield Finding(
            path,
            f"names no file; write '{kind}:///shop.{kind}' (three slashes: beside this file; "
            "four: a path in full)",
        )
