"""One file says what a job does; all that is wrong with it is told at once, by line."""

import datetime as dt
import re
import tomllib
import types
import typing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

import clvpredict as clv
from clvpredict.refit import load_config, secrets
from clvpredict.refit.config import Config, PriorConfig
from clvpredict.refit.config_checks import made_up_predictions
from clvpredict.refit.errors import ConfigError
from clvpredict.refit.template import template
from clvpredict.refit.toml_lines import key_lines, line_of

SOURCE = '[source]\npath = "orders.csv"\n'
OUTPUT = '[[outputs]]\npath = "out.csv"\n'
BASE = SOURCE + OUTPUT


def load(folder, text) -> Config:
    path = folder / "shop.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def problems(folder, text) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(folder, text)
    found = list(error.value.problems)
    assert all(problem in str(error.value) for problem in found)
    assert str(error.value).startswith(f"{len(found)} problem")
    return found


def test_the_least_that_works(tmp_path):
    config = load(tmp_path, BASE)
    assert config.source.path == "orders.csv"
    assert config.outputs[0].path == "out.csv"
    assert config.predict == Config().predict
    assert config.path == tmp_path / "shop.toml"
    assert config.text == BASE
    with pytest.raises(ValidationError):
        config.job.name = "other"


def test_what_can_be_switched_off_is_none(tmp_path):
    text = BASE.replace("[[", "amount = false\n[[", 1)
    text += "[checks]\nnew_rows = false\nmax_unknown_ids = 0\n[gate]\nmax_k_hat = false\n"
    config = load(tmp_path, text)
    assert config.source.amount is config.checks.new_rows is config.gate.max_k_hat is None
    assert config.checks.max_unknown_ids == 0.0


@pytest.mark.parametrize("value", ["2024-01-31", '"2024-01-31"'])
def test_days_are_dates_or_texts(tmp_path, value):
    config = load(tmp_path, f"{BASE}[summary]\nobservation_start = {value}\n")
    assert config.summary.observation_start == dt.date(2024, 1, 31)


def test_a_file_with_a_byte_order_mark_and_windows_lines(tmp_path):
    path = tmp_path / "shop.toml"
    path.write_bytes(("\ufeff" + BASE + "[gate]\nmargin = -1\n").replace("\n", "\r\n").encode())
    with pytest.raises(ConfigError, match=re.escape("line 6, [gate] margin = -1: must be 0 or")):
        load_config(path)


def test_many_problems_are_told_together_in_the_order_of_the_file(tmp_path):
    text = """
[job]
seed = -1
[source]
path = "orders.csv"
custmer_id = "id"
[summary]
time_unit = "Q"
timezone = "Europe/Berln"
[model]
candidates = ["mbg-nbd"]
[gate]
margin = -1
[[outputs]]
path = "out.txt"
"""
    found = problems(tmp_path, text)
    assert [problem.partition(":")[0] for problem in found] == [
        "line 3, [job] seed = -1",
        'line 6, [source] custmer_id = "id"',
        'line 8, [summary] time_unit = "Q"',
        'line 9, [summary] timezone = "Europe/Berln"',
        'line 11, [model] candidates = ["mbg-nbd"]',
        "line 13, [gate] margin = -1",
        'line 15, [[outputs]] no. 1, path = "out.txt"',
    ]
    for problem, hint in zip(
        found,
        (
            "must be a whole number from 0",
            "Did you mean 'customer_id'?",
            "'W'",
            "Did you mean 'Europe/Berlin'?",
            "Did you mean 'mbg/nbd'?",
            "must be 0 or more, such as 0.02",
            "must end in .csv or .parquet",
        ),
        strict=True,
    ):
        assert hint in problem


def leaves(model: type[BaseModel] = Config, path: tuple[str, ...] = ()):
    """The keys of a model as TOML headers and names, with their fields."""
    for name, field in model.model_fields.items():
        inner = next((m for m in models_in(field.annotation)), None)
        if inner in (None, PriorConfig):
            yield path, name, field
        else:
            yield from leaves(inner, (*path, name))


def models_in(annotation):
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        if not isinstance(argument, types.EllipsisType):
            yield from models_in(argument)


