from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import msgspec
import pytest

import flows.record
import flows.view
from flows.log_source import TICK
from flows.record import FLUSH_S, RecordView, create_tables
from flows.view import adopt_all, build, run
from online.connect import open_warehouse
from online.core.catalogue import ITEMS
from online.core.example import EXAMPLES, PURCHASE, Example, encode_example
from online.core.partition import EVENTS, USERS
from online.ports import START, Batch
from schemas.event import Event, EventItem, encode_event
from schemas.item import Item, encode_item
from schemas.user import User, encode_user

DAY_S = 86_400.0
T0 = 19_000 * DAY_S
PARTITIONS = 2


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Killed(Exception):
    """The process ends here."""


class KilledWarehouse:
    """A warehouse whose user is killed at its n-th insert: before it, or after it took the rows."""

    def __init__(self, warehouse: Any, *, at: int, after: bool) -> None:
        self._warehouse, self._left, self._after = warehouse, at, after

    def insert(self, table: str, columns: Any, rows: Any, *, token: str) -> None:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        self._warehouse.insert(table, columns, rows, token=token)
        if self._left == 0:
            raise Killed

    def execute(self, sql: str) -> None:
        self._warehouse.execute(sql)


@pytest.fixture
def warehouse(warehouse_url: str) -> Iterator[Any]:
    """A warehouse with a database of its own."""
    name = f"record_{uuid4().hex[:12]}"
    main = open_warehouse(warehouse_url)
    main.execute(f"CREATE DATABASE {name}")
    own = open_warehouse(urlunsplit(urlsplit(warehouse_url)._replace(path=f"/{name}")))
    yield own
    own.close()
    main.execute(f"DROP DATABASE {name}")
    main.close()


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.view, "RETRY_S", 0.001)


def event(number: int) -> bytes:
    """Events of two days, out of order."""
    at = T0 + (number % 2) * DAY_S + number
    return encode_event(
        Event(
            event_id=f"e{number}",
            event_type="view",
            timestamp=at,
            received_at=at,
            user_id=str(number % 7),
            items=[EventItem("a", position=1)],
        )
    )


def fill(log: Any, events: int, first: int = 0) -> None:
    for number in range(first, first + events):
        log.port.append(EVENTS, [(number % PARTITIONS, event(number))])
    log.port.append(EVENTS, [(0, b"\xff no event %d" % first)])
    log.port.append(USERS, [(0, encode_user(User(user_id=str(first), updated_at=T0)))])
    log.port.append(ITEMS, [(0, encode_item(Item(item_id=f"i{first}", updated_at=T0, created_at=T0)))])
    example = Example(f"r{first}", 1, "home", T0, "3", ["f"], b"\0" * 8, [1, 2], [False, True])
    log.port.append(EXAMPLES, [(0, encode_example(example))])


def open_view(log: Any, state: Any, warehouse: Any, clock: Clock) -> RecordView:
    view = RecordView(state=state, log=log, warehouse=warehouse, partitions=PARTITIONS, clock=clock)
    adopt_all([view])
    return view


def read_all(view: RecordView, log: Any, clock: Clock, *, chunk: int = 10) -> None:
    """Give the view everything behind its positions, as a flow would, then let the time to flush pass."""
    after = {key: position for key, position in view.positions().items() if key[0] != TICK}
    while batches := log.port.read(after, max_messages=chunk, wait_s=0.0):
        for batch in batches:
            view.step(batch)()
            after[batch.topic, batch.partition] = batch.messages[-1].position
    clock.now += FLUSH_S
    view.step(Batch(TICK, 0, []))()


def recorded(warehouse: Any) -> dict[str, list[Any]]:
    """Return what each table holds, one entry a row."""
    queries = {
        "events": "SELECT hex(payload) FROM events",
        "documents": "SELECT concat(topic, ':', id) FROM documents ORDER BY 1",
        "outcomes": "SELECT recommendation_id FROM outcomes ORDER BY 1",
    }
    return {table: [row[0] for row in warehouse.query(sql)] for table, sql in queries.items()}


def logged(log: Any, warehouse: Any) -> None:
    """Check that every message of the log is in the warehouse exactly once."""
    found = recorded(warehouse)
    payloads = []
    for partition in range(PARTITIONS):
        (batch,) = log.port.read({(EVENTS, partition): START}, max_messages=100_000, wait_s=0.0)
        payloads += [message.payload for message in batch.messages]
    assert len(found["events"]) == len(payloads)
    assert {bytes.fromhex(payload) for payload in found["events"]} == set(payloads)
    items = log.port.behind(ITEMS, 0, START)
    assert len(found["documents"]) == len(set(found["documents"])) == 2 * items
    assert len(found["outcomes"]) == len(set(found["outcomes"])) == items


def test_every_message_is_recorded_once(switched_log: Any, switched_state: Any, warehouse: Any) -> None:
    clock = Clock()
    fill(switched_log, 60)
    read_all(open_view(switched_log, switched_state, warehouse, clock), switched_log, clock)
    fill(switched_log, 30, first=60)
    read_all(open_view(switched_log, switched_state, warehouse, clock), switched_log, clock)

    logged(switched_log, warehouse)
    rows = warehouse.query("SELECT event_id, item_ids, positions, user_key FROM events WHERE event_id = 'e5'")
    assert rows == [("e5", ["a"], [1], "u5")]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3, 5])
