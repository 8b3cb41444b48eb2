"""What a fit returns, whatever the method and the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special as sc

from clvpredict.errors import InfiniteValueError, OptionError
from clvpredict.options import POSTERIOR_METHODS
from clvpredict.rfm import Array

Status = Literal["converged", "unidentified", "no mode"]


@dataclass(frozen=True)
class Start:
    """One start of the optimiser, in the data's units."""

    parameters: dict[str, float]
    log_likelihood: float


@dataclass(frozen=True)
class Convergence:
    """How the optimiser ended.

    Parameters
    ----------
    status : {"converged", "unidentified", "no mode"}
        A fit that did neither raises ConvergenceError and has no record; but NUTS also samples
        posteriors for which no mode was found.
    message : str
        The same in words, with what to try.
    gradient_norm : float
        Largest absolute derivative of the mean log-likelihood per row in ln(parameter).
    newton_decrement : float
        How much log-likelihood the last Newton step still promised.
    iterations, evaluations : int
        Of the optimiser, all starts together.
    starts : tuple of Start
        Where each start ended on the data it was screened on.
    unidentified : tuple of str
        Parameters the data do not pin down.
    """

    status: Status
    message: str
    gradient_norm: float
    newton_decrement: float
    iterations: int
    evaluations: int
    starts: tuple[Start, ...] = ()
    unidentified: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sampling:
    """How draws of the parameters were made, and whether they can be trusted.

    Parameters
    ----------
    sampler : str
        ``"nutpie"``, ``"pymc"``, ``"importance resampling"`` or ``"bootstrap"``.
    chains, draws, tune : int
        Chains; draws of each that are kept, and that were spent on tuning.
    seed : int
        Equal seeds give equal draws.
    priors : dict of str to str
        In words, by parameter.
    r_hat, ess_bulk, ess_tail : dict of str to float
        Convergence and effective sample size by parameter.
    divergences : int or None
        Transitions of the sampler that went wrong.
    bfmi : list of float or None
        By chain: how well the sampler explored the energy.
    k_hat : float or None
        Of importance sampling: below 0.7 it can be trusted.
    importance_ess : float or None
        Number of equal draws that the weighted ones are worth.
    failed : int
        Replicates of the bootstrap that did not converge, left out.
    problems : tuple of str
        What the checks found, with what to do.
    reason : str
        Why this method was chosen, where the fit chose it.
    """

    sampler: str
    chains: int
    draws: int
    tune: int
    seed: int
    priors: dict[str, str] = field(default_factory=dict)
    r_hat: dict[str, float] = field(default_factory=dict)
    ess_bulk: dict[str, float] = field(default_factory=dict)
    ess_tail: dict[str, float] = field(default_factory=dict)
    divergences: int | None = None
    bfmi: list[float] | None = None
    k_hat: float | None = None
    importance_ess: float | None = None
    failed: int = 0
    problems: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Sample:
    """Draws of the parameters.

    Parameters
    ----------
    draws : ndarray, shape (chains, draws, k)
        In the data's units.
    stats : dict of str to ndarray, shape (chains, draws)
        What the sampler says of each draw.
    how : Sampling
    """

    draws: Array
    stats: dict[str, npt.NDArray[Any]]
    how: Sampling

    @property
    def flat(self) -> Array:
        """All chains after one another, shape (chains · draws, k)."""
        return self.draws.reshape(-1, self.draws.shape[-1])


