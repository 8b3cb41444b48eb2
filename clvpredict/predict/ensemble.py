"""Draws of what customers do, held to what they did."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from clvpredict.predict.distribution import Scores, Transform
from clvpredict.predict.reduce import Work, blocks, positions
from clvpredict.rfm import Array


def score_draws(
    work: Work,
    draws: int,
    name: str,
    observed: Array,
    ends: Mapping[float, tuple[float, float]],
    seed: int,
    transform: Transform | None = None,
    progress: bool = False,
) -> Scores:
    """Score a quantity of each row by its draws.

    Parameters
    ----------
    observed : ndarray, shape (rows,)
        What happened.
    ends : mapping
        By level of the intervals, the probabilities of the draws below their ends.
    transform : callable, optional
        Corrects the probabilities of the forecast.

    Returns
    -------
    Scores
        `crps` is the fair one, which does not grow with few draws; `log_score` is nan.
    """
    share = np.arange(1, draws + 1) / draws
    at_most = share if transform is None else transform(share)

    def reduce(block: slice, values: Mapping[str, Array]) -> Scores:
        return _scores(np.sort(values[name], axis=1), observed[block], at_most, ends, transform)

    return Scores.join(list(blocks(work, reduce, len(observed), draws, seed, progress)))


def _scores(
    ordered: Array,
    y: Array,
    at_most: Array,
    ends: Mapping[float, tuple[float, float]],
    transform: Transform | None,
) -> Scores:
    """Score rows of sorted draws; ``at_most`` is the probability up to each."""
    n, draws = ordered.shape
    here = y[:, None]
    gap = np.diff(ordered, axis=1)
    split = np.clip(here, ordered[:, :-1], ordered[:, 1:])
    c = at_most[:-1]
    crps = (split - ordered[:, :-1]) @ c**2 + (ordered[:, 1:] - split) @ (1.0 - c) ** 2
    crps += np.maximum(ordered[:, 0] - y, 0.0) + np.maximum(y - ordered[:, -1], 0.0)
    crps -= gap @ (c * (1.0 - c)) / (draws - 1)
    # Where an outcome ranks among itself and the draws: uniform if it is one of them.
    below = (ordered < here).sum(axis=1) / (draws + 1)
    upto = ((ordered <= here).sum(axis=1) + 1) / (draws + 1)
    weight = np.diff(at_most, prepend=0.0)
    if transform is not None:
        below, upto = transform(below), transform(upto)
    lower, upper, within = {}, {}, {}
    for level, (tail, head) in ends.items():
        low, high = (ordered[:, i].copy() for i in positions(draws, tail, head))
        lower[level], upper[level] = low, high
        inside = (ordered >= low[:, None]) & (ordered <= high[:, None])
        within[level] = inside @ weight
    nothing = np.full(n, np.nan)
    return Scores(crps, nothing, below, upto, ordered @ weight, lower, upper, within)


def pit_distances(
    work: Work, rows: int, draws: int, name: str, seed: int, progress: bool = False
) -> Array:
    """How far from uniform the PIT is when the forecast is right.

    Each draw in turn is taken for what happened: its outcomes share one draw of the parameters,
    as what happens does. Ties, such as customers who do not buy, are spread evenly, as by
    :func:`clvpredict.evaluate.metrics.pit_distance`.

    Returns
    -------
    ndarray, shape (draws,)
        The Kolmogorov-Smirnov distance of each.
    """

    def reduce(block: slice, values: Mapping[str, Array]) -> Array:
        given = values[name]
        order = np.argsort(given, axis=1)
        ordered = np.take_along_axis(given, order, axis=1)
        rank = np.arange(draws)
        other = ordered[:, 1:] > ordered[:, :-1]
        begins, ends = (np.insert(other, at, True, axis=1) for at in (0, draws - 1))
        low = np.maximum.accumulate(np.where(begins, rank, 0), axis=1)
        high = np.where(ends, rank + 1, draws)
        high = np.minimum.accumulate(high[:, ::-1], axis=1)[:, ::-1]
        # The PIT of a draw has this density from its lowest rank to its highest.
        height = (1.0 / (high - low)).ravel()
        cell, size = order * (draws + 1), draws * (draws + 1)
        rise, fall = (np.bincount((cell + at).ravel(), height, size) for at in (low, high))
        return np.asarray(rise - fall)

    change = np.zeros(draws * (draws + 1))
    for part in blocks(work, reduce, rows, draws, seed, progress):
        change += part
    density = np.cumsum(change.reshape(draws, draws + 1), axis=1)[:, :-1]
    ecdf = np.cumsum(density, axis=1) / rows
    return np.abs(ecdf - np.arange(1, draws + 1) / draws).max(axis=1)
