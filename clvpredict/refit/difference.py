"""Two runs or versions side by side: parameters, metrics, options, totals, customers."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from clvpredict.errors import DataError, OptionError, Problem
from clvpredict.refit.manage import find
from clvpredict.refit.versions import MODEL, PREDICTIONS
from clvpredict.store.tables import plain

if TYPE_CHECKING:
    import pandas as pd

    from clvpredict.refit.records import RunRecord
    from clvpredict.refit.store import Store
    from clvpredict.refit.versions import Version

# What customers are compared by: the first that both tables have.
_MOVED = ("clv", "expected_purchases")
_TOTALS = ("p_alive", "expected_purchases", "clv", "net_clv")
_INPUT = ("rows", "customers", "first", "last", "fingerprint")


@dataclass(frozen=True)
class Difference:
    """What :func:`difference` found; columns ``a`` and ``b`` are the two sides.

    Parameters
    ----------
    a, b : dict
        Of each side ``version``, ``run_id``, ``as_of`` and ``status``.
    parameters : DataFrame
        `model, parameter, a, a_lower, a_upper, b, b_lower, b_upper, change` (b / a - 1) and
        `overlap`, whether the intervals do.
    gate : DataFrame
        `criterion, subject, a, b`: what the gates measured.
    input, options, totals : DataFrame
        `name, a, b`: the data; the options that differ; sums over the customers.
    customers : DataFrame
        `customer_id, a, b, change`, those that moved most first.
    moved_by : str
        The column that customers are compared by.
    counts : dict
        Customers in ``both``, ``new`` in b and ``gone`` from it.
    """

    a: dict[str, Any]
    b: dict[str, Any]
    parameters: pd.DataFrame
    gate: pd.DataFrame
    input: pd.DataFrame
    options: pd.DataFrame
    totals: pd.DataFrame
    customers: pd.DataFrame
    moved_by: str
    counts: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data; tables are lists of rows."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: plain(value.to_dict("records") if hasattr(value, "to_dict") else value)
            for name, value in found.items()
        }


def difference(store: Store, a: str, b: str, *, customers: int = 20) -> Difference:
    """Compare two runs or versions.

    Parameters
    ----------
    store : Store
    a, b : str
        Ids of runs or versions, beginnings of them, or ``"latest"``: what is published.
    customers : int
        How many of those that moved most to list.

    Returns
    -------
    Difference

    Raises
    ------
    OptionError
        If one is not there, or made no version.
    ArtefactError, DataError
        If one cannot be read.
    """
    if customers < 0:
        raise OptionError(f"customers={customers!r}: give a number of customers, 0 or more.")
    sides = [find(store, name) for name in (a, b)]
    versions = [version for version, _ in sides]
    records = [record for _, record in sides]
    tables = [_predictions(version) for version in versions]
    both, counts, by = _joined(*tables)
    return Difference(
        a=_side(*sides[0]),
        b=_side(*sides[1]),
        parameters=_parameters(*map(_estimates, versions)),
        gate=_gate(*(_criteria(record) for record in records)),
        input=_rows(*(_chosen(r.input if r else None, _INPUT) for r in records)),
        options=_differing(*(_options(record) for record in records)),
        totals=_rows(*(_totals(table) for table in tables)),
        customers=both.head(customers).reset_index(drop=True),
        moved_by=by,
        counts=counts,
    )


def _side(version: Version, record: RunRecord | None) -> dict[str, Any]:
    return {
        "version": version.id,
        "run_id": record.run_id if record else None,
        "as_of": version.facts.get("as_of") or (record.as_of if record else None),
        "status": record.status if record else None,
    }


def _estimates(version: Version) -> dict[tuple[str, str], Any]:
    """Estimates of the version's models, by model and parameter."""
    from clvpredict.estimators.facts import model_facts
    from clvpredict.store import load_model

    return {
        (model["title"], name): estimate
        for model in model_facts(load_model(version.file(MODEL)))
        for name, estimate in model["parameters"].items()
    }


