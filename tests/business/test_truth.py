"""On the simulated shop, whose truth is known, intervals hold their level.

Hits are counted over independent trials (channels of shops of several seeds) and held to the
binomial distribution: all counts that a right interval has with a probability of 99.9 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import clvpredict as clv
from clvpredict.business import cohort_table, compare_segments, evaluate_uplift, segment_table
from clvpredict.business.acquisition import acquisition_table
from clvpredict.datasets import Shop, simulate_shop

LEVEL = 0.9
PURCHASES, SPEND = ("r", "alpha", "a", "b"), ("p", "q", "v")
Hits = list[tuple[str, bool]]


def held(hits: Iterable[tuple[str, bool]], level: float = LEVEL) -> pd.DataFrame:
    """Hits and trials of each quantity, and whether they are those of right intervals."""
    table = pd.DataFrame(hits, columns=["of", "hit"]).groupby("of")["hit"].agg(["sum", "size"])
    low, high = stats.binom.interval(0.999, table["size"], level)
    return table.assign(low=low, high=high, held=table["sum"].between(low, high))


def inside(row: pd.Series, name: str, truth: float) -> bool:
    return bool(row[f"{name}_lower"] <= truth <= row[f"{name}_upper"])


def channels(
    seed: int, customers: int, only: str | None = None
) -> Iterator[tuple[Shop, str, pd.DataFrame, clv.CLVModel]]:
    """The summary of each channel, and a model fitted on it; nobody is treated."""
    shop = simulate_shop(seed=seed, customers=customers, campaign=0.0, horizon="365D")
    for channel, log in shop.transactions.groupby("channel"):
        if only not in (None, channel):
            continue
        rfm = clv.rfm_summary(
            log, observation_end=shop.observation_end, time_unit="W", collapse="h"
        )
        countries = shop.customers.set_index("customer_id")["country"]
        rfm["country"] = rfm["customer_id"].map(countries)
        yield shop, str(channel), rfm, clv.CLVModel(clv.MBGNBD(), clv.GammaGamma()).fit(rfm)


def true_model(shop: Shop, channel: str) -> clv.CLVModel:
    row = shop.channels.loc[channel]
    return clv.CLVModel(
        clv.MBGNBD.from_params(time_unit="W", **row[list(PURCHASES)]),
        clv.GammaGamma.from_params(time_unit="W", **row[list(SPEND)]),
    )


def totals(seed: int, customers: int, draws: int = 100) -> Hits:
    """Parameters; totals under the true parameters; totals that came."""
    hits = []
    for shop, channel, rfm, model in channels(seed, customers):
        terms = {"horizon": "365D", "margin": float(shop.channels.loc[channel, "margin"])}
        table = model.summary(LEVEL).droplevel("model")
        hits += [
            (name, bool(row["lower"] <= shop.channels.loc[channel, name] <= row["upper"]))
            for name, row in table.iterrows()
        ]
        total = model.predict_totals(rfm, interval=LEVEL, draws=draws, **terms).loc["all"]
        right = true_model(shop, channel).predict(rfm, **terms)
        came = shop.truth.loc[rfm["customer_id"]]
        hits += [
            (name, inside(total, name, right[name].sum())) for name in ("expected_purchases", "clv")
        ]
        hits += [
            (f"{name} that came", inside(total, f"{name}_pi", came[name].sum()))
            for name in ("purchases", "value")
        ]
    return hits


def segments(seed: int, customers: int) -> Hits:
    """Segments of one channel by country, which means nothing for what is bought."""
    hits = []
    shop, channel, rfm, model = next(channels(seed, customers, "search"))
    margin = float(shop.channels.loc[channel, "margin"])
    predictions = model.predict(rfm, horizon="365D", margin=margin)
    predictions["country"] = rfm["country"]
    right = true_model(shop, channel).predict(rfm, horizon="365D", margin=margin)
    table = segment_table(model, predictions, by="country", interval=LEVEL, draws=100)
    assert table["clv_total"].iloc[:-1].sum() == pytest.approx(predictions["clv"].sum(), abs=1e-6)
    came = shop.truth.loc[rfm["customer_id"]].set_index(rfm.index)
    rows = table.set_index("segment")
    # Of one country: what the parameters leave open, countries share.
    mine = rfm["country"] == "FR"
    hits.append(("clv_total", inside(rows.loc["FR"], "clv_total", right.loc[mine, "clv"].sum())))
    for name, of in (("value_total", "value"), ("purchases_total", "purchases")):
        hits.append((name, inside(rows.loc["FR"], f"{name}_pi", came.loc[mine, of].sum())))
    pair = compare_segments(
        model, predictions, by="country", of="value", against="DE", interval=LEVEL, draws=100
    )
    pair = pair[(pair["a"] == "FR") | (pair["b"] == "FR")].iloc[0]
    means = came["value"].groupby(rfm["country"]).mean()
    hits.append(("difference", inside(pair, "difference", means[pair["a"]] - means[pair["b"]])))
    return hits


def cohorts(seed: int, customers: int) -> Hits:
    """The year after, of the customers acquired in each year."""
    hits = []
    shop, channel, _, model = next(
        part for part in channels(seed, customers) if part[1] == "search"
    )
    log = shop.transactions[shop.transactions["channel"] == channel]
    later = pd.concat([log, shop.future[shop.future["channel"] == channel]])
    end, year = shop.observation_end, shop.observation_end + pd.DateOffset(years=1)
    options = {"by": "Y", "collapse": "h"}
    guess = cohort_table(log, model=model, observation_end=end, draws=100, max_age=3, **options)
    came = cohort_table(later, observation_end=year, max_age=3, **options)
    both = guess.merge(came, on=["cohort", "age"], suffixes=("", "_came"))
    both = both[both["forecast"] & (both["period"].dt.year == year.year)]
    assert len(both) == 3
    # Of one cohort: what the parameters leave open, cohorts share.
    row = both[both["cohort"].dt.year == 2023].iloc[0]
    for name in ("retention", "orders_per_customer", "cumulative_revenue"):
        # Counts: what lies on an end is inside, whatever rounding does.
        slack = 1e-9 * row[f"{name}_came"]
        low, high = row[f"{name}_pi_lower"] - slack, row[f"{name}_pi_upper"] + slack
        hits.append((name, bool(low <= row[f"{name}_came"] <= high)))
    return hits


def offers(shop: Shop, channel: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """What is asked of a new customer, before and after costs: its name in the truth, and how."""
    truth = shop.channels.loc[channel]
    costs = clv.Costs(
        service_cost=float(truth["service_cost"]),
        cost_to_serve=float(truth["cost_to_serve"]),
        period="M",
    )
    terms = {"horizon": "365D", "margin": float(truth["margin"]), "first_purchase": 0.0}
    for of, given in (("value", None), ("net_value", costs)):
        yield of, {"costs": given, "target_payback": "6M"}, terms


def acquisition(seed: int, customers: int) -> Hits:
    """What a new customer is worth."""
    hits = []
    for shop, channel, _, model in channels(seed, customers):
        for of, given, terms in offers(shop, channel):
            found = acquisition_table(model, interval=LEVEL, draws=100, **given, **terms).iloc[0]
            truth = shop.channels.loc[channel, f"{of}_at_acquisition"]
            hits.append((of, inside(found, "value_at_acquisition", truth)))
    return hits


def what_if(seed: int, customers: int) -> Hits:
    """The change that a lower churn would make, by the true parameters."""
    hits = []
    for shop, channel, rfm, model in channels(seed, customers):
        terms = {"horizon": "365D", "margin": float(shop.channels.loc[channel, "margin"])}
        table = model.predict(rfm, **terms)
        asked = {"churn": -0.2, "interval": LEVEL, "predictive": False, "terms": {"draws": 100}}
        found = clv.scenario(model, table, **asked).loc["all"]
        right = true_model(shop, channel)
        now, then = right.predict(rfm, **terms), right.changed(churn=-0.2).predict(rfm, **terms)
        hits += [
            (name, inside(found.loc[name], "change", (then[name] - now[name]).sum()))
            for name in ("expected_purchases", "clv")
        ]
    return hits


STUDIES: tuple[Callable[[int, int], Hits], ...] = (
    totals,
    segments,
    cohorts,
    acquisition,
    what_if,
)


def test_a_lower_churn_is_what_the_campaign_does() -> None:
    """Given their histories, what true rates say of those treated is what the model implies."""
    shop = simulate_shop(seed=3, customers=4000, campaign=0.5, horizon="365D")
    gap = []
    for channel, log in shop.transactions.groupby("channel"):
        rfm = clv.rfm_summary(
            log, observation_end=shop.observation_end, time_unit="W", collapse="h"
        )
        right = true_model(shop, str(channel))
        terms = {"horizon": "365D", "margin": float(shop.channels.loc[str(channel), "margin"])}
        now, then = right.predict(rfm, **terms), right.changed(churn=-0.5).predict(rfm, **terms)
        effect = shop.truth.loc[rfm["customer_id"], "expected_effect"].to_numpy()
        gap.append((then["clv"] - now["clv"]).to_numpy() - effect)
    every = np.concatenate(gap)
    assert abs(every.mean()) < 4 * every.std() / np.sqrt(len(every))
    # And the effect is no small one beside that.
    assert shop.truth["expected_effect"].mean() > 20 * every.std() / np.sqrt(len(every))


@pytest.mark.slow
def test_totals_of_channels_on_two_shops() -> None:
    found = held([hit for seed in range(2) for hit in totals(seed, 2000, draws=60)])
    assert found["held"].all(), found


def test_value_at_acquisition_under_the_true_parameters() -> None:
    shop = simulate_shop(customers=1, horizon="365D")
    for channel in shop.channels.index:
        for of, given, terms in offers(shop, channel):
            row = acquisition_table(true_model(shop, channel), draws=2, **given, **terms).iloc[0]
            truth = shop.channels.loc[channel, f"{of}_at_acquisition"]
            assert row["value_at_acquisition"] == pytest.approx(truth, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.__name__)
def test_intervals_hold_their_level(study: Callable[[int, int], Hits]) -> None:
    shops = 20 if study in (segments, cohorts) else 4 if study is what_if else 8
    found = held([hit for seed in range(shops) for hit in study(100 + seed, 5000)])
    assert found["held"].all(), found


# --- the campaign ----------------------------------------------------------------------------


def campaign(seed: int, effect: float, customers: int = 2000) -> pd.DataFrame:
    """The estimates of a campaign, with the model's prediction as covariate."""
    shop = simulate_shop(seed=seed, customers=customers, campaign=effect)
    rfm = clv.rfm_summary(shop.transactions, observation_end=shop.observation_end, time_unit="W")
    model = clv.CLVModel(clv.MBGNBD(), clv.GammaGamma()).fit(rfm)
    data = shop.customers[["customer_id", "channel", "campaign"]].assign(
        value=shop.truth["value"].to_numpy(),
        clv=model.predict(rfm, horizon="52W", margin=0.3)["clv"].to_numpy(),
    )
    table = evaluate_uplift(
        data,
        treatment="campaign",
        control="control",
        segment="channel",
        covariate="clv",
        interval=0.95,
    )
    return table.set_index(["method", table.columns[0]])


