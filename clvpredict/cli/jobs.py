"""The steps of the main job, each said aloud; the numbers are those of the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from clvpredict.cli import facts
from clvpredict.cli.session import Session
from clvpredict.errors import OptionError, unknown_option
from clvpredict.options import Discounting

if TYPE_CHECKING:
    from clvpredict.estimators import CLVModel, Estimator, PurchaseEstimator
    from clvpredict.rfm import RFMSummary


@dataclass(frozen=True)
class Money:
    """Options that are about money, as they were typed.

    Parameters
    ----------
    discount_rate : float
        A year, effective.
    discounting : str
    margin : str
        A number or the name of a column.
    fallback_spend : float or None
    """

    discount_rate: float = 0.1
    discounting: str = "continuous"
    margin: str = "1.0"
    fallback_spend: float | None = None

    def arguments(self) -> dict[str, Any]:
        """The arguments of ``CLVModel.predict``."""
        number = _number(self.margin)
        return {
            "discount_rate": self.discount_rate,
            "discounting": cast("Discounting", self.discounting),
            "margin": self.margin if number is None else number,
            "fallback_spend": self.fallback_spend,
        }


def summarise(session: Session, transactions: Any, **options: Any) -> RFMSummary:
    """Make the RFM summary."""
    from clvpredict.transactions import rfm_summary

    with session.step("Summarising the transactions") as done:
        rfm = rfm_summary(transactions, **options)
        session.facts["data"] = facts.of_summary(rfm)
        done(f"{len(rfm):,} customers")
    return rfm


def check_model(model: str, method: str) -> None:
    """Refuse an unknown model or method before any work is done.

    Raises
    ------
    OptionError
        With what is allowed.
    """
    _purchase_class(model)
    if method != "mle":
        raise unknown_option("method", method, ["mle"])


def fit(
    session: Session,
    rfm: pd.DataFrame,
    *,
    model: str,
    method: str = "mle",
    spend: bool = True,
    time_unit: str | None = None,
) -> PurchaseEstimator | CLVModel:
    """Fit the purchase model, and the spend model if there are amounts."""
    from clvpredict.estimators import CLVModel, GammaGamma

    purchases = _purchase_class(model)()
    parts: list[Estimator] = [purchases, GammaGamma()] if spend else [purchases]
    titles = " and ".join(p._model.title for p in parts)
    fitted = CLVModel(purchases) if spend else purchases
    with session.step(f"Fitting {titles}") as done:
        fitted.fit(rfm, method=method, time_unit=time_unit)
        session.facts["models"] = facts.of_models(fitted)
        done(
            "; ".join(f"{m['title']} {m['convergence']['status']}" for m in facts.of_models(fitted))
        )
    return fitted


def predict(
    session: Session,
    model: Estimator | CLVModel,
    rfm: pd.DataFrame,
    *,
    horizon: str,
    money: Money,
    add_new: bool = False,
) -> pd.DataFrame:
    """Predict for every customer."""
    from clvpredict.estimators import CLVModel, PurchaseEstimator

    # "inf" is how people write it; a float would be refused as a slip.
    until = None if horizon.strip().lower() in ("inf", "none") else horizon
    says = "the remaining lifetime" if until is None else _in_words(horizon, model)
    with session.step(f"Predicting {len(rfm):,} customers over {says}"):
        if isinstance(model, CLVModel):
            table = model.predict(rfm, horizon=until, add_new=add_new, **money.arguments())
        elif not isinstance(model, PurchaseEstimator):
            raise OptionError(f"{type(model).__name__} alone does not predict purchases.")
        elif money != Money():
            raise OptionError(
                "options about money (--discount-rate, --discounting, --margin, "
                "--fallback-spend) need amounts, and here are none."
            )
        else:
            table = model.predict(rfm, horizon=until, add_new=add_new)
        session.facts["predictions"] = facts.of_predictions(table, add_new=add_new)
    return table


def _purchase_class(model: str) -> type[PurchaseEstimator]:
    from clvpredict.estimators import ESTIMATORS, PurchaseEstimator

    known = {n: c for n, c in ESTIMATORS.items() if issubclass(c, PurchaseEstimator)}
    if model not in known:
        raise unknown_option("--model", model, known)
    return known[model]


def _in_words(horizon: str, model: Estimator | CLVModel) -> str:
    from clvpredict.estimators import CLVModel

    unit = (model.purchases if isinstance(model, CLVModel) else model).time_unit_
    return horizon if unit is None or _number(horizon) is None else f"{horizon} {unit.label}"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
