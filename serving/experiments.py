"""Experiments beside their documents: stop one."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from online.control.experiment import EXPERIMENT
from schemas.control import ControlChange

from .body import parse, read_body, takes, who
from .control import CHANGED, DocumentId, WhyIn, changed
from .problem import Problem
from .worker import Worker


def router(worker: Worker) -> APIRouter:
    """Return the routes that experiments have beside those of every kind of document."""
    routes = APIRouter(tags=["Running it"])

    @routes.post("/v1/experiments/{document_id}:stop", responses=CHANGED, openapi_extra=takes(WhyIn))
    async def stop(document_id: DocumentId, request: Request) -> Response:
        """End an experiment: the surface's policy answers again. Its results stay, and PUT lets it go on."""
        reason = parse(WhyIn, await read_body(request) or b"{}").reason
        standings = worker.world.control.standings(EXPERIMENT, document_id)
        if not standings:
            raise Problem(404, "no_experiment", "there is no such experiment: PUT it first")
        document = {**standings[-1].document, "status": "stopped"}
        said = ControlChange(kind=EXPERIMENT.name, id=document_id, document=document, by=who(request), reason=reason)
        return await changed(worker, said)

    return routes
