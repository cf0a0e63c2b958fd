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


def new_breaker(clock: Clock) -> Breaker:
    return Breaker(first_rest_s=1.0, last_rest_s=4.0, slow_s=0.1, clock=clock)


def test_a_closed_breaker_calls_through(switched_state: Any) -> None:
    breaker = new_breaker(Clock())

    assert breaker.call(lambda: switched_state.get(0, "user", "u1")) is None


def test_after_a_failure_the_service_is_left_alone_for_the_rest(switched_state: Any) -> None:
    clock = Clock()
    breaker = new_breaker(clock)
    switched_state.is_off = True
    with pytest.raises(Unavailable, match="switched off"):
        breaker.call(lambda: switched_state.get(0, "user", "u1"))

    switched_state.is_off = False
    clock.now += 0.9
    with pytest.raises(Unavailable, match="left alone"):
        breaker.call(lambda: switched_state.get(0, "user", "u1"))
    clock.now += 0.2
    assert breaker.call(lambda: switched_state.get(0, "user", "u1")) is None


def test_rests_double_up_to_the_longest_and_start_over_after_an_answer(switched_state: Any) -> None:
    clock = Clock()
    breaker = new_breaker(clock)

    def rest() -> float:
        began = clock.now
        while True:
            clock.now += 0.5
            try:
                breaker.call(lambda: switched_state.get(0, "user", "u1"))
            except Unavailable as error:
                if "left alone" not in str(error):
                    return clock.now - began
            else:
                return clock.now - began

    switched_state.is_off = True
    rest()
    assert [rest() for _ in range(4)] == [1.0, 2.0, 4.0, 4.0]
    switched_state.is_off = False
    rest()
    switched_state.is_off = True
    rest()
    assert rest() == 1.0


def test_a_probe_that_fails_opens_the_breaker_again(switched_state: Any) -> None:
    clock = Clock()
    breaker = new_breaker(clock)
    switched_state.is_off = True
    for _ in range(3):
        with pytest.raises(Unavailable, match="switched off"):
            breaker.call(lambda: switched_state.get(0, "user", "u1"))
        with pytest.raises(Unavailable, match="left alone"):
            breaker.call(lambda: switched_state.get(0, "user", "u1"))
        clock.now += 4.1


@pytest.mark.parametrize(("took_s", "rests"), [(0.05, False), (0.5, True)])
def test_behind_a_slow_answer_at_most_half_of_the_time_is_waited(took_s: float, rests: bool) -> None:
    clock = Clock()
    breaker = new_breaker(clock)

    def answer() -> int:
        clock.now += took_s
        return 5

    assert breaker.call(answer) == 5
    clock.now += 0.9 * took_s
    if rests:
        with pytest.raises(Unavailable, match="slow answer"):
            breaker.call(answer)
    clock.now += 0.2 * took_s
    assert breaker.call(answer) == 5


def test_other_errors_pass_and_leave_it_closed(switched_state: Any) -> None:
    breaker = new_breaker(Clock())

    def broken() -> None:
        raise ValueError("a defect, not an outage")

    with pytest.raises(ValueError, match="defect"):
        breaker.call(broken)
    assert breaker.call(lambda: 5) == 5
