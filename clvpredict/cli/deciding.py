"""The steps of decisions, each said aloud; the numbers are the API's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api import types

from clvpredict.cli import files, show_decisions, typed
from clvpredict.cli.session import Session
from clvpredict.errors import DataError, OptionError, Problem, unknown_option
from clvpredict.rfm import PREDICTIONS_KEY, customer_ids

_RULES = "clvpredict_segments"


@dataclass(frozen=True)
class Sorting:
    """How customers come into segments, as it was typed.

    Parameters
    ----------
    by : sequence of str
        A rule, or columns.
    settings : sequence of str
        ``NAME=VALUE``, options of the rule.
    like : str or None
        File whose rule is taken.
    name : str
        Of the column.
    missing : str or None
        Label of customers without a value.
    """

    by: Sequence[str] = ()
    settings: Sequence[str] = ()
    like: str | None = None
    name: str = "segment"
    missing: str | None = None


def read_predictions(session: Session, source: str) -> pd.DataFrame:
    """Read predictions that say how they were made.

    Raises
    ------
    DataError
        If they do not, or it is another table.
    """
    table = files.read_summary(session, source)
    if PREDICTIONS_KEY not in table.attrs:
        again = "clvpredict predict MODEL RFM --out predictions.parquet"
        problem = Problem("this is no table of predictions", f"make it: {again}")
        if "p_alive" in table.columns:
            problem = Problem(
                "it does not say how it was made (horizon, margin, ...). That is in the "
                ".meta.json beside a CSV, as long as neither file is changed",
                f"keep the two together as they were written, or use Parquet: {again}",
            )
        raise DataError(source, [problem])
    for name, rule in (table.attrs.get(_RULES) or {}).items():
        # A CSV knows labels, and not their order.
        labels = rule.get("categories") or []
        if name in table.columns and set(table[name].dropna().unique()) <= set(labels):
            table[name] = pd.Categorical(table[name], categories=labels)
    return table


def join(
    session: Session, table: pd.DataFrame, source: str, aggregate: str | None
) -> tuple[pd.DataFrame, list[str]]:
    """Join signals by `customer_id`; also the names of those that are numbers."""
    from clvpredict.business import join_signals
    from clvpredict.store import read_table

    with session.step(f"Joining signals of {source}") as done:
        signals = read_table(source)
        for column in signals.columns:
            if types.infer_dtype(signals[column], skipna=True) == "boolean":
                signals[column] = signals[column].astype("boolean")  # may be missing
        before = customer_ids(table)
        if "customer_id" in signals.columns:
            # Ids of a file are numbers only if all of them are; text tells them apart as well.
            text = [not types.is_integer_dtype(s["customer_id"].dtype) for s in (table, signals)]
            if text[0] != text[1]:
                table = table.assign(customer_id=before.astype("str"))
                signals = signals.assign(customer_id=signals["customer_id"].astype("str"))
        out = join_signals(table, signals, aggregate=aggregate)
        out["customer_id"] = before
        new = [c for c in out.columns if c not in table.columns]
        done(f"{len(new)} columns")
    return out, [c for c in new if types.is_numeric_dtype(out[c].dtype)]


def sort(session: Session, table: pd.DataFrame, how: Sorting) -> pd.DataFrame:
    """Put customers into segments."""
    from clvpredict.business import segment_customers

    known = table.attrs.get(_RULES) or {}
    if list(how.by) == [how.name] and (how.name in known or how.name in table.columns):
        if how.settings or how.like is not None:
            raise OptionError(f"--by {how.name} takes the segments as they are, without a rule.")
        return table
    options: dict[str, Any] = {"name": how.name, "missing": how.missing}
    settings = typed.settings("--rule", how.settings)
    if wrong := [s for s in settings if s in (*options, "by", "rule", "predictions")]:
        raise OptionError(
            f"--rule {wrong[0]}=... is no option of a rule, such as shares, thresholds or "
            "new_within. --by, --name, --missing and --like are options of their own."
        )
    with session.step("Putting customers into segments") as done:
        if how.like is not None:
            if how.by:
                raise OptionError("--like brings a rule with it; leave --by out.")
            options["rule"] = _rule_in(how.like, how.name)
        elif len(how.by) > 1:
            options["by"] = list(how.by)
        elif how.by:
            options["by"] = how.by[0]
        found = segment_customers(table, **options, **settings)
        rule = found.attrs[_RULES][how.name]
        session.facts["rule"] = rule
        done(f"{len(rule['categories'])} segments")
    return found


def tabulate(
    session: Session,
    model: Any,
    customers: pd.DataFrame,
    by: str,
    options: Mapping[str, Any],
    drawing: Mapping[str, Any],
) -> pd.DataFrame:
    """Say what segments are worth."""
    from clvpredict.business import segment_table

    with session.step(f"Valuing the segments of {len(customers):,} customers"):
        table = segment_table(model, customers, by, **options, **drawing)
    session.facts["segments"] = table.to_dict("records")
    session.facts["about"] = {k: v for k, v in table.attrs.items() if k != "predictions"}
    show_decisions.segments(session, table)
    return table


def compare(
    session: Session, model: Any, customers: pd.DataFrame, by: str, **options: Any
) -> pd.DataFrame:
    """Say which segment is worth more."""
    from clvpredict.business import compare_segments

    with session.step("Comparing the segments"):
        table = compare_segments(model, customers, by, **options)
    session.facts["comparison"] = table.to_dict("records")
    show_decisions.comparison(session, table)
    return table


def cohorts(
    session: Session,
    transactions: str,
    *,
    metric: str,
    pay_back: bool,
    options: Mapping[str, Any],
    cac: Any,
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Make the long table of cohorts, show one metric of it, and when CAC is paid back."""
    from clvpredict.business import cohort_table, payback_table

    with session.step("Adding up cohorts") as done:
        table = cohort_table(transactions, cac=cac, **options)
        done(f"{table['cohort'].nunique():,} cohorts")
    if metric not in table.columns:
        needs = "--cac" if metric == "net_of_cac" else "amounts"
        raise OptionError(f"--metric {metric} needs {needs}, which was not given.")
    session.facts["cohorts"] = int(table["cohort"].nunique())
    session.facts["metric"] = metric
    session.facts["rows"] = wide(table, metric).to_dict("records")
    session.facts["about"] = table.attrs
    show_decisions.cohorts(session, wide(table, metric), metric, wide(table, "forecast"))
    if not pay_back:
        return table, None
    with session.step("Paying back what they cost"):
        paid = payback_table(transactions, cac=cac, **options)
    session.facts["payback"] = paid.to_dict("records")
    session.facts["payback_age"] = paid.attrs["payback_age"]
    show_decisions.payback(session, paid)
    return table, paid


