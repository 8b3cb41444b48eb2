"""Numerics that the models share: differences of log-gammas, expectations over a Beta.

No formula of a paper lives here, only ways to compute without overflow or cancellation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special as sc

Array = npt.NDArray[np.float64]

# Above this the difference of two log-gammas loses digits and Stirling's series has them all.
STIRLING_FROM = 100.0


@dataclass(frozen=True)
class Accuracy:
    """How exact quadratures are.

    Attributes
    ----------
    tail : float
        Tails are cut where they have fallen by e^-tail.
    step : float
        Distance of nodes, in units of what the smoothest integrand needs.
    nodes : int
        Of a Gauss-Legendre rule, per panel.
    """

    tail: float
    step: float
    nodes: int


#: As exact as floating point allows.
FULL = Accuracy(36.0, 1.0, 12)
#: Good to five or six digits: for draws, which differ from one another in the second or third.
DRAWS = Accuracy(18.0, 2.0, 6)
_accuracy: ContextVar[Accuracy] = ContextVar("accuracy", default=FULL)


def accuracy() -> Accuracy:
    """How exact quadratures are to be here."""
    return _accuracy.get()


@contextmanager
def at_accuracy(wanted: Accuracy) -> Iterator[None]:
    """Compute quadratures to another accuracy, in this thread."""
    token = _accuracy.set(wanted)
    try:
        yield
    finally:
        _accuracy.reset(token)


# Elements per block of quadrature nodes: a few MB, so that it stays in cache.
_BLOCK = 1 << 17


def log_rising(a: Array, n: Array) -> Array:
    """Compute ln Γ(a + n) − ln Γ(a) without cancellation.

    Parameters
    ----------
    a, n : ndarray
        a > 0, n >= 0; broadcast.

    Returns
    -------
    ndarray
    """
    large = np.asarray(a > STIRLING_FROM)
    if not large.any():
        return np.asarray(sc.gammaln(a + n) - sc.gammaln(a))
    safe = np.where(large, a, STIRLING_FROM)
    stirling = (
        (safe + n - 0.5) * np.log1p(n / safe)
        + n * np.log(safe)
        - n
        + stirling_tail(safe + n)
        - stirling_tail(safe)
    )
    small = np.where(large, 1.0, a)
    return np.where(large, stirling, sc.gammaln(small + n) - sc.gammaln(small))


def digamma_rising(a: Array, n: Array) -> Array:
    """Compute ψ(a + n) − ψ(a), the derivative of :func:`log_rising` in ``a``."""
    large = np.asarray(a > STIRLING_FROM)
    if not large.any():
        return np.asarray(sc.digamma(a + n) - sc.digamma(a))
    safe = np.where(large, a, STIRLING_FROM)
    series = np.log1p(n / safe) + digamma_tail(safe + n) - digamma_tail(safe)
    small = np.where(large, 1.0, a)
    return np.where(large, series, sc.digamma(small + n) - sc.digamma(small))


def negative_binomial_log_pmf(n: Array, r: Array, alpha: Array, t: Array) -> Array:
    """Log of P(N = n), N ~ Poisson(λ t) with λ ~ Gamma(r, rate α); −inf where it is impossible."""
    with np.errstate(divide="ignore"):
        return np.asarray(
            log_rising(r, n)
            - sc.gammaln(n + 1.0)
            - r * np.log1p(t / alpha)
            + sc.xlogy(n, t / (alpha + t))
        )


def softplus(k: Array) -> tuple[Array, Array]:
    """Compute ln(1 + e^k) and its derivative, with one exponential for both."""
    small = np.exp(-np.abs(k))
    share = 1.0 / (1.0 + small)
    return np.maximum(k, 0.0) + np.log1p(small), np.where(k > 0, share, small * share)


def stirling_tail[T: (float, Array)](z: T) -> T:
    """Compute ln Γ(z) − (z − 1/2) ln z + z − ln(2π)/2 for large z, by Stirling's series."""
    w = 1.0 / (z * z)
    return (1 / 12 - w * (1 / 360 - w * (1 / 1260 - w / 1680))) / z


