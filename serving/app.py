"""The ASGI application of a serving worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from fastapi import FastAPI, Response
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from schemas.event import EventIn
from schemas.identity import MergeIn
from schemas.item import ItemIn
from schemas.slate import RecommendIn
from schemas.user import UserIn

from . import (
    browser_client,
    canaries,
    catalogue,
    control,
    dead_letters,
    events,
    experiments,
    explanations,
    identity,
    listings,
    models,
    personal_data,
    preferences,
    recommendations,
    rules,
    shadows,
)
from .body import JSON, describe
from .catalogue import ItemBatchIn
from .events import EventBatchIn
from .hot_paths import HotPaths, hot_endpoints
from .problem import install
from .worker import Worker

HOT = frozenset({("POST", "/v1/recommendations"), ("POST", "/v1/events")})


def create_app(worker: Worker) -> FastAPI:
    """Return the application of a worker that has been started; its lifespan's end stops the threads."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        worker.close()

    app = FastAPIOffline(title="Headrace", version="0.1.0", lifespan=lifespan, redoc_url=None)
    install(app)
    frequent = [recommendations.router(worker), events.router(worker)]
    app.add_middleware(HotPaths, endpoints=hot_endpoints(frequent, HOT))
    for router in frequent:  # routes are tried in their order
        app.include_router(router)
    app.include_router(listings.router(worker))
    app.include_router(explanations.router(worker))
    app.include_router(catalogue.router(worker))
    app.include_router(identity.router(worker))
    app.include_router(preferences.router(worker))
    app.include_router(personal_data.router(worker))
    app.include_router(control.router(worker))
    app.include_router(rules.router(worker))
    app.include_router(experiments.router(worker))
    app.include_router(shadows.router(worker))
    app.include_router(canaries.router(worker))
    app.include_router(models.router(worker))
    app.include_router(dead_letters.router(worker.ports.dead_letters))
    app.include_router(browser_client.router())
    _add_operations(app, worker)
    bodies: list[type[BaseModel]] = [EventIn, EventBatchIn, ItemIn, ItemBatchIn, UserIn, MergeIn, RecommendIn]
    of_modules = (control, rules, shadows, canaries, preferences, listings, dead_letters)
    describe(app, [*bodies, *(body for module in of_modules for body in module.BODIES)])
    return app


def _add_operations(app: FastAPI, worker: Worker) -> None:
    @app.get("/health/live", tags=["Running it"])
    async def live() -> Response:
        """Say whether the process works; one that does not is to be started again."""
        status = {"status": "live" if worker.is_alive else "a thread has ended"}
        return Response(msgspec.json.encode(status), 200 if worker.is_alive else 503, media_type=JSON)

    @app.get("/health/ready", tags=["Running it"])
    async def ready() -> Response:
        """Say whether the worker has caught up with the log and may take traffic."""
        status = {
            "status": "ready" if worker.is_ready else "catching up",
            "items": len(worker.world.table),
            "control_version": worker.world.control.version,
            "worker": worker.contact.member,
        }
        return Response(msgspec.json.encode(status), 200 if worker.is_ready else 503, media_type=JSON)

    @app.get("/metrics", tags=["Running it"])
    async def metrics() -> Response:
        """Return Prometheus metrics."""
        worker.metrics.spooled_bytes.set(worker.appender.spooled_bytes)
        worker.metrics.log_away.set(worker.appender.is_log_away)
        worker.metrics.items.set(len(worker.world.table))
        worker.metrics.model_version.labels("ranker").set(worker.world.ranker_version)
        worker.metrics.model_version.labels("session_blend").set(worker.world.blend_version)
        vectors = worker.world.vectors
        worker.metrics.model_version.labels("vectors").set(vectors.version if vectors else 0)
        return Response(generate_latest(worker.metrics.registry), media_type=CONTENT_TYPE_LATEST)
