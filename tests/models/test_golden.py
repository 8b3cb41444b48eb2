"""Every model against numbers from the integral definitions, at 20 digits.

`tests/golden/README.md` says where they come from and how to remake them.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clvpredict.models.base import NEW_CUSTOMER, PurchaseModel, Theta
from clvpredict.models.registry import PURCHASE_MODELS, SPEND_MODELS
from clvpredict.rfm import Array, Histories, SpendHistories

GOLDEN = Path(__file__).parents[1] / "golden"
MODELS = {m.name.replace("/", ""): m for m in PURCHASE_MODELS.values()}
Quantity = Callable[[PurchaseModel, Theta, Histories, list[Any]], Array]

QUANTITIES: dict[str, Quantity] = {
    "log_likelihood": lambda m, th, h, _: m.log_likelihood(th, h),
    "p_alive": lambda m, th, h, _: m.p_alive(th, h),
    "p_alive_at": lambda m, th, h, a: m.p_alive_at(th, h, a[0]),
    "p_purchase": lambda m, th, h, a: m.p_purchase(th, h, a[0]),
    "expected_purchases": lambda m, th, h, a: m.expected_purchases(th, h, a[0]),
    "expected_purchases_new": lambda m, th, _, a: m.expected_purchases(th, NEW_CUSTOMER, a[0]),
    "pmf": lambda m, th, _, a: m.pmf_future(th, NEW_CUSTOMER, a[0], a[1]),
    "pmf_future": lambda m, th, h, a: m.pmf_future(th, h, a[0], a[1]),
    "dert": lambda m, th, h, a: m.discounted_purchases(th, h, np.asarray(np.inf), float(a[0])),
    "discounted_purchases": lambda m, th, h, a: m.discounted_purchases(th, h, a[0], float(a[1])),
}


def read(name: str) -> list[dict[str, str]]:
    with (GOLDEN / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def theta_of(row: dict[str, str]) -> Theta:
    return tuple(np.float64(part.split("=")[1]) for part in row["parameters"].split())


def compute(row: dict[str, str], quantity: str, argument: str) -> float:
    history = [float(row[c] or 0) for c in ("frequency", "recency", "T")]
    arguments = [np.asarray(float(a)) for a in argument.split(";") if a]
    value = QUANTITIES[quantity](
        MODELS[row["model"]], theta_of(row), Histories.of(*history), arguments
    )
    return float(np.ravel(value)[0])


def relative_error(got: float, want: float, quantity: str) -> float:
    # A log-likelihood passes through 0, where only its absolute error means something.
    floor = 1.0 if quantity == "log_likelihood" else 1e-290
    return abs(got - want) / max(abs(want), floor)


def report(errors: list[tuple[float, str]], tolerance: float) -> None:
    bad = sorted((e for e in errors if not e[0] <= tolerance), reverse=True)
    assert errors
    assert not bad, f"{len(bad)} of {len(errors)} rows off:\n" + "\n".join(map(str, bad[:10]))


PURCHASE_ROWS = [r for r in read("golden.csv") if r["model"] in MODELS]


@pytest.mark.parametrize("quantity", sorted(QUANTITIES))
@pytest.mark.parametrize("model", sorted(MODELS))
def test_purchase_models_match_quadrature(model: str, quantity: str) -> None:
    rows = [r for r in PURCHASE_ROWS if r["model"] == model and r["quantity"] == quantity]
    errors = [
        (relative_error(compute(r, quantity, r["argument"]), float(r["value"]), quantity), str(r))
        for r in rows
    ]
    report(errors, 1e-10)


def test_gamma_gamma_matches_quadrature() -> None:
    model = SPEND_MODELS["gamma-gamma"]
    errors = []
    for row in read("golden.csv"):
        if row["model"] != "gamma_gamma":
            continue
        x, m = float(row["frequency"] or 0), float(row["monetary_value"] or 0)
        data = SpendHistories(np.ones(1), x=np.array([x]), m=np.array([m]))
        if row["quantity"] == "log_likelihood":
            got = model.log_likelihood(theta_of(row), data)
        else:
            got = model.expected_spend(theta_of(row), data)
        error = relative_error(float(got[0]), float(row["value"]), row["quantity"])
        errors.append((error, str(row)))
    report(errors, 1e-10)


def test_bgnbd_matches_the_fixed_parameter_table() -> None:
    """`fixed_parameters.csv`: computed at 25 to 250 digits from the integral definitions."""
    errors = []
    for row in read("fixed_parameters.csv"):
        if row["model"] != "bgnbd":
            continue
        quantity, argument = row["quantity"], ""
        if quantity.startswith("expected_purchases_"):
            quantity, argument = "expected_purchases", quantity.rsplit("_", 1)[1]
        elif quantity == "pmf":  # its columns: `frequency` is n, `T` is t
            argument = f"{row['T']};{row['frequency']}"
        got = compute(row, quantity, argument)
        errors.append((relative_error(got, float(row["value"]), quantity), str(row)))
    assert len(errors) == 396
    report(errors, 1e-8)


def test_expected_purchases_is_continuous_where_the_closed_form_is_not() -> None:
    """a = 1 is a removable singularity; reference.md shows who falls into it."""
    model = PURCHASE_MODELS["bg/nbd"]
    history = Histories.of(2, 30.43, 38.86)

    def value(a: float) -> float:
        theta = tuple(map(np.float64, (0.24, 4.41, a, 2.43)))
        return float(model.expected_purchases(theta, history, np.asarray(39.0))[0])

    around = np.array([value(1 + d) for d in (-1e-6, -1e-13, 0.0, 1e-13, 1e-6)])
    assert np.isfinite(around).all()
    np.testing.assert_allclose(around, value(1.0), rtol=1e-6)
    np.testing.assert_allclose(around[1:4], value(1.0), rtol=1e-12)
