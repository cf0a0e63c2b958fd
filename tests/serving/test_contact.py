from __future__ import annotations

from threading import Thread
from typing import Any

import pytest

from online.adapters.memory_state import MemoryState
from serving.contact import BEAT_S, CONTACT_S, LAG_S, Contact


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> MemoryState:
    return MemoryState(clock)


def joined(state: Any, clock: Clock, member: str, position: str = "5") -> Contact:
    contact = Contact(state, member, clock=clock)
    contact.beat({"items": position})
    contact.reached_head()
    return contact


def test_what_is_applied_is_known_to_the_others_at_once(state: MemoryState, clock: Clock) -> None:
    one, other = joined(state, clock, "a"), joined(state, clock, "b")
    one.beat({"items": "6"})

    assert other.others() == {"a": {"items": "6"}, "b": {"items": "5"}}
    one.leave()
    assert other.others() == {"b": {"items": "5"}}


def test_a_worker_that_lives_stays_known_and_one_that_does_not_is_forgotten(state: MemoryState, clock: Clock) -> None:
    living = joined(state, clock, "a")
    joined(state, clock, "b")
    for _ in range(40):
        clock.now += BEAT_S
        living.beat({"items": "5"})

    assert set(living.others()) == {"a"}
    assert not living.is_joining


def test_a_worker_answers_from_what_it_knows_only_once_it_is_announced_and_has_read_on(
    state: MemoryState, clock: Clock
) -> None:
    contact = Contact(state, "a", clock=clock)
    contact.beat({"items": "5"})
    assert contact.is_joining
    waiting = Thread(target=contact.wait, args=(30.0,))
    waiting.start()
    contact.reached_head()
    waiting.join(10.0)

    assert not waiting.is_alive()
    assert not contact.is_joining


def test_after_a_pause_that_is_longer_than_contact_a_worker_has_to_read_to_the_head_again(
    state: MemoryState, clock: Clock
) -> None:
    contact = joined(state, clock, "a")
    clock.now += CONTACT_S + 1.0
    contact.beat({"items": "5"})

    assert contact.is_joining
    contact.reached_head()
    clock.now += CONTACT_S - 0.1
    contact.beat({"items": "5"})
    assert not contact.is_joining


def test_out_of_contact_only_one_request_waits(state: MemoryState, clock: Clock) -> None:
    contact = joined(state, clock, "a")
    clock.now += CONTACT_S + 1.0
    contact.wait(0.01)
    waiting = Thread(target=contact.wait, args=(60.0,))
    waiting.start()
    waiting.join(10.0)

    assert not waiting.is_alive()


def test_a_store_that_is_away_is_told_again_when_it_is_back(switched_state: Any, clock: Clock) -> None:
    contact = joined(switched_state, clock, "a")
    switched_state.is_off = True
    clock.now += 0.1
    contact.beat({"items": "6"})
    assert contact.is_unheard
    contact.leave()
    switched_state.is_off = False
    contact.beat({"items": "6"})

    assert not contact.is_unheard
    assert contact.others()["a"] == {"items": "6"}


def test_who_is_behind_another_for_too_long_lags(state: MemoryState, clock: Clock) -> None:
    slow, fast = joined(state, clock, "slow"), joined(state, clock, "fast")
    fast.beat({"items": "6"})
    for _ in range(round(LAG_S / BEAT_S) + 2):
        clock.now += BEAT_S
        slow.beat({"items": "5"})

    assert slow.is_lagging
    assert not fast.is_lagging
    slow.beat({"items": "6"})
    assert not slow.is_lagging
