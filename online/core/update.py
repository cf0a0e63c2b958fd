"""Messages between processes: updates of shared views, and dead letters."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from online.ports import Batch, Message

from .checkpoint import Outgoing
from .item_stats import ItemStats

UPDATES = "updates"
DEAD = "dead"


class SessionTouch(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One positive interaction for the session index, emitted once per distinct event."""

    session: int  # 64-bit key
    item_id: str
    time: float


class Update(msgspec.Struct, array_like=True):
    """What one committed batch of one partition changed: absolute item aggregates, and new touches.

    `seq` counts the partition's commits. A repeated message has a `seq` already seen and is dropped whole.
    """

    partition: int
    seq: int
    items: dict[str, ItemStats]
    touches: list[SessionTouch]


class DeadLetter(msgspec.Struct, kw_only=True):
    """A message that could not be processed: where it stood, why, and its original bytes."""

    topic: str
    partition: int
    position: str
    reason: str
    payload: bytes


_encode = msgspec.msgpack.Encoder().encode
encode_update = _encode
decode_update = msgspec.msgpack.Decoder(Update).decode
encode_dead_letter = msgspec.json.Encoder().encode
decode_dead_letter = msgspec.json.Decoder(DeadLetter).decode


def pack_update(partition: int, seq: int, items: Mapping[str, bytes], touches: list[SessionTouch]) -> bytes:
    """Return the bytes of an `Update` whose item aggregates are encoded already.

    >>> stats = ItemStats(first_time=5.0)
    >>> packed = pack_update(0, 1, {"a": msgspec.msgpack.encode(stats)}, [])
    >>> packed == encode_update(Update(0, 1, {"a": stats}, []))
    True
    """
    return _encode((partition, seq, {item: msgspec.Raw(stats) for item, stats in items.items()}, touches))


def dead_letter(batch: Batch, message: Message, reason: str) -> Outgoing:
    """Return the outgoing dead letter of a message that could not be processed."""
    letter = DeadLetter(
        topic=batch.topic,
        partition=batch.partition,
        position=message.position,
        reason=reason,
        payload=message.payload,
    )
    return DEAD, 0, encode_dead_letter(letter)
