"""Options that methods of CLVModel share, and how they are shared out to its parts."""

from __future__ import annotations

from dataclasses import dataclass

from clvpredict.errors import OptionError, did_you_mean
from clvpredict.estimators.forecast import Drawing, DrawOptions, check_drawing
from clvpredict.inference.fit import FitOptions
from clvpredict.options import Discounting
from clvpredict.value import Discount, Margin


class Terms(DrawOptions, total=False):
    """What value is counted by, and how it is drawn; see :meth:`CLVModel.predict`."""

    discount_rate: float
    discounting: Discounting
    margin: Margin
    segment: str | None
    fallback_spend: float | None


@dataclass(frozen=True)
class MoneyTerms:
    """What value is counted by."""

    discount: Discount
    margin: Margin
    segment: str | None
    fallback_spend: float | None


def split_terms(terms: Terms) -> tuple[MoneyTerms, Drawing]:
    """Check the terms; those of money and those of drawing."""
    rest = dict(terms)
    discount = Discount(rest.pop("discount_rate", 0.1), rest.pop("discounting", "continuous"))  # type: ignore[arg-type]
    money = MoneyTerms(
        discount,
        terms.get("margin", 1.0),
        terms.get("segment"),
        terms.get("fallback_spend"),
    )
    for name in ("margin", "segment", "fallback_spend"):
        rest.pop(name, None)
    return money, check_drawing(rest)


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
