"""What data must have before a fit makes sense."""

from __future__ import annotations

import numpy as np

from clvpredict.errors import DataError, DataWarning, Problem, notify
from clvpredict.models.base import Model
from clvpredict.rfm import Array, Compressed

# Fewer repeat buyers than this, and the posterior is mostly the prior.
_FEW_BUYERS = 30


def warn_of_few(model: Model, data: Compressed) -> None:
    """Say where a posterior will be mostly the prior."""
    buyers = int(data.weight[data.columns["x"] > 0].sum())
    if buyers < _FEW_BUYERS:
        notify(
            f"{model.title}: {buyers} repeat buyers only. The posterior will be mostly the "
            f"prior: at least {_FEW_BUYERS} are needed, some hundreds for useful intervals. Use "
            "a longer history or more customers, or state what you know in priors=.",
            DataWarning,
        )


def check_purchases(x: Array, T: Array) -> None:
    """Refuse purchase histories that no population can be estimated from.

    Raises
    ------
    DataError
        With one customer only, no repeat purchase, or no time observed.
    """
    problems = []
    if len(x) == 1:
        problems.append(
            Problem(
                "one customer only: a model of differences between customers needs many",
                "fit on all customers, then predict for the one",
            )
        )
    if not (x > 0).any():
        problems.append(
            Problem(
                "no customer has a repeat purchase (frequency is 0 everywhere)",
                "observe for longer, or check that the customer ids are the customers'",
            )
        )
    if not (T > 0).any():
        problems.append(
            Problem(
                "T is 0 everywhere: no time was observed",
                "give a later observation_end to rfm_summary",
            )
        )
    if problems:
        raise DataError("customers to fit on", problems)


def check_spend(x: Array, m: Array) -> None:
    """Refuse spend histories that a spend model cannot be estimated from.

    Parameters
    ----------
    x, m : ndarray, shape (n,)
        Customers with purchases and a positive mean value.

    Raises
    ------
    DataError
        With fewer than two such customers, or equal mean values throughout.
    """
    problems = []
    if len(m) < 2:
        problems.append(
            Problem(
                f"{len(m)} customers with a repeat purchase of positive value; at least 2 are "
                "needed, and some hundreds for useful estimates",
                "use a longer history, or keep the first purchase "
                "(rfm_summary(..., include_first_transaction=True))",
            )
        )
    elif np.ptp(m) <= 1e-12 * np.max(m):
        problems.append(
            Problem(
                f"all amounts are equal ({m[0]:g}): there are no differences in spend to model",
                f"value purchases at {m[0]:g} each: model.predict(...)['expected_purchases'] "
                f"* {m[0]:g}",
            )
        )
    if problems:
        raise DataError("spend to fit on", problems)
