"""Catalogue and user documents: what clients tell about items and users."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request, Response
from pydantic import Field, ValidationError
from pydantic_core import from_json

from online.core.catalogue import ITEMS
from online.core.partition import USERS
from online.core.record import UserRecord
from online.ports import Unavailable
from schemas.event import EVENT_TYPES, user_key
from schemas.fields import Edge
from schemas.item import Item, ItemIn, accept_item, encode_item
from schemas.user import UserIn, accept_user, encode_user

from .appender import Refused
from .body import parse, read_body, takes
from .problem import Problem, ProblemOut, field_errors, invalid
from .spool import Spooled
from .worker import Worker

MAX_ITEMS = 1000
JSON = "application/json"

ItemId = Annotated[str, Path(min_length=1, max_length=256)]
PROBLEMS: dict[int | str, dict[str, Any]] = {404: {"model": ProblemOut}, 422: {"model": ProblemOut}}


class ItemBatchIn(Edge):
    """A batch of items, each with its item_id."""

    items: Annotated[list[ItemIn], Field(min_length=1, max_length=MAX_ITEMS)]


def router(worker: Worker) -> APIRouter:
    """Return the routes of items and users."""
    routes = APIRouter(tags=["Catalogue and users"])
    table = worker.world.table

    async def keep(messages: Sequence[Spooled]) -> None:
        try:
            await worker.appender.append(messages)
        except Refused as error:
            raise Problem(503, "not_kept", f"{error}; send it again later") from None

    async def put(items: Sequence[Item]) -> None:
        await keep([(ITEMS, 0, encode_item(item)) for item in items])

    def accepted(document: ItemIn, item_id: str) -> Item:
        known = table.documents.get(item_id)
        created_at = known.created_at if known is not None else None
        return accept_item(document, item_id=item_id, now=time.time(), created_at=created_at)

    def known_item(item_id: str) -> Item:
        item = table.documents.get(item_id)
        if item is None or item.deleted:
            raise Problem(404, "no_item", "there is no such item; PUT it first")
        return item

    @routes.put("/v1/items/{item_id}", responses=PROBLEMS, openapi_extra=takes(ItemIn))
    async def put_item(item_id: ItemId, request: Request) -> Response:
        """Create or replace an item."""
        item = accepted(parse(ItemIn, await read_body(request)), item_id)
        await put([item])
        return Response(encode_item(item), 200, media_type=JSON)

    @routes.patch("/v1/items/{item_id}", responses=PROBLEMS, openapi_extra=takes(ItemIn))
    async def patch_item(item_id: ItemId, request: Request) -> Response:
        """Change some fields of an item; the others stay."""
        known = msgspec.to_builtins(known_item(item_id))
        changes = parse(ItemIn, await read_body(request)).model_dump(exclude_unset=True)
        kept = {name: known[name] for name in ItemIn.model_fields if name in known}
        try:
            document = ItemIn.model_validate({**kept, **changes})
        except ValidationError as error:
            raise invalid(field_errors(error, ItemIn)) from None
        item = accepted(document, item_id)
        await put([item])
        return Response(encode_item(item), 200, media_type=JSON)

    @routes.get("/v1/items/{item_id}", responses=PROBLEMS)
    async def get_item(item_id: ItemId) -> Response:
        """Return an item as this worker knows it."""
        return Response(encode_item(known_item(item_id)), 200, media_type=JSON)

    @routes.delete("/v1/items/{item_id}", status_code=204, responses=PROBLEMS)
    async def delete_item(item_id: ItemId) -> Response:
        """Delete an item: it is shown to nobody any more."""
        item = known_item(item_id)
        await put([msgspec.structs.replace(item, deleted=True, updated_at=time.time())])
        return Response(status_code=204)

    @routes.post("/v1/items:batch", status_code=202, responses=PROBLEMS, openapi_extra=takes(ItemBatchIn))
    async def post_items(request: Request) -> Response:
        """Create or replace up to 1,000 items; one bad row never fails the others."""
        items, errors = [], []
        for index, row in enumerate(_item_rows(await read_body(request))):
            try:
                document = ItemIn.model_validate(row)
            except ValidationError as error:
                errors.append({"index": index, **field_errors(error, ItemIn)[0]})
                continue
            if document.item_id is None:
                errors.append({"index": index, "code": "missing", "field": "item_id", "message": "give item_id"})
                continue
            items.append(accepted(document, document.item_id))
        if items:
            await put(items)
        answer = {"accepted": len(items), "rejected": len(errors), "errors": errors}
        return Response(msgspec.json.encode(answer), 202, media_type=JSON)

    @routes.put("/v1/users/{user_id}", responses=PROBLEMS, openapi_extra=takes(UserIn))
    async def put_user(user_id: ItemId, request: Request) -> Response:
        """Create or replace what the caller tells about a user."""
        user = accept_user(parse(UserIn, await read_body(request)), user_id=user_id, now=time.time())
        key = user_key(user_id, None)
        await keep([(USERS, worker.partition(key), encode_user(user))])
        return Response(encode_user(user), 200, media_type=JSON)

    @routes.get("/v1/users/{user_id}", responses=PROBLEMS)
    async def get_user(user_id: ItemId) -> Response:
        """Return what the stream knows of a user: affinities as they count now, session, marks, counters."""
        try:
            record = worker.record(user_key(user_id, None))
        except Unavailable:
            raise Problem(503, "state_away", "the state store does not answer; try again in a second") from None
        if record is None:
            raise Problem(404, "no_user", "there is nothing known of this user yet")
        return Response(msgspec.json.encode(_described(worker, user_id, record)), 200, media_type=JSON)

    return routes


def _item_rows(body: bytes) -> list[Any]:
    try:
        document = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise invalid([{"code": "json_invalid", "field": "", "message": str(error)[:200]}]) from None
    rows = document.get("items") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not rows:
        raise invalid([{"code": "invalid", "field": "items", "message": "a batch is an object with a list: items"}])
    if len(rows) > MAX_ITEMS:
        raise Problem(413, "too_many_items", f"a batch holds at most {MAX_ITEMS} items, not {len(rows)}")
    return rows


def _described(worker: Worker, user_id: str, record: UserRecord) -> dict[str, Any]:
    """Return a record in words: tables by name, forward weights as they count now (fastest half-life first)."""
    decay, now = worker.world.table.decay, time.time()
    affinities = {
        facet: {key: [round(w, 6) for w in decay.now(weights, now, record.landmark)] for key, weights in table.items()}
        for facet, table in zip(("items", "categories", "brands", "price_tiers"), record.affinities, strict=True)
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
        "in_cart": [item for item, time_ in record.carted.items() if time_ > 0],
        "purchased": list(record.purchased),
        "hidden": list(record.hidden),
        "events": {EVENT_TYPES[code]: count for code, count in record.counts.items()},
        "position": record.position,
    }
