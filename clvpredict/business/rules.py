"""Rules that sort customers into segments: what they need, and what they learn from a table.

A rule is fitted once (quantiles become thresholds) and can then be applied to any later table;
its record is plain JSON, so that it can be kept beside the table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.business.facts import (
    NO_CODE,
    Codes,
    between_units,
    finite,
    known_unit_of,
    labelled,
    numbers,
    unit_of,
)
from clvpredict.errors import OptionError
from clvpredict.options import TimeUnit
from clvpredict.rfm import Array, require_column

_SCORES = 5

LIFECYCLE = ("new", "growing", "loyal", "at risk", "lost")
RFM_NAMES = (
    "Champions",
    "Loyal",
    "Potential Loyalist",
    "New",
    "Promising",
    "Need Attention",
    "About to Sleep",
    "At Risk",
    "Cannot Lose Them",
    "Hibernating",
    "Lost",
)
#: Names by score: a row per R from 5 down to 1, and in it the score of F and M from 1 to 5.
RFM_GRID = (
    ("New", "Potential Loyalist", "Potential Loyalist", "Champions", "Champions"),
    ("Promising", "Potential Loyalist", "Potential Loyalist", "Loyal", "Loyal"),
    ("About to Sleep", "About to Sleep", "Need Attention", "Loyal", "Loyal"),
    ("Hibernating", "Hibernating", "At Risk", "At Risk", "Cannot Lose Them"),
    ("Lost", "Lost", "At Risk", "At Risk", "Cannot Lose Them"),
)


class Sorted(NamedTuple):
    """Customers in segments.

    Parameters
    ----------
    codes : ndarray of int, shape (n,)
        Which label; −1 where a value is missing.
    labels : list of str
        In the order that tables list them in.
    ordered : bool
        Whether that order means something.
    columns : dict
        Further columns for the table.
    """

    codes: Codes
    labels: list[str]
    ordered: bool
    columns: dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Rule(ABC):
    """What every rule has; its fields are its options."""

    kind: ClassVar[str]

    @abstractmethod
    def fitted(self, table: pd.DataFrame) -> Self:
        """Learn from a table what is learnt from tables, and check the options."""

    @abstractmethod
    def sort(self, table: pd.DataFrame) -> Sorted:
        """Apply the fitted rule."""

    @property
    def is_fitted(self) -> bool:
        """Whether it has learnt what it learns."""
        return getattr(self, "cuts", ()) is not None

    def record(self) -> dict[str, Any]:
        """The rule as plain JSON."""
        return {"kind": self.kind, **_plain(asdict(self))}

    @classmethod
    def options(cls) -> list[str]:
        """What can be asked for, which is not what is learnt."""
        return [f.name for f in fields(cls) if f.name not in ("cuts", "time_unit")]


@dataclass(frozen=True)
class Lifecycle(Rule):
    """Where in its life a customer is; the first of these that holds.

    1. ``new``: age T ≤ `new_within`, and no repeat purchase yet.
    2. ``lost``: P(purchase) < `lost_below`.
    3. ``at risk``: P(purchase) < `active_from`; or a repeat customer silent for more than
       `silent_above` of its life, (T − recency) / T.
    4. ``loyal``: `loyal_from` repeat purchases or more.
    5. ``growing``: all others, who will probably buy and have not often done so yet.

    Parameters
    ----------
    new_within : float or str
        In the table's time unit, or such as ``"13W"``.
    active_from, lost_below : float
        P(at least one purchase within the predictions' horizon), `p_purchase`.
    loyal_from : int
        Repeat purchases.
    silent_above : float
        Share of the time since the first purchase.
    time_unit : str, learnt
        What a number in `new_within` is counted in.
    """

    kind = "lifecycle"
    new_within: float | str = "13W"
    active_from: float = 0.5
    lost_below: float = 0.2
    loyal_from: int = 3
    silent_above: float = 0.5
    time_unit: str | None = None

    def fitted(self, table: pd.DataFrame) -> Self:
        """Check the thresholds, and note the unit."""
        for name, example in (
            ("active_from", "0.5"),
            ("lost_below", "0.2"),
            ("loyal_from", "3"),
            ("silent_above", "0.5"),
        ):
            finite(name, getattr(self, name), example)
        if not 0 <= self.lost_below <= self.active_from <= 1:
            raise OptionError(
                f"lost_below={self.lost_below!r} and active_from={self.active_from!r} must be "
                "probabilities, the first not above the second, e.g. 0.2 and 0.5."
            )
        if not self.loyal_from >= 1:
            raise OptionError(f"loyal_from={self.loyal_from!r} must be 1 repeat purchase or more.")
        if not 0 < self.silent_above <= 1:
            raise OptionError(f"silent_above={self.silent_above!r} must be a share in (0, 1].")
        unit = unit_of(table)
        self._age(unit)
        return replace(self, time_unit=None if unit is None else unit.code)

    def _age(self, unit: TimeUnit | None) -> float:
        if isinstance(self.new_within, str):
            return known_unit_of(unit, f"new_within={self.new_within!r}").periods(self.new_within)
        age = finite("new_within", self.new_within, "13, or '13W'")
        if age < 0:
            raise OptionError(f"new_within={self.new_within!r} must be a length of time >= 0.")
        return age

    def sort(self, table: pd.DataFrame) -> Sorted:
        """Test the conditions, the first before the second."""
        x, t_x, T, p = (
            numbers(table, column, "lifecycle")
            for column in ("frequency", "recency", "T", "p_purchase")
        )
        unit = unit_of(table)
        age = self._age(unit)
        if not isinstance(self.new_within, str):
            age *= between_units(self.time_unit, unit)
        silent = np.divide(T - t_x, T, out=np.zeros_like(T), where=T > 0)
        codes = np.select(
            [
                np.isnan(x + t_x + T + p),
                (x == 0) & (age >= T),
                p < self.lost_below,
                (p < self.active_from) | ((x > 0) & (silent > self.silent_above)),
                x >= self.loyal_from,
            ],
            [
                NO_CODE,
                *map(LIFECYCLE.index, ("new", "lost", "at risk", "loyal")),
            ],
            default=LIFECYCLE.index("growing"),
        )
        return Sorted(codes.astype(np.intp), list(LIFECYCLE), True, {})


@dataclass(frozen=True)
class RFMScores(Rule):
    """Scores 1 (worst) to 5 (best) of recency, frequency and money, and their usual names.

    A score counts the quintiles that a customer lies above, so that equal customers have equal
    scores whatever the order of rows; where more than a fifth are equal, as those without a
    repeat purchase are, a score may be given to nobody. R is of the time since the last
    purchase, T − recency; F of `frequency`; M of money. Names are by R and the mean of F and M,
    rounded up at a half (:data:`RFM_GRID`).

    Parameters
    ----------
    monetary : {"mean", "total", "none"}, optional
        M is of `monetary_value`, or of it times `frequency`, or left out; by default the mean,
        or none where the table has no money.
    cuts : dict, learnt
        Quintiles of each.
    time_unit : str, learnt
        The unit of the quintiles of time.
    """

    kind = "rfm"
    monetary: str | None = None
    cuts: dict[str, list[float]] | None = None
    time_unit: str | None = None

    def fitted(self, table: pd.DataFrame) -> Self:
        """Take the quintiles."""
        money = self.monetary or ("mean" if "monetary_value" in table.columns else "none")
        if money not in ("mean", "total", "none"):
            raise OptionError(f"monetary={money!r} is not known. Allowed: 'mean', 'total', 'none'.")
        chosen = replace(self, monetary=money)
        shares = np.arange(1, _SCORES) / _SCORES
        # Quintiles are values that customers have, not between two of them.
        cuts = {
            letter: np.quantile(v[~np.isnan(v)], shares, method="inverted_cdf").tolist()
            for letter, v in chosen._measures(table).items()
        }
        unit = unit_of(table)
        return replace(chosen, cuts=cuts, time_unit=None if unit is None else unit.code)

    def _measures(self, table: pd.DataFrame) -> dict[str, Array]:
        x, t_x, T = (numbers(table, c, "rfm") for c in ("frequency", "recency", "T"))
        measures = {"R": T - t_x, "F": x}
        if self.monetary != "none":
            mean = numbers(table, "monetary_value", "monetary")
            measures["M"] = mean * x if self.monetary == "total" else mean
        return measures

    def sort(self, table: pd.DataFrame) -> Sorted:
        """Score, and name."""
        cuts = dict(self.cuts or {})
        factor = between_units(self.time_unit, unit_of(table))
        cuts["R"] = [cut * factor for cut in cuts["R"]]
        measures = self._measures(table)
        missing = np.isnan(sum(measures.values()))
        scores = {
            letter: 1 + np.searchsorted(cuts[letter], values) for letter, values in measures.items()
        }
        scores["R"] = _SCORES + 1 - scores["R"]
        both = (scores["F"] + scores.get("M", scores["F"]) + 1) // 2
        grid = np.array([[RFM_NAMES.index(name) for name in row] for row in RFM_GRID])
        place = np.where(missing, 1, scores["R"]), np.where(missing, 1, both)
        codes = np.where(missing, NO_CODE, grid[_SCORES - place[0], place[1] - 1])
        columns: dict[str, npt.NDArray[Any]] = {}
        for letter, score in scores.items():
            known = score.astype(np.int64)
            columns[f"{letter.lower()}_score"] = (
                np.where(missing, np.nan, known) if missing.any() else known
            )
        return Sorted(codes.astype(np.intp), list(RFM_NAMES), False, columns)


@dataclass(frozen=True)
class Columns(Rule):
    """Segments that a column has already, or the combinations of several.

    Parameters
    ----------
    columns : sequence of str
        Their names; values of several are joined by ``" · "``.
    labels : list, learnt
        All that were found, in order: of a categorical column its own, else sorted.
    """

    kind = "columns"
    columns: Sequence[str] = ()
    labels: Sequence[str] | None = None

    def fitted(self, table: pd.DataFrame) -> Self:
        """Note the labels."""
        return replace(self, columns=tuple(self.columns), labels=tuple(self.sort(table).labels))

    def sort(self, table: pd.DataFrame) -> Sorted:
        """Take the values as they are; labels not known before come last."""
        codes, labels, ordered = labelled(require_column(table, self.columns[0], "by"))
        for column in self.columns[1:]:
            more, names, _ = labelled(require_column(table, column, "by"))
            missing = (codes < 0) | (more < 0)
            pair = np.where(missing, NO_CODE, codes * len(names) + more)
            found, place = np.unique(pair[~missing], return_inverse=True)
            labels = [f"{labels[k // len(names)]} · {names[k % len(names)]}" for k in found]
            codes = np.full(len(table), NO_CODE, dtype=np.intp)
            codes[~missing] = place
            ordered = False
        if self.labels is not None:
            known = list(self.labels)
            names = known + [label for label in labels if label not in set(known)]
            place = np.array([names.index(label) for label in labels], dtype=np.intp)
            codes = np.where(codes < 0, NO_CODE, place[codes]) if len(place) else codes
            labels = names
        return Sorted(codes, labels, ordered, {})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value
