from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flows.lease import TTL_S
from headrace.process import create_topics
from headrace.repartition import Growth, repartition, require_stopped, ship
from headrace.settings import Settings, SettingsError
from online.adapters.memory_log import MemoryLog
from online.adapters.memory_state import MemoryState
from online.core.dead_letter import DEAD
from online.core.item_stats import decode_item_stats
from online.core.join import JOIN_VIEW, OPEN_SLATE
from online.core.open_slate import OpenSlate
from online.core.partition import EVENTS, ITEM, USER, USERS, PartitionFold, partition_of
from online.core.record import decode_record, encode_record
from online.ports import START, Batch, Fenced
from replay.history import logged
from replay.traffic import random_event
from schemas.event import encode_event
from schemas.identity import accept_merge, encode_identity
from schemas.user import User, encode_user
from serving.spool import Spool

T0 = 1_767_225_600.0
BEFORE, AFTER = 2, 5


class Killed(Exception):
    """The process ends here."""


class Mortal:
    """Ports whose user is killed at the n-th call that changes something: before it, or once it is done."""

    CHANGES = frozenset({"append", "grow", "commit", "claim"})

    def __init__(self, at: int, *, after: bool) -> None:
        self.left, self._after = at, after

    def wrap(self, port: Any) -> Any:
        return _MortalPort(self, port)

    def call(self, name: str, method: Any, arguments: Any, options: Any) -> Any:
        if name in self.CHANGES:
            self.left -= 1
            if self.left == 0 and not self._after:
                raise Killed
        found = method(*arguments, **options)
        if name in self.CHANGES and self.left == 0:
            raise Killed
        return found


class _MortalPort:
    def __init__(self, life: Mortal, port: Any) -> None:
        self._life, self._port = life, port

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        return lambda *arguments, **options: self._life.call(name, method, arguments, options)


class System:
    """A log with what users did and said, and the state that goes with it."""

    def __init__(self, events: int = 120) -> None:
        self.log, self.state = MemoryLog(), MemoryState()
        create_topics(self.log, BEFORE)
        rng = random.Random(1)
        self.expected: dict[str, bytes] = {}
        for number in range(events):
            event = random_event(rng, T0 + number, users=25, items=20)
            self.send(event.user_key, EVENTS, encode_event(event))
            if number % 9 == 0:
                user = User(user_id=str(number % 40), updated_at=T0 + number, labels=[f"l{number}"])
                self.send(f"u{user.user_id}", USERS, encode_user(user))
            if number % 20 == 10:
                merge = accept_merge(user_id="7", visitor_id=str(number % 25), event_id=f"m{number}", now=T0 + number)
                self.send(merge.visitor_key, EVENTS, encode_identity(merge))
        self.grow(BEFORE)
        self.expected = self.records()
        self.items = self.item_sums()

    def send(self, key: str, topic: str, payload: bytes) -> None:
        self.log.append(topic, [(partition_of(key, BEFORE), payload)])

    def grow(self, partitions: int, life: Mortal | None = None) -> Any:
        log, state = (self.log, self.state) if life is None else (life.wrap(self.log), life.wrap(self.state))
        return Growth(log, state, lambda: self.log, partitions, window_s=600.0).run(lambda said: None)

    @property
    def routed(self) -> int:
        return create_topics(self.log, 1)

    def records(self) -> dict[str, bytes]:
        """Return what a request finds: each user's record in the partition the log routes the user to."""
        found = {}
        for partition in range(self.routed):
            for key, value in self.state.scan(partition, USER):
                if partition_of(key, self.routed) == partition:
                    found[key] = without_position(value)
        return found

    def everywhere(self) -> list[str]:
        return sorted(key for partition in range(AFTER + 5) for key, _ in self.state.scan(partition, USER))

    def item_sums(self) -> dict[str, float]:
        sums: dict[str, float] = {}
        for partition in range(AFTER):
            for item, value in self.state.scan(partition, ITEM):
                stats = decode_item_stats(value)
                sums[item] = sums.get(item, 0.0) + sum(stats.popularity) + sum(stats.counts.values())
        return sums

    def refolded(self, partition: int) -> dict[str, dict[str, bytes]]:
        """Fold a partition's log from its start, topic by topic, as a rebuild does."""
        records: dict[str, dict[str, bytes]] = {USER: {}, ITEM: {}}
        fold = PartitionFold(partition, lambda family, keys: [records[family].get(key) for key in keys])
        for topic in (EVENTS, USERS):
            for batch in logged(self.log, topic, partition):
                apply(records, fold.fold(batch, 0).writes)
        return records


