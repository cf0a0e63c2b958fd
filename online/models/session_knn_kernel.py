"""The compiled parts of session-kNN: one click into the rings, one session against them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from online.core.kernel import kernel, splitmix64

OFFSET, LEVEL, COUNT = 0, 1, 2  # columns of Postings.rings
BEGUN, USED, FREE = 0, 1, 2  # entries of Postings.counters; from FREE on the heads of the free lists
LEVELS = 32
SMALLEST = 8  # postings of a new item's block
POSITIONS = 9  # the match weight 1 - position/10 is 0 from the tenth most recent item on
NUMBER = np.int64(0xFFFFFFFF)  # a posting keeps the low 32 bits of its session's number


class Sessions(NamedTuple):
    """Slots of sessions, and the hash table that finds them (linear probing; 0 is empty, else slot + 1)."""

    keys: NDArray[np.uint64]  # (sessions,)
    times: NDArray[np.float64]  # (sessions,) epoch seconds of the last click
    counts: NDArray[np.int64]  # (sessions,) items ever added to the ring
    items: NDArray[np.int32]  # (sessions, session_length) rings
    table: NDArray[np.int32]  # (power of two of at least twice the sessions,)


class Postings(NamedTuple):
    """Rings of session numbers per item: blocks of one arena, doubled from 8 entries up to the bound.

    A free list per level: its head, and the first entry of each free block, is the next block's offset + 1.
    """

    arena: NDArray[np.uint32]  # (capacity,)
    rings: NDArray[np.int64]  # (item capacity, 3): offset, level, sessions ever added
    counters: NDArray[np.int64]  # (2 + LEVELS,): sessions begun, arena entries used, free list per level


@kernel
def _home(sessions: Sessions, key: np.uint64) -> int:
    return int(np.int64(splitmix64(key) & np.uint64(sessions.table.size - 1)))


@kernel
def _find(sessions: Sessions, key: np.uint64) -> int:
    """Return the table position of a key, or the empty position where it would go."""
    at = _home(sessions, key)
    while sessions.table[at] != 0 and sessions.keys[sessions.table[at] - 1] != key:
        at = (at + 1) & (sessions.table.size - 1)
    return at


@kernel
def insert(sessions: Sessions, first: int, last: int) -> None:
    """Make the keys of slots from `first` up to, not including, `last` findable."""
    for slot in range(first, last):
        sessions.table[_find(sessions, sessions.keys[slot])] = slot + 1


@kernel
def _remove(sessions: Sessions, slot: int) -> None:
    """Delete a slot's key by shifting back what was displaced over it, so that no tombstones gather."""
    table = sessions.table
    mask = table.size - 1
    hole = _find(sessions, sessions.keys[slot])
    at = (hole + 1) & mask
    while table[at] != 0:
        home = _home(sessions, sessions.keys[table[at] - 1])
        if (at - home) & mask >= (at - hole) & mask:
            table[hole] = table[at]
            hole = at
        at = (at + 1) & mask
    table[hole] = 0


@kernel
def _begin(sessions: Sessions, begun: int, key: np.uint64) -> int:
    """Give a new session the slot of the oldest and return it."""
    slot = begun % sessions.keys.size
    if begun >= sessions.keys.size:
        _remove(sessions, slot)
    sessions.keys[slot] = key
    sessions.times[slot] = -np.inf
    sessions.counts[slot] = 0
    insert(sessions, slot, slot + 1)
    return slot


@kernel
def _size(level: int, most: int) -> int:
    return min(SMALLEST << (level - 1), most) if level > 0 else 0


