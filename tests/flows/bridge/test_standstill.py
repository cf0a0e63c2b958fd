from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

import flows.bridge.standstill
from flows.bridge.kafka import KafkaTopic, find_topic
from flows.bridge.producer import TopicWriter, make_topic
from flows.bridge.standstill import Standstill
from headrace.supervisor import free_port


def test_it_is_a_standstill_when_there_is_more_and_the_group_gets_no_further(kafka_broker: Any) -> None:
    make_topic(kafka_broker.url, "still", 2)
    topic = find_topic(kafka_broker.url, "still", group="still")
    writer = TopicWriter(kafka_broker.url, "still")
    group = Consumer({"bootstrap.servers": kafka_broker.url, "group.id": "still"})
    standstill = Standstill(topic)

    def looks(written: int, committed: int | None) -> bool:
        writer.send([(1, b"a")] * written)
        writer.flush()
        if committed is not None:
            group.commit(offsets=[TopicPartition("still", 1, committed)], asynchronous=False)
        return standstill.is_one()

    assert not looks(0, None)  # there is nothing
    assert not looks(2, None)  # there is something, which has just come
    assert looks(0, None)
    assert not looks(0, 1)  # it moves
    assert looks(1, None)
    assert not looks(0, 3)  # it is at the end
    assert not looks(0, None)

    standstill.close()
    group.close()


def test_brokers_that_are_away_are_no_standstill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.bridge.standstill, "TIMEOUT_S", 0.2)
    standstill = Standstill(KafkaTopic(f"127.0.0.1:{free_port()}", "clicks", "id", "group"))

    assert not standstill.is_one()
    standstill.close()
