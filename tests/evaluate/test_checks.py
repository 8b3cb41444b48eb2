"""Checks without a holdout hold for what the model made, and find what it cannot make."""

import warnings

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import (
    DataError,
    DataWarning,
    IdentificationWarning,
    OptionError,
    UnitError,
)
from clvpredict.evaluate import (
    dependence_check,
    drift_check,
    frequency_check,
    identification_check,
    recency_check,
    spend_check,
    timing_check,
)
from clvpredict.evaluate.checks import bought_within
from clvpredict.evaluate.predictive import ages
from clvpredict.models.base import NEW_CUSTOMER
from clvpredict.models.registry import PURCHASE_MODELS
from clvpredict.special import DRAWS, at_accuracy

BUYING = {"r": 0.6, "alpha": 5.0, "a": 0.8, "b": 2.5}
SPENDING = {"p": 6.0, "q": 4.0, "v": 15.0}
MODELS = [clv.BGNBD, clv.MBGNBD]


def truth(cls=clv.MBGNBD):
    buying = cls.from_params(time_unit="W", **BUYING)
    return clv.CLVModel(buying, clv.GammaGamma.from_params(**SPENDING))


@pytest.fixture(scope="module")
def base():
    """2,000 customers of a model whose parameters are known, of ages from 20 to 60 weeks."""
    age = np.random.default_rng(8).integers(140, 420, 2000) / 7
    return truth().simulate(2000, age, 1)


@pytest.fixture(scope="module")
def fitted(base):
    return clv.CLVModel(clv.MBGNBD(), clv.GammaGamma()).fit(base.rfm)


@pytest.fixture(scope="module")
def loyal():
    """Hardly anybody ever drops out, and nobody is watched for long."""
    model = clv.BGNBD.from_params(r=1.0, alpha=5.0, a=0.02, b=30.0, time_unit="W")
    return model.simulate(800, 13.0, 2).rfm


# --- frequency -------------------------------------------------------------------------------


def test_expected_frequencies_of_cdnow(cdnow_rfm):
    """By hand from Fader, Hardie & Lee (2005), eq. (8), summed over the customers' ages."""
    model = clv.BGNBD().fit(cdnow_rfm)
    r, alpha, a, b = model.params_.values()
    age = cdnow_rfm["T"].to_numpy()
    table = frequency_check(model, cdnow_rfm).set_index("frequency")
    none = (alpha / (alpha + age)) ** r
    assert table.loc["0", "expected"] == pytest.approx(none.sum())
    # Once: and still there, or dropped out right after (eq. 8 of the paper).
    once = b / (a + b) * r * none * age / (alpha + age) + a / (a + b) * (1 - none)
    assert table.loc["1", "expected"] == pytest.approx(once.sum())
    assert table["expected"].sum() == pytest.approx(2357)
    assert table["observed"].tolist() == [1411, 439, 214, 100, 62, 38, 29, 64]
    assert table.attrs["customers"] == 2357


@pytest.mark.parametrize("cls", MODELS)
def test_bands_hold_what_the_model_makes(cls):
    """At the true parameters, bands of 90 % hold about 90 % of classes and intervals."""
    age = np.random.default_rng(3).integers(70, 420, 1500) / 7
    model = truth(cls)
    held, n = 0, 0
    for seed in range(12):
        rfm = model.simulate(1500, age, seed + 10).rfm
        for table in (
            frequency_check(model, rfm, seed=seed),
            recency_check(model, rfm, bins=10, seed=seed),
        ):
            held += len(table) - table.attrs["outside"]
            n += len(table)
    # About 216 rows: 0.9 of them with a standard deviation of 0.02, were they independent. Counts
    # are whole numbers, so that bands hold a little more.
    assert 0.85 < held / n < 0.97


def test_a_fit_of_its_own_data_passes(base, fitted):
    tables = [
        frequency_check(fitted, base.rfm),
        recency_check(fitted, base.rfm, draws=60),
        spend_check(fitted, base.rfm),
        dependence_check(fitted, base.rfm),
    ]
    for table in tables:
        assert table.attrs["outside"] <= max(1, 0.2 * len(table)), table


