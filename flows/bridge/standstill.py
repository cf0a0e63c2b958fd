"""Notices that nothing comes although the topic has more: a client that lost its broker may never find back."""

from __future__ import annotations

from confluent_kafka import Consumer, KafkaException, TopicPartition

from .kafka import TIMEOUT_S, KafkaTopic


class Standstill:
    """Looks at a group from outside, as no member of it."""

    def __init__(self, topic: KafkaTopic) -> None:
        self._topic = topic
        self._consumer = Consumer({"bootstrap.servers": topic.brokers, "group.id": topic.group, "log_level": 0})
        self._behind: dict[int, int] = {}

    def is_one(self) -> bool:
        """Say whether a partition has more, as it had at the last look, and the group has got no further with it."""
        before, self._behind = self._behind, self._look()
        return any(before.get(partition) == offset for partition, offset in self._behind.items())

    def close(self) -> None:
        """Release the connection."""
        self._consumer.close()

    def _look(self) -> dict[int, int]:
        """Return the group's offset in each partition that has more; nothing while Kafka does not answer."""
        name = self._topic.name
        try:
            partitions = self._consumer.list_topics(name, timeout=TIMEOUT_S).topics[name].partitions
            places = [TopicPartition(name, partition) for partition in partitions]
            found = {}
            for place in self._consumer.committed(places, timeout=TIMEOUT_S):
                first, end = self._consumer.get_watermark_offsets(place, timeout=TIMEOUT_S)
                offset = max(first, place.offset)  # negative when there is none
                if offset < end:
                    found[place.partition] = offset
        except KafkaException:
            return {}
        return found
