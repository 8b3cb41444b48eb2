"""The exact distribution of each customer's purchases, held to what they did.

P(X ≤ k) of every customer for k = 0, 1, ... until next to nothing is left; mixed over draws of
the parameters where a fit has them. Nothing of it is kept but what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from clvpredict.inference.cores import usable_cores
from clvpredict.models.base import PurchaseModel
from clvpredict.predict.reduce import DistinctRows, tails
from clvpredict.rfm import Array, Histories, group_rows

#: From the probabilities P(X ≤ k) of a forecast to corrected ones; monotone, 0 to 0, 1 to 1.
Transform = Callable[[Array], Array]

# What may be left of the distribution where it is cut off; a chunk of k grows as k does.
_TAIL = 1e-9
_FIRST, _LAST = 32, 1 << 20
# Rows × k at a time and core.
_ELEMENTS = 400_000


@dataclass(frozen=True)
class Scores:
    """How what happened lies in what was predicted, customer by customer.

    Parameters
    ----------
    crps : ndarray, shape (n,)
        Continuous ranked probability score, in the unit of the quantity.
    log_score : ndarray, shape (n,)
        −ln P(X = observed); nan where the forecast has no probabilities.
    below, upto : ndarray, shape (n,)
        P(X < observed) and P(X ≤ observed): the ends of the randomised PIT.
    mean : ndarray, shape (n,)
        Of the distribution.
    lower, upper : dict of float to ndarray, shape (n,)
        Ends of the equal-tailed interval of each level.
    within : dict of float to ndarray, shape (n,)
        The probability that the forecast itself gives to its interval: at least the level, and
        more for counts, which jump over it.
    """

    crps: Array
    log_score: Array
    below: Array
    upto: Array
    mean: Array
    lower: dict[float, Array]
    upper: dict[float, Array]
    within: dict[float, Array]

    def take(self, index: npt.NDArray[np.intp]) -> Scores:
        """The scores of some customers."""
        return self._made(lambda scores: scores[index])

    @classmethod
    def join(cls, parts: Sequence[Scores]) -> Scores:
        """Scores of some customers after those of others."""
        first, *rest = parts
        return first._made(lambda *arrays: np.concatenate(arrays), *rest)

    def _made(self, f: Callable[..., Array], *others: Scores) -> Scores:
        """Scores whose arrays are a function of these arrays and those of others."""
        made: dict[str, Any] = {}
        for field in fields(self):
            own, *more = (getattr(s, field.name) for s in (self, *others))
            if isinstance(own, dict):
                made[field.name] = {k: f(v, *(m[k] for m in more)) for k, v in own.items()}
            else:
                made[field.name] = f(own, *more)
        return Scores(**made)


def score_counts(
    model: PurchaseModel,
    theta: Array,
    columns: Mapping[str, Array],
    t: float,
    observed: Array,
    levels: Sequence[float],
    transform: Transform | None = None,
) -> Scores:
    """Score the purchases of customers within (T, T + t].

    Parameters
    ----------
    theta : ndarray, shape (draws, k)
        Of the parameters; one row for a plug-in forecast. Probabilities are averaged over them.
    columns : mapping
        `x`, `T`, `t_x` of the customers.
    t : float
        Horizon, finite.
    observed : ndarray, shape (n,)
        Their purchases.
    levels : sequence of float
        Of the intervals.
    transform : callable, optional
        Corrects the probabilities of the forecast.

    Returns
    -------
    Scores
    """
    rows = DistinctRows.of({**columns, "observed": observed})
    step = max(1, _ELEMENTS // _FIRST)
    blocks = [slice(i, min(i + step, len(rows))) for i in range(0, len(rows), step)]

    def one(block: slice) -> Scores:
        own = {name: c[block] for name, c in rows.columns.items()}
        return _score_block(model, theta, own, t, levels, transform)

    with ThreadPoolExecutor(usable_cores()) as pool:
        parts = list(pool.map(one, blocks))
    return Scores.join(parts).take(rows.inverse)


def _score_block(
    model: PurchaseModel,
    theta: Array,
    columns: Mapping[str, Array],
    t: float,
    levels: Sequence[float],
    transform: Transform | None,
) -> Scores:
    y = columns["observed"]
    n = len(y)
    nothing: list[Any] = [np.zeros(n) for _ in range(5)]
    nothing += [{level: np.full(n, -1.0) for level in levels} for _ in range(3)]
    out = Scores(*nothing)
    probability = np.zeros(n)
    uncorrected, before = np.zeros(n), np.zeros(n)  # P(X ≤ k), of the k before the chunk
    pieces = [(np.arange(n), 0, _FIRST)]  # rows whose next k are begin ... begin + width − 1
    while pieces:
        waiting, begin, width = pieces.pop()
        k = np.arange(begin, begin + width, dtype=np.float64)
        own = {name: c[waiting] for name, c in columns.items()}
        pmf = _pmf(model, theta, own, t, k)
        raw = uncorrected[waiting, None] + np.cumsum(pmf, axis=1)
        at_most = np.minimum(raw, 1.0)
        if transform is not None:
            at_most = transform(at_most)
        below = np.column_stack([before[waiting], at_most[:, :-1]])
        reached = k >= own["observed"][:, None]
        out.crps[waiting] += ((at_most - reached) ** 2).sum(axis=1)
        out.mean[waiting] += (1.0 - at_most).sum(axis=1)
        here = own["observed"].astype(np.intp) - begin
        found = np.flatnonzero((here >= 0) & (here < width))
        who, at = waiting[found], here[found]
        out.below[who], out.upto[who] = below[found, at], at_most[found, at]
        probability[who] = pmf[found, at]
        if transform is not None:
            probability[who] *= _slope(transform, raw[found, at] - pmf[found, at], pmf[found, at])
        for level in levels:
            _ends(out, level, waiting, at_most, below, begin)
        uncorrected[waiting], before[waiting] = raw[:, -1], at_most[:, -1]
        done = (1.0 - raw[:, -1] < _TAIL) & (own["observed"] < begin + width)
        waiting, begin, width = waiting[~done], begin + width, 2 * width
        if len(waiting) and begin < _LAST:
            count = -(-len(waiting) * width // _ELEMENTS)
            pieces += [(part, begin, width) for part in np.array_split(waiting, count) if len(part)]
    with np.errstate(divide="ignore"):
        out.log_score[:] = -np.log(np.maximum(probability, 0.0))
    lost = np.flatnonzero(probability <= 0)
    if len(lost):  # less than floats hold, or impossible
        own = {name: c[lost] for name, c in columns.items()}
        out.log_score[lost] = -_log_pmf(model, theta, own, t)
        if transform is not None:
            end = np.ones(1)
            out.log_score[lost] -= np.log(_slope(transform, end, np.zeros(1)))
    return out


def _log_pmf(model: PurchaseModel, theta: Array, columns: Mapping[str, Array], t: float) -> Array:
    """Ln P(X = observed) of each row, observed > 0, averaged over draws."""
    x, t_x, age, y = (columns[name] for name in ("x", "t_x", "T", "observed"))
    h = Histories(np.ones(len(x)), x=x, t_x=t_x, T=age)
    total = np.full(len(x), -np.inf)
    for row in theta:
        point = tuple(np.asarray(v) for v in row)
        alive = model.given_alive(point, x, age)
        with np.errstate(divide="ignore"):
            one = np.log(model.p_alive(point, h)) + model.process_log_pmf(alive, np.asarray(t), y)
        total = np.logaddexp(total, one)
    return np.asarray(total - np.log(len(theta)))


def _slope(transform: Transform, before: Array, probability: Array) -> Array:
    """By which factor a correction changes the probabilities of single outcomes."""
    # Far out, the next probability is lost in rounding: the slope there is that of a step which
    # is not.
    step = np.maximum(probability, 1e-9)
    low = np.clip(before, 0.0, 1.0 - step)
    return (transform(low + step) - transform(low)) / step


def _ends(
    out: Scores,
    level: float,
    waiting: npt.NDArray[np.intp],
    at_most: Array,
    below: Array,
    begin: int,
) -> None:
    """Note the ends of the interval where they lie in this chunk."""
    for ends, tail in zip((out.lower[level], out.upper[level]), tails(level), strict=True):
        first = (at_most >= tail).argmax(axis=1)
        rows = np.arange(len(waiting))
        hit = (at_most[rows, first] >= tail) & (ends[waiting] < 0)
        ends[waiting[hit]] = begin + first[hit]
        share = out.within[level]
        if ends is out.lower[level]:
            share[waiting[hit]] = -below[rows, first][hit]
        else:
            share[waiting[hit]] += at_most[rows, first][hit]


def _pmf(
    model: PurchaseModel, theta: Array, columns: Mapping[str, Array], t: float, k: Array
) -> Array:
    """P(X = k) of each row, averaged over draws, shape (rows, len(k))."""
    x, t_x, age = (columns[name] for name in ("x", "t_x", "T"))
    h = Histories(np.ones(len(x)), x=x, t_x=t_x, T=age)
    first, pair = group_rows(x, age)
    at = np.asarray(t)
    total = np.zeros((len(x), len(k)))
    for row in theta:
        point = tuple(np.asarray(v) for v in row)
        alive = tuple(
            np.broadcast_to(v, len(first))[:, None]
            for v in model.given_alive(point, x[first], age[first])
        )
        p = model.p_alive(point, h)
        total += p[:, None] * np.exp(model.process_log_pmf(alive, at, k[None, :]))[pair]
        if k[0] == 0:
            total[:, 0] += 1.0 - p
    return np.asarray(total / len(theta))
