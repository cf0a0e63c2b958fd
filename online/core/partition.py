"""The state view of one partition: user records and item sub-aggregates, folded batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar
from zlib import crc32

import msgspec

from online.ports import Batch, Message, Perishable
from schemas.erasure import Erased
from schemas.event import Event
from schemas.identity import Absorb, Forwarded, Merge, encode_identity
from schemas.preferences import Preferences
from schemas.user import User

from .audience import audiences_of
from .checkpoint import Folded, Outgoing
from .controls import reach_of
from .dead_letter import dead_letter
from .entry import Absorption, Arrival, Document, Entry, read_document, read_entry
from .expiry import is_over, is_perishable, touch
from .foldable import Unfoldable
from .influence import WHOLE, counted
from .item_stats import ItemStats, count_item, decode_item_stats, encode_item_stats
from .merge import absorb
from .preference_step import fold_preferences, fold_unlearned, forget_documents, without_behaviour
from .record import TYPE_CODES, Forward, UserRecord, decode_record, encode_record
from .robots import is_robot
from .step import FoldConfig, event_weight, fold_event, fold_user, is_duplicate
from .update import UPDATES, SessionTouch, pack_update

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
        self.changed: dict[str, T | None] = {}

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

    def peek(self, key: str) -> T:
        """Return a prefetched record without marking it as changed."""
        return self._young[key]

    def change(self, key: str) -> T:
        """Return a prefetched record that the caller is about to change."""
        record = self._young[key]
        self.changed[key] = record
        return record

    def put(self, key: str, record: T) -> None:
        """Put a record in the place of a prefetched one."""
        self._young[key] = self.changed[key] = record

    def remove(self, key: str) -> None:
        """Forget a prefetched record, here and in the store."""
        self._young[key], self.changed[key] = self._new(), None

    def take_changed(self) -> dict[str, T | None]:
        """Return what has changed since the last call, None for what is to be deleted."""
        changed, self.changed = self.changed, {}
        return changed


class PartitionFold:
    """Folds one partition's events and user documents; the records it keeps decoded are the store's own.

    The owner must be the partition's only writer: it folds ahead of the commit of the batch before.

    Args:
        partition: which one.
        load: reads what the store holds of it.
        config: parameters of the step.
        partitions: of the log, to which merged visitors' records and events are sent; without, nothing of them is in
            the outbox, for those who fold a log again and send nothing.
    """

    topics = (EVENTS, USERS)

    def __init__(
        self, partition: int, load: Load, config: FoldConfig | None = None, *, partitions: int | None = None
    ) -> None:
        self.partition = partition
        self.config = config or FoldConfig()
        self._partitions = partitions
        self._users: _Records[UserRecord] = _Records(USER, load, decode_record, UserRecord)
        self._items: _Records[ItemStats] = _Records(ITEM, load, decode_item_stats, ItemStats)
        self._robot_events = 0  # of the batch

    def fold(self, batch: Batch, seq: int) -> Folded:
        """Fold a batch; `seq` is the number of the commit that will write the result."""
        if batch.topic == USERS:
            return self._fold_users(batch)
        outbox: list[Outgoing] = []
        entries = self._entries(batch, outbox)
        self._users.prefetch([key for _, key, _ in entries])
        self._items.prefetch([i.item_id for _, _, said in entries if isinstance(said, Event) for i in said.items])
        touches: list[SessionTouch] = []
        for message, key, said in entries:
            if isinstance(said, Event):
                self._fold_event(message, key, said, touches, outbox)
            elif isinstance(said, Preferences):
                self._fold_preferences(message, key, said, outbox)
            elif isinstance(said, Erased):
                self._replace(key, without_behaviour(self._users.peek(key), said.received_at))
            elif isinstance(said, Merge):
                self._fold_merge(message, said, outbox)
            elif isinstance(said, Absorption):
                record = self._touched(key, message, said.received_at)
                absorb(record, said.visitor, said.merge_id, self.config)
            elif isinstance(said, Arrival):
                said.record.position = message.position
                self._users.put(key, said.record)
            else:
                self._users.remove(key)
        items = {k: encode_item_stats(s) for k, s in self._items.take_changed().items() if s is not None}
        if items or touches:
            outbox.insert(0, (UPDATES, 0, pack_update(self.partition, seq, items, touches)))
        changed = self._users.take_changed()
        perishable = {
            USER: Perishable(2 * self.config.expiry_s, _perishing(changed)),
            ITEM: Perishable(2 * self.config.item_expiry_s, items.keys()),
        }
        robot_events, self._robot_events = self._robot_events, 0
        return Folded({USER: _encoded(changed), ITEM: items}, outbox, perishable, robot_events)

    def _touched(self, key: str, message: Message, received_at: float) -> UserRecord:
        """Return the record that the message is about to change, begun anew if it was gone."""
        record = self._users.change(key)
        touch(record, received_at, self.config.expiry_s)
        record.position = message.position
        return record

    def _entries(self, batch: Batch, outbox: list[Outgoing]) -> list[Entry]:
        """Return what can be folded; the rest goes to the outbox as dead letters."""
        entries = []
        for message in batch.messages:
            try:
                entries.append(read_entry(message))
            except (msgspec.MsgspecError, Unfoldable) as error:
                outbox.append(dead_letter(batch, message, str(error)))
        return entries

    def _fold_event(
        self, message: Message, key: str, event: Event, touches: list[SessionTouch], outbox: list[Outgoing]
    ) -> None:
        config = self.config
        record = self._touched(key, message, event.received_at)
        reach = reach_of(event, record.controls)
        if reach == "nothing" and record.forward is None:
            fold_unlearned(record, event, reach, config.caps)
            return
        if is_duplicate(record, event, config):
            return
        if record.forward is not None:
            self._send(outbox, _forwarded(message, event, record.forward))
            return
        time = event.timestamp
        landmark = config.decay.landmark(time)
        factors = config.decay.at(time, landmark)
        joined = None
        if reach == "profile":
            joined = fold_event(record, event, factors, landmark, config)
        else:
            fold_unlearned(record, event, reach, config.caps)
        if is_robot(record, time):
            self._robot_events += 1
            return
        if event.held_out:
            return
        code, weight = TYPE_CODES[event.event_type], event_weight(event, config.weights)
        is_learned = reach == "profile"
        is_other = is_learned and record.landmark != landmark
        own_factors = config.decay.at(time, record.landmark) if is_other else factors
        # Not of the user document: where it comes between two events, no log says.
        audiences = audiences_of(event.context) if joined is not None else ()
        for item in event.items:
            if joined is not None:
                touches.append(SessionTouch(joined[0], item.item_id, time, joined[1], audiences))
            count_item(
                self._items.change(item.item_id),
                type_code=code,
                weight=weight,
                time=time,
                factors=factors,
                landmark=landmark,
                decay=config.decay,
                received_at=event.received_at,
                expiry_s=config.item_expiry_s,
                shares=counted(record, item.item_id, weight, own_factors, config) if is_learned else WHOLE,
            )

    def _fold_preferences(self, message: Message, key: str, said: Preferences, outbox: list[Outgoing]) -> None:
        record = self._touched(key, message, said.received_at)
        if record.forward is not None:
            self._send(outbox, _forwarded(message, said, record.forward))
        else:
            fold_preferences(record, said)

    def _replace(self, key: str, record: UserRecord | None) -> None:
        if record is None:
            self._users.remove(key)
        else:
            self._users.put(key, record)

    def _fold_merge(self, message: Message, merge: Merge, outbox: list[Outgoing]) -> None:
        """Forward a visitor from here on; the first merge also sends the record. Repeated or older ones do nothing."""
        visitor = self._users.peek(merge.visitor_key)
        is_gone = is_over(visitor.received, merge.received_at, self.config.expiry_s)
        forward = None if is_gone else visitor.forward
        if forward is not None and (forward.user_id == merge.user_id or forward.merged_at >= merge.timestamp):
            return
        record = self._touched(merge.visitor_key, message, merge.received_at)
        if forward is not None:
            record.forward = msgspec.structs.replace(forward, user_id=merge.user_id, merged_at=merge.timestamp)
            return
        merge_id = f"{self.partition}:{message.position}"
        self._send(outbox, _absorb(merge, merge_id, record))
        record.forward = Forward(merge.user_id, merge.timestamp, merge.user_id, merge_id)

    def _send(self, outbox: list[Outgoing], message: Absorb | Forwarded) -> None:
        if self._partitions is not None:
            outbox.append((EVENTS, partition_of(message.target_key, self._partitions), encode_identity(message)))

    def _fold_users(self, batch: Batch) -> Folded:
        outbox: list[Outgoing] = []
        documents: list[Document] = []
        for message in batch.messages:
            try:
                documents.append(read_document(message))
            except (msgspec.MsgspecError, Unfoldable) as error:
                outbox.append(dead_letter(batch, message, str(error)))
        self._users.prefetch([key for key, _ in documents])
        for key, said in documents:
            if isinstance(said, User):
                fold_user(self._users.change(key), said)
            elif isinstance(said, Erased):
                record = self._users.change(key)
                forget_documents(record)
                self._replace(key, record if record.position or record.absorbed else None)
            elif not self._users.peek(key).position:  # nothing but user documents made it
                self._users.remove(key)
        return Folded({USER: _encoded(self._users.take_changed())}, outbox)


def _encoded(records: Mapping[str, UserRecord | None]) -> dict[str, bytes | None]:
    return {key: None if record is None else encode_record(record) for key, record in records.items()}


def _perishing(records: Mapping[str, UserRecord | None]) -> list[str]:
    return [key for key, record in records.items() if record is not None and is_perishable(record)]


def _forwarded(message: Message, event: Event | Preferences, forward: Forward) -> Forwarded:
    return Forwarded(
        event_id=event.event_id,
        timestamp=event.timestamp,
        received_at=event.received_at,
        user_id=forward.user_id,
        visitor_id=event.visitor_id or "",
        event=msgspec.Raw(message.payload),
    )


def _absorb(merge: Merge, merge_id: str, record: UserRecord) -> Absorb:
    return Absorb(
        event_id=merge_id,
        timestamp=merge.timestamp,
        received_at=merge.received_at,
        user_id=merge.user_id,
        visitor_id=merge.visitor_id,
        record=encode_record(record),
    )
