"""Priors: weakly informative defaults, or PyMC distributions of the user's.

By default ln(parameter) is normal around an ordinary value of the parameter, in units of the
data's own mean time and mean money, so that days, weeks and currencies make no difference. PyMC
is loaded only for priors that are given.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from clvpredict.errors import OptionError, did_you_mean
from clvpredict.inference.objective import unit_scale
from clvpredict.models.base import Model, Parameter
from clvpredict.rfm import Array, Compressed

#: Standard deviation of ln(parameter): 95 % of the prior lie within a factor of 19 either way.
SPREAD = 1.5
# Where the support of a prior is probed.
_NEGATIVE = (-1e-6, -1e-3, -1.0, -1e3)


@dataclass(frozen=True)
class LogNormal:
    """ln(parameter) ~ Normal(mu, sigma)."""

    mu: float
    sigma: float

    def __str__(self) -> str:
        return f"LogNormal(mu={self.mu:.4g}, sigma={self.sigma:.4g})"


@dataclass(frozen=True)
class Priors:
    """The priors of a model's parameters, in the data's units.

    Parameters
    ----------
    names : tuple of str, length k
        The parameters, in the model's order.
    own : dict of str to LogNormal
        The defaults.
    given : dict of str to object
        The user's: PyMC distributions, or objects with ``create_variable`` (such as
        pymc_extras.prior.Prior).
    """

    names: tuple[str, ...]
    own: dict[str, LogNormal]
    given: dict[str, Any]

    def log_density(self, log_theta: Array) -> tuple[float, Array]:
        """Compute the log-density of ln(parameters) and its gradient, shape (k,)."""
        value, gradient = 0.0, np.zeros(len(self.names))
        for i, name in enumerate(self.names):
            if name in self.own:
                prior = self.own[name]
                z = (log_theta[i] - prior.mu) / prior.sigma
                value -= 0.5 * z * z + np.log(prior.sigma) + 0.5 * np.log(2 * np.pi)
                gradient[i] -= z / prior.sigma
        if self.given:
            place = [self.names.index(n) for n in self.given]
            given_value, given_gradient = self._given_density(log_theta[place])
            value += float(given_value)
            gradient[place] += given_gradient
        return float(value), gradient

    @cached_property
    def _given_density(self) -> Callable[[Array], tuple[Any, Any]]:
        """Of the given priors; compiled once per process."""
        key = tuple(PriorKey(prior) for prior in self.given.values())
        if key not in _DENSITIES:
            _DENSITIES[key] = _compile_density(self.given)
        return _DENSITIES[key]

    def draw(self, size: int, seed: int) -> Array:
        """Draw parameters from the prior, shape (size, k)."""
        rng = np.random.default_rng(seed)
        columns = {
            n: np.exp(rng.normal(prior.mu, prior.sigma, size)) for n, prior in self.own.items()
        }
        if self.given:
            import pymc as pm

            with pm.Model():
                for name, prior in self.given.items():
                    variable = register(name, prior)
                    columns[name] = _draw(variable, size, rng)
        return np.stack([columns[n] for n in self.names], axis=1)

    def variables(self, own: Mapping[str, tuple[Any, Any]]) -> list[Any]:
        """Make the random variables of a PyMC model (within its context).

        Parameters
        ----------
        own : mapping of str to (mu, sigma)
            The defaults, as variables of the model.
        """
        import pymc as pm

        return [
            pm.LogNormal(n, *own[n]) if n in own else register(n, self.given[n]) for n in self.names
        ]

    def describe(self) -> dict[str, str]:
        """The priors in words, by parameter."""
        return {n: str(self.own[n]) if n in self.own else say(self.given[n]) for n in self.names}


def resolve(model: Model, data: Compressed, priors: Mapping[str, Any] | None) -> Priors:
    """Put together the priors of a fit.

    Parameters
    ----------
    model : Model
        Any model of the registry.
    data : Compressed
        What is fitted on: the defaults are in units of its mean.
    priors : mapping, optional
        The user's, by parameter, in the data's units.

    Raises
    ------
    OptionError
        For a parameter that the model does not have, or a distribution that cannot be its
        prior: not a distribution, discrete, of several dimensions, or possibly negative.
    """
    given = dict(priors or {})
    names = model.parameter_names
    problems = [
        f"'{n}' is not a parameter of {model.title}, which has {', '.join(names)}."
        + did_you_mean(n, names)
        for n in given
        if n not in names
    ]
    problems += [
        problem for n in names if n in given and (problem := _refusal(n, given[n])) is not None
    ]
    if problems:
        raise OptionError("priors: " + " ".join(problems))
    scale = unit_scale(model, data)
    own = {
        p.name: _default(p, float(s))
        for p, s in zip(model.parameters, scale, strict=True)
        if p.name not in given
    }
    return Priors(names, own, {n: given[n] for n in names if n in given})


def _default(parameter: Parameter, scale: float) -> LogNormal:
    return LogNormal(float(np.log(parameter.ordinary * scale)), SPREAD)


def _compile_density(given: dict[str, Any]) -> Callable[[Array], tuple[Any, Any]]:
    """Compile the log-density of ln(parameters), with its Jacobian, and the gradient."""
    import pymc as pm
    import pytensor
    import pytensor.tensor as pt

    with pm.Model():
        variables = [register(name, prior) for name, prior in given.items()]
    log_theta = pt.dvector("log_theta")
    total = pt.sum(
        [
            pm.logp(variable, pt.exp(log_theta[i])) + log_theta[i]
            for i, variable in enumerate(variables)
        ]
    )
    gradient = pytensor.grad(total, log_theta)
    compiled: Callable[[Array], tuple[Any, Any]] = pytensor.function([log_theta], [total, gradient])
    return compiled


def register(name: str, prior: Any) -> Any:
    """Add a given prior to the PyMC model of the context; returns its variable."""
    if hasattr(prior, "create_variable"):
        return prior.create_variable(name)
    import pymc as pm
    from pytensor.graph.replace import clone_replace

    # A copy: the user's distribution stays without a name, and can be used again.
    return pm.modelcontext(None).register_rv(clone_replace([prior])[0], name)


def _draw(variable: Any, size: int, seed: int | np.random.Generator) -> Array:
    import pymc as pm

    with warnings.catch_warnings():
        # PyTensor says so of distributions whose sampling it cannot compile; they take longer.
        warnings.filterwarnings("ignore", "Numba will use object mode", UserWarning)
        return np.asarray(pm.draw(variable, size, random_seed=seed))


def say(prior: Any) -> str:
    """A given prior in words, such as ``"HalfNormal(0, 2)"``."""
    if hasattr(prior, "create_variable"):
        return str(prior)
    numbers = [p for p in prior.owner.inputs if getattr(p.type, "ndim", None) == 0]
    values = [f"{float(p.data):.4g}" if hasattr(p, "data") else "?" for p in numbers]
    return f"{type(prior.owner.op).__name__.removesuffix('RV')}({', '.join(values)})"


class PriorKey:
    """A prior as the key of what was compiled for it: equal for equal distributions.

    Compared by the computations themselves. Neither names nor numbers would do: a gamma prior
    holds its scale as 1 / rate, a truncated one the distribution that it truncates.
    """

    def __init__(self, prior: Any) -> None:
        import pymc as pm
        from pytensor.graph.basic import Constant
        from pytensor.graph.traversal import graph_inputs
        from pytensor.tensor.random.type import RandomType

        self.variable = prior
        if hasattr(prior, "create_variable"):
            with pm.Model():
                self.variable = register("prior", prior)
        self._generators = [
            v
            for v in graph_inputs([self.variable])
            if isinstance(v.type, RandomType) and not isinstance(v, Constant)
        ]

    def __hash__(self) -> int:
        return hash(type(self.variable.owner.op))

    def __eq__(self, other: object) -> bool:
        from pytensor.graph.basic import equal_computations

        if not isinstance(other, PriorKey) or len(self._generators) != len(other._generators):
            return False
        same: bool = equal_computations(
            [self.variable], [other.variable], self._generators, other._generators
        )
        return same


# What is known of priors that were given before: that they can be used, and their density.
_USABLE: set[PriorKey] = set()
_DENSITIES: dict[tuple[PriorKey, ...], Callable[[Array], tuple[Any, Any]]] = {}


def _is_random_density(variable: Any) -> bool:
    """Whether the parameters of a distribution are distributions themselves."""
    import pymc as pm
    from pytensor.graph.traversal import graph_inputs
    from pytensor.tensor.random.type import RandomType

    density = pm.logp(variable, variable.type())
    return any(isinstance(v.type, RandomType) for v in graph_inputs([density]))


def _refusal(name: str, prior: Any) -> str | None:
    """Why a prior cannot be used, and what to type; None if it can."""
    example = f"e.g. priors={{'{name}': pymc.LogNormal.dist(0, 1)}}."
    import pymc as pm

    try:
        with pm.Model() as model:
            variable = register(name, prior)
    except Exception:  # whatever PyMC or PyTensor make of what is no distribution
        return f"the prior of {name} is {prior!r}, not a PyMC distribution; {example}"
    if len(model.free_RVs) != 1 or (variable.ndim == 0 and _is_random_density(variable)):
        return f"the prior of {name} has parameters with priors of their own; give numbers."
    if variable.ndim:
        return (
            f"the prior of {name} has shape {variable.type.shape}; it must be a scalar, {example}"
        )
    if variable.dtype.startswith(("int", "uint", "bool")):
        return f"the prior of {name}, {say(prior)}, is discrete; {name} is continuous, {example}"
    key = PriorKey(prior)
    if key in _USABLE:
        return None
    below = pm.logp(variable, np.array(_NEGATIVE)).eval()
    if np.isfinite(below).any() or (_draw(variable, 1000, 0) <= 0).any():
        return (
            f"the prior of {name}, {say(prior)}, allows numbers <= 0; {name} is positive. Use a "
            f"distribution on positive numbers, {example}"
        )
    _USABLE.add(key)
    return None
