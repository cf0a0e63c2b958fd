"""Every route x every scope: a route that is not in the list of scopes fails here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, get_args

import pytest

from serving.grant import Grant
from serving.scopes import SCOPES, Scope, scopes_of

# What each scope opens, written out once more: a route that moves to another scope is to be a decision.
NEXT = "POST /v1/recommendations/{recommendation_id}/next"
OPENED_BY_PAGE = {"POST /v1/events", "POST /v1/recommendations", NEXT, "POST /v1/users/{user_id}:merge"}
OPEN = {"GET /health/live", "GET /health/ready", "GET /client/headrace.js"}


def routes_of(app: Any) -> Iterator[str]:
    """Yield every method and path that an application answers, those of included routers and mounts too."""
    for route in app.routes:
        inner = getattr(route, "original_router", None) or getattr(route, "router", None)
        if inner is not None:
            yield from routes_of(inner)
        elif not getattr(route, "methods", None):
            yield f"GET {route.path}/{{asset}}"
        else:
            yield from (f"{method} {route.path}" for method in route.methods)


def filled(template: str) -> str:
    """Return a path of a route, whose ids are as odd as they may be."""
    return re.sub(r"\{[a-z_]+\}", "a:b", template)


@pytest.fixture(scope="module")
def system(serve_for: Callable[..., Any]) -> Iterator[Any]:
    """A system with one key of each scope, named by it."""
    grants = [Grant(sha256(scope.encode()).hexdigest(), frozenset({scope})) for scope in get_args(Scope)]
    with serve_for(*grants) as system:
        yield system


@pytest.fixture(scope="module")
def routes(system: Any) -> set[str]:
    return set(routes_of(system.app))


def test_every_route_says_what_opens_it_and_nothing_else_does(routes: set[str]) -> None:
    assert len(routes) > 40
    assert routes == set(SCOPES)


def test_the_list_is_matched_as_the_application_matches_its_routes(routes: set[str]) -> None:
    for route in routes:
        method, _, template = route.partition(" ")
        assert scopes_of(method, filled(template)) == SCOPES[route]


@pytest.mark.parametrize("key", [*get_args(Scope), "unknown", ""])
def test_each_scope_opens_its_routes_and_no_other(system: Any, routes: set[str], key: str) -> None:
    for route in sorted(routes):
        method, _, template = route.partition(" ")
        answer = system.client.request(method, filled(template), headers={"X-API-Key": key})
        is_let_through = answer.status_code not in (401, 403)
        assert is_let_through == (not SCOPES[route] or key in SCOPES[route]), route
        if not is_let_through:
            assert answer.status_code == (403 if key in get_args(Scope) else 401)
            assert answer.headers["content-type"] == "application/problem+json"


def test_pages_and_strangers_open_no_more_than_they_need() -> None:
    assert {route for route, scopes in SCOPES.items() if "page" in scopes} == OPENED_BY_PAGE
    assert {route for route, scopes in SCOPES.items() if not scopes} == OPEN


def test_what_changes_something_is_opened_by_no_key_that_reads() -> None:
    asks = {"POST /v1/recommendations", NEXT, "POST /v1/rank", "POST /v1/items/{item_id}/similar"}
    for route, scopes in SCOPES.items():
        if not route.startswith(("GET ", "HEAD ")) and route not in asks:
            assert "read" not in scopes, route
