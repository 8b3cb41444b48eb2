"""NUTS: what it samples, that chains are checked, and how it behaves when something goes wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytest

import clvpredict as clv
from clvpredict.errors import ConvergenceError, OptionError, SamplingWarning
from clvpredict.estimators import Estimator
from clvpredict.inference import nuts, pymc_model
from clvpredict.inference.diagnose import check_chains
from clvpredict.inference.priors import resolve
from clvpredict.inference.result import Sampling
from clvpredict.rfm import Array

Fitted = Callable[[type[Estimator]], Estimator]
ESTIMATORS = [clv.BGNBD, clv.MBGNBD, clv.GammaGamma]
HERE = Path(__file__).parent
SHORT: dict[str, Any] = {"method": "nuts", "draws": 300, "tune": 200, "chains": 2}


def flat(model: Estimator) -> Array:
    assert model.result_.sample is not None
    return model.result_.sample.flat


# --- what is sampled ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "bounded"), [*((e, False) for e in ESTIMATORS), (clv.GammaGamma, True)]
)
def test_pymc_model_is_our_likelihood_and_priors(
    estimator: type[Estimator], bounded: bool, cdnow_rfm: pd.DataFrame
) -> None:
    """As compiled, in PyMC's unconstrained space: with the Jacobian of ln, or of an interval's."""
    model = estimator()
    names = model._model.parameter_names
    given = {names[-1]: pm.Uniform.dist(0.0, 40.0)} if bounded else {}
    built = model.pymc_model(cdnow_rfm, given)
    assert [v.name for v in built.free_RVs] == list(names)
    assert "log_likelihood" in [p.name for p in built.potentials]
    data = model._data(cdnow_rfm)
    priors = resolve(model._model, data, given)
    density = pymc_model.compile_density(model._model, priors, built, threaded=False)
    for factor in (0.8, 1.0, 1.3):
        theta = factor * estimator().fit(cdnow_rfm).result_.estimate
        point = pymc_model.forward(built, dict(zip(names, theta, strict=True)))
        rows, slopes = model._model.log_likelihood_and_gradient(tuple(theta), data)
        prior, slope = priors.log_density(np.log(theta))
        expected = float(data.weight @ rows) + prior
        gradient = slopes @ data.weight * theta + slope
        if bounded:
            # d ln(θ) / du and ln of it, for u = ln(θ / (40 - θ)).
            ratio = 1 - theta[-1] / 40.0
            expected += np.log(ratio)
            gradient[-1] = gradient[-1] * ratio - theta[-1] / 40.0
        value, derivative = density.function(point, *density.arguments(built))
        assert float(value) == pytest.approx(expected, rel=1e-9)
        np.testing.assert_allclose(derivative, gradient, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(pymc_model.backward(built, point), theta, rtol=1e-10)


@pytest.mark.slow
def test_nutpie_and_pymc_sample_the_same_posterior(
    cdnow_rfm: pd.DataFrame, by_nuts: Fitted
) -> None:
    theirs = clv.GammaGamma().fit(
        cdnow_rfm, method="nuts", sampler="pymc", draws=1000, tune=500, chains=2
    )
    ours = by_nuts(clv.GammaGamma)
    assert theirs.sampling_.sampler == "pymc"
    assert theirs.sampling_.divergences == 0
    table, other = ours.summary(), theirs.summary()
    for name in table.index:
        sd = table.loc[name, "standard_error"]
        error = sd * np.sqrt(
            1 / ours.sampling_.ess_bulk[name] + 1 / theirs.sampling_.ess_bulk[name]
        )
        assert abs(table.loc[name, "estimate"] - other.loc[name, "estimate"]) < 4 * error
        # Of a standard deviation from some 400 effective draws: 3.5 %, in tails somewhat more.
        assert other.loc[name, "standard_error"] == pytest.approx(sd, rel=0.15)


def test_seeds_and_cores(cdnow_rfm: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal seeds give equal draws, one after another or side by side; chains differ."""
    monkeypatch.setattr(nuts, "_THREADS_FROM", 0)
    one = flat(clv.GammaGamma().fit(cdnow_rfm, seed=4, cores=1, **SHORT))
    two = flat(clv.GammaGamma().fit(cdnow_rfm, seed=4, cores=2, **SHORT))
    np.testing.assert_array_equal(one, two)
    other = flat(clv.GammaGamma().fit(cdnow_rfm, seed=5, **SHORT))
    assert not np.isin(one, other).any()
    assert not np.isin(one[:300], one[300:]).any()


