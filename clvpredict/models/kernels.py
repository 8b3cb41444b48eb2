"""Log-likelihood and gradient of whole data sets in one pass, compiled.

The formulas are those of the model files (a test holds them equal), summed over weighted rows:
terms of one column are computed once per distinct value. Every kernel has the same signature, so
that inference names no model:

    kernel(theta, tables, codes, weight, gradient) -> log-likelihood, gradient filled in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numba as nb
import numpy as np
import pandas as pd

from clvpredict import special
from clvpredict.rfm import Array, Compressed


def _compiled[F: Callable[..., Any]]() -> Callable[[F], F]:
    """Compile when first called: once per machine where a cache can be written."""
    options = {"nogil": True, "error_model": "numpy"}

    def decorate(f: F) -> F:
        compiler: Any = nb.njit
        try:
            return cast("F", compiler(cache=True, **options)(f))
        except RuntimeError:  # numba finds no folder to write to
            return cast("F", compiler(**options)(f))

    return decorate


_Tail = Callable[[float], float]
_stirling_tail = cast("_Tail", _compiled()(special.stirling_tail))
_digamma_tail = cast("_Tail", _compiled()(special.digamma_tail))
_STIRLING_FROM = special.STIRLING_FROM


@_compiled()
def _digamma(z: float) -> float:
    shift = 0.0
    while z < 20.0:
        shift += 1.0 / z
        z += 1.0
    return math.log(z) + _digamma_tail(z) - shift


@_compiled()
def _log_rising(a: float, n: float) -> float:
    """As :func:`clvpredict.special.log_rising`."""
    if n == 0.0:
        return 0.0
    if a > _STIRLING_FROM:
        between = _stirling_tail(a + n) - _stirling_tail(a)
        return (a + n - 0.5) * math.log1p(n / a) + n * math.log(a) - n + between
    return math.lgamma(a + n) - math.lgamma(a)


@_compiled()
def _digamma_rising(a: float, n: float) -> float:
    """As :func:`clvpredict.special.digamma_rising`."""
    if n == 0.0:
        return 0.0
    if a > _STIRLING_FROM:
        return math.log1p(n / a) + _digamma_tail(a + n) - _digamma_tail(a)
    return _digamma(a + n) - _digamma(a)


@_compiled()
def geometric_dropout(theta, tables, codes, weight, gradient):  # type: ignore[no-untyped-def]
    """BG/NBD and MBG/NBD; see :class:`clvpredict.models.geometric_dropout.GeometricDropout`."""
    r, alpha, a, b = theta[0], theta[1], theta[2], theta[3]
    start, n_x, n_t, n_age = tables[0], int(tables[1]), int(tables[2]), int(tables[3])
    x, customers = tables[4 : 4 + n_x], tables[4 + n_x : 4 + 2 * n_x]
    rest = tables[4 + 2 * n_x :]
    t, age = rest[:n_t], rest[n_t : n_t + n_age]
    aged_customers = rest[n_t + n_age : n_t + 2 * n_age]
    aged_purchases = rest[n_t + 2 * n_age :]

    value = 0.0
    slope_r, slope_alpha, slope_a, slope_b = 0.0, 0.0, 0.0, 0.0
    odds, base = np.empty(n_x), np.empty(n_x)
    for i in range(n_x):
        s = x[i] + start
        value += customers[i] * (_log_rising(r, x[i]) + _log_rising(b, s) - _log_rising(a + b, s))
        slope_ab = _digamma_rising(a + b, s)
        slope_r += customers[i] * _digamma_rising(r, x[i])
        slope_a -= customers[i] * slope_ab
        slope_b += customers[i] * (_digamma_rising(b, s) - slope_ab)
        base[i] = 1.0 / (b + s - 1.0) if s > 0 else 0.0
        odds[i] = math.log(a * base[i]) if s > 0 else 0.0
    aged, slope_aged = np.empty(n_age), np.empty(n_age)
    for i in range(n_age):
        aged[i] = math.log1p(age[i] / alpha)
        slope_aged[i] = -age[i] / (alpha * (alpha + age[i]))
        both = r * aged_customers[i] + aged_purchases[i]
        value -= both * aged[i] + aged_purchases[i] * math.log(alpha)
        slope_r -= aged_customers[i] * aged[i]
        slope_alpha -= both * slope_aged[i] + aged_purchases[i] / alpha
    last, slope_last = np.empty(n_t), np.empty(n_t)
    for i in range(n_t):
        last[i] = math.log1p(t[i] / alpha)
        slope_last[i] = -t[i] / (alpha * (alpha + t[i]))

    for row in range(len(weight)):
        i, j, k = codes[0, row], codes[1, row], codes[2, row]
        gap = aged[k] - last[j]
        log_odds = odds[i] + (r + x[i]) * gap
        small = math.exp(-abs(log_odds))
        dead = weight[row] * (1.0 if log_odds > 0 else small) / (1.0 + small)
        value += weight[row] * (max(log_odds, 0.0) + math.log1p(small))
        slope_r += dead * gap
        slope_alpha += dead * (r + x[i]) * (slope_aged[k] - slope_last[j])
        slope_a += dead / a
        slope_b -= dead * base[i]
    gradient[0], gradient[1], gradient[2], gradient[3] = slope_r, slope_alpha, slope_a, slope_b
    return value


def pack_histories(data: Compressed, start: int) -> tuple[Array, np.ndarray[Any, Any], Array]:
    """Arrange purchase histories for :func:`geometric_dropout`."""
    x, weight = data.columns["x"], data.weight
    codes, distinct = zip(*(pd.factorize(data.columns[c]) for c in ("x", "t_x", "T")), strict=True)
    sizes = [len(d) for d in distinct]
    tables = [
        np.array([start, *sizes], float),
        distinct[0],
        np.bincount(codes[0], weight, sizes[0]),
        distinct[1],
        distinct[2],
        np.bincount(codes[2], weight, sizes[2]),
        np.bincount(codes[2], weight * x, sizes[2]),
    ]
    # Only who may have dropped out at the last purchase has a term of all three columns.
    open_end = x + start > 0
    rows = np.stack(codes).astype(np.int32)[:, open_end]
    return np.concatenate(tables), np.ascontiguousarray(rows), weight[open_end]


@_compiled()
def poisson_gamma(theta, tables, codes, weight, gradient):  # type: ignore[no-untyped-def]
    """NBD; see :class:`clvpredict.models.nbd.NBDModel`. No term has two columns."""
    r, alpha = theta[0], theta[1]
    n_x, n_age = int(tables[0]), int(tables[1])
    x, customers = tables[2 : 2 + n_x], tables[2 + n_x : 2 + 2 * n_x]
    rest = tables[2 + 2 * n_x :]
    age, aged_customers, purchases = rest[:n_age], rest[n_age : 2 * n_age], rest[2 * n_age :]

    value, slope_r, slope_alpha = 0.0, 0.0, 0.0
    for i in range(n_x):
        value += customers[i] * _log_rising(r, x[i])
        slope_r += customers[i] * _digamma_rising(r, x[i])
    for i in range(n_age):
        aged, both = math.log1p(age[i] / alpha), r * aged_customers[i] + purchases[i]
        value -= both * aged + purchases[i] * math.log(alpha)
        slope_r -= aged_customers[i] * aged
        slope_alpha += both * age[i] / (alpha * (alpha + age[i])) - purchases[i] / alpha
    gradient[0], gradient[1] = slope_r, slope_alpha
    return value


def pack_counts(data: Compressed) -> tuple[Array, np.ndarray[Any, Any], Array]:
    """Arrange purchase histories for :func:`poisson_gamma`."""
    x, weight = data.columns["x"], data.weight
    codes, distinct = zip(*(pd.factorize(data.columns[c]) for c in ("x", "T")), strict=True)
    sizes = [len(d) for d in distinct]
    tables = [
        np.array(sizes, float),
        distinct[0],
        np.bincount(codes[0], weight, sizes[0]),
        distinct[1],
        np.bincount(codes[1], weight, sizes[1]),
        np.bincount(codes[1], weight * x, sizes[1]),
    ]
    return np.concatenate(tables), np.empty((0, 0), np.int32), np.empty(0)


@_compiled()
def gamma_gamma(theta, tables, codes, weight, gradient):  # type: ignore[no-untyped-def]
    """Gamma-Gamma; see :class:`clvpredict.models.gamma_gamma.GammaGammaModel`."""
    p, q, v = theta[0], theta[1], theta[2]
    constant, n_x = tables[0], int(tables[1])
    x, customers = tables[2 : 2 + n_x], tables[2 + n_x : 2 + 2 * n_x]
    log_totals, total = tables[2 + 2 * n_x : 2 + 3 * n_x], tables[2 + 3 * n_x :]

    value = -constant
    slope_p, slope_q, slope_v = 0.0, 0.0, 0.0
    for i in range(n_x):
        px, w = p * x[i], customers[i]
        value += w * (_log_rising(q, px) - math.lgamma(px) + q * math.log(v)) + px * log_totals[i]
        slope_p += x[i] * (w * _digamma_rising(px, q) + log_totals[i])
        slope_q += w * (_digamma_rising(q, px) + math.log(v))
        slope_v += w * q / v
    for row in range(len(weight)):
        n = x[codes[0, row]]
        log_sum = weight[row] * math.log(v + total[row])
        value -= (q + p * n) * log_sum
        slope_p -= n * log_sum
        slope_q -= log_sum
        slope_v -= weight[row] * (p * n + q) / (v + total[row])
    gradient[0], gradient[1], gradient[2] = slope_p, slope_q, slope_v
    return value


def pack_spend(data: Compressed) -> tuple[Array, np.ndarray[Any, Any], Array]:
    """Arrange spend histories for :func:`gamma_gamma`."""
    x, m, weight = data.columns["x"], data.columns["m"], data.weight
    codes, distinct = pd.factorize(x)
    size = len(distinct)
    tables = [
        np.array([weight @ np.log(m), size]),
        distinct,
        np.bincount(codes, weight, size),
        np.bincount(codes, weight * np.log(x * m), size),
        x * m,
    ]
    return np.concatenate(tables), codes.astype(np.int32)[None], np.ascontiguousarray(weight)
