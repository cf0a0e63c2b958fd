"""Forwarding another log into Pulsar: sequence ids are its offsets, and the broker drops what it has had before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import pulsar
from pulsar import Result

from online.ports import LogError, Unavailable

from .pulsar_client import answering, check

PENDING = 50_000  # more than one call brings: sending never waits, so a call always ends
FIRST = 1  # the client takes a sequence id of 0 for none, and goes on from the producer's last one

Key = tuple[str, str]  # source, topic of the partition


class Forwarders:
    """The producers by source and partition.

    Each is named as its source and sends every message for itself: the broker keeps the highest sequence id of a name,
    and of batches that a new process cuts otherwise it would drop too much. Nothing is given up on: of two messages
    the first could be given up and the second kept above it.
    """

    def __init__(self, connected: Callable[[], pulsar.Client], timeout_s: float) -> None:
        self._connected, self._timeout_s = connected, timeout_s
        self._producers: dict[Key, pulsar.Producer] = {}
        self._lock = threading.Lock()

    def append(self, source: str, topics: Mapping[int, str], messages: Sequence[tuple[int, int, bytes]]) -> int:
        """Append (offset, partition, payload), in order within a partition; return how many are new.

        Raises:
            Unavailable, LogError: as the port says.
        """
        with self._lock:
            keys = {partition: (source, topic) for partition, topic in topics.items()}
            try:
                return self._send({partition: self._opened(key) for partition, key in keys.items()}, messages)
            except (Unavailable, LogError):
                self._forget(keys.values())  # with what is still on its way
                raise

    def _send(self, producers: Mapping[int, pulsar.Producer], messages: Sequence[tuple[int, int, bytes]]) -> int:
        landed: SimpleQueue[tuple[Result, Any]] = SimpleQueue()
        with answering():
            for offset, partition, payload in messages:
                number = offset + FIRST
                producers[partition].send_async(payload, partial(_land, landed), sequence_id=number)
        new = 0
        for _ in messages:
            try:
                result, found = landed.get(timeout=self._timeout_s)
            except Empty:
                raise Unavailable(f"Pulsar: no answer to a message within {self._timeout_s:g} s") from None
            check(result)
            new += found.ledger_id() >= 0  # the broker answers a repeated message with the id (-1, -1)
        return new

    def _opened(self, key: Key) -> pulsar.Producer:
        if key not in self._producers:
            source, topic = key
            with answering():
                self._producers[key] = self._connected().create_producer(
                    topic,
                    producer_name=source,
                    batching_enabled=False,
                    max_pending_messages=PENDING,
                    send_timeout_millis=0,
                )
        return self._producers[key]

    def _forget(self, keys: Iterable[Key]) -> None:
        for key in keys:
            producer = self._producers.pop(key, None)
            if producer is not None:
                with suppress(pulsar.PulsarException):
                    producer.close()


def _land(landed: SimpleQueue[tuple[Result, Any]], result: Result, found: Any) -> None:
    landed.put((result, found))
