"""Decisions as tables on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clvpredict.cli import show
from clvpredict.cli.session import Session

if TYPE_CHECKING:
    from clvpredict.business import Allocation

# More segments than this are listed below one another.
_MOST_COLUMNS = 5
_MOST_ROWS = 24
# Between columns on the terminal.
_GAP = 3
_QUANTITIES = {
    "expected_purchases": "purchases, expected",
    "clv": "CLV, expected",
    "net_clv": "net CLV, expected",
    "purchases": "purchases, what may come",
    "value": "value, what may come",
    "net_value": "net value, what may come",
}
# Of many segments those are shown that fit.
_NARROW = (
    "customers",
    "clv",
    "net_clv",
    "share_of_value",
    "p_alive",
    "clv_per_cac",
)
# What a group is shown by.
_MAIN = ("net_clv", "clv", "expected_purchases")
_SHARES = ("retention",)


def segments(session: Session, table: pd.DataFrame) -> None:
    """What segments are worth: a column per segment, with intervals, or a row per segment."""
    from clvpredict.business import format_table

    few = len(table) <= _MOST_COLUMNS
    columns = None if few else [c for c in _NARROW if c in table.columns]
    shown = format_table(table, columns=columns, intervals=few).set_index("Segment")
    horizon = table.attrs.get("horizon")
    over = "the remaining lifetime"
    if horizon is not None:
        over = f"{horizon:g} {table.attrs.get('time_unit') or 'periods'}"
    title = f"Segments, over {over}"
    if few and (level := table.attrs.get("interval")) is not None:
        title += f" (in brackets {100 * level:g} % intervals)"
    if few:
        shown = shown.T
        shown.columns.name = None
    show.frame(session, title, shown.rename_axis(None))
    if not few:
        session.say(f"  The table has {len(table.columns)} columns.", style="dim")


def comparison(session: Session, table: pd.DataFrame) -> None:
    """Pairs of segments."""
    shown = pd.DataFrame(
        {
            "difference": [_number(v) for v in table["difference"]],
            "interval": _intervals(table, "difference"),
            "P(more)": [f"{p:.2f}" for p in table["p_greater"]],
        },
        index=pd.Index(
            [f"{a} less {b}" for a, b in zip(table["a"], table["b"], strict=True)], dtype=object
        ),
    )
    said = "per customer" if table.attrs.get("per_customer", True) else "in total"
    of = _QUANTITIES.get(table.attrs.get("of", ""), str(table.attrs.get("of", "")))
    show.frame(session, f"Which segment is worth more: {of}, {said}", shown)


def cohorts(session: Session, wide: pd.DataFrame, metric: str, forecast: pd.DataFrame) -> None:
    """One metric by cohort and age, as much of it as can be read; a star marks forecasts."""
    first = wide.columns.get_loc("customers")
    assert isinstance(first, int)  # there is one
    ages, rows = list(wide.columns[first + 1 :]), wide.tail(_MOST_ROWS)
    labels = rows[list(wide.columns[:first])].fillna("(missing)").astype(str)
    names = labels.agg(" · ".join, axis="columns")
    largest = float(np.nanmax(np.abs(wide[ages].to_numpy(np.float64)), initial=0.0))
    stars = {
        age: ["*" if said is True else "" for said in forecast.tail(_MOST_ROWS)[age]]
        for age in ages
    }
    cells = {
        age: [
            _cell(v, metric, largest) + star for v, star in zip(rows[age], stars[age], strict=True)
        ]
        for age in ages
    }
    widest = max((len(cell) for column in cells.values() for cell in column), default=0)
    taken = names.str.len().max() + len("customers") + 2 * _GAP
    kept = ages[: max(3, int((session.console.width - taken) // (widest + _GAP)))]
    shown = rows[["customers"]].map("{:,}".format).assign(**{str(k): cells[k] for k in kept})
    shown.index = pd.Index(names, dtype=object)
    show.frame(session, f"Cohorts by age: {metric.replace('_', ' ')}", shown)
    if any("*" in stars[age] for age in kept):
        session.say("  * in part or wholly a forecast of the model.", style="dim")
    left = []
    if len(kept) < len(ages):
        left.append(f"ages up to {kept[-1]} of {ages[-1]}")
    if len(rows) < len(wide):
        left.append(f"the last {len(rows)} of {len(wide)} cohorts")
    if left:
        session.say(f"  Shown are {' and '.join(left)}; the table has all.", style="dim")


def payback(session: Session, table: pd.DataFrame) -> None:
    """When what customers cost comes back."""
    period = {"D": "day", "W": "week", "M": "month", "Q": "quarter", "Y": "year"}
    age = period[table.attrs["every"]]
    found = {
        name: "not within the table"
        if at is None
        else f"within {at} {age}{'s' if at > 1 else ''} after that of the first purchase"
        if at
        else f"in the {age} of the first purchase"
        for name, at in table.attrs["payback_age"].items()
    }
    show.frame(session, "CAC is paid back", pd.DataFrame({"when": found}))


def scenario(session: Session, table: pd.DataFrame) -> None:
    """Now, then and the change."""
    only = table["group"].nunique() == 1
    everything = len(table)
    if not only:
        main = next(q for q in _MAIN if q in set(table["quantity"]))
        table = table[(table["group"] == "all") | (table["quantity"] == main)]
    names = [_QUANTITIES.get(q, q) for q in table["quantity"]]
    if not only:
        names = [f"{g}: {n}" for g, n in zip(table["group"], names, strict=True)]
    shown = pd.DataFrame(
        {
            "now": [_number(v) for v in table["now"]],
            "then": [_number(v) for v in table["then"]],
            "change": [_signed(v) for v in table["change"]],
            "interval": _intervals(table, "change"),
            "%": [_signed(v, 1) for v in table["change_percent"]],
        },
        index=pd.Index(names, dtype=object),
    )
    show.frame(session, "What if", shown)
    if len(table) < everything:
        session.say("  The table has all quantities of all groups.", style="dim")


def tornado(session: Session, table: pd.DataFrame) -> None:
    """Effects of one change at a time."""
    percent = 100 * table["change"]
    shown = pd.DataFrame(
        {
            "change": [f"{v:+g} %" for v in percent.round(4)],
            "effect": [_signed(v) for v in table["effect"]],
            "interval": _intervals(table, "effect"),
            "then": [_number(v) for v in table["then"]],
        },
        index=pd.Index(table["factor"].str.replace("_", " "), dtype=object),
    )
    of = _QUANTITIES.get(table.attrs["of"], table.attrs["of"])
    now = _number(table["now"].iloc[0])
    show.frame(session, f"What if one thing changed: {of}, now {now}", shown.rename_axis(None))


def allocation(session: Session, plan: Allocation) -> None:
    """The split of a budget and what it brings."""
    table, total = plan.table, plan.total
    currency = table.attrs.get("currency")
    money = f" {currency}" if currency else ""
    shown = pd.DataFrame({"spend": [_number(v) for v in table["spend"]]})
    if "contacts" in table:
        shown["contacts"] = [_missing(v, "{:,.0f}") for v in table["contacts"]]
    shown["gain"] = [_number(v) for v in table["gain"]]
    known = bool(table["gain_lower"].notna().any())
    if known:
        shown["interval"] = _intervals(table, "gain")
    shown["next unit\nbrings"] = [_missing(v, "{:,.2f}") for v in table["marginal_return"]]
    shown["at"] = table["bound"]
    shown.index = pd.Index(table["segment"].astype(str), dtype=object, name=None)
    show.frame(session, f"Best split of {total['budget']:,.2f}{money}", shown)
    lines = [
        ("spent", f"{total['spend']:,.2f}{money}"),
        ("left unspent", f"{total['unspent']:,.2f}{money}"),
        ("gain expected", f"{total['gain']:,.2f}{money}"),
        ("gain less spend", f"{total['net_gain']:,.2f}{money}"),
    ]
    if known:
        level = f"{100 * table.attrs['interval']:g} % interval of the gain"
        between = f"{total['gain_lower']:,.2f} to {total['gain_upper']:,.2f}{money}"
        lines.append((level, between))
        lines.append(("P(gain exceeds spend)", f"{total['p_worth']:.2f}"))
    lines.append(("the next unit would bring", f"{total['marginal_return']:,.2f}"))
    show.pairs(session, "In all", lines)


def frontier(session: Session, table: pd.DataFrame) -> None:
    """What each budget brings."""
    columns = ["spend", "gain", "net_gain", "marginal_return"]
    shown = table.set_index("budget")[columns]
    shown.index = pd.Index([_number(b) for b in shown.index], dtype=object, name="budget")
    shown.columns = ["spend", "gain", "gain less spend", "next unit brings"]
    show.frame(session, "What other budgets bring", shown, "{:,.2f}")


def _intervals(table: pd.DataFrame, name: str) -> list[str]:
    ends = zip(table[f"{name}_lower"], table[f"{name}_upper"], strict=True)
    return [f"{_number(low)} to {_number(high)}" for low, high in ends]


def _missing(value: Any, form: str) -> str:
    return "" if pd.isna(value) else form.format(value)


def _number(value: Any) -> str:
    """Write what may be missing, without decimals where they do not matter."""
    if pd.isna(value):
        return ""
    decimals = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2
    # Not "-0".
    return f"{round(float(value), decimals) + 0.0:,.{decimals}f}"


def _signed(value: float, decimals: int | None = None) -> str:
    if decimals is not None:
        return _missing(value, f"{{:+,.{decimals}f}}")
    text = _number(value)
    return f"+{text}" if text and value > 0 else text


def _cell(value: float, metric: str, largest: float) -> str:
    if metric in _SHARES:
        return _missing(value, "{:.1%}")
    return _missing(value, "{:,.0f}" if largest >= 1000 else "{:,.2f}")
