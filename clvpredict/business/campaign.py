"""The data of a campaign, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from clvpredict.errors import DataError, OptionError, Problem, did_you_mean
from clvpredict.rfm import Array

#: What the row of all segments together is called.
TOTAL = "total"


def check_shares(**shares: float | None) -> None:
    """Refuse what is not between 0 and 1.

    Raises
    ------
    OptionError
        Naming all of them.
    """
    wrong = [
        f"{name}={share!r} must be between 0 and 1."
        for name, share in shares.items()
        if share is not None and not 0 < share < 1
    ]
    if wrong:
        raise OptionError(" ".join(wrong))


def campaign_data(
    data: pd.DataFrame,
    treatment: str,
    value: str,
    control: Any,
    segment: str | None,
    covariate: str | None,
) -> pd.DataFrame:
    """Return columns `treated, value`, and `segment`, `covariate` where asked for.

    Parameters
    ----------
    data : DataFrame
        A row per customer.
    treatment, value, control, segment, covariate
        As in :func:`clvpredict.business.evaluate_uplift`.

    Raises
    ------
    DataError
        Listing all problems.
    """
    wanted = {"treatment": treatment, "value": value, "segment": segment, "covariate": covariate}
    problems = [
        Problem(
            f"no column {column!r}",
            f"{option}=<the column's name>; there are {', '.join(map(str, data.columns))}."
            + did_you_mean(column, map(str, data.columns)),
        )
        for option, column in wanted.items()
        if column is not None and column not in data
    ]
    if problems:
        raise DataError("data of the campaign", problems)
    out: dict[str, Any] = {}
    for option in ("value", "covariate"):
        column = wanted[option]
        if column is None:
            continue
        numbers = pd.to_numeric(data[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)
        if bad := int((~np.isfinite(numbers)).sum()):
            fix = "fill in 0 for customers who did not buy, or leave out who was not in the test"
            if option == "covariate":
                fix = "give every customer of the test the prediction made before the campaign"
            problems.append(Problem(f"{column!r} is missing or no finite number", fix, bad))
        out[option] = numbers
    if segment is not None:
        if missing := int(data[segment].isna().sum()):
            problems.append(
                Problem(f"missing {segment!r}", f"data[{segment!r}].fillna('unknown')", missing)
            )
        if (data[segment].astype(str) == TOTAL).any():
            problems.append(Problem(f"a segment named {TOTAL!r}", "rename it"))
        out["segment"] = data[segment].reset_index(drop=True)
    if "customer_id" in data and (twice := int(data["customer_id"].duplicated().sum())):
        problems.append(
            Problem("customers that occur twice", "sum their values: one row each", twice)
        )
    treated, wrong = _treated(data[treatment], treatment, control)
    problems += wrong
    if problems:
        raise DataError("data of the campaign", problems)
    return pd.DataFrame({"treated": treated, **out})


def _treated(labels: pd.Series, name: str, control: Any) -> tuple[Array, list[Problem]]:
    """Who got the campaign, and what is wrong with the labels."""
    nobody = np.zeros(len(labels), dtype=bool)
    problems = []
    if missing := int(labels.isna().sum()):
        fix = "say of every customer of the test which arm it was in"
        problems.append(Problem(f"missing {name!r}", fix, missing))
    known = labels.dropna().unique().tolist()
    shown = ", ".join(map(repr, known[:6]))
    if len(known) != 2:
        fix = "keep two arms: rows with data[...].isin([control, treatment])"
        problems.append(Problem(f"{name!r} has {len(known)} labels, not two: {shown}", fix))
        return nobody, problems
    if control is None:
        if set(known) != {False, True}:
            problems.append(
                Problem(
                    f"{name!r} does not say which of {shown} is the control group",
                    f"control={known[0]!r} (or {known[1]!r})",
                )
            )
            return nobody, problems
        control = False
    elif control not in known:
        problems.append(Problem(f"no customer has {name} {control!r}", f"control= one of {shown}"))
        return nobody, problems
    return (labels != control).fillna(False).to_numpy(dtype=bool), problems
