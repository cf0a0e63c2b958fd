"""The user record: everything the stream knows of one user, packed into one value of the state store."""

from __future__ import annotations

from functools import cached_property
from struct import iter_unpack
from typing import cast

import msgspec
from lz4.block import LZ4BlockError, compress, decompress

from schemas.event import EVENT_TYPES
from schemas.fields import guarded

from .controls import Controls
from .decay import Weights

RECORD_VERSION = 5
ID_BYTES = 6  # of the hash of an event id: among 4,096 of them, one new event in 7e10 is taken for known
DEDUP_BYTES = ID_BYTES + 4

FACETS = ("item", "category", "brand", "price_tier")
"""What affinities are kept to, in the order of `UserRecord.affinities`."""

TYPE_CODES = {name: code for code, name in enumerate(EVENT_TYPES)}
"""Event type -> code in records; `EVENT_TYPES` may only grow at its end."""


class Touch(msgspec.Struct, array_like=True, frozen=True, order=True, gc=False):
    """One positive interaction in the record's time-sorted tail, with what the event said of the item."""

    time: float
    item_id: str
    type_code: int
    session: int  # CRC-32 of the client's session_id, 0 when it sends none
    # since version 3
    categories: tuple[str, ...] = ()
    brand: str = ""
    price_tier: str = ""
    weight: float = 0.0  # what the tables do not have of it yet


class OpenSession(msgspec.Struct, array_like=True, gc=False):
    """A session of touches without a client's session id that another touch may still join."""

    start: float  # time of its first touch
    end: float  # and of its latest
    key: int  # in the session index


class Forward(msgspec.Struct, array_like=True, frozen=True):
    """Where a visitor's events go since a merge, and which user takes over what came before the first one."""

    user_id: str  # named by the latest merge: later events are this user's
    merged_at: float  # the time of the latest merge
    absorbed_by: str  # the user of the first merge
    merge_id: str  # where the first merge stands: `partition:position`


class UserRecord(msgspec.Struct, array_like=True, dict=True):
    """State of one user. Times are epoch seconds; every table has a cap (see `online.core.step`).

    It travels as an array, so fields may only be appended, with a default: an older reader skips what it does not
    know, and an older record is filled up with defaults.

    `affinities` holds one table per facet: key -> forward weights, against `landmark`. They and `seen` lack what the
    touches of `recent` weigh until `online.core.step.sum_up` adds it: a touch takes fewer bytes than its sums. `carted`
    signs its times: positive put in, negative taken out. `dedup` is a run of entries of `DEDUP_BYTES`, oldest first:
    the hash of an event id (`ID_BYTES`) and its `received_at` (whole seconds, 4 bytes, little-endian).
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
    # since version 2
    forward: Forward | None = None  # of a visitor that became a user; the tables stay as they were then
    absorbed: list[int] = []  # merges whose visitor this user has taken over, hashed: kept as long as the record
    sessions: list[OpenSession] = []  # by time, two at most
    received: float = 0.0  # the latest `received_at` folded in
    labels_context: dict[str, str | bool | int | float | None] = {}  # of the user document that gave the labels
    clamped: int = 0  # events whose clock was ahead of the server's
    # since version 3 of the step
    withdrawn: dict[str, Weights] = {}  # item -> what negative events have taken off its affinity, as forward weights
    pace: float = 0.0  # acts within about a minute, as of `last_time` (`online.core.robots`)
    robot_until: float = 0.0  # event time up to which this is taken for a robot
    # since version 4
    controls: Controls | None = None  # None while nothing was said
    # since version 5
    shown: dict[str, list[int]] = {}  # item -> whole seconds of its latest impressions (`online.core.shown`)

    @cached_property
    def tail(self) -> dict[str, int]:
        """How many touches of each item `recent` has; kept up by what changes `recent`, and not stored."""
        counts: dict[str, int] = {}
        for touch in self.recent:
            counts[touch.item_id] = counts.get(touch.item_id, 0) + 1
        return counts


def in_cart(record: UserRecord) -> list[str]:
    """Return the items that were put into the cart and have neither been taken out nor bought since.

    >>> in_cart(UserRecord(carted={"a": 5, "b": -6, "c": 7}, purchased={"c": 8}))
    ['a']
    """
    return [item for item, time in record.carted.items() if time > 0 and record.purchased.get(item, 0) < time]


_PACKED = b"\x01"  # what no array of msgpack begins with
_HEAD = len(_PACKED) + 4  # and the length of the array
_MOST = 255  # times its own length is what a block of LZ4 may hold

_encode = msgspec.msgpack.Encoder().encode
_decode = guarded(msgspec.msgpack.Decoder(UserRecord).decode)


def encode_record(record: UserRecord) -> bytes:
    """Return a record as it is stored and travels: msgpack in a block of LZ4, which names each text once."""
    return _PACKED + cast("bytes", compress(_encode(record)))


def decode_record(payload: bytes) -> UserRecord:
    """Return a stored record, one of an older version as the present one.

    Raises:
        msgspec.MsgspecError: it is no record.

    >>> decode_record(encode_record(UserRecord(version=1))).version == RECORD_VERSION
    True
    """
    record = _decode(_unpacked(payload) if payload[:1] == _PACKED else payload)
    if record.version < RECORD_VERSION:
        _bring_up(record)
    return record


def _unpacked(payload: bytes) -> bytes:
    if int.from_bytes(payload[1:_HEAD], "little") > _MOST * len(payload):  # reserves nothing for a length made up
        raise msgspec.DecodeError("a packed record is malformed: its length cannot be")
    try:
        return cast("bytes", decompress(payload[1:]))
    except (LZ4BlockError, ValueError) as error:
        raise msgspec.DecodeError(f"a packed record is malformed: {error}") from None


def _bring_up(record: UserRecord) -> None:
    """Make an older record a present one: a session of version 1 goes on, touches before version 3 weigh nothing."""
    if record.version < 2 and record.recent and not record.recent[-1].session:
        time = record.recent[-1].time
        record.sessions = [OpenSession(time, time, record.session_key)]
    if record.version < 3:
        entries = iter_unpack("<8s4s", record.dedup)
        record.dedup = bytearray(b"".join(key[:ID_BYTES] + received for key, received in entries))
    record.version = RECORD_VERSION
