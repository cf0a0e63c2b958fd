from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any, get_args

import pytest

from flows.bridge import Engine
from flows.bridge.forwarder import Forwarder
from flows.bridge.kafka import KafkaMessage, KafkaTopic
from headrace.process import create_topics
from headrace.verify.bridge import MAPPING, Outcome, by_command, compare, verify_bridge
from online.adapters.memory_log import MemoryLog
from online.adapters.memory_state import MemoryState
from online.core.dead_letter import DEAD
from online.core.partition import EVENTS
from online.ports import EventLog, StateStore, Unavailable
from replay.history import logged

PARTITIONS, NOW = 2, 1_767_225_600.0
TOPIC = KafkaTopic("localhost:9092", "clicks", "id", "headrace")
VALUE = b'{"what": "pageview", "who": {"id": %d}, "sku": "item-%d", "at_ms": 1767225600000}'
MESSAGES = [
    *(KafkaMessage(n % 3, n // 3, NOW + n, VALUE % (n % 5, n % 7)) for n in range(60)),
    KafkaMessage(0, 20, NOW + 60, b"{"),
]


class Run:
    """Messages forwarded into a log in memory, and folded."""

    def __init__(self, fold_all: Callable[[EventLog, StateStore, int], None]) -> None:
        self.log, self.state, self._fold_all = MemoryLog(), MemoryState(), fold_all
        create_topics(self.log, PARTITIONS)

    def forward(self, messages: list[KafkaMessage], topic: KafkaTopic = TOPIC) -> None:
        Forwarder(
            topic, MAPPING, log=self.log, state=self.state, partitions=PARTITIONS, stop=Event(), clock=lambda: NOW + 99
        ).forward(messages)

    def compared(self) -> Outcome:
        self._fold_all(self.log, self.state, PARTITIONS)
        outcome = Outcome()
        compare(outcome, MESSAGES, TOPIC, self.log, self.state, PARTITIONS)
        return outcome


@pytest.fixture
def run(fold_all: Callable[[EventLog, StateStore, int], None]) -> Run:
    return Run(fold_all)


def test_an_honest_run_is_correct(run: Run) -> None:
    run.forward(MESSAGES)

    outcome = run.compared()

    assert outcome.is_correct
    assert (outcome.events, outcome.letters) == (60, 1)


def test_what_is_missing_is_counted_as_lost(run: Run) -> None:
    run.forward(MESSAGES[2:-1])

    outcome = run.compared()

    assert (outcome.log_lost, outcome.lost, outcome.letters_lost) == (2, 2, 1)
    assert not outcome.is_correct


def test_what_stands_twice_is_counted_as_doubled(run: Run) -> None:
    run.forward(MESSAGES)
    (events,) = logged(run.log, EVENTS, 0)
    run.log.append(EVENTS, [(0, events.messages[0].payload)])
    run.log.append(DEAD, [(0, message.payload) for batch in logged(run.log, DEAD, 0) for message in batch.messages])

    outcome = run.compared()

    assert (outcome.log_doubled, outcome.letters_doubled, outcome.doubled) == (1, 1, 0)
    assert not outcome.is_correct


def test_another_group_forwards_anew_and_no_event_counts_twice(run: Run) -> None:
    run.forward(MESSAGES)
    run.forward(MESSAGES, KafkaTopic("localhost:9092", "clicks", "id", "another"))

    outcome = run.compared()

    assert (outcome.log_doubled, outcome.doubled, outcome.records_different) == (60, 0, 0)


def test_a_command_that_fails_is_told() -> None:
    with pytest.raises(Unavailable, match="was not killed"):
        by_command("false")()


@pytest.mark.parametrize("engine", get_args(Engine))
def test_nothing_is_lost_or_doubled_whatever_is_killed(kafka_broker: Any, engine: Engine) -> None:
    outcome = verify_bridge(
        brokers=kafka_broker.url, engine=engine, events=2000, kills=3, seed=2, kill_broker=kafka_broker.kill
    )

    assert outcome.is_correct, outcome
    assert outcome.events + outcome.letters == 2000
    assert outcome.letters > 0
    assert sum(outcome.killed.values()) == 3
