from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest

from flows.record import RECORD_VIEW, RecordCheckpoint
from headrace.process import create_topics
from headrace.settings import Settings
from headrace.state_report import report
from online.connect import open_log, open_state
from online.core.partition import EVENTS, partition_of
from online.ports import EventLog, StateStore, Unavailable
from replay.traffic import random_event
from schemas.event import encode_event

PARTITIONS = 3


@pytest.fixture
def settings(new_database: Callable[[], str]) -> Settings:
    """Settings of a Redis database of the test's own."""
    url = new_database()
    return Settings(log=url, state=url, partitions=PARTITIONS)


def test_the_report_counts_records_and_what_is_still_to_fold(
    settings: Settings, fold_all: Callable[[EventLog, StateStore, int], None]
) -> None:
    log, state, rng = open_log(settings.log), open_state(settings.state), random.Random(5)
    create_topics(log, PARTITIONS)
    events = [random_event(rng, 1_767_225_600.0 + i, users=30, items=20) for i in range(60)]
    events[0].robot = True
    messages = [(partition_of(event.user_key, PARTITIONS), encode_event(event)) for event in events]

    log.append(EVENTS, [*messages[:40], (0, b"poison")])
    fold_all(log, state, PARTITIONS)
    log.append(EVENTS, messages[40:])
    for partition, position in enumerate(("3", "2", "4")):
        claim = state.claim(RECORD_VIEW, partition)
        recorded = RecordCheckpoint(recorded={EVENTS: position, "users": "9"} if partition else {EVENTS: position})
        state.commit(RECORD_VIEW, partition, claim.generation, {}, msgspec.msgpack.encode(recorded))
    state.lease("state", "host:7", [2, 0], 60.0)
    found = report(settings)
    log.close()
    state.close()

    users = found["families"]["user"]
    assert users["records"] == len({event.user_key for event in events[:40]})
    assert users["bytes_per_record"] == round(users["bytes"] / users["records"])
    assert found["families"]["item_document"] == {"records": 0, "bytes": 0, "bytes_per_record": 0}
    assert (found["partitions"], found["events"], found["dead_letters"]) == (PARTITIONS, 61, 1)
    assert found["robot_events"] == sum(event.user_key == events[0].user_key for event in events[:40])
    assert found["lag"]["state"] == [sum(at == p for at, _ in messages[40:]) for p in range(PARTITIONS)]
    assert sum(found["lag"]["join"]) == 61
    assert found["lag"]["catalogue"] == 0
    assert found["flows"] == {"state": {"host:7": [0, 2]}, "learn": {}, "index": {}, "record": {}, "canary": {}}
    assert found["recorded"] == {EVENTS: "2", "users": "9"}  # the oldest of the partitions


def test_a_store_that_is_away_is_told_with_what_to_do() -> None:
    away = Settings(log="unix:///nowhere/valkey.sock", state="unix:///nowhere/valkey.sock")

    with pytest.raises(Unavailable, match="is 'headrace up' running"):
        report(away)
