"""Scheduled runs on the terminal: as they go on, and afterwards."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from clvpredict.cli import show
from clvpredict.cli.session import Session

if TYPE_CHECKING:
    from clvpredict.refit import Config, RunRecord, Store
    from clvpredict.refit.difference import Difference
    from clvpredict.refit.published import Latest

_KEPT = ("run_id", "status", "exit_code", "as_of", "started", "ended", "version", "champion")
_METRICS = {
    "crps": "CRPS",
    "bias_percent": "bias, %",
    "pit_ks": "PIT\ndistance",
    "value_crps": "value\nCRPS",
    "value_bias_percent": "value\nbias, %",
}
# Of a fingerprint, which is compared and not read.
_DIGITS = 12
_ENDS = {
    "published": "Published version {version}.",
    "unchanged": "Nothing has changed: version {version} stays.",
    "held back": "Held back: the published model predicted, as version {version}.",
    "dry run": "A dry run: version {version} is in the store, and nothing was published.",
    "rebuilt": "Rebuilt as version {version}, and not published.",
    "rolled back": "Went back to version {version}.",
}


def store_of(config: Path) -> Store:
    """The store of a job."""
    from clvpredict.refit import Store, load_config

    job = load_config(config)
    return Store.at(job.resolve(job.job.store))


# --- a run as it goes on ------------------------------------------------------------------


@contextlib.contextmanager
def told(session: Session, form: str) -> Iterator[None]:
    """Tell the events of a run: in words, or as one JSON object a line."""
    from clvpredict.refit.steps import listened

    handler: logging.Handler = _Words(session)
    if form == "json":
        silent = session.console.quiet
        handler = logging.NullHandler() if silent else logging.StreamHandler(sys.stdout)
        session.console.quiet = True
    with listened(handler, logging.INFO if form == "json" else logging.DEBUG):
        yield


class _Words(logging.Handler):
    """Says events on the console."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def emit(self, record: logging.LogRecord) -> None:
        """Say one event."""
        event: dict[str, Any] = getattr(record, "event", {})
        match event.get("event"):
            case "begin":
                self._session.say(f"{event['step']} ...")
            case "done":
                says = event.get("says", "done")
                self._session.say(f"  {says} ({event['seconds']:.1f} s)", style="dim")
            case "note" if record.levelno >= logging.WARNING:
                self._session.receive(event["says"], _NAMED.get(event["category"], UserWarning))
            case "note":
                self._session.say(f"  Note: {event['says']}", style="yellow")


def _warnings_by_name() -> dict[str, type[Warning]]:
    from clvpredict import errors

    return {n: c for n, c in vars(errors).items() if n.endswith(("Warning", "Notice"))}


_NAMED = _warnings_by_name()


class EndedBySignal(SystemExit):
    """A run that was told to end."""

    def __str__(self) -> str:
        """Say by what, for the record."""
        return f"the run was told to end ({signal.Signals(int(self.code or 0) - 128).name})"


