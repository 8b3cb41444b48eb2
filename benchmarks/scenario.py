"""The scenario that every contestant is given. Standard library only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log

#: The last day of the two observed years.
END = "2024-12-31"
DAYS = 731
#: Parameters of the simulated base, time in days.
PURCHASES = {"r": 0.24, "alpha": 31.0, "a": 0.79, "b": 2.43}
SPEND = {"p": 6.25, "q": 3.74, "v": 15.4}
ANNUAL_RATE = 0.1
MONTHS = 12
#: CDNOW is split where the literature splits it.
CDNOW_END = "1997-09-30"
CDNOW_FITS = 50


#: Priors that both packages are given: ln(parameter) is normal with this spread around the
#: logarithm of a median, in units of the mean of a column. They are the defaults of ours.
PRIOR_SPREAD = 1.5
_PURCHASE_MEDIANS = {"r": (0.5, None), "alpha": (0.3, "T"), "a": (0.8, None), "b": (2.5, None)}
PRIOR_MEDIANS: dict[str, dict[str, tuple[float, str | None]]] = {
    "BGNBD": _PURCHASE_MEDIANS,
    "MBGNBD": _PURCHASE_MEDIANS,
    "GammaGamma": {"p": (4.0, None), "q": (4.0, None), "v": (0.7, "monetary_value")},
}
#: Inputs of the Bayesian benchmarks, by number of customers: the head of one simulated base.
BASE = "base-{}.parquet"
#: From how many customers the models are fitted whose predictions are timed.
FITTED_ON = {"clvpredict": 100_000, "pymc-marketing": 2_000}
INTERVAL_DRAWS = 500
HORIZON_DAYS = 365


def prior_locations(model: str, mean: Callable[[str], float]) -> dict[str, float]:
    """Logarithms of the priors' medians, by parameter, from the means of columns."""
    return {
        name: log(median * (mean(column) if column else 1.0))
        for name, (median, column) in PRIOR_MEDIANS[model].items()
    }


def prior_in_words(mu: float, sigma: float) -> str:
    """A prior as clvpredict writes it."""
    return f"LogNormal(mu={mu:.4g}, sigma={sigma:.4g})"


@dataclass(frozen=True)
class Size:
    """How much of it.

    Parameters
    ----------
    transactions, log_customers, base_customers : int
        Of the main job.
    growing : tuple of int
        Customers that NUTS is run on.
    many : int
        Customers of the large Bayesian fit.
    predicted, predicted_by_peer : tuple of int
        Customers to predict with intervals.
    draws : int
        Draws of a chain, and tuning draws before.
    rounds : int
        Of the Bayesian contests that take seconds.
    """

    name: str
    transactions: int
    log_customers: int
    base_customers: int
    growing: tuple[int, int]
    many: int
    predicted: tuple[int, ...]
    predicted_by_peer: tuple[int, int]
    draws: int
    rounds: int

    @property
    def thorough(self) -> bool:
        """Whether there is time for a round that does not count, and for every comparison."""
        return self.rounds > 1

    @property
    def bases(self) -> tuple[int, ...]:
        """Sizes of the bases of the Bayesian benchmarks, the largest first."""
        sizes = {*self.growing, self.many, *self.predicted, *self.predicted_by_peer}
        return tuple(sorted(sizes | set(FITTED_ON.values()), reverse=True))


SIZES = {
    size.name: size
    for size in (
        Size(
            "full",
            transactions=10_000_000,
            log_customers=1_000_000,
            base_customers=1_000_000,
            growing=(20_000, 100_000),
            many=1_000_000,
            predicted=(250_000, 500_000, 1_000_000, 2_000_000),
            predicted_by_peer=(5_000, 20_000),
            draws=1_000,
            rounds=3,
        ),
        Size(
            "small",
            transactions=1_000_000,
            log_customers=100_000,
            base_customers=100_000,
            growing=(1_000, 3_000),
            many=50_000,
            predicted=(25_000, 50_000),
            predicted_by_peer=(500, 2_000),
            draws=200,
            rounds=1,
        ),
    )
}

#: Cut dates and horizon of the backtest.
CUTS = ("1997-06-03", "1997-07-15", "1997-08-26", "1997-10-07", "1997-11-18", "1997-12-30")
CUT_HORIZON_WEEKS = 13
