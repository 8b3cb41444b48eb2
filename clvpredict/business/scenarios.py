"""What if: changes of customers' latent rates, carried through the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.business.asked import Asked, as_asked, drawn_sums, has_money
from clvpredict.errors import OptionError, refuse_unknown, unknown_option
from clvpredict.predict import interval_of
from clvpredict.rfm import Array, require_column

#: What can be changed: of customers' behaviour, and of the terms that value is counted by.
FACTORS = ("churn", "frequency", "order_value", "margin", "discount_rate")
_OF_MONEY = ("order_value", "margin", "discount_rate")
ALL = "all"
# Expectations, and what customers realise of each.
_EXPECTED = {"expected_purchases": "purchases", "clv": "value", "net_clv": "net_value"}
_MARGIN = "_clvpredict_margin"


def scenario(
    model: Any,
    table: pd.DataFrame,
    *,
    churn: float = 0.0,
    frequency: float = 0.0,
    order_value: float = 0.0,
    margin: float = 0.0,
    discount_rate: float = 0.0,
    segment: Mapping[str, Any] | None = None,
    by: str | None = None,
    horizon: Any = "as predicted",
    interval: float = 0.9,
    predictive: bool = True,
    terms: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Say what the model implies if customers changed today.

    Every change is relative: ``churn=-0.05`` is 5 % less. They act on the latent rates of each
    customer under every draw of the parameters: the dropout probability of a purchase, the
    purchase rate, the value of purchases; P(alive) today, which is of the past, stays.

    Parameters
    ----------
    model : CLVModel or purchase model
        Fitted.
    table : DataFrame
        Predictions, whose horizon and terms are taken; or an RFM summary, with ``horizon`` and
        ``terms``.
    churn, frequency, order_value : float
        Changes of customers; see :meth:`clvpredict.CLVModel.changed`.
    margin, discount_rate : float
        Changes of the terms.
    segment : mapping, optional
        Who changes: a column and its value, or several values, such as
        ``{"channel": ["email", "search"]}``. By default everybody. (The discount rate is
        everybody's, and cannot be changed for some.)
    by : str, optional
        A column: rows for each value of it too.
    horizon : float, str, timedelta or None
        By default that of the predictions.
    interval : float
        Level.
    predictive : bool
        Also say what customers do, and not only what is expected of them: dear where there are
        many.
    terms : mapping, optional
        What value is counted by and how it is drawn, as in ``predict``; by default as the
        predictions were made.

    Returns
    -------
    DataFrame
        Index (group, quantity); group `"all"` and the values of ``by``. Quantities:
        `expected_purchases`, `clv` and, with costs, `net_clv`, with credible intervals; and
        `purchases`, `value`, `net_value`, what customers do, with predictive ones. Columns
        `now`, `then`, `change`, each with `_lower` and `_upper`, and `change_percent`. The
        change of an expectation is taken within each draw. The change of what is realised is
        that between two such customer bases, one changed and one not, each with luck of its
        own.

    Raises
    ------
    OptionError
        For changes of −1 or less, unknown columns or values, and changes of money in a model
        without.

    Notes
    -----
    This is what the model implies, not what an action would cause. In BG/NBD and MBG/NBD
    customers leave after purchases, so a higher frequency also brings the end nearer, and a
    lower churn pays only through purchases to come.

    Examples
    --------
    >>> import clvpredict as clv
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
    >>> table = model.predict(rfm, horizon="52W", margin=0.3)
    >>> what_if = clv.scenario(model, table, churn=-0.05, frequency=0.10, predictive=False)
    >>> what_if.loc[("all", "clv"), "change_percent"].round(1).item()
    9.5
    """
    changes = _changes(model, churn, frequency, order_value, margin, discount_rate)
    asked = as_asked(model, table, horizon, **(terms or {}))
    question = _Question(model, asked, segment, by, realised=predictive)
    out = _rows(question.before, question.after(changes), interval)
    out.attrs = {"changes": changes, "segment": dict(segment) if segment else None}
    out.attrs |= {"interval": interval, "by": by}
    return out


