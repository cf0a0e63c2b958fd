"""Headers that every answer has: it is what it says it is, no page shows it in itself, and nobody keeps it."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_DOCUMENT = b"default-src 'none'; frame-ancestors 'none'"
# Swagger's page begins with a script in the page itself, and styles itself; it loads from here only.
_PAGE = (
    b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_ALWAYS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
_OF_DOCUMENTS = [*_ALWAYS, (b"content-security-policy", _DOCUMENT)]
_OF_PAGES = [*_ALWAYS, (b"content-security-policy", _PAGE)]
_NO_STORE = (b"cache-control", b"no-store")


class SecurityHeaders:
    """Adds them to what an application answers; what says itself how long it may be kept stays as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = dict(message.get("headers", ()))
                added = _OF_PAGES if said.get(b"content-type", b"").startswith(b"text/html") else _OF_DOCUMENTS
                kept = [] if b"cache-control" in said else [_NO_STORE]
                message["headers"] = [*message.get("headers", ()), *added, *kept]
            await send(message)

        await self._app(scope, receive, secured)
