"""The checkpoint of a view's partition: how far its log was folded, and what its last commit still has to send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

Outgoing = tuple[str, int, bytes]
"""A message to append: topic, partition, payload."""


class Checkpoint(msgspec.Struct, array_like=True):
    """Positions and message counts by topic; `outbox` is appended again on resume, since a kill may come between.

    Consumers drop the repeats: an update by its `seq`, a dead letter by its position.
    """

    seq: int = 0
    positions: dict[str, str] = {}
    folded: dict[str, int] = {}
    outbox: list[Outgoing] = []


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Checkpoint)
encode_checkpoint = _encoder.encode


def decode_checkpoint(payload: bytes | None) -> Checkpoint:
    """Return the stored checkpoint, or the one before the first message.

    >>> decode_checkpoint(None).seq
    0
    """
    return Checkpoint() if payload is None else _decoder.decode(payload)


class Folded(NamedTuple):
    """The outcome of folding one batch: records by family and key (None deletes), and outgoing messages."""

    writes: Mapping[str, Mapping[str, bytes | None]]
    outbox: list[Outgoing]


def advance(previous: Checkpoint, topic: str, position: str, messages: int, outbox: list[Outgoing]) -> Checkpoint:
    """Return the checkpoint after a batch of `messages` messages of `topic` that ends at `position`.

    >>> advance(Checkpoint(), "events", "5-1", 2, []).folded
    {'events': 2}
    """
    return Checkpoint(
        seq=previous.seq + 1,
        positions={**previous.positions, topic: position},
        folded={**previous.folded, topic: previous.folded.get(topic, 0) + messages},
        outbox=outbox,
    )
