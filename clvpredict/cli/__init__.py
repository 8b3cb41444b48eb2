"""The command line: ``clvpredict run transactions.csv``."""

from clvpredict.cli import diagnose
from clvpredict.cli.app import app, main

# `diagnose` adds its commands to the app.
__all__ = ["app", "diagnose", "main"]
