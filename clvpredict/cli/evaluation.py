"""The steps of an evaluation and of a backtest, each said aloud; the numbers are the API's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from clvpredict.atomic import new_file
from clvpredict.cli import facts, jobs, pictures, show
from clvpredict.cli.session import Session
from clvpredict.errors import OptionError
from clvpredict.options import Method
from clvpredict.rfm import provenance_of

if TYPE_CHECKING:
    from clvpredict.evaluate import Backtest

# Names what a run has written.
_CONTENTS = "contents.json"
_SHOWN = (
    ("predicted_total", "purchases predicted", "{:,.0f}"),
    ("observed_total", "purchases observed", "{:,.0f}"),
    ("bias_percent", "bias, %", "{:+.1f}"),
    ("mae", "MAE", "{:.3f}"),
    ("crps", "CRPS", "{:.3f}"),
    ("brier", "Brier", "{:.3f}"),
    ("pit_ks", "PIT distance", "{:.3f}"),
    ("gini", "Gini", "{:.3f}"),
    ("value_bias_percent", "value bias, %", "{:+.1f}"),
    ("value_crps", "value CRPS", "{:,.2f}"),
)


def folder_for(out: Path) -> Path:
    """Make the output folder.

    Raises
    ------
    OptionError
        If something else is there.
    """
    if str(out) == "-":
        raise OptionError("--out - is standard output, and there are many files: give a folder.")
    if out.exists() and not out.is_dir():
        raise OptionError(f"--out {out} is a file; give a folder.")
    out.mkdir(parents=True, exist_ok=True)
    return out


def split(session: Session, transactions: Any, **options: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make the split, and list the purchases for tracking."""
    from clvpredict.transactions import calibration_holdout, purchase_history

    with session.step("Splitting the transactions") as done:
        found = calibration_holdout(transactions, **options)
        unused = ("calibration_end", "time_unit", "currency", "strict")
        history = purchase_history(
            transactions, **{k: v for k, v in options.items() if k not in unused}
        )
        session.facts["data"] = facts.of_summary(found)
        done(f"{len(found):,} customers")
    show.summary(session, session.facts["data"])
    return found, history


def evaluate(
    session: Session,
    split: pd.DataFrame,
    history: pd.DataFrame,
    *,
    models: Sequence[str],
    method: str,
    draws: int,
    seed: int,
    recalibration: str | None,
) -> dict[str, pd.DataFrame]:
    """Fit, evaluate, and show the summary; all tables by name."""
    from clvpredict.evaluate import evaluate_holdout, tracking_table

    spend = "monetary_value" in split.columns
    learnt = jobs.read_recalibration(recalibration)
    fitted = [
        jobs.fit(session, split, model=name, method=method, spend=spend, seed=seed)
        for name in dict.fromkeys(models)
    ]
    with session.step("Holding predictions to what came"):
        found = evaluate_holdout(fitted, split, draws=draws, seed=seed, recalibration=learnt)
        tables = found.tables()
        provenance = provenance_of(split)
        days = float(split["duration_holdout"].max()) * provenance.unit.days if provenance else 0.0
        if days >= 1:
            every = "W" if days >= 14 else "D"
            tables["tracking"] = tracking_table(fitted, history, split, every=every, seed=seed)
        tables["customers"] = found.customers()
    session.facts["summary"] = tables["summary"].to_dict()
    show.frame(session, "Out of sample", _in_words(tables["summary"]))
    return tables


def write(
    session: Session, tables: dict[str, pd.DataFrame], folder: Path, *, pictures: bool
) -> None:
    """Write tables as CSV, all but the customers' as one JSON, and draw them."""
    _clear(folder)
    tables = {**tables, "summary": tables["summary"].reset_index()}
    kept = {k: v for k, v in tables.items() if k != "customers"}
    _write(session, tables, ("evaluation.json", kept), folder)
    if pictures:
        _draw(session, "of_evaluation", folder, kept)
    _list(session, folder, ["evaluation.json"])


