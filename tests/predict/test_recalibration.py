"""What was learnt, applied: to single customers, to intervals, to totals, all alike."""

import json

import numpy as np
import pandas as pd
import pytest
from reference import PARAMS

import clvpredict as clv
from clvpredict.errors import OptionError
from clvpredict.options import TimeUnit
from clvpredict.predict import Correction, Recalibration

KNOTS = np.linspace(0, 1, 21)
WEEKS = TimeUnit.parse("W")


def correction(shape=1.0, level=1.0, spread=0.0):
    return Correction(tuple(KNOTS**shape), 1.0, level, 1.0, spread)


def learnt(**options):
    given = {"model": "mbg/nbd", "horizon": 26.0, "time_unit": "W", "last_seen": "1998-01-01"}
    given |= {"vintages": ("1997-01-01",), "purchases": correction(1.3, 1.2, 0.1)}
    given |= {"value": correction(0.8, 0.9, 0.2)}
    return Recalibration(**(given | options))


@pytest.fixture(scope="module")
def customers():
    rng = np.random.default_rng(0)
    x = rng.poisson(3, 60)
    age = rng.uniform(20, 39, 60)
    recency = np.where(x > 0, age * rng.uniform(0.3, 1, 60), 0.0)
    return pd.DataFrame(
        {
            "customer_id": range(60),
            "frequency": x,
            "recency": recency,
            "T": age,
            "monetary_value": np.where(x > 0, 20.0, 0.0),
        }
    )


@pytest.fixture(scope="module")
def model():
    return clv.CLVModel(
        clv.MBGNBD.from_params(time_unit="W", **PARAMS["mbg/nbd"]),
        clv.GammaGamma.from_params(p=6.249349, q=3.744256, v=15.444307),
    )


@pytest.mark.parametrize("shape", [0.5, 1.0, 2.0])
def test_a_curve_and_its_inverse(shape):
    c = correction(shape)
    for p in (0.0, 0.004, 0.05, 0.5, 0.777, 0.95, 1.0):
        assert c.probability(np.array([c.uncorrected(p)]))[0] == pytest.approx(p, abs=1e-12)
    np.testing.assert_allclose(c.probability(KNOTS), KNOTS**shape)


def test_the_inverse_of_a_flat_piece_is_where_it_begins():
    c = Correction((0.0, 0.2, 0.2, 0.2, 1.0), 1.0, 1.0, 1.0, 0.0)
    assert c.uncorrected(0.2) == 0.25
    assert c.uncorrected(0.2 + 1e-9) == pytest.approx(0.75, abs=1e-6)
    dead = Correction((0.0, 0.0, 1.0), 1.0, 1.0, 1.0, 0.0)
    assert dead.uncorrected(0.0) == 0.0
    assert dead.uncorrected(0.5) == 0.75


def test_expectations_are_levelled(model, customers):
    ask = {"horizon": 26.0, "interval": 0.9, "draws": 50, "discounting": "none"}
    plain = model.predict(customers, **ask)
    found = model.predict(customers, recalibration=learnt(), **ask)
    for end in ("", "_lower", "_upper"):
        np.testing.assert_allclose(
            found[f"expected_purchases{end}"], 1.2 * plain[f"expected_purchases{end}"]
        )
        np.testing.assert_allclose(found[f"clv{end}"], 0.9 * plain[f"clv{end}"])
        p = 1 - np.interp(1 - plain[f"p_purchase{end}"], KNOTS, KNOTS**1.3)
        np.testing.assert_allclose(found[f"p_purchase{end}"], p)
    for same in ("p_alive", "expected_spend"):
        np.testing.assert_array_equal(found[same], plain[same])
    assert found.attrs["clvpredict"]["recalibration"] == learnt().record()


