"""The outermost application of a serving process: one or several tenants behind keys, limits and allowed origins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from .access import Access
from .security_headers import SecurityHeaders
from .slashes import with_ids

PREFLIGHT_S = 7200  # the longest that Chromium remembers what a preflight allowed
_TOLD = ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"]


class Edge:
    """What a server runs: `access` for requests, and the beginning and end of every application.

    Pages of the allowed origins read the answers, refusals included; others read none.
    """

    def __init__(self, apps: Sequence[FastAPI], access: Access, *, allowed_origins: Sequence[str] = ()) -> None:
        self._apps = apps
        app: ASGIApp = access
        if allowed_origins:
            app = CORSMiddleware(
                access,
                allow_origins=allowed_origins,
                allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
                allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-User-Token"],
                expose_headers=_TOLD,
                max_age=PREFLIGHT_S,
            )
        self._app = SecurityHeaders(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._app(with_ids(scope), receive, send)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Begin every application, and end them in the other order."""
        async with AsyncExitStack() as stack:
            for app in self._apps:
                await stack.enter_async_context(app.router.lifespan_context(app))
            yield

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self.lifespan():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
