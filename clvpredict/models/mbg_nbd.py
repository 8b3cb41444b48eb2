"""MBG/NBD."""

from __future__ import annotations

from clvpredict.models.geometric_dropout import GeometricDropout


class MBGNBDModel(GeometricDropout):
    """Dropout can follow every purchase, the first one too."""

    name = "mbg/nbd"
    title = "MBG/NBD"
    citation = (
        "Batislam, Denizel & Filiztekin (2007), Empirical validation and comparison of models "
        "for customer base analysis. IJRM 24(3), 201-209; Hoppe & Wagner (2007), "
        "Customer base analysis: the case for a central variant of the Betageometric/NBD model. "
        "Marketing JRM 2, 75-90."
    )
    dropout_at_start = 1
