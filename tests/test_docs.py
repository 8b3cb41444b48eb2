"""What the documentation says is so: code runs, output is as shown, links and names exist."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import io
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import typer.main
from typer.testing import CliRunner

import clvpredict as clv
from clvpredict.cli import app
from clvpredict.evaluate import holdout_totals

REPO = Path(__file__).resolve().parents[1]
DOCS = REPO / "docs"
PAGES = [REPO / "README.md", *sorted(DOCS.glob("*.md"))]
WITH_LINKS = [*PAGES, REPO / "CONTRIBUTING.md", REPO / "CHANGELOG.md"]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")


def page_id(page: Path) -> str:
    return page.relative_to(REPO).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    return [code for kind, code in _BLOCK.findall(page.read_text()) if kind == language]


# --- python ----------------------------------------------------------------------------------


def python_blocks(page: Path) -> Iterator[tuple[str, str | None]]:
    """Code, and the output that is shown right after it."""
    text = page.read_text()
    found = list(_BLOCK.finditer(text))
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block[1] != "python":
            continue
        follows = after is not None and not text[block.end() : after.start()].strip()
        yield block[2], after[2] if after is not None and follows and after[1] == "text" else None


def _timed(pages: list[Path], long: tuple[str, ...]) -> list[Any]:
    """Pages that take long are left to `make slow`."""
    return [
        pytest.param(p, marks=[pytest.mark.slow] if page_id(p) in long else [], id=page_id(p))
        for p in pages
    ]


@pytest.mark.parametrize(
    "page",
    _timed(
        [p for p in PAGES if blocks(p, "python")],
        (
            "README.md",
            "docs/gallery.md",
            "docs/evaluation.md",
            "docs/inference.md",
            "docs/decisions.md",
            "docs/refits.md",
        ),
    ),
)
def test_python_blocks_run_and_print_what_is_shown(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("page")
    for number, (code, shown) in enumerate(python_blocks(page), start=1):
        printed = io.StringIO()
        compiled = compile(code, f"{page.name}, python block {number}", "exec")
        with contextlib.redirect_stdout(printed), pd.option_context("display.width", 200):
            exec(compiled, module.__dict__)
        plt.close("all")  # as notebooks do after a cell
        if shown is not None:
            assert words(printed.getvalue()) == words(shown), printed.getvalue()


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.strip().splitlines()]


# --- the command line ------------------------------------------------------------------------


def command_lines(page: Path) -> list[str]:
    lines = "\n".join(blocks(page, "bash")).splitlines()
    return [line for line in lines if line.startswith("clvpredict ")]


PAGES_WITH_COMMANDS = [p for p in PAGES if command_lines(p)]


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=page_id)
def test_command_lines_parse(page: Path) -> None:
    group = typer.main.get_command(app)
    context = group.make_context("clvpredict", [], resilient_parsing=True)
    for line in command_lines(page):
        words = shlex.split(re.split(r" [<|>] ", line)[0])[1:]
        name, command, rest = group.resolve_command(context, words)
        command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("page", _timed(PAGES_WITH_COMMANDS, ("docs/cli.md",)))
def test_command_lines_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(REPO / "data/sample/cdnow_sample.csv", tmp_path / "transactions.csv")
    monkeypatch.chdir(tmp_path)
    for line in command_lines(page):
        if re.search(r" [<|>] ", line):
            done = in_shell(line, tmp_path)
            code, output = done.returncode, done.stdout + done.stderr
        else:
            result = CliRunner().invoke(app, shlex.split(line)[1:])
            code, output = result.exit_code, result.output
        assert code == 0, f"{line}\n{output}"
        assert output.strip()


def in_shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line with pipes; ``clvpredict`` is this checkout's."""
    function = (
        f'clvpredict() {{ "{sys.executable}" -c "from clvpredict.cli import main; main()" "$@"; }}'
    )
    package = Path(clv.__file__).parents[1]
    return subprocess.run(
        ["bash", "-c", f'set -e; export PYTHONPATH="{package}"; {function}; {line}'],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


# --- links and pictures ----------------------------------------------------------------------


@pytest.mark.parametrize("page", WITH_LINKS, ids=page_id)
def test_relative_links_resolve(page: Path) -> None:
    text = _BLOCK.sub("", page.read_text())
    for link in _LINK.findall(text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(REPO), link
        if page.parent == DOCS:
            assert target.is_relative_to(DOCS), f"{link} leaves the site"
        if anchor:
            assert anchor in {slug(h) for h in headings(target)}, link


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", _BLOCK.sub("", page.read_text()), re.MULTILINE)


def slug(heading: str) -> str:
    return re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


@pytest.mark.parametrize("page", WITH_LINKS, ids=page_id)
def test_files_that_are_named_exist(page: Path) -> None:
    """Paths of the checkout in code spans; those of the package may leave out its name."""
    for span in _SPAN.findall(_BLOCK.sub("", page.read_text())):
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?|\w+\.(py|toml|md|yml)", span):
            continue
        made = {"out", "site", "dist", "bg", "mbg", "sales"}
        if span.split("/")[0] in made or span == "benchmarks/data/":
            continue  # made by a verb, or no path
        assert any((root / span).exists() for root in (REPO, REPO / "clvpredict")), span


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"(\w+\.md)$", (REPO / "mkdocs.yml").read_text(), re.MULTILINE))
    assert listed == {p.name for p in DOCS.glob("*.md")}


