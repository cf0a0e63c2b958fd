"""The contract of the event log, on every adapter."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator

import pytest

from online.connect import open_log
from online.ports import START, EventLog


@pytest.fixture(params=["memory", "redis"])
def log(request: pytest.FixtureRequest) -> Iterator[EventLog]:
    url = "memory:" if request.param == "memory" else request.getfixturevalue("redis_url")
    log = open_log(url)
    yield log
    log.close()


@pytest.fixture
def topic(log: EventLog) -> str:
    name = f"t{uuid.uuid4().hex[:8]}"
    log.create(name, 2)
    return name


def read_all(log: EventLog, topic: str, partition: int, after: str = START, most: int = 100) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    while batches := log.read({(topic, partition): after}, max_messages=most, wait_s=0.0):
        (batch,) = batches
        assert (batch.topic, batch.partition) == (topic, partition)
        found += batch.messages
        after = batch.messages[-1].position
    return found


def test_create_keeps_the_first_number_of_partitions(log: EventLog, topic: str) -> None:
    assert log.create(topic, 9) == 2


def test_messages_come_back_in_order_of_their_partition(log: EventLog, topic: str) -> None:
    positions = log.append(topic, [(0, b"a"), (1, b"b"), (0, b"c")])
    positions += log.append(topic, [(0, b"d")])

    assert read_all(log, topic, 0) == [(positions[0], b"a"), (positions[2], b"c"), (positions[3], b"d")]
    assert read_all(log, topic, 1) == [(positions[1], b"b")]


def test_positions_sort_in_log_order(log: EventLog, topic: str) -> None:
    positions = [p for i in range(30) for p in log.append(topic, [(0, b"%d" % i), (0, b"x")])]

    assert positions == sorted(positions)
    assert len(set(positions)) == 60
    assert min(positions) > START


def test_reading_resumes_behind_any_position(log: EventLog, topic: str) -> None:
    positions = log.append(topic, [(0, b"%d" % i) for i in range(1200)])

    for at in (0, 1, 498, 499, 500, 1198):
        assert [payload for _, payload in read_all(log, topic, 0, positions[at])] == [
            b"%d" % i for i in range(at + 1, 1200)
        ]
    assert read_all(log, topic, 0, positions[-1]) == []


def test_a_small_limit_still_reads_everything_once(log: EventLog, topic: str) -> None:
    for i in range(40):
        log.append(topic, [(0, b"%d" % i)])

    assert [payload for _, payload in read_all(log, topic, 0, most=3)] == [b"%d" % i for i in range(40)]


def test_several_partitions_are_read_in_one_call(log: EventLog, topic: str) -> None:
    log.append(topic, [(0, b"a"), (1, b"b")])

    batches = log.read({(topic, 0): START, (topic, 1): START}, max_messages=10, wait_s=0.0)

    assert {(b.partition, b.messages[0].payload) for b in batches} == {(0, b"a"), (1, b"b")}


def test_a_waiting_reader_wakes_when_a_message_arrives(log: EventLog, topic: str) -> None:
    timer = threading.Timer(0.2, lambda: log.append(topic, [(1, b"late")]))
    timer.start()
    began = time.monotonic()

    batches = log.read({(topic, 0): START, (topic, 1): START}, max_messages=10, wait_s=2.0)
    timer.join()

    assert [m.payload for b in batches for m in b.messages] == [b"late"]
    assert time.monotonic() - began < 1.5


def test_an_idle_read_returns_empty_after_its_wait(log: EventLog, topic: str) -> None:
    assert log.read({(topic, 0): START}, max_messages=10, wait_s=0.05) == []


def test_the_extent_counts_messages_ever_appended(log: EventLog, topic: str) -> None:
    assert log.extent(topic, 0) == (0, START, START)
    positions = log.append(topic, [(0, b"a"), (0, b"b"), (1, b"c")])

    assert log.extent(topic, 0) == (2, positions[0], positions[1])


def test_trimming_never_loses_what_is_behind_the_position(log: EventLog, topic: str) -> None:
    positions = [p for i in range(10) for p in log.append(topic, [(0, b"%d" % i)])]

    log.trim(topic, 0, positions[6])

    kept = read_all(log, topic, 0)
    assert [payload for _, payload in kept[-3:]] == [b"7", b"8", b"9"]
    assert len(kept) < 10
    assert log.extent(topic, 0).appended == 10
    assert log.extent(topic, 0).first == kept[0][0]


def test_a_time_names_the_position_in_front_of_later_messages(log: EventLog, topic: str) -> None:
    log.append(topic, [(0, b"old")])
    time.sleep(0.02)
    moment = time.time()
    time.sleep(0.02)
    log.append(topic, [(0, b"new")])

    after = log.before(topic, 0, moment)

    assert [payload for _, payload in read_all(log, topic, 0, after)] == [b"new"]


def test_concurrent_writers_lose_nothing(log: EventLog, topic: str) -> None:
    def write(name: int) -> None:
        for i in range(50):
            log.append(topic, [(i % 2, b"%d-%d" % (name, i))])

    writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    payloads = [payload for p in (0, 1) for _, payload in read_all(log, topic, p)]
    assert sorted(payloads) == sorted(b"%d-%d" % (n, i) for n in range(4) for i in range(50))
