"""The state store in memory: for the simulator in process, for the oracle of `verify`, and for tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from threading import Lock

from online.core.checkpoint import apply_writes
from online.ports import Claim, Fenced, Perishable


class MemoryState:
    """A state store that lives and dies with its process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._leases: dict[str, dict[str, tuple[float, frozenset[int]]]] = {}
        self._said: dict[str, dict[str, tuple[float, bytes]]] = {}
        self._families: dict[tuple[int, str], dict[str, bytes]] = {}
        self._generations: dict[tuple[str, int], int] = {}
        self._checkpoints: dict[tuple[str, int], bytes] = {}
        self._lock = Lock()

    def get(self, partition: int, family: str, key: str) -> bytes | None:
        return self._families.get((partition, family), {}).get(key)

    def get_many(self, partition: int, family: str, keys: Sequence[str]) -> list[bytes | None]:
        records = self._families.get((partition, family), {})
        return [records.get(key) for key in keys]

    def get_across(self, partitions: Sequence[int], family: str, keys: Sequence[str]) -> list[bytes | None]:
        return [self.get(partition, family, key) for partition, key in zip(partitions, keys, strict=True)]

    def scan(self, partition: int, family: str) -> Iterator[tuple[str, bytes]]:
        with self._lock:
            records = list(self._families.get((partition, family), {}).items())
        yield from records

    def claim(self, view: str, partition: int) -> Claim:
        with self._lock:
            generation = self._generations[view, partition] = self._generations.get((view, partition), 0) + 1
        return Claim(generation, self.checkpoint(view, partition))

    def lease(self, group: str, member: str, partitions: Collection[int], ttl_s: float) -> dict[str, frozenset[int]]:
        with self._lock:
            now = self._clock()
            leases = self._leases.setdefault(group, {})
            for other, (until, _) in list(leases.items()):
                if until <= now or other == member:
                    del leases[other]
            taken = frozenset().union(*(held for _, held in leases.values()))
            leases[member] = now + ttl_s, frozenset(partitions) - taken
            return {name: held for name, (_, held) in leases.items()}

    def roster(self, group: str) -> dict[str, frozenset[int]]:
        with self._lock:
            now = self._clock()
            return {name: held for name, (until, held) in self._leases.get(group, {}).items() if until > now}

    def announce(self, group: str, member: str, payload: bytes, ttl_s: float) -> dict[str, bytes]:
        with self._lock:
            self._said.setdefault(group, {})[member] = self._clock() + ttl_s, payload
        return self.announced(group)

    def announced(self, group: str) -> dict[str, bytes]:
        with self._lock:
            now = self._clock()
            return {name: payload for name, (until, payload) in self._said.get(group, {}).items() if until > now}

    def leave(self, group: str, member: str) -> None:
        with self._lock:
            self._leases.get(group, {}).pop(member, None)
            self._said.get(group, {}).pop(member, None)

    def checkpoint(self, view: str, partition: int) -> bytes | None:
        return self._checkpoints.get((view, partition))

    def commit(
        self,
        view: str,
        partition: int,
        generation: int,
        writes: Mapping[str, Mapping[str, bytes | None]],
        checkpoint: bytes,
        perishable: Mapping[str, Perishable] | None = None,
    ) -> None:
        with self._lock:
            if self._generations.get((view, partition)) != generation:
                raise Fenced(f"{view} of partition {partition} has another owner")
            for family, records in writes.items():
                apply_writes(self._families.setdefault((partition, family), {}), records)
            self._checkpoints[view, partition] = checkpoint

    def swap(self, view: str, partition: int, generation: int, families: Mapping[str, str], checkpoint: bytes) -> None:
        with self._lock:
            if self._generations.get((view, partition)) != generation:
                raise Fenced(f"{view} of partition {partition} has another owner")
            for live, other in families.items():
                here, there = (self._families.pop((partition, name), {}) for name in (live, other))
                self._families[partition, live], self._families[partition, other] = there, here
            self._checkpoints[view, partition] = checkpoint

    def drop(self, view: str, partition: int, families: Sequence[str]) -> None:
        with self._lock:
            for family in families:
                self._families.pop((partition, family), None)
            self._checkpoints.pop((view, partition), None)

    def forgets(self) -> bool:
        return False

    def footprint(self, partition: int, family: str) -> tuple[int, int]:
        records = self._families.get((partition, family), {})
        return len(records), sum(len(k) + len(v) for k, v in records.items())

    def close(self) -> None:
        """Nothing to release."""
