"""Hooks: words and not a shell, nothing secret told, and nothing that they do ends a run."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from clvpredict.errors import OptionError
from clvpredict.refit.hooks import HOOK_NAMES, check_hook, run_hook

FACTS = {
    "name": "shop",
    "run_id": "20261122T093703Z-1a2b3c",
    "status": "held back",
    "exit_code": 5,
    "version": "0123456789abcdef",
    "as_of": None,
    "record": "/srv/clv/store/runs/20261122T093703Z-1a2b3c/run.json",
    "predictions": "/srv/clv/out/predictions.csv",
    "message": 'worse by 4 %; "mbg/nbd" stays',
}


def words(*template: str, facts: dict[str, object] | None = None) -> list[str]:
    """What a program is given."""
    code = "import json, sys; print(json.dumps(sys.argv[1:]))"
    done = run_hook([sys.executable, "-c", code, *template], facts or FACTS, 30)
    assert done["problem"] is None, done
    found: list[str] = json.loads(done["output"])
    return found


def python(code: str, timeout: float = 30) -> dict[str, object]:
    # The hook's own braces are doubled, as a user would have to.
    doubled = code.replace("{", "{{").replace("}", "}}")
    return run_hook([sys.executable, "-c", doubled], FACTS, timeout)


def test_every_name_is_filled_in() -> None:
    given = words(*(f"<{{{name}}}>" for name in HOOK_NAMES))
    assert given == [f"<{'' if FACTS[n] is None else FACTS[n]}>" for n in HOOK_NAMES]
    assert set(HOOK_NAMES) == set(FACTS)


def test_a_fact_stays_one_word_whatever_it_contains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "t0ken-of-the-shop")
    nasty = "$(rm -rf /); `id` | tee x && \n 'a' \"b\" ${SHOP_TOKEN} {status} {{ * ~"
    assert words("-s", "{message}", "end", facts={**FACTS, "message": nasty}) == [
        "-s",
        nasty,
        "end",
    ]


def test_a_fact_as_json_makes_a_document_that_parses() -> None:
    hard = 'said "no"\n\\ tab\t é €'
    (body,) = words('{{"text": {message:json}, "run": {run_id:json}}}', facts={"message": hard})
    assert json.loads(body) == {"text": hard, "run": ""}


def test_null_characters_and_endless_messages_do_not_stop_an_alarm() -> None:
    facts = {"message": "a\0b" + "x" * 300_000}
    code = "import sys; g = sys.argv[1]; print(g[:5], g[-5:], len(g))"
    done = run_hook([sys.executable, "-c", code, "{message}"], facts, 30)
    assert done["output"] == "a\\0bx x ... 4004\n"


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("{state}", r"knows no '\{state\}'. Allowed: \{name\}.*Did you mean 'status'"),
        ("{}", r"knows no '\{\}'"),
        ("{message.__class__}", r"knows no"),
        ("{status!r}", r"knows no"),
        ("{message:yaml}", r"knows no"),
        ('{"text": 1}', r"knows no"),
        ("a { b", r"lone '\{'"),
        ("a } b", r"lone '\}'"),
    ],
)
def test_what_could_not_be_filled_in_is_refused(word: str, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        check_hook(["notify", word])
    # A run that has ended is not to fail for it.
    done = run_hook(["notify", word], FACTS, 5)
    assert done["exit_code"] is None
    assert done["problem"].startswith("the hook was not run: a hook")


def test_a_check_needs_no_environment() -> None:
    check_hook(["curl", "-d", '{{"text": {message:json}}}', "https://hooks/${NOT_SET_ANYWHERE}"])


def test_secrets_are_given_to_the_program_and_to_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = "{status}-s3cret/{{&"
    monkeypatch.setenv("SHOP_WEBHOOK", secret)
    code = (
        "import os, sys; given = sys.argv[1]; print(given);"
        "sys.exit(3 if given == 'shop=' + os.environ['SHOP_WEBHOOK'] else 4)"
    )
    template = [sys.executable, "-c", code, "{name}=${SHOP_WEBHOOK}"]
    done = run_hook(template, FACTS, 30)
    assert done["exit_code"] == 3, done["output"]
    assert done["output"] == "shop=***\n"
    assert done["command"] == template
    assert secret not in json.dumps(done)


def test_a_secret_cut_by_the_limit_of_the_output_is_hidden_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = "abcdefghij" * 5
    monkeypatch.setenv("SHOP_WEBHOOK", secret)
    code = "import sys; print(sys.argv[1] + 'x' * 1980, end='')"
    done = run_hook([sys.executable, "-c", code, "${SHOP_WEBHOOK}"], FACTS, 30)
    assert done["output"] == "***" + "x" * 1980


def test_a_secret_that_is_not_set_is_a_problem_that_names_it() -> None:
    done = run_hook(["true", "${NOT_SET_ANYWHERE}"], FACTS, 5)
    assert done["exit_code"] is None
    assert "NOT_SET_ANYWHERE" in done["problem"]


def test_both_streams_are_kept_and_only_their_end() -> None:
    code = (
        "import sys; sys.stdout.write('a' * 5_000_000); sys.stdout.flush();"
        "sys.stderr.write('the end'); sys.exit(1)"
    )
    done = python(code)
    assert done["problem"] == "the hook ended with exit code 1"
    assert done["output"] == "a" * 1993 + "the end"


def test_what_is_not_text_is_kept_as_well_as_can_be() -> None:
    done = python("import sys; sys.stdout.buffer.write(b'\\xff\\xfe ok')")
    assert done["output"] == "\ufffd\ufffd ok"


def test_there_is_no_standard_input_and_the_environment_is_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHOP_PLACE", "Bonn")
    done = python("import os, sys; print(repr(sys.stdin.read()), os.environ['SHOP_PLACE'])")
    assert done["output"] == "'' Bonn\n"


@pytest.mark.parametrize(
    "template", [["no-such-program-anywhere"], ["/etc/passwd"], ["a\0b"]], ids=repr
)
def test_a_program_that_cannot_be_started_is_a_problem(template: list[str]) -> None:
    done = run_hook(template, FACTS, 5)
    assert (done["exit_code"], done["output"]) == (None, "")
    assert "could not be started" in done["problem"]


def test_a_timeout_ends_the_command_and_its_children(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    child = f"import time\nwhile True: open({str(alive)!r}, 'a').write('x'); time.sleep(0.02)"
    code = (
        "import subprocess, sys, time; print('began', flush=True);"
        f"subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    )
    began = time.monotonic()
    done = python(code, timeout=1.5)
    assert time.monotonic() - began < 10
    assert done["exit_code"] is None
    assert done["problem"] == "the hook was ended after 1.5 seconds"
    assert done["output"] == "began\n"
    size = alive.stat().st_size
    assert size > 0, "the child never ran"
    time.sleep(0.3)
    assert alive.stat().st_size == size


def test_a_child_left_behind_does_not_hold_the_run_up(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = (
        "import subprocess, sys; print('done', flush=True);"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)']);"
        f"open({str(pid)!r}, 'w').write(str(p.pid))"
    )
    try:
        done = python(code)
        assert done["problem"] is None
        assert done["output"] == "done\n"
        assert done["seconds"] < 10
    finally:
        os.kill(int(pid.read_text()), 9)
