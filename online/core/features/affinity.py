"""Features of affinity: how much of the user's interest goes to the item, its categories, brand and price tier."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from online.core.decay import Decay, Weights

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


def shares(table: dict[str, Weights], decay: Decay, now: float, landmark: float) -> dict[str, tuple[float, float]]:
    """Return each key's (recent, lasting) affinity at `now`, as a share of the table's total strength plus one.

    The added one keeps a single click from looking like a settled taste.

    >>> shares({"a": [2.0, 2.0], "b": [1.0, 1.0]}, Decay((60.0, 600.0)), now=0.0, landmark=0.0)["a"]
    (0.5, 0.5)
    """
    fading = decay.fading(now, landmark)
    first, last = fading[0], fading[-1]
    current = [(key, weights[0] * first, weights[-1] * last) for key, weights in table.items()]
    recent = 1.0 + sum([abs(r) for _, r, _ in current])
    lasting = 1.0 + sum([abs(s) for _, _, s in current])
    return {key: (r / recent, s / lasting) for key, r, s in current}


def _fill(x: NDArray[np.float32], scene: Scene) -> None:
    item, category_recent, category_lasting, brand_recent, brand_lasting, tier_lasting = x.T
    table, rows, record = scene.table, scene.found.rows, scene.record
    items, categories, brands, tiers = (
        shares(facet, table.decay, scene.now, record.landmark) for facet in record.affinities
    )
    if items:
        ids = table.ids.codes
        own = {ids[key]: lasting for key, (_, lasting) in items.items() if key in ids}
        item[:] = [own.get(row, 0.0) for row in rows.tolist()]
    # The rows' codes are read before the vocabularies, which may grow meanwhile.
    category, brand, tier = table.category[rows], table.brand[rows], table.tier[rows]
    recent, lasting = _by_code(categories, table.categories.codes)
    category_recent[:] = recent[category].sum(axis=1)
    category_lasting[:] = lasting[category].sum(axis=1)
    recent, lasting = _by_code(brands, table.brands.codes)
    brand_recent[:] = recent[brand]
    brand_lasting[:] = lasting[brand]
    _, lasting = _by_code(tiers, table.tiers.codes)
    tier_lasting[:] = lasting[tier]


def _by_code(
    table: dict[str, tuple[float, float]], codes: dict[str, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (recent, lasting) by code; the extra last element is 0, and is what code −1 reads."""
    recent, lasting = np.zeros(len(codes) + 1, np.float32), np.zeros(len(codes) + 1, np.float32)
    for key, (r, s) in table.items():
        code = codes.get(key)
        if code is not None:
            recent[code], lasting[code] = r, s
    return recent, lasting


AFFINITY = Group("affinity", FEATURES, _fill)
