"""The RFM summary: one row per customer, its checks and its exact compression."""

from clvpredict.rfm.checks import (
    check_repeat_frequency,
    check_rfm,
    check_unit,
    customer_ids,
    require_column,
)
from clvpredict.rfm.compression import (
    Array,
    Compressed,
    Histories,
    SpendHistories,
    compress_histories,
    compress_spend,
    group_rows,
)
from clvpredict.rfm.summary import (
    PREDICTIONS_KEY,
    RFM_COLUMNS,
    TIME_COLUMNS,
    Provenance,
    RFMSummary,
    convert_unit,
    provenance_of,
    summary_metadata,
    with_provenance,
)

__all__ = [
    "PREDICTIONS_KEY",
    "RFM_COLUMNS",
    "TIME_COLUMNS",
    "Array",
    "Compressed",
    "Histories",
    "Provenance",
    "RFMSummary",
    "SpendHistories",
    "check_repeat_frequency",
    "check_rfm",
    "check_unit",
    "compress_histories",
    "compress_spend",
    "convert_unit",
    "customer_ids",
    "group_rows",
    "provenance_of",
    "require_column",
    "summary_metadata",
    "with_provenance",
]
