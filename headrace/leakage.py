"""`headrace audit leakage`: the check over every slate and event of a system, from archive and log."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import msgspec

from headrace.rebuild.target import opened
from headrace.settings import Settings
from online.core.join import SLATES
from online.core.partition import EVENTS
from online.core.record import TYPE_CODES
from online.ports import START, EventLog, Message, Warehouse
from replay.history import CHUNK, history, logged
from replay.leakage import LeakageAudit
from schemas.event import decode_event
from schemas.slate import decode_slate

_SLATES = """
SELECT position, base64Encode(payload) FROM slates
WHERE partition = {partition:UInt16} AND position > {after:String} ORDER BY position LIMIT {chunk:UInt32}
"""


def audit_leakage(settings: Settings) -> dict[str, Any]:
    """Check all that a system, running or stopped, has recorded.

    Raises:
        SettingsError: there is no such data directory, or a service given by URL does not answer.
    """
    with opened(settings) as (ports, partitions):
        return audit_history(ports.log, ports.warehouse, partitions)


def audit_history(log: EventLog, warehouse: Warehouse, partitions: int) -> dict[str, Any]:
    """Check all slates, then all events of a log and its archive."""
    audit, unreadable = LeakageAudit(), 0
    for payload in _slates(log, warehouse, partitions):
        try:
            audit.take_slate(decode_slate(payload))
        except msgspec.MsgspecError:
            unreadable += 1
    for message in _events(log, warehouse, partitions):
        try:
            event = decode_event(message.payload)
        except msgspec.MsgspecError:
            unreadable += 1
            continue
        if event.event_type in TYPE_CODES:  # else a merge or a move
            audit.take_event(event, message.position)
    return audit.report() | {"unreadable": unreadable}


def _slates(log: EventLog, warehouse: Warehouse, partitions: int) -> Iterator[bytes]:
    """Yield what is archived, then what the log holds: one of both comes twice."""
    for partition in range(partitions):
        after = START
        while rows := warehouse.query(_SLATES, {"partition": partition, "after": after, "chunk": CHUNK}):
            yield from (b64decode(payload) for _, payload in rows)
            after = rows[-1][0]
        for batch in logged(log, SLATES, partition):
            yield from (message.payload for message in batch.messages)


def _events(log: EventLog, warehouse: Warehouse, partitions: int) -> Iterator[Message]:
    for partition in range(partitions):
        for batch in history(log, warehouse, EVENTS, partition, None):
            yield from batch.messages
