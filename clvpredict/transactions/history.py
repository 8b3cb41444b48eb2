"""Typed transactions to purchases: one row per customer and period, as the models count them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from clvpredict.errors import DataError
from clvpredict.transactions.engine import fetch
from clvpredict.transactions.sources import opened
from clvpredict.transactions.summary import (
    Coding,
    Ready,
    count_rows,
    id_column,
    is_bought,
    iso,
    nets_returns,
    no_customers,
    periods,
    prepare,
    warn_of_known_customers,
)

if TYPE_CHECKING:
    import ibis.expr.datatypes as dt

    from clvpredict.transactions.settings import Settings


def list_purchases(transactions: object, settings: Settings) -> pd.DataFrame:
    """Check transactions and list the purchases that the summary counts."""
    with opened(transactions, settings.names) as source:
        ready = prepare(source, settings)
        if settings.start is not None:
            warn_of_known_customers(ready, settings)
        signed = nets_returns(ready, settings)
        table: Any = periods(ready, settings, signed=signed)
        bought = is_bought(table, signed=signed)
        columns = {"id": table.id, "period": table.period}
        if settings.has_amounts:
            columns["net"] = table.net.cast("float64")
        if bought is not None:
            columns["bought"] = bought
        query = table.select(**columns)
        result = fetch(query)
        id_type = query.schema()["id"]
    return _to_history(result, id_type, ready, settings)


def _to_history(
    result: pa.Table, id_type: dt.DataType, ready: Ready, settings: Settings
) -> pd.DataFrame:
    """Make the history of all customers' periods."""
    kept = result.filter(result["bought"]) if "bought" in result.column_names else result
    counts, excluded = count_rows(ready, settings)
    customers = len(pc.unique(kept["id"]))
    counts |= {"purchases": kept.num_rows, "customers": customers}
    excluded |= {
        "periods with net value <= 0": result.num_rows - kept.num_rows,
        "customers without a purchase": len(pc.unique(result["id"])) - customers,
    }
    excluded = {reason: count for reason, count in excluded.items() if count}
    if not customers:
        raise DataError("transactions", [no_customers(excluded)])
    kept = kept.sort_by([("id", "ascending"), ("period", "ascending")])
    history = pd.DataFrame(
        {
            "customer_id": id_column(kept["id"], id_type),
            "date": kept["period"].cast(pa.timestamp("us")).to_pandas(),
        }
    )
    if settings.has_amounts:
        one = np.ones(kept.num_rows, np.int64)
        history["amount"] = Coding.choose(ready.found).mean(kept["net"], one)
        free = int((history["amount"] == 0).sum())
        if free:
            counts["zero-value purchases"] = free
    history.attrs = {
        "collapse": settings.collapse,
        "observation_start": iso(settings.start),
        "observation_end": iso(ready.end),
        "timezone": settings.timezone if ready.zoned else None,
        "returns": settings.returns,
        "counts": counts,
        "excluded": excluded,
    }
    return history
