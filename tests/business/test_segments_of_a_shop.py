"""Segments of a simulated shop, held to its truth."""

import numpy as np
import pandas as pd
import pytest

import clvpredict as clv
from clvpredict.business import (
    join_signals,
    score_feedback,
    segment_customers,
    segment_table,
)
from clvpredict.datasets import simulate_shop
from clvpredict.errors import DataWarning


@pytest.fixture(scope="module")
def shop():
    return simulate_shop(seed=1, customers=1000)


@pytest.fixture(scope="module")
def model_and_customers(shop):
    rfm = clv.rfm_summary(
        shop.transactions,
        observation_end=shop.observation_end,
        time_unit="W",
        currency="EUR",
    )
    rfm = join_signals(rfm, shop.customers, columns=["channel", "cac"])
    model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
    found = model.predict(
        rfm,
        horizon=shop.horizon,
        segment="channel",
        margin=shop.channels["margin"].to_dict(),
        discount_rate=shop.discount_rate,
    )
    found = join_signals(found, shop.customers, columns=["cac"])
    return model, segment_customers(found)


@pytest.mark.reference
def test_what_tiers_bring_is_in_their_intervals(shop, model_and_customers):
    model, customers = model_and_customers
    table = segment_table(model, customers, cac="cac", interval=0.95, draws=200)
    truth = shop.truth.loc[customers["customer_id"]]
    came = truth["value_control"].groupby(customers["segment"].to_numpy(), observed=True).sum()
    real = np.array([*came.reindex(table["segment"].iloc[:-1]), came.sum()])
    assert (table["value_total_pi_lower"] < real).all()
    assert (real < table["value_total_pi_upper"]).all()
    # The tiers foretell who will bring most.
    assert real[0] > real[1] > real[2]
    assert table["cac_total"].iloc[-1] == pytest.approx(shop.customers["cac"].sum())


@pytest.mark.reference
def test_feedback_follows_satisfaction(shop, model_and_customers):
    model, customers = model_and_customers
    scored = score_feedback(shop.customers, text="feedback", per_customer=True)
    both = shop.customers.merge(scored, on="customer_id")[["satisfaction", "sentiment"]]
    # The shop writes its feedback from the satisfaction.
    assert both.corr().iloc[0, 1] > 0.7
    with pytest.warns(DataWarning, match="have no value of 'sentiment'"):
        joined = join_signals(customers, scored, columns=["sentiment"])
    table = segment_table(model, joined, "channel", signals=["sentiment"], interval=None)
    wrote = shop.customers["feedback"].notna().groupby(shop.customers["channel"]).mean()
    coverage = pd.Series(table["sentiment_coverage"].to_numpy()[:-1], table["segment"].iloc[:-1])
    np.testing.assert_allclose(coverage, wrote.reindex(coverage.index))
    # Margins by channel stay in the predictions, so that channels add up too.
    assert table["clv_total"].iloc[:-1].sum() == pytest.approx(customers["clv"].sum(), abs=0.005)
