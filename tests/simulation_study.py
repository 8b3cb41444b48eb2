"""A simulation study: do fits converge, and do 95 % intervals hold 95 %?

Run as a script it writes the table of `docs/simulation_study.md`; the slow test runs the same.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import clvpredict as clv
from clvpredict.errors import ClvError, IdentificationWarning
from clvpredict.estimators import Estimator

BASES = 500
PURCHASES = {"BG/NBD": clv.BGNBD, "MBG/NBD": clv.MBGNBD}


def truth(rng: np.random.Generator) -> tuple[dict[str, float], dict[str, float]]:
    """Draw parameters over the range that real customer bases span, time in weeks."""

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    r, mean_rate = log_uniform(0.1, 4), log_uniform(0.02, 1.5)
    a, mean_dropout = log_uniform(0.15, 5), rng.uniform(0.02, 0.6)
    p, q, mean_spend = log_uniform(1, 20), log_uniform(1.5, 8), log_uniform(5, 500)
    purchases = {"r": r, "alpha": r / mean_rate, "a": a, "b": a * (1 / mean_dropout - 1)}
    return purchases, {"p": p, "q": q, "v": mean_spend * (q - 1) / p}


def fit(estimator: Estimator, rfm: pd.DataFrame) -> str:
    """Fit and say how it ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IdentificationWarning)
        try:
            estimator.fit(rfm)
        except ClvError as error:
            return type(error).__name__
    return estimator.convergence_.status


def study(bases: int = BASES) -> pd.DataFrame:
    """Simulate and fit; one row per base, model and parameter."""
    records = []
    for seed in range(bases):
        rng = np.random.default_rng(seed)
        purchases, spend = truth(rng)
        title = list(PURCHASES)[seed % 2]
        estimator = PURCHASES[title]
        n = int(np.exp(rng.uniform(np.log(1_000), np.log(20_000))))
        weeks = np.exp(rng.uniform(np.log(26), np.log(156)))
        base = clv.CLVModel(
            estimator.from_params(time_unit="W", **purchases), clv.GammaGamma.from_params(**spend)
        ).simulate(n, weeks * rng.uniform(0.5, 1.0, n), seed)
        for model, values in ((estimator(), purchases), (clv.GammaGamma(), spend)):
            status = fit(model, base.rfm)
            fitted = status in ("converged", "unidentified")
            table = model.summary() if fitted else None
            for name, value in values.items():
                row = None if table is None else table.loc[name]
                records.append(
                    {
                        "seed": seed,
                        "model": model._model.title,
                        "customers": n,
                        "status": status,
                        "parameter": name,
                        "truth": value,
                        "covered": row is not None and row["lower"] <= value <= row["upper"],
                        "log_se": np.nan
                        if row is None
                        else row["standard_error"] / row["estimate"],
                    }
                )
    return pd.DataFrame(records)


def coverage(results: pd.DataFrame) -> pd.DataFrame:
    """Coverage of the 95 % intervals of converged fits, by model and parameter."""
    converged = results[results["status"] == "converged"]
    by = converged.groupby(["model", "parameter"], sort=False)["covered"]
    return pd.DataFrame({"fits": by.size(), "coverage": by.mean()})


def endings(results: pd.DataFrame) -> pd.DataFrame:
    """How the fits ended, by model."""
    once = results.drop_duplicates(["seed", "model"])
    return pd.crosstab(once["model"], once["status"])


def markdown(results: pd.DataFrame) -> str:
    """The page of the documentation."""
    converged = results[results["status"] == "converged"]
    lines = [
        "# Simulation study of maximum likelihood",
        "",
        (
            f"{results['seed'].nunique()} simulated customer bases of 1,000 to 20,000 customers "
            "and 13 to 156 weeks, parameters drawn over a wide range (`tests/simulation_study.py` "
            "has it); every base is fitted with its own purchase model and Gamma-Gamma. Remake "
            "this page with `python tests/simulation_study.py --write`; `make slow` checks it."
        ),
        "",
        "How the fits ended (*unidentified*: reported with a warning that names the parameters):",
        "",
        _table(endings(results).reset_index()),
        "",
        (
            "How often the 95 % interval (Wald, in the logarithm) holds the true value, over "
            f"converged fits; all together {converged['covered'].mean():.1%} of "
            f"{len(converged):,} intervals:"
        ),
        "",
        _table(coverage(results).reset_index()),
        "",
    ]
    return "\n".join(lines)


def _table(frame: pd.DataFrame) -> str:
    def cell(value: object) -> str:
        return f"{value:.1%}" if isinstance(value, float) else str(value)

    rows = [[cell(v) for v in row] for row in frame.itertuples(index=False)]
    head = [" | ".join(map(str, frame.columns)), " | ".join("---" for _ in frame.columns)]
    return "\n".join(f"| {line} |" for line in head + [" | ".join(row) for row in rows])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace docs/simulation_study.md")
    page = markdown(study())
    print(page)
    if parser.parse_args().write:
        Path(__file__).parents[1].joinpath("docs", "simulation_study.md").write_text(
            page, encoding="utf-8"
        )
