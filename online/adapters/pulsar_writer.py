"""Appending to partitions of Pulsar topics: one producer each, opened when first needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import pulsar
from pulsar import Result

from online.ports import START, LogError, Position, Unavailable

from .pulsar_client import answering, check
from .pulsar_reader import position_of

PENDING = 5000  # messages of a partition on their way to the broker; then whoever appends waits
BATCH_DELAY_MS = 1

Landed = SimpleQueue[tuple[int, Result, Any]]  # number of the message, result, message id


class Writers:
    """The producers of a log by the name of their partition's topic."""

    def __init__(self, connected: Callable[[], pulsar.Client], timeout_s: float) -> None:
        self._connected, self._timeout_s = connected, timeout_s
        self._producers: dict[str, Future[pulsar.Producer]] = {}
        self._lock = threading.Lock()
        # While the broker is away, opening takes whole seconds: in a thread of its own it keeps nobody that long.
        self._opener = ThreadPoolExecutor(1, thread_name_prefix="pulsar-opener")

    def append(self, topics: Mapping[int, str], messages: Sequence[tuple[int, bytes]]) -> list[Position]:
        """Append (partition, payload) pairs, in order within a partition; return their positions once all are kept.

        Raises:
            Unavailable, LogError: as the port says.
        """
        deadline = time.monotonic() + self._timeout_s
        producers = {partition: self._opened(topic, deadline) for partition, topic in topics.items()}
        landed: Landed = SimpleQueue()
        try:
            with answering():
                for number, (partition, payload) in enumerate(messages):
                    producers[partition].send_async(payload, partial(_land, landed, number))
            return self._positions(landed, len(messages))
        except Unavailable:
            self._forget(topics.values())
            raise

    def close(self) -> None:
        """Open no more producers; those there are end with the client."""
        self._opener.shutdown(wait=False, cancel_futures=True)

    def _positions(self, landed: Landed, messages: int) -> list[Position]:
        positions = [START] * messages
        patience_s = 2 * self._timeout_s  # the client gives a message up before
        for _ in range(messages):
            try:
                number, result, found = landed.get(timeout=patience_s)
            except Empty:
                raise Unavailable(f"Pulsar: no answer to a message within {patience_s:g} s") from None
            check(result)
            if found.ledger_id() < 0:  # the broker had the batch already when the client repeated it
                raise Unavailable("Pulsar: a message is kept, and nobody says where")
            positions[number] = position_of(found.ledger_id(), found.entry_id(), max(found.batch_index(), 0) + 1)
        return positions

    def _opened(self, topic: str, deadline: float) -> pulsar.Producer:
        with self._lock:
            if topic not in self._producers:
                self._producers[topic] = self._opener.submit(self._open, topic)
            opening = self._producers[topic]
        try:
            with answering():
                return opening.result(max(0.0, deadline - time.monotonic()))
        except FutureTimeout:
            raise Unavailable(f"Pulsar: no producer within {self._timeout_s:g} s") from None
        except (Unavailable, LogError):
            self._forget([topic])
            raise

    def _open(self, topic: str) -> pulsar.Producer:
        return self._connected().create_producer(
            topic,
            batching_enabled=True,
            batching_max_publish_delay_ms=BATCH_DELAY_MS,
            block_if_queue_full=True,
            max_pending_messages=PENDING,
            send_timeout_millis=int(self._timeout_s * 1000),
        )

    def _forget(self, topics: Iterable[str]) -> None:
        """Have producers opened anew: one that lost its broker looks for it ever more seldom, up to a minute apart."""
        with self._lock:
            forgotten = [self._producers.pop(topic) for topic in topics if topic in self._producers]
        for opening in forgotten:
            opening.add_done_callback(_close)


def _land(landed: Landed, number: int, result: Result, found: Any) -> None:
    landed.put((number, result, found))


def _close(opening: Future[pulsar.Producer]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
