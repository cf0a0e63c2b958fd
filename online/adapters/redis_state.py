"""The state store on Redis or Valkey: one hash per (partition, family), no modules."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, cast

from online.ports import Claim, Fenced, Perishable

from .redis_client import answering, connect, key_prefix

# One round trip: check the owner, then write. Each family's arguments are how many of them set for ever, how many for
# ARGV[3] seconds, and how many delete. A server that cannot write says so at the first command, so that nothing is
# written by halves.
_COMMIT = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
local at = 3
for family = 3, #KEYS do
    local ttl = ARGV[at]
    at = at + 1
    for step, command in ipairs({'HSET', 'HSETEX', 'HDEL'}) do
        local begin, stop = at + 1, at + tonumber(ARGV[at])
        for i = begin, stop, 4000 do
            local last = math.min(i + 3999, stop)
            if command == 'HSETEX' then
                redis.call(command, KEYS[family], 'EX', ttl, 'FIELDS', (last - i + 1) / 2, unpack(ARGV, i, last))
            else
                redis.call(command, KEYS[family], unpack(ARGV, i, last))
            end
        end
        at = stop + 1
    end
end
return 1
"""

# KEYS behind the checkpoint: each live family, the other one, and a name that is free.
_SWAP = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
for at = 3, #KEYS, 3 do
    local live, other, free = KEYS[at], KEYS[at + 1], KEYS[at + 2]
    if redis.call('EXISTS', live) == 1 then redis.call('RENAME', live, free) end
    if redis.call('EXISTS', other) == 1 then redis.call('RENAME', other, live) end
    if redis.call('EXISTS', free) == 1 then redis.call('RENAME', free, other) end
end
return 1
"""

# Members of a group: name -> "<end of the lease, server's ms> <partition> <partition> …"
_LEASE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local members, taken = {}, {}
local stored = redis.call('HGETALL', KEYS[1])
for i = 1, #stored, 2 do
    if stored[i] ~= ARGV[1] then
        local ends, held = string.match(stored[i + 1], '^(%d+)(.*)$')
        if tonumber(ends) <= now then
            redis.call('HDEL', KEYS[1], stored[i])
        else
            members[#members + 1] = {stored[i], held}
            for partition in string.gmatch(held, '%d+') do taken[partition] = true end
        end
    end
end
local given = ''
for i = 3, #ARGV do
    if not taken[ARGV[i]] then given = given .. ' ' .. ARGV[i] end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d', now + ARGV[2]) .. given)
members[#members + 1] = {ARGV[1], given}
return members
"""

