"""The examples of scheduling are what their schedulers and the command line can read."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from clvpredict.cli import app
from clvpredict.refit import load_config

REPO = Path(__file__).resolve().parents[2]
EXAMPLES = REPO / "examples" / "scheduling"
PROGRAM = "/opt/clvpredict/bin/clvpredict"
UNITS = ("clvpredict-refit.service", "clvpredict-refit.timer", "clvpredict-alert@.service")
FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))  # man 5 crontab
SECRETS = ["PGUSER", "PGPASSWORD", "SHOP_WEBHOOK"]

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: apt install systemd"
)


def read(name: str) -> str:
    return (EXAMPLES / name).read_text()


# --- what each of them runs -------------------------------------------------------------------


def in_shell_line(line: str) -> list[str]:
    """The words of the call of clvpredict in a line for a shell."""
    (call,) = re.findall(r"(?:^|[;&]\s*)(clvpredict .*?)(?:\s+>.*|\s*\|\|.*|)$", line)
    return shlex.split(call)


def of_cron() -> list[str]:
    *_, line = read("crontab").strip().splitlines()
    return in_shell_line(line.split(maxsplit=5)[5])


def of_systemd() -> list[str]:
    return shlex.split(unit("clvpredict-refit.service")["Service"]["ExecStart"])


def of_airflow() -> list[str]:
    """The words of the list, of which one may be a constant above it."""
    names: dict[str, Any] = {}
    for node in ast.parse(read("airflow_dag.py")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, node.value
            if isinstance(value, ast.List):
                names[name] = [
                    names[word.id] if isinstance(word, ast.Name) else ast.literal_eval(word)
                    for word in value.elts
                ]
            elif isinstance(value, ast.Constant):
                names[name] = value.value
    return list(names["REFIT"])


def of_github() -> list[str]:
    lines = refit_step()["run"].splitlines()
    (line,) = [line for line in lines if line.startswith("clvpredict")]
    return in_shell_line(line)


@pytest.mark.parametrize("words", [of_cron, of_systemd, of_airflow, of_github])
def test_the_command_line_takes_the_call(words: Callable[[], list[str]]) -> None:
    program, *arguments = words()
    assert program in ("clvpredict", PROGRAM)
    group = typer.main.get_command(app)
    context = group.make_context("clvpredict", [], resilient_parsing=True)
    name, command, rest = group.resolve_command(context, arguments)  # type: ignore[attr-defined]
    parsed = command.make_context(name, rest, parent=context)
    assert name == "refit"
    assert Path(parsed.params["config"]).name == "shop.toml"


def test_other_calls_that_are_named_exist_too() -> None:
    group = typer.main.get_command(app)
    context = group.make_context("clvpredict", [], resilient_parsing=True)
    texts = "\n".join(p.read_text() for p in sorted(EXAMPLES.iterdir()) if p.is_file())
    texts += (REPO / "docs" / "scheduling.md").read_text()
    named = set(re.findall(r"clvpredict (check|show|runs|diff|rollback|refit) ([\w. -]+)", texts))
    assert {name for name, _ in named} >= {"check", "show", "refit"}
    for name, rest in named:
        command = group.get_command(context, name)  # type: ignore[attr-defined]
        options = {o for p in command.params for o in p.opts}
        assert set(re.findall(r"--[\w-]+", rest)) <= options, (name, rest)


# --- the configuration ------------------------------------------------------------------------


def test_the_configuration_loads_and_its_secrets_are_those_of_the_examples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "x")
    config = load_config(EXAMPLES / "shop.toml")
    assert config.job.name == "shop"
    assert sorted(set(re.findall(r"\$\{(\w+)\}", config.text))) == sorted(SECRETS)
    lines = [x for x in read("shop.env.example").splitlines() if not x.startswith("#")]
    assert [line.partition("=")[0] for line in lines] == SECRETS
    assert refit_step()["env"] == {name: f"${{{{ secrets.{name} }}}}" for name in SECRETS}


# --- cron -------------------------------------------------------------------------------------


def test_the_line_of_cron_is_one() -> None:
    entries = [x for x in read("crontab").splitlines() if x and not x.startswith("#")]
    *settings, line = entries
    assert all(re.fullmatch(r"[A-Z]+=\S+", setting) for setting in settings)
    assert {s.partition("=")[0] for s in settings} == {"SHELL", "PATH", "MAILTO"}
    *fields, command = line.split(maxsplit=5)
    assert len(fields) == len(FIELDS)
    for field, (lowest, highest) in zip(fields, FIELDS, strict=True):
        assert field == "*" or lowest <= int(field) <= highest
    assert "%" not in command  # cron makes line ends of them
    (path,) = [s for s in settings if s.startswith("PATH=")]
    assert str(Path(PROGRAM).parent) in path.removeprefix("PATH=").split(":")
    assert read("crontab").endswith("\n")  # without, cron refuses the file


def test_the_line_of_cron_gives_the_job_its_secrets(tmp_path: Path) -> None:
    environment = tmp_path / "shop.env"
    environment.write_text(read("shop.env.example"))
    program = tmp_path / "clvpredict"
    program.write_text('#!/bin/sh\necho "$@" "$PGPASSWORD"\nexit 5\n')
    program.chmod(0o755)
    *_, line = read("crontab").strip().splitlines()
    command = line.split(maxsplit=5)[5].replace("/etc/clvpredict/shop.env", str(environment))
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env={"PATH": f"{tmp_path}:/bin:/usr/bin"},
        capture_output=True,
        text=True,
    )
    expected = "refit /srv/clvpredict/shop.toml --wait 600 --quiet change-me\n"
    assert (done.stdout, done.returncode) == (expected, 5)


# --- systemd ----------------------------------------------------------------------------------


def unit(name: str) -> dict[str, dict[str, str]]:
    """A unit file whose keys come once each."""
    found: dict[str, dict[str, str]] = {}
    section = ""
    for line in read(name).splitlines():
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            section = heading[1]
            found[section] = {}
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            assert key not in found[section], line
            found[section][key] = value
    return found


def test_codes_are_told_apart_by_the_service() -> None:
    service = unit("clvpredict-refit.service")["Service"]
    assert service["SuccessExitStatus"].split() == ["5", "6"]
    again = set("12345678") - set(service["RestartPreventExitStatus"].split())
    assert again - set(service["SuccessExitStatus"].split()) == {"7"}
    assert unit("clvpredict-refit.timer")["Timer"]["Persistent"] == "true"


@needs_systemd
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    # It looks whether programs are there.
    for name in UNITS:
        text = read(name).replace(PROGRAM, shutil.which("true") or "/bin/true")
        (tmp_path / name).write_text(text)
    command = ["systemd-analyze", "verify", *(str(tmp_path / name) for name in UNITS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_the_timer_runs_every_night() -> None:
    when = unit("clvpredict-refit.timer")["Timer"]["OnCalendar"]
    command = ["systemd-analyze", "calendar", "--iterations=2", when]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"03:30:00 UTC|03:30:00 \w+", done.stdout)) >= 2


# --- Airflow ----------------------------------------------------------------------------------


class _FailError(Exception):
    pass


class _SkipError(Exception):
    pass


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The DAG's functions, with as much of Airflow as they need; `make test-airflow` has it all."""
    found: dict[str, Any] = {"dag": [], "options": {}, "calls": []}

    def dag(**options: Any) -> Callable[..., Any]:
        found["dag"].append(options)
        return lambda function: function

    def task(function: Any = None, **options: Any) -> Any:
        if function is None:
            return lambda f: task(f, **options)
        found[function.__name__] = function
        found["options"][function.__name__] = options

        def call(*upstream: str) -> str:
            found["calls"].append((function.__name__, upstream))
            return str(function.__name__)

        return call

    sdk, exceptions = types.ModuleType("airflow.sdk"), types.ModuleType("airflow.sdk.exceptions")
    sdk.__dict__.update(dag=dag, task=task)
    names = {"AirflowFailException": _FailError, "AirflowSkipException": _SkipError}
    exceptions.__dict__.update(names)
    for module in (types.ModuleType("airflow"), sdk, exceptions):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    spec = importlib.util.spec_from_file_location("airflow_dag", EXAMPLES / "airflow_dag.py")
    assert spec is not None
    assert spec.loader is not None
    found["module"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found["module"])
    return found


