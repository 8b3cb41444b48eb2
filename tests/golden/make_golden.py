"""Make ``golden.csv``: reference values for BG/NBD, MBG/NBD, NBD and Gamma-Gamma by quadrature.

Every number comes from the definition of its quantity: the individual-level expression, given a
purchase rate (lambda) and a dropout probability (p), integrated over the customer's rates with
mpmath. Integrals over lambda that are elementary (the gamma integral, which gives powers) are
done by hand; what remains is done numerically. No hypergeometric function is used here, except
as a second opinion under ``--verify``. The script shares no code with the package it tests.

    python tests/golden/make_golden.py             recompute, and print what differs from the CSV
    python tests/golden/make_golden.py --verify    also recompute everything by other routes
    python tests/golden/make_golden.py --write     replace the CSV

Sources: Fader, Hardie & Lee (2005), Marketing Science 24(2) for BG/NBD; Batislam, Denizel &
Filiztekin (2007), IJRM 24(3), and Hoppe & Wagner (2007) for MBG/NBD; Fader & Hardie (2013), "The
Gamma-Gamma Model of Monetary Value", for the spend model.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import cache
from itertools import product, repeat
from pathlib import Path
from typing import Any

from mpmath import mp, mpf

HERE = Path(__file__).parent
GOLDEN = HERE / "golden.csv"
FIXED = HERE / "fixed_parameters.csv"
DIGITS = 20
WORK_DPS = 50  # the published values
WORK_DPS_2D = 31  # the published values that need a double integral
CHECK_DPS = 33  # the second opinion
AGREE = "1e-22"  # relative disagreement tolerated between the two
AGREE_FULL = "1e-14"  # the same where nothing is integrated by hand
SAME = "1e-18"  # relative difference from the committed CSV that counts as a change

Real = Any  # an mpmath real: mpmath carries no type information
Function = Callable[[Real], Real]
Rule = Callable[[Function], Real]  # integrates a positive, unimodal function over the real line


# --- quadrature -------------------------------------------------------------------------------


def _centre_and_scale(f: Function) -> tuple[Real, Real]:
    """Mode and width of a positive, unimodal function on the real line (roughly)."""

    with mp.workdps(25):

        def height(u: Real) -> Real:
            value = f(u)
            return mp.log(value) if value > 0 else mpf("-inf")

        low, high = mpf(-64), mpf(64)
        while height(low) > height(low + 1):
            low *= 2
        while height(high) > height(high - 1):
            high *= 2
        golden = (mp.sqrt(5) - 1) / 2
        inner, outer = high - golden * (high - low), low + golden * (high - low)
        f_inner, f_outer = height(inner), height(outer)
        while high - low > mpf("1e-6"):
            if f_inner < f_outer or f_inner == f_outer == mpf("-inf"):
                low, inner, f_inner = inner, outer, f_outer
                outer = low + golden * (high - low)
                f_outer = height(outer)
            else:
                high, outer, f_outer = outer, inner, f_inner
                inner = high - golden * (high - low)
                f_inner = height(inner)
        mode = (low + high) / 2
        step = mpf("1e-4")
        curvature = (2 * height(mode) - height(mode + step) - height(mode - step)) / step**2
        scale = min(mpf(1), 1 / mp.sqrt(curvature)) if curvature > 0 else mpf(1)
    return mode, scale


def _trapezoid_terms(
    f: Function, mode: Real, scale: Real, h: Real, offsets: tuple[int, int]
) -> Iterator[tuple[Real, Real]]:
    """Nodes and terms of the trapezoid rule in s, where u = mode + scale * sinh(s).

    ``offsets`` is (first, stride): (0, 1) visits every node, (1, 2) only those that a rule of
    twice the step has not seen. Both tails are followed until the terms no longer count.
    """
    first, stride = offsets
    for sign in (1, -1):
        index = first if sign > 0 or first > 0 else stride
        total, largest = mpf(0), mpf(0)
        while True:
            s = sign * index * h
            u = mode + scale * mp.sinh(s)
            term = f(u) * scale * mp.cosh(s) * h
            yield u, term
            total += term
            largest = max(largest, term)
            if abs(s) > 2 and term <= mp.eps * total * mpf("1e-4") and term < largest:
                break
            if abs(s) > 40:
                break
            index += stride


def trapezoid(f: Function) -> Real:
    """Integrate over the real line by the double-exponential trapezoid rule, halving the step."""
    mode, scale = _centre_and_scale(f)
    h = mpf(1) / 8
    estimate = mp.fsum(term for _, term in _trapezoid_terms(f, mode, scale, h, (0, 1)))
    # Digits double with every halving, so the last estimate is far better than this tolerance.
    tolerance = mpf(10) ** (-mpf(mp.dps) * mpf("0.6"))
    for _ in range(8):
        h /= 2
        added = mp.fsum(term for _, term in _trapezoid_terms(f, mode, scale, h, (1, 2)))
        refined = estimate / 2 + added
        if abs(refined - estimate) <= tolerance * abs(refined):
            return refined
        estimate = refined
    raise ArithmeticError("the trapezoid rule did not converge")


def gauss_legendre(f: Function) -> Real:
    """The same integral by Gauss-Legendre on panels that widen away from the mode."""
    mode, scale = _centre_and_scale(f)
    peak = f(mode)
    breaks: list[Real] = [mode]
    for sign in (1, -1):
        distance = scale * mpf("1.7")
        while True:
            u = mode + sign * distance
            breaks.append(u)
            if f(u) * (1 + distance) ** 2 < peak * scale * mpf(10) ** (-mp.dps + 4):
                break
            distance *= mpf("1.6")
    breaks.sort()
    # mp.quad stops at an absolute error, so the integrand is brought to a height of one.
    return peak * mp.quad(lambda u: f(u) / peak, breaks, method="gauss-legendre", maxdegree=7)


# --- integrals over the rates -----------------------------------------------------------------


def _logit_beta(a: Real, b: Real) -> Function:
    """The density, but for a constant, of logit(p), p ~ Beta(a, b)."""

    def density(u: Real) -> Real:
        small = mp.exp(-abs(u))
        log_large = -mp.log1p(small)
        log_p, log_q = (log_large, log_large - abs(u))[:: 1 if u > 0 else -1]
        return mp.exp(a * log_p + b * log_q)

    return density


def _log_gamma(shape: Real, rate: Real) -> Function:
    """The density, but for a constant, of log(y), y ~ Gamma(shape, rate)."""
    log_mean = mp.log(shape / rate)
    return lambda u: mp.exp(shape * (u - log_mean) - shape * mp.expm1(u - log_mean))


def _logistic(u: Real) -> Real:
    return 1 / (1 + mp.exp(-u))


def dropout_integral(a: Real, b: Real, g: Function, rule: Rule) -> Real:
    """Integral over (0, 1) of p^(a-1) (1-p)^(b-1) g(p), in the variable u = logit(p)."""

    density = _logit_beta(a, b)
    return rule(lambda u: density(u) * g(_logistic(u)))


def rate_integral(shape: Real, rate: Real, g: Function, rule: Rule) -> Real:
    """Integral over (0, inf) of y^(shape-1) e^(-rate y) g(y), in the variable u = log(y)."""
    return rule(lambda u: mp.exp(shape * u - rate * mp.exp(u)) * g(mp.exp(u)))


_RULES: dict[str, Rule] = {"trapezoid": trapezoid, "gauss": gauss_legendre}


@cache
def _beta_integral(a: Real, b: Real, rule: str, dps: int) -> Real:
    with mp.workdps(dps):
        return dropout_integral(a, b, lambda p: mpf(1), _RULES[rule])


# --- the purchase models ----------------------------------------------------------------------


@dataclass(frozen=True)
class Customer:
    """A purchase model's parameters, one history, and how to integrate.

    ``extra`` is 1 for MBG/NBD, where a customer may also drop out at time 0, and 0 for BG/NBD.
    """

    r: Real
    alpha: Real
    a: Real
    b: Real
    x: int
    t_x: Real
    T: Real
    extra: int
    rule: str

    def beta(self, a: Real, b: Real) -> Real:
        """Integral of p^(a-1) (1-p)^(b-1)."""
        return _beta_integral(a, b, self.rule, mp.dps)

    def over_p(self, a: Real, b: Real, g: Function) -> Real:
        """Integral of p^(a-1) (1-p)^(b-1) g(p)."""
        return dropout_integral(a, b, g, _RULES[self.rule])

    # Given that the customer is alive at T, lambda ~ Gamma(shape, scale), p ~ Beta(a, b_alive).
    @property
    def shape(self) -> Real:
        return self.r + self.x

    @property
    def scale(self) -> Real:
        return self.alpha + self.T

    @property
    def b_alive(self) -> Real:
        return self.b + self.x + self.extra

    def alive_term(self) -> Real:
        """The likelihood of the history and of being alive at T (see ``likelihood_constant``)."""
        return self.beta(self.a, self.b_alive) / self.scale**self.shape

    def dead_term(self) -> Real:
        """The likelihood of the history and of dropping out at t_x."""
        if self.x + self.extra == 0:
            return mpf(0)
        return self.beta(self.a + 1, self.b_alive - 1) / (self.alpha + self.t_x) ** self.shape

    def likelihood_constant(self) -> Real:
        """What both terms leave out: Gamma(r+x) alpha^r / Gamma(r) / B(a, b)."""
        rising = mp.rf(self.r, self.x)
        return rising * self.alpha**self.r / self.beta(self.a, self.b)

    def given_alive(self, g: Function) -> Real:
        """E[g(p)] under the dropout probability's distribution given history and alive at T."""
        return self.over_p(self.a, self.b_alive, g) / self.beta(self.a, self.b_alive)

    def p_alive(self) -> Real:
        alive = self.alive_term()
        return alive / (alive + self.dead_term())


