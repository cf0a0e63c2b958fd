from __future__ import annotations

from collections.abc import Iterator

import pytest
from example_slate import example_slate

from flows.record import create_tables
from headrace.leakage import audit_history
from online.adapters.memory_log import MemoryLog
from online.connect import open_warehouse
from online.core.join import SLATES
from online.core.partition import EVENTS
from online.core.rows import blocks
from online.ports import START, Warehouse
from schemas.event import Event, EventItem, encode_event
from schemas.slate import encode_slate

T0 = 1_700_000_000.0


@pytest.fixture
def warehouse(warehouse_url: str) -> Iterator[Warehouse]:
    server = open_warehouse(warehouse_url)
    server.execute("CREATE DATABASE test_leakage")
    opened = open_warehouse(f"{warehouse_url.rpartition('/')[0]}/test_leakage")
    create_tables(opened)
    yield opened
    opened.close()
    server.execute("DROP DATABASE test_leakage")
    server.close()


def test_archive_and_log_are_checked_and_a_planted_leak_is_found(warehouse: Warehouse) -> None:
    log = MemoryLog()
    for topic in (SLATES, EVENTS):
        log.create(topic, 2)
    labels = [
        Event(event_id=f"e{n}", event_type="click", timestamp=T0 + 9, received_at=T0 + 9, user_id="1",
              items=[EventItem("a")], recommendation_id=f"r{n}")
        for n in range(3)
    ]  # fmt: skip
    log.append(EVENTS, [(1, encode_event(label)) for label in labels] + [(0, b"no event")])
    positions = [m.position for m in log.read({(EVENTS, 1): START}, max_messages=9, wait_s=0.0)[0].messages]
    slates = [
        example_slate(recommendation_id=f"r{n}", user_key="u1", served_at=T0, as_of={"record": T0 - 1.0})
        for n in range(3)
    ]
    slates[2].record_position = positions[2]
    log.append(SLATES, [(n % 2, encode_slate(slate)) for n, slate in enumerate(slates)])
    (batch,) = log.read({(EVENTS, 1): START}, max_messages=2, wait_s=0.0)
    for block in blocks(batch):
        warehouse.insert(block.table.name, block.table.columns, block.rows, token=block.token)
    log.trim(EVENTS, 1, positions[1])

    report = audit_history(log, warehouse, 2)

    assert (report["slates"], report["labels"], report["unreadable"]) == (3, 3, 1)
    assert [leak["recommendation_id"] for leak in report["examples"]] == ["r2"]
    assert report["leaks"] == report["features"]["seen"] == 1
    assert report["least_margin_s"] == 10.0