def test_the_picture_of_the_layers_is_the_contract() -> None:
    layers = runpy.run_path(str(DOCS / "make_images.py"))["LAYERS"]
    drawn = [set(re.findall(r"\w+", names)) for names, _ in layers]
    tools = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]
    allowed = tools["importlinter"]["contracts"][0]["layers"]
    there = {p.stem for p in (REPO / "clvpredict").iterdir()}
    contract = [set(re.findall(r"\w+", layer)) & there for layer in allowed]
    assert drawn == [layer for layer in contract if layer]


# --- names and numbers -----------------------------------------------------------------------


@pytest.mark.parametrize("page", WITH_LINKS, ids=page_id)
def test_our_names_exist(page: Path) -> None:
    for span in _SPAN.findall(_BLOCK.sub("", page.read_text())):
        if re.match(r"(clv|clvpredict)\.[a-zA-Z_]", span):
            name, _, arguments = span.partition("(")
            found = resolve(name)
            wanted = re.findall(r"(\w+)=", arguments)
            if wanted:
                assert set(wanted) <= set(inspect.signature(found).parameters), span


def resolve(name: str) -> object:
    """Return what a dotted name stands for; modules are imported on the way."""
    found: object = clv
    for part in name.split(".")[1:]:
        if isinstance(found, types.ModuleType) and not hasattr(found, part):
            found = importlib.import_module(f"{found.__name__}.{part}")
        else:
            found = getattr(found, part)
    return found


@pytest.mark.parametrize("page", [REPO / "README.md", DOCS / "migration.md"], ids=page_id)
def test_names_of_lifetimes_exist(page: Path) -> None:
    """Of its classes and functions, in the second column of the tables."""
    rows = re.findall(r"^\|[^|]*\|([^|]*)\|[^|]*\|[^|]*\|$", page.read_text(), re.MULTILINE)
    names = [s for row in rows for s in _SPAN.findall(row) if re.fullmatch(r"[\w.]+", s)]
    callables = [
        n for n in names if re.match(r"[A-Z]\w+Fitter|plot_|calculate_|beta_geo|\w+_data$", n)
    ]
    assert len(callables) > 10
    for name in callables:
        assert functools.reduce(getattr, name.split(".")[1:], of_lifetimes(name.split(".")[0]))


def of_lifetimes(name: str) -> object:
    for module in ("lifetimes", "lifetimes.utils", "lifetimes.plotting", "lifetimes.generate_data"):
        found: object = getattr(importlib.import_module(module), name, None)
        if found is not None:
            return found
    raise AssertionError(f"lifetimes has no {name}")


def test_numbers_of_the_readme() -> None:
    split = clv.calibration_holdout(clv.load_cdnow(), calibration_end="1997-09-30", time_unit="W")
    models = [clv.BGNBD().fit(split), clv.MBGNBD().fit(split)]
    totals = pd.concat([holdout_totals(m, split) for m in models], axis=1)
    totals = totals.loc[:, ~totals.columns.duplicated()][["BG/NBD", "MBG/NBD", "naive"]]
    spend = clv.GammaGamma().fit(split).expected_spend(split)
    weeks = split["duration_holdout"]
    observed = (split["frequency_holdout"] * split["monetary_value_holdout"]).sum()
    values = [(m.expected_purchases(split, 39) * spend).sum() for m in models]
    values.append((split["frequency"] / split["T"] * weeks * split["monetary_value"]).sum())

    def with_bias(total: float, truth: float) -> str:
        return f"{total:,.0f} ({total / truth - 1:+.0%})".replace("%", " %").replace("-", "−")

    bought = totals.loc["observed_total"].iloc[0]
    rows = [
        [f"purchases, {bought:,.0f} observed"]
        + [with_bias(total, bought) for total in totals.loc["predicted_total"]],
        ["mean absolute error per customer", *(f"{v:.3f}" for v in totals.loc["mae"])],
        ["root mean squared error", *(f"{v:.3f}" for v in totals.loc["rmse"])],
        [f"value, {observed:,.0f} USD observed", *(with_bias(v, observed) for v in values)],
    ]
    readme = (REPO / "README.md").read_text()
    for row in rows:
        assert f"| {' | '.join(row)} |" in readme


def test_the_readmes_wheel_has_this_version() -> None:
    assert f"clvpredict-{clv.__version__}-py3-none-any.whl" in (REPO / "README.md").read_text()
