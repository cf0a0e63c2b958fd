"""Who may call what: keys, scopes, limits and tenants between a request and the application that answers it."""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import unquote_to_bytes

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.tenant import DEFAULT_TENANT

from .grant import Grant, Grants, Rate
from .origin import require_local
from .problem import Problem, problem_response
from .rate_limit import RateLimits, Verdict
from .scopes import Scopes, scopes_of
from .user_token import BadToken, verified


@dataclass(frozen=True, slots=True)
class House:
    """One tenant: the application that answers it, the limit of all its keys, and the secret of its user tokens.

    With a secret, pages act in the name of users only as far as a token says so. A process is ready once all tenants
    are.
    """

    app: ASGIApp
    rate: Rate | None = None
    user_token_key: bytes = b""
    is_ready: Callable[[], bool] = lambda: True


class Access:
    """Lets a request with a key through to the application of the key's tenant, and says why another one is not.

    A key goes in `X-API-Key` or as a bearer token. One that a page holds may also stand in the query as `key`: a beacon
    has no headers, and a request without them needs no preflight. A secret one there counts as none, since addresses
    end up in logs.

    Args:
        houses: by tenant; the default one answers what needs no key.
        grants: what keys open.
        allowed_origins: whose pages may send requests where no key is asked.
        processes: that share the limits, each counting its part.
        now: epoch seconds.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        houses: Mapping[str, House],
        grants: Grants,
        *,
        allowed_origins: Sequence[str] = (),
        processes: int = 1,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._houses, self._grants, self._processes, self._now = houses, grants, processes, now
        self._allowed_origins = frozenset(allowed_origins)
        self._limits = RateLimits(clock=clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._houses[DEFAULT_TENANT].app(scope, receive, send)
            return
        house, verdicts = self._houses[DEFAULT_TENANT], []
        grants, needed = self._grants(), scopes_of(scope["method"], scope["path"])
        try:
            _require_readable_path(scope)
            if scope["path"] == "/health/ready":
                self._require_all_ready()
            if grants is None and needed:
                require_local(scope, self._allowed_origins)
            elif grants is not None and needed:
                grant = _granted(scope, grants, needed, self._now())
                house = self._house(grant.tenant)
                verdicts = self._taken(grant, house)
                scope.setdefault("state", {})["key"] = grant.digest  # who it is, for what is audited
                if grant.is_of_page and house.user_token_key:
                    scope["state"]["acts_for"] = _user(scope, house.user_token_key, self._now())
                _require_room(verdicts)
        except Problem as refusal:
            await problem_response(refusal)(scope, receive, _telling(verdicts, send))
            return
        await house.app(scope, receive, _telling(verdicts, send))

    def _require_all_ready(self) -> None:
        """Raise the 503 problem while a tenant beside the default one, which answers for itself, is not ready."""
        if not all(house.is_ready() for tenant, house in self._houses.items() if tenant != DEFAULT_TENANT):
            raise Problem(503, "catching_up", "a tenant of this worker has not caught up with its log")

    def _house(self, tenant: str) -> House:
        house = self._houses.get(tenant)
        if house is None:
            raise Problem(403, "no_tenant", "the tenant of this key is not served here")
        return house

    def _taken(self, grant: Grant, house: House) -> list[Verdict]:
        """Take a request of the limits of a key and of its tenant; what the first refuses the second does not count."""
        verdicts: list[Verdict] = []
        for name, rate in ((grant.digest, grant.rate), (grant.tenant, house.rate)):
            if rate is not None and all(verdict.is_allowed for verdict in verdicts):
                verdicts.append(self._limits.take(name, rate.share(self._processes)))
        return verdicts


def require_acting_for(request: Request, user_id: str | None) -> None:
    """Raise the 403 problem when whoever asks may not act in a user's name."""
    if not may_act_for(request, user_id):
        message = "a page acts for the user that its user token names, and for visitors"
        errors = [{"code": "other_user", "field": "user_id", "message": message}]
        raise Problem(403, "other_user", message, errors=errors)


def may_act_for(request: Request, user_id: str | None) -> bool:
    """Say whether whoever asks may act in a user's name; for visitors everybody may."""
    return user_id is None or getattr(request.state, "acts_for", user_id) == user_id


def _require_readable_path(scope: Scope) -> None:
    """Raise the 400 problem of a path that is no UTF-8: a server would pass different ones on as the same."""
    raw: bytes = scope.get("raw_path") or b""
    if b"%" in raw:
        try:
            unquote_to_bytes(raw).decode()
        except UnicodeDecodeError:
            raise Problem(400, "path", "the path is no UTF-8") from None


def _granted(scope: Scope, grants: Mapping[str, Grant], needed: Scopes, now: float) -> Grant:
    key, is_in_header = _given(scope)
    digest = sha256(key).hexdigest()
    grant = grants.get(digest)
    if grant is None or not hmac.compare_digest(grant.digest, digest) or not (is_in_header or grant.is_of_page):
        raise _unauthorized("no_key", "send a valid key as X-API-Key or bearer token")
    if grant.expires_at <= now:
        raise _unauthorized("expired_key", "this key has expired")
    if not grant.scopes & needed:
        raise _out_of_scope(grant, needed)
    return grant


def _unauthorized(code: str, detail: str) -> Problem:
    return Problem(401, code, detail, headers={"WWW-Authenticate": "Bearer"})


def _out_of_scope(grant: Grant, needed: Scopes) -> Problem:
    wanted = " or ".join(sorted(needed - {"page"}))
    if grant.is_of_page:
        return Problem(403, "publishable_key", f"this is not for pages: use a secret key with the scope {wanted}")
    return Problem(403, "scope", f"this needs a key with the scope {wanted}")


def _given(scope: Scope) -> tuple[bytes, bool]:
    """Return the bytes of the key that a request brings, and whether its headers do."""
    bearer = b""
    for name, value in scope["headers"]:
        if name == b"x-api-key" and value:
            return value, True
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            bearer = value[7:].strip()
    if bearer:
        return bearer, True
    return Request(scope).query_params.get("key", "").encode("utf-8", "replace"), False


def _user(scope: Scope, secret: bytes, now: float) -> str | None:
    """Return the user that a page acts for, None where it brings no token."""
    request = Request(scope)
    token = request.headers.get("x-user-token") or request.query_params.get("user_token", "")
    if not token:
        return None
    try:
        return verified(token, secret, now=now)
    except BadToken as error:
        raise Problem(403, "user_token", str(error)) from None


def _require_room(verdicts: list[Verdict]) -> None:
    if verdicts and not verdicts[-1].is_allowed:
        wait_s = math.ceil(verdicts[-1].retry_s)
        detail = f"the limit of requests is used up: send it again after {wait_s} s"
        raise Problem(429, "rate_limited", detail, headers={"Retry-After": str(wait_s)})


def _telling(verdicts: list[Verdict], send: Send) -> Send:
    """Return what sends an answer with the headers of the limit that is nearest."""
    if not verdicts:
        return send
    told = min(verdicts, key=lambda verdict: verdict.remaining).headers()

    async def telling(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *told]
        await send(message)

    return telling
