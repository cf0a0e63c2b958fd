"""The compiled parts of session-kNN: one click into the index, one session against it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from online.core.kernel import kernel, splitmix64

OFFSET, LEVEL, COUNT, HEAD, HELD = range(5)  # columns of Postings.rings
BEGUN, USED, MOVED, FREE = range(4)  # entries of Postings.counters; from FREE on the heads of the free lists
GONE = -1  # count of a slot whose session has become part of another
LEVELS = 32
SMALLEST = 8  # postings of a new item's block
SMALLEST_ROOM = 4  # items of a new session's block
LENGTH, ROOM_USED, ROOM_FREE = range(3)  # entries of Sessions.room; from ROOM_FREE on the heads of the free lists
POSITIONS = 9  # the match weight 1 - position/10 is 0 from the tenth most recent item on
Ties = NDArray[np.float64] | NDArray[np.int64] | NDArray[np.uint64]
NUMBER = np.int64(0xFFFFFFFF)  # a posting keeps the low 32 bits of its session's number


class Sessions(NamedTuple):
    """Slots of sessions, and the hash table that finds them (linear probing; 0 is empty, else slot + 1).

    A session's items stand in a block of one arena, oldest first, at the same time by row; it is doubled from 4 up to
    the bound. The arena has room for any mixture of blocks: what was never used of it takes no memory. A free list per
    level: its head, and the first item of each free block, is the next block's offset + 1.
    """

    keys: NDArray[np.uint64]  # (sessions,)
    times: NDArray[np.float64]  # (sessions,) epoch seconds of the last click
    counts: NDArray[np.int64]  # (sessions,) distinct items ever held, or GONE
    offsets: NDArray[np.int32]  # (sessions,) of their blocks
    levels: NDArray[np.int8]  # (sessions,) of their blocks, 0 for none
    items: NDArray[np.int32]  # (arena_room(sessions, session_length),)
    item_times: NDArray[np.float64]  # (the same,) epoch seconds of the session's last click on each
    room: NDArray[np.int64]  # (2 + LEVELS,): session length, arena entries used, free lists
    table: NDArray[np.int32]  # (power of two of at least twice the sessions,)


class Postings(NamedTuple):
    """Rings of session numbers per item, by time of the click: blocks of one arena, doubled from 8 up to the bound.

    A free list per level: its head, and the first entry of each free block, is the next block's offset + 1.
    """

    arena: NDArray[np.uint32]  # (capacity,)
    times: NDArray[np.float64]  # (capacity,) epoch seconds of the session's last click on the item
    rings: NDArray[np.int64]  # (item capacity, 5): offset, level, sessions with it, place of the oldest, entries
    counters: NDArray[np.int64]  # (3 + LEVELS,): sessions begun, arena entries used, sessions moved, free lists


PER_SESSION = ("keys", "times", "counts", "offsets", "levels")
"""Fields of `Sessions` with one entry per slot."""


def arena_room(sessions: int, length: int) -> int:
    """Return how many items any mixture of blocks can take, free ones of every size among them.

    >>> arena_room(sessions=10, length=20)  # blocks of 4, 8, 16 and 20
    480
    """
    sizes, level = [0], 1
    while sizes[-1] < length:
        sizes.append(min(SMALLEST_ROOM << (level - 1), length))
        level += 1
    return sessions * sum(sizes)


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
        if sessions.counts[slot] != GONE:
            sessions.table[_find(sessions, sessions.keys[slot])] = slot + 1


@kernel
def _remove(sessions: Sessions, slot: int) -> None:
    """Delete a slot's key by shifting back what was displaced over it, so that no tombstones gather."""
    table = sessions.table
    mask = table.size - 1
    hole = _find(sessions, sessions.keys[slot])
    if table[hole] != slot + 1:
        return
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
    _release(sessions, slot)
    insert(sessions, slot, slot + 1)
    return slot


@kernel
def _room(level: int, length: int) -> int:
    return min(SMALLEST_ROOM << (level - 1), length) if level > 0 else 0


@kernel
def _held(sessions: Sessions, slot: int) -> int:
    """Return how many items the session in a slot holds."""
    return int(min(sessions.counts[slot], sessions.room[LENGTH]))


@kernel
def _release(sessions: Sessions, slot: int) -> None:
    """Let a slot's block join the free list."""
    level = sessions.levels[slot]
    if level > 0:
        sessions.items[sessions.offsets[slot]] = sessions.room[ROOM_FREE + level]
        sessions.room[ROOM_FREE + level] = sessions.offsets[slot] + 1
        sessions.levels[slot] = 0


