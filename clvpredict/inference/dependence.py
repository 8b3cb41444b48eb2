"""Is spend independent of frequency? Measured, since Gamma-Gamma takes it for granted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special as sc

from clvpredict.rfm import Array


@dataclass(frozen=True)
class Dependence:
    """Spearman's rank correlation.

    Parameters
    ----------
    rho : float
        In [−1, 1]; 0.0 where one side is constant.
    p_value : float
        Two-sided, from the t approximation.
    n : int
        Customers.
    """

    rho: float
    p_value: float
    n: int

    def correlated(self, threshold: float) -> bool:
        """Whether it is both large enough to matter and not chance."""
        return abs(self.rho) > threshold and self.p_value < 0.01

    def __str__(self) -> str:
        return f"Spearman {self.rho:.2f}, p = {self.p_value:.2g}, {self.n:,} repeat buyers"


def spearman(x: Array, y: Array) -> Dependence:
    """Correlate the ranks of two arrays of shape (n,), ties averaged."""
    n = len(x)
    if n < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Dependence(0.0, 1.0, n)
    ranks = [pd.Series(v).rank().to_numpy() for v in (x, y)]
    rho = float(np.corrcoef(ranks[0], ranks[1])[0, 1])
    t = rho * np.sqrt((n - 2) / max(1e-300, 1.0 - rho * rho))
    return Dependence(rho, float(2.0 * sc.stdtr(n - 2, -abs(t))), n)
