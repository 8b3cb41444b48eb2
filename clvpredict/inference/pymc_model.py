"""Any model of the registry as a PyMC model: priors, and the likelihood as one operation."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import register_funcify_and_cache_key

from clvpredict.inference.priors import PriorKey, Priors
from clvpredict.models.base import Model
from clvpredict.rfm import Array, Compressed

# The data of a PyMC model, in the order the operation takes them.
_DATA = ("tables", "codes", "weight")


class WeightedLogLikelihood(Op):  # type: ignore[misc]  # PyTensor's types are not read
    """Log-likelihood of all rows and its gradient, in one pass of the model's kernel.

    Inputs: theta (k), tables, codes, weight; outputs: log-likelihood, gradient (k).
    """

    __props__ = ("kernel",)

    def __init__(self, kernel: Callable[..., float]) -> None:
        self.kernel = kernel

    def make_node(self, *inputs: Any) -> Apply:
        """Make the node of the graph."""
        return Apply(self, [pt.as_tensor(i) for i in inputs], [pt.dscalar(), pt.dvector()])

    def perform(self, node: Apply, inputs: list[Any], outputs: list[list[Any]]) -> None:
        """Compute without numba's backend."""
        gradient = np.empty(len(inputs[0]))
        outputs[0][0] = np.asarray(self.kernel(*inputs, gradient))
        outputs[1][0] = gradient

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Say that only theta is differentiated with respect to."""
        return [[True, False]] + [[False, False]] * len(_DATA)

    def pullback(self, inputs: list[Any], outputs: list[Any], cotangents: list[Any]) -> list[Any]:
        """Give the gradient that came with the value."""
        return [outputs[1] * cotangents[0], *(DisconnectedType()() for _ in _DATA)]


@register_funcify_and_cache_key(WeightedLogLikelihood)  # type: ignore[untyped-decorator]
def _numba_log_likelihood(op: WeightedLogLikelihood, **_: Any) -> tuple[Callable[..., Any], str]:
    """Give the compiled function, and a key by which later processes find it on disk."""
    kernel: Any = op.kernel

    @nb.njit
    def value_and_gradient(theta, tables, codes, weight):  # type: ignore[no-untyped-def]
        gradient = np.empty(theta.shape[0])
        value = kernel(theta, tables, codes, weight, gradient)
        return np.asarray(value), gradient

    source = inspect.getsource(inspect.getmodule(kernel.py_func) or kernel.py_func)
    digest = hashlib.sha256(source.encode()).hexdigest()
    return value_and_gradient, f"clvpredict-{kernel.py_func.__name__}-{digest}"


def build(model: Model, data: Compressed, priors: Priors) -> pm.Model:
    """Make the PyMC model of a fit.

    Returns
    -------
    pymc.Model
        The parameters as free variables, the compressed data as shared variables, and the
        weighted log-likelihood as the potential ``log_likelihood``.
    """
    fused = model.fused(data)
    with pm.Model() as pymc_model:
        shared = [pm.Data(name, getattr(fused, name)) for name in _DATA]
        scale = _shared_priors(priors)
        theta = [variable.astype("float64") for variable in priors.variables(scale)]
        value, _ = WeightedLogLikelihood(fused.kernel)(pt.stack(theta), *shared)
        pm.Potential("log_likelihood", value)
    return pymc_model


def _shared_priors(priors: Priors) -> dict[str, tuple[Any, Any]]:
    """Location and spread of the defaults as data: they follow the data's units."""
    names = list(priors.own)
    if not names:
        return {}
    mu = pm.Data("prior_mu", np.array([priors.own[n].mu for n in names]))
    sigma = pm.Data("prior_sigma", np.array([priors.own[n].sigma for n in names]))
    return {n: (mu[i], sigma[i]) for i, n in enumerate(names)}


@dataclass(frozen=True)
class Density:
    """Log-density and gradient of a PyMC model in its unconstrained space, compiled.

    Parameters
    ----------
    function : callable
        From a point and the shared arrays to value and gradient; several threads may call it.
    shared : tuple of str
        Names of the shared arrays, in order.
    """

    function: Callable[..., Any]
    shared: tuple[str, ...]

    def arguments(self, pymc_model: pm.Model) -> tuple[Array, ...]:
        """The shared arrays of a model of the same kind."""
        arrays = (pymc_model[name].get_value(borrow=False) for name in self.shared)
        return tuple(np.ascontiguousarray(a) for a in arrays)


_COMPILED: dict[Any, Density] = {}


def compile_density(
    model: Model, priors: Priors, pymc_model: pm.Model, *, threaded: bool
) -> Density:
    """Compile the log-density of a PyMC model; once per model and kind of priors.

    Parameters
    ----------
    threaded : bool
        Whether to run outside the interpreter lock: of use where a call takes long.
    """
    keys = [PriorKey(priors.given[n]) if n in priors.given else "own" for n in priors.names]
    key = (model.name, threaded, *keys)
    if key not in _COMPILED:
        _COMPILED[key] = _compile(pymc_model, threaded)
    return _COMPILED[key]


def _compile(pymc_model: pm.Model, threaded: bool) -> Density:
    function = pymc_model.logp_dlogp_function(ravel_inputs=True, mode="NUMBA")._pytensor_function
    inner: Any = function.vm.jit_fn
    shared = tuple(s.name for s in function.get_shared())
    if not threaded:
        return Density(inner, shared)

    @nb.njit(nogil=True)
    def density(point, *arrays):  # type: ignore[no-untyped-def]
        return inner(point, *arrays)

    return Density(density, shared)


def all_logarithms(pymc_model: pm.Model) -> bool:
    """Whether the unconstrained space is that of ln(parameters)."""
    return all(map(_is_logarithm, pymc_model.rvs_to_transforms.values()))


def _is_logarithm(transform: object) -> bool:
    return type(transform).__name__ == "LogTransform"


def forward(pymc_model: pm.Model, theta: Mapping[str, float]) -> Array:
    """Map parameters to the unconstrained space, shape (k,)."""
    out = []
    for variable in pymc_model.free_RVs:
        transform = pymc_model.rvs_to_transforms[variable]
        value = theta[variable.name]
        if _is_logarithm(transform):
            value = np.log(value)
        elif transform is not None:
            value = transform.forward(pt.constant(value), *variable.owner.inputs).eval()
        out.append(float(value))
    return np.array(out)


def backward(pymc_model: pm.Model, points: Array) -> Array:
    """Map points of the unconstrained space, shape (..., k), to parameters."""
    out = []
    for i, variable in enumerate(pymc_model.free_RVs):
        transform = pymc_model.rvs_to_transforms[variable]
        column = points[..., i]
        if _is_logarithm(transform):
            column = np.exp(column)
        elif transform is not None:
            column = transform.backward(pt.constant(column), *variable.owner.inputs).eval()
        out.append(np.asarray(column))
    return np.stack(out, axis=-1)
