"""GET /client/headrace.js: the client for browsers, as it stands beside this module."""

from __future__ import annotations

import gzip
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, Request, Response

CLIENT_PATH = "/client/headrace.js"
CACHED_S = 3600  # in which browsers ask nothing; afterwards they ask whether it has changed

_FILE = Path(__file__).parent / "static" / "headrace.js"


def router() -> APIRouter:
    """Return the route of the client, which is open to every page: it holds no secret."""
    routes = APIRouter(tags=["Running it"])
    script = _FILE.read_bytes()
    compressed = gzip.compress(script, mtime=0)
    headers = {
        "ETag": f'W/"{sha256(script).hexdigest()[:32]}"',
        "Cache-Control": f"public, max-age={CACHED_S}",
        "Vary": "Accept-Encoding",
        "Access-Control-Allow-Origin": "*",  # a module of another origin is not run without it
        "X-Content-Type-Options": "nosniff",
    }

    @routes.get(CLIENT_PATH, response_class=Response, responses={200: {"content": {"text/javascript": {}}}})
    async def client(request: Request) -> Response:
        """Return the JavaScript module that shops log with."""
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            zipped = {**headers, "Content-Encoding": "gzip"}
            return Response(compressed, media_type="text/javascript", headers=zipped)
        return Response(script, media_type="text/javascript", headers=headers)

    return routes