def test_every_key_of_a_wrong_type_is_told_by_its_line_and_what_it_must_be(tmp_path):
    lines, expected = [], {}
    table: tuple[str, ...] = ()
    for path, name, field in leaves():
        if path != table:
            table = path
            lines.append("[[outputs]]" if path == ("outputs",) else f"[{'.'.join(path)}]")
        lines.append(f"{name} = [[[1]]]")
        expected[len(lines)] = f"{name} = [[[1]]]: must be {field.description}"
    assert len(expected) >= 80
    found = problems(tmp_path, "\n".join(lines))
    assert len(found) == len(expected)
    for problem, (line, says) in zip(found, expected.items(), strict=True):
        assert problem.startswith(f"line {line}, [")
        assert problem.endswith(says)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("[gate]\nmargin = true", "[gate] margin = true: must be 0 or more"),
        ("[gate]\nmargin = nan", "[gate] margin = NaN: must be 0 or more"),
        ("[gate]\nvintages = 2.0", "[gate] vintages = 2.0: must be a whole number"),
        ("[predict]\nhorizons = []", "[predict] horizons = []: must be a list"),
        ("[predict]\ninterval = 90", "such as 0.9"),
        ("[predict]\nmargin = 30", "30 % is 0.3"),
        ("[checks]\nnew_rows = [1.0]", "must be the least and the most"),
        ("[summary]\nobservation_start = 2024-01-31T10:00:00", "must be a day"),
        ("[summary]\nobservation_start = '31.1.2024'", "must be a day"),
        ("predict = 3", "[predict] = 3: must be a table: [predict]"),
        ("[sumary]\ncollapse = 'D'", "sumary: is not known. Did you mean 'summary'?"),
        ("[drift]\ndiscount_rate = 0.1", "It belongs in [predict]"),
        ("[checks]\nmargin = 1", "It belongs in [predict] or [gate]"),
        ("[predict]\nmargins = 1", "Did you mean 'margin'?"),
        ("[model]\ncandidates = ['gamma-gamma']", "is fitted by itself"),
        ("[model]\ncandidates = ['nbd', 'nbd']", "has 'nbd' more than once"),
        ("[model]\nmethod = 'bayes'", "must be 'mle', 'map', 'laplace', 'nuts' or 'auto'"),
        ("[model]\nmethod = 'mle'\npriors.r = {halfnormal = 1}", "needs a method with priors"),
        ("[model.priors]\nz = {halfnormal = 1}", "z: is no parameter of the candidates"),
        ("[model.priors]\nr = {}", "must be one of {lognormal"),
        ("[model.priors]\nr = {halfnormal = 1, gamma = [1, 2]}", "must be one of {lognormal"),
        ("[model.priors]\nr = {gamma = [0, 1]}", "[model.priors.r] gamma = [0, 1]: must be"),
        ("[model.priors]\nr = 3", "[model.priors] r = 3: must be a table of parameters"),
        ("[predict]\nhorizons = ['52W', '364D']", "has '52W' and '364D', which are the same"),
        ("[predict]\nhorizons = ['52']", "has '52', which is no length of time"),
        ("[predict]\nhorizons = ['0W']", "has '0W', which is no length of time"),
        ("[predict.costs]\nperiod = 'Q'", "[predict.costs] period"),
        ("[predict.costs]\nreturn_rate = 8", "must be a share from 0 to 1"),
        ("[predict]\nrecalibrate = true\n[predict.costs]\nservice_cost = 1.5", "knows no costs"),
        ("[predict]\ndiscounting = 'lifetimes'\nhorizons = ['1W']", "a month or more"),
        ("[segments]\noptions = {share = [1]}", "Did you mean 'shares'?"),
        ("[segments]\noptions = {shares = [0.5, 0.6]}", "add up to 1"),
        ("[segments]\nby = 'lifecycle'\noptions = {loyal_from = 0}", "loyal_from=0"),
        ("[segments]\noptions = {of = 'net_clv'}", "net_clv"),
        ("[segments]\noptions = {of = 3}", "cannot be used"),
        ("[gate]\nhorizon = 'a quarter'", "must be a length of time"),
        ("[gate]\nevery = '0D'", "must be a length of time"),
        ("[retention]\nversions = 1", "a rollback needs the one before"),
        ("[hooks]\non_failed = ['mail', '{state}']", "Did you mean 'status'?"),
        ("[hooks]\non_failed = ['mail', '${A-B}']", "has ${A-B}, which names no environment"),
        ("[hooks]\non_failed = ['']", "must begin with the name of a program"),
        ("[hooks]\non_failed = 'mail'", "must be a list of words"),
        ("[tracking]\nuri = 'http://u:hunter2@h'", "has a password in it; write ${NAME}"),
        ("[[outputs]]\npath = './x/../out.csv'", "is the target of no. 1 too"),
        ("[[outputs]]\npartition = true", "no. 2: is without a target"),
        ("[[outputs]]\npath = 'x/.csv'", "must end in .csv or .parquet"),
        ("[[outputs]]\npath = 'a.csv'\ntable = 't'", 'table = "t": is of a database'),
        ("[[outputs]]\ndatabase = 'sqlite:///a.db'", "needs a table"),
        ("[[outputs]]\npath = 'a.csv'\ndatabase = 'sqlite:///a.db'\ntable = 't'", "beside path"),
        ("[[outputs]]\ndatabase = 'mysql://h/x'\ntable = 't'", "is no database that is known"),
        ("[[outputs]]\ndatabase = 'sqlite:///'\ntable = 't'", "names no file"),
        (
            "[[outputs]]\ndatabase = 'sqlite:///a.db'\ntable = 't'\nexcel_safe = true",
            "excel_safe = true: is of files",
        ),
        ("[[outputs]]\npath = 'orders.csv'", "is read as transactions"),
        ("[[outputs]]\npath = 'clvpredict-store/x.csv'", "lies in the store"),
        ("[job]\nstore = '${HOME}/x'", "has ${HOME}; environment variables are read in"),
        ("[job]\nname = ''", "must be a text"),
    ],
)
def test_what_is_not_allowed_alone_is_the_only_problem(tmp_path, change, says):
    text = f"{change}\n{BASE}" if "predict =" in change else f"{BASE}{change}\n"
    found = problems(tmp_path, text)
    assert len(found) == 1, found
    assert says in found[0]
    assert "hunter2" not in found[0]
    line = int(re.match(r"line (\d+), ", found[0])[1])
    assert line > len(BASE.splitlines()) or "predict =" in change


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("", "[source] path: is missing; add path"),
        ('path = "a.csv"\ndatabase = "sqlite:///a.db"\ntable = "t"', "is given beside path"),
        ('path = "a.csv"\ntable = "t"', "is of a database; remove it"),
        ('database = "sqlite:///a.db"', "needs a table or a query"),
        ('database = "sqlite:///a.db"\ntable = "t"\nquery = "q"', "keep one of them"),
        ('database = "postgresql://u:hunter2@h/db"\ntable = "t"', "has a password in it"),
        ('database = "orders.db"\ntable = "t"', "is no database that is known"),
        ('path = "s3://bucket/a.csv"', "is not a local file"),
        ('path = "a.csv"\ndate = "customer_id"', "one column for customer_id and date"),
        ("path = []", "must be a path, a pattern"),
        ('path = "."', "is read as transactions"),
        ('path = "**/*.csv"', 'out.csv": is read as transactions'),
        ('path = "[!a]u?.csv"', "is read as transactions"),
    ],
)
def test_sources_that_cannot_be(tmp_path, source, says):
    found = problems(tmp_path, f"[source]\n{source}\n{OUTPUT}")
    assert says in found[0]
    assert "hunter2" not in str(found)


