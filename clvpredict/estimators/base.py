"""What all estimators share: fitting, estimates, errors of use."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, Unpack

import pandas as pd

from clvpredict.errors import (
    IdentificationWarning,
    NotFittedError,
    OptionError,
    notify,
)
from clvpredict.inference.checks import warn_of_few
from clvpredict.inference.fit import FitOptions, check_options, fit_model
from clvpredict.inference.priors import resolve
from clvpredict.inference.result import Convergence, FitResult, Sample, Sampling, given
from clvpredict.models.base import Model
from clvpredict.options import Method, TimeUnit
from clvpredict.rfm import Array, Compressed, check_unit, provenance_of, summary_metadata

if TYPE_CHECKING:
    import xarray as xr

# Of a pointwise log-likelihood: 4 GB.
_MOST_VALUES = 500_000_000
Horizon = float | str | timedelta | None


class Estimator:
    """What all estimators share: a model of the registry and, after ``fit``, its result."""

    _model: ClassVar[Model]
    _part: ClassVar[Literal["purchases", "spend"]]

    def __init__(self) -> None:
        self._result: FitResult | None = None
        self._observed: Compressed | None = None
        self.time_unit_: TimeUnit | None = None
        self.data_: dict[str, Any] | None = None
        self.fingerprint_: str | None = None

    @property
    def changed_(self) -> dict[str, float]:
        """What a question of what if changes, relatively; empty as fitted."""
        return {}

    def _data(self, rfm: pd.DataFrame) -> Compressed:
        raise NotImplementedError

    def _rows(self, rfm: pd.DataFrame) -> tuple[Compressed, pd.Series]:
        """The customers that a fit uses, one row each, and their ids."""
        raise NotImplementedError

    def fit(
        self,
        rfm: pd.DataFrame,
        *,
        method: Method = "mle",
        time_unit: str | timedelta | None = None,
        **options: Unpack[FitOptions],
    ) -> Self:
        """Estimate the parameters.

        Parameters
        ----------
        rfm : DataFrame
            One row per customer, from :func:`clvpredict.rfm_summary`, or any frame with
            these columns.
        method : {"mle", "map", "laplace", "nuts", "auto"}
            ``"mle"``: maximum likelihood. ``"map"``: the mode of the posterior. ``"laplace"``:
            draws of the posterior by importance resampling around its mode, checked (k-hat),
            and by NUTS where that fails. ``"nuts"``: the No-U-Turn sampler. ``"auto"``:
            Laplace or NUTS, and says which and why.
        time_unit : str or timedelta, optional
            Unit of `recency` and `T`; needed only for frames that do not know theirs, and
            only for horizons with a unit and for discounting.
        **options
            ``priors``, ``draws``, ``tune``, ``chains``, ``cores``, ``seed``, ``progress``,
            ``strict``, ``sampler``, ``target_accept``, ``keep_partial``, ``start``,
            ``bootstrap``: see :class:`clvpredict.inference.fit.Options`.

        Returns
        -------
        self

        Raises
        ------
        DataError
            Listing every problem of the data.
        OptionError
            For options that cannot be used: unknown ones, priors on unknown parameters or
            with a wrong support.
        UnitError
            If ``time_unit`` contradicts the summary.
        ConvergenceError
            If no optimum is found, chains fail, or (under ``strict``) draws cannot be trusted.
            Otherwise warnings say which parameters the data leave open
            (IdentificationWarning), and what is wrong with the draws (SamplingWarning).

        Examples
        --------
        >>> import clvpredict as clv
        >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
        >>> model = clv.BGNBD().fit(rfm)
        >>> round(model.params_["r"], 4)
        0.2426
        >>> bayesian = clv.BGNBD().fit(rfm, method="laplace", seed=1)
        >>> bayesian.summary(0.9).round(2).loc["r", ["lower", "upper"]].tolist()
        [0.22, 0.26]
        """
        if self.changed_:
            raise OptionError(
                f"{self!r} is changed, a question of what if, and cannot be fitted; fit the model "
                "it was made of."
            )
        checked = check_options(method, options)
        unit = _unit_of(rfm, time_unit)
        before = dict(vars(self))
        try:
            data = self._data(rfm)
            if method not in ("mle", "map"):
                warn_of_few(self._model, data)
            result = fit_model(self._model, data, method, checked)
        except BaseException:  # a keyboard interrupt, too, leaves the model as it was
            vars(self).update(before)
            raise
        self._result, self.time_unit_, self.data_ = result, unit, summary_metadata(rfm)
        self._observed = data
        self.fingerprint_ = data.fingerprint()
        if result.convergence.status == "unidentified" and not result.is_posterior:
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
        bad = {k: v for k, v in params.items() if not 0 < v < float("inf")}
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
    def idata(self) -> xr.DataTree:
        """The draws as an ArviZ DataTree, for ``az.summary``, ``az.plot_trace`` and friends.

        Groups `posterior`, `sample_stats` (of NUTS) and, until the model is saved and loaded,
        `observed_data`; see :meth:`compute_log_likelihood` for `log_likelihood`.
        """
        from clvpredict.inference.idata import to_datatree

        self._draws_or_say()
        observed: dict[str, Compressed] = {}
        if self._observed is not None:
            observed[self._part] = self._observed
        return to_datatree({self._part: self.result_}, observed)

    def compute_log_likelihood(self, rfm: pd.DataFrame) -> xr.DataTree:
        """Give :attr:`idata` with the pointwise log-likelihood, for ``az.loo``, ``az.compare``.

        Parameters
        ----------
        rfm : DataFrame
            The customers that the model was fitted on. Every customer has a value of its own,
            although equal ones are fitted as one row with a weight.

        Returns
        -------
        DataTree
            With the group `log_likelihood`.

        Raises
        ------
        OptionError
            If it would take more than 4 GB.

        Examples
        --------
        >>> import arviz as az
        >>> import clvpredict as clv
        >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
        >>> model = clv.BGNBD().fit(rfm, method="laplace", draws=500)
        >>> round(float(az.loo(model.compute_log_likelihood(rfm)).elpd), 0)
        -9587.0
        """
        from clvpredict.inference.idata import pointwise, with_log_likelihood

        sample = self._draws_or_say()
        data, customers = self._rows(rfm)
        values = sample.flat.shape[0] * len(customers)
        if values > _MOST_VALUES:
            raise OptionError(
                f"{sample.flat.shape[0]:,} draws of {len(customers):,} customers are "
                f"{values * 8 / 1e9:.0f} GB. Compare models on a sample of customers: fit on "
                "rfm.sample(20_000, random_state=0)."
            )
        return with_log_likelihood(
            self.idata, self._part, pointwise(self._model, data, sample), customers
        )

    def _draws_or_say(self) -> Sample:
        sample = self.result_.sample
        if sample is None:
            raise OptionError(
                f"a fit by method='{self.result_.method}' has no draws. Fit with "
                "method='nuts' or 'laplace' (or bootstrap=200)."
            )
        return sample

    def pymc_model(self, rfm: pd.DataFrame, priors: Mapping[str, Any] | None = None) -> Any:
        """Give the PyMC model that NUTS samples, to look at or to build on.

        Parameters
        ----------
        rfm : DataFrame
            What would be fitted on.
        priors : mapping, optional
            As in :meth:`fit`.

        Returns
        -------
        pymc.Model
            The parameters are free variables; the weighted log-likelihood is a potential.
        """
        from clvpredict.inference.pymc_model import build

        data = self._data(rfm)
        return build(self._model, data, resolve(self._model, data, priors))

    def prior_predictive(
        self,
        rfm: pd.DataFrame,
        priors: Mapping[str, Any] | None = None,
        *,
        draws: int = 500,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Simulate what the priors imply, before any fit.

        Parameters
        ----------
        rfm : DataFrame
            The customers to fit on: their number and ages are used, and what they did is kept
            beside what the priors say.
        priors : mapping, optional
            As in :meth:`fit`; by default the defaults.
        draws : int
            Draws from the priors.
        seed : int
            Equal seeds give equal draws.

        Returns
        -------
        DataFrame
            A row per draw: the parameters, and what customers would do under them (purchase
            models: `purchases_mean`, `purchases_p99`, `share_without_repeat`; spend models:
            `spend_median`, `spend_p01`, `spend_p99`, of customers' means).
            ``attrs["observed"]`` has the same of the data, for
            :func:`clvpredict.plots.plot_prior_predictive`.

        Examples
        --------
        >>> import clvpredict as clv
        >>> rfm = clv.rfm_summary(clv.load_cdnow(), observation_end="1997-09-30", time_unit="W")
        >>> implied = clv.BGNBD().prior_predictive(rfm)
        >>> observed = implied.attrs["observed"]["purchases_mean"]
        >>> bool(implied["purchases_mean"].quantile(0.1) < observed)
        True
        """
        data = self._data(rfm)
        found = resolve(self._model, data, priors)
        theta = found.draw(draws, seed)
        implied, observed = self._implied(data, theta, seed)
        out = pd.DataFrame(theta, columns=list(self._model.parameter_names)).assign(**implied)
        out.attrs = {
            "model": self._model.title,
            "priors": found.describe(),
            "observed": observed,
        }
        return out

    def _implied(
        self, data: Compressed, theta: Array, seed: int
    ) -> tuple[dict[str, Array], dict[str, float]]:
        """What draws say such customers would do, and what these did."""
        raise NotImplementedError

    @property
    def sampling_(self) -> Sampling:
        """How the draws were made: sampler, priors, R-hat, ESS, divergences, k-hat."""
        return self._draws_or_say().how

    @property
    def covariance_(self) -> pd.DataFrame:
        """Covariance of the estimates, symmetric positive definite.

        Asymptotic; or, for a fit with draws, that of the draws.
        """
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
        """How the optimiser ended: status, gradient, iterations, starts.

        For draws of a posterior: on the way to its mode. Whether the draws can be trusted is in
        :attr:`sampling_`.
        """
        return self.result_.convergence

    def summary(self, level: float = 0.95) -> pd.DataFrame:
        """Tabulate estimate, standard error and interval of each parameter.

        Parameters
        ----------
        level : float
            Confidence or credibility level.

        Returns
        -------
        DataFrame
            Index `parameter`; `estimate`, `standard_error`, `lower`, `upper`. Of a fit with
            draws: their mean (or, with the bootstrap, the estimate), standard deviation and
            quantiles. Otherwise a Wald interval in the logarithm of the parameter.
        """
        return self.result_.table(level)

    def __repr__(self) -> str:
        if self._result is None:
            return f"{type(self).__name__}()"
        values = ", ".join(f"{k}={v:.5g}" for k, v in self.params_.items())
        timed = any(p.unit == "time" for p in self._model.parameters)
        unit = f", time in {self.time_unit_.label}" if timed and self.time_unit_ else ""
        asked = "".join(f", {n} {v:+.4g}" for n, v in self.changed_.items())
        return f"<{type(self).__name__}: {values}{unit}{asked}>"


def _unit_of(rfm: pd.DataFrame, time_unit: str | timedelta | None) -> TimeUnit | None:
    stated = None if time_unit is None else TimeUnit.parse(time_unit)
    provenance = provenance_of(rfm)
    if provenance is None:
        return stated
    check_unit(rfm, stated)
    return provenance.unit
