from __future__ import annotations

from typing import Any

import pytest

from flows.bridge import BridgeError, kafka
from flows.bridge.kafka import find_topic
from flows.bridge.producer import TopicWriter, make_topic, read_topic
from headrace.supervisor import free_port
from online.ports import Unavailable


def test_brokers_that_do_not_answer_are_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    brokers = f"127.0.0.1:{free_port()}"
    monkeypatch.setattr(kafka, "TIMEOUT_S", 0.2)

    with pytest.raises(Unavailable, match=f"no Kafka answers at {brokers}"):
        find_topic(brokers, "clicks", group="g")


def test_a_topic_that_is_not_there_is_told_in_one_line(kafka_broker: Any) -> None:
    with pytest.raises(BridgeError, match="'no-such-topic' cannot be read"):
        find_topic(kafka_broker.url, "no-such-topic", group="g")


def test_a_topic_has_an_id_of_its_own(kafka_broker: Any) -> None:
    for name in ("one", "other"):
        make_topic(kafka_broker.url, f"id-{name}", 1)

    ids = {find_topic(kafka_broker.url, f"id-{name}", group="g").id for name in ("one", "other")}

    assert len(ids) == 2
    assert not ids & {"id-one", "id-other"}


def test_what_was_written_is_read(kafka_broker: Any) -> None:
    make_topic(kafka_broker.url, "written", 2)
    writer = TopicWriter(kafka_broker.url, "written")
    writer.send([(0, b"a"), (1, b"b"), (0, b"c")])
    writer.flush()

    found = read_topic(kafka_broker.url, "written", 2)

    assert writer.acknowledged == 3
    assert sorted((m.partition, m.offset, m.value) for m in found) == [(0, 0, b"a"), (0, 1, b"c"), (1, 0, b"b")]
    assert all(m.time > 1.7e9 for m in found)
