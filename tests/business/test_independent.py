"""Formulas held to customers simulated here, event by event, from the papers' stories.

MBG/NBD (Batislam, Denizel & Filiztekin 2007): rates λ ~ Gamma(r, α); after every purchase, the
first among them, a customer leaves with a probability p ~ Beta(a, b). BG/NBD (Fader, Hardie & Lee
2005): not after the first. Gamma-Gamma (Fader & Hardie 2013): amounts ~ Gamma(p, ν), ν ~
Gamma(q, v). Nothing here is shared with the package; what is random is compared by z-scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import integrate, stats

import clvpredict as clv
from clvpredict.business import (
    acquisition_table,
    compare_segments,
    customer_equity,
    explain_change,
    payback_curve,
    residual_value,
    scenario,
    segment_table,
)
from clvpredict.errors import DataError, OptionError

# Together they take long; `make slow` runs them.
pytestmark = pytest.mark.slow

Array = npt.NDArray[np.float64]
BUYING = {"r": 0.8, "alpha": 6.0, "a": 0.9, "b": 2.5}
SPENDING = {"p": 6.0, "q": 4.0, "v": 15.0}
YEAR = 365.25 / 7  # weeks
MONTH = YEAR / 12
MARGIN = 0.3
COSTS = {
    "service_cost": 2.5,
    "cost_to_serve": 1.2,
    "marketing_cost": 0.3,
    "retention_cost": 1.0,
    "return_rate": 0.1,
}
ESTIMATORS = {"mbg": clv.MBGNBD, "bg": clv.BGNBD}


def true_model(kind: str = "mbg") -> clv.CLVModel:
    return clv.CLVModel(
        ESTIMATORS[kind].from_params(time_unit="W", **BUYING),
        clv.GammaGamma.from_params(time_unit="W", **SPENDING),
    )


@dataclass
class Lives:
    """Histories up to T, and what comes after it: whose purchase, when, and its amount."""

    rfm: pd.DataFrame
    who: npt.NDArray[np.intp]
    when: Array
    amount: Array
    life: Array

    def per_customer(self, values: Array) -> Array:
        return np.bincount(self.who, values, minlength=len(self.rfm))


def follow(
    T: Array,
    horizon: float,
    seed: int,
    kind: str = "mbg",
    *,
    churn: float = 1.0,
    frequency: float = 1.0,
    order_value: float = 1.0,
) -> Lives:
    """Follow customers from purchase to purchase; factors hold from T on."""
    rng = np.random.default_rng(seed)
    n = len(T)
    rate = rng.gamma(BUYING["r"], 1 / BUYING["alpha"], n)
    leaves = rng.beta(BUYING["a"], BUYING["b"], n)
    price = rng.gamma(SPENDING["q"], 1 / SPENDING["v"], n)
    death = np.where((rng.random(n) < leaves) & (kind == "mbg"), 0.0, np.inf)

    def until(start: Array, end: Array, rate: Array, leaves: Array) -> tuple[Any, Array]:
        now, who, when = start.copy(), [], []
        going = np.flatnonzero(np.isinf(death))
        while len(going):
            now[going] += rng.exponential(1.0, len(going)) / rate[going]
            going = going[now[going] <= end[going]]
            who.append(going)
            when.append(now[going])
            lost = rng.random(len(going)) < leaves[going]
            death[going[lost]] = now[going[lost]]
            going = going[~lost]
        return np.concatenate(who), np.concatenate(when)

    past, before = until(np.zeros(n), T, rate, leaves)
    paid = rng.gamma(SPENDING["p"], 1 / price[past])
    x = np.bincount(past, minlength=n)
    recency = np.zeros(n)
    np.maximum.at(recency, past, before)
    rfm = pd.DataFrame({"customer_id": np.arange(n), "frequency": x, "recency": recency, "T": T})
    rfm["monetary_value"] = np.bincount(past, paid, minlength=n) / np.maximum(x, 1)
    who, when = until(T, T + horizon, rate * frequency, np.minimum(leaves * churn, 1.0))
    amount = order_value * rng.gamma(SPENDING["p"], 1 / price[who])
    life = np.clip(np.where(death < T, 0.0, death - T), 0.0, horizon)
    return Lives(rfm, who, when - T[who], amount, life)


def factor(u: Array, rate: float, monthly: float | None) -> Array:
    """Worth of what is paid at u: of its own moment, or of the end of its month in a horizon."""
    at = u if monthly is None else np.minimum(np.ceil(u / MONTH) * MONTH, monthly)
    return (1.0 + rate) ** (-at / YEAR)


def net_value(
    lives: Lives, horizon: float, rate: float, monthly: float | None = None
) -> tuple[Array, Array]:
    """Value, and net value, of each customer by the definition in the docs of Costs."""
    worth = factor(lives.when, rate, monthly)
    gross = lives.per_customer(worth * lives.amount)
    bought = lives.per_customer(worth)
    # ∫ d(u) du by midpoints, fine enough for steps too.
    edges = np.linspace(0.0, horizon, 4001)
    middle = (edges[1:] + edges[:-1]) / 2
    total = np.append(0.0, np.cumsum(factor(middle, rate, monthly)) * edges[1])
    net = gross * MARGIN * (1.0 - COSTS["return_rate"]) - bought * COSTS["service_cost"]
    net -= COSTS["cost_to_serve"] / MONTH * np.interp(lives.life, edges, total)
    net -= COSTS["marketing_cost"] / MONTH * total[-1] + COSTS["retention_cost"]
    return MARGIN * gross, net


def z(difference: Array) -> float:
    return float(difference.mean() / (difference.std() / np.sqrt(len(difference))))


CHANGES = [
    ("mbg", "continuous", {}),
    ("mbg", "monthly", {"churn": 1.3, "frequency": 0.8, "order_value": 1.2}),
    ("bg", "continuous", {"churn": 0.6, "frequency": 1.5}),
    ("mbg", "none", {"churn": 8.0, "frequency": 1.5}),  # many leave at once
]


@pytest.mark.filterwarnings("ignore:BG/NBD gives P")
@pytest.mark.parametrize(("kind", "discounting", "factors"), CHANGES)
def test_value_and_net_value_of_histories(kind, discounting, factors):
    """Mean of those with no, one and more purchases; for x = 0, the distribution too."""
    horizon, rate = 40.0, 0.0 if discounting == "none" else 0.3
    lives = follow(np.repeat([0.0, 10.0], 20_000), horizon, 1, kind, **factors)
    value, net = net_value(lives, horizon, rate, horizon if discounting == "monthly" else None)
    model = true_model(kind).changed(**{name: f - 1.0 for name, f in factors.items()})
    terms = {
        "horizon": horizon,
        "margin": MARGIN,
        "discount_rate": 0.3,
        "discounting": discounting,
        "costs": clv.Costs(**COSTS),
    }
    table = model.predict(lives.rfm, **terms)
    x, T = lives.rfm["frequency"].to_numpy(), lives.rfm["T"].to_numpy()
    for group in (T == 0, (T > 0) & (x == 0), x == 1, x >= 2):
        assert abs(z(value[group] - table["clv"].to_numpy()[group])) < 4
        assert abs(z(net[group] - table["net_clv"].to_numpy()[group])) < 4
        assert group.sum() > 2000
    group = (T > 0) & (x == 0)
    drawn = model.predict_draws(
        lives.rfm[group].head(1), quantities=["value", "net_value"], draws=10_000, **terms
    )
    for name, came in (("value", value), ("net_value", net)):
        # Rounded: what is the same to a cent is the same.
        own = drawn[name].to_numpy().ravel().round(2)
        assert stats.ks_2samp(came[group].round(2), own).pvalue > 1e-3, name


def test_periods_of_new_customers():
    """Sums of 40 customers by period: means, variances, correlations between periods."""
    count, bases = 40, 1500
    ends = np.array([2.0, 10.0, 25.0, 40.0])
    lives = follow(np.zeros(count * bases), 40.0, 3)
    new = lives.rfm.head(count)
    found = true_model().predict_periods(
        new, ends=ends.tolist(), draws=bases, margin=MARGIN, discount_rate=0.3
    )
    period, base = np.searchsorted(ends, lives.when), lives.who // count
    once = np.unique(np.stack([lives.who, period]), axis=1)
    events = {
        "purchases": (base, period, np.ones(len(base))),
        "value": (base, period, MARGIN * lives.amount * factor(lives.when, 0.3, None)),
        "active": (once[0] // count, once[1], np.ones(once.shape[1])),
    }
    for name, (row, column, values) in events.items():
        came = np.zeros((bases, len(ends)))
        np.add.at(came, (row, column), values)
        own = found[name].transpose("draw", ..., "period").to_numpy().reshape(bases, -1)
        error = np.sqrt((came.var(axis=0) + own.var(axis=0)) / bases)
        assert (np.abs(came.mean(axis=0) - own.mean(axis=0)) < 4 * error).all(), name
        # Four standard errors of a ratio of variances, whose tails are heavier for money.
        wide = 0.35 if name == "value" else 0.18
        np.testing.assert_allclose(own.var(axis=0) / came.var(axis=0), 1.0, atol=wide)
        np.testing.assert_allclose(np.corrcoef(own.T), np.corrcoef(came.T), atol=0.12)


def discounted_new(horizon: float, rate: float) -> float:
    """Discounted purchases of a new MBG/NBD customer, by integrals over p and time."""
    r, alpha, a, b = BUYING.values()
    delta = np.log1p(rate) / YEAR

    def given(p: float) -> float:
        # Purchases come at rate E[λ e^(−λpu)] = r/α (1 + pu/α)^−(r+1) to those who stayed.
        def flow(u: float) -> float:
            return float(np.exp(-delta * u) * r / alpha * (1 + p * u / alpha) ** (-r - 1))

        return integrate.quad(flow, 0, horizon)[0]

    weight = stats.beta(a, b + 1)  # those left by the chance after the first purchase
    return b / (a + b) * integrate.quad(lambda p: weight.pdf(p) * given(p), 0, 1)[0]


def test_value_at_acquisition_by_quadrature():
    mean = SPENDING["p"] * SPENDING["v"] / (SPENDING["q"] - 1)
    curve = payback_curve(
        true_model(), horizon="52W", margin=MARGIN, every="13W", cac=12.0, draws=2
    )
    for _, line in curve.iterrows():
        exact = MARGIN * mean * (1.0 + discounted_new(line["time"], 0.1))
        assert line["margin"] == pytest.approx(exact, rel=1e-6)
    row = acquisition_table(true_model(), horizon="52W", margin=MARGIN, cac=12.0, draws=2).iloc[0]
    at = row["payback"]
    assert MARGIN * mean * (1.0 + discounted_new(at, 0.1)) == pytest.approx(12.0, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("costs", [None, clv.Costs(**COSTS)], ids=["margin", "net"])
def test_single_new_customers_and_their_cac(costs):
    """The first purchase is as random as the others, and of the same customer's spend."""
    horizon, n = 104.0, 30_000
    lives = follow(np.zeros(n), horizon, 12)
    value, net = net_value(lives, horizon, 0.1)
    # What a first purchase is, given this customer's later ones: ν | x, Σ ~ Gamma(q + px, v + Σ).
    rng = np.random.default_rng(13)
    x, total = np.bincount(lives.who, minlength=n), lives.per_customer(lives.amount)
    shape = SPENDING["q"] + SPENDING["p"] * x
    first = rng.gamma(SPENDING["p"], 1.0, n) / rng.gamma(shape) * (SPENDING["v"] + total)
    kept = 1.0 if costs is None else 1.0 - COSTS["return_rate"]
    came = value if costs is None else net - COSTS["service_cost"]
    came = came + MARGIN * kept * first
    for cac in (8.0, 25.0):
        row = acquisition_table(
            true_model(), horizon=horizon, cac=cac, margin=MARGIN, costs=costs, interval=0.8
        ).iloc[0]
        # 10,000 customers there.
        assert row["p_value_above_cac"] == pytest.approx((came > cac).mean(), abs=0.02)
    assert abs(z(came - row["value_at_acquisition"])) < 4
    outside = (came < row["realised_pi_lower"]).mean(), (came > row["realised_pi_upper"]).mean()
    assert outside == pytest.approx((0.1, 0.1), abs=0.015)