def test_no_dropout_is_found_where_the_model_says_there_is_much(loyal):
    """NBD-like data, and parameters by which half of the customers leave at once."""
    wrong = clv.BGNBD.from_params(r=1.0, alpha=2.0, a=2.0, b=2.0, time_unit="W")
    assert frequency_check(wrong, loyal).attrs["outside"] >= 6
    assert recency_check(wrong, loyal, draws=40, bins=10).attrs["outside"] >= 5


def test_regular_buyers_are_found(base, fitted):
    """Purchases every four weeks are not Poisson: the times between them say so."""
    n = 300
    start = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n) % 60, unit="D")
    moments = [start + pd.Timedelta(days=28 * k) for k in range(9)]
    history = pd.DataFrame(
        {"customer_id": np.tile(np.arange(n), 9), "date": np.concatenate(moments)}
    )
    rfm = clv.rfm_summary(history, observation_end="2024-11-01", time_unit="W", amount=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IdentificationWarning)  # nobody drops out
        model = clv.BGNBD().fit(rfm)
        table = timing_check(model, history, observation_end="2024-11-01", draws=30)
    inside = table[(table["start"] < 4) & (table["end"] > 4)].iloc[0]
    assert inside["observed"] == 8 * n
    assert inside["observed"] > 2 * inside["upper"]
    assert table.attrs["outside"] > 5


def test_many_ages_are_summed_up(base, fitted):
    age = np.random.default_rng(0).gamma(3.0, 10.0, 3000)
    rfm = truth().simulate(3000, age, 5).rfm
    node, customers = ages(age, 128)
    assert len(node) <= 128
    assert customers.sum() == 3000
    assert (node * customers).sum() == pytest.approx(age.sum(), rel=1e-3)
    table = frequency_check(fitted, rfm)
    formulas, theta = PURCHASE_MODELS["mbg/nbd"], fitted.purchases.result_.theta
    process = formulas.given_alive(theta, np.zeros(1), np.zeros(1))
    dead = theta[2] / (theta[2] + theta[3])
    none = dead + (1 - dead) * np.exp(formulas.process_no_purchase(process, age))
    assert table["expected"].iloc[0] == pytest.approx(none.sum(), rel=2e-4)


def test_another_unit_and_other_models_are_refused(base, fitted):
    with pytest.raises(UnitError, match="convert_unit"):
        frequency_check(fitted, clv.convert_unit(base.rfm, "D"))
    with pytest.raises(OptionError, match="nothing of purchases"):
        frequency_check(fitted.spend, base.rfm)
    with pytest.raises(OptionError, match="nothing of spend"):
        spend_check(fitted.purchases, base.rfm)
    with pytest.raises(OptionError, match="fitted model is needed"):
        recency_check("model", base.rfm)
    with pytest.raises(OptionError, match=r"top=0.*level=2"):
        frequency_check(fitted, base.rfm, top=0, level=2)


def test_without_uncertainty_of_the_parameters_it_says_so(loyal):
    with pytest.warns(IdentificationWarning):
        model = clv.BGNBD().fit(loyal)
    with pytest.warns(IdentificationWarning, match="without the uncertainty"):
        table = frequency_check(model, loyal)
    assert (table["lower"] < table["upper"]).any()


# --- recency ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PURCHASE_MODELS)
def test_last_purchases_are_those_of_simulated_customers(name):
    """The one formula here that is not a model's own holds for every model of the registry."""
    formulas = PURCHASE_MODELS[name]
    theta = tuple(np.asarray(BUYING[p.name]) for p in formulas.parameters if p.name in BUYING)
    assert len(theta) == len(formulas.parameters), "give the new model's parameters here"
    n, age, rng = 200_000, 30.0, np.random.default_rng(6)
    zero = np.zeros(n)
    alive = rng.random(n) < formulas.p_alive(theta, NEW_CUSTOMER)[0]
    buyer, time, _ = formulas.process_times(
        formulas.given_alive(theta, zero, zero), np.where(alive, age, 0.0), rng
    )
    last = np.full(n, -np.inf)
    np.maximum.at(last, buyer, time)
    within = np.array([1.0, 5.0, 10.0, 20.0, 29.0, 30.0])
    exact = bought_within(formulas, theta, within, np.full(6, age))
    found = np.array([(age - last <= w).mean() for w in within])
    np.testing.assert_allclose(found, exact, atol=4 * 0.5 / np.sqrt(n))
    with at_accuracy(DRAWS):
        coarse = bought_within(formulas, theta, within, np.full(6, age))
    np.testing.assert_allclose(coarse, exact, rtol=1e-3)


