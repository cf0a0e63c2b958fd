"""Identity: a visitor becomes a user."""

from __future__ import annotations

import time
import uuid

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from online.core.partition import EVENTS
from schemas.identity import MergeIn, accept_merge, encode_identity

from .access import require_acting_for
from .acknowledgement import keep
from .body import JSON, PathId, parse, read_body, takes
from .problem import ProblemOut
from .worker import Worker


class MergedOut(BaseModel):
    """The merge that was kept."""

    user_id: str
    visitor_id: str


def router(worker: Worker) -> APIRouter:
    """Return the route of merges."""
    routes = APIRouter(tags=["Catalogue and users"])

    @routes.post(
        "/v1/users/{user_id}:merge",
        status_code=202,
        response_model=MergedOut,
        responses={422: {"model": ProblemOut}, 413: {"model": ProblemOut}, 503: {"model": ProblemOut}},
        openapi_extra=takes(MergeIn),
    )
    async def merge(user_id: PathId, request: Request) -> Response:
        """Say that a visitor is this user: what the visitor did counts for the user, now and later. 202 means kept."""
        require_acting_for(request, user_id)
        asked = parse(MergeIn, await read_body(request))
        said = accept_merge(user_id=user_id, visitor_id=asked.visitor_id, event_id=uuid.uuid4().hex, now=time.time())
        await keep(worker, [(EVENTS, worker.partition(said.visitor_key), encode_identity(said))])
        answer = MergedOut(user_id=user_id, visitor_id=asked.visitor_id)
        return Response(answer.model_dump_json(), 202, media_type=JSON)

    return routes
