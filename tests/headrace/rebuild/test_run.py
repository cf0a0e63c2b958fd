from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from flows.record import create_tables
from flows.state import STATE_VIEW
from headrace.process import create_topics
from headrace.rebuild.run import rebuild_all
from headrace.rebuild.snapshot import snapshot_all
from headrace.rebuild.target import Ports
from online.adapters.file_artifacts import FileArtifacts
from online.adapters.memory_log import MemoryLog
from online.adapters.memory_state import MemoryState
from online.connect import open_warehouse
from online.core.catalogue import CATALOGUE_VIEW, ITEM_DOCUMENT, ITEMS
from online.core.checkpoint import decode_checkpoint
from online.core.control import CONTROL, CONTROL_ENTRY, CONTROL_VIEW
from online.core.dead_letter import DEAD
from online.core.item_stats import ItemStats, encode_item_stats
from online.core.partition import EVENTS, ITEM, USER, USERS, partition_of
from online.core.record import UserRecord, encode_record
from online.core.rows import blocks
from online.core.update import UPDATES, decode_update
from online.ports import START, EventLog, Fenced, Message, StateStore, Warehouse
from replay.history import logged
from replay.traffic import as_guest, random_event, random_merge
from schemas.control import ControlChange, encode_change
from schemas.event import decode_event, encode_event
from schemas.identity import encode_identity
from schemas.item import ItemIn, accept_item, encode_item
from schemas.user import UserIn, accept_user, encode_user

PARTITIONS, SENT, NOW = 2, 150, 1_767_225_600.0
USER_MESSAGES, ITEM_MESSAGES, CHANGES, POISONED = 5, 8, 12, 1

_databases = count(1)


@dataclass
class System:
    """A log with its views folded, and an archive of its own."""

    warehouse: Warehouse
    artifacts: FileArtifacts
    log: MemoryLog = field(default_factory=MemoryLog)
    state: MemoryState = field(default_factory=MemoryState)

    def ports(self) -> Ports:
        return Ports(self.log, self.state, self.warehouse, self.artifacts)

    def rebuild(self, *, from_start: bool = False) -> dict[str, Any]:
        return rebuild_all(self.ports(), PARTITIONS, lambda line: None, from_start=from_start)

    def records(self) -> dict[tuple[int, str], dict[str, bytes]]:
        families = [(p, name) for p in range(PARTITIONS) for name in (USER, ITEM)] + [
            (0, ITEM_DOCUMENT),
            (0, CONTROL_ENTRY),
        ]
        return {key: dict(self.state.scan(*key)) for key in families}

    def events(self) -> list[Message]:
        return [m for p in range(PARTITIONS) for batch in logged(self.log, EVENTS, p) for m in batch.messages]

    def checkpoints(self) -> list[bytes | None]:
        return [
            *(self.state.checkpoint(STATE_VIEW, p) for p in range(PARTITIONS)),
            self.state.checkpoint(CATALOGUE_VIEW, 0),
            self.state.checkpoint(CONTROL_VIEW, 0),
        ]

    def sent(self) -> dict[str, int]:
        return {topic: self.log.behind(topic, 0, START) for topic in (UPDATES, DEAD)}

    def archive_and_trim(self, messages: int, *, archived: bool = True) -> None:
        """Take the front of every partition out of the log, and into the archive unless told not to."""
        for topic, partition in [
            *((t, p) for t in (EVENTS, USERS) for p in range(PARTITIONS)),
            (ITEMS, 0),
            (CONTROL, 0),
        ]:
            for batch in self.log.read({(topic, partition): START}, max_messages=messages, wait_s=0.0):
                for block in blocks(batch) if archived else []:
                    self.warehouse.insert(block.table.name, block.table.columns, block.rows, token=block.token)
                self.log.trim(topic, partition, batch.messages[-1].position)

    def write(self, view: str, partition: int, family: str, key: str, value: bytes | None) -> None:
        claim = self.state.claim(view, partition)
        self.state.commit(view, partition, claim.generation, {family: {key: value}}, claim.checkpoint or b"")