def apply(records: dict[str, dict[str, bytes]], writes: Mapping[str, Mapping[str, bytes | None]]) -> None:
    for family, some in writes.items():
        for key, value in some.items():
            if value is None:
                records[family].pop(key, None)
            else:
                records[family][key] = value


def without_position(value: bytes) -> bytes:
    return encode_record(msgspec.structs.replace(decode_record(value), position=""))


@pytest.fixture
def system() -> System:
    return System()


def test_every_record_is_in_its_new_partition_and_nothing_is_anywhere_else(system: System) -> None:
    assert len(system.expected) > 25

    moved = system.grow(AFTER)

    assert system.routed == AFTER
    assert system.records() == system.expected
    assert system.everywhere() == sorted(system.expected)
    assert 0 < moved.users_arrived == moved.users_departed < len(system.expected)
    assert not list(logged(system.log, DEAD, 0))


def test_items_count_what_they_counted(system: System) -> None:
    system.grow(AFTER)

    assert system.item_sums() == pytest.approx(system.items, rel=1e-9)


def test_the_log_tells_it_all_so_that_a_rebuild_gives_the_same(system: System) -> None:
    system.grow(3)
    system.grow(AFTER)

    for partition in range(AFTER):
        found = system.refolded(partition)
        assert found == {family: dict(system.state.scan(partition, family)) for family in (USER, ITEM)}


def test_users_go_on_where_they_stood(system: System) -> None:
    system.grow(AFTER)
    event = random_event(random.Random(5), T0 + 500, users=25, items=20)
    before = decode_record(system.records()[event.user_key])
    system.log.append(EVENTS, [(partition_of(event.user_key, AFTER), encode_event(event))] * 2)

    system.grow(AFTER)

    after = decode_record(system.records()[event.user_key])
    if before.forward is None:
        assert sum(after.counts.values()) == sum(before.counts.values()) + 1


def test_what_was_not_yet_folded_is_folded_before(system: System) -> None:
    event = random_event(random.Random(6), T0 + 500, users=25, items=20)
    other = msgspec.structs.replace(event, user_id="late", visitor_id=None)
    system.send(other.user_key, EVENTS, encode_event(other))

    system.grow(AFTER)

    assert sum(decode_record(system.records()["ulate"]).counts.values()) == 1


def killed_at(at: int, *, after: bool, partitions: int) -> System | None:
    """Return a system whose growth was killed at its n-th change, None when it has fewer."""
    system = System(events=60)
    try:
        system.grow(partitions, Mortal(at, after=after))
    except Exception as error:
        if not is_killed(error):
            raise
        return system
    return None


def is_killed(error: BaseException | None) -> bool:
    """Say whether it was the kill, which Bytewax wraps when it happens inside a dataflow."""
    while error is not None and not isinstance(error, Killed):
        error = error.__cause__ or error.__context__
    return error is not None


@pytest.mark.parametrize("after", [False, True])
def test_killed_anywhere_every_user_is_found_and_a_second_run_ends_it(after: bool) -> None:
    at = 0
    while (system := killed_at(at := at + 1, after=after, partitions=AFTER)) is not None:
        assert system.routed in (BEFORE, AFTER)
        assert system.records() == system.expected
        system.grow(AFTER)
        assert system.records() == system.expected
        assert system.everywhere() == sorted(system.expected)
        assert system.item_sums() == pytest.approx(system.items, rel=1e-9)
    assert at > 20


def test_a_run_broken_off_can_end_with_still_more_partitions() -> None:
    at, seen = 0, 0
    while (system := killed_at(at := at + 1, after=True, partitions=3)) is not None:
        if (system.routed, system.log.partitions(USERS)) == (BEFORE, 3):
            seen += 1
            system.grow(AFTER)
            assert system.records() == system.expected
            assert system.everywhere() == sorted(system.expected)
    assert seen > 3


