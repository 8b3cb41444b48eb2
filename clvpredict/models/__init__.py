"""Formulas from the papers."""
