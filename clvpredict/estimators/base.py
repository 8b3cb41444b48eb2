"""What all estimators share: fitting, estimates, errors of use."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from clvpredict.errors import (
    IdentificationWarning,
    NotFittedError,
    OptionError,
    notify,
    unknown_option,
)
from clvpredict.inference.mle import fit_mle
from clvpredict.inference.result import Convergence, FitResult, given
from clvpredict.models.base import Model
from clvpredict.options import TimeUnit
from clvpredict.rfm import Compressed, check_unit, provenance_of, summary_metadata

Horizon = float | str | timedelta | None
PREDICTIONS_KEY = "clvpredict"


class Estimator:
    """What all estimators share: a model of the registry and, after ``fit``, its result."""

    _model: ClassVar[Model]

    def __init__(self) -> None:
        self._result: FitResult | None = None
        self.time_unit_: TimeUnit | None = None
        self.data_: dict[str, Any] | None = None
        self.fingerprint_: str | None = None

    def _data(self, rfm: pd.DataFrame) -> Compressed:
        raise NotImplementedError

    def fit(
        self,
        rfm: pd.DataFrame,
        *,
        method: str = "mle",
        time_unit: str | timedelta | None = None,
        start: Mapping[str, float] | None = None,
    ) -> Self:
        """Estimate the parameters.

        Parameters
        ----------
        rfm : DataFrame
            One row per customer, from :func:`clvpredict.rfm_summary`, or any frame with
            these columns.
        method : {"mle"}
            Maximum likelihood.
        time_unit : str or timedelta, optional
            Unit of `recency` and `T`; needed only for frames that do not know theirs, and
            only for horizons with a unit and for discounting.
        start : mapping, optional
            Starting values by parameter, tried besides the model's own.

        Returns
        -------
        self

        Raises
        ------
        DataError
            Listing every problem of the data.
        UnitError
            If ``time_unit`` contradicts the summary.
        ConvergenceError
            If no optimum is found. A warning (IdentificationWarning) says which parameters
            the data leave open.

        Examples
        --------
        >>> import clvpredict as clv
        >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
        >>> model = clv.BGNBD().fit(rfm)
        >>> round(model.params_["r"], 4)
        0.2426
        """
        if method != "mle":
            raise unknown_option("method", method, ["mle"])
        unit = _unit_of(rfm, time_unit)
        data = self._data(rfm)
        names = self._model.parameter_names
        if start is not None and (
            set(start) != set(names) or not all(0 < v < np.inf for v in start.values())
        ):
            raise OptionError(
                f"start must give a positive number for each of {', '.join(names)}; got "
                f"{dict(start)!r}."
            )
        first = None if start is None else np.array([start[n] for n in names])
        result = fit_mle(self._model, data, first)
        self._result, self.time_unit_, self.data_ = result, unit, summary_metadata(rfm)
        self.fingerprint_ = data.fingerprint()
        if result.convergence.status == "unidentified":
            notify(result.convergence.message, IdentificationWarning)
        return self

    @classmethod
    def from_params(cls, *, time_unit: str | timedelta | None = None, **params: float) -> Self:
        """Make a model of known parameters, e.g. from a paper or for a simulation.

        Parameters
        ----------
        time_unit : str or timedelta, optional
            The unit the parameters are in.
        **params : float
            A positive number for each parameter.

        Raises
        ------
        OptionError
            If a parameter is missing, unknown or not positive.

        Examples
        --------
        >>> import clvpredict as clv
        >>> model = clv.BGNBD.from_params(r=0.243, alpha=4.414, a=0.793, b=2.426, time_unit="W")
        >>> round(model.expected_purchases_new("52W"), 3)
        1.446
        """
        self = cls()
        names = cls._model.parameter_names
        bad = {k: v for k, v in params.items() if not 0 < v < np.inf}
        if set(params) != set(names) or bad:
            raise OptionError(
                f"{cls.__name__} takes a positive number for each of {', '.join(names)}; got "
                f"{params!r}."
            )
        self._result = given(cls._model.name, {n: float(params[n]) for n in names})
        self.time_unit_ = None if time_unit is None else TimeUnit.parse(time_unit)
        return self

    @property
    def result_(self) -> FitResult:
        """Everything the fit returned."""
        if self._result is None:
            raise NotFittedError(
                f"this {type(self).__name__} is not fitted yet: call .fit(rfm) first."
            )
        return self._result

    @property
    def params_(self) -> dict[str, float]:
        """The estimates by name."""
        return self.result_.parameters

    @property
    def covariance_(self) -> pd.DataFrame:
        """Asymptotic covariance of the estimates, symmetric positive definite."""
        names = list(self.result_.names)
        return pd.DataFrame(self.result_.covariance, index=names, columns=names)

    @property
    def log_likelihood_(self) -> float:
        """Log-likelihood at the estimates, over all customers fitted."""
        return self.result_.log_likelihood

    @property
    def aic_(self) -> float:
        """Akaike's information criterion."""
        return self.result_.aic

    @property
    def bic_(self) -> float:
        """Schwarz's information criterion."""
        return self.result_.bic

    @property
    def convergence_(self) -> Convergence:
        """How the optimiser ended: status, gradient, iterations, starts."""
        return self.result_.convergence

    def summary(self, level: float = 0.95) -> pd.DataFrame:
        """Tabulate estimate, standard error and confidence interval of each parameter.

        Parameters
        ----------
        level : float
            Confidence level.

        Returns
        -------
        DataFrame
            Index `parameter`; `estimate`, `standard_error`, `lower`, `upper`. The interval is
            a Wald interval in the logarithm of the parameter.
        """
        return self.result_.table(level)

    def __repr__(self) -> str:
        if self._result is None:
            return f"{type(self).__name__}()"
        values = ", ".join(f"{k}={v:.5g}" for k, v in self.params_.items())
        timed = any(p.unit == "time" for p in self._model.parameters)
        unit = f", time in {self.time_unit_.label}" if timed and self.time_unit_ else ""
        return f"<{type(self).__name__}: {values}{unit}>"


def _unit_of(rfm: pd.DataFrame, time_unit: str | timedelta | None) -> TimeUnit | None:
    stated = None if time_unit is None else TimeUnit.parse(time_unit)
    provenance = provenance_of(rfm)
    if provenance is None:
        return stated
    check_unit(rfm, stated)
    return provenance.unit
