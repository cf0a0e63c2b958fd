"""Sessions: a user's touches with one session id of the client's, or without any, that no idle gap parts.

They depend on the times of the touches alone, not on the order in which these arrive, as long as none comes later than
`LATENESS_S`.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from schemas.event import Event

from .record import OpenSession, Touch

IDLE_S = 1800.0  # a session ends after this much idle event time
LATENESS_S = 300.0  # a touch later than this no longer changes sessions


_HASH = blake2b(digest_size=8)


def digest64(text: str) -> bytes:
    """Return a stable hash of 8 bytes, equal in every process and on every platform."""
    hasher = _HASH.copy()  # cheaper than setting up another
    hasher.update(text.encode())
    return hasher.digest()


def hash64(text: str) -> int:
    """Return `digest64` as a number.

    >>> hash64("a") == hash64("a") != hash64("b")
    True
    """
    return int.from_bytes(digest64(text), "little")


def session_touches(recent: Sequence[Touch], now: float, wanted: int | None = None) -> list[Touch]:
    """Return the touches of the session open at `now`, oldest first; empty once it has been idle too long.

    It is the `wanted` one (CRC-32 of the client's session id) if it has touches, else that of the latest touch. What
    the user did meanwhile with another session id is not part of it.

    >>> touches = [Touch(0.0, "a", 1, 0), Touch(9.0, "x", 1, 7), Touch(10.0, "b", 1, 0)]
    >>> [touch.item_id for touch in session_touches(touches, now=600.0)]
    ['a', 'b']
    >>> [touch.item_id for touch in session_touches(touches, now=600.0, wanted=7)]
    ['x']
    >>> session_touches(touches[:1], now=9000.0)
    []
    """
    touches: list[Touch] = []
    if not recent:
        return touches
    is_there = wanted is not None and any(touch.session == wanted for touch in recent)
    session, following = wanted if is_there else recent[-1].session, now
    for touch in reversed(recent):
        if following - touch.time > IDLE_S:
            break
        if touch.session == session:
            touches.append(touch)
            following = touch.time
    return touches[::-1]


def join_by_time(sessions: list[OpenSession], event: Event, latest: float) -> tuple[int, int]:
    """Let a touch without a session id join the open sessions of its user, in place.

    A session is named by its first touch. One that comes late may begin a session earlier, or bridge two: what
    followed then belongs to a session of another name.

    Args:
        sessions: those another touch may still join, by time.
        event: the touch.
        latest: the latest time of all touches; none comes more than `LATENESS_S` before it.

    Returns:
        The key of the touch's session in the session index, and the key that what followed has had until now, 0 when it
        keeps its own.

    >>> sessions = []
    >>> events = [Event(event_id="", event_type="", timestamp=t, received_at=t, user_id="1") for t in (0, 2000, 1750)]
    >>> first, second, (third, was) = [join_by_time(sessions, event, 2000.0) for event in events]
    >>> (third, was) == (first[0], second[0]), len(sessions)
    (True, 1)
    """
    time, running = event.timestamp, sessions[-1] if sessions else None
    if running is not None and running.start <= time <= running.end + IDLE_S:
        if time > running.end:
            running.end = time
        return running.key, 0
    is_behind = running is not None and time < running.start
    joined = [s for s in sessions if s.start - IDLE_S <= time <= s.end + IDLE_S] if is_behind else []
    if not joined:
        begun = OpenSession(time, time, _name(event))
        closed = max(latest, time) - LATENESS_S - IDLE_S
        sessions[:] = [s for s in sessions if s.end >= closed] + [begun]
        if is_behind:
            sessions.sort(key=_start)
        return begun.key, 0
    session, was = joined[0], 0
    if time < session.start:
        was, session.key = session.key, _name(event)
        session.start = time
    session.end = max(session.end, time)
    if len(joined) > 1:
        was, session.end = joined[1].key, joined[1].end
        sessions.remove(joined[1])
    return session.key, was


def _name(event: Event) -> int:
    return hash64(f"{event.user_key} {event.timestamp}")


def _start(session: OpenSession) -> float:
    return session.start


def united_sessions(some: Sequence[OpenSession], others: Sequence[OpenSession]) -> list[OpenSession]:
    """Return the open sessions of two records as those of one. Of two that no idle gap parts the later one goes on.

    >>> united_sessions([OpenSession(0.0, 10.0, 1)], [OpenSession(60.0, 70.0, 2), OpenSession(9000.0, 9000.0, 3)])
    [OpenSession(start=0.0, end=70.0, key=2), OpenSession(start=9000.0, end=9000.0, key=3)]
    """
    united: list[OpenSession] = []
    for session in sorted([*some, *others], key=_start):
        if united and session.start - united[-1].end <= IDLE_S:
            before = united.pop()
            goes_on = max(before, session, key=lambda s: s.end)
            united.append(OpenSession(before.start, goes_on.end, goes_on.key))
        else:
            united.append(session)
    return united[-2:]
