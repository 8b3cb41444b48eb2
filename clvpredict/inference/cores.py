"""How many cores this process may use."""

from __future__ import annotations

import os


def usable_cores(wanted: int | None = None) -> int:
    """The cores that the process may run on, or fewer if fewer are wanted; at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every platform
    available = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(available, wanted or available))