def log_likelihood(c: Customer) -> Real:
    return mp.log(c.likelihood_constant() * (c.alive_term() + c.dead_term()))


def p_alive(c: Customer) -> Real:
    return c.p_alive()


def p_alive_at(c: Customer, h: Real) -> Real:
    """E[e^(-lambda p h)] given alive, times P(alive)."""
    return c.p_alive() * c.given_alive(lambda p: mp.exp(-c.shape * mp.log1p(p * h / c.scale)))


def p_purchase(c: Customer, h: Real) -> Real:
    """E[1 - e^(-lambda h)] given alive, times P(alive)."""
    return -c.p_alive() * mp.expm1(-c.shape * mp.log1p(h / c.scale))


def expected_purchases(c: Customer, t: Real) -> Real:
    """E[(1 - e^(-lambda p t)) / p] given alive, times P(alive)."""
    if t == 0:
        return mpf(0)
    return c.p_alive() * c.given_alive(
        lambda p: -mp.expm1(-c.shape * mp.log1p(p * t / c.scale)) / p
    )


def expected_purchases_new(c: Customer, t: Real) -> Real:
    """The same from time 0; an MBG/NBD customer stays beyond the first purchase w.p. 1 - p."""
    share_alive = c.beta(c.a, c.b + c.extra) / c.beta(c.a, c.b)
    if t == 0:
        return mpf(0)
    return share_alive * c.given_alive(lambda p: -mp.expm1(-c.r * mp.log1p(p * t / c.alpha)) / p)


def _poisson_pmf(c: Customer, t: Real, n: int) -> Real:
    """E[(lambda t)^n e^(-lambda t) / n!] given alive: a gamma integral."""
    log_ratio = c.shape * mp.log(c.scale / (c.scale + t)) if t else mpf(0)
    return mp.rf(c.shape, n) / mp.factorial(n) * (t / (c.scale + t)) ** n * mp.exp(log_ratio)


def _poisson_tail(c: Customer, t: Real, n: int) -> Real:
    """E[P(Poisson(lambda t) >= n)] given alive, n > 0: the density of the n-th arrival on (0, t).

    That density is lambda^n s^(n-1) e^(-lambda s) / (n-1)!; its expectation over lambda is a
    gamma integral, and the integral over s = t y is done numerically.
    """
    if t == 0:
        return mpf(0)
    constant = mp.rf(c.shape, n) / mp.factorial(n - 1) * (t / c.scale) ** n
    return constant * c.over_p(
        mpf(n), mpf(1), lambda y: mp.exp(-(c.shape + n) * mp.log1p(t * y / c.scale))
    )


def _pmf_given_alive(c: Customer, t: Real, n: int) -> Real:
    """E[(1-p)^n Pois(n) + [n > 0] p (1-p)^(n-1) P(Poisson >= n)] given alive."""
    norm = c.beta(c.a, c.b_alive)
    value = c.beta(c.a, c.b_alive + n) / norm * _poisson_pmf(c, t, n)
    if n > 0:
        value += c.beta(c.a + 1, c.b_alive + n - 1) / norm * _poisson_tail(c, t, n)
    return value


