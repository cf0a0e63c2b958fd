"""Catalogue and user documents: what clients tell about items and users."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, ValidationError

from online.core.catalogue import ITEMS
from online.core.known import complete
from online.core.partition import USERS
from online.core.record import UserRecord, in_cart
from online.ports import Unavailable
from schemas.event import EVENT_TYPES, user_key
from schemas.fields import Edge
from schemas.item import Item, ItemIn, accept_item, encode_item
from schemas.user import UserIn, accept_user, encode_user

from .acknowledgement import Acknowledgement, acknowledged, keep
from .body import JSON, PathId, admitted_body, parse, parse_rows, read_body, takes
from .problem import Problem, ProblemOut, field_errors, invalid
from .worker import Worker

MAX_ITEMS = 1000
TURN_ROWS = 100  # after so many rows, other requests get their turn
VISIBLE_S, LOOK_S = 0.5, 0.002  # how long, and how often, a change is waited for until this worker shows it
FACET_NAMES = ("items", "categories", "brands", "price_tiers")

PROBLEMS: dict[int | str, dict[str, Any]] = {code: {"model": ProblemOut} for code in (404, 413, 422, 503)}


class TakedownOut(BaseModel):
    """Of an item that may not be shown any more: which workers apply that, and which do not yet, where it is known."""

    item_id: str
    applied_by: list[str]
    lagging: list[str] | None


TAKEDOWN: dict[int | str, dict[str, Any]] = {**PROBLEMS, 202: {"model": TakedownOut}}


class ItemBatchIn(Edge):
    """A batch of items, each with its item_id."""

    items: Annotated[list[ItemIn], Field(max_length=MAX_ITEMS)]


def router(worker: Worker) -> APIRouter:
    """Return the routes of items and users."""
    routes = APIRouter(tags=["Catalogue and users"])
    _add_items(routes, worker)
    _add_users(routes, worker)
    return routes


def _add_items(routes: APIRouter, worker: Worker) -> None:
    @routes.put("/v1/items/{item_id}", responses=TAKEDOWN, openapi_extra=takes(ItemIn))
    async def put_item(item_id: PathId, request: Request) -> Response:
        """Create or replace an item. One that may not be shown any more is answered as a deletion is."""
        document = parse(ItemIn, await read_body(request))
        same_id("item_id", document.item_id, item_id)
        return await _changed(worker, _accepted(worker, document, item_id))

    @routes.patch("/v1/items/{item_id}", responses=TAKEDOWN, openapi_extra=takes(ItemIn))
    async def patch_item(item_id: PathId, request: Request) -> Response:
        """Change some fields of an item; the others stay. If it may not be shown any more, as a deletion."""
        changes = parse(ItemIn, await read_body(request))
        same_id("item_id", changes.item_id, item_id)
        return await _changed(worker, _accepted(worker, _patched(_known(worker, item_id), changes), item_id))

    @routes.get("/v1/items/{item_id}", responses=PROBLEMS)
    async def get_item(item_id: PathId) -> Response:
        """Return an item as this worker knows it."""
        return Response(encode_item(_known(worker, item_id)), 200, media_type=JSON)

    @routes.delete("/v1/items/{item_id}", status_code=204, responses=TAKEDOWN)
    async def delete_item(item_id: PathId) -> Response:
        """Delete an item: once this is answered with 204, no worker shows it any more; 202 says which may still."""
        item = msgspec.structs.replace(_known(worker, item_id), deleted=True, updated_at=time.time())
        taken_down = await _taken_down(worker, item)
        return Response(status_code=204) if taken_down.status == 200 else _lagging(item, taken_down)

    @routes.post(
        "/v1/items:batch",
        status_code=202,
        responses={**PROBLEMS, 429: {"model": ProblemOut}},
        openapi_extra=takes(ItemBatchIn),
    )
    async def post_items(request: Request) -> Response:
        """Create or replace up to 1,000 items; one bad row never fails the others."""
        async with admitted_body(worker, request) as body:
            async with worker.admission.turn:
                items, errors = await _sorted(worker, body)
            if items:
                await _put(worker, items)
        answer = {"accepted": len(items), "rejected": len(errors), "errors": errors}
        return Response(msgspec.json.encode(answer), 202, media_type=JSON)


async def _sorted(worker: Worker, body: bytes) -> tuple[list[Item], list[dict[str, Any]]]:
    """Return the items of a batch, and why rows are none."""
    items: list[Item] = []
    errors: list[dict[str, Any]] = []
    for index, row in enumerate(parse_rows(body, "items", MAX_ITEMS)):
        if index % TURN_ROWS == TURN_ROWS - 1:
            await asyncio.sleep(0)
        try:
            document = ItemIn.model_validate(row)
        except ValidationError as error:
            errors.append({"index": index, **field_errors(error, ItemIn)[0]})
            continue
        if document.item_id is None:
            errors.append({"index": index, "code": "missing", "field": "item_id", "message": "give item_id"})
            continue
        items.append(_accepted(worker, document, document.item_id))
    return items, errors


def _add_users(routes: APIRouter, worker: Worker) -> None:
    @routes.put("/v1/users/{user_id}", responses=PROBLEMS, openapi_extra=takes(UserIn))
    async def put_user(user_id: PathId, request: Request) -> Response:
        """Create or replace what the caller tells about a user."""
        document = parse(UserIn, await read_body(request))
        same_id("user_id", document.user_id, user_id)
        user = accept_user(document, user_id=user_id, now=time.time())
        await keep(worker, [(USERS, worker.partition(user_key(user_id, None)), encode_user(user))])
        return Response(encode_user(user), 200, media_type=JSON)

    @routes.get("/v1/users/{user_id}", responses=PROBLEMS)
    async def get_user(user_id: PathId) -> Response:
        """Return what the stream knows of a user: affinities as they count now, session, marks, counters."""
        try:
            record = worker.record(user_key(user_id, None))
        except Unavailable:
            raise Problem(503, "state_away", "the state store does not answer; try again in a second") from None
        if record is None:
            raise Problem(404, "no_user", "there is nothing known of this user yet")
        return Response(msgspec.json.encode(described_user(worker, user_id, record)), 200, media_type=JSON)


def same_id(field: str, given: str | None, named: str) -> None:
    """Raise the 422 problem of a body that names another id than the path."""
    if given is not None and given != named:
        raise invalid(
            [{"code": "other_id", "field": field, "message": "differs from the one in the path; leave it out"}]
        )


def _known(worker: Worker, item_id: str) -> Item:
    item = worker.world.table.documents.get(item_id)
    if item is None or item.deleted:
        raise Problem(404, "no_item", "there is no such item; PUT it first")
    return item


def _accepted(worker: Worker, document: ItemIn, item_id: str) -> Item:
    known = worker.world.table.documents.get(item_id)
    created_at = known.created_at if known is not None else None
    return accept_item(document, item_id=item_id, now=time.time(), created_at=created_at)


def _patched(item: Item, changes: ItemIn) -> ItemIn:
    """Return an item's document with some fields changed."""
    known = msgspec.json.decode(encode_item(item))
    kept = {name: known[name] for name in ItemIn.model_fields if name in known}
    try:
        return ItemIn.model_validate({**kept, **changes.model_dump(exclude_unset=True)})
    except ValidationError as error:
        raise invalid(field_errors(error, ItemIn)) from None


