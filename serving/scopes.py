"""What each route needs a key to be allowed: the one list of them. A route that is not in it needs `admin`.

`page` is what a web page may do, whose key everybody can read; `ingest` writes what happened and what there is; `read`
asks for slates and looks things up; `admin` changes how slates are made, and sees what could not be folded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

from .browser_client import CLIENT_PATH

Scope = Literal["page", "ingest", "read", "admin"]
Scopes = frozenset[Scope]

SECRET: Scopes = frozenset(get_args(Scope)) - {"page"}
"""The scopes of keys that no page holds."""

_OPEN: Scopes = frozenset()
_INGEST: Scopes = frozenset({"ingest"})
_READ: Scopes = frozenset({"read"})
_ADMIN: Scopes = frozenset({"admin"})
_PAGE: Scopes = frozenset({"page"})

SCOPES: Mapping[str, Scopes] = {
    "POST /v1/recommendations": _READ | _PAGE,
    "GET /v1/recommendations/{user_id}": _READ,
    "GET /v1/recommendations/{recommendation_id}/explain": _READ,
    "POST /v1/recommendations/{recommendation_id}/next": _READ | _PAGE,
    "POST /v1/rank": _READ,
    "GET /v1/items/{item_id}/similar": _READ,
    "POST /v1/items/{item_id}/similar": _READ,
    "GET /v1/trending": _READ,
    "GET /v1/latest": _READ,
    "POST /v1/events": _INGEST | _PAGE,
    "PUT /v1/items/{item_id}": _INGEST,
    "PATCH /v1/items/{item_id}": _INGEST,
    "GET /v1/items/{item_id}": _READ,
    "DELETE /v1/items/{item_id}": _INGEST,
    "POST /v1/items:batch": _INGEST,
    "PUT /v1/users/{user_id}": _INGEST,
    "GET /v1/users/{user_id}": _READ,
    "POST /v1/users/{user_id}:merge": _INGEST | _PAGE,
    "DELETE /v1/users/{user_id}": _ADMIN,
    "GET /v1/users/{user_id}/export": _READ,
    "GET /v1/users/{user_id}/preferences": _READ,
    "PUT /v1/users/{user_id}/preferences": _INGEST,
    "GET /v1/visitors/{visitor_id}/preferences": _READ,
    "PUT /v1/visitors/{visitor_id}/preferences": _INGEST,
    **{
        f"{method} /v1/{plural}{rest}": scopes
        for plural in ("policies", "surfaces", "rules", "experiments")
        for method, rest, scopes in (
            ("GET", "", _READ),
            ("GET", "/{document_id}", _READ),
            ("PUT", "/{document_id}", _ADMIN),
            ("DELETE", "/{document_id}", _ADMIN),
            ("POST", "/{document_id}:rollback", _ADMIN),
        )
    },
    "POST /v1/surfaces/{document_id}:activate": _ADMIN,
    "POST /v1/surfaces/{document_id}:shadow": _ADMIN,
    "GET /v1/surfaces/{document_id}/shadow": _READ,
    "GET /v1/canaries": _READ,
    "GET /v1/canaries/{document_id}": _READ,
    **{f"POST /v1/canaries/{{document_id}}:{move}": _ADMIN for move in ("start", "pause", "resume", "stop", "promote")},
    "POST /v1/rules/{document_id}:dry_run": _ADMIN,
    "POST /v1/experiments/{document_id}:stop": _ADMIN,
    "GET /v1/experiments/{document_id}/results": _READ,
    "GET /v1/models": _READ,
    "POST /v1/models/{name}/versions/{version}:activate": _ADMIN,
    "POST /v1/models/{name}/versions/{version}:rollback": _ADMIN,
    "POST /v1/models/{name}/versions/{version}:shadow": _ADMIN,
    "GET /v1/dead-letters": _ADMIN,
    "GET /v1/dead-letters/{letter_id}": _ADMIN,
    "POST /v1/dead-letters:redrive": _ADMIN,
    "POST /v1/dead-letters:discard": _ADMIN,
    "POST /v1/dead-letters/{letter_id}:redrive": _ADMIN,
    "POST /v1/dead-letters/{letter_id}:discard": _ADMIN,
    "GET /metrics": _READ,
    "GET /docs": SECRET,
    "GET /docs/oauth2-redirect": SECRET,
    "GET /openapi.json": SECRET,
    "HEAD /openapi.json": SECRET,
    "GET /static-offline-docs/{asset}": SECRET,
    "GET /health/live": _OPEN,
    "GET /health/ready": _OPEN,
    f"GET {CLIENT_PATH}": _OPEN,
}
"""Route -> the scopes of which a key needs one; none: no key is asked."""


def _pattern(route: str) -> str:
    return re.sub(r"\\\{[a-z_]+\\\}", "[^/]+", re.escape(route))


_TEMPLATES = [route for route in SCOPES if "{" in route]
_TEMPLATE = re.compile("|".join(f"({_pattern(route)})" for route in _TEMPLATES))


def scopes_of(method: str, path: str) -> Scopes:
    """Return the scopes of which a request needs one; empty when it needs no key.

    >>> sorted(scopes_of("POST", "/v1/users/7:merge")), scopes_of("GET", "/health/live"), sorted(scopes_of("GET", "/x"))
    (['ingest', 'page'], frozenset(), ['admin'])
    """
    request = f"{method} {path}"
    found = SCOPES.get(request)
    if found is not None:
        return found
    match = _TEMPLATE.fullmatch(request)
    return _ADMIN if match is None else SCOPES[_TEMPLATES[(match.lastindex or 1) - 1]]
