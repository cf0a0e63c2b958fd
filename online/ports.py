"""The ports of the domain: event log, state store, warehouse, vector index and artifact store.

Each is opened by URL (`online.connect`) and every adapter passes the same contract suite (`tests/contracts`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

START = ""  # the position before the first message

Position = str
"""Where a message stands in its partition: opaque, but positions of one partition sort in log order."""


class Unavailable(Exception):
    """The service behind a port does not answer; the same call may succeed later."""


class WarehouseError(Exception):
    """The warehouse refuses a statement or rows; the same call will fail again. `code` is ClickHouse's, if any."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class Fenced(Exception):
    """Another owner has claimed the partition: this one must stop writing."""


class Message(NamedTuple):
    """One message of a partition."""

    position: Position
    payload: bytes


class Batch(NamedTuple):
    """Consecutive messages of one partition of one topic."""

    topic: str
    partition: int
    messages: list[Message]


class Extent(NamedTuple):
    """What a partition holds: messages ever appended, and its first and last kept position (START when empty)."""

    appended: int
    first: Position
    last: Position


class EventLog(Protocol):
    """An ordered, partitioned, replayable log of topics."""

    def create(self, topic: str, partitions: int) -> int:
        """Create the topic unless it exists; return the number of partitions it has."""
        ...

    def append(self, topic: str, messages: Sequence[tuple[int, bytes]]) -> list[Position]:
        """Append (partition, payload) pairs in order and return their positions once they are kept.

        Raises:
            Unavailable: some may not have been kept; append all of them again (consumers drop repeats).
        """
        ...

    def read(self, after: Mapping[tuple[str, int], Position], *, max_messages: int, wait_s: float) -> list[Batch]:
        """Return the next messages behind each (topic, partition)'s position, waiting up to `wait_s` for one.

        A batch may exceed `max_messages` by what was appended together with its last message.

        Raises:
            Unavailable: the log does not answer.
        """
        ...

    def extent(self, topic: str, partition: int) -> Extent:
        """Return what the partition holds."""
        ...

    def before(self, topic: str, partition: int, time_s: float) -> Position:
        """Return a position behind which every message appended at `time_s` or later follows."""
        ...

    def trim(self, topic: str, partition: int, through: Position) -> None:
        """Forget messages up to `through`; some of them may be kept, none behind it is lost."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


class Claim(NamedTuple):
    """The right to write one view of one partition, and where it stands."""

    generation: int
    checkpoint: bytes | None


class StateStore(Protocol):
    """Records of views by (partition, family, key), committed per partition in one atomic, fenced step."""

    def get(self, partition: int, family: str, key: str) -> bytes | None:
        """Return one record.

        Raises:
            Unavailable: the store does not answer within its deadline.
        """
        ...

    def get_many(self, partition: int, family: str, keys: Sequence[str]) -> list[bytes | None]:
        """Return several records of one family in one round trip."""
        ...

    def scan(self, partition: int, family: str) -> Iterator[tuple[str, bytes]]:
        """Iterate over all records of a family."""
        ...

    def claim(self, view: str, partition: int) -> Claim:
        """Become the owner of a view's partition; earlier owners are fenced from now on."""
        ...

    def checkpoint(self, view: str, partition: int) -> bytes | None:
        """Return the checkpoint of the last commit without claiming anything."""
        ...

    def commit(
        self,
        view: str,
        partition: int,
        generation: int,
        writes: Mapping[str, Mapping[str, bytes | None]],
        checkpoint: bytes,
    ) -> None:
        """Write records (family -> key -> value, None deletes) and the checkpoint in one atomic step.

        Raises:
            Fenced: another owner has claimed the partition; nothing was written.
            Unavailable: unknown whether it was written; claim again before going on.
        """
        ...

    def drop(self, view: str, partition: int, families: Sequence[str]) -> None:
        """Delete families and the checkpoint of a view's partition, so that it is folded from the start."""
        ...

    def footprint(self, partition: int, family: str) -> tuple[int, int]:
        """Return (records, approximate bytes) of a family."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


class Warehouse(Protocol):
    """An append-only analytical store spoken to in SQL."""

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, token: str) -> None:
        """Insert rows as one block; a second insert with the same token and rows changes nothing.

        Raises:
            Unavailable: unknown whether it was written; insert the same again.
            WarehouseError: nothing was written.
        """
        ...

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a query; parameters are bound, written `{name:Type}`.

        Raises:
            Unavailable: the warehouse does not answer.
            WarehouseError: it refuses the query.
        """
        ...

    def execute(self, sql: str) -> None:
        """Run a statement without result (DDL of `online/warehouse/*.sql`)."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


class VectorIndex(Protocol):
    """Nearest neighbours by cosine over an immutable set of labelled vectors."""

    def search(self, query: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the labels and cosines of the k nearest vectors, best first; query has shape (dim,)."""
        ...

    def __len__(self) -> int: ...


class Artifact(NamedTuple):
    """A published version of an artifact: verified files below one directory, and its lineage."""

    name: str
    version: int
    files: Mapping[str, Path]
    lineage: Mapping[str, Any]


class ArtifactStore(Protocol):
    """Versioned artifacts under a manifest with sha256, published by atomic rename."""

    def publish(self, name: str, files: Mapping[str, bytes | Path], lineage: Mapping[str, Any]) -> Artifact:
        """Publish the next version; readers see all of it or nothing."""
        ...

    def latest(self, name: str) -> int | None:
        """Return the newest version's number without opening it."""
        ...

    def open(self, name: str, version: int | None = None) -> Artifact | None:
        """Return a version (default newest) whose every file matches its sha256; None when there is none.

        Raises:
            CorruptArtifact: a file is missing or differs from its manifest.
        """
        ...


class CorruptArtifact(Exception):
    """An artifact does not match its manifest."""
