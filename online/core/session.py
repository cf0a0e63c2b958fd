"""Sessions: runs of a user's touches without a gap, recomputed from the record's time-sorted tail."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from .record import Touch

IDLE_S = 1800.0  # a session ends after this much idle event time
LATENESS_S = 300.0  # a touch later than this no longer changes sessions


def hash64(text: str) -> int:
    """Return a stable 64-bit hash, equal in every process and on every platform.

    >>> hash64("a") == hash64("a") != hash64("b")
    True
    """
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def session_start(recent: Sequence[Touch], end: int) -> int:
    """Return the index at which the session of the touch at `end` begins.

    A session breaks where the client's session id changes or, between touches without one, after `IDLE_S`.

    >>> touches = [Touch(0.0, "a", 1, 0), Touch(5000.0, "b", 1, 0), Touch(5060.0, "c", 1, 0)]
    >>> session_start(touches, 2)
    1
    """
    start = end
    while start > 0:
        earlier, later = recent[start - 1], recent[start]
        if earlier.session != later.session or later.time - earlier.time > IDLE_S:
            break
        start -= 1
    return start


def current_session(recent: Sequence[Touch], now: float) -> list[str]:
    """Return the items of the session open at `now`, oldest first; empty once it has been idle too long.

    >>> current_session([Touch(0.0, "a", 1, 0), Touch(10.0, "b", 1, 0)], now=600.0)
    ['a', 'b']
    >>> current_session([Touch(0.0, "a", 1, 0)], now=9000.0)
    []
    """
    if not recent or now - recent[-1].time > IDLE_S:
        return []
    return [t.item_id for t in recent[session_start(recent, len(recent) - 1) :]]


def session_key(user_key: str, recent: Sequence[Touch], end: int) -> int:
    """Return the 64-bit key of the session that holds the touch at `end`, for the session index."""
    touch = recent[end]
    begin = touch.session or recent[session_start(recent, end)].time
    return hash64(f"{user_key} {begin}")
