"""Customers of each segment, and sums over them within each draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.business.asked import Asked, as_asked, drawn_sums
from clvpredict.business.facts import Codes, finite, labelled, numbers, text_of
from clvpredict.business.segments import SEGMENTS_KEY, segments_in
from clvpredict.errors import DataError, OptionError, Problem, refuse_unknown
from clvpredict.rfm import Array

_DRAWING = ("draws", "seed", "progress")


@dataclass(frozen=True)
class Grouped:
    """Predictions by segment.

    Parameters
    ----------
    asked : Asked
        The customers, and what the model was asked about them.
    codes : ndarray of int, shape (n,)
        The segment of each customer.
    labels : list of str
        Their names; there may be segments without customers.
    """

    model: Any
    asked: Asked
    codes: Codes
    labels: list[str]

    @classmethod
    def of(
        cls, model: Any, predictions: pd.DataFrame, by: str, drawing: Mapping[str, Any]
    ) -> Grouped:
        """Read the segments, and how the predictions were made.

        Raises
        ------
        OptionError
            If there is no such column, or the table is no predictions.
        DataError
            If customers have no segment.
        """
        refuse_unknown("drawing", drawing, _DRAWING)
        if not isinstance(predictions, pd.DataFrame) or not hasattr(model, "predict_draws"):
            raise OptionError(
                "give the fitted model and its predictions with their segments, in this order; "
                f"{type(model).__name__} and {type(predictions).__name__} came."
            )
        asked = as_asked(model, predictions, **drawing)
        column = segments_in(asked.customers, by)
        if "p_alive" not in asked.customers.columns:
            raise OptionError(
                "this is a table of histories, and predictions are needed: give what "
                "model.predict(rfm, horizon=...) returns, with its segments."
            )
        rules = predictions.attrs.get(SEGMENTS_KEY) or {}
        codes, labels, _ = labelled(column, (rules.get(by) or {}).get("categories") or ())
        missing = codes < 0
        if missing.any():
            fix = f"name their segment: segment_customers(table, by='{by}', missing='unknown')"
            problem = Problem(f"customers without a value of '{by}'", fix, int(missing.sum()))
            raise DataError("predictions", [problem])
        return cls(model, asked, codes, labels)

    @property
    def customers(self) -> npt.NDArray[np.int64]:
        """How many each segment has, shape (segments,)."""
        return np.bincount(self.codes, minlength=len(self.labels)).astype(np.int64)

    def column(self, name: str) -> Array:
        """A column of the predictions, none of it missing, shape (n,); it may be infinite.

        Raises
        ------
        DataError
            If values are missing.
        """
        values = numbers(self.asked.customers, name, "the table", infinite=True)
        missing = int(np.isnan(values).sum())
        if missing:
            fix = "predict again: table = model.predict(rfm, ...)"
            raise DataError("predictions", [Problem(f"'{name}' is missing", fix, missing)])
        return values

    def total(self, values: Array) -> Array:
        """Sums over the customers of each segment, shape (segments,)."""
        return np.bincount(self.codes, values, minlength=len(self.labels))

    def drawn(self, quantities: Sequence[str]) -> dict[str, Array]:
        """Sums within each draw, shape (segments, draws)."""
        return drawn_sums(self.model, self.asked, self.codes, len(self.labels), quantities)

    def per_customer(self, name: str, given: float | str | Mapping[Any, float]) -> Array:
        """A cost of each customer: of all, of a column, or by segment; shape (n,).

        Raises
        ------
        OptionError
            If segments have none, or it is negative or missing.
        """
        if isinstance(given, str):
            values = numbers(self.asked.customers, given, name)
        elif isinstance(given, Mapping):
            known = {text_of(segment): finite(name, v, "12.5") for segment, v in given.items()}
            lacking = [k for k in self.labels if k not in known]
            strange = [k for k in known if k not in self.labels]
            if lacking or strange:
                parts = [f"has no entry for {', '.join(map(repr, lacking))}"] if lacking else []
                parts += [f"names {', '.join(map(repr, strange))}, no segment"] if strange else []
                raise OptionError(
                    f"{name} {' and '.join(parts)}. The segments: "
                    f"{', '.join(map(repr, self.labels))}."
                )
            values = np.array([known[k] for k in self.labels])[self.codes]
        else:
            values = np.full(len(self.codes), finite(name, given, "12.5"))
        bad = int((~(np.isfinite(values) & (values >= 0))).sum())
        if bad:
            raise OptionError(
                f"{name} must be a finite number >= 0 for each customer; it is not for {bad:,}."
            )
        return values


def check_level(interval: float) -> None:
    """Refuse what is no level.

    Raises
    ------
    OptionError
        If it is not between 0 and 1.
    """
    if not isinstance(interval, int | float) or not 0 < interval < 1:
        raise OptionError(f"interval={interval!r} must be between 0 and 1, e.g. 0.9.")
