from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from online.core.propensity import redrawn

Wait = Callable[..., Any]
SHOES, BOOKS = [f"shoe-{n}" for n in range(12)], [f"book-{n}" for n in range(12)]
PATIENT = {"deadline_ms": 60_000}


@pytest.fixture(scope="module")
def shop(serve_for: Any, eventually: Wait) -> Iterator[Any]:
    """Shoes and books, the last ones youngest; user 1 has bought book-1 and muted the brand of even shoes."""
    with serve_for() as system:
        for n in range(12):
            system.put_items(f"shoe-{n}", categories=["shoes"], brand=f"b{n % 2}", price=10.0 + n, created_at=1e9 + n)
            system.put_items(f"book-{n}", categories=["a", "b", "c", "d", "books"], brand="press", created_at=9e8 + n)
        rows = [{"event_type": "click", "item_id": f"shoe-{n % 3}", "user_id": f"crowd-{n}"} for n in range(9)]
        rows += [{"event_type": "click", "item_id": "book-0", "user_id": "crowd-9"}]
        rows += [{"event_type": "purchase", "item_id": "book-1", "user_id": "1"}]
        system.client.post("/v1/events", json={"events": rows})
        system.client.put("/v1/users/1/preferences", json={"muted_brands": ["b0"]})
        eventually(lambda: sum(system.worker.world.table.applied.values()) >= 2)
        eventually(lambda: len(system.worker.world.tops.listings["trending"]) == 5)
        yield system


def ask(shop: Any, path: str, **body: Any) -> dict[str, Any]:
    answer = shop.client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def get(shop: Any, path: str) -> dict[str, Any]:
    answer = shop.client.get(path)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def shown(slate: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in slate["items"]]


def test_candidates_are_ranked_and_all_that_is_left_out_is_named(shop: Any, eventually: Wait) -> None:
    candidates = ["book-1", "shoe-2", "gone", "shoe-1", "book-5", "shoe-1", "book-6"]

    ranked = ask(shop, "/v1/rank", user_id="1", candidates=candidates, policy="greedy-1", **PATIENT)

    assert sorted(shown(ranked)) == ["book-5", "book-6", "shoe-1"]
    assert (ranked["unknown"], ranked["ineligible"]) == (["gone"], ["book-1", "shoe-2"])
    assert shown(ranked)[2] == "shoe-1"  # behind the kind that the user has bought
    assert ranked["next_cursor"] is None
    slate = eventually(lambda: shop.logged_slates().get(ranked["recommendation_id"]))
    assert slate.candidates == ["book-1", "shoe-2", "shoe-1", "book-5", "book-6"]  # in the caller's order
    assert slate.removed == {"muted": 1, "purchased": 1, "current": 1}
    assert slate.request == {"user_id": "1", "policy": "greedy-1", **PATIENT, "listing": "rank"}
    assert redrawn(slate).slots.tolist() == slate.slots


def test_a_ranking_reads_what_retrieval_makes_of_each_candidate(shop: Any) -> None:
    candidates = [f"shoe-{n}" for n in range(6)]

    ranked = ask(shop, "/v1/rank", candidates=candidates, session_items=["shoe-0"], explain=True, **PATIENT)

    assert sorted(shown(ranked)) == sorted(set(candidates) - {"shoe-0"})  # the item of the session is at the screen
    assert any(any(item["features"].values()) for item in ranked["items"])


def test_of_a_ranking_as_many_come_back_as_asked_for(shop: Any) -> None:
    assert len(ask(shop, "/v1/rank", candidates=SHOES, n=3, **PATIENT)["items"]) == 3
    assert len(ask(shop, "/v1/rank", candidates=SHOES * 20, n=500, **PATIENT)["items"]) == 12
    nothing = ask(shop, "/v1/rank", candidates=["none", "nor this"], **PATIENT)
    assert (nothing["items"], nothing["unknown"]) == ([], ["none", "nor this"])


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "candidates"), ({"candidates": []}, "candidates"), ({"candidates": ["a"] * 501}, "candidates"),
     ({"candidates": [""]}, "candidates.0"), ({"candidates": ["a"], "n": 501}, "n")],
)  # fmt: skip
def test_what_cannot_be_ranked_is_refused(shop: Any, body: dict[str, Any], field: str) -> None:
    answer = shop.client.post("/v1/rank", json=body)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_similar_items_take_everything_that_a_request_may_say(shop: Any) -> None:
    path = "/v1/items/shoe-0/similar"
    similar = ask(shop, path, user_id="1", n=20, filter="item.price >= 11.0", exclude_item_ids=["shoe-3"], **PATIENT)

    assert sorted(shown(similar)) == sorted(f"shoe-{n}" for n in (1, 5, 7, 9, 11))
    assert similar["policy_id"] == "similar-1"
    assert ask(shop, path, policy="greedy-1", **PATIENT)["policy_id"] == "greedy-1"
    assert shop.client.post("/v1/items/nothing/similar", json={}).status_code == 404
    assert shop.client.post(path, json={"item_id": "shoe-1"}).status_code == 422


def test_the_latest_come_in_order_and_obey_filters_categories_and_who_asks(shop: Any) -> None:
    latest = get(shop, "/v1/latest?n=3&return_properties=price")
    books = get(shop, "/v1/latest?n=3&category=books")  # the fifth category of each
    cheap = get(shop, "/v1/latest?n=2&filter=item.price%20%3C%2014.0")
    mine = get(shop, "/v1/latest?n=2&user_id=1")

    assert shown(latest) == ["shoe-11", "shoe-10", "shoe-9"]
    assert latest["items"][0]["properties"] == {"price": 21.0}
    assert (latest["policy_id"], {item["source"] for item in latest["items"]}) == ("latest-1", {"new"})
    assert shown(books) == ["book-11", "book-10", "book-9"]
    assert shown(cheap) == ["shoe-3", "shoe-2"]
    assert shown(mine) == ["shoe-11", "shoe-9"]
    assert mine["controls"] == ["muted"]


def test_trending_items_come_first_and_the_catalogue_fills_up(shop: Any, eventually: Wait) -> None:
    trending = get(shop, "/v1/trending?n=6")

    assert set(shown(trending)[:5]) == {"book-1", "shoe-0", "shoe-1", "shoe-2", "book-0"}
    assert shown(trending)[0] == "book-1"  # a purchase weighs most
    assert [item["source"] for item in trending["items"]] == ["trending"] * 5 + ["static"]
    assert [item["reason"]["text"] for item in trending["items"]] == ["Trending now"] * 5 + ["From the catalogue"]
    assert trending["items"][0]["score"] == 0.0
    assert get(shop, "/v1/trending?n=1&category=books")["items"][0]["item_id"].startswith("book")
    slate = eventually(lambda: shop.logged_slates().get(trending["recommendation_id"]))
    assert slate.request == {"n": 6, "surface": "home", "listing": "trending"}
    assert redrawn(slate).slots.tolist() == slate.slots


@pytest.mark.parametrize("query", ["n=0", "n=101", "surface=", "filter=item.brnad%20==%20'a'", "user_id=%00"])
def test_what_cannot_be_listed_is_refused(shop: Any, query: str) -> None:
    answer = shop.client.get(f"/v1/trending?{query}")

    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
