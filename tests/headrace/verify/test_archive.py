from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from flows.record import FLUSH_S, RecordView
from flows.view import adopt_all
from headrace.verify.archive import compare_warehouse
from headrace.verify.outcome import Outcome
from online.connect import open_warehouse
from online.core.join import SLATES
from online.core.partition import EVENTS
from online.core.rows import blocks
from online.ports import Batch, Message

PARTITIONS = 2


@pytest.fixture
def warehouse(warehouse_url: str, run: Any) -> Iterator[Any]:
    """A warehouse with a database of its own, into which the log was recorded."""
    name = f"verify_{uuid4().hex[:12]}"
    main = open_warehouse(warehouse_url)
    main.execute(f"CREATE DATABASE {name}")
    own = open_warehouse(urlunsplit(urlsplit(warehouse_url)._replace(path=f"/{name}")))
    view = RecordView(state=run.state, log=run.log, warehouse=own, partitions=PARTITIONS, clock=lambda: 0.0)
    adopt_all([view])
    for (topic, partition), messages in run.seen.items():
        if messages and topic in view.topics:
            view.step(Batch(topic, partition, list(messages)))
    for partition in range(PARTITIONS):
        view.release(partition)
    yield own
    own.close()
    main.execute(f"DROP DATABASE {name}")
    main.close()


def compared(run: Any, warehouse: Any) -> Outcome:
    outcome = Outcome()
    compare_warehouse(outcome, run.seen, warehouse, run.answered)
    return outcome


def insert(warehouse: Any, topic: str, *messages: Message) -> None:
    for block in blocks(Batch(topic, 0, list(messages))):
        warehouse.insert(block.table.name, block.table.columns, block.rows, token=uuid4().hex)


def test_an_honest_archive_is_correct(run: Any, warehouse: Any) -> None:
    outcome = compared(run, warehouse)

    assert outcome.is_correct, outcome
    assert outcome.slates == 6
    assert FLUSH_S > 0.0  # rows were inserted when the partitions were released, not by the clock


@pytest.mark.parametrize(
    ("table", "which"),
    [
        ("events", "event_type = 'purchase'"),
        ("documents", "id = 'item-3'"),
        ("outcomes", "recommendation_id = 'r1'"),
        ("dead_letters", "1"),
    ],
)
def test_a_row_that_is_missing_is_lost(run: Any, warehouse: Any, table: str, which: str) -> None:
    warehouse.execute(f"ALTER TABLE {table} DELETE WHERE {which} SETTINGS mutations_sync = 2")

    outcome = compared(run, warehouse)

    assert outcome.warehouse_lost > 0
    assert outcome.warehouse_doubled == outcome.warehouse_different == 0


def test_a_slate_without_a_row_is_lost(run: Any, warehouse: Any) -> None:
    warehouse.execute("ALTER TABLE slates DELETE WHERE recommendation_id = 'r1' SETTINGS mutations_sync = 2")

    outcome = compared(run, warehouse)

    assert (outcome.slates_lost, outcome.warehouse_lost) == (1, 1)


def test_a_row_that_is_there_twice_is_doubled(run: Any, warehouse: Any) -> None:
    insert(warehouse, EVENTS, run.seen[EVENTS, 0][3])

    outcome = compared(run, warehouse)

    assert (outcome.warehouse_doubled, outcome.warehouse_lost, outcome.warehouse_different) == (1, 0, 0)


def test_a_slate_shipped_twice_is_none_too_many(run: Any, warehouse: Any) -> None:
    slate = run.seen[SLATES, 0][0]
    run.log.append(SLATES, [(0, slate.payload)])
    insert(warehouse, SLATES, run.seen[SLATES, 0][-1])

    assert compared(run, warehouse).is_correct


def test_a_row_with_other_bytes_than_its_message_is_found(run: Any, warehouse: Any) -> None:
    first, second = run.seen[EVENTS, 0][3:5]
    warehouse.execute(f"ALTER TABLE events DELETE WHERE position = '{first.position}' SETTINGS mutations_sync = 2")
    insert(warehouse, EVENTS, Message(first.position, second.payload))

    outcome = compared(run, warehouse)

    assert outcome.warehouse_different == 1


def test_a_row_of_no_message_is_found(run: Any, warehouse: Any) -> None:
    insert(warehouse, EVENTS, Message("9" * 12, run.seen[EVENTS, 0][0].payload))

    assert compared(run, warehouse).warehouse_different == 1


@pytest.mark.parametrize("table", ["events", "documents", "slates", "outcomes", "dead_letters"])
def test_a_row_is_on_the_disk_before_its_insert_is_answered(warehouse: Any, table: str) -> None:
    ((created,),) = warehouse.query(f"SHOW CREATE TABLE {table}")

    assert "fsync_after_insert = 1" in created
    assert "fsync_part_directory = 1" in created