def pmf(c: Customer, t: Real, n: Real) -> Real:
    """P(X(t) = n) for a new customer (x = T = 0, so "given alive" is the prior)."""
    share_alive = c.beta(c.a, c.b + c.extra) / c.beta(c.a, c.b)
    dropped = c.beta(c.a + 1, c.b) / c.beta(c.a, c.b) if c.extra and n == 0 else mpf(0)
    return dropped + share_alive * _pmf_given_alive(c, t, int(n))


def pmf_future(c: Customer, t: Real, n: Real) -> Real:
    """P(n purchases in (T, T+t] | history)."""
    alive, dead = c.alive_term(), c.dead_term()
    value = alive * _pmf_given_alive(c, t, int(n))
    return (value + dead if n == 0 else value) / (alive + dead)


def _product_rule(
    first: Function, second: Function, g: Callable[[Real, Real], Real], exponent: str
) -> Real:
    """Average of g over two densities on the real line, by the product of trapezoid rules.

    ``exponent``: stop when halving both steps changes less than 10^-(exponent * digits); the
    number of right digits doubles with every halving, so the result is far better than that.
    """
    place_first, place_second = _centre_and_scale(first), _centre_and_scale(second)

    def estimate(h: Real) -> Real:
        rows = list(_trapezoid_terms(first, *place_first, h, (0, 1)))
        columns = list(_trapezoid_terms(second, *place_second, h, (0, 1)))
        norm = mp.fsum(w for _, w in rows) * mp.fsum(w for _, w in columns)
        return mp.fsum(v * mp.fsum(w * g(u, z) for z, w in columns) for u, v in rows) / norm

    h = mpf(1) / 8
    previous = estimate(h)
    tolerance = mpf(10) ** (-mpf(mp.dps) * mpf(exponent))
    for _ in range(5):
        h /= 2
        current = estimate(h)
        if abs(current - previous) <= tolerance * abs(current):
            return current
        previous = current
    raise ArithmeticError("the double integral did not converge")


def over_both(c: Customer, g: Callable[[Real, Real], Real], exponent: str = "0.5") -> Real:
    """E[g(lambda, p)] given alive, with no shortcut: a double integral."""
    rates: dict[Real, Real] = {}
    dropouts: dict[Real, Real] = {}

    def integrand(u: Real, z: Real) -> Real:
        if u not in rates:
            rates[u] = mp.exp(u)
        if z not in dropouts:
            dropouts[z] = _logistic(z)
        return g(rates[u], dropouts[z])

    return _product_rule(
        _log_gamma(c.shape, c.scale), _logit_beta(c.a, c.b_alive), integrand, exponent
    )


def _exponential_remainder(shape: Real, z: Real) -> Real:
    """e^z E_(shape+1)(z), the exponential integral (only for second opinions)."""
    if shape < 20:
        return 1 / z if z > mpf(10) ** 60 else mp.hyperu(1, 1 - shape, z)
    # The continued fraction, all of whose terms are positive: hyperu cancels for large shapes.
    previous, terms = mpf(0), 100
    while True:
        value = z
        for j in range(terms, 0, -1):
            value = z + (shape + j) / (1 + j / value)
        if abs(value - previous) <= abs(value) * mp.eps * 100:
            return 1 / value
        previous, terms = value, 2 * terms


def _discounted_by_special_function(c: Customer, delta: Real, t: Real | None) -> Real:
    """Second opinion: the integral over time by E_n, then that over p by quadrature."""

    def g(p: Real) -> Real:
        z = delta * c.scale / p
        value = _exponential_remainder(c.shape, z)
        if t is not None:
            growth = p * t / c.scale
            decay = mp.exp(-delta * t - c.shape * mp.log1p(growth))
            value -= decay * _exponential_remainder(c.shape, z * (1 + growth))
        return c.shape / p * value

    return c.given_alive(g)


def dert(c: Customer, delta: Real) -> Real:
    """E[lambda / (delta + lambda p)] given alive, times P(alive)."""
    if c.rule == "gauss":
        return c.p_alive() * _discounted_by_special_function(c, delta, None)
    return c.p_alive() * over_both(c, lambda rate, p: rate / (delta + rate * p))


def discounted_purchases(c: Customer, t: Real, delta: Real) -> Real:
    """Integral over s in (0, t) of e^(-delta s) E[lambda e^(-lambda p s)] given alive, x P(alive).

    The expectation over lambda is a gamma integral, shape / scale * (1 + p s / scale)^-(shape+1).
    """
    if t == 0:
        return mpf(0)
    if c.rule == "gauss":
        if delta == 0:
            return expected_purchases(c, t)
        return c.p_alive() * _discounted_by_special_function(c, delta, t)
    moments: dict[Real, Real] = {}  # logit(s / t) -> s / t
    dropouts: dict[Real, Real] = {}  # logit(p) -> p t / scale

    def integrand(u: Real, z: Real) -> Real:
        if u not in moments:
            moments[u] = _logistic(u)
        if z not in dropouts:
            dropouts[z] = _logistic(z) * t / c.scale
        exponent = delta * t * moments[u]
        return mp.exp(-exponent - (c.shape + 1) * mp.log(1 + dropouts[z] * moments[u]))

    uniform, beta = _logit_beta(mpf(1), mpf(1)), _logit_beta(c.a, c.b_alive)
    average = _product_rule(uniform, beta, integrand, "0.4")
    return c.p_alive() * t * c.shape / c.scale * average


PURCHASE: dict[str, Callable[..., Real]] = {
    "log_likelihood": log_likelihood,
    "p_alive": p_alive,
    "p_alive_at": p_alive_at,
    "p_purchase": p_purchase,
    "expected_purchases": expected_purchases,
    "expected_purchases_new": expected_purchases_new,
    "pmf": pmf,
    "pmf_future": pmf_future,
    "dert": dert,
    "discounted_purchases": discounted_purchases,
}
DOUBLE = {"dert", "discounted_purchases"}


# --- purchases without dropout ----------------------------------------------------------------


@dataclass(frozen=True)
class Undying:
    """NBD: lambda ~ Gamma(r, rate alpha), purchases Poisson for ever; integrated over lambda."""

    r: Real
    alpha: Real
    x: int
    T: Real
    rule: Rule

    def mean(self, g: Function) -> Real:
        """E[g(lambda) | x purchases by T]: the density is lambda^(r+x-1) e^(-(alpha+T) lambda)."""
        shape, rate = self.r + self.x, self.alpha + self.T
        one = rate_integral(shape, rate, lambda lam: mpf(1), self.rule)
        return rate_integral(shape, rate, g, self.rule) / one


