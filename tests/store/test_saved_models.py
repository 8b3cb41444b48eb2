"""A saved model predicts exactly as the one that was saved, or says why it cannot be read."""

import json
import math
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import ArtefactError, NotFittedError, OptionError
from clvpredict.estimators import ESTIMATORS
from clvpredict.store import models as store

# BG/NBD says of the customers of CDNOW what it should.
pytestmark = pytest.mark.filterwarnings("ignore::clvpredict.errors.DropoutWarning")

SAVED = Path(__file__).parent / "saved"


@pytest.fixture(scope="module")
def fitted(cdnow_rfm):
    return {
        "bgnbd": clv.BGNBD().fit(cdnow_rfm),
        "mbgnbd": clv.MBGNBD().fit(cdnow_rfm),
        "gammagamma": clv.GammaGamma().fit(cdnow_rfm),
        "clv": clv.CLVModel(clv.MBGNBD(), clv.GammaGamma()).fit(cdnow_rfm),
    }


@pytest.fixture
def saved(fitted, tmp_path):
    clv.save_model(fitted["clv"], tmp_path / "model")
    return tmp_path / "model"


def edit(folder, change):
    path = folder / "model.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content) or content))


@pytest.mark.parametrize("which", ["bgnbd", "mbgnbd"])
def test_purchase_models_come_back(fitted, cdnow_rfm, tmp_path, which):
    model = fitted[which]
    clv.save_model(model, tmp_path / "m")
    back = clv.load_model(tmp_path / "m")
    assert type(back) is type(model)
    pd.testing.assert_frame_equal(
        back.predict(cdnow_rfm, horizon="39W"),
        model.predict(cdnow_rfm, horizon="39W"),
        check_exact=True,
    )
    pd.testing.assert_frame_equal(back.summary(), model.summary(), check_exact=True)
    pd.testing.assert_frame_equal(back.covariance_, model.covariance_, check_exact=True)
    assert back.convergence_ == model.convergence_
    assert (back.log_likelihood_, back.aic_, back.bic_) == (
        model.log_likelihood_,
        model.aic_,
        model.bic_,
    )
    assert back.data_ == model.data_
    assert back.time_unit_ == model.time_unit_
    assert back.fingerprint_ == model.fingerprint_ is not None


def test_the_spend_model_comes_back(fitted, cdnow_rfm, tmp_path):
    model = fitted["gammagamma"]
    clv.save_model(model, tmp_path / "m")
    back = clv.load_model(tmp_path / "m")
    assert back.expected_spend(cdnow_rfm).equals(model.expected_spend(cdnow_rfm))
    assert back.independence_ == model.independence_


def test_the_clv_model_comes_back(fitted, cdnow_rfm, saved):
    back = clv.load_model(saved)
    pd.testing.assert_frame_equal(
        back.predict(cdnow_rfm, horizon="52W", add_new=True),
        fitted["clv"].predict(cdnow_rfm, horizon="52W", add_new=True),
        check_exact=True,
    )
    assert repr(back) == repr(fitted["clv"])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_equal_models_give_equal_bytes(fitted, saved, tmp_path):
    clv.save_model(clv.load_model(saved), tmp_path / "again")
    assert contents(tmp_path / "again") == contents(saved)


# --- posteriors ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def posterior(cdnow_rfm):
    return clv.CLVModel(clv.MBGNBD()).fit(cdnow_rfm, method="laplace", draws=200, seed=2)


@pytest.fixture
def saved_posterior(posterior, tmp_path):
    clv.save_model(posterior, tmp_path / "posterior")
    return tmp_path / "posterior"


def test_a_posterior_comes_back(posterior, saved_posterior, tmp_path, cdnow_rfm):
    names = {"model.json", "purchases-draws.parquet", "spend-draws.parquet"}
    assert set(contents(saved_posterior)) == names
    back = clv.load_model(saved_posterior)
    ask = {"horizon": "39W", "interval": 0.9, "draws": 100}
    pd.testing.assert_frame_equal(
        back.predict(cdnow_rfm, **ask), posterior.predict(cdnow_rfm, **ask)
    )
    assert back.purchases.sampling_ == posterior.purchases.sampling_
    pd.testing.assert_frame_equal(back.summary(), posterior.summary())
    for name in ("r", "v"):
        np.testing.assert_array_equal(
            back.idata["posterior"][name], posterior.idata["posterior"][name]
        )
    clv.save_model(back, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(saved_posterior)


@pytest.mark.slow
def test_statistics_of_the_sampler_come_back(tmp_path, cdnow_rfm):
    model = clv.BGNBD().fit(cdnow_rfm, method="nuts", chains=2, seed=1)
    clv.save_model(model, tmp_path / "m")
    back = clv.load_model(tmp_path / "m")
    for name, values in model.result_.sample.stats.items():
        np.testing.assert_array_equal(back.result_.sample.stats[name], values)
    assert back.idata["sample_stats"]["diverging"].dtype == bool
    assert back.sampling_ == model.sampling_


def test_a_point_estimate_replaces_a_posterior_whole(fitted, saved_posterior):
    clv.save_model(fitted["clv"], saved_posterior)
    assert set(contents(saved_posterior)) == {"model.json"}
    assert clv.load_model(saved_posterior).params_ == fitted["clv"].params_


def test_draws_that_are_missing_or_other_ones(saved_posterior, posterior):
    draws = saved_posterior / "purchases-draws.parquet"
    whole = draws.read_bytes()
    draws.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtefactError, match="not those it was saved with"):
        clv.load_model(saved_posterior)
    draws.write_bytes((saved_posterior / "spend-draws.parquet").read_bytes())
    with pytest.raises(ArtefactError, match="not those it was saved with"):
        clv.load_model(saved_posterior)
    draws.unlink()
    with pytest.raises(ArtefactError, match=r"missing \(purchases-draws"):
        clv.load_model(saved_posterior)


