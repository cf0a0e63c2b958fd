"""POST /v1/events: one object, a batch, or NDJSON; 202 means kept."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, JsonValue, ValidationError
from pydantic_core import from_json

from online.core.partition import EVENTS
from schemas.event import Event, EventIn, accept, encode_event
from schemas.fields import Edge

from .appender import Refused
from .body import read_body, takes
from .problem import Problem, ProblemOut, field_errors, invalid
from .worker import Worker

MAX_EVENTS = 1000
REMEMBERED_IDS = 50_000
RETRY_AFTER_S = 2


class EventBatchIn(Edge):
    """A batch of events; one bad row never fails the others."""

    events: Annotated[list[EventIn], Field(max_length=MAX_EVENTS)]


class RowError(BaseModel):
    """Why one row of a batch was not accepted."""

    index: int
    code: str
    message: str
    field: str


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
        self._young: set[str] = set()
        self._old: set[str] = set()

    def __contains__(self, event_id: str) -> bool:
        return event_id in self._young or event_id in self._old

    def add(self, event_id: str) -> None:
        if len(self._young) >= REMEMBERED_IDS:
            self._old, self._young = self._young, set()
        self._young.add(event_id)


def router(worker: Worker) -> APIRouter:
    """Return the route of the events."""
    routes = APIRouter(tags=["Events"])
    recent = _RecentIds()

    @routes.post(
        "/v1/events",
        status_code=202,
        response_model=AcceptedOut,
        responses={422: {"model": ProblemOut}, 429: {"model": ProblemOut}, 503: {"model": ProblemOut}},
        openapi_extra=takes(EventIn, EventBatchIn),
    )
    async def post_events(request: Request) -> Response:
        """Keep events: one object, `{"events": [...]}` of at most 1,000, or NDJSON. 202 means kept."""
        began = time.perf_counter()
        body = await read_body(request)
        rows, is_single = _rows(body, request.headers.get("content-type", ""))
        received_at = time.time()
        events: list[Event] = []
        errors: list[dict[str, Any]] = []
        duplicates = 0
        seen: set[str] = set()
        for index, row in rows:
            try:
                event = EventIn.model_validate_json(row) if isinstance(row, bytes) else EventIn.model_validate(row)
            except ValidationError as error:
                found = field_errors(error, EventIn)
                if is_single:
                    raise invalid(found) from None
                errors.append({"index": index, **found[0]})
                continue
            accepted = accept(event, event_id=uuid.uuid4().hex, received_at=received_at)
            if accepted.event_id in recent or accepted.event_id in seen:
                duplicates += 1
                continue
            seen.add(accepted.event_id)
            events.append(accepted)
        if events:
            await _keep(worker, events)
            for event_id in seen:
                recent.add(event_id)
        for outcome, count in (("accepted", len(events)), ("duplicate", duplicates), ("rejected", len(errors))):
            worker.metrics.events.labels(outcome).inc(count)
        took = time.perf_counter() - began
        worker.metrics.ingest_seconds.observe(took)
        answer = {
            "accepted": len(events) + duplicates,
            "duplicates": duplicates,
            "rejected": len(errors),
            "errors": errors[:MAX_EVENTS],
            "took_ms": round(took * 1000, 3),
        }
        return Response(msgspec.json.encode(answer), 202, media_type="application/json")

    return routes


async def _keep(worker: Worker, events: list[Event]) -> None:
    table = worker.world.table
    for event in events:
        for item in event.items:
            item.categories, item.brand, item.price_tier = table.facets(item.item_id)
    messages = [(EVENTS, worker.partition(event.user_key), encode_event(event)) for event in events]
    try:
        await worker.appender.append(messages)
    except Refused as error:
        raise Problem(
            503, "not_kept", f"{error}; send the events again later", headers={"Retry-After": str(RETRY_AFTER_S)}
        ) from None


def _rows(body: bytes, content_type: str) -> tuple[Iterator[tuple[int, bytes | JsonValue]], bool]:
    """Return the (index, row) pairs of a body, and whether it is one lone event.

    Raises:
        Problem: 422 when it is no JSON, or too many rows.
    """
    if "ndjson" in content_type or "jsonl" in content_type:
        lines = [line for line in body.splitlines() if line.strip()]
        _limit(len(lines))
        return enumerate(lines), False
    if not re.match(rb'\s*\{\s*"events"\s*:', body):
        return iter([(0, body)]), True
    try:
        document = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise invalid([{"code": "json_invalid", "field": "", "message": str(error)[:200]}]) from None
    rows = document["events"]
    if not isinstance(rows, list) or set(document) != {"events"}:
        raise invalid([{"code": "invalid", "field": "events", "message": "a batch is an object with one list: events"}])
    _limit(len(rows))
    return enumerate(rows), False


def _limit(rows: int) -> None:
    if rows > MAX_EVENTS:
        raise Problem(413, "too_many_events", f"a batch holds at most {MAX_EVENTS} events, not {rows}")
