import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clvpredict.datasets import load_cdnow, simulate_shop
from clvpredict.datasets.voices import SENTENCES
from clvpredict.errors import MissingExtraError, OptionError

REPO = Path(__file__).resolve().parents[1]
COLUMNS = ["customer_id", "date", "quantity", "amount"]


@pytest.fixture(scope="module")
def sample():
    return load_cdnow()


@pytest.fixture(scope="module")
def master():
    return load_cdnow(full=True)


@pytest.mark.parametrize("which", ["sample", "master"])
def test_columns_and_types(which, request):
    frame = request.getfixturevalue(which)
    assert list(frame.columns) == COLUMNS
    assert frame["customer_id"].dtype == "int64"
    assert pd.api.types.is_datetime64_dtype(frame["date"])
    assert frame["quantity"].dtype == "int64"
    assert frame["amount"].dtype == "float64"
    assert not frame.isna().any(axis=None)
    assert frame["date"].min() == pd.Timestamp("1997-01-01")
    assert frame["date"].max() == pd.Timestamp("1998-06-30")


def test_sample_is_the_published_one(sample):
    assert len(sample) == 6_919
    assert sample["customer_id"].nunique() == 2_357
    assert (sample["amount"] == 0).sum() == 8
    first = sample.groupby("customer_id")["date"].min()
    assert first.between("1997-01-01", "1997-03-31").all()
    # First line of the raw file: 00004 0001 19970101 2 29.33
    assert sample.iloc[0].tolist() == [4, pd.Timestamp("1997-01-01"), 2, 29.33]


def test_master_leaves_out_the_header_line(master):
    assert len(master) == 69_659
    assert master["customer_id"].nunique() == 23_570
    assert master["customer_id"].min() == 1
    assert master["customer_id"].max() == 23_570


def test_sample_is_a_subset_of_the_master(sample, master):
    chosen = master[master["customer_id"].isin(sample["customer_id"])]
    pd.testing.assert_frame_equal(
        sample.sort_values(COLUMNS, ignore_index=True),
        chosen.sort_values(COLUMNS, ignore_index=True),
    )


def test_sample_is_what_its_script_makes():
    script = REPO / "scripts" / "make_sample.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_master_without_the_extra_names_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"CDNOW master.*pip install.*\[lifetimes\]"):
        load_cdnow(full=True)


# --- the simulated shop ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop():
    return simulate_shop(seed=3, customers=20_000)


def within(values, truth, errors=4.0):
    """Whether a mean is the truth, as far as its standard error lets one say."""
    values = np.asarray(values, float)
    return abs(values.mean() - truth) < errors * values.std() / np.sqrt(len(values))


def test_equal_seeds_give_equal_shops(shop):
    again = simulate_shop(seed=3, customers=20_000)
    for name in ("transactions", "customers", "channels", "future", "truth"):
        pd.testing.assert_frame_equal(getattr(shop, name), getattr(again, name))
    assert not simulate_shop(seed=4, customers=20).truth.equals(
        simulate_shop(seed=3, customers=20).truth
    )


def test_shop_is_a_log_and_its_customers(shop):
    log, people = shop.transactions, shop.customers.set_index("customer_id")
    assert list(log.columns) == list(shop.future.columns)
    assert not log.isna().any(axis=None)
    assert log["date"].is_monotonic_increasing
    assert log["date"].max() < pd.Timestamp("2025-01-01") <= shop.future["date"].min()
    assert shop.future["date"].max() <= pd.Timestamp("2025-01-01") + pd.Timedelta(weeks=52)
    assert (log["amount"] > 0).all()
    first = log.groupby("customer_id")["date"].min()
    pd.testing.assert_series_equal(first, people["acquired"], check_names=False)
    assert people["acquired"].is_monotonic_increasing
    assert people["acquired"].min() >= pd.Timestamp("2025-01-01") - pd.Timedelta(days=914)
    pd.testing.assert_series_equal(
        log["channel"], log["customer_id"].map(people["channel"]), check_names=False
    )
    asked = people["satisfaction"].notna()
    assert 0.55 < asked.mean() < 0.65
    assert people["satisfaction"].dropna().isin(range(1, 6)).all()
    assert people.loc[~asked, "feedback"].isna().all()
    for score, texts in people.dropna(subset="feedback").groupby("satisfaction")["feedback"]:
        assert set(texts) == set(SENTENCES[int(score)])


def test_shop_has_the_margins_and_costs_it_states(shop):
    channels = shop.channels
    share = 1 - shop.transactions["cost"] / shop.transactions["amount"]
    dear = shop.transactions["amount"] > 5  # whose cents hardly matter
    for channel, found in share[dear].groupby(shop.transactions["channel"]):
        assert within(found, channels.loc[channel, "margin"]), channel
    for channel, people in shop.customers.groupby("channel"):
        assert within(people["cac"], channels.loc[channel, "cac"]), channel
        truth = shop.truth.loc[people["customer_id"]]
        r, alpha, a, b, p, q, v = channels.loc[channel, ["r", "alpha", "a", "b", "p", "q", "v"]]
        assert within(truth["purchase_rate"], r / alpha)
        assert within(truth["dropout_probability"], a / (a + b))
        assert within(truth["mean_order_value"], p * v / (q - 1))
        assert within(shop.customers["channel"] == channel, channels.loc[channel, "share"])
    assert within(shop.customers["campaign"] == "treatment", 0.5)
    lines = shop.transactions.groupby("customer_id")["product_line"]
    repeat = lines.size() > 1
    assert 0.2 < (lines.nunique()[repeat] > 1).mean() < 0.8


