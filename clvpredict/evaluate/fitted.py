"""What a fitted model consists of, and options that tables of it share."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from clvpredict.errors import OptionError
from clvpredict.inference.result import FitResult
from clvpredict.models.base import Model, PurchaseModel, SpendModel
from clvpredict.models.registry import model_by_name
from clvpredict.options import TimeUnit


class Part[M: Model](NamedTuple):
    """A part of a fitted model: the estimator, its formulas, its fit."""

    model: Any
    formulas: M
    result: FitResult

    @property
    def unit(self) -> TimeUnit | None:
        """The time unit, if the model knows it."""
        unit: TimeUnit | None = self.model.time_unit_
        return unit

    @property
    def unit_label(self) -> str | None:
        """The time unit in words, if the model knows it."""
        return None if self.unit is None else self.unit.label


def parts_of(model: Any) -> list[Part[Model]]:
    """Purchases, spend, or both.

    Raises
    ------
    OptionError
        If it is no model.
    NotFittedError
        If it is not fitted.
    """
    found = [getattr(model, part) for part in ("purchases", "spend") if hasattr(model, part)]
    # hasattr would also hide that a model is not fitted, which says what to do.
    if not found and not hasattr(type(model), "result_"):
        raise OptionError(
            f"a fitted model is needed, such as clvpredict.MBGNBD().fit(rfm); got "
            f"{type(model).__name__}."
        )
    results = [(part, part.result_) for part in found or [model]]
    return [Part(part, model_by_name(result.model), result) for part, result in results]


def purchase_part(model: Any) -> Part[PurchaseModel]:
    """The part that is about purchases.

    Raises
    ------
    OptionError
        If there is none.
    """
    for part in parts_of(model):
        if isinstance(part.formulas, PurchaseModel):
            return Part(part.model, part.formulas, part.result)
    raise OptionError(
        f"{type(model).__name__} says nothing of purchases: give a purchase model (BGNBD, MBGNBD) "
        "or a CLVModel."
    )


def spend_part(model: Any) -> Part[SpendModel]:
    """The part that is about spend.

    Raises
    ------
    OptionError
        If there is none.
    """
    for part in parts_of(model):
        if isinstance(part.formulas, SpendModel):
            return Part(part.model, part.formulas, part.result)
    raise OptionError(
        f"{type(model).__name__} says nothing of spend: give GammaGamma().fit(rfm), or a CLVModel."
    )


def check_whole(name: str, value: Any, least: int) -> None:
    """Refuse what is not a whole number of at least so much.

    Raises
    ------
    OptionError
        Saying what came.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise OptionError(f"{name}={value!r} must be a whole number >= {least}.")


def check_level(name: str, level: Any) -> None:
    """Refuse what is no level of an interval.

    Raises
    ------
    OptionError
        Saying what came.
    """
    if not isinstance(level, int | float) or not 0 < level < 1:
        raise OptionError(f"{name}={level!r} must be between 0 and 1, e.g. 0.9.")


def check_settings(level: float, **at_least_one: int) -> None:
    """Refuse a level outside (0, 1), and numbers that are not whole or < 1.

    Raises
    ------
    OptionError
        Naming all of them.
    """
    problems = []
    for name, value in at_least_one.items():
        try:
            check_whole(name, value, 1)
        except OptionError as error:
            problems.append(str(error))
    try:
        check_level("level", level)
    except OptionError as error:
        problems.append(str(error))
    if problems:
        raise OptionError(" ".join(problems))
