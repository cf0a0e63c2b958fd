"""The whole history of a partition: the archive for what the log no longer holds, then the log."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator

from online.core.catalogue import ITEMS
from online.core.partition import USERS
from online.ports import START, Batch, EventLog, Message, Position, Warehouse

CHUNK = 5000

# Base64: what is no UTF-8, such as a message that was dead-lettered, comes as other text from some clients
_ARCHIVED = """
SELECT position, base64Encode(payload) FROM {table}
WHERE topic = {{topic:String}} AND partition = {{partition:UInt16}}
  AND position > {{after:String}} AND ({{before:String}} = '' OR position < {{before:String}})
ORDER BY position LIMIT {{chunk:UInt32}}
"""


def history(log: EventLog, warehouse: Warehouse, topic: str, partition: int, until: Position) -> Iterator[Batch]:
    """Yield every message of a partition up to and including `until`, in order."""
    after = START
    for batch in archived(warehouse, topic, partition, log.extent(topic, partition).first):
        batch = _through(batch, until)
        if not batch.messages:
            return
        yield batch
        after = batch.messages[-1].position
    for batch in logged(log, topic, partition, after):
        batch = _through(batch, until)
        if not batch.messages:
            return
        yield batch


def archived(warehouse: Warehouse, topic: str, partition: int, before: Position) -> Iterator[Batch]:
    """Yield the archived messages in front of a position; all of them when it is START."""
    table = "documents" if topic in (ITEMS, USERS) else "events"
    after = START
    while True:
        rows = warehouse.query(
            _ARCHIVED.format(table=table),
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
