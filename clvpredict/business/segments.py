"""Customers in segments, by rules that are kept with the table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.business.facts import NO_CODE, currency_of, unit_of
from clvpredict.business.rules import Columns, Lifecycle, RFMScores, Rule
from clvpredict.business.tiers import ValueTiers
from clvpredict.errors import (
    DataError,
    DataWarning,
    OptionError,
    Problem,
    notify,
    refuse_unknown,
    unknown_option,
)
from clvpredict.options import TimeUnit
from clvpredict.rfm import PREDICTIONS_KEY, customer_ids, require_column

#: Where a table keeps the rules of its segments, by the name of the column.
SEGMENTS_KEY = "clvpredict_segments"
_NAMED: dict[str, type[Rule]] = {rule.kind: rule for rule in (ValueTiers, Lifecycle, RFMScores)}
# Terms of value, and the columns that depend on them.
_OF_MONEY = ("margin", "discount_rate", "discounting", "costs")
_VALUES = ("clv", "net_clv")
_KINDS: dict[str, type[Rule]] = {**_NAMED, Columns.kind: Columns}


def segment_customers(
    predictions: pd.DataFrame,
    by: str | Sequence[str] = "value",
    *,
    rule: Mapping[str, Any] | None = None,
    name: str = "segment",
    missing: str | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Put each customer into a segment, and keep the rule.

    Parameters
    ----------
    predictions : DataFrame
        From ``model.predict``, with any columns joined to it.
    by : str or list of str
        ``"value"``: tiers of a number, by share of the customers or by thresholds.
        ``"lifecycle"``: new, growing, loyal, at risk, lost. ``"rfm"``: scores of recency,
        frequency and money, and their usual names. Otherwise the name of a column (channel,
        country, product line), or a list of several.
    rule : mapping, optional
        Instead of ``by``: the rule of an earlier table, ``earlier.attrs["clvpredict_segments"]
        ["segment"]``, with the thresholds that were learnt then.
    name : str
        Of the new column.
    missing : str, optional
        Label of customers for whom the rule has no value; without it they are refused.
    **options
        Of the rule: `of, shares, thresholds, labels`
        (:class:`~clvpredict.business.tiers.ValueTiers`); `new_within, active_from, lost_below,
        loyal_from, silent_above` (:class:`~clvpredict.business.rules.Lifecycle`); `monetary`
        (:class:`~clvpredict.business.rules.RFMScores`). Their conditions are documented there.

    Returns
    -------
    DataFrame
        The predictions with the categorical column `segment`, whose categories are in the order
        of tables (tiers from the best; ordered for tiers and lifecycle), and for ``"rfm"`` also
        `r_score, f_score, m_score`. Rows, index and attrs stay;
        ``attrs["clvpredict_segments"]`` has the rule, plain JSON. A new customer's row
        (``add_new=True``) is in no segment: its value there is missing.

    Raises
    ------
    OptionError
        For rules, options and columns that cannot be used, and if ``name`` is a column already.
    DataError
        For customers without a value, unless ``missing`` names them.

    Warns
    -----
    DataWarning
        If ties make tiers much larger or smaller than asked for, and if a rule is applied to
        predictions of another horizon, currency, margin, discounting or costs.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.business import segment_customers
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
    >>> table = segment_customers(model.predict(rfm, horizon="52W"), by="value")
    >>> table["segment"].value_counts(sort=False, normalize=True).round(1).to_dict()
    {'Top 20 %': 0.2, 'Next 30 %': 0.3, 'Last 50 %': 0.5}
    >>> kept = table.attrs["clvpredict_segments"]["segment"]
    >>> later = segment_customers(model.predict(rfm.head(50), horizon="52W"), rule=kept)
    """
    _check_table(predictions, name)
    known = customer_ids(predictions).notna().to_numpy()
    old = predictions[known] if not known.all() else predictions
    if rule is None:
        chosen = _rule(by, options).fitted(old)
        record = chosen.record() | _horizon(predictions) | _terms(predictions)
    else:
        chosen, record = _stored(rule, by, options)
        missing = record.get("missing") if missing is None else missing
        _compare_horizons(record, predictions)
        _compare_terms(record, predictions)
    found = chosen.sort(old)
    codes, labels = found.codes, found.labels
    absent = codes < 0
    if absent.any():
        if missing is None:
            raise _absent(old[absent], record)
        labels = [*labels, *([] if missing in labels else [missing])]
        codes = np.where(absent, labels.index(missing), codes)
    out = predictions.copy()
    for column, values in found.columns.items():
        _check_free(predictions, column, RFMScores.kind)
        out[column] = values if known.all() else _spread(values, known, np.nan)
    out[name] = pd.Categorical.from_codes(
        _spread(codes, known, NO_CODE),
        categories=pd.Index(labels, dtype="str"),
        ordered=found.ordered,
    )
    rules = dict(predictions.attrs.get(SEGMENTS_KEY) or {})
    rules[name] = {**record, "missing": missing, "categories": labels}
    out.attrs = {**predictions.attrs, SEGMENTS_KEY: rules}
    return out


def _spread(values: npt.NDArray[Any], known: npt.NDArray[np.bool_], other: float) -> Any:
    """Values of known customers in the rows of all."""
    out = np.full(len(known), other, dtype=np.result_type(values, type(other)))
    out[known] = values
    return out


def _check_table(table: pd.DataFrame, name: str) -> None:
    if not isinstance(table, pd.DataFrame) or table.empty:
        problem = Problem("no customers", "give what model.predict(rfm, horizon=...) returns")
        raise DataError("predictions", [problem])
    if name not in (table.attrs.get(SEGMENTS_KEY) or {}):
        _check_free(table, name)


