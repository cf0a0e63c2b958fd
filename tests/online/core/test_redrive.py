from __future__ import annotations

import json
from typing import Any

import pytest

from online.core.letters import Letter
from online.core.redrive import NotRedrivable, redriven
from schemas.event import Event, decode_event, encode_event
from schemas.item import decode_item
from schemas.user import decode_user

RECEIVED, FOUND = 1_700_000_000.25, 1_700_000_500.0
ORIGINAL = {
    "event_id": "e1",
    "event_type": "teleport",
    "timestamp": RECEIVED - 3,
    "received_at": RECEIVED,
    "user_id": "7",
    "items": [{"item_id": "a", "brand": "old", "categories": ["gone"]}],
}


def facets(item_id: str) -> tuple[list[str], str | None, str | None]:
    return ([f"category of {item_id}"], "brand", "p3")


def sent(original: bytes, edited: Any = None, topic: str = "events", key: str = "events:0:p", **letter: Any) -> bytes:
    about = {"at": FOUND, "size": len(original), "kept": len(original), **letter}
    document = None if edited is None else json.dumps(edited).encode()
    _, payload = redriven(key, Letter(1, topic, 0, "p", "why", **about), original, document, facets)
    return payload


def event(original: bytes, edited: Any = None, **options: Any) -> Event:
    return decode_event(sent(original, edited, **options))


def test_what_can_be_folded_now_is_sent_as_it_was_byte_for_byte() -> None:
    original = json.dumps({**ORIGINAL, "event_type": "view", "of_a_newer_version": [1]}).encode()

    assert sent(original) == original


def test_an_edited_event_keeps_its_id_and_times_and_is_stamped_as_ingest_does() -> None:
    found = event(json.dumps(ORIGINAL).encode(), {**ORIGINAL, "event_type": "click", "event_id": "other"})

    assert (found.event_id, found.received_at, found.timestamp) == ("e1", RECEIVED, RECEIVED - 3)
    (item,) = found.items
    assert (item.item_id, item.categories, item.brand, item.price_tier) == ("a", ["category of a"], "brand", "p3")


def test_an_event_may_be_edited_in_the_form_of_a_client() -> None:
    found = event(b"\xff no JSON", {"eventType": "purchase-complete", "userId": 7, "itemId": "a"})

    assert (found.event_type, found.user_id, found.items[0].item_id) == ("purchase", "7", "a")
    assert (found.event_id, found.received_at, found.timestamp) == ("events:0:p", FOUND, FOUND)


def test_without_an_id_the_letters_own_stands_whatever_is_edited_so_that_it_counts_once() -> None:
    first, second = (
        event(b"{", {"event_type": "view", "user_id": user, "item_id": "a"}, key="k" * 400) for user in "12"
    )

    assert first.event_id == second.event_id == "k" * 256


@pytest.mark.parametrize("event_id", ["", "x" * 257, 7, None])
@pytest.mark.parametrize("received_at", [RECEIVED * 1000, -1, "soon", True, None])
def test_of_an_original_only_what_is_usable_stands(event_id: Any, received_at: Any) -> None:
    original = json.dumps({**ORIGINAL, "event_id": event_id, "received_at": received_at}).encode()
    found = event(original, {"event_type": "view", "user_id": "1", "item_id": "a", "event_id": "mine"})

    assert (found.event_id, found.received_at) == ("mine", FOUND)


def test_a_clock_that_was_ahead_is_clamped_as_at_the_edge() -> None:
    original = Event(event_id="e", event_type="search", timestamp=RECEIVED + 900, received_at=RECEIVED, user_id="1")
    edited = {"event_type": "search", "user_id": "1", "timestamp": RECEIVED + 900}
    found = event(encode_event(original), edited)

    assert (found.timestamp, found.clamped_s) == (RECEIVED, 900.0)


def test_a_message_of_a_foreign_topic_is_read_as_a_client_would_send_it() -> None:
    original = json.dumps({"event_type": "view", "visitor_id": "v", "item_id": "a", "timestamp": RECEIVED}).encode()
    found = event(original, topic="shop.clicks")

    assert (found.user_key, found.timestamp, found.received_at) == ("vv", RECEIVED, FOUND)


@pytest.mark.parametrize(
    ("edited", "complaint"),
    [
        (None, "event_type"),
        ({**ORIGINAL, "event_type": "view", "user_id": ""}, "user_id"),
        ({**ORIGINAL, "event_type": "view", "itemz": 1}, "itemz: unknown field"),
        ({**ORIGINAL, "event_type": "view", "<script>": 1}, r"\?: unknown field"),
        ({**ORIGINAL, "event_type": "view", "timestamp": 1e18}, "1970 to 2100"),
        ({**ORIGINAL, "event_type": "view", "items": [{"item_id": "x" * 300}]}, "items.0.item_id"),
        ([1], "no JSON object"),
    ],
)
def test_what_still_cannot_be_folded_is_refused_with_the_reason(edited: Any, complaint: str) -> None:
    with pytest.raises(NotRedrivable, match=complaint):
        sent(json.dumps(ORIGINAL).encode(), edited)


@pytest.mark.parametrize("original", [b"\xff", b"[1]", b"[" * 99999, b'{"a":"\xff"}'])
def test_what_is_no_json_object_is_refused_as_it_is(original: bytes) -> None:
    with pytest.raises(NotRedrivable):
        sent(original)


def test_of_a_message_that_is_not_kept_whole_only_an_edited_one_can_be_sent() -> None:
    original = encode_event(Event(event_id="e", event_type="search", timestamp=9.0, received_at=9.0, user_id="1"))

    with pytest.raises(NotRedrivable, match="send it whole"):
        sent(original, size=5_000_000)
    assert event(original, {"event_type": "search", "user_id": "1"}, size=5_000_000).event_id == "e"


@pytest.mark.parametrize("topic", ["slates", "examples", "updates", "dead", "verdicts"])
def test_what_our_own_processes_write_is_not_redriven(topic: str) -> None:
    with pytest.raises(NotRedrivable, match="discard it"):
        sent(b"{}", {"event_type": "search", "user_id": "1"}, topic=topic)


def test_documents_of_users_and_items_are_redriven_as_of_then() -> None:
    user = decode_user(sent(b'{"user_id":"7","labels":3,"updated_at":9}', {"labels": ["vip"]}, topic="users"))
    item = decode_item(sent(b"{", {"item_id": "a", "price": 3.5}, topic="items"))

    assert (user.user_id, user.labels, user.updated_at) == ("7", ["vip"], 9.0)
    assert (item.item_id, item.price, item.updated_at) == ("a", 3.5, FOUND)
    with pytest.raises(NotRedrivable, match="item_id"):
        sent(b"{", {"price": 3.5}, topic="items")
