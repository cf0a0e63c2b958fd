from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from flows.state import STATE_VIEW
from headrace.process import create_topics
from headrace.verify import Outcome, compare, verify_crash
from online.adapters.memory_log import MemoryLog
from online.adapters.memory_state import MemoryState
from online.core.item_stats import decode_item_stats, encode_item_stats
from online.core.partition import EVENTS, ITEM, USER, partition_of
from online.core.record import UserRecord, decode_record, encode_record
from online.core.update import UPDATES, Update, decode_update, encode_update
from online.ports import EventLog, StateStore
from replay.history import logged
from replay.traffic import random_event
from schemas.event import encode_event

PARTITIONS, EVENTS_SENT, NOW = 2, 200, 1_767_225_600.0


@dataclass
class Run:
    """A log with events, folded into a state store."""

    log: MemoryLog
    state: MemoryState
    acknowledged: list[str]

    def compared(self) -> Outcome:
        outcome = Outcome()
        compare(outcome, self.log, self.state, PARTITIONS, self.acknowledged)
        return outcome

    def overwrite(self, partition: int, family: str, key: str, value: bytes | None) -> None:
        claim = self.state.claim(STATE_VIEW, partition)
        self.state.commit(STATE_VIEW, partition, claim.generation, {family: {key: value}}, claim.checkpoint or b"")

    def change_a_record(self, change: Callable[[UserRecord], None]) -> None:
        key, payload = next(self.state.scan(0, USER))
        record = decode_record(payload)
        change(record)
        self.overwrite(0, USER, key, encode_record(record))

    def updates(self) -> list[bytes]:
        return [message.payload for batch in logged(self.log, UPDATES, 0) for message in batch.messages]

    def resend_updates(self, payloads: list[bytes]) -> None:
        """Put these in the place of all updates sent so far."""
        log = MemoryLog()
        create_topics(log, PARTITIONS)
        for partition in range(PARTITIONS):
            for batch in logged(self.log, EVENTS, partition):
                log.append(EVENTS, [(partition, message.payload) for message in batch.messages])
        log.append(UPDATES, [(0, payload) for payload in payloads])
        self.log = log


@pytest.fixture
def run(fold_all: Callable[[EventLog, StateStore, int], None]) -> Run:
    log, state, rng = MemoryLog(), MemoryState(), random.Random(3)
    create_topics(log, PARTITIONS)
    events = [random_event(rng, NOW + i, users=40, items=30) for i in range(EVENTS_SENT)]
    twice = events[5::10]  # some clients send twice
    log.append(EVENTS, [(partition_of(e.user_key, PARTITIONS), encode_event(e)) for e in events + twice])
    fold_all(log, state, PARTITIONS)
    return Run(log, state, [event.event_id for event in events])


def test_an_honest_run_is_correct(run: Run) -> None:
    outcome = run.compared()

    assert outcome.is_correct
    assert outcome.events == EVENTS_SENT
    assert (outcome.lost, outcome.doubled, outcome.records_different, outcome.updates_different) == (0, 0, 0, 0)


def test_an_acknowledged_event_that_is_not_in_the_log_is_lost(run: Run) -> None:
    run.acknowledged.append("gone")
    outcome = run.compared()

    assert (outcome.lost, outcome.events) == (1, EVENTS_SENT + 1)
    assert not outcome.is_correct


def test_an_event_that_is_in_no_record_is_lost(run: Run) -> None:
    event = random_event(random.Random(4), NOW + 999, users=40, items=30)
    run.log.append(EVENTS, [(partition_of(event.user_key, PARTITIONS), encode_event(event))])
    run.acknowledged.append(event.event_id)
    outcome = run.compared()

    assert outcome.lost == 1
    assert outcome.records_different > 0
    assert outcome.updates_different > 0


def test_an_event_counted_twice_is_doubled(run: Run) -> None:
    def count_again(record: UserRecord) -> None:
        record.counts[next(iter(record.counts))] += 1

    run.change_a_record(count_again)
    outcome = run.compared()

    assert (outcome.doubled, outcome.lost, outcome.records_different) == (1, 0, 1)
    assert not outcome.is_correct


def test_a_record_that_differs_in_one_weight_is_found(run: Run) -> None:
    def nudge(record: UserRecord) -> None:
        weights = next(iter(record.affinities[0].values()))
        weights[0] += 1e-12 + abs(weights[0]) * 1e-12

    run.change_a_record(nudge)
    outcome = run.compared()

    assert (outcome.records_different, outcome.lost, outcome.doubled) == (1, 0, 0)
    assert not outcome.is_correct


def test_a_record_of_nobody_is_found(run: Run) -> None:
    run.overwrite(1, USER, "unobody", encode_record(UserRecord()))

    assert run.compared().records_different == 1


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_wrong_or_missing_item_is_found(run: Run, is_gone: bool) -> None:
    key, payload = next(run.state.scan(1, ITEM))
    stats = decode_item_stats(payload)
    stats.last_time += 1.0
    run.overwrite(1, ITEM, key, None if is_gone else encode_item_stats(stats))
    outcome = run.compared()

    assert (outcome.records_different, outcome.updates_different) == (1, 0)


def test_an_update_sent_again_after_a_kill_is_no_difference(run: Run) -> None:
    updates = run.updates()
    run.resend_updates([*updates, updates[-1]])

    assert run.compared().is_correct


def test_an_update_sent_again_under_a_new_number_is_found(run: Run) -> None:
    updates = run.updates()
    last = decode_update(updates[-1])
    assert last.touches
    run.resend_updates([*updates, encode_update(Update(last.partition, last.seq + 1, last.items, last.touches))])
    outcome = run.compared()

    assert outcome.updates_different == len(last.touches)
    assert not outcome.is_correct


def test_an_update_that_was_never_sent_is_found(run: Run) -> None:
    run.resend_updates(run.updates()[:-1])
    outcome = run.compared()

    assert outcome.updates_different > 0
    assert (outcome.lost, outcome.doubled, outcome.records_different) == (0, 0, 0)


@pytest.fixture
def environment_of_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_LOG", "redis://production.invalid:6379")
    monkeypatch.setenv("HEADRACE_STATE", "redis://production.invalid:6379")


@pytest.mark.slow
@pytest.mark.usefixtures("environment_of_production")
def test_three_kills_leave_no_trace_and_no_process(processes_of: Callable[[str], list[int]]) -> None:
    killed: list[str] = []
    outcome = verify_crash(kills=3, targets=["flow", "state"], seed=2, progress=lambda done, name: killed.append(name))

    assert outcome.is_correct, outcome
    assert outcome.events > 0
    assert sum(outcome.killed.values()) == len(killed) == 3
    assert processes_of("headrace-verify-") == []
