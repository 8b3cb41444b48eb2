"""The command line: ``clvpredict run transactions.csv``."""

from clvpredict.cli import decide, diagnose, refitting, spend
from clvpredict.cli.app import main
from clvpredict.cli.program import app

# These modules add their commands to the app.
__all__ = ["app", "decide", "diagnose", "main", "refitting", "spend"]