def test_recency_counts_every_repeat_buyer(cdnow_rfm):
    model = clv.MBGNBD().fit(cdnow_rfm)
    table = recency_check(model, cdnow_rfm, draws=20)
    repeat = cdnow_rfm["frequency"] > 0
    assert table["observed"].sum() == repeat.sum()
    frequency = frequency_check(model, cdnow_rfm, draws=20)
    # The same customers are expected to buy again, whenever it is.
    buyers = 2357 - frequency["expected"].iloc[0]
    assert table["expected"].sum() == pytest.approx(buyers, rel=1e-3)
    # Days are not cut: inner ends lie between them.
    days = table["end"].iloc[:-1] * 7
    np.testing.assert_allclose(days % 1, 0.5, atol=1e-9)
    assert table.attrs["time_unit"] == "weeks"


# --- timing ----------------------------------------------------------------------------------


def test_times_between_purchases_by_hand(fitted):
    history = pd.DataFrame(
        {
            "customer_id": ["b", "a", "a", "a", "a", "b", "c"],
            "date": pd.to_datetime(
                [
                    "2024-01-01 10:00",
                    "2024-01-01 08:00",
                    "2024-01-01 23:00",  # the same day: counts once
                    "2024-01-04 01:00",
                    "2024-01-14 01:00",
                    "2024-01-11 00:00",
                    "2024-01-20 12:00",
                ]
            ),
        }
    )
    table = timing_check(fitted, history, observation_end="2024-01-31", bins=30, draws=20)
    assert table["observed"].sum() == 3
    seen = table[table["observed"] > 0]
    # 3 days once, 10 days twice; intervals of one day end half-way between days.
    np.testing.assert_allclose(seen["start"] * 7, [2.5, 9.5])
    assert seen["observed"].tolist() == [1, 2]
    assert table.attrs["customers"] == table.attrs["sampled"] == 3
    with pytest.raises(DataError, match="after observation_end"):
        timing_check(fitted, history, observation_end="2024-01-05")
    with pytest.raises(DataError, match="nobody bought twice"):
        timing_check(fitted, history.drop_duplicates("customer_id"))


def test_times_between_purchases_of_the_model(base, fitted):
    """The summary counts whole days; so do simulated purchases."""
    end = "2025-01-01"
    history = clv.purchase_history(base.transactions, observation_end=end)
    table = timing_check(fitted, history, draws=60, bins=15)
    rfm = clv.rfm_summary(base.transactions, observation_end=end, time_unit="W")
    assert table["observed"].sum() == rfm["frequency"].sum()
    assert table.attrs["outside"] <= 3
    assert table["expected"].sum() == pytest.approx(rfm["frequency"].sum(), rel=0.1)


def test_many_customers_are_sampled_on_both_sides(fitted):
    n = 12_000
    base = truth().simulate(n, 20.0, 9)
    table = timing_check(fitted, base.transactions, draws=10, bins=5)
    assert (table.attrs["customers"], table.attrs["sampled"]) == (n, 10_000)
    all_gaps = base.rfm["frequency"].sum()
    assert table["observed"].sum() == pytest.approx(all_gaps * 10 / 12, rel=0.05)


def test_dates_need_a_unit(base):
    model = clv.MBGNBD.from_params(**BUYING)
    with pytest.raises(OptionError, match="time unit"):
        timing_check(model, base.transactions)


# --- spend -----------------------------------------------------------------------------------


def test_densities_are_densities(cdnow_rfm):
    table = spend_check(clv.GammaGamma().fit(cdnow_rfm), cdnow_rfm)
    width = np.log(table["end"] / table["start"])
    assert (table["observed_density"] * width).sum() == pytest.approx(1.0)
    assert 0.997 < (table["expected_density"] * width).sum() <= 1.0
    # note 25: the distribution of the mean of x purchases, here through its median: half of it
    # lies on each side.
    below = (table["expected_density"] * width).cumsum()
    middle = np.interp(0.5, below, np.log(table["end"]))
    spend = cdnow_rfm.loc[cdnow_rfm["frequency"] > 0, "monetary_value"]
    assert np.exp(middle) == pytest.approx(spend.median(), rel=0.1)


