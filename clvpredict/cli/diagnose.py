"""The commands that hold predictions to what happened."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clvpredict.cli.options import (
    Amount,
    AsJson,
    Collapse,
    Currency,
    Customer,
    DataUnit,
    Date,
    Draws,
    Method,
    NoAmount,
    ObservationEnd,
    ObservationStart,
    Quiet,
    Recalibrated,
    Returns,
    Seed,
    Strict,
    Timezone,
    Transactions,
)
from clvpredict.cli.program import JUDGING, app
from clvpredict.cli.session import opened

Models = Annotated[
    list[str],
    typer.Option("--model", help="Purchase model: bg/nbd, mbg/nbd or nbd; give it several times."),
]
OutFolder = Annotated[
    Path, typer.Option("--out", "-o", help="Folder for tables (CSV, JSON) and pictures (PNG).")
]
NoPlots = Annotated[bool, typer.Option("--no-plots", help="Draw no pictures.")]
_BOTH = ("bg/nbd", "mbg/nbd")


@app.command(rich_help_panel=JUDGING)
def evaluate(
    transactions: Transactions,
    calibration_end: Annotated[
        str,
        typer.Option(help="Last day that models are fitted on; later days are the holdout."),
    ],
    out: OutFolder,
    customer_id: Customer = "customer_id",
    date: Date = "date",
    amount: Amount = "amount",
    no_amount: NoAmount = False,
    observation_end: ObservationEnd = None,
    observation_start: ObservationStart = None,
    time_unit: DataUnit = "W",
    collapse: Collapse = "D",
    returns: Returns = "net",
    timezone: Timezone = "UTC",
    currency: Currency = None,
    strict: Strict = False,
    model: Models = list(_BOTH),  # noqa: B006  # typer's way; never changed
    method: Method = "mle",
    seed: Seed = 0,
    draws: Draws = 500,
    recalibration: Recalibrated = None,
    no_plots: NoPlots = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fit on the time up to a date, and hold predictions to what came after it."""
    from clvpredict.cli import evaluation, files, jobs

    with opened("evaluate", "", as_json, quiet) as session:
        for name in model:
            jobs.check_model(name, method)
        folder = evaluation.folder_for(out)
        with files.source_file(transactions) as path:
            split, history = evaluation.split(
                session,
                path,
                calibration_end=calibration_end,
                customer_id=customer_id,
                date=date,
                amount=None if no_amount else amount,
                observation_end=observation_end,
                observation_start=observation_start,
                time_unit=time_unit,
                collapse=collapse,
                returns=returns,
                timezone=timezone,
                currency=currency,
                strict=strict,
            )
        found = evaluation.evaluate(
            session,
            split,
            history,
            models=model,
            method=method,
            draws=draws,
            seed=seed,
            recalibration=recalibration,
        )
        evaluation.write(session, found, folder, pictures=not no_plots)


@app.command(rich_help_panel=JUDGING)
def backtest(
    transactions: Transactions,
    out: OutFolder,
    horizon: Annotated[
        list[str], typer.Option(help="How far ahead, such as 13W; give it several times.")
    ],
    every: Annotated[
        str | None, typer.Option(help="Cut dates so far apart, such as 4W, back from the end.")
    ] = None,
    cut_date: Annotated[
        list[str] | None, typer.Option(help="A cut date; give it several times.")
    ] = None,
    min_history: Annotated[
        str | None, typer.Option(help="Least time before the first cut date, such as 26W.")
    ] = None,
    customer_id: Customer = "customer_id",
    date: Date = "date",
    amount: Amount = "amount",
    no_amount: NoAmount = False,
    observation_end: ObservationEnd = None,
    observation_start: ObservationStart = None,
    time_unit: DataUnit = "W",
    collapse: Collapse = "D",
    returns: Returns = "net",
    timezone: Timezone = "UTC",
    model: Models = list(_BOTH),  # noqa: B006  # typer's way; never changed
    method: Method = "mle",
    seed: Seed = 0,
    draws: Draws = 200,
    recalibrate: Annotated[
        bool,
        typer.Option(
            "--recalibrate",
            help="Also score recalibrated forecasts, and write what predict --recalibration takes.",
        ),
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Compute every cell, also those of an earlier run.")
    ] = False,
    no_plots: NoPlots = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fit and score models at many cut dates, as if each had been today.

    A run that was stopped goes on where it was: finished cells are kept in the output folder.
    """
    from clvpredict.cli import evaluation, files, jobs

    with opened("backtest", "", as_json, quiet) as session:
        for name in model:
            jobs.check_model(name, method)
        folder = evaluation.folder_for(out)
        with files.source_file(transactions) as path:
            results = evaluation.backtest(
                session,
                path,
                models=model,
                method=method,
                spend=not no_amount,
                horizons=horizon,
                every=every,
                cut_dates=cut_date,
                min_history=min_history,
                recalibrate=recalibrate,
                draws=draws,
                seed=seed,
                folder=None if fresh else folder / "cells",
                customer_id=customer_id,
                date=date,
                amount=None if no_amount else amount,
                observation_end=observation_end,
                observation_start=observation_start,
                time_unit=time_unit,
                collapse=collapse,
                returns=returns,
                timezone=timezone,
            )
        evaluation.write_backtest(session, results, folder, recalibrate, pictures=not no_plots)
