"""The state view of one partition: user records and item sub-aggregates, folded batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar
from zlib import crc32

import msgspec

from online.ports import Batch, Position
from schemas.event import Event, decode_event, user_key
from schemas.fields import EPOCH_MAX_S
from schemas.user import decode_user

from .checkpoint import Folded, Outgoing
from .item_stats import ItemStats, count_item, decode_item_stats, encode_item_stats
from .record import TYPE_CODES, UserRecord, decode_record, encode_record
from .step import FoldConfig, event_weight, fold_event, fold_user, is_duplicate
from .update import UPDATES, SessionTouch, dead_letter, pack_update

USER, ITEM = "user", "item"  # families of the state view
EVENTS, USERS = "events", "users"  # topics it folds
CACHED_RECORDS = 100_000

Load = Callable[[str, Sequence[str]], list[bytes | None]]
"""(family, keys) -> stored values."""

T = TypeVar("T")


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of a user key; fixed for the life of a log.

    >>> partition_of("u42", 4)
    2
    """
    return crc32(key.encode()) % partitions


class _Records(Generic[T]):
    """Decoded records of one family: a two-generation cache over the store, and which of them changed."""

    def __init__(self, family: str, load: Load, decode: Callable[[bytes], T], new: Callable[[], T]) -> None:
        self._family, self._load, self._decode, self._new = family, load, decode, new
        self._young: dict[str, T] = {}
        self._old: dict[str, T] = {}
        self.changed: dict[str, T] = {}

    def prefetch(self, keys: Iterable[str]) -> None:
        """Make every key's record present, loading the missing ones in one round trip."""
        if len(self._young) > CACHED_RECORDS:
            self._old, self._young = self._young, {}
        missing = []
        for key in dict.fromkeys(keys):
            if key in self._young:
                continue
            record = self._old.pop(key, None)
            if record is None:
                missing.append(key)
            else:
                self._young[key] = record
        for key, value in zip(missing, self._load(self._family, missing) if missing else [], strict=True):
            self._young[key] = self._new() if value is None else self._decode(value)

    def change(self, key: str) -> T:
        record = self._young[key]
        self.changed[key] = record
        return record

    def take_changed(self) -> dict[str, T]:
        changed, self.changed = self.changed, {}
        return changed


class _Parsed(NamedTuple):
    good: list[tuple[Position, str, Event]]  # with the user's key
    dead: list[Outgoing]


class PartitionFold:
    """Folds one partition's events and user documents; the records it keeps decoded are the store's own.

    The owner must be the partition's only writer: it folds ahead of the commit of the batch before.
    """

    topics = (EVENTS, USERS)

    def __init__(self, partition: int, load: Load, config: FoldConfig | None = None) -> None:
        self.partition = partition
        self.config = config or FoldConfig()
        self._users: _Records[UserRecord] = _Records(USER, load, decode_record, UserRecord)
        self._items: _Records[ItemStats] = _Records(ITEM, load, decode_item_stats, ItemStats)

    def fold(self, batch: Batch, seq: int) -> Folded:
        """Fold a batch; `seq` is the number of the commit that will write the result."""
        if batch.topic == USERS:
            return self._fold_users(batch)
        parsed = self._parse(batch)
        self._users.prefetch([key for _, key, _ in parsed.good])
        self._items.prefetch([item.item_id for _, _, event in parsed.good for item in event.items])
        touches: list[SessionTouch] = []
        for position, key, event in parsed.good:
            self._fold_one(position, key, event, touches)
        items = {k: encode_item_stats(s) for k, s in self._items.take_changed().items()}
        outbox = parsed.dead
        if items or touches:
            outbox = [(UPDATES, 0, pack_update(self.partition, seq, items, touches)), *outbox]
        users = {k: encode_record(r) for k, r in self._users.take_changed().items()}
        return Folded({USER: users, ITEM: items}, outbox)

    def _parse(self, batch: Batch) -> _Parsed:
        parsed = _Parsed([], [])
        for message in batch.messages:
            try:
                event = decode_event(message.payload)
            except msgspec.MsgspecError as error:
                parsed.dead.append(dead_letter(batch, message, str(error)))
                continue
            if _can_be_folded(event):
                parsed.good.append((message.position, event.user_key, event))
            else:
                parsed.dead.append(dead_letter(batch, message, _complaint(event)))
        return parsed

    def _fold_one(self, position: Position, key: str, event: Event, touches: list[SessionTouch]) -> None:
        config = self.config
        record = self._users.change(key)
        record.position = position
        if is_duplicate(record, event, config):
            return
        time = event.timestamp
        landmark = config.decay.landmark(time)
        factors = config.decay.at(time, landmark)
        session = fold_event(record, event, factors, landmark, config)
        code, weight = TYPE_CODES[event.event_type], event_weight(event, config.weights)
        for item in event.items:
            if session is not None:
                touches.append(SessionTouch(session, item.item_id, time))
            count_item(
                self._items.change(item.item_id),
                type_code=code,
                weight=weight,
                time=time,
                factors=factors,
                landmark=landmark,
                decay=config.decay,
            )

    def _fold_users(self, batch: Batch) -> Folded:
        outbox: list[Outgoing] = []
        users = []
        for message in batch.messages:
            try:
                users.append((message, decode_user(message.payload)))
            except msgspec.MsgspecError as error:
                outbox.append(dead_letter(batch, message, str(error)))
        self._users.prefetch([user_key(user.user_id, None) for _, user in users])
        for _, user in users:
            fold_user(self._users.change(user_key(user.user_id, None)), user)
        return Folded({USER: {k: encode_record(r) for k, r in self._users.take_changed().items()}}, outbox)


def _can_be_folded(event: Event) -> bool:
    """Say whether the step can fold an event, whoever wrote it to the log."""
    return (
        event.event_type in TYPE_CODES
        and 0.0 <= event.timestamp <= EPOCH_MAX_S
        and 0.0 <= event.received_at <= EPOCH_MAX_S
    )


def _complaint(event: Event) -> str:
    if event.event_type not in TYPE_CODES:
        return f"unknown event_type {event.event_type!r}"
    return f"a time lies outside the years 1970 to 2100: {event.timestamp}, received at {event.received_at}"
