"""The main job on the CDNOW sample, with a look at how good it is: ``make demo``.

First an honest test: fit on the first nine months, predict the next nine, compare. Then what
``clvpredict run`` does, on all the data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from clvpredict.cli import files, jobs, show
from clvpredict.cli.session import Session, running

_CALIBRATION_END = "1997-09-30"
_OBSERVATION_END = "1998-06-30"
_UNIT = "W"
_HORIZON = "52W"
_ROWS = {
    "predicted_total": "purchases predicted",
    "observed_total": "purchases observed",
    "bias_percent": "bias, %",
    "mae": "mean absolute error per customer",
    "rmse": "root mean squared error per customer",
}


def demo(session: Session, out: Path) -> None:
    """Run all of it.

    Parameters
    ----------
    session : Session
        Where the words go.
    out : Path
        Folder for ``predictions.csv`` and ``calibration.png``; made if it is not there.
    """
    from clvpredict.datasets import load_cdnow

    out.mkdir(parents=True, exist_ok=True)
    with session.step("Reading the CDNOW sample: purchases of music CDs, 1997 to 1998") as done:
        transactions = load_cdnow()
        done(
            f"{len(transactions):,} transactions of "
            f"{transactions['customer_id'].nunique():,} customers"
        )
    picture = out / "calibration.png"
    _test(session, transactions, picture)

    predictions = out / "predictions.csv"
    session.say("\nThe main job, on all the data, as the command line does it:", style="bold")
    session.say(
        "  clvpredict run data/sample/cdnow_sample.csv --model mbg/nbd "
        f"--time-unit {_UNIT} --horizon {_HORIZON} --currency USD --out {predictions}\n"
    )
    rfm = jobs.summarise(session, transactions, time_unit=_UNIT, currency="USD")
    fitted = jobs.fit(session, rfm, model="mbg/nbd")
    table = jobs.predict(session, fitted, rfm, ahead=jobs.Ahead(_HORIZON), money=jobs.Money())
    show.summary(session, session.facts["data"])
    show.models(session, session.facts["models"])
    show.predictions(session, session.facts["predictions"], "USD")
    files.write(session, table, str(predictions), excel_safe=False)
    session.say(f"Drew {picture}", style="bold")


def _test(session: Session, transactions: pd.DataFrame, picture: Path) -> None:
    """Fit on the first part, predict the second, print and draw how well that went."""
    from matplotlib.figure import Figure

    from clvpredict.estimators import BGNBD, MBGNBD
    from clvpredict.evaluate import calibration_table, holdout_totals
    from clvpredict.plots import plot_calibration
    from clvpredict.transactions import calibration_holdout

    session.say("\nA test on purchases that the models have not seen:", style="bold")
    with session.step(f"Splitting the data at {_CALIBRATION_END}") as done:
        split = calibration_holdout(
            transactions,
            calibration_end=_CALIBRATION_END,
            observation_end=_OBSERVATION_END,
            time_unit=_UNIT,
        )
        done(f"{len(split):,} customers, holdout of {split['duration_holdout'].iloc[0]:g} weeks")
    with session.step("Fitting BG/NBD and MBG/NBD on the first part"):
        models = [BGNBD().fit(split), MBGNBD().fit(split)]
    with session.step("Predicting the second part and drawing the comparison"):
        tables = [calibration_table(model, split) for model in models]
        totals = pd.concat([holdout_totals(model, split) for model in models], axis=1)
        figure = Figure(figsize=(8, 5), layout="constrained")
        plot_calibration(pd.concat(tables), ax=figure.add_subplot())
        figure.savefig(picture, dpi=150)
    # The naive rule is the same beside every model.
    totals = totals.loc[:, ~totals.columns.duplicated(keep="last")].rename(index=_ROWS)
    totals.index.name = None
    show.frame(session, "Out of sample, beside the naive rule frequency / T x weeks", totals)


def main() -> None:
    """Run ``python -m clvpredict.demo``."""
    parser = argparse.ArgumentParser(prog="python -m clvpredict.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder to write to")
    out: Path = parser.parse_args().out
    with running(Session("demo")) as session:
        demo(session, out)


if __name__ == "__main__":
    main()
