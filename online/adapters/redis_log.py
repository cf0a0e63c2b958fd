"""The event log on Redis Streams: one stream per partition; messages appended together share an entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from online.ports import START, Batch, Extent, Message, Position

from .redis_client import KEY_PREFIX, answering, connect

ENTRY_MESSAGES = 500  # most messages in one stream entry
MAX_SEQ = 2**64 - 1
LAST = 9999

_APPEND = """
local fields = {}
for i = 1, #ARGV do fields[2 * i - 1] = i; fields[2 * i] = ARGV[i] end
redis.call('INCRBY', KEYS[2], #ARGV)
return redis.call('XADD', KEYS[1], '*', unpack(fields))
"""


class RedisLog:
    """Topics as streams `hr:{p}:log:<topic>`.

    A position is `<ms>-<seq>.<index in the entry>`, zero-padded so that positions sort in log order; the index of
    an entry's last message is `LAST`, which tells that the entry is read.
    """

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._redis = connect(url, timeout_s)
        self._timeout_s = timeout_s
        self._per_entry = float(ENTRY_MESSAGES)  # messages in an entry of the last read: sizes the next

    def create(self, topic: str, partitions: int) -> int:
        key = f"{KEY_PREFIX}:topic:{topic}"
        with answering():
            self._redis.setnx(key, partitions)
            return int(cast(bytes, self._redis.get(key)))

    def append(self, topic: str, messages: Sequence[tuple[int, bytes]]) -> list[Position]:
        chunks = _chunks(messages)
        with answering():
            pipe = self._redis.pipeline(transaction=False)
            for partition, indexes in chunks:
                keys = _stream(topic, partition), _counter(topic, partition)
                pipe.eval(_APPEND, len(keys), *keys, *[messages[i][1] for i in indexes])
            ids = pipe.execute()
        positions = [START] * len(messages)
        for (_, indexes), entry in zip(chunks, ids, strict=True):
            for i, position in zip(indexes, _positions(entry, len(indexes)), strict=True):
                positions[i] = position
        return positions

    def read(self, after: Mapping[tuple[str, int], Position], *, max_messages: int, wait_s: float) -> list[Batch]:
        keys = {_stream(*key).encode(): key for key in after}
        streams: dict[Any, Any] = {k: _resume_id(after[key]) for k, key in keys.items()}
        wait_ms = max(1, int(min(wait_s, self._timeout_s / 2) * 1000)) if wait_s > 0 else None
        count = max(1, int(max_messages / self._per_entry))
        with answering():
            reply: Any = self._redis.xread(streams, count=count, block=wait_ms) or []
        batches = []
        for stream, entries in reply:
            topic, partition = keys[stream]
            messages = _messages(entries, after[topic, partition])
            if messages:
                self._per_entry = len(messages) / len(entries)
                batches.append(Batch(topic, partition, messages))
        return batches

    def extent(self, topic: str, partition: int) -> Extent:
        stream = _stream(topic, partition)
        with answering():
            pipe = self._redis.pipeline(transaction=True)
            pipe.get(_counter(topic, partition))
            pipe.xrange(stream, count=1)
            pipe.xrevrange(stream, count=1)
            appended, first, last = pipe.execute()
        return Extent(
            int(appended or 0),
            _positions(first[0][0], len(first[0][1]))[0] if first else START,
            _position(last[0][0], LAST) if last else START,
        )

    def before(self, topic: str, partition: int, time_s: float) -> Position:
        return _position(b"%d-%d" % (max(0, int(time_s * 1000) - 1), MAX_SEQ), LAST)

    def trim(self, topic: str, partition: int, through: Position) -> None:
        if through != START:
            with answering():
                self._redis.xtrim(_stream(topic, partition), minid=_entry(through), approximate=False)

    def close(self) -> None:
        self._redis.close()


def _stream(topic: str, partition: int) -> str:
    return f"{KEY_PREFIX}:{{{partition}}}:log:{topic}"


def _counter(topic: str, partition: int) -> str:
    return f"{KEY_PREFIX}:{{{partition}}}:appended:{topic}"


def _chunks(messages: Sequence[tuple[int, bytes]]) -> list[tuple[int, list[int]]]:
    """Group message indexes by partition, keeping order, at most `ENTRY_MESSAGES` to an entry."""
    by_partition: dict[int, list[int]] = {}
    for i, (partition, _) in enumerate(messages):
        by_partition.setdefault(partition, []).append(i)
    return [
        (partition, indexes[at : at + ENTRY_MESSAGES])
        for partition, indexes in by_partition.items()
        for at in range(0, len(indexes), ENTRY_MESSAGES)
    ]


def _position(entry: bytes, place: int) -> Position:
    ms, _, seq = entry.partition(b"-")
    return f"{int(ms):016d}-{int(seq):020d}.{place:04d}"


def _positions(entry: bytes, messages: int) -> list[Position]:
    """Return the positions of all messages of an entry."""
    first = _position(entry, 0)[:-4]
    return [f"{first}{place:04d}" for place in range(messages - 1)] + [f"{first}{LAST}"]


def _entry(position: Position) -> str:
    """Return the stream id of the entry that holds the position."""
    ms, _, rest = position.partition("-")
    return f"{int(ms)}-{int(rest.partition('.')[0])}"


def _resume_id(position: Position) -> str:
    """Return the id to read behind: the position's entry, or the id before it while it holds unread messages."""
    if position == START:
        return "0-0"
    if position.endswith(f".{LAST}"):
        return _entry(position)
    ms, seq = (int(part) for part in _entry(position).split("-"))
    return f"{ms}-{seq - 1}" if seq > 0 else f"{max(0, ms - 1)}-{MAX_SEQ}"


def _messages(entries: Any, after: Position) -> list[Message]:
    found = []
    for entry, fields in entries:
        for position, payload in zip(_positions(entry, len(fields)), fields.values(), strict=True):
            if position > after:
                found.append(Message(position, payload))
    return found
