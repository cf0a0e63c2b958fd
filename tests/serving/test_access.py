"""Scopes, limits, keys that web pages hold, and origins whose pages may read the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Send
from starlette.types import Scope as HttpScope

from serving.access import Access, House
from serving.grant import Grant, Rate
from serving.scopes import Scope
from serving.user_token import signed

SECRET, PUBLISHABLE, SHOP = "secret-1", "page-1", "https://shop.example"


USER_SECRET = b"known to the shop's server alone"


def grant(key: str, *scopes: Scope, **fields: Any) -> Grant:
    return Grant(sha256(key.encode()).hexdigest(), frozenset(scopes), **fields)


SLOW = Rate(per_s=0.001, burst=2)
GRANTS = [
    grant(SECRET, "ingest", "read", "admin"),
    grant(PUBLISHABLE, "page"),
    grant("old", "read", expires_at=1.0),
    grant("of-another", "read", tenant="another"),
    *(grant(scope, scope) for scope in ("ingest", "read", "admin")),
    grant("slow-1", "read", rate=SLOW),
    grant("slow-2", "read", rate=SLOW),
]


@pytest.fixture(scope="module")
def client(serve_for: Callable[..., Any]) -> Iterator[Any]:
    with serve_for(*GRANTS, allowed_origins=(SHOP,)) as system:
        yield system.client


@pytest.fixture(scope="module")
def strict_client(serve_for: Callable[..., Any]) -> Iterator[Any]:
    """Of an API whose pages act for users only with their tokens."""
    with serve_for(*GRANTS, secret=USER_SECRET) as system:
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
        assert "Retry-After" in answer.headers["access-control-expose-headers"]
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
    assert (preflight.status_code, preflight.json()["code"]) == (403, "origin")


@pytest.mark.parametrize(
    ("method", "path", "body", "scope"),
    [
        ("GET", "/metrics", None, "read"),
        ("POST", "/v1/recommendations", {"user_id": "7"}, "read"),
        ("POST", "/v1/events", {"events": []}, "ingest"),
        ("GET", "/v1/dead-letters", None, "admin"),
        ("GET", "/nothing", None, "admin"),
    ],
)
def test_a_key_opens_what_its_scopes_say_and_is_told_what_is_missing(
    client: Any, method: str, path: str, body: Any, scope: str
) -> None:
    for held in ("ingest", "read", "admin"):
        answer = client.request(method, path, json=body, headers={"X-API-Key": held})
        if held == scope:
            assert answer.status_code in (200, 202, 404)
        else:
            assert (answer.status_code, answer.json()["code"]) == (403, "scope")
            assert answer.json()["detail"] == f"this needs a key with the scope {scope}"


def test_docs_are_open_to_every_secret_key(client: Any) -> None:
    for key in ("ingest", "read", "admin"):
        assert client.get("/openapi.json", headers={"X-API-Key": key}).status_code == 200


def test_an_expired_key_opens_nothing(client: Any) -> None:
    answer = client.get("/metrics", headers={"X-API-Key": "old"})

    assert (answer.status_code, answer.json()["code"]) == (401, "expired_key")


def test_a_key_of_a_tenant_that_is_not_served_opens_nothing(client: Any) -> None:
    answer = client.get("/metrics", headers={"X-API-Key": "of-another"})

    assert (answer.status_code, answer.json()["code"]) == (403, "no_tenant")


def test_a_key_with_a_limit_is_told_what_is_left_and_then_how_long_to_wait(client: Any) -> None:
    answers = [client.get("/metrics", headers={"X-API-Key": "slow-1"}) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
    assert {answer.headers["ratelimit-limit"] for answer in answers} == {"2"}
    assert answers[2].json()["code"] == "rate_limited"
    assert 0 < int(answers[2].headers["retry-after"]) <= 1000 <= int(answers[2].headers["ratelimit-reset"]) <= 2000


def test_limits_of_keys_are_apart_and_health_counts_for_none(client: Any) -> None:
    asked = [client.get(path, headers={"X-API-Key": "slow-2"}).status_code for path in ("/health/live", "/metrics")]
    unlimited = client.get("/metrics", headers={"X-API-Key": "read"})

    assert asked == [200, 200]
    assert "ratelimit-limit" not in unlimited.headers


def test_a_page_acts_for_the_user_of_its_token_and_for_visitors(strict_client: Any) -> None:
    token = signed("7", 4e9, USER_SECRET)
    for path, body, status in OF_PAGES:
        by_query = strict_client.post(f"{path}?key={PUBLISHABLE}&user_token={token}", json=body)
        by_header = strict_client.post(f"{path}?key={PUBLISHABLE}", json=body, headers={"X-User-Token": token})
        assert (by_query.status_code, by_header.status_code) == (status, status)
    for user_id, status in (("7", 200), ("8", 403), (None, 200)):
        ask = {"visitor_id": "v", "user_id": user_id}
        answer = strict_client.post(f"/v1/recommendations?key={PUBLISHABLE}&user_token={token}", json=ask)
        assert answer.status_code == status


def test_a_page_without_a_token_acts_for_no_user(strict_client: Any) -> None:
    one = {"event_type": "view", "user_id": "7", "item_id": "a"}
    rows = [one, {**one, "user_id": None, "visitor_id": "v"}]

    batch = strict_client.post(f"/v1/events?key={PUBLISHABLE}", json={"events": rows}).json()
    refused = [
        strict_client.post(f"/v1/events?key={PUBLISHABLE}", json=one),
        strict_client.post(f"/v1/users/7:merge?key={PUBLISHABLE}", json={"visitor_id": "v"}),
        strict_client.post(f"/v1/recommendations?key={PUBLISHABLE}", json={"user_id": "7"}),
    ]

    assert (batch["accepted"], batch["rejected"], batch["errors"][0]["code"]) == (1, 1, "other_user")
    assert [(answer.status_code, answer.json()["code"]) for answer in refused] == [(403, "other_user")] * 3


@pytest.mark.parametrize("token", [signed("7", 1.0, USER_SECRET), signed("7", 4e9, b"another"), "x", "a.b.c", "ü"])
def test_a_token_that_does_not_count_is_refused(strict_client: Any, token: str) -> None:
    answer = strict_client.post(f"/v1/events?key={PUBLISHABLE}&user_token={token}", json={"events": []})

    assert (answer.status_code, answer.json()["code"]) == (403, "user_token")


def test_a_secret_key_acts_for_everybody(strict_client: Any) -> None:
    answer = strict_client.post("/v1/recommendations", json={"user_id": "7"}, headers={"X-API-Key": SECRET})

    assert answer.status_code == 200


def tenant_app(name: str) -> Any:
    async def app(scope: HttpScope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(name)(scope, receive, send)

    return app


@pytest.fixture
def tenants() -> Callable[..., httpx.Response]:
    """Ask an edge before two tenants, whose limits are of two and three requests; the second may not be ready."""
    ready = {"is": True}
    houses = {
        "default": House(tenant_app("default"), rate=Rate(0.001, 2)),
        "acme": House(tenant_app("acme"), rate=Rate(0.001, 3), is_ready=lambda: ready["is"]),
    }
    grants = {one.digest: one for one in (grant("d", "read"), *(grant(k, "read", tenant="acme") for k in ("a1", "a2")))}
    access = Access(houses, lambda: grants)

    def ask(key: str, path: str = "/metrics", is_ready: bool = True) -> httpx.Response:
        ready["is"] = is_ready

        async def answered() -> httpx.Response:
            transport = httpx.ASGITransport(access)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return await client.get(path, headers={"X-API-Key": key})

        return asyncio.run(answered())

    return ask


def test_a_key_leads_to_its_tenant(tenants: Callable[..., httpx.Response]) -> None:
    assert [tenants(key).text for key in ("d", "a1", "a2")] == ["default", "acme", "acme"]


def test_a_limit_of_a_tenant_is_that_of_all_its_keys_and_of_no_other(tenants: Callable[..., httpx.Response]) -> None:
    answers = [tenants(key) for key in ("a1", "a2", "a1", "a2")]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert tenants("d").status_code == 200


def test_a_process_is_ready_once_all_its_tenants_are(tenants: Callable[..., httpx.Response]) -> None:
    waiting = tenants("", "/health/ready", is_ready=False)

    assert (waiting.status_code, waiting.json()["code"]) == (503, "catching_up")
    assert tenants("", "/health/live", is_ready=False).status_code == 200
    assert tenants("", "/health/ready").status_code == 200
