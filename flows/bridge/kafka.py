"""The Kafka topic that is read: who reads it, under which names, and which topic of this name it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, TopicCollection
from confluent_kafka.admin import AdminClient

from online.core.foreign_event import ForeignMessage
from online.ports import Unavailable

from . import BridgeError

TIMEOUT_S = 5.0
SESSION_TIMEOUT_S = 10.0
"""How long the group waits for a member that is gone, unless it comes back under its own name."""
_NO_ID = "A" * 22  # a broker older than 2.8, or no real one


class KafkaMessage(NamedTuple):
    """A message of the topic; `time` is when Kafka took it (epoch seconds), 0 or less when it does not say."""

    partition: int
    offset: int
    time: float
    value: bytes


@dataclass(frozen=True, slots=True)
class KafkaTopic:
    """A topic, and as whom it is read.

    `id` is Kafka's own: a topic that is deleted and made anew counts its offsets from 0 again. `group` keeps how far it
    was read; with another group all of it is read and forwarded anew. A process that keeps its `member` name takes its
    partitions up at once after a crash; without a name they wait for `SESSION_TIMEOUT_S`.
    """

    brokers: str
    name: str
    id: str
    group: str
    member: str | None = None

    def source(self, partition: int) -> str:
        """Name a partition as a source of `EventLog.append_from`.

        >>> KafkaTopic("localhost:9092", "clicks", "Zq0x", "headrace").source(3)
        'kafka:headrace:Zq0x:3'
        """
        return f"kafka:{self.group}:{self.id}:{partition}"

    def foreign(self, message: KafkaMessage, now: float) -> ForeignMessage:
        """Return a message with its name for ever, which is the `event_id` of an event that brings none.

        It was received when Kafka took it, so that it comes out the same each time; but not after `now` (epoch
        seconds): Kafka often has that time from the producer, whose clock may be ahead.

        >>> topic = KafkaTopic("localhost:9092", "clicks", "Zq0x", "headrace")
        >>> topic.foreign(KafkaMessage(3, 17, 50.0, b"{}"), now=60.0)
        ForeignMessage(id='kafka:Zq0x:3:17', received_at=50.0, payload=b'{}')
        """
        received_at = min(message.time, now) if message.time > 0 else now
        return ForeignMessage(f"kafka:{self.id}:{message.partition}:{message.offset}", received_at, message.value)


def find_topic(brokers: str, name: str, *, group: str, member: str | None = None) -> KafkaTopic:
    """Return a topic as the brokers know it.

    Args:
        brokers: `host:port`, several of them comma-separated.
        name: of the topic.
        group: consumer group as which it is read.
        member: name of this process within the group.

    Raises:
        BridgeError: there is none, or it must not be seen.
        Unavailable: no broker answers.
    """
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    try:
        asked = admin.describe_topics(TopicCollection([name]), request_timeout=TIMEOUT_S)
        found = asked[name].result()
    except (KafkaException, ValueError) as error:
        raise _explained(brokers, name, error) from None
    given = str(found.topic_id)
    return KafkaTopic(brokers, name, name if given == _NO_ID else given, group, member)


def received(message: Message) -> KafkaMessage:
    """Return a message of the client, which is no error; one without a value has an empty one."""
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return KafkaMessage(partition, offset, message.timestamp()[1] / 1000.0, message.value() or b"")


def _explained(brokers: str, name: str, error: KafkaException | ValueError) -> BridgeError | Unavailable:
    reason = error.args[0] if error.args else error
    if isinstance(reason, KafkaError):
        if reason.code() in _AWAY:
            return Unavailable(f"no Kafka answers at {brokers} ({reason.str()}): name host:port of a broker")
        reason = reason.str()
    return BridgeError(f"the topic {name!r} cannot be read at {brokers} ({reason}): name one that is there")


_AWAY: Sequence[int] = (
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT_QUEUE,
)