async def _changed(worker: Worker, item: Item) -> Response:
    """Keep an item document; one that may not be shown now is waited for at every worker."""
    if item.is_eligible(time.time()):
        await _put(worker, [item])
    elif (taken_down := await _taken_down(worker, item)).status != 200:
        return _lagging(item, taken_down)
    return Response(encode_item(item), 200, media_type=JSON)


async def _put(worker: Worker, items: Sequence[Item]) -> None:
    """Keep item documents, and return when this worker shows them, so that a client reads what it wrote."""
    await keep(worker, [(ITEMS, 0, encode_item(item)) for item in items])
    last, until = items[-1], time.monotonic() + VISIBLE_S
    while worker.is_ready and not worker.appender.is_log_away and time.monotonic() < until:
        if _is_shown(worker, last):
            return
        await asyncio.sleep(LOOK_S)


async def _taken_down(worker: Worker, item: Item) -> Acknowledgement:
    await keep(worker, [(ITEMS, 0, encode_item(item))])
    return await acknowledged(worker, ITEMS, lambda: _is_shown(worker, item))


def _is_shown(worker: Worker, item: Item) -> bool:
    """Say whether this worker goes by an item document, or by a newer one."""
    known = worker.world.table.documents.get(item.item_id)
    return known is not None and known.updated_at >= item.updated_at


def _lagging(item: Item, taken_down: Acknowledgement) -> Response:
    answer = {"item_id": item.item_id, "applied_by": taken_down.applied_by, "lagging": taken_down.lagging}
    return Response(msgspec.json.encode(answer), taken_down.status, media_type=JSON)


def described_user(worker: Worker, user_id: str, record: UserRecord) -> dict[str, Any]:
    """Return a record in words: tables by name, forward weights as they count now (fastest half-life first)."""
    decay, now = worker.world.table.decay, time.time()
    affinities = {
        facet: {key: [round(w, 6) for w in decay.now(weights, now, record.landmark)] for key, weights in table.items()}
        for facet, table in zip(FACET_NAMES, complete(record).affinities, strict=True)
    }
    return {
        "user_id": user_id,
        "labels": record.labels,
        "context": record.context,
        "half_lives_s": decay.half_lives,
        "affinities": affinities,
        "recent": [
            {"item_id": t.item_id, "event_type": EVENT_TYPES[t.type_code], "timestamp": t.time} for t in record.recent
        ],
        "in_cart": in_cart(record),
        "purchased": list(record.purchased),
        "hidden": list(record.hidden),
        "shown": record.shown,
        "events": {EVENT_TYPES[code]: count for code, count in record.counts.items()},
        "clamped": record.clamped,
        "dropped_late": record.dropped_late,
        "position": record.position,
    }
