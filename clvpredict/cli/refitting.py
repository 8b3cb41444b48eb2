"""The commands of scheduled jobs: written, checked and run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clvpredict.cli.options import AsJson, Quiet
from clvpredict.cli.program import SCHEDULED, app
from clvpredict.cli.session import opened

CONFIG = "clvpredict.toml"
ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="Configuration, as clvpredict init writes it.")
]
OfConfig = Annotated[
    Path, typer.Option("--config", "-c", help="Configuration of the job whose store it is.")
]
Wait = Annotated[
    float, typer.Option(min=0, help="Seconds to wait for another run in the same store.")
]
RunOrVersion = "A run or a version (its id, or how it begins), or latest."
OneRun = "A run, or the version that it made (an id, or how it begins); latest is the last started."


@app.command(rich_help_panel=SCHEDULED)
def init(
    config: ConfigFile = Path(CONFIG),
    name: Annotated[str, typer.Option(help="What the job is called in logs and records.")] = "shop",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a configuration with comments, to fill in."""
    from clvpredict.atomic import new_file
    from clvpredict.errors import OptionError
    from clvpredict.refit.template import template

    with opened("init", "", as_json, quiet) as session:
        if config.exists():
            raise OptionError(f"'{config}' is there already and is not replaced; name another.")
        if not config.absolute().parent.is_dir():
            raise OptionError(
                f"the folder '{config.parent}' does not exist. Make it: mkdir -p {config.parent}"
            )
        with new_file(config) as temporary:
            temporary.write_text(template(name), encoding="utf-8")
        session.facts["config"] = str(config)
        session.say(f"Wrote {config}. Fill it in, then: clvpredict check {config}", style="bold")


@app.command(rich_help_panel=SCHEDULED)
def check(config: ConfigFile = Path(CONFIG), as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Say what is wrong with a configuration, or what it does."""
    from clvpredict.cli import show_runs
    from clvpredict.refit import load_config

    with opened("check", "", as_json, quiet) as session:
        show_runs.plan(session, load_config(config))


@app.command(rich_help_panel=SCHEDULED)
def refit(
    config: ConfigFile = Path(CONFIG),
    as_of: Annotated[
        str | None,
        typer.Option(help="Do as if this had been the last day: nothing later is used."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything but publish.")] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Publish although checks or the gate say no."),
    ] = False,
    wait: Wait = 0.0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Read, check, fit, judge, predict and publish, as the configuration says.

    Exit codes besides the usual ones: 4 no model is good enough, and none is published that could
    predict; 5 the new models were held back and the published one predicted; 6 another run holds
    the store; 7 the source could not be reached; 8 the predictions could not be written
    everywhere. What was published before stays readable.
    """
    from clvpredict.cli import show_runs
    from clvpredict.refit import load_config
    from clvpredict.refit import refit as run

    with opened("refit", "", as_json, quiet) as session, show_runs.ended_by_signal():
        job = load_config(config)
        with show_runs.told(session, job.log.format):
            record = run(job, as_of=as_of, force=force, dry_run=dry_run, wait=wait)
        session.facts["run"] = record.model_dump(mode="json")
        show_runs.outcome(session, record)
    if record.exit_code:
        raise typer.Exit(record.exit_code)


@app.command(rich_help_panel=SCHEDULED)
def runs(
    config: OfConfig = Path(CONFIG),
    last: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """List the runs of a job: how they ended, and what they published."""
    from clvpredict.cli import show_runs

    with opened("runs", "", as_json, quiet) as session:
        store = show_runs.store_of(config)
        latest = store.latest()
        found = store.records()
        session.facts["latest"] = None if latest is None else latest.model_dump()
        session.facts["runs"] = [show_runs.line(record) for record in found[:last]]
        show_runs.runs(session, found, last, latest)


@app.command(rich_help_panel=SCHEDULED)
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help=OneRun)] = "latest",
    config: OfConfig = Path(CONFIG),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show one run: its input, checks, models, gate, drift and outputs."""
    from clvpredict.cli import show_runs
    from clvpredict.refit.manage import run_of

    with opened("show", "", as_json, quiet) as session:
        record = run_of(show_runs.store_of(config), run)
        session.facts["run"] = record.model_dump(mode="json")
        show_runs.run(session, record)


@app.command(rich_help_panel=SCHEDULED)
def rollback(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="Default: what was published before.")
    ] = None,
    config: OfConfig = Path(CONFIG),
    wait: Wait = 0.0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Publish an earlier version again, and withdraw the one that is published."""
    from clvpredict.cli import show_runs
    from clvpredict.refit import load_config
    from clvpredict.refit import rollback as go_back

    with opened("rollback", "", as_json, quiet) as session:
        record = go_back(load_config(config), run, wait=wait)
        session.facts["run"] = record.model_dump(mode="json")
        show_runs.outcome(session, record)


@app.command(rich_help_panel=SCHEDULED)
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help=RunOrVersion)],
    b: Annotated[str, typer.Argument(metavar="B", help=RunOrVersion)] = "latest",
    top: Annotated[
        int, typer.Option(min=0, help="How many of the customers that moved most.")
    ] = 20,
    config: OfConfig = Path(CONFIG),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare two runs: parameters, metrics, totals, and the customers that moved most."""
    from clvpredict.cli import show_runs
    from clvpredict.refit.difference import difference

    with opened("diff", "", as_json, quiet) as session:
        found = difference(show_runs.store_of(config), a, b, customers=top)
        session.facts["difference"] = found.as_json()
        show_runs.difference(session, found)