def test_a_second_fit_compiles_nothing(
    cdnow_rfm: pd.DataFrame, by_nuts: Fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other data in another unit, and equal priors."""
    by_nuts(clv.GammaGamma)
    given = {"p": pm.Gamma.dist(2.0, 0.5)}
    clv.GammaGamma().fit(cdnow_rfm, priors=given, **SHORT)

    def refuse(*_: object) -> None:
        raise AssertionError("compiles again")

    monkeypatch.setattr(pymc_model, "_compile", refuse)
    half = cdnow_rfm.iloc[::2].assign(monetary_value=lambda d: d["monetary_value"] * 100)
    clv.GammaGamma().fit(half, **SHORT)
    clv.GammaGamma().fit(half, priors={"p": pm.Gamma.dist(2.0, 0.5)}, **SHORT)
    with pytest.raises(AssertionError, match="compiles again"):
        clv.GammaGamma().fit(half, priors={"p": pm.Gamma.dist(2.0, 0.6)}, **SHORT)


def test_second_data_set_is_not_fitted_with_the_first(
    cdnow_rfm: pd.DataFrame, by_nuts: Fitted
) -> None:
    """What was compiled once takes data and default priors as arguments."""
    dear = cdnow_rfm.assign(monetary_value=cdnow_rfm["monetary_value"] * 100)
    model = clv.GammaGamma().fit(dear, method="nuts", chains=2, seed=1)
    first = by_nuts(clv.GammaGamma).params_
    assert model.params_["v"] == pytest.approx(100 * first["v"], rel=0.1)
    assert model.params_["q"] == pytest.approx(first["q"], rel=0.05)


# --- ArviZ -------------------------------------------------------------------------------------


def test_idata(cdnow_rfm: pd.DataFrame, by_nuts: Fitted) -> None:
    import arviz as az
    import matplotlib as mpl

    mpl.use("Agg")
    model = by_nuts(clv.BGNBD)
    tree = model.idata
    assert set(tree.children) == {"posterior", "sample_stats", "observed_data"}
    posterior = tree["posterior"]
    assert list(posterior.data_vars) == ["r", "alpha", "a", "b"]
    assert posterior.sizes == {"chain": 2, "draw": 1000}
    np.testing.assert_array_equal(posterior["draw"], np.arange(1000))
    assert posterior.attrs["inference_library"] == "nutpie"
    stats = tree["sample_stats"]
    assert {"diverging", "energy", "lp", "tree_depth", "acceptance_rate"} <= set(stats.data_vars)
    observed = tree["observed_data"]
    assert float(observed["weight"].sum()) == 2357
    assert float(observed["weight"] @ observed["x"]) == cdnow_rfm["frequency"].sum()
    summary = az.summary(tree, round_to="none")
    for name, value in model.params_.items():
        assert summary.loc[name, "mean"] == pytest.approx(value)
        assert summary.loc[name, "r_hat"] == pytest.approx(model.sampling_.r_hat[name])
        assert summary.loc[name, "ess_bulk"] == pytest.approx(model.sampling_.ess_bulk[name])
        tail = az.ess(tree, method="tail", prob=(0.05, 0.95))[name]
        assert float(tail) == pytest.approx(model.sampling_.ess_tail[name])
    az.plot_trace_dist(tree, var_names=["r"])


@pytest.mark.slow
def test_leave_one_out_and_comparison(cdnow_rfm: pd.DataFrame, by_nuts: Fitted) -> None:
    """Against the definition: elpd ≈ −Σ ln E[1 / p(customer | θ)] over the posterior."""
    import arviz as az

    some = cdnow_rfm.iloc[::8]
    n = len(some)
    trees = {}
    for estimator in (clv.BGNBD, clv.MBGNBD):
        model = by_nuts(estimator)
        trees[model._model.title] = tree = model.compute_log_likelihood(some)
        values = tree["log_likelihood"]["purchases"]
        assert values.sizes == {"chain": 2, "draw": 1000, "purchases_customer": n}
        np.testing.assert_array_equal(values["purchases_customer"], some["customer_id"])
        assert "log_likelihood" not in model.idata.children
        rows = values.to_numpy().reshape(2000, n)
        theta = tuple(flat(model)[1234])
        direct = model._model.log_likelihood(theta, model._rows(some)[0])
        np.testing.assert_allclose(rows[1234], direct)
        # Smoothing changes little: no customer weighs much in a fit of 2,357.
        plain = -np.log(np.exp(-rows).mean(axis=0)).sum()
        assert float(az.loo(tree).elpd) == pytest.approx(plain, abs=0.02)
    compared = az.compare(trees)
    means = {
        t: float(np.log(np.exp(tree["log_likelihood"]["purchases"]).mean(("chain", "draw"))).sum())
        for t, tree in trees.items()
    }
    assert list(compared.index) == sorted(means, key=lambda title: -means[title])


def test_fits_without_draws_have_no_idata(cdnow_rfm: pd.DataFrame) -> None:
    model = clv.BGNBD().fit(cdnow_rfm, method="map")
    for use in (lambda: model.idata, lambda: model.compute_log_likelihood(cdnow_rfm)):
        with pytest.raises(OptionError, match=r"method='map' has no draws.*method='nuts'"):
            use()


@pytest.mark.slow
def test_idata_of_both_models(cdnow_rfm: pd.DataFrame, by_nuts: Fitted) -> None:
    both = clv.CLVModel(by_nuts(clv.BGNBD), by_nuts(clv.GammaGamma))  # type: ignore[arg-type]
    tree = both.idata
    assert list(tree["posterior"].data_vars) == ["r", "alpha", "a", "b", "p", "q", "v"]
    assert {"diverging", "energy_purchases", "energy_spend"} <= set(tree["sample_stats"].data_vars)
    assert {"purchases_weight", "spend_m"} <= set(tree["observed_data"].data_vars)


# --- can the draws be trusted ------------------------------------------------------------------

HOW = Sampling("nutpie", 4, 1000, 500, 0)


def chains(kind: str) -> tuple[Array, dict[str, Any]]:
    """Made-up draws of two parameters, the second of which may be bad."""
    rng = np.random.default_rng(2)
    draws = rng.normal(size=(4, 1000, 2))
    stats = {
        "diverging": np.zeros((4, 1000), bool),
        "energy": rng.normal(size=(4, 1000)),
    }
    if kind == "apart":
        draws[0, :, 1] += 1.0
    elif kind == "slow":
        steps = rng.normal(size=(4, 1000))
        for i in range(1, 1000):
            steps[:, i] = 0.98 * steps[:, i - 1] + np.sqrt(1 - 0.98**2) * steps[:, i]
        draws[:, :, 1] = steps
    elif kind == "divergent":
        stats["diverging"][1, 5:12] = True
    elif kind == "energy":
        stats["energy"][2] = np.cumsum(rng.normal(size=1000))
    return draws, stats


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("apart", r"chains disagree: R-hat b 1\.\d+ \(should be <= 1\.01\); sample longer, e\.g\."),
        ("slow", r"few effective draws: b \d+ \(should be >= 400\); raise draws"),
        ("divergent", r"7 of 4000 transitions diverged; raise target_accept, e\.g\. 0\.9\d,"),
        ("energy", r"BFMI is 0\.0\d \(should be >= 0\.3\): tails are explored badly; give tighter"),
    ],
)
def test_each_check_names_what_is_wrong_and_what_to_do(kind: str, message: str) -> None:
    import re

    draws, stats = chains(kind)
    how = check_chains(HOW, ("a", "b"), draws, stats, complete=True)
    assert any(re.search(message, problem) for problem in how.problems), how.problems
    assert not any(re.search(r"(R-hat|draws:).* a \d", problem) for problem in how.problems)


def test_good_chains_have_no_problems_and_interrupted_ones_say_so() -> None:
    draws, stats = chains("good")
    how = check_chains(HOW, ("a", "b"), draws, stats, complete=True)
    assert how.problems == ()
    assert how.divergences == 0
    assert how.bfmi is not None
    # Successive differences of independent draws have twice their variance.
    np.testing.assert_allclose(how.bfmi, 2.0, rtol=0.15)
    short = replace(HOW, draws=250)
    kept = check_chains(
        short, ("a", "b"), draws[:, :250], {k: v[:, :250] for k, v in stats.items()}, complete=False
    )
    assert kept.problems[0].startswith("sampling was interrupted: 4 x 250 draws are kept")


def test_bad_chains_warn_or_under_strict_leave_the_model_as_it_was(
    cdnow_rfm: pd.DataFrame, by_nuts: Fitted
) -> None:
    """100 draws are too few, and the fit says so."""
    few: dict[str, Any] = {"method": "nuts", "draws": 100, "tune": 100, "chains": 2}
    with pytest.warns(SamplingWarning, match=r"Gamma-Gamma: .*few effective draws: .*raise draws"):
        model = clv.GammaGamma().fit(cdnow_rfm, target_accept=0.3, **few)
    assert model.sampling_.problems
    before = dict(vars(model))
    with pytest.raises(ConvergenceError, match="raise draws"):
        model.fit(cdnow_rfm, target_accept=0.3, strict=True, seed=9, **few)
    assert all(vars(model)[k] is v for k, v in before.items() if k != "independence_")


@pytest.mark.parametrize("failure", [RuntimeError, ValueError])
def test_failing_chains(
    failure: type[Exception], cdnow_rfm: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that says what to do, and models as they were, the first of two included."""
    model = clv.CLVModel().fit(cdnow_rfm)
    before = [model.purchases.result_, model.spend.result_]
    real, calls = nuts._by_nutpie, 0

    def fail_second(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise failure("All initialization points failed\n\nStack backtrace:\n 0: <unknown>")
        return real(*args)

    monkeypatch.setattr(nuts, "_by_nutpie", fail_second)
    with pytest.raises(ConvergenceError, match=r"Gamma-Gamma: .*All init.*\)\. Look at the") as e:
        model.fit(cdnow_rfm, **SHORT)
    assert "backtrace" not in str(e.value)
    assert [model.purchases.result_, model.spend.result_] == before
    assert calls == 2


# --- processes ---------------------------------------------------------------------------------


def run(script: str, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("customers", "chains_kept"), [(300, 1), (12_000, 2)])
def test_interrupted(customers: int, chains_kept: int) -> None:
    """Ctrl-C leaves models as they were; keep_partial keeps the draws there are, and says so.

    Few customers: chains one after another, of which one has begun; many: both side by side.
    """
    out = run("interrupted.py", str(customers))
    assert out["dropped"]
    assert out["both_dropped"]
    chains_, draws, k = out["kept"]
    assert (chains_, k) == (chains_kept, 4)
    assert 10 <= draws < 20_000
    assert out["finite"]
    assert out["stats"] == [[chains_, draws]]
    assert len(out["said"]) == 1
    assert out["said"][0].startswith("SamplingWarning: BG/NBD: sampling was interrupted")
    assert f"{chains_} x {draws:,} draws are kept; fit again for all" in out["said"][0]
    assert out["again"] == 100


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_worker_processes(context: str) -> None:
    """Also after a fit in the parent, whose threads a fork does not copy."""
    if context == "fork" and sys.platform != "linux":
        pytest.skip("fork is for Linux")
    parent, one, other, again = run("in_workers.py", context, "parent-first")
    assert parent == one == again
    assert one != other
