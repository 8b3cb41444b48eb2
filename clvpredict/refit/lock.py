"""One run at a time in a store: a lock that says whose it is and outlives no process."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from clvpredict.atomic import alone_in
from clvpredict.errors import OptionError
from clvpredict.refit.errors import LockedError
from clvpredict.refit.files import now, write_json

#: The file of the lock in the folder of a store.
FILE = "lock.json"
_FIRST_LOOK, _SLOWEST_LOOK = 0.2, 1.0


class Process(BaseModel):
    """Which process on which machine, so that it can be told later whether it still runs.

    Parameters
    ----------
    pid : int
    process_start : str or None
        When the system started it, in the system's own units; pids are given again to others.
    boot_id : str or None
        Of the machine since it was last switched on.
    host : str
        Name of the machine.
    namespace : str or None
        Of the pids; containers of one machine cannot see one another's processes.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    process_start: str | None = None
    boot_id: str | None = None
    host: str
    namespace: str | None = None

    @classmethod
    def this(cls) -> Process:
        """The process that asks."""
        pid = os.getpid()
        return cls(
            pid=pid,
            process_start=_start_of(pid),
            boot_id=_boot_id(),
            host=socket.gethostname(),
            namespace=_namespace(),
        )

    def runs(self) -> bool:
        """Whether it certainly runs; one on another machine is never certain."""
        there = (self.host, self.boot_id, self.namespace)
        here = (socket.gethostname(), _boot_id(), _namespace())
        return there == here and not self.is_gone()

    def is_gone(self) -> bool:
        """Whether it certainly runs no more; one on another machine is never certain."""
        if self.host != socket.gethostname():
            return False
        if self.boot_id != _boot_id():
            return True
        if self.namespace != _namespace():
            return False
        if not _exists(self.pid):
            return True
        start = _start_of(self.pid)  # None where it may not be looked up: then nothing is certain
        return None not in (start, self.process_start) and start != self.process_start


class Owner(Process):
    """Who holds a lock, and since when.

    Parameters
    ----------
    run_id : str
    started : str
        UTC, ISO.
    """

    run_id: str
    started: str

    def __str__(self) -> str:
        return f"run {self.run_id} (process {self.pid} on {self.host}) since {self.started}"


@contextlib.contextmanager
def lock(folder: Path, run_id: str, wait: float = 0.0) -> Iterator[str | None]:
    """Hold the lock of a store.

    The lock of a process that is gone is taken over: of one that was killed, whose machine was
    started anew since, or whose pid is another process by now. The system, too, is asked whether
    the file of the lock is held: then it is not stale; and if not, that of a process in another
    container of this machine is. To look at the lock and to replace it is one step that only one
    process at a time can be in. (Windows has no lock for folders; there two processes that start
    in the same instant could both go on.)

    Parameters
    ----------
    folder : Path
        Of the store.
    run_id : str
        Whose lock it is to be.
    wait : float
        Seconds to wait for the run that holds it; 0 does not wait.

    Yields
    ------
    str or None
        The run of a lock that was taken over: that run ended without a word.

    Raises
    ------
    LockedError
        If another run holds it, and still does after the wait.
    OptionError
        If ``wait`` is not a number of seconds.
    """
    if not 0 <= wait < float("inf"):
        raise OptionError(f"wait={wait!r}: give seconds, 0 or more, such as 600.")
    us = Owner(**Process.this().model_dump(), run_id=run_id, started=now())
    until = time.monotonic() + wait
    pause = _FIRST_LOOK
    while isinstance(taken := _take(folder, us), Owner):
        left = until - time.monotonic()
        if left <= 0:
            raise LockedError(_says(folder, taken, wait))
        time.sleep(min(pause, left))
        pause = min(2 * pause, _SLOWEST_LOOK)
    grip, before = taken
    try:
        yield before
    finally:
        with alone_in(folder):
            # Somebody may have removed the lock by hand and another run taken its place.
            ours = _is_open_as(folder / FILE, grip)
            os.close(grip)
            if ours:
                (folder / FILE).unlink(missing_ok=True)


def read_owner(folder: Path) -> Owner | None:
    """Tell who holds the lock of a store; None where nobody does.

    Raises
    ------
    LockedError
        If the lock cannot be read.
    """
    path = folder / FILE
    try:
        return Owner.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise LockedError(
            f"'{path}' cannot be read, so nobody knows whose lock it is. If no run works in this "
            f"store, remove it: rm {path}"
        ) from error


def _take(folder: Path, us: Owner) -> Owner | tuple[int, str | None]:
    """Give who holds the lock; or our grip on its file, and whose stale lock was taken over."""
    path = folder / FILE
    with alone_in(folder):
        holder = read_owner(folder)
        if holder is not None and not _is_stale(path, holder):
            return holder
        write_json(path, us.model_dump())
        return _grip(path)[0], None if holder is None else holder.run_id


def _is_stale(path: Path, holder: Owner) -> bool:
    """Whether the process that holds a lock certainly runs no more."""
    handle, free = _grip(path)
    os.close(handle)
    if free is False:
        return False  # whatever its pid says: two machines may have one name
    # A pid of another container means nothing here. What the system says of the file does, if it
    # is the system that has started the process.
    in_reach = holder.boot_id is not None and holder.boot_id == _boot_id()
    return holder.is_gone() or (free is True and in_reach and not holder.runs())


def _is_open_as(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _grip(path: Path) -> tuple[int, bool | None]:
    """Open a file and lock it until it is closed or the process ends.

    Tells whether it could; None where there are no such locks.
    """
    handle = os.open(path, os.O_RDWR)  # network file systems lock only what could be written
    if sys.platform == "win32":
        return handle, None
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return handle, False
    except OSError:  # a file system that knows none
        return handle, None
    return handle, True


def _says(folder: Path, holder: Owner, wait: float) -> str:
    waited = f" I waited for {wait:g} s." if wait else ""
    here = holder.host == socket.gethostname() and holder.namespace == _namespace()
    fix = "Wait for it: --wait 600 (seconds)."
    if not here:
        fix += (
            " Whether it still runs cannot be seen from this machine; if it does not, remove its "
            f"lock: rm {folder / FILE}"
        )
    return f"the store '{folder}' is held by {holder}.{waited} {fix}"


def _boot_id() -> str | None:
    return _read("/proc/sys/kernel/random/boot_id")


def _namespace() -> str | None:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _start_of(pid: int) -> str | None:
    """When a process was started, in clock ticks since the machine was.

    None where that cannot be looked up; of one that has ended, and lingers as a zombie, "".
    """
    text = _read(f"/proc/{pid}/stat")
    if text is None:
        return None
    # The second field is the program's name in parentheses, which may hold anything.
    state, *fields = text.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _exists(pid: int) -> bool:
    if sys.platform == "win32":
        import ctypes

        query, still_active = 0x1000, 259
        kernel = ctypes.windll.kernel32
        handle = kernel.OpenProcess(query, False, pid)
        code = ctypes.c_ulong()
        known = bool(handle) and kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        kernel.CloseHandle(handle)
        return bool(known) and code.value == still_active
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
