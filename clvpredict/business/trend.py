"""Predictions of successive refits kept in one table, which shows whether it gets better."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clvpredict.atomic import alone_in, new_file
from clvpredict.business.asked import Asked, as_asked, has_money
from clvpredict.business.facts import NO_CODE, currency_of, labelled
from clvpredict.errors import ArtefactError, DataError, OptionError, Problem, unknown_option
from clvpredict.options import horizon_periods
from clvpredict.rfm import provenance_of, require_column

HISTORY_KEY = "clvpredict_history"
SCHEMA_VERSION = 1
ALL = "all"
_PLACE = "_segment"
# What changes no expectation but by its draws.
_OF_DRAWS = {"draws", "seed", "progress"}
_FACTS = ("purchase_model", "spend_model", "method", "parameters", "fingerprint")


def append_history(
    path: str | Path,
    model: Any,
    predictions: pd.DataFrame,
    *,
    as_of: str | date | None = None,
    by: str | Sequence[str] | None = None,
    interval: float = 0.9,
    horizon: float | str | timedelta | None = "as predicted",
    **terms: Any,
) -> pd.DataFrame:
    """Append what a refit predicts in total, and by segment, to a history file.

    Appending the same ``as_of`` again replaces its rows, so a job that is run twice does no harm.
    The file is replaced whole or not at all, and jobs that append at one time wait for each other
    (not on Windows).

    Parameters
    ----------
    path : str or Path
        A Parquet file, or where there will be one.
    model : CLVModel or purchase model
        Fitted; the one that made the predictions.
    predictions : DataFrame
        From ``model.predict(...)``, with the columns of ``by``.
    as_of : str or date, optional
        The day that the predictions are of; by default the end of observation that they state.
    by : str or sequence of str, optional
        Columns of segments. Each gets rows of its own, beside those of all customers.
    interval : float
        Level of the intervals.
    horizon, **terms
        As in ``predict``; by default those of the predictions.

    Returns
    -------
    DataFrame
        The history: see :func:`read_history`.

    Raises
    ------
    OptionError
        If the predictions were asked for otherwise than those in the file (horizon, margin,
        discounting, costs, currency, level, changed rates), which would compare what is not alike.
    DataError, ArtefactError
        If the file is no such history, or of a later version.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.business import append_history, clv_trend
    >>> for day in ("1997-09-30", "1997-12-31"):
    ...     rfm = clv.rfm_summary(clv.load_cdnow(), observation_end=day, time_unit="W")
    ...     model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
    ...     table = model.predict(rfm, horizon="52W", margin=0.3)
    ...     history = append_history("history.parquet", model, table, draws=50)
    >>> len(history)
    2
    >>> clv_trend("history.parquet")["refitted"].tolist()
    [False, True]
    """
    path = Path(path)
    if path.suffix.lower() != ".parquet":
        raise OptionError(f"'{path}': a history is a Parquet file; let its name end in .parquet.")
    _known(path)  # what cannot be appended to is refused before the work
    asked = as_asked(model, predictions, horizon, **terms)
    told = told_terms(model, asked, currency_of(predictions))
    told |= {"changed": _plain(model.changed_), "interval": interval}
    _known(path, told)
    day = _day(predictions, as_of)
    columns = [by] if isinstance(by, str) else list(by or ())
    if ALL in columns:
        raise OptionError(f"a column of segments cannot be called '{ALL}'; rename it.")
    # All of them are checked before the first is worked out, which may take long.
    segments = {column: one_by_one(asked.customers, column) for column in columns}
    # Draws of a posterior have other means than all of them: what was predicted is added up.
    as_they_are = horizon == "as predicted" and set(terms) <= _OF_DRAWS
    added = predictions if as_they_are else None
    parts = [_totals(model, asked, ALL, interval, None, added)]
    parts += [_totals(model, asked, c, interval, of, added) for c, of in segments.items()]
    rows = pd.concat(parts, ignore_index=True)
    rows.insert(0, "as_of", day)
    for name, fact in zip(_FACTS, _facts(model, asked), strict=True):
        rows[name] = pd.Series(fact, index=rows.index, dtype="str")
    with alone_in(path.absolute().parent):
        before = _known(path, told)  # another job may have appended meanwhile
        if before is not None:
            rows = pd.concat([before[before["as_of"] != day], rows], ignore_index=True)
            # Stable, so that segments stay in their order.
            rows = rows.sort_values("as_of", kind="stable", ignore_index=True)
        rows.attrs = {HISTORY_KEY: {"schema": SCHEMA_VERSION, "terms": told}}
        with new_file(path) as temporary:
            rows.to_parquet(temporary, index=False)
    return rows


def _known(path: Path, told: dict[str, Any] | None = None) -> pd.DataFrame | None:
    """What is in a history, if there is one, and of these terms."""
    if not path.exists():
        if not path.absolute().parent.is_dir():
            raise OptionError(
                f"the folder '{path.parent}' does not exist. Make it: mkdir -p {path.parent}"
            )
        return None
    found = read_history(path)
    if told is not None:
        _check_terms(found.attrs[HISTORY_KEY]["terms"], told, path)
    return found


def read_history(path: str | Path) -> pd.DataFrame:
    """Read a history of predictions.

    Parameters
    ----------
    path : str or Path
        Written by :func:`append_history`.

    Returns
    -------
    DataFrame
        A row per refit, column of segments and segment: `as_of`, `by` (name of the column, or
        ``"all"``), `segment` (text), `customers`; `expected_purchases` (and of CLVModel `clv`,
        with costs `net_clv`) in total, with `_lower` and `_upper` (credible);
        `purchases_pi_lower`, `purchases_pi_upper` (and those of `value`; predictive);
        `purchase_model`, `spend_model`, `method`, `parameters` (JSON) and `fingerprint` (of the
        parameters, and of the recalibration). ``attrs["clvpredict_history"]`` has the version
        of the file and the terms that all its predictions share.

    Raises
    ------
    DataError
        If it is not there, or no such file.
    ArtefactError
        If a later version of clvpredict has written it.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.business import append_history, read_history
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> model = clv.MBGNBD().fit(rfm)
    >>> _ = append_history("one.parquet", model, model.predict(rfm, horizon="13W"), draws=50)
    >>> read_history("one.parquet")["customers"].tolist()
    [2357]
    """
    path = Path(path)
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        what = "no such file" if isinstance(error, FileNotFoundError) else "no readable Parquet"
        raise DataError(f"history '{path}'", [Problem(what, "check the path")]) from error
    said = table.attrs.get(HISTORY_KEY)
    if not isinstance(said, dict):
        problem = Problem(
            "a table, but no history of predictions",
            "give another path: clvpredict.business.append_history('history.parquet', ...)",
        )
        raise DataError(f"history '{path}'", [problem])
    if said["schema"] > SCHEMA_VERSION:
        raise ArtefactError(
            f"'{path}' is a history of version {said['schema']}, and this clvpredict knows up to "
            f"{SCHEMA_VERSION}. Update it: pip install --upgrade clvpredict."
        )
    return table


def clv_trend(
    history: pd.DataFrame | str | Path, *, by: str | None = None, of: str | None = None
) -> pd.DataFrame:
    """Tabulate how a predicted total changed from refit to refit.

    Parameters
    ----------
    history : DataFrame, str or Path
        From :func:`append_history` or :func:`read_history`, or the file.
    by : str, optional
        A column of segments that was appended. By default all customers together.
    of : {"clv", "net_clv", "expected_purchases"}, optional
        By default `clv`, or `expected_purchases` of purchase models.

    Returns
    -------
    DataFrame
        A row per refit and segment: `as_of, segment, customers`; `total, total_lower,
        total_upper` and per customer `mean, mean_lower, mean_upper` (credible); to the refit
        before that has the segment `change` (of the total), `change_percent`, `mean_change`,
        `customers_change`, all missing in the first; and `refitted`: whether the parameters are
        others than before. ``attrs`` has `of`, `by`, and the terms of the predictions. The
        uncertainty of a change is not in the history: see :func:`explain_change`.

    Raises
    ------
    OptionError
        If the history lacks what is asked for.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.business import append_history, clv_trend
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> model = clv.MBGNBD().fit(rfm)
    >>> table = model.predict(rfm, horizon="13W").assign(half=rfm["customer_id"] % 2)
    >>> history = append_history("half.parquet", model, table, by="half", draws=50)
    >>> clv_trend(history, by="half")["segment"].tolist()
    ['0', '1']
    """
    table = history if isinstance(history, pd.DataFrame) else read_history(history)
    said = table.attrs.get(HISTORY_KEY)
    if said is None:
        raise OptionError(
            "this is no history of predictions; give what append_history or read_history returned."
        )
    allowed = [q for q in ("clv", "net_clv", "expected_purchases") if q in table]
    of = allowed[0] if of is None else of
    if of not in allowed:
        raise unknown_option("of", of, allowed)
    wanted = ALL if by is None else by
    if wanted not in table["by"].tolist():
        raise unknown_option("by", by, sorted(set(table["by"]) - {ALL}))
    rows = table[table["by"] == wanted].reset_index(drop=True)
    out = rows[["as_of", "segment", "customers"]].copy()
    for end in ("", "_lower", "_upper"):
        out[f"total{end}"] = rows[f"{of}{end}"]
    for end in ("", "_lower", "_upper"):
        out[f"mean{end}"] = out[f"total{end}"] / out["customers"]
    each = out.groupby("segment", sort=False)
    out["change"] = each["total"].diff()
    out["change_percent"] = 100.0 * out["change"] / each["total"].shift().abs()
    out["mean_change"] = each["mean"].diff()
    out["customers_change"] = each["customers"].diff()
    earlier = rows.groupby("segment", sort=False)["fingerprint"].shift()
    out["refitted"] = rows["fingerprint"].ne(earlier) & earlier.notna()
    out.attrs = {"of": of, "by": by, **said["terms"]}
    return out


def told_terms(model: Any, asked: Asked, currency: str | None) -> dict[str, Any]:
    """What must be alike for predictions to be compared, as plain values."""
    unit = getattr(model, "purchases", model).time_unit_
    periods = None if asked.horizon is None else horizon_periods(asked.horizon, unit)
    if unit is not None and periods is not None:
        told: dict[str, Any] = {"horizon_days": round(periods * unit.days, 6)}
    else:
        told = {"horizon": periods}
    if not has_money(model):
        return told
    terms = asked.terms
    costs = terms.get("costs")
    return {
        **told,
        "discount_rate": terms.get("discount_rate", 0.1),
        "discounting": terms.get("discounting", "continuous"),
        "margin": _plain(terms.get("margin", 1.0)),
        "costs": None if costs is None else _plain(costs.record()),
        "fallback_spend": terms.get("fallback_spend"),
        "currency": currency,
    }


def refuse_differences(first: dict[str, Any], second: dict[str, Any], whose: str) -> None:
    """Refuse to compare what is not alike.

    Raises
    ------
    OptionError
        Naming the terms that differ.
    """
    names = [n for n in {**first, **second} if first.get(n) != second.get(n)]
    if names:
        listed = ", ".join(f"{n} {first.get(n)!r} and now {second.get(n)!r}" for n in names)
        raise OptionError(f"{whose}: {listed}. Numbers of different terms cannot be compared.")


def one_by_one(table: pd.DataFrame, column: str) -> tuple[Any, list[str]]:
    """Segment of each customer as a code, and their names.

    Raises
    ------
    OptionError
        If some have none.
    """
    codes, labels, _ = labelled(require_column(table, column, "by"))
    missing = int((codes == NO_CODE).sum())
    if missing:
        raise OptionError(
            f"column '{column}' is missing for {missing:,} customers; fill it: "
            f"table['{column}'].fillna('none')."
        )
    return codes, labels


def _check_terms(earlier: dict[str, Any], told: dict[str, Any], path: Path) -> None:
    whose = (
        f"the predictions in '{path}' were asked for otherwise (append with the same terms, or "
        "to another file)"
    )
    refuse_differences(earlier, told, whose)


def _plain(value: Any) -> Any:
    """As JSON reads it back: keys are text, numbers Python's."""
    return json.loads(json.dumps(value, default=float))