def digamma_tail[T: (float, Array)](z: T) -> T:
    """Compute ψ(z) − ln z for large z, by Stirling's series."""
    w = 1.0 / (z * z)
    return -0.5 / z - w * (1 / 12 - w * (1 / 120 - w / 252))


@dataclass(frozen=True)
class BetaBlock:
    """Quadrature nodes for some rows of a Beta expectation.

    Attributes
    ----------
    rows : ndarray, shape (n,)
        Which rows of the parameters the block holds.
    p : ndarray, shape (n, nodes)
        Where to evaluate the function.
    """

    rows: npt.NDArray[np.intp]
    p: Array
    _weight: Array
    _left: Array
    _right: Array

    def mean(self, values: Array, at_zero: Array, at_one: Array) -> Array:
        """Compute E[f(p)].

        Parameters
        ----------
        values : ndarray, shape (n, nodes)
            f at ``p``.
        at_zero, at_one : ndarray, shape (n,)
            f(0) and f(1).

        Returns
        -------
        ndarray, shape (n,)
        """
        nodes = np.einsum("ij,ij->i", self._weight, values)
        return np.asarray(nodes + self._left * at_zero + self._right * at_one)


def beta_blocks(a: Array, b: Array, reach: Array) -> Iterator[BetaBlock]:
    """Give quadrature nodes for expectations E[f(p)], p ~ Beta(a, b), row by row.

    The trapezoidal rule in u = ln(p / (1 − p)): for decreasing functions such as (1 + p z)^−r,
    which are singular only at real p < 0, the integrand is analytic for |Im u| < π, so the
    rule converges exponentially; there is no cancellation and no singular parameter value.

    To shorten the tails, the line from f(0) to f(1) is integrated exactly and only the
    difference to it is left to the nodes: the f(1) part always (f >= f(1), so nothing cancels),
    the f(0) part where f does not fall so far that digits would be lost.

    Parameters
    ----------
    a, b : ndarray, shape (n,)
        Parameters of the Beta, > 0.
    reach : ndarray, shape (n,)
        f is about constant for p < 1 / reach; e.g. (1 + r)(1 + z).

    Yields
    ------
    BetaBlock
        Blocks that together cover all rows, each row once. Nodes of a row depend on that row
        alone.
    """
    tail, wide = accuracy().tail, accuracy().step
    pull = a * np.log1p(reach / (a + b)) < 4.0
    a_tail, b_tail = a + pull, b + 1.0
    low = np.log(a_tail) - np.log(a + b + reach) - tail / a_tail - 2.0
    high = np.log((a_tail + tail) / b_tail) + tail / b_tail + 1.0
    step = 0.29 * wide * np.minimum(1.0, 1.6 * np.sqrt(1.0 / a_tail + 1.0 / (b_tail + reach)))
    count = np.clip(np.ceil((high - low) / step), 32 / wide, 1 << 15)
    # A few sizes only, so that rows can share a block.
    count = np.exp2(np.ceil(np.log2(count) * 8.0) / 8.0).round().astype(np.intp)
    log_norm = sc.betaln(a, b)
    for size in np.unique(count):
        same = np.flatnonzero(count == size)
        unit = np.arange(size) / (size - 1.0)
        for start in range(0, len(same), max(1, _BLOCK // size)):
            rows = same[start : start + max(1, _BLOCK // size)]
            width = (high[rows] - low[rows])[:, None]
            u = low[rows][:, None] + width * unit
            log_1p = np.logaddexp(0.0, u)
            total = (a + b)[rows]
            density = a[rows][:, None] * u - total[:, None] * log_1p
            weight = np.exp(density - log_norm[rows][:, None]) * (width / (size - 1.0))
            p = np.exp(u - log_1p)
            mass_p = np.einsum("ij,ij->i", weight, p)
            mass_q = np.einsum("ij,ij->i", weight, np.exp(-log_1p))
            left = np.where(pull[rows], b[rows] / total - mass_q, 0.0)
            yield BetaBlock(rows, p, weight, left, a[rows] / total - mass_p)


def gauss_legendre(nodes: int) -> tuple[Array, Array]:
    """Return nodes and weights of the Gauss-Legendre rule on (0, 1)."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    return 0.5 * (x + 1.0), 0.5 * w