def test_the_order_of_customers_does_not_change_the_fingerprint(cdnow_rfm):
    one = clv.MBGNBD().fit(cdnow_rfm)
    other = clv.MBGNBD().fit(cdnow_rfm.sample(frac=1.0, random_state=1))
    less = clv.MBGNBD().fit(cdnow_rfm.iloc[1:])
    assert one.fingerprint_ == other.fingerprint_
    assert one.fingerprint_ != less.fingerprint_


def test_every_float_comes_back_exactly(tmp_path):
    rng = np.random.default_rng(1)
    for i in range(50):
        values = 10.0 ** rng.uniform(-250, 250, 4)
        params = dict(zip(("r", "alpha", "a", "b"), values.tolist(), strict=True))
        clv.save_model(clv.BGNBD.from_params(**params), tmp_path / str(i))
        assert clv.load_model(tmp_path / str(i)).params_ == params


def test_given_parameters_have_no_covariance(tmp_path):
    model = clv.BGNBD.from_params(r=0.243, alpha=4.414, a=0.793, b=2.426)
    clv.save_model(model, tmp_path / "m")
    back = clv.load_model(tmp_path / "m")
    assert back.summary()["standard_error"].isna().all()
    assert math.isnan(back.log_likelihood_)
    assert back.time_unit_ is None

    def no_constants(name):
        pytest.fail(f"{name} is not JSON")

    json.loads((tmp_path / "m" / "model.json").read_text(), parse_constant=no_constants)


def test_all_registered_estimators_can_be_saved(tmp_path):
    for name, cls in ESTIMATORS.items():
        ones = dict.fromkeys(cls._model.parameter_names, 1.5)
        clv.save_model(cls.from_params(**ones), tmp_path / cls.__name__)
        assert clv.load_model(tmp_path / cls.__name__).result_.model == name


@pytest.mark.parametrize(
    "which", ["bgnbd-schema-1", "clv-schema-1", "nbd-schema-2", "posterior-schema-2"]
)
def test_saved_models_load_for_ever(which, cdnow_rfm):
    back = clv.load_model(SAVED / which)
    numbers = json.loads((SAVED / "expected.json").read_text())[which]
    table = back.predict(cdnow_rfm.head(5), horizon=39)
    for column, values in numbers.items():
        np.testing.assert_allclose(table[column], values, rtol=1e-9)


# --- what cannot be saved -----------------------------------------------------------------


def test_a_model_without_a_fit_is_refused(tmp_path):
    with pytest.raises(NotFittedError):
        clv.save_model(clv.BGNBD(), tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_model_of_the_users_own_is_refused(tmp_path):
    class Mine(clv.BGNBD):
        pass

    with pytest.raises(OptionError, match="Mine cannot be saved"):
        clv.save_model(Mine.from_params(r=1, alpha=1, a=1, b=1), tmp_path / "m")


def test_a_folder_of_other_things_is_not_overwritten(fitted, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("meow")
    with pytest.raises(OptionError, match=r"not a clvpredict model.*cat\.jpg"):
        clv.save_model(fitted["bgnbd"], tmp_path / "photos")
    assert (tmp_path / "photos" / "cat.jpg").exists()


def test_a_model_with_other_things_beside_it_is_not_overwritten(fitted, saved):
    (saved / "notes.txt").write_text("ours")
    with pytest.raises(OptionError, match=r"notes\.txt"):
        clv.save_model(fitted["bgnbd"], saved)
    assert (saved / "notes.txt").exists()


def test_another_programs_model_json_is_not_overwritten(fitted, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.json").write_text('{"weights": []}')
    with pytest.raises(OptionError, match="not a clvpredict model"):
        clv.save_model(fitted["bgnbd"], tmp_path / "m")


def test_a_file_is_not_overwritten(fitted, tmp_path):
    (tmp_path / "m").write_text("x")
    with pytest.raises(OptionError, match="not a clvpredict model"):
        clv.save_model(fitted["bgnbd"], tmp_path / "m")


def test_an_empty_folder_is_filled(fitted, tmp_path):
    (tmp_path / "m").mkdir()
    clv.save_model(fitted["bgnbd"], tmp_path / "m")
    assert clv.load_model(tmp_path / "m").params_ == fitted["bgnbd"].params_


def test_a_missing_parent_is_named(fitted, tmp_path):
    with pytest.raises(OptionError, match="mkdir -p"):
        clv.save_model(fitted["bgnbd"], tmp_path / "a" / "b")


@pytest.mark.parametrize("broken", ["replace", "fsync"])
def test_a_failed_save_leaves_the_old_model(fitted, saved, monkeypatch, broken):
    def fail(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, fail)
        patch.setattr("clvpredict.atomic._exchange", lambda one, other: False)
        with pytest.raises(OSError, match="No space"):
            clv.save_model(fitted["bgnbd"], saved)
    assert clv.load_model(saved).params_ == fitted["clv"].params_
    assert [p.name for p in saved.parent.iterdir()] == ["model"]


# --- what cannot be loaded ----------------------------------------------------------------


def test_no_folder(tmp_path):
    with pytest.raises(ArtefactError, match=r"no model in .*has no model\.json"):
        clv.load_model(tmp_path / "nowhere")


def test_the_file_instead_of_its_folder(saved):
    with pytest.raises(ArtefactError, match="Give the folder"):
        clv.load_model(saved / "model.json")


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "null", '"text"', "\x00\x01", '{"a": 1}'])
def test_a_corrupt_file(saved, content):
    (saved / "model.json").write_text(content)
    with pytest.raises(ArtefactError):
        clv.load_model(saved)


def test_bytes_that_are_not_text(saved):
    (saved / "model.json").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(ArtefactError, match="cannot be read"):
        clv.load_model(saved)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_file_cut_short(saved, share):
    path = saved / "model.json"
    text = path.read_text()
    path.write_text(text[: int(share * len(text))])
    with pytest.raises(ArtefactError, match="not JSON"):
        clv.load_model(saved)


def test_no_code_is_ever_unpickled(saved):
    (saved / "model.json").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ArtefactError):
        clv.load_model(saved)


