"""What a fit returns, whatever the method and the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import special as sc

from clvpredict.errors import OptionError
from clvpredict.rfm import Array

Status = Literal["converged", "unidentified"]


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
    status : {"converged", "unidentified"}
        A fit that did neither raises ConvergenceError and has no record.
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
        In the data's units.
    log_covariance : ndarray, shape (k, k)
        Asymptotic covariance of ln(parameters); nan where the Hessian is not positive definite.
    log_likelihood : float
        At the estimate, summed over customers.
    n_customers, n_rows : int
        Customers, and distinct rows they compress to.
    convergence : Convergence
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
        """Asymptotic covariance of the parameters, shape (k, k): symmetric positive definite."""
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
        """Tabulate estimates, standard errors and confidence intervals.

        The interval is a Wald interval of ln(parameter): parameters are positive and their
        likelihoods far closer to normal in the logarithm.

        Parameters
        ----------
        level : float
            Confidence level, in (0, 1).

        Returns
        -------
        DataFrame
            Index `parameter`; columns `estimate`, `standard_error`, `lower`, `upper`.
        """
        if not 0 < level < 1:
            raise OptionError(f"level={level!r} must be between 0 and 1, e.g. 0.95.")
        z = float(sc.ndtri(0.5 + level / 2))
        log_se = np.sqrt(np.diag(self.log_covariance))
        with np.errstate(over="ignore"):  # an unidentified parameter has no upper end
            factor = np.exp(z * log_se)
            upper = self.estimate * factor
        return pd.DataFrame(
            {
                "estimate": self.estimate,
                "standard_error": self.estimate * log_se,
                "lower": self.estimate / factor,
                "upper": upper,
            },
            index=pd.Index(self.names, name="parameter"),
        )

    def draws(self, size: int, seed: int | np.random.Generator) -> Array:
        """Draw parameters from their asymptotic normal distribution (in logarithms).

        Parameters
        ----------
        size : int
            Number of draws.
        seed : int or Generator
            Equal seeds give equal draws.

        Returns
        -------
        ndarray, shape (size, k)
        """
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
