from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

import serving.preferences
from online.core.preference_step import told
from online.core.record import UserRecord
from schemas.preferences import PreferencesIn, decode_preferences
from serving.remembered import Remembered

Wait = Callable[..., Any]
SHOES, BOOKS = [f"shoe-{n}" for n in range(8)], [f"book-{n}" for n in range(8)]


@pytest.fixture
def shop(system: Any, eventually: Wait) -> Any:
    system.put_items(*SHOES, categories=["shoes"], brand="acme")
    system.put_items(*BOOKS, categories=["books"], brand="press")
    eventually(lambda: len(system.worker.world.tops.new.everybody) == 16)
    return system


def want(shop: Any, who: str = "users/1", **wanted: Any) -> dict[str, Any]:
    answer = shop.client.put(f"/v1/{who}/preferences", json=wanted)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def shown(slate: dict[str, Any]) -> set[str]:
    return {item["item_id"] for item in slate["items"]}


def send(shop: Any, wait: Wait, *items: str, **who: Any) -> None:
    who = who or {"user_id": "1"}
    rows = [{"event_type": "click", "item_id": item, **who} for item in items]
    assert shop.client.post("/v1/events", json={"events": rows}).json()["rejected"] == 0
    key = f"u{who['user_id']}" if "user_id" in who else f"v{who['visitor_id']}"
    wait(lambda: (found := shop.worker.record(key)) and len(found.recent) >= len(items))


def test_the_next_slate_obeys_and_says_which_controls_are_in_force(shop: Any) -> None:
    boosts = [{"facet": "brand", "value": "press", "factor": 2}]
    answer = want(shop, muted_items=["shoe-1"], muted_categories=["books"], boosts=boosts)

    slate = shop.slate(user_id="1", n=100)

    assert shown(slate) == {*SHOES} - {"shoe-1"}
    assert slate["controls"] == ["muted", "boosts"]
    assert shop.slate(user_id="2")["controls"] == []
    position = answer.pop("position")
    assert position == shop.worker.record("u1").position == slate["state_as_of"]["position"]
    stored = shop.client.get("/v1/users/1/preferences").json()
    assert stored == answer | {"position": position}
    assert (stored["muted_items"], stored["boosts"]) == (["shoe-1"], boosts)


def test_a_put_says_all_that_is_wanted(shop: Any) -> None:
    want(shop, muted_brands=["acme"], personalization=False)
    want(shop, muted_categories=["books"])

    stored = shop.client.get("/v1/users/1/preferences").json()

    assert (stored["muted_brands"], stored["muted_categories"], stored["personalization"]) == ([], ["books"], None)


def test_who_has_said_nothing_wants_nothing(shop: Any) -> None:
    assert shop.client.get("/v1/users/9/preferences").json() == {
        "user_id": "9", "muted_items": [], "muted_brands": [], "muted_categories": [], "boosts": [],
        "personalization": None, "consent": None, "updated_at": None, "forgotten_before": None, "position": None,
    }  # fmt: skip


def test_a_reset_shows_in_the_next_slate(shop: Any, eventually: Wait) -> None:
    send(shop, eventually, "shoe-0")
    assert shop.slate(user_id="1")["fallback"] is None

    before = time.time()
    answer = want(shop, reset=True)

    assert answer["forgotten_before"] >= before
    assert shop.slate(user_id="1")["fallback"] == {"rung": "popularity", "why": "no acts of this user yet"}
    assert shop.client.get("/v1/users/1").json()["recent"] == []


def test_personalization_off_and_on_again_finds_what_was_known_before(shop: Any, eventually: Wait) -> None:
    send(shop, eventually, "shoe-0")

    want(shop, personalization=False)
    stranger = shop.slate(user_id="1")
    want(shop, personalization=True)

    assert stranger["fallback"] == {"rung": "popularity", "why": "personalization is off"}
    assert stranger["controls"] == ["personalization_off"]
    assert shop.slate(user_id="1")["fallback"] is None


def test_without_consent_no_slate_says_whose_it_is(shop: Any, eventually: Wait) -> None:
    send(shop, eventually, "shoe-0")
    want(shop, consent=False, muted_brands=["press"])

    slate = shop.slate(user_id="1", visitor_id="g", session_id="s", n=100)

    assert shown(slate) == {*SHOES}
    logged = eventually(lambda: shop.logged_slates().get(slate["recommendation_id"]))
    assert (logged.user_key, logged.records, logged.record_position) == (None, {}, "")
    assert logged.request == {"n": 100, "deadline_ms": 60_000}


