"""The compiled index of session-kNN: what a click, or a session's new key, changes in it.

A posting stands for an item that a session holds; a full ring lacks its oldest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from online.core.kernel import kernel, probe, splitmix64

OFFSET, SIZE, COUNT, HEAD, HELD = range(5)  # columns of Postings.rings
BEGUN, USED, MOVED, FREE = range(4)  # entries of Postings.counters; from FREE on the heads of the free lists
GONE = -1  # items of a slot whose session has become part of another
LEVELS = 32
SMALLEST = 8  # postings of a new item's block
SMALLEST_ROOM = 4  # items of a new session's block
LENGTH, ROOM_USED, ROOM_FREE = range(3)  # entries of Sessions.room; from ROOM_FREE on the heads of the free lists
NUMBER = np.int64(0xFFFFFFFF)  # a posting keeps the low 32 bits of its session's number


class Sessions(NamedTuple):
    """Slots of sessions, and the hash table that finds them (linear probing; 0 is empty, else slot + 1).

    A session's items stand in a block of one arena, oldest first, at the same time by row; it is doubled from 4 up to
    the bound. The arena has room for any mixture of blocks: what was never used of it takes no memory. A free list per
    level: its head, and the first item of each free block, is the next block's offset + 1.
    """

    keys: NDArray[np.uint64]  # (sessions,)
    held: NDArray[np.int32]  # (sessions,) items, or GONE
    clicks: NDArray[np.int32]  # (sessions,) in all
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
    rings: NDArray[np.int64]  # (item capacity, 5): offset, size, sessions with it, place of the oldest, entries
    counters: NDArray[np.int64]  # (3 + LEVELS,): sessions begun, arena entries used, sessions moved, free lists


PER_SESSION = ("keys", "held", "clicks", "offsets", "levels")
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
def _find(sessions: Sessions, key: np.uint64) -> int:
    """Return the slot of a key, -1 for none."""
    return int(sessions.table[probe(sessions.table, sessions.keys, key)]) - 1


@kernel
def insert(sessions: Sessions, first: int, last: int) -> None:
    """Make the keys of slots from `first` up to, not including, `last` findable."""
    for slot in range(first, last):
        if sessions.held[slot] != GONE:
            sessions.table[probe(sessions.table, sessions.keys, sessions.keys[slot])] = slot + 1


@kernel
def _remove(sessions: Sessions, slot: int) -> None:
    """Delete a slot's key by shifting back what was displaced over it, so that no tombstones gather."""
    table = sessions.table
    mask = table.size - 1
    hole = probe(table, sessions.keys, sessions.keys[slot])
    if table[hole] != slot + 1:
        return
    at = (hole + 1) & mask
    while table[at] != 0:
        home = int(np.int64(splitmix64(sessions.keys[table[at] - 1]) & np.uint64(mask)))
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
    sessions.held[slot] = sessions.clicks[slot] = 0
    _release(sessions, slot)
    insert(sessions, slot, slot + 1)
    return slot


@kernel
def _room(level: int, length: int) -> int:
    return min(SMALLEST_ROOM << (level - 1), length) if level > 0 else 0


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
def _level(size: int) -> int:
    """Return the level of a ring's block: its free list."""
    level = 0
    while SMALLEST << level < size:
        level += 1
    return level


@kernel
def _enlarge(postings: Postings, row: int, most: int) -> None:
    """Move an item's ring to a block of the next size; its old block joins the free list."""
    arena, times, rings, counters = postings
    old, size = rings[row, OFFSET], rings[row, SIZE]
    more = min(max(2 * size, SMALLEST), most)
    head = counters[FREE + _level(more)]
    if head > 0:
        new = head - 1
        counters[FREE + _level(more)] = arena[new]
    else:
        new = counters[USED]
        counters[USED] += more
    for i in range(size):
        arena[new + i], times[new + i] = arena[old + i], times[old + i]
    if size > 0:
        arena[old] = counters[FREE + _level(size)]
        counters[FREE + _level(size)] = old + 1
    rings[row, OFFSET], rings[row, SIZE] = new, more


@kernel
def _entry(ring: NDArray[np.int64], i: int) -> int:
    """Return where in the arena the i-th oldest posting of a ring is."""
    at = ring[HEAD] + i
    return int(ring[OFFSET] + (at - ring[SIZE] if at >= ring[SIZE] else at))


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
    ring[COUNT] += 1
    if ring[HELD] == ring[SIZE] and ring[SIZE] < most:
        _enlarge(postings, row, most)
    if ring[HELD] == ring[SIZE]:
        if _is_later(sessions, postings, _entry(ring, 0), slot, time):
            return
        ring[HEAD] = (ring[HEAD] + 1) % ring[SIZE]
        ring[HELD] -= 1
    i = ring[HELD]
    at = _entry(ring, i)
    while i > 0:
        before = _entry(ring, i - 1)
        if not _is_later(sessions, postings, before, slot, time):
            break
        arena[at], times[at] = arena[before], times[before]
        at = before
        i -= 1
    arena[at], times[at] = _number(sessions, postings, slot) & NUMBER, time
    ring[HELD] += 1


