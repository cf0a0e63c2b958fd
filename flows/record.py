"""The record flow: the log -> ClickHouse, each message exactly once, in large blocks.

Before a range of the log is inserted, the range itself is committed to the state store. After a crash exactly that
range is read and inserted again, under the same tokens, so the warehouse drops what it already has.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence, Set
from functools import partial
from importlib.resources import files

import msgspec

from online.core.catalogue import ITEMS
from online.core.control import CONTROL
from online.core.dead_letter import DEAD, VERDICTS
from online.core.example import EXAMPLES
from online.core.join import SLATES
from online.core.partition import EVENTS, USERS
from online.core.rows import TABLES, blocks
from online.core.shadow import SHADOWS
from online.ports import START, Batch, EventLog, Fenced, Message, Position, StateStore, Warehouse

from .log_source import TICK
from .view import retried

logger = logging.getLogger(__name__)

RECORD_VIEW = "record"
FLUSH_MESSAGES = 5000
FLUSH_S = 1.0


class RecordCheckpoint(msgspec.Struct, array_like=True):
    """By topic: the last recorded position, and the end of the range that is being inserted."""

    recorded: dict[str, Position] = {}
    intended: dict[str, Position] = {}


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(RecordCheckpoint).decode


def decode_record_checkpoint(payload: bytes | None) -> RecordCheckpoint:
    """Return the stored checkpoint, or the one before the first message."""
    return RecordCheckpoint() if payload is None else _decode(payload)


def create_tables(warehouse: Warehouse) -> None:
    """Create the tables that are not there yet, and the columns that older ones lack."""
    for name in sorted({table.name for table in TABLES.values()}):
        statements = files("online.tables").joinpath(f"{name}.sql").read_text(encoding="utf-8")
        for statement in statements.split(";\n"):
            retried(warehouse.execute, statement)


class RecordView:
    """Buffers what each partition brings and inserts it when there is much, or when a second has passed."""

    topics: Sequence[str] = (EVENTS, USERS, SLATES, ITEMS, EXAMPLES, DEAD, VERDICTS, CONTROL, SHADOWS, TICK)

    def __init__(
        self,
        *,
        state: StateStore,
        log: EventLog,
        warehouse: Warehouse,
        partitions: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state, self._log, self._warehouse, self._clock = state, log, warehouse, clock
        self._keys = [(topic, p) for topic in (EVENTS, USERS, SLATES) for p in range(partitions)]
        self._keys += [(topic, 0) for topic in (ITEMS, EXAMPLES, DEAD, VERDICTS, CONTROL, SHADOWS)]
        self._buffers: dict[tuple[str, int], list[Message]] = {}
        self._flushed_at = clock()
        self._generations: dict[int, int] = {}
        self._checkpoints: dict[int, RecordCheckpoint] = {}
        self.partitions = range(partitions)
        create_tables(warehouse)

    @property
    def adopted(self) -> Set[int]:
        """The partitions this process keeps; one whose owner is now another is not among them."""
        return self._checkpoints.keys()

    def adopt(self, partition: int) -> None:
        """Become a partition's recorder, and finish what the last one had begun."""
        claim = retried(self._state.claim, RECORD_VIEW, partition)
        self._generations[partition] = claim.generation
        self._checkpoints[partition] = decode_record_checkpoint(claim.checkpoint)
        self._unless_fenced(partition, partial(self._finish, partition))

    def release(self, partition: int) -> None:
        """Insert what is buffered of a partition and forget it."""
        for key in [key for key in self._buffers if key[1] == partition]:
            self._flush(*key)
        self._forget(partition)

    def positions(self) -> dict[tuple[str, int], Position]:
        """Return behind which position each (topic, partition) is to be read: what is buffered counts as read."""
        found = {}
        for topic, partition in self._keys:
            if partition in self._checkpoints:
                buffered = self._buffers.get((topic, partition))
                found[topic, partition] = buffered[-1].position if buffered else self._recorded(topic, partition)
        return found

    def recorded(self, topic: str, partition: int) -> Position | None:
        """Return up to where a topic's partition is in the warehouse; None for a topic that is not recorded."""
        if (topic, partition) not in self._keys:
            return None
        return self._recorded(topic, partition)

    def _recorded(self, topic: str, partition: int) -> Position:
        checkpoint = self._checkpoints.get(partition)
        return START if checkpoint is None else checkpoint.recorded.get(topic, START)

    def step(self, batch: Batch) -> Callable[[], None]:
        """Buffer a batch; the commit inserts what is due."""
        if batch.messages and batch.partition in self._checkpoints:
            self._buffers.setdefault((batch.topic, batch.partition), []).extend(batch.messages)
        return self._flush_when_due

    def _flush_when_due(self) -> None:
        now = self._clock()
        is_time = now - self._flushed_at >= FLUSH_S
        for key in [k for k, messages in self._buffers.items() if is_time or len(messages) >= FLUSH_MESSAGES]:
            self._flush(*key)
        if is_time:
            self._flushed_at = now

    def _flush(self, topic: str, partition: int) -> None:
        messages = self._buffers.pop((topic, partition), None)
        if messages is not None:  # else a flush before found another owner
            self._unless_fenced(partition, partial(self._record, Batch(topic, partition, messages)))

    def _unless_fenced(self, partition: int, call: Callable[[], None]) -> None:
        try:
            call()
        except Fenced as fenced:
            logger.warning("%s", fenced)
            self._forget(partition)

    def _forget(self, partition: int) -> None:
        self._checkpoints.pop(partition, None)
        self._buffers = {key: messages for key, messages in self._buffers.items() if key[1] != partition}

    def _record(self, batch: Batch) -> None:
        checkpoint, end = self._checkpoints[batch.partition], batch.messages[-1].position
        checkpoint.intended[batch.topic] = end
        self._commit(batch.partition)
        for block in blocks(batch):
            table = block.table
            retried(self._warehouse.insert, table.name, table.columns, block.rows, token=block.token)
        checkpoint.recorded[batch.topic] = end
        del checkpoint.intended[batch.topic]
        self._commit(batch.partition)

    def _finish(self, partition: int) -> None:
        """Insert again exactly the ranges that were being inserted when the last owner ended."""
        checkpoint = self._checkpoints[partition]
        for topic, end in list(checkpoint.intended.items()):
            self._record(Batch(topic, partition, self._range(topic, partition, end)))

    def _range(self, topic: str, partition: int, end: Position) -> list[Message]:
        after = self._checkpoints[partition].recorded.get(topic, START)
        found: list[Message] = []
        while after < end:
            behind = {(topic, partition): after}
            batches = retried(self._log.read, behind, max_messages=FLUSH_MESSAGES, wait_s=0.0)
            if not batches:
                break
            found += batches[0].messages
            after = found[-1].position
        return [message for message in found if message.position <= end]

    def _commit(self, partition: int) -> None:
        payload = _encode(self._checkpoints[partition])
        retried(self._state.commit, RECORD_VIEW, partition, self._generations[partition], {}, payload)
