from __future__ import annotations

import json
import random
from typing import Any

import pytest

from online.core.dead_letter import DEAD, decode_dead_letter
from online.core.partition import EVENTS, USER, USERS, PartitionFold
from online.core.record import UserRecord, decode_record
from online.core.update import UPDATES
from online.ports import Batch, Message
from replay.traffic import random_event
from schemas.event import encode_event

T0 = 1_700_000_000.0


def good(**fields: Any) -> bytes:
    document = json.loads(encode_event(random_event(random.Random(1), T0)))
    return json.dumps({**document, **fields}).encode()


EVENTS_OF_POISON = {
    "a text that is not UTF-8": (good(user_id="#").replace(b'"#"', b'"\xff"'), "UTF-8"),
    "a key that is not UTF-8": (good(properties={"#": 1}).replace(b'"#"', b'"\xff"'), "UTF-8"),
    "deep nesting where anything may be": (good(properties={"a": 0})[:-2] + b',"b":' + b"[" * 9999, "nested"),
    "deep nesting in an unknown field": (good()[:-1] + b',"b":' + b"[" * 9999 + b"]" * 9999 + b"}", "nested"),
    "a huge context": (good(context={"a": "x" * 1025}), "context"),
    "a wide context": (good(context={str(i): 1 for i in range(33)}), "context"),
    "a huge category": (good(items=[{"item_id": "a", "categories": ["x" * 129]}]), "category"),
    "a huge brand": (good(items=[{"item_id": "a", "brand": "x" * 129}]), "brand"),
    "an integer too large for a record": (good(context={"a": 2**70}), "64 bits"),
    "an integer too large for anything": (good()[:-1] + b',"properties":{"a":' + b"9" * 5000 + b"}}", "out of range"),
    "milliseconds": (good(timestamp=T0 * 1000, received_at=T0 * 1000), "1970 to 2100"),
    "an empty id": (good(event_id=""), "event_id"),
    "a huge id": (good(event_id="x" * 1_000_000), "event_id"),
    "a huge user": (good(user_id="x" * 300), "user_id"),
    "a huge item": (good(items=[{"item_id": "x" * 300}]), "item_id"),
    "a huge slate": (good(recommendation_id="x" * 300), "recommendation_id"),
    "too many items": (good(items=[{"item_id": "a"}] * 1001), "items"),
    "an empty item": (good(items=[{"item_id": ""}]), "item_id"),
    "no user": (good(user_id=None), "user_id"),
    "an unknown type": (good(event_type="teleport"), "teleport"),
    "an empty message": (b"", "truncated"),
    "binary": (bytes(range(256)), "malformed"),
}


@pytest.mark.parametrize("kind", EVENTS_OF_POISON)
def test_poison_is_dead_lettered_whole_and_the_events_around_it_are_folded(kind: str) -> None:
    payload, reason = EVENTS_OF_POISON[kind]
    fold = PartitionFold(0, lambda family, keys: [None] * len(keys))
    messages = [Message("1", good(event_id="a")), Message("2", payload), Message("3", good(event_id="b"))]

    folded = fold.fold(Batch(EVENTS, 0, messages, read_at=T0 + 9), 1)

    (letter,) = [decode_dead_letter(sent) for topic, _, sent in folded.outbox if topic == DEAD]
    assert reason in letter.reason
    assert (letter.topic, letter.position, letter.payload, letter.at) == (EVENTS, "2", payload, T0 + 9)
    (record,) = folded.writes[USER].values()
    assert record is not None
    assert sum(decode_record(record).counts.values()) == 2


def test_a_clock_that_is_ahead_is_clamped_and_counted_whoever_wrote_the_event() -> None:
    def record(*payloads: bytes) -> UserRecord:
        fold = PartitionFold(0, lambda family, keys: [None] * len(keys))
        folded = fold.fold(Batch(EVENTS, 0, [Message(str(i), payload) for i, payload in enumerate(payloads)]), 1)
        assert [topic for topic, _, _ in folded.outbox] == [UPDATES]
        (stored,) = folded.writes[USER].values()
        assert stored is not None
        return decode_record(stored)

    days = 40 * 86_400.0  # the landmark would move on
    ahead = record(good(event_id="a"), good(event_id="b", timestamp=T0 + days))
    in_time = record(good(event_id="a"), good(event_id="b", timestamp=T0))

    assert (ahead.clamped, in_time.clamped) == (1, 0)
    assert (ahead.last_time, ahead.landmark, ahead.affinities) == (T0, in_time.landmark, in_time.affinities)
    assert record(good(timestamp=T0 + 5.0)).clamped == 0


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"user_id": "", "updated_at": T0}, "user_id"),
        ({"user_id": "1", "updated_at": 1e300}, "1970 to 2100"),
        ({"user_id": "1", "updated_at": T0, "labels": ["a"] * 65}, "labels"),
        ({"user_id": "1", "updated_at": T0, "labels": ["a" * 129]}, "labels"),
        ({"user_id": "1", "updated_at": T0, "context": {"a": -(2**63) - 1}}, "64 bits"),
    ],
)
def test_a_user_document_no_record_could_hold_is_dead_lettered(document: dict[str, Any], reason: str) -> None:
    fold = PartitionFold(0, lambda family, keys: [None] * len(keys))
    ours = b'{"user_id": "2", "updated_at": 5}'

    folded = fold.fold(Batch(USERS, 0, [Message("1", json.dumps(document).encode()), Message("2", ours)]), 1)

    (letter,) = [decode_dead_letter(sent) for topic, _, sent in folded.outbox if topic == DEAD]
    assert reason in letter.reason
    assert list(folded.writes[USER]) == ["u2"]


def test_an_event_at_the_limits_of_the_edge_is_folded() -> None:
    payload = good(event_id="e" * 256, user_id="u" * 256, timestamp=T0 + 5, context={"a": -(2**63), "b": 2**63 - 1})
    fold = PartitionFold(0, lambda family, keys: [None] * len(keys))

    assert len(fold.fold(Batch(EVENTS, 0, [Message("1", payload)]), 1).writes[USER]) == 1
