"""The command line: ``clvpredict run transactions.csv``."""

from clvpredict.cli.app import app, main

__all__ = ["app", "main"]
