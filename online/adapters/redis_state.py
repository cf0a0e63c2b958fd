"""The state store on Redis or Valkey: one hash per (partition, family), plain commands only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from redis.exceptions import WatchError

from online.ports import Claim, Fenced

from .redis_client import KEY_PREFIX, answering, connect


class RedisState:
    """Records in hashes `hr:{p}:state:<family>`; the tag `{p}` keeps a commit on one cluster slot."""

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._redis = connect(url, timeout_s)

    def get(self, partition: int, family: str, key: str) -> bytes | None:
        with answering():
            return cast("bytes | None", self._redis.hget(_family(partition, family), key))

    def get_many(self, partition: int, family: str, keys: Sequence[str]) -> list[bytes | None]:
        if not keys:
            return []
        with answering():
            return cast("list[bytes | None]", self._redis.hmget(_family(partition, family), list(keys)))

    def scan(self, partition: int, family: str) -> Iterator[tuple[str, bytes]]:
        with answering():
            for key, value in self._redis.hscan_iter(_family(partition, family), count=1000):
                yield key.decode(), value

    def claim(self, view: str, partition: int) -> Claim:
        with answering():
            pipe = self._redis.pipeline(transaction=True)
            pipe.incr(_generation(view, partition))
            pipe.get(_checkpoint(view, partition))
            generation, checkpoint = pipe.execute()
        return Claim(int(generation), checkpoint)

    def checkpoint(self, view: str, partition: int) -> bytes | None:
        with answering():
            return cast("bytes | None", self._redis.get(_checkpoint(view, partition)))

    def commit(
        self,
        view: str,
        partition: int,
        generation: int,
        writes: Mapping[str, Mapping[str, bytes | None]],
        checkpoint: bytes,
    ) -> None:
        owner = _generation(view, partition)
        pipe: Any
        with answering(), self._redis.pipeline(transaction=True) as pipe:
            pipe.watch(owner)
            if int(pipe.get(owner) or 0) != generation:
                raise Fenced(f"{view} of partition {partition} has another owner")
            pipe.multi()
            for family, records in writes.items():
                _write(pipe, _family(partition, family), records)
            pipe.set(_checkpoint(view, partition), checkpoint)
            try:
                pipe.execute()
            except WatchError:
                raise Fenced(f"{view} of partition {partition} has another owner") from None

    def drop(self, view: str, partition: int, families: Sequence[str]) -> None:
        with answering():
            self._redis.unlink(*(_family(partition, f) for f in families), _checkpoint(view, partition))

    def footprint(self, partition: int, family: str) -> tuple[int, int]:
        key = _family(partition, family)
        with answering():
            size: Any = self._redis.memory_usage(key, samples=100)
            return self._redis.hlen(key), int(size or 0)

    def close(self) -> None:
        self._redis.close()


def _write(pipe: Any, key: str, records: Mapping[str, bytes | None]) -> None:
    flat: list[str | bytes] = []
    for name, value in records.items():
        if value is not None:
            flat += (name, value)
    if flat:
        pipe.execute_command("HSET", key, *flat)
    gone = [name for name, value in records.items() if value is None]
    if gone:
        pipe.hdel(key, *gone)


def _family(partition: int, family: str) -> str:
    return f"{KEY_PREFIX}:{{{partition}}}:state:{family}"


def _generation(view: str, partition: int) -> str:
    return f"{KEY_PREFIX}:{{{partition}}}:generation:{view}"


def _checkpoint(view: str, partition: int) -> str:
    return f"{KEY_PREFIX}:{{{partition}}}:checkpoint:{view}"
