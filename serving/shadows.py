"""Shadows of a surface: set them, and see what they would have answered."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from online.control.surface import SURFACE, SurfaceIn
from online.shadow_report import shadow_report
from schemas.control import ControlChange
from schemas.fields import Edge, Label

from .body import JSON, parse, read_body, takes, who
from .control import CHANGED, PROBLEMS, DocumentId, Reason, changed
from .warehouse import from_warehouse
from .worker import Worker

Share = Annotated[float, Field(ge=0, le=1, description="Of the requests; 0 takes the shadow away")]
Hours = Annotated[float, Query(gt=0, le=24 * 366)]


class ShadowPolicyIn(Edge):
    """A policy that is to answer a share of a surface's requests a second time, unseen."""

    policy: Label
    share: Share = 0.1
    reason: Reason = ""


class ShadowModelIn(Edge):
    """The surface on which a model is to rank a share of the requests a second time, unseen."""

    surface: Label = "home"
    share: Share = 0.1
    reason: Reason = ""


BODIES: list[type[BaseModel]] = [ShadowPolicyIn, ShadowModelIn]


def router(worker: Worker) -> APIRouter:
    """Return the routes of shadows."""
    routes = APIRouter(tags=["Running it"])

    @routes.post("/v1/surfaces/{document_id}:shadow", responses=CHANGED, openapi_extra=takes(ShadowPolicyIn))
    async def shadow(document_id: DocumentId, request: Request) -> Response:
        """Let a policy answer a share of the surface's requests a second time, without being shown."""
        asked = parse(ShadowPolicyIn, await read_body(request))
        return await shadowed(worker, request, document_id, {"policy": asked.policy}, asked.share, asked.reason)

    @routes.get("/v1/surfaces/{document_id}/shadow", responses=PROBLEMS)
    async def show_shadows(document_id: DocumentId, hours: Hours = 24.0) -> Response:
        """Return how alike the slates of the surface's shadows are to those served, with what they cost."""
        found = await from_warehouse(
            worker, lambda warehouse: shadow_report(warehouse, document_id, since=time.time() - hours * 3600.0)
        )
        standing = worker.world.control.standings(SURFACE, document_id)
        now = standing[-1].document.get("shadow", []) if standing else []
        answer = {"surface": document_id, "hours": hours, "shadow": now, "compared": found}
        return Response(msgspec.json.encode(answer), media_type=JSON)

    return routes


async def shadowed(
    worker: Worker, request: Request, surface: str, named: dict[str, str], share: float, reason: str
) -> Response:
    """Set or take away one shadow of a surface; all else about the surface stays."""
    standing = worker.world.control.standings(SURFACE, surface)
    document: dict[str, Any] = {**(standing[-1].document if standing else SurfaceIn().model_dump(mode="json"))}
    kind, name = next(iter(named.items()))
    kept = [one for one in document.get("shadow", []) if one.get(kind) != name]
    document["shadow"] = [*kept, {**named, "share": share}] if share else kept
    document = parse(SurfaceIn, msgspec.json.encode(document)).model_dump(mode="json")
    said = ControlChange(kind=SURFACE.name, id=surface, document=document, by=who(request), reason=reason)
    return await changed(worker, said)
