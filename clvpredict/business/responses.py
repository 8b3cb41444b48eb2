"""What spending brings: concave response curves, with what is not known of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from clvpredict.errors import OptionError
from clvpredict.options import choose
from clvpredict.rfm import Array

Form = Literal["hyperbolic", "exponential"]
#: A number, a column of the segments, ``(mean, standard error)``, or draws.
Parameter = float | str | tuple[Any, Any] | Sequence[float] | npt.NDArray[np.float64] | pd.Series
_FEWEST_DRAWS = 20
#: Points at which a curve of the user's own is held to be concave.
_CHECKED = 101


@dataclass(frozen=True)
class Curve:
    """A response of one segment under the draws of its parameters.

    Parameters
    ----------
    gain, marginal : callable
        Of a spend (a number): what it brings, and what one more unit would, shape (draws,), or
        (1,) where all is known.
    draws : int
        1 where all is known.
    """

    gain: Callable[[float], Array]
    marginal: Callable[[float], Array]
    draws: int


#: Of a segment without customers.
_NOTHING = Curve(lambda s: np.zeros(1), lambda s: np.zeros(1), 1)


class Response(Protocol):
    """What :func:`allocate_budget` asks of a response curve."""

    def curve(self, segment: Mapping[str, Any], resolve: Resolver) -> Curve:
        """Return the curve of a segment, whose columns are given."""


@dataclass(frozen=True)
class SaturatingResponse:
    """Gains that rise towards a ceiling.

    Parameters
    ----------
    ceiling : parameter
        Gain that no spend exceeds, > 0: in money, or with ``of`` as a share of it (0.08: value
        rises by 8 % at most).
    half : parameter
        Spend that brings half the ceiling, > 0, in money.
    form : {"hyperbolic", "exponential"}
        Hyperbolic is ceiling × s / (half + s); exponential ceiling × (1 − 2^(−s / half)), which
        reaches the ceiling sooner.
    of : parameter, optional
        What the ceiling is a share of, such as the column ``"clv_total"`` of :func:`segment_table`.
    per_customer : bool
        Ceiling (where in money) and half are of one customer; the segment's column `customers`
        says how many share its spend.

    Notes
    -----
    A parameter is a number; the name of a column of the segments; ``(mean, standard error)``,
    either of which may be a column's name; or an array of draws (20 or more), in which case draws
    at the same place belong together across parameters and segments. From means and standard
    errors, parameters are drawn as log-normal (elasticities and exponents as Beta) of that mean
    and standard deviation, independently: a gain is never negative.

    Examples
    --------
    >>> from clvpredict.business import SaturatingResponse
    >>> SaturatingResponse(ceiling=20_000, half=8_000).form
    'hyperbolic'
    >>> shared = SaturatingResponse((0.10, 0.03), half=4.0, of="clv_total", per_customer=True)
    """

    ceiling: Parameter
    half: Parameter
    form: Form = "hyperbolic"
    of: Parameter | None = None
    per_customer: bool = False

    def __post_init__(self) -> None:
        choose("form", self.form, Form)

    def curve(self, segment: Mapping[str, Any], resolve: Resolver) -> Curve:
        """Return the curve of a segment."""
        size = _size(segment) if self.per_customer else 1.0
        if size == 0.0:
            return _NOTHING
        top = resolve("ceiling", self.ceiling, segment)
        top = top * (size if self.of is None else resolve("of", self.of, segment, least=0.0))
        half = resolve("half", self.half, segment) * size
        if self.form == "exponential":
            rate = np.log(2.0) / half
            return _curve(
                lambda s: -top * np.expm1(-rate * s), lambda s: top * rate * np.exp(-rate * s)
            )
        return _curve(lambda s: top * s / (half + s), lambda s: top * half / (half + s) ** 2)


@dataclass(frozen=True)
class PowerResponse:
    """Gains of constant elasticity: scale × spend ** exponent.

    Parameters
    ----------
    scale : parameter
        Gain of the first unit of money, > 0. From a known gain at a known spend:
        gain / spend ** exponent.
    exponent : parameter
        Elasticity of the gain, in (0, 1]: 1 % more spend brings that many per cent more.
    per_customer : bool
        The curve is of one customer; the segment's column `customers` says how many share its
        spend.

    Notes
    -----
    For what a parameter may be, see :class:`SaturatingResponse`.

    Examples
    --------
    >>> from clvpredict.business import PowerResponse
    >>> PowerResponse(scale=120.0, exponent=(0.5, 0.1)).exponent
    (0.5, 0.1)
    """

    scale: Parameter
    exponent: Parameter
    per_customer: bool = False

    def curve(self, segment: Mapping[str, Any], resolve: Resolver) -> Curve:
        """Return the curve of a segment."""
        size = _size(segment) if self.per_customer else 1.0
        if size == 0.0:
            return _NOTHING
        scale = resolve("scale", self.scale, segment)
        power = resolve("exponent", self.exponent, segment, most=1.0)

        def marginal(s: float) -> Array:
            if s > 0:
                return scale * power * (s / size) ** (power - 1.0)
            return np.where(power < 1.0, np.inf, scale * np.ones_like(power))

        return _curve(lambda s: size * scale * (s / size) ** power, marginal)


@dataclass(frozen=True)
class ElasticResponse:
    """A segment's value answers to spend with a constant elasticity.

    What is spent now, ``spend``, goes with the segment's value; the budget comes on top of it:
    gain = value × ((1 + s / spend) ** elasticity − 1).

    Parameters
    ----------
    elasticity : parameter
        In (0, 1]: 1 % more spend raises the value by that many per cent.
    spend : parameter
        What is spent without the budget, > 0, in money and over the same time.
    of : parameter
        The value, by default the segment's column `value`.

    Notes
    -----
    For what a parameter may be, see :class:`SaturatingResponse`. To share out the whole spend
    anew, and not what comes on top, use :class:`PowerResponse` with
    scale = value / spend ** elasticity.

    Examples
    --------
    >>> from clvpredict.business import ElasticResponse
    >>> ElasticResponse((0.12, 0.04), spend="marketing_cost_total", of="clv_total").of
    'clv_total'
    """

    elasticity: Parameter
    spend: Parameter
    of: Parameter = "value"

    def curve(self, segment: Mapping[str, Any], resolve: Resolver) -> Curve:
        """Return the curve of a segment."""
        power = resolve("elasticity", self.elasticity, segment, most=1.0)
        spend = resolve("spend", self.spend, segment)
        value = resolve("of", self.of, segment, least=0.0)
        return _curve(
            lambda s: value * np.expm1(power * np.log1p(s / spend)),
            lambda s: value * power / spend * (1.0 + s / spend) ** (power - 1.0),
        )


class Resolver:
    """Turns parameters into draws; the same seed gives the same ones.

    Parameters
    ----------
    draws, seed : int
        Draws to make where means and standard errors are given.
    """

    def __init__(self, draws: int, seed: int) -> None:
        self.draws = draws
        self._rng = np.random.default_rng(seed)

    def __call__(
        self,
        name: str,
        given: Any,
        segment: Mapping[str, Any],
        *,
        least: float | None = None,
        most: float = np.inf,
    ) -> Array:
        """Return draws of a parameter, shape (draws,), or (1,) where it is known.

        They are in (0, most], or in [least, most].

        Raises
        ------
        OptionError
            Naming the segment, the parameter and what came.
        """
        who = f"{name}={given!r} of segment {segment['segment']!r}"
        if isinstance(given, tuple) and len(given) == 2:
            mean, error = (self._number(part, segment, who) for part in given)
            _refuse_outside(who, np.array([mean]), None, most)
            return self._drawn(mean, error, most, who)
        if isinstance(given, str) or np.ndim(given) == 0:
            found = np.array([self._number(given, segment, who)])
        else:
            try:
                found = np.asarray(given, dtype=np.float64).ravel()
            except (TypeError, ValueError):
                raise _no_parameter(who) from None
            who = f"{name} (draws) of segment {segment['segment']!r}"
            if len(found) < _FEWEST_DRAWS:
                raise OptionError(
                    f"{who}: {len(found)} draws came, and at least {_FEWEST_DRAWS} are needed. For "
                    "a mean and its standard error give a tuple: (0.2, 0.05)."
                )
        _refuse_outside(who, found, least, most)
        return found

    def _number(self, given: Any, segment: Mapping[str, Any], who: str) -> float:
        if isinstance(given, str):
            if given not in segment:
                columns = ", ".join(str(c) for c in segment if c != "segment")
                raise OptionError(
                    f"{who}: the segments have no column {given!r}; they have {columns or 'none'}. "
                    f"Add it: segments.assign({given}=...)."
                )
            given = segment[given]
        try:
            return float(given)
        except (TypeError, ValueError):
            raise _no_parameter(who) from None

    def _drawn(self, mean: float, error: float, most: float, who: str) -> Array:
        if not (np.isfinite(error) and error >= 0):
            raise OptionError(f"{who}: the standard error must be finite and not negative.")
        if error == 0:
            return np.array([mean])
        # One draw in each of equally likely strata: means of draws are then all but exact.
        u = (self._rng.permutation(self.draws) + self._rng.random(self.draws)) / self.draws
        if most == 1.0:
            size = mean * (1.0 - mean) / error**2 - 1.0
            if size <= 0:
                raise OptionError(
                    f"{who}: no distribution on 0 to 1 of mean {mean:g} has a standard error of "
                    f"{error:g}; give draws of it."
                )
            found = stats.beta.ppf(u, mean * size, (1.0 - mean) * size)
            return np.clip(np.asarray(found), 1e-12, 1.0)
        sigma = np.sqrt(np.log1p((error / mean) ** 2))
        return np.asarray(stats.lognorm.ppf(u, sigma, scale=mean * np.exp(-(sigma**2) / 2)))


def curves_of(
    segments: Sequence[Mapping[str, Any]],
    response: Any,
    most: Array,
    draws: int,
    seed: int,
) -> list[Curve]:
    """Return the curve of each segment, with one number of draws where any is uncertain.

    Parameters
    ----------
    segments : sequence of mappings
        Columns of each, `segment` among them.
    response : response, callable, or mapping from segment to these
        A callable is of spend, shape (m,), and returns gains, shape (m,) or (draws, m).
    most : array, shape (segments,)
        Up to which spend curves are needed; those of callables are checked to be concave there.
    draws, seed : int
        Where means and standard errors are given.

    Raises
    ------
    OptionError
        If a segment has no response, parameters are out of range, or numbers of draws differ.
    """
    names: list[Hashable] = [segment["segment"] for segment in segments]
    if isinstance(response, Mapping):
        missing = [name for name in names if name not in response]
        unknown = [name for name in response if name not in names]
        if missing or unknown:
            problem = f"has none for {missing}" if missing else f"names {unknown}"
            raise OptionError(
                f"response={{...}} needs one curve for each of the segments {names}; it {problem}."
            )
    resolve = Resolver(draws, seed)
    curves = []
    for segment, upto in zip(segments, most, strict=True):
        one = response[segment["segment"]] if isinstance(response, Mapping) else response
        if hasattr(one, "curve"):
            curves.append(one.curve(segment, resolve))
        elif callable(one):
            curves.append(_own(one, segment["segment"], float(upto)))
        else:
            raise OptionError(
                f"response={one!r} is no curve: give SaturatingResponse(ceiling, half), "
                "PowerResponse(scale, exponent), ElasticResponse(elasticity, spend), a function "
                "of spend, or a mapping from segment to these."
            )
    counts = sorted({curve.draws for curve in curves} - {1})
    if len(counts) > 1:
        raise OptionError(
            f"responses have {' and '.join(map(str, counts))} draws: draws at the same place "
            f"belong together, so give as many of each (draws={counts[0]} for those drawn here)."
        )
    return curves


def _curve(gain: Callable[[float], Array], marginal: Callable[[float], Array]) -> Curve:
    try:
        drawn = len(np.asarray(gain(1.0)))
    except ValueError:
        raise OptionError(
            "parameters of a response have different numbers of draws: draws at the same place "
            "belong together, so give as many of each, or draws=<as many>."
        ) from None
    return Curve(gain, marginal, drawn)


def _own(function: Callable[[Array], Any], name: Hashable, most: float) -> Curve:
    """A curve of the user's own; its slope is taken from differences."""

    def gains(spend: Array) -> Array:
        found = np.atleast_2d(np.asarray(function(spend), dtype=np.float64))
        if found.shape[-1] != len(spend) or not np.isfinite(found).all():
            raise OptionError(
                f"the response of segment {name!r} must return a finite gain for each spend: "
                f"shape ({len(spend)},) or (draws, {len(spend)}); {found.shape} came."
            )
        return found

    grid = np.linspace(0.0, most, _CHECKED)
    slopes = np.diff(gains(grid), axis=1)
    rise = np.diff(slopes, axis=1).max(axis=0)
    if (rise > 1e-6 * max(np.abs(slopes).max(), 1e-300)).any():
        where = grid[1:-1][int(np.argmax(rise))]
        raise OptionError(
            f"the response of segment {name!r} is not concave near a spend of {where:,.6g}: more "
            "must never bring more per unit there, or the best split cannot be told. Give a "
            "concave curve, such as its concave envelope or SaturatingResponse."
        )
    step = most * 1e-5

    def marginal(s: float) -> Array:
        low = max(s - step, 0.0)
        both = gains(np.array([low, s + step]))
        return np.asarray((both[:, 1] - both[:, 0]) / (s + step - low))

    return Curve(lambda s: gains(np.array([s]))[:, 0], marginal, len(slopes))


def _size(segment: Mapping[str, Any]) -> float:
    if "customers" not in segment:
        raise OptionError(
            "per_customer=True needs the segments' column 'customers': "
            "segments.assign(customers=...)."
        )
    return float(segment["customers"])


def _refuse_outside(who: str, values: Array, least: float | None, most: float) -> None:
    low = values > 0 if least is None else values >= least
    inside = low & (values <= most) & np.isfinite(values)
    if not inside.all():
        bottom = "> 0" if least is None else f">= {least:g}"
        allowed = f"{bottom} and finite" if np.isinf(most) else f"{bottom} and at most {most:g}"
        raise OptionError(
            f"{who} must be {allowed}; {values[~inside][0]:g} came. Without that the curve does "
            "not rise, or is not concave; leave out segments that do not respond."
        )


def _no_parameter(who: str) -> OptionError:
    return OptionError(
        f"{who} is no parameter. Allowed: a number, a column's name, (mean, standard error), or an "
        "array of draws."
    )