def _check_free(table: pd.DataFrame, column: str, made_by: str = "") -> None:
    """Refuse to write over a column that no rule of this kind has made."""
    rules = (table.attrs.get(SEGMENTS_KEY) or {}).values()
    if column in table.columns and made_by not in [rule.get("kind") for rule in rules]:
        fix = (
            f"rename it first: table.rename(columns={{'{column}': 'my_{column}'}})"
            if made_by
            else f"give the segments another name: segment_customers(table, ..., name='{column}_2')"
        )
        raise OptionError(f"the table has a column '{column}' already; {fix}.")


def _rule(by: str | Sequence[str], options: Mapping[str, Any]) -> Rule:
    if isinstance(by, str) and by in _NAMED:
        kind = _NAMED[by]
        refuse_unknown(f"by={by!r}", options, kind.options())
        return kind(**options)
    columns = (by,) if isinstance(by, str) else tuple(by) if isinstance(by, Sequence) else ()
    if not columns:
        raise OptionError(f"by={by!r} names no column; give one or more, or 'value'.")
    if options:
        raise OptionError(
            f"by={by!r} is a column, which takes no options; {', '.join(map(repr, options))} came. "
            f"Rules with options: {', '.join(map(repr, _NAMED))}."
        )
    return Columns(columns)


def _stored(
    rule: Mapping[str, Any], by: str | Sequence[str], options: Mapping[str, Any]
) -> tuple[Rule, dict[str, Any]]:
    if options or by != "value":
        raise OptionError("a stored rule has its options; leave by= and the others out.")
    if not isinstance(rule, Mapping):
        raise OptionError(_WHERE.format(came=type(rule).__name__))
    record = dict(rule)
    if record.get("kind") not in _KINDS:
        raise unknown_option("kind of rule", record.get("kind"), _KINDS)
    kind = _KINDS[record["kind"]]
    known = {field.name for field in fields(kind)}
    parts = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items() if k in known}
    found = kind(**parts)
    if not found.is_fitted:
        raise OptionError(_WHERE.format(came="a rule without its thresholds"))
    return found, record


_WHERE = (
    "rule must be what an earlier table keeps, whole: rule=earlier.attrs['clvpredict_segments']"
    "['segment']; {came} came."
)


def _horizon(table: pd.DataFrame) -> dict[str, Any]:
    said = table.attrs.get(PREDICTIONS_KEY) or {}
    unit = unit_of(table)
    return {
        "horizon": said.get("horizon"),
        "horizon_unit": None if unit is None else unit.code,
    }


def _compare_horizons(record: Mapping[str, Any], table: pd.DataFrame) -> None:
    own = _horizon(table)
    units = record.get("horizon_unit"), own["horizon_unit"]
    if record["kind"] not in (ValueTiers.kind, Lifecycle.kind) or None in units:
        return
    then, now = (_days(r["horizon"], r["horizon_unit"]) for r in (record, own))
    if not np.isclose(then, now, rtol=1e-6):
        again = "None" if np.isinf(then) else f"'{then:g}D'"
        notify(
            f"the rule was made for predictions of {_length(then)}, and these are of "
            f"{_length(now)}: its thresholds mean something else here. Predict with "
            f"horizon={again}, or make the rule anew.",
            DataWarning,
        )


def _terms(table: pd.DataFrame) -> dict[str, Any]:
    said = table.attrs.get(PREDICTIONS_KEY) or {}
    terms = {name: said[name] for name in _OF_MONEY if said.get(name) is not None}
    currency = currency_of(table)
    return {"terms": terms | ({"currency": currency} if currency else {})}


def _compare_terms(record: Mapping[str, Any], table: pd.DataFrame) -> None:
    of = str(record.get("of"))
    if record["kind"] != ValueTiers.kind or not of.startswith(_VALUES):
        return
    then, now = record.get("terms") or {}, _terms(table)["terms"]
    # What one of them does not say may be the same. Costs do not touch the value before costs.
    names = [n for n in then if n in now and (n != "costs" or of.startswith("net_"))]
    differ = [n for n in names if _json(then[n]) != _json(now[n])]
    if differ:
        listed = "; ".join(f"{n} {then[n]!r} and now {now[n]!r}" for n in differ)
        notify(
            f"the rule was made for predictions of other terms ({listed}): its thresholds mean "
            "something else here. Predict with the same terms, or make the rule anew.",
            DataWarning,
        )


def _json(value: Any) -> str:
    """Equal for what is equal once it has been in a file."""
    return json.dumps(value, sort_keys=True, default=float)


def _days(horizon: float | None, unit: str) -> float:
    return np.inf if horizon is None else horizon * TimeUnit.parse(unit).days


def _length(days: float) -> str:
    return "the whole lifetime" if np.isinf(days) else f"{days:g} days"


def _absent(rows: pd.DataFrame, record: Mapping[str, Any]) -> DataError:
    ids = customer_ids(rows)
    what = "customers for whom the rule has no value"
    if record["kind"] == Columns.kind:
        what = f"customers without {' or '.join(map(repr, record['columns']))}"
    return DataError(
        "predictions",
        [
            Problem(
                what,
                "name their segment: segment_customers(table, ..., missing='unknown'), or leave "
                "them out of the table",
                len(rows),
                [f"customer {value!r}" for value in ids.head(5).tolist()],
            )
        ],
    )


def segments_in(table: pd.DataFrame, by: str) -> pd.Series:
    """The column of segments.

    Raises
    ------
    OptionError
        If it is not there.
    """
    if by not in table.columns and by in (*_NAMED, "segment"):
        kind = by if by in _NAMED else "value"
        raise OptionError(
            f"by={by!r}: the table has no segments yet. Make them: "
            f"table = segment_customers(table, by='{kind}'), then by='segment'."
        )
    return require_column(table, by, "by")
