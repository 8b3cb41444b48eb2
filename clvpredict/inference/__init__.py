"""Inference, written once for any model; it names none."""
