"""The bridge as a Bytewax dataflow: large batches, for topics that bring more than faust can take.

Bytewax' own Kafka source hands on single messages and keeps offsets in its recovery store; here each batch is one item,
and its offsets are kept in the consumer group once the batch is in the log, as faust does.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event as Flag

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as Received

from flows.view import run as run_flow

from . import BridgeError
from .forwarder import Stopped
from .kafka import SESSION_TIMEOUT_S, KafkaMessage, KafkaTopic, received

logger = logging.getLogger(__name__)

BATCH_MESSAGES = 5000
WAIT_S = 0.05  # for a batch to fill; then it goes on with what there is

Batch = list[KafkaMessage]
Forward = Callable[[Sequence[KafkaMessage]], None]


def run(topic: KafkaTopic, forward: Forward, stop: Flag) -> None:
    """Forward until SIGTERM or SIGINT.

    Raises:
        BridgeError: Kafka does not let this member go on.
        LogError: the log can never keep one of the messages.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    consumer = open_consumer(topic)
    try:
        run_flow(build(consumer, topic, forward, stop))
    except BytewaxRuntimeError as error:
        raise _cause(error) from None
    finally:
        consumer.close()


def _cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    if not isinstance(error, KafkaException):
        return error
    return BridgeError(f"Kafka: {error.args[0].str()}: started again, it goes on where it stood")


def open_consumer(topic: KafkaTopic) -> Consumer:
    """Return a member of the topic's group; its stored offsets are committed each second and when it is closed."""
    config: dict[str, str | int | float | bool | None] = {
        "bootstrap.servers": topic.brokers,
        "group.id": topic.group,
        "partition.assignment.strategy": "roundrobin",
        "auto.offset.reset": "earliest",
        "enable.auto.offset.store": False,
        "auto.commit.interval.ms": 1000,
        "session.timeout.ms": int(SESSION_TIMEOUT_S * 1000),
        "log_level": 3,
    }
    if topic.member is not None:
        config["group.instance.id"] = topic.member
    consumer = Consumer(config)
    consumer.subscribe([topic.name])
    return consumer


def build(consumer: Consumer, topic: KafkaTopic, forward: Forward, stop: Flag) -> Dataflow:
    """Return the dataflow, which ends when `stop` is set."""
    flow = Dataflow("kafka_bridge")
    batches = op.input("read_kafka", flow, _Source(consumer, stop))
    op.output("append_to_log", batches, _Sink(consumer, topic, forward))
    return flow


class _Source(DynamicSource[Batch]):
    def __init__(self, consumer: Consumer, stop: Flag) -> None:
        self._consumer, self._stop = consumer, stop

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatelessSourcePartition[Batch]:
        return _Reader(self._consumer, self._stop)


class _Reader(StatelessSourcePartition[Batch]):
    def __init__(self, consumer: Consumer, stop: Flag) -> None:
        self._consumer, self._stop = consumer, stop
        self._is_busy = False

    def next_batch(self) -> list[Batch]:
        if self._stop.is_set():
            raise StopIteration
        # Right after a batch the dataflow still has work downstream: do not block in front of it.
        found = self._consumer.consume(BATCH_MESSAGES, 0.0 if self._is_busy else WAIT_S)
        batch = [received(one) for one in found if _is_sound(one)]
        self._is_busy = bool(batch)
        return [batch] if batch else []


class _Sink(DynamicSink[Batch]):
    def __init__(self, consumer: Consumer, topic: KafkaTopic, forward: Forward) -> None:
        self._consumer, self._topic, self._forward = consumer, topic, forward

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatelessSinkPartition[Batch]:
        return _Writer(self._consumer, self._topic, self._forward)


class _Writer(StatelessSinkPartition[Batch]):
    def __init__(self, consumer: Consumer, topic: KafkaTopic, forward: Forward) -> None:
        self._consumer, self._topic, self._forward = consumer, topic, forward

    def write_batch(self, items: list[Batch]) -> None:
        with suppress(Stopped):
            for batch in items:
                self._forward(batch)
                self._store({message.partition: message.offset + 1 for message in batch})

    def _store(self, offsets: dict[int, int]) -> None:
        for partition, offset in offsets.items():
            with suppress(KafkaException):  # the partition is another member's now, which repeats what is not committed
                self._consumer.store_offsets(offsets=[TopicPartition(self._topic.name, partition, offset)])


def _is_sound(one: Received) -> bool:
    """Say whether it is a message.

    Raises:
        KafkaException: this consumer can never go on.
    """
    error = one.error()
    if error is None:
        return True
    if error.fatal() or error.code() == KafkaError._FATAL:  # the latter carries the former without its mark
        raise KafkaException(error)
    logger.warning("Kafka: %s", error.str())
    return False