@dataclass(frozen=True)
class FitResult:
    """Estimates and their uncertainty.

    Parameters
    ----------
    model : str
        Name of the model in the registry.
    method : str
        How it was fitted.
    names : tuple of str, length k
        The parameters.
    estimate : ndarray, shape (k,)
        In the data's units: the optimum, or the mean of a posterior.
    log_covariance : ndarray, shape (k, k)
        Covariance of ln(parameters): asymptotic (nan where the Hessian is not positive
        definite), or that of the draws.
    log_likelihood : float
        At the estimate, summed over customers.
    n_customers, n_rows : int
        Customers, and distinct rows they compress to.
    convergence : Convergence
    sample : Sample or None
        Draws of the parameters: of a posterior, or of the bootstrap.
    """

    model: str
    method: str
    names: tuple[str, ...]
    estimate: Array
    log_covariance: Array
    log_likelihood: float
    n_customers: int
    n_rows: int
    convergence: Convergence
    sample: Sample | None = None

    @property
    def is_posterior(self) -> bool:
        """Whether the draws are of a posterior; then point predictions are means over them."""
        return self.method in POSTERIOR_METHODS

    @property
    def parameters(self) -> dict[str, float]:
        """The estimates by name."""
        return dict(zip(self.names, map(float, self.estimate), strict=True))

    @property
    def theta(self) -> tuple[Array, ...]:
        """The estimates as models take them."""
        return tuple(np.asarray(v) for v in self.estimate)

    @property
    def covariance(self) -> Array:
        """Covariance of the parameters, shape (k, k): symmetric positive definite.

        Asymptotic, or that of the draws.
        """
        if self.sample is not None:
            return np.cov(self.sample.flat, rowvar=False)
        return self.log_covariance * np.outer(self.estimate, self.estimate)

    @property
    def aic(self) -> float:
        """Akaike's criterion, 2k − 2 ln L."""
        return 2 * len(self.names) - 2 * self.log_likelihood

    @property
    def bic(self) -> float:
        """Schwarz's criterion, k ln n − 2 ln L, n customers."""
        return float(len(self.names) * np.log(self.n_customers) - 2 * self.log_likelihood)

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """Tabulate estimates, standard errors and intervals.

        Without draws, the interval is a Wald interval of ln(parameter): parameters are positive
        and their likelihoods far closer to normal in the logarithm. With draws (of a posterior
        or the bootstrap), it has their quantiles, and the standard error is their standard
        deviation.

        Parameters
        ----------
        level : float
            Confidence or credibility level, in (0, 1).

        Returns
        -------
        DataFrame
            Index `parameter`; columns `estimate`, `standard_error`, `lower`, `upper`.
        """
        if not 0 < level < 1:
            raise OptionError(f"level={level!r} must be between 0 and 1, e.g. 0.95.")
        tails = (0.5 - level / 2, 0.5 + level / 2)
        if self.sample is not None:
            standard_error = self.sample.flat.std(axis=0, ddof=1)
            lower, upper = np.quantile(self.sample.flat, tails, axis=0)
        else:
            log_se = np.sqrt(np.diag(self.log_covariance))
            standard_error = self.estimate * log_se
            with np.errstate(over="ignore"):  # an unidentified parameter has no upper end
                factor = np.exp(float(sc.ndtri(tails[1])) * log_se)
                upper = self.estimate * factor
            lower = self.estimate / factor
        return pd.DataFrame(
            {
                "estimate": self.estimate,
                "standard_error": standard_error,
                "lower": lower,
                "upper": upper,
            },
            index=pd.Index(self.names, name="parameter"),
        )

    def draws(self, size: int, seed: int | np.random.Generator) -> Array:
        """Give draws of the parameters, whatever the fit.

        Draws of a posterior or the bootstrap, spread evenly over the chains (all of them where
        there are fewer than ``size``); else from the asymptotic normal distribution of the
        logarithms. Parameters that were given, not fitted, are the same in every draw.

        Parameters
        ----------
        size : int
            Number of draws.
        seed : int or Generator
            Equal seeds give equal draws.

        Returns
        -------
        ndarray, shape (size or fewer, k)

        Raises
        ------
        InfiniteValueError
            If the data do not identify the parameters, so that they have no distribution.
        """
        if self.sample is not None:
            flat = self.sample.flat
            index = np.linspace(0, len(flat) - 1, min(size, len(flat))).round().astype(np.intp)
            return flat[index]
        if self.method == "given":
            return np.tile(self.estimate, (size, 1))
        if self.convergence.unidentified or not np.isfinite(self.log_covariance).all():
            raise InfiniteValueError(
                f"the data do not identify {', '.join(self.convergence.unidentified)}, so a "
                "maximum likelihood fit has no usable intervals. A prior can help: "
                "fit(rfm, method='nuts')."
            )
        rng = np.random.default_rng(seed)
        return np.exp(rng.multivariate_normal(np.log(self.estimate), self.log_covariance, size))


def given(model: str, parameters: dict[str, float]) -> FitResult:
    """Make the result of no fit: parameters known, their uncertainty not."""
    k = len(parameters)
    return FitResult(
        model=model,
        method="given",
        names=tuple(parameters),
        estimate=np.array(list(parameters.values())),
        log_covariance=np.full((k, k), np.nan),
        log_likelihood=float("nan"),
        n_customers=0,
        n_rows=0,
        convergence=Convergence("converged", "parameters were given", 0.0, 0.0, 0, 0),
    )