def test_a_visitors_preferences_hold_and_stay_when_it_becomes_a_user(shop: Any, eventually: Wait) -> None:
    want(shop, "visitors/g", muted_brands=["acme"])
    want(shop, muted_items=["book-0"])
    assert shown(shop.slate(visitor_id="g", n=100)) == {*BOOKS}

    shop.client.post("/v1/users/1:merge", json={"visitor_id": "g"})
    eventually(lambda: shop.client.get("/v1/users/1/preferences").json()["muted_brands"] == ["acme"])

    assert shown(shop.slate(user_id="1", n=100)) == {*BOOKS} - {"book-0"}
    assert want(shop, "visitors/g", muted_brands=["press"])["visitor_id"] == "g"
    assert shown(shop.slate(user_id="1", n=100)) == {*SHOES}


def test_what_is_muted_and_hidden_stays_so_while_no_record_can_be_read(shop: Any, eventually: Wait) -> None:
    want(shop, muted_brands=["acme"], personalization=False)
    hide = {"event_type": "hide", "item_id": "book-0", "user_id": "1"}
    shop.client.post("/v1/events", json=hide)
    eventually(lambda: shop.worker.record("u1").hidden)
    shop.slate(user_id="1")
    shop.state.is_off = True

    slate = shop.slate(user_id="1", n=100)

    assert shown(slate) == {*BOOKS} - {"book-0"}
    assert "no user record" in slate["fallback"]["why"]
    assert slate["controls"] == ["muted", "personalization_off"]
    assert slate["state_as_of"] == {"position": None, "lag_ms": None}
    assert shop.client.get("/v1/users/1/preferences").status_code == 503


def test_what_is_kept_but_not_yet_in_the_record_is_answered_so(
    shop: Any, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.log.is_off = True
    spooled = shop.client.put("/v1/users/1/preferences", json={"muted_brands": ["acme"]})
    shop.log.is_off = False
    eventually(lambda: shop.client.get("/v1/users/1/preferences").json()["muted_brands"])

    monkeypatch.setattr(serving.preferences, "PATIENCE_S", 0.05)
    shop.state.is_off = True
    unread = shop.client.put("/v1/users/1/preferences", json={})

    for answer in (spooled, unread):
        assert answer.status_code == 202
        assert answer.json()["reflected"] is False


def test_preferences_are_on_the_log_of_who_says_them(shop: Any) -> None:
    want(shop, muted_brands=["acme", "acme"])

    (said,) = [decode_preferences(one) for one in shop.payloads("events") if b'"preferences"' in one]
    assert (said.user_key, said.muted_brands) == ("u1", ["acme"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"muted_brand": ["a"]}, "muted_brand"),
        ({"muted_items": [""]}, "muted_items.0"),
        ({"muted_brands": ["b"] * 65}, "muted_brands"),
        ({"boosts": [{"facet": "price_tier", "value": "p1", "factor": 2}]}, "boosts.0.facet"),
        ({"boosts": [{"facet": "brand", "value": "b", "factor": 99}]}, "boosts.0.factor"),
        ({"consent": "perhaps"}, "consent"),
    ],
)
def test_what_cannot_be_wanted_is_refused_by_name(shared_system: Any, body: Any, field: str) -> None:
    for who in ("users/1", "visitors/1"):
        answer = shared_system.client.put(f"/v1/{who}/preferences", json=body)

        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == field


def test_clients_cannot_send_preferences_as_events(shared_system: Any) -> None:
    answer = shared_system.client.post("/v1/events", json={"event_type": "preferences", "user_id": "1"})

    assert answer.status_code == 422


def test_names_in_camel_case_are_understood() -> None:
    assert PreferencesIn.model_validate({"mutedItems": ["a"]}).muted_items == ["a"]


def test_what_is_remembered_of_users_is_bounded_and_forgotten_when_nothing_is_left_of_it() -> None:
    remembered, hidden = Remembered(most=4), UserRecord(hidden={"a": 1}, seen={"b": 1})
    for n in range(5):
        remembered.note(f"u{n}", hidden)
    remembered.note("u4", UserRecord())
    remembered.note("u3", None)

    assert [remembered.of(f"u{n}") is not None for n in range(5)] == [False, False, True, False, False]
    assert remembered.of("u2") == told(hidden)
    assert remembered.of(None) is None
