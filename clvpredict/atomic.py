"""Files and folders that are there whole or not at all.

What is new is written to a temporary sibling (same folder, so same file system; its name starts
with a dot and ends in ``.tmp``), flushed to the disk, and renamed into place. A failure leaves
what was there before, and no temporary sibling. A process that is killed can leave such a
sibling, which is safe to delete.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Give a path to write to; when the block ends well, it becomes ``target``.

    Parameters
    ----------
    target : Path
        A regular file or nothing. Symbolic links are followed; what is neither (``/dev/null``, a
        named pipe) is written to directly, for replacing it would destroy it.

    Yields
    ------
    Path
        Where to write.
    """
    target = target.resolve()
    if target.exists() and not target.is_file():
        yield target
        return
    temporary = _sibling(target)
    try:
        yield temporary
        if target.exists():
            shutil.copymode(target, temporary)
        _flush(temporary)
        os.replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        _name(error, target)
        raise
    _flush(target.parent)


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder to fill; when the block ends well, it becomes ``target``.

    An existing folder is replaced. On Linux the two change places in one step. Elsewhere the old
    one is renamed away before the new one is renamed into its place, and back if that fails; in
    the moment between, a reader finds neither.

    Parameters
    ----------
    target : Path
        A folder, or nothing. Symbolic links are followed.

    Yields
    ------
    Path
        The folder to fill.
    """
    target = target.resolve()
    temporary = _sibling(target)
    temporary.mkdir()
    try:
        yield temporary
        if target.exists():
            shutil.copymode(target, temporary)
        for path in sorted(temporary.rglob("*")):
            _flush(path)
        _flush(temporary)
        if not target.exists():
            os.replace(temporary, target)
        elif not _exchange(temporary, target):
            _swap(temporary, target)
        _flush(target.parent)
    except BaseException as error:
        _name(error, target)
        raise
    finally:
        # What has the temporary name now: the old folder after an exchange, the new one after a
        # failure, or nothing.
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes that ask here out of a folder, and wait while one is in.

    For what reads a file, changes it and writes it. The lock is the system's and leaves no file:
    it ends with the process, however that ends. Windows has none for folders.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder.resolve(), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sibling(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")


def _name(error: BaseException, target: Path) -> None:
    """Say which file could not be written: on a full disk, writers often do not."""
    if isinstance(error, OSError) and error.errno is not None and error.filename is None:
        error.filename = str(target)


def _flush(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on the disk."""
    if path.is_dir() and sys.platform == "win32":
        return  # Windows has no handle to flush for a folder
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _swap(new: Path, old: Path) -> None:
    """Put ``new`` in the place of ``old``, which is deleted; if that fails, all is as before."""
    aside = _sibling(old)
    os.replace(old, aside)
    try:
        os.replace(new, old)
    except BaseException:
        os.replace(aside, old)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths change places in one step; False where the system cannot."""
    rename = _renameat2()
    if rename is None:
        return False
    paths = (os.fsencode(one), os.fsencode(other))
    return rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0


def _renameat2() -> Callable[..., int] | None:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "renameat2", None)
