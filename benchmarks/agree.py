"""Do two results agree? `python -m benchmarks.agree OURS THEIRS` compares Parquet files.

Prints the largest relative difference of each column, customers matched by id.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd


def largest_differences(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, float]:
    """Largest relative difference by column; NaN on either side counts as infinite.

    The first column says which rows belong together.
    """
    key = str(ours.columns[0])
    a, b = (frame.set_index(key).sort_index() for frame in (ours, theirs))
    if not a.index.equals(b.index):
        return {key: np.inf}
    result = {}
    for column in a.columns:
        x, y = a[column].to_numpy(float), b[column].to_numpy(float)
        difference = np.abs(x - y) / np.maximum(np.abs(y), np.finfo(float).tiny)
        result[column] = float(np.nan_to_num(difference, nan=np.inf).max())
    return result


if __name__ == "__main__":
    print(json.dumps(largest_differences(*map(pd.read_parquet, sys.argv[1:]))))
