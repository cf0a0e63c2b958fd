"""A slate that was served, by its id: from the worker's memory, the log, or the warehouse."""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode
from contextlib import closing

import msgspec

from online.core.join import SLATES
from online.ports import EventLog, LogError, Unavailable, Warehouse
from schemas.fields import guarded
from schemas.slate import Slate, decode_slate

from .problem import Problem
from .warehouse import from_warehouse
from .worker import Worker

EARLIER_S = 2.0  # the clocks of a worker and of the log may be so far apart
LATER_S = 60.0  # what was shipped later than that is looked up in the warehouse
READ, MOST_READ = 500, 20_000  # messages at once, and at most

_ID = re.compile(r"([0-9a-f]{1,4})-([0-9a-f]{11})[0-9a-f]{16}")
_BY_ID = """
SELECT base64Encode(payload) FROM slates
WHERE day = toDate(toDateTime({at:UInt32}, 'UTC')) AND recommendation_id = {id:String} LIMIT 1
"""


class _Named(msgspec.Struct):
    """What is looked at of each slate."""

    recommendation_id: str = ""
    served_at: float = 0.0


_named = guarded(msgspec.msgpack.Decoder(_Named).decode)


def is_recommendation_id(text: str) -> bool:
    """Say whether a text has the form of a slate's id.

    >>> is_recommendation_id("3-0199f0a3b2c00112233445566aa"), is_recommendation_id("7")
    (True, False)
    """
    return _ID.fullmatch(text) is not None


async def find_slate(worker: Worker, recommendation_id: str) -> Slate:
    """Return a slate that was served.

    Raises:
        Problem: 404, there is none; 503, where it may be does not answer.
    """
    named = _ID.fullmatch(recommendation_id)
    if named is None or int(named[1], 16) >= worker.partitions:
        raise _no_slate()
    encoded = worker.served.get(recommendation_id)
    if encoded is not None:
        return decode_slate(encoded)
    partition, at = int(named[1], 16), int(named[2], 16) / 1000.0
    away = ""
    try:
        encoded = await asyncio.to_thread(_logged, worker, recommendation_id, partition, at)
    except (Unavailable, LogError) as error:
        away = str(error)
    if encoded is None:
        encoded = await from_warehouse(worker, lambda warehouse: _archived(warehouse, recommendation_id, at))
    if encoded is None and away:
        raise Problem(503, "log_away", f"the slate is not in the warehouse, and the log cannot be read: {away}")
    if encoded is None:
        raise _no_slate()
    return decode_slate(encoded)


def _no_slate() -> Problem:
    return Problem(404, "no_slate", "there is no such slate, or it has just been served and is on its way")


def _logged(worker: Worker, recommendation_id: str, partition: int, at: float) -> bytes | None:
    with closing(worker.ports.open_log()) as log:
        return _read(log, recommendation_id, partition, at)


def _read(log: EventLog, recommendation_id: str, partition: int, at: float) -> bytes | None:
    key = (SLATES, partition)
    after, read = {key: log.before(*key, at - EARLIER_S)}, 0
    while read < MOST_READ and (batches := log.read(after, max_messages=READ, wait_s=0.0)):
        for message in (message for batch in batches for message in batch.messages):
            try:
                slate = _named(message.payload)
            except msgspec.MsgspecError:  # not ours
                continue
            if slate.recommendation_id == recommendation_id:
                return message.payload
            if slate.served_at > at + LATER_S:
                return None
        after[key] = batches[-1].messages[-1].position
        read += sum(len(batch.messages) for batch in batches)
    return None


def _archived(warehouse: Warehouse, recommendation_id: str, at: float) -> bytes | None:
    rows = warehouse.query(_BY_ID, {"id": recommendation_id, "at": int(at)})
    return b64decode(rows[0][0]) if rows else None
