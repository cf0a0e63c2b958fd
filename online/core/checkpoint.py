"""The checkpoint of a view's partition: how far its log was folded, and what its last commit still has to send."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from online.ports import Perishable

STEP_VERSION = 6
"""Version of the folds and of what they store; raised when an older program would lose some of it."""

Outgoing = tuple[str, int, bytes]
"""A message to append: topic, partition, payload."""


def by_topic(messages: Iterable[Outgoing]) -> dict[str, list[tuple[int, bytes]]]:
    """Return messages as the log takes them, topic by topic, each in its order.

    >>> by_topic([("b", 0, b"1"), ("a", 1, b"2"), ("b", 1, b"3")])
    {'b': [(0, b'1'), (1, b'3')], 'a': [(1, b'2')]}
    """
    found: dict[str, list[tuple[int, bytes]]] = {}
    for topic, partition, payload in messages:
        found.setdefault(topic, []).append((partition, payload))
    return found


Writes = Mapping[str, Mapping[str, bytes | None]]
"""Records by family and key; None deletes."""


def apply_writes(records: dict[str, bytes], written: Mapping[str, bytes | None]) -> None:
    """Write records in place; None deletes.

    >>> records = {"a": b"1", "b": b"1"}
    >>> apply_writes(records, {"a": None, "b": b"2"})
    >>> records
    {'b': b'2'}
    """
    for key, value in written.items():
        if value is None:
            records.pop(key, None)
        else:
            records[key] = value


class NewerVersion(Exception):
    """A newer program has written a view's partition; this one would lose what it does not know."""


class Checkpoint(msgspec.Struct, array_like=True):
    """Positions and message counts by topic; `outbox` is appended again on resume, since a kill may come between.

    Consumers drop the repeats: an update by its `seq`, a dead letter by its position, a merged visitor's record by its
    id, a forwarded event by its own.
    """

    seq: int = 0
    positions: dict[str, str] = {}
    folded: dict[str, int] = {}
    outbox: list[Outgoing] = []
    step_version: int = 1  # of the program that committed it
    robot_events: int = 0  # how many of the messages folded counted for a robot's own record alone


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Checkpoint)
encode_checkpoint = _encoder.encode


def decode_checkpoint(payload: bytes | None) -> Checkpoint:
    """Return the stored checkpoint, or the one before the first message.

    >>> decode_checkpoint(None).seq
    0
    """
    return Checkpoint() if payload is None else _decoder.decode(payload)


def check_version(checkpoint: Checkpoint) -> None:
    """Raise when an owner of this version must not go on from the checkpoint.

    Raises:
        NewerVersion: a newer program wrote it.

    >>> check_version(Checkpoint(step_version=STEP_VERSION + 1))
    Traceback (most recent call last):
        ...
    online.core.checkpoint.NewerVersion: the records have version 7 and this program knows 6: run the newer program
    """
    if checkpoint.step_version > STEP_VERSION:
        msg = f"the records have version {checkpoint.step_version} and this program knows {STEP_VERSION}"
        raise NewerVersion(f"{msg}: run the newer program")


class Folded(NamedTuple):
    """The outcome of folding one batch: records, outgoing messages, and which of the records will be garbage when."""

    writes: Writes
    outbox: list[Outgoing]
    perishable: Mapping[str, Perishable] | None = None  # by family
    robot_events: int = 0


def advance(previous: Checkpoint, topic: str, position: str, messages: int, folded: Folded) -> Checkpoint:
    """Return the checkpoint after a batch of `messages` messages of `topic` that ends at `position`.

    >>> advance(Checkpoint(), "events", "5-1", 2, Folded({}, [])).folded
    {'events': 2}
    """
    return Checkpoint(
        seq=previous.seq + 1,
        positions={**previous.positions, topic: position},
        folded={**previous.folded, topic: previous.folded.get(topic, 0) + messages},
        outbox=folded.outbox,
        step_version=STEP_VERSION,
        robot_events=previous.robot_events + folded.robot_events,
    )
