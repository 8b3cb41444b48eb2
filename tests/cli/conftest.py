"""The program, called in this process and as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from cli_sample import ROOT, SAMPLE
from typer.testing import CliRunner

from clvpredict.cli import app


@dataclass
class Outcome:
    """What a call left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        """Standard output, which is one JSON object and nothing else."""
        return json.loads(self.out)


@pytest.fixture
def clvpredict(tmp_path, monkeypatch) -> Callable[..., Outcome]:
    """Call the program in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*args: object, stdin: bytes | str | None = None) -> Outcome:
        result = CliRunner().invoke(app, [str(a) for a in args], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture
def process(tmp_path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Start the program in an empty folder, warnings being errors there too."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from clvpredict.cli import main; main()"

    def call(*args: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-c", code, *map(str, args)]
        return subprocess.run(command, input=stdin, capture_output=True, cwd=tmp_path, timeout=120)

    return call


@pytest.fixture(scope="session")
def transactions(tmp_path_factory) -> Path:
    """A small log of its own: 400 customers of the sample."""
    log = pd.read_csv(SAMPLE, dtype=str)
    few = log[log["customer_id"].isin(log["customer_id"].drop_duplicates()[:400])]
    path = tmp_path_factory.mktemp("cli") / "log.csv"
    few.to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def rfm_file(tmp_path_factory, transactions) -> Path:
    """Its summary in weeks, as the program writes it."""
    path = tmp_path_factory.mktemp("cli") / "rfm.csv"
    args = ["summarize", str(transactions), "--time-unit", "W", "--out", str(path), "-q"]
    assert CliRunner().invoke(app, args).exit_code == 0
    return path


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory, rfm_file) -> Path:
    """MBG/NBD and Gamma-Gamma fitted on it, as the program saves them."""
    path = tmp_path_factory.mktemp("cli") / "model"
    args = ["fit", str(rfm_file), "--model", "mbg/nbd", "--out", str(path), "-q"]
    assert CliRunner().invoke(app, args).exit_code == 0
    return path