def tornado_table(
    model: Any,
    table: pd.DataFrame,
    changes: float | Mapping[str, float | Sequence[float]] = 0.1,
    *,
    of: str | None = None,
    segment: Mapping[str, Any] | None = None,
    horizon: Any = "as predicted",
    interval: float = 0.9,
    terms: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Change one thing at a time, down and up.

    Parameters
    ----------
    model, table, segment, horizon, interval, terms
        As in :func:`scenario`.
    changes : float or mapping
        0.1: everything that can be changed, by −10 % and +10 %. Or what to change, each with a
        number (down and up by so much) or two: ``{"churn": (-0.1, 0.05), "frequency": 0.1}``.
    of : str, optional
        Which quantity of :func:`scenario`; by default `clv`, or `expected_purchases`.

    Returns
    -------
    DataFrame
        Columns `factor`, `change` (relative), `now`, `then`, `effect`, `effect_lower`,
        `effect_upper`; the factor of the widest range first. :func:`clvpredict.plots.plot_tornado`
        draws it.

    Examples
    --------
    >>> import clvpredict as clv
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
    >>> table = model.predict(rfm, horizon="52W", margin=0.3)
    >>> found = clv.business.tornado_table(
    ...     model, table, {"churn": 0.1, "frequency": 0.1}, terms={"draws": 100}
    ... )
    >>> found["factor"].tolist()
    ['frequency', 'frequency', 'churn', 'churn']
    """
    money = has_money(model)
    factors = FACTORS if money else ("churn", "frequency")
    of = ("clv" if money else "expected_purchases") if of is None else of
    given = changes if isinstance(changes, Mapping) else dict.fromkeys(factors, changes)
    refuse_unknown("a tornado", given, FACTORS)
    asked = as_asked(model, table, horizon, **(terms or {}))
    realised = of in _EXPECTED.values()
    question = _Question(model, asked, segment, None, of, realised=realised)
    rows = []
    for factor, sizes in given.items():
        pair = [-abs(sizes), abs(sizes)] if isinstance(sizes, float | int) else list(sizes)
        for size in pair:
            changes = _changes(model, *(size if factor == name else 0.0 for name in FACTORS))
            found = _rows(question.before, question.after(changes), interval)
            line: Any = found.loc[(ALL, of)]
            rows.append(
                {
                    "factor": factor,
                    "change": size,
                    "now": line["now"],
                    "then": line["then"],
                    "effect": line["change"],
                    "effect_lower": line["change_lower"],
                    "effect_upper": line["change_upper"],
                }
            )
    out = pd.DataFrame(rows)
    width = out.groupby("factor")["effect"].agg(lambda e: e.max() - e.min())
    order = width.sort_values(ascending=False, kind="stable").index
    out = out.sort_values(
        ["factor", "change"],
        key=lambda c: c.map({f: i for i, f in enumerate(order)}) if c.name == "factor" else c,
        ignore_index=True,
    )
    out.attrs = {"of": of, "interval": interval}
    return out


class _Question:
    """Who is asked about, and what they bring in as things are.

    Parameters
    ----------
    segment : mapping or None
        Who changes.
    by : str or None
        Column of groups.
    of : str, optional
        The only quantity that is wanted; by default all.
    realised : bool
        Whether what customers do is wanted.
    """

    def __init__(
        self,
        model: Any,
        asked: Asked,
        segment: Mapping[str, Any] | None,
        by: str | None,
        of: str | None = None,
        *,
        realised: bool,
    ) -> None:
        self._model, self._asked = model, asked
        self._some = _members(asked.customers, segment)
        self._groups = _labels(asked.customers, by)
        known = _quantities(model, asked)
        self._wanted = [(q, r) for q, r in known if of in (None, q, r)]
        if not self._wanted:
            raise unknown_option("of", of, [n for pair in known for n in pair])
        self._realised = realised
        self.before = self._sums(model, asked, self._groups)

    def after(self, changes: Mapping[str, float]) -> _Sums:
        """What they bring in after changes of those who change."""
        some = self._some
        if "discount_rate" in changes and not some.all():
            raise OptionError(
                "discount_rate is everybody's: leave segment= out, or change something else."
            )
        if not changes or not some.any():
            return self.before
        model, asked = _then(self._model, _only(self._asked, some), changes)
        changed = self._sums(model, asked, self._groups[some])
        if some.all():
            return changed
        rest = self._sums(self._model, _only(self._asked, ~some), self._groups[~some])
        return changed.plus(rest)

    def _sums(self, model: Any, asked: Asked, groups: pd.Categorical) -> _Sums:
        return _Sums.of(model, asked, groups, self._wanted, self._realised)


class _Sums:
    """Sums by group: point predictions, and draws of shape (groups, draws).

    Parameters
    ----------
    names : list
        The groups; those of everybody first.
    points, draws : dict
        By quantity.
    """

    def __init__(self, names: list[Any], points: dict[str, Array], draws: dict[str, Array]) -> None:
        self.names, self.points, self.draws = names, points, draws

    @classmethod
    def of(
        cls,
        model: Any,
        asked: Asked,
        groups: pd.Categorical,
        wanted: Sequence[tuple[str, str]],
        realised: bool,
    ) -> _Sums:
        names = list(groups.categories)
        codes = np.asarray(groups.codes, np.intp)
        drawn = [name for pair in wanted for name in (pair if realised else pair[:1])]
        draws = drawn_sums(model, asked, codes, len(names), drawn)
        point = model.predict(asked.customers, horizon=asked.horizon, **asked.terms)
        points = {}
        for expected, real in wanted:
            values = point[expected].to_numpy(np.float64)
            points[expected] = np.bincount(codes, values, minlength=len(names))
            if realised:
                points[real] = points[expected]
        return cls(names, points, draws)

    def plus(self, other: _Sums) -> _Sums:
        """Of both, who are other customers; the parameters are those of the same draws."""
        draws = {}
        for name, own in self.draws.items():
            added = other.draws[name]
            if name not in _EXPECTED:
                # Equal seeds would give both some of the same luck: take that of another draw.
                mean = other.draws[next(q for q, r in _EXPECTED.items() if r == name)]
                added = mean + np.roll(added - mean, added.shape[1] // 3, axis=1)
            draws[name] = own + added
        points = {n: v + other.points[n] for n, v in self.points.items()}
        return _Sums(self.names, points, draws)


def _rows(before: _Sums, after: _Sums, level: float) -> pd.DataFrame:
    """A row per group and quantity."""
    parts = []
    expected = [q for q in before.points if q in _EXPECTED]
    for name in [n for n in (*expected, *(_EXPECTED[q] for q in expected)) if n in before.draws]:
        now, then = _with_total(before.draws[name]), _with_total(after.draws[name])
        change = then - now
        if name not in _EXPECTED:
            source = next(q for q, r in _EXPECTED.items() if r == name)
            mean_now, mean_then = (_with_total(s.draws[source]) for s in (before, after))
            # Equal seeds would give both bases some of the same luck: take that of another draw.
            luck = np.roll(now - mean_now, now.shape[1] // 2, axis=1)
            change = then - mean_now - luck
            same = np.isclose(mean_then, mean_now, rtol=1e-9, atol=0.0).all(axis=1, keepdims=True)
            change = np.where(same, 0.0, change)
        frame = pd.DataFrame({"group": [ALL, *before.names], "quantity": name})
        points = (
            _with_total(before.points[name][:, None])[:, 0],
            _with_total(after.points[name][:, None])[:, 0],
        )
        for column, draws, point in (
            ("now", now, points[0]),
            ("then", then, points[1]),
            ("change", change, points[1] - points[0]),
        ):
            frame[column] = point
            frame[f"{column}_lower"], frame[f"{column}_upper"] = interval_of(draws, level)
        with np.errstate(invalid="ignore", divide="ignore"):
            frame["change_percent"] = 100.0 * (points[1] / points[0] - 1.0)
        parts.append(frame)
    out = pd.concat(parts)
    groups = [ALL, *(n for n in before.names if n != ALL)]
    out = out.drop_duplicates(["group", "quantity"])
    quantities = out["quantity"].drop_duplicates().tolist()
    place = {g: i for i, g in enumerate(groups)}
    out = out.sort_values("group", key=lambda g: g.map(place), kind="stable", ignore_index=True)
    # In the order of the rows, so that pandas need not search.
    index = pd.MultiIndex(
        levels=[groups, quantities],
        codes=[
            out["group"].map(place).to_list(),
            out["quantity"].map(quantities.index).to_list(),
        ],
        names=["group", "quantity"],
    )
    out = out.drop(columns=["group", "quantity"])
    out.index = index
    return out


def _with_total(values: Array) -> Array:
    return np.vstack([values.sum(axis=0), values])


def _changes(model: Any, *sizes: float) -> dict[str, float]:
    found = {name: size for name, size in zip(FACTORS, sizes, strict=True) if size != 0}
    for name, size in found.items():
        if not (isinstance(size, int | float | np.number) and np.isfinite(size) and size > -1):
            raise OptionError(
                f"{name}={size!r} must be a relative change above -1: -0.05 is 5 % less, 0.1 is "
                "10 % more."
            )
    if not has_money(model) and (wrong := [n for n in found if n in _OF_MONEY]):
        raise OptionError(
            f"{', '.join(wrong)}: this model predicts purchases only; use "
            "CLVModel(MBGNBD()), or change churn or frequency."
        )
    return found


def _members(customers: pd.DataFrame, segment: Mapping[str, Any] | None) -> npt.NDArray[np.bool_]:
    """Who changes."""
    chosen = np.ones(len(customers), bool)
    for column, values in (segment or {}).items():
        wanted = [values] if isinstance(values, str) or not isinstance(values, Sequence) else values
        labels = require_column(customers, column, "segment")
        unknown = [v for v in wanted if not (labels == v).any()]
        if unknown:
            raise unknown_option(f"segment: {column}", unknown[0], labels.dropna().unique()[:20])
        chosen &= labels.isin(list(wanted)).to_numpy()
    return chosen


def _labels(customers: pd.DataFrame, by: str | None) -> pd.Categorical:
    if by is None:
        return pd.Categorical(np.full(len(customers), ALL))
    labels = require_column(customers, by, "by")
    missing = int(labels.isna().sum())
    if missing:
        raise OptionError(
            f"column '{by}' is missing for {missing:,} customers; fill it: "
            f"table['{by}'] = table['{by}'].fillna('none')."
        )
    found = pd.Categorical(labels)
    return found.remove_unused_categories()


def _quantities(model: Any, asked: Asked) -> list[tuple[str, str]]:
    """Expected and realised quantities that the model has."""
    pairs = list(_EXPECTED.items())
    if not has_money(model):
        return pairs[:1]
    return pairs if asked.terms.get("costs") else pairs[:2]


def _only(asked: Asked, some: npt.NDArray[np.bool_]) -> Asked:
    return Asked(asked.customers[some], asked.horizon, asked.terms)


def _then(model: Any, asked: Asked, changes: Mapping[str, float]) -> tuple[Any, Asked]:
    """The model and the terms after the change."""
    behaviour = {n: v for n, v in changes.items() if n in ("churn", "frequency", "order_value")}
    customers, terms = asked.customers, dict(asked.terms)
    if "margin" in changes:
        factor, margin = 1.0 + changes["margin"], terms.get("margin", 1.0)
        if isinstance(margin, str):
            customers = customers.assign(**{_MARGIN: factor * customers[margin]})
            terms["margin"] = _MARGIN
        elif isinstance(margin, Mapping):
            terms["margin"] = {k: factor * v for k, v in margin.items()}
        else:
            terms["margin"] = factor * margin
    if "discount_rate" in changes:
        terms["discount_rate"] = terms.get("discount_rate", 0.1) * (1.0 + changes["discount_rate"])
    return model.changed(**behaviour) if behaviour else model, Asked(
        customers, asked.horizon, terms
    )
