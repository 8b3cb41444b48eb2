"""Run the backtests of the documentation: ``python docs/make_backtests.py --apparel FILE``.

Writes ``backtests.md`` and its pictures. The apparel transactions (simulated by the authors of
CLVTools) belong to that package and are not here.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import clvpredict as clv
from clvpredict.errors import DataWarning
from clvpredict.evaluate import Backtest
from clvpredict.plots import plot_backtest_lines

HERE = Path(__file__).parent
_NUMBERS = {
    "bias_percent": "{:+.1f}",
    "mae": "{:.4f}",
    "crps": "{:.4f}",
    "log_score": "{:.4f}",
    "pit_ks": "{:.4f}",
    "gini": "{:.3f}",
    "value_bias_percent": "{:+.1f}",
    "value_crps": "{:.3f}",
}
_HEADS = {
    "bias_percent": "bias, %",
    "mae": "MAE",
    "crps": "CRPS",
    "log_score": "log score",
    "pit_ks": "PIT distance",
    "gini": "Gini",
    "value_bias_percent": "value bias, %",
    "value_crps": "value CRPS",
}
INTRODUCTION = """# Backtests

Written by `python docs/make_backtests.py`, which runs them. At every cut date the models are
fitted by maximum likelihood on the transactions up to it, and held to what the same customers did
after it. The baselines are the [rules of thumb](evaluation.md#baselines) and NBD, the purchase
model without dropout. One split can crown the wrong model, so there are many.

- Means over cut dates; the bias is also given as the mean of its size, for over- and
  underestimates do not cancel when a forecast is used.
- CRPS and log score judge the whole predicted distribution of each customer's purchases (value);
  less is better. The CRPS of a rule that predicts a number is its MAE.
"""


def table_of(results: Backtest, horizon: str) -> str:
    """Means over cut dates as a Markdown table."""
    rows = results.table[results.table["horizon"] == horizon]
    out = ["| model | " + " | ".join([*_HEADS.values(), "size of bias, %"]) + " |"]
    out.append("| --- |" + " ---: |" * (len(_HEADS) + 1))
    for model in rows["model"].drop_duplicates():
        own = rows[rows["model"] == model]
        if model.endswith("(recalibrated)"):
            continue
        cells = [
            form.format(own[name].mean()) if own[name].notna().any() else ""
            for name, form in _NUMBERS.items()
        ]
        out.append(f"| {model} | {' | '.join(cells)} | {own['bias_percent'].abs().mean():.1f} |")
    return "\n".join(out)


def compared(results: Backtest, metric: str) -> str:
    """The comparison of two models as Markdown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        table = clv.compare(results, metric)
    out = ["| horizon | model | mean CRPS | difference to the best | 90 % interval | best at |"]
    out.append("| --- | --- | ---: | ---: | ---: | ---: |")
    for row in table.itertuples():
        between = f"{row.lower:+.4f} to {row.upper:+.4f}" if np.isfinite(row.lower) else ""
        out.append(
            f"| {row.horizon} | {row.model} | {row.score:.4f} | {row.difference:+.4f} | {between} "
            f"| {row.wins} of {row.vintages} |"
        )
    return "\n".join(out)


def recalibrated(results: Backtest) -> list[dict[str, Any]]:
    """Raw and recalibrated forecasts at the same, later vintages."""
    table, found = results.table, []
    for name in results.models:
        for horizon in table["horizon"].drop_duplicates():
            own = table[table["horizon"] == horizon].set_index("cut_date")
            after = own[own["model"] == f"{name} (recalibrated)"]
            if after.empty:
                continue
            before = own[own["model"] == name].loc[after.index]
            row: dict[str, Any] = {"model": name, "horizon": horizon, "vintages": len(after)}
            for metric in ("pit_ks", "crps", "value_pit_ks", "value_crps"):
                row[metric] = (before[metric].mean(), after[metric].mean())
            for metric in ("bias_percent", "value_bias_percent"):
                row[metric] = (before[metric].abs().mean(), after[metric].abs().mean())
            row["totals"] = tuple(
                r["observed_total"].between(r["total_lower"], r["total_upper"]).sum()
                for r in (before, after)
            )
            found.append(row)
    return found


def recalibration_table(rows: list[dict[str, Any]]) -> str:
    """The same as Markdown."""
    head = "| model | horizon | later vintages | PIT distance | CRPS | size of bias, % "
    head += "| value PIT distance | value CRPS | totals in their 90 % interval |"
    out = [head]
    out.append("| --- | --- | ---: |" + " ---: |" * 6)
    forms = {
        "pit_ks": "{:.4f}",
        "crps": "{:.5f}",
        "bias_percent": "{:.1f}",
        "value_pit_ks": "{:.4f}",
        "value_crps": "{:.4f}",
        "totals": "{:.0f}",
    }
    for row in rows:
        cells = [" → ".join(form.format(v) for v in row[n]) for n, form in forms.items()]
        out.append(
            f"| {row['model']} | {row['horizon']} | {row['vintages']} | {' | '.join(cells)} |"
        )
    return "\n".join(out)


def picture(results: Backtest, horizon: str, name: str) -> None:
    """Bias of every model over cut dates."""
    rows = results.table[~results.table["model"].str.endswith("(recalibrated)")]
    figure = Figure(figsize=(9, 5), layout="constrained", facecolor="white")
    plot_backtest_lines(rows, "bias_percent", horizon=horizon, ax=figure.add_subplot())
    figure.savefig(HERE / "images" / f"{name}.png", dpi=100, metadata={"Software": None})


def study(
    transactions: pd.DataFrame,
    title: str,
    name: str,
    grid: dict[str, Any],
    later: dict[str, Any],
) -> str:
    """One data set: the grid, and what recalibration does to later vintages."""
    models = [clv.CLVModel(clv.BGNBD()), clv.CLVModel(clv.MBGNBD())]
    with warnings.catch_warnings():
        # Of early cut dates at which dropout is not identified; they are in the page.
        warnings.simplefilter("ignore", DataWarning)
        results = clv.backtest(transactions, models, **grid)
        learnt = clv.backtest(transactions, models, recalibrate=True, **later)
    cuts = results.table["cut_date"].drop_duplicates().dt.strftime("%Y-%m-%d").tolist()
    horizons = results.table["horizon"].drop_duplicates().tolist()
    picture(results, horizons[0], name)
    how = (
        f"Cut dates every {later['every']}, horizons {', '.join(later['horizons'])}. "
        "[Recalibration](evaluation.md#recalibration) is learnt at each cut date from the "
        "vintages whose holdout had ended by then, and judged at that, later one: before → "
        "after, means over later vintages."
    )
    parts = [f"## {title}\n", f"{len(cuts)} cut dates: {', '.join(cuts)}.\n"]
    for horizon in horizons:
        parts += [f"### {horizon} ahead\n", table_of(results, horizon) + "\n"]
    missing = results.table.loc[results.table["status"] != "ok", ["cut_date", "model", "status"]]
    if len(missing):
        parts += ["Without all metrics (means are over the other cut dates):\n"]
        for row in missing.drop_duplicates().itertuples():
            parts += [f"- {row.cut_date:%Y-%m-%d}, {row.model}: {row.status}"]
        parts += [""]
    parts += [
        f"![Bias of the predicted total over cut dates](images/{name}.png)\n",
        "### Paired over cut dates\n",
        compared(results, "crps") + "\n",
        "### Recalibration\n",
        how + "\n",
        recalibration_table(recalibrated(learnt)) + "\n",
    ]
    return "\n".join(parts)


def main() -> None:
    """Run both and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--apparel", type=Path, required=True, help="apparel_transactions.csv")
    given = parser.parse_args()
    apparel = pd.read_csv(given.apparel, parse_dates=["Date"])
    apparel = apparel.rename(columns={"Id": "customer_id", "Date": "date", "Price": "amount"})
    pages = [
        INTRODUCTION,
        study(
            clv.load_cdnow(full=True),
            "CDNOW master: 23,570 customers of early 1997, 78 weeks",
            "backtest_cdnow",
            {"every": "6W", "min_history": "20W", "horizons": ["13W", "26W"]},
            {"every": "4W", "min_history": "17W", "horizons": ["8W", "13W", "17W"]},
        ),
        study(
            apparel,
            "Apparel: 600 customers simulated by the authors of CLVTools, 311 weeks",
            "backtest_apparel",
            {"every": "26W", "min_history": "52W", "horizons": ["26W", "52W"]},
            {"every": "13W", "min_history": "39W", "horizons": ["26W", "52W"]},
        ),
    ]
    (HERE / "backtests.md").write_text("\n".join(pages).rstrip() + "\n")


if __name__ == "__main__":
    main()
