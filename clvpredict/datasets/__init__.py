"""Transaction logs to try things on: one that is published, and one whose truth is known."""

from clvpredict.datasets.cdnow import load_cdnow
from clvpredict.datasets.shop import Shop, simulate_shop

__all__ = ["Shop", "load_cdnow", "simulate_shop"]
