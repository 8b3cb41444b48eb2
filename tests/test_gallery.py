"""The gallery shows every plot, as the code beside it draws it."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from clvpredict import plots

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "gallery.md"
_SHOWN = re.compile(r"^```python\n((?:(?!^```).)*)^```\n\n!\[[^\]\n]+\]\(([^)\s]+)\)$", re.M | re.S)

SHOWN = [(code, DOCS / image) for code, image in _SHOWN.findall(PAGE.read_text())]


@pytest.mark.parametrize("name", plots.__all__)
def test_every_plot_is_shown(name: str) -> None:
    pictures = [path for code, path in SHOWN if f"plots.{name}(" in code]
    assert pictures, f"add {name} to docs/make_gallery.py and run it"
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_the_page_is_what_the_script_writes() -> None:
    written = runpy.run_path(str(DOCS / "make_gallery.py"))["page_text"]()
    assert PAGE.read_text() == written, "run python docs/make_gallery.py"


def test_pictures_are_small_and_all_on_the_page() -> None:
    there = {path: path.stat().st_size for path in (DOCS / "images/gallery").iterdir()}
    assert set(there) == {path for _, path in SHOWN}
    assert max(there.values()) < 60_000
    assert sum(there.values()) < 1_500_000
