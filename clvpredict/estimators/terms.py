"""Options that methods of CLVModel share, and how they are shared out to its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clvpredict.errors import DataWarning, OptionError, did_you_mean, notify
from clvpredict.estimators.drawing import Drawing, DrawOptions, check_drawing
from clvpredict.inference.fit import FitOptions
from clvpredict.models.base import PurchaseModel
from clvpredict.options import Discounting, TimeUnit
from clvpredict.predict import Process
from clvpredict.rfm import Array, provenance_of
from clvpredict.value import Costs, Discount, Margin, refuse_endless, served_process


class Terms(DrawOptions, total=False):
    """What value is counted by, and how it is drawn; see :meth:`CLVModel.predict`."""

    discount_rate: float
    discounting: Discounting
    margin: Margin
    segment: str | None
    fallback_spend: float | None
    costs: Costs | None


@dataclass(frozen=True)
class MoneyTerms:
    """What value is counted by."""

    discount: Discount
    margin: Margin
    segment: str | None
    fallback_spend: float | None
    costs: Costs | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.costs, Costs | None):
            raise OptionError(
                f"costs={self.costs!r} must be clvpredict.Costs, such as "
                "Costs(service_cost=2.5, cost_to_serve=0.1)."
            )

    @property
    def alike(self) -> bool:
        """Whether all customers have the same margin and costs."""
        values = [self.margin, *(self.costs.given.values() if self.costs else ())]
        return not any(isinstance(v, str | Mapping) for v in values)

    @property
    def columns(self) -> list[str]:
        """The columns that they name."""
        named = [self.segment, self.margin if isinstance(self.margin, str) else None]
        named += self.costs.columns if self.costs else []
        return [n for n in dict.fromkeys(named) if n is not None]

    def record(self) -> dict[str, Any]:
        """What a table of predictions says of them."""
        margin = dict(self.margin) if isinstance(self.margin, Mapping) else self.margin
        said = {
            "margin": margin,
            "segment": self.segment,
            "fallback_spend": self.fallback_spend,
            "costs": None if self.costs is None else self.costs.record(),
        }
        return {n: v for n, v in said.items() if v is not None}

    def served(
        self, rfm: pd.DataFrame, model: PurchaseModel, t: float, unit: TimeUnit | None
    ) -> tuple[dict[str, Array], Process | None]:
        """The costs of each customer, and how the time goes on that they are served for.

        Raises
        ------
        InfiniteValueError
            If they never end and are not discounted.
        """
        if self.costs is None:
            return {}, None
        costs = self.costs.resolve(rfm, self.segment, unit)
        serves = bool(costs["serve"].any())
        endless = np.isinf(t) and self.discount.delta(unit) == 0
        if endless and (serves or costs["marketing"].any()):
            raise refuse_endless(self.costs)
        if not serves:  # its time does not matter
            return costs, lambda alive: np.zeros(np.shape(alive[0]))
        return costs, served_process(model, t, unit, self.discount)

    def check(self, how: Drawing) -> None:
        """Refuse what does not go together.

        Raises
        ------
        OptionError
            For costs with a recalibration.
        """
        if self.costs is not None and how.recalibration is not None:
            raise OptionError(
                "a recalibration corrects purchases and their value, and does not know costs: "
                "leave out costs= or recalibration=."
            )


def split_terms(terms: Terms) -> tuple[MoneyTerms, Drawing]:
    """Check the terms; those of money and those of drawing."""
    rest = dict(terms)
    discount = Discount(rest.pop("discount_rate", 0.1), rest.pop("discounting", "continuous"))  # type: ignore[arg-type]
    money = MoneyTerms(
        discount,
        terms.get("margin", 1.0),
        terms.get("segment"),
        terms.get("fallback_spend"),
        terms.get("costs"),
    )
    for name in ("margin", "segment", "fallback_spend", "costs"):
        rest.pop(name, None)
    how = check_drawing(rest)
    money.check(how)
    return money, how


def notice_currency(rfm: pd.DataFrame, fitted: Mapping[str, Any] | None) -> None:
    """Warn where customers' amounts are in another currency than those of the fit."""
    known = provenance_of(rfm)
    own, other = known.currency if known else None, (fitted or {}).get("currency")
    if own and other and own != other:
        notify(
            f"the model was fitted on amounts in {other}, these customers' are in {own}: spend is "
            "predicted as if the two were worth the same. Convert the amounts, or fit again.",
            DataWarning,
        )


def share_out(options: FitOptions, names: list[tuple[str, ...]]) -> list[FitOptions]:
    """Give each model the priors and starts of its parameters.

    Raises
    ------
    OptionError
        For parameters of neither.
    """
    shares: list[FitOptions] = [options.copy() for _ in names]
    for what in ("priors", "start"):
        given = dict(options.get(what) or {})  # type: ignore[call-overload]
        unknown = [n for n in given if not any(n in own for own in names)]
        if unknown:
            known = [n for own in names for n in own]
            raise OptionError(
                f"{what}: {', '.join(map(repr, unknown))} is no parameter of these models, which "
                f"have {', '.join(known)}.{did_you_mean(unknown[0], known)}"
            )
        for share, own in zip(shares, names, strict=True):
            part = {n: v for n, v in given.items() if n in own}
            share[what] = part or None
    return shares