def test_equity_of_a_plan():
    """New customers of a plan: the sum of 200 of them, simulated 400 times."""
    count, bases, after = 200, 400, 13.0
    model, costs = true_model(), clv.Costs(**COSTS)
    history = follow(np.full(50, 20.0), 1.0, 5).rfm
    table = model.predict(history, horizon=40.0, margin=MARGIN, costs=costs, discount_rate=0.3)
    plan = pd.DataFrame({"after": [after], "customers": [count], "cac": [9.0]})
    found = customer_equity(model, table, acquisitions=plan, draws=1000, interval=0.8).iloc[1]
    _, net = net_value(follow(np.zeros(count * bases), 40.0 - after, 8), 40.0 - after, 0.3)
    mean = SPENDING["p"] * SPENDING["v"] / (SPENDING["q"] - 1)
    first = mean * MARGIN * (1.0 - COSTS["return_rate"]) - COSTS["service_cost"]
    came = factor(np.array(after), 0.3, None) * (
        net.reshape(bases, count).sum(axis=1) + count * (first - 9.0)
    )
    assert abs(z(came - found["value"])) < 4
    inside = ((came > found["value_pi_lower"]) & (came < found["value_pi_upper"])).mean()
    assert inside == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / bases) + 0.02)


@pytest.fixture(scope="module")
def fitted(cdnow_rfm: pd.DataFrame) -> clv.CLVModel:
    return clv.CLVModel(clv.MBGNBD()).fit(cdnow_rfm)