def nbd(quantity: str, c: Undying, arguments: list[Real]) -> Real:
    """Each quantity from its expression for one customer, given lambda."""
    if quantity in {"expected_purchases_new", "pmf"}:  # of a customer without a history
        c = Undying(c.r, c.alpha, 0, mpf(0), c.rule)
    if quantity == "log_likelihood":  # lambda^x e^(-lambda T), over the prior
        prior = Undying(c.r, c.alpha, 0, mpf(0), c.rule)
        return mp.log(prior.mean(lambda lam: lam**c.x * mp.exp(-lam * c.T)))
    if quantity.startswith("p_alive"):
        return mpf(1)
    if quantity == "dert":
        return c.mean(lambda lam: lam / arguments[0])
    if quantity == "discounted_purchases":
        t, delta = arguments
        return c.mean(lambda lam: lam * (-mp.expm1(-delta * t) / delta if delta else t))
    t = arguments[0]
    if t == 0:
        return mpf(int(quantity.startswith("pmf") and arguments[1] == 0))
    if quantity == "p_purchase":
        return c.mean(lambda lam: -mp.expm1(-lam * t))
    if quantity.startswith("expected"):
        return c.mean(lambda lam: lam * t)
    n = int(arguments[1])
    return c.mean(lambda lam: (lam * t) ** n * mp.exp(-lam * t)) / mp.factorial(n)


# --- the spend model --------------------------------------------------------------------------


def spend(quantity: str, p: Real, q: Real, v: Real, x: int, m: Real, rule: Rule) -> Real:
    """Gamma-Gamma: values ~ Gamma(p, rate nu) with mean p / nu, nu ~ Gamma(q, rate v).

    The mean m of x values is Gamma(p x, rate nu x); everything is integrated over nu.
    """

    def one(nu: Real) -> Real:
        return mpf(1)

    if quantity == "log_likelihood":
        shape = p * x

        def density(nu: Real) -> Real:
            return mp.exp(shape * mp.log(nu * x) + (shape - 1) * mp.log(m) - nu * x * m)

        joint = rate_integral(q, v, density, rule) / mp.gamma(shape)
        return mp.log(joint / rate_integral(q, v, one, rule))
    shape, rate = q + p * x, v + x * m  # the density of nu given x values with mean m
    if shape <= 1:
        raise ValueError("the mean does not exist")
    return rate_integral(shape, rate, lambda nu: p / nu, rule) / rate_integral(
        shape, rate, one, rule
    )


# --- rows -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One line of the CSV without its value. Numbers are kept as they are written."""

    model: str
    case: str
    parameters: str
    frequency: str
    recency: str
    T: str
    monetary_value: str
    quantity: str
    argument: str

    def key(self) -> tuple[str, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))


COLUMNS = [field.name for field in fields(Row)] + ["value"]


def exact(text: str) -> Real:
    """The double nearest the decimal: what a program that reads the CSV will hold."""
    return mpf(float(text))


def customer(row: Row, rule: str) -> Customer:
    values = {k: exact(v) for k, v in (item.split("=") for item in row.parameters.split())}
    return Customer(
        **values,
        x=int(row.frequency),
        t_x=exact(row.recency),
        T=exact(row.T),
        extra=int(row.model == "mbgnbd"),
        rule=rule,
    )


def undying(row: Row, rule: str) -> Undying:
    values = {k: exact(v) for k, v in (item.split("=") for item in row.parameters.split())}
    return Undying(**values, x=int(row.frequency), T=exact(row.T), rule=_RULES[rule])


def asked_of(row: Row) -> list[Real]:
    return [exact(part) for part in row.argument.split(";") if part]


def evaluate(row: Row, rule: str, dps: int) -> Real:
    """The value of a row by one quadrature rule at one working precision."""
    with mp.workdps(dps):
        if row.model == "gamma_gamma":
            values = {k: exact(v) for k, v in (item.split("=") for item in row.parameters.split())}
            value = spend(
                row.quantity,
                **values,
                x=int(row.frequency or 0),
                m=exact(row.monetary_value or "0"),
                rule=_RULES[rule],
            )
        elif row.model == "nbd":
            value = nbd(row.quantity, undying(row, rule), asked_of(row))
        else:
            arguments = asked_of(row)
            value = PURCHASE[row.quantity](customer(row, rule), *arguments)
        # The log of a likelihood of exactly one carries only rounding noise.
        return mpf(0) if abs(value) < mpf(10) ** (8 - dps) and "log" in row.quantity else +value


def compute(row: Row) -> Real:
    """The value that is published."""
    return evaluate(row, "trapezoid", WORK_DPS_2D if row.quantity in DOUBLE else WORK_DPS)


def published(value: Real) -> str:
    """The value as text."""
    with mp.workdps(WORK_DPS):
        return str(mp.nstr(value, DIGITS))


# --- the cases --------------------------------------------------------------------------------

BG_CDNOW = "r=0.2425945 alpha=4.4136013 a=0.7929218 b=2.4259061"
MBG_CDNOW = "r=0.5248436 alpha=6.1830928 a=0.8913878 b=1.6140483"
PAPER = "r=0.243 alpha=4.414 a=0.793 b=2.426"  # table 2 of the 2005 paper
BASE = {"r": "0.24", "alpha": "4.41", "a": "0.79", "b": "2.43"}
MODELS = ("bgnbd", "mbgnbd")
NEW = ("0", "0", "0")
PINPOINT = ("2", "30.43", "38.86")
WEEKLY = "0.0018329"  # ln(1.1) / 52
DAILY = "0.00026113"  # ln(1.1) / 365

History = tuple[str, str, str]
Asked = Iterable[str]  # "quantity" or "quantity argument"


def params(**changes: str) -> str:
    return " ".join(f"{k}={v}" for k, v in (BASE | changes).items())


def ask(
    models: str | Iterable[str], case: str, parameters: str, history: History, asked: Asked
) -> Iterator[Row]:
    """Rows for one history: every quantity asked, for every model."""
    for model in [models] if isinstance(models, str) else models:
        for item in asked:
            quantity, _, argument = item.partition(" ")
            yield Row(model, case, parameters, *history, "", quantity, argument)


NEAR_ONE = {  # where closed forms divide by zero
    "one": "1",
    "one_plus_1e-13": "1.0000000000001",
    "one_minus_1e-13": "0.9999999999999",
    "one_plus_1e-8": "1.00000001",
    "one_minus_1e-6": "0.999999",
}


