"""MLflow is told what a run has found, nothing secret, and cannot make a run fail."""

from __future__ import annotations

import importlib.util
import json
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import MissingExtraError
from clvpredict.predict import Correction, Recalibration
from clvpredict.refit import secrets
from clvpredict.refit.config import Config, JobConfig, PredictConfig, SourceConfig, TrackingConfig
from clvpredict.refit.predictions import predict_all
from clvpredict.refit.records import RunRecord
from clvpredict.refit.tracking import check_tracking, track

if importlib.util.find_spec("mlflow") is None and not os.environ.get("CI"):
    pytest.skip("needs MLflow: pip install 'clvpredict[mlflow]'", allow_module_level=True)
pytestmark = pytest.mark.slow  # MLflow takes seconds to import

SECRET = "pa55-of-the-shop/&"
MODEL = {
    "title": "MBG/NBD",
    "method": "laplace",
    "k_hat": 0.21,
    "parameters": {"r": {"estimate": 0.5246, "lower": 0.4, "upper": 0.7}, "a": {"estimate": 0.89}},
}


def config_in(folder: Path, **tracking: Any) -> Config:
    config = Config(
        job=JobConfig(name="shop", seed=3),
        source=SourceConfig(database="postgresql://ann:${SHOP_SECRET}@db/shop", query="select 1"),
        predict=PredictConfig(horizons=("26W", "52W"), draws=100),
        tracking=TrackingConfig(**{"uri": "file:./mlruns", "experiment": "shops"} | tracking),
    )
    config._path = folder / "shop.toml"
    config._text = '[source]\ndatabase = "postgresql://ann:${SHOP_SECRET}@db/shop"\n'
    return config


def record_of(**fields: Any) -> RunRecord:
    record = RunRecord.begun("shop", status="published", exit_code=0, version="0123456789abcdef")
    record.ended = "2026-11-22T09:41:03Z"
    return record.model_copy(update=fields)


def settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("MLFLOW")}


