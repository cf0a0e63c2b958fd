"""Toplists: items ranked for everybody and within each segment of the catalogue, read by every request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .item_table import ItemTable

EVERYBODY_ITEMS, SEGMENT_ITEMS = 200, 50  # of a list
RISING_ITEMS = 5000  # of the whole table, the most trending and the newest are ranked within segments

Rows = NDArray[np.int32]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Toplist:
    """Rows by one score, best first: of all items, and by code of each category, brand and price tier."""

    everybody: Rows
    by_facet: tuple[Sequence[Rows], Sequence[Rows], Sequence[Rows]]


class Toplists:
    """What is popular, trending and new as of a moment. One sort and a few passes over the table, whatever it holds."""

    def __init__(self, table: ItemTable, now: float, limit: int = EVERYBODY_ITEMS) -> None:
        rows = np.arange(len(table), dtype=np.int32)
        eligible = table.is_eligible(rows, now)
        popularity = table.popularity(now)[: len(rows)] * eligible[:, None]
        self.computed_at = now
        self.popular = _toplist(table, table.standing(rows, now) * eligible, limit, len(rows))
        self.trending = _toplist(table, _rise(popularity), limit, RISING_ITEMS)
        age = np.maximum(now - table.created[: len(rows)], 0.0)
        youth = np.where(eligible & np.isfinite(age), 1.0 / (1.0 + age), 0.0)
        self.new = _toplist(table, youth, limit, RISING_ITEMS)


def _rise(popularity: Floats) -> Floats:
    """Return the fast share of popularity (n,), with a floor that keeps single clicks from topping the list."""
    middle = popularity[:, popularity.shape[1] // 2]
    floor = np.quantile(middle[middle > 0], 0.75) if (middle > 0).any() else 1.0
    rise: Floats = popularity[:, 0] ** 2 / (middle + floor)
    return rise


def _toplist(table: ItemTable, scores: Floats, limit: int, ranked: int) -> Toplist:
    """Rank rows by score, at most `ranked` of them within segments; rows without score are left out."""
    best = top_rows(scores, ranked)
    facets = (
        (table.category[best], len(table.categories)),
        (table.brand[best, None], len(table.brands)),
        (table.tier[best, None], len(table.tiers)),
    )
    categories, brands, tiers = (_grouped(best, codes, groups) for codes, groups in facets)
    return Toplist(best[:limit], (categories, brands, tiers))


def top_rows(scores: Floats, limit: int) -> Rows:
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


def _grouped(best: Rows, codes: NDArray[np.int32], groups: int) -> list[Rows]:
    """Return each group's rows in their order, at most `SEGMENT_ITEMS`; `codes` are (n, of a row), -1 for none."""
    rows, flat = np.repeat(best, codes.shape[1]), codes.ravel()
    known = flat >= 0
    rows, flat = rows[known], flat[known]
    by_code = np.argsort(flat, kind="stable")
    rows, flat = rows[by_code], flat[by_code]
    bounds = np.searchsorted(flat, np.arange(groups + 1))
    return [rows[a : min(b, a + SEGMENT_ITEMS)] for a, b in pairwise(bounds.tolist())]
