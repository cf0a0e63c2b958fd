"""The other side of the bridge, for those who prove or measure it: a topic, and what is put into it."""

from __future__ import annotations

import time
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as Received
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from online.ports import Unavailable

from .kafka import TIMEOUT_S, KafkaMessage, received

PATIENCE_S = 120.0  # a broker may be killed meanwhile


def make_topic(brokers: str, name: str, partitions: int) -> None:
    """Create a topic, of which every broker keeps what it acknowledges.

    Raises:
        Unavailable: no broker does it.
    """
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    try:
        admin.create_topics([NewTopic(name, partitions)], operation_timeout=TIMEOUT_S)[name].result(TIMEOUT_S)
    except (KafkaException, TimeoutError) as error:
        raise Unavailable(f"no Kafka makes a topic at {brokers} ({error})") from None


class TopicWriter:
    """Puts messages into a topic, each once, also when a broker is killed meanwhile."""

    def __init__(self, brokers: str, name: str) -> None:
        self._name = name
        self._producer = Producer(
            {
                "bootstrap.servers": brokers,
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.timeout.ms": int(PATIENCE_S * 1000),
                "log_level": 0,
            }
        )
        self.acknowledged = 0

    def send(self, messages: Iterable[tuple[int, bytes]]) -> None:
        """Put (partition, value) pairs on their way."""
        for partition, value in messages:
            while not self._is_taken(partition, value):
                self._producer.poll(0.1)
            self._producer.poll(0.0)

    def flush(self) -> None:
        """Wait until everything is acknowledged.

        Raises:
            Unavailable: not all of it was.
        """
        if self._producer.flush(PATIENCE_S):
            raise Unavailable(f"Kafka did not acknowledge all messages within {PATIENCE_S:g} s")

    def _is_taken(self, partition: int, value: bytes) -> bool:
        try:
            self._producer.produce(self._name, value, partition=partition, on_delivery=self._delivered)
        except BufferError:
            return False
        return True

    def _delivered(self, error: KafkaError | None, _: Received) -> None:
        self.acknowledged += error is None


def read_topic(brokers: str, name: str, partitions: int) -> list[KafkaMessage]:
    """Return all that a topic holds.

    Raises:
        Unavailable: it cannot be read.
    """
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": f"{name}-reader", "log_level": 0})
    try:
        places = [TopicPartition(name, partition, 0) for partition in range(partitions)]
        left = sum(consumer.get_watermark_offsets(place, timeout=TIMEOUT_S)[1] for place in places)
        consumer.assign(places)
        found: list[KafkaMessage] = []
        deadline = time.monotonic() + PATIENCE_S
        while len(found) < left:
            if time.monotonic() > deadline:
                raise Unavailable(f"Kafka gave {len(found)} of the {left} messages of {name} in {PATIENCE_S:g} s")
            found += [received(one) for one in consumer.consume(5000, 0.2) if one.error() is None]
    except KafkaException as error:
        raise Unavailable(f"the topic {name} cannot be read at {brokers} ({error})") from None
    finally:
        consumer.close()
    return found
