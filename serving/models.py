"""Models: the rankers that learn side by side, which of them is active, and the one that was before."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request, Response

from online.control.model import MODEL, RANKER_SLOT
from online.models.side_by_side import NAMED, SIDE_BY_SIDE
from online.ports import CorruptArtifact
from online.world import RANKER
from schemas.control import ControlChange
from schemas.fields import PRINTABLE

from .body import JSON, parse, read_body, takes, who
from .control import CHANGED, PROBLEMS, WhyIn, changed
from .problem import Problem
from .shadows import ShadowModelIn, shadowed
from .worker import Worker

ModelName = Annotated[str, Path(min_length=1, max_length=64, pattern=PRINTABLE)]
ModelVersion = Annotated[int, Path(ge=1, le=1_000_000)]


def router(worker: Worker) -> APIRouter:
    """Return the routes of the models."""
    routes = APIRouter(tags=["Running it"])

    @routes.get("/v1/models", responses=PROBLEMS)
    async def list_models() -> Response:
        """List the models: which is active, which are published, and how they compare before learning each slate."""
        world = worker.world
        figures = await asyncio.to_thread(_figures, worker)
        models = [
            {**_parts(model), "id": model, "active": model == world.model, "published": model in world.rankers}
            | {"figures": figures.get(model, {})}
            for model in world.rankers or SIDE_BY_SIDE
        ]
        answer = {
            "models": models,
            "artifact_version": world.ranker_version,
            "control_version": world.control.version,
        }
        return Response(msgspec.json.encode(answer), media_type=JSON)

    path = "/v1/models/{name}/versions/{version}"

    @routes.post(f"{path}:activate", responses=CHANGED, openapi_extra=takes(WhyIn))
    async def activate(name: ModelName, version: ModelVersion, request: Request) -> Response:
        """Let a model score where a policy says `learned`."""
        model = _published(worker, name, version)
        return await changed(worker, await _change(request, document={"candidate": model}))

    @routes.post(f"{path}:rollback", responses=CHANGED, openapi_extra=takes(WhyIn))
    async def rollback(name: ModelName, version: ModelVersion, request: Request) -> Response:
        """Take back that a model was made active: the one that was before is active again."""
        if worker.world.model != _known(name, version):
            raise Problem(409, "not_active", f"it is not active: {worker.world.model} is")
        return await changed(worker, await _change(request, is_rollback=True))

    @routes.post(f"{path}:shadow", responses=CHANGED, openapi_extra=takes(ShadowModelIn))
    async def shadow(name: ModelName, version: ModelVersion, request: Request) -> Response:
        """Let a model rank a share of a surface's requests a second time, without being shown."""
        asked = parse(ShadowModelIn, await read_body(request) or b"{}")
        model = _published(worker, name, version)
        return await shadowed(worker, request, asked.surface, {"model": model}, asked.share, asked.reason)

    return routes


async def _change(request: Request, **said: Any) -> ControlChange:
    reason = parse(WhyIn, await read_body(request) or b"{}").reason
    return ControlChange(kind=MODEL.name, id=RANKER_SLOT, by=who(request), reason=reason, **said)


def _known(name: str, version: int) -> str:
    model = f"{name}-{version}"
    if model not in NAMED:
        raise Problem(404, "no_model", f"there is no such model; there are {', '.join(NAMED)}")
    return model


def _published(worker: Worker, name: str, version: int) -> str:
    model, rankers = _known(name, version), worker.world.rankers
    if rankers and model not in rankers:
        raise Problem(409, "not_published", "what is published has no such model yet: it has to learn first")
    return model


def _parts(model: str) -> dict[str, Any]:
    name, _, version = model.rpartition("-")
    return {"name": name, "version": int(version)}


def _figures(worker: Worker) -> dict[str, Any]:
    """Return the figures of the models as the newest version has them; none where there is no sound one."""
    try:
        artifact = worker.ports.artifacts.open(RANKER)
    except (CorruptArtifact, OSError):
        return {}
    figures: dict[str, Any] = {} if artifact is None else artifact.lineage.get("candidates", {})
    return figures
