"""The paths that take nearly all requests, answered without the framework's routing.

Routing and injection of parameters cost FastAPI about as much as everything else about a request but its ranking. The
routes stay declared there: for their description, and as what is run here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from .problem import Problem, problem_response

Endpoint = Callable[[Request], Awaitable[Response]]


def hot_endpoints(routers: Iterable[APIRouter], paths: frozenset[tuple[str, str]]) -> dict[tuple[str, str], Endpoint]:
    """Return the endpoints of those routes that have one of the paths: (method, path) -> endpoint."""
    declared = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    named = {(method, route.path): route.endpoint for route in declared for method in route.methods or ()}
    return {path: named[path] for path in paths}


class HotPaths:
    """Runs endpoints that take a request and nothing else; what is not on their paths goes on to `app`."""

    def __init__(self, app: ASGIApp, endpoints: Mapping[tuple[str, str], Endpoint]) -> None:
        self._app, self._endpoints = app, endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        try:
            response = await endpoint(Request(scope, receive))
        except Problem as problem:
            response = problem_response(problem)
        await response(scope, receive, send)
