"""Keys that web pages hold, and origins whose pages may read the answers; secret keys: see test_app.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import pytest

SECRET, PUBLISHABLE, SHOP = "secret-1", "page-1", "https://shop.example"


def digests(*keys: str) -> frozenset[str]:
    return frozenset(sha256(key.encode()).hexdigest() for key in keys)


@pytest.fixture(scope="module")
def client(serve_for: Callable[..., Any]) -> Iterator[Any]:
    with serve_for(digests(SECRET), publishable_keys=digests(PUBLISHABLE), allowed_origins=(SHOP,)) as system:
        yield system.client


OF_PAGES: list[tuple[str, Any, int]] = [
    ("/v1/events", {"events": []}, 202),
    ("/v1/recommendations", {"visitor_id": "v"}, 200),
    ("/v1/users/7:merge", {"visitor_id": "v"}, 202),
]


@pytest.mark.parametrize(("path", "body", "status"), OF_PAGES)
def test_a_publishable_key_opens_what_a_page_needs_by_query_or_header(
    client: Any, path: str, body: Any, status: int
) -> None:
    assert client.post(f"{path}?key={PUBLISHABLE}", json=body).status_code == status
    assert client.post(path, json=body, headers={"X-API-Key": PUBLISHABLE}).status_code == status


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/items/a"),
        ("PUT", "/v1/items/a"),
        ("POST", "/v1/items:batch"),
        ("GET", "/v1/users/7"),
        ("PUT", "/v1/users/7"),
        ("GET", "/v1/recommendations/7"),
        ("GET", "/v1/dead-letters"),
        ("POST", "/v1/users/7/8:merge"),
        ("GET", "/metrics"),
        ("GET", "/docs"),
        ("GET", "/v1/events"),
    ],
)
def test_a_publishable_key_opens_nothing_else(client: Any, method: str, path: str) -> None:
    answer = client.request(method, f"{path}?key={PUBLISHABLE}", json={})

    assert (answer.status_code, answer.json()["code"]) == (403, "publishable_key")


@pytest.mark.parametrize("key", [SECRET, "wrong", "", "%ff", "%ED%A0%80"])
def test_neither_a_secret_key_nor_an_unknown_one_counts_in_the_query(client: Any, key: str) -> None:
    answer = client.post(f"/v1/events?key={key}", json={"events": []})

    assert (answer.status_code, answer.json()["code"]) == (401, "no_key")


def test_the_browser_client_needs_no_key(client: Any) -> None:
    assert client.get("/client/headrace.js").status_code == 200


def test_pages_of_an_allowed_origin_may_read_answers_and_refusals(client: Any) -> None:
    kept = client.post(f"/v1/events?key={PUBLISHABLE}", json={"events": []}, headers={"Origin": SHOP})
    refused = client.post("/v1/events", json={"events": []}, headers={"Origin": SHOP})

    assert (kept.status_code, refused.status_code) == (202, 401)
    for answer in (kept, refused):
        assert answer.headers["access-control-allow-origin"] == SHOP
        assert answer.headers["access-control-expose-headers"] == "Retry-After"
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers


PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key, content-type"}


def test_a_preflight_of_an_allowed_origin_needs_no_key(client: Any) -> None:
    answer = client.request("OPTIONS", "/v1/events", headers={"Origin": SHOP, **PREFLIGHT})

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == SHOP


@pytest.mark.parametrize("origin", ["https://other.example", "http://shop.example", "null", f"{SHOP}:8443"])
def test_pages_of_other_origins_read_nothing(client: Any, origin: str) -> None:
    answer = client.post(f"/v1/events?key={PUBLISHABLE}", json={"events": []}, headers={"Origin": origin})
    preflight = client.request("OPTIONS", "/v1/events", headers={"Origin": origin, **PREFLIGHT})

    assert "access-control-allow-origin" not in answer.headers
    assert preflight.status_code == 400


def test_without_allowed_origins_no_page_of_another_one_reads_anything(shared_system: Any) -> None:
    answer = shared_system.client.get("/health/live", headers={"Origin": SHOP})
    preflight = shared_system.client.request("OPTIONS", "/v1/events", headers={"Origin": SHOP, **PREFLIGHT})

    assert "access-control-allow-origin" not in answer.headers
    assert preflight.status_code == 405
