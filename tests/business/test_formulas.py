"""The textbook's CLV against sums written out, and against published formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clvpredict.business import simple_clv
from clvpredict.errors import OptionError


def written_out(m, r, d, n, first):
    return sum(m * (r / (1 + d)) ** t for t in range(first, first + n))


def test_the_product():
    assert simple_clv(200, 10, 3) == 6000.0
    assert simple_clv(200, 10, 3, 0.25) == 1500.0
    assert isinstance(simple_clv(200, 10, 3), float)


def test_churn_is_one_over_lifespan():
    assert simple_clv(200, 10, churn=0.25) == simple_clv(200, 10, 4) == 8000.0
    assert simple_clv(200, 10, retention=0.75) == 8000.0


def test_published_formulas():
    # S. Gupta & D. R. Lehmann (2003), Customers as Assets, J. Interactive Marketing 17 (1): the
    # margin multiple r / (1 + i - r) is 4 for r = 90 %, i = 12.5 % (0.9 / 0.225), when the
    # first margin comes at the end of the first period; one margin more when it comes at once.
    terms = {"retention": 0.9, "discount_rate": 0.125}
    assert simple_clv(100, 1, **terms, first_period_certain=False) == pytest.approx(400.0)
    assert simple_clv(100, 1, **terms) == pytest.approx(500.0)


@given(
    st.floats(0, 0.999),
    st.floats(0, 0.5),
    st.integers(0, 60),
    st.booleans(),
)
def test_is_the_series(r, d, n, certain):
    got = simple_clv(
        20, 2, margin=0.5, retention=r, discount_rate=d, horizon=n, first_period_certain=certain
    )
    assert got == pytest.approx(written_out(20, r, d, n, 0 if certain else 1), rel=1e-9, abs=1e-9)


def test_a_discounted_lifespan_is_an_annuity():
    assert simple_clv(100, 1, 3, discount_rate=0.1) == pytest.approx(100 + 100 / 1.1 + 100 / 1.21)
    # Half a period more is worth less than the next whole one.
    assert (
        273.5
        < simple_clv(100, 1, 3.5, discount_rate=0.1)
        < simple_clv(100, 1, 4, discount_rate=0.1)
    )


def test_an_infinite_horizon_is_the_limit():
    near = simple_clv(1, 1, retention=0.99, discount_rate=0.01, horizon=5000)
    assert simple_clv(1, 1, retention=0.99, discount_rate=0.01) == pytest.approx(near)


def test_arrays_are_broadcast():
    got = simple_clv([[100], [200]], 1, churn=[0.5, 0.25, 1.0])
    np.testing.assert_allclose(got, [[200, 400, 100], [400, 800, 200]])
    assert simple_clv(10, 1, retention=0.0) == 10.0  # one period, then gone


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "none of them came"),
        ({"lifespan": 3, "churn": 0.3}, "lifespan=3 and churn=0.3 came"),
        ({"churn": 0.3, "retention": 0.7}, "leave out all but one"),
        ({"churn": 0.0}, r"must be in \(0, 1\]"),
        ({"churn": 25}, "25 %"),
        ({"churn": [0.1, 1.2]}, "churn="),
        ({"retention": 1.0}, r"must be in \[0, 1\)"),
        ({"retention": -0.1}, "lifespan=3"),
        ({"lifespan": 3, "horizon": 2}, "Leave horizon out"),
        ({"lifespan": -1}, "not below 0"),
        ({"lifespan": float("nan")}, "finite"),
        ({"lifespan": 3, "discount_rate": -0.1}, "discount_rate"),
        ({"lifespan": "three"}, "not a number"),
        ({"lifespan": 3, "margin": float("inf")}, "margin"),
    ],
)
def test_what_is_refused(arguments, said):
    with pytest.raises(OptionError, match=said):
        simple_clv(200, 10, **arguments)