@kernel
def _widen(sessions: Sessions, slot: int) -> None:
    """Move a slot's items to a block of the next level."""
    items, times, room = sessions.items, sessions.item_times, sessions.room
    old, level = int(sessions.offsets[slot]), int(sessions.levels[slot])
    head = room[ROOM_FREE + level + 1]
    if head > 0:
        new = head - 1
        room[ROOM_FREE + level + 1] = items[new]
    else:
        new = room[ROOM_USED]
        room[ROOM_USED] += _room(level + 1, room[LENGTH])
    for i in range(_room(level, room[LENGTH])):
        items[new + i], times[new + i] = items[old + i], times[old + i]
    _release(sessions, slot)
    sessions.offsets[slot], sessions.levels[slot] = new, level + 1


@kernel
def _size(level: int, most: int) -> int:
    return min(SMALLEST << (level - 1), most) if level > 0 else 0


@kernel
def _enlarge(postings: Postings, row: int, most: int) -> None:
    """Move an item's ring to a block of the next level; its old block joins the free list."""
    arena, times, rings, counters = postings
    old, level = rings[row, OFFSET], rings[row, LEVEL]
    head = counters[FREE + level + 1]
    if head > 0:
        new = head - 1
        counters[FREE + level + 1] = arena[new]
    else:
        new = counters[USED]
        counters[USED] += _size(level + 1, most)
    for i in range(_size(level, most)):
        arena[new + i], times[new + i] = arena[old + i], times[old + i]
    if level > 0:
        arena[old] = counters[FREE + level]
        counters[FREE + level] = old + 1
    rings[row, OFFSET] = new
    rings[row, LEVEL] = level + 1


@kernel
def _entry(ring: NDArray[np.int64], i: int, size: int) -> int:
    """Return where in the arena the i-th oldest posting of a ring is."""
    at = ring[HEAD] + i
    return int(ring[OFFSET] + (at - size if at >= size else at))


@kernel
def _number(sessions: Sessions, postings: Postings, slot: int) -> int:
    newest = postings.counters[BEGUN] - 1
    return int(newest - (newest - slot) % sessions.keys.size)


@kernel
def _is_later(sessions: Sessions, postings: Postings, at: int, slot: int, time: float) -> bool:
    """Say whether a posting comes behind one of the session in `slot` at `time`; at the same time by their keys."""
    if postings.times[at] != time:
        return bool(postings.times[at] > time)
    newest = postings.counters[BEGUN] - 1
    age = (newest - np.int64(postings.arena[at])) & NUMBER
    is_kept = age < sessions.keys.size  # else its session has made room for a newer one
    return bool(is_kept and sessions.keys[(newest - age) % sessions.keys.size] > sessions.keys[slot])


@kernel
def _post(sessions: Sessions, postings: Postings, row: int, slot: int, time: float, most: int) -> None:
    """Add a session to an item's ring, in its place by time; a full one drops the oldest."""
    arena, times, ring = postings.arena, postings.times, postings.rings[row]
    size = _size(ring[LEVEL], most)
    if ring[HELD] == size and size < most:
        _enlarge(postings, row, most)
        size = _size(ring[LEVEL], most)
    if ring[HELD] == size:
        if _is_later(sessions, postings, _entry(ring, 0, size), slot, time):
            return
        ring[HEAD] = (ring[HEAD] + 1) % size
        ring[HELD] -= 1
    i = ring[HELD]
    at = _entry(ring, i, size)
    while i > 0:
        before = _entry(ring, i - 1, size)
        if not _is_later(sessions, postings, before, slot, time):
            break
        arena[at], times[at] = arena[before], times[before]
        at = before
        i -= 1
    arena[at], times[at] = _number(sessions, postings, slot) & NUMBER, time
    ring[HELD] += 1


@kernel
def _withdraw(sessions: Sessions, postings: Postings, row: int, slot: int, most: int) -> bool:
    """Take a session out of an item's ring; say whether it was there."""
    arena, times, ring = postings.arena, postings.times, postings.rings[row]
    size, number = _size(ring[LEVEL], most), np.uint32(_number(sessions, postings, slot) & NUMBER)
    i = ring[HELD] - 1
    while i >= 0 and arena[_entry(ring, i, size)] != number:
        i -= 1
    if i < 0:
        return False
    for later in range(i + 1, ring[HELD]):
        at, there = _entry(ring, later - 1, size), _entry(ring, later, size)
        arena[at], times[at] = arena[there], times[there]
    ring[HELD] -= 1
    return True