def true_effects(effect: float) -> pd.Series:
    """Mean effect on a customer of each channel: of many, whose expectations are known."""
    shop = simulate_shop(seed=999, customers=50_000, campaign=effect)
    expected = shop.truth["expected_effect"].to_numpy()
    return pd.Series(expected).groupby(shop.customers["channel"]).mean()


def test_the_campaign_is_found_where_there_are_enough_customers() -> None:
    table = campaign(3, 0.8, customers=5_000)
    cuped = table.loc["CUPED"]
    truth = true_effects(0.8)
    total = cuped.iloc[-1]
    assert total["effect_lower"] > 0
    weights = simulate_shop(customers=1).channels["share"]
    assert inside(total, "effect", float((truth * weights).sum()))
    assert (cuped["variance_reduction"] > 0.2).all()


@pytest.mark.slow
@pytest.mark.parametrize("effect", [0.0, 0.5])
def test_intervals_of_the_campaign_hold_their_level(effect: float) -> None:
    truth = true_effects(effect)
    hits = []
    for seed in range(20):
        table = campaign(2000 + seed, effect)
        for (method, segment), row in table.iterrows():
            if segment in truth.index:
                hits.append((str(method), inside(row, "effect", truth[segment])))
    found = held(hits, level=0.95)
    assert found["held"].all(), found


def test_satisfaction_says_who_stays() -> None:
    """What customers say goes with what is true of them, as signals should."""
    shop = simulate_shop(seed=1, customers=4000)
    said = shop.customers.set_index("customer_id")["satisfaction"].dropna()
    lost = shop.truth.loc[said.index, "dropout_probability"]
    rank = stats.spearmanr(said, lost).statistic
    assert -0.9 < rank < -0.5
