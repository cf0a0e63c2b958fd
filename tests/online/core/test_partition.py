from __future__ import annotations

import random

import pytest

from online.adapters.memory_state import MemoryState
from online.core.dead_letter import DEAD, decode_dead_letter
from online.core.item_stats import decode_item_stats
from online.core.partition import EVENTS, ITEM, USER, USERS, PartitionFold
from online.core.record import TYPE_CODES, decode_record
from online.core.update import UPDATES, decode_update
from online.ports import Batch, Message
from replay.traffic import random_event
from schemas.event import Event, EventItem, encode_event
from schemas.user import User, encode_user


def batch(*payloads: bytes, first: int = 1, topic: str = EVENTS) -> Batch:
    return Batch(topic, 0, [Message(f"{i:020d}", payload) for i, payload in enumerate(payloads, start=first)])


def stream(n: int, seed: int = 1) -> list[bytes]:
    rng = random.Random(seed)
    return [encode_event(random_event(rng, 1.7e9 + i, users=50, items=40)) for i in range(n)]


def run(payloads: list[bytes], batch_size: int, *, restart_every: int = 0) -> dict[str, dict[str, bytes]]:
    """Fold in batches, as a flow that is restarted every so many batches would, and return what the store holds."""
    state = MemoryState()
    claim = state.claim("state", 0)

    def fresh() -> PartitionFold:
        return PartitionFold(0, lambda family, keys: state.get_many(0, family, keys))

    fold = fresh()
    for seq, at in enumerate(range(0, len(payloads), batch_size), start=1):
        if restart_every and seq % restart_every == 0:
            fold = fresh()
        folded = fold.fold(batch(*payloads[at : at + batch_size], first=at + 1), seq)
        state.commit("state", 0, claim.generation, folded.writes, b"c")
    return {family: dict(state.scan(0, family)) for family in (USER, ITEM)}


@pytest.mark.parametrize(("batch_size", "restart_every"), [(7, 0), (100, 0), (7, 1), (50, 3)])
def test_records_do_not_depend_on_batches_or_restarts(batch_size: int, restart_every: int) -> None:
    payloads = stream(600)

    assert run(payloads, batch_size, restart_every=restart_every) == run(payloads, 1)


def test_updates_do_not_depend_on_when_a_users_document_is_read() -> None:
    event = Event(
        event_id="e", event_type="click", timestamp=9.0, received_at=9.0, user_id="7", items=[EventItem("a")],
        context={"country": "de"},
    )  # fmt: skip
    document = encode_user(User(user_id="7", updated_at=5.0, labels=["vip"], context={"country": "fr"}))
    batches = batch(document, topic=USERS), batch(encode_event(event))

    sent = []
    for order in (batches, batches[::-1]):
        state: dict[str, bytes] = {}
        fold = PartitionFold(0, lambda family, keys, state=state: [state.get(key) for key in keys])
        outboxes = [fold.fold(one, seq).outbox for seq, one in enumerate(order, start=1)]
        sent.append([decode_update(payload).touches for outbox in outboxes for _, _, payload in outbox])

    assert sent[0] == sent[1]
    assert sent[0][0][0].audiences == ("country=de",)


def test_an_item_whose_first_event_was_received_at_the_epoch_is_counted() -> None:
    event = Event(event_id="e", event_type="click", timestamp=0.0, received_at=0.0, user_id="7", items=[EventItem("a")])

    folded = PartitionFold(0, lambda family, keys: [None] * len(keys)).fold(batch(encode_event(event)), 1)

    stats = decode_item_stats(folded.writes[ITEM]["a"] or b"")
    assert (stats.total, stats.counts) == (1.0, {TYPE_CODES["click"]: 1.0})


def test_what_held_out_units_do_is_in_their_records_alone() -> None:
    event = Event(
        event_id="e", event_type="click", timestamp=9.0, received_at=9.0, user_id="7", items=[EventItem("a")],
        held_out=True,
    )  # fmt: skip

    folded = PartitionFold(0, lambda family, keys: [None] * len(keys)).fold(batch(encode_event(event)), 1)

    assert decode_record(folded.writes[USER]["u7"] or b"").recent[0].item_id == "a"
    assert (folded.writes[ITEM], folded.outbox) == ({}, [])


def test_a_message_that_is_no_event_is_dead_lettered_with_its_reason_and_bytes() -> None:
    good = stream(1)[0]
    fold = PartitionFold(0, lambda family, keys: [None] * len(keys))

    folded = fold.fold(batch(b"{not json", good, b'{"event_id":"e","event_type":"view"}'), 1)

    letters = [decode_dead_letter(payload) for topic, _, payload in folded.outbox if topic == DEAD]
    assert [(letter.position, letter.payload) for letter in letters] == [
        (f"{1:020d}", b"{not json"),
        (f"{3:020d}", b'{"event_id":"e","event_type":"view"}'),
    ]
    assert "timestamp" in letters[1].reason
    assert len(folded.writes[USER]) == 1


@pytest.mark.parametrize("field", ["timestamp", "received_at"])
@pytest.mark.parametrize("time", [-1.0, 1e300])
def test_an_event_of_another_age_is_dead_lettered_and_stops_nothing(field: str, time: float) -> None:
    event = random_event(random.Random(1), 1.7e9)
    setattr(event, field, time)
    fold = PartitionFold(0, lambda family, keys: [None] * len(keys))

    folded = fold.fold(batch(encode_event(event), *stream(1)), 1)

    (letter,) = [decode_dead_letter(payload) for topic, _, payload in folded.outbox if topic == DEAD]
    assert "1970 to 2100" in letter.reason
    assert len(folded.writes[USER]) == 1


def test_updates_carry_absolute_item_aggregates_and_each_touch_once() -> None:
    payloads = stream(200)
    fold = PartitionFold(0, lambda family, keys: [None] * len(keys))

    first = fold.fold(batch(*payloads), 1)
    again = fold.fold(batch(*payloads, first=201), 2)

    (update,) = [decode_update(p) for topic, _, p in first.outbox if topic == UPDATES]
    assert update.seq == 1
    assert update.items.keys() == first.writes[ITEM].keys()
    assert len(update.touches) > 100
    assert not [topic for topic, _, _ in again.outbox if topic == UPDATES]
    assert again.writes[ITEM] == {}


def test_user_documents_reach_the_record() -> None:
    fold = PartitionFold(0, lambda family, keys: [None] * len(keys))
    document = encode_user(User(user_id="7", updated_at=5.0, labels=["vip"]))

    folded = fold.fold(batch(document, b"?", topic=USERS), 1)

    value = folded.writes[USER]["u7"]
    assert value is not None
    assert decode_record(value).labels == ["vip"]
    assert [topic for topic, _, _ in folded.outbox] == [DEAD]
