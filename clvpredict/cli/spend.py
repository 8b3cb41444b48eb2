"""The command that splits a budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from clvpredict.cli.options import AsJson, ExcelSafe, Out, Quiet, Seed
from clvpredict.cli.program import DECIDING, app
from clvpredict.cli.session import opened

_PARAMETER = "A number, a column, or MEAN:SE"


@app.command(rich_help_panel=DECIDING)
def budget(
    segments: Annotated[
        str,
        typer.Argument(
            metavar="SEGMENTS",
            help="What clvpredict segments wrote, or a table with a row per segment (or channel) "
            "and a column segment.",
        ),
    ],
    budget: Annotated[float, typer.Option(help="Most that may be spent.")],
    response: Annotated[
        str,
        typer.Option(
            help="What spend brings. saturating: --ceiling, --half; power: --scale, --exponent; "
            "elastic: --elasticity, --spend."
        ),
    ],
    ceiling: Annotated[
        str | None,
        typer.Option(help=f"saturating: gain that no spend exceeds (share of --of). {_PARAMETER}."),
    ] = None,
    half: Annotated[
        str | None,
        typer.Option(help=f"saturating: spend that brings half the ceiling. {_PARAMETER}."),
    ] = None,
    form: Annotated[
        str | None, typer.Option(help="saturating: hyperbolic (default) or exponential.")
    ] = None,
    scale: Annotated[
        str | None, typer.Option(help=f"power: gain of the first unit. {_PARAMETER}.")
    ] = None,
    exponent: Annotated[
        str | None,
        typer.Option(help=f"power: per cent more gain by 1 % more spend, 0 to 1. {_PARAMETER}."),
    ] = None,
    elasticity: Annotated[
        str | None,
        typer.Option(help=f"elastic: per cent more value by 1 % more spend. {_PARAMETER}."),
    ] = None,
    spend: Annotated[
        str | None,
        typer.Option(help=f"elastic: what is spent without the budget. {_PARAMETER}."),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(help="saturating, elastic: what grows, such as the column clv_total."),
    ] = None,
    per_customer: Annotated[
        bool,
        typer.Option("--per-customer", help="saturating, power: the curve is of one customer."),
    ] = False,
    cost_per_contact: Annotated[
        str | None,
        typer.Option(help="A number, a column, or loyal=2,lost=0.5: bounds spend by customers."),
    ] = None,
    minimum: Annotated[str | None, typer.Option(help="Least spend of segments, likewise.")] = None,
    maximum: Annotated[str | None, typer.Option(help="Most spend of segments, likewise.")] = None,
    max_contacts: Annotated[
        float | None, typer.Option(help="In all segments together; needs a cost per contact.")
    ] = None,
    contacts_per_customer: Annotated[float, typer.Option(help="At most.")] = 1.0,
    objective: Annotated[
        str, typer.Option(help="mean, or lower_quantile: the gain when things go badly.")
    ] = "mean",
    quantile: Annotated[
        float, typer.Option(help="Of lower_quantile: the worst share of draws that is looked at.")
    ] = 0.1,
    keep_unspent: Annotated[
        bool,
        typer.Option("--keep-unspent", help="Spend nothing that brings less than it costs."),
    ] = False,
    interval: Annotated[float, typer.Option(help="Level of the gains' intervals.")] = 0.9,
    draws: Annotated[
        int, typer.Option(min=100, help="Draws of uncertain parameters (MEAN:SE).")
    ] = 2000,
    seed: Seed = 0,
    frontier: Annotated[
        str | None, typer.Option(help="Also write here what each of --budgets brings.")
    ] = None,
    budgets: Annotated[str | None, typer.Option(help="Of --frontier: 1000,5000,20000.")] = None,
    picture: Annotated[str | None, typer.Option(help="PNG file to draw the split in.")] = None,
    frontier_picture: Annotated[
        str | None, typer.Option(help="PNG file to draw what --budgets bring in.")
    ] = None,
    excel_safe: ExcelSafe = False,
    out: Out = "allocation.csv",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Split a budget over segments or channels so that it brings the most."""
    from clvpredict.cli import files, pictures, spending

    with opened("budget", out, as_json, quiet) as session:
        files.check_out(out, as_json, segments)
        files.check_beside(
            out, [segments], frontier=frontier, picture=picture, frontier_picture=frontier_picture
        )
        curve = spending.response(
            response,
            per_customer,
            ceiling=ceiling,
            half=half,
            form=form,
            scale=scale,
            exponent=exponent,
            elasticity=elasticity,
            spend=spend,
            of=of,
        )
        amounts = spending.check_frontier(frontier or frontier_picture, budgets)
        options: dict[str, Any] = {
            "response": curve,
            "objective": objective,
            "quantile": quantile,
            "spend_all": not keep_unspent,
            "max_contacts": max_contacts,
            "contacts_per_customer": contacts_per_customer,
            "interval": interval,
            "draws": draws,
            "seed": seed,
        }
        table = spending.read_segments(
            session,
            segments,
            cost_per_contact=cost_per_contact,
            minimum=minimum,
            maximum=maximum,
        )
        plan = spending.split(session, table, budget, **options)
        if picture is not None:
            drawn, size = pictures.of_allocation(plan.table)
            pictures.save_one([drawn], Path(picture), size)
            files.say_beside(session, "picture", picture)
        if amounts:
            found = spending.frontier(session, table, amounts, **options)
            if frontier is not None:
                files.write_beside(session, "frontier", found, frontier, excel_safe)
            if frontier_picture is not None:
                pictures.save_one([pictures.of_frontier(found)], Path(frontier_picture))
                files.say_beside(session, "frontier_picture", frontier_picture)
        files.write(session, plan.table, out, excel_safe)
