"""The whole history of a partition: the archive for what the log no longer holds, then the log."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator

from online.core.rows import TABLES
from online.ports import START, Batch, EventLog, Message, Position, Warehouse

CHUNK = 5000

# Base64: what is no UTF-8, such as a message that was dead-lettered, comes as other text from some clients
_ARCHIVED = """
SELECT position, base64Encode(payload) FROM {table}
WHERE topic = {{topic:String}} AND partition = {{partition:UInt16}}
  AND position > {{after:String}} AND ({{before:String}} = '' OR position < {{before:String}})
ORDER BY position LIMIT {{chunk:UInt32}}
"""


def history(
    log: EventLog, warehouse: Warehouse, topic: str, partition: int, until: Position | None, after: Position = START
) -> Iterator[Batch]:
    """Yield every message of a partition behind `after`, in order, up to and including `until` (None: to the head)."""
    while batch := _next(log, warehouse, topic, partition, after):
        batch = batch if until is None else _through(batch, until)
        if not batch.messages:
            return
        yield batch
        after = batch.messages[-1].position


def _next(log: EventLog, warehouse: Warehouse, topic: str, partition: int, after: Position) -> Batch | None:
    """Return the messages right behind a position; None at the head of the log."""
    while True:
        first = log.extent(topic, partition).first
        if first == START or after < first:
            rest = archived(warehouse, topic, partition, first, after)
            if batch := next(rest, None):
                return batch
        batches = log.read({(topic, partition): after}, max_messages=CHUNK, wait_s=0.0)
        if log.extent(topic, partition).first == first:  # else what lay between may just have been trimmed
            return batches[0] if batches else None


def archived(
    warehouse: Warehouse, topic: str, partition: int, before: Position, after: Position = START
) -> Iterator[Batch]:
    """Yield the archived messages behind `after` and in front of `before`; up to the last one when that is START."""
    while True:
        rows = warehouse.query(
            _ARCHIVED.format(table=TABLES[topic].name),
            {"topic": topic, "partition": partition, "after": after, "before": before, "chunk": CHUNK},
        )
        if not rows:
            return
        yield Batch(topic, partition, [Message(position, b64decode(payload)) for position, payload in rows])
        after = rows[-1][0]


def logged(log: EventLog, topic: str, partition: int, after: Position = START) -> Iterator[Batch]:
    """Yield what the log holds behind a position, up to its head."""
    while batches := log.read({(topic, partition): after}, max_messages=CHUNK, wait_s=0.0):
        yield from batches
        after = batches[-1].messages[-1].position


def _through(batch: Batch, until: Position) -> Batch:
    if batch.messages[-1].position <= until:
        return batch
    return batch._replace(messages=[m for m in batch.messages if m.position <= until])
