"""The ports of the domain: event log, state store, warehouse, vector index and artifact store.

Each is opened by URL (`online.connect`) and every adapter passes the same contract suite (`tests/contracts`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

START = ""  # the position before the first message

Position = str
"""Where a message stands in its partition: opaque, but positions of one partition sort in log order."""


class Unavailable(Exception):
    """The service behind a port does not answer; the same call may succeed later."""


class LogError(Exception):
    """The log refuses a call: its topic, schema, size or credentials do not fit; the same call will fail again."""


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
    """Consecutive messages of one partition of one topic, and when (epoch seconds) a flow read them, 0 if none did."""

    topic: str
    partition: int
    messages: list[Message]
    read_at: float = 0.0


class Extent(NamedTuple):
    """What a partition holds: its first and last kept position (START when empty), and about how many bytes."""

    first: Position
    last: Position
    bytes: int


class EventLog(Protocol):
    """An ordered, partitioned, replayable log of topics."""

    def create(self, topic: str, partitions: int, document: type[msgspec.Struct] | None = None) -> int:
        """Create the topic unless it exists; return the number of partitions it has.

        A log that keeps schemas is told what its JSON messages hold, and compares that with what they held before.

        Raises:
            LogError: the topic cannot be created, or the document does not go with earlier ones.
        """
        ...

    def partitions(self, topic: str) -> int:
        """Return the number of partitions of a topic, 0 when there is none of this name."""
        ...

    def grow(self, topic: str, partitions: int) -> None:
        """Give a topic more partitions; fewer than it has change nothing.

        Raises:
            Unavailable: the log does not answer.
        """
        ...

    def append(self, topic: str, messages: Sequence[tuple[int, bytes]]) -> list[Position]:
        """Append (partition, payload) pairs in order and return their positions once they are kept.

        Raises:
            Unavailable: some may not have been kept; append all of them again (consumers drop repeats).
            LogError: one of them can never be kept.
        """
        ...

    def append_from(self, source: str, topic: str, messages: Sequence[tuple[int, int, bytes]]) -> int:
        """Append (offset, partition, payload) of another log's partition, of which it may have had some before.

        What of a source went into a partition, by one process or several, stands there once and in the order of its
        offsets: the highest offset is kept with the messages, and what is not above it changes nothing. So a source is
        to be given in the order of its offsets, again from no later than the first that was not acknowledged.

        Returns:
            How many of them are new.

        Raises:
            Unavailable: some may not have been kept; give all of them again.
            LogError: one of them can never be kept.
        """
        ...

    def read(self, after: Mapping[tuple[str, int], Position], *, max_messages: int, wait_s: float) -> list[Batch]:
        """Return the next messages behind each (topic, partition)'s position, waiting up to `wait_s` for one.

        With a `wait_s` of 0, no batch means that there is no message; otherwise one may just be on its way. A batch
        may exceed `max_messages` by what was appended together with its last message.

        Raises:
            Unavailable: the log does not answer.
            LogError: a position is of another log.
        """
        ...

    def extent(self, topic: str, partition: int) -> Extent:
        """Return what the partition holds."""
        ...

    def behind(self, topic: str, partition: int, position: Position) -> int:
        """Return how many kept messages are behind a position: 0 is exact, more is an estimate on Pulsar."""
        ...

    def before(self, topic: str, partition: int, time_s: float) -> Position:
        """Return a position behind which every message appended at `time_s` or later follows."""
        ...

    def fill(self) -> float:
        """Return which share of its room the log has used, 1.0 when it is full; 0.0 where it sets itself no bound.

        Raises:
            Unavailable: the log does not answer.
        """
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


class Perishable(NamedTuple):
    """Records of a family in a commit that are garbage once `ttl_s` seconds pass without another write of them."""

    ttl_s: int
    keys: Collection[str]


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

    def get_across(self, partitions: Sequence[int], family: str, keys: Sequence[str]) -> list[bytes | None]:
        """Return several records of one family, each from its own partition, in one round trip.

        Raises:
            Unavailable: the store does not answer within its deadline.
        """
        ...

    def scan(self, partition: int, family: str) -> Iterator[tuple[str, bytes]]:
        """Iterate over all records of a family."""
        ...

    def claim(self, view: str, partition: int) -> Claim:
        """Become the owner of a view's partition; earlier owners are fenced from now on."""
        ...

    def lease(self, group: str, member: str, partitions: Collection[int], ttl_s: float) -> dict[str, frozenset[int]]:
        """Hold partitions as a member of a group until `ttl_s` seconds from now; return who holds what.

        In one atomic step the member is given those of the partitions that no other living member holds, in the place
        of what it held before; a member whose time is over holds nothing. The returned members live.
        """
        ...

    def roster(self, group: str) -> dict[str, frozenset[int]]:
        """Return what every living member of a group holds."""
        ...

    def announce(self, group: str, member: str, payload: bytes, ttl_s: float) -> dict[str, bytes]:
        """Say something as a member of a group, which stands until `ttl_s` seconds from now, or until it says more.

        Returns:
            What every living member of the group says.
        """
        ...

    def announced(self, group: str) -> dict[str, bytes]:
        """Return what every living member of a group says."""
        ...

    def leave(self, group: str, member: str) -> None:
        """End a member's lease now, and what it says."""
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
        perishable: Mapping[str, Perishable] | None = None,
    ) -> None:
        """Write records (family -> key -> value, None deletes) and the checkpoint in one atomic step.

        Those that are `perishable` (by family) the store may forget after their time; it need not.

        Raises:
            Fenced: another owner has claimed the partition; nothing was written.
            Unavailable: unknown whether it was written; claim again before going on.
        """
        ...

    def swap(self, view: str, partition: int, generation: int, families: Mapping[str, str], checkpoint: bytes) -> None:
        """Exchange whole families (live name -> other name) and write the checkpoint in one atomic step.

        Raises:
            Fenced: another owner has claimed the partition; nothing was exchanged.
            Unavailable: unknown whether it was exchanged.
        """
        ...

    def drop(self, view: str, partition: int, families: Sequence[str]) -> None:
        """Delete families and the checkpoint of a view's partition, so that it is folded from the start."""
        ...

    def forgets(self) -> bool:
        """Say whether perishable records are forgotten after their time; if not, they only take up room.

        Raises:
            Unavailable: the store does not answer.
        """
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
        """Run a statement without result (DDL of `online/tables/*.sql`)."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


class VectorIndex(Protocol):
    """Nearest neighbours by cosine over an immutable set of labelled vectors."""

    def search(self, query: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the labels and cosines of the k nearest vectors, best first; query has shape (dim,).

        An approximate index may miss a few, and round its cosines to 0.01.
        """
        ...

    def __len__(self) -> int: ...


class UnsoundIndex(Exception):
    """The index just built does not find what it holds; keep serving the one before."""


class Artifact(NamedTuple):
    """A published version of an artifact: verified files below one directory, and its lineage."""

    name: str
    version: int
    files: Mapping[str, Path]
    lineage: Mapping[str, Any]


class ArtifactStore(Protocol):
    """Versioned artifacts under a manifest with sha256, published by atomic rename."""

    def publish(
        self, name: str, files: Mapping[str, bytes | Path], lineage: Mapping[str, Any], *, after: int | None = None
    ) -> Artifact:
        """Publish the next version; readers see all of it or nothing.

        Raises:
            Fenced: `after` is given and is not the newest version: another has published. Nothing was.
        """
        ...

    def newest(self, name: str) -> int:
        """Return the highest version number there is, of a version that may be damaged; 0 when there is none."""
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