def test_spend_of_another_shape_is_found(base, fitted):
    """Two prices only: Gamma-Gamma has one hump."""
    rng = np.random.default_rng(4)
    repeat = base.rfm["frequency"] > 0
    price = np.where(rng.random(len(base.rfm)) < 0.5, 15.0, 100.0)
    purchases = np.maximum(base.rfm["frequency"], 1)
    jitter = rng.gamma(2.0 * purchases) / (2.0 * purchases)
    rfm = base.rfm.assign(monetary_value=np.where(repeat, price * jitter, 0.0))
    table = spend_check(clv.GammaGamma().fit(rfm), rfm)
    assert table.attrs["outside"] > 10


def test_spend_that_grows_with_frequency_is_found(base, fitted):
    x = base.rfm["frequency"]
    rfm = base.rfm.assign(monetary_value=base.rfm["monetary_value"] * np.sqrt(x))
    with pytest.warns(clv.errors.IndependenceWarning):
        model = clv.GammaGamma().fit(rfm)
    table = dependence_check(model, rfm)
    assert table.attrs["rho"] > 0.3
    assert table.attrs["verdict"].startswith("dependent: frequent buyers spend more")
    assert table.attrs["outside"] >= 3
    assert (table["observed"] < table["lower"]).iloc[0]
    assert (table["observed"] > table["upper"]).iloc[-1]


def test_independent_spend_is_called_so(base, fitted):
    table = dependence_check(fitted, base.rfm)
    assert table.attrs["verdict"].startswith("no sign of dependence")
    assert table["frequency"].tolist() == ["1", "2", "3", "4", "5", "6", "7+"]
    group = base.rfm.loc[base.rfm["frequency"] == 2, "monetary_value"]
    assert table["observed"].iloc[1] == pytest.approx(group.mean())
    # E[mean spend] = p v / (q - 1), whatever the frequency.
    p, q, v = fitted.spend.params_.values()
    np.testing.assert_allclose(table["expected"].iloc[:3], p * v / (q - 1), rtol=0.05)


def test_free_purchases_are_left_out_and_said(base, fitted):
    rfm = base.rfm.copy()
    first = rfm.index[rfm["frequency"] > 0][0]
    rfm.loc[first, "monetary_value"] = 0.0
    with pytest.warns(DataWarning, match="1 row of repeat buyers"):
        table = spend_check(fitted, rfm, draws=10)
    assert table.attrs["customers"] == (rfm["frequency"] > 0).sum() - 1


# --- identification --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["mle", "laplace"])
@pytest.mark.parametrize("cls", MODELS)
def test_cdnow_identifies_everything(cdnow_rfm, cls, method):
    table = identification_check(cls().fit(cdnow_rfm, method=method)).set_index("quantity")
    assert (table["verdict"] == "identified").all()
    assert table["prior_sd"].notna().all() == (method == "laplace")
    a, b = table.loc[["a", "b"], "estimate"]
    if method == "mle":
        assert table.loc["mean dropout probability", "estimate"] == pytest.approx(a / (a + b))
    else:
        # The default priors: ln(parameter) has a standard deviation of 1.5.
        np.testing.assert_allclose(table.loc[["r", "alpha", "a", "b"], "prior_sd"], 1.5, rtol=0.05)


@pytest.mark.parametrize("method", ["mle", "laplace"])
def test_hardly_any_dropout_is_found(loyal, method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IdentificationWarning)
        model = clv.BGNBD().fit(loyal, method=method)
    with pytest.warns(IdentificationWarning, match="longer history"):
        table = identification_check(model).set_index("quantity")
    bad = ~table["verdict"].str.startswith(("identified", "no interval"))
    assert bad[["a", "b"]].all()
    assert not bad[["r", "alpha"]].any()
    if method == "laplace":
        assert (table.loc[["a", "b"], "ratio"] > 0.5).all()
        assert (table.loc[["r", "alpha"], "ratio"] < 0.1).all()


def test_share_who_drop_out(cdnow_rfm):
    """By simulation, in the horizon that is asked for."""
    model = clv.MBGNBD().fit(cdnow_rfm)
    table = identification_check(model, horizon="26W").set_index("quantity")
    alive = model.simulate(100_000, 26.0, 3).latent["alive"].mean()
    assert table.loc["share who drop out", "estimate"] == pytest.approx(1 - alive, abs=0.006)


