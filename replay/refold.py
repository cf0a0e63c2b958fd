"""One partition of a view, folded anew in memory from the recorded past."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from online.core.checkpoint import Checkpoint, Folded, apply_writes
from online.core.partition import Load
from online.ports import START, Batch, EventLog, Warehouse

from .history import history

K = TypeVar("K")


class Fold(Protocol):
    """The fold of one partition of a view."""

    def fold(self, batch: Batch, seq: int) -> Folded:
        """Fold a batch whose commit will have the number `seq`."""
        ...


@dataclass(slots=True)
class Refolded:
    """The records of a view's partition by family and key, and up to where each topic is folded into them."""

    records: dict[str, dict[str, bytes]]
    at: Checkpoint = field(default_factory=Checkpoint)

    @property
    def messages(self) -> int:
        """How many messages are folded in."""
        return sum(self.at.folded.values())

    def lacking(self, live: Checkpoint) -> int:
        """Return how many messages `live` has folded that were found neither in the log nor in the archive."""
        return max(0, sum(live.folded.values()) - self.messages)


class Refold:
    """Folds the past of one partition up to a checkpoint, and later on up to a newer one.

    What a fold sends is not sent again: it was when the message was first folded.
    """

    def __init__(self, partition: int, topics: Sequence[str], make: Callable[[Load], Fold], start: Refolded) -> None:
        self._partition, self._topics = partition, topics
        self._refolded = start
        self._fold = make(self._load)

    def _load(self, family: str, keys: Sequence[str]) -> list[bytes | None]:
        records = self._refolded.records[family]
        return [records.get(key) for key in keys]

    @property
    def result(self) -> Refolded:
        """What is folded so far."""
        return self._refolded

    def advance(self, log: EventLog, warehouse: Warehouse, until: Checkpoint) -> Iterator[Folded]:
        """Fold on to the positions of a checkpoint, yielding what came of each batch."""
        at = self._refolded.at
        for topic in self._topics:
            target = until.positions.get(topic, START)
            for batch in history(log, warehouse, topic, self._partition, target, at.positions.get(topic, START)):
                folded = self._fold.fold(batch, 0)
                for family, written in folded.writes.items():
                    apply_writes(self._refolded.records[family], written)
                at.positions[topic] = batch.messages[-1].position
                at.folded[topic] = at.folded.get(topic, 0) + len(batch.messages)
                yield folded


def differing(left: Mapping[K, object], right: Mapping[K, object]) -> int:
    """Return how many keys have other values, or are in one of the two only.

    >>> differing({"a": 1, "b": 2}, {"b": 3})
    2
    """
    return sum(left.get(key) != right.get(key) for key in left.keys() | right.keys())