@kernel
def _click(sessions: Sessions, postings: Postings, slot: int, row: int, time: float, most: int) -> None:
    """Let the session in a slot hold an item, with the time of its last click on it; a full one drops the oldest."""
    length, count, held = sessions.room[LENGTH], sessions.counts[slot], _held(sessions, slot)
    at = _index(sessions.items[sessions.offsets[slot] :], held, row)
    if at < 0 and held < length and held == _room(sessions.levels[slot], length):
        _widen(sessions, slot)
    items, times = sessions.items[sessions.offsets[slot] :], sessions.item_times[sessions.offsets[slot] :]
    is_counted = at >= 0
    if is_counted:
        if time <= times[at]:
            return
        _withdraw(sessions, postings, row, slot, most)
    else:
        at = held
        if held == length:
            at = 0
            if time < times[at]:
                return
            is_counted = _withdraw(sessions, postings, row, slot, most)  # it was dropped
        sessions.counts[slot] = count + 1
    while at + 1 < held and _is_before(times[at + 1], items[at + 1], time, row):
        items[at], times[at] = items[at + 1], times[at + 1]
        at += 1
    while at > 0 and _is_before(time, row, times[at - 1], items[at - 1]):
        items[at], times[at] = items[at - 1], times[at - 1]
        at -= 1
    items[at], times[at] = row, time
    if not is_counted:
        postings.rings[row, COUNT] += 1
    _post(sessions, postings, row, slot, time, most)


@kernel
def _is_before(time: float, row: int, other_time: float, other_row: int) -> bool:
    return bool(time < other_time or (time == other_time and row < other_row))


@kernel
def context(sessions: Sessions, key: np.uint64, time: float) -> NDArray[np.int32]:
    """Return the items a session clicked no later than `time`: rows, oldest first."""
    at = _find(sessions, key)
    if sessions.table[at] == 0:
        return np.empty(0, np.int32)
    slot = int(sessions.table[at]) - 1
    first, held = sessions.offsets[slot], _held(sessions, slot)
    while held > 0 and sessions.item_times[first + held - 1] > time:
        held -= 1
    return sessions.items[first : first + held].copy()


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
        _click(sessions, postings, slot, items[n], timestamps[n], most)
    return items.size


@kernel
def move(sessions: Sessions, postings: Postings, most: int, old: np.uint64, new: np.uint64) -> None:
    """Give a session another key; where one has it already the two become one. The arena has room for its items."""
    at, into = _find(sessions, old), _find(sessions, new)
    if sessions.table[at] == 0:
        return
    slot, target = int(sessions.table[at]) - 1, int(sessions.table[into]) - 1
    _remove(sessions, slot)
    if target < 0:
        sessions.keys[slot] = new
        insert(sessions, slot, slot + 1)
        return
    first = sessions.offsets[slot]
    for at in range(first, first + _held(sessions, slot)):
        row = sessions.items[at]
        _withdraw(sessions, postings, row, slot, most)
        postings.rings[row, COUNT] -= 1
        _click(sessions, postings, target, row, sessions.item_times[at], most)
    sessions.times[target] = max(sessions.times[target], sessions.times[slot])
    sessions.counts[slot] = GONE
    _release(sessions, slot)
    postings.counters[MOVED] += 1


@kernel
def _index(items: NDArray[np.int32], n: int, item: int) -> int:
    """Return where among the first n an item is, -1 for nowhere."""
    for i in range(n):
        if items[i] == item:
            return i
    return -1


