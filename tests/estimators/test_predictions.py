"""Predictions as users ask for them: columns, units, conventions, errors."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.errors import (
    DataError,
    DropoutWarning,
    InfiniteValueError,
    NotFittedError,
    OptionError,
    UnitError,
)

PURCHASE_OUTPUT = [
    "customer_id",
    "frequency",
    "recency",
    "T",
    "p_alive",
    "churn_probability",
    "p_purchase",
    "expected_purchases",
]
CLV_OUTPUT = [
    *PURCHASE_OUTPUT[:4],
    "monetary_value",
    *PURCHASE_OUTPUT[4:],
    "expected_spend",
    "clv",
    "clv_undiscounted",
]


@pytest.fixture(scope="module")
def model(cdnow_rfm: pd.DataFrame) -> clv.CLVModel:
    return clv.CLVModel(clv.MBGNBD(), clv.GammaGamma()).fit(cdnow_rfm)


@pytest.fixture(scope="module")
def table(model: clv.CLVModel, cdnow_rfm: pd.DataFrame) -> pd.DataFrame:
    return model.predict(cdnow_rfm, horizon="39W", discount_rate=0.1)


def test_columns_and_identities(
    model: clv.CLVModel, table: pd.DataFrame, cdnow_rfm: pd.DataFrame
) -> None:
    assert list(table.columns) == CLV_OUTPUT
    assert (table["customer_id"] == cdnow_rfm["customer_id"].to_numpy()).all()
    assert table["frequency"].dtype == cdnow_rfm["frequency"].dtype
    assert np.isfinite(table.drop(columns="customer_id")).all(axis=None)
    np.testing.assert_allclose(table["p_alive"] + table["churn_probability"], 1)
    np.testing.assert_allclose(
        table["clv_undiscounted"], table["expected_purchases"] * table["expected_spend"]
    )
    assert (table["clv"] < table["clv_undiscounted"]).all()
    buying = model.purchases
    assert list(buying.predict(cdnow_rfm, horizon="39W").columns) == PURCHASE_OUTPUT
    for name, series in {
        "p_alive": buying.p_alive(cdnow_rfm),
        "p_purchase": buying.p_purchase(cdnow_rfm, "39W"),
        "expected_purchases": buying.expected_purchases(cdnow_rfm, 39),
        "expected_spend": model.spend.expected_spend(cdnow_rfm),
    }.items():
        np.testing.assert_allclose(series, table[name], rtol=1e-12)


def test_horizons_in_any_unit_agree(model: clv.CLVModel, cdnow_rfm: pd.DataFrame) -> None:
    weeks = model.predict(cdnow_rfm, horizon=39)
    for horizon in ("39W", "273D", timedelta(weeks=39), 39.0, "39"):
        pd.testing.assert_frame_equal(model.predict(cdnow_rfm, horizon=horizon), weeks)
    year = model.predict(cdnow_rfm, horizon="1Y")["clv"]
    pd.testing.assert_series_equal(model.predict(cdnow_rfm, horizon="12M")["clv"], year)


def test_a_model_in_days_predicts_the_same(
    model: clv.CLVModel, table: pd.DataFrame, cdnow_rfm: pd.DataFrame
) -> None:
    daily = clv.convert_unit(cdnow_rfm, "D")
    other = clv.CLVModel(clv.MBGNBD(), clv.GammaGamma()).fit(daily)
    columns = ["p_alive", "p_purchase", "expected_purchases", "expected_spend", "clv"]
    predicted = other.predict(daily, horizon="39W", discount_rate=0.1)
    np.testing.assert_allclose(predicted[columns], table[columns], rtol=1e-6)
    with pytest.raises(UnitError, match=r"convert_unit\(rfm, 'W'\)"):
        model.predict(daily, horizon="39W")


def test_a_customers_prediction_does_not_depend_on_the_others(
    model: clv.CLVModel, table: pd.DataFrame, cdnow_rfm: pd.DataFrame
) -> None:
    some = cdnow_rfm.sample(40, random_state=3)
    apart = model.predict(some, horizon="39W", discount_rate=0.1)
    together = table.set_index("customer_id").loc[some["customer_id"]].reset_index()
    pd.testing.assert_frame_equal(apart, together, rtol=1e-13)
    one = model.predict(cdnow_rfm.iloc[[7]], horizon="39W", discount_rate=0.1)
    pd.testing.assert_frame_equal(one, table.iloc[[7]].reset_index(drop=True), rtol=1e-13)


def test_customers_who_were_not_in_the_fit(model: clv.CLVModel) -> None:
    strangers = pd.DataFrame(
        {
            "customer_id": ["ann", "bob"],
            "frequency": [0, 5000],
            "recency": [0.0, 350.0],
            "T": [10.0, 365.0],
            "monetary_value": [0.0, 20.0],
        }
    )
    out = model.predict(strangers, horizon=520)
    assert out["customer_id"].tolist() == ["ann", "bob"]
    assert np.isfinite(out.drop(columns="customer_id")).all(axis=None)
    assert 0 < out["expected_purchases"][1] < 1e-15


def test_add_new_appends_a_customer_of_today(
    model: clv.CLVModel, table: pd.DataFrame, cdnow_rfm: pd.DataFrame
) -> None:
    out = model.predict(cdnow_rfm, horizon="39W", discount_rate=0.1, add_new=True)
    assert len(out) == len(table) + 1
    new = out.iloc[-1]
    assert pd.isna(new["customer_id"])
    assert str(out["customer_id"].dtype) == "Int64"
    assert out["frequency"].dtype == table["frequency"].dtype
    assert (new[["frequency", "recency", "T", "monetary_value"]] == 0).all()
    spend = model.spend.expected_spend_new()
    purchases = model.purchases.expected_purchases_new("39W")
    assert new["clv_undiscounted"] == pytest.approx(purchases * spend)
    np.testing.assert_array_equal(out["clv"].iloc[:-1], table["clv"])
    alone = model.purchases.predict(cdnow_rfm, horizon="39W", add_new=True)
    assert alone.iloc[-1]["expected_purchases"] == pytest.approx(purchases)


def test_discounting_conventions(model: clv.CLVModel, cdnow_rfm: pd.DataFrame) -> None:
    def total(**options: object) -> float:
        return float(model.predict(cdnow_rfm, horizon="2Y", **options)["clv"].sum())  # type: ignore[arg-type]

    undiscounted = total(discounting="none")
    assert total(discount_rate=0.0) == pytest.approx(undiscounted, rel=1e-12)
    assert total(discount_rate=1e-9) == pytest.approx(undiscounted, rel=1e-6)
    continuous, monthly = total(discount_rate=0.2), total(discount_rate=0.2, discounting="monthly")
    assert monthly < continuous < undiscounted  # paid at the end of the month, so worth less
    assert monthly == pytest.approx(continuous, rel=0.01)
    # By hand: E[X] month by month, discounted at each month's end.
    month = 365.25 / 12 / 7
    buying, spend = model.purchases, model.spend.expected_spend(cdnow_rfm)
    cumulative = [buying.expected_purchases(cdnow_rfm, month * k) for k in range(25)]
    by_hand = sum(
        ((cumulative[k] - cumulative[k - 1]) * spend).sum() / 1.2 ** (k / 12) for k in range(1, 25)
    )
    assert monthly == pytest.approx(by_hand, rel=1e-10)


def test_partial_month_is_discounted_at_its_end(
    model: clv.CLVModel, cdnow_rfm: pd.DataFrame
) -> None:
    out = model.predict(cdnow_rfm, horizon=2.0, discount_rate=0.5, discounting="monthly")
    factor = 1.5 ** -(14 / 365.25)
    np.testing.assert_allclose(out["clv"], out["clv_undiscounted"] * factor, rtol=1e-12)


@pytest.mark.reference
def test_lifetimes_convention_reproduces_lifetimes(cdnow_rfm: pd.DataFrame) -> None:
    """Its customer_lifetime_value with discount_rate per month, in weeks and in days."""
    utils = pytest.importorskip("lifetimes.utils")

    class Shell:
        """What lifetimes asks of a fitted model, answered by ours."""

        def __init__(self, model: clv.BGNBD) -> None:
            self.model = model

        def predict(self, t: float, x: pd.Series, t_x: pd.Series, T: pd.Series) -> pd.Series:
            rfm = pd.DataFrame({"frequency": x, "recency": t_x, "T": T})
            return self.model.expected_purchases(rfm, t)

    for unit in ("W", "D"):
        rfm = clv.convert_unit(cdnow_rfm, unit).iloc[:200]
        model = clv.CLVModel(clv.BGNBD(), clv.GammaGamma()).fit(clv.convert_unit(cdnow_rfm, unit))
        with pytest.warns(DropoutWarning):
            ours = model.predict(
                rfm, horizon="12M", discount_rate=1.01**12 - 1, discounting="lifetimes"
            )
        theirs = utils._customer_lifetime_value(
            Shell(model.purchases),
            rfm["frequency"],
            rfm["recency"],
            rfm["T"],
            model.spend.expected_spend(rfm),
            time=12,
            discount_rate=0.01,
            freq=unit,
        )
        np.testing.assert_allclose(ours["clv"], theirs, rtol=1e-9)


def test_infinite_horizon(cdnow_rfm: pd.DataFrame, model: clv.CLVModel) -> None:
    out = model.predict(cdnow_rfm, horizon=None, discount_rate=0.1)
    assert np.isfinite(out["clv"]).all()
    far = model.predict(cdnow_rfm, horizon="400Y", discount_rate=0.1)
    np.testing.assert_allclose(out["clv"], far["clv"], rtol=1e-8)
    np.testing.assert_allclose(out["p_purchase"], out["p_alive"])
    assert np.isinf(out["clv_undiscounted"]).all()  # a = .89 < 1: it diverges, and says so
    assert np.isinf(out["expected_purchases"]).all()
    for options in ({"discounting": "none"}, {"discount_rate": 0.0}):
        with pytest.raises(InfiniteValueError, match=r"infinite at these parameters.*finite"):
            model.predict(cdnow_rfm, horizon=None, **options)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="continuous"):
        model.predict(cdnow_rfm, horizon=None, discounting="monthly")
    mortal = clv.MBGNBD.from_params(r=0.5, alpha=6, a=1.5, b=2, time_unit="W")
    assert np.isfinite(mortal.expected_purchases(cdnow_rfm, None)).all()
    dert = model.purchases.dert(cdnow_rfm, 0.1)
    np.testing.assert_allclose(dert * out["expected_spend"], out["clv"], rtol=1e-12)


def test_margins(model: clv.CLVModel, table: pd.DataFrame, cdnow_rfm: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    rfm = cdnow_rfm.assign(
        tier=rng.choice(["gold", "basic"], len(cdnow_rfm)), rate=rng.random(len(cdnow_rfm))
    )
    options = {"horizon": "39W", "discount_rate": 0.1}
    scalar = model.predict(rfm, margin=0.3, **options)
    np.testing.assert_allclose(scalar["clv"], 0.3 * table["clv"])
    np.testing.assert_allclose(scalar["expected_spend"], table["expected_spend"])
    column = model.predict(rfm, margin="rate", **options)
    np.testing.assert_allclose(column["clv"], rfm["rate"] * table["clv"])
    tiers = model.predict(rfm, margin={"gold": 0.5, "basic": 0.2}, segment="tier", **options)
    share = rfm["tier"].map({"gold": 0.5, "basic": 0.2}).to_numpy()
    np.testing.assert_allclose(tiers["clv"], share * table["clv"])
    assert tiers.columns[-1] == "tier"
    for bad, message in (
        ({"margin": "rat"}, "Did you mean 'rate'"),
        ({"margin": {"gold": 1.0}, "segment": "tier"}, "no entry for .* 'basic'"),
        ({"margin": {"gold": 1.0}}, "segment='column'"),
        ({"margin": float("nan")}, "finite number"),
        ({"margin": "tier"}, "not a number for 2,357"),
        ({"margin": "rate", "add_new": True}, "as numbers"),
    ):
        with pytest.raises(OptionError, match=message):
            model.predict(rfm, **options, **bad)  # type: ignore[arg-type]


def test_bgnbd_says_that_it_calls_one_timers_alive(cdnow_rfm: pd.DataFrame) -> None:
    bg = clv.BGNBD().fit(cdnow_rfm)
    with pytest.warns(DropoutWarning, match=r"60% of these customers.*p_purchase.*MBGNBD") as seen:
        bg.predict(cdnow_rfm, horizon="39W")
    assert len(seen) == 1
    assert seen[0].filename == __file__


def test_nbd_says_that_it_calls_everybody_alive(cdnow_rfm: pd.DataFrame) -> None:
    model = clv.NBD().fit(cdnow_rfm)
    message = "NBD has no dropout: p_alive is 1 and churn_probability 0 for everybody"
    with pytest.warns(DropoutWarning, match=message) as seen:
        table = model.predict(cdnow_rfm, horizon="39W", interval=0.9)
    assert len(seen) == 1
    assert seen[0].filename == __file__
    assert (table["p_alive"] == 1).all()
    rate = (cdnow_rfm["frequency"] + model.params_["r"]) / (cdnow_rfm["T"] + model.params_["alpha"])
    np.testing.assert_allclose(table["expected_purchases"], 39 * rate, rtol=1e-12)
    held = table["purchases_pi_upper"] >= table["expected_purchases"]
    assert held[table["frequency"] > 0].all()


def test_nbd_for_ever(cdnow_rfm: pd.DataFrame) -> None:
    """Expectations are infinite, or discounted; purchases cannot be drawn."""
    model = clv.NBD.from_params(r=0.385, alpha=12.07, time_unit="W")
    rfm = cdnow_rfm.head(20)
    assert np.isinf(model.expected_purchases(rfm, None)).all()
    dert = model.dert(rfm, 0.1) * np.log1p(0.1) / 365.25 * 7
    np.testing.assert_allclose(dert, (rfm["frequency"] + 0.385) / (rfm["T"] + 12.07), rtol=1e-12)
    with pytest.raises(InfiniteValueError, match=r"NBD has no dropout.*finite horizon"):
        model.predict(rfm, horizon=None, interval=0.9)


def test_heavy_tailed_spend_has_no_mean_and_says_so(cdnow_rfm: pd.DataFrame) -> None:
    spend = clv.GammaGamma.from_params(p=2.0, q=0.8, v=10.0)
    model = clv.CLVModel(clv.MBGNBD().fit(cdnow_rfm), spend)
    with pytest.raises(InfiniteValueError, match=r"q <= 1 .*1,411 customers.*fallback_spend"):
        model.predict(cdnow_rfm, horizon="39W")
    out = model.predict(cdnow_rfm, horizon="39W", fallback_spend=30.0)
    assert (out.loc[out["frequency"] == 0, "expected_spend"] == 30.0).all()
    assert np.isnan(spend.expected_spend_new())


def test_metadata_states_everything_and_survives_parquet(
    model: clv.CLVModel, cdnow_rfm: pd.DataFrame, tmp_path: Path
) -> None:
    table = model.predict(cdnow_rfm, horizon="39W", discount_rate=0.12, margin=0.4)
    about = table.attrs["clvpredict"]
    assert about["horizon"] == 39.0
    assert about["time_unit"] == "W"
    assert about["discount_rate"] == 0.12
    assert about["discount_rate_is"] == "a year, effective"
    assert about["discount_rate_per_time_unit"] == pytest.approx(np.log(1.12) * 7 / 365.25)
    assert about["margin"] == 0.4
    assert about["parameters"]["alpha"] == model.params_["alpha"]
    table.to_parquet(tmp_path / "p.parquet")
    assert pd.read_parquet(tmp_path / "p.parquet").attrs["clvpredict"] == about


def test_metadata_are_of_the_customers_and_not_of_the_fit() -> None:
    days = ("1997-09-30", "1997-12-31")
    old, new = (
        clv.rfm_summary(clv.load_cdnow(), observation_end=d, time_unit="W", currency="USD")
        for d in days
    )
    fitted = clv.CLVModel(clv.MBGNBD()).fit(old)
    for one in (fitted, fitted.purchases):
        said = one.predict(new, horizon="4W").attrs["clvpredict"]["data"]
        assert (said["observation_end"], said["currency"]) == (days[1], "USD")
        # Nobody knows of when a table is that does not say so.
        plain = pd.DataFrame(new.to_dict("list"))
        assert one.predict(plain, horizon="4W").attrs["clvpredict"]["data"] is None


def test_input_is_not_changed(model: clv.CLVModel, cdnow_rfm: pd.DataFrame) -> None:
    before = cdnow_rfm.copy()
    model.predict(cdnow_rfm, horizon="39W")
    pd.testing.assert_frame_equal(before, cdnow_rfm)
    assert before.attrs == cdnow_rfm.attrs


def test_ids_in_the_index_as_lifetimes_has_them(
    model: clv.CLVModel, table: pd.DataFrame, cdnow_rfm: pd.DataFrame
) -> None:
    indexed = pd.DataFrame(cdnow_rfm).set_index("customer_id")
    out = model.predict(indexed, horizon="39W", discount_rate=0.1)
    np.testing.assert_array_equal(out["customer_id"], table["customer_id"])
    np.testing.assert_array_equal(out["clv"], table["clv"])


def test_units_that_nobody_stated(cdnow_rfm: pd.DataFrame) -> None:
    plain = pd.DataFrame(cdnow_rfm.to_dict("list"))
    model = clv.CLVModel(clv.MBGNBD(), clv.GammaGamma()).fit(plain)
    assert model.predict(plain, horizon=39, discounting="none")["clv"].gt(0).all()
    with pytest.raises(UnitError, match="did not say theirs"):
        model.predict(plain, horizon="39W")
    with pytest.raises(UnitError, match="time_unit='W'"):
        model.predict(plain, horizon=39)
    stated = clv.CLVModel(clv.MBGNBD(), clv.GammaGamma()).fit(plain, time_unit="W")
    assert stated.predict(plain, horizon="39W")["clv"].gt(0).all()


def test_not_fitted(cdnow_rfm: pd.DataFrame) -> None:
    for call in (
        lambda: clv.BGNBD().params_,
        lambda: clv.BGNBD().predict(cdnow_rfm, horizon=3),
        lambda: clv.CLVModel().predict(cdnow_rfm, horizon=3),
        lambda: clv.GammaGamma().expected_spend(cdnow_rfm),
    ):
        with pytest.raises(NotFittedError, match=r"\.fit\(rfm\) first"):
            call()
    assert repr(clv.BGNBD()) == "BGNBD()"


@pytest.mark.parametrize(
    "horizon", ["39X", "W39", "-3W", -1, float("inf"), float("nan"), "", "39 w"]
)
def test_bad_horizons(horizon: object, model: clv.CLVModel, cdnow_rfm: pd.DataFrame) -> None:
    with pytest.raises(OptionError, match="horizon="):
        model.predict(cdnow_rfm, horizon=horizon)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [-0.1, float("nan"), float("inf")])
def test_bad_discount_rates(rate: float, model: clv.CLVModel, cdnow_rfm: pd.DataFrame) -> None:
    with pytest.raises(OptionError, match="annual effective"):
        model.predict(cdnow_rfm, horizon=3, discount_rate=rate)


def test_unknown_discounting(model: clv.CLVModel, cdnow_rfm: pd.DataFrame) -> None:
    with pytest.raises(OptionError, match="Did you mean 'continuous'"):
        model.predict(cdnow_rfm, horizon=3, discounting="continous")  # type: ignore[arg-type]


def test_counts(model: clv.CLVModel, cdnow_rfm: pd.DataFrame) -> None:
    buying = model.purchases
    pmf = buying.pmf(range(400), "39W")
    assert pmf.sum() == pytest.approx(1, abs=1e-9)
    assert pmf @ pmf.index == pytest.approx(buying.expected_purchases_new("39W"), rel=1e-9)
    future = buying.pmf_future(cdnow_rfm, [0, 1, 2], "39W")
    assert future.shape == (2357, 3)
    np.testing.assert_allclose(1 - future[0], buying.p_purchase(cdnow_rfm, "39W"), atol=1e-14)
    for bad in ([-1], [0.5]):
        with pytest.raises(OptionError, match="whole numbers"):
            buying.pmf(bad, "39W")
    with pytest.raises(OptionError, match="finite horizon"):
        buying.pmf([1], None)


def test_from_params_refuses_what_is_not_one() -> None:
    for params in ({"r": 1.0}, {"r": 1, "alpha": 1, "a": 1, "b": 0}, {"p": 1, "q": 2, "v": 3}):
        with pytest.raises(OptionError, match="r, alpha, a, b"):
            clv.BGNBD.from_params(**params)  # type: ignore[arg-type]


BAD = pd.DataFrame(
    {
        "customer_id": ["a", "b", "b", None, "e", "f", "g", "h"],
        "frequency": [0, 2, 1, -1, 1.5, 3, np.nan, 2],
        "recency": [5.0, 3, 0, 1, 1, 9, 1, 2],
        "T": [9.0, 9, 9, 9, 9, 8, 9, np.inf],
        "monetary_value": [0.0, 1, 1, 1, 1, -5, 1, 1],
    }
)


def test_every_problem_of_a_summary_is_listed_at_once(model: clv.CLVModel) -> None:
    with pytest.raises(DataError) as caught:
        model.predict(BAD, horizon=3)
    text = str(caught.value)
    for part in (
        "'frequency' is missing, infinite or not a number: 1 row",
        "'frequency' is negative: 1 row",
        "'frequency' is not a whole number: 1 row",
        "'T' is missing, infinite or not a number: 1 row",
        "'monetary_value' is negative: 1 row",
        "recency > T: 1 row",
        "frequency = 0 with recency > 0: 1 row",
        "frequency > 0 with recency = 0: 1 row",
        "customer_id is null: 1 row",
        "customer_id occurs more than once (1 customers): 2 rows",
    ):
        assert part in text, part
    assert text.count("e.g. ") == 11
    assert len(caught.value.problems) == 10


def test_missing_columns_are_named_with_a_guess(model: clv.CLVModel) -> None:
    frame = pd.DataFrame({"Frequency": [1], "recency": [1.0], "age": [2.0], "monetary": [3.0]})
    with pytest.raises(DataError) as caught:
        model.predict(frame, horizon=3)
    text = str(caught.value)
    assert "no column 'frequency'" in text
    assert "Did you mean 'Frequency'?" in text
    assert "no column 'T'" in text
    assert "Did you mean 'monetary'?" in text
    with pytest.raises(DataError, match="no rows"):
        model.predict(frame[:0], horizon=3)
    with pytest.raises(DataError, match="got list"):
        model.predict([1, 2], horizon=3)  # type: ignore[arg-type]


def test_purchase_models_refuse_frequency_that_counts_the_first_purchase(
    cdnow: pd.DataFrame,
) -> None:
    rfm = clv.rfm_summary(cdnow, time_unit="W", include_first_transaction=True)
    with pytest.raises(DataError, match="counts repeats only"):
        clv.BGNBD().fit(rfm)