@pytest.mark.parametrize("pattern", ["orders/*.csv", "o*.csv.gz", "orders/**/x.csv", "[a]ut.csv"])
def test_sources_that_do_not_read_the_output(tmp_path, pattern):
    assert load(tmp_path, f'[source]\npath = "{pattern}"\n{OUTPUT}').source.path == pattern


def test_a_store_that_would_be_read_as_transactions(tmp_path):
    (found,) = problems(tmp_path, f'[source]\npath = "**/*.parquet"\n{OUTPUT}')
    assert "[job] store: is read as transactions" in found


def test_an_output_table_that_is_the_source(tmp_path):
    text = (
        '[source]\ndatabase = "duckdb:///x.db"\ntable = "t"\n'
        f'[[outputs]]\ndatabase = "duckdb:///{tmp_path}/x.db"\ntable = "t"\n'
    )
    (found,) = problems(tmp_path, text)
    assert "is the source, which would be overwritten" in found
    assert load(tmp_path, text.replace('table = "t"\n[[', 'table = "u"\n[['))


@pytest.mark.parametrize(
    "change",
    [
        "[predict]\nmargin = 0.3",
        "[predict.costs]\nservice_cost = 1",
        "[checks]\nmax_median_ratio = 3.0",
        "[gate]\nmax_value_bias = 35.0",
        '[gate]\nmetric = "value_crps"',
        "[model.priors]\nv = {halfnormal = 1}",
        "[segments]\noptions = {of = 'clv'}",
    ],
)
def test_options_of_money_need_money(tmp_path, change):
    text = f"{BASE}{change}\n"
    assert load(tmp_path, text)
    (found,) = problems(tmp_path, text.replace("[[", "amount = false\n[[", 1))
    assert found.startswith("line 7, ") or "costs" in change


