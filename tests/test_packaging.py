import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]


def run(*command, cwd, **environment):
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | {key: str(value) for key, value in environment.items()},
        capture_output=True,
        text=True,
        check=False,
    )


def make(*arguments, cwd, **environment):
    """Run make as from a shell, also when the tests themselves were started by make."""
    outer = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON", "VENV")
    return run("env", *(f"-u{name}" for name in outer), "make", *arguments, cwd=cwd, **environment)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build from a copy of what the build reads; --no-isolation keeps it off the network."""
    source = tmp_path_factory.mktemp("source")
    for name in ["pyproject.toml", "README.md", "LICENSE"]:
        shutil.copy(REPO / name, source)
    for name in ["clvpredict", "data"]:
        shutil.copytree(REPO / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    built = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", cwd=source)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = (source / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def constraints():
    return (REPO / "constraints.txt").read_text().splitlines()


def test_wheel_holds_the_sample_and_the_type_marker(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "clvpredict/__init__.py",
        "clvpredict/py.typed",
        "clvpredict/data/cdnow_sample.csv",
        "clvpredict/data/README.md",
    } <= names
    folders = {name.split("/")[0] for name in names}
    assert folders == {"clvpredict", "clvpredict-0.1.0.dist-info"}


def test_wheel_declares_its_entry_point_and_extras(wheel):
    archive = zipfile.ZipFile(wheel)
    info = "clvpredict-0.1.0.dist-info"
    assert "clvpredict = clvpredict.cli:main" in archive.read(f"{info}/entry_points.txt").decode()
    metadata = archive.read(f"{info}/METADATA").decode()
    extras = re.findall(r"^Provides-Extra: (\S+)$", metadata, re.MULTILINE)
    assert set(extras) == {
        "spark",
        "lifetimes",
        "mlflow",
        "polars",
        "postgres",
        "text",
        "docs",
        "dev",
    }


def test_sample_loads_from_the_wheel_alone(wheel, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    code = (
        "import clvpredict; from clvpredict.datasets import load_cdnow;"
        "print(clvpredict.__file__, len(load_cdnow()), len(clvpredict.load_cdnow()))"
    )
    done = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=site)
    assert done.stdout.split() == [str(site / "clvpredict/__init__.py"), "6919", "6919"], (
        done.stderr
    )


def test_constraints_are_names_and_versions_only(constraints):
    assert [line for line in constraints if not re.fullmatch(r"[\w.-]+==[\w.!+-]+", line)] == []


def test_constraints_pin_every_declared_dependency(constraints):
    def normal_name(requirement):
        return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()

    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    declared = chain(project["dependencies"], *project["optional-dependencies"].values())
    unpinned = {normal_name(name) for name in declared} - {normal_name(x) for x in constraints}
    assert unpinned == {"clvpredict"}


# ---- the Makefile ------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path):
    """The files that `make` reads before it has an environment; VENV lies inside it."""
    for name in ["Makefile", "pyproject.toml", "constraints.txt"]:
        shutil.copy(REPO / name, tmp_path)
    return tmp_path


def fake_python(folder, *, name="python3", old=False, lame=False):
    """Write a python that claims to be 3.11, or to lack ensurepip."""
    script = folder / name
    answers = ['case "$2" in']
    if old:
        answers += ["*print*) echo 3.11 ;;", "*version_info*) exit 1 ;;"]
    if lame:
        answers += ["*ensurepip*) exit 1 ;;"]
    answers += [f'*) exec "{sys.executable}" "$@" ;;', "esac"]
    script.write_text("\n".join(["#!/bin/sh", *answers, ""]))
    script.chmod(0o755)
    return script


def test_make_alone_lists_the_verbs(checkout):
    listing = make(cwd=checkout).stdout
    verbs = set(re.findall(r"^  ([a-z-]+) +\S", listing, re.MULTILINE))
    assert verbs >= {
        *("demo", "test", "slow", "notebooks", "lint", "format", "types"),
        *("bench", "bench-core", "docs", "clean", "help"),
    }
    assert make("help", cwd=checkout).stdout == listing


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"old": True}, "needs Python 3.12 or newer; found 3.11 at {python}. Install it, or: "),
        ({"lame": True}, "needs the Python modules venv and ensurepip, and {python} (Python "),
    ],
)
@pytest.mark.parametrize("verb", ["demo", "test"])
def test_make_says_in_one_line_what_is_wrong_with_python(checkout, verb, fault, says):
    python = fake_python(checkout, **fault)
    done = make(f"PYTHON={python}", verb, cwd=checkout)
    assert done.returncode != 0
    (line,) = (done.stdout + done.stderr).splitlines()
    assert says.format(python=python) in line
    assert f"make PYTHON=/path/to/python3.12 {verb}" in line
    assert not (checkout / ".venv").exists()


def test_make_without_any_python_says_so(checkout):
    done = make("PYTHON=/nowhere/python3", "demo", cwd=checkout)
    (line,) = (done.stdout + done.stderr).splitlines()
    assert "needs Python 3.12 or newer; found none at /nowhere/python3." in line


def test_make_passes_over_a_python_that_is_too_old(checkout):
    folder = checkout / "bin"
    folder.mkdir()
    fake_python(folder, name="python3", old=True)
    suitable = fake_python(folder, name="python3.12")
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    done = make(".venv/bin/python", "--dry-run", cwd=checkout, PATH=path)
    assert f"with {suitable} ..." in done.stdout