def backtest(
    session: Session,
    transactions: Any,
    *,
    models: Sequence[str],
    method: str,
    spend: bool,
    seed: int,
    **options: Any,
) -> Backtest:
    """Run the backtest and show the comparison."""
    from clvpredict.estimators import CLVModel
    from clvpredict.evaluate import backtest as run

    classes = [jobs.purchase_class(name) for name in dict.fromkeys(models)]
    with session.step("Backtesting") as done:
        results = run(
            transactions,
            [CLVModel(c()) if spend else c() for c in classes],
            fit={"method": cast("Method", method), "seed": seed},
            seed=seed,
            progress=session.console.is_terminal and not session.console.quiet,
            **options,
        )
        done(f"{len(results.table):,} cells")
    return results


def write_backtest(
    session: Session, results: Backtest, folder: Path, recalibrated: bool, *, pictures: bool
) -> None:
    """Write the results, the comparison, and what was learnt."""
    from clvpredict.evaluate import compare, recalibrate
    from clvpredict.store import save_recalibration

    comparison = compare(results)
    session.facts["comparison"] = comparison.to_dict(orient="records")
    title = "Mean CRPS over vintages (less is better)"
    show.frame(session, title, comparison.set_index("model"), "{:,.4f}")
    _clear(folder)
    tables = {"backtest": results.table, "comparison": comparison}
    _write(session, tables, ("backtest.json", tables), folder)
    written = ["backtest.json"]
    if recalibrated:
        for name in results.models:
            for horizon in results.table["horizon"].drop_duplicates():
                plain = "".join(c if c.isalnum() else "_" for c in f"{name}_{horizon}")
                path = folder / f"recalibration_{plain}.json"
                try:
                    save_recalibration(recalibrate(results, name, horizon=horizon), path)
                except OptionError as error:  # too few vintages at this horizon
                    session.say(f"  Note: {error}", style="yellow")
                else:
                    session.say(f"Wrote {path}")
                    written.append(path.name)
    if pictures:
        _draw(session, "of_backtest", folder, results.table, comparison)
    _list(session, folder, written)


def _clear(folder: Path) -> None:
    """Remove what an earlier run wrote, or its results would stand among the new ones."""
    try:
        earlier = json.loads((folder / _CONTENTS).read_text(encoding="utf-8"))["files"]
        names = [name for name in earlier if Path(name).name == name]
    except (OSError, ValueError, KeyError, TypeError):
        return  # there was none
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _list(session: Session, folder: Path, written: list[str]) -> None:
    """Say in a file which files are this run's."""
    tables = session.facts["tables"]
    beside = [name.removesuffix(".csv") + ".meta.json" for name in tables]
    files = sorted([*tables, *beside, *session.facts.get("pictures", []), *written])
    with new_file(folder / _CONTENTS) as path:
        path.write_text(json.dumps({"files": files}, indent=1), encoding="utf-8")


def _write(
    session: Session,
    tables: dict[str, pd.DataFrame],
    together: tuple[str, dict[str, pd.DataFrame]],
    folder: Path,
) -> None:
    from clvpredict.store import write_table
    from clvpredict.store.tables import plain

    for name, table in tables.items():
        write_table(table, folder / f"{name}.csv")
    name, kept = together
    said = {k: {"attrs": v.attrs, "rows": v.to_dict(orient="records")} for k, v in kept.items()}
    with new_file(folder / name) as path:
        path.write_text(json.dumps(plain(said), indent=1, default=str), encoding="utf-8")
    session.facts["out"] = str(folder)
    session.facts["tables"] = [f"{n}.csv" for n in tables]
    session.say(f"Wrote {len(tables)} tables to {folder}", style="bold")


def _draw(session: Session, which: str, folder: Path, *tables: Any) -> None:
    choose: Callable[..., Any] = getattr(pictures, which)
    with session.step("Drawing") as done:
        session.facts["pictures"] = pictures.save(choose(*tables), folder)
        done(f"{len(session.facts['pictures'])} pictures in {folder}")


def _in_words(summary: pd.DataFrame) -> pd.DataFrame:
    """The metrics that people look at first; a column per model."""
    rows = {
        words: [form.format(v) if pd.notna(v) else "" for v in summary.loc[name]]
        for name, words, form in _SHOWN
        if name in summary.index
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(summary.columns))
