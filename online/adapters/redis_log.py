"""The event log on Redis Streams: one stream per partition; messages appended together share an entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from online.ports import START, Batch, Extent, LogError, Message, Position

from .redis_client import answering, connect, key_prefix

ENTRY_MESSAGES = 500  # most messages in one stream entry
MAX_SEQ = 2**64 - 1
LAST = 9999

COUNT = b"n"  # the field of an entry that tells how many messages the partition has had with it

_APPEND = """
local fields = {}
for i = 1, #ARGV do fields[2 * i - 1] = i; fields[2 * i] = ARGV[i] end
fields[#fields + 1] = 'n'; fields[#fields + 1] = redis.call('INCRBY', KEYS[2], #ARGV)
return redis.call('XADD', KEYS[1], '*', unpack(fields))
"""
_GROW = "if tonumber(redis.call('GET', KEYS[1])) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end"

# One call for all messages of a partition: of several, one could be refused and the next one, above it, kept.
_APPEND_FROM = """
local source, most = ARGV[1], tonumber(ARGV[2])
local last = tonumber(redis.call('HGET', KEYS[3], source) or -1)
local fields, total, new = {}, 0, 0
local function flush()
  fields[2 * total + 1] = 'n'; fields[2 * total + 2] = redis.call('INCRBY', KEYS[2], total)
  redis.call('XADD', KEYS[1], '*', unpack(fields))
  fields, total = {}, 0
end
for i = 3, #ARGV, 2 do
  local offset = tonumber(ARGV[i])
  if offset > last then
    last, total, new = offset, total + 1, new + 1
    fields[2 * total - 1] = total; fields[2 * total] = ARGV[i + 1]
    if total == most then flush() end
  end
end
if total > 0 then flush() end
if new > 0 then redis.call('HSET', KEYS[3], source, string.format('%d', last)) end
return new
"""


class RedisLog:
    """Topics as streams `hr:{p}:log:<topic>`; with a namespace, `hr@<namespace>:…`.

    A position is `<ms>-<seq>.<index in the entry>`, zero-padded so that positions sort in log order; the index of
    an entry's last message is `LAST`, which tells that the entry is read.
    """

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._redis, self._prefix = connect(url, timeout_s), key_prefix(url)
        self._timeout_s = timeout_s
        self._per_entry = float(ENTRY_MESSAGES)  # messages in an entry of the last read: sizes the next

    def create(self, topic: str, partitions: int, document: type[msgspec.Struct] | None = None) -> int:
        with answering():
            self._redis.setnx(self._topic(topic), partitions)
        return self.partitions(topic)

    def partitions(self, topic: str) -> int:
        with answering():
            return int(cast(bytes | None, self._redis.get(self._topic(topic))) or 0)

    def grow(self, topic: str, partitions: int) -> None:
        with answering():
            self._redis.eval(_GROW, 1, self._topic(topic), partitions)

    def append(self, topic: str, messages: Sequence[tuple[int, bytes]]) -> list[Position]:
        chunks = _chunks(messages)
        with answering():
            pipe = self._redis.pipeline(transaction=False)
            for partition, indexes in chunks:
                keys = self._stream(topic, partition), self._counter(topic, partition)
                pipe.eval(_APPEND, len(keys), *keys, *[messages[i][1] for i in indexes])
            ids = pipe.execute()
        positions = [START] * len(messages)
        for (_, indexes), entry in zip(chunks, ids, strict=True):
            for i, position in zip(indexes, _positions(entry, len(indexes)), strict=True):
                positions[i] = position
        return positions

    def append_from(self, source: str, topic: str, messages: Sequence[tuple[int, int, bytes]]) -> int:
        arguments: dict[int, list[int | bytes]] = {}
        for offset, partition, payload in messages:
            arguments.setdefault(partition, []).extend((offset, payload))
        with answering():
            pipe = self._redis.pipeline(transaction=False)
            for partition, pairs in arguments.items():
                keys = self._stream(topic, partition), self._counter(topic, partition), self._offsets(topic, partition)
                pipe.eval(_APPEND_FROM, len(keys), *keys, source, ENTRY_MESSAGES, *pairs)
            return sum(pipe.execute())

    def read(self, after: Mapping[tuple[str, int], Position], *, max_messages: int, wait_s: float) -> list[Batch]:
        keys = {self._stream(*key).encode(): key for key in after}
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
        stream = self._stream(topic, partition)
        with answering():
            pipe = self._redis.pipeline(transaction=True)
            pipe.xrange(stream, count=1)
            pipe.xrevrange(stream, count=1)
            pipe.memory_usage(stream)
            first, last, size = pipe.execute()
        if not first:
            return Extent(START, START, 0)
        return Extent(_messages(first, START)[0].position, _position(last[0][0], LAST), int(size))

    def behind(self, topic: str, partition: int, position: Position) -> int:
        with answering():
            pipe = self._redis.pipeline(transaction=True)
            pipe.get(self._counter(topic, partition))
            pipe.xrange(self._stream(topic, partition), min="-" if position == START else _entry(position), count=1)
            appended, entries = pipe.execute()
        if not entries:
            return 0
        counted = int(entries[0][1].get(COUNT, 0))
        return int(appended) - counted + len(_messages(entries, position))

    def before(self, topic: str, partition: int, time_s: float) -> Position:
        return _position(b"%d-%d" % (max(0, int(time_s * 1000) - 1), MAX_SEQ), LAST)

    def fill(self) -> float:
        with answering():
            memory: Any = self._redis.info("memory")
        return memory["used_memory"] / memory["maxmemory"] if memory["maxmemory"] else 0.0

    def trim(self, topic: str, partition: int, through: Position) -> None:
        if through != START:
            with answering():
                self._redis.xtrim(self._stream(topic, partition), minid=_entry(through), approximate=False)

    def close(self) -> None:
        self._redis.close()

    def _topic(self, topic: str) -> str:
        return f"{self._prefix}:topic:{topic}"

    def _stream(self, topic: str, partition: int) -> str:
        return f"{self._prefix}:{{{partition}}}:log:{topic}"

    def _counter(self, topic: str, partition: int) -> str:
        return f"{self._prefix}:{{{partition}}}:appended:{topic}"

    def _offsets(self, topic: str, partition: int) -> str:
        return f"{self._prefix}:{{{partition}}}:forwarded:{topic}"


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
    """Return the stream id of the entry that holds the position.

    Raises:
        LogError: it is none of a Redis log.
    """
    ms, _, rest = position.partition("-")
    try:
        return f"{int(ms)}-{int(rest.partition('.')[0])}"
    except ValueError:
        raise LogError(f"{position!r} is no position of a Redis log") from None


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
        payloads = [payload for name, payload in fields.items() if name != COUNT]
        for position, payload in zip(_positions(entry, len(payloads)), payloads, strict=True):
            if position > after:
                found.append(Message(position, payload))
    return found
