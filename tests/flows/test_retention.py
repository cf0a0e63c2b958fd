from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flows.log_source import TICK
from flows.retention import KEPT_S, SHORT_FILL, TRIM_EVERY_S, Retention
from flows.state import STATE_VIEW
from flows.view import adopt_all
from online.adapters.file_artifacts import FileArtifacts
from online.adapters.memory_log import MemoryLog
from online.adapters.memory_state import MemoryState
from online.core.catalogue import CATALOGUE_VIEW, ITEMS
from online.core.checkpoint import Checkpoint, encode_checkpoint
from online.core.control import CONTROL, CONTROL_VIEW
from online.core.dead_letter import DEAD, VERDICTS
from online.core.example import EXAMPLES
from online.core.join import JOIN_VIEW, SLATES
from online.core.letters import LETTERS_VIEW
from online.core.partition import EVENTS, USERS
from online.core.shadow import SHADOWS
from online.core.update import UPDATES
from online.ports import START, Batch, Position, Unavailable
from online.world import BLEND, RANKER, VECTORS

PARTITIONS, SENT = 2, 10
BY_USER, SINGLE = (EVENTS, USERS, SLATES), (ITEMS, UPDATES, EXAMPLES, DEAD, VERDICTS, CONTROL, SHADOWS)
PARTITIONS_OF = [*((topic, p) for topic in BY_USER for p in range(PARTITIONS)), *((topic, 0) for topic in SINGLE)]
LATER = 1e12  # epoch seconds: everything is old by then


def at(count: int) -> Position:
    return f"{count:020d}" if count else START


class FlakyLog(MemoryLog):
    """A log that is away for the next few times it is to be trimmed."""

    failures = 0
    used = 0.0

    def fill(self) -> float:
        return self.used

    def trim(self, topic: str, partition: int, through: Position) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("away")
        super().trim(topic, partition, through)


@dataclass
class System:
    """A log of which every reader has read everything, until a test says otherwise."""

    directory: Path
    log: FlakyLog = field(default_factory=FlakyLog)
    state: MemoryState = field(default_factory=MemoryState)
    archived: dict[str, int] = field(default_factory=dict)
    now: float = LATER

    def __post_init__(self) -> None:
        self.artifacts = FileArtifacts(self.directory)
        for topic, partition in PARTITIONS_OF:
            self.log.create(topic, PARTITIONS if topic in BY_USER else 1)
            self.log.append(topic, [(partition, b"message")] * SENT)
        for view, topics in (
            (STATE_VIEW, (EVENTS, USERS)),
            (JOIN_VIEW, (EVENTS, SLATES)),
            (CATALOGUE_VIEW, (ITEMS,)),
            (LETTERS_VIEW, (DEAD, VERDICTS)),
            (CONTROL_VIEW, (CONTROL,)),
        ):
            for partition in range(PARTITIONS):
                self.commit(view, partition, dict.fromkeys(topics, SENT))
        self.publish(VECTORS, {ITEMS: SENT, UPDATES: SENT})
        self.publish(RANKER, {EXAMPLES: SENT})
        self.publish(BLEND, {UPDATES: SENT})
        self.retention = self.retention_by(self.artifacts)

    def retention_by(self, artifacts: FileArtifacts) -> Retention:
        retention = Retention(
            log=self.log,
            state=self.state,
            artifacts=artifacts,
            recorded=self.recorded,
            partitions=PARTITIONS,
            clock=lambda: self.now,
        )
        adopt_all([retention])
        return retention

    def commit(self, view: str, partition: int, read: dict[str, int]) -> None:
        claim = self.state.claim(view, partition)
        checkpoint = Checkpoint(positions={topic: at(n) for topic, n in read.items() if n})
        self.state.commit(view, partition, claim.generation, {}, encode_checkpoint(checkpoint))

    def publish(self, name: str, read: dict[str, int]) -> None:
        lineage = {"positions": {f"{topic}/0": at(n) for topic, n in read.items()}}
        self.artifacts.publish(name, {"model": b"model"}, lineage)

    def recorded(self, topic: str, partition: int) -> Position | None:
        return None if topic == UPDATES else at(self.archived.get(topic, SENT))

    def kept(self, topic: str, partition: int = 0) -> int:
        """Return how many messages the log still holds."""
        extent = self.log.extent(topic, partition)
        return 0 if extent.first == START else SENT + 1 - int(extent.first)


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


def test_what_everybody_has_read_and_is_archived_and_old_is_trimmed(system: System) -> None:
    system.retention.trim(LATER)

    assert {key: system.kept(*key) for key in PARTITIONS_OF} == dict.fromkeys(PARTITIONS_OF, 0)


def test_every_topic_of_the_log_is_trimmed_some_time() -> None:
    assert KEPT_S.keys() == {*BY_USER, *SINGLE}


def test_what_is_young_is_kept(system: System) -> None:
    system.retention.trim(time.time() + min(KEPT_S.values()) / 2)

    assert {system.kept(*key) for key in PARTITIONS_OF} == {SENT}


