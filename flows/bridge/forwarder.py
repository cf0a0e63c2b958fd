"""What both engines do with messages: check, map, stamp, and put them into the log, or among the dead letters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from threading import Event as Flag
from typing import ParamSpec, TypeVar

from online.core.catalogue import ITEM_DOCUMENT, facets, stamp
from online.core.dead_letter import DEAD, dead_letter
from online.core.foreign_event import EventMapping, NotAccepted, read_foreign
from online.core.partition import EVENTS, partition_of
from online.ports import Batch, EventLog, Message, StateStore, Unavailable
from schemas.event import Event, encode_event

from .kafka import KafkaMessage, KafkaTopic

P = ParamSpec("P")
T = TypeVar("T")

RETRY_S = 0.1


class Stopped(Exception):
    """The bridge is to end while log or state store are away; what was not kept will be read again."""


@dataclass(slots=True)
class Counts:
    """What became of the messages of a run; `repeated` are those that the log had before."""

    forwarded: int = 0
    dead: int = 0
    repeated: int = 0


@dataclass(slots=True)
class _Sorted:
    """The messages of one Kafka partition: events and dead letters by offset."""

    events: list[tuple[int, Event]] = field(default_factory=list)
    letters: list[tuple[int, int, bytes]] = field(default_factory=list)


class Forwarder:
    """Forwards messages of one topic.

    Args:
        topic: that they are of.
        mapping: to events.
        log: where they go.
        state: holds the catalogue view, which knows the facets of items.
        partitions: of users, as the log has them.
        stop: set when the process is to end.
        holdout: share of units that are held out.
        clock: epoch seconds.
    """

    def __init__(
        self,
        topic: KafkaTopic,
        mapping: EventMapping,
        *,
        log: EventLog,
        state: StateStore,
        partitions: int,
        stop: Flag,
        holdout: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.topic, self.counts = topic, Counts()
        self._mapping, self._log, self._state = mapping, log, state
        self._partitions, self._stop, self._clock = partitions, stop, clock
        self._holdout = holdout
        self._is_over = False

    def forward(self, messages: Iterable[KafkaMessage]) -> None:
        """Return once all are in the log, waiting while it is away. Those that it had before change nothing.

        Raises:
            Stopped: not all of them are. From then on nothing is forwarded: it would stand above what is missing.
            LogError: the log can never keep one of them.
        """
        if self._is_over:
            raise Stopped
        by_partition = self._sorted(messages)
        self._stamp([event for found in by_partition.values() for _, event in found.events])
        for partition, found in by_partition.items():
            source = self.topic.source(partition)
            self.counts.forwarded += self._kept(source, EVENTS, [self._encoded(*event) for event in found.events])
            self.counts.dead += self._kept(source, DEAD, found.letters)

    def _sorted(self, messages: Iterable[KafkaMessage]) -> dict[int, _Sorted]:
        now = self._clock()
        by_partition: dict[int, _Sorted] = {}
        for message in messages:
            found = by_partition.setdefault(message.partition, _Sorted())
            try:
                found.events.append((message.offset, read_foreign(self.topic.foreign(message, now), self._mapping)))
            except NotAccepted as error:
                found.letters.append((message.offset, 0, self._letter(message, str(error), now)))
        return by_partition

    def _letter(self, message: KafkaMessage, reason: str, now: float) -> bytes:
        batch = Batch(f"kafka:{self.topic.name}", message.partition, [], now)
        return dead_letter(batch, Message(str(message.offset), message.value), reason)[2]

    def _stamp(self, events: Sequence[Event]) -> None:
        """Stamp the facets that the catalogue view has now: read for each batch, so they are never older than it."""
        items = list(dict.fromkeys(item.item_id for event in events for item in event.items))
        documents = self._retried(self._state.get_many, 0, ITEM_DOCUMENT, items) if items else []
        known = {item: facets(document) for item, document in zip(items, documents, strict=True)}
        for event in events:
            stamp(event, known.__getitem__, self._holdout)

    def _encoded(self, offset: int, event: Event) -> tuple[int, int, bytes]:
        return offset, partition_of(event.user_key, self._partitions), encode_event(event)

    def _kept(self, source: str, topic: str, messages: Sequence[tuple[int, int, bytes]]) -> int:
        if not messages:
            return 0
        new = self._retried(self._log.append_from, source, topic, messages)
        self.counts.repeated += len(messages) - new
        return new

    def _retried(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        while True:
            try:
                return call(*args, **kwargs)
            except Unavailable:
                if self._stop.wait(RETRY_S):
                    self._is_over = True
                    raise Stopped from None
