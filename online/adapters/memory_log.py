"""The event log in memory: for the simulator in process, and for tests."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from threading import Condition

import msgspec

from online.ports import START, Batch, Extent, LogError, Message, Position


class MemoryLog:
    """An event log that lives and dies with its process; positions are zero-padded counts from 1."""

    def __init__(self) -> None:
        self._topics: dict[str, list[list[tuple[float, bytes]]]] = {}
        self._trimmed: dict[tuple[str, int], int] = {}
        self._offsets: dict[tuple[str, str, int], int] = {}  # source, topic, partition -> highest of the source
        self._changed = Condition()

    def create(self, topic: str, partitions: int, document: type[msgspec.Struct] | None = None) -> int:
        with self._changed:
            return len(self._topics.setdefault(topic, [[] for _ in range(partitions)]))

    def partitions(self, topic: str) -> int:
        with self._changed:
            return len(self._topics.get(topic, ()))

    def grow(self, topic: str, partitions: int) -> None:
        with self._changed:
            kept = self._topics[topic]
            kept += [[] for _ in range(partitions - len(kept))]

    def append(self, topic: str, messages: Sequence[tuple[int, bytes]]) -> list[Position]:
        with self._changed:
            positions = []
            for partition, payload in messages:
                kept = self._topics[topic][partition]
                kept.append((time.time(), payload))
                positions.append(_position(len(kept)))
            self._changed.notify_all()
        return positions

    def append_from(self, source: str, topic: str, messages: Sequence[tuple[int, int, bytes]]) -> int:
        with self._changed:
            new = []
            for offset, partition, payload in messages:
                key = source, topic, partition
                if offset > self._offsets.get(key, -1):
                    self._offsets[key] = offset
                    new.append((partition, payload))
            self.append(topic, new)
        return len(new)

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
        begin = max(_count(after), self._trimmed.get(key, 0))
        rows = self._topics[topic][partition][begin : begin + max_messages]
        return Batch(topic, partition, [Message(_position(begin + i), p) for i, (_, p) in enumerate(rows, start=1)])

    def extent(self, topic: str, partition: int) -> Extent:
        with self._changed:
            rows = self._topics[topic][partition]
            trimmed = self._trimmed.get((topic, partition), 0)
        if trimmed == len(rows):
            return Extent(START, START, 0)
        size = sum(len(payload) for _, payload in rows[trimmed:])
        return Extent(_position(trimmed + 1), _position(len(rows)), size)

    def behind(self, topic: str, partition: int, position: Position) -> int:
        with self._changed:
            begin = max(_count(position), self._trimmed.get((topic, partition), 0))
            return max(0, len(self._topics[topic][partition]) - begin)

    def before(self, topic: str, partition: int, time_s: float) -> Position:
        with self._changed:
            rows = self._topics[topic][partition]
            return _position(sum(appended < time_s for appended, _ in rows))

    def fill(self) -> float:
        return 0.0

    def trim(self, topic: str, partition: int, through: Position) -> None:
        with self._changed:
            rows, end = self._topics[topic][partition], _count(through)
            for i in range(self._trimmed.get((topic, partition), 0), end):
                rows[i] = (rows[i][0], b"")
            self._trimmed[topic, partition] = max(end, self._trimmed.get((topic, partition), 0))

    def close(self) -> None:
        """Nothing to release."""


def _position(count: int) -> Position:
    return f"{count:020d}"


def _count(position: Position) -> int:
    try:
        return int(position or 0)
    except ValueError:
        raise LogError(f"{position!r} is no position of a log in memory") from None
