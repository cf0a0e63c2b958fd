"""Features of affinity: how much of the user's interest goes to the item, its categories, brand and price tier."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from online.core.row_lists import places, sums_of

from .feature import Feature, Group, State
from .scene import Scene

_OWN: tuple[State, ...] = ("record",)
_BY_FACET: tuple[State, ...] = ("record", "catalogue")

FEATURES = (
    Feature("item_affinity", 0.3, "share", _OWN, "behavioural"),
    Feature("category_recent", 0.1, "share", _BY_FACET, "behavioural"),  # an item's categories add up
    Feature("category_lasting", 0.1, "share", _BY_FACET, "behavioural"),
    Feature("brand_recent", 0.2, "share", _BY_FACET, "behavioural"),
    Feature("brand_lasting", 0.2, "share", _BY_FACET, "behavioural"),
    Feature("price_tier_lasting", 0.15, "share", _BY_FACET, "behavioural"),
)


def _fill(x: NDArray[np.float32], scene: Scene) -> None:
    table, rows, affinities = scene.table, scene.found.rows, scene.profile.affinities
    items, categories, brands, tiers = map(affinities.of, range(4))
    codes, shares = affinities.codes, affinities.shares
    own = places(codes[items], rows)
    x[:, 0] = np.where(own >= 0, shares[own, 1], 0.0) if len(codes) else 0.0
    x[:, 1:3] = sums_of(codes[categories], shares[categories], table.category, rows)
    x[:, 3:5] = sums_of(codes[brands], shares[brands], table.brand[:, None], rows)
    x[:, 5:] = sums_of(codes[tiers], shares[tiers], table.tier[:, None], rows)[:, 1:]


AFFINITY = Group("affinity", FEATURES, _fill)
