"""Which segment is worth more, and how sure that is."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

from clvpredict.business.asked import has_money
from clvpredict.business.facts import currency_of
from clvpredict.business.grouped import Grouped, check_level
from clvpredict.errors import DataError, Problem, unknown_option
from clvpredict.predict import interval_of
from clvpredict.rfm import Array

# What is compared, and the column of predictions that is its expectation.
_PURCHASES = {
    "expected_purchases": "expected_purchases",
    "purchases": "expected_purchases",
    "p_alive": "p_alive",
    "p_purchase": "p_purchase",
}
_MONEY = {"clv": "clv", "value": "clv", "net_clv": "net_clv", "net_value": "net_clv"}
REST = "the rest"


def compare_segments(
    model: Any,
    predictions: pd.DataFrame,
    by: str = "segment",
    *,
    of: str | None = None,
    per_customer: bool = True,
    against: str | None = None,
    interval: float = 0.9,
    **drawing: Any,
) -> pd.DataFrame:
    """Compare segments, cohorts or channels: P(A is worth more than B), and by how much.

    Both sides are summed within the same draw of the parameters, so that what they share (all
    customers buying more than estimated, say) does not count as uncertainty about the
    difference.

    Parameters
    ----------
    model : CLVModel or purchase model
        The fitted model that made the predictions.
    predictions : DataFrame
        From :func:`segment_customers`, or any predictions with a column ``by``.
    by : str
        The column: segments, cohorts, channels.
    of : str, optional
        `clv` (the default of CLVModel), `net_clv`, `expected_purchases` (of purchase models),
        `p_alive`, `p_purchase`: expectations, about which the parameters leave doubt. `value`,
        `net_value`, `purchases`: what the customers will do, which they leave to chance besides.
    per_customer : bool
        Compare means per customer; else totals.
    against : str, optional
        ``"rest"``: each segment with all others together. The name of a segment: each other one
        with it. By default all pairs.
    interval : float
        Level.
    **drawing
        ``draws`` (500), ``seed`` (0), ``progress``, as in ``predict``.

    Returns
    -------
    DataFrame
        A row per pair: `a`, `b`, `of_a`, `of_b` (expectations), `difference` (a − b) with
        `difference_lower, difference_upper`, `ratio` (a / b) with `ratio_lower, ratio_upper`
        (missing where b is not positive), and `p_greater`, P(a > b): the share of draws in which
        it is. Segments without customers are in no pair. ``attrs`` says what was compared.

    Raises
    ------
    OptionError
        For quantities that the model does not predict and segments that are not there.
    DataError
        If there are not two segments with customers.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.business import compare_segments, segment_customers
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
    >>> table = model.predict(rfm, horizon="52W")
    >>> table["half"] = ["early" if T > 72 else "late" for T in table["T"]]
    >>> pair = compare_segments(model, table, by="half", of="value", draws=100).iloc[0]
    >>> pair["a"], pair["b"], bool(0 < pair["p_greater"] < 1)
    ('early', 'late', True)
    """
    check_level(interval)
    known = _MONEY | _PURCHASES if has_money(model) else _PURCHASES
    if "net_clv" not in getattr(predictions, "columns", ()):
        known = {k: v for k, v in known.items() if v != "net_clv"}
    chosen = next(iter(known)) if of is None else of
    if chosen not in known:
        raise unknown_option("of", chosen, known)
    group = Grouped.of(model, predictions, by, drawing)
    customers = group.customers
    some = np.flatnonzero(customers)
    if len(some) < 2:
        fix = "compare a column with two values or more"
        raise DataError("predictions", [Problem(f"'{by}' has one segment with customers", fix)])
    labels = [group.labels[k] for k in some]
    pairs = _pairs(labels, against)
    point = group.total(group.column(known[chosen]))[some]
    drawn, customers = group.drawn([chosen])[chosen][some], customers[some]
    rows = []
    for a, b in pairs:
        other = [b] if b is not None else [k for k in range(len(labels)) if k != a]
        sides = []
        for members in ([a], other):
            count = customers[members].sum() if per_customer else 1
            sides.append((point[members].sum() / count, drawn[members].sum(axis=0) / count))
        names = {"a": labels[a], "b": REST if b is None else labels[b]}
        rows.append({**names, **_compared(sides[0], sides[1], interval)})
    table = pd.DataFrame(rows)
    table.attrs = {
        "by": by,
        "of": chosen,
        "per_customer": per_customer,
        "interval": interval,
        "draws": drawn.shape[1],
        "currency": currency_of(predictions) if chosen in _MONEY else None,
    }
    return table


def _pairs(labels: list[str], against: str | None) -> list[tuple[int, int | None]]:
    if against is None:
        return list(itertools.combinations(range(len(labels)), 2))
    if against == "rest" and "rest" not in labels:
        return [(k, None) for k in range(len(labels))]
    if against not in labels:
        raise unknown_option("against", against, ["rest", *labels])
    b = labels.index(against)
    return [(k, b) for k in range(len(labels)) if k != b]


def _compared(a: tuple[float, Array], b: tuple[float, Array], level: float) -> dict[str, float]:
    difference = a[1] - b[1]
    low, high = interval_of(difference[None], level)
    ratio = np.divide(a[1], b[1], out=np.full_like(a[1], np.nan), where=b[1] > 0)
    # Where b may be nothing, a ratio has no interval.
    ends = interval_of(ratio[None], level) if np.isfinite(ratio).all() else ([np.nan], [np.nan])
    return {
        "of_a": a[0],
        "of_b": b[0],
        "difference": a[0] - b[0],
        "difference_lower": float(low[0]),
        "difference_upper": float(high[0]),
        "ratio": a[0] / b[0] if b[0] > 0 else np.nan,
        "ratio_lower": float(ends[0][0]),
        "ratio_upper": float(ends[1][0]),
        "p_greater": float((difference > 0).mean()),
    }
