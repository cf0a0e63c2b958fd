from __future__ import annotations

import json
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from online.adapters.pulsar_log import PulsarLog
from online.adapters.pulsar_writer import PENDING
from online.ports import START, LogError, Position, Unavailable
from schemas.event import Event

pytestmark = pytest.mark.brokers

NAMESPACE = "public/adapter"


def url_of(broker: Any) -> str:
    return f"{broker.url}/{NAMESPACE}?admin={broker.admin_url}"


@pytest.fixture
def log(pulsar_broker: Any) -> Iterator[PulsarLog]:
    log = PulsarLog(url_of(pulsar_broker))
    yield log
    log.close()


@pytest.fixture
def topic(log: PulsarLog) -> str:
    name = f"t{uuid.uuid4().hex[:8]}"
    log.create(name, 2)
    return name


def read_all(log: PulsarLog, topic: str, partition: int, after: Position = START) -> list[bytes]:
    found: list[bytes] = []
    while batches := log.read({(topic, partition): after}, max_messages=700, wait_s=0.0):
        found += [message.payload for message in batches[0].messages]
        after = batches[0].messages[-1].position
    return found


def test_more_than_may_be_pending_is_appended_and_read_in_order(log: PulsarLog, topic: str) -> None:
    payloads = [b"%d" % i for i in range(PENDING + 1000)]

    positions = log.append(topic, [(0, payload) for payload in payloads])

    assert positions == sorted(set(positions))
    assert read_all(log, topic, 0) == payloads


def test_a_read_starts_wherever_it_is_asked_to(log: PulsarLog, topic: str) -> None:
    positions = log.append(topic, [(0, b"%d" % i) for i in range(50)])

    for at in (40, 3, 3, 48):
        assert read_all(log, topic, 0, positions[at])[0] == b"%d" % (at + 1)


def test_a_partition_that_nobody_reads_on_keeps_no_other_waiting(log: PulsarLog, topic: str) -> None:
    log.append(topic, [(0, b"x" * 100)] * 9000)
    (first,) = log.read({(topic, 0): START}, max_messages=10, wait_s=5.0)
    log.append(topic, [(1, b"other")])

    assert read_all(log, topic, 1) == [b"other"]
    assert len(read_all(log, topic, 0, first.messages[-1].position)) == 8990


def test_a_kill_of_the_broker_loses_nothing_and_doubles_only_what_was_repeated(
    pulsar_broker: Any, log: PulsarLog, topic: str
) -> None:
    written: list[bytes] = []
    repeated: set[bytes] = set()
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            payload = b"%d" % len(written)
            try:
                log.append(topic, [(0, payload)])
            except Unavailable:
                repeated.add(payload)
                continue
            written.append(payload)

    writer = threading.Thread(target=write)
    writer.start()
    read: list[bytes] = []
    after = START

    def read_on(until: Callable[[], bool]) -> None:
        nonlocal after
        while not until():
            try:
                batches = log.read({(topic, 0): after}, max_messages=500, wait_s=0.2)
            except Unavailable:
                continue
            for batch in batches:
                read.extend(message.payload for message in batch.messages)
                after = batch.messages[-1].position

    read_on(lambda: len(read) > 200)
    pulsar_broker.kill()
    before = len(read)
    read_on(lambda: len(read) > before + 200)
    stop.set()
    writer.join()
    read_on(lambda: written[-1] in read[-3:])

    assert list(dict.fromkeys(read)) == written
    assert {payload for payload in read if read.count(payload) > 1} <= repeated


def test_idle_readers_cost_nothing(log: PulsarLog) -> None:
    name = f"idle{uuid.uuid4().hex[:8]}"
    log.create(name, 8)
    after = {(name, partition): START for partition in range(8)}
    log.read(after, max_messages=1, wait_s=0.5)
    began = time.process_time()

    log.read(after, max_messages=1, wait_s=2.0)

    assert time.process_time() - began < 0.05


def test_a_message_that_the_broker_can_never_take_is_no_reason_to_try_again(log: PulsarLog, topic: str) -> None:
    with pytest.raises(LogError, match="MessageTooBig"):
        log.append(topic, [(0, b"x" * 6_000_000)])

    log.append(topic, [(0, b"small")])
    assert read_all(log, topic, 0) == [b"small"]


class Shrunk(msgspec.Struct, kw_only=True):
    """An event that has lost what earlier ones had, and cannot do without what they lacked."""

    event_id: float
    colour: str


def test_the_broker_checks_that_event_schemas_go_together(pulsar_broker: Any, log: PulsarLog, topic: str) -> None:
    log.create(topic, 2, Event)
    log.create(topic, 2, Event)
    with pytest.raises(LogError, match=f"Pulsar holds messages of {topic} whose schema does not go with this"):
        log.create(topic, 2, Shrunk)

    held = json.loads(admin(pulsar_broker, "GET", f"schemas/{NAMESPACE}/{topic}/schema"))
    assert (held["type"], held["version"]) == ("JSON", 0)
    assert json.loads(held["data"])["fields"][0] == {"name": "event_id", "type": "string"}


def test_the_broker_takes_a_schema_with_a_field_more(pulsar_broker: Any, log: PulsarLog, topic: str) -> None:
    log.create(topic, 2, Event)
    log.create(topic, 2, msgspec.defstruct("Event", [("colour", str | None, None)], bases=(Event,), kw_only=True))
    log.create(topic, 2, Event)  # a process of the version before, started again

    held = json.loads(admin(pulsar_broker, "GET", f"schemas/{NAMESPACE}/{topic}/schema"))
    assert held["version"] == 1


def test_only_what_is_trimmed_goes(
    pulsar_broker: Any, log: PulsarLog, topic: str, eventually: Callable[..., Any]
) -> None:
    partition = f"persistent/{NAMESPACE}/{topic}-partition-0"
    positions = []
    for i in range(3):
        positions += log.append(topic, [(0, b"%d" % i)])
        admin(pulsar_broker, "PUT", f"{partition}/unload")  # the next message begins a ledger
    log.append(topic, [(0, b"3")])

    admin(pulsar_broker, "POST", f"{partition}/trim")
    assert read_all(log, topic, 0) == [b"0", b"1", b"2", b"3"]
    log.trim(topic, 0, positions[1])

    def is_trimmed() -> bool:
        admin(pulsar_broker, "POST", f"{partition}/trim")
        return log.extent(topic, 0).first > positions[0]

    eventually(is_trimmed)
    assert read_all(log, topic, 0) == [b"1", b"2", b"3"]
    assert log.behind(topic, 0, positions[0]) == 3


def admin(broker: Any, method: str, path: str) -> str:
    request = urllib.request.Request(f"{broker.admin_url}/admin/v2/{path}", method=method)
    with urllib.request.urlopen(request, timeout=10.0) as answer:
        text: str = answer.read().decode()
    return text
