"""The exploration pool: items too new for the ranker to know, which get a share of the draws of their own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .decay import DAY_S
from .item_table import ItemTable

POOL_AGE_S = 7 * DAY_S
POOL_IMPRESSIONS = 100.0  # by then a click rate of 5 % is known to within its half


def new_items(table: ItemTable, rows: NDArray[np.int32], now: float) -> NDArray[np.bool_]:
    """Say which items are young and have had few impressions, shape (len(rows),).

    Young alone would hold on to what everybody has seen by now; few impressions alone would take in the whole long
    tail, and the share of each would be nothing.
    """
    is_young = now - table.created[rows] < POOL_AGE_S
    return is_young & (table.impressions(rows, now) < POOL_IMPRESSIONS)
