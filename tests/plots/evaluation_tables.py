"""Tables as clvpredict.evaluate returns them, with numbers of our own."""

from itertools import pairwise

import numpy as np
import pandas as pd

PERIODS = {
    "duration_holdout": 39.0,
    "time_unit": "weeks",
    "calibration_end": "1997-09-30",
    "observation_end": "1998-06-30",
}
MODELS = ("BG/NBD", "MBG/NBD")


def table(rows, **attrs):
    frame = pd.DataFrame(rows)
    frame.attrs = {**PERIODS, **attrs}
    return frame


def deciles(models=MODELS, of="purchases", customers=236):
    rows = [
        {
            "model": model,
            "of": of,
            "decile": decile,
            "customers": customers,
            "predicted": 0.03 * decile**1.8,
            "observed": (0.03 + 0.004 * i) * decile**1.75,
            "observed_se": 0.01 * decile,
            "naive": 0.05 * decile**1.9,
        }
        for i, model in enumerate(models)
        for decile in range(1, 11)
    ]
    return table(rows)


def reliability(models=MODELS, blocks=9, customers=2357):
    edges = np.linspace(0, 0.97, blocks + 1)
    rows = []
    for i, model in enumerate(models):
        for low, high in pairwise(edges):
            mean, count = (low + high) / 2, customers * (1 - low) / blocks
            spread = 1.96 * np.sqrt(mean * (1 - mean) / count)
            rows.append(
                {
                    "model": model,
                    "predicted_low": low,
                    "predicted_high": high,
                    "predicted": mean,
                    "observed": min(1.0, mean ** (1.2 + 0.1 * i)),
                    "customers": round(count),
                    "band_lower": mean - spread,
                    "band_upper": mean + spread,
                }
            )
    scores = {
        "brier": 0.1567,
        "miscalibration": 0.0021,
        "discrimination": 0.0604,
        "uncertainty": 0.215,
        "ece": 0.021,
    }
    return table(rows, scores=dict.fromkeys(models, scores))


def pit(models=MODELS, bins=20, customers=2357):
    low = np.arange(bins) / bins
    rows = []
    for i, model in enumerate(models):
        density = 1 + 0.2 * (i + 1) * np.cos(2 * np.pi * (low + 0.5 / bins))
        ecdf = np.cumsum(density) / density.sum()
        high = low + 1 / bins
        band = 1.36 / np.sqrt(customers) * np.sqrt(4 * high * (1 - high))
        rows += [
            {
                "model": model,
                "of": "purchases",
                "low": low[j],
                "high": high[j],
                "density": density[j],
                "ecdf": ecdf[j],
                "band_lower": -band[j],
                "band_upper": band[j],
                "customers": customers,
            }
            for j in range(bins)
        ]
    ks = {
        model: {"ks": 0.031 * (i + 1), "p_value": 0.02 / 100**i} for i, model in enumerate(models)
    }
    return table(rows, ks=ks)


def coverage(models=MODELS):
    rows = [
        {
            "model": model,
            "of": "purchases",
            "decile": decile,
            "customers": 2357 if decile == "all" else 236,
            "level": level,
            "coverage": min(1.0, level + 0.08 * (1 - level) * (3 - i) - 0.01 * (decile == "9")),
            "expected": min(1.0, level + 0.35 * (1 - level)),
            "width": 3 * level,
        }
        for i, model in enumerate(models)
        for decile in ("all", *map(str, range(1, 11)))
        for level in (0.5, 0.8, 0.9, 0.95)
    ]
    return table(rows)


def tracking(models=MODELS, weeks=78, size=60.0):
    start = pd.date_range("1997-01-01", periods=weeks, freq="7D")
    week = np.arange(weeks)
    observed = np.round(size * (1 + 0.4 * np.sin(week / 4)) * (week % 30 != 7))
    rows = []
    for i, model in enumerate(models):
        expected = size * (1.2 - 0.006 * week) + 3 * i
        spread = 2 * np.sqrt(expected)
        rows.append(
            pd.DataFrame(
                {
                    "model": model,
                    "start": start,
                    "end": start + pd.Timedelta("6D"),
                    "phase": np.where(week < 39, "calibration", "holdout"),
                    "observed": observed,
                    "expected": expected,
                    "lower": expected - spread,
                    "upper": expected + spread,
                    "observed_cumulative": observed.cumsum(),
                    "expected_cumulative": expected.cumsum(),
                    "lower_cumulative": expected.cumsum() - 2 * np.sqrt(expected.cumsum()),
                    "upper_cumulative": expected.cumsum() + 2 * np.sqrt(expected.cumsum()),
                }
            )
        )
    return table(pd.concat(rows, ignore_index=True), level=0.9, every="W")


def gain(models=MODELS, of="purchases", points=100):
    share = np.arange(1, points + 1) / points
    power = {"naive": 2.6, "oracle": 8.0, "random": 1.0}
    rows = []
    for i, model in enumerate((*models, "naive", "oracle", "random")):
        captured = 1 - (1 - share) ** power.get(model, 3.2 + 0.2 * i)
        rows.append(
            pd.DataFrame(
                {
                    "model": model,
                    "of": of,
                    "share": share,
                    "captured": captured,
                    "lift": captured / share,
                }
            )
        )
    return table(pd.concat(rows, ignore_index=True))


def backtest(models=(*MODELS, "naive"), cuts=5, seed=1):
    rng = np.random.default_rng(seed)
    rows = []
    for cut in pd.date_range("1997-03-31", periods=cuts, freq="MS"):
        for periods in (4, 13, 26, 39):
            for i, model in enumerate(models):
                late = cut.month >= 7 and periods == 39
                rows.append(
                    {
                        "cut_date": cut,
                        "horizon": f"{periods}W",
                        "horizon_periods": float(periods),
                        "model": model,
                        "status": "data end before the horizon" if late else "ok",
                        "customers": 2357,
                        "observed_total": np.nan if late else 40.0 * periods,
                        "predicted_total": np.nan if late else 41.0 * periods,
                        "bias_percent": np.nan if late else rng.normal(3 - 5 * i, 6),
                        "crps": np.nan if late else 0.02 * periods + 0.03 * i + rng.normal(0, 0.01),
                        "coverage_90": np.nan if late else 0.93,
                    }
                )
    return pd.DataFrame(rows)


def comparison(models=(*MODELS, "naive"), horizons=("13W",)):
    rows = [
        {
            "horizon": horizon,
            "model": model,
            "score": 0.41 + 0.02 * i,
            "difference": 0.02 * i,
            "lower": 0.02 * i - 0.008 * (i > 0),
            "upper": 0.02 * i + 0.008 * (i > 0),
            "vintages": 17,
            "wins": max(0, 12 - 7 * i),
        }
        for horizon in horizons
        for i, model in enumerate(models)
    ]
    return pd.DataFrame(rows)
