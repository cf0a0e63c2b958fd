from __future__ import annotations

from online.core.record import Touch
from online.core.session import current_session, session_key


def touch(at: float, item: str, session: int = 0) -> Touch:
    return Touch(at, item, 2, session)


def test_a_session_closes_after_thirty_idle_minutes() -> None:
    recent = [touch(0, "a"), touch(1801, "b"), touch(1900, "c")]

    assert current_session(recent, now=2000) == ["b", "c"]
    assert current_session(recent, now=1900 + 1801) == []


def test_a_new_session_id_begins_a_session_at_once() -> None:
    recent = [touch(0, "a", 1), touch(10, "b", 2)]

    assert current_session(recent, now=11) == ["b"]


def test_touches_of_one_session_share_its_key() -> None:
    recent = [touch(0, "a"), touch(10, "b"), touch(5000, "c")]

    keys = [session_key("u1", recent, i) for i in range(3)]

    assert keys[0] == keys[1] != keys[2]
    assert keys[0] != session_key("u2", recent, 0)
