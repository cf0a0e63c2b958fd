from __future__ import annotations

import numpy as np

from online.core.decay import DAY_S, Decay
from online.core.item_stats import ItemStats
from online.core.item_table import ItemTable
from online.core.pool import POOL_AGE_S, POOL_IMPRESSIONS, new_items
from online.core.record import TYPE_CODES
from online.core.update import Update
from schemas.item import Item

T0 = Decay().landmark(1_700_000_000.0)
IMPRESSION = TYPE_CODES["impression"]


def table(**items: tuple[float, float]) -> ItemTable:
    """Items of an age at T0 with so many impressions at T0."""
    made = ItemTable(partitions=1)
    stats = {}
    for item, (age, impressions) in items.items():
        made.put(Item(item_id=item, updated_at=T0, created_at=T0 - age))
        stats[item] = ItemStats(T0, [1.0] * 3, {IMPRESSION: impressions}, T0, T0)
    made.apply(Update(0, 1, stats, []))
    return made


def test_young_items_with_few_impressions_are_new() -> None:
    made = table(new=(DAY_S, 3.0), shown=(DAY_S, POOL_IMPRESSIONS + 1), old=(POOL_AGE_S + 1, 3.0))

    assert new_items(made, np.arange(3, dtype=np.int32), T0).tolist() == [True, False, False]
    assert new_items(made, np.array([2, 0], np.int32), T0).tolist() == [False, True]
