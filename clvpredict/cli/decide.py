"""The commands that decide: segments, cohorts, scenarios, budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from clvpredict.cli.options import (
    Amount,
    AsJson,
    Collapse,
    Currency,
    Customer,
    Date,
    Draws,
    ExcelSafe,
    NoAmount,
    ObservationEnd,
    ObservationStart,
    Out,
    Quiet,
    Returns,
    Seed,
    Strict,
    Timezone,
    Transactions,
)
from clvpredict.cli.program import DECIDING, app
from clvpredict.cli.session import opened

ModelFolder = Annotated[
    str, typer.Argument(metavar="MODEL", help="Folder of the model that made the predictions.")
]
Predictions = Annotated[
    str,
    typer.Argument(
        metavar="PREDICTIONS",
        help="What clvpredict predict or run wrote: Parquet, or CSV with its .meta.json beside it.",
    ),
]
Level = Annotated[float, typer.Option("--interval", help="Level of intervals.")]
# None: those that the predictions were made with.
PredictedDraws = Annotated[
    int | None,
    typer.Option(
        "--draws", min=2, help="Draws of intervals; default: the predictions' own, or 500."
    ),
]
PredictedSeed = Annotated[
    int | None,
    typer.Option("--seed", min=0, help="Equal seeds give equal draws; default: as predicted."),
]
NoPredictive = Annotated[
    bool,
    typer.Option("--no-predictive", help="Expectations alone, not what may come: quicker."),
]
Picture = Annotated[str | None, typer.Option(help="PNG file to draw.")]
Conditions = Annotated[
    list[str] | None,
    typer.Option(
        "--segment",
        metavar="COLUMN=VALUE",
        help="Who changes, such as segment='At risk'; give it several times. Default: everybody.",
    ),
]
_RELATIVE = "relative change: -0.05 is 5 % less."


@app.command(rich_help_panel=DECIDING)
def segments(
    model: ModelFolder,
    predictions: Predictions,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="value, lifecycle, rfm, or a column (several: combinations). Default: value."
        ),
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Option of the rule, such as shares=0.1,0.4,0.5 or new_within=26W; several times.",
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(help="Take the rule, with its thresholds, of this earlier output."),
    ] = None,
    missing: Annotated[
        str | None, typer.Option(help="Segment of customers for whom the rule has no value.")
    ] = None,
    name: Annotated[str, typer.Option(help="Column of the segments in --customers.")] = "segment",
    signals: Annotated[
        str | None,
        typer.Option(help="CSV or Parquet of further columns by customer_id, to join first."),
    ] = None,
    aggregate: Annotated[
        str | None,
        typer.Option(help="How several rows of --signals become one: mean, sum, last, count, ..."),
    ] = None,
    cac: Annotated[
        str | None,
        typer.Option(help="Cost of acquiring a customer: a number, a column, or loyal=9,lost=5."),
    ] = None,
    marketing_cost: Annotated[
        str | None, typer.Option(help="Spent per customer, likewise; it is shown only.")
    ] = None,
    cross_sell: Annotated[
        str | None, typer.Option(help="Column: bought from a second category.")
    ] = None,
    up_sell: Annotated[str | None, typer.Option(help="Column: bought a dearer version.")] = None,
    interval: Level = 0.9,
    no_interval: Annotated[
        bool, typer.Option("--no-interval", help="No intervals: quicker, for it needs no draws.")
    ] = False,
    no_predictive: NoPredictive = False,
    draws: PredictedDraws = None,
    seed: PredictedSeed = None,
    compare: Annotated[
        str | None, typer.Option(help="Also compare segments, and write that here.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="Compare with this segment, or with rest; default: all pairs."),
    ] = None,
    customers: Annotated[
        str | None, typer.Option(help="Also write the predictions with their segments here.")
    ] = None,
    markdown: Annotated[
        str | None, typer.Option(help="Also write the table as Markdown here (.md).")
    ] = None,
    html: Annotated[
        str | None, typer.Option(help="Also write the table as HTML here (.html).")
    ] = None,
    picture: Picture = None,
    excel_safe: ExcelSafe = False,
    out: Out = "segments.csv",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Put customers into segments, and say what each segment is worth."""
    from clvpredict.cli import deciding, files, pictures, typed
    from clvpredict.store import load_model

    with opened("segments", out, as_json, quiet) as session:
        read = (predictions, like, signals)
        files.check_out(out, as_json, *read)
        files.check_beside(
            out,
            read,
            compare=compare,
            customers=customers,
            markdown=markdown,
            html=html,
            picture=picture,
        )
        costs = {"cac": cac, "marketing_cost": marketing_cost}
        options: dict[str, Any] = {
            name: typed.amounts(f"--{name.replace('_', '-')}", text)
            for name, text in costs.items()
            if text is not None
        }
        options |= {"cross_sell": cross_sell, "up_sell": up_sell}
        how = deciding.Sorting(by or (), rule or (), like, name, missing)
        drawing = {k: v for k, v in {"draws": draws, "seed": seed}.items() if v is not None}
        fitted = load_model(model)
        table = deciding.read_predictions(session, predictions)
        if signals is not None:
            table, numeric = deciding.join(session, table, signals, aggregate)
            used = {*(by or ()), *(v for v in options.values() if isinstance(v, str))}
            options["signals"] = [column for column in numeric if column not in used]
        table = deciding.sort(session, table, how)
        options["interval"] = None if no_interval else interval
        options["predictive"] = not no_predictive
        found = deciding.tabulate(session, fitted, table, name, options, drawing)
        if compare is not None:
            chosen = {"against": against, "interval": interval, **drawing}
            pairs = deciding.compare(session, fitted, table, name, **chosen)
            files.write_beside(session, "comparison", pairs, compare, excel_safe)
        if customers is not None:
            files.write_beside(session, "customers", table, customers, excel_safe)
        deciding.publish(session, found, markdown, html)
        if picture is not None:
            drawn, size = pictures.of_segments(found)
            pictures.save_one([drawn], Path(picture), size)
            files.say_beside(session, "picture", picture)
        files.write(session, found, out, excel_safe)


