"""What earlier forecasts got wrong, as a correction of later ones.

Two parts, learnt from vintages of a backtest (``clvpredict.evaluate.recalibrate``): a monotone
map of the probabilities of each customer's predictive distribution, F → G(F), which corrects its
shape and its intervals; and a factor for expectations and totals, with how much it varies from
one vintage to the next, which widens the intervals of totals.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np

from clvpredict.errors import OptionError
from clvpredict.options import TimeUnit
from clvpredict.rfm import Array

# What numbers of a correction can be.
_BOUNDS = (
    ("curve_weight", 0.0, 1.0),
    ("level", 1e-3, 1e3),
    ("level_weight", 0.0, 1.0),
    ("spread", 0.0, 10.0),
)
# Relative difference of horizons that count as the same: months are not whole weeks.
_SAME = 0.02


@dataclass(frozen=True)
class Correction:
    """The correction of one quantity.

    Parameters
    ----------
    curve : tuple of float
        G at equidistant probabilities from 0 to 1, ascending; linear between them.
    curve_weight : float
        What is left of what was seen after shrinkage: 0 is no correction, 1 all of it.
    level : float
        Factor of expectations.
    level_weight : float
        As `curve_weight`.
    spread : float
        Standard deviation over vintages of ln(realised / predicted total).
    """

    curve: tuple[float, ...]
    curve_weight: float
    level: float
    level_weight: float
    spread: float

    def probability(self, p: Array) -> Array:
        """G(p)."""
        return np.interp(p, np.linspace(0.0, 1.0, len(self.curve)), self.curve)

    def uncorrected(self, p: float) -> float:
        """The smallest probability of the forecast that is corrected to ``p``."""
        curve = np.asarray(self.curve)
        knots = np.linspace(0.0, 1.0, len(curve))
        after = int(np.searchsorted(curve, p, side="left"))
        if after == 0:
            return 0.0
        rise = curve[after] - curve[after - 1]
        return float(knots[after - 1] + (p - curve[after - 1]) / rise * (knots[1] - knots[0]))


@dataclass(frozen=True)
class Recalibration:
    """What earlier vintages of a backtest teach about a model's forecasts.

    Parameters
    ----------
    model : str
        Name of the purchase model it was learnt for, as in saved models (``"mbg/nbd"``).
    horizon : float
        Of the forecasts, in the time unit.
    time_unit : str
        Code, such as ``"W"``.
    vintages : tuple of str
        The cut dates it was learnt from.
    last_seen : str
        The last day that it has seen; it is for predictions from then on.
    purchases : Correction
    value : Correction or None
        None where the backtest had no amounts.
    """

    model: str
    horizon: float
    time_unit: str
    vintages: tuple[str, ...]
    last_seen: str
    purchases: Correction
    value: Correction | None = None

    def of(self, quantity: str) -> Correction:
        """The correction of `purchases` or `value`.

        Raises
        ------
        OptionError
            If there is none.
        """
        if quantity == "purchases":
            return self.purchases
        if self.value is None:
            raise OptionError(
                "this recalibration was learnt without amounts and cannot correct value. Backtest "
                "a CLVModel: backtest(transactions, CLVModel(...), ...)."
            )
        return self.value

    def check(self, model: str, horizon: float, unit: TimeUnit | None) -> None:
        """Refuse to correct forecasts of another kind.

        Raises
        ------
        OptionError
            If the model, the time unit or the horizon are others than it was learnt for.
        """
        learnt = f"this recalibration was learnt for {self.model} and {self.horizon:g} "
        learnt += TimeUnit.parse(self.time_unit).label
        if model != self.model:
            raise OptionError(f"{learnt}; the model is {model}. Learn one from its own backtest.")
        if unit is None or unit.code != self.time_unit:
            raise OptionError(
                f"{learnt}; the model's time unit is {unit.label if unit else 'not known'}. "
                "Backtest and fit in one unit."
            )
        if not abs(horizon / self.horizon - 1.0) <= _SAME:
            raise OptionError(
                f"{learnt}; the horizon asked for is {horizon:g}. What is off at one horizon says "
                "little of another: backtest(..., horizons=[that one]) and recalibrate again."
            )

    def record(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Recalibration:
        """Read what :meth:`record` gave.

        Raises
        ------
        OptionError
            If it is something else.
        """
        try:
            parts: dict[str, Any] = {
                name: _correction(part)
                for name in ("purchases", "value")
                if (part := record.get(name)) is not None
            }
            rest = {k: v for k, v in record.items() if k not in ("purchases", "value", "vintages")}
            found = cls(
                **{**rest, "horizon": float(rest["horizon"])},
                **parts,
                vintages=tuple(map(str, record["vintages"])),
            )
            TimeUnit.parse(found.time_unit)
            date.fromisoformat(found.last_seen)
            for vintage in found.vintages:
                date.fromisoformat(vintage)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise OptionError(f"this is not the record of a recalibration: {error!r}.") from None
        problems = [] if 0 < found.horizon < np.inf else [f"horizon {found.horizon:g}"]
        for name, part in parts.items():
            curve = np.asarray(part.curve)
            sound = len(curve) > 1 and curve[0] == 0 and curve[-1] == 1 and np.isfinite(curve).all()
            if not (sound and bool((np.diff(curve) >= 0).all())):
                problems.append(f"the curve of {name} does not ascend from 0 to 1")
            for what, least, most in _BOUNDS:
                if not least <= getattr(part, what) <= most:
                    problems.append(f"{what} of {name} is {getattr(part, what):g}")
        if problems:
            raise OptionError(f"this is no sound recalibration: {'; '.join(problems)}.")
        return found


def _correction(record: dict[str, Any]) -> Correction:
    numbers = {name: float(v) for name, v in record.items() if name != "curve"}
    return Correction(**numbers, curve=tuple(map(float, record["curve"])))
