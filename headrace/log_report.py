"""`headrace log`: what the topics hold, how far each view is behind them, and their messages."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from flows.record import RECORD_VIEW, decode_record_checkpoint
from flows.retention import READERS
from flows.view import committed
from headrace.schema import TOPICS
from online.core.partition import EVENTS, USERS
from online.ports import START, EventLog, LogError, Message, Position, StateStore
from schemas.export import JSON

CHUNK = 1000
FOLLOW_S = 1.0

_CONTENT = {topic.name: topic.content_type for topic in TOPICS}
_TIMES = ("received_at", "updated_at", "served_at", "at")  # the field of a message that tells when it was appended


def topics(log: EventLog) -> dict[str, Any]:
    """Return by topic, and there by partition: messages (on Pulsar an estimate), bytes, first and last position."""
    return {topic.name: _topic(log, topic.name) for topic in TOPICS}


def _topic(log: EventLog, topic: str) -> dict[str, Any]:
    partitions = range(log.partitions(topic))
    extents = [log.extent(topic, partition) for partition in partitions]
    return {
        "partitions": len(partitions),
        "messages": [log.behind(topic, partition, START) for partition in partitions],
        "bytes": [extent.bytes for extent in extents],
        "first": [extent.first or None for extent in extents],
        "last": [extent.last or None for extent in extents],
    }


def lag(log: EventLog, state: StateStore, now: float) -> dict[str, Any]:
    """Return by view and topic how many messages each partition has still to take in, and how old (s) the next one is.

    Args:
        log: of the topics.
        state: of the views' checkpoints.
        now: epoch seconds.
    """
    report: dict[str, dict[str, Any]] = {}
    for topic, views in READERS.items():
        for view in views:
            report.setdefault(view, {})[topic] = _lag(log, topic, _committed(state, view, topic), now)
    report[RECORD_VIEW] = {topic: _lag(log, topic, _recorded(state, topic), now) for topic in (EVENTS, USERS)}
    return report


def _committed(state: StateStore, view: str, topic: str) -> Callable[[int], Position]:
    return lambda partition: committed(state, view, topic, partition)


def _recorded(state: StateStore, topic: str) -> Callable[[int], Position]:
    return lambda p: decode_record_checkpoint(state.checkpoint(RECORD_VIEW, p)).recorded.get(topic, START)


def _lag(log: EventLog, topic: str, position_of: Callable[[int], Position], now: float) -> dict[str, Any]:
    behind: list[int] = []
    ages: list[float] = []
    for partition in range(log.partitions(topic)):
        position = position_of(partition)
        behind.append(log.behind(topic, partition, position))
        ages.append(_age(log, topic, partition, position, now) if behind[-1] else 0.0)
    return {"messages": behind, "seconds": ages}


def _age(log: EventLog, topic: str, partition: int, position: Position, now: float) -> float:
    for batch in log.read({(topic, partition): position}, max_messages=1, wait_s=0.0):
        content = described(topic, batch.partition, batch.messages[0])["content"]
        times = [content[name] for name in _TIMES if name in content] if isinstance(content, dict) else []
        if times and isinstance(times[0], int | float):
            return round(max(0.0, now - times[0]), 3)
    return 0.0


def messages(
    log: EventLog, topic: str, *, partition: int | None, after: Position | None, since: float | None, follow: bool
) -> Iterator[dict[str, Any]]:
    """Yield the messages of a topic, partition by partition, or as they come once all that is there was read.

    Args:
        log: to read.
        topic: of it.
        partition: only this one.
        after: only those behind a position, of the one partition.
        since: only those appended at that time (epoch seconds) or later; for `after` and `since` None: all kept.
        follow: go on for ever.

    Raises:
        LogError: there is no such topic or partition.
    """
    positions = _starts(log, topic, partition, after, since)
    for key in positions:
        while batches := log.read({key: positions[key]}, max_messages=CHUNK, wait_s=0.0):
            for message in batches[0].messages:
                positions[key] = message.position
                yield described(*key, message)
    while follow:
        for batch in log.read(positions, max_messages=CHUNK, wait_s=FOLLOW_S):
            for message in batch.messages:
                positions[batch.topic, batch.partition] = message.position
                yield described(batch.topic, batch.partition, message)


def _starts(
    log: EventLog, topic: str, partition: int | None, after: Position | None, since: float | None
) -> dict[tuple[str, int], Position]:
    count = log.partitions(topic)
    if count == 0:
        raise LogError(f"there is no topic {topic}: 'headrace log topics' shows those there are")
    if partition is not None and partition >= count:
        raise LogError(f"the partitions of {topic} are 0 to {count - 1}")
    chosen = range(count) if partition is None else [partition]
    if since is not None:
        return {(topic, p): log.before(topic, p, since) for p in chosen}
    return {(topic, p): after or START for p in chosen}


def described(topic: str, partition: int, message: Message) -> dict[str, Any]:
    """Return a message as a document; bytes that are not of the topic's kind come as `base64` instead of `content`.

    >>> described("events", 0, Message("5-1", b'{"event_id": "e"}'))["content"]
    {'event_id': 'e'}
    >>> described("events", 0, Message("5-1", b"?"))["base64"]
    'Pw=='
    """
    decode = msgspec.json.decode if _CONTENT.get(topic, JSON) == JSON else msgspec.msgpack.decode
    head = {"topic": topic, "partition": partition, "position": message.position}
    try:
        return {**head, "content": msgspec.to_builtins(decode(message.payload), str_keys=True)}
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {**head, "content": None, "base64": b64encode(message.payload).decode()}


def line(document: Mapping[str, Any]) -> str:
    """Return a message's document as one line of NDJSON.

    >>> line({"topic": "events", "position": "5-1"})
    '{"topic":"events","position":"5-1"}'
    """
    return msgspec.json.encode(document).decode()
