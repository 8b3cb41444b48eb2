"""How many customers a test of a campaign needs, and what it can find."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from clvpredict.errors import OptionError


class SampleSize(NamedTuple):
    """Customers that a test needs.

    Parameters
    ----------
    customers, treated, control : int
        In all, and in each arm.
    """

    customers: int
    treated: int
    control: int


def uplift_sample_size(
    effect: float,
    sd: float | npt.ArrayLike,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    allocation: float = 0.5,
    covariate_correlation: float = 0.0,
) -> SampleSize:
    """Number of customers needed to find an effect of a campaign.

    Parameters
    ----------
    effect : float
        Smallest difference of the mean value per customer that is worth finding, in money.
    sd : float or array
        Standard deviation of the value per customer, or values of an earlier time of the same
        length (those of customers who did not buy, 0, among them).
    power : float
        Probability of finding it.
    alpha : float
        Probability of finding one where there is none (two-sided).
    allocation : float
        Share of customers who get the campaign.
    covariate_correlation : float
        Of the value with the covariate given to :func:`evaluate_uplift`, in (-1, 1).

    Returns
    -------
    SampleSize
        `customers, treated, control`.

    Raises
    ------
    OptionError
        If an argument is out of range.

    Notes
    -----
    About (z₁₋α⸝₂ + z_power)² sd² (1 − ρ²) / (effect² a (1 − a)) customers, with a the allocation
    and ρ the correlation; found exactly by Student's t (noncentral) for values of equal variance
    in both arms.

    Examples
    --------
    >>> from clvpredict.business import uplift_sample_size
    >>> uplift_sample_size(effect=5.0, sd=50.0)
    SampleSize(customers=3142, treated=1571, control=1571)
    >>> uplift_sample_size(effect=5.0, sd=50.0, covariate_correlation=0.6).customers
    2012
    """
    noise = _noise(sd, covariate_correlation, power, alpha, allocation)
    if not (np.isfinite(effect) and effect != 0):
        raise OptionError(f"effect={effect!r} must be a finite number other than 0, in money.")
    found = abs(effect)
    z = stats.norm.isf(alpha / 2.0) + stats.norm.ppf(power)
    guess = float((z * noise / found) ** 2 / (allocation * (1.0 - allocation)))
    if guess > 1e12:
        raise OptionError(
            f"effect={effect!r} is too small to be found beside a standard deviation of "
            f"{noise:.6g}: it would take {guess:.1g} customers."
        )
    # The normal approximation is a few customers short.
    low, high = 3, max(int(guess) + 16, 8)
    while _power(high, found, noise, alpha, allocation) < power:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = _power(middle, found, noise, alpha, allocation) >= power
        low, high = (low, middle) if enough else (middle, high)
    treated = _treated(high, allocation)
    return SampleSize(high, treated, high - treated)


def detectable_effect(
    customers: int,
    sd: float | npt.ArrayLike,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    allocation: float = 0.5,
    covariate_correlation: float = 0.0,
) -> float:
    """Smallest effect that a test with so many customers finds.

    Parameters
    ----------
    customers : int
        In both arms together, at least 4.
    sd, power, alpha, allocation, covariate_correlation
        As in :func:`uplift_sample_size`.

    Returns
    -------
    float
        Difference of the mean value per customer, in money, > 0.

    Raises
    ------
    OptionError
        If an argument is out of range.

    Examples
    --------
    >>> from clvpredict.business import detectable_effect
    >>> round(detectable_effect(3_142, sd=50.0), 2)
    5.0
    """
    noise = _noise(sd, covariate_correlation, power, alpha, allocation)
    if isinstance(customers, bool) or customers != int(customers) or customers < 4:
        raise OptionError(f"customers={customers!r} must be a whole number of at least 4.")
    if noise == 0:
        return 0.0
    n = int(customers)
    high = noise
    while _power(n, high, noise, alpha, allocation) < power:
        high *= 2.0

    def missing(effect: float) -> float:
        return _power(n, effect, noise, alpha, allocation) - power

    return float(optimize.brentq(missing, 0.0, high))


def _power(n: int, effect: float, noise: float, alpha: float, allocation: float) -> float:
    treated = _treated(n, allocation)
    if noise == 0:
        return 1.0
    shift = effect / (noise * np.sqrt(1.0 / treated + 1.0 / (n - treated)))
    df = n - 2
    edge = stats.t.isf(alpha / 2.0, df)
    # Beyond this many degrees of freedom the noncentral t is the normal to all digits needed.
    if df > 1e6:
        return float(stats.norm.sf(edge - shift) + stats.norm.cdf(-edge - shift))
    # Far from 0, SciPy has NaN for the other tail, which is then nothing.
    other = np.nan_to_num(stats.nct.cdf(-edge, df, shift))
    return float(stats.nct.sf(edge, df, shift) + other)


def _treated(n: int, allocation: float) -> int:
    return min(max(round(n * allocation), 1), n - 1)


def _noise(
    sd: Any, covariate_correlation: float, power: float, alpha: float, allocation: float
) -> float:
    """Standard deviation that is left; refuses arguments out of range, all together."""
    shares = {"power": power, "alpha": alpha, "allocation": allocation}
    wrong = [f"{n}={v!r} must be between 0 and 1." for n, v in shares.items() if not 0 < v < 1]
    if 0 < alpha < 1 and power <= alpha:
        wrong.append(f"power={power!r} must exceed alpha={alpha!r}.")
    if not -1 < covariate_correlation < 1:
        wrong.append(f"covariate_correlation={covariate_correlation!r} must be within (-1, 1).")
    values = np.asarray(sd, dtype=np.float64)
    if values.ndim and (values.size < 2 or not np.isfinite(values).all()):
        wrong.append("sd must be a number, or two or more finite values without missing ones.")
        spread = 0.0
    else:
        spread = float(values.std(ddof=1)) if values.ndim else float(values)
    if not (np.isfinite(spread) and spread >= 0):
        wrong.append(f"sd={spread!r} must be finite and not negative.")
    if wrong:
        raise OptionError(" ".join(wrong))
    return float(spread * np.sqrt(1.0 - covariate_correlation**2))
