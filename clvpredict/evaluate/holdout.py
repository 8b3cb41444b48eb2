"""Everything about one holdout, as tables."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from clvpredict.errors import DataWarning, OptionError, notify, unknown_option
from clvpredict.evaluate import metrics
from clvpredict.evaluate.judged import LEVELS, Holdout, Judged, baselines, judge, named
from clvpredict.evaluate.level import by_frequency
from clvpredict.evaluate.measures import bias, inside, measures
from clvpredict.evaluate.subject import acquired, periods
from clvpredict.predict import Recalibration, Scores
from clvpredict.rfm import Array, customer_ids

Of = Literal["purchases", "value"]
# Draws of the null distribution of the PIT's distance.
_NULL_DRAWS = 200
# Customers × draws of it.
_NULL_VALUES = 50_000_000


def evaluate_holdout(
    models: Any,
    split: pd.DataFrame,
    *,
    draws: int = 500,
    seed: int = 0,
    recalibration: Recalibration | None = None,
) -> HoldoutEvaluation:
    """Hold predictions to purchases and value that the models have not seen.

    Parameters
    ----------
    models : fitted model, list of them, or mapping from name to model
        Purchase models or CLVModel, fitted on the split's calibration period. Anything with
        ``expected_purchases(rfm, horizon)`` can stand beside them.
    split : DataFrame
        From :func:`clvpredict.calibration_holdout`. With amounts, and a CLVModel, value is
        evaluated too: undiscounted, before margins.
    draws, seed : int
        Of predicted value and of totals; fewer from 100,000 customers on (100 of a million).
        Purchases are evaluated by their exact distribution.
    recalibration : Recalibration, optional
        Evaluate recalibrated forecasts (of one model).

    Returns
    -------
    HoldoutEvaluation
        Tables of it: ``summary()`` is the one to begin with. Every table has the baselines
        ``naive`` (frequency / T × horizon × mean value), ``last period`` (it repeats itself)
        and ``NBD`` (the purchase model without dropout), as far as they predict what it is
        about.

    Raises
    ------
    DataError
        If the split has no holdout or cannot be used.
    OptionError
        If a model was fitted on data that reach into the holdout.

    Examples
    --------
    >>> import clvpredict as clv
    >>> split = clv.calibration_holdout(
    ...     clv.load_cdnow(), calibration_end="1997-09-30", time_unit="W"
    ... )
    >>> evaluation = clv.evaluate_holdout([clv.BGNBD().fit(split), clv.MBGNBD().fit(split)], split)
    >>> evaluation.summary().loc[["predicted_total", "mae", "crps"], "MBG/NBD"].round(2).tolist()
    [1576.73, 0.76, 0.51]
    """
    holdout = Holdout.of(split)
    found = named(models)
    judged = [
        judge(name, model, holdout, draws=draws, seed=seed, recalibration=recalibration)
        for name, model in found.items()
    ]
    for j in judged:
        if j.note is not None:
            notify(f"{j.name}: {j.note}", DataWarning)
    rules = [b for b in baselines(holdout) if b.name not in found]
    return HoldoutEvaluation(holdout, (*judged, *rules), found, seed)


@dataclass(frozen=True, repr=False)
class HoldoutEvaluation:
    """Forecasts of one holdout beside what happened; every method gives a table.

    Parameters
    ----------
    holdout : Holdout
    judged : tuple of Judged
        Models first, then baselines.
    models : dict
        The fitted models by name.
    seed : int
    """

    holdout: Holdout
    judged: tuple[Judged, ...]
    models: Mapping[str, Any]
    seed: int

    def summary(self) -> pd.DataFrame:
        """All numbers at a glance: a row per metric, a column per model and baseline.

        Returns
        -------
        DataFrame
            Index `metric`, see ``docs/evaluation.md``; missing where a rule has none, such as
            probabilities of a rule of thumb.
        """
        table = pd.DataFrame({j.name: measures(j, self.holdout) for j in self.judged})
        if all(j.expected_value is None for j in self._models()):
            # Only rules of thumb say anything of value here.
            table = table[~table.index.str.startswith("value_")]
        table.index.name = "metric"
        return self._said(table)

    def customers(self) -> pd.DataFrame:
        """A row per model and customer: forecast, outcome, scores, 90 % intervals."""
        ids = customer_ids(self.holdout.split).to_numpy()
        parts = []
        for j in self._models():
            part = pd.DataFrame({"model": j.name, "customer_id": ids})
            for of, observed, expected, scores in self._quantities(j):
                part[f"{of}_observed"], part[f"{of}_expected"] = observed, expected
                if of == "purchases" and j.p_purchase is not None:
                    part["p_purchase"] = j.p_purchase
                if scores is not None:
                    part[f"{of}_lower"], part[f"{of}_upper"] = scores.lower[0.9], scores.upper[0.9]
                    part[f"{of}_crps"] = scores.crps
                    part[f"{of}_pit_lower"], part[f"{of}_pit_upper"] = scores.below, scores.upto
                    if of == "purchases":
                        part["log_score"] = scores.log_score
            parts.append(part)
        return self._said(pd.concat(parts, ignore_index=True))

    def calibration(self, *, top: int = 7) -> pd.DataFrame:
        """Predicted and observed purchases by earlier frequency.

        Returns
        -------
        DataFrame
            As :func:`clvpredict.evaluate.calibration_table`, models and baselines under one
            another.
        """
        parts = [
            by_frequency(j.name, j.expected, self.holdout.columns, top)
            for j in self.judged
            if j.name != "naive"
        ]
        return self._said(pd.concat(parts, ignore_index=True))

    def deciles(self, *, of: Of = "purchases", bins: int = 10) -> pd.DataFrame:
        """Predicted and observed means by decile of each model's prediction.

        Returns
        -------
        DataFrame
            `model, of, decile` (1 = least), `customers, predicted, observed, observed_se,
            naive`.
        """
        simple = next(self._wanted(j, of)[1] for j in self.judged if j.name == "naive")
        parts = []
        for j in self.judged:
            observed, expected, _ = self._wanted(j, of)
            if expected is None or j.name == "naive":
                continue
            group = metrics.quantile_groups(expected, bins)
            frame = pd.DataFrame(
                {"predicted": expected, "observed": observed, "naive": simple}
            ).groupby(group)
            part = frame.mean().assign(customers=frame.size(), observed_se=frame["observed"].sem())
            part = part.rename_axis("decile").reset_index()
            part["decile"] += 1
            part.insert(0, "of", of)
            part.insert(0, "model", j.name)
            parts.append(part)
        table = pd.concat(parts, ignore_index=True)
        order = ["model", "of", "decile", "customers", "predicted", "observed", "observed_se"]
        return self._said(table[[*order, "naive"]])

    def reliability(self) -> pd.DataFrame:
        """Predicted P(at least one purchase) beside the share that bought (CORP).

        Returns
        -------
        DataFrame
            A row per block of the isotonic fit: `model, predicted_low, predicted_high,
            predicted, observed, customers, band_lower, band_upper` (where the fit would lie in
            95 % of cases were the probabilities right). ``attrs["scores"]`` has, by model,
            Brier score, its decomposition, and the expected calibration error.
        """
        event = self.holdout.purchases > 0
        parts, scores = [], {}
        for j in self.judged:
            if j.p_purchase is None:
                continue
            r = metrics.reliability(j.p_purchase, event, self.seed)
            parts.append(
                pd.DataFrame(
                    {
                        "model": j.name,
                        "predicted_low": r.low,
                        "predicted_high": r.high,
                        "predicted": r.predicted,
                        "observed": r.observed,
                        "customers": r.customers,
                        "band_lower": r.band_lower,
                        "band_upper": r.band_upper,
                    }
                )
            )
            scores[j.name] = {
                "brier": r.brier,
                "miscalibration": r.miscalibration,
                "discrimination": r.discrimination,
                "uncertainty": r.uncertainty,
                "ece": metrics.expected_calibration_error(j.p_purchase, event),
            }
        return self._said(_stack(parts, "probabilities"), scores=scores)

    def pit(self, *, of: Of = "purchases", bins: int = 20) -> pd.DataFrame:
        """Probability integral transform: where outcomes lie in their distributions.

        Returns
        -------
        DataFrame
            `model, of, low, high, density` (1 if calibrated), `ecdf` (at `high`), `band_lower,
            band_upper` (of `ecdf − high`), `customers`. Ties of counts are spread evenly. The
            band holds 95 % of the largest distances that outcomes drawn from the model's own
            forecast (parameters, then customers) show; ``attrs["ks"]`` has, by model, the
            distance `ks`, and `p_value`: how often such outcomes lie as far off. Of baselines
            the band is that of independent customers, with ties broken at random.
        """
        edges = np.linspace(0.0, 1.0, bins + 1)
        parts, distances = [], {}
        for j in self.judged:
            scores = self._wanted(j, of)[2]
            if scores is None:
                continue
            curve = metrics.pit_curve(scores.below, scores.upto, edges)
            ks = metrics.pit_distance(scores.below, scores.upto)
            found, null = self._against(j, of, ks, scores)
            wide = float(np.quantile(null, 0.95))
            parts.append(
                pd.DataFrame(
                    {
                        "model": j.name,
                        "of": of,
                        "low": edges[:-1],
                        "high": edges[1:],
                        "density": np.diff(curve) * bins,
                        "ecdf": curve[1:],
                        "band_lower": -wide,
                        "band_upper": wide,
                        "customers": len(scores.below),
                    }
                )
            )
            p_value = float((1 + (null >= found).sum()) / (1 + len(null)))
            distances[j.name] = {"ks": ks, "p_value": p_value}
        return self._said(_stack(parts, of), ks=distances)

    def _against(self, j: Judged, of: Of, ks: float, scores: Scores) -> tuple[float, Array]:
        """A distance of the PIT from uniformity, and those were the forecast right."""
        model = self.models.get(j.name)
        if model is None or not hasattr(model, "pit_distances"):
            found = metrics.randomised_distance(scores.below, scores.upto, self.seed)
            return found, metrics.uniform_distances(len(scores.below), _NULL_DRAWS, self.seed)
        draws = int(np.clip(_NULL_VALUES // len(self.holdout.purchases), 50, _NULL_DRAWS))
        terms: dict[str, Any] = {"draws": draws, "seed": self.seed}
        if of == "value":
            terms["discounting"] = "none"
        subject = model if of == "value" else getattr(model, "purchases", model)
        horizon = self.holdout.horizon
        return ks, np.asarray(
            subject.pit_distances(self.holdout.split, horizon=horizon, of=of, **terms)
        )

    def coverage(self, *, of: Of = "purchases") -> pd.DataFrame:
        """How many outcomes lie in their predictive intervals, by decile of the prediction.

        Returns
        -------
        DataFrame
            `model, of, decile` (``"all"``, ``"1"`` = least ... ``"10"``), `customers, level,
            coverage, expected, width`. `expected` is the coverage that the forecast itself
            promises: an interval of counts holds more than its level, the more so where most
            customers do not buy, so that `coverage` is to be held to it and not to `level`.
        """
        parts = []
        for j in self.judged:
            observed, expected, scores = self._wanted(j, of)
            if scores is None or expected is None:
                continue
            decile = np.array([str(g + 1) for g in metrics.quantile_groups(expected, 10)])
            for level in LEVELS:
                low, high = scores.lower[level], scores.upper[level]
                frame = pd.DataFrame(
                    {
                        "coverage": inside(observed, low, high),
                        "expected": scores.within[level],
                        "width": high - low,
                    }
                )
                groups = {"all": np.ones(len(frame), bool)}
                groups |= {str(d): decile == str(d) for d in range(1, 11)}
                for name, rows in groups.items():
                    if rows.any():
                        part = frame[rows].mean().to_frame().T
                        part = part.assign(model=j.name, of=of, decile=name, level=level)
                        parts.append(part.assign(customers=int(rows.sum())))
        table = _stack(parts, of)
        order = ["model", "of", "decile", "customers", "level", "coverage", "expected", "width"]
        return self._said(table[order])

    def gain(self, *, of: Of = "purchases") -> pd.DataFrame:
        """Which share of the total the best customers bring, by each model's ranking.

        Returns
        -------
        DataFrame
            `model, of, share` (of customers, best predicted first), `captured` (share of the
            total), `lift` (captured / share); with ``oracle``, who knows the outcomes, and
            ``random``.
        """
        share = np.linspace(0.0, 1.0, 101)
        rankings: dict[str, Array] = {}
        observed = self.holdout.purchases
        for j in self.judged:
            observed, expected, _ = self._wanted(j, of)
            if expected is not None:
                rankings[j.name] = expected
        rankings |= {"oracle": observed, "random": np.zeros(len(observed))}
        parts = []
        for name, score in rankings.items():
            captured = metrics.gain(score, observed, share)
            lift = np.divide(captured, share, out=np.full_like(share, np.nan), where=share > 0)
            part = {"model": name, "of": of, "share": share, "captured": captured, "lift": lift}
            parts.append(pd.DataFrame(part))
        return self._said(pd.concat(parts, ignore_index=True))

    def cohorts(self, *, by: str = "M") -> pd.DataFrame:
        """Levels by acquisition cohort.

        Parameters
        ----------
        by : str
            Period of the first purchase: ``"W"``, ``"M"``, ``"Q"`` or ``"Y"``.

        Returns
        -------
        DataFrame
            `model, cohort, customers, predicted, observed` (totals), `bias_percent`.

        Raises
        ------
        OptionError
            If the split does not know its dates.
        """
        if by not in ("W", "M", "Q", "Y"):
            raise unknown_option("by", by, ("W", "M", "Q", "Y"))
        first = acquired(self.holdout.split)
        if first is None:
            raise OptionError(
                "cohorts need dates, and this split has none: make it with "
                "clvpredict.calibration_holdout(transactions, calibration_end=...)."
            )
        cohort = first.dt.to_period(by).astype(str).to_numpy()
        parts = []
        for j in self.judged:
            frame = pd.DataFrame({"predicted": j.expected, "observed": self.holdout.purchases})
            grouped = frame.groupby(cohort)
            part = grouped.sum().rename_axis("cohort").reset_index()
            part.insert(1, "customers", grouped.size().to_numpy())
            part.insert(0, "model", j.name)
            parts.append(part)
        table = pd.concat(parts, ignore_index=True)
        table["bias_percent"] = bias(table["predicted"], table["observed"])
        return self._said(table)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table by name, as ``clvpredict evaluate`` writes them (all but `customers`)."""
        made: dict[str, Callable[[], pd.DataFrame]] = {
            "summary": self.summary,
            "calibration": self.calibration,
            "reliability": self.reliability,
            "cohorts": self.cohorts,
        }
        if acquired(self.holdout.split) is None:
            del made["cohorts"]
        out = {name: make() for name, make in made.items()}
        quantities: tuple[Of, ...] = ("purchases", "value")
        for of in quantities:
            if of == "value" and self.holdout.value is None:
                continue
            if any(self._wanted(j, of)[2] is not None for j in self.judged):
                for make in (self.deciles, self.pit, self.coverage, self.gain):
                    out[f"{make.__name__}_{of}"] = make(of=of)
        return out

    def __repr__(self) -> str:
        return f"<HoldoutEvaluation of {', '.join(j.name for j in self.judged)}>"

    def _repr_html_(self) -> str:
        shown = self.summary().to_html(float_format="{:.4g}".format)
        return f"<p>{html.escape(repr(self))}</p>{shown}"

    def _models(self) -> list[Judged]:
        return [j for j in self.judged if not j.baseline]

    def _quantities(self, j: Judged) -> list[tuple[Of, Array, Array, Scores | None]]:
        found: list[tuple[Of, Array, Array, Scores | None]] = [
            ("purchases", self.holdout.purchases, j.expected, j.purchases)
        ]
        if self.holdout.value is not None and j.expected_value is not None:
            found.append(("value", self.holdout.value, j.expected_value, j.value))
        return found

    def _wanted(self, j: Judged, of: Of) -> tuple[Array, Array | None, Scores | None]:
        """What was observed, expected and scored."""
        if of == "purchases":
            return self.holdout.purchases, j.expected, j.purchases
        if of != "value":
            raise unknown_option("of", of, ("purchases", "value"))
        if self.holdout.value is None:
            raise OptionError(
                "this split has no amounts, so there is no value to evaluate; make it with "
                "calibration_holdout(transactions, amount='column', ...)."
            )
        return self.holdout.value, j.expected_value, j.value

    def _said(self, table: pd.DataFrame, **more: Any) -> pd.DataFrame:
        lengths = self.holdout.columns["duration_holdout"]
        table.attrs = periods(self.holdout.split, lengths) | more
        return table


def _stack(parts: list[pd.DataFrame], what: str) -> pd.DataFrame:
    if not parts:
        raise OptionError(
            f"none of these models has a distribution of {what}; value needs a CLVModel: "
            "evaluate_holdout(CLVModel().fit(split), split)."
        )
    return pd.concat(parts, ignore_index=True)
