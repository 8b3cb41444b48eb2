"""How much of the value a few customers hold."""

from __future__ import annotations

import numpy as np
import pandas as pd

from clvpredict.business.asked import known_customers
from clvpredict.business.facts import currency_of, labelled, numbers, unit_of
from clvpredict.business.segments import segments_in
from clvpredict.errors import DataError, OptionError, Problem
from clvpredict.rfm import PREDICTIONS_KEY, Array


def lorenz_table(
    predictions: pd.DataFrame,
    by: str | None = None,
    *,
    of: str = "clv",
    points: int = 100,
    total: str = "Total",
) -> pd.DataFrame:
    """Tabulate Lorenz curves: which share of the value the least valuable customers hold.

    The values are expectations, which differ less between customers than what these will do: the
    curves of realised value bend further.

    Parameters
    ----------
    predictions : DataFrame
        From ``model.predict``.
    by : str, optional
        A column of segments: a curve of each besides that of all customers.
    of : str
        The column whose concentration is asked for.
    points : int
        Of a curve; fewer customers have a point each.
    total : str
        Name of the curve of all customers.

    Returns
    -------
    DataFrame
        `segment`, `customers` (of the segment), `share_of_customers` (the least valuable ones,
        from 0 to 1), `share_of_value` (that they hold), `gini` (of the whole segment: 0 if all
        are equal, near 1 if one holds all). Segments whose value in total is not positive have
        missing shares.

    Raises
    ------
    OptionError
        For columns that are not there or no numbers.
    DataError
        If values are missing.

    Examples
    --------
    >>> import pandas as pd
    >>> from clvpredict.business import lorenz_table
    >>> curve = lorenz_table(pd.DataFrame({"customer_id": [1, 2, 3, 4], "clv": [5, 1, 2, 0]}))
    >>> curve["share_of_value"].tolist(), float(curve["gini"].iloc[0])
    ([0.0, 0.0, 0.125, 0.375, 1.0], 0.5)
    """
    if not isinstance(points, int) or points < 2:
        raise OptionError(f"points={points!r} must be a whole number >= 2.")
    customers = known_customers(predictions)
    values = numbers(customers, of, "of")
    missing = int(np.isnan(values).sum())
    if missing:
        problem = Problem(f"'{of}' is missing", "leave these customers out", missing)
        raise DataError("predictions", [problem])
    curves = []
    if by is not None:
        codes, labels, _ = labelled(segments_in(customers, by))
        if (codes < 0).any():
            fix = f"segment_customers(table, by='{by}', missing='unknown')"
            what = f"customers without a value of '{by}'"
            raise DataError("predictions", [Problem(what, fix, int((codes < 0).sum()))])
        if total in labels:
            raise OptionError(f"total={total!r} is a segment; give total='All customers'.")
        curves = [
            _curve(label, values[codes == code], points)
            for code, label in enumerate(labels)
            if (codes == code).any()
        ]
    table = pd.concat([*curves, _curve(total, values, points)], ignore_index=True)
    unit = unit_of(predictions)
    table.attrs = {
        "of": of,
        "by": by,
        "total": total,
        "currency": currency_of(predictions),
        "horizon": (predictions.attrs.get(PREDICTIONS_KEY) or {}).get("horizon"),
        "time_unit": None if unit is None else unit.label,
    }
    return table


def _curve(name: str, values: Array, points: int) -> pd.DataFrame:
    n, rising = len(values), np.sort(values)
    held = np.concatenate([[0.0], np.cumsum(rising)])
    at = np.unique(np.linspace(0, n, min(n, points) + 1).round().astype(np.int64))
    whole = held[-1]
    share, gini = np.full(len(at), np.nan), np.nan
    if whole > 0:
        share = held[at] / whole
        gini = float(2.0 * (np.arange(1, n + 1) @ rising) / (n * whole) - (n + 1) / n)
    return pd.DataFrame(
        {
            "segment": name,
            "customers": n,
            "share_of_customers": at / n,
            "share_of_value": share,
            "gini": gini,
        }
    )