def test_no_outputs_and_no_source(tmp_path):
    found = problems(tmp_path, "[job]\nname = 'shop'\n")
    assert found[0].startswith("[source] path: is missing")
    assert found[1].startswith("[[outputs]]: is missing; add [[outputs]] with path =")
    assert "in double brackets" in problems(tmp_path, f"{SOURCE}[outputs]\npath = 'a.csv'\n")[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[job]\nname = shop\n", "line 2, column 8: Invalid value: name = shop"),
        ("[job]\nname = 'a'\nname = 'b'\n", "line 3, column 11: Cannot overwrite a value"),
        ("[job]\nname = [1,\n", "the end of the file"),
        ('x = "postgresql://u:hunter2@h" y\n', "***"),
    ],
)
def test_what_is_no_toml(tmp_path, text, says):
    (found,) = problems(tmp_path, text)
    assert says in found
    assert "hunter2" not in found


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="no such file; clvpredict init"):
        load_config(tmp_path / "no.toml")
    with pytest.raises(ConfigError, match="it is a folder"):
        load_config(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"[job]\nname = '\xe9'\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "latin.toml")


def test_secrets_stay_names(tmp_path, monkeypatch):
    monkeypatch.setattr(secrets, "_known", set())
    monkeypatch.setenv("T_PASSWORD", "hunter2hunter2")
    text = (
        '[source]\ndatabase = "postgresql://ann:${T_PASSWORD}@h/shop"\ntable = "t"\n'
        f'{OUTPUT}[hooks]\non_failed = ["curl", "https://h/${{T_TOKEN}}?x={{status}}"]\n'
    )
    config = load(tmp_path, text)
    assert "hunter2" not in f"{config!r}{config.text}{config.model_dump_json()}"
    before = config.digest
    monkeypatch.setenv("T_PASSWORD", "another")
    assert load(tmp_path, text).digest == before


def test_the_digest_is_of_what_makes_a_difference(tmp_path):
    digest = load(tmp_path, BASE).digest
    same = [
        f"# a comment\n{BASE}",
        f"{BASE}[gate]\nmargin = 0.02\n",
        f"{BASE}[log]\nformat = 'json'\n[retention]\nruns = 3\n",
        f"{BASE}[hooks]\non_failed = ['x']\n[tracking]\nexperiment = 'y'\n",
        OUTPUT + SOURCE,
        BASE.replace("[source]", "[source]\nattempts = 9\nfirst_wait = 3.0"),
    ]
    other = [
        BASE.replace("orders", "others"),
        f"{BASE}[gate]\nmargin = 0.03\n",
        f"{BASE}[predict.costs]\n",
        f"{BASE}[checks]\nmin_rows = false\n",
        f"{BASE}[[outputs]]\npath = 'b.csv'\n",
    ]
    assert {load(tmp_path, text).digest for text in same} == {digest}
    digests = [load(tmp_path, text).digest for text in other]
    assert len({digest, *digests}) == len(other) + 1


def test_paths_start_at_the_file(tmp_path, monkeypatch):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "shop.toml").write_text(BASE)
    monkeypatch.chdir(tmp_path)
    config = load_config("jobs/shop.toml")
    assert config.resolve(config.outputs[0].path) == tmp_path / "jobs" / "out.csv"
    assert str(config.resolve("/data/x.csv")) == "/data/x.csv"
    assert config.resolve("~/x.csv").is_absolute()
    assert "~" not in str(config.resolve("~/x.csv"))
    assert config.resolve_database("sqlite:///a.db") == f"sqlite:///{tmp_path}/jobs/a.db"
    for url in ("duckdb:////data/a.db", "postgresql://h/a", "sqlite:///${SHOP}/a.db"):
        assert config.resolve_database(url) == url


@pytest.mark.slow
def test_priors_are_the_distributions_that_they_say(tmp_path):
    import pymc as pm

    text = (
        f"{BASE}[model]\ncandidates = ['mbg/nbd', 'nbd']\n[model.priors]\n"
        "r = {lognormal = [0.5, 0.25]}\na = {halfnormal = 2}\nb = {gamma = [2, 4]}\n"
    )
    model = load(tmp_path, text).model
    at = 0.7
    found = {name: float(pm.logp(prior, at).eval()) for name, prior in model.make_priors().items()}
    expected = {
        "r": -((np.log(at) - 0.5) ** 2) / (2 * 0.25**2) - np.log(at * 0.25 * np.sqrt(2 * np.pi)),
        "a": -(at**2) / 8 + 0.5 * np.log(2 / np.pi) - np.log(2),
        "b": np.log(4**2 * at) - 4 * at,
    }
    assert found == pytest.approx(expected)
    assert list(model.make_priors(["r", "alpha"])) == ["r"]


