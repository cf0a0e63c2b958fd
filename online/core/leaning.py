"""What somebody leans to: categories, brands and price tiers by strength, from the record and the session."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .item_table import ItemTable
from .kernel import kernel
from .profile import Profile

STRONGEST = 8  # keys of each facet that count
FACET_WEIGHTS = (1.0, 0.5, 0.25)  # of category, brand and price tier: the coarser the facet, the less it tells
SESSION_ITEMS = 8  # of a session's latest that count
SESSION_HALF_LIFE = 2.0  # items of the session


class Leaning(NamedTuple):
    """Codes somebody leans to, facet after facet, the strongest of each first."""

    facets: NDArray[np.int64]  # (k,) 0 for category, 1 for brand, 2 for price tier
    codes: NDArray[np.int32]  # (k,)
    strengths: NDArray[np.float64]  # (k,)


def leaning(table: ItemTable, profile: Profile, session: NDArray[np.int32]) -> Leaning:
    """Return the strongest codes of each facet: affinities as they count now, and facets of the session's rows.

    A guest has no affinities and leans to what the session holds, its latest items most.
    """
    codes, _, shares, bounds = profile.affinities
    return Leaning(
        *_leaning(
            codes, shares, bounds, session[-SESSION_ITEMS:], table.category, table.brand[:, None], table.tier[:, None]
        )
    )


@kernel
def _leaning(
    codes: NDArray[np.int32],
    shares: NDArray[np.float64],
    bounds: NDArray[np.int64],
    session: NDArray[np.int32],  # (s,) rows, oldest first
    category: NDArray[np.int32],  # (items, w)
    brand: NDArray[np.int32],  # (items, 1)
    tier: NDArray[np.int32],  # (items, 1)
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
    facets, best = np.empty(3 * STRONGEST, np.int64), np.empty(3 * STRONGEST, np.int32)
    strengths, n = np.empty(3 * STRONGEST), 0
    for facet in range(3):
        own = slice(bounds[facet + 1], bounds[facet + 2])
        of_items = category if facet == 0 else brand if facet == 1 else tier
        found, found_strengths = _strongest(codes[own], shares[own], session, of_items)
        for i in range(len(found)):
            facets[n], best[n], strengths[n] = facet, found[i], FACET_WEIGHTS[facet] * found_strengths[i]
            n += 1
    return facets[:n], best[:n], strengths[:n]


@kernel
def _strongest(
    codes: NDArray[np.int32],  # (k,) distinct, negative for unknown ones
    shares: NDArray[np.float64],  # (k, 2)
    session: NDArray[np.int32],  # (s,)
    of_items: NDArray[np.int32],  # (items, w) codes by row, negative for none
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    room = len(codes) + len(session) * of_items.shape[1]
    found, strengths, n = np.empty(room, np.int32), np.zeros(room), 0
    for i in range(len(codes)):
        if codes[i] >= 0:
            found[n], strengths[n] = codes[i], shares[i, 0] + shares[i, 1]
            n += 1
    weights = 2.0 ** (np.arange(1 - len(session), 1) / SESSION_HALF_LIFE)
    weights /= 1.0 + weights.sum()
    for i in range(len(session)):
        for code in of_items[session[i]]:
            if code >= 0:
                at = 0
                while at < n and found[at] != code:
                    at += 1
                found[at] = code
                strengths[at] += weights[i]
                n = max(n, at + 1)
    kept = 0
    while kept < min(n, STRONGEST):  # selection: few of few
        best = kept
        for i in range(kept + 1, n):
            if strengths[i] > strengths[best] or (strengths[i] == strengths[best] and found[i] < found[best]):
                best = i
        if strengths[best] <= 0.0:
            break
        found[kept], found[best] = found[best], found[kept]
        strengths[kept], strengths[best] = strengths[best], strengths[kept]
        kept += 1
    return found[:kept], strengths[:kept]