@pytest.fixture(scope="module")
def table(fitted: clv.CLVModel, cdnow_rfm: pd.DataFrame) -> pd.DataFrame:
    found = fitted.predict(
        cdnow_rfm.head(400), horizon="52W", margin=MARGIN, costs=clv.Costs(**COSTS)
    )
    found["channel"] = np.where(found["customer_id"] % 3 == 0, "x", "y")
    return found


def test_segments_are_sums_of_single_customers(fitted, table):
    """Intervals from every customer's own draws, added up and cut here."""
    terms = {"horizon": "52W", "margin": MARGIN, "costs": clv.Costs(**COSTS), "draws": 200}
    single = fitted.predict_draws(table, quantities=["clv", "net_clv"], **terms)
    rows = segment_table(fitted, table, by="channel", draws=200).set_index("segment")
    x = (table["channel"] == "x").to_numpy()
    for name in ("clv", "net_clv"):
        draws = single[name].to_numpy()
        for segment, members in (("x", x), ("y", ~x), ("Total", np.ones(len(x), bool))):
            ordered = np.sort(draws[:, members].sum(axis=1))
            for end, level in (("lower", 0.05), ("upper", 0.95)):
                own = rows.loc[segment, f"{name}_total_{end}"]
                # Quantiles that are draws: one rank either way, whatever the convention. What
                # alive customers do is interpolated, by draw: to some digits only.
                near = ordered[[int(200 * level) - 1, min(int(200 * level), 199)]]
                assert near[0] - abs(near[0]) * 1e-3 <= own <= near[1] + abs(near[1]) * 1e-3
        pair = compare_segments(fitted, table, by="channel", of=name, draws=200).iloc[0]
        difference = draws[:, x].mean(axis=1) - draws[:, ~x].mean(axis=1)
        assert pair["difference"] == pytest.approx(
            table.loc[x, name].mean() - table.loc[~x, name].mean(), rel=1e-9
        )
        assert pair["p_greater"] == pytest.approx((difference > 0).mean(), abs=0.011)