def test_killed_around_an_insert_every_message_is_still_recorded_once(
    switched_log: Any, switched_state: Any, warehouse: Any, at: int, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows.record, "FLUSH_MESSAGES", 25)
    clock = Clock()
    fill(switched_log, 80)
    killed = KilledWarehouse(warehouse, at=at, after=after)
    with pytest.raises(Killed):
        read_all(open_view(switched_log, switched_state, killed, clock), switched_log, clock)
    fill(switched_log, 40, first=80)

    read_all(open_view(switched_log, switched_state, warehouse, clock), switched_log, clock)

    logged(switched_log, warehouse)


def test_killed_again_while_finishing_what_was_begun(switched_log: Any, switched_state: Any, warehouse: Any) -> None:
    clock = Clock()
    fill(switched_log, 50)
    dying = open_view(switched_log, switched_state, KilledWarehouse(warehouse, at=2, after=True), clock)
    with pytest.raises(Killed):
        read_all(dying, switched_log, clock)
    for _ in range(2):
        with pytest.raises(Killed):
            open_view(switched_log, switched_state, KilledWarehouse(warehouse, at=1, after=True), clock)
    fill(switched_log, 20, first=50)

    read_all(open_view(switched_log, switched_state, warehouse, clock), switched_log, clock)

    logged(switched_log, warehouse)


def test_a_fenced_recorder_inserts_nothing(switched_log: Any, switched_state: Any, warehouse: Any) -> None:
    clock = Clock()
    fill(switched_log, 20)
    old = open_view(switched_log, switched_state, warehouse, clock)
    new = open_view(switched_log, switched_state, warehouse, clock)

    read_all(old, switched_log, clock)
    assert old.adopted == set()
    assert recorded(warehouse)["events"] == []
    read_all(new, switched_log, clock)

    logged(switched_log, warehouse)


def test_rows_wait_until_there_are_many_or_a_second_has_passed(
    switched_log: Any, switched_state: Any, warehouse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows.record, "FLUSH_MESSAGES", 30)
    clock = Clock()
    view = open_view(switched_log, switched_state, warehouse, clock)
    for number in range(50):
        switched_log.port.append(EVENTS, [(0, event(number))])
    batches = []
    after = START
    while read := switched_log.port.read({(EVENTS, 0): after}, max_messages=20, wait_s=0.0):
        batches += read
        after = read[0].messages[-1].position

    def rows_after(batch: Batch) -> int:
        view.step(batch)()
        return len(recorded(warehouse)["events"])

    assert [rows_after(batch) for batch in batches] == [0, 40, 40]
    assert view.recorded(EVENTS, 0) == batches[1].messages[-1].position
    assert rows_after(Batch(TICK, 0, [])) == 40
    clock.now += FLUSH_S
    assert rows_after(Batch(TICK, 0, [])) == 50
    assert view.recorded(EVENTS, 0) == batches[2].messages[-1].position
    assert view.recorded(EVENTS, 1) == START
    assert view.recorded("updates", 0) is None


def test_the_dataflow_records_what_is_in_the_log(switched_log: Any, switched_state: Any, warehouse: Any) -> None:
    fill(switched_log, 60)
    view = RecordView(state=switched_state, log=switched_log, warehouse=warehouse, partitions=PARTITIONS)

    run(build("record", [view], lambda: switched_log, stop_at_head=True))
    clock = Clock()
    read_all(open_view(switched_log, switched_state, warehouse, clock), switched_log, clock)

    logged(switched_log, warehouse)


def test_a_partition_that_is_given_up_is_recorded_first_and_once(
    switched_log: Any, switched_state: Any, warehouse: Any
) -> None:
    clock = Clock()
    fill(switched_log, 20)
    first = open_view(switched_log, switched_state, warehouse, clock)
    for batch in switched_log.port.read(first.positions(), max_messages=100, wait_s=0.0):
        first.step(batch)()
    assert recorded(warehouse)["events"] == []

    first.release(0)
    second = RecordView(state=switched_state, log=switched_log, warehouse=warehouse, partitions=PARTITIONS, clock=clock)
    second.adopt(0)
    fill(switched_log, 20, first=20)
    read_all(first, switched_log, clock)
    read_all(second, switched_log, clock)

    assert (set(first.adopted), set(second.adopted)) == ({1}, {0})
    logged(switched_log, warehouse)


def test_a_correction_does_not_take_the_place_of_its_example(
    switched_log: Any, switched_state: Any, warehouse: Any
) -> None:
    example = Example("r", 1, "home", T0, "3", ["f"], b"\0" * 8, [1, 2], [False, True])
    correction = msgspec.structs.replace(
        example, features=b"\0" * 4, positions=[2], clicked=[True], outcomes=[PURCHASE], is_correction=True
    )
    switched_log.port.append(EXAMPLES, [(0, encode_example(one)) for one in (example, correction, correction)])
    clock = Clock()

    read_all(open_view(switched_log, switched_state, warehouse, clock), switched_log, clock)

    rows = warehouse.query("SELECT correction, slots FROM outcomes FINAL ORDER BY correction")
    assert [tuple(row) for row in rows] == [("", [1, 2]), ("2:4", [2])]


def test_a_warehouse_of_an_older_version_learns_of_corrections(warehouse: Any) -> None:
    statement = files("online.tables").joinpath("outcomes.sql").read_text(encoding="utf-8").split(";\n")[0]
    old = re.sub(r",\n    correction String[^\n]*", "", statement).replace(", correction)", ")")
    warehouse.execute(old)

    for _ in range(2):
        create_tables(warehouse)

    (row,) = warehouse.query(
        "SELECT sorting_key FROM system.tables WHERE database = currentDatabase() AND name = 'outcomes'"
    )
    assert row[0] == "surface, recommendation_id, correction"
