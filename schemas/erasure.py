"""Erasure: a user's record is forgotten as a whole.

What says so travels among the events and among the user documents, since either may be folded first, and in the form
of an event, with an event type that no client may send.
"""

from __future__ import annotations

import msgspec
from pydantic import BaseModel, Field

from schemas.event import user_key
from schemas.fields import guarded
from schemas.move import kind_of


class StoreOut(BaseModel):
    """What one store holds of a user; `count` is null where it does not answer."""

    store: str
    count: int | None
    erased: bool = Field(description="Whether this erasure reaches it")


class ErasureOut(BaseModel):
    """What was erased, or would be; `receipt_id` is that of the message on the log, null for a dry run."""

    receipt_id: str | None
    user_id: str
    at: float
    reflected: bool = Field(description="The record is gone; false: it will be, or nothing was done")
    stores: list[StoreOut]


class Erased(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="event_type", tag="erased"):
    """Nothing is known of the user, or of a visitor that has become one, any more."""

    event_id: str
    timestamp: float
    received_at: float
    user_id: str | None = None
    visitor_id: str | None = None
    schema_version: int = 1

    @property
    def user_key(self) -> str:
        """The key of the record."""
        return user_key(self.user_id, self.visitor_id)


ERASED = "erased"
"""Event type of the message."""


def is_erasure(payload: bytes) -> bool:
    """Say whether a message of the events or users topic is one.

    Raises:
        msgspec.MsgspecError: it is no JSON object.

    >>> is_erasure(encode_erased(Erased(event_id="e", timestamp=5.0, received_at=5.0, user_id="7")))
    True
    """
    return kind_of(payload) == ERASED


encode_erased = msgspec.json.Encoder().encode
decode_erased = guarded(msgspec.json.Decoder(Erased).decode)
