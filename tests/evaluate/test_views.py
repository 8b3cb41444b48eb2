"""What a fitted model says, held to what it says elsewhere, and to other ways of computing it."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import clvpredict as clv
from clvpredict.errors import InfiniteValueError, NotFittedError, OptionError, UnitError
from clvpredict.evaluate import (
    alive_history,
    forecast_fan,
    frequency_recency_grid,
    heterogeneity,
    prior_posterior,
)


@pytest.fixture(scope="module")
def point(cdnow_rfm):
    return clv.BGNBD().fit(cdnow_rfm)


@pytest.fixture(scope="module")
def posterior(cdnow_rfm):
    return clv.CLVModel(clv.MBGNBD()).fit(cdnow_rfm, method="laplace", seed=1)


@pytest.fixture(scope="module")
def known():
    """Parameters that were given: U-shaped dropout, few purchases."""
    return clv.CLVModel(
        clv.BGNBD.from_params(r=0.4, alpha=5.0, a=0.6, b=0.8, time_unit="W"),
        clv.GammaGamma.from_params(p=5.0, q=3.5, v=15.0),
    )


# --- by frequency and recency ----------------------------------------------------------------


@pytest.mark.parametrize("of", ["expected_purchases", "p_alive", "p_purchase"])
@pytest.mark.parametrize("which", ["point", "posterior"])
def test_cells_are_predictions(of, which, request):
    model = request.getfixturevalue(which)
    horizon = None if of == "p_alive" else "39W"
    grid = frequency_recency_grid(model, of=of, horizon=horizon, T=30.0)
    frequency, recency = [0, 1, 1, 7, 7, 20], [0.0, 12.0, 30.0, 0.6, 30.0, 18.0]
    rows = pd.DataFrame({"frequency": frequency, "recency": recency, "T": 30.0})
    buying = getattr(model, "purchases", model)
    wanted = buying.predict(rows, horizon=39)[of]
    cells = [grid.loc[r, x] for x, r in zip(rows["frequency"], rows["recency"], strict=True)]
    np.testing.assert_allclose(cells, wanted, rtol=2e-4)
    assert grid.attrs == {
        "of": of,
        "T": 30.0,
        "horizon": None if of == "p_alive" else 39.0,
        "time_unit": "weeks",
        "model": "BG/NBD" if which == "point" else "MBG/NBD",
    }


def test_histories_that_cannot_be_are_missing(point):
    grid = frequency_recency_grid(point, of="p_alive", max_frequency=3, recency_steps=4)
    assert grid.isna().to_numpy().tolist() == [
        [False, True, True, True],
        *[[True, False, False, False]] * 4,
    ]


def test_the_grid_is_as_large_as_the_data(point, cdnow_rfm):
    grid = frequency_recency_grid(point, of="p_alive")
    assert grid.columns.tolist() == list(range(cdnow_rfm["frequency"].max() + 1))
    assert grid.index[-1] == cdnow_rfm["T"].max()
    assert len(grid) == 51


def test_many_frequencies_are_thinned(point):
    grid = frequency_recency_grid(point, of="p_alive", max_frequency=1000, T="52W")
    assert grid.columns.tolist() == list(range(0, 1001, 25))
    assert grid.index[-1] == 52.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"of": "churn"}, "'p_alive'"),
        ({}, "horizon='39W'"),
        ({"of": "p_alive", "horizon": 3}, "of='p_purchase'"),
        ({"of": "p_alive", "T": 0}, "T='39W'"),
        ({"of": "p_alive", "max_frequency": 0}, "max_frequency=0"),
        ({"of": "p_alive", "recency_steps": 2.5}, "recency_steps=2.5"),
    ],
)
def test_refusals_of_the_grid(point, options, said):
    with pytest.raises(OptionError, match=said):
        frequency_recency_grid(point, **options)


def test_models_that_cannot_say(known, cdnow_rfm):
    with pytest.raises(OptionError, match=r"Give T, e\.g"):
        frequency_recency_grid(known, of="p_alive")
    with pytest.raises(OptionError, match="GammaGamma says nothing of purchases"):
        frequency_recency_grid(known.spend, of="p_alive", T=3)


# --- one customer ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def history(cdnow):
    return clv.purchase_history(cdnow, observation_end="1997-09-30")


@pytest.fixture(scope="module")
def frequent(cdnow_rfm):
    """The summary of a customer with some purchases, the last of them some time ago."""
    some = cdnow_rfm[(cdnow_rfm["frequency"] == 5) & (cdnow_rfm["recency"] < 30)]
    return some.head(1)


@pytest.mark.parametrize("which", ["point", "posterior"])
def test_the_history_ends_at_the_summary(which, request, history, frequent):
    model = request.getfixturevalue(which)
    buying = getattr(model, "purchases", model)
    table = alive_history(model, history, frequent["customer_id"].iloc[0])
    last = table.iloc[-1]
    assert last["p_alive"] == pytest.approx(buying.p_alive(frequent).iloc[0], rel=1e-6)
    assert last["age"] == frequent["T"].iloc[0]
    assert (last["frequency"], last["recency"]) == (5, frequent["recency"].iloc[0])
    assert last["date"] == pd.Timestamp("1997-09-30")
    assert table["purchase"].sum() == 6
    if which == "posterior":
        assert table["p_alive"].between(table["lower"], table["upper"]).all()
        band = buying.predict(frequent, horizon=1, interval=0.9)
        ends = band[["p_alive_lower", "p_alive_upper"]].iloc[0]
        np.testing.assert_allclose(last[["lower", "upper"]].astype(float), ends, rtol=1e-6)
    else:
        assert "lower" not in table


def test_purchases_are_jumps(known, history, frequent):
    """Every row is P(alive) of what is known then: with and without the purchase."""
    table = alive_history(known, history, frequent["customer_id"].iloc[0], points=50)
    rows = table[["frequency", "recency", "age"]].rename(columns={"age": "T"})
    np.testing.assert_allclose(table["p_alive"], known.purchases.p_alive(rows), rtol=1e-12)
    bought = table.index[table["purchase"]][1:]
    before, at = table.loc[bought - 1], table.loc[bought]
    assert (before["date"].to_numpy() == at["date"].to_numpy()).all()
    assert before["frequency"].tolist() == [0, 1, 2, 3, 4]
    assert at["frequency"].tolist() == [1, 2, 3, 4, 5]
    assert (at["recency"] == at["age"]).all()
    assert table["age"].is_monotonic_increasing
    own = history.loc[history["customer_id"] == frequent["customer_id"].iloc[0], "date"]
    assert table.loc[table["purchase"], "date"].tolist() == own.tolist()


def test_beyond_the_data_nothing_is_bought(known, history, frequent):
    who = frequent["customer_id"].iloc[0]
    table = alive_history(known, history, who, until="1999-09-30")
    assert table["date"].iloc[-1] == pd.Timestamp("1999-09-30")
    assert table["frequency"].iloc[-1] == 5
    assert table["p_alive"].iloc[-1] < 0.2
    assert table.attrs["observation_end"] == "1997-09-30"


def test_until_cuts_the_history(known, history, frequent):
    who = frequent["customer_id"].iloc[0]
    first, second = history.loc[history["customer_id"] == who, "date"].iloc[:2]
    table = alive_history(known, history, who, until=second - pd.Timedelta(days=1))
    assert table["purchase"].sum() == 1
    assert table["frequency"].max() == 0
    with pytest.raises(OptionError, match="bought first on"):
        alive_history(known, history, who, until=first - pd.Timedelta(days=1))


def test_weeks_are_those_of_the_summary(cdnow, known):
    """Purchases of a week count once, and ages are from Monday to Monday."""
    weekly = {"observation_end": "1997-09-30", "collapse": "W"}
    history = clv.purchase_history(cdnow, **weekly)
    rfm = clv.rfm_summary(cdnow, time_unit="W", **weekly)
    one = rfm[rfm["frequency"] == 4].head(1)
    table = alive_history(known, history, one["customer_id"].iloc[0])
    assert table["age"].iloc[-1] == one["T"].iloc[0]
    assert table["p_alive"].iloc[-1] == pytest.approx(known.purchases.p_alive(one).iloc[0])


def test_refusals_of_the_history(known, history):
    with pytest.raises(OptionError, match="is not in the history, which has 2,357 customers"):
        alive_history(known, history, "nobody")
    with pytest.raises(OptionError, match="level=90"):
        alive_history(known, history, 1, level=90)
    with pytest.raises(UnitError, match="time_unit='W'"):
        alive_history(clv.BGNBD.from_params(r=1, alpha=1, a=1, b=1), history, 1)


# --- over customers --------------------------------------------------------------------------


def of(table, quantity):
    return table[table["quantity"] == quantity]


def over(x, quantity):
    """What densities are over: the logarithm, or log odds."""
    return np.log(x / (1 - x)) if quantity == "dropout_probability" else np.log(x)


@pytest.mark.parametrize("which", ["known", "posterior"])
@pytest.mark.parametrize("quantity", ["purchase_rate", "dropout_probability", "mean_spend"])
def test_densities_and_what_is_outside_are_everybody(which, quantity, request):
    table = heterogeneity(request.getfixturevalue(which), points=2000)
    rows = of(table, quantity)
    inside = np.trapezoid(rows["density"], over(rows["x"], quantity))
    # Of a posterior the density is a mixture, and the shares are those at the estimate.
    near = 1e-5 if which == "known" else 0.01
    assert inside + sum(table.attrs["outside"][quantity]) == pytest.approx(1.0, abs=near)


@pytest.mark.reference
def test_densities_are_those_of_scipy(known):
    table = heterogeneity(known)
    truth = {
        "purchase_rate": stats.gamma(0.4, scale=1 / 5.0),
        "dropout_probability": stats.beta(0.6, 0.8),
        "mean_spend": stats.invgamma(3.5, scale=5.0 * 15.0),
    }
    for quantity, law in truth.items():
        rows = of(table, quantity)
        x = rows["x"].to_numpy()
        slope = x * (1 - x) if quantity == "dropout_probability" else x
        np.testing.assert_allclose(rows["density"], law.pdf(x) * slope, rtol=1e-9)
        below, above = table.attrs["outside"][quantity]
        np.testing.assert_allclose([below, above], [law.cdf(x[0]), law.sf(x[-1])], rtol=1e-6)
        assert rows["lower"].isna().all()  # given parameters leave nothing open


def test_simulated_customers_are_so_distributed(known):
    base = known.simulate(20_000, T=50.0, seed=7)
    table = heterogeneity(known, points=1000)
    drawn = {
        "purchase_rate": base.latent["purchase_rate"],
        "dropout_probability": base.latent["dropout_probability"],
        "mean_spend": 5.0 / base.latent["spend_rate"],
    }
    for quantity, values in drawn.items():
        rows = of(table, quantity)
        place = over(rows["x"].to_numpy(), quantity)
        steps = np.diff(place) * (rows["density"].to_numpy()[1:] + rows["density"].to_numpy()[:-1])
        share = table.attrs["outside"][quantity][0] + np.cumsum(steps) / 2
        found = np.searchsorted(np.sort(values), rows["x"].to_numpy()[1:]) / len(values)
        # Kolmogorov's bound at 0.1 %.
        assert np.abs(found - share).max() < 1.95 / np.sqrt(len(values)), quantity


def test_bands_are_of_the_parameters(posterior):
    table = heterogeneity(posterior, level=0.5)
    rows = of(table, "purchase_rate").iloc[[20, 100, 180]]
    r, alpha = posterior.purchases.result_.sample.flat[:, :2].T
    each = stats.gamma(r, scale=1 / alpha).pdf(rows["x"].to_numpy()[:, None])
    each *= rows["x"].to_numpy()[:, None]
    # All 4,000 draws here, 500 of them there.
    np.testing.assert_allclose(rows["density"], each.mean(axis=1), rtol=0.02)
    ends = np.quantile(each, (0.25, 0.75), axis=1)
    np.testing.assert_allclose(rows[["lower", "upper"]].T, ends, rtol=0.03)
    assert table.attrs["units"]["purchase_rate"] == "purchases per week"
    assert table.attrs["model"]["mean_spend"] == "Gamma-Gamma"


@pytest.mark.parametrize("a", [1e-3, 1e3])
@pytest.mark.parametrize("b", [1e-3, 1e3])
@pytest.mark.parametrize("r", [1e-3, 1e3])
def test_extreme_shapes_are_finite(r, a, b):
    table = heterogeneity(clv.BGNBD.from_params(r=r, alpha=1.0, a=a, b=b))
    for quantity in ("purchase_rate", "dropout_probability"):
        rows = of(table, quantity)
        assert np.isfinite(rows["density"]).all()
        assert (np.diff(rows["x"]) > 0).all()
        assert rows["density"].max() > 0


def test_without_a_band(cdnow_rfm):
    few = clv.MBGNBD.from_params(r=1, alpha=1, a=1, b=1)
    assert heterogeneity(few, level=None)["upper"].isna().all()
    with pytest.raises(OptionError, match=r"level=1\.5"):
        heterogeneity(few, level=1.5)
    with pytest.raises(NotFittedError, match="this BGNBD is not fitted yet"):
        heterogeneity(clv.CLVModel())


# --- ahead -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("which", ["point", "posterior"])
def test_the_fan_is_that_of_totals(which, request, cdnow_rfm):
    """At every moment, within Monte Carlo error of what predict_totals says of that horizon."""
    model = request.getfixturevalue(which)
    buying = getattr(model, "purchases", model)
    some = cdnow_rfm.iloc[::4]
    fan = forecast_fan(model, some, horizon="39W", steps=2, levels=(0.9,), draws=600)
    assert fan.iloc[0][["time", "expected", "lower_90", "upper_90"]].tolist() == [0, 0, 0, 0]
    for _, row in fan.iloc[1:].iterrows():
        # Another seed: draws of their own.
        total = buying.predict_totals(some, horizon=row["time"], draws=600, seed=3)
        wanted = total.iloc[0]
        assert row["expected"] == pytest.approx(wanted["expected_purchases"], rel=1e-4)
        sd = (wanted["purchases_pi_upper"] - wanted["purchases_pi_lower"]) / 3.29
        # A 5 % quantile of n draws has the standard error 2.11 sd / sqrt(n); there are two.
        near = 4 * 2.11 * sd * np.sqrt(2 / 600)
        assert row["lower_90"] == pytest.approx(wanted["purchases_pi_lower"], abs=near)
        assert row["upper_90"] == pytest.approx(wanted["purchases_pi_upper"], abs=near)


def test_the_fan_holds_what_simulated_customers_do(known):
    """New customers, whose later purchases are those of longer simulations."""
    end = "1997-01-01"
    rfm = pd.DataFrame({"customer_id": range(400), "frequency": 0, "recency": 0.0, "T": 0.0})
    fan = forecast_fan(known, rfm, horizon=30, steps=3, levels=(0.5,), draws=2000)
    runs = [known.purchases.simulate(400, 30.0, seed, observation_end=end) for seed in range(300)]
    for row, weeks in enumerate((10, 20, 30), start=1):
        cut = pd.Timestamp(end) - pd.Timedelta(weeks=30 - weeks)
        totals = [int((run.transactions["date"] <= cut).sum()) - 400 for run in runs]
        mean, sd = np.mean(totals), np.std(totals)
        assert fan["expected"][row] == pytest.approx(mean, abs=4 * sd / np.sqrt(300))
        ends = np.quantile(totals, (0.25, 0.75))
        # A quartile of n draws has the standard error 1.36 sd / sqrt(n).
        near = 4 * 1.36 * sd / np.sqrt(300)
        np.testing.assert_allclose(fan.loc[row, ["lower_50", "upper_50"]], ends, atol=near)


def test_the_fan_says_when_and_who(known, cdnow_rfm):
    some = cdnow_rfm["customer_id"].iloc[[5, 9]].tolist()
    fan = forecast_fan(known, cdnow_rfm, horizon="28D", customers=some, steps=2, draws=50)
    assert fan["date"].tolist() == list(pd.to_datetime(["1997-09-30", "1997-10-14", "1997-10-28"]))
    alone = known.purchases.expected_purchases(cdnow_rfm.iloc[[5, 9]], 4).sum()
    assert fan["expected"].iloc[-1] == pytest.approx(alone)
    assert list(fan) == [
        *("time", "date", "expected"),
        *("lower_50", "upper_50", "lower_90", "upper_90"),
    ]
    assert fan.attrs["customers"] == 2
    with pytest.raises(OptionError, match=r"1 of the 2 customers .* e\.g\. -3"):
        forecast_fan(known, cdnow_rfm, horizon=3, customers=[some[0], -3])


def test_the_fan_does_not_depend_on_the_order(known, cdnow_rfm):
    options = {"horizon": 20, "steps": 4, "draws": 50, "seed": 5}
    one = forecast_fan(known, cdnow_rfm, **options)
    other = forecast_fan(known, cdnow_rfm.sample(frac=1, random_state=1), **options)
    pd.testing.assert_frame_equal(one, other, rtol=1e-12)
    assert not one.equals(forecast_fan(known, cdnow_rfm, **{**options, "seed": 6}))


def test_many_equal_customers(known):
    """More than are held in one row: each still does as it likes."""
    rfm = pd.DataFrame({"frequency": 1, "recency": 3.0, "T": np.repeat(9.0, 1001)})
    fan = forecast_fan(known, rfm, horizon=20, steps=1, draws=400)
    one = known.purchases.predict_totals(rfm, horizon=20, draws=400, seed=1).iloc[0]
    width = one["purchases_pi_upper"] - one["purchases_pi_lower"]
    assert fan["expected"].iloc[-1] == pytest.approx(one["expected_purchases"])
    assert fan["upper_90"].iloc[-1] - fan["lower_90"].iloc[-1] == pytest.approx(width, rel=0.25)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"horizon": None}, "horizon='52W'"),
        ({"horizon": 0}, "more than 0"),
        ({"horizon": 3, "steps": 0}, "steps=0"),
        ({"horizon": 3, "levels": (90,)}, "levels=90"),
        ({"horizon": 3, "draws": 1}, "draws=1"),
        ({"horizon": 3, "customers": []}, "give some"),
    ],
)
def test_refusals_of_the_fan(known, cdnow_rfm, options, said):
    with pytest.raises(OptionError, match=said):
        forecast_fan(known, cdnow_rfm, **options)


# --- priors ----------------------------------------------------------------------------------


def test_prior_and_posterior_are_densities(posterior):
    table = prior_posterior(posterior, points=400)
    assert table["parameter"].drop_duplicates().tolist() == ["r", "alpha", "a", "b", "p", "q", "v"]
    for name, rows in table.groupby("parameter"):
        place = np.log(rows["value"])
        # The table holds 99 % of the prior, and all of the posterior.
        assert np.trapezoid(rows["prior"], place) == pytest.approx(0.99, abs=0.005), name
        assert np.trapezoid(rows["posterior"], place) == pytest.approx(1.0, abs=0.002), name


def test_prior_and_posterior_are_those_of_the_fit(posterior):
    table = prior_posterior(posterior)
    fit = posterior.purchases
    rows = table[table["parameter"] == "alpha"]
    said = fit.sampling_.priors["alpha"]
    mu, sigma = (float(part.split("=")[1].rstrip(")")) for part in said.split(","))
    law = stats.norm(mu, sigma)
    np.testing.assert_allclose(rows["prior"], law.pdf(np.log(rows["value"])), rtol=1e-9)
    place, height = np.log(rows["value"].to_numpy()), rows["posterior"].to_numpy()
    drawn = np.log(fit.result_.sample.flat[:, 1])
    mean = np.trapezoid(height * place, place)
    assert mean == pytest.approx(drawn.mean(), abs=0.01)
    shrinkage = 1 - drawn.var() / sigma**2
    assert table.attrs["shrinkage"]["alpha"] == pytest.approx(shrinkage, abs=0.005)
    assert table.attrs["units"]["alpha"] == "weeks"


@pytest.mark.slow
def test_priors_that_were_given(cdnow_rfm):
    import pymc as pm

    given = {"r": pm.Gamma.dist(2.0, 4.0)}
    model = clv.BGNBD().fit(cdnow_rfm, method="laplace", seed=1, priors=given)
    with pytest.raises(OptionError, match=r"priors=\{'r': \.\.\.\}"):
        prior_posterior(model)
    table = prior_posterior(model, priors=given)
    rows = table[table["parameter"] == "r"]
    wanted = stats.gamma(2.0, scale=1 / 4.0).pdf(rows["value"]) * rows["value"]
    np.testing.assert_allclose(rows["prior"], wanted, rtol=1e-6, atol=1e-12)
    with pytest.raises(OptionError, match="the default prior of a"):
        prior_posterior(model, priors={**given, "a": pm.Gamma.dist(2.0, 4.0)})
    with pytest.raises(OptionError, match="'z' is no parameter of BG/NBD"):
        prior_posterior(model, priors={"z": given["r"]})


def test_fits_without_a_posterior(point, cdnow_rfm):
    for model in (point, clv.BGNBD().fit(cdnow_rfm, method="map")):
        with pytest.raises(OptionError, match="method='laplace' or 'nuts'"):
            prior_posterior(model)


def test_unidentified_fits_have_no_band():
    """All customers alike: nothing says how they differ."""
    rfm = pd.DataFrame({"frequency": [0] * 30 + [1], "recency": [0.0] * 30 + [4.0], "T": 9.0})
    with pytest.warns(clv.errors.ClvWarning):
        model = clv.MBGNBD().fit(rfm)
    with pytest.raises(InfiniteValueError, match="do not identify"):
        heterogeneity(model)
    assert np.isfinite(heterogeneity(model, level=None)["density"]).all()
