"""The contract of the event log, on every adapter."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from online.adapters.pulsar_log import PulsarLog
from online.connect import open_log
from online.ports import START, EventLog, LogError, Unavailable


def pulsar_url(broker: Any) -> str:
    return f"{broker.url}/public/contract?admin={broker.admin_url}"


URLS: dict[str, Callable[[pytest.FixtureRequest], str]] = {
    "memory": lambda request: "memory:",
    "redis": lambda request: request.getfixturevalue("redis_url"),
    "pulsar": lambda request: pulsar_url(request.getfixturevalue("pulsar_broker")),
}


@pytest.fixture(params=["memory", "redis", pytest.param("pulsar", marks=pytest.mark.brokers)])
def log(request: pytest.FixtureRequest) -> Iterator[EventLog]:
    log = open_log(URLS[request.param](request))
    yield log
    log.close()


@pytest.fixture
def opened(request: pytest.FixtureRequest, log: EventLog) -> Callable[[], EventLog]:
    """Open the same log as another process does; whoever opens it closes it."""
    name = request.node.callspec.params["log"]
    return lambda: log if name == "memory" else open_log(URLS[name](request))


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
    assert log.partitions(topic) == 2


def test_a_topic_grows_and_keeps_what_it_holds(log: EventLog, topic: str) -> None:
    log.append(topic, [(0, b"old"), (1, b"old")])

    log.grow(topic, 5)
    log.append(topic, [(4, b"new"), (0, b"new")])
    log.grow(topic, 3)

    assert log.partitions(topic) == log.create(topic, 1) == 5
    assert [[payload for _, payload in read_all(log, topic, p)] for p in (0, 4)] == [[b"old", b"new"], [b"new"]]


def test_a_topic_that_nobody_created_has_no_partitions(log: EventLog, topic: str) -> None:
    assert log.partitions(f"{topic}-other") == 0


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


def test_a_position_of_another_log_is_refused(log: EventLog, topic: str) -> None:
    for refused in ("no position", "1-2-3:4"):
        with pytest.raises(LogError, match="is no position of a"):
            log.read({(topic, 0): refused}, max_messages=1, wait_s=0.0)


def test_a_small_limit_still_reads_everything_once(log: EventLog, topic: str) -> None:
    for i in range(40):
        log.append(topic, [(0, b"%d" % i)])

    assert [payload for _, payload in read_all(log, topic, 0, most=3)] == [b"%d" % i for i in range(40)]


def test_several_partitions_are_read_together(log: EventLog, topic: str) -> None:
    log.append(topic, [(0, b"a"), (1, b"b")])

    after = {(topic, 0): START, (topic, 1): START}
    found = set()
    while batches := log.read(after, max_messages=10, wait_s=0.0):
        for batch in batches:
            after[topic, batch.partition] = batch.messages[-1].position
            found.add((batch.partition, batch.messages[0].payload))

    assert found == {(0, b"a"), (1, b"b")}


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


def test_the_extent_is_what_can_be_read(log: EventLog, topic: str) -> None:
    assert log.extent(topic, 0) == (START, START, 0)
    positions = log.append(topic, [(0, b"a" * 50), (0, b"b"), (1, b"c")])

    first, last, size = log.extent(topic, 0)

    assert (first, last) == (positions[0], positions[1])
    assert size > 50


def test_how_far_behind_a_position_is(log: EventLog, topic: str) -> None:
    assert log.behind(topic, 0, START) == 0
    positions = [p for _ in range(5) for p in log.append(topic, [(0, b"x"), (0, b"y"), (1, b"z")])]

    assert log.behind(topic, 0, START) == 10
    assert log.behind(topic, 0, positions[4]) == 6  # the last of four, at the end of an append
    assert log.behind(topic, 0, positions[-2]) == 0
    assert log.behind(topic, 1, positions[-1]) == 0


def test_how_full_it_is_is_a_share(log: EventLog, topic: str) -> None:
    log.append(topic, [(0, b"x" * 1000)] * 100)

    assert 0.0 <= log.fill() < 1.0


def test_trimming_never_loses_what_is_behind_the_position(log: EventLog, topic: str) -> None:
    positions = [p for i in range(10) for p in log.append(topic, [(0, b"%d" % i)])]

    log.trim(topic, 0, positions[6])

    kept = read_all(log, topic, 0)
    assert [payload for _, payload in kept[-3:]] == [b"7", b"8", b"9"]
    assert log.extent(topic, 0).first == kept[0][0]
    assert log.behind(topic, 0, START) == len(kept)
    assert log.behind(topic, 0, positions[7]) == 2


def test_what_is_trimmed_goes_where_single_messages_can(log: EventLog, topic: str) -> None:
    if isinstance(log, PulsarLog):
        pytest.skip("Pulsar deletes whole ledgers: see test_pulsar_log.py")
    positions = [p for i in range(10) for p in log.append(topic, [(0, b"%d" % i)])]

    log.trim(topic, 0, positions[6])

    assert len(read_all(log, topic, 0)) < 10


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


def offset_messages(first: int, last: int) -> list[tuple[int, int, bytes]]:
    return [(offset, offset % 2, b"%d" % offset) for offset in range(first, last)]


def test_what_a_source_has_sent_before_changes_nothing(log: EventLog, topic: str) -> None:
    assert log.append_from("s", topic, offset_messages(0, 10)) == 10
    assert log.append_from("s", topic, offset_messages(0, 10)) == 0
    assert log.append_from("s", topic, offset_messages(6, 14)) == 4

    for partition in (0, 1):
        expected = [b"%d" % offset for offset in range(partition, 14, 2)]
        assert [payload for _, payload in read_all(log, topic, partition)] == expected


def test_sources_count_their_offsets_apart_in_every_topic(log: EventLog, topic: str) -> None:
    log.create(f"{topic}-other", 2)

    assert log.append_from("s", topic, offset_messages(5, 9)) == 4
    assert log.append_from("t", topic, offset_messages(0, 4)) == 4
    assert log.append_from("s", f"{topic}-other", offset_messages(0, 4)) == 4


def test_a_large_batch_of_a_source_is_read_like_any_other(log: EventLog, topic: str) -> None:
    assert log.append_from("s", topic, [(offset, 0, b"%d" % offset) for offset in range(1201)]) == 1201
    log.append(topic, [(0, b"own")])

    found = read_all(log, topic, 0, most=2000)
    assert [payload for _, payload in found] == [*(b"%d" % offset for offset in range(1201)), b"own"]
    assert [position for position, _ in found] == sorted({position for position, _ in found})
    assert log.behind(topic, 0, found[-1][0]) == 0


def test_a_successor_of_a_forwarder_goes_on_where_it_stood(
    log: EventLog, topic: str, opened: Callable[[], EventLog]
) -> None:
    with closing(opened()) as first:
        first.append_from("s", topic, offset_messages(0, 7))

    assert log.append_from("s", topic, offset_messages(3, 12)) == 5

    for partition in (0, 1):
        expected = [b"%d" % offset for offset in range(partition, 12, 2)]
        assert [payload for _, payload in read_all(log, topic, partition)] == expected


def test_two_forwarders_of_one_source_keep_each_message_once(
    log: EventLog, topic: str, opened: Callable[[], EventLog]
) -> None:
    def forward(step: int) -> None:
        with closing(opened()) as port:
            for first in range(0, 120, step):
                while not is_kept(port, offset_messages(first, first + step)):
                    time.sleep(0.05)

    def is_kept(port: EventLog, messages: list[tuple[int, int, bytes]]) -> bool:
        try:
            port.append_from("s", topic, messages)
        except Unavailable:  # a log may let one of them in at a time
            return False
        return True

    forwarders = [threading.Thread(target=forward, args=(step,)) for step in (4, 6)]
    for forwarder in forwarders:
        forwarder.start()
    for forwarder in forwarders:
        forwarder.join()

    for partition in (0, 1):
        expected = [b"%d" % offset for offset in range(partition, 120, 2)]
        assert [payload for _, payload in read_all(log, topic, partition)] == expected
