"""Who may call what: API keys, the keys that web pages hold, and the origins whose pages may read the answers."""

from __future__ import annotations

import hmac
import re
from hashlib import sha256

from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from .browser_client import CLIENT_PATH
from .problem import Problem, problem_response
from .worker import Ports

PREFLIGHT_S = 7200  # the longest that Chromium remembers what a preflight allowed

_OPEN_PATHS = frozenset({"/health/live", "/health/ready", CLIENT_PATH})
_OF_PAGES = re.compile(r"POST /v1/(events|recommendations|users/[^/]+:merge)")
_NO_KEY = Problem(
    401, "no_key", "send a valid key as X-API-Key or bearer token", headers={"WWW-Authenticate": "Bearer"}
)
_NOT_FOR_PAGES = Problem(
    403, "publishable_key", "a publishable key only posts events, merges and requests for slates: use a secret key"
)


def restrict(app: FastAPI, ports: Ports) -> None:
    """Ask for a key where there are any, and let pages of the allowed origins read the answers, refusals included."""
    if ports.keys:
        app.add_middleware(_KeyCheck, keys=ports.keys, publishable=ports.publishable_keys)
    if ports.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=ports.allowed_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key"],
            expose_headers=["Retry-After"],
            max_age=PREFLIGHT_S,
        )


class _KeyCheck:
    """Ask for an API key, in `X-API-Key` or as a bearer token, on every path that is not open.

    A publishable key opens what a page needs. It may also stand in the query as `key`: a beacon has no headers, and a
    request without them needs no preflight. A secret key there counts as none, since addresses end up in logs.
    """

    def __init__(self, app: ASGIApp, keys: frozenset[str], publishable: frozenset[str]) -> None:
        self._app, self._keys, self._publishable = app, keys, publishable

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _OPEN_PATHS:
            request = Request(scope)
            key, is_in_header = _given(request)
            digest = sha256(key).hexdigest()
            is_secret = is_in_header and _is_among(digest, self._keys)
            refusal = None if is_secret else self._refusal_of_page(digest, request)
            if refusal is not None:
                await problem_response(refusal)(scope, receive, send)
                return
            scope.setdefault("state", {})["key"] = digest  # who it is, for what is audited
        await self._app(scope, receive, send)

    def _refusal_of_page(self, digest: str, request: Request) -> Problem | None:
        if not _is_among(digest, self._publishable):
            return _NO_KEY
        is_of_pages = _OF_PAGES.fullmatch(f"{request.method} {request.scope['path']}")
        return None if is_of_pages else _NOT_FOR_PAGES


def _given(request: Request) -> tuple[bytes, bool]:
    """Return the bytes of the key that a request brings, and whether its headers do."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = request.headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")
    if given:
        return given.encode("latin-1"), True  # as Starlette decoded them
    return request.query_params.get("key", "").encode("utf-8", "replace"), False


def _is_among(digest: str, known: frozenset[str]) -> bool:
    return any(hmac.compare_digest(digest, one) for one in known)
