from __future__ import annotations

from typing import Any

from online.core.record import Touch, UserRecord
from online.core.session import LATENESS_S, session_touches
from online.core.step import Caps, FoldConfig, fold_event
from schemas.event import Event, EventItem


def touch(at: float, item: str, session: int = 0) -> Touch:
    return Touch(at, item, 2, session)


def current_session(recent: list[Touch], now: float) -> list[str]:
    return [touch.item_id for touch in session_touches(recent, now)]


def test_a_session_closes_after_thirty_idle_minutes() -> None:
    recent = [touch(0, "a"), touch(1801, "b"), touch(1900, "c")]

    assert current_session(recent, now=2000) == ["b", "c"]
    assert current_session(recent, now=1900 + 1801) == []


def test_what_a_user_does_meanwhile_with_another_session_id_is_another_session() -> None:
    recent = [touch(0, "a"), touch(5, "b", 2), touch(10, "c")]

    assert current_session(recent, now=11) == ["a", "c"]


def test_a_new_session_id_begins_a_session_at_once() -> None:
    recent = [touch(0, "a", 1), touch(10, "b", 2)]

    assert current_session(recent, now=11) == ["b"]


def fold(*times: float, user: str = "1", session_id: str | None = None, caps: Caps | None = None) -> list[Any]:
    """Return the key of the session that each click of a user falls into, and the one which that had until then."""
    config, record = FoldConfig(caps=caps or Caps()), UserRecord()
    keys = []
    for i, time in enumerate(times):
        event = Event(event_id=f"e{i}", event_type="click", timestamp=time, received_at=time, user_id=user)
        event.items, event.session_id = [EventItem(f"i{i}")], session_id
        keys.append(fold_event(record, event, config.decay.at(time, 0.0), 0.0, config))
    return keys


def test_touches_of_one_session_share_its_key() -> None:
    first, second, third = fold(0.0, 10.0, 5000.0)

    assert first == second != third
    assert fold(0.0, user="2") != [first]


def test_a_late_touch_falls_into_the_running_session() -> None:
    assert len(set(fold(1000.0, 1200.0, 1150.0, 1300.0))) == 1


def test_a_late_touch_that_begins_a_session_earlier_gives_it_another_key() -> None:
    (first, _), (late, was), (next_, _) = fold(1000.0, 950.0, 1300.0)

    assert (was, next_) == (first, late)
    assert late == fold(950.0)[0][0]


def test_a_late_touch_between_two_sessions_makes_them_one() -> None:
    (first, _), (second, _), (late, was), (next_, _) = fold(0.0, 2000.0, 1750.0, 2100.0)

    assert first == late == next_ != second == was


def test_a_session_keeps_its_key_when_its_first_touches_leave_the_tail() -> None:
    assert len(set(fold(*(60.0 * i for i in range(40)), caps=Caps(recent=4)))) == 1


def test_a_session_id_names_its_session_whatever_the_times() -> None:
    keys = fold(0.0, 9000.0, session_id="a")

    assert keys[0] == keys[1]
    assert keys != fold(0.0, 9000.0, session_id="b")


def test_a_touch_too_late_for_the_tail_joins_no_session() -> None:
    assert fold(1000.0, 1000.0 - LATENESS_S - 1.0)[1] is None