def test_acquisitions_grow_as_stated():
    people = simulate_shop(seed=1, customers=50_000, years=2, growth=0.5).customers
    late = people["acquired"] > pd.Timestamp("2025-01-01") - pd.Timedelta(days=365.25)
    assert within(late, 1.5 / 2.5)
    steady = simulate_shop(seed=1, customers=50_000, years=2, growth=0).customers
    assert within(steady["acquired"] > pd.Timestamp("2025-01-01") - pd.Timedelta(days=365.25), 0.5)


def test_truth_is_what_happened(shop):
    treated = shop.customers.set_index("customer_id")["campaign"] == "treatment"
    years = (shop.future["date"] - pd.Timestamp("2025-01-01")) / pd.Timedelta(days=365.25)
    worth = (shop.future["amount"] - shop.future["cost"]) * 1.1**-years
    by = shop.future["customer_id"]
    value = worth.groupby(by).sum().reindex(shop.truth.index, fill_value=0.0)
    np.testing.assert_allclose(shop.truth["value"], value, atol=1e-9)
    counts = by.value_counts().reindex(shop.truth.index, fill_value=0)
    assert (shop.truth["purchases"] == counts).all()
    for name in ("purchases", "value"):
        arms = shop.truth[f"{name}_control"].where(~treated, shop.truth[f"{name}_treated"])
        assert (shop.truth[name] == arms).all()
        assert (shop.truth[f"{name}_treated"] >= shop.truth[f"{name}_control"]).all()
    lost = shop.truth[~shop.truth["alive"]]
    assert not lost[["expected_value", "value_treated", "expected_effect"]].any(axis=None)


def test_futures_are_as_expected_given_the_latent_rates(shop):
    """Realised minus expected, whose mean is 0, in every channel."""
    truth = shop.truth
    channel = shop.customers.set_index("customer_id")["channel"]
    effect = truth["value_treated"] - truth["value_control"]
    for _, ids in channel.groupby(channel).groups.items():
        rows = truth.loc[ids]
        assert within(rows["purchases_control"] - rows["expected_purchases"], 0.0)
        assert within(rows["value_control"] - rows["expected_value"], 0.0)
        assert within(effect[ids] - rows["expected_effect"], 0.0)
    assert effect.mean() > 1.0


def test_without_effect_the_campaign_changes_nothing():
    truth = simulate_shop(seed=2, customers=500, campaign=0).truth
    assert (truth["value_treated"] == truth["value_control"]).all()
    assert not truth["expected_effect"].any()
    forever = simulate_shop(seed=2, customers=5_000, campaign=1, discount_rate=0).truth
    alive = forever[forever["alive"]]
    assert within(alive["purchases_treated"] - 52 * alive["purchase_rate"], 0.0)


def test_value_at_acquisition_against_customers_drawn_one_by_one():
    """Event by event, as the model is told: it shares no code with the package."""
    shop = simulate_shop(seed=0, customers=1, horizon="26W", discount_rate=0.2)
    row = shop.channels.loc["referral"]
    delta, horizon, month = np.log(1.2) / (365.25 / 7), 26.0, 365.25 / 12 / 7
    rng = np.random.default_rng(7)
    count, value, net = [], [], []
    for _ in range(6_000):
        rate = rng.gamma(row["r"], 1 / row["alpha"])
        p = rng.beta(row["a"], row["b"])
        mean = row["p"] / rng.gamma(row["q"], 1 / row["v"])
        time, bought, worth = 0.0, 0, 0.0
        while rng.random() >= p:
            time += rng.exponential(1 / rate)
            if time > horizon:
                break
            bought += 1
            worth += np.exp(-delta * time)
        served = -np.expm1(-delta * min(time, horizon)) / delta / month
        count.append(bought)
        value.append(worth * mean * row["margin"])
        net.append(value[-1] - worth * row["service_cost"] - served * row["cost_to_serve"])
    assert within(count, row["purchases_at_acquisition"])
    assert within(value, row["value_at_acquisition"])
    assert within(net, row["net_value_at_acquisition"])
    assert within(
        np.subtract(value, net), row["value_at_acquisition"] - row["net_value_at_acquisition"]
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"customers": 0}, "customers=0"),
        ({"customers": 2.5}, "whole number"),
        ({"years": 0}, "years=0"),
        ({"growth": -1}, "growth=-1"),
        ({"campaign": 1.5}, "campaign=1.5"),
        ({"horizon": "52X"}, "horizon='52X'"),
        ({"discount_rate": -0.1}, "discount_rate=-0.1"),
    ],
)
def test_shops_that_cannot_be_are_refused(wrong, said):
    with pytest.raises(OptionError, match=said):
        simulate_shop(**wrong)


def test_the_smallest_shop():
    shop = simulate_shop(customers=1)
    assert len(shop.customers) == 1
    assert len(shop.transactions) >= 1