@pytest.mark.parametrize("money", [True, False])
def test_segments_are_tried_on_the_columns_that_predictions_have(tmp_path, cdnow_rfm, money):
    rfm = cdnow_rfm.head(20)
    purchases = clv.MBGNBD.from_params(time_unit="W", r=0.5, alpha=6.0, a=0.5, b=1.5)
    how = {"horizon": "13W", "interval": 0.9, "draws": 10}
    if money:
        spend = clv.GammaGamma.from_params(p=4.0, q=4.0, v=20.0)
        table = clv.CLVModel(purchases, spend).predict(
            rfm, costs=clv.Costs(service_cost=1.0), fallback_spend=20.0, **how
        )
    else:
        table = purchases.predict(rfm.drop(columns="monetary_value"), **how)
    text = f"{BASE}[predict.costs]\n" if money else BASE.replace("[[", "amount = false\n[[", 1)
    made_up = made_up_predictions(load(tmp_path, text))
    assert set(made_up.columns) == set(table.columns)


TRICKY = '''\
# [no]
title = """
[no]
x = 1 """
[a."b.c"] # = ]
k = [ # list ]
  "]", 2, \'\'\'
[neither]
\'\'\',
  {z = 1},
]
d.e = 1
"q=r # \\"" = 'x#y'
\t'lit.eral' = "\\\\"
[[outputs]]
path = """a\\""""
[[outputs]]   # two
[outputs.sub]
y = """"quoted""""
  v = {a = 1, b = {c = "}"}}
[[outputs.inner]]
z = 1979-05-27
'''


def test_lines_of_keys_in_a_file_that_is_hard_to_read():
    lines = key_lines(TRICKY)
    text = TRICKY.splitlines()
    expected = {
        ("title",): "title =",
        ("a", "b.c"): '[a."b.c"]',
        ("a", "b.c", "k"): "k =",
        ("a", "b.c", "d", "e"): "d.e",
        ("a", "b.c", 'q=r # "'): '"q=r',
        ("a", "b.c", "lit.eral"): "\t'lit",
        ("outputs", 0): "[[outputs]]",
        ("outputs", 0, "path"): "path",
        ("outputs", 1): "[[outputs]]   # two",
        ("outputs", 1, "sub", "y"): "y =",
        ("outputs", 1, "sub", "v"): "  v =",
        ("outputs", 1, "inner", 0, "z"): "z =",
    }
    for path, start in expected.items():
        assert text[lines[path] - 1].startswith(start), path
    assert line_of(lines, ("outputs", 1, "sub", "v", "b", "c")) == lines["outputs", 1, "sub", "v"]
    assert line_of(lines, ("nowhere",)) is None
    assert not any("no" in path or "neither" in path for path in lines)


VALUES = [
    "1",
    "'[x]'",
    '"# = \\""',
    '"""\n[x]\ny = 1\n"""',
    "'''\n# \n'''",
    "[\n 1, # ]\n 2\n]",
    '{a = "}"}',
    "[[1], [2]]",
]
NAMES = [
    ("a", ("a",)),
    ("b-c", ("b-c",)),
    ('"d.e"', ("d.e",)),
    ("'f=g]'", ("f=g]",)),
    ("h . 'i#'", ("h", "i#")),
]
KEYS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=3)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(NAMES), KEYS), max_size=4))
@settings(max_examples=60, deadline=None)
def test_every_key_has_the_line_where_it_was_written(tables):
    text, expected, counts = "", {}, {}
    for i, (several, (written, names), keys) in enumerate(tables):
        if several:
            table = ("many", counts.setdefault("many", 0))
            counts["many"] += 1
            header = "[[ many ]]"
        else:
            table, header = (f"t{i}", *names), f"[t{i} . {written}]"
        text += f"# [comment]\n\n{header}  # [x]\n"
        expected[table] = text.count("\n")
        for j, ((name, parts), value) in enumerate(keys):
            text += f"k{j}.{name} = {value}  # = note\n"
            expected[*table, f"k{j}", *parts] = text.count("\n") - value.count("\n")
    read = tomllib.loads(text)
    found = key_lines(text)
    for path, line in expected.items():
        assert found[path] == line
        inner = read
        for part in path:
            inner = inner[part]  # the reader has it in the same place
    known = {path[:length] for path in expected for length in range(1, len(path) + 1)}
    assert set(found) == known


def test_every_key_of_the_template_is_on_the_line_that_is_told():
    text = template()
    for path, line in key_lines(text).items():
        if isinstance(path[-1], str):
            assert path[-1] in text.splitlines()[line - 1]
