"""The commands and their options."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

import clvpredict
from clvpredict.cli.options import (
    AddNew,
    Amount,
    AsJson,
    Collapse,
    CostPeriod,
    CostToServe,
    Currency,
    Customer,
    DataUnit,
    Date,
    Discounting,
    DiscountRate,
    Draws,
    ExcelSafe,
    FallbackSpend,
    FileUnit,
    Horizon,
    Interval,
    Margin,
    MarketingCost,
    Method,
    Model,
    NoAmount,
    ObservationEnd,
    ObservationStart,
    Out,
    Quiet,
    Recalibrated,
    RetentionCost,
    ReturnRate,
    Returns,
    Rfm,
    Seed,
    ServiceCost,
    Strict,
    StrictFit,
    Timezone,
    Transactions,
)
from clvpredict.cli.program import LOOKING, PREDICTING, app
from clvpredict.cli.session import opened

# --- commands ----------------------------------------------------------------------------


@app.command(rich_help_panel=PREDICTING)
def run(
    transactions: Transactions,
    customer_id: Customer = "customer_id",
    date: Date = "date",
    amount: Amount = "amount",
    no_amount: NoAmount = False,
    observation_end: ObservationEnd = None,
    observation_start: ObservationStart = None,
    time_unit: DataUnit = "D",
    collapse: Collapse = "D",
    returns: Returns = "net",
    timezone: Timezone = "UTC",
    currency: Currency = None,
    strict: Strict = False,
    model: Model = "bg/nbd",
    method: Method = "mle",
    strict_fit: StrictFit = False,
    seed: Seed = 0,
    interval: Interval = None,
    draws: Draws = 500,
    horizon: Horizon = "52W",
    discount_rate: DiscountRate = 0.1,
    discounting: Discounting = "continuous",
    margin: Margin = "1.0",
    fallback_spend: FallbackSpend = None,
    service_cost: ServiceCost = None,
    cost_to_serve: CostToServe = None,
    marketing_cost: MarketingCost = None,
    retention_cost: RetentionCost = None,
    return_rate: ReturnRate = None,
    cost_period: CostPeriod = "M",
    recalibration: Recalibrated = None,
    add_new: AddNew = False,
    excel_safe: ExcelSafe = False,
    out: Out = "predictions.csv",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """From transactions to predictions per customer: the main job in one go."""
    from clvpredict.cli import files, jobs, show

    with opened("run", out, as_json, quiet) as session:
        files.check_out(out, as_json, transactions)
        jobs.check_model(model, method)
        costs = jobs.costs(
            cost_period,
            service_cost=service_cost,
            cost_to_serve=cost_to_serve,
            marketing_cost=marketing_cost,
            retention_cost=retention_cost,
            return_rate=return_rate,
        )
        money = jobs.Money(discount_rate, discounting, margin, fallback_spend, costs)
        ahead = jobs.Ahead(horizon, add_new, interval, draws, seed, recalibration)
        jobs.check_prediction(ahead, money, spend=not no_amount)
        with files.source_file(transactions) as path:
            rfm = jobs.summarise(
                session,
                path,
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
        fitted = jobs.fit(
            session,
            rfm,
            model=model,
            method=method,
            spend=not no_amount,
            seed=seed,
            strict=strict_fit,
        )
        table = jobs.predict(session, fitted, rfm, ahead=ahead, money=money)
        show.summary(session, session.facts["data"])
        show.models(session, session.facts["models"])
        show.predictions(session, session.facts["predictions"], currency)
        files.write(session, table, out, excel_safe)


@app.command(rich_help_panel=PREDICTING)
def summarize(
    transactions: Transactions,
    customer_id: Customer = "customer_id",
    date: Date = "date",
    amount: Amount = "amount",
    no_amount: NoAmount = False,
    observation_end: ObservationEnd = None,
    observation_start: ObservationStart = None,
    time_unit: DataUnit = "D",
    collapse: Collapse = "D",
    returns: Returns = "net",
    timezone: Timezone = "UTC",
    currency: Currency = None,
    strict: Strict = False,
    excel_safe: ExcelSafe = False,
    out: Out = "rfm.csv",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """From transactions to the RFM summary: one row per customer."""
    from clvpredict.cli import files, jobs, show

    with opened("summarize", out, as_json, quiet) as session:
        files.check_out(out, as_json, transactions)
        with files.source_file(transactions) as path:
            rfm = jobs.summarise(
                session,
                path,
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
        show.summary(session, session.facts["data"])
        files.write(session, rfm, out, excel_safe)


@app.command(rich_help_panel=PREDICTING)
def fit(
    rfm: Rfm,
    out: Annotated[str, typer.Option("--out", "-o", help="Folder to save the model in.")],
    time_unit: FileUnit = None,
    model: Model = "bg/nbd",
    method: Method = "mle",
    strict_fit: StrictFit = False,
    seed: Seed = 0,
    no_amount: NoAmount = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """From the RFM summary to a fitted model, saved as a folder.

    The spend model is fitted too, if the summary has a column monetary_value.
    """
    from clvpredict.cli import files, jobs, show
    from clvpredict.store import save_model
    from clvpredict.store.models import check_model_target

    with opened("fit", "", as_json, quiet) as session:
        check_model_target(Path(out))
        jobs.check_model(model, method)
        summary = files.read_summary(session, rfm)
        spend = "monetary_value" in summary.columns and not no_amount
        fitted = jobs.fit(
            session,
            summary,
            model=model,
            method=method,
            spend=spend,
            time_unit=time_unit,
            seed=seed,
            strict=strict_fit,
        )
        show.models(session, session.facts["models"])
        save_model(fitted, out)
        session.facts["out"] = out
        session.say(f"Saved the model in {out}", style="bold")


@app.command(rich_help_panel=PREDICTING)
def predict(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Folder that clvpredict fit saved.")
    ],
    rfm: Rfm,
    interval: Interval = None,
    draws: Draws = 500,
    seed: Seed = 0,
    horizon: Horizon = "52W",
    discount_rate: DiscountRate = 0.1,
    discounting: Discounting = "continuous",
    margin: Margin = "1.0",
    fallback_spend: FallbackSpend = None,
    service_cost: ServiceCost = None,
    cost_to_serve: CostToServe = None,
    marketing_cost: MarketingCost = None,
    retention_cost: RetentionCost = None,
    return_rate: ReturnRate = None,
    cost_period: CostPeriod = "M",
    recalibration: Recalibrated = None,
    add_new: AddNew = False,
    excel_safe: ExcelSafe = False,
    out: Out = "predictions.csv",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """From a saved model and an RFM summary to predictions per customer."""
    from clvpredict.cli import files, jobs, show
    from clvpredict.store import load_model

    with opened("predict", out, as_json, quiet) as session:
        files.check_out(out, as_json, rfm)
        fitted = load_model(model)
        summary = files.read_summary(session, rfm)
        costs = jobs.costs(
            cost_period,
            service_cost=service_cost,
            cost_to_serve=cost_to_serve,
            marketing_cost=marketing_cost,
            retention_cost=retention_cost,
            return_rate=return_rate,
        )
        money = jobs.Money(discount_rate, discounting, margin, fallback_spend, costs)
        ahead = jobs.Ahead(horizon, add_new, interval, draws, seed, recalibration)
        table = jobs.predict(session, fitted, summary, ahead=ahead, money=money)
        show.predictions(session, session.facts["predictions"])
        files.write(session, table, out, excel_safe)


@app.command(rich_help_panel=LOOKING)
def info(
    path: Annotated[str, typer.Argument(help="Folder of a saved model, or a table.")],
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say what is in a saved model, an RFM summary or a table of predictions."""
    from clvpredict.cli import facts, show
    from clvpredict.estimators.facts import model_facts
    from clvpredict.rfm import PREDICTIONS_KEY
    from clvpredict.store import load_model, read_table

    with opened("info", "", as_json, quiet) as session:
        if Path(path).is_dir():
            model = load_model(path)
            session.facts["data"] = facts.of_fit(model)
            session.facts["models"] = model_facts(model)
            show.summary(session, session.facts["data"])
            show.models(session, session.facts["models"])
            return
        table = read_table(path)
        said: dict[str, Any] | None = table.attrs.get(PREDICTIONS_KEY)
        session.facts["columns"] = list(table.columns)
        session.facts["data"] = facts.of_summary(table)
        of_customers = {"customer_id", "frequency"} & set(table.columns)
        if said is None and not of_customers:  # segments, cohorts, a budget
            session.facts["rows"], session.facts["about"] = len(table), table.attrs
            show.about(session, table)
            return
        if said is not None:
            session.facts["predictions"] = said
            session.facts["data"]["provenance"] = said.get("data")
            session.facts["data"]["time_unit"] = said.get("time_unit")
        show.summary(session, session.facts["data"])
        if said is not None:
            show.metadata(session, said)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clvpredict {clvpredict.__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and end.",
        ),
    ] = False,
) -> None:
    """Customer lifetime value from transactions."""


def main() -> None:
    """Run the program: the entry point."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal of another encoding shows a "?" rather than end the program.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # not on all streams
    app(prog_name="clvpredict")
