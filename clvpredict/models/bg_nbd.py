"""BG/NBD."""

from __future__ import annotations

from clvpredict.models.geometric_dropout import GeometricDropout


class BGNBDModel(GeometricDropout):
    """Dropout can follow each repeat purchase, never the first one.

    So a customer without a repeat purchase is alive for certain: P(alive) = 1 at x = 0.
    """

    name = "bg/nbd"
    title = "BG/NBD"
    citation = (
        "Fader, Hardie & Lee (2005), 'Counting your customers' the easy way: an alternative to "
        "the Pareto/NBD model. Marketing Science 24(2), 275-284."
    )
    dropout_at_start = 0