def test_what_is_not_known_is_said():
    table = identification_check(clv.BGNBD.from_params(**BUYING)).set_index("quantity")
    assert np.isnan(table.loc["share who drop out", "estimate"])
    assert set(table["verdict"]) == {"given, not estimated"}


# --- drift -----------------------------------------------------------------------------------


def test_cohorts_of_one_population_agree(cdnow_rfm):
    table = drift_check(clv.MBGNBD, cdnow_rfm, cohorts="M")
    sizes = table.drop_duplicates("cohort").set_index("cohort")["customers"]
    # First purchases of CDNOW by month, counted from the transactions.
    assert sizes.to_dict() == {"all": 2357, "1997-01": 781, "1997-02": 857, "1997-03": 719}
    assert (table["status"] == "ok").all()
    pooled = clv.MBGNBD().fit(cdnow_rfm)
    wide = table.pivot(index="parameter", columns="cohort", values="estimate")
    assert wide.loc["r", "all"] == pytest.approx(pooled.params_["r"])
    year = pooled.expected_purchases_new("1Y")
    assert wide.loc["purchases of a new customer", "all"] == pytest.approx(year)
    alone = clv.MBGNBD().fit(cdnow_rfm[cdnow_rfm["T"] > 34.5])
    assert wide.loc["a", "1997-01"] == pytest.approx(alone.params_["a"], rel=1e-3)
    assert (table["lower"] < table["estimate"]).all()
    assert (table["estimate"] < table["upper"]).all()


def test_months_of_first_purchases(cdnow, cdnow_rfm):
    first = cdnow[cdnow["date"] <= "1997-09-30"].groupby("customer_id")["date"].min()
    counted = first.dt.strftime("%Y-%m").value_counts()
    table = drift_check(clv.MBGNBD, cdnow_rfm, cohorts="M").drop_duplicates("cohort")
    assert table.set_index("cohort")["customers"].drop("all").to_dict() == counted.to_dict()


def test_a_planted_drift_is_found():
    """Newer customers buy three times as often."""
    old = clv.BGNBD.from_params(time_unit="W", **BUYING).simulate(1500, 60.0, 1).rfm
    more = clv.BGNBD.from_params(time_unit="W", **{**BUYING, "alpha": BUYING["alpha"] / 3})
    new = more.simulate(1500, 40.0, 2).rfm.assign(customer_id=np.arange(1500) + 10_000)
    rfm = pd.concat([old, new], ignore_index=True)
    table = drift_check(clv.BGNBD().fit(old), rfm, cohorts=2)
    rate = table[table["parameter"] == "mean purchase rate"].iloc[1:]
    assert rate["customers"].tolist() == [1500, 1500]
    assert rate["upper"].iloc[0] < rate["lower"].iloc[1]
    assert rate["lower"].iloc[0] < 0.12 < rate["upper"].iloc[0]
    assert rate["lower"].iloc[1] < 0.36 < rate["upper"].iloc[1]


def test_small_cohorts_are_rows(cdnow_rfm):
    small = cdnow_rfm.sample(400, random_state=1)
    table = drift_check(clv.CLVModel(), small, cohorts="W")
    assert table.groupby("cohort").size().nunique() == 1
    failed = table[table["status"].str.startswith("too small")]
    assert failed["estimate"].isna().all()
    assert len(failed) > 0
    assert table.loc[table["cohort"] == "all", "estimate"].notna().all()
    assert {"mean spend", "mean purchase rate"} <= set(table["parameter"])


def test_cohorts_that_cannot_be_made(cdnow_rfm):
    plain = pd.DataFrame({c: cdnow_rfm[c].to_numpy() for c in ("frequency", "recency", "T")})
    with pytest.raises(OptionError, match="cohorts=4"):
        drift_check(clv.BGNBD, plain)
    with pytest.raises(OptionError, match="'D'"):
        drift_check(clv.BGNBD, cdnow_rfm, cohorts="D")
    with pytest.raises(OptionError, match="neither a model"):
        drift_check("BGNBD", cdnow_rfm)
    with pytest.raises(OptionError, match="all customers"):
        drift_check(clv.BGNBD, cdnow_rfm.iloc[:20], cohorts=2)
    table = drift_check(clv.BGNBD, plain, cohorts=2)
    assert table["cohort"].unique().tolist()[1].startswith("T ")
