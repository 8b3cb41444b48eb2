"""Every notebook runs, for real; ``python tests/test_notebooks.py --write`` stores the outputs.

Notebooks run in a copy in a folder of their own, in a kernel of this very interpreter.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import clvpredict

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
# All that a notebook says about where it runs: nothing of a machine.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_SECONDS_PER_CELL = 120
_LARGEST = 400_000  # bytes; what GitHub shows at once


def execute(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a copy of a notebook inside a folder; returns it with its outputs."""
    # A user's own kernel called python3 may be of another interpreter; this one comes first.
    spec = folder / "jupyter/kernels/python3"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    # The package under test, installed or not.
    monkeypatch.setenv("PYTHONPATH", str(Path(clvpredict.__file__).parents[1]))
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    work = folder / "work"
    work.mkdir()
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=_SECONDS_PER_CELL,
        kernel_name="python3",
        resources={"metadata": {"path": str(work)}},
    )
    with asyncio.Runner() as runner:
        runner.run(client.async_execute())
    return notebook


def outputs(notebook: Any) -> list[Any]:
    cells = [c for c in notebook.cells if c.cell_type == "code"]
    return [output for cell in cells for output in cell.outputs]


def complaints(notebook: Any) -> list[str]:
    """What went to standard error, such as warnings."""
    return [o.text for o in outputs(notebook) if o.output_type == "stream" and o.name == "stderr"]


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.slow  # `make notebooks`, not `make test`
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_runs_without_errors_and_warnings(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = execute(path, tmp_path, monkeypatch)  # raises CellExecutionError
    assert complaints(notebook) == []
    assert shape(notebook) == shape(nbformat.read(path, as_version=4)), (
        "the stored outputs are not those of this notebook: python tests/test_notebooks.py --write"
    )


def shape(notebook: Any) -> list[tuple[int, list[str]]]:
    """Which outputs each cell has; numbers may differ in their last digits.

    How often what a cell prints is passed on is a matter of time, so it counts once.
    """
    kinds = [
        (i, [" ".join(sorted(o.get("data", {"stream": None}))) for o in cell.outputs])
        for i, cell in enumerate(notebook.cells)
        if cell.cell_type == "code"
    ]
    return [(i, [kind for kind, _ in itertools.groupby(own)]) for i, own in kinds]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_stored_notebook_is_executed_and_clean(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [c for c in notebook.cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    assert outputs(notebook)
    assert notebook.metadata == METADATA
    assert all(not cell.metadata for cell in notebook.cells)
    assert complaints(notebook) == []
    text = path.read_text()
    assert not re.search(r"/(home|Users|root|tmp|work)/|[A-Z]:\\\\", text), "a machine's path"
    assert len(text) < _LARGEST


def write(path: Path) -> None:
    """Execute a notebook and store it with its outputs, without traces of this machine."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
        notebook = execute(path, Path(folder), monkeypatch)
    if found := complaints(notebook):
        raise SystemExit(f"{path.name} complains, and is not stored:\n{''.join(found)}")
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells, start=1):
        cell.metadata = nbformat.from_dict({})  # times of execution
        cell.id = f"cell-{number:02}"
    nbformat.write(notebook, path)


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        raise SystemExit(__doc__)
    for notebook_path in NOTEBOOKS:
        write(notebook_path)