def breakers() -> Iterator[Row]:
    """Cases on which at least one published package returns inf, NaN or a wrong number."""
    history = ("300", "360", "365")
    asked = [
        "log_likelihood",
        "p_alive",
        "p_alive_at 3650",
        "p_purchase 3650",
        "expected_purchases 3650",
        f"dert {DAILY}",
        f"discounted_purchases 3650;{DAILY}",
    ]
    yield from ask(MODELS, "breaker_x300", params(), history, asked)
    asked = ["log_likelihood", "p_alive", "expected_purchases 365"]
    yield from ask(MODELS, "breaker_x5000_lapsed", params(), ("5000", "360", "365"), asked)
    yield from ask(MODELS, "breaker_x5000_long_lapsed", params(), ("5000", "100", "365"), asked)
    yield from ask(MODELS, "breaker_x5000_recent", params(), ("5000", "365", "365"), asked)
    yield from ask(MODELS, "breaker_x1000_lapsed", params(), ("1000", "100", "365"), asked)
    for slug, a in NEAR_ONE.items():
        asked = ["expected_purchases 39", "p_alive_at 39"]
        yield from ask(MODELS, f"breaker_a_{slug}", params(a=a), PINPOINT, asked)
        yield from ask(MODELS, f"breaker_a_{slug}", params(a=a), NEW, ["expected_purchases_new 39"])
    ab = {"r": "0.3", "alpha": "10", "a": "0.4"}
    for slug, b in {"is": "0.6", "just_over": "0.6000000000001", "nearly": "0.599999"}.items():
        case = f"breaker_a_plus_b_{slug}_one"
        yield from ask(
            MODELS,
            case,
            params(**ab, b=b),
            ("0", "0", "100"),
            ["log_likelihood", "expected_purchases 30", "p_alive_at 30"],
        )
        yield from ask(MODELS, case, params(**ab, b=b), NEW, ["expected_purchases_new 30"])
    low = params(r="0.3", alpha="10", a="0.3", b="0.5")
    yield from ask(
        MODELS,
        "breaker_a_plus_b_below_one",
        low,
        ("0", "0", "1200"),
        ["expected_purchases 30", "expected_purchases 365", "p_alive_at 365"],
    )
    other = params(r="0.11", alpha="2.24", a="0.31", b="0.5")
    yield from ask(
        MODELS,
        "breaker_a_plus_b_below_one_young",
        other,
        ("0", "0", "1"),
        ["expected_purchases 30", "p_alive_at 30"],
    )
    yield from ask(
        MODELS, "breaker_a_plus_b_below_one_young", other, NEW, ["expected_purchases_new 30"]
    )
    huge = params(r="1000000000", alpha="1000000000000")
    yield from ask(
        MODELS,
        "breaker_huge_r_alpha",
        huge,
        PINPOINT,
        ["log_likelihood", "p_alive", "expected_purchases 39", "p_alive_at 39", "p_purchase 39"],
    )
    yield from ask(
        MODELS, "breaker_huge_r_alpha", huge, ("3", "300", "365"), ["expected_purchases 30"]
    )
    yield from ask(
        MODELS,
        "breaker_b_one_x0",
        params(alpha="4.4", b="1"),
        ("0", "0", "30"),
        ["log_likelihood", "p_alive", "expected_purchases 39", "p_alive_at 39"],
    )
    asked = [f"pmf 365;{n}" for n in (0, 1, 100, 200, 300, 400, 500)]
    yield from ask(MODELS, "breaker_pmf_large_n", params(), NEW, asked)
    yield from ask(
        MODELS,
        "breaker_pmf_future_large_n",
        params(),
        history,
        [f"pmf_future 365;{n}" for n in (0, 1, 200, 300, 500)],
    )


def ordinary() -> Iterator[Row]:
    """Estimates for CDNOW, weekly, and the kind of customers it has."""
    yield from ask("bgnbd", "paper_pinpoint", PAPER, PINPOINT, ["p_alive", "expected_purchases 39"])
    histories: list[History] = [
        ("0", "0", "38.857142857142854"),
        PINPOINT,
        ("1", "0.14285714285714285", "38.857142857142854"),
        ("7", "29.428571428571427", "38.857142857142854"),
        ("26", "30.857142857142858", "31"),
    ]
    asked = [
        "log_likelihood",
        "p_alive",
        "p_alive_at 39",
        "p_purchase 39",
        "expected_purchases 1",
        "expected_purchases 39",
        "expected_purchases 520",
        "pmf_future 39;0",
        "pmf_future 39;1",
        "pmf_future 39;2",
        "pmf_future 39;10",
        f"dert {WEEKLY}",
        f"discounted_purchases 39;{WEEKLY}",
        f"discounted_purchases 156;{WEEKLY}",
    ]
    fresh = [
        "expected_purchases_new 1",
        "expected_purchases_new 39",
        "expected_purchases_new 520",
        "pmf 39;0",
        "pmf 39;1",
        "pmf 39;2",
        "pmf 39;5",
        "pmf 39;20",
    ]
    for model, parameters in zip(MODELS, (BG_CDNOW, MBG_CDNOW), strict=True):
        for history in histories:
            yield from ask(model, f"cdnow_x{history[0]}", parameters, history, asked)
        yield from ask(model, "cdnow_new", parameters, NEW, fresh)


SHAPES = ("0.02", "0.3", "1", "5", "100")
AGED: dict[str, History] = {  # x -> a history that leaves the customer possibly alive at T = 40
    "0": ("0", "0", "40"),
    "1": ("1", "20", "40"),
    "30": ("30", "39", "40"),
    "300": ("300", "39.875", "40"),
    "2000": ("2000", "39.984375", "40"),
}


