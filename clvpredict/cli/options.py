"""Options that commands share."""

from __future__ import annotations

from typing import Annotated

import typer

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
ServiceCost = Annotated[
    str | None, typer.Option(help="Cost of each purchase (postage, fees), or a column of it.")
]
CostToServe = Annotated[
    str | None,
    typer.Option(help="Cost of a customer per period while alive, or a column of it."),
]
MarketingCost = Annotated[
    str | None,
    typer.Option(help="Spent on a customer per period, alive or not, or a column of it."),
]
RetentionCost = Annotated[
    str | None, typer.Option(help="Spent on a customer once, now, or a column of it.")
]
ReturnRate = Annotated[
    str | None,
    typer.Option(
        help="Share of a purchase's value that comes back (unless the transactions have returns), "
        "or a column of it."
    ),
]
CostPeriod = Annotated[
    str,
    typer.Option(help="What --cost-to-serve and --marketing-cost are per: D, W, M or Y."),
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
Recalibrated = Annotated[
    str | None,
    typer.Option(
        "--recalibration", help="Correct predictions by this file, from backtest --recalibrate."
    ),
]
