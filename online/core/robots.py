"""Robots: users that say so, or act at a pace that no person keeps up. What they do counts for their own record alone.

The pace is the exponentially decayed number of acts: at a steady rate it tends to that of half a life divided by ln 2.
Adding decayed ones commutes, so that the order of arrival does not matter. An act is something done by hand:
impressions are none, and of what clients send in bundles (the lines of an order, ratings, carts restored) one a moment
counts. A click, view or play is done one by one, and each of them counts even at the same moment. 120 a minute is twice
what somebody who clicks as fast as pages open reaches, and it takes about three minutes' worth of acts before the
verdict: a person's burst passes, and so does a bundle of up to 173 events that a client without a clock sends at once.

Clicks without impressions are no sign here: whether a surface sends impressions cannot be seen in one user's record.
"""

from __future__ import annotations

from math import exp, log

from schemas.event import Event

from .decay import DAY_S
from .record import UserRecord

ACTS_PER_MINUTE = 120.0
HALF_LIFE_S = 60.0
PACE_LIMIT = ACTS_PER_MINUTE / 60.0 * HALF_LIFE_S / log(2.0)  # 173
REMEMBERED_S = DAY_S  # of event time since the last sign

_RATE = log(2.0) / HALF_LIFE_S
_ONE_BY_ONE = frozenset({"view", "click", "play", "search"})


def notice(record: UserRecord, event: Event) -> None:
    """Fold an event into the pace and the verdict, in place, before its time is the record's latest.

    >>> record = UserRecord()
    >>> for n in range(400):
    ...     notice(record, Event(event_id="", event_type="click", timestamp=n / 10, received_at=0.0, user_id="1"))
    ...     record.last_time = n / 10
    >>> record.robot_until - 39.9 == REMEMBERED_S
    True
    """
    passed, kind = event.timestamp - record.last_time, event.event_type
    is_act = kind in _ONE_BY_ONE or (passed != 0.0 and kind != "impression")
    faded = exp(-_RATE * abs(passed))
    pace = record.pace * faded + is_act if passed >= 0.0 else record.pace + is_act * faded
    record.pace = pace
    if pace > PACE_LIMIT or event.robot:
        record.robot_until = max(record.robot_until, event.timestamp + REMEMBERED_S)


def is_robot(record: UserRecord, time: float) -> bool:
    """Say whether the record is taken for a robot's at a moment.

    >>> is_robot(UserRecord(robot_until=9.0), 8.0), is_robot(UserRecord(robot_until=9.0), 9.0)
    (True, False)
    """
    return time < record.robot_until
