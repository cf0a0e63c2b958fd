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
from .decay import Weights
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
    """Decoded records of one family: a two-generation cache over the store."""

    def __init__(self, family: str, load: Load, decode: Callable[[bytes], T], new: Callable[[], T]) -> None:
        self._family, self._load, self._decode, self._new = family, load, decode, new
        self._young: dict[str, T] = {}
        self._old: dict[str, T] = {}

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

    def get(self, key: str) -> T:
        """Return a record that was prefetched."""
        return self._young[key]


_Good = tuple[Position, str, Event]
"""Where an event stands, its user's key, and the event."""


class _Outcome(NamedTuple):
    """What folding an event into its user's record found out for its items."""

    session: int | None
    landmark: float
    factors: Weights


class _Parsed(NamedTuple):
    good: list[_Good]
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
        outcomes, users = self._fold_by_user(parsed.good)
        items, touches = self._fold_items(parsed.good, outcomes)
        outbox = parsed.dead
        if items or touches:
            outbox = [(UPDATES, 0, pack_update(self.partition, seq, items, touches)), *outbox]
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

    def _fold_by_user(self, good: Sequence[_Good]) -> tuple[list[_Outcome | None], dict[str, bytes]]:
        """Fold events into their users' records, user by user: a record and what it refers to then stay in the cache.

        Return, in the order of the events, what each is to its items (None for a duplicate), and the packed records.
        """
        by_user: dict[str, list[int]] = {}
        for i, (_, key, _) in enumerate(good):
            by_user.setdefault(key, []).append(i)
        self._users.prefetch(by_user)
        outcomes: list[_Outcome | None] = [None] * len(good)
        packed = {}
        for key, indexes in by_user.items():
            record = self._users.get(key)
            for i in indexes:
                record.position, _, event = good[i]
                outcomes[i] = self._step(record, event)
            packed[key] = encode_record(record)
        return outcomes, packed

    def _step(self, record: UserRecord, event: Event) -> _Outcome | None:
        config = self.config
        if is_duplicate(record, event, config):
            return None
        landmark = config.decay.landmark(event.timestamp)
        factors = config.decay.at(event.timestamp, landmark)
        return _Outcome(fold_event(record, event, factors, landmark, config), landmark, factors)

    def _fold_items(
        self, good: Sequence[_Good], outcomes: Sequence[_Outcome | None]
    ) -> tuple[dict[str, bytes], list[SessionTouch]]:
        """Fold events into their items' aggregates, in log order: sums of floats depend on it."""
        config = self.config
        self._items.prefetch([item.item_id for _, _, event in good for item in event.items])
        changed: dict[str, ItemStats] = {}
        touches: list[SessionTouch] = []
        for (_, _, event), outcome in zip(good, outcomes, strict=True):
            if outcome is None:
                continue
            session, landmark, factors = outcome
            code, weight, time = TYPE_CODES[event.event_type], event_weight(event, config.weights), event.timestamp
            for item in event.items:
                if session is not None:
                    touches.append(SessionTouch(session, item.item_id, time))
                stats = changed[item.item_id] = self._items.get(item.item_id)
                count_item(
                    stats,
                    type_code=code,
                    weight=weight,
                    time=time,
                    factors=factors,
                    landmark=landmark,
                    decay=config.decay,
                )
        return {key: encode_item_stats(stats) for key, stats in changed.items()}, touches

    def _fold_users(self, batch: Batch) -> Folded:
        outbox: list[Outgoing] = []
        users = []
        for message in batch.messages:
            try:
                users.append((message, decode_user(message.payload)))
            except msgspec.MsgspecError as error:
                outbox.append(dead_letter(batch, message, str(error)))
        self._users.prefetch([user_key(user.user_id, None) for _, user in users])
        changed: dict[str, UserRecord] = {}
        for _, user in users:
            key = user_key(user.user_id, None)
            changed[key] = self._users.get(key)
            fold_user(changed[key], user)
        return Folded({USER: {key: encode_record(record) for key, record in changed.items()}}, outbox)


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