@kernel
def _enlarge(postings: Postings, row: int, most: int) -> None:
    """Move an item's ring to a block of the next level; its old block joins the free list."""
    arena, rings, counters = postings
    old, level = rings[row, OFFSET], rings[row, LEVEL]
    head = counters[FREE + level + 1]
    if head > 0:
        new = head - 1
        counters[FREE + level + 1] = arena[new]
    else:
        new = counters[USED]
        counters[USED] += _size(level + 1, most)
    for i in range(_size(level, most)):
        arena[new + i] = arena[old + i]
    if level > 0:
        arena[old] = counters[FREE + level]
        counters[FREE + level] = old + 1
    rings[row, OFFSET] = new
    rings[row, LEVEL] = level + 1


@kernel
def _post(postings: Postings, row: int, number: int, most: int) -> None:
    """Add a session number to an item's ring."""
    ring = postings.rings[row]
    size = _size(ring[LEVEL], most)
    if ring[COUNT] == size and size < most:
        _enlarge(postings, row, most)
        size = _size(ring[LEVEL], most)
    postings.arena[ring[OFFSET] + ring[COUNT] % size] = number & NUMBER
    ring[COUNT] += 1


@kernel
def learn(
    sessions: Sessions,
    postings: Postings,
    most: int,
    keys: NDArray[np.uint64],
    items: NDArray[np.int32],
    timestamps: NDArray[np.float64],
    done: int,
) -> int:
    """Learn the clicks from `done` on; return how many are done, fewer than given if the arena must grow."""
    n_slots, length = sessions.items.shape
    for n in range(done, items.size):
        if postings.counters[USED] + most > postings.arena.size:
            return n
        at = _find(sessions, keys[n])
        if sessions.table[at] != 0:
            slot = int(sessions.table[at]) - 1
        else:
            slot = _begin(sessions, postings.counters[BEGUN], keys[n])
            postings.counters[BEGUN] += 1
        sessions.times[slot] = max(sessions.times[slot], timestamps[n])
        ring, count = sessions.items[slot], sessions.counts[slot]
        if not _holds(ring, min(count, length), items[n]):
            ring[count % length] = items[n]
            sessions.counts[slot] = count + 1
            newest = postings.counters[BEGUN] - 1
            _post(postings, items[n], newest - (newest - slot) % n_slots, most)
    return items.size


@kernel
def _holds(items: NDArray[np.int32], n: int, item: int) -> bool:
    for i in range(n):  # noqa: SIM110  numba compiles no any() over a generator
        if items[i] == item:
            return True
    return False