@pytest.fixture
def warehouse(warehouse_url: str) -> Iterator[Warehouse]:
    """A database of the test's own."""
    name, server = f"test_rebuild_{next(_databases)}", open_warehouse(warehouse_url)
    server.execute(f"CREATE DATABASE {name}")
    opened = open_warehouse(f"{warehouse_url.rpartition('/')[0]}/{name}")
    create_tables(opened)
    yield opened
    opened.close()
    server.execute(f"DROP DATABASE {name}")
    server.close()


@pytest.fixture
def system(warehouse: Warehouse, tmp_path: Path, fold_all: Callable[[EventLog, StateStore, int], None]) -> System:
    system, rng = System(warehouse, FileArtifacts(tmp_path)), random.Random(11)
    create_topics(system.log, PARTITIONS)
    events = [random_event(rng, NOW + i, users=40, items=30) for i in range(SENT)]
    system.log.append(EVENTS, [(partition_of(e.user_key, PARTITIONS), encode_event(e)) for e in events])
    system.log.append(EVENTS, [(0, b"\xffpoison")])
    users = [accept_user(UserIn(labels=[f"label-{i}"]), user_id=str(i % 3), now=NOW + i) for i in range(USER_MESSAGES)]
    system.log.append(USERS, [(partition_of(f"u{u.user_id}", PARTITIONS), encode_user(u)) for u in users])
    items = [accept_item(ItemIn(brand=f"b{i}"), item_id=f"item-{i % 5}", now=NOW + i) for i in range(ITEM_MESSAGES)]
    system.log.append(ITEMS, [(0, encode_item(item)) for item in items])
    changes = [
        ControlChange(kind="policy", id=f"p{i % 2}", revision=1 + i // 2, document={"tau": 1 + i}, at=NOW + i)
        for i in range(CHANGES)
    ]
    system.log.append(CONTROL, [(0, encode_change(change)) for change in changes])
    fold_all(system.log, system.state, PARTITIONS)
    return system


EVERYTHING = SENT + POISONED + USER_MESSAGES + ITEM_MESSAGES + CHANGES


@pytest.mark.parametrize("archived", [0, 10, 10_000])
def test_what_is_rebuilt_from_archive_and_log_equals_what_was_there(system: System, archived: int) -> None:
    if archived:
        system.archive_and_trim(archived)
    before, stood, sent = system.records(), system.checkpoints(), system.sent()

    found = system.rebuild()

    assert found["equal"] is True
    assert (found["messages"], found["messages_missing"], found["records_different"]) == (EVERYTHING, 0, 0)
    assert system.records() == before
    assert all(before.values())
    assert system.checkpoints() == stood
    assert system.sent() == sent  # nothing is sent again


@pytest.mark.parametrize(
    ("view", "family"),
    [(STATE_VIEW, USER), (STATE_VIEW, ITEM), (CATALOGUE_VIEW, ITEM_DOCUMENT), (CONTROL_VIEW, CONTROL_ENTRY)],
)
@pytest.mark.parametrize("tampering", ["change", "remove", "invent"])
def test_a_tampered_record_is_found_and_repaired(system: System, view: str, family: str, tampering: str) -> None:
    system.archive_and_trim(10)
    before = system.records()
    key = "uinvented" if tampering == "invent" else next(iter(before[0, family]))
    system.write(view, 0, family, key, None if tampering == "remove" else encode_record(UserRecord()))
    assert system.records() != before

    found = system.rebuild()

    assert (found["equal"], found["records_different"]) == (False, 1)
    assert system.records() == before
    assert system.rebuild()["equal"] is True


def test_what_came_after_the_checkpoint_is_left_to_the_flow(
    system: System, fold_all: Callable[[EventLog, StateStore, int], None]
) -> None:
    late = random_event(random.Random(12), NOW + SENT)
    system.log.append(EVENTS, [(partition_of(late.user_key, PARTITIONS), encode_event(late))])

    assert system.rebuild()["messages"] == EVERYTHING

    fold_all(system.log, system.state, PARTITIONS)
    again = system.rebuild()
    assert (again["equal"], again["messages"]) == (True, EVERYTHING + 1)


def test_of_merged_visitors_everything_is_rebuilt_and_nothing_is_sent_again(
    system: System, fold_all: Callable[[EventLog, StateStore, int], None]
) -> None:
    rng = random.Random(13)
    for i in range(60):
        now = NOW + SENT + i
        merge, event = random_merge(rng, now, users=40), as_guest(random_event(rng, now, users=40, items=30))
        said = (merge.visitor_key, encode_identity(merge)) if i % 3 == 1 else (event.user_key, encode_event(event))
        system.log.append(EVENTS, [(partition_of(said[0], PARTITIONS), said[1])])
    fold_all(system.log, system.state, PARTITIONS)
    fold_all(system.log, system.state, PARTITIONS)
    before, heads = system.records(), [system.log.extent(EVENTS, p).last for p in range(PARTITIONS)]
    kinds = {decode_event(m.payload).event_type for m in system.events() if m.payload != b"\xffpoison"}
    assert kinds > {"merge", "absorb", "forwarded"}
    system.archive_and_trim(50)

    found = system.rebuild(from_start=True)

    assert found["equal"] is True
    assert system.records() == before
    assert [system.log.extent(EVENTS, p).last for p in range(PARTITIONS)] == heads


def test_records_are_left_alone_when_a_part_of_their_history_is_gone(system: System) -> None:
    before = system.records()
    system.archive_and_trim(10, archived=False)

    found = system.rebuild()

    assert found["equal"] is False
    assert found["messages_missing"] > 0
    assert system.records() == before


def test_a_rebuild_goes_on_from_a_snapshot(
    system: System, fold_all: Callable[[EventLog, StateStore, int], None]
) -> None:
    system.archive_and_trim(10)
    assert snapshot_all(system.ports(), PARTITIONS, lambda line: None)["messages_missing"] == 0
    system.archive_and_trim(10_000, archived=False)  # all of it: only the snapshot is left
    late = [random_event(random.Random(i), NOW + SENT + i) for i in range(20)]
    system.log.append(EVENTS, [(partition_of(e.user_key, PARTITIONS), encode_event(e)) for e in late])
    fold_all(system.log, system.state, PARTITIONS)
    before = system.records()

    found = system.rebuild()

    assert (found["equal"], found["messages"], found["messages_folded"]) == (True, EVERYTHING + 20, 20)
    assert system.records() == before
    assert system.rebuild(from_start=True)["messages_missing"] > 0


def test_snapshots_follow_each_other_and_a_damaged_one_is_passed_over(system: System, tmp_path: Path) -> None:
    for version in (1, 2):
        taken = snapshot_all(system.ports(), PARTITIONS, lambda line: None)
        assert {one["version"] for one in taken["snapshots"]} == {version}
    (tmp_path / f"snapshot-{STATE_VIEW}-0" / "2" / "records.msgpack").write_bytes(b"damaged")

    found = system.rebuild()

    assert found["equal"] is True
    assert 0 < found["messages_folded"] < EVERYTHING  # of that partition, from the start


def test_no_snapshot_is_taken_of_half_a_past(system: System) -> None:
    system.archive_and_trim(10, archived=False)

    taken = snapshot_all(system.ports(), PARTITIONS, lambda line: None)

    assert (taken["snapshots"], taken["messages_missing"] > 0) == ([], True)


def test_repaired_item_aggregates_are_told_to_the_api_workers(system: System) -> None:
    item = next(iter(system.records()[0, ITEM]))
    right = system.records()[0, ITEM][item]
    system.write(STATE_VIEW, 0, ITEM, item, encode_item_stats(ItemStats(popularity=[9.0, 9.0, 9.0])))
    updates = system.log.extent(UPDATES, 0)

    system.rebuild()

    (batch,) = system.log.read({(UPDATES, 0): updates.last}, max_messages=10, wait_s=0.0)
    (update,) = [decode_update(message.payload) for message in batch.messages]
    assert {key: encode_item_stats(stats) for key, stats in update.items.items()} == {item: right}
    assert update.seq == decode_checkpoint(system.checkpoints()[0]).seq


def test_a_flow_that_still_runs_is_fenced(system: System) -> None:
    flow = system.state.claim(STATE_VIEW, 0)
    system.rebuild()

    with pytest.raises(Fenced):
        system.state.commit(STATE_VIEW, 0, flow.generation, {}, b"")


def test_nothing_is_equal_to_nothing(warehouse: Warehouse, tmp_path: Path) -> None:
    system = System(warehouse, FileArtifacts(tmp_path))
    create_topics(system.log, PARTITIONS)

    found = system.rebuild()

    assert (found["messages"], found["equal"]) == (0, True)
