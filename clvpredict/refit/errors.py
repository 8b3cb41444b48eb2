"""What ends a scheduled run, besides the errors of what it calls."""

from __future__ import annotations

from clvpredict.errors import ClvError


class LockedError(ClvError, RuntimeError):
    """Another run works in the same store."""


class SourceError(ClvError, OSError):
    """The transactions could not be read after all attempts, for a cause that may pass."""


class PublishError(ClvError, OSError):
    """Predictions could not be written to a target; what was published before is still there."""
