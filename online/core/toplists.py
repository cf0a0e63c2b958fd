"""Toplists: items ranked for everybody and within each segment of the catalogue, read by every request."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .item_table import ItemTable
from .leaning import Leaning
from .row_lists import apportioned

EVERYBODY_ITEMS, SEGMENT_ITEMS = 200, 50  # of a list
RISING_ITEMS = 5000  # of the whole table, the most trending and the newest are ranked within segments

Rows = NDArray[np.int32]
Floats = NDArray[np.float64]


class Toplist(NamedTuple):
    """Lists of rows by one score, best first: of all items, then by code of each category, brand and price tier."""

    rows: Rows  # of all lists, one behind another
    bounds: NDArray[np.int64]  # where each begins, and the last ends
    starts: NDArray[np.int64]  # (4,) number of each facet's first list, and how many lists there are

    @property
    def everybody(self) -> Rows:
        """The list of all items."""
        return self.rows[: self.bounds[1]]

    def of(self, facet: int, code: int) -> Rows:
        """Return the list of a category (facet 0), a brand (1) or a price tier (2)."""
        number = self.starts[facet] + code
        return self.rows[self.bounds[number] : self.bounds[number + 1]]

    def apportioned(self, leaning: Leaning, limit: int, *, everybody: float = 0.0) -> tuple[Rows, Floats]:
        """Return at most `limit` rows of the lists that somebody leans to, and of everybody's by its strength."""
        return apportioned(*self, *leaning, everybody, limit)


class Toplists:
    """What is popular, trending and new as of a moment. One sort and a few passes over the table, whatever it holds."""

    def __init__(self, table: ItemTable, now: float, limit: int = EVERYBODY_ITEMS) -> None:
        rows = np.arange(len(table), dtype=np.int32)
        eligible = table.is_eligible(rows, now)
        popularity = table.popularity(now)[: len(rows)] * eligible[:, None]
        self.computed_at = now
        self.popular = _toplist(table, top_rows(table.standing(rows, now) * eligible, len(rows)), limit)
        rising = top_rows(_rise(popularity), RISING_ITEMS)
        self.trending = _toplist(table, rising, limit)
        age = np.maximum(now - table.created[: len(rows)], 0.0)
        youth = np.where(eligible & np.isfinite(age), 1.0 / (1.0 + age), 0.0)
        newest = top_rows(youth, RISING_ITEMS)
        self.new = _toplist(table, newest, limit)
        self.listings: dict[str, Rows] = {"trending": rising, "latest": newest}  # in full, best first


def _rise(popularity: Floats) -> Floats:
    """Return the fast share of popularity (n,), with a floor that keeps single clicks from topping the list."""
    middle = popularity[:, popularity.shape[1] // 2]
    floor = np.quantile(middle[middle > 0], 0.75) if (middle > 0).any() else 1.0
    rise: Floats = popularity[:, 0] ** 2 / (middle + floor)
    return rise


def _toplist(table: ItemTable, best: Rows, limit: int) -> Toplist:
    """Return the lists of ranked rows, best first."""
    facets = (
        (table.category[best], len(table.categories)),
        (table.brand[best, None], len(table.brands)),
        (table.tier[best, None], len(table.tiers)),
    )
    grouped = [_grouped(best, codes, groups) for codes, groups in facets]
    everybody = best[:limit]
    bounds = np.cumsum(np.concatenate([[0, len(everybody)], *(lengths for _, lengths in grouped)]))
    starts = np.cumsum([1, *(groups for _, groups in facets)])
    return Toplist(np.concatenate([everybody, *(rows for rows, _ in grouped)]), bounds, starts)


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


def _grouped(best: Rows, codes: NDArray[np.int32], groups: int) -> tuple[Rows, NDArray[np.int64]]:
    """Return each group's rows in their order, at most `SEGMENT_ITEMS`, one group behind another, and their numbers.

    `codes` are (n, of a row), -1 for none.
    """
    rows, flat = np.repeat(best, codes.shape[1]), codes.ravel()
    known = flat >= 0
    rows, flat = rows[known], flat[known]
    by_code = np.argsort(flat, kind="stable")
    rows, flat = rows[by_code], flat[by_code]
    counts = np.bincount(flat, minlength=groups)
    place = np.arange(len(flat)) - (np.cumsum(counts) - counts)[flat]
    return rows[place < SEGMENT_ITEMS], np.minimum(counts, SEGMENT_ITEMS)