# Members of a group: name -> "<until when it stands, server's ms> <what the member says>"
_ANNOUNCE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d', now + ARGV[3]) .. ' ' .. ARGV[2])
local said, stored = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #stored, 2 do
    local ends, payload = string.match(stored[i + 1], '^(%d+) (.*)$')
    if tonumber(ends) <= now then
        redis.call('HDEL', KEYS[1], stored[i])
    else
        said[#said + 1] = {stored[i], payload}
    end
end
return said
"""


_NOTHING = Perishable(0, ())


class RedisState:
    """Records in hashes `hr:{p}:state:<family>`; the tag `{p}` keeps a commit on one cluster slot.

    With a namespace they are `hr@<namespace>:…`.
    """

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._redis, self._prefix = connect(url, timeout_s), key_prefix(url)
        self._forgets: bool | None = None  # not asked yet

    def get(self, partition: int, family: str, key: str) -> bytes | None:
        with answering():
            return cast("bytes | None", self._redis.hget(self._family(partition, family), key))

    def get_many(self, partition: int, family: str, keys: Sequence[str]) -> list[bytes | None]:
        if not keys:
            return []
        with answering():
            return cast("list[bytes | None]", self._redis.hmget(self._family(partition, family), list(keys)))

    def get_across(self, partitions: Sequence[int], family: str, keys: Sequence[str]) -> list[bytes | None]:
        with answering():
            pipe = self._redis.pipeline(transaction=False)
            for partition, key in zip(partitions, keys, strict=True):
                pipe.hget(self._family(partition, family), key)
            return cast("list[bytes | None]", pipe.execute())

    def scan(self, partition: int, family: str) -> Iterator[tuple[str, bytes]]:
        with answering():
            for key, value in self._redis.hscan_iter(self._family(partition, family), count=1000):
                yield key.decode(), value

    def claim(self, view: str, partition: int) -> Claim:
        with answering():
            pipe = self._redis.pipeline(transaction=True)
            pipe.incr(self._generation(view, partition))
            pipe.get(self._checkpoint(view, partition))
            generation, checkpoint = pipe.execute()
        return Claim(int(generation), checkpoint)

    def lease(self, group: str, member: str, partitions: Collection[int], ttl_s: float) -> dict[str, frozenset[int]]:
        with answering():
            members: Any = self._redis.eval(
                _LEASE, 1, self._leases(group), member, int(ttl_s * 1000), *(str(partition) for partition in partitions)
            )
        return {name.decode(): frozenset(map(int, held.split())) for name, held in members}

    def roster(self, group: str) -> dict[str, frozenset[int]]:
        now, members = self._standing(self._leases(group))
        found = {}
        for name, lease in members.items():
            ends, *held = map(int, lease.split())
            if ends > now:
                found[name.decode()] = frozenset(held)
        return found

    def announce(self, group: str, member: str, payload: bytes, ttl_s: float) -> dict[str, bytes]:
        with answering():
            said: Any = self._redis.eval(_ANNOUNCE, 1, self._announced(group), member, payload, int(ttl_s * 1000))
        return {name.decode(): payload for name, payload in said}

    def announced(self, group: str) -> dict[str, bytes]:
        now, members = self._standing(self._announced(group))
        said = ((name, *value.split(b" ", 1)) for name, value in members.items())
        return {name.decode(): payload for name, ends, payload in said if int(ends) > now}

    def _standing(self, key: str) -> tuple[int, dict[bytes, bytes]]:
        """Return the server's time in ms and the members of a group, those whose time is over too."""
        with answering():
            pipe = self._redis.pipeline(transaction=True)
            pipe.time()
            pipe.hgetall(key)
            (seconds, micros), members = pipe.execute()
        return seconds * 1000 + micros // 1000, members

    def leave(self, group: str, member: str) -> None:
        with answering():
            pipe = self._redis.pipeline(transaction=False)
            pipe.hdel(self._leases(group), member)
            pipe.hdel(self._announced(group), member)
            pipe.execute()

    def checkpoint(self, view: str, partition: int) -> bytes | None:
        with answering():
            return cast("bytes | None", self._redis.get(self._checkpoint(view, partition)))

    def commit(
        self,
        view: str,
        partition: int,
        generation: int,
        writes: Mapping[str, Mapping[str, bytes | None]],
        checkpoint: bytes,
        perishable: Mapping[str, Perishable] | None = None,
    ) -> None:
        passing = perishable if perishable and self.forgets() else {}
        keys = [self._generation(view, partition), self._checkpoint(view, partition)]
        arguments: list[str | bytes | int] = [generation, checkpoint]
        for family, records in writes.items():
            keys.append(self._family(partition, family))
            arguments += _changes(records, passing.get(family, _NOTHING))
        with answering():
            is_owner = self._redis.eval(_COMMIT, len(keys), *keys, *arguments)
        if not is_owner:
            raise Fenced(f"{view} of partition {partition} has another owner")

    def forgets(self) -> bool:
        if self._forgets is None:
            redis: Any = self._redis
            with answering():
                self._forgets = redis.execute_command("COMMAND INFO", "HSETEX") != [None]
        return self._forgets

    def swap(self, view: str, partition: int, generation: int, families: Mapping[str, str], checkpoint: bytes) -> None:
        keys = [self._generation(view, partition), self._checkpoint(view, partition)]
        for live, other in families.items():
            keys += (self._family(partition, name) for name in (live, other, f"{live}~swap"))
        with answering():
            is_owner = self._redis.eval(_SWAP, len(keys), *keys, generation, checkpoint)
        if not is_owner:
            raise Fenced(f"{view} of partition {partition} has another owner")

    def drop(self, view: str, partition: int, families: Sequence[str]) -> None:
        with answering():
            self._redis.unlink(*(self._family(partition, f) for f in families), self._checkpoint(view, partition))

    def footprint(self, partition: int, family: str) -> tuple[int, int]:
        key = self._family(partition, family)
        with answering():
            size: Any = self._redis.memory_usage(key, samples=100)
            return self._redis.hlen(key), int(size or 0)

    def close(self) -> None:
        self._redis.close()

    def _family(self, partition: int, family: str) -> str:
        return f"{self._prefix}:{{{partition}}}:state:{family}"

    def _leases(self, group: str) -> str:
        return f"{self._prefix}:leases:{group}"

    def _announced(self, group: str) -> str:
        return f"{self._prefix}:announced:{group}"

    def _generation(self, view: str, partition: int) -> str:
        return f"{self._prefix}:{{{partition}}}:generation:{view}"

    def _checkpoint(self, view: str, partition: int) -> str:
        return f"{self._prefix}:{{{partition}}}:checkpoint:{view}"


def _changes(records: Mapping[str, bytes | None], perishable: Perishable) -> list[str | bytes | int]:
    """Return a family's arguments of `_COMMIT`."""
    kept: list[str | bytes | int] = []
    passing: list[str | bytes | int] = []
    gone: list[str | bytes | int] = []
    perish = set(perishable.keys)
    for name, value in records.items():
        if value is None:
            gone.append(name)
        else:
            (passing if name in perish else kept).extend((name, value))
    return [perishable.ttl_s, len(kept), *kept, len(passing), *passing, len(gone), *gone]