def extremes() -> Iterator[Row]:
    """Dropout parameters from 0.02 to 100, up to 2,000 purchases, z = t / (alpha+T+t) to 0.999."""
    for a, b in product(SHAPES, SHAPES):
        parameters = params(r="0.3", alpha="8", a=a, b=b)  # a = r: degenerate at z -> 1
        case = f"extreme_a{a}_b{b}"
        for x, history in AGED.items():
            yield from ask(
                "bgnbd", f"{case}_x{x}", parameters, history, ["expected_purchases 47952"]
            )
            if x in {"0", "30"}:
                yield from ask(
                    "mbgnbd", f"{case}_x{x}", parameters, history, ["expected_purchases 47952"]
                )
        yield from ask("bgnbd", f"{case}_x1", parameters, AGED["1"], ["expected_purchases 48"])
        if {a, b} <= {"0.02", "1", "100"}:
            yield from ask(
                MODELS,
                f"{case}_x1",
                parameters,
                AGED["1"],
                ["log_likelihood", "p_alive", "p_alive_at 47952"],
            )
            yield from ask(MODELS, f"{case}_x30", parameters, AGED["30"], ["pmf_future 48;30"])
    for a, b in (("0.02", "0.3"), ("0.3", "5"), ("1", "1"), ("5", "0.02"), ("100", "100")):
        parameters = params(r="0.3", alpha="8", a=a, b=b)
        for x in ("0", "30"):
            yield from ask(
                MODELS if x == "30" else "bgnbd",
                f"extreme_a{a}_b{b}_x{x}",
                parameters,
                AGED[x],
                ["dert 0.0018329"],
            )
        yield from ask(
            "bgnbd",
            f"extreme_a{a}_b{b}_x1",
            parameters,
            AGED["1"],
            ["dert 1", "dert 0.000001", "discounted_purchases 520;0.0018329"],
        )


def special() -> Iterator[Row]:
    """Large and tiny r, tiny horizons, purchases at T, a customer of age zero, days for a unit."""
    asked = [
        "log_likelihood",
        "p_alive",
        "p_alive_at 39",
        "p_purchase 39",
        "expected_purchases 39",
        "expected_purchases 52000",
    ]
    yield from ask(MODELS, "large_r_1e3", params(r="1000", alpha="10000"), PINPOINT, asked)
    yield from ask("bgnbd", "large_r_1e6", params(r="1000000", alpha="10000000"), PINPOINT, asked)
    yield from ask(MODELS, "tiny_r", params(r="0.02", alpha="0.1"), PINPOINT, asked)
    yield from ask("bgnbd", "tiny_r_x0", params(r="0.02", alpha="0.1"), ("0", "0", "40"), asked)
    short = [
        f"{q} {t}"
        for t in ("0", "1e-12", "0.000001")
        for q in ("expected_purchases", "p_purchase", "p_alive_at")
    ]
    yield from ask(MODELS, "tiny_horizon", params(), PINPOINT, short)
    yield from ask(
        "bgnbd",
        "tiny_horizon_x2000",
        params(),
        AGED["2000"],
        ["expected_purchases 0.000001", "p_purchase 0.000001"],
    )
    yield from ask(
        MODELS,
        "tiny_horizon",
        params(),
        NEW,
        [
            "expected_purchases_new 0",
            "expected_purchases_new 0.000001",
            "pmf 0;0",
            "pmf 0;1",
            "pmf 0.000001;0",
            "pmf 0.000001;1",
            "pmf 0.000001;2",
        ],
    )
    yield from ask(
        MODELS,
        "tiny_horizon",
        params(),
        PINPOINT,
        [
            f"discounted_purchases 0;{WEEKLY}",
            f"discounted_purchases 0.000001;{WEEKLY}",
            "discounted_purchases 39;0",
        ],
    )
    asked = ["log_likelihood", "p_alive", "expected_purchases 39"]
    for history in (("1", "4", "4"), ("30", "40", "40"), ("2000", "40", "40"), NEW):
        case = "age_zero" if history == NEW else f"just_purchased_x{history[0]}"
        yield from ask(MODELS, case, params(), history, asked)
    for alpha in ("30", "100", "500"):
        days = params(r="0.6", alpha=alpha)
        yield from ask(
            MODELS,
            f"days_alpha{alpha}_x3",
            days,
            ("3", "400", "730"),
            ["expected_purchases 3650", "p_purchase 3650"],
        )
        yield from ask(
            "bgnbd",
            f"days_alpha{alpha}_x0",
            days,
            ("0", "0", "730"),
            [
                "expected_purchases 3650",
                "p_alive_at 3650",
                f"dert {DAILY}",
                f"discounted_purchases 3650;{DAILY}",
            ],
        )


def gamma_gamma() -> Iterator[Row]:
    """The spend model, with q below one among the cases (a mean then exists only for some x)."""
    cdnow = "p=6.249349 q=3.744256 v=15.444307"
    kept = "p=9.881241 q=3.39875 v=7.928588"
    cases = {
        "cdnow": (
            cdnow,
            [("1", "9.99"), ("2", "22.345"), ("7", "73.74"), ("26", "35.1"), ("300", "120.5")],
        ),
        "cdnow_first_kept": (kept, [("1", "11.77"), ("5", "300")]),
        "breaker_q_below_one": ("p=6.25 q=0.7 v=15.44", [("1", "20"), ("2", "35"), ("10", "80")]),
        "breaker_q_one": ("p=6.25 q=1 v=15.44", [("1", "20"), ("10", "80")]),
        "q_just_above_one": ("p=6.25 q=1.0000001 v=15.44", [("1", "20")]),
        "small_p": ("p=0.2 q=0.9 v=4", [("1", "20"), ("5", "0.01")]),
        "large": ("p=500 q=80 v=1000", [("1", "6"), ("2000", "12.5")]),
        "cents": ("p=6.249349 q=3.744256 v=1544.4307", [("2", "2234.5"), ("5000", "3510000")]),
        "tiny_mean": (cdnow, [("3", "0.000001")]),
    }
    for case, (parameters, histories) in cases.items():
        for x, m in histories:
            for quantity in ("log_likelihood", "expected_spend"):
                yield Row("gamma_gamma", case, parameters, x, "", "", m, quantity, "")
        if exact(parameters.split()[1].removeprefix("q=")) > 1:
            yield Row("gamma_gamma", case, parameters, "0", "", "", "0", "expected_spend", "")
            yield Row("gamma_gamma", case, parameters, "", "", "", "", "expected_spend_new", "")


NBD_CDNOW = "r=0.3848 alpha=12.07"


