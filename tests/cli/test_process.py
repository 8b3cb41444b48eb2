"""The program as a process: pipes, exit codes, streams."""

import json
import subprocess
import sys

import pytest
from cli_sample import ROOT, SAMPLE


@pytest.mark.slow
def test_pipes(process, transactions):
    one = process("summarize", "-", "--out", "-", stdin=transactions.read_bytes())
    assert one.returncode == 0
    assert one.stdout.startswith(b"customer_id,frequency,recency,T,monetary_value\n")
    assert b"\r" not in one.stdout
    assert b"Summarising" in one.stderr
    two = process("fit", "-", "--time-unit", "D", "--out", "m", "--json", stdin=one.stdout)
    assert two.returncode == 0
    assert two.stderr == b""
    assert json.loads(two.stdout)["models"][0]["convergence"]["status"] == "converged"
    three = process("predict", "m", "-", "--out", "-", "--quiet", stdin=one.stdout)
    assert (three.returncode, three.stderr) == (0, b"")
    assert three.stdout.count(b"\n") == 401


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--version"], 0),
        (["run", "log.csv", "--model", "x"], 2),
        (["run"], 2),
        (["run", "nowhere.csv"], 3),
    ],
)
def test_exit_codes(process, args, code):
    found = process(*args)
    assert found.returncode == code
    assert b"Traceback" not in found.stderr


def test_no_convergence(tmp_path):
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import clvpredict.estimators.base as base
from clvpredict.errors import ConvergenceError
def fail(*args):
    raise ConvergenceError("no optimum")
base.fit_model = fail
from clvpredict.cli import main
main()
"""
    args = ["run", str(SAMPLE), "--out", str(tmp_path / "p.csv")]
    found = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, timeout=120)
    assert found.returncode == 4
    assert found.stderr == b"Error: no optimum\n"


@pytest.mark.slow
def test_a_reader_who_leaves_early(process, transactions, tmp_path):
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from clvpredict.cli import main; main()"
    program = subprocess.Popen(
        [sys.executable, "-c", code, "run", str(SAMPLE), "--out", "-", "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    program.stdout.readline()
    program.stdout.close()
    complaints = program.stderr.read()
    program.stderr.close()
    program.wait(timeout=120)
    assert b"Traceback" not in complaints


@pytest.mark.slow
def test_a_terminal_that_knows_only_ascii(process, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    lines = ["customer_id,date,amount"]
    for i in range(60):
        lines += [f"Łódź-{i},2025-{m + 1:02}-{i % 28 + 1:02},{i % 7 + m + 1}" for m in range(i % 5)]
    log = "\n".join(lines).encode()
    found = process("summarize", "-", "--out", "-", stdin=log)
    assert found.returncode == 0
    assert "Łódź-1," in found.stdout.decode("utf-8")
    assert b"Summarising" in found.stderr


def test_the_program_starts_light():
    code = (
        "import sys; import clvpredict.cli; "
        "heavy = {'pandas', 'scipy', 'numpy', 'ibis', 'duckdb', 'pymc', 'numba', 'matplotlib'}; "
        "found = sorted(heavy & set(sys.modules)); assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=120)


def test_the_main_job_loads_nothing_it_does_not_need(tmp_path):
    code = (
        "import sys; from clvpredict.cli import app; "
        "app(sys.argv[1:], standalone_mode=False); "
        "heavy = {'pymc', 'pytensor', 'numba', 'matplotlib', 'arviz', 'scipy.stats', 'pyspark'}; "
        "found = sorted(heavy & set(sys.modules)); assert not found, found"
    )
    args = ["run", str(SAMPLE), "--quiet", "--out", str(tmp_path / "p.csv")]
    subprocess.run([sys.executable, "-c", code, *args], check=True, cwd=ROOT, timeout=120)
