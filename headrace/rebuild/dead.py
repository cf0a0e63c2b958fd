"""What was dead-lettered stays out of a rebuilt view, also where the program of today could fold it.

It may have been discarded since, or redriven: then it is on the log a second time.
"""

from __future__ import annotations

from collections.abc import Set

from online.core.checkpoint import Folded
from online.core.letters import LETTER, decode_letter
from online.ports import Batch, Position, StateStore, Warehouse
from replay.refold import Fold

_ARCHIVED = "SELECT topic, position FROM dead_letters WHERE partition = {partition:UInt16}"

Dead = Set[tuple[str, Position]]
"""Topic and position of every dead letter of a partition."""


def dead_positions(state: StateStore, warehouse: Warehouse, partition: int) -> Dead:
    """Return what was dead-lettered of a partition of every topic: what the view holds and what the archive does.

    Raises:
        Unavailable: the store or the warehouse does not answer.
    """
    archived = {(topic, position) for topic, position in warehouse.query(_ARCHIVED, {"partition": partition})}
    letters = (decode_letter(record) for _, record in state.scan(0, LETTER))
    return archived | {(letter.topic, letter.position) for letter in letters if letter.partition == partition}


class Living:
    """A fold that leaves out the dead."""

    def __init__(self, fold: Fold, dead: Dead) -> None:
        self._fold, self._dead = fold, dead

    def fold(self, batch: Batch, seq: int) -> Folded:
        """Fold the rest of a batch."""
        if not self._dead:
            return self._fold.fold(batch, seq)
        messages = [message for message in batch.messages if (batch.topic, message.position) not in self._dead]
        return self._fold.fold(batch._replace(messages=messages), seq)
