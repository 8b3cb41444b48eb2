"""The shared numerics against mpmath."""

from __future__ import annotations

import numpy as np
import pytest

from clvpredict.special import beta_blocks, digamma_rising, gauss_legendre, log_rising

mpmath = pytest.importorskip("mpmath")


@pytest.mark.parametrize("a", [1e-3, 0.24, 5.0, 99.0, 101.0, 1e4, 1e9, 1e12])
@pytest.mark.parametrize("n", [0.0, 0.5, 1.0, 40.0, 5000.0])
def test_rising(a: float, n: float) -> None:
    with mpmath.workdps(60):
        log_ratio = mpmath.loggamma(mpmath.mpf(a) + n) - mpmath.loggamma(mpmath.mpf(a))
        slope = mpmath.digamma(mpmath.mpf(a) + n) - mpmath.digamma(mpmath.mpf(a))
    got = float(log_rising(np.asarray(a), np.asarray(n)))
    assert got == pytest.approx(float(log_ratio), rel=2e-13, abs=2e-13)
    got = float(digamma_rising(np.asarray(a), np.asarray(n)))
    assert got == pytest.approx(float(slope), rel=2e-12, abs=1e-13)


def test_rising_of_small_and_large_together() -> None:
    a = np.array([0.5, 1e6])
    np.testing.assert_allclose(log_rising(a, np.array(2.0)), np.log(a) + np.log(a + 1), rtol=1e-14)


@pytest.mark.parametrize("a", [0.02, 0.3, 1.0, 7.0, 300.0])
@pytest.mark.parametrize("b", [0.02, 0.3, 1.0, 7.0, 300.0])
@pytest.mark.parametrize(("r", "z"), [(0.2, 0.01), (3.0, 50.0), (500.0, 2.0), (2000.0, 999.0)])
def test_expectation_over_a_beta(a: float, b: float, r: float, z: float) -> None:
    """E[(1 + pz)^-r] = 2F1(r, a; a+b; -z)."""
    want = float(mpmath.hyp2f1(r, a, a + b, -z))
    (block,) = beta_blocks(np.array([a]), np.array([b]), np.array([(1 + r) * (1 + z)]))
    got = block.mean((1 + block.p * z) ** -r, np.ones(1), np.array([(1 + z) ** -r]))
    assert got[0] == pytest.approx(want, rel=1e-11)


def test_blocks_cover_every_row_once() -> None:
    rng = np.random.default_rng(0)
    a, b = np.exp(rng.uniform(-3, 3, (2, 5000)))
    rows = np.concatenate([block.rows for block in beta_blocks(a, b, np.full(5000, 10.0))])
    np.testing.assert_array_equal(np.sort(rows), np.arange(5000))


def test_gauss_legendre_is_exact_for_polynomials() -> None:
    x, w = gauss_legendre(6)
    for k in range(12):
        assert w @ x**k == pytest.approx(1 / (k + 1), rel=1e-13)
