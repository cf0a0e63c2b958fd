"""A Bytewax source over the event log: each item is one batch of one partition, the unit of commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from queue import Empty, Queue
from threading import Event, Thread

from bytewax.inputs import DynamicSource, StatelessSourcePartition

from online.ports import Batch, EventLog, Position, Unavailable

BATCH_MESSAGES = 2000
READ_WAIT_S = 1.0
RETRY_S = 0.2
QUEUED_BATCHES = 4  # read ahead of the fold
IDLE_WAIT_S = 0.05
TICK = ""
"""The topic of the empty batches that a source with `tick_s` gives in between."""


class LogSource(DynamicSource[Batch]):
    """Batches behind the given positions, for ever, or until `stop_at_head` and every partition is read."""

    def __init__(
        self,
        open_log: Callable[[], EventLog],
        after: Mapping[tuple[str, int], Position],
        *,
        batch_messages: int = BATCH_MESSAGES,
        stop_at_head: bool = False,
        tick_s: float | None = None,
    ) -> None:
        self._open_log = open_log
        self._after = dict(after)
        self._batch_messages = batch_messages
        self._stop_at_head = stop_at_head
        self._tick_s = tick_s

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatelessSourcePartition[Batch]:
        if worker_count != 1:
            msg = f"{step_id}: run independent processes instead of {worker_count} workers of one"
            raise ValueError(msg)
        return _LogReader(self._open_log(), self._after, self._batch_messages, self._stop_at_head, self._tick_s)


class _LogReader(StatelessSourcePartition[Batch]):
    """One thread blocks in the log for all partitions: polling idle ones would burn a core."""

    def __init__(
        self,
        log: EventLog,
        after: dict[tuple[str, int], Position],
        batch_messages: int,
        stop_at_head: bool,
        tick_s: float | None,
    ) -> None:
        self._log, self._after = log, after
        self._tick_s, self._ticked = tick_s, time.monotonic()
        self._batch_messages, self._stop_at_head = batch_messages, stop_at_head
        self._queue: Queue[Batch | Exception | None] = Queue(QUEUED_BATCHES)
        self._closing = Event()
        self._busy = False
        self._thread = Thread(target=self._pump, name="log-reader", daemon=True)
        self._thread.start()

    def _pump(self) -> None:
        try:
            while not self._closing.is_set():
                batches = self._read()
                if not batches and self._stop_at_head:
                    break
                for batch in batches:
                    self._after[batch.topic, batch.partition] = batch.messages[-1].position
                    self._queue.put(batch)
            self._queue.put(None)
        except Exception as error:  # noqa: BLE001  handed to the dataflow's thread, which raises it
            self._queue.put(error)

    def _read(self) -> list[Batch]:
        while not self._closing.is_set():
            try:
                wait_s = 0.0 if self._stop_at_head else READ_WAIT_S
                return self._log.read(self._after, max_messages=self._batch_messages, wait_s=wait_s)
            except Unavailable:
                self._closing.wait(RETRY_S)
        return []

    def next_batch(self) -> list[Batch]:
        if self._tick_s is not None and time.monotonic() - self._ticked > self._tick_s:
            self._ticked = time.monotonic()
            return [Batch(TICK, 0, [])]
        # Right after a batch the dataflow still has work downstream: do not block in front of it.
        try:
            item = self._queue.get(timeout=None if self._busy else IDLE_WAIT_S, block=not self._busy)
        except Empty:
            self._busy = False
            return []
        if item is None:
            raise StopIteration
        if isinstance(item, Exception):
            raise item
        self._busy = True
        return [item]

    def close(self) -> None:
        self._closing.set()
        self._log.close()
