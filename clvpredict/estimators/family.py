"""The purchase models of the registry, as users hold them."""

from __future__ import annotations

from typing import override

import pandas as pd

from clvpredict.errors import DropoutWarning, notify
from clvpredict.estimators.purchases import PurchaseEstimator
from clvpredict.models.registry import PURCHASE_MODELS


class BGNBD(PurchaseEstimator):
    """BG/NBD: purchases at a constant rate, dropout after any repeat purchase.

    Parameters r, alpha, a, b: purchase rates over customers are Gamma(r, alpha), dropout
    probabilities Beta(a, b). It calls every customer without a repeat purchase alive.

    References
    ----------
    Fader, Hardie & Lee (2005), "Counting your customers" the easy way: an alternative to the
    Pareto/NBD model. Marketing Science 24(2), 275-284.

    Examples
    --------
    >>> import clvpredict as clv
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> clv.BGNBD().fit(rfm)
    <BGNBD: r=0.24259, alpha=4.4136, a=0.79292, b=2.4259, time in weeks>
    """

    _model = PURCHASE_MODELS["bg/nbd"]


class MBGNBD(PurchaseEstimator):
    """MBG/NBD: as BG/NBD, and dropout can follow the first purchase too.

    References
    ----------
    Batislam, Denizel & Filiztekin (2007), Empirical validation and comparison of models for
    customer base analysis. IJRM 24(3), 201-209.

    Examples
    --------
    >>> import clvpredict as clv
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> clv.MBGNBD().fit(rfm)
    <MBGNBD: r=0.52484, alpha=6.1831, a=0.89136, b=1.614, time in weeks>
    """

    _model = PURCHASE_MODELS["mbg/nbd"]


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