def test_the_dag_is_one_refit_at_a_time_and_a_look(tasks: dict[str, Any]) -> None:
    (options,) = tasks["dag"]
    assert (options["schedule"], options["catchup"], options["max_active_runs"]) == (
        "30 3 * * *",
        False,
        1,
    )
    assert tasks["calls"] == [("refit", ()), ("look", ("refit",))]
    assert tasks["options"]["refit"]["retries"] == 3
    assert "retries" not in tasks["options"]["look"]


@pytest.mark.parametrize(
    ("code", "ends"),
    [
        (0, None),
        (1, _FailError),
        (2, _FailError),
        (3, _FailError),
        (4, _FailError),
        (5, None),
        (6, _SkipError),
        (7, RuntimeError),  # what Airflow tries again
        (8, _FailError),
        (-9, _FailError),
    ],
)
def test_the_dag_tells_codes_apart(
    tasks: dict[str, Any], code: int, ends: type[Exception] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = f"import os, signal; os.kill(os.getpid(), {-code})" if code < 0 else f"exit({code})"
    monkeypatch.setattr(tasks["module"], "REFIT", [sys.executable, "-c", ending])
    if ends is None:
        assert tasks["refit"]() == code
    else:
        with pytest.raises(ends):
            tasks["refit"]()


def test_somebody_has_to_look_at_what_was_held_back(tasks: dict[str, Any]) -> None:
    tasks["look"](0)
    with pytest.raises(_FailError, match="clvpredict show latest"):
        tasks["look"](5)


# --- GitHub Actions ---------------------------------------------------------------------------


def workflow() -> dict[Any, Any]:
    found = yaml.safe_load(read("github-actions.yml"))
    assert isinstance(found, dict)
    return found


def refit_step() -> dict[str, Any]:
    steps = workflow()["jobs"]["refit"]["steps"]
    (step,) = [s for s in steps if s.get("name") == "Refit"]
    return dict(step)


def test_the_workflow_keeps_the_store_and_never_runs_twice() -> None:
    found = workflow()
    # YAML 1.1 reads the key "on" as a truth.
    ((cron,),) = [entry.values() for entry in found[True]["schedule"]]
    assert cron == "30 3 * * *"
    assert found["concurrency"]["cancel-in-progress"] is False
    steps = found["jobs"]["refit"]["steps"]
    restore, save = (s for s in steps if s.get("uses", "").startswith("actions/cache"))
    assert restore["with"]["key"] == save["with"]["key"]
    assert restore["with"]["key"].startswith(restore["with"]["restore-keys"])
    assert save["if"] == "always()"  # the record of a failed run is history too
    assert steps.index(restore) < steps.index(refit_step()) < steps.index(save)


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (5, 0), (3, 3), (7, 7)])
def test_the_workflow_passes_codes_on_and_warns_of_what_was_held_back(
    code: int, ends: int, tmp_path: Path
) -> None:
    program = tmp_path / "clvpredict"
    program.write_text(f"#!/bin/sh\necho '{{}}'\nexit {code}\n")
    program.chmod(0o755)
    # As GitHub runs it where no shell is named.
    done = subprocess.run(
        ["bash", "-e", "-c", refit_step()["run"]],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/bin:/usr/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == ends
    assert ("::warning::" in done.stdout) is (code == 5)
    assert (tmp_path / "summary.json").read_text() == "{}\n"
