"""Import the example DAG into a real Airflow and end its task in every way: `make test-airflow`.

Run with the Python of an environment that has Airflow; it needs nothing else.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

DAG_FILE = Path(__file__).resolve().parents[1] / "examples" / "scheduling" / "airflow_dag.py"


def main() -> None:
    """Check the DAG, and say so.

    Raises
    ------
    SystemExit
        If Airflow does not take it, or a code ends the task in another way than it should.
    """
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        _check()


def _check() -> None:
    from airflow import __version__
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

    bag = DagBag(DAG_FILE)
    _hold(not bag.import_errors, f"it does not import: {bag.import_errors}")
    _hold(set(bag.dags) == {"refit_shop"}, f"there are {set(bag.dags)}")
    dag = bag.dags["refit_shop"]
    tasks = {task.task_id: task for task in dag.tasks}
    _hold(tasks["refit"].downstream_task_ids == {"look"}, "look does not follow refit")
    _hold((tasks["refit"].retries, tasks["look"].retries) == (3, 0), "retries are others")
    _hold((dag.max_active_runs, dag.catchup) == (1, False), "more than one may run")
    fails = dict.fromkeys((1, 2, 3, 4, 8), AirflowFailException)
    expected = {0: None, 5: None, 6: AirflowSkipException, 7: RuntimeError} | fails
    for code, ends in expected.items():
        found = _ended(tasks["refit"].python_callable, code)
        _hold(found is ends, f"code {code} ends with {found}, not with {ends}")
    print(f"Airflow {__version__} takes {DAG_FILE.name}, and tells exit codes apart.")


def _ended(refit: Any, code: int) -> type[BaseException] | None:
    refit.__globals__["REFIT"] = [sys.executable, "-c", f"raise SystemExit({code})"]
    try:
        return None if refit() == code else ValueError
    except Exception as error:
        return type(error)


def _hold(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SystemExit(f"Airflow and {DAG_FILE.name}: {otherwise}.")


if __name__ == "__main__":
    main()
