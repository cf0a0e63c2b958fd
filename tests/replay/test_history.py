from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest

from flows.record import create_tables
from online.adapters.memory_log import MemoryLog
from online.connect import open_warehouse
from online.core.rows import blocks
from online.ports import START, Batch, Message, Warehouse
from replay.history import CHUNK, archived, history, logged
from schemas.event import Event, encode_event

TOPIC, DAY_S = "events", 86_400.0


@pytest.fixture(scope="module")
def warehouse(warehouse_url: str) -> Iterator[Warehouse]:
    server = open_warehouse(warehouse_url)
    server.execute("CREATE DATABASE test_history")
    opened = open_warehouse(f"{warehouse_url.rpartition('/')[0]}/test_history")
    create_tables(opened)
    yield opened
    opened.close()
    server.execute("DROP DATABASE test_history")
    server.close()


def payloads(n: int, partition: int) -> list[bytes]:
    """Return n events, a day apart, so that the archive holds them in several blocks."""
    return [
        encode_event(
            Event(event_id=f"{partition}-{i}", event_type="click", timestamp=i, received_at=DAY_S * i, user_id="1")
        )
        for i in range(1, n + 1)
    ]


def archive(warehouse: Warehouse, log: MemoryLog, partition: int, messages: int) -> None:
    for batch in log.read({(TOPIC, partition): START}, max_messages=messages, wait_s=0.0):
        for block in blocks(batch):
            warehouse.insert(block.table.name, block.table.columns, block.rows, token=block.token)


def read(batches: Iterator[Batch]) -> list[Message]:
    return [message for batch in batches for message in batch.messages]


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog()
    log.create(TOPIC, 16)
    return log


@pytest.mark.parametrize(("partition", "held", "trimmed"), [(0, 0, 0), (1, 5, 0), (2, 5, 3), (3, 5, 5), (4, 9, 9)])
def test_archive_and_log_together_are_the_whole_in_order(
    warehouse: Warehouse, log: MemoryLog, partition: int, held: int, trimmed: int
) -> None:
    sent = payloads(9, partition)
    positions = log.append(TOPIC, [(partition, payload) for payload in sent])
    if held:
        archive(warehouse, log, partition, held)
    if trimmed:
        log.trim(TOPIC, partition, positions[trimmed - 1])

    found = read(history(log, warehouse, TOPIC, partition, positions[-1]))

    assert found == [Message(*pair) for pair in zip(positions, sent, strict=True)]


@pytest.mark.parametrize(("partition", "until"), [(5, 1), (6, 3), (7, 4), (8, 6)])
def test_history_ends_with_the_position_it_is_asked_for(
    warehouse: Warehouse, log: MemoryLog, partition: int, until: int
) -> None:
    sent = payloads(6, partition)
    positions = log.append(TOPIC, [(partition, payload) for payload in sent])
    archive(warehouse, log, partition, 4)
    log.trim(TOPIC, partition, positions[2])

    found = read(history(log, warehouse, TOPIC, partition, positions[until - 1]))

    assert [message.position for message in found] == positions[:until]


def test_what_is_trimmed_while_it_is_read_comes_from_the_archive(
    warehouse: Warehouse, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replay.history.CHUNK", 2)
    sent = payloads(9, 11)
    positions = log.append(TOPIC, [(11, payload) for payload in sent])
    past = history(log, warehouse, TOPIC, 11, positions[-1])
    found = [*next(past).messages]
    archive(warehouse, log, 11, 7)
    log.trim(TOPIC, 11, positions[6])

    found += [message for batch in past for message in batch.messages]

    assert found == [Message(*pair) for pair in zip(positions, sent, strict=True)]


def test_the_archive_gives_back_every_byte(warehouse: Warehouse, log: MemoryLog) -> None:
    poison = [b"\xff\xfe\x00", b"", b"ff", "ü".encode()]
    log.append(TOPIC, [(9, payload) for payload in poison])
    archive(warehouse, log, 9, len(poison))

    assert [message.payload for message in read(archived(warehouse, TOPIC, 9, START))] == poison


def test_an_archive_longer_than_a_chunk_is_read_on(warehouse: Warehouse, log: MemoryLog) -> None:
    event = payloads(1, 10)[0]
    positions = log.append(TOPIC, [(10, event)] * (CHUNK + 3))
    archive(warehouse, log, 10, CHUNK + 3)

    found = read(archived(warehouse, TOPIC, 10, positions[-1]))

    assert [message.position for message in found] == positions[:-1]


def test_documents_are_in_a_table_of_their_own(warehouse: Warehouse, log: MemoryLog) -> None:
    columns = ("topic", "partition", "position", "day", "updated_at", "id", "payload")
    row = ("items", 0, "1", date(2026, 1, 1), 0, "a", b"{}")
    warehouse.insert("documents", columns, [row], token="items")

    assert read(archived(warehouse, "items", 0, START)) == [Message("1", b"{}")]
    assert read(archived(warehouse, "users", 0, START)) == []


def test_the_log_alone_is_read_behind_a_position(log: MemoryLog) -> None:
    positions = log.append(TOPIC, [(0, b"a"), (1, b"other"), (0, b"b")])

    assert read(logged(log, TOPIC, 0)) == [Message(positions[0], b"a"), Message(positions[2], b"b")]
    assert read(logged(log, TOPIC, 0, positions[0])) == [Message(positions[2], b"b")]
    assert read(logged(log, TOPIC, 0, positions[2])) == []
