"""The steps of one run, each of which hands on what it has found."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import clvpredict
from clvpredict.errors import (
    ArtefactError,
    ConvergenceError,
    DataWarning,
    OptionError,
    notify,
)
from clvpredict.refit import modelling, predictions
from clvpredict.refit.errors import HeldBackError, PublishError
from clvpredict.refit.files import digest_of
from clvpredict.refit.history import keep_history
from clvpredict.refit.landing import Landed, land
from clvpredict.refit.past import Past
from clvpredict.refit.publish import finish, publish
from clvpredict.refit.published import Latest
from clvpredict.refit.records import RunRecord, Status
from clvpredict.refit.versions import MODEL, PREDICTIONS, Version
from clvpredict.rfm import summary_metadata

if TYPE_CHECKING:
    import pandas as pd

    from clvpredict.predict import Recalibration
    from clvpredict.refit.config import Config
    from clvpredict.refit.steps import Steps
    from clvpredict.refit.store import Store

RECALIBRATION = "recalibration.json"


class Run:
    """What a run knows, step by step.

    Parameters
    ----------
    config : Config
    store : Store
        Whose lock the run holds.
    record : RunRecord
        Of this run; every step writes into it.
    steps : Steps
    day : date or None
        The last day that counts, where one was given.
    force, dry_run : bool
        See :func:`clvpredict.refit.refit`.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        record: RunRecord,
        steps: Steps,
        day: date | None,
        force: bool,
        dry_run: bool,
    ) -> None:
        self.config, self.store, self.record, self.steps = config, store, record, steps
        self.day, self.force, self.dry_run = day, force, dry_run
        self.past = Past(store, record.run_id, day)
        self.landed: Landed
        self.rfm: pd.DataFrame
        self.champion: Any = None
        self.published: Latest | None = None
        self.fitted: modelling.Fitted = {}
        self.starts: dict[str, dict[str, float]] = {}
        self.chosen: str | None = None
        self.model: Any = None
        self.recalibration: Recalibration | None = None
        self.version: Version

    # --- what came before -----------------------------------------------------------------

    def recover(self, gone: str | None) -> None:
        """End what a killed run has begun, and look up what is published."""
        store, record = self.store, self.record
        crashed = [r.run_id for r in store.close_crashed(record.run_id)]
        removed = store.clean_work()
        if crashed or removed or gone or store.intention() is not None:
            with self.steps.step("recover") as facts:
                facts |= {"crashed": crashed, "removed": len(removed), "lock_of": gone}
                done = None if self.dry_run else self._finish()
                facts["says"] = (
                    f"{len(crashed)} run{'s' if len(crashed) != 1 else ''} had ended without a word"
                    + (f"; version {done} is published now" if done else "")
                )
        self.published = self.past.published()
        if not self.force:
            self.past.check()
        if self.published is not None:
            record.champion = self.published.version
            self.champion = modelling.published_model(store, self.published.version)
            if self.champion is None:
                self.published = None
            else:
                self._acknowledge(self.published)

    def _acknowledge(self, published: Latest) -> None:
        """Let a run that died after it had published count as one that did."""
        died = next((r for r in self.past.runs() if r.run_id == published.run_id), None)
        if died is None or died.status != "crashed":
            return
        by_published = self.store.version(published.version).facts["by_published"]
        died.status = "held back" if by_published else "published"
        self.store.save(died)
        if self.day is None and not self.dry_run:
            keep_history(self.config, self.store)

    def _finish(self) -> str | None:
        try:
            done = finish(self.config, self.store)
        except (PublishError, ArtefactError, OptionError) as error:
            # This run publishes to the same outputs, and fails there if it has to.
            notify(str(error), DataWarning)
            return None
        return None if done is None else done.version

    # --- the data -------------------------------------------------------------------------

    def read(self) -> None:
        """Read the transactions into one file of this run."""
        source = self.config.source
        with self.steps.step("read") as facts:
            self.landed = land(
                self.config,
                self.store.work_folder(self.record.run_id) / "transactions.parquet",
                as_of=self.day,
                ledger=self.store.folder / "ledger" if source.incremental else None,
                on_retry=lambda n, why: self.steps.note(
                    f"attempt {n} of {source.attempts} failed: {why}", attempt=n
                ),
            )
            found = self.landed
            end = self.day or found.last
            self.record.as_of = None if end is None else end.isoformat()
            self.record.input = {
                "fingerprint": found.fingerprint,
                "rows": found.rows,
                "customers": found.customers,
                "first": None if found.first is None else found.first.isoformat(),
                "last": None if found.last is None else found.last.isoformat(),
                "left_out": found.left_out,
                "read": found.read,
            }
            facts |= self.record.input
            facts["says"] = (
                f"{found.rows:,} rows of {found.customers:,} customers until {self.record.as_of}"
            )

    def is_known(self) -> bool:
        """Whether the published version was made of the same data in the same way."""
        if self.published is None or self.force:
            return False
        facts = self.store.version(self.published.version).facts
        # What the published model predicted for want of a better one is judged again.
        return not facts["by_published"] and facts["made_of"] == self._made_of()

    def _made_of(self) -> dict[str, Any]:
        return {
            "input": self.landed.fingerprint,
            "as_of": self.record.as_of,
            "config": self.config.digest,
            "clvpredict": clvpredict.__version__,
        }

    def keep_published(self) -> Status:
        """See that what is published is where it belongs; there is nothing new."""
        assert self.published is not None
        self.version = self.store.version(self.published.version)
        self.record.version = self.version.id
        if not self.dry_run and self._is_current():
            self._publish(self.published.run_id)
        self.record.facts["says"] = "nothing has changed since the version that is published"
        return "unchanged"

    def check(self) -> None:
        """Hold the delivery to earlier ones."""
        from clvpredict.refit.input_checks import check_input, last_day, refuse
        from clvpredict.refit.volume import customers_kept, profile

        names = {k: v for k, v in modelling.log_options(self.config).items() if k in _NAMES}
        with self.steps.step("check") as facts:
            earlier = self.past.runs()
            found = profile(self.landed.path, **names, until=last_day(earlier))
            kept = None
            if self.published is not None:
                known = self.store.version(self.published.version).file(PREDICTIONS)
                kept = customers_kept(self.landed.path, names["customer_id"], known)
            assert self.record.input is not None
            self.record.input["profile"] = found
            rows = check_input(
                found,
                earlier,
                self.config.checks,
                today=self.day or date.today(),
                left_out=self.landed.left_out,
                customers=kept,
            )
            self.record.checks = rows
            failed = [row for row in rows if not row["ok"]]
            facts |= {"checks": len(rows), "failed": [row["check"] for row in failed]}
            facts["says"] = f"{len(rows) - len(failed)} of {len(rows)} checks passed"
            if failed and not self.force:
                if found["undated"]:  # which says more than what follows from it
                    modelling.summarise(self.landed.path, self.config, self.day)
                refuse(rows)

    def summarise(self) -> None:
        """One row per customer."""
        with self.steps.step("summarise") as facts:
            self.rfm = modelling.summarise(self.landed.path, self.config, self.day)
            said = summary_metadata(self.rfm) or {}
            self.record.facts["summary"] = {k: said[k] for k in ("counts", "excluded") if k in said}
            facts |= self.record.facts["summary"]
            facts["customers"] = len(self.rfm)
            left_out = said.get("excluded", {})
            facts["says"] = f"{len(self.rfm):,} customers" + "".join(
                f", without {n:,} {what}" for what, n in left_out.items()
            )

    # --- the models -----------------------------------------------------------------------

    def fit(self) -> None:
        """Fit the candidates, from where the published model ended."""
        from clvpredict.estimators.facts import model_facts

        with self.steps.step("fit") as facts:
            given = self._starts_of_the_same()
            found = modelling.fit_candidates(self.rfm, self.config, self.champion, given)
            self.fitted, self.starts, failures = found
            self.record.start = self.starts
            self.record.models = [
                {"candidate": name, "parts": model_facts(model)}
                for name, model in self.fitted.items()
            ]
            facts |= {"fitted": list(self.fitted), "failed": failures}
            for name, why in failures.items():
                notify(f"{name} did not converge and is no candidate: {why}", DataWarning)
            if not self.fitted and self.champion is None:
                raise ConvergenceError(
                    "no candidate converged, and no model is published that could predict: "
                    + "; ".join(f"{n}: {why}" for n, why in failures.items())
                )
            facts["says"] = ", ".join(self.fitted) or "no candidate converged"

    def _starts_of_the_same(self) -> dict[str, dict[str, float]] | None:
        """Starts of the run that made the published version, if it was made of the same.

        Other starts would give estimates that differ in their last digits, and another version.
        """
        if self.published is None or self.champion is None:
            return None
        if self.store.version(self.published.version).facts["made_of"] != self._made_of():
            return None
        try:
            return self.store.record(self.published.run_id).start
        except (OptionError, ArtefactError):  # removed since, or damaged
            return None

    def judge(self) -> None:
        """Hold the candidates, and the published model, to what came after vintages."""
        from clvpredict.refit.judging import judged

        with self.steps.step("gate") as facts:
            last = self.day or self.landed.last
            assert last is not None  # else the summary had refused
            published = self.published
            champion = None if published is None else (published.version, self.champion)
            found = judged(self.config, self.landed, last, self.fitted, champion, force=self.force)
            self.record.gate, self.chosen = found
            facts |= {"publish": self.record.gate.get("publish"), "chosen": self.chosen}
            facts["says"] = self._settle()

    def _settle(self) -> str:
        """Choose who predicts."""
        assert self.record.gate is not None
        if self.chosen is not None:
            self.model = self.fitted[self.chosen]
            return f"{self.chosen} predicts: {self.record.gate['decision']}"
        if self.champion is None:
            raise HeldBackError(
                "no candidate is good enough, and no model is published that could predict: "
                f"{self.record.gate['decision']} Look at the reasons: clvpredict show "
                f"{self.record.run_id}; to publish the best of them all the same: --force"
            )
        self.model = modelling.as_asked(self.champion, self.config)
        return f"held back: {self.record.gate['decision'].removeprefix('held back, ')}"

    def look_for_drift(self) -> None:
        """Compare parameters, customers and earlier predictions with what is now known."""
        from clvpredict.refit.drift import drift_report
        from clvpredict.refit.stability import distribution

        with self.steps.step("drift") as facts:
            earlier = self.past.runs()
            latest = next(iter(self.fitted.values()), self.champion)
            report = drift_report(
                self.landed.path,
                modelling.summary_options(self.config),
                self.rfm,
                self.fitted.get(self.chosen or "", latest),
                earlier=earlier,
                versions=self.past.versions(),
                drift=self.config.drift,
                as_of=self.record.as_of,
                seed=self.config.job.seed,
            )
            self.record.drift = report.as_json()
            self.record.facts["distribution"] = distribution(self.rfm)
            facts["alarms"] = report.alarms
            for alarm in report.alarms:
                notify(alarm, DataWarning)
            n = len(report.alarms)
            facts["says"] = f"{n or 'no'} alarm{'s' if n != 1 else ''}"

    def made(self) -> Path | None:
        """The folder of the version that this run has made."""
        version: Version | None = getattr(self, "version", None)
        return None if version is None else version.path

    def sample(self) -> pd.DataFrame | None:
        """A few customers, as an example of what the model predicts from."""
        rfm: pd.DataFrame | None = getattr(self, "rfm", None)
        return None if rfm is None else rfm.head(_EXAMPLES)

    # --- what comes of it -----------------------------------------------------------------

    def predict(self) -> None:
        """Predict, and keep model and predictions as a version."""
        with self.steps.step("predict") as facts:
            # Known beforehand, unless an earlier clvpredict has noted the version's id alone.
            why = self.store.why_withdrawn(made_of=digest_of(self._made_of()))
            if why is None or self.chosen is None or self.force:
                totals = self._make_version()
                why = self.store.why_withdrawn(version=self.version.id)
            if why is not None and self.chosen is not None and not self.force:
                assert self.record.gate is not None
                self.record.gate["decision"] = (
                    "what these transactions give by this configuration was withdrawn "
                    f"({why}) and is not published again; to do so: --force"
                )
                self.chosen = None
                notify(self._settle(), DataWarning)
                totals = self._make_version()
            facts |= {"version": self.version.id, **totals}
            money = f", value {totals['clv']:,.0f}" if "clv" in totals else ""
            facts["says"] = (
                f"{totals['customers']:,} customers, {totals['expected_purchases']:,.0f} "
                f"purchases{money} within {self.config.predict.horizons[0]}"
            )

    def _make_version(self) -> dict[str, Any]:
        """Let the model predict; returns the totals."""
        self._recalibrate()
        rfm, unit = self.rfm, modelling.other_unit(self.model, self.config)
        if unit is not None:  # the published model is of before the unit was changed
            rfm = modelling.summarise(self.landed.path, self.config, self.day, unit)
        table = predictions.predict_all(self.model, rfm, self.config, self.recalibration)

        def build(folder: Path) -> dict[str, Any]:
            return self._fill(folder, table)

        self.version = self.store.add_version(build)
        self.record.version = self.version.id
        found = predictions.totals(table, self.config.predict.horizons)
        self.record.facts["totals"] = found
        return found

    def _recalibrate(self) -> None:
        """Learn from vintages what to correct, if that was asked for and there are enough."""
        if not self.config.predict.recalibrate:
            return
        self.recalibration = modelling.learn_recalibration(self.landed, self.config, self.model)

    def _fill(self, folder: Path, table: pd.DataFrame) -> dict[str, Any]:
        from clvpredict.store import save_model, save_recalibration, write_table

        save_model(self.model, folder / MODEL)
        write_table(table, folder / PREDICTIONS)
        if self.recalibration is not None:
            save_recalibration(self.recalibration, folder / RECALIBRATION)
        return {
            "as_of": self.record.as_of,
            "made_of": self._made_of(),
            "model": modelling.parts(self.model)["purchases"].result_.model,
            "horizons": list(self.config.predict.horizons),
            "customers": len(table),
            "by_published": self.chosen is None,
        }

    def publish(self) -> Status:
        """Publish, unless this is not to be."""
        held, record = self.chosen is None, self.record
        record.facts["says"] = str((record.gate or {}).get("decision", ""))
        if self.dry_run:
            return "dry run"
        if not self.force and not self._is_current():
            record.facts["says"] = f"{record.as_of} is before what is published; only rebuilt"
            return "rebuilt"
        why = self.store.why_withdrawn(version=self.version.id)
        if why is not None and not self.force:
            record.facts["says"] = (
                f"the published model makes version {self.version.id} again, which was withdrawn "
                f"({why}); nothing is published"
            )
            return "held back"
        self._publish(record.run_id)
        return "held back" if held else "published"

    def _is_current(self) -> bool:
        """Whether this is to be published: of a day that was asked for, unless a later one is."""
        latest = self.store.latest()
        if latest is None or self.day is None:
            # What is newest is to be out, even where a row of a later day was taken back.
            return True
        return str(self.record.as_of) >= latest.as_of

    def _publish(self, run_id: str) -> None:
        """Put predictions to the outputs, and remember."""
        assert self.record.as_of is not None
        with self.steps.step("publish") as facts:
            self.store.save(self.record)
            self.record.outputs = publish(
                self.config, self.store, self.version, run_id=run_id, as_of=self.record.as_of
            )
            written = [out["target"] for out in self.record.outputs if out["written"]]
            facts |= {"outputs": len(self.record.outputs), "written": written}
            facts["says"] = f"wrote {', '.join(written)}" if written else "all is there already"
        with self.steps.step("record") as facts:
            if self.day is None:
                self.landed.commit()
            facts["says"] = keep_history(self.config, self.store)
            kept = self.config.retention
            facts["removed"] = self.store.prune(kept.runs, kept.versions)


_EXAMPLES = 5
_NAMES = ("customer_id", "date", "amount", "timezone")
