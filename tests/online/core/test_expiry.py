"""Expiry: what nothing touches for long is gone, for the fold, a request and the store alike."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from online.core.expiry import EXPIRY_S, is_over, living
from online.core.item_stats import decode_item_stats
from online.core.partition import EVENTS, ITEM, USER, USERS, PartitionFold
from online.core.record import UserRecord, decode_record
from online.core.step import FoldConfig, sum_up
from online.ports import Batch, Message
from schemas.event import Event, EventItem, encode_event
from schemas.identity import Absorb, accept_merge, decode_identity, encode_identity
from schemas.user import User, encode_user

T0 = 1_700_000_000.0
DAY_S = 86_400.0


class Partition:
    """A partition and the store its records are in."""

    def __init__(self, expiry_s: int = EXPIRY_S) -> None:
        self.config = FoldConfig(expiry_s=expiry_s, item_expiry_s=expiry_s)
        self.stored: dict[str, dict[str, bytes]] = {USER: {}, ITEM: {}}
        self.sent: list[Any] = []
        self.restart()

    def restart(self) -> None:
        """Begin with nothing but what the store holds."""
        self._fold = PartitionFold(0, self._load, self.config, partitions=1)

    def _load(self, family: str, keys: Any) -> list[bytes | None]:
        return [self.stored[family].get(key) for key in keys]

    def take(self, *payloads: bytes, topic: str = EVENTS) -> Partition:
        for payload in payloads:
            folded = self._fold.fold(Batch(topic, 0, [Message(f"{len(self.sent):020d}", payload)]), 1)
            self.sent.append([decode_identity(sent) for to, _, sent in folded.outbox if to == EVENTS])
            for family, records in folded.writes.items():
                self.stored[family].update({key: value for key, value in records.items() if value is not None})
            if folded.perishable is not None:
                lives = {USER: self.config.expiry_s, ITEM: self.config.item_expiry_s}
                assert {family: of.ttl_s for family, of in folded.perishable.items()} == {
                    f: 2 * s for f, s in lives.items()
                }
                self.perishable = {family: of.keys for family, of in folded.perishable.items()}
        return self

    def collect(self, now: float) -> None:
        """Forget what a store may have forgotten long before, and what no fold will miss."""
        for family, of, kept in ((USER, decode_record, True), (ITEM, decode_item_stats, False)):
            for key, value in list(self.stored[family].items()):
                record: Any = of(value)
                if is_over(record.received, now, self.config.expiry_s) and not (kept and record.labels_time):
                    del self.stored[family][key]
        self.restart()

    def record(self, key: str = "u1") -> UserRecord:
        return sum_up(decode_record(self.stored[USER][key]), FoldConfig())


def event(at: float, item: str = "a", user: str = "1", **fields: Any) -> bytes:
    fields.setdefault("event_id", f"e{at}{item}")
    fields.setdefault("user_id", user)
    one = Event(event_type="click", timestamp=T0 + at, received_at=T0 + at, items=[EventItem(item)], **fields)
    return encode_event(one)


def document(at: float, **fields: Any) -> bytes:
    return encode_user(User(user_id="1", updated_at=T0 + at, **fields))


def test_a_record_untouched_for_the_expiry_begins_anew() -> None:
    within = Partition().take(event(0.0), event(float(EXPIRY_S), "b")).record()
    after = Partition().take(event(0.0), event(EXPIRY_S + 1.0, "b")).record()

    assert (within.counts, set(within.affinities[0])) == ({2: 2}, {"a", "b"})
    assert (after.counts, set(after.affinities[0]), list(after.seen)) == ({2: 1}, {"b"}, ["b"])
    assert [t.item_id for t in after.recent] == ["b"]


def test_it_goes_by_the_time_of_receipt_not_by_the_time_of_the_event() -> None:
    late = Event(event_id="late", event_type="click", timestamp=T0 - 1e7, received_at=T0 + 9, user_id="1")
    late.items = [EventItem("b")]

    assert Partition().take(event(0.0), encode_event(late)).record().counts == {2: 2}


def test_the_aggregates_of_an_item_begin_anew_as_well() -> None:
    partition = Partition().take(event(0.0), event(EXPIRY_S + 1.0, user="2"))
    stats = decode_item_stats(partition.stored[ITEM]["a"])

    assert stats.first_time == T0 + EXPIRY_S + 1.0
    assert stats == decode_item_stats(Partition().take(event(EXPIRY_S + 1.0, user="2")).stored[ITEM]["a"])


def test_a_repeated_event_keeps_a_record_alive() -> None:
    again = msgspec.json.decode(event(0.0, event_id="e"))
    again["received_at"] = T0 + 5 * DAY_S
    partition = Partition().take(event(0.0, event_id="e"), msgspec.json.encode(again))

    assert partition.take(event(EXPIRY_S + 4 * DAY_S, "b")).record().counts == {2: 2}


def test_what_documents_say_stays_whichever_topic_was_folded_first() -> None:
    said = document(1.0, labels=["vip"], context={"tier": "gold"})
    events = [event(0.0), event(5.0, context={"device": "tv"}), event(EXPIRY_S + 6.0, "b")]
    first = Partition().take(said, topic=USERS).take(*events).record()
    last = Partition().take(*events).take(said, topic=USERS).record()

    assert (first.labels, first.context, first.counts) == (["vip"], {"tier": "gold"}, {2: 1})
    assert msgspec.structs.replace(first, position="") == msgspec.structs.replace(last, position="")


def test_only_records_without_a_document_may_be_forgotten_by_the_store() -> None:
    partition = Partition().take(document(0.0, labels=["vip"]), topic=USERS).take(event(0.0))
    assert {family: list(keys) for family, keys in partition.perishable.items()} == {USER: [], ITEM: ["a"]}

    partition.take(event(1.0, "b", user="2"))
    assert list(partition.perishable[USER]) == ["u2"]


def test_a_visitor_who_comes_back_after_the_expiry_is_known_to_be_nobody() -> None:
    merge = accept_merge(user_id="1", visitor_id="g", event_id="m", now=T0)
    later = accept_merge(user_id="2", visitor_id="g", event_id="n", now=T0 + EXPIRY_S + 2.0)
    visit = event(EXPIRY_S + 1.0, user_id=None, visitor_id="g")
    partition = Partition().take(encode_identity(merge), visit)

    assert partition.record("vg").forward is None
    assert partition.record("vg").counts == {2: 1}

    partition.take(encode_identity(later))
    (absorb,) = partition.sent[-1]
    assert isinstance(absorb, Absorb)
    assert absorb.user_id == "2"
    assert decode_record(absorb.record).counts == {2: 1}


def test_a_request_sees_nothing_of_a_record_that_is_gone_but_what_documents_say() -> None:
    record = UserRecord(counts={2: 1}, received=T0)
    labelled = UserRecord(counts={2: 1}, received=T0, labels=["vip"], labels_time=T0)

    assert living(record, T0 + EXPIRY_S) is record
    assert living(record, T0 + EXPIRY_S + 1.0) is None
    known = living(labelled, T0 + EXPIRY_S + 1.0)
    assert known is not None
    assert (known.labels, known.counts) == (["vip"], {})


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 10.0, 60.0, 101.0, 500.0]), st.sampled_from("ab"), st.sampled_from("12")),
        min_size=1,
        max_size=20,
    )
)
def test_a_store_that_forgets_what_is_over_changes_nothing(steps: list[tuple[float, str, str]]) -> None:
    kept, collected, at = Partition(expiry_s=100), Partition(expiry_s=100), 0.0
    for number, (passed, item, user) in enumerate(steps):
        at += passed
        payload = event(at, item, user, event_id=f"e{number}")
        collected.collect(T0 + at)
        kept.take(payload)
        collected.take(payload)

    collected.collect(T0 + at)
    kept.collect(T0 + at)
    assert collected.stored == kept.stored


def test_what_an_older_program_wrote_without_saying_when_is_not_over() -> None:
    partition = Partition().take(event(0.0))
    for family, decode in ((USER, decode_record), (ITEM, decode_item_stats)):
        for key, value in partition.stored[family].items():
            record: Any = decode(value)
            record.received = 0.0
            partition.stored[family][key] = msgspec.msgpack.encode(record)
    partition.restart()

    partition.take(event(EXPIRY_S + 1.0))

    assert partition.record().counts == {2: 2}
    assert decode_item_stats(partition.stored[ITEM]["a"]).first_time == T0
