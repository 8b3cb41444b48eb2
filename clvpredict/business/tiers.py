"""Tiers of customers by a number, such as their value."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.business.facts import NO_CODE, currency_of, floats, numbers
from clvpredict.business.rules import Rule, Sorted
from clvpredict.errors import DataWarning, OptionError, notify
from clvpredict.rfm import Array

# A tier that ties make larger or smaller than asked for by more than this share is worth a word.
_OFF = 0.05


@dataclass(frozen=True)
class ValueTiers(Rule):
    """Tiers of a number, the best first.

    Parameters
    ----------
    of : str, optional
        The column; by default `clv`, or `expected_purchases` where there is no money.
    shares : sequence of float
        Share of the customers in each tier, the best first; they add up to 1. Equal customers
        are never parted: a group of ties goes to the tier that brings its share nearest to the
        one asked for (if both are as near, to the better one). So the order of rows has no say.
    thresholds : sequence of float, optional
        Instead of shares: the least value of each tier but the last, falling.
    labels : sequence of str, optional
        Of the tiers, the best first.
    cuts : list, learnt
        Least value of each tier but the last; None where no value is high enough.
    """

    kind = "value"
    of: str | None = None
    shares: Sequence[float] | None = None
    thresholds: Sequence[float] | None = None
    labels: Sequence[str] | None = None
    cuts: Sequence[float | None] | None = None

    def fitted(self, table: pd.DataFrame) -> Self:
        """Turn shares into cuts."""
        of = self.of or ("clv" if "clv" in table.columns else "expected_purchases")
        values = numbers(table, of, "of")
        if self.thresholds is not None:
            if self.shares is not None:
                raise OptionError("give shares or thresholds of value tiers, not both.")
            found = floats("thresholds", self.thresholds)
            if (np.diff(found) >= 0).any():
                raise OptionError(
                    f"thresholds={list(self.thresholds)} must be falling numbers, the least value "
                    "of the best tier first, e.g. [100, 20]."
                )
            names = self._names(len(found) + 1, _between(found, currency_of(table)))
            return replace(self, of=of, thresholds=found, labels=names, cuts=found)
        shares = (0.2, 0.3, 0.5) if self.shares is None else floats("shares", self.shares)
        if len(shares) < 2 or min(shares) <= 0 or abs(sum(shares) - 1.0) > 1e-6:
            raise OptionError(
                f"shares={list(shares)} must be two or more shares of the customers, the best "
                "first, that add up to 1, e.g. [0.2, 0.3, 0.5]."
            )
        cuts = _cuts(values, shares, of)
        return replace(
            self, of=of, shares=shares, labels=self._names(len(shares), _tiers(shares)), cuts=cuts
        )

    def _names(self, tiers: int, default: list[str]) -> tuple[str, ...]:
        return distinct_labels(default if self.labels is None else self.labels, tiers)

    def sort(self, table: pd.DataFrame) -> Sorted:
        """A customer is in the first tier whose least value it reaches."""
        values = numbers(table, str(self.of), "of")
        rising = [np.inf if cut is None else cut for cut in self.cuts or ()][::-1]
        codes = len(rising) - np.searchsorted(rising, values, side="right")
        codes = np.where(np.isnan(values), NO_CODE, codes)
        return Sorted(codes.astype(np.intp), list(self.labels or ()), True, {})


def _cuts(values: Array, shares: Sequence[float], of: str) -> tuple[float | None, ...]:
    known = values[~np.isnan(values)]
    if not known.size:
        raise OptionError(f"column '{of}' is missing for all customers; there is nothing to tier.")
    rising, counts = np.unique(known, return_counts=True)
    # Customers with at least each distinct value, the highest first; nobody is one more choice.
    above = np.concatenate([[0], np.cumsum(counts[::-1])])
    least = [None, *rising[::-1].tolist()]
    wanted = np.cumsum(shares)[:-1] * len(known)
    chosen = [_nearest(above, target) for target in wanted]
    got = np.diff([0, *(above[k] for k in chosen), len(known)]) / len(known)
    if (np.abs(got - np.asarray(shares)) > np.maximum(_OFF, 1 / len(known))).any():
        tiers = " / ".join(f"{100 * share:.3g} %" for share in got)
        asked = " / ".join(f"{100 * share:.3g} %" for share in shares)
        notify(
            f"many customers have the same {of}, and equal customers stay together: the tiers "
            f"hold {tiers} of them, where {asked} were asked for.",
            DataWarning,
        )
    return tuple(least[k] for k in chosen)


def _nearest(above: npt.NDArray[np.int64], target: float) -> int:
    distance = np.abs(above - target)
    return int(len(distance) - 1 - np.argmin(distance[::-1]))


def _tiers(shares: Sequence[float]) -> list[str]:
    words = ["Top", *["Next"] * (len(shares) - 2), "Last"]
    names = [f"{word} {100 * s:.3g} %" for word, s in zip(words, shares, strict=True)]
    if len(set(names)) == len(names):
        return names
    ends = np.cumsum(shares) * 100
    return [
        f"{a:.3g}–{b:.3g} %" for a, b in zip([0.0, *ends[:-1].tolist()], ends.tolist(), strict=True)
    ]


def _between(thresholds: Sequence[float], currency: str | None) -> list[str]:
    unit = f" {currency}" if currency else ""
    texts = [f"{v:,.12g}" for v in thresholds]
    middle = [f"{low} to {high}{unit}" for high, low in itertools.pairwise(texts)]
    return [f"{texts[0]}{unit} or more", *middle, f"below {texts[-1]}{unit}"]


def distinct_labels(labels: Sequence[str], count: int) -> tuple[str, ...]:
    """Labels as texts.

    Raises
    ------
    OptionError
        If there are not as many as tiers, or two are equal.
    """
    names = tuple(map(str, labels))
    if len(names) != count or len(set(names)) != count:
        raise OptionError(f"labels={list(labels)} must be {count} different names, the best first.")
    return names
