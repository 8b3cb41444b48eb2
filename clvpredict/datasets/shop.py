"""A simulated shop whose truth is known: channels, margins, costs, a campaign, and the future."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.datasets.voices import SENTENCES
from clvpredict.errors import OptionError
from clvpredict.models.base import NEW_CUSTOMER, uniform_times
from clvpredict.models.gamma_gamma import GammaGammaModel
from clvpredict.models.mbg_nbd import MBGNBDModel
from clvpredict.options import TimeUnit, continuous_rate
from clvpredict.rfm import Array, SpendHistories
from clvpredict.special import gauss_legendre

WEEK = TimeUnit.parse("W")
_WEEKS_PER_MONTH = TimeUnit.parse("M").days / WEEK.days
#: What is true of the channels; time in weeks, money in euros.
_CHANNELS = pd.DataFrame(
    {
        "channel": ["search", "social", "referral", "marketplace"],
        "share": [0.35, 0.25, 0.15, 0.25],
        "r": [1.0, 1.0, 1.4, 1.2],
        "alpha": [9.0, 10.0, 10.0, 8.0],
        "a": [0.9, 1.2, 0.8, 1.0],
        "b": [4.1, 2.8, 6.0, 4.0],
        "p": [2.0, 2.0, 2.5, 2.0],
        "q": [5.0, 5.0, 5.0, 6.0],
        "v": [96.0, 64.0, 96.0, 100.0],
        "margin": [0.35, 0.40, 0.35, 0.18],
        "cac": [24.0, 30.0, 12.0, 6.0],
        "service_cost": [3.0, 2.5, 3.0, 2.0],
        "cost_to_serve": [0.40, 0.40, 0.30, 0.20],
    }
)
_COUNTRIES = (("DE", 0.5), ("FR", 0.25), ("NL", 0.15), ("AT", 0.1))
_LINES = ("home", "garden", "kitchen")
#: Share of orders that are of the customer's favourite line; the rest spreads over the others.
_FAVOURITE = 0.75
#: How far an order's margin may lie from its channel's, either way.
_MARGIN_SPREAD = 0.05
#: How far a customer's acquisition cost may lie from its channel's, as a share of it.
_CAC_SPREAD = 0.2
_ANSWERED, _WROTE = 0.6, 0.5


@dataclass(frozen=True)
class Shop:
    """A simulated shop: what its owner sees, and what is true of it.

    Money is in euros. Value is margin (amount − cost of goods), discounted to the end of
    observation as ``predict`` does by default; service and serving costs are not in it.

    Parameters
    ----------
    transactions : DataFrame
        What the owner sees: `customer_id`, `date` (exact moment, ascending), `amount`, `cost`
        (of the goods, so that amount − cost is the order's margin), `channel`,
        `product_line`. First purchases included.
    customers : DataFrame
        One row each: `customer_id` (1 ... n in the order of acquisition), `channel`, `country`,
        `acquired` (moment of the first purchase), `cac` (what the customer cost to acquire),
        `campaign` (``"treatment"`` or ``"control"``, by a fair coin, of the retention campaign
        that starts when observation ends), `satisfaction` (1 ... 5, missing for those who were
        not asked) and `feedback` (English text, missing for those who wrote none).
    channels : DataFrame
        One row each, by index `channel`. `share` of customers; true parameters of MBG/NBD `r`,
        `alpha` (weeks), `a`, `b` and of Gamma-Gamma `p`, `q`, `v` (euros); `margin` (expected
        share of an amount); `cac`; `service_cost` (per order), `cost_to_serve` (per month while
        the customer is alive). Computed from these, for a customer just acquired, over the
        ``horizon`` from then, without the first order: `purchases_at_acquisition`,
        `value_at_acquisition` and `net_value_at_acquisition` (less service and serving costs).
    future : DataFrame
        Transactions of the ``horizon`` after observation, as they happened, campaign included;
        columns as in ``transactions``.
    truth : DataFrame
        One row per customer, by index `customer_id`. Drawn: `purchase_rate` (per week),
        `dropout_probability` (after each purchase), `spend_rate` and `mean_order_value` of the
        customer, `alive` when observation ends. Expected over the horizon given these:
        `expected_purchases` and `expected_value` without the campaign, `expected_effect` on
        value of being treated. Realised: `purchases_control`, `purchases_treated`,
        `value_control`, `value_treated` (of the same customer without and with the
        campaign) and `purchases`, `value` (as happened; they are those of ``future``).
    observation_end : Timestamp
        The last day of ``transactions``, whole.
    horizon : float
        Weeks that ``future`` and ``truth`` look ahead.
    discount_rate : float
        A year, effective.
    """

    transactions: pd.DataFrame
    customers: pd.DataFrame
    channels: pd.DataFrame
    future: pd.DataFrame
    truth: pd.DataFrame
    observation_end: pd.Timestamp
    horizon: float
    discount_rate: float


def simulate_shop(
    seed: int = 0,
    customers: int = 2000,
    *,
    observation_end: str = "2024-12-31",
    years: float = 2.5,
    growth: float = 0.3,
    horizon: float | str | timedelta = "52W",
    discount_rate: float = 0.1,
    campaign: float = 0.5,
) -> Shop:
    """Simulate a shop with channels, margins, costs and a campaign, whose truth is known.

    Customers of each channel buy as MBG/NBD says (a customer may be lost after every purchase,
    the first one too) and spend as Gamma-Gamma says, independently. In weeks and euros:

    =========== ===== ==== ===== ==== ==== ==== ==== ==== ====== ==== ======= =============
    channel     share r    alpha a    b    p    q    v    margin CAC  service to serve
                                                                      (order) (month)
    =========== ===== ==== ===== ==== ==== ==== ==== ==== ====== ==== ======= =============
    search      35 %  1.0  9     0.9  4.1  2.0  5    96   35 %   24   3.00    0.40
    social      25 %  1.0  10    1.2  2.8  2.0  5    64   40 %   30   2.50    0.40
    referral    15 %  1.4  10    0.8  6.0  2.5  5    96   35 %   12   3.00    0.30
    marketplace 25 %  1.2  8     1.0  4.0  2.0  6    100  18 %   6    2.00    0.20
    =========== ===== ==== ===== ==== ==== ==== ==== ==== ====== ==== ======= =============

    An order's margin lies within 5 percentage points of its channel's, evenly. A customer's CAC
    lies within 20 % of its channel's. Three in four orders are of a product line that is the
    customer's favourite. Country, campaign and favourite line mean nothing for purchases. The
    less likely a customer is to be lost, the more satisfied (noisily); feedback follows
    satisfaction.

    Parameters
    ----------
    seed : int
        Equal seeds give equal shops.
    customers : int
        Acquired until the end of observation.
    observation_end : str
        The last day that is observed.
    years : float
        Over which customers were acquired.
    growth : float
        How much faster customers come after a year: 0.3 is 30 % a year.
    horizon : float, str or timedelta
        How far the truth looks ahead: weeks, or such as ``"52W"``, ``"12M"``.
    discount_rate : float
        Annual and effective, as in ``predict``.
    campaign : float
        What the retention campaign does to those treated: it lowers the probability of being
        lost after a purchase by this share, from the end of observation on. 0 is no effect.

    Returns
    -------
    Shop
        Frames; see its documentation.

    Raises
    ------
    OptionError
        If a number is out of range.

    Notes
    -----
    Dates are exact moments. :func:`clvpredict.rfm_summary` counts a customer's purchases of one
    day once; with ``collapse="h"`` next to none are put together.

    With rate λ and dropout probability p, a customer who is alive expects
    (1 − exp(−λpt)) / p purchases within t, and λ (1 − exp(−(λp + δ)t)) / (λp + δ) discounted at
    the continuous rate δ. Treated, p is p·(1 − campaign). Both realised futures of a customer
    share the moments and amounts that the customer would have without dropout and the luck of
    staying, so they differ by the campaign alone.

    Examples
    --------
    >>> from clvpredict.datasets import simulate_shop
    >>> shop = simulate_shop(seed=1, customers=500)
    >>> shop.channels.loc["referral", ["r", "alpha", "cac"]].tolist()
    [1.4, 10.0, 12.0]
    >>> shop.transactions["customer_id"].nunique()
    500
    """
    _check(customers, years, growth, campaign)
    ahead = WEEK.periods(horizon)
    delta = continuous_rate(discount_rate, WEEK)
    last_day = pd.Timestamp(observation_end).normalize()
    rng = np.random.default_rng(seed)
    channels = _at_acquisition(_CHANNELS.set_index("channel"), ahead, delta)

    age = _ages(customers, years, growth, rng)
    place = rng.choice(len(channels), customers, p=channels["share"])
    own = {str(name): channels[name].to_numpy()[place] for name in channels}
    names = channels.index.to_numpy()[place]
    buyers = _purchases(own, age, ahead, campaign, rng)
    since_end = buyers.time - age[buyers.customer]
    orders, spend = _orders(buyers, own, rng)
    orders.insert(1, "date", _moments(since_end, last_day))
    orders.insert(4, "channel", names[buyers.customer])

    treated = rng.random(customers) < 0.5
    margin = (orders["amount"] - orders["cost"]).to_numpy()
    value = margin * np.exp(-delta * np.maximum(since_end, 0.0))
    truth = {**buyers.latent, **spend}
    truth |= _expected(truth, own["margin"], ahead, delta, campaign)
    after = since_end > 0
    happened = {"control": after & buyers.kept_control, "treated": after & buyers.kept_treated}
    for name, kept in happened.items():
        who = buyers.customer[kept]
        truth[f"purchases_{name}"] = np.bincount(who, minlength=customers)
        truth[f"value_{name}"] = np.bincount(who, value[kept], minlength=customers)
    for name in ("purchases", "value"):
        truth[name] = np.where(treated, truth[f"{name}_treated"], truth[f"{name}_control"])
    as_happened = np.where(treated[buyers.customer], happened["treated"], happened["control"])
    ids = pd.RangeIndex(1, customers + 1, name="customer_id")
    people = {
        "customer_id": ids,
        "channel": names,
        "country": rng.choice(
            [c for c, _ in _COUNTRIES], customers, p=[share for _, share in _COUNTRIES]
        ),
        "acquired": _moments(-age, last_day),
        "cac": np.round(own["cac"] * (1 + _CAC_SPREAD * rng.uniform(-1, 1, customers)), 2),
        "campaign": np.where(treated, "treatment", "control"),
        **_voices(buyers.latent["dropout_probability"], rng),
    }
    return Shop(
        transactions=_log(orders, ~after),
        customers=pd.DataFrame(people),
        channels=channels,
        future=_log(orders, as_happened),
        truth=pd.DataFrame(truth, index=ids),
        observation_end=last_day,
        horizon=ahead,
        discount_rate=float(discount_rate),
    )


def _check(customers: int, years: float, growth: float, campaign: float) -> None:
    whole = isinstance(customers, int) and not isinstance(customers, bool)
    if not whole or customers < 1:
        raise OptionError(f"customers={customers!r} must be a whole number >= 1.")
    if not (np.isfinite(years) and years > 0):
        raise OptionError(f"years={years!r} must be more than 0, e.g. 2.5.")
    if not (np.isfinite(growth) and growth > -1):
        raise OptionError(f"growth={growth!r} must be more than -1; 0.3 is 30 % a year.")
    if not 0 <= campaign <= 1:
        raise OptionError(
            f"campaign={campaign!r} must be between 0 (no effect) and 1 (nobody treated is lost)."
        )


def _ages(n: int, years: float, growth: float, rng: np.random.Generator) -> Array:
    """Weeks since acquisition, longest first; acquisitions grow exponentially over time."""
    rate = np.log1p(growth)
    u = rng.random(n)
    since_start = years * u if rate == 0 else np.log1p(u * np.expm1(rate * years)) / rate
    return np.sort(years - since_start)[::-1] * TimeUnit.parse("Y").days / WEEK.days


@dataclass(frozen=True)
class _Purchases:
    """Purchases of both futures, first ones included; shape (m,) but for ``latent``, (n,)."""

    customer: npt.NDArray[np.intp]
    time: Array
    kept_control: npt.NDArray[np.bool_]
    kept_treated: npt.NDArray[np.bool_]
    latent: dict[str, npt.NDArray[np.generic]]


def _purchases(
    own: dict[str, Array], age: Array, ahead: float, campaign: float, rng: np.random.Generator
) -> _Purchases:
    """Draw what customers would buy without dropout, and keep what comes before it."""
    n = len(age)
    rate = rng.gamma(own["r"]) / own["alpha"]
    p = np.maximum(rng.beta(own["a"], own["b"]), np.finfo(float).tiny)
    repeats = rng.poisson(rate * (age + ahead))
    customer, time = uniform_times(repeats, age + ahead, rng)
    customer = np.concatenate([np.arange(n), customer])
    time = np.concatenate([np.zeros(n), time])
    order = np.lexsort((time, customer))
    customer, time = customer[order], time[order]
    # The first purchase has rank 1; the last one before dropout is the geometric-th.
    start = np.cumsum(repeats + 1) - (repeats + 1)
    rank = np.arange(len(customer)) - start[customer] + 1
    last = rng.geometric(p)
    seen = np.bincount(customer[time <= age[customer]], minlength=n)
    alive = seen < last
    # The geometric distribution forgets: of those alive, what remains is one again. Treated or
    # not, the same uniform number decides, so the campaign can only prolong.
    luck = np.log(1.0 - rng.random(n))
    past = (time <= age[customer]) & (rank <= last[customer])
    kept = []
    for lowered in (p, np.maximum(p * (1.0 - campaign), np.finfo(float).tiny)):
        with np.errstate(divide="ignore", over="ignore"):  # p = 1, and next to 0
            remaining = np.floor(luck / np.log1p(-lowered)) + 1.0
        future = (time > age[customer]) & alive[customer]
        kept.append(past | (future & (rank <= (seen + remaining)[customer])))
    some = kept[0] | kept[1]
    latent: dict[str, npt.NDArray[np.generic]] = {
        "purchase_rate": rate,
        "dropout_probability": p,
        "alive": alive,
    }
    return _Purchases(customer[some], time[some], kept[0][some], kept[1][some], latent)


def _orders(
    buyers: _Purchases, own: dict[str, Array], rng: np.random.Generator
) -> tuple[pd.DataFrame, dict[str, Array]]:
    """What is bought, for how much, at what cost; and the customers' latent spend."""
    n, m = len(own["p"]), len(buyers.customer)
    nobody = SpendHistories(np.ones(n), x=np.zeros(n), m=np.zeros(n))
    theta = own["p"], own["q"], own["v"]
    amount, latent = GammaGammaModel().draw_spend(theta, nobody, buyers.customer, rng)
    latent["mean_order_value"] = own["p"] / latent["spend_rate"]
    amount = np.round(np.maximum(amount, 0.01), 2)
    share = own["margin"][buyers.customer] + _MARGIN_SPREAD * rng.uniform(-1, 1, m)
    favourite = rng.integers(len(_LINES), size=n)[buyers.customer]
    other = rng.random(m) >= _FAVOURITE
    line = (favourite + other * rng.integers(1, len(_LINES), size=m)) % len(_LINES)
    orders = {
        "customer_id": buyers.customer + 1,
        "amount": amount,
        "cost": np.round(amount * (1.0 - share), 2),
        "product_line": np.array(_LINES)[line],
    }
    return pd.DataFrame(orders), latent


def _expected(
    truth: dict[str, npt.NDArray[np.generic]],
    margin: Array,
    ahead: float,
    delta: float,
    campaign: float,
) -> dict[str, Array]:
    """Purchases and value of the horizon given the latent rates, and the campaign's effect."""
    rate, p, alive = (
        np.asarray(truth[name], np.float64)
        for name in ("purchase_rate", "dropout_probability", "alive")
    )
    worth = margin * np.asarray(truth["mean_order_value"], np.float64)

    def discounted(p: Array, delta: float) -> Array:
        speed = rate * p + delta
        # Where hardly anybody is ever lost, and nothing is discounted, it is λt.
        slow = speed * ahead < 1e-12
        some = -np.expm1(-speed * ahead) / np.where(slow, 1.0, speed)
        return np.asarray(alive * rate * np.where(slow, ahead, some))

    value = discounted(p, delta) * worth
    return {
        "expected_purchases": discounted(p, 0.0),
        "expected_value": value,
        "expected_effect": discounted(p * (1.0 - campaign), delta) * worth - value,
    }


def _at_acquisition(channels: pd.DataFrame, ahead: float, delta: float) -> pd.DataFrame:
    """Add what a customer just acquired will buy, bring, and bring net of costs."""
    model, at = MBGNBDModel(), np.asarray(ahead)
    theta = tuple(channels[name].to_numpy() for name in ("r", "alpha", "a", "b"))
    bought = model.expected_purchases(theta, NEW_CUSTOMER, at)
    worth = model.discounted_purchases(theta, NEW_CUSTOMER, at, delta)
    # Survival falls fastest at first, so nodes crowd there.
    node, weight = gauss_legendre(64)
    moment = ahead * node**2
    each = tuple(np.repeat(v, len(moment)) for v in theta)
    still = model.p_alive_at(each, NEW_CUSTOMER, np.tile(moment, len(channels)))
    worth_then = np.exp(-delta * moment) * 2.0 * ahead * node * weight
    served = still.reshape(len(channels), -1) @ worth_then
    mean = channels["p"] * channels["v"] / (channels["q"] - 1.0)
    value = worth * mean * channels["margin"]
    costs = worth * channels["service_cost"]
    costs = costs + served / _WEEKS_PER_MONTH * channels["cost_to_serve"]
    return channels.assign(
        purchases_at_acquisition=bought,
        value_at_acquisition=value,
        net_value_at_acquisition=value - costs,
    )


def _voices(
    dropout: npt.NDArray[np.generic], rng: np.random.Generator
) -> dict[str, npt.NDArray[np.generic]]:
    """Satisfaction of those who were asked, and what some of them wrote."""
    n = len(dropout)
    mood = 4.6 - 5.0 * np.asarray(dropout, np.float64) + rng.normal(0.0, 0.8, n)
    score = np.clip(np.round(mood), 1, 5).astype(np.intp)
    answered = rng.random(n) < _ANSWERED
    texts = np.array([SENTENCES[level] for level in range(1, 6)], object)
    text = texts[score - 1, rng.integers(texts.shape[1], size=n)]
    text[~(answered & (rng.random(n) < _WROTE))] = None
    return {
        "satisfaction": np.where(answered, score.astype(np.float64), np.nan),
        "feedback": text,
    }


def _moments(weeks: Array, last_day: pd.Timestamp) -> pd.Series:
    """Moments so many weeks after the last observed day is over."""
    microseconds = np.round(weeks * WEEK.days * 86_400e6).astype(np.int64)
    # What is before the end must not be rounded to it.
    microseconds = np.where(weeks <= 0, np.minimum(microseconds, -1), microseconds)
    end = (last_day + pd.Timedelta(days=1)).as_unit("us")
    return pd.Series(end + microseconds.astype("timedelta64[us]"))


def _log(orders: pd.DataFrame, kept: npt.NDArray[np.bool_]) -> pd.DataFrame:
    return orders[kept].sort_values(["date", "customer_id"], ignore_index=True)
