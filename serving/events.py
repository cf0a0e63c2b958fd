"""POST /v1/events: one object, a batch, or NDJSON; 202 means kept."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, JsonValue, ValidationError

from online.core.catalogue import stamp
from online.core.partition import EVENTS
from schemas.event import Event, EventIn, accept, encode_event
from schemas.fields import Edge
from schemas.problem import RowError

from .access import require_acting_for
from .acknowledgement import keep
from .body import JSON, admitted_body, check_rows, parse_rows, takes
from .problem import Problem, ProblemOut, field_errors, invalid
from .spool import Spooled
from .strict_json import require_unique_keys
from .worker import Worker

MAX_EVENTS = 1000
REMEMBERED_IDS = 50_000
TURN_S = 0.002  # after so long, other requests get their turn


class EventBatchIn(Edge):
    """A batch of events; one bad row never fails the others."""

    events: Annotated[list[EventIn], Field(max_length=MAX_EVENTS)]


class AcceptedOut(BaseModel):
    """What became of the events; `duplicates` counts ids this worker kept before, at best effort."""

    accepted: int
    duplicates: int
    rejected: int
    errors: list[RowError]
    took_ms: float


class _RecentIds:
    """Event ids kept lately by this worker: two generations, so that memory is bounded."""

    def __init__(self) -> None:
        self._young: set[tuple[str, str]] = set()
        self._old: set[tuple[str, str]] = set()

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._young or key in self._old

    def add(self, key: tuple[str, str]) -> None:
        if len(self._young) >= REMEMBERED_IDS:
            self._old, self._young = self._young, set()
        self._young.add(key)


@dataclass(slots=True)
class _Sorted:
    """The rows of a request: messages to keep by their dedup key, rows refused, and how many were there before."""

    events: dict[tuple[str, str], Spooled] = field(default_factory=dict)
    errors: list[dict[str, Any]] = field(default_factory=list)
    duplicates: int = 0
    clamped: int = 0
    robots: int = 0


def router(worker: Worker) -> APIRouter:
    """Return the route of the events."""
    routes = APIRouter(tags=["Events"])
    recent = _RecentIds()

    @routes.post(
        "/v1/events",
        status_code=202,
        response_model=AcceptedOut,
        responses={code: {"model": ProblemOut} for code in (413, 422, 429, 503)},
        openapi_extra=takes(EventIn, EventBatchIn),
    )
    async def post_events(request: Request) -> Response:
        """Keep events: one object, `{"events": [...]}` of at most 1,000, or NDJSON. 202 means kept."""
        began = time.perf_counter()
        async with admitted_body(worker, request) as body:
            async with worker.admission.turn:
                found = await _sorted(worker, body, request, recent)
            del body
            if found.events:
                await keep(worker, list(found.events.values()))
        for key in found.events:
            recent.add(key)
        took = time.perf_counter() - began
        _count(worker, found, took)
        answer = {
            "accepted": len(found.events) + found.duplicates,
            "duplicates": found.duplicates,
            "rejected": len(found.errors),
            "errors": found.errors,
            "took_ms": round(took * 1000, 3),
        }
        return Response(msgspec.json.encode(answer), 202, media_type=JSON)

    return routes


async def _sorted(worker: Worker, body: bytes, request: Request, recent: _RecentIds) -> _Sorted:
    received_at, turn_began = time.time(), time.perf_counter()
    rows, is_single = _rows(body, request.headers.get("content-type", "").lower())
    user_agent = request.headers.get("user-agent", "")
    found = _Sorted()
    for index, row in rows:
        if time.perf_counter() - turn_began > TURN_S:
            await asyncio.sleep(0)
            turn_began = time.perf_counter()
        try:
            event = _event(row)
            require_acting_for(request, event.user_id)
        except ValidationError as error:
            errors = field_errors(error, EventIn)
            if is_single:
                raise invalid(errors) from None
            found.errors.append({"index": index, **errors[0]})
            continue
        except Problem as refusal:
            if is_single:
                raise
            found.errors.append({"index": index, **refusal.errors[0]})
            continue
        accepted = accept(event, event_id=uuid.uuid4().hex, received_at=received_at, user_agent=user_agent)
        key = (accepted.user_key, accepted.event_id)  # as the fold: another user's event may have the same id
        if key in recent or key in found.events:
            found.duplicates += 1
        else:
            found.events[key] = _message(worker, accepted)
            found.clamped += accepted.clamped_s > 0.0
            found.robots += accepted.robot
    return found


def _event(row: bytes | JsonValue) -> EventIn:
    """Return the event of a row: still text, or parsed with its batch.

    Raises:
        ValidationError: it is none.
        Problem: it is one, but for a key that is named twice.
    """
    if not isinstance(row, bytes):
        return EventIn.model_validate(row)
    event = EventIn.model_validate_json(row)
    require_unique_keys(row)
    return event


def _message(worker: Worker, event: Event) -> Spooled:
    """Return what is logged of an event, stamped with what the catalogue knows now of its items."""
    stamp(event, worker.world.table.facets, worker.ports.holdout)
    return EVENTS, worker.partition(event.user_key), encode_event(event)


def _count(worker: Worker, found: _Sorted, took_s: float) -> None:
    metrics = worker.metrics
    metrics.events.labels("accepted").inc(len(found.events))
    metrics.events.labels("duplicate").inc(found.duplicates)
    metrics.events.labels("rejected").inc(len(found.errors))
    metrics.clamped.inc(found.clamped)
    metrics.robot_events.inc(found.robots)
    metrics.ingest_seconds.observe(took_s)


def _rows(body: bytes, content_type: str) -> tuple[Iterator[tuple[int, bytes | JsonValue]], bool]:
    """Return the (index, row) pairs of a body, and whether it is one lone event.

    Raises:
        Problem: 422 when it is no JSON, 413 when it has too many rows.
    """
    if "ndjson" in content_type or "jsonl" in content_type:
        lines = [line for line in body.splitlines() if line.strip()]
        check_rows(len(lines), MAX_EVENTS)
        return enumerate(lines), False
    if re.match(rb'\s*\{\s*"events"\s*:', body):
        return enumerate(parse_rows(body, "events", MAX_EVENTS)), False
    return iter([(0, body)]), True
