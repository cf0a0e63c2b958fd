"""The user record: everything the stream knows of one user, packed into one value of the state store."""

from __future__ import annotations

import msgspec

from schemas.event import EVENT_TYPES

from .decay import Weights

RECORD_VERSION = 1
DEDUP_BYTES = 12

FACETS = ("item", "category", "brand", "price_tier")
"""What affinities are kept to, in the order of `UserRecord.affinities`."""

TYPE_CODES = {name: code for code, name in enumerate(EVENT_TYPES)}
"""Event type -> code in records; `EVENT_TYPES` may only grow at its end."""


class Touch(msgspec.Struct, array_like=True, frozen=True, order=True, gc=False):
    """One positive interaction in the record's time-sorted tail."""

    time: float
    item_id: str
    type_code: int
    session: int  # CRC-32 of the client's session_id, 0 when it sends none


class UserRecord(msgspec.Struct, array_like=True):
    """State of one user. Times are epoch seconds; every table has a cap (see `online.core.step`).

    `affinities` holds one table per facet: key -> forward weights, against `landmark`. `carted` signs its times:
    positive put in, negative taken out. `dedup` is a run of entries of `DEDUP_BYTES`, oldest first: the hash of an
    event id (8 bytes) and its `received_at` (whole seconds, 4 bytes, little-endian).
    """

    landmark: float = 0.0
    position: str = ""  # of the last event folded in
    last_time: float = 0.0  # the latest event time
    affinities: list[dict[str, Weights]] = msgspec.field(default_factory=lambda: [{}, {}, {}, {}])
    recent: list[Touch] = []
    seen: dict[str, int] = {}
    carted: dict[str, int] = {}
    purchased: dict[str, int] = {}
    hidden: dict[str, int] = {}
    counts: dict[int, int] = {}
    context: dict[str, str | bool | int | float | None] = {}
    context_time: float = 0.0
    labels: list[str] = []
    labels_time: float = 0.0
    dedup: bytearray = msgspec.field(default_factory=bytearray)
    dropped_late: int = 0  # touches too late for the session tail; they count for affinities only
    session_key: int = 0  # of the latest touch's session, in the session index
    version: int = RECORD_VERSION


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(UserRecord)
encode_record = _encoder.encode
decode_record = _decoder.decode
