from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headrace.verify.crash import Trial, verify_crash
from headrace.verify.victim import TARGETS


@pytest.fixture
def environment_of_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_LOG", "redis://production.invalid:6379")
    monkeypatch.setenv("HEADRACE_STATE", "redis://production.invalid:6379")


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("environment_of_production")
def test_kills_of_everything_leave_no_trace_and_no_process(
    place: str, processes_of: Callable[[str], list[int]]
) -> None:
    told: list[str] = []
    trial = Trial(kills=10, targets=tuple(TARGETS), seed=2)

    outcome = verify_crash(trial, progress=lambda done, name: told.append(name))

    assert outcome.is_correct, outcome
    assert outcome.events > 0
    assert outcome.slates > 0
    assert outcome.messages > outcome.events
    assert sum(outcome.killed.values()) == outcome.kills == 10
    assert len(outcome.killed) >= 5
    assert told
    assert not outcome.kept
    assert processes_of(place) == []


def test_on_a_broker_the_log_is_not_the_store() -> None:
    embedded = Trial(kills=1, targets=("log", "state"), seed=1)
    broker = Trial(kills=1, targets=("log", "state"), seed=1, log="pulsar://localhost:6650")

    assert embedded.services == [("valkey",)]
    assert broker.services == [("broker",), ("valkey",)]


@pytest.mark.slow
@pytest.mark.brokers
@pytest.mark.timeout(900)
def test_kills_on_pulsar_leave_no_trace(pulsar_broker: Any) -> None:
    log = f"{pulsar_broker.url}?admin={pulsar_broker.admin_url}"
    targets = ("log", "flow", "record", "api", "state")

    outcome = verify_crash(Trial(kills=4, targets=targets, seed=4, log=log, kill_broker=pulsar_broker.kill))

    assert outcome.is_correct, outcome
    assert outcome.killed["broker"] > 0
    assert outcome.events > 0
