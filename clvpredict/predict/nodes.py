"""How an alive customer goes on, for many draws of the parameters.

It depends on (frequency, T) only, and smoothly on T. So each quantity is computed at a few ages
per frequency and interpolated between them: the work, and the memory, do not grow with the number
of customers.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clvpredict.inference.cores import usable_cores
from clvpredict.models.base import PurchaseModel
from clvpredict.predict.point import Process
from clvpredict.rfm import Array, group_rows
from clvpredict.special import DRAWS, at_accuracy

# Ages per frequency, tried in turn.
_SIZES = (12, 20, 32)
# Relative error of interpolation, checked at the middle of the draws on so many customers.
_TOLERANCE = 1e-6
_CHECKED = 200
# Elements at a time: a few draws of all nodes.
_CHUNK = 4096


@dataclass(frozen=True)
class Nodes:
    """Where quantities are computed, and how to get from there to customers.

    Parameters
    ----------
    x, age : ndarray, shape (nodes,)
        Frequency and T of each node.
    place : ndarray, shape (n,)
        First node of each row.
    weight : ndarray, shape (n, size), or None
        Weights of the ``size`` nodes from there on; None where a row is a node itself.
    """

    x: Array
    age: Array
    place: npt.NDArray[np.intp]
    weight: Array | None

    def at_rows(self, values: Array, rows: slice) -> Array:
        """Interpolate finite values from nodes to rows.

        Parameters
        ----------
        values : ndarray, shape (nodes, draws)
        rows : slice
            Of the customers; equal frequencies lie side by side.

        Returns
        -------
        ndarray, shape (rows, draws)
        """
        place = self.place[rows]
        if self.weight is None:
            return np.asarray(values[place])
        weight = self.weight[rows]
        out = np.empty((len(place), values.shape[1]))
        begins = np.flatnonzero(np.append(True, np.diff(place) != 0))
        for begin, end in zip(begins, np.append(begins[1:], len(place)), strict=True):
            first = place[begin]
            np.matmul(
                weight[begin:end],
                values[first : first + weight.shape[1]],
                out=out[begin:end],
            )
        return out


def choose_nodes(
    model: PurchaseModel, theta: Array, x: Array, age: Array, processes: list[Process]
) -> Nodes:
    """Choose the fewest nodes that are exact to about 1e-6.

    Parameters
    ----------
    theta : ndarray, shape (draws, k)
    x, age : ndarray, shape (n,)
        Of the customers, sorted by x.
    processes : list of callable
        The quantities they are for: from the process of alive customers to a value each.
    """
    first, pair = group_rows(x, age)
    exact = Nodes(x[first], age[first], pair, None)
    frequencies, at = np.unique(x, return_inverse=True)
    middle = tuple(np.asarray(v) for v in np.exp(np.log(theta).mean(axis=0)))
    new = model.given_alive(middle, np.zeros(1), np.zeros(1))
    scale = float(np.ravel(model.time_scale(new))[0])
    checked = np.linspace(0, len(first) - 1, min(_CHECKED, len(first))).astype(np.intp)
    truth: list[Array] | None = None
    for size in _SIZES:
        if len(frequencies) * size >= len(first):
            break
        ages, weight = _chebyshev(age, scale, size)
        nodes = Nodes(
            np.repeat(frequencies, size), np.tile(ages, len(frequencies)), at * size, weight
        )
        if truth is None:
            alive = model.given_alive(middle, exact.x[checked], exact.age[checked])
            truth = [process(alive) for process in processes]
        rows = np.sort(first[checked])
        order = np.argsort(first[checked], kind="stable")
        sample = Nodes(nodes.x, nodes.age, nodes.place[rows], weight[rows])
        at_nodes = model.given_alive(middle, nodes.x, nodes.age)
        if all(
            _close(sample.at_rows(process(at_nodes)[:, None], slice(None))[:, 0], t[order])
            for process, t in zip(processes, truth, strict=True)
        ):
            return nodes
    return exact


def _close(value: Array, truth: Array) -> bool:
    with np.errstate(invalid="ignore"):
        near = np.abs(value - truth) <= _TOLERANCE * np.abs(truth) + 1e-300
    return bool((near | (value == truth)).all())  # equal where both are infinite


def _chebyshev(age: Array, scale: float, size: int) -> tuple[Array, Array]:
    """Chebyshev points in ln(scale + T), and the barycentric weights of each age."""
    s = np.log(scale + age)
    low, high = float(s.min()), float(s.max())
    angle = np.pi * np.arange(size) / (size - 1)
    nodes = 0.5 * (low + high) - 0.5 * (high - low) * np.cos(angle)
    signs = (-1.0) ** np.arange(size)
    signs[[0, -1]] *= 0.5
    distance = s[:, None] - nodes
    hit = np.abs(distance) < 1e-13 * max(1.0, high - low)
    weight = signs / np.where(hit, 1.0, distance)
    weight = np.where(hit.any(axis=1, keepdims=True), hit.astype(float), weight)
    weight /= weight.sum(axis=1, keepdims=True)
    return np.exp(nodes) - scale, weight


def evaluate(model: PurchaseModel, theta: Array, nodes: Nodes, process: Process) -> Array:
    """Compute a quantity at all nodes under all draws, shape (nodes, draws)."""
    draws, size = len(theta), len(nodes.x)
    step = max(1, _CHUNK // size)
    out = np.empty((size, draws))

    def some(begin: int) -> None:
        chunk = theta[begin : begin + step]
        per_row = tuple(np.repeat(column, size) for column in chunk.T)
        x, age = np.tile(nodes.x, len(chunk)), np.tile(nodes.age, len(chunk))
        with at_accuracy(DRAWS):
            value = process(model.given_alive(per_row, x, age))
        out[:, begin : begin + step] = value.reshape(len(chunk), size).T

    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(some, range(0, draws, step)))
    return out
