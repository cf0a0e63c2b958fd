"""Sessions: runs of a user's touches without a gap, recomputed from the record's time-sorted tail."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from schemas.event import Event

from .record import Touch, UserRecord

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


def session_key(record: UserRecord, event: Event, session: int) -> int:
    """Return the 64-bit key, for the session index, of the session that a touch of `event` falls into.

    To be called before the touch joins `record.recent`. The session of the latest touch goes on where the client's
    session id (`session`: its CRC-32, 0 for none) is the same and the idle time is not over; its key, kept in
    the record, is that of the touch which began it. A touch that came late has the session of its id, and without
    one the running session, as lateness is shorter than idle time.
    """
    last, time = record.recent[-1] if record.recent else None, event.timestamp
    if last is not None and last.session == session and time - last.time <= IDLE_S:
        return record.session_key
    key = hash64(f"{event.user_key} {session or time}")
    if last is None or time >= last.time:
        record.session_key = key
    return key
