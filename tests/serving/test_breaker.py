from __future__ import annotations

from typing import Any

import pytest

from online.ports import Unavailable
from serving.breaker import Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_closed_breaker_calls_through(switched_state: Any) -> None:
    breaker = Breaker(rest_s=1.0, clock=Clock())

    assert breaker.call(lambda: switched_state.get(0, "user", "u1")) is None


def test_after_a_failure_the_service_is_left_alone_for_the_rest(switched_state: Any) -> None:
    clock = Clock()
    breaker = Breaker(rest_s=1.0, clock=clock)
    switched_state.is_off = True
    with pytest.raises(Unavailable, match="switched off"):
        breaker.call(lambda: switched_state.get(0, "user", "u1"))

    switched_state.is_off = False
    clock.now += 0.9
    with pytest.raises(Unavailable, match="left alone"):
        breaker.call(lambda: switched_state.get(0, "user", "u1"))
    clock.now += 0.2
    assert breaker.call(lambda: switched_state.get(0, "user", "u1")) is None


def test_a_probe_that_fails_opens_the_breaker_again(switched_state: Any) -> None:
    clock = Clock()
    breaker = Breaker(rest_s=1.0, clock=clock)
    switched_state.is_off = True
    for _ in range(3):
        with pytest.raises(Unavailable, match="switched off"):
            breaker.call(lambda: switched_state.get(0, "user", "u1"))
        with pytest.raises(Unavailable, match="left alone"):
            breaker.call(lambda: switched_state.get(0, "user", "u1"))
        clock.now += 1.1


def test_other_errors_pass_and_leave_it_closed(switched_state: Any) -> None:
    breaker = Breaker(rest_s=1.0, clock=Clock())

    def broken() -> None:
        raise ValueError("a defect, not an outage")

    with pytest.raises(ValueError, match="defect"):
        breaker.call(broken)
    assert breaker.call(lambda: 5) == 5