@contextlib.contextmanager
def ended_by_signal() -> Iterator[None]:
    """Let a run that is told to end (systemd, kill) end as by Ctrl-C: recorded and cleaned up."""

    def end(number: int, frame: object) -> None:
        raise EndedBySignal(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def outcome(session: Session, record: RunRecord) -> None:
    """How a run has ended."""
    says = str(record.facts.get("says") or "")
    if record.gate is not None and record.gate.get("scoreboard"):
        _scores(session, record)
    session.say(_ENDS.get(record.status, record.status).format(version=record.version), "bold")
    if says:
        session.say(f"  {says}")
    session.say(f"  Run {record.run_id}; all of it: clvpredict show {record.run_id}")


# --- runs afterwards ----------------------------------------------------------------------


def line(record: RunRecord) -> dict[str, Any]:
    """What a list says of a run."""
    found = record.model_dump(mode="json", include=set(_KEPT))
    return found | {"says": _says(record)}


def _says(record: RunRecord) -> str:
    if record.error is not None:
        return str(record.error["message"]).splitlines()[0]
    return str(record.facts.get("says") or "")


def runs(session: Session, found: Sequence[RunRecord], last: int, latest: Latest | None) -> None:
    """List runs, the newest first."""
    if not found:
        session.say("No run yet.")
        return
    rows = [
        {
            "run": record.run_id,
            "as of": record.as_of or "",
            "status": record.status,
            "version": (record.version or "")
            + (" *" if latest is not None and record.version == latest.version else ""),
        }
        for record in found[:last]
    ]
    show.frame(session, f"Runs of {found[0].name}", pd.DataFrame(rows).set_index("run"))
    session.say("  * is what is published now" if latest else "  Nothing is published yet")
    session.say("  How a run ended, and why: clvpredict show RUN")
    if len(found) > last:
        session.say(f"  {len(found) - last} older ones: --last {len(found)}")


def run(session: Session, record: RunRecord) -> None:
    """Everything that matters of one run."""
    took = sum(record.timings.values())
    lines = [
        ("status", record.status + (" (forced)" if record.forced else "")),
        ("as of", record.as_of or ""),
        ("started", f"{record.started} on {record.host}, took {took:.1f} s"),
        ("version", record.version or "none"),
        ("published before", record.champion or "nothing"),
    ]
    if record.error is not None:
        lines.append((f"ended in '{record.error['step']}'", record.error["message"]))
    if record.input is not None:
        lines.append(("rows", f"{record.input['rows']:,}"))
        lines.append(("customers", f"{record.input['customers']:,}"))
        lines += [
            (f"left out: {why.replace('_', ' ')}", f"{n:,}")
            for why, n in record.input["left_out"].items()
            if n
        ]
    summary = record.facts.get("summary", {})
    lines += [(f"summary: {k}", f"{n:,}") for k, n in summary.get("counts", {}).items() if n]
    lines += [(f"summary left out: {k}", f"{n:,}") for k, n in summary.get("excluded", {}).items()]
    predicted = {k: v for k, v in record.facts.get("totals", {}).items() if k != "customers"}
    lines += [(k.replace("_", " "), f"{v:,.1f}") for k, v in predicted.items()]
    show.pairs(session, f"Run {record.run_id} of {record.name}", lines)
    failed = [row for row in record.checks if not row["ok"]]
    if record.checks:
        session.say(f"\n{len(record.checks) - len(failed)} of {len(record.checks)} checks passed")
    for row in failed:
        session.say(f"  {row['check']}: {row['says']}", style="red")
    for candidate in record.models:
        show.models(session, candidate["parts"])
    if record.gate is not None:
        _gate(session, record)
    for alarm in (record.drift or {}).get("alarms", []):
        session.say(f"  Drift: {alarm}", style="yellow")
    for out in record.outputs:
        session.say(f"  {out['rows']:,} rows in {out['target']}")
    for warning in record.warnings:
        if warning["step"] == "drift":
            continue  # its alarms are above
        session.say(f"  Note ({warning['step']}): {warning['message']}", style="yellow")


def _gate(session: Session, record: RunRecord) -> None:
    assert record.gate is not None
    if record.gate.get("scoreboard"):
        _scores(session, record)
    session.say(f"\nGate: {record.gate['decision']}", style="bold")
    for finding in record.gate["findings"]:
        if not finding["ok"]:
            session.say(f"  {finding['subject']}: {finding['says']}", style="red")


def _scores(session: Session, record: RunRecord) -> None:
    assert record.gate is not None
    found = pd.DataFrame(record.gate["scoreboard"])
    table = pd.DataFrame({t: found[c] for c, t in _METRICS.items() if c in found})
    names = [_forecast(row["model"], row["kind"]) for row in record.gate["scoreboard"]]
    table.index = pd.Index(names, name="forecast")
    cuts, horizon = record.gate["cuts"], record.gate["horizon"]
    show.frame(session, f"The gate: {horizon} after {', '.join(cuts)}, means", table)


def _forecast(model: str, kind: str) -> str:
    """What a table calls a forecast; a baseline's name says what it is."""
    match kind:
        case "baseline":
            return model
        case "champion":
            return f"published ({model[:8]})"
    return f"{model}, {kind}"


def plan(session: Session, config: Config) -> None:
    """What a configuration does."""
    from clvpredict.errors import DataWarning
    from clvpredict.refit import secrets
    from clvpredict.refit.describe import count_files, describe, variables

    rows = describe(config)
    session.facts["config"] = {"path": str(config.path), "digest": config.digest}
    session.facts["plan"] = dict(rows)
    show.pairs(session, f"{config.path} can be used", rows)
    # Where this is typed is seldom where the job will run.
    if absent := secrets.missing(variables(config)):
        session.receive(f"here, {secrets.not_set(absent)}", DataWarning)
    if count_files(config) == 0:
        session.receive("the source has no file yet: look at path under [source]", DataWarning)
    session.say(f"Try it without publishing: clvpredict refit {config.path} --dry-run", "bold")


def difference(session: Session, found: Difference) -> None:
    """Two runs side by side."""
    for name, side in (("a", found.a), ("b", found.b)):
        session.say(f"{name}: version {side['version']} of {side['as_of']}, run {side['run_id']}")
    _parameters(session, found.parameters)
    for title, table in (
        ("Gate", found.gate),
        ("Input", found.input.map(_shortened)),
        ("Options that differ", found.options),
        ("Totals", found.totals),
    ):
        if len(table):
            show.frame(session, title, table.set_index(table.columns[0]))
    counts = ", ".join(f"{n:,} {what}" for what, n in found.counts.items())
    session.say(f"\nCustomers: {counts}")
    if len(found.customers):
        title = f"Moved most in {found.moved_by}"
        show.frame(session, title, found.customers.set_index("customer_id"))


def _parameters(session: Session, found: pd.DataFrame) -> None:
    """Estimates of both sides, each with its interval in one cell."""
    apart = found["overlap"].eq(False)  # None, where there are no intervals, is not
    rows = [
        {
            "": f"{row['model']} {row['parameter']}",
            **{side: _with_interval(row, side) for side in "ab"},
            "change": "" if pd.isna(row["change"]) else f"{row['change']:+.1%}",
        }
        for row in found.to_dict("records")
    ]
    table = pd.DataFrame(rows)
    table["change"] += pd.Series(["*" if far else "" for far in apart], dtype=str)
    show.frame(session, "Parameters, with 95 % intervals", table.set_index(""))
    if apart.any():
        session.say("  * the intervals do not meet")


def _with_interval(row: Mapping[Any, Any], side: str) -> str:
    values = [row[f"{side}{end}"] for end in ("", "_lower", "_upper")]
    if pd.isna(values[0]):
        return "none"
    estimate, lower, upper = (f"{v:,.0f}" if abs(v) >= 1000 else f"{v:.3g}" for v in values)
    return estimate if pd.isna(values[1]) else f"{estimate} ({lower} to {upper})"


def _shortened(value: Any) -> Any:
    """Digits that nobody reads to their end."""
    return f"{value[:_DIGITS]}..." if isinstance(value, str) and len(value) > 2 * _DIGITS else value
