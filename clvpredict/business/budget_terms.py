"""What a budget is split over and what the split has to keep to, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from clvpredict.business.responses import Curve, curves_of
from clvpredict.errors import DataError, OptionError, Problem
from clvpredict.options import choose
from clvpredict.rfm import Array

Objective = Literal["mean", "lower_quantile"]
#: Relative slack in comparing money, so that 3 × 0.1 is within 0.3.
SLACK = 1e-9
_NUMBERS = ("customers", "cost_per_contact", "minimum", "maximum")


@dataclass(frozen=True)
class Terms:
    """All that is asked but the budget."""

    names: list[Any]
    customers: Array | None
    cost: Array | None
    least: Array
    most: Array
    cap: Array
    curves: list[Curve]
    draws: int
    floor: float
    contacts: float | None
    objective: Objective
    quantile: float
    interval: float
    currency: str | None


def terms_of(
    segments: pd.DataFrame,
    budgets: Sequence[float] | Array,
    *,
    response: Any,
    objective: Objective = "mean",
    quantile: float = 0.1,
    spend_all: bool = True,
    max_contacts: float | None = None,
    contacts_per_customer: float = 1.0,
    interval: float = 0.9,
    draws: int = 2000,
    seed: int = 0,
) -> Terms:
    """Check what :func:`clvpredict.business.allocate_budget` is given.

    Raises
    ------
    DataError
        Listing all problems with the segments.
    OptionError
        If terms are out of range, or cannot be kept.
    """
    choose("objective", objective, Objective)
    shares = {"quantile": quantile, "interval": interval}
    positive = {"contacts_per_customer": contacts_per_customer, "max_contacts": max_contacts}
    wrong = [f"{n}={v!r} must be between 0 and 1." for n, v in shares.items() if not 0 < v < 1]
    wrong += [
        f"{name}={value!r} must be a number >= 0."
        for name, value in (*positive.items(), *(("budget", b) for b in budgets))
        if value is not None and not (np.isfinite(value) and value >= 0)
    ]
    if draws < 100:
        wrong.append(f"draws={draws!r} must be at least 100.")
    if wrong:
        raise OptionError(" ".join(wrong))
    table = _checked(segments, max_contacts)
    names = table["segment"].tolist()
    numbers = {c: table[c].to_numpy(np.float64) for c in _NUMBERS if c in table}
    customers, cost = numbers.get("customers"), numbers.get("cost_per_contact")
    least = np.nan_to_num(numbers.get("minimum", np.zeros(len(table))), nan=0.0)
    limit = numbers.get("maximum", np.full(len(table), np.inf))
    limit = np.where(np.isnan(limit), np.inf, limit)
    cap = np.full(len(table), np.inf)
    if customers is not None and cost is not None:
        cap = customers * cost * contacts_per_customer
    most = np.minimum(limit, cap)
    _check_feasible(names, least, most, cost, min(budgets), max_contacts)
    upto = np.minimum(most, max(max(budgets), float(least.max()), 1e-9))
    rows = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
    curves = curves_of(rows, response, upto, draws, seed)
    drawn = max(curve.draws for curve in curves)
    if objective == "lower_quantile" and drawn == 1:
        raise OptionError(
            "objective='lower_quantile' needs to know how uncertain the responses are: give "
            "parameters as (mean, standard error) or draws, or use objective='mean'."
        )
    if objective == "lower_quantile" and quantile * drawn < 1:
        raise OptionError(f"quantile={quantile!r} of {drawn} draws is none: give more draws.")
    return Terms(
        names, customers, cost, least, most, cap, curves, drawn, 0.0 if spend_all else 1.0,
        max_contacts, objective, quantile, interval, segments.attrs.get("currency"),
    )  # fmt: skip


def _checked(segments: pd.DataFrame, max_contacts: float | None) -> pd.DataFrame:
    """The segments with a column of their names and good numbers."""
    if not isinstance(segments, pd.DataFrame) or segments.empty:
        raise OptionError(
            "segments must be a DataFrame with a row per segment, such as segment_table gives; "
            f"{'an empty one' if isinstance(segments, pd.DataFrame) else type(segments).__name__} "
            "came."
        )
    table = segments.copy()
    if "segment" not in table:
        table.insert(0, "segment", segments.index)
    # The row of all customers, which segment_table gives and names, is no segment.
    if (total := segments.attrs.get("total")) is not None:
        table = table[table["segment"].astype(object) != total]
    table["segment"] = table["segment"].astype(object)
    problems = []
    for what, bad, fix in (
        ("missing names", table["segment"].isna(), "name every segment"),
        ("names that occur twice", table["segment"].duplicated(), "one row per segment"),
        (
            "a total beside the segments, which would be counted twice",
            table["segment"].astype(str).str.lower() == "total",
            "segments[segments['segment'] != 'total'] (in the table's own spelling)",
        ),
    ):
        if bad.any():
            named = [str(name) for name in table.loc[bad, "segment"].head(5)]
            problems.append(Problem(what, fix, int(bad.sum()), named))
    for column in _NUMBERS:
        if column not in table:
            continue
        values = pd.to_numeric(table[column], errors="coerce").astype(np.float64)
        optional = column in ("minimum", "maximum")
        bad = ~(values >= 0) | ~np.isfinite(values)
        if optional:
            bad &= ~(table[column].isna() | (values == np.inf))
        if column == "cost_per_contact":
            bad |= values == 0
        if bad.any():
            named = [f"{s}: {v!r}" for s, v in table.loc[bad, ["segment", column]].head(5).values]
            allowed = "> 0" if column == "cost_per_contact" else ">= 0"
            empty = ", or missing for none" if optional else ""
            problems.append(
                Problem(column, f"give numbers {allowed}{empty}", int(bad.sum()), named)
            )
        table[column] = values
    if max_contacts is not None and "cost_per_contact" not in table:
        problems.append(
            Problem(
                "max_contacts without the column 'cost_per_contact'",
                "segments.assign(cost_per_contact=...)",
            )
        )
    if problems:
        raise DataError("segments", problems)
    return table


def _check_feasible(
    names: list[Any],
    least: Array,
    most: Array,
    cost: Array | None,
    budget: float,
    max_contacts: float | None,
) -> None:
    crossed = least > most * (1 + SLACK)
    if crossed.any():
        i = int(np.argmax(crossed))
        raise OptionError(
            f"segment {names[i]!r}: the minimum of {least[i]:,.6g} exceeds {most[i]:,.6g}, the "
            "most that may be spent there (its maximum, or contacts to all its customers). Lower "
            "the minimum, or raise the maximum or contacts_per_customer."
        )
    needed = float(least.sum())
    if needed > budget * (1 + SLACK):
        raise OptionError(
            f"the minimums sum to {needed:,.6g}, more than the budget of {budget:,.6g}: raise the "
            f"budget by {needed - budget:,.6g} or lower the minimums."
        )
    if max_contacts is not None and cost is not None:
        contacts = float((least / cost).sum())
        if contacts > max_contacts * (1 + SLACK):
            raise OptionError(
                f"the minimums take {contacts:,.6g} contacts, more than max_contacts="
                f"{max_contacts:,.6g}: raise it, or lower the minimums."
            )
