"""The models by name. Adding one is a file in this folder and a line here."""

from __future__ import annotations

from clvpredict.errors import unknown_option
from clvpredict.models.base import Model, PurchaseModel, SpendModel
from clvpredict.models.bg_nbd import BGNBDModel
from clvpredict.models.gamma_gamma import GammaGammaModel
from clvpredict.models.mbg_nbd import MBGNBDModel
from clvpredict.models.nbd import NBDModel

PURCHASE_MODELS: dict[str, PurchaseModel] = {
    m.name: m for m in (BGNBDModel(), MBGNBDModel(), NBDModel())
}
SPEND_MODELS: dict[str, SpendModel] = {m.name: m for m in (GammaGammaModel(),)}


def model_by_name(name: str) -> Model:
    """Return a model.

    Raises
    ------
    OptionError
        If no model has the name.
    """
    models: dict[str, Model] = {**PURCHASE_MODELS, **SPEND_MODELS}
    if name not in models:
        raise unknown_option("model", name, models)
    return models[name]