def test_intervals_are_quantiles_of_the_corrected_distribution(model, customers):
    buying, draws = model.purchases, 2_000
    ask = {"horizon": 26.0, "draws": draws, "seed": 1}
    single = buying.predict_draws(customers, quantities="purchases", **ask)["purchases"]
    single = single.to_numpy().T
    table = buying.predict(customers, interval=0.8, recalibration=learnt(), **ask)
    for i, row in enumerate(np.sort(single, axis=1)):
        upto = np.interp(np.arange(1, draws + 1) / draws, KNOTS, KNOTS**1.3)
        # The smallest draws at which the corrected distribution has 10 % and 90 %.
        low, high = (row[np.argmax(upto >= p - 1e-9)] for p in (0.1, 0.9))
        # One rank off is what rounding of 2,000 draws may give.
        assert abs(table["purchases_pi_lower"].iloc[i] - low) <= 1
        assert abs(table["purchases_pi_upper"].iloc[i] - high) <= 1
    exact = (table["purchases_pi_upper"] > 0).mean()
    assert 0 < exact < 1


@pytest.mark.parametrize("of", ["purchases", "value"])
def test_probabilities_match_the_ends_of_intervals(model, customers, of):
    """P(X > upper) ≤ 10 % ≤ P(X ≥ upper), as corrected; the lower end likewise."""
    ask = {"horizon": 26.0, "draws": 500, "seed": 2, "recalibration": learnt()}
    subject = model.purchases if of == "purchases" else model
    table = subject.predict(customers, interval=0.8, **ask)
    for end, tail in (("lower", 0.9), ("upper", 0.1)):
        at = table[f"{of}_pi_{end}"].to_numpy(float)
        above = subject.p_above(customers, at, of=of, **ask).to_numpy()
        least = subject.p_above(customers, at - 1e-6, of=of, **ask).to_numpy()
        slack = 0.01  # ranks are whole
        assert (above <= tail + slack).all()
        assert (least >= tail - slack).all()


def test_p_above_corrects_p_purchase(model, customers):
    """P(X > 0) of many draws is p_purchase of the table."""
    ask = {"horizon": 26.0, "recalibration": learnt()}
    found = model.purchases.p_above(customers, 0, draws=4_000, **ask)
    table = model.purchases.predict(customers, **ask)
    np.testing.assert_allclose(found, table["p_purchase"], atol=0.05)
    assert np.abs(found.to_numpy() - table["p_purchase"]).mean() < 0.01


@pytest.mark.slow
def test_totals_are_levelled_and_widened(model, customers):
    ask = {"horizon": 26.0, "draws": 4_000, "seed": 1, "discounting": "none"}
    plain = model.predict_totals(customers, **ask)
    found = model.predict_totals(customers, recalibration=learnt(), **ask)
    assert found.loc["all", "expected_purchases"] == pytest.approx(
        1.2 * plain.loc["all", "expected_purchases"]
    )
    assert found.loc["all", "clv"] == pytest.approx(0.9 * plain.loc["all", "clv"])
    table = model.predict(customers, recalibration=learnt(), horizon=26.0, discounting="none")
    assert found.loc["all", "clv"] == pytest.approx(table["clv"].sum())
    before = model.predict_draws(customers, quantities="purchases", sum_by=True, **ask)
    after = model.predict_draws(
        customers, quantities="purchases", sum_by=True, recalibration=learnt(), **ask
    )
    one, other = (d["purchases"].to_numpy() for d in (before, after))
    ratio = np.log(other / one)
    assert ratio.mean() == pytest.approx(np.log(1.2), abs=4 * 0.1 / np.sqrt(4_000))
    assert ratio.std() == pytest.approx(0.1, rel=0.05)
    assert np.corrcoef(ratio, one)[0, 1] == pytest.approx(0, abs=0.06)


def test_groups_share_the_shock(model, customers):
    """Vintages miss the level of all customers at once."""
    ask = {"horizon": 26.0, "draws": 200, "quantities": "purchases"}
    rows = customers.assign(half=customers["customer_id"] % 2)
    narrow = model.purchases.predict_draws(rows, sum_by="half", **ask)["purchases"]
    wide = model.purchases.predict_draws(rows, sum_by="half", recalibration=learnt(), **ask)
    ratio = (wide["purchases"] / narrow).to_numpy()
    np.testing.assert_allclose(ratio[:, 0], ratio[:, 1])


