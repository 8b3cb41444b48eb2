"""What draws of the parameters say of each customer's purchases, block by block.

Expectations per draw (their spread is what the parameters leave open), and realised purchases
per draw (that, and the customer's own randomness).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clvpredict.models.base import PurchaseModel
from clvpredict.predict.nodes import choose_nodes, evaluate
from clvpredict.predict.point import Process
from clvpredict.predict.reduce import DistinctRows, intervals
from clvpredict.rfm import Array, Histories

# Purchases at a time.
_MOST_PURCHASES = 2_000_000


@dataclass(frozen=True)
class Realised:
    """Purchases that customers really make, one outcome per draw.

    Parameters
    ----------
    count : ndarray, shape (rows, draws)
        Purchases of each customer.
    row, draw : ndarray, shape (m,)
        Where they are not 0.
    some : ndarray, shape (m,)
        The counts there.
    span : ndarray, shape (m,)
    ended : ndarray of bool, shape (m,)
        When they happen: see :meth:`PurchaseModel.process_counts`.
    alive : tuple of ndarray
        `row`, `draw` and `span` of all who are alive at T, also those who buy no more: they live
        to the end of their span.
    """

    count: Array
    row: npt.NDArray[np.intp]
    draw: npt.NDArray[np.intp]
    some: npt.NDArray[np.int64]
    span: Array
    ended: npt.NDArray[np.bool_]
    alive: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Array]

    def pieces(self) -> list[slice]:
        """Cut it where it has many purchases, so that memory stays bounded."""
        bounded = np.cumsum(np.minimum(self.some, _MOST_PURCHASES)) // _MOST_PURCHASES
        cuts = np.flatnonzero(np.diff(bounded)) + 1
        ends = [0, *cuts.tolist(), len(self.some)]
        return [slice(a, b) for a, b in itertools.pairwise(ends)]

    def moments(
        self, part: slice, until: float, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.intp], Array]:
        """When the purchases of a piece happen, and whose they are (0 ... of the piece).

        Purchases after ``until`` are left out: there may be billions of them, for ever.
        """
        count, span, ended = self.some[part], self.span[part], self.ended[part]
        inside = np.minimum(span, until)
        late = span > until
        if late.any():
            between = count - ended
            ended = ended & ~late
            count = count.copy()
            count[late] = rng.binomial(between[late], inside[late] / span[late])
        owner = np.repeat(np.arange(len(count)), count)
        when = rng.random(len(owner)) * inside[owner]
        last = np.cumsum(count) - 1
        when[last[ended]] = span[ended]
        return owner, when

    def lifetime(self, worth: Callable[[Array], Array]) -> Array:
        """What the time that each stays alive is worth, shape (rows, draws)."""
        row, draw, span = self.alive
        out = np.zeros(self.count.shape)
        out[row, draw] = worth(span)
        return out


def mean_over_draws(
    model: PurchaseModel, theta: Array, columns: Mapping[str, Array], process: Process
) -> Array:
    """P(alive) times a quantity of the process of alive customers, averaged over draws.

    Parameters
    ----------
    theta : ndarray, shape (draws, k)
    columns : mapping
        `x`, `T`, `t_x` of the customers, in any order.

    Returns
    -------
    ndarray, shape (n,)
    """
    rows = DistinctRows.of(columns)
    drawn = DrawnPurchases(model, theta, rows.columns, np.inf, {"value": process})

    def work(block: slice, _: np.random.Generator) -> dict[str, Array]:
        return {"value": drawn.expected(block)["value"]}

    found = intervals(work, len(rows), len(theta), None, seed=0)
    return found["value"].mean[rows.inverse]


class DrawnPurchases:
    """Purchases of customers within a horizon, under draws of the parameters.

    Parameters
    ----------
    model : PurchaseModel
    theta : ndarray, shape (draws, k)
    columns : mapping
        `x`, `t_x`, `T` of the customers, sorted by x.
    t : float
        Horizon; may be inf.
    processes : mapping
        The quantities to expect besides `p_alive`, by name, as functions of the process of
        alive customers; such as :func:`purchase_processes`.
    """

    def __init__(
        self,
        model: PurchaseModel,
        theta: Array,
        columns: Mapping[str, Array],
        t: float,
        processes: Mapping[str, Process],
    ) -> None:
        self.model, self.theta, self.t = model, theta, t
        self.columns = columns
        self._nodes = choose_nodes(
            model, theta, columns["x"], columns["T"], list(processes.values())
        )
        self._values = {
            name: evaluate(model, theta, self._nodes, process)
            for name, process in processes.items()
        }
        # What diverges in a draw does so at every node; interpolation is for the other draws.
        self._infinite: dict[str, npt.NDArray[np.bool_]] = {}
        for name, values in self._values.items():
            infinite = np.isinf(values).any(axis=0)
            if infinite.any():
                self._infinite[name] = infinite
                values[:, infinite] = 0.0

    def diverges(self, name: str) -> bool:
        """Whether a quantity is infinite in some draw."""
        return name in self._infinite

    def expected(self, rows: slice) -> dict[str, Array]:
        """Give p_alive and the quantities of the processes, shape (rows, draws)."""
        h = Histories(
            np.ones(len(self.columns["x"][rows])),
            **{name: self.columns[name][rows, None] for name in ("x", "t_x", "T")},
        )
        theta = tuple(column[None, :] for column in self.theta.T)
        alive = self.model.p_alive(theta, h)
        out = {"p_alive": np.broadcast_to(alive, (len(h), len(self.theta)))}
        for name, values in self._values.items():
            value = self._nodes.at_rows(values, rows)
            value *= alive
            if name in self._infinite:
                value[:, self._infinite[name]] = np.inf
            out[name] = value
        return out

    def realised(self, rows: slice, p_alive: Array, rng: np.random.Generator) -> Realised:
        """Simulate: alive ~ Bernoulli, then the process of alive customers.

        Parameters
        ----------
        p_alive : ndarray, shape (rows, draws)
            From :meth:`expected`.
        """
        row, draw = np.nonzero(rng.random(p_alive.shape) < p_alive)
        theta = tuple(column[draw] for column in self.theta.T)
        x, age = self.columns["x"][rows][row], self.columns["T"][rows][row]
        count, span, ended = self.model.process_counts(
            self.model.given_alive(theta, x, age), self.t, rng
        )
        alive = row, draw, span
        bought = count > 0
        row, draw, some = row[bought], draw[bought], count[bought]
        all_counts = np.zeros(p_alive.shape)
        all_counts[row, draw] = some
        return Realised(all_counts, row, draw, some, span[bought], ended[bought], alive)
