"""Artefacts on disk, in open formats and written atomically: models and tables."""

from clvpredict.store.models import load_model, save_model
from clvpredict.store.tables import read_table, write_table

__all__ = ["load_model", "read_table", "save_model", "write_table"]
