"""The commented configuration knows every option, and its defaults."""

import re
import tomllib

import pytest
from pydantic import BaseModel

from clvpredict.refit import config as models
from clvpredict.refit import load_config
from clvpredict.refit.config import Config
from clvpredict.refit.describe import describe, variables
from clvpredict.refit.template import template

HEADER = re.compile(r"#?\[+([\w.]+)\]+")
KEY = re.compile(r"(#?)(\w+ = .*)")
SECTIONS = {
    "job": models.JobConfig,
    "source": models.SourceConfig,
    "summary": models.SummaryConfig,
    "checks": models.ChecksConfig,
    "model": models.ModelConfig,
    "model.priors": models.PriorConfig,
    "predict": models.PredictConfig,
    "predict.costs": models.CostsConfig,
    "segments": models.SegmentsConfig,
    "gate": models.GateConfig,
    "drift": models.DriftConfig,
    "retention": models.RetentionConfig,
    "outputs": models.OutputConfig,
    "hooks": models.HooksConfig,
    "tracking": models.TrackingConfig,
    "log": models.LogConfig,
}


def listed() -> list[tuple[str, bool, str, object]]:
    """(table, switched off, key, value) of every key of the template, commented out or not."""
    out, table = [], ""
    for line in template().splitlines():
        if header := HEADER.fullmatch(line):
            table = header[1]
        elif key := KEY.fullmatch(line):
            ((name, value),) = tomllib.loads(key[2]).items()
            out.append((table, key[1] == "#", name, value))
    return out


def saved(tmp_path, text, name="shop.toml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def with_tuples(value):
    return tuple(map(with_tuples, value)) if isinstance(value, list) else value


def test_it_loads_and_is_all_defaults(tmp_path):
    config = load_config(saved(tmp_path, template("shop")))
    assert config.job.name == "shop"
    assert config.source.path == "orders/*.csv"
    assert config.outputs[0].path == "out/predictions.csv"
    for name in ("summary", "checks", "model", "predict", "gate", "drift", "retention", "hooks"):
        assert getattr(config, name) == getattr(Config(), name), name
    assert config.segments is config.tracking is config.predict.costs is None


def test_every_option_is_in_it():
    assert set(SECTIONS) == {table for table, *_ in listed()}
    assert set(Config.model_fields) == {table.partition(".")[0] for table in SECTIONS}
    for table, model in SECTIONS.items():
        names = {name for where, _, name, _ in listed() if where == table}
        if table == "model.priors":
            examples = [v for where, _, _, v in listed() if where == table]
            assert {kind for example in examples for kind in example} == set(model.model_fields)
            continue
        # Tables within tables have a header of their own.
        inner = {t.rpartition(".")[2] for t in SECTIONS if t.startswith(f"{table}.")}
        assert names | inner == set(model.model_fields), table


def test_what_is_switched_off_shows_its_default():
    checked = 0
    for table, off, name, value in listed():
        if not off or table == "model.priors":
            continue
        model: type[BaseModel] = SECTIONS[table]
        default = model.model_fields[name].default
        given = getattr(model.model_validate({name: with_tuples(value)}), name)
        if default is None and value is not False:
            assert given is not None  # an example, which is allowed
        else:
            assert given == default, f"[{table}] {name}"
            checked += 1
    assert checked > 40


def test_examples_say_that_they_are_examples():
    for line in template().splitlines():
        key = KEY.fullmatch(line)
        if key and key[1] and line.startswith(("#currency", "#horizon", "#every", "#fallback")):
            assert "example" in line


def test_it_loads_with_everything_switched_on(tmp_path):
    text = re.sub(r"^#(?=\[|\w+ = )", "", template(), flags=re.MULTILINE)
    for beside in ("database", "table", "query"):
        text = re.sub(rf"^{beside} = .*\n", "", text, flags=re.MULTILINE)
    config = load_config(saved(tmp_path, text))
    assert config.predict.costs is not None
    assert config.segments is not None
    assert config.tracking is not None
    assert set(config.model.priors) == {"r", "a", "b"}


@pytest.mark.parametrize(
    "answers",
    [
        {"amount": None},
        {"path": ["a/*.csv", "b.csv"], "horizons": ["26W", "52W"], "output": "out.parquet"},
        {"name": 'a "shop" = {path}  # no', "customer_id": "Kunde\\Nr", "date": "Tag\tund Zeit"},
        {"store": "där/$x", "time_unit": "D", "amount": "{store}"},
    ],
)
def test_answers_go_in_whatever_they_hold(tmp_path, answers):
    config = load_config(saved(tmp_path, template(**answers)))
    given = {
        "name": config.job.name,
        "store": config.job.store,
        "path": config.source.path,
        "customer_id": config.source.customer_id,
        "date": config.source.date,
        "amount": config.source.amount,
        "time_unit": config.summary.time_unit,
        "horizons": config.predict.horizons,
        "output": config.outputs[0].path,
    }
    for key, value in answers.items():
        assert given[key] == with_tuples(value)


def test_in_words_it_says_where_and_how_and_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("T_PASSWORD", "hunter2hunter2")
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "1.csv").write_text("customer_id,date,amount\n")
    text = template() + (
        '[[outputs]]\ndatabase = "postgresql://ann:${T_PASSWORD}@h/shop"\ntable = "scores"\n'
        '[segments]\nby = "lifecycle"\noptions = {loyal_from = 4}\n'
        '[tracking]\nuri = "http://${T_HOST}"\n'
    )
    config = load_config(saved(tmp_path, text))
    rows = describe(config)
    said = dict(rows)
    assert said["source"] == "orders/*.csv (1 file now)"
    assert said["store"] == str(tmp_path / "clvpredict-store")
    assert [says for what, says in rows if what == "output"] == [
        str(tmp_path / "out" / "predictions.csv"),
        "table scores of postgresql://ann:${T_PASSWORD}@h/shop",
    ]
    assert said["segments"] == "by lifecycle, loyal_from = 4"
    assert said["environment variables"] == "T_PASSWORD, T_HOST"
    assert variables(config) == ["T_PASSWORD", "T_HOST"]
    assert "hunter2" not in str(rows)


def test_in_words_money_and_what_is_off(tmp_path):
    text = template(amount=None).replace("#min_customers = 30", "min_customers = false")
    said = dict(describe(load_config(saved(tmp_path, text))))
    assert said["columns"] == "customer_id, date; no money"
    assert said["models"] == "mbg/nbd, by laplace"
    assert said["predictions"] == "over 52W, 90 % intervals"
    assert said["checks"].endswith("off: min_customers, max_age_days")