def check_metric(metric: str) -> None:
    """Refuse a metric that there is not.

    Raises
    ------
    OptionError
        With those that there are.
    """
    from clvpredict.business.cohorts import METRICS

    if metric not in METRICS:
        raise unknown_option("--metric", metric, METRICS)


def wide(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A row per cohort (and channel) and a column per age, of one metric."""
    from clvpredict.transactions.calendar import Calendar

    calendar = Calendar.read("by", table.attrs["every"])
    ages = table["age"].nunique()
    channel = table.attrs.get("channel")
    rows = table.iloc[::ages].reset_index(drop=True)
    out = pd.DataFrame({"cohort": [calendar.label(start) for start in rows["cohort"]]})
    if channel is not None:
        out.insert(0, channel, rows[channel])
    out["customers"] = rows["customers"]
    values = table[metric].to_numpy().reshape(-1, ages)
    found = pd.DataFrame(values, columns=[str(age) for age in range(ages)])
    out = pd.concat([out, found], axis="columns")
    out.attrs = {**table.attrs, "metric": metric}
    return out


def publish(session: Session, table: pd.DataFrame, markdown: str | None, html: str | None) -> None:
    """Write a table of segments for people."""
    from clvpredict.business import to_html, to_markdown

    if markdown is not None:
        files.write_beside(session, "markdown", to_markdown(table), markdown)
    if html is not None:
        files.write_beside(session, "html", to_html(table), html)


def check_scenario(
    changes: Mapping[str, float], tornado: float | None, **options: str | None
) -> None:
    """Refuse options of a scenario that do not go together.

    Raises
    ------
    OptionError
        Saying which.
    """
    if tornado is None:
        if not changes:
            raise OptionError(
                "nothing changes: give --churn, --frequency, --order-value, --margin or "
                "--discount-rate, such as --churn -0.05; or --tornado 0.1."
            )
        wrong = [name for name in ("of", "picture") if options[name] is not None]
        if wrong:
            raise OptionError(f"--{wrong[0]} is of --tornado, which is not given.")
        return
    wrong = [*changes, *(["by"] if options["by"] is not None else [])]
    if wrong:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise OptionError(f"--tornado changes one thing at a time, of all: leave out {names}.")
    if not 0 < tornado < 1:
        raise OptionError(f"--tornado {tornado:g} must be between 0 and 1, such as 0.1 for 10 %.")


def what_if(
    session: Session,
    model: Any,
    table: pd.DataFrame,
    changes: Mapping[str, Any],
    segment: Sequence[str],
    **options: Any,
) -> pd.DataFrame:
    """Change customers, and say what follows; groups and quantities are columns."""
    from clvpredict.business import scenario

    chosen = typed.conditions("--segment", segment, table) or None
    with session.step(f"Asking what if, for {len(table):,} customers"):
        found = scenario(model, table, segment=chosen, **changes, **options)
    out = found.reset_index()
    out["group"] = out["group"].map(str)
    session.facts["scenario"] = out.to_dict("records")
    session.facts["about"] = found.attrs
    show_decisions.scenario(session, out)
    return out


def tornado(
    session: Session,
    model: Any,
    table: pd.DataFrame,
    size: float,
    segment: Sequence[str],
    **options: Any,
) -> pd.DataFrame:
    """Change one thing at a time."""
    from clvpredict.business import tornado_table

    options["segment"] = typed.conditions("--segment", segment, table) or None
    if options.get("of") is None:
        options["of"] = "clv" if hasattr(model, "spend") else "expected_purchases"
    changes: Any = size
    if options["segment"] and hasattr(model, "spend"):
        # The discount rate is everybody's.
        changes = dict.fromkeys(("churn", "frequency", "order_value", "margin"), size)
    with session.step("Changing one thing at a time"):
        found = tornado_table(model, table, changes, **options)
    session.facts["tornado"] = found.to_dict("records")
    session.facts["about"] = found.attrs
    show_decisions.tornado(session, found)
    return found


def _rule_in(path: str, name: str) -> Any:
    """The rule that a file was made by: customers with segments, or a table of segments."""
    from clvpredict.store import read_table

    attrs = read_table(path).attrs
    rule = (attrs.get(_RULES) or {}).get(name) or attrs.get("rule")
    if rule is None:
        problem = Problem(
            "it does not say its rule",
            "name what clvpredict segments wrote, with the .meta.json beside a CSV",
        )
        raise DataError(Path(path).name, [problem])
    return rule
