"""The event log on Pulsar: partitioned topics, one producer and one Reader per partition, positions from message ids.

The partition of a message is ours (`online.core.partition.partition_of`), so messages go straight to
`<topic>-partition-<n>`, and the partition key stays free for others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec
import pulsar

from online.ports import START, Batch, Extent, Position, Unavailable
from schemas.avro import avro_record

from .pulsar_admin import PulsarAdmin
from .pulsar_client import answering, connect
from .pulsar_forwarder import Forwarders
from .pulsar_reader import PartitionReader, parsed, position_of
from .pulsar_url import parse_pulsar_url
from .pulsar_writer import Writers

CLOCK_SLACK_MS = 10  # a message may be younger by some milliseconds than the batch it was put into
ADMIN_TIMEOUT_S = 5.0  # at least: creating a topic takes longer than appending to it

Key = tuple[str, int]  # topic, partition
Readers = Mapping[Key, PartitionReader]


class PulsarLog:
    """An event log at `pulsar://host:6650/tenant/namespace`. Once it was used, its process must not fork."""

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._url, self._timeout_s = parse_pulsar_url(url), timeout_s
        self._admin = PulsarAdmin(self._url, timeout_s=max(timeout_s, ADMIN_TIMEOUT_S))
        self._client: pulsar.Client | None = None
        self._connecting = threading.Lock()
        self._writers = Writers(self._connected, timeout_s)
        self._forwarders = Forwarders(self._connected, timeout_s)
        self._deduplicated: set[str] = set()
        self._readers: dict[Key, PartitionReader] = {}
        self._reading = threading.Lock()
        self._arrived = threading.Event()

    def create(self, topic: str, partitions: int, document: type[msgspec.Struct] | None = None) -> int:
        if not self._admin.partitions(topic):
            self._admin.create_namespace()
            self._admin.create_topic(topic, partitions)
        self._admin.hold(topic)
        if document is not None:
            self._admin.register_schema(topic, avro_record(document))
        return self._admin.partitions(topic)

    def partitions(self, topic: str) -> int:
        return self._admin.partitions(topic)

    def grow(self, topic: str, partitions: int) -> None:
        if self._admin.partitions(topic) < partitions:
            self._admin.grow_topic(topic, partitions)
            self._admin.hold(topic)

    def append(self, topic: str, messages: Sequence[tuple[int, bytes]]) -> list[Position]:
        topics = {partition: self._topic((topic, partition)) for partition in dict.fromkeys(p for p, _ in messages)}
        return self._writers.append(topics, messages)

    def append_from(self, source: str, topic: str, messages: Sequence[tuple[int, int, bytes]]) -> int:
        if topic not in self._deduplicated:
            self._admin.deduplicate(topic)
            self._deduplicated.add(topic)
        topics = {partition: self._topic((topic, partition)) for partition in dict.fromkeys(p for _, p, _ in messages)}
        return self._forwarders.append(source, topics, messages)

    def read(self, after: Mapping[Key, Position], *, max_messages: int, wait_s: float) -> list[Batch]:
        with self._reading, answering():
            readers = {key: self._reader(key, position) for key, position in after.items()}
            if wait_s > 0:
                return self._arriving(readers, max_messages, wait_s)
            if found := _taken(readers, max_messages):
                return found
            if all(reader.position >= self._last(key) for key, reader in readers.items()):
                return []
            if found := self._arriving(readers, max_messages, self._timeout_s):
                return found
            raise Unavailable(f"Pulsar: no message within {self._timeout_s:g} s, though there are some")

    def extent(self, topic: str, partition: int) -> Extent:
        entries = self._admin.entries(topic, partition)
        first = next((ledger for ledger, count in entries.ledgers if count), None)
        if first is None:
            return Extent(START, START, 0)
        return Extent(position_of(first, 0, 1), self._last((topic, partition)), entries.bytes)

    def behind(self, topic: str, partition: int, position: Position) -> int:
        """Return the number of entries behind a position times the messages in an entry, on average; 0 at the head."""
        if position >= self._last((topic, partition)):
            return 0
        entries = self._admin.entries(topic, partition)
        ledger, entry, _ = parsed(position) if position != START else (-1, -1, 0)
        behind = sum(count - (entry + 1) * (at == ledger) for at, count in entries.ledgers if at >= ledger)
        in_entry = self._admin.messages_in(topic, partition) / entries.added if entries.added else 1.0
        return max(1, round(behind * in_entry))

    def before(self, topic: str, partition: int, time_s: float) -> Position:
        """Return a position by the clocks of those who appended."""
        time_ms = max(0, int(time_s * 1000) - CLOCK_SLACK_MS)
        return position_of(*self._admin.entry_at(topic, partition, time_ms), 0)

    def fill(self) -> float:
        return 0.0

    def trim(self, topic: str, partition: int, through: Position) -> None:
        if through != START:
            ledger, entry, _ = parsed(through)
            self._admin.trim(topic, partition, ledger, entry)

    def close(self) -> None:
        self._writers.close()
        with self._connecting:
            client, self._client = self._client, None
        if client is not None:
            with suppress(pulsar.PulsarException):  # a broker that is away needs no goodbye
                client.close()

    def _connected(self) -> pulsar.Client:
        with self._connecting:
            if self._client is None:
                self._client = connect(self._url, self._timeout_s)
            return self._client

    def _topic(self, key: Key) -> str:
        return f"persistent://{self._url.tenant}/{self._url.namespace}/{key[0]}-partition-{key[1]}"

    def _last(self, key: Key) -> Position:
        ledger, entry, batch_index = self._admin.last(*key)
        return START if entry < 0 else position_of(ledger, entry, max(batch_index, 0) + 1)

    def _reader(self, key: Key, after: Position) -> PartitionReader:
        reader = self._readers.pop(key, None)
        if reader is not None and not (reader.position == after and reader.is_connected):
            reader.close()
            reader = None
        if reader is None:
            reader = PartitionReader(self._connected(), self._topic(key), after, self._arrived.set)
        self._readers[key] = reader
        return reader

    def _arriving(self, readers: Readers, max_messages: int, wait_s: float) -> list[Batch]:
        deadline = time.monotonic() + wait_s
        while True:
            self._arrived.clear()
            if found := _taken(readers, max_messages):
                return found
            if not all(reader.is_connected for reader in readers.values()):
                raise Unavailable("Pulsar: the connection is lost")
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            self._arrived.wait(left)


def _taken(readers: Readers, max_messages: int) -> list[Batch]:
    batches = [Batch(*key, reader.take(max_messages)) for key, reader in readers.items()]
    return [batch for batch in batches if batch.messages]
