"""Purchases by day: gaps and spikes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa

# Days before and after that a day is compared with.
_AROUND = 14


@dataclass(frozen=True)
class Days:
    """The days with a purchase.

    Parameters
    ----------
    number : ndarray of int, shape (days with a purchase,)
        Days since 1970, ascending.
    count : ndarray of int, shape (days with a purchase,)
        Purchases on them.
    """

    number: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]

    @classmethod
    def of(cls, daily: pa.Table) -> Days | None:
        """Read a table of ``day`` and ``n``; None if it is empty."""
        if not daily.num_rows:
            return None
        seconds = daily["day"].cast(pa.timestamp("s")).cast(pa.int64()).to_numpy()
        order = np.argsort(seconds)
        return cls(seconds[order] // 86_400, daily["n"].cast(pa.int64()).to_numpy()[order])

    @property
    def length(self) -> int:
        """Days from the first to the last, both counted."""
        return int(self.number[-1] - self.number[0] + 1)

    @property
    def total(self) -> int:
        """All purchases."""
        return int(self.count.sum())

    def moment(self, i: int) -> date:
        """The i-th day."""
        return _day(self.number[i])

    def usual_distance(self) -> float:
        """Median number of days from one day with a purchase to the next."""
        return float(np.median(np.diff(self.number))) if len(self.number) > 1 else 1.0

    def longest_gap(self) -> tuple[int, date, date]:
        """The longest run of days without a purchase: its length, first and last day."""
        gaps = np.diff(self.number) - 1
        if not len(gaps):
            return 0, self.moment(0), self.moment(0)
        i = int(np.argmax(gaps))
        return int(gaps[i]), _day(self.number[i] + 1), _day(self.number[i + 1] - 1)

    def spikes(self, threshold: float) -> dict[date, int]:
        """Days with far more purchases than the days around them.

        The robust z is (count − median) / scale over the days around, those without a purchase
        and the day itself too. The scale is 1.4826 · MAD, and at least that of random counts,
        the square root of the median, and 1.

        Returns
        -------
        dict of date to int
            Their purchases, the largest z first.
        """
        # One row per day around: memory is bounded by the days that have a purchase.
        around = self.number + np.arange(-_AROUND, _AROUND + 1)[:, None]
        place = np.minimum(np.searchsorted(self.number, around), len(self.number) - 1)
        window = np.where(self.number[place] == around, self.count[place], 0).astype(float)
        window[(around < self.number[0]) | (around > self.number[-1])] = np.nan
        median = np.nanmedian(window, axis=0)
        mad = np.nanmedian(np.abs(window - median), axis=0)
        scale = np.maximum(np.maximum(1.4826 * mad, np.sqrt(median)), 1.0)
        z = (self.count - median) / scale
        far = np.flatnonzero(z > threshold)
        far = far[np.argsort(-z[far], kind="stable")]
        return {_day(self.number[i]): int(self.count[i]) for i in far}


def _day(number: np.int64) -> date:
    return date.fromordinal(int(number) + date(1970, 1, 1).toordinal())