def test_open_slates_of_users_who_moved_are_forgotten(system: System) -> None:
    here = [key for key in system.expected if partition_of(key, BEFORE) == 0]
    stay = next(key for key in here if partition_of(key, AFTER) == 0)
    move = next(key for key in here if partition_of(key, AFTER) != 0)
    claim = system.state.claim(JOIN_VIEW, 0)
    slates = {key: msgspec.msgpack.encode(OpenSlate(key, T0, user_key=key)) for key in (stay, move)}
    system.state.commit(JOIN_VIEW, 0, claim.generation, {OPEN_SLATE: slates}, claim.checkpoint or b"")

    moved = system.grow(AFTER)

    kept = {key for key, _ in system.state.scan(0, OPEN_SLATE)}
    assert (stay in kept, move in kept, moved.open_slates_dropped) == (True, False, 1)


@pytest.mark.parametrize(("partitions", "hint"), [(1, "has 2 partitions"), (4, "5 since a change")])
def test_partitions_never_become_fewer(system: System, partitions: int, hint: str) -> None:
    if partitions == 4:
        system.log.grow(EVENTS, AFTER)
    with pytest.raises(SettingsError, match=hint):
        system.grow(partitions)


def test_a_log_that_was_never_used_is_told_of() -> None:
    with pytest.raises(SettingsError, match="HEADRACE_PARTITIONS"):
        Growth(MemoryLog(), MemoryState(), MemoryLog, 8, window_s=1.0)


def test_a_flow_that_lives_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.repartition.TTL_S", -1.0)
    state = MemoryState()
    require_stopped(state)
    state.lease("record", "host:7", [0], TTL_S)

    with pytest.raises(SettingsError, match="stop host:7 first"):
        require_stopped(state)


def test_a_flow_started_meanwhile_is_noticed(system: System) -> None:
    class Rival(MemoryLog):
        """A log at whose first read another flow starts."""

        def read(self, *arguments: Any, **options: Any) -> list[Batch]:
            system.state.claim("state", 1)
            return system.log.read(*arguments, **options)

    system.send("u1", EVENTS, b"{}")
    system.log.append(EVENTS, [(1, b"{}")])
    with pytest.raises(Fenced, match="started meanwhile"):
        Growth(system.log, system.state, Rival, AFTER, window_s=600.0).run(lambda said: None)


def test_what_dead_workers_had_acknowledged_is_sent_first(tmp_path: Path) -> None:
    log = MemoryLog()
    create_topics(log, BEFORE)
    spool = Spool(tmp_path, "api-0", cap_bytes=10_000)
    spool.append([(EVENTS, 1, b"a"), (USERS, 0, b"b"), (EVENTS, 1, b"c")])
    spool.close()

    ship(tmp_path, log)

    (events,) = log.read({(EVENTS, 1): START}, max_messages=9, wait_s=0.0)
    assert [message.payload for message in events.messages] == [b"a", b"c"]
    assert log.behind(USERS, 0, START) == 1
    assert list(tmp_path.glob("*.spool")) == []


@pytest.mark.slow
def test_the_command_works_on_a_data_directory_and_can_be_repeated(tmp_path: Path) -> None:
    from headrace.supervisor import Supervisor
    from headrace.system import plan
    from online.connect import open_log, open_state

    settings = Settings(data_dir=tmp_path / "data", partitions=2)
    with pytest.raises(SettingsError, match="nothing ever ran"):
        repartition(settings, 4, progress=print)
    planned = plan(settings, flows=(), api=False, warehouse=False)
    rng = random.Random(3)
    events = [random_event(rng, T0 + number, users=20, items=10) for number in range(200)]
    with Supervisor(planned.services, planned.settings.data_dir):
        log = open_log(planned.settings.log)
        create_topics(log, 2)
        log.append(EVENTS, [(partition_of(event.user_key, 2), encode_event(event)) for event in events])

    first, again = (repartition(settings, 4, progress=lambda said: None) for _ in range(2))

    assert (first["partitions_before"], first["partitions"]) == (2, 4)
    assert first["users_arrived"] == first["users_departed"] > 0
    assert (again["partitions_before"], again["users_arrived"], again["users_departed"]) == (4, 0, 0)
    with Supervisor(planned.services, planned.settings.data_dir):
        state = open_state(planned.settings.state)
        where = {key: p for p in range(4) for key, _ in state.scan(p, USER)}
        assert where == {key: partition_of(key, 4) for key in {event.user_key for event in events}}
