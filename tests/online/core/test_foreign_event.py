from __future__ import annotations

import json
from typing import Any

import pytest

from online.core.dead_letter import MOST_BYTES
from online.core.foreign_event import BadMapping, EventMapping, ForeignMessage, NotAccepted, mapped, read_foreign
from schemas.event import Event

OURS = {"event_type": "click", "user_id": "u", "item_id": "a"}


def read(document: Any, mapping: EventMapping | None = None) -> Event:
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_foreign(ForeignMessage("topic:0:7", 1_000.0, payload), mapping or EventMapping())


def test_without_a_mapping_a_message_is_an_event_as_a_client_sends_it() -> None:
    event = read({"eventType": "Order Completed", "userId": 7, "items": [{"itemId": "a", "quantity": 2}]})

    assert (event.event_type, event.user_id, event.items[0].quantity) == ("purchase", "7", 2)
    assert (event.event_id, event.timestamp, event.received_at) == ("topic:0:7", 1_000.0, 1_000.0)


def test_an_event_keeps_its_own_id_and_a_clock_ahead_is_clamped() -> None:
    event = read({**OURS, "event_id": "e", "timestamp": 2_000.0})

    assert (event.event_id, event.timestamp, event.clamped_s) == ("e", 1_000.0, 1_000.0)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        (b'"text"', "Input should be an object"),
        (json.dumps({**OURS, "colour": "red"}).encode(), "colour: unknown field"),
        (json.dumps({"event_type": "click", "item_id": "a"}).encode(), "give user_id or visitor_id"),
        (
            b'{"event_type": "click", "user_id": "u", "item_id": "a", "value": NaN}',
            "value: Input should be a finite number",
        ),
        (b" " * (MOST_BYTES + 1), "bytes, an event at most"),
    ],
)
def test_what_the_http_edge_refuses_is_not_accepted(payload: bytes, reason: str) -> None:
    with pytest.raises(NotAccepted, match=reason):
        read(payload)


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[]", b"[" * 100_000, b'{"who": NaN}', b'{"who": "\\ud800"}'])
def test_what_cannot_be_mapped_is_not_accepted(payload: bytes) -> None:
    with pytest.raises(NotAccepted):
        read(payload, EventMapping({"user_id": "who"}))


def test_fields_are_found_by_dotted_paths_and_else_under_their_own_names() -> None:
    mapping = EventMapping({"user_id": "customer.ids.1", "context.country": "geo.cc", "properties.raw": "."})
    document = {"eventType": "view", "customer": {"ids": [1, 2]}, "item_id": "a", "geo": {"cc": "NL"}, "ip": "::1"}

    event = read(document, mapping)

    assert (event.event_type, event.user_id, event.items[0].item_id) == ("view", "2", "a")
    assert event.context == {"country": "NL"}
    assert event.properties == {"raw": document}


def test_items_are_mapped_one_by_one() -> None:
    mapping = EventMapping({"event_type": "ev", "items": "order.lines", "items.item_id": "sku", "items.quantity": "n"})
    lines = [{"sku": "a", "n": 2}, {"sku": "b", "price": 3.5}]

    event = read({"ev": "purchase", "user_id": "u", "order": {"lines": lines}}, mapping)

    assert [(item.item_id, item.quantity, item.price) for item in event.items] == [("a", 2, None), ("b", None, 3.5)]


def test_items_may_be_plain_ids() -> None:
    mapping = EventMapping({"items": "skus", "items.item_id": "."})

    assert mapped({"skus": ["a", "b"]}, mapping)["items"] == [{"item_id": "a"}, {"item_id": "b"}]


def test_types_are_translated_and_constants_set() -> None:
    mapping = EventMapping(types={"pageview": "view"}, constants={"surface": "shop", "context.source": "kafka"})

    event = read({**OURS, "event_type": "pageview", "context": {"device": "phone"}}, mapping)

    assert (event.event_type, event.surface) == ("view", "shop")
    assert event.context == {"device": "phone", "source": "kafka"}


def test_a_null_or_a_path_that_leads_nowhere_says_nothing() -> None:
    mapping = EventMapping({"user_id": "who.id.deeper", "session_id": "s", "surface": "list.9"})

    assert mapped({"who": {"id": 7}, "s": None, "list": [1]}, mapping) == {}


@pytest.mark.parametrize("name", ["colour", "items.colour", "context.", "user_id.x", "items."])
def test_a_field_that_events_do_not_have_is_refused(name: str) -> None:
    with pytest.raises(BadMapping, match="no field"):
        EventMapping({name: "path"})


@pytest.mark.parametrize("path", ["", "a..b", ".a", "a."])
def test_a_path_with_an_empty_step_is_refused(path: str) -> None:
    with pytest.raises(BadMapping, match="no path"):
        EventMapping({"user_id": path})
