"""The objects users hold. They check, delegate and label; numbers happen below."""

from clvpredict.estimators.base import Estimator, Horizon
from clvpredict.estimators.clv import CLVModel
from clvpredict.estimators.family import BGNBD, MBGNBD, NBD
from clvpredict.estimators.purchases import PurchaseEstimator
from clvpredict.estimators.spend import GammaGamma

#: The estimator of each model, for what names models by text: saved ones, the command line.
ESTIMATORS: dict[str, type[Estimator]] = {
    c._model.name: c for c in (BGNBD, MBGNBD, NBD, GammaGamma)
}

__all__ = [
    "BGNBD",
    "ESTIMATORS",
    "MBGNBD",
    "NBD",
    "CLVModel",
    "Estimator",
    "GammaGamma",
    "Horizon",
    "PurchaseEstimator",
]
