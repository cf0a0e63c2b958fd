from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pytest

from flows.state import STATE_VIEW
from headrace.log_report import lag, messages, topics
from headrace.process import create_topics
from online.adapters.memory_log import MemoryLog
from online.adapters.memory_state import MemoryState
from online.core.join import SLATES
from online.core.partition import EVENTS
from online.ports import EventLog, LogError, StateStore
from schemas.event import Event, EventItem, encode_event

PARTITIONS, NOW = 2, 1_767_225_600.0


def event(number: int) -> bytes:
    return encode_event(
        Event(
            event_id=f"e{number}",
            event_type="click",
            timestamp=NOW + number,
            received_at=NOW + number,
            user_id="u",
            items=[EventItem("a")],
        )
    )


@pytest.fixture
def log() -> EventLog:
    log = MemoryLog()
    create_topics(log, PARTITIONS)
    return log


def test_topics_are_counted_by_partition(log: EventLog) -> None:
    positions = log.append(EVENTS, [(0, b"12345"), (1, b"1"), (1, b"2")])

    found = topics(log)[EVENTS]

    assert (found["partitions"], found["messages"], found["bytes"]) == (2, [1, 2], [5, 2])
    assert (found["first"], found["last"]) == (positions[:2], [positions[0], positions[2]])
    assert topics(log)[SLATES]["first"] == [None, None]


def test_the_lag_of_a_view_is_what_it_has_not_committed_and_the_age_of_the_next(
    log: EventLog, fold_all: Callable[[EventLog, StateStore, int], None]
) -> None:
    state = MemoryState()
    log.append(EVENTS, [(0, event(0)), (1, event(1))])
    fold_all(log, state, PARTITIONS)
    log.append(EVENTS, [(0, event(10)), (0, event(20))])

    found = lag(log, state, NOW + 30)

    assert found[STATE_VIEW][EVENTS] == {"messages": [2, 0], "seconds": [20.0, 0.0]}
    assert found["join"][EVENTS] == {"messages": [3, 1], "seconds": [30.0, 29.0]}
    assert found["record"][EVENTS]["messages"] == [3, 1]


def test_messages_are_read_from_a_start_a_position_or_a_time(log: EventLog) -> None:
    positions = log.append(EVENTS, [(0, event(0)), (0, event(1)), (1, event(2))])

    def ids(partition: int | None = None, after: str | None = None, since: float | None = None) -> list[str]:
        found = messages(log, EVENTS, partition=partition, after=after, since=since, follow=False)
        return [message["content"]["event_id"] for message in found]

    assert ids() == ["e0", "e1", "e2"]
    assert ids(partition=1) == ["e2"]
    assert ids(partition=0, after=positions[0]) == ["e1"]
    assert ids(since=0.0) == ["e0", "e1", "e2"]
    assert ids(since=4e9) == []


def test_following_goes_on_with_what_comes(log: EventLog) -> None:
    log.append(EVENTS, [(0, event(0))])
    found = messages(log, EVENTS, partition=None, after=None, since=None, follow=True)
    first = next(found)
    log.append(EVENTS, [(1, event(1))])

    assert [first["partition"], *(message["partition"] for message in islice(found, 1))] == [0, 1]


def test_bytes_that_are_no_document_come_as_they_are(log: EventLog) -> None:
    log.append(EVENTS, [(0, b"\xff{")])
    log.append(SLATES, [(0, b"\xc1")])

    for topic, base64 in ((EVENTS, "/3s="), (SLATES, "wQ==")):
        (found,) = messages(log, topic, partition=None, after=None, since=None, follow=False)
        assert (found["content"], found["base64"]) == (None, base64)


def test_a_topic_or_partition_that_is_not_there_is_named(log: EventLog) -> None:
    with pytest.raises(LogError, match="there is no topic clicks"):
        list(messages(log, "clicks", partition=None, after=None, since=None, follow=False))
    with pytest.raises(LogError, match="the partitions of events are 0 to 1"):
        list(messages(log, EVENTS, partition=2, after=None, since=None, follow=False))
