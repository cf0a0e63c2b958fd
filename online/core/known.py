"""What is known of a user: the stored record as those read it who do not fold it."""

from __future__ import annotations

from .expiry import living
from .record import UserRecord, decode_record
from .step import FoldConfig, sum_up

_CONFIG = FoldConfig()


def known(payload: bytes | None, now: float) -> UserRecord | None:
    """Return what a stored record says of its user at `now`; None when nothing is known.

    Its tables lack what its touches weigh: a `Profile` has both, and `complete` adds one to the other.

    Raises:
        msgspec.MsgspecError: it is no record.
    """
    return None if payload is None else living(decode_record(payload), now)


def complete(record: UserRecord) -> UserRecord:
    """Add to the tables what the touches weigh, in place, for who reads the tables themselves; return the record.

    >>> from online.core.record import Touch
    >>> complete(UserRecord(recent=[Touch(0.0, "a", 2, 0, weight=1.0)])).affinities[0]
    {'a': [1.0, 1.0, 1.0]}
    """
    return sum_up(record, _CONFIG)
