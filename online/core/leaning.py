"""What somebody leans to: categories, brands and price tiers by strength, from the record and the session."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .features import shares
from .item_table import ItemTable
from .record import UserRecord

STRONGEST = 8  # keys of each facet that count
FACET_WEIGHTS = (1.0, 0.5, 0.25)  # of category, brand and price tier: the coarser the facet, the less it tells
SESSION_HALF_LIFE = 2.0  # items of the session

Leaning = tuple[dict[int, float], dict[int, float], dict[int, float]]
"""Code -> strength, of category, brand and price tier."""


def leaning(table: ItemTable, record: UserRecord, session: NDArray[np.int32], now: float) -> Leaning:
    """Return the strongest codes of each facet: affinities as they count now, and facets of the session's rows.

    A guest has no affinities and leans to what the session holds, its latest items most.
    """
    session = session[-8:]
    weights = np.exp2(np.arange(1 - len(session), 1) / SESSION_HALF_LIFE)
    weights /= 1.0 + weights.sum()
    codes = (table.categories.codes, table.brands.codes, table.tiers.codes)
    seen = (table.category[session], table.brand[session, None], table.tier[session, None])
    categories, brands, tiers = (
        _strongest(_affinities(table, record, facet, codes[facet], now), seen[facet], weights, FACET_WEIGHTS[facet])
        for facet in range(3)
    )
    return categories, brands, tiers


def _affinities(
    table: ItemTable, record: UserRecord, facet: int, codes: dict[str, int], now: float
) -> dict[int, float]:
    found = shares(record.affinities[facet + 1], table.decay, now, record.landmark)
    return {codes[key]: recent + lasting for key, (recent, lasting) in found.items() if key in codes}


def _strongest(
    strength: dict[int, float], seen: NDArray[np.int32], weights: NDArray[np.float64], facet: float
) -> dict[int, float]:
    for row, weight in zip(seen.tolist(), weights.tolist(), strict=True):
        for code in row:
            if code >= 0:
                strength[code] = strength.get(code, 0.0) + weight
    best = sorted(strength, key=lambda code: (-strength[code], code))[:STRONGEST]
    return {code: facet * strength[code] for code in best if strength[code] > 0.0}


def apportioned(
    lists: Sequence[tuple[float, NDArray[np.int32]]], limit: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return at most `limit` rows of lists (strength, rows best first): how many of each, its strength decides.

    The r-th row of a list scores strength / r, which gives seats by the method of highest averages (D'Hondt 1882); a
    row of several lists scores by all of them.

    >>> rows, scores = apportioned([(2.0, np.array([7, 8, 9])), (1.0, np.array([3, 7]))], 3)
    >>> rows.tolist(), scores.tolist()
    ([7, 3, 8], [2.5, 1.0, 1.0])
    """
    lists = [(strength, rows) for strength, rows in lists if len(rows)]
    if not lists:
        return np.empty(0, np.int32), np.empty(0)
    quotients = np.concatenate([strength / np.arange(1.0, len(rows) + 1.0) for strength, rows in lists])
    rows, at = np.unique(np.concatenate([rows for _, rows in lists]), return_inverse=True)
    scores = np.bincount(at, quotients).astype(np.float64)
    best = np.lexsort((rows, -scores))[:limit]
    return rows[best].astype(np.int32), scores[best]