@kernel
def query(
    sessions: Sessions,
    postings: Postings,
    most: int,
    neighbours: int,
    half_life: float,
    items: NDArray[np.int32],
    now: float,
    limit: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return rows and scores of the best items for a session (oldest item first); half-life 0: no decay."""
    recent = _recent(items)
    numbers, similarities, matches = _similar(sessions, postings, most, recent)
    if half_life > 0.0:
        for c in range(numbers.size):
            age = now - sessions.times[numbers[c] % sessions.keys.size]
            similarities[c] *= 2.0 ** (-max(age, 0.0) / half_life)
    nearest = _best(similarities, numbers, neighbours)
    rows, scores = _vote(sessions, numbers[nearest], similarities[nearest], matches[nearest])
    begun = float(postings.counters[BEGUN])
    for c in range(rows.size):
        scores[c] *= np.log1p(begun / postings.rings[rows[c], COUNT])
    best = _best(scores, -rows, limit)
    return rows[best].astype(np.int32), scores[best].astype(np.float32)


@kernel
def _recent(items: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the most recent distinct items, newest first."""
    recent = np.empty(POSITIONS, np.int32)
    n = 0
    for i in range(items.size - 1, -1, -1):
        if n < POSITIONS and not _holds(recent, n, items[i]):
            recent[n] = items[i]
            n += 1
    return recent[:n]


@kernel
def _probe(table: NDArray[np.int32], held: NDArray[np.int64], key: int) -> int:
    """Return the position of `key` in a table of index + 1 into `held`, or the empty one where it goes."""
    mask = table.size - 1
    at = int(np.int64(splitmix64(np.uint64(key)) & np.uint64(mask)))
    while table[at] != 0 and held[table[at] - 1] != key:
        at = (at + 1) & mask
    return at


@kernel
def _table(n: int) -> NDArray[np.int32]:
    size = 16
    while size < 2 * n:
        size *= 2
    return np.zeros(size, np.int32)


@kernel
def _similar(
    sessions: Sessions, postings: Postings, most: int, recent: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return numbers, similarities and match positions (1 = newest item) of sessions that share an item."""
    arena, rings, counters = postings
    total = 0
    for item in recent:
        if 0 <= item < rings.shape[0]:
            total += min(rings[item, COUNT], most)
    numbers, similarities = np.empty(total, np.int64), np.empty(total, np.float64)
    matches, latest = np.empty(total, np.int64), np.empty(total, np.int64)
    table = _table(total)
    kept, newest, n = min(counters[BEGUN], sessions.keys.size), counters[BEGUN] - 1, 0
    for p in range(recent.size):
        if not 0 <= recent[p] < rings.shape[0]:
            continue
        offset, count = rings[recent[p], OFFSET], rings[recent[p], COUNT]
        weight = (recent.size - p) / recent.size
        for i in range(min(count, most)):
            age = (newest - np.int64(arena[offset + i])) & NUMBER
            if age >= kept:
                continue  # the session has made room for a newer one
            at = _probe(table, numbers, newest - age)
            c = table[at] - 1
            if c < 0:
                numbers[n], similarities[n], matches[n], latest[n] = newest - age, weight, p + 1, p
                n += 1
                table[at] = n
            elif latest[c] != p:  # a session that dropped the item and clicked it again is posted twice
                similarities[c] += weight
                latest[c] = p
    return numbers[:n], similarities[:n], matches[:n]


@kernel
def _vote(
    sessions: Sessions,
    numbers: NDArray[np.int64],
    similarities: NDArray[np.float64],
    matches: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows the neighbours hold, and per row the sum of its holders' similarity x match weight."""
    n_slots, length = sessions.items.shape
    rows, scores = np.empty(numbers.size * length, np.int64), np.zeros(numbers.size * length, np.float64)
    table = _table(rows.size)
    n = 0
    for c in range(numbers.size):
        slot = numbers[c] % n_slots
        weight = similarities[c] * (1.0 - 0.1 * matches[c])
        for i in range(min(sessions.counts[slot], length)):
            row = int(sessions.items[slot, i])
            at = _probe(table, rows, row)
            if table[at] == 0:
                rows[n] = row
                n += 1
                table[at] = n
            scores[table[at] - 1] += weight
    return rows[:n], scores[:n]


@kernel
def _best(scores: NDArray[np.float64], keys: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Return the indices of the k highest scores, best first, ties by higher key (a heap, worst on top)."""
    heap = np.arange(min(k, scores.size))
    for root in range(heap.size // 2 - 1, -1, -1):
        _sift(heap, heap.size, root, scores, keys)
    for i in range(heap.size, scores.size):
        if _worse(heap[0], i, scores, keys):
            heap[0] = i
            _sift(heap, heap.size, 0, scores, keys)
    for end in range(heap.size - 1, 0, -1):
        heap[0], heap[end] = heap[end], heap[0]
        _sift(heap, end, 0, scores, keys)
    return heap


@kernel
def _sift(heap: NDArray[np.int64], size: int, root: int, scores: NDArray[np.float64], keys: NDArray[np.int64]) -> None:
    while 2 * root + 1 < size:
        child = 2 * root + 1
        if child + 1 < size and _worse(heap[child + 1], heap[child], scores, keys):
            child += 1
        if not _worse(heap[child], heap[root], scores, keys):
            return
        heap[root], heap[child] = heap[child], heap[root]
        root = child


@kernel
def _worse(a: int, b: int, scores: NDArray[np.float64], keys: NDArray[np.int64]) -> bool:
    return bool(scores[a] < scores[b] or (scores[a] == scores[b] and keys[a] < keys[b]))
