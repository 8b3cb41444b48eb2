"""Vintages share purchases where their holdouts overlap: how much they say together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Overlap:
    """How alike vintages are for sharing days.

    Parameters
    ----------
    vintages : int
    correlation : float
        Mean over pairs of the share of the holdout that they have in common.
    """

    vintages: int
    correlation: float

    @classmethod
    def of(cls, cuts: pd.Series, length: pd.Timedelta) -> Overlap:
        """Of holdouts of one length after these cut dates."""
        n = len(cuts)
        if n < 2:
            return cls(n, 0.0)
        days = (cuts - cuts.min()).dt.total_seconds().to_numpy(np.float64)
        shared = 1.0 - np.abs(days[:, None] - days) / length.total_seconds()
        common = np.maximum(shared, 0.0).sum() - n
        return cls(n, float(common / (n * (n - 1))))

    @property
    def independent(self) -> float:
        """How many vintages that do not overlap would say as much."""
        return self.vintages / (1.0 + (self.vintages - 1) * self.correlation)

    def variance(self, sample: float) -> float:
        """The variance over vintages, from that of the sample.

        Vintages that overlap differ less among themselves than others would.
        """
        return sample / (1.0 - self.correlation)

    def variance_of_mean(self, sample: float) -> float:
        """The variance of the mean over vintages, from the variance of the sample."""
        return self.variance(sample) / self.independent
