"""The program that commands are added to: their order, and the panels of its help."""

from __future__ import annotations

from typing import Any

import typer

EXIT_CODES = (
    "Exit codes: 0 fine; 2 an option cannot be used as it is; 3 the data or a saved model are "
    "missing, unreadable, in another time unit, or have problems; 4 a model did not converge; "
    "1 anything else, such as a full disk. Of refit also: 4 no model is good enough, and none is "
    "published; 5 held back, 6 another run is on, 7 the source is not reached, 8 not published "
    "everywhere."
)
# As --help lists them: the way of the data.
_ORDER = (
    "run",
    "summarize",
    "fit",
    "predict",
    "evaluate",
    "backtest",
    "segments",
    "cohorts",
    "scenario",
    "budget",
    "init",
    "check",
    "refit",
    "runs",
    "show",
    "diff",
    "rollback",
    "info",
)


class _InOrder(typer.core.TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=_ORDER.index)


app = typer.Typer(
    name="clvpredict",
    cls=_InOrder,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Customer lifetime value from transactions.",
    epilog=EXIT_CODES,
)

PREDICTING, JUDGING = "From transactions to predictions", "Do predictions hold?"
DECIDING, LOOKING = "From predictions to decisions", "What is in a file"
SCHEDULED = "Scheduled jobs"
