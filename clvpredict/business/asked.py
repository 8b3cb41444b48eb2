"""How a table of predictions was made, so that what is built on it adds up to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.errors import DataError, OptionError, Problem, refuse_unknown
from clvpredict.predict import Recalibration
from clvpredict.rfm import PREDICTIONS_KEY, Array, customer_ids
from clvpredict.value import Costs

_MONEY = ("discount_rate", "discounting", "margin", "segment", "fallback_spend", "costs")
_CODE = "_clvpredict_group"
_DRAWING = ("draws", "seed", "progress", "recalibration")


@dataclass(frozen=True)
class Asked:
    """What a model is asked about customers.

    Parameters
    ----------
    customers : DataFrame
        Without the row of a new customer, who is none yet.
    horizon : float, str, timedelta or None
        As in ``predict``.
    terms : dict
        The keyword arguments of ``predict``, ``predict_totals`` and so on.
    """

    customers: pd.DataFrame
    horizon: float | str | timedelta | None
    terms: dict[str, Any]


def has_money(model: Any) -> bool:
    """Whether a model predicts value, not purchases only."""
    return hasattr(model, "spend")


def as_asked(model: Any, table: pd.DataFrame, horizon: Any = "as predicted", **terms: Any) -> Asked:
    """Ask the model what the predictions in a table are the answer to.

    Parameters
    ----------
    model : CLVModel or purchase model
        A fitted one, that made the predictions.
    table : DataFrame
        Predictions (they say how they were made), or an RFM summary.
    horizon : float, str, timedelta or None
        By default that of the predictions.
    **terms
        As in ``predict``; by default those of the predictions.

    Raises
    ------
    OptionError
        If the table does not say its horizon and none is given, for unknown terms, and for
        predictions of another model.
    """
    refuse_unknown("terms", terms, (*_MONEY, *_DRAWING))
    said = table.attrs.get(PREDICTIONS_KEY) or {}
    if isinstance(horizon, str) and horizon == "as predicted":
        if "horizon" not in said:
            raise OptionError(
                "this table does not say its horizon, as predictions do. Take what "
                "model.predict(rfm, horizon='52W') returns, or clvpredict.store.read_table(path). "
                "If a merge or concat lost its attrs: table.attrs = predictions.attrs."
            )
        horizon = said["horizon"]
    if said:
        _check_model(model, said)
    known = {name: said[name] for name in (*_MONEY, *_DRAWING) if said.get(name) is not None}
    if isinstance(known.get("costs"), dict):
        known["costs"] = Costs(**known["costs"])
    if isinstance(known.get("recalibration"), dict):
        known["recalibration"] = Recalibration.from_record(known["recalibration"])
    found = known | terms
    if not has_money(model):
        refuse_unknown("terms of a model without money", terms, _DRAWING)
        found = {name: value for name, value in found.items() if name in _DRAWING}
    return Asked(known_customers(table), horizon, found)


def drawn_sums(
    model: Any,
    asked: Asked,
    codes: npt.NDArray[np.intp],
    groups: int,
    quantities: Sequence[str],
) -> dict[str, Array]:
    """Sums over the customers of each group within each draw, shape (groups, draws).

    Parameters
    ----------
    codes : ndarray of int, shape (n,)
        The group of each customer, 0 ... groups − 1; a group may have none.
    """
    found = model.predict_draws(
        asked.customers.assign(**{_CODE: codes}),
        horizon=asked.horizon,
        quantities=list(quantities),
        sum_by=_CODE,
        **asked.terms,
    )
    here = found[_CODE].to_numpy().astype(np.intp)
    out = {}
    for name in quantities:
        out[name] = np.zeros((groups, found.sizes["draw"]))
        out[name][here] = found[name].transpose(_CODE, "draw").to_numpy()
    return out


def need_money(model: Any) -> None:
    """Refuse a model without a spend model.

    Raises
    ------
    OptionError
        With what to fit.
    """
    if not has_money(model):
        raise OptionError(
            f"{model!r} predicts purchases only; value needs a spend model too: "
            "CLVModel(MBGNBD()).fit(rfm)."
        )


def known_customers(table: pd.DataFrame) -> pd.DataFrame:
    """Customers of a table, without the new one that ``add_new`` appends.

    Raises
    ------
    DataError
        If there are none.
    """
    new = customer_ids(table).isna().to_numpy()
    if new.all():
        problem = Problem("there are no customers in it", "give a table of one row per customer")
        raise DataError("predictions", [problem])
    return table[~new] if new.any() else table


def _check_model(model: Any, said: dict[str, Any]) -> None:
    buying = getattr(model, "purchases", model)
    asked = {"parameters": model.params_, "purchase_model": buying._model.name}
    for name, own in asked.items():
        if said.get(name) not in (None, own):
            raise OptionError(
                f"these predictions are of another model: {name} {said[name]}, and the model's "
                f"{own}. Predict with this model again: table = model.predict(rfm, ...)."
            )
    changed = said.get("changed", {})
    if changed != model.changed_:
        raise OptionError(
            f"these predictions are of a model changed by {changed or 'nothing'}, and this one is "
            f"changed by {model.changed_ or 'nothing'}. Predict with this one: table = "
            "model.predict(rfm, ...)."
        )
