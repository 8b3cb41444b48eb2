"""The steps of the main job, each said aloud; the numbers are those of the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from clvpredict.cli import facts, typed
from clvpredict.cli.session import Session
from clvpredict.errors import DataWarning, OptionError, notify, unknown_option
from clvpredict.options import Discounting, Method, TimeUnit, choose
from clvpredict.rfm import provenance_of

if TYPE_CHECKING:
    from clvpredict.estimators import CLVModel, Estimator, PurchaseEstimator
    from clvpredict.predict import Recalibration
    from clvpredict.rfm import RFMSummary
    from clvpredict.value import Costs


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
    costs : Costs or None
        What customers cost.
    """

    discount_rate: float = 0.1
    discounting: str = "continuous"
    margin: str = "1.0"
    fallback_spend: float | None = None
    costs: Costs | None = None

    def arguments(self) -> dict[str, Any]:
        """The arguments of ``CLVModel.predict``."""
        return {
            "discount_rate": self.discount_rate,
            "discounting": cast("Discounting", self.discounting),
            "margin": typed.number_or_column(self.margin),
            "fallback_spend": self.fallback_spend,
            "costs": self.costs,
        }


@dataclass(frozen=True)
class Ahead:
    """What to predict, as it was typed.

    Parameters
    ----------
    horizon : str
    add_new : bool
        Append a customer acquired today.
    interval : float or None
        Level of the intervals to add.
    draws, seed : int
        Of these, and of posterior means.
    recalibration : str or None
        File of one.
    """

    horizon: str
    add_new: bool = False
    interval: float | None = None
    draws: int = 500
    seed: int = 0
    recalibration: str | None = None


def costs(period: str, **given: str | None) -> Costs | None:
    """What customers cost, as it was typed; None where nothing was.

    Raises
    ------
    OptionError
        For costs that cannot be, and a period of none.
    """
    from clvpredict.value import Costs

    found = {n: typed.number_or_column(text) for n, text in given.items() if text is not None}
    if found:
        return Costs(**found, period=period)
    if period != "M":
        raise OptionError(
            "--cost-period says what --cost-to-serve and --marketing-cost are per, and neither is "
            "given."
        )
    return None


def read_recalibration(path: str | None) -> Recalibration | None:
    """Read what a backtest has taught, if there is a file of it."""
    from clvpredict.store import load_recalibration

    return None if path is None else load_recalibration(path)


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
    purchase_class(model)
    choose("method", method, Method)


def check_prediction(ahead: Ahead, money: Money, *, spend: bool) -> None:
    """Refuse options of a prediction that cannot be right before any work is done.

    Raises
    ------
    OptionError
        With what is allowed.
    """
    from clvpredict.estimators.drawing import BOTH, check_interval
    from clvpredict.value import Discount

    if _until(ahead.horizon) is not None:
        TimeUnit.parse("D").periods(ahead.horizon)
    check_interval(ahead.interval, BOTH)
    Discount(money.discount_rate, cast("Discounting", money.discounting))
    if not spend and money != Money():
        raise OptionError(
            "options about money (--discount-rate, --discounting, --margin, --fallback-spend, and "
            "costs such as --service-cost) need amounts, and here are none."
        )


def fit(
    session: Session,
    rfm: pd.DataFrame,
    *,
    model: str,
    method: str = "mle",
    spend: bool = True,
    time_unit: str | None = None,
    seed: int = 0,
    strict: bool = False,
) -> PurchaseEstimator | CLVModel:
    """Fit the purchase model, and the spend model if there are amounts."""
    from clvpredict.estimators import CLVModel, GammaGamma
    from clvpredict.estimators.facts import model_facts

    purchases = purchase_class(model)()
    parts: list[Estimator] = [purchases, GammaGamma()] if spend else [purchases]
    titles = " and ".join(p._model.title for p in parts)
    fitted = CLVModel(purchases) if spend else purchases
    with session.step(f"Fitting {titles}") as done:
        if time_unit is None and provenance_of(rfm) is None:
            notify(
                "the summary does not say its time unit; the model will know horizons in numbers "
                "of it only, and cannot discount. Say it: --time-unit W",
                DataWarning,
            )
        fitted.fit(
            rfm, method=cast("Method", method), time_unit=time_unit, seed=seed, strict=strict
        )
        found = session.facts["models"] = model_facts(fitted)
        done("; ".join(f"{m['title']} {m['convergence']['status']}" for m in found))
    return fitted


def predict(
    session: Session,
    model: Estimator | CLVModel,
    rfm: pd.DataFrame,
    *,
    ahead: Ahead,
    money: Money,
) -> pd.DataFrame:
    """Predict for every customer."""
    from clvpredict.estimators import CLVModel, PurchaseEstimator

    spend = isinstance(model, CLVModel)
    check_prediction(ahead, money, spend=spend)
    if not isinstance(model, CLVModel | PurchaseEstimator):
        raise OptionError(f"{type(model).__name__} alone does not predict purchases.")
    until = _until(ahead.horizon)
    says = "the remaining lifetime" if until is None else _in_words(until, model)
    with session.step(f"Predicting {len(rfm):,} customers over {says}"):
        options: dict[str, Any] = money.arguments() if spend else {}
        table = model.predict(
            rfm,
            horizon=until,
            add_new=ahead.add_new,
            interval=ahead.interval,
            draws=ahead.draws,
            seed=ahead.seed,
            recalibration=read_recalibration(ahead.recalibration),
            **options,
        )
        session.facts["predictions"] = facts.of_predictions(table, add_new=ahead.add_new)
    return table


def purchase_class(model: str) -> type[PurchaseEstimator]:
    """The estimator of a purchase model by its name."""
    from clvpredict.estimators import ESTIMATORS, PurchaseEstimator

    known = {n: c for n, c in ESTIMATORS.items() if issubclass(c, PurchaseEstimator)}
    if model not in known:
        raise unknown_option("--model", model, known)
    return known[model]


def _until(horizon: str) -> str | None:
    # "inf" is how people type it; as a number it would be refused as a slip.
    return None if horizon.strip().lower() in ("inf", "none") else horizon


def _in_words(horizon: str, model: Estimator | CLVModel) -> str:
    from clvpredict.estimators import CLVModel

    unit = (model.purchases if isinstance(model, CLVModel) else model).time_unit_
    return horizon if unit is None or typed.number(horizon) is None else f"{horizon} {unit.label}"
