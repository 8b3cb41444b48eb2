"""Processes that want the same lock at once: FOLDER PROCESSES ROUNDS [die].

Each takes the lock so many times, sees that it is alone, and counts up without any other care.
With "die" some kill a process of theirs that holds the lock; the lock that it leaves is stale.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from clvpredict.refit.lock import lock


def hold(folder: Path, run_id: str) -> None:
    with lock(folder, run_id, wait=100):
        inside = os.open(folder / "inside", os.O_CREAT | os.O_EXCL)
        count = folder / "count"
        before = int(count.read_text()) if count.exists() else 0
        time.sleep(0.005)
        count.write_text(str(before + 1))
        os.close(inside)
        (folder / "inside").unlink()
        if run_id.endswith("dead"):
            os.kill(os.getpid(), signal.SIGKILL)


def many(folder: Path, number: int, rounds: int, die: bool) -> None:
    rng = random.Random(number)
    for n in range(rounds):
        if die and rng.random() < 0.3:
            if (child := os.fork()) == 0:
                hold(folder, f"{number}-{n}-dead")
            _, status = os.waitpid(child, 0)
            if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
                raise RuntimeError("it should have died with the lock, not before")
        else:
            hold(folder, f"{number}-{n}")


def main(folder: str, processes: str, rounds: str, die: str = "") -> int:
    children = []
    for number in range(int(processes)):
        if (child := os.fork()) == 0:
            many(Path(folder), number, int(rounds), bool(die))
            os._exit(0)
        children.append(child)
    return max(abs(os.waitstatus_to_exitcode(os.waitpid(c, 0)[1])) for c in children)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
