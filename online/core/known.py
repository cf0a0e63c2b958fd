"""What is known of a user: the stored record as those read it who do not fold it."""

from __future__ import annotations

from .expiry import living
from .record import UserRecord, decode_record
from .step import FoldConfig, sum_up

_CONFIG = FoldConfig()


def known(payload: bytes | None, now: float) -> UserRecord | None:
    """Return what a stored record says of its user at `now`, with complete tables; None when nothing is known.

    Raises:
        msgspec.MsgspecError: it is no record.

    >>> from online.core.record import Touch, encode_record
    >>> known(encode_record(UserRecord(recent=[Touch(0.0, "a", 2, 0, weight=1.0)])), now=9.0).affinities[0]
    {'a': [1.0, 1.0, 1.0]}
    """
    record = None if payload is None else living(decode_record(payload), now)
    return None if record is None else sum_up(record, _CONFIG)
