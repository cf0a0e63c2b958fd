"""Streaming session-kNN: VMIS-kNN made incremental.

Sources: Kersbergen, Sprangers, Schelter, "Serenade - Low-Latency Session-Based Recommendation in e-Commerce at Scale"
(SIGMOD 2022), algorithm 2. There the index is rebuilt every night; here one click changes the items of one session and
the ring of one item. Sessions are numbered as they begin; number n lives in slot n mod `sessions`, so the oldest one
makes room for the newest, and a posting is known to be stale by its number. The weights by recency within the session
and by the steps between an item and the match are those of Garg et al., "Sequence and Time Aware Neighborhood for
Session-based Recommendations: STAN" (SIGIR 2019), and of VSTAN (Ludewig, Mauro, Latifi, Jannach, UMUAI 2021).

What is kept is ordered by the times of clicks, not by their arrival. So the order of arrival changes no answer, apart
from which of the oldest sessions is the first to make room, and from what bounds have already cut when two sessions
turn out to be one: a session's items beyond `session_length`, an item's sessions beyond `postings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from online.core.decay import DAY_S
from online.core.kernel import extended
from online.models.session_index_kernel import (
    BEGUN,
    COUNT,
    FREE,
    HELD,
    LEVELS,
    PER_SESSION,
    ROOM_USED,
    USED,
    Postings,
    Sessions,
    arena_room,
    clicks,
    context,
    insert,
    learn,
    move,
)
from online.models.session_knn_kernel import query


@dataclass(frozen=True, slots=True)
class SessionKnnConfig:
    """Bounds of the index and the neighbourhood.

    sessions: how many are kept; postings: the most recent sessions kept per item (the paper's m);
    session_length: the most recent distinct items kept per session; neighbours: how many of the most similar
    sessions vote (the paper's k); half_life_s: a session's similarity halves with each such time since its latest
    click on an item shared (None: no decay); recency: clicks of the session over which an item's part in the
    similarity falls to 1/e; distance: steps from the match over which a neighbour's vote falls to 1/e.

    Raises:
        ValueError: a bound is not positive, or so many sessions of such a length do not fit 31-bit offsets.
    """

    sessions: int = 1_000_000
    postings: int = 500
    session_length: int = 32
    neighbours: int = 100
    half_life_s: float | None = 30 * DAY_S
    recency: float = 1.5
    distance: float = 2.5

    def __post_init__(self) -> None:
        bounds = (self.sessions, self.postings, self.session_length, self.neighbours)
        if self.recency <= 0 or self.distance <= 0:
            msg = f"recency and distance of a session index must be positive: {self}"
            raise ValueError(msg)
        if (
            min(bounds) < 1
            or arena_room(self.sessions, self.session_length) >= 2**31
            or (self.half_life_s is not None and self.half_life_s <= 0)
        ):
            msg = f"bounds of a session index must be positive, and sessions x length below about 2^30: {self}"
            raise ValueError(msg)


class SessionKnn:
    """The most recent sessions, by item; items are dense rows, sessions are 64-bit keys.

    >>> knn = SessionKnn(SessionKnnConfig(sessions=100))
    >>> for session, item in [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]:
    ...     knn.learn_one(session, item, timestamp=0.0)
    >>> rows, scores = knn.query(np.array([0], np.int32), now=1.0, limit=3)
    >>> rows.tolist()
    [0, 1, 2]
    """

    def __init__(self, config: SessionKnnConfig) -> None:
        self.config = config
        self._sessions = _empty_sessions(config)
        capacity = max(1024, 4 * config.postings)
        self._postings = Postings(
            np.zeros(capacity, np.uint32),
            np.zeros(capacity),
            np.zeros((64, HELD + 1), np.int64),
            np.zeros(FREE + LEVELS, np.int64),
        )

    @property
    def bytes(self) -> int:
        """How much memory the arrays take, as far as they have been used."""
        sessions, postings = self._sessions, self._postings
        unused_items = len(sessions.items) - int(sessions.room[ROOM_USED])
        unused_postings = len(postings.arena) - int(postings.counters[USED])
        unused = 12 * (unused_items + unused_postings)  # a number and a time each
        return sum(array.nbytes for array in (*sessions, *postings)) - unused

    @property
    def n_items(self) -> int:
        """One more than the highest row learned."""
        used = np.flatnonzero(self._postings.rings[:, COUNT])
        return int(used[-1]) + 1 if len(used) else 0

    @property
    def n_sessions(self) -> int:
        """How many sessions are kept."""
        return min(int(self._postings.counters[BEGUN]), self.config.sessions)

    def learn_one(self, session: int, item: int, timestamp: float) -> None:
        """Learn one click: `session` a 64-bit key, `item` a row, `timestamp` epoch seconds.

        Raises:
            ValueError: the row is negative.
        """
        self.learn_many(np.array([session], np.uint64), np.array([item], np.int32), np.array([timestamp]))

    def learn_many(
        self, sessions: NDArray[np.uint64], items: NDArray[np.int32], timestamps: NDArray[np.float64], depth: int = 0
    ) -> NDArray[np.int32]:
        """Learn clicks in order, as `learn_one` would one by one; all shapes (n,).

        Returns:
            (n, depth), per click the latest distinct rows that its session had clicked before it and up to its time,
            oldest first, padded with -1 in front.

        Raises:
            ValueError: a row is negative (nothing is learned), or the lengths differ.
        """
        if not len(sessions) == len(items) == len(timestamps):
            msg = f"lengths differ: {len(sessions)} sessions, {len(items)} items, {len(timestamps)} timestamps"
            raise ValueError(msg)
        contexts = np.full((len(items), depth), -1, np.int32)
        if not len(items):
            return contexts
        if items.min() < 0:
            msg = f"an item row is negative: {items.min()}"
            raise ValueError(msg)
        # Copies, as any other layout, type or a read-only array would have the kernel compiled anew for it.
        keys, rows, times = np.array(sessions, np.uint64), np.array(items, np.int32), np.array(timestamps, np.float64)
        rings = self._postings.rings
        if rows.max() >= len(rings):
            self._postings = self._postings._replace(rings=extended(rings, max(int(rows.max()) + 1, 2 * len(rings))))
        most, done = self.config.postings, 0
        while (done := learn(self._sessions, self._postings, most, keys, rows, times, contexts, done)) < len(rows):
            self._grow(2 * len(self._postings.arena))
        return contexts

    def _grow(self, capacity: int) -> None:
        arena, times, rings = self._postings.arena, self._postings.times, self._postings.rings
        # A query in another thread may hold the old arrays: its rings must not come to point beyond its arena.
        self._postings = self._postings._replace(
            arena=extended(arena, capacity), times=extended(times, capacity), rings=rings.copy()
        )

    def move(self, old: int, new: int) -> None:
        """Give a session another key; where one has it already the two become one. Nothing, if there is none of it.

        >>> knn = SessionKnn(SessionKnnConfig(sessions=100))
        >>> for session, item, timestamp in [(1, 0, 0.0), (2, 1, 9.0)]:
        ...     knn.learn_one(session, item, timestamp)
        >>> knn.move(2, 1)
        >>> knn.query(np.array([0], np.int32), now=9.0, limit=3)[0].tolist()
        [0, 1]
        """
        most = self.config.postings
        needed = int(self._postings.counters[USED]) + most * self.config.session_length
        if needed > len(self._postings.arena):
            self._grow(2 * needed)
        move(self._sessions, self._postings, most, np.uint64(old), np.uint64(new))

    def query(
        self, items: NDArray[np.int32], *, now: float, limit: int, own: int | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return up to `limit` item rows and their scores for a session, best first, ties by lower row.

        `items` are the session's rows, oldest first; the nine most recent distinct ones count, and rows never
        learned match nothing. Items of the session itself may be returned: the caller excludes what it must.
        `now` is epoch seconds and matters when similarity decays. `own` is the session's key, where it may be in the
        index: a session is no neighbour of its own.

        Raises:
            ValueError: `limit` is not positive.
        """
        rows, scores, _ = self.votes(items, now=now, limit=limit, own=own)
        return rows, scores

    def votes(
        self, items: NDArray[np.int32], *, now: float, limit: int, own: int | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
        """Return what `query` does, and per row two sums of votes, (n, 2).

        The first is of neighbours where it directly follows the match, the second of those among them where it follows
        the session's last two items.

        Raises:
            ValueError: `limit` is not positive.
        """
        if limit < 1:
            msg = f"limit must be positive, not {limit}"
            raise ValueError(msg)
        config = self.config
        return query(
            self._sessions,
            self._postings,
            config.neighbours,
            config.half_life_s or 0.0,
            config.recency,
            config.distance,
            np.array(items, np.int32),
            now,
            limit,
            own is not None,
            np.uint64(own or 0),
        )

    def context(self, session: int, timestamp: float) -> NDArray[np.int32]:
        """Return the distinct items a session has clicked up to `timestamp`, by their last clicks, oldest first.

        >>> knn = SessionKnn(SessionKnnConfig(sessions=100))
        >>> for item, timestamp in [(3, 1.0), (5, 2.0), (3, 4.0), (7, 9.0)]:
        ...     knn.learn_one(1, item, timestamp)
        >>> knn.context(1, 4.0).tolist(), knn.context(2, 4.0).tolist()
        ([5, 3], [])
        """
        return context(self._sessions, np.uint64(session), timestamp)

    def clicks(self, session: int) -> int:
        """Return how many clicks a session has had, repeated ones included."""
        return clicks(self._sessions, np.uint64(session))

    @property
    def session_counts(self) -> NDArray[np.int64]:
        """How many sessions of the whole stream hold each row, or did to their end; shape (rows,)."""
        return self._postings.rings[:, COUNT]

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return the state as arrays (copies, no longer than what is in use)."""
        n, sessions, postings = self.n_sessions, self._sessions, self._postings
        return {
            **{name: getattr(sessions, name)[:n].copy() for name in PER_SESSION},
            **{name: getattr(sessions, name)[: sessions.room[ROOM_USED]].copy() for name in ("items", "item_times")},
            "room": sessions.room.copy(),
            "arena": postings.arena[: postings.counters[USED]].copy(),
            "posting_times": postings.times[: postings.counters[USED]].copy(),
            "rings": postings.rings[: self.n_items].copy(),
            "counters": postings.counters.copy(),
            "bounds": _bounds(self.config),
        }

    @classmethod
    def from_state(cls, config: SessionKnnConfig, state: Mapping[str, NDArray[np.generic]]) -> Self:
        """Return a learner that goes on where `state` was taken.

        Raises:
            ValueError: the state was taken under other bounds.
        """
        if not np.array_equal(state["bounds"], _bounds(config)):
            msg = f"the state has other bounds, {state['bounds']} (sessions, postings, length), than {config}"
            raise ValueError(msg)
        knn = cls(config)
        n = len(state["keys"])
        for name in (*PER_SESSION, "items", "item_times", "room"):
            getattr(knn._sessions, name)[: len(state[name])] = state[name]
        insert(knn._sessions, 0, n)
        capacity = max(len(state["arena"]) + 4 * config.postings, 1024)
        knn._postings = Postings(
            extended(state["arena"].astype(np.uint32), capacity),
            extended(state["posting_times"].astype(np.float64), capacity),
            extended(state["rings"].astype(np.int64), max(len(state["rings"]), 64)),
            state["counters"].astype(np.int64),
        )
        return knn


def _empty_sessions(config: SessionKnnConfig) -> Sessions:
    slots, room = config.sessions, arena_room(config.sessions, config.session_length)
    return Sessions(
        np.zeros(slots, np.uint64),
        np.zeros(slots, np.int32),
        np.zeros(slots, np.int32),
        np.zeros(slots, np.int32),
        np.zeros(slots, np.int8),
        np.zeros(room, np.int32),
        np.zeros(room),
        np.array([config.session_length, *[0] * (1 + LEVELS)]),
        np.zeros(1 << (2 * slots - 1).bit_length(), np.int32),
    )


def _bounds(config: SessionKnnConfig) -> NDArray[np.int64]:
    return np.array([config.sessions, config.postings, config.session_length], np.int64)
