"""What a model must be like to be published: of the fit itself, and of its forecasts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

if TYPE_CHECKING:
    from clvpredict.inference.result import FitResult
    from clvpredict.refit.config import GateConfig

Kind = Literal["refitted", "as fitted", "champion", "baseline"]
_WORDS = {
    "refitted": "refitted at the cut dates",
    "as fitted": "as fitted now",
    "champion": "the champion",
}
# Of floating point, where two models are one.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Finding:
    """One criterion, held to one challenger.

    Parameters
    ----------
    criterion : str
        ``"cells"``, ``"convergence"``, ``"k_hat"``, ``"r_hat"``, ``"divergences"``, ``"bias"``,
        ``"value_bias"``, ``"pit"`` or ``"score"``.
    subject : str
        The challenger.
    value : float, str or None
        What was found; None or nan if that is nothing.
    allowed : float, str or None
        The bound; None where there is none.
    ok : bool
        Whether the challenger keeps to it. What was not found is never within a bound.
    says : str
        The same in words.
    """

    criterion: str
    subject: str
    value: float | str | None
    allowed: float | str | None
    ok: bool
    says: str


def findings_of_fit(name: str, model: Any, gate: GateConfig) -> Iterator[Finding]:
    """Whether a fit converged, and whether its draws can be trusted."""
    from clvpredict.evaluate.fitted import parts_of

    for part in parts_of(model):
        title, result = part.formulas.title, part.result
        status = result.convergence.status
        # Draws of a posterior are judged by themselves: they need no mode that data identify.
        ok = status == "converged" or (result.is_posterior and result.sample is not None)
        said = result.convergence.message
        says = said if said.startswith(title) else f"{title}: {said}"
        yield Finding("convergence", name, status, "converged", ok, says)
        yield from _of_draws(name, title, result, gate)


def _of_draws(name: str, title: str, result: FitResult, gate: GateConfig) -> Iterator[Finding]:
    if not result.is_posterior:
        return
    how = None if result.sample is None else result.sample.how
    if result.method == "laplace":
        if gate.max_k_hat is not None:
            k_hat = None if how is None else how.k_hat
            yield _bounded("k_hat", name, k_hat, gate.max_k_hat, f"{title}: k-hat", "max_k_hat")
        return
    if gate.max_r_hat is None:
        return
    r_hat = max(how.r_hat.values(), default=None) if how else None
    yield _bounded("r_hat", name, r_hat, gate.max_r_hat, f"{title}: largest R-hat", "max_r_hat")
    diverged = how.divergences if how else None
    yield _bounded("divergences", name, diverged, 0, f"{title}: divergences", "max_r_hat")


def findings_of_cells(name: str, rows: pd.DataFrame) -> Finding:
    """Whether every vintage has a result; rows of one challenger, both kinds."""
    failed = rows[rows["status"] != "ok"]
    says = f"all {len(rows)} forecasts of the vintages have a result"
    if len(failed):
        first = failed.iloc[0]
        says = (
            f"{len(failed)} of {len(rows)} forecasts of the vintages have no result, or not all of "
            f"it; {_WORDS[first['kind']]}, {first['cut_date'].date()}: {first['status']}"
        )
    return Finding("cells", name, len(failed), 0, failed.empty, says)


def findings_of_forecasts(
    name: str, rows: pd.DataFrame, gate: GateConfig, *, money: bool
) -> Iterator[Finding]:
    """Whether forecasts of one challenger keep to the bounds that need no other model.

    Parameters
    ----------
    rows : DataFrame
        Of the challenger: a row per vintage and kind.
    money : bool
        Whether it predicts value too.
    """
    for kind, some in rows.groupby("kind", sort=False):
        who = _WORDS[str(kind)]
        for criterion, column, most, of, key in (
            ("bias", "bias_percent", gate.max_bias, "purchases", "max_bias"),
            ("value_bias", "value_bias_percent", gate.max_value_bias, "value", "max_value_bias"),
        ):
            if most is not None and (money or criterion == "bias"):
                yield _bias(criterion, name, mean_of(some, column), most, f"{who}, total {of}", key)
        if gate.max_pit_distance is not None:
            what = f"{who}, the PIT's mean distance from uniform"
            distance, most = mean_of(some, "pit_ks"), gate.max_pit_distance
            yield _bounded("pit", name, distance, most, what, "max_pit_distance")


def findings_of_score(
    name: str, rows: pd.DataFrame, champion: pd.DataFrame | None, gate: GateConfig
) -> Iterator[Finding]:
    """Whether the mean score is not worse than the champion's by more than the margin.

    Parameters
    ----------
    champion : DataFrame or None
        The champion's rows; None where there is none that scores can be compared with. Then a
        score must be there, whatever it is.
    """
    metric = gate.metric
    for kind, some in rows.groupby("kind", sort=False):
        who, score = _WORDS[str(kind)], mean_of(some, metric)
        if champion is None:
            says = f"{who}, mean {metric} {_number(score)}, with no champion to compare with"
            yield Finding("score", name, score, None, math.isfinite(score), says)
            continue
        # A vintage that the champion could not forecast is no loss for either.
        theirs = champion.set_index("cut_date")[metric].dropna()
        ours = some.set_index("cut_date").reindex(theirs.index)
        own, other = mean_of(ours, metric), float(theirs.mean())
        worse = _worse_by(own, other)
        ok = worse <= gate.margin + _ROUNDING
        says = (
            f"{who}, mean {metric} {_number(own)} against the champion's {_number(other)}: "
            f"{_change(worse)} (allowed: {100 * gate.margin:g} % worse, [gate] margin)"
        )
        yield Finding("score", name, worse, gate.margin, ok, says)


def mean_of(rows: pd.DataFrame, column: str) -> float:
    """The mean over all rows; nan if one is missing, or all."""
    if column not in rows:
        return math.nan
    return float(rows[column].astype("float64").mean(skipna=False))


def _worse_by(own: float, other: float) -> float:
    """By which share a score is worse than another; less is better, and none is negative."""
    if other > 0:
        return own / other - 1.0
    return math.inf if own > other else own - other


def _change(worse: float) -> str:
    if not math.isfinite(worse):
        return "not to be compared" if math.isnan(worse) else "worse"
    percent = round(100 * abs(worse), 2)
    return "equal" if percent == 0 else f"{percent:g} % {'worse' if worse > 0 else 'better'}"


def _bias(criterion: str, name: str, value: float, most: float, what: str, key: str) -> Finding:
    direction = "too many" if value > 0 else "too few"
    if criterion == "value_bias":
        direction = "too much" if value > 0 else "too little"
    found = f"{abs(value):.1f} % {direction}" if math.isfinite(value) else "missing"
    says = f"{what} predicted: {found} (allowed: {most:g} % either way, [gate] {key})"
    return Finding(criterion, name, value, most, abs(value) <= most, says)


def _bounded(
    criterion: str, name: str, value: float | None, most: float, what: str, key: str
) -> Finding:
    number = math.nan if value is None else float(value)
    says = f"{what} {_number(number)} (allowed: {most:g}, [gate] {key})"
    return Finding(criterion, name, number, most, number <= most, says)


def _number(value: float) -> str:
    return "missing" if math.isnan(value) else f"{value:.4g}"
