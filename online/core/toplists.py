"""Toplists: ranked lists over the whole item table, computed now and then, read by every request."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .item_table import ItemTable


def top_rows(scores: NDArray[np.float64], limit: int) -> NDArray[np.int32]:
    """Return the rows with the highest positive scores, best first, ties by row.

    >>> top_rows(np.array([1.0, 3.0, 0.0, 3.0]), 3).tolist()
    [1, 3, 0]
    """
    limit = min(limit, int(np.count_nonzero(scores > 0)))
    if limit == 0:
        return np.empty(0, np.int32)
    cut = np.partition(scores, len(scores) - limit)[len(scores) - limit]
    rows = np.flatnonzero(scores >= cut)
    return rows[np.lexsort((rows, -scores[rows]))][:limit].astype(np.int32)


class Toplists:
    """Ranked lists over the whole table, recomputed by the worker's follower, read by every request."""

    def __init__(self, table: ItemTable, now: float, limit: int = 200) -> None:
        eligible = table.is_eligible(np.arange(len(table), dtype=np.int32), now)
        popularity = table.popularity(now) * eligible[:, None]
        middle = popularity[:, table.halves // 2]
        self.computed_at = now
        self.popular = top_rows(middle, limit)
        # rising = the fast share of popularity, with a floor that keeps single clicks from topping the list
        floor = np.quantile(middle[middle > 0], 0.75) if (middle > 0).any() else 1.0
        self.trending = top_rows(popularity[:, 0] ** 2 / (middle + floor), limit)
        age = now - table.created[: len(table)]
        self.new = top_rows(np.where(eligible & np.isfinite(age), 1.0 / (1.0 + np.maximum(age, 0.0)), 0.0), limit)
        self.by_category = _grouped(table.category[: len(table), 0], middle, len(table.categories))
        self.by_brand = _grouped(table.brand[: len(table)], middle, len(table.brands))


def _grouped(
    codes: NDArray[np.int32], scores: NDArray[np.float64], groups: int, limit: int = 50
) -> list[NDArray[np.int32]]:
    """Return each group's rows by falling score, at most `limit`; rows without score or group are left out."""
    rows = np.flatnonzero((codes >= 0) & (scores > 0)).astype(np.int32)
    rows = rows[np.lexsort((rows, -scores[rows], codes[rows]))]
    bounds = np.searchsorted(codes[rows], np.arange(groups + 1))
    return [rows[a : min(b, a + limit)] for a, b in pairwise(bounds.tolist())]
