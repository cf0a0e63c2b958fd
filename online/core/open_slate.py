"""Slates that wait for outcomes: by id, by user, and by age, so that the oldest leave first."""

from __future__ import annotations

import heapq
from bisect import insort
from collections.abc import Iterable, Iterator

import msgspec

from .example import Example

USER_SLATES = 8  # of each user, the latest are searched for an outcome that names no slate


class OpenSlate(msgspec.Struct, array_like=True):
    """A slate that an outcome may still credit. It may be known by its outcomes only, when they overtook it.

    Once its window has closed (`is_closed`), it is there for what its clicks lead to later: `slate` and `items` are
    its clicked rows alone.
    """

    recommendation_id: str
    time: float
    slate: Example | None = None
    user_key: str | None = None
    items: list[str] = []
    seen: list[str] = []
    clicked: list[str] = []
    # since version 2
    carted: list[str] = []
    purchased: list[str] = []
    device: str = ""
    is_closed: bool = False


class OpenSlates:
    """A bounded collection of open slates.

    >>> slates = OpenSlates([OpenSlate("a", 1.0, user_key="u1"), OpenSlate("b", 2.0, user_key="u1")], limit=10)
    >>> [slate.recommendation_id for slate in slates.latest("u1")]
    ['b', 'a']
    >>> [slate.recommendation_id for slate in slates.leave(until=1.5)], sorted(slates.by_id)
    (['a'], ['b'])
    """

    def __init__(self, slates: Iterable[OpenSlate], limit: int) -> None:
        self.by_id: dict[str, OpenSlate] = {}
        self._limit = limit
        self._ages: list[tuple[float, str]] = []  # heap
        self._by_user: dict[str, list[tuple[float, str]]] = {}  # by time
        for slate in slates:
            self.put(slate)

    def put(self, slate: OpenSlate) -> None:
        """Add a slate, or take note of the time and the user of one that was known without."""
        key = slate.recommendation_id
        self.by_id[key] = slate
        heapq.heappush(self._ages, (slate.time, key))
        if slate.user_key is not None:
            keys = self._by_user.setdefault(slate.user_key, [])
            insort(keys, (slate.time, key))
            del keys[:-USER_SLATES]

    def latest(self, user_key: str) -> Iterator[OpenSlate]:
        """Yield a user's last slates, the newest first."""
        for _, key in reversed(self._by_user.get(user_key, [])):
            yield self.by_id[key]

    def leave(self, until: float) -> Iterator[OpenSlate]:
        """Take out and yield, the oldest first, the slates of that time or before, and those beyond the limit."""
        while self._ages and (self._ages[0][0] <= until or len(self.by_id) > self._limit):
            time, key = heapq.heappop(self._ages)
            slate = self.by_id.get(key)
            if slate is None or slate.time != time:
                continue  # it was known by another time
            del self.by_id[key]
            self._forget(slate)
            yield slate

    def _forget(self, slate: OpenSlate) -> None:
        keys = self._by_user.get(slate.user_key or "", [])
        if (slate.time, slate.recommendation_id) in keys:
            keys.remove((slate.time, slate.recommendation_id))
            if not keys:
                del self._by_user[slate.user_key or ""]
