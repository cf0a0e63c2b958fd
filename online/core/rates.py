"""Target encodings: decayed clicks per impression of items and their facets, shrunk by empirical Bayes to their parent.

A rate counts its own impressions and κ of its parent's: an item's parent is its first category, a category's, brand's
and price tier's is everything. κ is what the spread between the groups says: for a beta-binomial with mean m and
variance v between groups it is m(1 − m)/v − 1, where v is the moment estimate of Kleinman ("Proportions with
Extraneous Variance", JASA 1973). Groups that differ little are shrunk much.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .item_table import ItemTable

Column = NDArray[np.float64]
MIN_STRENGTH, MAX_STRENGTH = 5.0, 1000.0  # impressions


def strength(shown: Column, clicked: Column) -> float:
    """Return κ of groups by their impressions and clicks; the largest where they show no spread.

    >>> strength(np.array([100.0, 100.0]), np.array([10.0, 10.0])), strength(np.array([1e4] * 2), np.array([9e3, 1e3]))
    (1000.0, 5.0)
    """
    n = float(shown.sum())
    groups = int(np.count_nonzero(shown > 0.0))
    if groups < 2 or n <= 0.0:
        return MAX_STRENGTH
    mean = float(clicked.sum()) / n
    spread = float((shown * (clicked / np.maximum(shown, 1e-9) - mean) ** 2).sum())
    between = (spread - (groups - 1) * mean * (1.0 - mean)) / (n - float((shown**2).sum()) / n)
    if between <= 0.0:
        return MAX_STRENGTH
    return min(max(mean * (1.0 - mean) / between - 1.0, MIN_STRENGTH), MAX_STRENGTH)


class Rates:
    """Rates of a moment, as logarithms against the mean of everything. Facets are looked up by code; −1 reads 0."""

    def __init__(self, table: ItemTable) -> None:
        n = len(table)
        shown, clicked = _counts(table, slice(0, n))
        total = float(shown.sum())
        self.mean = float(clicked.sum()) / total if total > 0.0 else 0.0
        self.item_strength = strength(shown, clicked)
        self.category = self._by_code(table.category[:n, 0], shown, clicked, len(table.categories))
        self.brand = self._by_code(table.brand[:n], shown, clicked, len(table.brands))
        self.tier = self._by_code(table.tier[:n], shown, clicked, len(table.tiers))

    def _by_code(self, codes: NDArray[np.int32], shown: Column, clicked: Column, groups: int) -> Column:
        has = codes >= 0
        shown_by, clicked_by = (np.bincount(codes[has], x[has], groups).astype(np.float64) for x in (shown, clicked))
        rates = np.zeros(len(shown_by) + 1)
        if self.mean > 0.0:
            k = strength(shown_by, clicked_by)
            rates[:-1] = np.log((clicked_by + k * self.mean) / (shown_by + k) / self.mean)
        return rates

    def items(self, table: ItemTable, rows: NDArray[np.int32]) -> Column:
        """Return the rates (c,) of items, shrunk to those of their categories."""
        if self.mean <= 0.0:
            return np.zeros(len(rows))
        shown, clicked = _counts(table, rows)
        parent = self.mean * np.exp(facet(self.category, table.category[rows, 0]))
        rate = (clicked + self.item_strength * parent) / (shown + self.item_strength)
        return np.asarray(np.log(rate / self.mean), np.float64)


def facet(rates: Column, codes: NDArray[np.int32]) -> Column:
    """Return the rates (c,) of codes; what has none, or one newer than the rates, has that of everything."""
    return rates[np.where(codes < len(rates) - 1, codes, -1)]


def _counts(table: ItemTable, rows: slice | NDArray[np.int32]) -> tuple[Column, Column]:
    """Return impressions and clicks; clicks beyond impressions say nothing of a rate."""
    shown, clicked = table.totals[rows, table.halves], table.totals[rows, table.halves + 1]
    return shown, np.minimum(clicked, shown)
