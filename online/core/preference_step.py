"""The step of what users say of themselves: preferences folded into the record, and events that it must not learn from.

Whatever else is refused, what somebody has hidden stays hidden: that is an instruction, not behaviour.
"""

from __future__ import annotations

from msgspec.structs import replace

from schemas.event import Event
from schemas.preferences import Preferences

from .controls import Reach, said
from .expiry import documented
from .record import UserRecord
from .robots import notice
from .step import HIDES, Caps, mark


def fold_preferences(record: UserRecord, preferences: Preferences) -> None:
    """Fold preferences into the record, in place.

    A reset forgets affinities, session, what was seen, counts and context. What is in the cart, was bought or hidden
    belongs to the account. Without consent cart and purchases go as well, and the ids of events.

    >>> record = UserRecord(seen={"a": 1}, purchased={"b": 1})
    >>> fold_preferences(record, Preferences(event_id="e", timestamp=5.0, received_at=5.0, user_id="7", reset=True))
    >>> record.seen, record.purchased
    ({}, {'b': 1})
    """
    before = record.controls.forgotten if record.controls is not None else 0.0
    record.controls = said(record.controls, preferences)
    if record.controls.forgotten > before:
        forget(record)
    if record.controls.consent is False:
        forget_all(record)


def forget(record: UserRecord) -> None:
    """Take what was learned out of a record, in place."""
    new = UserRecord()
    record.affinities, record.withdrawn = new.affinities, new.withdrawn
    record.recent, record.sessions, record.session_key = new.recent, new.sessions, 0
    record.seen, record.shown, record.counts = new.seen, new.shown, new.counts
    record.context = record.labels_context
    record.context_time = record.labels_time if record.labels_context else 0.0
    record.dropped_late = record.clamped = 0
    record.__dict__.clear()  # `tail` is another


def forget_all(record: UserRecord) -> None:
    """Take every trace of behaviour out of a record, in place, but what was hidden."""
    forget(record)
    new = UserRecord()
    record.carted, record.purchased, record.dedup = new.carted, new.purchased, new.dedup
    record.last_time = record.pace = record.robot_until = 0.0


def fold_unlearned(record: UserRecord, event: Event, reach: Reach, caps: Caps) -> None:
    """Fold an event of which the profile learns nothing, in place.

    How fast events come is noticed while they count for items: robots count for nothing.
    """
    if event.event_type in HIDES:
        for item in event.items:
            mark(record.hidden, item.item_id, int(event.timestamp), caps.hidden)
    if reach == "items":
        notice(record, event)
        record.last_time = max(record.last_time, event.timestamp)


def without_behaviour(record: UserRecord, received: float) -> UserRecord | None:
    """Return what an erasure at `received` leaves of a record among the events, None for nothing.

    What documents told goes with the message among these. Which visitors were taken over is kept as hashes, so that
    none of them is taken for one that is still to come.

    >>> without_behaviour(UserRecord(seen={"a": 1}), 5.0) is None
    True
    """
    if not record.labels_time and not record.absorbed:
        return None
    return replace(documented(record), controls=None, absorbed=record.absorbed, received=received)


def forget_documents(record: UserRecord) -> None:
    """Take what user documents have told out of a record, in place."""
    if record.context_time == record.labels_time:
        record.context, record.context_time = {}, 0.0
    record.labels, record.labels_time, record.labels_context = [], 0.0, {}


def told(record: UserRecord) -> UserRecord:
    """Return the part of a record that was told and not learned: all that is known of who wants to be a stranger.

    >>> told(UserRecord(labels=["minor"], hidden={"a": 1}, seen={"b": 1})).seen
    {}
    """
    return UserRecord(
        position=record.position,
        hidden=record.hidden,
        labels=record.labels,
        labels_time=record.labels_time,
        labels_context=record.labels_context,
        received=record.received,
        robot_until=record.robot_until,
        controls=record.controls,
    )
