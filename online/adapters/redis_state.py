"""The state store on Redis or Valkey: one hash per (partition, family), no modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from online.ports import Claim, Fenced

from .redis_client import KEY_PREFIX, answering, connect

# One round trip: check the owner, then write. Each family's arguments are how many of them set and how many delete.
# A server that cannot write says so at the first command, so that nothing is written by halves.
_COMMIT = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
local at = 3
for family = 3, #KEYS do
    for step, command in ipairs({'HSET', 'HDEL'}) do
        local begin, stop = at + 1, at + tonumber(ARGV[at])
        for i = begin, stop, 4000 do
            redis.call(command, KEYS[family], unpack(ARGV, i, math.min(i + 3999, stop)))
        end
        at = stop + 1
    end
end
return 1
"""


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
        keys = [_generation(view, partition), _checkpoint(view, partition)]
        arguments: list[str | bytes | int] = [generation, checkpoint]
        for family, records in writes.items():
            keys.append(_family(partition, family))
            arguments += _changes(records)
        with answering():
            is_owner = self._redis.eval(_COMMIT, len(keys), *keys, *arguments)
        if not is_owner:
            raise Fenced(f"{view} of partition {partition} has another owner")

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


def _changes(records: Mapping[str, bytes | None]) -> list[str | bytes | int]:
    """Return a family's arguments of `_COMMIT`."""
    kept: list[str | bytes | int] = []
    for name, value in records.items():
        if value is not None:
            kept += (name, value)
    gone = [name for name, value in records.items() if value is None]
    return [len(kept), *kept, len(gone), *gone]


def _family(partition: int, family: str) -> str:
    return f"{KEY_PREFIX}:{{{partition}}}:state:{family}"


def _generation(view: str, partition: int) -> str:
    return f"{KEY_PREFIX}:{{{partition}}}:generation:{view}"


def _checkpoint(view: str, partition: int) -> str:
    return f"{KEY_PREFIX}:{{{partition}}}:checkpoint:{view}"