CHANGES = {
    "newer schema": (lambda d: d.update(schema_version=99), "newer clvpredict.*pip install -U"),
    "no schema": (lambda d: d.pop("schema_version") and None, "schema_version is None"),
    "unknown model": (lambda d: d["purchases"].update(model="bg/nbx"), "Did you mean 'bg/nbd'"),
    "wrong class": (lambda d: d["purchases"].update(estimator="BGNBD"), "not of class BGNBD"),
    "missing part": (lambda d: d.pop("spend") and None, "kind 'clv'"),
    "missing field": (lambda d: d["purchases"].pop("fit") and None, r"purchases\.fit"),
    "unknown field": (lambda d: d["purchases"].update(extra=1), r"purchases\.extra"),
    "text for a number": (
        lambda d: d["purchases"]["fit"]["parameters"].update(r="much"),
        r"parameters\.r",
    ),
    "lost parameter": (
        lambda d: d["purchases"]["fit"]["parameters"].pop("r") and None,
        "has the parameters r, alpha, a, b",
    ),
    "negative parameter": (
        lambda d: d["purchases"]["fit"]["parameters"].update(r=-1.0),
        "r = -1.0",
    ),
    "ragged covariance": (
        lambda d: d["purchases"]["fit"]["log_covariance"][0].pop() and None,
        "covariance",
    ),
    "small covariance": (
        lambda d: d["purchases"]["fit"].update(log_covariance=[[1.0]]),
        "covariance",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_wrong_with_a_file_is_said(saved, what):
    change, message = CHANGES[what]
    edit(saved, change)
    with pytest.raises(ArtefactError, match=message):
        clv.load_model(saved)


def test_older_files_go_through_migrations(saved, fitted, monkeypatch):
    def rename(old):
        old["kind"] = old.pop("sort")
        return old

    def older(content):
        content["sort"] = content.pop("kind")

    edit(saved, older)
    monkeypatch.setattr(store, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(store, "MIGRATIONS", {**store.MIGRATIONS, 2: rename})
    assert clv.load_model(saved).params_ == fitted["clv"].params_


def test_every_earlier_schema_has_a_migration():
    assert sorted(store.MIGRATIONS) == list(range(1, store.SCHEMA_VERSION))


def remake() -> None:
    """Add a file that later releases must load: python test_saved_models.py.

    Folders of earlier schemas stay as they are: they were written by earlier releases.
    """
    rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    models = {
        "posterior": clv.CLVModel(clv.MBGNBD()).fit(rfm, method="laplace", draws=100, seed=1),
        "nbd": clv.NBD().fit(rfm),
    }
    numbers = SAVED / "expected.json"
    expected = json.loads(numbers.read_text())
    for kind, model in models.items():
        name = f"{kind}-schema-{store.SCHEMA_VERSION}"
        if (SAVED / name).exists():
            print(f"{name} exists and stays: a new schema gets new folders")
            continue
        clv.save_model(model, SAVED / name)
        table = clv.load_model(SAVED / name).predict(rfm.head(5), horizon=39)
        columns = [c for c in ("expected_purchases", "p_alive", "clv") if c in table]
        expected[name] = table[columns].to_dict("list")
    numbers.write_text(json.dumps(expected, indent=2) + "\n")


if __name__ == "__main__":
    remake()
