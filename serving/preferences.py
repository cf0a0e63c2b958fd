"""Preferences of users and visitors: read, and written; answered once the record, and so the next slate, obeys them."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from online.core.controls import NO_CONTROLS
from online.core.partition import EVENTS
from online.core.record import UserRecord
from online.ports import Unavailable
from online.request import look_up
from schemas.event import user_key
from schemas.preferences import (
    Preferences,
    PreferencesIn,
    PreferencesKeptOut,
    PreferencesOut,
    accept_preferences,
    encode_preferences,
)
from schemas.slate import RecommendIn

from .acknowledgement import keep
from .body import JSON, PathId, parse, read_body, takes
from .problem import Problem, ProblemOut
from .worker import Worker

PATIENCE_S, LOOK_S = 1.0, 0.003  # how long, and how often, the record is looked at for what was said

BODIES: list[type[BaseModel]] = [PreferencesIn]
PROBLEMS: dict[int | str, dict[str, Any]] = {code: {"model": ProblemOut} for code in (413, 422, 503)}
SAID: dict[int | str, dict[str, Any]] = {**PROBLEMS, 202: {"model": PreferencesKeptOut}}


def router(worker: Worker) -> APIRouter:
    """Return the routes of preferences."""
    routes = APIRouter(tags=["Catalogue and users"])

    @routes.get("/v1/users/{user_id}/preferences", response_model=PreferencesOut, responses=PROBLEMS)
    async def get_of_user(user_id: PathId) -> Response:
        """Return what the user wants, as the record reflects it; those who have said nothing want nothing special."""
        return _answer(_record(worker, user_id, None), user_id, None)

    @routes.get("/v1/visitors/{visitor_id}/preferences", response_model=PreferencesOut, responses=PROBLEMS)
    async def get_of_visitor(visitor_id: PathId) -> Response:
        """Return what a visitor wants; of one that has become a user, what the user wants."""
        return _answer(_record(worker, None, visitor_id), None, visitor_id)

    @routes.put(
        "/v1/users/{user_id}/preferences",
        response_model=PreferencesOut,
        responses=SAID,
        openapi_extra=takes(PreferencesIn),
    )
    async def put_of_user(user_id: PathId, request: Request) -> Response:
        """Say what a user wants, all of it. 200: the next slate obeys; 202: kept, and the record is not there yet."""
        return await _said(worker, parse(PreferencesIn, await read_body(request)), user_id, None)

    @routes.put(
        "/v1/visitors/{visitor_id}/preferences",
        response_model=PreferencesOut,
        responses=SAID,
        openapi_extra=takes(PreferencesIn),
    )
    async def put_of_visitor(visitor_id: PathId, request: Request) -> Response:
        """Say what a visitor wants, as for a user. It stays when the visitor becomes a user."""
        return await _said(worker, parse(PreferencesIn, await read_body(request)), None, visitor_id)

    return routes


async def _said(worker: Worker, given: PreferencesIn, user_id: str | None, visitor_id: str | None) -> Response:
    event_id, now = uuid.uuid4().hex, time.time()
    said = accept_preferences(given, user_id=user_id, visitor_id=visitor_id, event_id=event_id, now=now)
    await keep(worker, [(EVENTS, worker.partition(said.user_key), encode_preferences(said))])
    record = await _reflecting(worker, said)
    if record is not None:
        return _answer(record, user_id, visitor_id)
    return Response(PreferencesKeptOut(updated_at=now).model_dump_json(), 202, media_type=JSON)


async def _reflecting(worker: Worker, said: Preferences) -> UserRecord | None:
    """Return the record once it reflects what was said; None when it does not within `PATIENCE_S`."""
    until = time.monotonic() + PATIENCE_S
    while not worker.appender.is_log_away and time.monotonic() < until:
        try:
            record = _read(worker, said.user_id, said.visitor_id)
        except Unavailable:
            record = None
        if record is not None and _reflects(record, said):
            worker.remembered.note(said.user_key, record)
            return record
        await asyncio.sleep(LOOK_S)
    return None


def _reflects(record: UserRecord, said: Preferences) -> bool:
    controls = record.controls or NO_CONTROLS
    return controls.time >= said.timestamp and (not said.reset or controls.forgotten >= said.timestamp)


def _read(worker: Worker, user_id: str | None, visitor_id: str | None) -> UserRecord | None:
    return look_up(RecommendIn(user_id=user_id, visitor_id=visitor_id), worker.records).record


def _record(worker: Worker, user_id: str | None, visitor_id: str | None) -> UserRecord | None:
    try:
        record = _read(worker, user_id, visitor_id)
    except Unavailable:
        raise Problem(503, "state_away", "the state store does not answer; try again in a second") from None
    worker.remembered.note(user_key(user_id, visitor_id), record)
    return record


def _answer(record: UserRecord | None, user_id: str | None, visitor_id: str | None) -> Response:
    who = {"user_id": user_id} if user_id is not None else {"visitor_id": visitor_id}
    position = record.position if record is not None else None
    return Response(msgspec.json.encode({**who, **described(record), "position": position}), media_type=JSON)


def described(record: UserRecord | None) -> dict[str, Any]:
    """Return the controls of a record in words."""
    controls = record.controls if record is not None and record.controls is not None else NO_CONTROLS
    return {
        "muted_items": controls.muted_items,
        "muted_brands": controls.muted_brands,
        "muted_categories": controls.muted_categories,
        "boosts": [{"facet": b.facet, "value": b.value, "factor": b.factor} for b in controls.boosts],
        "personalization": controls.personalization,
        "consent": controls.consent,
        "updated_at": controls.time or None,
        "forgotten_before": controls.forgotten or None,
    }
