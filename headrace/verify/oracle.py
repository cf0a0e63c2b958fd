"""The oracle: what the views are to be, folded in a single pass, one message at a time, into memory.

It is the same fold as the flows'; what it does not share is everything that can be killed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from online.core.checkpoint import Folded, apply_writes
from online.core.dead_letter import DEAD, DeadLetter, decode_dead_letter
from online.core.example import EXAMPLES, decode_example, example_id
from online.core.join import OPEN_SLATE, JoinFold
from online.core.partition import EVENTS, ITEM, USER, PartitionFold
from online.core.update import UPDATES, SessionTouch, decode_update
from online.ports import Batch, Message


class Oracle:
    """The state view of one partition. With `partitions`, of the log, also what merges send to other partitions."""

    def __init__(self, partition: int, partitions: int | None = None) -> None:
        self.records: dict[str, dict[str, bytes]] = {USER: {}, ITEM: {}}
        self.touches: list[SessionTouch] = []
        self.letters: list[DeadLetter] = []
        self.sent: list[tuple[int, bytes]] = []  # to the topic events: partition, payload
        self.partition = partition
        self._seq = 0
        self._fold = PartitionFold(
            partition,
            lambda family, keys: [self.records[family].get(key) for key in keys],
            partitions=partitions,
        )

    def fold(self, message: Message, topic: str = EVENTS) -> None:
        """Fold one message."""
        self.fold_many([message], topic)

    def fold_many(self, messages: Sequence[Message], topic: str = EVENTS) -> None:
        """Fold messages as one batch."""
        self._seq += 1
        folded = self._fold.fold(Batch(topic, self.partition, list(messages)), self._seq)
        for family, written in folded.writes.items():
            apply_writes(self.records[family], written)
        for to, partition, payload in folded.outbox:
            if to == UPDATES:
                self.touches += decode_update(payload).touches
            elif to == DEAD:
                self.letters.append(decode_dead_letter(payload))
            else:
                self.sent.append((partition, payload))


class JoinOracle:
    """The join of one partition: all its slates are known before the first event.

    So it equals the flow's where no outcome that leaves its slate unnamed, and no window's end, overtook a slate.
    """

    def __init__(self, partition: int, *, window_s: float) -> None:
        self.open: dict[str, bytes] = {}
        self.examples: dict[str, bytes] = {}  # by their ids
        self._partition, self._fold = partition, JoinFold(partition, {}, window_s=window_s)

    def fold(self, topic: str, messages: Iterable[Message]) -> None:
        """Fold messages of one topic; slates come first."""
        for message in messages:
            self._apply(self._fold.fold(Batch(topic, self._partition, [message]), 0))

    def _apply(self, folded: Folded) -> None:
        apply_writes(self.open, folded.writes[OPEN_SLATE])
        for topic, _, payload in folded.outbox:
            if topic == EXAMPLES:
                self.examples[example_id(decode_example(payload))] = payload
