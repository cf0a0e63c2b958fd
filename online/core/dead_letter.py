"""Dead letters: messages that no fold can take, with the reason and their original bytes; and verdicts on them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from online.ports import Batch, Message
from schemas.fields import guarded

from .checkpoint import Outgoing

DEAD, VERDICTS = "dead", "verdicts"  # topics, one partition each
MOST_BYTES = 3 * 1024 * 1024
"""What a letter holds of its message at most: in base64 it stays below the 5 MiB that a broker takes by default."""


class DeadLetter(msgspec.Struct, kw_only=True):
    """A message that could not be processed: where it stood, why, when that was found, and its original bytes.

    `size` is the length of the message; `payload` is its beginning when that is more than `MOST_BYTES`. The same
    letter may come again after a crash: its topic, partition and position tell.
    """

    topic: str
    partition: Annotated[int, msgspec.Meta(ge=0, lt=2**16)]
    position: str
    reason: str
    payload: bytes
    at: float = 0.0  # epoch seconds; 0 when unknown
    size: int = 0  # 0: that of the payload

    @property
    def id(self) -> str:
        """What API, command line and verdicts call it."""
        return letter_id(self.topic, self.partition, self.position)


Action = Literal["redrive", "discard"]


class Verdict(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is to become of a dead letter, who said so, when and why. The first verdict on a letter stands.

    A redrive carries what goes to the log: the letter's message as it was, or edited.
    """

    letter: str
    action: Action
    by: str
    at: float  # epoch seconds
    reason: str = ""
    topic: str = ""
    payload: bytes = b""
    is_edited: bool = False


encode_dead_letter = msgspec.json.Encoder().encode
decode_dead_letter = guarded(msgspec.json.Decoder(DeadLetter).decode)
encode_verdict = msgspec.json.Encoder().encode
decode_verdict = guarded(msgspec.json.Decoder(Verdict).decode)


def letter_id(topic: str, partition: int, position: str) -> str:
    """Return the id of the letter of a message.

    >>> letter_id("events", 3, "17-0")
    'events:3:17-0'
    """
    return f"{topic}:{partition}:{position}"


def letter_of(batch: Batch, message: Message, reason: str, *, at: float = 0.0) -> DeadLetter:
    """Return the letter of a message that could not be processed, as was found at `at` (epoch seconds)."""
    return DeadLetter(
        topic=batch.topic,
        partition=batch.partition,
        position=message.position,
        reason=reason,
        payload=message.payload[:MOST_BYTES],
        at=at,
        size=len(message.payload),
    )


def dead_letter(batch: Batch, message: Message, reason: str) -> Outgoing:
    """Return the outgoing dead letter of a message that could not be processed."""
    return DEAD, 0, encode_dead_letter(letter_of(batch, message, reason, at=batch.read_at))
