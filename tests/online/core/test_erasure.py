"""An erasure through the fold of a partition, whichever of its two topics is folded first."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from online.core.checkpoint import apply_writes
from online.core.partition import EVENTS, ITEM, USER, USERS, PartitionFold
from online.core.record import UserRecord, decode_record
from online.ports import Batch, Message
from schemas.erasure import Erased, encode_erased
from schemas.event import Event, EventItem, encode_event
from schemas.identity import accept_merge, encode_identity
from schemas.preferences import Preferences, encode_preferences
from schemas.user import User, encode_user

T0 = 1_700_000_000.0
ERASE = encode_erased(Erased(event_id="x", timestamp=T0 + 9, received_at=T0 + 9, user_id="7"))


def event(item: str, at: float, **who: Any) -> bytes:
    who = who or {"user_id": "7"}
    items = [EventItem(item, categories=["shoes"])]
    return encode_event(
        Event(event_id=f"e{at}", event_type="click", timestamp=T0 + at, received_at=T0 + at, items=items, **who)
    )


class Partition:
    def __init__(self) -> None:
        self.records: dict[str, dict[str, bytes]] = {USER: {}, ITEM: {}}
        self._fold = PartitionFold(0, lambda f, keys: [self.records[f].get(k) for k in keys], partitions=1)
        self._numbers = count(1)

    def tell(self, payload: bytes, topic: str = EVENTS) -> None:
        number = next(self._numbers)
        folded = self._fold.fold(Batch(topic, 0, [Message(f"{number:09}", payload)]), number)
        for family, written in folded.writes.items():
            apply_writes(self.records[family], written)
        for to, _, sent in folded.outbox:
            if to == EVENTS:
                self.tell(sent)

    def record(self, key: str = "u7") -> UserRecord | None:
        payload = self.records[USER].get(key)
        return None if payload is None else decode_record(payload)


@pytest.fixture
def partition() -> Partition:
    """A user with a document, events and preferences."""
    partition = Partition()
    partition.tell(encode_user(User(user_id="7", updated_at=T0, labels=["vip"], context={"country": "de"})), USERS)
    partition.tell(event("a", 1.0))
    partition.tell(
        encode_preferences(
            Preferences(event_id="p", timestamp=T0 + 2, received_at=T0 + 2, user_id="7", muted_items=["b"])
        )
    )
    return partition


@pytest.mark.parametrize("order", [(EVENTS, USERS), (USERS, EVENTS)])
def test_nothing_is_left_whichever_topic_comes_first(partition: Partition, order: tuple[str, str]) -> None:
    partition.tell(ERASE, order[0])
    between = partition.record()
    partition.tell(ERASE, order[1])

    assert between is not None
    assert bool(between.labels) == (order[0] == EVENTS)
    assert bool(between.counts) == (order[0] == USERS)
    assert partition.record() is None
    assert partition.records[ITEM]  # what items have of it is nobody's


def test_what_comes_afterwards_begins_anew(partition: Partition) -> None:
    for topic in (EVENTS, USERS):
        partition.tell(ERASE, topic)
    partition.tell(event("c", 10.0))
    partition.tell(encode_user(User(user_id="7", updated_at=T0 + 11, labels=["new"])), USERS)

    record = partition.record()
    assert record is not None
    assert ([touch.item_id for touch in record.recent], record.labels, record.controls) == (["c"], ["new"], None)


def test_a_visitor_that_was_taken_over_is_not_taken_for_one_to_come(partition: Partition) -> None:
    partition.tell(event("g", 3.0, visitor_id="g"))
    partition.tell(encode_identity(accept_merge(user_id="7", visitor_id="g", event_id="m", now=T0 + 4)))
    before = partition.record()
    for topic in (EVENTS, USERS):
        partition.tell(ERASE, topic)

    after = partition.record()
    assert before is not None
    assert after == UserRecord(absorbed=before.absorbed, received=T0 + 9)

    partition.tell(encode_erased(Erased(event_id="x", timestamp=T0 + 9, received_at=T0 + 9, visitor_id="g")))
    assert partition.record("vg") is None


def test_an_erasure_of_nobody_is_a_dead_letter(partition: Partition) -> None:
    folded = PartitionFold(0, lambda f, keys: [None for _ in keys])
    for topic in (EVENTS, USERS):
        payload = encode_erased(Erased(event_id="x", timestamp=T0, received_at=T0))
        assert [to for to, _, _ in folded.fold(Batch(topic, 0, [Message("1", payload)]), 1).outbox] == ["dead"]