@pytest.mark.parametrize("of", ["clv", "expected_purchases"])
def test_each_part_of_a_change_by_hand(cdnow, of):
    asked: list[Any] = []
    for day in ("1997-03-20", "1997-09-30"):
        rfm = clv.rfm_summary(cdnow, observation_end=day, time_unit="W")
        if asked:  # some are gone
            rfm = rfm[rfm["customer_id"] % 7 != 0]
        model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
        found = model.predict(rfm, horizon="52W", margin=MARGIN)
        often = found["frequency"].clip(upper=2)
        asked += [model, found.assign(often=often.map({0: "none", 1: "one", 2: "more"}))]
    model, before, _, after = asked
    parts = explain_change(*asked, by="often", of=of, interval=None)
    parts = parts.set_index(["segment", "part"])["value"]
    old, new = before.set_index("customer_id"), after.set_index("customer_id")
    both = new.index.intersection(old.index)
    again = model.predict(after[after["customer_id"].isin(both)], horizon="52W", margin=MARGIN)
    again = again.set_index("customer_id")[of].loc[both]
    was, now = old["often"].loc[both], new["often"].loc[both]
    moved = was != now
    assert moved.sum() > 50
    for segment in ("all", "none", "one", "more"):
        in_old, in_new = ((t["often"] == segment) | (segment == "all") for t in (old, new))
        here = (now == segment) | (segment == "all")
        there = (was == segment) | (segment == "all")
        expected = {
            "before": old.loc[in_old, of].sum(),
            "new customers": new.loc[in_new & ~new.index.isin(both), of].sum(),
            "customers gone": -old.loc[in_old & ~old.index.isin(both), of].sum(),
            "moved in": old[of].loc[both][here & moved].sum(),
            "moved out": -old[of].loc[both][there & moved].sum(),
            "behaviour": (again - old[of].loc[both])[here].sum(),
            "parameters": (new[of].loc[both] - again)[here].sum(),
            "after": new.loc[in_new, of].sum(),
        }
        for part, value in expected.items():
            assert parts[segment, part] == pytest.approx(value, rel=1e-9, abs=1e-6), part
        ends = expected.pop("after")
        assert sum(expected.values()) == pytest.approx(ends, rel=1e-9)


