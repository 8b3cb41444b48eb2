"""Refit every night, in Airflow 3.

Tasks that use the predictions depend on ``refit``: they are fresh also where the new model was
held back, for then the published one has predicted. ``look`` fails in that case, so that somebody
does.

clvpredict lives in an environment of its own, as its dependencies are not Airflow's. Secrets are
variables of the worker's environment, as in shop.env.example.
"""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

CONFIG = "/srv/clvpredict/shop.toml"
REFIT = ["/opt/clvpredict/bin/clvpredict", "refit", CONFIG, "--wait", "600"]

PUBLISHED, HELD_BACK, LOCKED, NOT_REACHED = 0, 5, 6, 7


@dag(
    schedule="30 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # a refit reads all there is; nights that were missed need none of their own
    max_active_runs=1,
    tags=["clvpredict"],
)
def refit_shop():
    """Refit, and have somebody look where the new model was held back."""

    @task(
        retries=3,
        retry_delay=timedelta(minutes=15),
        retry_exponential_backoff=True,
        execution_timeout=timedelta(hours=4),
    )
    def refit() -> int:
        code = subprocess.run(REFIT, check=False).returncode
        if code == LOCKED:
            raise AirflowSkipException("another run is at work in the same store")
        if code == NOT_REACHED:
            raise RuntimeError("the source was not reached; this may pass, so it is tried again")
        if code not in (PUBLISHED, HELD_BACK):
            raise AirflowFailException(f"clvpredict ended with code {code}; its words are above")
        return code

    @task
    def look(code: int) -> None:
        if code == HELD_BACK:
            raise AirflowFailException(
                f"the new model was held back: clvpredict show latest --config {CONFIG}"
            )

    look(refit())


refit_shop()
