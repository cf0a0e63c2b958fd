"""The event log in memory: for the simulator in process, and for tests."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from threading import Condition

from online.ports import START, Batch, Extent, Message, Position


class MemoryLog:
    """An event log that lives and dies with its process; positions are zero-padded counts from 1."""

    def __init__(self) -> None:
        self._topics: dict[str, list[list[tuple[float, bytes]]]] = {}
        self._trimmed: dict[tuple[str, int], int] = {}
        self._changed = Condition()

    def create(self, topic: str, partitions: int) -> int:
        with self._changed:
            return len(self._topics.setdefault(topic, [[] for _ in range(partitions)]))

    def append(self, topic: str, messages: Sequence[tuple[int, bytes]]) -> list[Position]:
        with self._changed:
            positions = []
            for partition, payload in messages:
                kept = self._topics[topic][partition]
                kept.append((time.time(), payload))
                positions.append(_position(len(kept)))
            self._changed.notify_all()
        return positions

    def read(self, after: Mapping[tuple[str, int], Position], *, max_messages: int, wait_s: float) -> list[Batch]:
        deadline = time.monotonic() + wait_s
        with self._changed:
            while True:
                batches = [self._next(key, position, max_messages) for key, position in after.items()]
                found = [b for b in batches if b.messages]
                left = deadline - time.monotonic()
                if found or left <= 0:
                    return found
                self._changed.wait(left)

    def _next(self, key: tuple[str, int], after: Position, max_messages: int) -> Batch:
        topic, partition = key
        begin = max(int(after or 0), self._trimmed.get(key, 0))
        rows = self._topics[topic][partition][begin : begin + max_messages]
        return Batch(topic, partition, [Message(_position(begin + i), p) for i, (_, p) in enumerate(rows, start=1)])

    def extent(self, topic: str, partition: int) -> Extent:
        with self._changed:
            appended = len(self._topics[topic][partition])
            trimmed = self._trimmed.get((topic, partition), 0)
        if trimmed == appended:
            return Extent(appended, START, START)
        return Extent(appended, _position(trimmed + 1), _position(appended))

    def before(self, topic: str, partition: int, time_s: float) -> Position:
        with self._changed:
            rows = self._topics[topic][partition]
            return _position(sum(appended < time_s for appended, _ in rows))

    def trim(self, topic: str, partition: int, through: Position) -> None:
        with self._changed:
            rows, end = self._topics[topic][partition], int(through or 0)
            for i in range(self._trimmed.get((topic, partition), 0), end):
                rows[i] = (rows[i][0], b"")
            self._trimmed[topic, partition] = max(end, self._trimmed.get((topic, partition), 0))

    def close(self) -> None:
        """Nothing to release."""


def _position(count: int) -> Position:
    return f"{count:020d}"
