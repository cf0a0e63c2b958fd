"""A user's record changes its partition, because the log has more of them than before.

What says so travels among the events, so that the archive tells it too, and in the form of an event, with event types
that no client may send.
"""

from __future__ import annotations

import msgspec

from schemas.fields import guarded


class _Move(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="event_type"):
    event_id: str
    timestamp: float
    received_at: float
    user_id: str | None = None
    visitor_id: str | None = None  # of a record without a user
    schema_version: int = 1


class Arrived(_Move, tag="arrived"):
    """The record as it was in its old partition; in the new one."""

    record: bytes


class Departed(_Move, tag="departed"):
    """The record has arrived elsewhere; in the old partition, among the events and among the user documents."""


MOVE_TYPES = frozenset({"arrived", "departed"})
"""Event types of these messages."""

encode_move = msgspec.json.Encoder().encode
decode_move = guarded(msgspec.json.Decoder(Arrived | Departed).decode)


class _Kind(msgspec.Struct):
    event_type: str = ""


_decode_kind = guarded(msgspec.json.Decoder(_Kind).decode)


def kind_of(payload: bytes) -> str:
    """Return the event type of a message of any topic, empty where it has none.

    Raises:
        msgspec.MsgspecError: it is no JSON object.

    >>> kind_of(b'{"event_type": "click"}'), kind_of(b"{}")
    ('click', '')
    """
    return _decode_kind(payload).event_type


def is_move(payload: bytes) -> bool:
    """Say whether a message of any topic is one of these.

    Raises:
        msgspec.MsgspecError: it is no JSON object.

    >>> is_move(encode_move(Departed(event_id="e", timestamp=5.0, received_at=5.0, user_id="7")))
    True
    """
    return kind_of(payload) in MOVE_TYPES


def ids(key: str) -> tuple[str | None, str | None]:
    """Return the user id and the visitor id of a record's key, one of them None.

    >>> ids("v12")
    (None, '12')
    """
    return (key[1:], None) if key[0] == "u" else (None, key[1:])
