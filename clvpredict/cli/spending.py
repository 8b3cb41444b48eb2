"""The steps of a budget, each said aloud; the numbers are the API's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from clvpredict.cli import files, show_decisions, typed
from clvpredict.cli.session import Session
from clvpredict.errors import DataError, DataWarning, OptionError, Problem, notify, unknown_option

if TYPE_CHECKING:
    from clvpredict.business import Allocation


def response(kind: str, per_customer: bool, **given: str | None) -> Any:
    """Make the response curve of what was typed.

    Raises
    ------
    OptionError
        For an unknown kind, and parameters that it lacks or does not have.
    """
    from clvpredict.business import ElasticResponse, PowerResponse, SaturatingResponse

    made: dict[str, tuple[Callable[..., Any], list[str], list[str]]] = {
        "saturating": (SaturatingResponse, ["ceiling", "half"], ["form", "of", "per_customer"]),
        "power": (PowerResponse, ["scale", "exponent"], ["per_customer"]),
        "elastic": (ElasticResponse, ["elasticity", "spend"], ["of"]),
    }
    if kind not in made:
        raise unknown_option("--response", kind, made)
    curve, needed, possible = made[kind]
    found: dict[str, Any] = {
        name: text if name == "form" else typed.parameter(text)
        for name, text in given.items()
        if text is not None
    }
    if per_customer:
        found["per_customer"] = True
    problems = []
    for what, names in (
        ("needs", [name for name in needed if name not in found]),
        ("has no", [name for name in found if name not in (*needed, *possible)]),
    ):
        if names:
            listed = " and ".join(f"--{name.replace('_', '-')}" for name in names)
            problems.append(f"{what} {listed}")
    if problems:
        raise OptionError(f"--response {kind} {', and '.join(problems)}.")
    return curve(**found)


def check_frontier(wanted: str | None, budgets: str | None) -> list[float]:
    """Read the budgets of a frontier.

    Raises
    ------
    OptionError
        If there is one without the other.
    """
    if (wanted is None) != (budgets is None):
        raise OptionError(
            "--frontier and --budgets go together, such as --frontier frontier.csv --budgets "
            "1000,5000,20000."
        )
    return [] if budgets is None else typed.numbers("--budgets", budgets)


def read_segments(session: Session, source: str, **columns: str | None) -> pd.DataFrame:
    """Read segments and add columns that were typed: a number, a column, or numbers by segment.

    Raises
    ------
    OptionError
        For columns and segments that are not there.
    """
    from clvpredict.store import read_table

    with session.step(f"Reading {source}") as done, files.source_file(source) as path:
        table = read_table(path)
        done(f"{len(table):,} rows")
    if "segment" not in table.columns:
        fix = "clvpredict segments MODEL PREDICTIONS --out segments.csv makes such a table"
        raise DataError(source, [Problem("no column 'segment'", fix)])
    names = table["segment"].astype(object)
    # A table that was edited has lost what says that its last row is of all.
    if table.attrs.get("total") is None and str(names.iloc[-1]).lower() == "total":
        table.attrs["total"] = names.iloc[-1]
        notify(f"the row {names.iloc[-1]!r} is of all segments, and is left out.", DataWarning)
    for column, text in columns.items():
        if text is None:
            continue
        option = f"--{column.replace('_', '-')}"
        found = typed.amounts(option, text)
        if isinstance(found, dict):
            known = names.map(str)
            if strange := [name for name in found if name not in set(known)]:
                raise unknown_option(option, strange[0], known)
            table[column] = known.map(found)
        elif isinstance(found, str):
            if found not in table.columns:
                raise unknown_option(option, found, table.columns)
            table[column] = table[found]
        else:
            table[column] = found
    return table


def split(session: Session, segments: pd.DataFrame, budget: float, **options: Any) -> Allocation:
    """Split a budget, and show what it brings."""
    from clvpredict.business import allocate_budget

    with session.step("Splitting the budget"):
        plan = allocate_budget(segments, budget, **options)
    session.facts["allocation"] = plan.table.to_dict("records")
    session.facts["total"] = plan.total.to_dict()
    session.facts["about"] = plan.table.attrs
    show_decisions.allocation(session, plan)
    return plan


def frontier(
    session: Session, segments: pd.DataFrame, budgets: Sequence[float], **options: Any
) -> pd.DataFrame:
    """Say what the best split of each budget brings."""
    from clvpredict.business import budget_frontier

    with session.step("Splitting other budgets"):
        table = budget_frontier(segments, budgets, **options)
    session.facts["frontier"] = table.to_dict("records")
    show_decisions.frontier(session, table)
    return table
