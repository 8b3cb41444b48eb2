"""The baseline without dropout, as users hold it."""

from __future__ import annotations

from typing import override

import pandas as pd

from clvpredict.errors import DropoutWarning, notify
from clvpredict.estimators.purchases import PurchaseEstimator
from clvpredict.models.registry import PURCHASE_MODELS


class NBD(PurchaseEstimator):
    """NBD: purchases at a constant rate, and no dropout; a baseline, not a model of churn.

    Parameters r, alpha: purchase rates over customers are Gamma(r, alpha). P(alive) is 1 for
    everybody; what a model with dropout predicts better than this, it owes to the dropout.

    References
    ----------
    Ehrenberg (1959), The pattern of consumer purchases. Applied Statistics 8(1), 26-41.

    Schmittlein, Morrison & Colombo (1987), Counting your customers: who are they and what will
    they do next? Management Science 33(1), 1-24.

    Examples
    --------
    >>> import clvpredict as clv
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> clv.NBD().fit(rfm)
    <NBD: r=0.38477, alpha=12.072, time in weeks>
    """

    _model = PURCHASE_MODELS["nbd"]

    @override
    def _notice_certain(self, rfm: pd.DataFrame, out: pd.DataFrame) -> None:
        notify(
            "NBD has no dropout: p_alive is 1 and churn_probability 0 for everybody, by "
            "construction and whatever the data say. It is a baseline for the purchases of other "
            "models; p_purchase and expected_purchases are what it predicts.",
            DropoutWarning,
        )
