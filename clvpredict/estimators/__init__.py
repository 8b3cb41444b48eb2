"""The objects users hold. They check, delegate and label; numbers happen below."""

from clvpredict.estimators.base import PREDICTIONS_KEY, Estimator, Horizon
from clvpredict.estimators.clv import CLVModel
from clvpredict.estimators.purchases import BGNBD, MBGNBD, PurchaseEstimator
from clvpredict.estimators.spend import GammaGamma

__all__ = [
    "BGNBD",
    "MBGNBD",
    "PREDICTIONS_KEY",
    "CLVModel",
    "Estimator",
    "GammaGamma",
    "Horizon",
    "PurchaseEstimator",
]
