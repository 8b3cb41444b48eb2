"""What a run may know of the runs before it; of a day that is rebuilt, only what was before."""

from __future__ import annotations

from datetime import date

from clvpredict.errors import ArtefactError, DataWarning, notify
from clvpredict.refit.published import Latest
from clvpredict.refit.records import RunRecord
from clvpredict.refit.store import Store
from clvpredict.refit.versions import Version

# Runs whose predictions went out, by whichever model.
_PUBLISHED = ("published", "held back")


class Past:
    """Earlier runs of a store, as they were known.

    Parameters
    ----------
    store : Store
    run_id : str
        The run that asks; it is not of the past.
    day : date or None
        The day that is rebuilt: only runs of earlier days are known.
    """

    def __init__(self, store: Store, run_id: str, day: date | None) -> None:
        self._store, self._run_id = store, run_id
        self._day = None if day is None else day.isoformat()
        self._runs: list[RunRecord] | None = None

    def runs(self) -> list[RunRecord]:
        """Their records, newest first; read once."""
        if self._runs is None:
            known = [r for r in self._store.records() if r.run_id != self._run_id]
            if self._day is not None:
                known = [r for r in known if r.as_of is not None and r.as_of < self._day]
            self._runs = known
        return self._runs

    def published(self) -> Latest | None:
        """What was published."""
        latest = self._store.latest()
        if latest is None or self._day is None or latest.as_of < self._day:
            return latest
        # What was withdrawn since does not come back by rebuilding the days before.
        there = set(self._store.version_ids()) - self._store.withdrawn().keys()
        for run in self.runs():
            if run.status in _PUBLISHED and run.version in there and run.as_of:
                return Latest(
                    version=run.version,
                    run_id=run.run_id,
                    as_of=run.as_of,
                    since=run.ended or run.started,
                )
        return None

    def check(self) -> None:
        """See that what is published is known.

        Raises
        ------
        ArtefactError
            If it is not, though runs have published: a new model would be held to none.
        """
        if self._store.latest() is not None:
            return
        there = set(self._store.version_ids())
        for run in self.runs():
            if run.status in _PUBLISHED and run.version in there:
                raise ArtefactError(
                    f"the store '{self._store.folder}' has no latest.json, though run {run.run_id} "
                    f"published version {run.version}. To go on from that: clvpredict rollback "
                    f"{run.version}; to judge new models by the bounds alone: --force"
                )

    def versions(self) -> list[Version]:
        """Versions that were published, newest first; damaged ones are named in a warning."""
        # A run that died after it had published may be known by the next one only.
        out = (*_PUBLISHED, "unchanged")
        known = {r.version for r in self.runs() if r.status in out}
        return [v for v in self._store.versions() if v.id in known and _is_whole(v)]


def _is_whole(version: Version) -> bool:
    try:
        version.check()
    except ArtefactError as error:
        notify(f"a version is left out: {error}", DataWarning)
        return False
    return True
