"""Retention: trim the log behind what every view has committed and the archive holds, and no younger than asked.

A log that gets short of room is trimmed of all that nobody needs any more, however young.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set

from online.core.catalogue import CATALOGUE_VIEW, ITEMS
from online.core.control import CONTROL, CONTROL_VIEW
from online.core.dead_letter import DEAD, VERDICTS
from online.core.example import EXAMPLES
from online.core.join import JOIN_VIEW, SLATES
from online.core.letters import LETTERS_VIEW
from online.core.partition import EVENTS, USERS
from online.core.shadow import SHADOWS
from online.core.update import UPDATES
from online.ports import START, Artifact, ArtifactStore, Batch, EventLog, Position, StateStore
from online.world import BLEND, RANKER, VECTORS

from .artifact import newest_sound
from .log_source import TICK
from .state import STATE_VIEW
from .view import committed, retried

HOUR_S = 3600.0

KEPT_S: Mapping[str, float] = {
    EVENTS: HOUR_S,
    USERS: HOUR_S,
    SLATES: 60.0,  # large, and read by nobody but the join and the recorder
    ITEMS: HOUR_S,  # a worker that starts reads the catalogue view and follows from there
    UPDATES: 2 * HOUR_S,  # from these a worker that starts learns the sessions
    EXAMPLES: HOUR_S,
    DEAD: 24 * HOUR_S,
    VERDICTS: 24 * HOUR_S,
    SHADOWS: 60.0,
    CONTROL: HOUR_S,  # a worker that starts reads the control view and follows from there
}
"""Topic -> least age (seconds) of what is trimmed."""

READERS: Mapping[str, Sequence[str]] = {
    EVENTS: (STATE_VIEW, JOIN_VIEW),
    USERS: (STATE_VIEW,),
    SLATES: (JOIN_VIEW,),
    ITEMS: (CATALOGUE_VIEW,),
    DEAD: (LETTERS_VIEW,),  # which holds what is pending
    VERDICTS: (LETTERS_VIEW,),
    CONTROL: (CONTROL_VIEW,),
}
"""Topic -> the views that must have committed a message before it may go."""

LEARNERS: Mapping[str, Sequence[str]] = {ITEMS: (VECTORS,), UPDATES: (VECTORS, BLEND), EXAMPLES: (RANKER,)}
"""Topic -> the artifacts that must have learned a message before it may go."""

TRIM_EVERY_S = 15.0
SHORT_FILL = 0.5  # of the log's room: fuller, age protects nothing; API workers stop at 0.8


class Retention:
    """Trims every topic now and then, of the partitions it has adopted; it reads nothing but ticks.

    `recorded` tells how far the archive holds a topic's partition, None where it has no part.
    """

    topics: Sequence[str] = (TICK,)

    def __init__(
        self,
        *,
        log: EventLog,
        state: StateStore,
        artifacts: ArtifactStore,
        recorded: Callable[[str, int], Position | None],
        partitions: int,
        clock: Callable[[], float],
    ) -> None:
        self._log, self._state, self._artifacts = log, state, artifacts
        self._recorded, self._clock = recorded, clock
        self._trimmed_at = clock()
        self.partitions = range(partitions)
        self.adopted: Set[int] = frozenset()

    def adopt(self, partition: int) -> None:
        """Trim a partition from now on."""
        self.adopted = self.adopted | {partition}

    def release(self, partition: int) -> None:
        """Leave a partition to others."""
        self.adopted = self.adopted - {partition}

    def positions(self) -> dict[tuple[str, int], Position]:
        """Return nothing: there is nothing to read."""
        return {}

    def step(self, batch: Batch) -> Callable[[], None]:
        """Return what trims when it is time."""
        return self._trim_when_due

    def _trim_when_due(self) -> None:
        now = self._clock()
        if now - self._trimmed_at >= TRIM_EVERY_S:
            self._trimmed_at = now
            retried(self.trim, now)

    def trim(self, now: float) -> None:
        """Trim every topic as of `now` (epoch seconds)."""
        is_short = self._log.fill() > SHORT_FILL
        learned = {name: newest_sound(self._artifacts, name) for names in LEARNERS.values() for name in names}
        for topic, kept_s in KEPT_S.items():
            for partition in sorted(self.adopted if topic in (EVENTS, USERS, SLATES) else self.adopted & {0}):
                bounds = [self._log.before(topic, partition, now if is_short else now - kept_s)]
                bounds += [committed(self._state, view, topic, partition) for view in READERS.get(topic, ())]
                bounds += [_learned(learned[name], topic) for name in LEARNERS.get(topic, ())]
                archive = self._recorded(topic, partition)
                if archive is not None:
                    bounds.append(archive)
                self._log.trim(topic, partition, min(bounds))


def _learned(artifact: Artifact | None, topic: str) -> Position:
    if artifact is None:
        return START
    position: Position = artifact.lineage["positions"].get(f"{topic}/0", START)
    return position