def _day(predictions: pd.DataFrame, as_of: str | date | None) -> pd.Timestamp:
    if as_of is None:
        known = provenance_of(predictions)
        end = known and (known.calibration_end or known.observation_end)
        if not end:
            raise OptionError("these predictions have no date; give as_of='2025-01-31'.")
        as_of = end
    try:
        # Of text only ISO 8601: in 05/06/2024 nobody knows which is the month.
        day = pd.Timestamp(datetime.fromisoformat(as_of) if isinstance(as_of, str) else as_of)
    except (ValueError, TypeError) as error:
        raise OptionError(f"as_of={as_of!r} is no day; give as_of='2025-01-31'.") from error
    return day.tz_localize(None).normalize().as_unit("us")


def _totals(
    model: Any,
    asked: Asked,
    by: str,
    interval: float,
    segments: tuple[Any, list[str]] | None,
    added: pd.DataFrame | None,
) -> pd.DataFrame:
    """Totals with a row per segment, in the order of the segments; `added` up where given."""
    table, column = asked.customers, None
    if segments is not None:
        table, column = table.assign(**{_PLACE: segments[0]}), _PLACE
    found = model.predict_totals(
        table, horizon=asked.horizon, by=column, interval=interval, **asked.terms
    )
    if added is not None:
        place = np.zeros(len(added)) if segments is None else segments[0]
        totals = added.groupby(place).sum(numeric_only=True)
        for name in {"expected_purchases", "clv", "net_clv"} & set(found) & set(added):
            found[name] = totals[name].to_numpy()
    names = [ALL] if segments is None else [segments[1][int(code)] for code in found.index]
    out: pd.DataFrame = found.reset_index(drop=True)
    out.insert(0, "segment", pd.Series(names, dtype="str"))
    out.insert(0, "by", pd.Series(by, index=out.index, dtype="str"))
    return out


def _facts(model: Any, asked: Asked) -> list[str | None]:
    buying, spend = getattr(model, "purchases", model), getattr(model, "spend", None)
    learnt = asked.terms.get("recalibration")
    fitted = {name: float(value) for name, value in model.params_.items()}
    parameters = json.dumps(fitted, sort_keys=True)
    known = [parameters, None if learnt is None else _plain(learnt.record())]
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    return [
        buying.result_.model,
        None if spend is None else spend.result_.model,
        buying.result_.method,
        parameters,
        digest[:16],
    ]
