"""Preferences through the fold of a partition, as the log tells them."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from online.core.checkpoint import apply_writes
from online.core.controls import Controls
from online.core.expiry import EXPIRY_S, is_perishable, living
from online.core.item_stats import decode_item_stats
from online.core.known import known
from online.core.partition import EVENTS, ITEM, USER, USERS, PartitionFold
from online.core.record import TYPE_CODES, UserRecord, decode_record
from online.core.update import UPDATES, decode_update
from online.ports import Batch, Message
from schemas.event import Event, EventItem, encode_event
from schemas.identity import accept_merge, encode_identity
from schemas.preferences import Preferences, encode_preferences
from schemas.user import User, encode_user

T0 = 1_700_000_000.0
CLICK = TYPE_CODES["click"]


class Partition:
    """One partition of a log with all its users, folded message by message; what it sends comes back to it."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, bytes]] = {USER: {}, ITEM: {}}
        self.touches: list[str] = []
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
            elif to == UPDATES:
                self.touches += [touch.item_id for touch in decode_update(sent).touches]

    def act(self, item: str, at: float = 0.0, event_type: str = "click", **fields: Any) -> None:
        who = fields if "visitor_id" in fields else {"user_id": "7", **fields}
        items = [EventItem(item, categories=["shoes"], brand="acme")]
        event_id, time = f"{event_type}-{item}-{at}", T0 + at
        event = Event(event_id=event_id, event_type=event_type, timestamp=time, received_at=time, items=items, **who)
        self.tell(encode_event(event))

    def want(self, at: float = 0.0, **fields: Any) -> None:
        who = fields if "visitor_id" in fields else {"user_id": "7", **fields}
        self.tell(encode_preferences(Preferences(event_id="p", timestamp=T0 + at, received_at=T0 + at, **who)))

    def merge(self, at: float = 0.0) -> None:
        self.tell(encode_identity(accept_merge(user_id="7", visitor_id="g", event_id="m", now=T0 + at)))

    def record(self, key: str = "u7") -> UserRecord:
        found = known(self.records[USER].get(key), T0)
        assert found is not None
        return found

    def clicks(self, item: str) -> float:
        payload = self.records[ITEM].get(item)
        return 0.0 if payload is None else decode_item_stats(payload).total


@pytest.fixture
def partition() -> Partition:
    return Partition()


def behaviour(record: UserRecord) -> list[Any]:
    return [
        *(table for table in record.affinities if table), record.withdrawn, record.recent, record.seen, record.counts,
        record.context, record.sessions,
    ]  # fmt: skip


def test_what_a_user_wants_stands_in_the_record(partition: Partition) -> None:
    partition.act("a")
    partition.want(1.0, muted_items=["a"], muted_categories=["books"])

    record = partition.record()
    assert record.controls == Controls(T0 + 1.0, ["a"], muted_categories=["books"])
    assert (record.counts, record.position) == ({CLICK: 1}, "000000002")


def test_a_reset_forgets_what_was_learned_and_keeps_the_account(partition: Partition) -> None:
    partition.tell(encode_user(User(user_id="7", updated_at=T0, labels=["vip"], context={"country": "de"})), USERS)
    for n, kind in enumerate(("click", "hide", "add_to_cart", "purchase", "dislike")):
        partition.act(f"i{n}", float(n), kind, context={"device": "phone"})

    partition.want(9.0, muted_brands=["acme"], reset=True)

    record = partition.record()
    assert not any(behaviour(record)[:-2])
    assert record.context == {"country": "de"}
    assert (record.labels, [*record.hidden], [*record.carted], [*record.purchased]) == (["vip"], ["i1"], ["i2"], ["i3"])
    assert record.controls == Controls(T0 + 9.0, muted_brands=["acme"], forgotten=T0 + 9.0)


def test_what_happened_before_a_reset_and_comes_late_counts_for_the_item_alone(partition: Partition) -> None:
    partition.want(9.0, reset=True)
    partition.act("late", 8.0)
    partition.act("new", 10.0)

    assert [touch.item_id for touch in partition.record().recent] == ["new"]
    assert (partition.clicks("late"), partition.clicks("new")) == (1.0, 1.0)
    assert partition.touches == ["new"]


def test_an_event_counts_once_whatever_was_forgotten(partition: Partition) -> None:
    partition.act("a")
    partition.want(1.0, reset=True)
    partition.act("a")

    assert partition.clicks("a") == 1.0


