from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from flows.record import create_tables
from flows.state import STATE_VIEW
from headrace.process import create_topics
from headrace.rebuild import rebuild_all
from online.adapters.memory_log import MemoryLog
from online.adapters.memory_state import MemoryState
from online.connect import open_warehouse
from online.core.catalogue import CATALOGUE_VIEW, ITEM_DOCUMENT, ITEMS
from online.core.partition import EVENTS, ITEM, USER, USERS, partition_of
from online.core.record import UserRecord, encode_record
from online.core.rows import blocks
from online.core.update import DEAD, UPDATES
from online.ports import START, EventLog, Fenced, StateStore, Warehouse
from replay.traffic import random_event
from schemas.event import encode_event
from schemas.item import ItemIn, accept_item, encode_item
from schemas.user import UserIn, accept_user, encode_user

PARTITIONS, SENT, NOW = 2, 150, 1_767_225_600.0
USER_MESSAGES, ITEM_MESSAGES, POISONED = 5, 8, 1

_databases = count(1)


@dataclass
class System:
    """A log with its views folded, and an archive of its own."""

    warehouse: Warehouse
    log: MemoryLog = field(default_factory=MemoryLog)
    state: MemoryState = field(default_factory=MemoryState)

    def rebuild(self) -> dict[str, Any]:
        return rebuild_all(self.log, self.state, self.warehouse, PARTITIONS, progress=lambda line: None)

    def records(self) -> dict[tuple[int, str], dict[str, bytes]]:
        families = [(p, name) for p in range(PARTITIONS) for name in (USER, ITEM)] + [(0, ITEM_DOCUMENT)]
        return {key: dict(self.state.scan(*key)) for key in families}

    def checkpoints(self) -> list[bytes | None]:
        return [
            *(self.state.checkpoint(STATE_VIEW, p) for p in range(PARTITIONS)),
            self.state.checkpoint(CATALOGUE_VIEW, 0),
        ]

    def sent(self) -> dict[str, int]:
        return {topic: self.log.extent(topic, 0).appended for topic in (UPDATES, DEAD)}

    def archive_and_trim(self, messages: int, *, archived: bool = True) -> None:
        """Take the front of every partition out of the log, and into the archive unless told not to."""
        for topic, partition in [*((t, p) for t in (EVENTS, USERS) for p in range(PARTITIONS)), (ITEMS, 0)]:
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
def system(warehouse: Warehouse, fold_all: Callable[[EventLog, StateStore, int], None]) -> System:
    system, rng = System(warehouse), random.Random(11)
    create_topics(system.log, PARTITIONS)
    events = [random_event(rng, NOW + i, users=40, items=30) for i in range(SENT)]
    system.log.append(EVENTS, [(partition_of(e.user_key, PARTITIONS), encode_event(e)) for e in events])
    system.log.append(EVENTS, [(0, b"\xffpoison")])
    users = [accept_user(UserIn(labels=[f"label-{i}"]), user_id=str(i % 3), now=NOW + i) for i in range(USER_MESSAGES)]
    system.log.append(USERS, [(partition_of(f"u{u.user_id}", PARTITIONS), encode_user(u)) for u in users])
    items = [accept_item(ItemIn(brand=f"b{i}"), item_id=f"item-{i % 5}", now=NOW + i) for i in range(ITEM_MESSAGES)]
    system.log.append(ITEMS, [(0, encode_item(item)) for item in items])
    fold_all(system.log, system.state, PARTITIONS)
    return system


EVERYTHING = SENT + POISONED + USER_MESSAGES + ITEM_MESSAGES


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


@pytest.mark.parametrize(("view", "family"), [(STATE_VIEW, USER), (STATE_VIEW, ITEM), (CATALOGUE_VIEW, ITEM_DOCUMENT)])
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


def test_records_are_left_alone_when_a_part_of_their_history_is_gone(system: System) -> None:
    before = system.records()
    system.archive_and_trim(10, archived=False)

    found = system.rebuild()

    assert found["equal"] is False
    assert found["messages_missing"] > 0
    assert system.records() == before


def test_a_flow_that_still_runs_is_fenced(system: System) -> None:
    flow = system.state.claim(STATE_VIEW, 0)
    system.rebuild()

    with pytest.raises(Fenced):
        system.state.commit(STATE_VIEW, 0, flow.generation, {}, b"")


def test_nothing_is_equal_to_nothing(warehouse: Warehouse) -> None:
    system = System(warehouse)
    create_topics(system.log, PARTITIONS)

    found = system.rebuild()

    assert (found["messages"], found["equal"]) == (0, True)
