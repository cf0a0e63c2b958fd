from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from bytewax.errors import BytewaxRuntimeError

import flows.lease
import flows.log_source
from flows.lease import TTL_S, Lease, Share
from flows.view import View, build, run
from online.adapters.memory_log import MemoryLog
from online.adapters.memory_state import MemoryState
from online.core.checkpoint import Folded
from online.ports import Batch, StateStore, Unavailable

PARTITIONS = range(4)


class EndingLog:
    """A log that ends the dataflow that reads it when all is done."""

    def __init__(self, log: MemoryLog, done: threading.Event) -> None:
        self._log, self._done = log, done

    def read(self, *arguments: Any, **options: Any) -> list[Batch]:
        if self._done.is_set():
            raise EOFError
        return self._log.read(*arguments, **options)

    def close(self) -> None:
        """Nothing to release."""


class Count:
    """A fold that counts messages, on from what the store holds."""

    def __init__(self, state: StateStore, partition: int) -> None:
        self._counted = int(state.get(partition, "count", "n") or 0)

    def fold(self, batch: Batch, seq: int) -> Folded:
        self._counted += len(batch.messages)
        return Folded({"count": {"n": b"%d" % self._counted}}, [])


class Process:
    """A process of a flow, which does only what the test says."""

    def __init__(self, name: str, log: MemoryLog, state: MemoryState) -> None:
        self.lease = Lease(state, "flow", name, PARTITIONS)
        self.view = View("view", ("events",), PARTITIONS, lambda p: Count(state, p), state=state, log=log)
        self.share = Share([self.view], self.lease)
        self._log = log

    def turn(self) -> None:
        """Renew the lease; when that is due, move partitions and renew it again."""
        self.lease.renew()
        if self.share.is_due():
            self.share.move()
            self.lease.renew()

    def fold(self) -> list[Callable[[], None]]:
        """Read and fold what there is of the partitions kept; return the commits."""
        return [self.view.step(batch) for batch in self._log.read(self.share.positions(), max_messages=9, wait_s=0.0)]

    def work(self) -> None:
        """Read, fold and commit what there is of the partitions kept."""
        for commit in self.fold():
            commit()

    @property
    def kept(self) -> set[int]:
        return set(self.view.adopted)


