"""What is held of one user: handed out, and erased."""

from __future__ import annotations

import asyncio
import time
import uuid
from base64 import b64decode
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from online.core.partition import EVENTS, USERS
from online.ports import Unavailable, Warehouse
from schemas.erasure import Erased, ErasureOut, StoreOut, encode_erased
from schemas.event import user_key
from schemas.move import ids

from .acknowledgement import keep
from .body import JSON, PathId
from .catalogue import described_user
from .preferences import LOOK_S, PATIENCE_S, described
from .problem import Problem, ProblemOut
from .spool import Spooled
from .warehouse import from_warehouse
from .worker import Worker

MOST_EVENTS = 1000
PROBLEMS: dict[int | str, dict[str, Any]] = {code: {"model": ProblemOut} for code in (404, 422, 503)}

_EVENTS = """
SELECT base64Encode(payload) FROM events WHERE user_key IN {keys:Array(String)}
  AND event_type NOT IN ('absorb', 'forwarded', 'arrived', 'departed')
ORDER BY timestamp DESC, position DESC LIMIT {most:UInt32}
"""
_MERGED = """
SELECT DISTINCT JSONExtractString(payload, 'visitor_id') FROM events
WHERE event_type = 'merge' AND JSONExtractString(payload, 'user_id') = {id:String} LIMIT 10000
"""
_COUNTS = {
    "archive: events": "SELECT count() FROM events WHERE user_key IN {keys:Array(String)}",
    "archive: slates": "SELECT uniqExact(recommendation_id) FROM slates WHERE user_key IN {keys:Array(String)}",
    "archive: user documents": "SELECT count() FROM documents WHERE topic = 'users' AND id = {id:String}",
}


class ExportOut(BaseModel):
    """All that is used of a user, and the latest events in the archive; `record` is null where there is none."""

    user_id: str
    exported_at: float
    record: dict[str, Any] | None
    preferences: dict[str, Any]
    events: list[dict[str, Any]]
    more_events: bool


def router(worker: Worker) -> APIRouter:
    """Return the routes of a user's data as a whole."""
    routes = APIRouter(tags=["Catalogue and users"])

    @routes.get("/v1/users/{user_id}/export", response_model=ExportOut, responses=PROBLEMS)
    async def export(user_id: PathId) -> Response:
        """Return what is known of a user: the record, what the user wants, and the latest 1,000 events."""
        record = _record(worker, user_key(user_id, None))
        rows = await from_warehouse(worker, lambda warehouse: _events(warehouse, user_id))
        if record is None and not rows:
            raise Problem(404, "no_user", "there is nothing known of this user")
        document = {
            "user_id": user_id,
            "exported_at": time.time(),
            "record": None if record is None else described_user(worker, user_id, record),
            "preferences": described(record),
            "events": [msgspec.Raw(row) for row in rows[:MOST_EVENTS]],
            "more_events": len(rows) > MOST_EVENTS,
        }
        return Response(msgspec.json.encode(document), media_type=JSON)

    @routes.delete("/v1/users/{user_id}", response_model=ErasureOut, responses={**PROBLEMS, 202: {"model": ErasureOut}})
    async def erase(user_id: PathId, request: Request, dry_run: Annotated[bool, Query()] = False) -> Response:
        """Erase a user's record and those of visitors it was, or only count. 200: they are gone; 202: they will be."""
        records, counts = await _held(worker, user_id)
        stores = [StoreOut(store="records", count=_count(worker, records), erased=not dry_run)]
        stores += [StoreOut(store=name, count=count, erased=False) for name, count in counts.items()]
        now, receipt_id = time.time(), None if dry_run else uuid.uuid4().hex
        is_reflected = receipt_id is not None and await _erased(worker, records, receipt_id, now)
        answer = ErasureOut(receipt_id=receipt_id, user_id=user_id, at=now, reflected=is_reflected, stores=stores)
        status = 200 if dry_run or is_reflected else 202
        return Response(answer.model_dump_json(), status, media_type=JSON)

    return routes


def _events(warehouse: Warehouse, user_id: str) -> list[bytes]:
    """Return the latest events of a user and of the visitors that have become it, without copies of what they hold."""
    rows = warehouse.query(_EVENTS, {"keys": _keys(warehouse, user_id), "most": MOST_EVENTS + 1})
    return [b64decode(payload) for (payload,) in rows]


def _keys(warehouse: Warehouse, user_id: str) -> list[str]:
    visitors = [visitor for (visitor,) in warehouse.query(_MERGED, {"id": user_id})]
    return [user_key(user_id, None), *(user_key(None, visitor) for visitor in visitors)]


def _record(worker: Worker, key: str) -> Any:
    try:
        return worker.record(key)
    except Unavailable:
        raise Problem(503, "state_away", "the state store does not answer; try again in a second") from None


def _count(worker: Worker, keys: list[str]) -> int:
    return sum(_record(worker, key) is not None for key in keys)


async def _held(worker: Worker, user_id: str) -> tuple[list[str], dict[str, int | None]]:
    """Return the keys of the user and of the visitors it was, and what the archive holds of all, None where unknown."""

    def counted(warehouse: Warehouse) -> tuple[list[str], dict[str, int | None]]:
        keys = _keys(warehouse, user_id)
        found = {name: warehouse.query(sql, {"keys": keys, "id": user_id})[0][0] for name, sql in _COUNTS.items()}
        return keys, {name: int(count) for name, count in found.items()}

    try:
        return await from_warehouse(worker, counted)
    except Problem:  # the record is to be erased all the same
        return [user_key(user_id, None)], dict.fromkeys(_COUNTS)


async def _erased(worker: Worker, keys: list[str], receipt_id: str, now: float) -> bool:
    """Say that all of it is to be forgotten; return whether the first, the user's, is gone within `PATIENCE_S`."""
    messages: list[Spooled] = []
    for user_id, visitor_id in map(ids, keys):
        said = Erased(event_id=receipt_id, timestamp=now, received_at=now, user_id=user_id, visitor_id=visitor_id)
        partition, payload = worker.partition(said.user_key), encode_erased(said)
        messages += [(EVENTS, partition, payload), (USERS, partition, payload)]
        worker.remembered.note(said.user_key, None)
    await keep(worker, messages)
    until = time.monotonic() + PATIENCE_S
    while not worker.appender.is_log_away and time.monotonic() < until:
        try:
            record = worker.record(keys[0])
        except Unavailable:
            return False
        if record is None or (not record.labels_time and not record.last_time and record.controls is None):
            return True
        await asyncio.sleep(LOOK_S)
    return False