@pytest.fixture(scope="module")
def rfm(cdnow: pd.DataFrame) -> pd.DataFrame:
    few = cdnow[cdnow["customer_id"].isin(cdnow["customer_id"].unique()[:300])]
    summary = clv.rfm_summary(few, time_unit="W")
    # Text of pandas 3 and whole numbers: columns that a schema is choosy about.
    summary["customer_id"] = "c" + summary["customer_id"].astype(str)
    return summary


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, rfm: pd.DataFrame) -> Iterator[SimpleNamespace]:
    """A run with a model and a recalibration, in a store of files beside the configuration."""
    folder = tmp_path_factory.mktemp("told")
    model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
    (folder / "version").mkdir()
    clv.save_model(model, folder / "version" / "model")
    part = Correction((0.0, 0.31, 0.7, 1.0), 0.8, 1.0 / 0.93, 0.7, 0.12)
    learnt = Recalibration("mbg/nbd", 26.0, "W", ("1997-10-01",), "1998-04-01", part, part)
    clv.save_recalibration(learnt, folder / "version" / "recalibration.json")
    config = config_in(folder)
    record = record_of(
        models=[MODEL],
        gate={"passed": True, "vintages": [{"cutoff": "1998-01-01", "crps": 0.5}], "crps": 0.41},
        drift={"parameters": [{"parameter": "r", "z": 1.5}], "nothing": float("nan")},
        timings={"fit": 1.5},
        facts={"totals": {"customers": 300, "clv": 1234.5}},
        error={"message": f"no answer from postgresql://ann:{SECRET}@db/shop"},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOP_SECRET", SECRET)
        secrets.resolve("${SHOP_SECRET}")  # as the job has when it comes here
        before = settings()
        found = track(config, record, version=folder / "version", sample=rfm.head(4))
        unchanged = settings() == before
    assert found["problem"] is None
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")  # MLflow's own, of its own code
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        import mlflow

        clean = not mlflow.is_tracking_uri_set() and mlflow.active_run() is None
        store = folder / "mlruns"
        client = mlflow.MlflowClient(store.as_uri())
        mlflow.set_tracking_uri(store.as_uri())
        yield SimpleNamespace(
            folder=folder,
            store=store,
            found=found,
            run=client.get_run(found["mlflow_run"]),
            client=client,
            model=model,
            learnt=learnt,
            config=config,
            record=record,
            pyfunc=mlflow.pyfunc.load_model(found["model_uri"]),
            clean=unchanged and clean,
        )
        mlflow.set_tracking_uri(None)


def test_the_store_lies_beside_the_configuration(told: SimpleNamespace) -> None:
    assert (told.store / "meta.yaml").exists() or any(told.store.rglob("meta.yaml"))
    assert told.found["uri"] == "file:./mlruns"
    experiment = told.client.get_experiment(told.run.info.experiment_id)
    assert (told.found["experiment"], experiment.name) == ("shops", "shops")


def test_it_can_be_found_by_run_and_version(told: SimpleNamespace) -> None:
    found = told.client.search_runs(
        [told.run.info.experiment_id], "tags.`clvpredict.version` = '0123456789abcdef'"
    )
    assert [r.info.run_name for r in found] == [told.record.run_id]
    tags = told.run.data.tags
    assert (tags["clvpredict.status"], tags["clvpredict.job"]) == ("published", "shop")
    assert told.run.info.status == "FINISHED"
    assert pd.Timestamp(told.run.info.end_time, unit="ms") == pd.Timestamp("2026-11-22T09:41:03")


def test_options_are_parameters(told: SimpleNamespace) -> None:
    parameters = told.run.data.params
    assert parameters["predict.horizons"] == '["26W", "52W"]'
    assert parameters["model.method"] == "laplace"
    assert parameters["job.seed"] == "3"
    assert parameters["model.MBG/NBD.parameters.r.estimate"] == "0.5246"
    assert not [name for name in parameters if name.startswith(("hooks", "tracking"))]


def test_numbers_are_metrics(told: SimpleNamespace) -> None:
    assert told.run.data.metrics == {
        "model.MBG/NBD.k_hat": 0.21,
        "model.MBG/NBD.parameters.r.estimate": 0.5246,
        "model.MBG/NBD.parameters.r.lower": 0.4,
        "model.MBG/NBD.parameters.r.upper": 0.7,
        "model.MBG/NBD.parameters.a.estimate": 0.89,
        "gate.passed": 1.0,
        "gate.crps": 0.41,
        "drift.parameters.r.z": 1.5,
        "seconds.fit": 1.5,
        "totals.customers": 300.0,
        "totals.clv": 1234.5,
    }


def test_documents_are_there_whole(told: SimpleNamespace) -> None:
    folder = Path(told.run.info.artifact_uri.removeprefix("file://"))
    assert {p.name for p in folder.iterdir()} == {
        "run.json",
        "gate.json",
        "drift.json",
        "config.toml",
    }
    assert json.loads((folder / "gate.json").read_text()) == told.record.gate
    run = json.loads((folder / "run.json").read_text())
    assert run["run_id"] == told.record.run_id
    assert run["error"] == {"message": "no answer from postgresql://ann:***@db/shop"}


def test_nothing_secret_no_customer_and_no_pickle_is_in_the_store(
    told: SimpleNamespace, rfm: pd.DataFrame
) -> None:
    # Python keeps the code that it has imported from there, when the model was loaded, beside it.
    files = [p for p in told.store.rglob("*") if p.is_file() and p.parent.name != "__pycache__"]
    assert any("MLmodel" in p.name for p in files)
    ids = [i.encode() for i in rfm["customer_id"].head(4)]
    for path in files:
        content = path.read_bytes()
        assert SECRET.encode() not in content, path
        assert not [i for i in ids if b'"' + i + b'"' in content], path
        assert path.suffix not in (".pkl", ".pickle"), path
        content.decode()  # text, all of it
    (flavor,) = [p for p in files if p.name == "MLmodel"]
    assert "loader_module: mlflow.pyfunc.loaders.code_model" in flavor.read_text()


def test_the_model_predicts_what_the_run_has_published(
    told: SimpleNamespace, rfm: pd.DataFrame
) -> None:
    asked = told.config.model_copy(
        update={"predict": told.config.predict.model_copy(update={"horizons": ("26W",)})}
    )
    published = predict_all(told.model, rfm, asked, told.learnt)
    pd.testing.assert_frame_equal(told.pyfunc.predict(rfm), published, check_dtype=False)
    plain = predict_all(told.model, rfm, asked)
    assert not np.allclose(plain["clv"], published["clv"])


def test_the_model_answers_other_questions(told: SimpleNamespace, rfm: pd.DataFrame) -> None:
    # Recalibrated is the main horizon alone, for it was learnt there.
    expected = told.model.predict(rfm, horizon="13W")
    found = told.pyfunc.predict(rfm, params={"horizon": "13W", "interval": 0.0})
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    wide = told.pyfunc.predict(rfm.head(9), params={"interval": 0.99, "draws": 200, "seed": 1})
    narrow = told.pyfunc.predict(rfm.head(9), params={"interval": 0.5, "draws": 200, "seed": 1})
    spread = [t["clv_upper"] - t["clv_lower"] for t in (wide, narrow)]
    assert (spread[0] > spread[1]).all()


def test_the_model_takes_frames_from_elsewhere(told: SimpleNamespace, rfm: pd.DataFrame) -> None:
    given = {
        "T": [30.0, 40.0, 50.0, 60.0, 70.0],
        "recency": [0.0] * 5,
        "frequency": [0] * 5,
        "monetary_value": [0.0] * 5,
        "customer_id": list("abcde"),
        "city": ["Bonn"] * 5,
    }
    found = told.pyfunc.predict(pd.DataFrame(given))
    assert found["p_alive"].is_monotonic_decreasing
    assert (found["clv"] > 0).all()


def test_the_process_is_as_before(told: SimpleNamespace) -> None:
    assert told.clean


def test_a_failed_run_is_failed_there_too_and_does_not_touch_a_run_of_the_user(
    told: SimpleNamespace,
) -> None:
    import mlflow

    with mlflow.start_run(run_name="mine") as mine:
        found = track(told.config, record_of(status="rejected", exit_code=3))
        assert mlflow.active_run().info.run_id == mine.info.run_id
        assert mlflow.get_tracking_uri() == told.store.as_uri()
    assert (found["problem"], found["model_uri"]) == (None, None)
    assert told.client.get_run(found["mlflow_run"]).info.status == "FAILED"
    assert told.client.get_run(mine.info.run_id).data.metrics == {}


def test_a_model_that_cannot_be_read_is_a_problem_and_leaves_a_run(
    told: SimpleNamespace, tmp_path: Path, rfm: pd.DataFrame
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text("{")
    found = track(told.config, record_of(), version=tmp_path, sample=rfm.head(2))
    assert found["model_uri"] is None
    assert "could not predict the example" in found["problem"]
    run = told.client.get_run(found["mlflow_run"])
    assert run.info.status == "FAILED"
    assert run.data.params["job.name"] == "shop"


@pytest.mark.parametrize("retries", [None, "0"])
def test_a_server_that_is_down_is_a_problem_and_no_long_wait(
    retries: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if retries is not None:  # what the environment says already stays
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", retries)
    monkeypatch.setenv("SHOP_SECRET", SECRET)
    config = config_in(tmp_path, uri="http://ann:${SHOP_SECRET}@127.0.0.1:9")
    began = time.monotonic()
    found = track(config, record_of())
    assert time.monotonic() - began < (30 if retries is None else 10)
    assert found["mlflow_run"] is None
    assert "MLflow was not told" in found["problem"]
    assert found["uri"] == "http://ann:${SHOP_SECRET}@127.0.0.1:9"
    assert SECRET not in json.dumps(found)
    assert "%26" not in json.dumps(found)


def test_without_mlflow_it_is_said_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError):
        check_tracking()
    assert "pip install 'clvpredict[mlflow]'" in track(config_in(tmp_path), record_of())["problem"]