class Machine:
    """Processes over one log and one store, with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log, self.state = MemoryLog(), MemoryState(lambda: self.now)
        self.log.create("events", len(PARTITIONS))

    def start(self, name: str) -> Process:
        process = Process(name, self.log, self.state)
        process.turn()
        return process

    def append(self, messages: int) -> None:
        self.log.append("events", [(p, b"x") for p in PARTITIONS for _ in range(messages)])

    def counted(self) -> list[int]:
        return [int(self.state.get(p, "count", "n") or 0) for p in PARTITIONS]


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_the_first_process_keeps_everything_at_once(machine: Machine) -> None:
    assert machine.start("a").kept == {0, 1, 2, 3}


def test_a_process_that_joins_gets_its_share_once_it_is_given_up(machine: Machine) -> None:
    machine.append(3)
    first = machine.start("a")
    first.work()
    second = machine.start("b")
    assert second.kept == set()

    first.turn()
    second.turn()
    machine.append(2)
    first.work()
    second.work()

    assert (len(first.kept), len(second.kept)) == (2, 2)
    assert machine.counted() == [5] * 4


def test_a_partition_stays_with_its_owner_until_that_has_released_it(machine: Machine) -> None:
    first, second = machine.start("a"), machine.start("b")
    first.lease.renew()  # it knows, and has not moved yet
    second.turn()

    assert (first.kept, second.kept) == ({0, 1, 2, 3}, set())


def test_a_process_that_leaves_makes_room_at_once(machine: Machine) -> None:
    first, second = machine.start("a"), machine.start("b")
    first.turn()
    second.turn()

    first.lease.leave()
    second.turn()
    first.turn()

    assert second.kept == {0, 1, 2, 3}
    assert machine.state.roster("flow") == {"b": frozenset(PARTITIONS)}


def test_what_a_dead_process_kept_is_taken_when_its_lease_ends(machine: Machine) -> None:
    machine.start("a")
    second = machine.start("b")
    machine.now += TTL_S
    second.turn()

    assert second.kept == {0, 1, 2, 3}


def test_a_process_in_the_place_of_a_dead_one_goes_on_at_once(machine: Machine) -> None:
    machine.append(2)
    machine.start("a").work()
    machine.append(1)

    again = machine.start("a")
    again.work()

    assert machine.counted() == [3] * 4


def test_a_process_that_stood_still_is_fenced_and_joins_again(machine: Machine) -> None:
    machine.append(2)
    zombie = machine.start("a")
    commits = zombie.fold()
    machine.now += TTL_S
    other = machine.start("b")
    other.work()
    machine.append(3)

    for commit in commits:
        commit()
    assert machine.counted() == [2] * 4
    assert zombie.kept == set()

    for process in (zombie, other, zombie):
        process.turn()
    zombie.work()
    other.work()
    assert (len(zombie.kept), len(other.kept)) == (2, 2)
    assert machine.counted() == [5] * 4


def test_a_process_whose_lease_ended_unnoticed_gives_up_what_others_hold_now(machine: Machine) -> None:
    zombie = machine.start("a")
    machine.now += TTL_S
    other = machine.start("b")
    zombie.turn()

    assert (zombie.kept, other.kept) == (set(), {0, 1, 2, 3})


def test_a_fenced_partition_is_taken_back_at_the_next_renewal_and_not_before(machine: Machine) -> None:
    process = machine.start("a")
    assert not process.share.is_due()
    machine.state.claim("view", 2)  # a rebuild, say
    machine.append(1)
    process.work()
    assert process.kept == {0, 1, 3}
    assert not process.share.is_due()

    process.turn()
    process.work()

    assert process.kept == {0, 1, 2, 3}
    assert machine.counted() == [1] * 4


def test_a_store_that_is_away_at_first_is_waited_for(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.lease, "HURRY_S", 0.01)
    failures = [Unavailable("away")] * 3

    class Away(MemoryState):
        def lease(self, *arguments: object) -> dict[str, frozenset[int]]:  # type: ignore[override]
            if failures:
                raise failures.pop()
            return super().lease(*arguments)  # type: ignore[arg-type]

    lease = Lease(Away(), "flow", "a", PARTITIONS)
    lease.start()
    deadline = time.monotonic() + 5.0
    while not lease.goal.partitions and time.monotonic() < deadline:
        time.sleep(0.01)

    assert lease.goal.partitions == {0, 1, 2, 3}
    lease.leave()


def test_dataflows_share_a_log_and_pass_partitions_on_while_they_run(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows.lease, "RENEW_S", 0.05)
    monkeypatch.setattr(flows.log_source, "IDLE_WAIT_S", 0.02)
    monkeypatch.setattr(flows.log_source, "READ_WAIT_S", 0.05)
    machine.append(50)
    process = Process("a", machine.log, machine.state)
    process.lease.start()
    other = Process("b", machine.log, machine.state)
    done = threading.Event()

    def drive() -> None:
        """Work beside the dataflow, then leave it alone until it has read all."""
        deadline = time.monotonic() + 20.0
        while len(other.kept) < 2 and time.monotonic() < deadline:
            other.turn()
            time.sleep(0.01)
        machine.append(50)
        other.work()
        while sum(machine.counted()) < 4 * 100 and time.monotonic() < deadline:
            other.work()
            time.sleep(0.01)
        done.set()

    threading.Thread(target=drive, daemon=True).start()
    with pytest.raises(BytewaxRuntimeError):
        run(build("flow", [process.view], lambda: EndingLog(machine.log, done), lease=process.lease))

    assert machine.counted() == [100] * 4
    assert (len(process.kept), len(other.kept)) == (2, 2)
