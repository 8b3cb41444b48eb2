"""What moved between two refits, as parts that add up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.business.asked import Asked, as_asked, drawn_sums, has_money
from clvpredict.business.facts import currency_of
from clvpredict.business.trend import ALL, one_by_one, refuse_differences, told_terms
from clvpredict.errors import DataError, DataWarning, OptionError, Problem, notify, unknown_option
from clvpredict.predict import interval_of
from clvpredict.rfm import Array, customer_ids, provenance_of

#: Parts in the order of the picture; levels stand at both ends.
PARTS = (
    "before",
    "new customers",
    "customers gone",
    "moved in",
    "moved out",
    "behaviour",
    "parameters",
    "after",
)
_LEVELS = ("before", "after")
_MOST_SEGMENTS = 100
Codes = npt.NDArray[np.intp]


def explain_change(
    model_before: Any,
    table_before: pd.DataFrame,
    model_after: Any,
    table_after: pd.DataFrame,
    *,
    by: str | None = None,
    of: str | None = None,
    interval: float | None = 0.9,
    horizon: float | str | timedelta | None = "as predicted",
    **terms: Any,
) -> pd.DataFrame:
    """Take the change of a predicted total between two refits to pieces that add up exactly.

    With V(model, summary) the predicted total of some customers,

    - *new customers*: V(after, after) of those who were not in the table before;
    - *customers gone*: −V(before, before) of those who are no longer in it;
    - *behaviour*: V(before, after) − V(before, before) of those in both: what they did, or
      did not do, since, seen by the model of before. Silence counts: who has not bought since
      has grown older;
    - *parameters*: V(after, after) − V(before, after) of those in both: the same histories seen
      by the new model;
    - *moved in*, *moved out* (with ``by``): ±V(before, before) of those whose segment is
      another now; their behaviour and parameters count in the segment where they are now. In
      total the two cancel.

    before + all of these = after, per segment and in total.

    Parameters
    ----------
    model_before, model_after : CLVModel or purchase model
        Fitted; the ones that made the predictions.
    table_before, table_after : DataFrame
        Their predictions, asked for alike, with the column of ``by``.
    by : str, optional
        A column of segments.
    of : {"clv", "net_clv", "expected_purchases"}, optional
        By default `clv`, or `expected_purchases` of purchase models.
    interval : float or None
        Level of the intervals; None for none, which is quicker.
    horizon, **terms
        As in ``predict``, for both; by default those of the predictions.

    Returns
    -------
    DataFrame
        A row per segment (``"all"`` first) and part: `segment, part, kind` (``"level"`` or
        ``"change"``), `customers` (whom it is about), `value, lower, upper` (credible). Parts
        of one model have intervals from draws of its parameters in common, so what these share
        cancels. `parameters` and the levels' difference compare two fits, whose draws are
        independent here: as refits have most data in common, these intervals are rather too
        wide. ``attrs`` has `of`, `by`, `interval`, the dates, and the terms.

    Raises
    ------
    OptionError
        If the predictions were not asked for alike, or the models are of different kinds.
    DataError
        If a customer is in a table twice.

    Warns
    -----
    DataWarning
        If no customer is in both tables.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.business import explain_change
    >>> asked = []
    >>> for day in ("1997-03-20", "1997-09-30"):
    ...     rfm = clv.rfm_summary(clv.load_cdnow(), observation_end=day, time_unit="W")
    ...     model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
    ...     asked += [model, model.predict(rfm, horizon="52W", margin=0.3)]
    >>> parts = explain_change(*asked, draws=50).set_index("part")
    >>> parts["customers"].to_dict()["new customers"]
    130
    >>> changes = parts.loc[parts["kind"] == "change", "value"].sum()
    >>> bool(abs(parts.loc["after", "value"] - parts.loc["before", "value"] - changes) < 0.005)
    True
    """
    old = as_asked(model_before, table_before, horizon, **terms)
    new = as_asked(model_after, table_after, horizon, **terms)
    of = _quantity(model_before, model_after, old, of)
    told = told_terms(model_after, new, currency_of(table_after))
    refuse_differences(
        told_terms(model_before, old, currency_of(table_before)),
        told,
        "the two tables were asked for otherwise (predict both with the same terms)",
    )
    groups = _Groups.of(old.customers, new.customers, by)
    # Who overrides the terms wants other numbers than those in the table.
    given = horizon == "as predicted" and set(terms) <= {"draws", "seed", "progress"}
    both = new.customers[groups.stayed]
    # The old model counts as it did, with the recalibration of then.
    crossed = Asked(both, old.horizon, old.terms)
    asked = (
        (model_before, old, groups.old),
        (model_before, crossed, groups.new[groups.stayed]),
        (model_after, new, groups.new),
    )
    points = [
        np.bincount(member, _point(model, a, of, given and a is not crossed), groups.count)
        for model, a, member in asked
    ]
    values = _parts(groups, [p[:, None] for p in points])
    counts = [np.bincount(member, minlength=groups.count)[:, None] for *_, member in asked]
    out = _tidy(groups, values, _customers(groups, counts))
    if interval is not None:
        found = [_draws(model, a, member, groups.count, of) for model, a, member in asked]
        if model_before.params_ != model_after.params_:
            # Equal seeds would pair draws that have nothing to do with each other.
            shuffled = np.random.default_rng(int(new.terms.get("seed", 0)))
            found[2] = shuffled.permutation(found[2], axis=1)
        rows = np.concatenate(_matched(groups, found))
        out["lower"], out["upper"] = interval_of(rows, interval)
    if by is None:
        out = out[~out["part"].isin(("moved in", "moved out"))].reset_index(drop=True)
    ends = {"before": _end(table_before), "after": _end(table_after)}
    out.attrs.update({"of": of, "by": by, "interval": interval}, **ends, **told)
    return out


def _quantity(before: Any, after: Any, asked: Asked, of: str | None) -> str:
    if has_money(before) != has_money(after):
        raise OptionError("one model has money and the other has not; compare models of one kind.")
    allowed = ["expected_purchases"]
    if has_money(before):
        net = ["net_clv"] if asked.terms.get("costs") is not None else []
        allowed = ["clv", *net, *allowed]
    if of is not None and of not in allowed:
        raise unknown_option("of", of, allowed)
    return of or allowed[0]


@dataclass(frozen=True)
class _Groups:
    """Customers by the segments where they were and where they are.

    Parameters
    ----------
    labels : list of str
        Of the segments; the code len(labels) is "not there".
    was, now : ndarray of int, shape (count,)
        Segments of each group.
    old, new : ndarray of int
        Group of each customer of either table.
    stayed : ndarray of bool
        Which customers of the new table were in the old one.
    """

    labels: list[str]
    was: Codes
    now: Codes
    old: Codes
    new: Codes
    stayed: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, before: pd.DataFrame, after: pd.DataFrame, by: str | None) -> _Groups:
        ids = [_unique(table, name) for table, name in ((before, "before"), (after, "after"))]
        codes, labels = _segments(before, after, by)
        absent = len(labels)
        place = ids[0].get_indexer(ids[1])
        stayed = place >= 0
        if not stayed.any():
            notify(
                "no customer is in both tables: everybody counts as gone or new. Are the ids of "
                f"one kind (before {ids[0].dtype}, after {ids[1].dtype})?",
                DataWarning,
            )
        now = np.full(len(before), absent)
        now[place[stayed]] = codes[1][stayed]
        was = np.full(len(after), absent)
        was[stayed] = codes[0][place[stayed]]
        pairs = np.concatenate([codes[0] * (absent + 1) + now, was * (absent + 1) + codes[1]])
        kinds, group = np.unique(pairs, return_inverse=True)
        return cls(
            labels,
            kinds // (absent + 1),
            kinds % (absent + 1),
            group[: len(before)],
            group[len(before) :],
            stayed,
        )

    @property
    def count(self) -> int:
        return len(self.was)

    @property
    def lasting(self) -> npt.NDArray[np.bool_]:
        """Groups of customers who are in both tables."""
        absent = len(self.labels)
        return (self.was < absent) & (self.now < absent)

    def add(self, values: Array, where: npt.NDArray[np.bool_], segment: Codes) -> Array:
        """Sum groups, shape (count, k), by segment; all together first."""
        out = np.zeros((len(self.labels) + 1, values.shape[1]))
        np.add.at(out, segment[where] + 1, values[where])
        out[0] = values[where].sum(axis=0)
        return out


def _unique(table: pd.DataFrame, name: str) -> pd.Index:
    ids: pd.Index = pd.Index(customer_ids(table))
    if ids.has_duplicates:
        twice = ids[ids.duplicated()].unique()
        problem = Problem(
            "customers that are in it twice",
            "give one row per customer: table.drop_duplicates('customer_id')",
            len(twice),
            [str(v) for v in twice[:5]],
        )
        raise DataError(f"table of {name}", [problem])
    return ids


def _segments(
    before: pd.DataFrame, after: pd.DataFrame, by: str | None
) -> tuple[list[Codes], list[str]]:
    if by is None:
        return [np.zeros(len(t), np.intp) for t in (before, after)], [ALL]
    found = [one_by_one(table, by) for table in (before, after)]
    labels = list(dict.fromkeys([*found[1][1], *found[0][1]]))
    if len(labels) > _MOST_SEGMENTS:
        raise OptionError(
            f"column '{by}' has {len(labels):,} segments; a change is explained for up to "
            f"{_MOST_SEGMENTS}. Group them first."
        )
    if ALL in labels:
        raise OptionError(f"a segment of '{by}' is called '{ALL}', as the total is; rename it.")
    place = {label: i for i, label in enumerate(labels)}
    return [np.array([place[n] for n in names], np.intp)[codes] for codes, names in found], labels


def _parts(groups: _Groups, values: list[Array]) -> list[Array]:
    """Sums of each part by segment, in the order of PARTS; all customers first."""
    old, crossed, new = values
    absent, lasting = len(groups.labels), groups.lasting
    moved = lasting & (groups.was != groups.now)
    was, now = groups.was, groups.now
    return [
        groups.add(old, was < absent, was),
        groups.add(new, was == absent, now),
        0.0 - groups.add(old, now == absent, was),
        groups.add(old, moved, now),
        0.0 - groups.add(old, moved, was),
        groups.add(crossed - old, lasting, now),
        groups.add(new - crossed, lasting, now),
        groups.add(new, now < absent, now),
    ]


def _customers(groups: _Groups, counts: list[npt.NDArray[np.intp]]) -> list[Array]:
    """How many customers each part is about."""
    old, both, new = (count.astype(np.float64) for count in counts)
    found = [np.abs(part) for part in _parts(groups, [old, both, new])]
    found[5] = found[6] = groups.add(both, groups.lasting, groups.now)
    return found


def _tidy(groups: _Groups, values: list[Array], customers: list[Array]) -> pd.DataFrame:
    segments = [ALL, *groups.labels] if groups.labels != [ALL] else [ALL]
    n = len(segments)
    return pd.DataFrame(
        {
            "segment": pd.Series(np.repeat(segments, len(PARTS)), dtype="str"),
            "part": pd.Series(np.tile(PARTS, n), dtype="str"),
            "kind": pd.Series(
                np.tile(["level" if p in _LEVELS else "change" for p in PARTS], n), dtype="str"
            ),
            "customers": np.array([c[:n, 0] for c in customers]).T.ravel().astype(np.int64),
            "value": np.array([v[:n, 0] for v in values]).T.ravel(),
        }
    )


def _point(model: Any, asked: Asked, of: str, given: bool) -> Array:
    table = asked.customers
    if not given or of not in table:
        if table.empty:
            return np.zeros(0)
        table = model.predict(table, horizon=asked.horizon, **asked.terms)
    return np.asarray(table[of], np.float64)


def _draws(model: Any, asked: Asked, member: Codes, count: int, of: str) -> Array:
    """Sums of each group within each draw of the parameters, shape (count, draws)."""
    if not len(member):
        return np.zeros((count, 1))
    return drawn_sums(model, asked, member, count, [of])[of]


def _matched(groups: _Groups, found: list[Array]) -> list[Array]:
    """Draws of each part, row by row as in the table."""
    size = max(f.shape[1] for f in found)
    # A fit may have fewer draws than were asked for; they are spread, and none is left out.
    spread = [f[:, np.linspace(0, f.shape[1] - 1, size).round().astype(np.intp)] for f in found]
    parts = _parts(groups, spread)
    n = 1 if groups.labels == [ALL] else len(groups.labels) + 1
    return [part[row][None] for row in range(n) for part in parts]


def _end(table: pd.DataFrame) -> str | None:
    known = provenance_of(table)
    return None if known is None else (known.calibration_end or known.observation_end)
