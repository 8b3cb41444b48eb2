"""Facts as tables on the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import pandas as pd
from rich import box
from rich.table import Table

from clvpredict.cli.facts import Facts
from clvpredict.cli.session import Session, printable
from clvpredict.options import POSTERIOR_METHODS, TimeUnit

_LARGE = 100_000
_TOP_COLUMNS = {
    "customer_id": ("customer", "{}"),
    "frequency": ("repeat\npurchases", "{:,.0f}"),
    "p_alive": ("P(alive)", "{:.2f}"),
    "p_purchase": ("P(buys)", "{:.2f}"),
    "expected_purchases": ("expected\npurchases", "{:,.2f}"),
    "expected_spend": ("expected\nspend each", "{:,.2f}"),
    "clv": ("CLV", "{:,.2f}"),
    "net_clv": ("net\nCLV", "{:,.2f}"),
}


def summary(session: Session, found: Facts) -> None:
    """Customers and what was left out of their summary."""
    source = found["provenance"] or {}
    lines: list[tuple[str, str]] = [("customers", f"{found['customers']:,}")]
    if found["customers"] and "repeat_buyers" in found:
        share = found["repeat_buyers"] / found["customers"]
        lines.append(("with a repeat purchase", f"{found['repeat_buyers']:,} ({share:.0%})"))
    counts = {k: v for k, v in source.get("counts", {}).items() if k != "customers"}
    lines += [(name, f"{count:,}") for name, count in counts.items()]
    lines += [
        (f"left out: {why}", f"{count:,}") for why, count in source.get("excluded", {}).items()
    ]
    unit, split = found["time_unit"], source.get("calibration_end")
    lines.append(("time unit", TimeUnit.parse(unit).label if unit else "not known"))
    if source:
        lines.append(("observed until", str(split or source.get("observation_end"))))
    if split:
        lines.append(("holdout until", str(source.get("observation_end"))))
    if source.get("currency"):
        lines.append(("amounts in", str(source["currency"])))
    pairs(session, "Customers", lines)


def models(session: Session, found: Iterable[Facts]) -> None:
    """Estimates with standard errors and intervals."""
    found = list(found)
    table = _table(["model", "", "estimate", "standard error", "95 % interval"], left=2)
    for model in found:
        title = model["title"]
        for name, row in model["parameters"].items():
            known = not pd.isna(row["standard_error"])
            table.add_row(
                title,
                name,
                f"{row['estimate']:.5g}",
                f"{row['standard_error']:.3g}" if known else "not known",
                f"{row['lower']:.4g} to {row['upper']:.4g}" if known else "",
            )
            title = ""
    session.show("Estimates", table)
    for model in found:
        session.say(f"  {_fit_line(model)}")
        if "independence" in model:
            session.say(f"  {_independence_line(model['independence'])}")


def predictions(session: Session, found: Facts, currency: str | None = None) -> None:
    """What the customer base is expected to do, and its best customers."""
    money = f" {currency}" if currency else ""
    lines = [
        ("purchases", f"{found['expected_purchases']:,.1f}"),
        ("customers who buy", f"{found['expected_buyers']:,.1f} of {found['customers']:,}"),
    ]
    if "clv" in found:
        rate = f"{found['discount_rate']:g} a year"
        each = found["clv"] / max(found["customers"], 1)
        lines += [
            ("value, discounted", f"{found['clv']:,.2f}{money}"),
            ("value, not discounted", f"{found['clv_undiscounted']:,.2f}{money}"),
            ("value per customer", f"{each:,.2f}{money}, discounted"),
            *_net(found, money),
            ("discounting", f"{found['discounting']}, {rate}"),
        ]
    new = found["new_customer"]
    if new:
        value = f", worth {new['clv']:,.2f}{money}" if "clv" in new else ""
        value += f", {new['net_clv']:,.2f}{money} after costs" if "net_clv" in new else ""
        lines.append(
            ("a customer acquired today", f"{new['expected_purchases']:,.2f} more purchases{value}")
        )
    pairs(session, f"Expected of the customer base {_over(found)}", lines)
    top = found["top_customers"]
    columns = {k: v for k, v in _TOP_COLUMNS.items() if top and k in top[0]}
    if "net_clv" in columns:
        columns.pop("expected_spend")  # there is room for one of them
    table = _table([title for title, _ in columns.values()], left=1)
    for row in top:
        table.add_row(*(printable(_cell(row[k], form)) for k, (_, form) in columns.items()))
    session.show(f"Top {len(top)} customers", table)


def _cell(value: Any, form: str) -> str:
    """A large amount without cents, for which there is no room."""
    large = isinstance(value, float) and abs(value) >= _LARGE
    return f"{value:,.0f}" if large else form.format(value)


def _net(found: Facts, money: str) -> list[tuple[str, str]]:
    """What costs leave of the value, where there are any."""
    if "net_clv" not in found:
        return []
    net = found["net_clv"]
    each = net / max(found["customers"], 1)
    return [
        ("value after costs", f"{net:,.2f}{money}"),
        ("after costs per customer", f"{each:,.2f}{money}"),
    ]


def metadata(session: Session, said: dict[str, Any]) -> None:
    """What a table of predictions says about itself, apart from its data."""
    lines = [(k.replace("_", " "), _plainly(v)) for k, v in said.items() if k != "data"]
    pairs(session, "Predictions", lines)


def about(session: Session, table: pd.DataFrame) -> None:
    """What a table of another kind says about itself."""
    lines = [("rows", f"{len(table):,}"), ("columns", ", ".join(map(str, table.columns)))]
    said = {k: v for k, v in table.attrs.items() if not isinstance(v, dict | list)}
    lines += [(str(k).replace("_", " "), str(v)) for k, v in said.items() if v is not None]
    pairs(session, "Table", lines)


def frame(session: Session, title: str, table: pd.DataFrame, form: str = "{:,.3f}") -> None:
    """Any small table of numbers, its index to the left."""
    corner = "" if table.index.name is None else str(table.index.name)
    shown = _table([corner, *(printable(str(c)) for c in table.columns)], left=1)
    for label, *values in table.itertuples():
        shown.add_row(printable(str(label)), *(_number_or_text(v, form) for v in values))
    session.show(title, shown)


def _number_or_text(value: Any, form: str) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else form.format(value)
    return printable(str(value))


def _fit_line(model: Facts) -> str:
    if not model["customers"]:
        return f"{model['title']}: parameters were given, not fitted"
    if model["method"] in POSTERIOR_METHODS:
        return f"{model['title']}: {_sampling(model['sampling'])}, {model['customers']:,} customers"
    loose = model["convergence"]["unidentified"]
    ended = f"does not identify {', '.join(loose)}" if loose else "converged"
    return (
        f"{model['title']}: {ended}, log-likelihood {model['log_likelihood']:,.3f} on "
        f"{model['customers']:,} customers"
    )


def _sampling(found: Facts) -> str:
    """How the draws of a posterior were made."""
    total = f"{found['chains'] * found['draws']:,} draws of the posterior by {found['sampler']}"
    if found["k_hat"] is not None:
        return f"{total} (k-hat {found['k_hat']:.2f})"
    worst = max(found["r_hat"].values(), default=float("nan"))
    least = min(found["ess_bulk"].values(), default=float("nan"))
    return f"{total} (R-hat {worst:.3f} or less, {least:,.0f} effective or more)"


def _independence_line(found: Facts) -> str:
    return (
        f"frequency against spend: Spearman {found['rho']:.2f} (p = {found['p_value']:.2g}, "
        f"{found['n']:,} repeat buyers); Gamma-Gamma takes them as independent"
    )


def _over(found: Facts) -> str:
    if found.get("horizon") is None:
        return "over the remaining lifetime"
    unit = TimeUnit.parse(found["time_unit"]).label if found.get("time_unit") else "periods"
    return f"over {found['horizon']:g} {unit}"


def _plainly(value: Any) -> str:
    if isinstance(value, dict):
        parts = (f"{k} {v:.5g}" if isinstance(v, float) else f"{k} {v}" for k, v in value.items())
        return ", ".join(parts)
    return "for ever" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def pairs(session: Session, title: str, lines: Sequence[tuple[str, str]]) -> None:
    """Names and what they are."""
    table = _table(["", ""], left=2)
    table.show_header = False
    for name, value in lines:
        table.add_row(name, printable(value))
    session.show(title, table)


def _table(columns: Sequence[str], left: int) -> Table:
    """Make an empty table; the columns after the first ``left`` are numbers."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for position, column in enumerate(columns):
        # Where there is no room, a number is broken: an ellipsis would eat its digits.
        justify: Literal["left", "right"] = "left" if position < left else "right"
        table.add_column(column, justify=justify, overflow="fold")
    return table
