"""Whether customers of equal age are as they were: the population stability index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special as sc

from clvpredict.rfm import Array, check_rfm, provenance_of

#: How seldom chance alone may reach what is allowed.
RARE = 1e-4
# Ages in days; the last class has no end, and what is in it grows older from run to run.
_AGES = (28, 56, 91, 136, 182, 273, 364, 546, 728, 1092, 1456, 2184, 2912)
#: Customers acquired within so many days are the newest ones.
NEWEST_DAYS = 91
_GROUPS = 10
# With fewer customers of an age in either of the two, that age is not compared.
_FEW = 30
# Nor if the mean age within the class differs by more than this share.
_AGE_OFF = 0.05
_COLUMNS = (
    "customers", "quantity", "index", "allowed", "ok", "before", "now", "mean_before", "mean_now",
    "says",
)  # fmt: skip


def stability_index(before: npt.ArrayLike, now: npt.ArrayLike) -> float:
    """Population stability index of two distributions over the same bins.

    The sum of (now − before) ln(now / before) over the shares of the bins. A common reading:
    below 0.1 nothing has changed, above 0.25 much has. Half a row is added to every bin, so that
    an empty one does not make the index infinite.

    Parameters
    ----------
    before, now : array, shape (bins,)
        Rows in each bin.

    Returns
    -------
    float
        0 or more.

    Examples
    --------
    >>> from clvpredict.refit.stability import stability_index
    >>> round(stability_index([500, 300, 200], [500, 300, 200]), 3)
    0.0
    >>> round(stability_index([500, 300, 200], [200, 300, 500]), 3)
    0.548
    """
    one, other = (np.asarray(v, np.float64) + 0.5 for v in (before, now))
    one, other = one / one.sum(), other / other.sum()
    return float(((other - one) * np.log(other / one)).sum())


def chance_index(before: float, now: float, bins: int) -> float:
    """The index that chance alone passes once in 10,000 times, of so many rows.

    Of two samples of one distribution it is about (1/before + 1/now) times a χ² of bins − 1.
    """
    if bins < 2 or min(before, now) <= 0:
        return 0.0
    return float(sc.chdtri(bins - 1, RARE) * (1.0 / before + 1.0 / now))


def distribution(rfm: pd.DataFrame) -> dict[str, Any]:
    """Count customers by age and by what they do, so that a later run can compare.

    Parameters
    ----------
    rfm : DataFrame
        An RFM summary that knows its time unit, from :func:`clvpredict.rfm_summary`.

    Returns
    -------
    dict
        Plain JSON: `end` of observation, `time_unit`, `currency`, `customers`; `ages`, the ends
        of the classes of age in days; and by quantity the `edges` of its bins (about ten of
        equal size, upper ends), `counts` (a list of bins for every class of age), and the
        `sums` of the quantity and the `age_sums` within each class.

    See Also
    --------
    stability : What is compared and why.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.refit.stability import distribution
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
    >>> distribution(rfm)["quantities"]["frequency"]["edges"]
    [0.0, 1.0, 2.0, 4.0]
    """
    values, age = _quantities(rfm)
    known = provenance_of(rfm)
    counted = {}
    for name, value in values.items():
        edges = _edges(value[~np.isnan(value)])
        counted[name] = {"edges": edges, **_count(value, age, edges)}
    return {
        "end": known.observation_end if known else None,
        "time_unit": known.time_unit if known else None,
        "currency": known.currency if known else None,
        "customers": len(rfm),
        "ages": list(_AGES),
        "quantities": counted,
    }


def stability(
    before: Mapping[str, Any], rfm: pd.DataFrame, max_index: float = 0.25
) -> pd.DataFrame:
    """Compare customers with those of an earlier run, age by age.

    The ages of a customer base move by themselves: customers who were young are old a year
    later, and the old have bought more in all, but less per week, for some of them have left. So
    T is not compared, and nothing else is over all ages. Customers are compared with those who
    were as old then: within classes of age that both runs have, with the same mean age but for
    5 % (the open class of the oldest is left out), which are added up with the weights that they
    had then. What remains is a change
    of what customers do: `frequency`; `frequency per unit of T`; and of those who came back
    `recency / T` and `monetary_value`. Customers acquired lately are looked at alone as well,
    for they show first that other people come, or that the shop treats them otherwise.

    Parameters
    ----------
    before : mapping
        From :func:`distribution`, of the earlier run; its bins are used.
    rfm : DataFrame
        Customers now.
    max_index : float
        The index that is allowed. Of few customers more is, where chance alone could pass it
        once in 10,000 times.

    Returns
    -------
    DataFrame
        `customers` (``"all"``, or ``"newest"``: acquired within 13 weeks), `quantity`, `index`
        (population stability index), `allowed`, `ok`, `before` and `now` (customers compared),
        `mean_before` and `mean_now` of the quantity at the same ages, `says`. Where nothing can
        be compared, the numbers are missing and `says` has the reason.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.refit.stability import distribution, stability
    >>> shop = clv.simulate_shop(seed=1, customers=1000).transactions
    >>> then = clv.rfm_summary(shop, observation_end="2024-06-30", time_unit="W")
    >>> now = clv.rfm_summary(shop, time_unit="W")
    >>> bool(stability(distribution(then), now)["ok"].all())
    True
    """
    known = provenance_of(rfm)
    values, age = _quantities(rfm)
    reason = ""
    for name in ("time_unit", "currency"):
        of_now = getattr(known, name, None)
        if before.get(name) != of_now:
            reason = f"not compared: {name} was {before.get(name)}, and is {of_now}"
    rows = []
    for group, most in (("all", None), ("newest", NEWEST_DAYS)):
        for quantity, value in values.items():
            earlier = before["quantities"].get(quantity)
            why = reason or ("" if earlier else "not compared: the earlier run did not have it")
            if tuple(before["ages"]) != _AGES:
                why = "not compared: the earlier run has other classes of age"
            found = _Compared(why)
            if earlier and not why:
                found = _compare(earlier, value, age, most)
            allowed = max(max_index, found.chance)
            ok = not found.index > allowed
            says = found.why or _words(found, allowed, ok)
            rows.append(
                (group, quantity, found.index, allowed, ok, found.before, found.now,
                 found.mean_before, found.mean_now, says)
            )  # fmt: skip
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    table.attrs = {"before": before.get("end"), "now": known.observation_end if known else None}
    return table


class _Compared:
    """Two distributions at the same ages, or why there are none."""

    def __init__(self, why: str = "") -> None:
        self.why = why
        self.before = self.now = 0
        self.index = self.mean_before = self.mean_now = float("nan")
        self.chance = 0.0


def _compare(earlier: Mapping[str, Any], value: Array, age: Array, most: float | None) -> _Compared:
    counted = _count(value, age, earlier["edges"])
    then, now = (np.array(c["counts"], np.float64) for c in (earlier, counted))
    sum_then, sum_now = (np.array(c["sums"], np.float64) for c in (earlier, counted))
    size_then, size_now = then.sum(axis=1), now.sum(axis=1)
    common = (size_then >= _FEW) & (size_now >= _FEW)
    age_then, age_now = (
        np.array(c["age_sums"], np.float64) / np.maximum(n, 1)
        for c, n in ((earlier, size_then), (counted, size_now))
    )
    common &= np.abs(age_now - age_then) <= _AGE_OFF * age_then
    common[-1] = False  # the oldest have no upper end of age
    if most is not None:
        common &= np.array([*_AGES, np.inf]) <= most
    if not common.any():
        return _Compared("not compared: both runs have too few customers of the same ages")
    weight = size_then[common] / size_then[common].sum()
    out = _Compared()
    out.before, out.now = int(size_then[common].sum()), int(size_now[common].sum())
    # What the customers of now are worth, where their ages count as they did then.
    worth = 1.0 / float((weight**2 / size_now[common]).sum())
    shares = weight @ (now[common] / size_now[common][:, None])
    out.index = stability_index(then[common].sum(axis=0), shares * worth)
    out.chance = chance_index(out.before, worth, then.shape[1])
    out.mean_before = float(sum_then[common].sum() / out.before)
    out.mean_now = float(weight @ (sum_now[common] / size_now[common]))
    return out


def _words(found: _Compared, allowed: float, ok: bool) -> str:
    said = f"index {found.index:.3f}, allowed {allowed:.3g}"
    if ok:
        return said
    return f"{said}; mean {found.mean_before:.4g} then, {found.mean_now:.4g} now, at equal ages"


def _quantities(rfm: pd.DataFrame) -> tuple[dict[str, Array], Array]:
    """What is compared, missing where it does not apply; and ages in days."""
    money = "monetary_value" in rfm.columns
    columns = check_rfm(rfm, ("frequency", "recency", "T", *(("monetary_value",) if money else ())))
    known = provenance_of(rfm)
    x, recency, T = (columns[c] for c in ("frequency", "recency", "T"))
    back = x > 0
    out = {
        "frequency": x,
        "frequency per unit of T": np.divide(x, T, out=np.zeros_like(x), where=T > 0),
        "recency / T": np.where(back & (T > 0), recency / np.where(T > 0, T, 1.0), np.nan),
    }
    if money:
        out["monetary_value"] = np.where(back, columns["monetary_value"], np.nan)
    return out, T * (known.unit.days if known else 1.0)


def _edges(value: Array) -> list[float]:
    """Upper ends of about ten bins of equal size; the last bin has none."""
    if not len(value):
        return []
    cuts = np.quantile(value, np.arange(1, _GROUPS) / _GROUPS, method="inverted_cdf")
    edges = np.unique(cuts)
    # Who did not come back is a bin of its own; the others are divided among themselves.
    if (value == 0).mean() > 1 / _GROUPS:
        cuts = np.quantile(value[value > 0], np.arange(1, 6) / 6, method="inverted_cdf")
        edges = np.unique(np.append(0.0, cuts))
    return [float(v) for v in edges if v < value.max()]


def _count(value: Array, age: Array, edges: list[float]) -> dict[str, list[Any]]:
    """Customers by class of age and bin; sums of value and age by class of age."""
    there = ~np.isnan(value)
    row = np.searchsorted(_AGES, age[there], side="left")
    column = np.searchsorted(edges, value[there], side="left")
    classes, bins = len(_AGES) + 1, len(edges) + 1
    counts = np.bincount(row * bins + column, minlength=classes * bins).reshape(classes, bins)
    return {
        "counts": counts.tolist(),
        "sums": np.bincount(row, value[there], minlength=classes).tolist(),
        "age_sums": np.bincount(row, age[there], minlength=classes).tolist(),
    }