def _parameters(a: Mapping[Any, Any], b: Mapping[Any, Any]) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for key in dict.fromkeys((*a, *b)):
        row: dict[str, Any] = {"model": key[0], "parameter": key[1]}
        for side, found in (("a", a.get(key, {})), ("b", b.get(key, {}))):
            row[side] = _number(found.get("estimate"))
            row[f"{side}_lower"] = _number(found.get("lower"))
            row[f"{side}_upper"] = _number(found.get("upper"))
        row["change"] = row["b"] / row["a"] - 1
        ends = [row[f"{side}_{end}"] for side in "ab" for end in ("lower", "upper")]
        known = all(end == end for end in ends)
        row["overlap"] = ends[0] <= ends[3] and ends[2] <= ends[1] if known else None
        rows.append(row)
    sides = [f"{side}{end}" for side in "ab" for end in ("", "_lower", "_upper")]
    return pd.DataFrame(rows, columns=["model", "parameter", *sides, "change", "overlap"])


def _criteria(record: RunRecord | None) -> dict[tuple[str, str], Any]:
    gate = record.gate if record else None
    found = gate.get("findings", []) if gate else []
    return {(f["criterion"], f["subject"]): f["value"] for f in found}


def _gate(a: Mapping[Any, Any], b: Mapping[Any, Any]) -> pd.DataFrame:
    import pandas as pd

    keys = dict.fromkeys((*a, *b))
    rows = [
        (criterion, subject, a.get((criterion, subject)), b.get((criterion, subject)))
        for criterion, subject in keys
    ]
    return pd.DataFrame(rows, columns=["criterion", "subject", "a", "b"])


def _rows(a: Mapping[str, Any], b: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    rows = [(name, a.get(name), b.get(name)) for name in dict.fromkeys((*a, *b))]
    return pd.DataFrame(rows, columns=["name", "a", "b"], dtype=object)


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> pd.DataFrame:
    names = [name for name in dict.fromkeys((*a, *b)) if a.get(name) != b.get(name)]
    return _rows(_chosen(a, names), _chosen(b, names))


def _chosen(found: Mapping[str, Any] | None, names: Any) -> dict[str, Any]:
    return {name: found[name] for name in names if name in found} if found else {}


def _options(record: RunRecord | None) -> dict[str, Any]:
    """The options of a run, each by its full name, such as ``gate.margin``."""
    return dict(_flat(tomllib.loads(record.config_text))) if record else {}


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _predictions(version: Version) -> pd.DataFrame:
    import pandas as pd
    import pyarrow.parquet as pq

    path = version.file(PREDICTIONS)
    there = pq.read_schema(path).names
    wanted = [c for c in ("customer_id", *_TOTALS) if c in there]
    if "customer_id" not in wanted:
        raise DataError(
            f"predictions of version {version.id}",
            [Problem("no column customer_id", "compare versions that a run has made")],
        )
    return pd.read_parquet(path, columns=wanted)


def _totals(table: pd.DataFrame) -> dict[str, float]:
    return {"customers": len(table)} | {c: float(table[c].sum()) for c in _TOTALS if c in table}


def _joined(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int], str]:
    """Customers of both, those that moved most first; counts; and by what they moved."""
    by = next((c for c in _MOVED if c in a and c in b), None)
    if by is None:
        raise DataError(
            "predictions",
            [Problem("they have nothing in common to compare", f"have one of {', '.join(_MOVED)}")],
        )
    left, right = (
        t[["customer_id", by]].rename(columns={by: side}) for t, side in ((a, "a"), (b, "b"))
    )
    if left["customer_id"].dtype != right["customer_id"].dtype:
        left, right = (t.astype({"customer_id": str}) for t in (left, right))
    joined = left.merge(right, on="customer_id", how="outer", indicator="where")
    where = joined.pop("where").value_counts()
    counts = {"both": "both", "new": "right_only", "gone": "left_only"}
    joined["change"] = joined["b"] - joined["a"]
    both = joined.dropna(subset=["a", "b"])
    order = both["change"].abs().sort_values(ascending=False, kind="stable").index
    return both.loc[order], {name: int(where[key]) for name, key in counts.items()}, by


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
