from __future__ import annotations

import json
import threading
from threading import Event as Flag
from typing import Any

import pytest

from flows.bridge.forwarder import Counts, Forwarder, Stopped
from flows.bridge.kafka import KafkaMessage, KafkaTopic
from online.core.catalogue import ITEM_DOCUMENT
from online.core.dead_letter import DEAD, DeadLetter, decode_dead_letter
from online.core.foreign_event import EventMapping
from online.core.partition import EVENTS, partition_of
from replay.history import logged
from schemas.event import Event, decode_event

PARTITIONS, NOW = 2, 1_767_225_600.0
TOPIC = KafkaTopic("localhost:9092", "clicks", "id", "headrace")


def click(partition: int, offset: int, time: float = NOW - 60.0, **fields: Any) -> KafkaMessage:
    document = {"event_type": "click", "user_id": f"u{offset % 3}", "item_id": "a", **fields}
    return KafkaMessage(partition, offset, time, json.dumps(document).encode())


@pytest.fixture
def stop() -> Flag:
    return Flag()


@pytest.fixture
def forwarder(switched_log: Any, switched_state: Any, stop: Flag) -> Forwarder:
    return Forwarder(
        TOPIC,
        EventMapping(),
        log=switched_log,
        state=switched_state,
        partitions=PARTITIONS,
        stop=stop,
        clock=lambda: NOW,
    )


def events(log: Any, partition: int) -> list[Event]:
    return [decode_event(m.payload) for batch in logged(log.port, EVENTS, partition) for m in batch.messages]


def letters(log: Any) -> list[DeadLetter]:
    return [decode_dead_letter(m.payload) for batch in logged(log.port, DEAD, 0) for m in batch.messages]


def test_messages_go_to_their_users_partition_in_order(forwarder: Forwarder, switched_log: Any) -> None:
    forwarder.forward([click(0, offset) for offset in range(12)])

    for partition in range(PARTITIONS):
        found = events(switched_log, partition)
        assert {partition_of(event.user_key, PARTITIONS) for event in found} <= {partition}
        assert [e.event_id for e in found] == sorted((e.event_id for e in found), key=lambda i: int(i.split(":")[-1]))
    assert forwarder.counts == Counts(forwarded=12)


def test_a_repeated_message_changes_nothing(forwarder: Forwarder, switched_log: Any) -> None:
    messages = [click(0, 0), click(1, 0), KafkaMessage(0, 1, NOW, b"{"), click(0, 2)]
    forwarder.forward(messages)
    before = [events(switched_log, partition) for partition in range(PARTITIONS)], letters(switched_log)

    forwarder.forward([*messages[2:], click(0, 3)])

    assert forwarder.counts == Counts(forwarded=4, dead=1, repeated=2)
    assert letters(switched_log) == before[1]
    assert sum(len(events(switched_log, p)) for p in range(PARTITIONS)) == sum(map(len, before[0])) + 1


def test_an_event_is_stamped_with_facets_and_kafkas_time(
    forwarder: Forwarder, switched_log: Any, switched_state: Any
) -> None:
    item = {"item_id": "a", "updated_at": 0.0, "created_at": 0.0, "categories": ["shoes"], "brand": "b", "price": 20.0}
    claim = switched_state.claim("catalogue", 0)
    writes = {ITEM_DOCUMENT: {"a": json.dumps(item).encode()}}
    switched_state.commit("catalogue", 0, claim.generation, writes, b"")

    forwarder.forward([click(0, 0, user_id="u"), click(0, 1, user_id="u", item_id="unknown")])

    known, unknown = events(switched_log, partition_of("uu", PARTITIONS))
    assert (known.items[0].categories, known.items[0].brand) == (["shoes"], "b")
    assert known.items[0].price_tier is not None
    assert (unknown.items[0].categories, unknown.items[0].brand) == ([], None)
    assert (known.received_at, known.timestamp) == (NOW - 60.0, NOW - 60.0)


@pytest.mark.parametrize("time", [NOW + 3600.0, -0.001, 0.0])
def test_a_time_that_kafka_cannot_have_taken_it_is_now(forwarder: Forwarder, switched_log: Any, time: float) -> None:
    forwarder.forward([click(0, 0, time, user_id="u")])

    assert events(switched_log, partition_of("uu", PARTITIONS))[0].received_at == NOW


def test_what_is_no_event_is_dead_lettered_with_its_place_and_bytes(forwarder: Forwarder, switched_log: Any) -> None:
    forwarder.forward([KafkaMessage(2, 41, NOW, b"\xff{"), click(2, 42)])

    (letter,) = letters(switched_log)
    assert (letter.topic, letter.partition, letter.position) == ("kafka:clicks", 2, "41")
    assert letter.payload == b"\xff{"
    assert "JSON" in letter.reason
    assert forwarder.counts == Counts(forwarded=1, dead=1)


def test_a_log_that_is_away_is_waited_for(forwarder: Forwarder, switched_log: Any, switched_state: Any) -> None:
    switched_log.is_off = switched_state.is_off = True
    thread = threading.Thread(target=forwarder.forward, args=([click(0, 0), click(0, 1)],))
    thread.start()
    thread.join(0.15)
    assert thread.is_alive()

    switched_log.is_off = switched_state.is_off = False
    thread.join(5.0)

    assert sum(len(events(switched_log, p)) for p in range(PARTITIONS)) == 2


def test_nothing_is_forwarded_behind_what_a_stop_left_out(forwarder: Forwarder, switched_log: Any, stop: Flag) -> None:
    switched_log.is_off = True
    stop.set()
    with pytest.raises(Stopped):
        forwarder.forward([click(0, 0)])

    switched_log.is_off = False
    with pytest.raises(Stopped):
        forwarder.forward([click(0, 1)])

    assert [events(switched_log, p) for p in range(PARTITIONS)] == [[], []]
