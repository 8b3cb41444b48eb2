"""What a campaign has brought: customers who got it beside customers who, by lot, did not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from clvpredict.business.campaign import TOTAL, campaign_data, check_shares
from clvpredict.errors import DataWarning, OptionError, notify
from clvpredict.rfm import Array

RAW, CUPED = "difference in means", "CUPED"
#: A lot does worse than this once in a thousand times.
_UNLIKELY = 0.001


def evaluate_uplift(
    data: pd.DataFrame,
    *,
    treatment: str = "treatment",
    value: str = "value",
    control: Any = None,
    segment: str | None = None,
    covariate: str | None = None,
    allocation: float | None = None,
    interval: float = 0.95,
) -> pd.DataFrame:
    """Estimate what a campaign has changed, per segment and in total.

    Parameters
    ----------
    data : DataFrame
        A row per customer of the test, bought they anything or not.
    treatment : str
        Column that says who got the campaign: bool, 0 and 1, or two labels.
    value : str
        Column of the realised value after the start of the campaign, in money; 0 for customers
        who did not buy.
    control : label, optional
        Which of two labels is the control group.
    segment : str, optional
        Column to split by, known before the campaign.
    covariate : str, optional
        Column of a number known before the campaign that goes with the value: best, the model's
        prediction made then (`expected_purchases` or `clv`). It makes intervals narrower (CUPED).
    allocation : float, optional
        The share of customers who were to get the campaign, such as 0.5; then it is checked that
        they did.
    interval : float
        Level of the intervals.

    Returns
    -------
    DataFrame
        A row per segment and method (``"difference in means"``, and with a covariate
        ``"CUPED"``), and then for the total: `segment, method, treated, control` (customers),
        `mean_treated, mean_control` (value per customer; adjusted with CUPED), `effect` (per
        treated customer, money) with `effect_lower, effect_upper`, `standard_error`, `p_value`
        (two-sided, of no effect), `total_effect` (effect × treated) with `total_lower,
        total_upper`, `variance_reduction` (of the effect's variance, by the covariate), `balance`
        (difference of the covariate between the arms before the campaign, in standard
        deviations) and `balance_p`. Segments with fewer than 2 customers (3 with a covariate) in
        an arm have no effect. ``attrs`` say what was asked.

    Raises
    ------
    DataError
        If columns lack, values are missing, or customers occur twice; all problems are listed.
    OptionError
        If options are out of range, or no segment has customers in both arms.

    Warns
    -----
    DataWarning
        If the arms differ before the campaign by more than a lot would make likely, and if
        segments have no effect and are not in the total.

    Notes
    -----
    Assumed is that a lot decided who got the campaign (within segments, if `segment` is given;
    shares may then differ between them), that customers do not influence one another, and that
    covariate and segments were known before.

    Intervals are Welch's. They lean on means of many customers: where few buy much, some hundred
    customers per arm are needed. CUPED subtracts θ (covariate − its mean) from the value, with
    the θ that makes the effect's variance least (Deng, Xu, Kohavi & Walker, 2013); the effect
    stays unbiased but for terms of order 1 / customers.

    The total is stratified: its effect is the mean of the segments' effects, weighted by treated
    customers, so that total effects add up. With many segments some look good by chance; read
    the total first.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from clvpredict.business import evaluate_uplift
    >>> rng = np.random.default_rng(0)
    >>> before = rng.gamma(2.0, 20.0, 4_000)
    >>> treated = rng.random(4_000) < 0.5
    >>> after = before * rng.gamma(4.0, 0.25, 4_000) + 3.0 * treated
    >>> data = pd.DataFrame({"treatment": treated, "value": after, "predicted": before})
    >>> table = evaluate_uplift(data, covariate="predicted")
    >>> table[["method", "effect", "effect_lower", "effect_upper"]].round(1)
                    method  effect  effect_lower  effect_upper
    0  difference in means     1.3          -1.1           3.7
    1                CUPED     2.7           1.1           4.3
    """
    check_shares(interval=interval, allocation=allocation)
    checked = campaign_data(data, treatment, value, control, segment, covariate)
    groups: list[tuple[Any, pd.DataFrame]] = [(TOTAL, checked)]
    if segment is not None:
        groups = [(name, rows) for name, rows in checked.groupby("segment", observed=True)]
    methods = [RAW] if covariate is None else [RAW, CUPED]
    rows, left_out = [], []
    for name, customers in groups:
        arms = _arms(customers)
        if arms is None:
            left_out.append(str(name))
        for method in methods:
            estimate = None if arms is None else _estimate(arms, method)
            rows.append((name, method, customers, arms, estimate))
    if len(left_out) == len(groups):
        raise OptionError(
            "no segment has enough customers in both arms: 2 in each are the least (3 with a "
            "covariate). Use fewer segments, or none."
        )
    records = [_record(*row, interval) for row in rows]
    if segment is not None:
        records += [_total(rows, method, interval) for method in methods]
    if left_out:
        notify(
            f"too few customers in one of the arms of {', '.join(left_out)}: no effect there, and "
            "not in the total.",
            DataWarning,
        )
    table = pd.DataFrame(records)
    if covariate is None:
        table = table.drop(columns=["variance_reduction", "balance", "balance_p"])
    _check_lot(table, checked, allocation, covariate)
    table.attrs = {
        "interval": interval,
        "treatment": treatment,
        "value": value,
        "segment": segment,
        "covariate": covariate,
        "currency": data.attrs.get("currency"),
    }
    return table


@dataclass(frozen=True)
class _Arm:
    """Moments of one arm."""

    n: int
    mean: float
    variance: float
    mean_before: float
    variance_before: float
    covariance: float


@dataclass(frozen=True)
class _Estimate:
    """An effect, its variance with degrees of freedom, and the arms' means."""

    effect: float
    variance: float
    df: float
    treated: float
    control: float


def _arms(customers: pd.DataFrame) -> tuple[_Arm, _Arm] | None:
    """Treated and control, or None if one of them is too small."""
    found = []
    before = "covariate" in customers
    for treated in (True, False):
        rows = customers[customers["treated"] == treated]
        if len(rows) < (3 if before else 2):
            return None
        y = rows["value"].to_numpy(np.float64)
        x = rows["covariate"].to_numpy(np.float64) if before else np.zeros(len(y))
        (vy, cov), (_, vx) = np.cov(y, x)
        found.append(_Arm(len(y), y.mean(), float(vy), x.mean(), float(vx), float(cov)))
    return found[0], found[1]


def _estimate(arms: tuple[_Arm, _Arm], method: str) -> _Estimate:
    t, c = arms
    n = t.n + c.n
    theta = 0.0
    noise = t.variance_before / t.n + c.variance_before / c.n
    adjusted = method == CUPED and noise > 0
    if adjusted:
        theta = (t.covariance / t.n + c.covariance / c.n) / noise
    parts = [
        max(a.variance - 2.0 * theta * a.covariance + theta**2 * a.variance_before, 0.0) / a.n
        for a in arms
    ]
    variance = sum(parts)
    df = _welch(parts, [a.n - 1.0 for a in arms])
    if adjusted:
        # θ is estimated too: it takes a degree of freedom, and errs with the arms' difference.
        df = max(df - 1.0, 1.0)
        apart = t.mean_before - c.mean_before
        variance *= (df + 1.0) / df * (1.0 + apart**2 / (noise * n))
    centre = (t.n * t.mean_before + c.n * c.mean_before) / n
    treated, control = (a.mean - theta * (a.mean_before - centre) for a in arms)
    return _Estimate(treated - control, variance, df, treated, control)


def _record(
    name: Any,
    method: str,
    customers: pd.DataFrame,
    arms: tuple[_Arm, _Arm] | None,
    estimate: _Estimate | None,
    interval: float,
) -> dict[str, Any]:
    treated = int(customers["treated"].sum())
    counts = {"treated": treated, "control": len(customers) - treated}
    if arms is None or estimate is None:
        empty = dict.fromkeys(("mean_treated", "mean_control", *_NUMBERS), np.nan)
        return {"segment": name, "method": method, **counts, **empty}
    balance = _balance([arms], np.ones(1))
    raw = _estimate(arms, RAW).variance
    return {
        "segment": name,
        "method": method,
        **counts,
        "mean_treated": estimate.treated,
        "mean_control": estimate.control,
        **_tested(estimate.effect, estimate.variance, estimate.df, treated, interval),
        "variance_reduction": 1.0 - estimate.variance / raw if raw > 0 else 0.0,
        **balance,
    }


_NUMBERS = (
    *("effect", "effect_lower", "effect_upper", "standard_error", "p_value"),
    *("total_effect", "total_lower", "total_upper"),
    *("variance_reduction", "balance", "balance_p"),
)


def _tested(
    effect: float, variance: float, df: float, treated: int, interval: float
) -> dict[str, float]:
    error = float(np.sqrt(variance))
    reach = float(stats.t.ppf((1.0 + interval) / 2.0, df)) * error
    if error > 0:
        p_value = float(2.0 * stats.t.sf(abs(effect) / error, df))
    else:
        p_value = 1.0 if effect == 0 else 0.0
    lower, upper = effect - reach, effect + reach
    return {
        "effect": effect,
        "effect_lower": lower,
        "effect_upper": upper,
        "standard_error": error,
        "p_value": p_value,
        "total_effect": effect * treated,
        "total_lower": lower * treated,
        "total_upper": upper * treated,
    }


def _welch(parts: list[float], degrees: list[float]) -> float:
    """Degrees of freedom of a sum of variances (Satterthwaite)."""
    spread = sum(part**2 / df for part, df in zip(parts, degrees, strict=True))
    return float(sum(parts) ** 2 / spread) if spread > 0 else float(sum(degrees))


def _balance(segments: list[tuple[_Arm, _Arm]], share: Array) -> dict[str, float]:
    """How the covariate differs between the arms, within segments."""
    apart = np.array([t.mean_before - c.mean_before for t, c in segments])
    spread = np.array([(t.variance_before + c.variance_before) / 2.0 for t, c in segments])
    arms = [(arm, w) for pair, w in zip(segments, share, strict=True) for arm in pair]
    parts = [w**2 * arm.variance_before / arm.n for arm, w in arms]
    error, pooled = float(np.sqrt(sum(parts))), float(np.sqrt(share @ spread))
    if error == 0:
        return {"balance": 0.0, "balance_p": 1.0}
    df = _welch(parts, [arm.n - 1.0 for arm, _ in arms])
    difference = float(share @ apart)
    return {
        "balance": difference / pooled,
        "balance_p": float(2.0 * stats.t.sf(abs(difference) / error, df)),
    }


def _total(rows: list[Any], method: str, interval: float) -> dict[str, Any]:
    """The segments' effects, weighted by their treated customers."""
    known = [(arms, e) for _, m, _, arms, e in rows if m == method and e is not None]
    treated = sum(t.n for (t, _), _ in known)
    share = np.array([t.n / treated for (t, _), _ in known])

    def weighted(values: list[float]) -> float:
        return float(share @ np.array(values))

    parts = share**2 * np.array([e.variance for _, e in known])
    df = _welch(list(parts), [e.df for _, e in known])
    raw = float((share**2 * np.array([_estimate(arms, RAW).variance for arms, _ in known])).sum())
    balance = _balance([arms for arms, _ in known], share)
    return {
        "segment": TOTAL,
        "method": method,
        "treated": treated,
        "control": sum(c.n for (_, c), _ in known),
        "mean_treated": weighted([e.treated for _, e in known]),
        "mean_control": weighted([e.control for _, e in known]),
        **_tested(weighted([e.effect for _, e in known]), parts.sum(), df, treated, interval),
        "variance_reduction": 1.0 - float(parts.sum()) / raw if raw > 0 else 0.0,
        **balance,
    }


def _check_lot(
    table: pd.DataFrame, customers: pd.DataFrame, allocation: float | None, covariate: str | None
) -> None:
    """Say so if the arms are not what a lot makes."""
    said = []
    if covariate is not None:
        last = table.iloc[-1]
        if last["balance_p"] < _UNLIKELY:
            said.append(
                f"{covariate!r} differed between the arms before the campaign, by "
                f"{last['balance']:+.2f} standard deviations (p = {last['balance_p']:.1g})"
            )
    if allocation is not None:
        n, treated = len(customers), int(customers["treated"].sum())
        if (p := float(stats.binomtest(treated, n, allocation).pvalue)) < _UNLIKELY:
            said.append(
                f"{treated / n:.1%} of the customers were treated, not {allocation:.1%} (p = "
                f"{p:.1g})"
            )
    if said:
        notify(
            f"{'; '.join(said)}: it seems that no lot decided who got the campaign, or that "
            "customers are missing. The effect may then be something else's.",
            DataWarning,
        )