def without_dropout() -> Iterator[Row]:
    """NBD: the estimates for CDNOW, then tiny and large parameters, counts and horizons."""
    asked = [
        "log_likelihood",
        "p_alive",
        "p_alive_at 39",
        "p_purchase 39",
        "expected_purchases 39",
        "expected_purchases 52000",
        "pmf_future 39;0",
        "pmf_future 39;2",
        "pmf_future 39;30",
        f"dert {WEEKLY}",
        f"discounted_purchases 39;{WEEKLY}",
        "discounted_purchases 39;0",
    ]
    fresh = ["expected_purchases_new 39", *(f"pmf 39;{n}" for n in (0, 1, 2, 5, 20, 300))]
    cases = {
        "cdnow": NBD_CDNOW,
        "tiny_r": "r=0.02 alpha=0.1",
        "large_r": "r=1000 alpha=10000",
        "huge_r": "r=1000000 alpha=10000000",
        "days": "r=0.3848 alpha=84.49",
    }
    histories = (("0", "0", "38.857142857142854"), PINPOINT, ("30", "39", "40"), AGED["2000"])
    for case, parameters in cases.items():
        for history in histories:
            yield from ask("nbd", f"nbd_{case}_x{history[0]}", parameters, history, asked)
        yield from ask("nbd", f"nbd_{case}_new", parameters, NEW, fresh)
    short = [f"{q} {t}" for t in ("0", "1e-12") for q in ("expected_purchases", "p_purchase")]
    yield from ask("nbd", "nbd_tiny_horizon", NBD_CDNOW, PINPOINT, short)
    tiny = ["pmf 0;0", "pmf 0;1", "pmf 0.000001;0", "pmf 0.000001;2"]
    yield from ask("nbd", "nbd_tiny_horizon", NBD_CDNOW, NEW, tiny)
    yield from ask("nbd", "nbd_age_zero", NBD_CDNOW, NEW, ["log_likelihood", "p_purchase 39"])


def all_rows() -> list[Row]:
    rows = [*ordinary(), *breakers(), *extremes(), *special(), *gamma_gamma(), *without_dropout()]
    return list(dict.fromkeys(rows))  # a case may be reached twice


# --- the second opinion -----------------------------------------------------------------------


def closed_form(row: Row) -> Real | None:
    """The textbook formula, with 2F1 where the books use it; None where it does not apply."""
    q = row.quantity
    if row.model == "gamma_gamma":
        return _closed_spend(row)
    if row.model == "nbd":
        return _closed_nbd(row)
    c = customer(row, "closed")
    args = asked_of(row)
    b, k, s, e = c.b_alive, c.shape, c.scale, c.extra
    odds = c.a / (b - 1) * (s / (c.alpha + c.t_x)) ** k if c.x + e else mpf(0)
    alive = 1 / (1 + odds)
    if q == "p_alive":
        return alive
    if q == "log_likelihood":
        log_beta = mp.log(mp.beta(c.a, b) / mp.beta(c.a, c.b))
        gammas = mp.loggamma(k) - mp.loggamma(c.r)
        return gammas + c.r * mp.log(c.alpha) - k * mp.log(s) + log_beta + mp.log1p(odds)
    if q == "p_alive_at":
        z = args[0] / (s + args[0])
        return alive * (1 - z) ** c.a * mp.hyp2f1(c.a + b - k, c.a, c.a + b, z)
    if q in {"expected_purchases", "expected_purchases_new"}:
        if c.a == 1 or c.a + b == 1 or args[0] == 0:
            return None
        share = mp.beta(c.a, b) / mp.beta(c.a, c.b) if q.endswith("new") else alive
        z = args[0] / (s + args[0])
        gauss = (1 - z) ** (c.a + b - 1 - b) * mp.hyp2f1(c.a + b - 1 - k, c.a - 1, c.a + b - 1, z)
        return share * (c.a + b - 1) / (c.a - 1) * (1 - gauss)
    if q in {"pmf", "pmf_future"}:
        t, n = args[0], int(args[1])
        value = mp.beta(c.a, b + n) / mp.beta(c.a, b) * _poisson_pmf(c, t, n)
        if n > 0:
            tail = 1 - mp.fsum(_poisson_pmf(c, t, j) for j in range(n))
            value += mp.beta(c.a + 1, b + n - 1) / mp.beta(c.a, b) * tail
        share = mp.beta(c.a, b) / mp.beta(c.a, c.b) if q == "pmf" else alive
        return value * share + (1 - share if n == 0 else 0)
    return None


def _closed_nbd(row: Row) -> Real | None:
    c, args, q = undying(row, "trapezoid"), asked_of(row), row.quantity
    shape, scale = c.r + c.x, c.alpha + c.T
    if q == "log_likelihood":
        gammas = mp.loggamma(shape) - mp.loggamma(c.r)
        return gammas + c.r * mp.log(c.alpha) - shape * mp.log(scale)
    if q.startswith("expected"):
        return shape / scale * args[0]
    if q == "p_purchase":
        return 1 - (scale / (scale + args[0])) ** shape
    if q.startswith("pmf"):
        t, n = args[0], int(args[1])
        binomial = mp.rf(shape, n) / mp.factorial(n)
        return binomial * (scale / (scale + t)) ** shape * (t / (scale + t)) ** n
    return None


def _closed_spend(row: Row) -> Real:
    p, q, v = (exact(item.split("=")[1]) for item in row.parameters.split())
    x, m = mpf(row.frequency or 0), exact(row.monetary_value or "0")
    if row.quantity != "log_likelihood":
        return p * (v + x * m) / (p * x + q - 1)
    return (
        mp.loggamma(p * x + q)
        - mp.loggamma(p * x)
        - mp.loggamma(q)
        + q * mp.log(v)
        + (p * x - 1) * mp.log(m)
        + p * x * mp.log(x)
        - (p * x + q) * mp.log(v + x * m)
    )


def without_shortcuts(row: Row) -> Real | None:
    """Ordinary cases with lambda integrated numerically as well, from the individual level."""
    if row.case not in {"cdnow_x2", "cdnow_new"} or row.quantity in DOUBLE:
        return None  # NBD has no integral done by hand: its cases have other names
    if row.argument not in {"", "39", "39;0", "39;1"}:
        return None  # a double integral of transcendental functions is slow
    c = customer(row, "trapezoid")
    args = [exact(part) for part in row.argument.split(";") if part]
    prior = Customer(c.r, c.alpha, c.a, c.b, 0, mpf(0), mpf(0), 0, "trapezoid")
    e, x, quantity = c.extra, c.x, row.quantity

    def alive(lam: Real, p: Real) -> Real:
        return (1 - p) ** (x + e) * lam**x * mp.exp(-lam * c.T)

    def dead(lam: Real, p: Real) -> Real:
        if x + e == 0:
            return mpf(0)
        return p * (1 - p) ** (x + e - 1) * lam**x * mp.exp(-lam * c.t_x)

    def future(lam: Real, p: Real) -> Real:
        if quantity == "p_alive":
            return mpf(1)
        t = args[0]
        if quantity == "p_alive_at":
            return mp.exp(-lam * p * t)
        if quantity == "p_purchase":
            return -mp.expm1(-lam * t)
        if quantity.startswith("expected"):
            return -mp.expm1(-lam * p * t) / p
        n, mean = int(args[1]), lam * t
        value = (1 - p) ** n * mean**n * mp.exp(-mean) / mp.factorial(n)
        if n > 0:
            below = mp.fsum(mean**j / mp.factorial(j) for j in range(n)) * mp.exp(-mean)
            value += p * (1 - p) ** (n - 1) * (1 - below)
        return value

    def numerator(lam: Real, p: Real) -> Real:
        stay = alive(lam, p)
        zero = dead(lam, p) if quantity.startswith("pmf") and args[1] == 0 else 0
        return stay * future(lam, p) + zero

    if quantity == "log_likelihood":
        return mp.log(over_both(prior, lambda lam, p: alive(lam, p) + dead(lam, p), "0.35"))
    likelihood = mp.exp(log_likelihood(c))  # checked just above
    return over_both(prior, numerator, "0.35") / likelihood


