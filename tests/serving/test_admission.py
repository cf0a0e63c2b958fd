from __future__ import annotations

import pytest

from serving.admission import MAX_WAIT_S, MIN_WAIT_S, Admission


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_ended_makes_room_for_what_comes(clock: Clock) -> None:
    admission = Admission(clock=clock, limit_bytes=1000)
    with admission.place() as first, admission.place() as second:
        assert first.take(800)
        assert not second.take(300)
    with admission.place() as third:
        assert third.take(300)
    assert admission.waiting_bytes == 0


def test_a_request_that_fails_gives_its_place_back(clock: Clock) -> None:
    admission = Admission(clock=clock, limit_bytes=1000)

    def fail() -> None:
        with admission.place() as place:
            place.take(1000)
            raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        fail()
    assert admission.waiting_bytes == 0


def test_the_largest_body_is_taken_when_nothing_else_waits(clock: Clock) -> None:
    admission = Admission(clock=clock, limit_bytes=1000)

    with admission.place() as alone, admission.place() as other:
        assert alone.fits(5000)
        assert alone.take(3000)
        assert alone.take(2000)
        assert not other.take(1)


def test_the_time_to_wait_is_what_waits_over_what_drains(clock: Clock) -> None:
    admission = Admission(clock=clock, limit_bytes=100_000)
    for _ in range(10):  # 1000 bytes in 0.5 s each
        with admission.place() as place:
            place.take(1000)
            clock.now += 0.5

    with admission.place() as place:
        place.take(14_000)
        assert admission.wait_s() == 7


def test_a_pause_between_bursts_does_not_count_as_slow(clock: Clock) -> None:
    admission = Admission(clock=clock, limit_bytes=100_000)
    for _ in range(10):
        with admission.place() as place:
            place.take(1000)
            clock.now += 0.5
        clock.now += 3600.0

    with admission.place() as place:
        place.take(14_000)
        assert admission.wait_s() == 7


def test_the_time_to_wait_has_bounds_and_grows_while_nothing_drains(clock: Clock) -> None:
    admission = Admission(clock=clock, limit_bytes=100_000)
    assert admission.wait_s() == MIN_WAIT_S
    with admission.place() as place:
        place.take(1000)
        clock.now += 0.1
    with admission.place() as place:
        place.take(50_000)
        first = admission.wait_s()
        clock.now += 60.0
        assert MIN_WAIT_S <= first < admission.wait_s() == MAX_WAIT_S
