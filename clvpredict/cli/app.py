"""The commands and their options."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import clvpredict
from clvpredict.cli.session import EXIT_CODES, Session, running

app = typer.Typer(
    name="clvpredict",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Customer lifetime value from transactions.",
    epilog=EXIT_CODES,
)

# --- options that commands share ---------------------------------------------------------

Transactions = Annotated[
    str,
    typer.Argument(
        metavar="TRANSACTIONS",
        help="CSV or Parquet file, a quoted glob or a folder of such, or - for standard input.",
    ),
]
Rfm = Annotated[
    str,
    typer.Argument(
        metavar="RFM",
        help="RFM summary, CSV or Parquet, as clvpredict summarize writes it; - is standard input.",
    ),
]
Customer = Annotated[str, typer.Option("--customer-id", help="Column of customer ids.")]
Date = Annotated[str, typer.Option(help="Column of dates or timestamps.")]
Amount = Annotated[str, typer.Option(help="Column of amounts.")]
NoAmount = Annotated[
    bool, typer.Option("--no-amount", help="Use no amounts: purchases only, no value.")
]
ObservationEnd = Annotated[
    str | None,
    typer.Option(help="Last day observed, such as 1997-09-30; default: the latest in the data."),
]
ObservationStart = Annotated[
    str | None, typer.Option(help="Leave out transactions before this day.")
]
DataUnit = Annotated[
    str, typer.Option("--time-unit", help="Unit to count time in: D, W, M, Y or such as 10D.")
]
FileUnit = Annotated[
    str | None,
    typer.Option("--time-unit", help="Unit of the summary, where the file does not say it."),
]
Collapse = Annotated[str, typer.Option(help="Purchases within one h, D or W count once.")]
Returns = Annotated[str, typer.Option(help="Negative amounts: net, drop or error.")]
Timezone = Annotated[str, typer.Option(help="Zone that dates with a zone are converted to.")]
Currency = Annotated[str | None, typer.Option(help="Label of the amounts, such as EUR.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Fail on rows that would otherwise be left out.")
]
StrictFit = Annotated[
    bool, typer.Option("--strict-fit", help="Fail if draws of the parameters cannot be trusted.")
]
Model = Annotated[str, typer.Option(help="Purchase model: bg/nbd, mbg/nbd, or nbd, a baseline.")]
Method = Annotated[str, typer.Option(help="How to fit: mle, map, laplace, nuts or auto.")]
Seed = Annotated[int, typer.Option(min=0, help="Equal seeds give equal draws.")]
Interval = Annotated[
    float | None,
    typer.Option(help="Level of credible and predictive intervals to add, such as 0.9."),
]
Draws = Annotated[int, typer.Option(min=2, help="Draws that intervals are made of.")]
Horizon = Annotated[
    str, typer.Option(help="How far ahead: 39W, 365D, 12M, a number of time units, or inf.")
]
DiscountRate = Annotated[float, typer.Option(help="A year, effective: 0.1 is 10 %.")]
Discounting = Annotated[str, typer.Option(help="continuous, monthly, none or lifetimes.")]
Margin = Annotated[str, typer.Option(help="Share of a purchase that is earned, or a column of it.")]
FallbackSpend = Annotated[
    float | None,
    typer.Option(help="Mean spend of customers for whom the spend model has none."),
]
AddNew = Annotated[
    bool, typer.Option("--add-new", help="Append a customer acquired today, without an id.")
]
ExcelSafe = Annotated[
    bool, typer.Option("--excel-safe", help="Make text that looks like a formula harmless.")
]
Out = Annotated[
    str, typer.Option("--out", "-o", help="CSV or Parquet file to write; - is standard output.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


# --- commands ----------------------------------------------------------------------------


@app.command()
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
    add_new: AddNew = False,
    excel_safe: ExcelSafe = False,
    out: Out = "predictions.csv",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """From transactions to predictions per customer: the main job in one go."""
    from clvpredict.cli import files, jobs, show

    with _session("run", out, as_json, quiet) as session:
        files.check_out(out, as_json)
        jobs.check_model(model, method)
        money = jobs.Money(discount_rate, discounting, margin, fallback_spend)
        ahead = jobs.Ahead(horizon, add_new, interval, draws, seed)
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


@app.command()
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

    with _session("summarize", out, as_json, quiet) as session:
        files.check_out(out, as_json)
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


@app.command()
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

    with _session("fit", "", as_json, quiet) as session:
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


@app.command()
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
    add_new: AddNew = False,
    excel_safe: ExcelSafe = False,
    out: Out = "predictions.csv",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """From a saved model and an RFM summary to predictions per customer."""
    from clvpredict.cli import files, jobs, show
    from clvpredict.store import load_model

    with _session("predict", out, as_json, quiet) as session:
        files.check_out(out, as_json)
        fitted = load_model(model)
        summary = files.read_summary(session, rfm)
        money = jobs.Money(discount_rate, discounting, margin, fallback_spend)
        ahead = jobs.Ahead(horizon, add_new, interval, draws, seed)
        table = jobs.predict(session, fitted, summary, ahead=ahead, money=money)
        show.predictions(session, session.facts["predictions"])
        files.write(session, table, out, excel_safe)


@app.command()
def info(
    path: Annotated[str, typer.Argument(help="Folder of a saved model, or a table.")],
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say what is in a saved model, an RFM summary or a table of predictions."""
    from clvpredict.cli import facts, show
    from clvpredict.estimators import PREDICTIONS_KEY
    from clvpredict.store import load_model, read_table

    with _session("info", "", as_json, quiet) as session:
        if Path(path).is_dir():
            model = load_model(path)
            session.facts["data"] = facts.of_fit(model)
            session.facts["models"] = facts.of_models(model)
            show.summary(session, session.facts["data"])
            show.models(session, session.facts["models"])
            return
        table = read_table(path)
        said: dict[str, Any] | None = table.attrs.get(PREDICTIONS_KEY)
        session.facts["columns"] = list(table.columns)
        session.facts["data"] = facts.of_summary(table)
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


def _session(
    command: str, out: str, as_json: bool, quiet: bool
) -> contextlib.AbstractContextManager[Session]:
    session = Session(command, as_json=as_json, quiet=quiet, data_to_stdout=out == "-")
    return running(session)
