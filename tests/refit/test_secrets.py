"""Secrets are names in the file, values at the moment of use, and stars everywhere else."""

import json
from urllib.parse import quote

import pytest

from clvpredict.errors import OptionError
from clvpredict.refit import secrets

URL = "postgresql://${T_USER}:${T_PASSWORD}@db.example:5432/${T_BASE}"


@pytest.fixture(autouse=True)
def _own_secrets(monkeypatch):
    """What one test resolves is no secret of the next."""
    monkeypatch.setattr(secrets, "_known", set())


def test_names_are_found_once_and_in_order():
    assert secrets.used("${B} $A {C} ${A}${B} ${1X} ${a_1}") == ["B", "A", "a_1"]
    assert secrets.malformed("${PG-USER} ${OK} ${} ${X") == ["${PG-USER}", "${}", "${X"]


def test_user_and_password_are_encoded_for_urls_and_nothing_else_is(monkeypatch):
    for name, value in {"T_USER": "a:b", "T_PASSWORD": "p@ss/w:rd%", "T_BASE": "my shop"}.items():
        monkeypatch.setenv(name, value)
    got = secrets.resolve(URL)
    assert got == "postgresql://a%3Ab:p%40ss%2Fw%3Ard%25@db.example:5432/my shop"
    assert secrets.resolve("duckdb:///${T_PASSWORD}.duckdb") == "duckdb:///p@ss/w:rd%.duckdb"
    monkeypatch.setenv("T_ALL", "postgresql://u:x%40y@h/db")
    assert secrets.resolve("${T_ALL}") == "postgresql://u:x%40y@h/db"


def test_all_variables_that_are_not_set_are_named_with_what_to_type(monkeypatch):
    monkeypatch.delenv("T_USER", raising=False)
    monkeypatch.delenv("T_BASE", raising=False)
    monkeypatch.setenv("T_PASSWORD", "set-already")
    with pytest.raises(OptionError) as error:
        secrets.resolve(URL)
    assert "T_USER, T_BASE are not set" in str(error.value)
    assert "export T_USER=...; export T_BASE=..." in str(error.value)
    assert "EnvironmentFile" in str(error.value)
    assert "set-already" not in str(error.value)
    assert secrets.missing(["T_USER", "T_PASSWORD"]) == ["T_USER"]


@pytest.mark.parametrize("value", ['p@ss/w:rd% "é"', "line\nbreak-and-more", "short", "a+b=c d"])
def test_a_resolved_value_is_hidden_in_every_form(monkeypatch, value):
    monkeypatch.setenv("T_PASSWORD", value)
    secrets.resolve("https://hooks.example/${T_PASSWORD}")
    forms = [value, quote(value, safe=""), quote(value), json.dumps(value)[1:-1]]
    for form in forms:
        assert secrets.redact(f"before '{form}' after") == "before '***' after"
    assert secrets.redact(json.dumps({"error": f"no {value}!"})) == '{"error": "no ***!"}'


def test_short_values_are_hidden_as_whole_words_only(monkeypatch):
    monkeypatch.setenv("T_PIN", "ann")
    secrets.resolve("${T_PIN}")
    assert secrets.redact("ann cannot, said 'ann'") == "*** cannot, said '***'"


def test_a_secret_that_was_cut_is_hidden(monkeypatch):
    monkeypatch.setenv("T_PASSWORD", "hunter2-hunter3")
    secrets.resolve("${T_PASSWORD}")
    assert secrets.redact("-hunter3 and hunter2-hunter3", cut=True) == "*** and ***"
    assert secrets.redact("nothing was cut", cut=True) == "nothing was cut"


def test_an_empty_value_hides_nothing(monkeypatch):
    monkeypatch.setenv("T_PIN", "")
    assert secrets.resolve("x${T_PIN}y") == "xy"
    assert secrets.redact("as it was") == "as it was"


def test_the_user_and_the_host_of_a_database_are_told(monkeypatch):
    values = {"T_USER": "shop_reader", "T_PASSWORD": "hunter2hunter2", "T_BASE": "shop"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    said = secrets.redact(f"no answer from {secrets.resolve(URL)} for shop_reader")
    assert said == (
        "no answer from postgresql://shop_reader:***@db.example:5432/shop for shop_reader"
    )


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("postgresql://u:pw@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:p@w@h/db", "postgresql://u:***@h/db"),
        ("postgresql://:pw@h/db?x=1 failed", "postgresql://:***@h/db?x=1 failed"),
        ("postgresql://h/db?user=u&password=pw&sslmode=x", None),
        ("host=h password='p w' user=u", "host=h password=*** user=u"),
        ("https://h/x?token=abc&y=1", "https://h/x?token=***&y=1"),
        ("https://h/x?access_token=abc", "https://h/x?access_token=***"),
    ],
)
def test_passwords_that_are_written_out_are_seen_and_hidden(text, hidden):
    hidden = hidden or "postgresql://h/db?user=u&password=***&sslmode=x"
    assert secrets.has_literal(text)
    assert secrets.redact(text) == hidden


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://${U}:${P}@h/db",
        "postgresql://u@h/db",
        "postgresql://localhost:5432/db",
        "http://localhost:8080/notify/crm@example.com",
        "sqlite:////data/shop.sqlite",
        "https://h/x?token=${TOKEN}",
        "mail -s '{name}: {status}' crm@example.com",
    ],
)
def test_what_holds_no_password_is_left_alone(text):
    assert not secrets.has_literal(text)
    assert secrets.redact(text) == text
