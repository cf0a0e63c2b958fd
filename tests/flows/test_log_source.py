from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import flows.log_source
from flows.log_source import MOVE, TICK, LogSource
from online.ports import START, Batch

AFTER = {("events", 0): START, ("events", 1): START, ("items", 0): START}


class Reading:
    """Work that the test changes."""

    def __init__(self, after: Mapping[tuple[str, int], str] = AFTER) -> None:
        self.after = dict(after)
        self.next: dict[tuple[str, int], str] | None = None
        self.moves = 0

    def is_due(self) -> bool:
        return self.next is not None

    def positions(self) -> Mapping[tuple[str, int], str]:
        return self.after

    def move(self) -> None:
        assert self.next is not None
        self.after, self.next = self.next, None
        self.moves += 1


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.log_source, "RETRY_S", 0.001)
    monkeypatch.setattr(flows.log_source, "READ_WAIT_S", 0.02)
    monkeypatch.setattr(flows.log_source, "IDLE_WAIT_S", 0.01)


def batches(source: LogSource, within_s: float = 10.0) -> Iterator[Batch]:
    """Yield what the source gives until it ends."""
    partition = source.build("read_log", 0, 1)
    deadline = time.monotonic() + within_s
    try:
        while time.monotonic() < deadline:
            try:
                yield from partition.next_batch()
            except StopIteration:
                return
        pytest.fail("the source did not end")
    finally:
        partition.close()


def fill(log: Any, topic: str, partition: int, numbers: range) -> list[str]:
    positions: list[str] = log.port.append(topic, [(partition, b"%d" % n) for n in numbers])
    return positions


def payloads(found: list[Batch], topic: str, partition: int) -> list[int]:
    return [int(m.payload) for b in found if (b.topic, b.partition) == (topic, partition) for m in b.messages]


def test_every_message_comes_once_in_order_and_each_batch_has_one_partition(switched_log: Any) -> None:
    for topic, partition, count in (("events", 0, 25), ("events", 1, 7), ("items", 0, 12)):
        fill(switched_log, topic, partition, range(count))

    found = list(batches(LogSource(lambda: switched_log, Reading(), batch_messages=5, stop_at_head=True)))

    assert payloads(found, "events", 0) == list(range(25))
    assert payloads(found, "events", 1) == list(range(7))
    assert payloads(found, "items", 0) == list(range(12))
    assert max(len(batch.messages) for batch in found) == 5


def test_reading_goes_on_behind_the_given_positions(switched_log: Any) -> None:
    positions = fill(switched_log, "events", 0, range(10))
    after = {**AFTER, ("events", 0): positions[6]}

    found = list(batches(LogSource(lambda: switched_log, Reading(after), stop_at_head=True)))

    assert payloads(found, "events", 0) == [7, 8, 9]
    assert after["events", 0] == positions[6]


def test_an_outage_is_waited_for(switched_log: Any) -> None:
    fill(switched_log, "events", 0, range(3))
    switched_log.fail_times = 5

    found = list(batches(LogSource(lambda: switched_log, Reading(), stop_at_head=True)))

    assert payloads(found, "events", 0) == [0, 1, 2]


def test_without_an_end_messages_come_as_they_are_appended(switched_log: Any) -> None:
    source = batches(LogSource(lambda: switched_log, Reading()))
    fill(switched_log, "events", 0, range(1))
    assert payloads([next(source)], "events", 0) == [0]

    timer = threading.Timer(0.05, fill, (switched_log, "events", 1, range(2)))
    timer.start()

    assert payloads([next(source)], "events", 1) == [0, 1]
    timer.join()
    source.close()


def test_ticks_come_between_batches_and_while_there_are_none(switched_log: Any) -> None:
    fill(switched_log, "events", 0, range(4))
    source = batches(LogSource(lambda: switched_log, Reading(), tick_s=0.02))

    found = [next(source) for _ in range(5)]
    source.close()

    assert payloads(found, "events", 0) == [0, 1, 2, 3]
    assert [batch for batch in found if not batch.messages] == [Batch(TICK, 0, [])] * 4


def test_an_error_of_the_log_ends_the_dataflow(switched_log: Any) -> None:
    source = LogSource(lambda: switched_log, Reading({("no such topic", 0): START}), stop_at_head=True)

    with pytest.raises(KeyError, match="no such topic"):
        list(batches(source))


def test_several_workers_of_one_process_are_refused(switched_log: Any) -> None:
    with pytest.raises(ValueError, match="independent processes"):
        LogSource(lambda: switched_log, Reading()).build("read_log", 0, 2)


def test_closing_ends_the_reader(switched_log: Any) -> None:
    partition = LogSource(lambda: switched_log, Reading()).build("read_log", 0, 1)
    partition.close()

    deadline = time.monotonic() + 5.0
    while any(thread.name == "log-reader" and thread.is_alive() for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "the reader goes on"
        time.sleep(0.01)


def test_partitions_come_and_go_behind_every_batch_given_before(switched_log: Any) -> None:
    first = fill(switched_log, "events", 0, range(20))
    fill(switched_log, "events", 1, range(100, 105))
    reading = Reading({("events", 0): START})
    source = batches(LogSource(lambda: switched_log, reading, batch_messages=5))
    assert payloads([next(source)], "events", 0) == [0, 1, 2, 3, 4]

    reading.next = {("events", 0): first[4], ("events", 1): START}
    assert next(source) == Batch(MOVE, 0, [])
    reading.move()

    found = [next(source) for _ in range(4)]
    assert payloads(found, "events", 0) == list(range(5, 20))
    assert payloads(found, "events", 1) == list(range(100, 105))
    source.close()


def test_nothing_is_given_while_partitions_move(switched_log: Any) -> None:
    fill(switched_log, "events", 0, range(20))
    reading = Reading({("events", 0): START})
    reading.next = {}
    partition = LogSource(lambda: switched_log, reading, batch_messages=5).build("read_log", 0, 1)

    given = [partition.next_batch() for _ in range(20)]
    reading.move()
    given += [partition.next_batch() for _ in range(5)]
    partition.close()

    assert [batch for some in given for batch in some] == [Batch(MOVE, 0, [])]