@kernel
def query(
    sessions: Sessions,
    postings: Postings,
    most: int,
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
    """Return rows, scores and successor votes of the best items for a session (oldest item first); half-life 0: none.

    Successor votes count only items that directly follow the match.
    """
    recent = _recent(items)
    numbers, similarities, matches = _similar(sessions, postings, most, recent, recency)
    if has_own:
        at = _find(sessions, own)
        for c in range(numbers.size if sessions.table[at] != 0 else 0):
            if numbers[c] % sessions.keys.size == sessions.table[at] - 1:
                numbers[c], similarities[c], matches[c] = numbers[-1], similarities[-1], matches[-1]
                numbers, similarities, matches = numbers[:-1], similarities[:-1], matches[:-1]
                break
    if half_life > 0.0:
        for c in range(numbers.size):
            age = now - sessions.times[numbers[c] % sessions.keys.size]
            similarities[c] *= 2.0 ** (-max(age, 0.0) / half_life)
    slots = numbers % sessions.keys.size
    nearest = _best(similarities, sessions.times[slots], sessions.keys[slots], neighbours)
    rows, votes = _vote(sessions, numbers[nearest], similarities[nearest], matches[nearest], recent, distance)
    scores = votes[:, 0].copy()
    begun = float(postings.counters[BEGUN] - postings.counters[MOVED])
    for c in range(rows.size):
        scores[c] *= np.log1p(begun / postings.rings[rows[c], COUNT])
    best = _best(scores, -rows, -rows, limit)
    return rows[best].astype(np.int32), scores[best].astype(np.float32), votes[best, 1].astype(np.float32)


@kernel
def _recent(items: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the most recent distinct items, newest first."""
    recent = np.empty(POSITIONS, np.int32)
    n = 0
    for i in range(items.size - 1, -1, -1):
        if n < POSITIONS and _index(recent, n, items[i]) < 0:
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
    sessions: Sessions, postings: Postings, most: int, recent: NDArray[np.int32], recency: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return numbers, similarities and match positions (1 = newest item) of sessions that share an item."""
    arena, rings, counters = postings.arena, postings.rings, postings.counters
    total = 0
    for item in recent:
        if 0 <= item < rings.shape[0]:
            total += rings[item, HELD]
    numbers, similarities = np.empty(total, np.int64), np.empty(total, np.float64)
    matches, table = np.empty(total, np.int64), _table(total)
    kept, newest, n = min(counters[BEGUN], sessions.keys.size), counters[BEGUN] - 1, 0
    for p in range(recent.size):
        if not 0 <= recent[p] < rings.shape[0]:
            continue
        ring, size = rings[recent[p]], _size(rings[recent[p], LEVEL], most)
        weight = np.exp(-p / recency)
        for i in range(ring[HELD]):
            age = (newest - np.int64(arena[_entry(ring, i, size)])) & NUMBER
            if age >= kept:
                continue  # the session has made room for a newer one
            at = _probe(table, numbers, newest - age)
            c = table[at] - 1
            if c < 0:
                numbers[n], similarities[n], matches[n] = newest - age, weight, p + 1
                n += 1
                table[at] = n
            else:
                similarities[c] += weight
    return numbers[:n], similarities[:n], matches[:n]


@kernel
def _vote(
    sessions: Sessions,
    numbers: NDArray[np.int64],
    similarities: NDArray[np.float64],
    matches: NDArray[np.int64],
    recent: NDArray[np.int32],
    distance: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows the neighbours hold, and per row the sum of its holders' similarity x match weight.

    Two sums: every holder's, fading with the steps between the item and the match; and that of holders where the item
    directly follows the match.
    """
    slots = numbers % sessions.keys.size
    most = 0
    for slot in slots:
        most += _held(sessions, slot)
    rows, votes = np.empty(most, np.int64), np.zeros((most, 2), np.float64)
    fading = np.exp(-np.arange(sessions.room[LENGTH] + 1) / distance)
    table = _table(most)
    n = 0
    for c in range(numbers.size):
        weight = similarities[c] * (1.0 - 0.1 * matches[c])
        items, held = sessions.items[sessions.offsets[slots[c]] :], _held(sessions, slots[c])
        # -1, before all others, where the session holds that click no more.
        match = _index(items, held, recent[matches[c] - 1])
        for i in range(held):
            row = int(items[i])
            at = _probe(table, rows, row)
            if table[at] == 0:
                rows[n] = row
                n += 1
                table[at] = n
            votes[table[at] - 1, 0] += weight * fading[abs(i - match)]
            if match >= 0 and i == match + 1:
                votes[table[at] - 1, 1] += weight
    return rows[:n], votes[:n]


@kernel
def _best(scores: NDArray[np.float64], seconds: Ties, thirds: Ties, k: int) -> NDArray[np.int64]:
    """Return the indices of the k highest scores, best first, ties by the seconds and thirds (a heap, worst on top)."""
    heap = np.arange(min(k, scores.size))
    for root in range(heap.size // 2 - 1, -1, -1):
        _sift(heap, heap.size, root, scores, seconds, thirds)
    for i in range(heap.size, scores.size):
        if _worse(heap[0], i, scores, seconds, thirds):
            heap[0] = i
            _sift(heap, heap.size, 0, scores, seconds, thirds)
    for end in range(heap.size - 1, 0, -1):
        heap[0], heap[end] = heap[end], heap[0]
        _sift(heap, end, 0, scores, seconds, thirds)
    return heap


@kernel
def _sift(
    heap: NDArray[np.int64], size: int, root: int, scores: NDArray[np.float64], seconds: Ties, thirds: Ties
) -> None:
    while 2 * root + 1 < size:
        child = 2 * root + 1
        if child + 1 < size and _worse(heap[child + 1], heap[child], scores, seconds, thirds):
            child += 1
        if not _worse(heap[child], heap[root], scores, seconds, thirds):
            return
        heap[root], heap[child] = heap[child], heap[root]
        root = child


@kernel
def _worse(a: int, b: int, scores: NDArray[np.float64], seconds: Ties, thirds: Ties) -> bool:
    if scores[a] != scores[b]:
        return bool(scores[a] < scores[b])
    if seconds[a] != seconds[b]:
        return bool(seconds[a] < seconds[b])
    return bool(thirds[a] < thirds[b])
