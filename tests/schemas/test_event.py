"""Events: what the edge accepts is what the log gives back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from online.core.rows import blocks
from online.ports import Batch, Message
from schemas.event import (
    ALIASES,
    EVENT_TYPES,
    EVENT_VERSION,
    MAX_SKEW_S,
    PERSONALIZATION,
    WEIGHTS,
    Event,
    EventIn,
    EventItem,
    EventItemIn,
    accept,
    canonical_type,
    decode_event,
    encode_event,
)
from schemas.fields import EPOCH_MAX_S

GOLDEN = Path(__file__).parent / "golden"
NOW = 1_700_000_000.0

TEXT = st.characters(codec="utf-8", exclude_characters=[chr(c) for c in (*range(32), 127)])
LABELS = st.text(TEXT, min_size=1, max_size=12)
IDS = LABELS | st.integers(-(2**70), 2**70)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-(2**63), 2**64 - 1)
SCALARS = st.text(st.characters(codec="utf-8"), max_size=12) | st.booleans() | INTEGERS | FINITE | st.none()
JSON_VALUES = st.recursive(
    SCALARS, lambda parts: st.lists(parts, max_size=3) | st.dictionaries(LABELS, parts, max_size=3), max_leaves=6
)
POSITIONS = st.integers(1, 10_000)

ITEMS = st.fixed_dictionaries(
    {"item_id": IDS},
    optional={
        "position": POSITIONS,
        "quantity": st.floats(0, 1e9, exclude_min=True),
        "price": st.floats(0, 1e12),
    },
)
OPTIONAL = {
    "event_id": IDS,
    "visitor_id": IDS,
    "session_id": IDS,
    "value": FINITE,
    "timestamp": st.floats(0, EPOCH_MAX_S),
    "surface": LABELS,
    "recommendation_id": IDS,
    "position": POSITIONS,
    "experiment_ids": st.lists(LABELS, max_size=3),
    "context": st.dictionaries(LABELS, SCALARS, max_size=4),
    "properties": st.dictionaries(LABELS, JSON_VALUES, max_size=4),
    "currency": st.from_regex(r"\A[A-Z]{3}\Z"),
    "consent": st.booleans() | st.dictionaries(LABELS, st.booleans(), max_size=3),
    "traceparent": st.text(TEXT, max_size=64),
    "schema_version": st.sampled_from([1, EVENT_VERSION]),
}
TYPES = st.sampled_from([*EVENT_TYPES, *ALIASES])
REQUIRED = {"event_type": TYPES, "user_id": IDS}
DOCUMENTS = st.fixed_dictionaries({**REQUIRED, "item_id": IDS}, optional=OPTIONAL) | st.fixed_dictionaries(
    {**REQUIRED, "items": st.lists(ITEMS, min_size=1, max_size=3)}, optional=OPTIONAL
)

RENAMED = {"event_id", "item_id", "items", "position", "timestamp", "consent", "schema_version"}
"""Fields that `accept` resolves."""
SAME = set(EventIn.model_fields) - RENAMED


def camel_case(document: dict[str, Any]) -> dict[str, Any]:
    items = [{to_camel(name): value for name, value in item.items()} for item in document.get("items", ())]
    named = {to_camel(name): value for name, value in document.items()}
    return {**named, "items": items} if items else named


def read(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


@given(DOCUMENTS)
@example({"event_type": "view", "user_id": "1", "item_id": "a", "context": {"n": 10**30, "f": 1e22, "z": -0.0}})
def test_an_accepted_event_comes_back_from_the_log_with_the_same_values(document: dict[str, Any]) -> None:
    edge = EventIn.model_validate_json(json.dumps(document))
    accepted = accept(edge, event_id="generated", received_at=NOW)

    decoded = decode_event(encode_event(accepted))

    assert decoded == accepted
    assert repr(decoded.context) == repr(edge.context)  # 1 and 1.0 and True stay apart
    assert repr(decoded.properties) == repr(edge.properties)
    assert {name: getattr(decoded, name) for name in SAME} == {name: getattr(edge, name) for name in SAME}
    assert decoded.event_id == (edge.event_id or "generated")
    lone = [EventItemIn(item_id=edge.item_id, position=edge.position)] if edge.item_id is not None else edge.items
    assert decoded.items == [EventItem(**item.model_dump()) for item in lone]
    by_purpose = edge.consent if isinstance(edge.consent, dict) else {PERSONALIZATION: edge.consent}
    assert decoded.purposes == {purpose: said for purpose, said in by_purpose.items() if said is not None}
    assert decoded.consent == by_purpose.get(PERSONALIZATION)
    assert decoded.schema_version == EVENT_VERSION


@given(DOCUMENTS)
def test_camel_case_goes_in_and_snake_case_comes_out(document: dict[str, Any]) -> None:
    edge = EventIn.model_validate(camel_case(document))
    assert edge == EventIn.model_validate(document)

    logged = json.loads(encode_event(accept(edge, event_id="e", received_at=NOW)))

    assert set(logged) <= set(Event.__struct_fields__)
    assert all(set(item) <= set(EventItem.__struct_fields__) for item in logged["items"])


@given(st.floats(0, EPOCH_MAX_S))
def test_a_time_ahead_of_the_server_is_clamped_and_the_difference_kept(timestamp: float) -> None:
    edge = EventIn(event_type="view", user_id="1", item_id="a", timestamp=timestamp)
    event = accept(edge, event_id="e", received_at=NOW)
    if timestamp - NOW > MAX_SKEW_S:
        assert (event.timestamp, event.clamped_s) == (NOW, timestamp - NOW)
    else:
        assert (event.timestamp, event.clamped_s) == (timestamp, 0.0)


def test_fields_of_a_newer_version_are_ignored_by_the_codec_and_kept_in_the_archive() -> None:
    newer = json.loads(read("event_v2.json")) | {"schema_version": EVENT_VERSION + 1, "mood": {"happy": True}}
    newer["items"][0]["colour"] = "blue"
    payload = json.dumps(newer).encode()

    event = decode_event(payload)
    (block,) = blocks(Batch("events", 0, [Message("1", payload)]))

    assert event.schema_version == EVENT_VERSION + 1
    assert msgspec.structs.replace(event, schema_version=EVENT_VERSION) == decode_event(read("event_v2.json"))
    assert block.rows[0][block.table.columns.index("payload")] == payload


def test_a_full_event_of_version_1_keeps_every_value_and_is_read_as_the_present_version() -> None:
    golden = json.loads(read("event.json"))
    assert "schema_version" not in golden

    upcast = json.loads(encode_event(decode_event(read("event.json"))))

    assert upcast == golden | {"schema_version": EVENT_VERSION, "purposes": {PERSONALIZATION: True}}


def test_a_full_event_of_version_2_keeps_every_value() -> None:
    assert json.loads(encode_event(decode_event(read("event_v2.json")))) == json.loads(read("event_v2.json"))


def test_a_minimal_event_of_version_1_has_no_consent_and_no_purposes() -> None:
    expected = Event(event_id="e", event_type="search", timestamp=NOW, received_at=NOW, visitor_id="v")
    assert decode_event(read("event_minimal.json")) == msgspec.structs.replace(expected, schema_version=EVENT_VERSION)


class EventV1(msgspec.Struct, kw_only=True):
    """What a program of version 1 reads of an event, in the fields that version 2 is about."""

    event_id: str
    event_type: str
    consent: bool | None = None
    schema_version: int = 1


@pytest.mark.parametrize(
    "consent", [True, False, {"personalization": True, "advertising": False}, {"advertising": True}]
)
def test_a_program_of_version_1_reads_what_version_2_writes(consent: Any) -> None:
    edge = EventIn(event_type="search", visitor_id="v", consent=consent)
    payload = encode_event(accept(edge, event_id="e", received_at=NOW))

    old = msgspec.json.decode(payload, type=EventV1)

    assert old.consent == (consent if isinstance(consent, bool) else consent.get("personalization"))
    assert old.schema_version == 2


CLIENT_EVENT = Event(
    event_id="018f-1",
    event_type="purchase",
    timestamp=1700000000.125,
    received_at=NOW + 1,
    user_id="17",
    visitor_id="v-1",
    session_id="s-1",
    items=[EventItem("shoe-42", 3, 2.0, 79.9), EventItem("7")],
    value=159.8,
    surface="home",
    recommendation_id="2-018bcfe5687d0011223344556677",
    experiment_ids=["exp-1:b"],
    context={"device": "phone", "visits": 7, "referrer": None},
    properties={"coupon": {"code": "X"}},
    currency="EUR",
    consent=True,
    traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    schema_version=EVENT_VERSION,
)


@pytest.mark.parametrize(
    ("name", "purposes"),
    [
        ("event_in.json", {"personalization": True}),
        ("event_in_v2.json", {"personalization": True, "advertising": False}),
    ],
)
def test_clients_of_every_version_are_understood(name: str, purposes: dict[str, bool]) -> None:
    event = accept(EventIn.model_validate_json(read(name)), event_id="-", received_at=NOW + 1)
    assert event == msgspec.structs.replace(CLIENT_EVENT, purposes=purposes)


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_stands_for_a_canonical_type(alias: str) -> None:
    assert ALIASES[alias] in EVENT_TYPES
    assert alias not in EVENT_TYPES
    assert EventIn(event_type=alias, user_id="1", item_id="a").event_type == canonical_type(alias) == ALIASES[alias]


def test_every_type_has_a_weight() -> None:
    assert set(WEIGHTS) == set(EVENT_TYPES)


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"event_type": "view", "item_id": "a"}, "user_id or visitor_id"),
        ({"event_type": "view", "user_id": "1"}, "needs item_id or items"),
        ({"event_type": "view", "user_id": "1", "item_id": "a", "items": [{"item_id": "b"}]}, "not both"),
        ({"event_type": "stare", "user_id": "1", "item_id": "a"}, "event_type"),
        ({"event_type": "view", "user_id": "1", "item_id": "a", "itemid": "b"}, "itemid"),
        ({"event_type": "view", "user_id": "1", "item_id": "a", "schema_version": 3}, "schema_version"),
        ({"event_type": "view", "user_id": "1", "item_id": "a", "consent": {"ads": "maybe"}}, "consent"),
        ({"event_type": "view", "user_id": "1", "item_id": "a", "position": 0}, "position"),
        ({"event_type": "view", "user_id": "1", "item_id": "a", "currency": "euro"}, "currency"),
    ],
)
def test_a_document_that_is_no_event_is_refused_with_its_reason(document: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        EventIn.model_validate(document)


@pytest.mark.parametrize("kind", ["search", "custom"])
def test_searches_and_custom_events_need_no_item(kind: str) -> None:
    event = accept(EventIn(event_type=kind, visitor_id="v"), event_id="e", received_at=NOW)
    assert (event.items, event.user_key) == ([], "vv")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b'{"event_type":"view"}',
        b'{"event_id":"e","event_type":"view","timestamp":1,"received_at":1}',
        b'{"event_id":"e","event_type":"view","timestamp":1,"received_at":1,"user_id":""}',
        b'{"event_id":"e","event_type":"view","timestamp":"1","received_at":1,"user_id":"u"}',
    ],
)
def test_a_payload_that_is_no_event_raises_one_kind_of_error(payload: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_event(payload)