def verify(row: Row, value: Real) -> list[tuple[str, str]]:
    """(route, relative disagreement) for every other route to the row's value."""
    routes: dict[str, Real] = {}
    routes["quadrature"] = evaluate(row, "gauss", CHECK_DPS)
    with mp.workdps(60):
        # 1 - (...) cancels for small horizons, and so does 1 - sum of a pmf far in its tail.
        with mp.workdps(400 if row.quantity.startswith("pmf") else 90):
            closed = closed_form(row)
        if closed is not None:
            routes["closed form"] = closed
    with mp.workdps(24):
        full = without_shortcuts(row)
        if full is not None:
            routes["full double integral"] = full
    with mp.workdps(60):
        return [
            (name, str(mp.nstr(abs(other - value) / (abs(value) or 1), 3)))
            for name, other in routes.items()
        ]


def check_fixed_parameters(line: dict[str, str]) -> str | None:
    """Relative difference between a BG/NBD line of fixed_parameters.csv and this script."""
    quantity, argument = line["quantity"], ""
    history = (line["frequency"], line["recency"], line["T"])
    if quantity.startswith("expected_purchases_"):
        quantity, argument = "expected_purchases", quantity.removeprefix("expected_purchases_")
    if quantity == "pmf":
        history, argument = NEW, f"{line['T']};{line['frequency']}"
    value = evaluate(
        Row("bgnbd", "fixed", line["parameters"], *history, "", quantity, argument),
        "trapezoid",
        WORK_DPS,
    )
    with mp.workdps(WORK_DPS):
        other = mpf(line["value"])
        return str(mp.nstr(abs(value - other) / (abs(value) or 1), 3))


# --- the command ------------------------------------------------------------------------------


def read_golden() -> dict[tuple[str, ...], str]:
    if not GOLDEN.exists():
        return {}
    with GOLDEN.open(newline="", encoding="utf-8") as file:
        return {
            tuple(line[c] for c in COLUMNS[:-1]): line["value"] for line in csv.DictReader(file)
        }


def write_golden(values: dict[tuple[str, ...], str]) -> None:
    with GOLDEN.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([*key, value] for key, value in values.items())


def differs(one: str, other: str) -> bool:
    with mp.workdps(WORK_DPS):
        left, right = mpf(one), mpf(other)
        return bool(abs(left - right) > mpf(SAME) * abs(left))


def compare(old: dict[tuple[str, ...], str], new: dict[tuple[str, ...], str]) -> list[str]:
    lines = [f"+ {','.join(key)}: {value}" for key, value in new.items() if key not in old]
    lines += [f"- {','.join(key)}: {value}" for key, value in old.items() if key not in new]
    lines += [
        f"! {','.join(key)}: {old[key]} -> {value}"
        for key, value in new.items()
        if key in old and differs(old[key], value)
    ]
    return lines


def work(row: Row, also_verify: bool) -> tuple[str, list[tuple[str, str]]]:
    """What a worker process does with one row."""
    value = compute(row)
    return published(value), verify(row, value) if also_verify else []


def report_verification(
    found: dict[tuple[str, ...], list[tuple[str, str]]], pool: ProcessPoolExecutor
) -> bool:
    """Print the worst disagreement with every other route; True if all is well."""
    worst: dict[str, tuple[float, str]] = {}
    good = True
    for key, routes in found.items():
        for route, text in routes:
            size, name = float(text), ",".join(key)
            if size >= worst.get(route, (-1.0, ""))[0]:
                worst[route] = (size, name)
            if size > float(AGREE_FULL if route.startswith("full") else AGREE):
                good = False
                print(f"disagreement {text} with the {route}: {name}")
    for route, (size, name) in worst.items():
        print(f"{route}: worst relative disagreement {size:.1e} ({name})")
    with FIXED.open(newline="", encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["model"] == "bgnbd"]
    sizes = [float(text or 0) for text in pool.map(check_fixed_parameters, lines, chunksize=8)]
    print(f"fixed_parameters.csv, {len(lines)} BG/NBD lines: worst {max(sizes):.1e}")
    return good and max(sizes) < 1e-12


def main() -> int:
    parser = argparse.ArgumentParser(description="Make or check tests/golden/golden.csv.")
    parser.add_argument("--write", action="store_true", help="replace golden.csv")
    parser.add_argument("--verify", action="store_true", help="recompute by other routes too")
    parser.add_argument("--case", default="", help="only cases whose name starts so (no --write)")
    options = parser.parse_args()
    if options.write and options.case:
        parser.error("--write needs every case")
    rows = [row for row in all_rows() if row.case.startswith(options.case)]
    new: dict[tuple[str, ...], str] = {}
    found: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    with ProcessPoolExecutor() as pool:
        results = pool.map(work, rows, repeat(options.verify), chunksize=2)
        for done, (row, (text, routes)) in enumerate(zip(rows, results, strict=True), start=1):
            new[row.key()], found[row.key()] = text, routes
            if done % 50 == 0:
                print(f"{done} of {len(rows)} rows", file=sys.stderr, flush=True)
        good = report_verification(found, pool) if options.verify else True
    old = {key: value for key, value in read_golden().items() if key[1].startswith(options.case)}
    changes = compare(old, new)
    print("\n".join(changes) or f"{len(new)} values, none differs from {GOLDEN.name}")
    if options.write:
        write_golden(new)
        print(f"{GOLDEN.name}: {len(new)} rows written")
        return 0 if good else 1
    if changes:
        print(f"{len(changes)} differences; --write replaces {GOLDEN.name}")
    return 0 if good and not changes else 1


if __name__ == "__main__":
    sys.exit(main())
