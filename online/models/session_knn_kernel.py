"""The compiled query of session-kNN: the sessions most similar to one, and what they vote for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from online.core.kernel import empty_table, kernel, probe
from online.models.session_index_kernel import (
    BEGUN,
    COUNT,
    HEAD,
    HELD,
    LENGTH,
    MOVED,
    NUMBER,
    OFFSET,
    SIZE,
    Postings,
    Sessions,
)

# numba keeps machine code by the text of its own file: a test holds this to the layout of the index, so that whoever
# changes that changes this file as well, and the code below is compiled anew.
LAYOUT = {
    "sessions": ("keys", "held", "clicks", "offsets", "levels", "items", "item_times", "room", "table"),
    "postings": ("arena", "times", "rings", "counters"),
    "rings": ("OFFSET", "SIZE", "COUNT", "HEAD", "HELD"),
    "counters": ("BEGUN", "USED", "MOVED"),
    "room": ("LENGTH",),
}
POSITIONS = 9  # the match weight 1 - position/10 is 0 from the tenth most recent item on
VOTE, NEXT, NEXT_OF_TWO = range(3)  # columns of the votes


@kernel
def query(
    sessions: Sessions,
    postings: Postings,
    neighbours: int,
    half_life: float,
    recency: float,
    distance: float,
    items: NDArray[np.int32],
    now: float,
    limit: int,
    has_own: bool,
    own: np.uint64,
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Return rows (n,), scores (n,) and successor votes (n, 2) of the best items for a session (oldest item first).

    Successor votes count only items that directly follow the match; of those, the second only the ones where the match
    is the session's last item, right behind the one before. Half-life 0: none.
    """
    recent = _recent(items)
    own_slot = sessions.table[probe(sessions.table, sessions.keys, own)] - 1 if has_own else -1
    slots, similarities, times, matches = _similar(sessions, postings, recent, recency, own_slot)
    if half_life > 0.0:
        similarities *= np.exp2(-np.maximum(now - times, 0.0) / half_life)
    nearest = _best(similarities, times, sessions.keys, slots, neighbours)
    rows, votes = _vote(sessions, slots[nearest], similarities[nearest], matches[nearest], recent, distance)
    scores = votes[:, VOTE].copy()
    begun = float(postings.counters[BEGUN] - postings.counters[MOVED])
    for c in range(rows.size):
        scores[c] *= np.log1p(begun / postings.rings[rows[c], COUNT])
    best = _best(scores, scores, -rows, np.arange(rows.size, dtype=np.int32), limit)
    return rows[best].astype(np.int32), scores[best].astype(np.float32), votes[best, NEXT:].astype(np.float32)


