"""User documents: what a client tells about a user, beside what the stream learns."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import Field

from schemas.fields import SCHEMA_VERSION, Context, Document, Edge, Id, Label, guarded


class UserIn(Edge):
    """Profile fields of one user; `user_id` may come from the path instead."""

    user_id: Id | None = None
    labels: Annotated[list[Label], Field(max_length=64)] = []
    context: Context = {}
    attributes: Document = {}
    schema_version: Annotated[int, Field(ge=1, le=SCHEMA_VERSION)] = SCHEMA_VERSION


class User(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One user document on the log (topic `users`, routed like the user's events)."""

    user_id: str
    updated_at: float
    labels: list[str] = []
    context: dict[str, str | bool | int | float | None] = {}
    attributes: dict[str, Any] = {}
    schema_version: int = 1


_encoder = msgspec.json.Encoder()
encode_user = _encoder.encode
decode_user = guarded(msgspec.json.Decoder(User).decode)


def accept_user(user: UserIn, *, user_id: str, now: float) -> User:
    """Return the log form of a valid user document.

    >>> accept_user(UserIn(labels=["vip"]), user_id="7", now=5.0).labels
    ['vip']
    """
    return User(
        user_id=user_id,
        updated_at=now,
        labels=user.labels,
        context=user.context,
        attributes=user.attributes,
        schema_version=user.schema_version,
    )
