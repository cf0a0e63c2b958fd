"""Identity: a visitor becomes a user.

What says so travels among the events, so that everything that changes a user's records stands in one order. These
messages have the fields that every event has, and event types that no client may send.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from schemas.event import user_key
from schemas.fields import Edge, Id, guarded

GivenId = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class MergeIn(Edge):
    """The visitor that a user has turned out to be; the user is in the path."""

    visitor_id: Id


class _Identity(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="event_type"):
    event_id: str
    timestamp: float
    received_at: float
    user_id: GivenId
    visitor_id: GivenId
    schema_version: int = 1

    @property
    def target_key(self) -> str:
        """The key of the user's record."""
        return user_key(self.user_id, None)

    @property
    def visitor_key(self) -> str:
        """The key of the visitor's record."""
        return user_key(None, self.visitor_id)


class Merge(_Identity, tag="merge"):
    """The visitor is the user, from here on; in the visitor's partition."""


class Absorb(_Identity, tag="absorb"):
    """The user's record takes over the visitor's; in the user's partition.

    `event_id` is where the merge stands, `partition:position`. `record` is the visitor's record as it was then.
    """

    record: bytes


class Forwarded(_Identity, tag="forwarded"):
    """An event of a visitor that had become a user, to be counted for that user; in the user's partition.

    `event` is the event as it stands in the visitor's partition, byte for byte.
    """

    event: msgspec.Raw


IDENTITY_TYPES = frozenset({"merge", "absorb", "forwarded"})
"""Event types of these messages."""

Identity = Merge | Absorb | Forwarded

encode_identity = msgspec.json.Encoder().encode
decode_identity = guarded(msgspec.json.Decoder(Identity).decode)


def accept_merge(*, user_id: str, visitor_id: str, event_id: str, now: float) -> Merge:
    """Return the log form of a merge that a client asks for at `now` (epoch seconds).

    >>> accept_merge(user_id="7", visitor_id="7", event_id="e", now=5.0).visitor_key
    'v7'
    """
    return Merge(event_id=event_id, timestamp=now, received_at=now, user_id=user_id, visitor_id=visitor_id)