@kernel
def _recent(items: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the most recent distinct items, newest first."""
    recent = np.empty(POSITIONS, np.int32)
    n = 0
    for i in range(items.size - 1, -1, -1):
        if n < POSITIONS and items[i] not in recent[:n]:
            recent[n] = items[i]
            n += 1
    return recent[:n]


@kernel
def _similar(
    sessions: Sessions, postings: Postings, recent: NDArray[np.int32], recency: float, own_slot: int
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]]:
    """Return the sessions that share an item: slots, similarities, latest clicks on one, match positions (1 = newest).

    All is in the postings, which lie in a row: what is kept of a session elsewhere is read of the nearest alone.
    """
    arena, rings, counters = postings.arena, postings.rings, postings.counters
    total = 0
    for item in recent:
        if 0 <= item < rings.shape[0]:
            total += rings[item, HELD]
    slots, matches, table = np.empty(total, np.int32), np.empty(total, np.int32), empty_table(total)
    similarities, times = np.empty(total), np.empty(total)
    kept, newest, n = min(counters[BEGUN], sessions.keys.size), counters[BEGUN] - 1, 0
    newest_slot = newest % sessions.keys.size
    for p in range(recent.size):
        if not 0 <= recent[p] < rings.shape[0]:
            continue
        ring, weight = rings[recent[p]], np.exp(-p / recency)
        for i in range(ring[HEAD], ring[HEAD] + ring[HELD]):
            entry = ring[OFFSET] + (i - ring[SIZE] if i >= ring[SIZE] else i)
            age = (newest - np.int64(arena[entry])) & NUMBER
            slot = newest_slot - age if age <= newest_slot else newest_slot - age + sessions.keys.size
            if age >= kept or slot == own_slot:
                continue  # the session has made room for a newer one, or is the one that asks
            at = probe(table, slots, slot)
            c = table[at] - 1
            if c < 0:
                slots[n], similarities[n], times[n], matches[n] = slot, weight, postings.times[entry], p + 1
                n += 1
                table[at] = n
            else:
                similarities[c] += weight
                times[c] = max(times[c], postings.times[entry])
    return slots[:n], similarities[:n], times[:n], matches[:n]


@kernel
def _vote(
    sessions: Sessions,
    slots: NDArray[np.int32],
    similarities: NDArray[np.float64],
    matches: NDArray[np.int32],
    recent: NDArray[np.int32],
    distance: float,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the rows the neighbours hold, and per row the sum of its holders' similarity x match weight.

    Three sums: every holder's, fading with the steps between the item and the match; that of holders where the item
    directly follows the match; and of those, that of holders where it follows the session's last two items.
    """
    most = sessions.held[slots].sum()
    rows, votes, table = np.empty(most, np.int32), np.zeros((most, 3)), empty_table(most)
    fading = np.exp(-np.arange(sessions.room[LENGTH]) / distance)
    n = 0
    for c in range(slots.size):
        weight = similarities[c] * (1.0 - 0.1 * matches[c])
        first, held, match = sessions.offsets[slots[c]], sessions.held[slots[c]], 0
        while match < held - 1 and sessions.items[first + match] != recent[matches[c] - 1]:
            match += 1
        is_pair = matches[c] == 1 and match > 0 and recent.size > 1 and sessions.items[first + match - 1] == recent[1]
        for i in range(held):
            row = sessions.items[first + i]
            at = probe(table, rows, row)
            if table[at] == 0:
                rows[n] = row
                n += 1
                table[at] = n
            votes[table[at] - 1, VOTE] += weight * fading[abs(i - match)]
            if i == match + 1:
                votes[table[at] - 1, NEXT] += weight
                if is_pair:
                    votes[table[at] - 1, NEXT_OF_TWO] += weight
    return rows[:n], votes[:n]


@kernel
def _best(
    scores: NDArray[np.float64],
    seconds: NDArray[np.float64],
    thirds: NDArray[np.generic],
    at: NDArray[np.int32],
    k: int,
) -> NDArray[np.int64]:
    """Return the indices of the k highest scores, best first (a heap, worst on top).

    Ties go by the seconds, then by the thirds, of which i has that at `at[i]`.
    """
    heap = np.arange(min(k, scores.size))
    for root in range(heap.size // 2 - 1, -1, -1):
        _sift(heap, heap.size, root, scores, seconds, thirds, at)
    for i in range(heap.size, scores.size):
        if _worse(heap[0], i, scores, seconds, thirds, at):
            heap[0] = i
            _sift(heap, heap.size, 0, scores, seconds, thirds, at)
    for end in range(heap.size - 1, 0, -1):
        heap[0], heap[end] = heap[end], heap[0]
        _sift(heap, end, 0, scores, seconds, thirds, at)
    return heap


@kernel
def _sift(
    heap: NDArray[np.int64],
    size: int,
    root: int,
    scores: NDArray[np.float64],
    seconds: NDArray[np.float64],
    thirds: NDArray[np.generic],
    at: NDArray[np.int32],
) -> None:
    while 2 * root + 1 < size:
        child = 2 * root + 1
        if child + 1 < size and _worse(heap[child + 1], heap[child], scores, seconds, thirds, at):
            child += 1
        if not _worse(heap[child], heap[root], scores, seconds, thirds, at):
            return
        heap[root], heap[child] = heap[child], heap[root]
        root = child


@kernel
def _worse(
    a: int,
    b: int,
    scores: NDArray[np.float64],
    seconds: NDArray[np.float64],
    thirds: NDArray[np.generic],
    at: NDArray[np.int32],
) -> bool:
    if scores[a] != scores[b]:
        return bool(scores[a] < scores[b])
    if seconds[a] != seconds[b]:
        return bool(seconds[a] < seconds[b])
    return bool(thirds[at[a]] < thirds[at[b]])