def test_days_and_weeks_agree(cdnow, fitted, table):
    days = clv.rfm_summary(cdnow, observation_end="1997-09-30", time_unit="D")
    other = clv.CLVModel(clv.MBGNBD()).fit(days)
    terms = {"horizon": "52W", "margin": MARGIN, "costs": clv.Costs(**COSTS)}
    own = other.predict(days.head(400), **terms)
    np.testing.assert_allclose(own["net_clv"], table["net_clv"], rtol=1e-8)
    plan = pd.DataFrame({"after": ["13W"], "customers": [20], "cac": [5.0]})
    for ask in (
        lambda m, t: scenario(
            m, t, churn=-0.1, frequency=0.2, predictive=False, terms={"draws": 50}
        )["change_lower"],
        lambda m, t: customer_equity(m, t, acquisitions=plan, draws=50)[["value", "spent"]],
        lambda m, t: residual_value(m, t)[["at_acquisition", "surplus"]],
    ):
        np.testing.assert_allclose(ask(other, own), ask(fitted, table), rtol=1e-6)


# --- what was found wrong once ----------------------------------------------------------------


def test_two_parts_of_a_base_do_not_share_their_luck():
    """Who changes and who does not have luck of their own: two halves, equal to the row."""
    model = true_model()
    some = follow(np.full(80, 30.0), 1.0, 6).rfm
    both = pd.concat([some, some], ignore_index=True).assign(customer_id=range(160))
    both["half"] = np.repeat(["a", "b"], 80)
    terms = {"margin": MARGIN, "draws": 2000}
    asked = {"horizon": 52.0, "frequency": 1e-6, "terms": terms}
    whole = scenario(model, both, **asked)
    half = scenario(model, both, segment={"half": "a"}, **asked)
    for name in ("purchases", "value"):
        width = [
            found.loc[("all", name), "then_upper"] - found.loc[("all", name), "then_lower"]
            for found in (whole, half)
        ]
        # It was 1.2 times as wide.
        assert width[1] == pytest.approx(width[0], rel=0.1), name


def test_what_is_paid_once_is_paid_at_the_start(fitted):
    costs = clv.Costs(retention_cost=5.0)
    terms: dict[str, Any] = {"margin": MARGIN, "costs": costs, "draws": 2}
    curve = payback_curve(fitted, horizon="1W", every=0.125, **terms)
    assert curve["margin"].iloc[0] == pytest.approx(curve["margin"].iloc[1], abs=0.1)
    first = acquisition_table(fitted, horizon="26W", margin=MARGIN, draws=2).iloc[0]
    cac = first["first_purchase"] - 2.5
    # The first purchase pays the CAC, but not the CAC and the offer.
    assert acquisition_table(fitted, horizon="52W", cac=cac, **terms).iloc[0]["payback"] > 0


def test_without_a_first_purchase_nothing_is_served(fitted, table):
    costs = clv.Costs(service_cost=2.0)
    plan = pd.DataFrame({"after": [0.0], "customers": [1], "first_purchase": [0.0]})
    asked = fitted.predict(table.head(5), horizon="52W", margin=MARGIN, costs=costs)
    equity = customer_equity(fitted, asked, acquisitions=plan, draws=5).iloc[1]
    one = acquisition_table(
        fitted, horizon="52W", margin=MARGIN, costs=costs, first_purchase=0.0, draws=5
    ).iloc[0]
    assert equity["value"] == pytest.approx(one["value_at_acquisition"], rel=1e-9)


def test_residual_value_of_margins_that_differ(fitted, table):
    """It needs no margin of a new customer, nor a discount."""
    plain = residual_value(fitted, fitted.predict(table, horizon="52W", margin=0.3))
    by_channel = fitted.predict(
        table,
        horizon="52W",
        margin={"x": 0.3, "y": 0.6},
        segment="channel",
        discounting="lifetimes",
        costs=clv.Costs(service_cost={"x": 1.0, "y": 2.0}),
    )
    found = residual_value(fitted, by_channel)
    twice = np.where(by_channel["channel"] == "y", 2.0, 1.0)
    for name in ("realised", "residual", "at_acquisition", "surplus"):
        np.testing.assert_allclose(found[name], twice * plain[name], rtol=1e-9)


def test_columns_that_are_there_twice(fitted, table):
    twice = pd.concat([table, table[["channel"]]], axis=1)
    twice.attrs = table.attrs
    for ask in (
        lambda: scenario(fitted, twice, churn=-0.1, by="channel"),
        lambda: segment_table(fitted, twice, by="channel"),
        lambda: fitted.predict_totals(twice, horizon="52W", by="channel"),
    ):
        with pytest.raises(OptionError, match="of which there are 2"):
            ask()
    again = pd.concat([table, table[["frequency"]]], axis=1)
    with pytest.raises(DataError, match="more than once: frequency"):
        fitted.predict(again, horizon="52W")
