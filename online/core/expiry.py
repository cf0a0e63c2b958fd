"""Expiry: a record that nothing has touched for long counts as gone. A rule of the fold, so that a rebuild sees it too.

It goes by `received_at` of what the log holds, never by the clock. That a store forgets such records is only garbage
collection, and comes later. What user documents and preferences say stays for ever: it is no behaviour.
"""

from __future__ import annotations

from .record import UserRecord

EXPIRY_S = 90 * 86_400
ITEM_EXPIRY_S = 730 * 86_400
"""Of item aggregates: a shop has few items beside its users, and where little happens, years say what is popular."""


def is_over(touched: float, now: float, expiry_s: float) -> bool:
    """Say whether a record touched last at `touched` is gone at `now`; 0 stands for one that does not say.

    >>> is_over(5.0, 15.0, 10.0), is_over(5.0, 15.5, 10.0), is_over(0.0, 15.5, 10.0)
    (False, True, False)
    """
    return 0.0 < touched < now - expiry_s


def touch(record: UserRecord, received_at: float, expiry_s: float) -> None:
    """Note that something was folded into the record at `received_at`; one that is gone begins anew, in place."""
    if received_at > record.received:
        if 0.0 < record.received < received_at - expiry_s:  # as `is_over`, for every event
            begun = documented(record)
            for name in record.__struct_fields__:
                setattr(record, name, getattr(begun, name))
            record.__dict__.clear()  # `tail` is another
        record.received = received_at


def living(record: UserRecord, now: float, expiry_s: float = EXPIRY_S) -> UserRecord | None:
    """Return what is known of a user at `now`: of a record that is gone only what was told, None without any.

    >>> living(UserRecord(counts={2: 1}, received=5.0), now=6.0).counts
    {2: 1}
    >>> living(UserRecord(counts={2: 1}, received=5.0), now=5.0 + 2 * EXPIRY_S) is None
    True
    """
    if not is_over(record.received, now, expiry_s):
        return record
    return None if is_perishable(record) else documented(record)


def is_perishable(record: UserRecord) -> bool:
    """Say whether the record may be forgotten as a whole once it is gone."""
    return not record.labels_time and record.controls is None


def documented(record: UserRecord) -> UserRecord:
    """Return what is left of a record without behaviour: what documents told, and what the user wants."""
    return UserRecord(
        labels=record.labels,
        labels_time=record.labels_time,
        labels_context=record.labels_context,
        context=record.labels_context,
        context_time=record.labels_time if record.labels_context else 0.0,
        controls=record.controls,
    )