def test_with_personalization_off_items_learn_and_the_profile_does_not(partition: Partition) -> None:
    partition.act("a")
    before = behaviour(partition.record())
    partition.want(1.0, personalization=False)
    partition.act("b", 2.0)
    partition.act("c", 3.0, "hide")

    record = partition.record()
    assert behaviour(record) == before
    assert [*record.hidden] == ["c"]
    assert partition.clicks("b") == 1.0
    assert partition.touches == ["a"]  # no session of others learns from it either

    partition.want(4.0, personalization=True)
    partition.act("d", 5.0)

    assert [touch.item_id for touch in partition.record().recent] == ["a", "d"]


def test_an_event_without_consent_counts_as_with_personalization_off(partition: Partition) -> None:
    partition.act("a", consent=False)

    assert not any(behaviour(partition.record()))
    assert partition.clicks("a") == 1.0


def test_too_fast_a_user_is_a_robot_with_personalization_off_as_well(partition: Partition) -> None:
    partition.want(0.0, personalization=False)
    for n in range(400):
        partition.act("a", n / 10)

    assert partition.clicks("a") < 300


def test_without_consent_nothing_is_kept_and_nothing_counts(partition: Partition) -> None:
    partition.act("a")
    partition.act("b", 1.0, "purchase")
    partition.act("c", 2.0, "hide")
    partition.want(3.0, muted_brands=["acme"], consent=False)
    partition.act("d", 4.0)
    partition.act("e", 5.0, "hide")

    record = partition.record()
    assert not any(behaviour(record))
    assert (record.purchased, record.carted, record.dedup, record.pace) == ({}, {}, bytearray(), 0.0)
    assert [*record.hidden] == ["c", "e"]
    assert (partition.clicks("d"), partition.touches) == (0.0, ["a", "b"])

    partition.want(6.0, consent=True)
    partition.act("f", 5.5)
    partition.act("g", 7.0)

    assert [touch.item_id for touch in partition.record().recent] == ["g"]


def test_controls_outlive_everything_that_expires(partition: Partition) -> None:
    partition.act("a")
    partition.want(1.0, consent=False)
    record = decode_record(partition.records[USER]["u7"])

    assert not is_perishable(record)
    years_later = living(record, T0 + 9 * EXPIRY_S)
    assert years_later is not None
    assert years_later.controls == record.controls
    partition.act("b", 9 * EXPIRY_S)
    assert not any(behaviour(decode_record(partition.records[USER]["u7"])))


def test_a_visitor_keeps_its_controls_when_it_becomes_a_user(partition: Partition) -> None:
    partition.want(1.0, visitor_id="g", muted_items=["a"])
    partition.want(2.0, muted_items=["b"])
    partition.merge(3.0)

    assert partition.record().controls == Controls(T0 + 2.0, ["b", "a"])

    partition.want(4.0, visitor_id="g", muted_items=["c"])  # is the user's by now

    assert partition.record().controls == Controls(T0 + 4.0, ["c"])


def test_of_a_visitor_nothing_is_taken_over_that_the_user_does_not_want_known(partition: Partition) -> None:
    partition.act("a", visitor_id="g")
    partition.act("b", 0.5, "hide", visitor_id="g")
    partition.act("c")
    partition.want(1.0, consent=False)
    partition.merge(2.0)

    record = partition.record()
    assert not any(behaviour(record))
    assert [*record.hidden] == ["b"]


def test_without_consent_as_a_visitor_the_user_has_none_unless_it_was_given(partition: Partition) -> None:
    partition.act("a")
    partition.want(1.0, visitor_id="g", consent=False)
    partition.merge(2.0)
    assert not any(behaviour(partition.record()))

    other = Partition()
    other.act("a")
    other.want(0.5, consent=True)
    other.want(1.0, visitor_id="g", consent=False)
    other.merge(2.0)
    assert [touch.item_id for touch in other.record().recent] == ["a"]


@pytest.mark.parametrize(
    "broken",
    [
        {"muted_items": [""]},
        {"muted_brands": ["b"] * 65},
        {"boosts": [["brand", "b", 99.0]]},
        {"boosts": [["tag", "b", 1.0]]},
    ],
)
def test_preferences_that_no_record_could_hold_are_dead_letters(partition: Partition, broken: dict[str, Any]) -> None:
    said = Preferences(event_id="p", timestamp=T0, received_at=T0, user_id="7")
    payload = encode_preferences(said)[:-1] + b"," + encode_preferences(broken)[1:]
    folded = PartitionFold(0, lambda f, keys: [None for _ in keys]).fold(Batch(EVENTS, 0, [Message("1", payload)]), 1)

    assert [topic for topic, _, _ in folded.outbox] == ["dead"]