@kernel
def _withdraw(sessions: Sessions, postings: Postings, row: int, slot: int) -> None:
    """Take a session out of an item's ring."""
    arena, times, ring = postings.arena, postings.times, postings.rings[row]
    ring[COUNT] -= 1
    number = np.uint32(_number(sessions, postings, slot) & NUMBER)
    i = ring[HELD] - 1
    while i >= 0 and arena[_entry(ring, i)] != number:
        i -= 1
    if i < 0:
        return  # the ring had no room for it
    for later in range(i + 1, ring[HELD]):
        at, there = _entry(ring, later - 1), _entry(ring, later)
        arena[at], times[at] = arena[there], times[there]
    ring[HELD] -= 1


@kernel
def _click(sessions: Sessions, postings: Postings, slot: int, row: int, time: float, most: int) -> None:
    """Let the session in a slot hold an item, with the time of its last click on it; a full one drops the oldest."""
    length, held = sessions.room[LENGTH], int(sessions.held[slot])
    at = _index(sessions.items[sessions.offsets[slot] :], held, row)
    if at < 0 and held < length and held == _room(sessions.levels[slot], length):
        _widen(sessions, slot)
    items, times = sessions.items[sessions.offsets[slot] :], sessions.item_times[sessions.offsets[slot] :]
    if at < 0 and held < length:
        at = held
        sessions.held[slot] += 1
    else:
        if time <= times[at] if at >= 0 else time < times[0]:
            return
        at = max(at, 0)
        _withdraw(sessions, postings, items[at], slot)
    while at + 1 < held and _is_before(times[at + 1], items[at + 1], time, row):
        items[at], times[at] = items[at + 1], times[at + 1]
        at += 1
    while at > 0 and _is_before(time, row, times[at - 1], items[at - 1]):
        items[at], times[at] = items[at - 1], times[at - 1]
        at -= 1
    items[at], times[at] = row, time
    _post(sessions, postings, row, slot, time, most)


@kernel
def _is_before(time: float, row: int, other_time: float, other_row: int) -> bool:
    return bool(time < other_time or (time == other_time and row < other_row))


@kernel
def _until(sessions: Sessions, slot: int, time: float) -> int:
    """Return how many items the session in a slot clicked no later than `time`."""
    first, n = sessions.offsets[slot], int(sessions.held[slot])
    while n > 0 and sessions.item_times[first + n - 1] > time:
        n -= 1
    return n


@kernel
def context(sessions: Sessions, key: np.uint64, time: float) -> NDArray[np.int32]:
    """Return the items a session clicked no later than `time`: rows, oldest first."""
    slot = _find(sessions, key)
    if slot < 0:
        return np.empty(0, np.int32)
    first = sessions.offsets[slot]
    return sessions.items[first : first + _until(sessions, slot, time)].copy()


@kernel
def clicks(sessions: Sessions, key: np.uint64) -> int:
    """Return how many clicks a session has had, repeated ones included."""
    slot = _find(sessions, key)
    return int(sessions.clicks[slot]) if slot >= 0 else 0


@kernel
def learn(
    sessions: Sessions,
    postings: Postings,
    most: int,
    keys: NDArray[np.uint64],
    items: NDArray[np.int32],
    timestamps: NDArray[np.float64],
    contexts: NDArray[np.int32],
    done: int,
) -> int:
    """Learn the clicks from `done` on; return how many are done, fewer than given if the arena must grow.

    Each click's row of `contexts` takes, at its end, the latest items that its session had clicked before it.
    """
    depth = contexts.shape[1]
    for n in range(done, items.size):
        if postings.counters[USED] + most > postings.arena.size:
            return n
        slot = _find(sessions, keys[n])
        if slot < 0:
            slot = _begin(sessions, postings.counters[BEGUN], keys[n])
            postings.counters[BEGUN] += 1
        known = _until(sessions, slot, timestamps[n]) if depth > 0 else 0
        last = sessions.offsets[slot] + known - 1
        for back in range(min(depth, known)):
            contexts[n, depth - 1 - back] = sessions.items[last - back]
        sessions.clicks[slot] += 1
        _click(sessions, postings, slot, items[n], timestamps[n], most)
    return items.size


@kernel
def move(sessions: Sessions, postings: Postings, most: int, old: np.uint64, new: np.uint64) -> None:
    """Give a session another key; where one has it already the two become one. The arena has room for its items."""
    slot, target = _find(sessions, old), _find(sessions, new)
    if slot < 0:
        return
    _remove(sessions, slot)
    if target < 0:
        sessions.keys[slot] = new
        insert(sessions, slot, slot + 1)
        return
    first = sessions.offsets[slot]
    for at in range(first, first + sessions.held[slot]):
        row = sessions.items[at]
        _withdraw(sessions, postings, row, slot)
        _click(sessions, postings, target, row, sessions.item_times[at], most)
    sessions.clicks[target] += sessions.clicks[slot]
    sessions.held[slot] = GONE
    _release(sessions, slot)
    postings.counters[MOVED] += 1


@kernel
def _index(items: NDArray[np.int32], n: int, item: int) -> int:
    """Return where among the first n an item is, -1 for nowhere."""
    for i in range(n):
        if items[i] == item:
            return i
    return -1