def test_a_log_short_of_room_keeps_nothing_for_its_youth_but_all_that_somebody_needs(system: System) -> None:
    system.archived[EVENTS] = 4
    system.log.used = SHORT_FILL + 0.1
    system.retention.trim(time.time() + 1.0)

    kept = {key: system.kept(*key) for key in PARTITIONS_OF}
    assert kept == {key: SENT - 4 if key[0] == EVENTS else 0 for key in PARTITIONS_OF}


@pytest.mark.parametrize(
    ("view", "topic", "others"),
    [
        (STATE_VIEW, EVENTS, {USERS: SENT}),
        (STATE_VIEW, USERS, {EVENTS: SENT}),
        (JOIN_VIEW, EVENTS, {SLATES: SENT}),
        (JOIN_VIEW, SLATES, {EVENTS: SENT}),
        (CATALOGUE_VIEW, ITEMS, {}),
        (LETTERS_VIEW, DEAD, {VERDICTS: SENT}),
        (LETTERS_VIEW, VERDICTS, {DEAD: SENT}),
        (CONTROL_VIEW, CONTROL, {}),
    ],
)
@pytest.mark.parametrize("read", [0, 4])
def test_nothing_is_trimmed_ahead_of_a_view(
    system: System, view: str, topic: str, others: dict[str, int], read: int
) -> None:
    system.commit(view, 0, {topic: read, **others})
    system.retention.trim(LATER)

    assert system.kept(topic) == SENT - read
    assert {system.kept(*key) for key in PARTITIONS_OF if key != (topic, 0)} == {0}


def test_nothing_is_trimmed_ahead_of_a_view_that_never_ran(system: System) -> None:
    for partition in range(PARTITIONS):
        system.state.drop(JOIN_VIEW, partition, [])
    system.retention.trim(LATER)

    assert [system.kept(topic, p) for topic in (EVENTS, SLATES) for p in range(PARTITIONS)] == [SENT] * 4


@pytest.mark.parametrize(
    ("name", "topic"), [(VECTORS, ITEMS), (VECTORS, UPDATES), (BLEND, UPDATES), (RANKER, EXAMPLES)]
)
@pytest.mark.parametrize("read", [0, 4])
def test_nothing_is_trimmed_ahead_of_an_artifact(system: System, name: str, topic: str, read: int) -> None:
    topics = {ITEMS: SENT, UPDATES: SENT} if name == VECTORS else {}
    system.publish(name, {**topics, topic: read})
    system.retention.trim(LATER)

    assert system.kept(topic) == SENT - read
    assert {system.kept(*key) for key in PARTITIONS_OF if key != (topic, 0)} == {0}


def test_a_damaged_artifact_counts_for_as_much_as_the_sound_one_before_it(system: System) -> None:
    system.publish(RANKER, {EXAMPLES: 3})
    system.publish(RANKER, {EXAMPLES: 8})
    newest = system.artifacts.open(RANKER)
    assert newest is not None
    newest.files["model"].write_bytes(b"broken")

    system.retention.trim(LATER)

    assert system.kept(EXAMPLES) == SENT - 3
    assert system.kept(EVENTS) == 0


def test_nothing_is_trimmed_before_there_is_an_artifact(system: System, tmp_path: Path) -> None:
    system.retention_by(FileArtifacts(tmp_path / "empty")).trim(LATER)

    assert [system.kept(topic) for topic in (ITEMS, UPDATES, EXAMPLES, EVENTS)] == [SENT, SENT, SENT, 0]


@pytest.mark.parametrize("topic", [EVENTS, USERS, SLATES, ITEMS, EXAMPLES, DEAD, VERDICTS, CONTROL])
@pytest.mark.parametrize("archived", [0, 7])
def test_nothing_is_trimmed_ahead_of_the_archive(system: System, topic: str, archived: int) -> None:
    system.archived[topic] = archived
    system.retention.trim(LATER)

    assert system.kept(topic) == SENT - archived
    assert {system.kept(*key) for key in PARTITIONS_OF if key[0] != topic} == {0}


def test_trimming_happens_now_and_then_at_a_tick(system: System) -> None:
    tick: Callable[[], None] = system.retention.step(Batch(TICK, 0, []))
    system.now += TRIM_EVERY_S / 2
    tick()
    assert system.kept(EVENTS) == SENT

    system.now += TRIM_EVERY_S
    tick()
    assert system.kept(EVENTS) == 0


def test_a_log_that_is_away_is_waited_for(system: System) -> None:
    system.log.failures = 2
    system.now += TRIM_EVERY_S
    system.retention.step(Batch(TICK, 0, []))()

    assert (system.log.failures, system.kept(EVENTS)) == (0, 0)


def test_retention_reads_nothing_but_ticks(system: System) -> None:
    assert system.retention.positions() == {}
    assert list(system.retention.topics) == [TICK]


def test_only_adopted_partitions_are_trimmed(system: System) -> None:
    system.retention.release(0)
    system.retention.trim(LATER)

    kept = {key: system.kept(*key) for key in PARTITIONS_OF}
    assert kept == {(topic, p): SENT if p == 0 else 0 for topic, p in PARTITIONS_OF}
