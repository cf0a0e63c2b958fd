from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from online.core.catalogue import ITEMS
from schemas.item import decode_item

ITEM = {
    "categories": ["shoes", "sport"],
    "brand": "acme",
    "price": 12.5,
    "tags": ["red"],
    "attributes": {"size": {"eu": 42}, "colours": ["red", None, 1.5]},
}


def put(system: Any, item_id: str, **fields: Any) -> Any:
    answer = system.client.put(f"/v1/items/{item_id}", json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def get(system: Any, item_id: str) -> Any:
    answer = system.client.get(f"/v1/items/{item_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_item_put_can_be_read_at_once(system: Any) -> None:
    answer = put(system, "a", **ITEM)

    assert get(system, "a") == answer
    assert {name: answer[name] for name in ITEM} == ITEM
    assert answer["created_at"] == answer["updated_at"] == pytest.approx(time.time(), abs=60)


def test_the_same_item_reaches_the_catalogue_view(system: Any, eventually: Callable[..., Any]) -> None:
    put(system, "a", **ITEM)

    payload = eventually(lambda: system.state.port.get(0, "item_document", "a"))
    assert decode_item(payload).brand == "acme"


def test_putting_again_replaces_all_but_the_first_time_it_was_seen(system: Any) -> None:
    first = put(system, "a", **ITEM)

    second = put(system, "a", price=3.0)

    assert "brand" not in second
    assert second["created_at"] == first["created_at"]
    assert second["updated_at"] > first["updated_at"]


def test_a_patch_keeps_the_fields_it_does_not_name_and_clears_those_it_sets_to_null(system: Any) -> None:
    put(system, "a", **ITEM, created_at=1000.0)

    answer = system.client.request("PATCH", "/v1/items/a", json={"price": 9.0, "brand": None, "available": False})

    assert answer.status_code == 200
    expected = {**ITEM, "price": 9.0, "available": False, "created_at": 1000.0, "item_id": "a"}
    del expected["brand"]
    assert {name: value for name, value in answer.json().items() if name != "updated_at"} == expected
    assert get(system, "a") == answer.json()


def test_a_patch_that_does_not_fit_changes_nothing(system: Any) -> None:
    before = put(system, "a", **ITEM)

    answer = system.client.request("PATCH", "/v1/items/a", json={"categories": None})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "categories"
    assert get(system, "a") == before


def test_a_deleted_item_is_gone_and_can_come_back(system: Any) -> None:
    put(system, "a", **ITEM)

    assert system.client.request("DELETE", "/v1/items/a").status_code == 204
    assert system.client.get("/v1/items/a").status_code == 404
    assert system.client.request("DELETE", "/v1/items/a").status_code == 404
    assert system.client.request("PATCH", "/v1/items/a", json={"price": 1}).status_code == 404
    assert decode_item(system.payloads(ITEMS)[-1]).deleted
    put(system, "a", price=2.0)
    assert get(system, "a")["price"] == 2.0


def test_an_unknown_item_is_a_404_that_says_what_to_do(system: Any) -> None:
    answer = system.client.get("/v1/items/nothing")

    assert (answer.status_code, answer.json()["code"]) == (404, "no_item")
    assert "PUT" in answer.json()["detail"]


def test_an_id_in_the_body_must_be_that_of_the_path(system: Any) -> None:
    for path in ("/v1/items/a", "/v1/users/a"):
        name = "item_id" if "items" in path else "user_id"
        assert system.client.put(path, json={name: "a"}).status_code == 200
        answer = system.client.put(path, json={name: "b"})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, name)


@pytest.mark.parametrize("item_id", ["a%00b", "a%0Ab", "x" * 257])
def test_an_id_that_no_event_could_name_is_refused(shared_system: Any, item_id: str) -> None:
    for path in (f"/v1/items/{item_id}", f"/v1/users/{item_id}"):
        answer = shared_system.client.put(path, json={})
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"


def test_ids_may_hold_any_printable_text(system: Any) -> None:
    put(system, "sch%C3%B6n %25 %F0%9F%91%9F", brand="b")

    assert get(system, "sch%C3%B6n%20%25%20%F0%9F%91%9F")["item_id"] == "schön % 👟"


def test_one_bad_item_of_a_batch_fails_alone(system: Any) -> None:
    rows = [
        {"item_id": "a", "price": 1},
        {"item_id": "b", "price": -1},
        {"price": 2},
        {"item_id": "c", "kategories": []},
        {"item_id": "d"},
    ]

    answer = system.client.post("/v1/items:batch", json={"items": rows})

    assert answer.status_code == 202
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (2, 3)
    assert [(error["index"], error["field"]) for error in answer.json()["errors"]] == [
        (1, "price"), (2, "item_id"), (3, "kategories"),
    ]  # fmt: skip
    assert get(system, "d")["item_id"] == "d"


def test_batches_that_are_none_or_too_long_are_refused(shared_system: Any) -> None:
    for body in ({"items": {}}, {}, [], {"items": [{}], "more": 1}):
        assert shared_system.client.post("/v1/items:batch", json=body).status_code == 422, body
    assert shared_system.client.post("/v1/items:batch", json={"items": [{}] * 1001}).status_code == 413


def test_a_user_document_reaches_the_record(system: Any, eventually: Callable[..., Any]) -> None:
    answer = system.client.put("/v1/users/7", json={"labels": ["vip"], "context": {"country": "DE"}})

    assert (answer.status_code, answer.json()["labels"]) == (200, ["vip"])
    document = eventually(lambda: (got := system.client.get("/v1/users/7")).status_code == 200 and got.json())
    assert (document["labels"], document["context"]) == (["vip"], {"country": "DE"})


def test_a_user_shows_what_the_stream_knows(system: Any, eventually: Callable[..., Any]) -> None:
    system.put_items("a", categories=["shoes"], brand="acme", price=14.0)
    events = [
        {"event_type": kind, "user_id": "7", "item_id": "a"} for kind in ("click", "add_to_cart", "purchase", "hide")
    ]
    system.client.post("/v1/events", json={"events": events})

    def known() -> Any:
        got = system.client.get("/v1/users/7")
        return got.status_code == 200 and got.json()["hidden"] and got.json()

    document = eventually(known)
    assert document["events"] == {"click": 1, "add_to_cart": 1, "purchase": 1, "hide": 1}
    assert document["purchased"] == document["hidden"] == ["a"]
    assert document["in_cart"] == []  # what was bought has left it
    assert document["affinities"]["categories"]["shoes"] == pytest.approx([4.0] * 3, rel=0.01)  # 1 + 3 + 5 - 5
    assert [touch["event_type"] for touch in document["recent"]] == ["click", "add_to_cart", "purchase"]
    assert document["position"]


def test_an_unknown_user_and_a_store_that_is_away_are_told_apart(system: Any) -> None:
    assert system.client.get("/v1/users/nobody").status_code == 404

    system.state.is_off = True

    assert system.client.get("/v1/users/nobody").json()["code"] == "state_away"


def test_with_log_and_spool_full_documents_are_not_acknowledged(system: Any) -> None:
    system.log.is_off = True
    system.worker.appender._spool._cap = 10

    for path in ("/v1/items/a", "/v1/users/a"):
        answer = system.client.put(path, json={})
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
