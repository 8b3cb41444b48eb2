"""Fits that several tests look at, each made once per session."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from clvpredict.estimators import Estimator

Fitted = Callable[[type[Estimator]], Estimator]


@pytest.fixture(scope="session")
def by_nuts(cdnow_rfm: pd.DataFrame) -> Fitted:
    """Two chains of 1,000 draws on CDNOW, by nutpie."""
    fits: dict[type[Estimator], Estimator] = {}

    def fit(estimator: type[Estimator]) -> Estimator:
        if estimator not in fits:
            fits[estimator] = estimator().fit(cdnow_rfm, method="nuts", chains=2, seed=1)
        return fits[estimator]

    return fit


@pytest.fixture(scope="session")
def by_laplace(cdnow_rfm: pd.DataFrame) -> Fitted:
    """4,000 draws on CDNOW."""
    fits: dict[type[Estimator], Estimator] = {}

    def fit(estimator: type[Estimator]) -> Estimator:
        if estimator not in fits:
            fits[estimator] = estimator().fit(cdnow_rfm, method="laplace", draws=4000, seed=1)
        return fits[estimator]

    return fit