@app.command(rich_help_panel=DECIDING)
def cohorts(
    transactions: Transactions,
    by: Annotated[str, typer.Option(help="Calendar periods: D, W, M, Q or Y.")] = "M",
    metric: Annotated[
        str,
        typer.Option(
            help="What is shown and drawn: retention, orders_per_customer, revenue_per_customer, "
            "cumulative_margin, net_of_cac, active, ..."
        ),
    ] = "retention",
    margin: Annotated[
        str, typer.Option(help="Share of amounts that is earned; or by channel: email=0.3,web=0.2.")
    ] = "1.0",
    cac: Annotated[
        str | None,
        typer.Option(help="Cost of acquiring a customer; or by channel or cohort: 1997-01=20,..."),
    ] = None,
    channel: Annotated[
        str | None, typer.Option(help="Column of the transactions: cohorts by channel, too.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Folder of a model of these transactions: completes young cohorts."),
    ] = None,
    max_age: Annotated[int | None, typer.Option(min=0, help="The last age, in periods.")] = None,
    interval: Level = 0.9,
    draws: Draws = 500,
    seed: Seed = 0,
    customer_id: Customer = "customer_id",
    date: Date = "date",
    amount: Amount = "amount",
    no_amount: NoAmount = False,
    observation_end: ObservationEnd = None,
    observation_start: ObservationStart = None,
    collapse: Collapse = "D",
    returns: Returns = "net",
    timezone: Timezone = "UTC",
    currency: Currency = None,
    strict: Strict = False,
    wide: Annotated[
        bool,
        typer.Option(
            "--wide", help="Write a column per age of --metric, not a row per age of everything."
        ),
    ] = False,
    payback: Annotated[
        str | None, typer.Option(help="Also write here when --cac is paid back.")
    ] = None,
    picture: Picture = None,
    payback_picture: Annotated[
        str | None, typer.Option(help="PNG file to draw the payback in.")
    ] = None,
    excel_safe: ExcelSafe = False,
    out: Out = "cohorts.csv",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Follow customers by when they came: who comes back, and what they bring."""
    from clvpredict.cli import deciding, files, pictures, typed
    from clvpredict.errors import OptionError
    from clvpredict.store import load_model

    with opened("cohorts", out, as_json, quiet) as session:
        files.check_out(out, as_json, transactions)
        files.check_beside(
            out, [transactions], payback=payback, picture=picture, payback_picture=payback_picture
        )
        deciding.check_metric(metric)
        pays = payback is not None or payback_picture is not None
        if pays and cac is None:
            raise OptionError("--payback needs --cac: what did a customer cost? Such as --cac 25")
        options = {
            "by": by,
            "margin": typed.labelled_amounts("--margin", margin),
            "channel": channel,
            "model": None if model is None else load_model(model),
            "max_age": max_age,
            "interval": interval,
            "draws": draws,
            "seed": seed,
            "customer_id": customer_id,
            "date": date,
            "amount": None if no_amount else amount,
            "observation_end": observation_end,
            "observation_start": observation_start,
            "collapse": collapse,
            "returns": returns,
            "timezone": timezone,
            "currency": currency,
            "strict": strict,
        }
        paid = None if cac is None else typed.labelled_amounts("--cac", cac)
        with files.source_file(transactions) as path:
            table, back = deciding.cohorts(
                session, path, metric=metric, pay_back=pays, options=options, cac=paid
            )
        if back is not None and payback is not None:
            files.write_beside(session, "payback", back, payback, excel_safe)
        if picture is not None:
            drawn, size = pictures.of_cohorts(table, metric)
            pictures.save_one(drawn, Path(picture), size)
            files.say_beside(session, "picture", picture)
        if back is not None and payback_picture is not None:
            pictures.save_one([pictures.of_payback(back)], Path(payback_picture))
            files.say_beside(session, "payback_picture", payback_picture)
        files.write(session, deciding.wide(table, metric) if wide else table, out, excel_safe)


@app.command(rich_help_panel=DECIDING)
def scenario(
    model: ModelFolder,
    predictions: Predictions,
    churn: Annotated[float, typer.Option(help=f"Of the dropout probability, a {_RELATIVE}")] = 0.0,
    frequency: Annotated[float, typer.Option(help=f"Of the purchase rate, a {_RELATIVE}")] = 0.0,
    order_value: Annotated[
        float, typer.Option(help=f"Of the value of purchases, a {_RELATIVE}")
    ] = 0.0,
    margin: Annotated[float, typer.Option(help=f"Of the margin, a {_RELATIVE}")] = 0.0,
    discount_rate: Annotated[
        float, typer.Option(help=f"Of the discount rate, a {_RELATIVE}")
    ] = 0.0,
    segment: Conditions = None,
    by: Annotated[str | None, typer.Option(help="Column: rows for each value of it, too.")] = None,
    tornado: Annotated[
        float | None,
        typer.Option(help="Instead: change one thing at a time, down and up by so much (0.1)."),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(help="Of --tornado: clv, net_clv, expected_purchases, value, ..."),
    ] = None,
    interval: Level = 0.9,
    no_predictive: NoPredictive = False,
    draws: PredictedDraws = None,
    seed: PredictedSeed = None,
    picture: Annotated[str | None, typer.Option(help="PNG file to draw --tornado in.")] = None,
    excel_safe: ExcelSafe = False,
    out: Out = "scenario.csv",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Ask what if customers changed: less churn, more purchases, larger orders."""
    from clvpredict.cli import deciding, files, pictures
    from clvpredict.store import load_model

    with opened("scenario", out, as_json, quiet) as session:
        files.check_out(out, as_json, predictions)
        files.check_beside(out, [predictions], picture=picture)
        sizes = {
            "churn": churn,
            "frequency": frequency,
            "order_value": order_value,
            "margin": margin,
            "discount_rate": discount_rate,
        }
        changes = {name: size for name, size in sizes.items() if size != 0}
        deciding.check_scenario(changes, tornado, by=by, of=of, picture=picture)
        drawing = {k: v for k, v in {"draws": draws, "seed": seed}.items() if v is not None}
        options: dict[str, Any] = {"interval": interval, "terms": drawing}
        fitted = load_model(model)
        table = deciding.read_predictions(session, predictions)
        chosen = segment or ()
        if tornado is None:
            found = deciding.what_if(
                session,
                fitted,
                table,
                changes,
                chosen,
                by=by,
                predictive=not no_predictive,
                **options,
            )
        else:
            found = deciding.tornado(session, fitted, table, tornado, chosen, of=of, **options)
        if picture is not None:
            drawn, size = pictures.of_tornado(found)
            pictures.save_one([drawn], Path(picture), size)
            files.say_beside(session, "picture", picture)
        files.write(session, found, out, excel_safe)
