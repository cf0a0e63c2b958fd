"""A Bytewax source over the event log: each item is one batch of one partition, the unit of commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from queue import Empty, Queue
from threading import Event, Thread
from typing import Protocol

from bytewax.inputs import DynamicSource, StatelessSourcePartition

from online.ports import Batch, EventLog, Position, Unavailable

BATCH_MESSAGES = 2000
READ_WAIT_S = 2.0
RETRY_S = 0.2
QUEUED_BATCHES = 4  # read ahead of the fold
IDLE_WAIT_S = 0.5  # between looks whether partitions are to come or go; a batch ends the wait
TICK = ""
"""The topic of the empty batches that a source with `tick_s` gives in between."""
MOVE = "\0"
"""The topic of the empty batch that asks the dataflow to adopt and release partitions."""


class Work(Protocol):
    """What is to be read; partitions come and go while the source runs."""

    moves: int
    """How often partitions have come or gone so far."""

    def is_due(self) -> bool:
        """Say whether partitions are to come or go before anything more is read."""
        ...

    def positions(self) -> Mapping[tuple[str, int], Position]:
        """Return behind which position each (topic, partition) is to be read."""
        ...


class LogSource(DynamicSource[Batch]):
    """Batches of what a work names, for ever, or until `stop_at_head` and every partition is read.

    When partitions are to come or go, a `MOVE` passes through the dataflow behind every batch given before, and only
    once it is done reading starts anew behind the positions that then hold.
    """

    def __init__(
        self,
        open_log: Callable[[], EventLog],
        work: Work,
        *,
        batch_messages: int = BATCH_MESSAGES,
        stop_at_head: bool = False,
        tick_s: float | None = None,
    ) -> None:
        self._open_log, self._work = open_log, work
        self._batch_messages = batch_messages
        self._stop_at_head = stop_at_head
        self._tick_s = tick_s

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatelessSourcePartition[Batch]:
        if worker_count != 1:
            msg = f"{step_id}: run independent processes instead of {worker_count} workers of one"
            raise ValueError(msg)

        def read() -> _LogReader:
            return _LogReader(self._open_log, self._work.positions(), self._batch_messages, self._stop_at_head)

        return _Batches(read, self._work, self._tick_s)


class _Batches(StatelessSourcePartition[Batch]):
    def __init__(self, read: Callable[[], _LogReader], work: Work, tick_s: float | None) -> None:
        self._read, self._work = read, work
        self._tick_s, self._ticked = tick_s, time.monotonic()
        self._reader = read()
        self._awaited: int | None = None  # this many moves, before reading goes on
        self._busy = False

    def next_batch(self) -> list[Batch]:
        if self._awaited is not None:
            if self._work.moves < self._awaited:
                return []
            self._reader, self._awaited = self._read(), None
        if self._work.is_due():
            self._reader.close()
            self._awaited = self._work.moves + 1
            return [Batch(MOVE, 0, [])]
        if self._tick_s is not None and time.monotonic() - self._ticked >= self._tick_s:
            self._ticked = time.monotonic()
            return [Batch(TICK, 0, [])]
        # Right after a batch the dataflow still has work downstream: do not block in front of it.
        batch = self._reader.next(0.0 if self._busy else self._wait_s())
        self._busy = batch is not None
        return [] if batch is None else [batch]

    def _wait_s(self) -> float:
        if self._tick_s is None:
            return IDLE_WAIT_S
        return min(IDLE_WAIT_S, max(0.0, self._ticked + self._tick_s - time.monotonic()))

    def close(self) -> None:
        self._reader.close()


class _LogReader:
    """One thread blocks in the log for all partitions: polling idle ones would burn a core."""

    def __init__(
        self,
        open_log: Callable[[], EventLog],
        after: Mapping[tuple[str, int], Position],
        batch_messages: int,
        stop_at_head: bool,
    ) -> None:
        self._log, self._after = open_log(), dict(after)
        self._batch_messages, self._stop_at_head = batch_messages, stop_at_head
        self._queue: Queue[Batch | Exception | None] = Queue(QUEUED_BATCHES)
        self._closing = Event()
        self._thread = Thread(target=self._pump, name="log-reader", daemon=True)
        self._thread.start()

    def next(self, wait_s: float) -> Batch | None:
        """Return the next batch; None when none comes within `wait_s`.

        Raises:
            StopIteration: all is read.
        """
        try:
            item = self._queue.get(timeout=wait_s) if wait_s > 0.0 else self._queue.get_nowait()
        except Empty:
            return None
        if item is None:
            raise StopIteration
        if isinstance(item, Exception):
            raise item
        return item

    def _pump(self) -> None:
        try:
            while not self._closing.is_set():
                batches = self._read()
                if not batches and self._stop_at_head:
                    break
                for batch in batches:
                    self._after[batch.topic, batch.partition] = batch.messages[-1].position
                    self._put(batch._replace(read_at=time.time()))
            self._put(None)
        except Exception as error:  # noqa: BLE001  handed to the dataflow's thread, which raises it
            self._put(error)
        finally:
            self._log.close()

    def _put(self, item: Batch | Exception | None) -> None:
        if not self._closing.is_set():
            self._queue.put(item)

    def _read(self) -> list[Batch]:
        wait_s = 0.0 if self._stop_at_head else READ_WAIT_S
        while not self._closing.is_set():
            if not self._after:
                self._closing.wait(wait_s)
                return []
            try:
                return self._log.read(self._after, max_messages=self._batch_messages, wait_s=wait_s)
            except Unavailable:
                self._closing.wait(RETRY_S)
        return []

    def close(self) -> None:
        """End the thread, which may still wait in the log; what it has read ahead is forgotten."""
        self._closing.set()
        while not self._queue.empty():
            self._queue.get_nowait()