def test_no_correction_changes_no_number(model, customers):
    nothing = learnt(purchases=correction(), value=correction())
    ask = {"horizon": 26.0, "interval": 0.9, "draws": 60}
    plain = model.predict(customers, **ask)
    found = model.predict(customers, recalibration=nothing, **ask)
    pd.testing.assert_frame_equal(found, plain, check_exact=False, rtol=1e-12)
    totals = model.predict_totals(customers, horizon=26.0, draws=60)
    pd.testing.assert_frame_equal(
        model.predict_totals(customers, horizon=26.0, draws=60, recalibration=nothing), totals
    )


def test_what_cannot_be_corrected_is_refused(model, customers):
    with pytest.raises(OptionError, match="single draws cannot be recalibrated"):
        model.predict_draws(customers, horizon=26.0, recalibration=learnt())
    with pytest.raises(OptionError, match="not what is expected"):
        model.p_above(customers, 1.0, of="clv", horizon=26.0, recalibration=learnt())
    with pytest.raises(OptionError, match=r"learnt without amounts.*CLVModel"):
        model.predict(customers, horizon=26.0, recalibration=learnt(value=None))
    with pytest.raises(OptionError, match="must be what"):
        model.predict(customers, horizon=26.0, recalibration=0.9)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "bg/nbd"}, "learnt for bg/nbd.*the model is mbg/nbd"),
        ({"horizon": 13.0}, "the horizon asked for is 26"),
        ({"horizon": 26.6}, "the horizon asked for is 26"),
        ({"time_unit": "D"}, "26 days; the model's time unit is weeks"),
    ],
)
def test_forecasts_of_another_kind_are_refused(model, customers, change, said):
    for ask in (
        lambda r: model.purchases.predict(customers, horizon=26.0, recalibration=r),
        lambda r: model.predict_totals(customers, horizon=26.0, recalibration=r),
        lambda r: model.purchases.score(
            customers, np.zeros(len(customers)), horizon=26.0, recalibration=r
        ),
    ):
        with pytest.raises(OptionError, match=said):
            ask(learnt(**change))


def test_the_remaining_lifetime_is_refused(model, customers):
    with pytest.raises(OptionError, match="horizon"):
        model.predict(customers, horizon=None, recalibration=learnt())


def test_months_are_not_quite_weeks():
    learnt(horizon=26.0).check("mbg/nbd", 26.1, WEEKS)
    with pytest.raises(OptionError, match="not known"):
        learnt().check("mbg/nbd", 26.0, None)


def test_a_record_comes_back():
    for given in (learnt(), learnt(value=None)):
        assert Recalibration.from_record(json.loads(json.dumps(given.record()))) == given


def broken(**change):
    record = json.loads(json.dumps(learnt().record()))
    for path, value in change.items():
        part, _, name = path.partition("__")
        if not name:
            record[part] = value
        else:
            record[part][name] = value
    return record


@pytest.mark.parametrize(
    "record",
    [
        {},
        broken(purchases=None),
        broken(purchases=[1, 2]),
        broken(purchases__curve=[0.0, 0.7, 0.4, 1.0]),
        broken(purchases__curve=[0.1, 1.0]),
        broken(purchases__curve=[]),
        broken(purchases__curve=[0.0, float("nan"), 1.0]),
        broken(purchases__curve="round"),
        broken(purchases__level=0.0),
        broken(purchases__level="high"),
        broken(purchases__level=float("inf")),
        broken(value__spread=-0.1),
        broken(value__spread=float("nan")),
        broken(value__unknown=1.0),
        broken(horizon="long"),
        broken(time_unit="fortnight"),
        broken(vintages=None),
        broken(colour="red"),
    ],
)
def test_a_record_of_something_else_is_refused(record):
    assert Recalibration.from_record(broken()) == learnt()
    with pytest.raises(OptionError):
        Recalibration.from_record(record)
